"""Selective search's two loops that no array operation says in one go: joining pixels into segments, and segments into ever larger regions.

Shapes here: M edges between pixels of a picture of P pixels; S segments, of which grouping makes 2S - 1 regions; F numbers a histogram.
"""
import numpy as np

from numpyvision.kernels.jit import jit_exact


@jit_exact
def find(parent, i):
    """The root of i's tree; every pixel on the way is hung higher, so that the next search is shorter."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit_exact
def join_pixels(first, second, weight, pixels, scale, min_size):
    """Edges (M,) in ascending order of weight -> segments (P,) int64, numbered by their first pixel."""
    parent, size = np.arange(pixels), np.ones(pixels, np.int64)
    limit = np.full(pixels, float(scale))                      # Int(C) + scale / |C|: up to which weight a segment lets others in
    for small in range(2):                                     # second round: segments that are still too small join whom they touch
        for e in range(len(first)):
            a, b = find(parent, first[e]), find(parent, second[e])
            if a == b:
                continue
            wanted = min(size[a], size[b]) < min_size if small else weight[e] <= min(limit[a], limit[b])
            if wanted:
                if b < a:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                limit[a] = weight[e] + scale / size[a]
    out, number, count = np.empty(pixels, np.int64), np.full(pixels, -1), 0
    for p in range(pixels):
        root = find(parent, p)
        if number[root] < 0:
            number[root] = count
            count += 1
        out[p] = number[root]
    return out


@jit_exact
def likeness(a, b, size, boxes, colour, texture, pixels, weights):
    """How well regions a and b go together: the weighted sum of the four similarities, each in [0, 1]."""
    same_colour = 0.0
    for f in range(colour.shape[1]):
        same_colour += min(colour[a, f], colour[b, f])
    same_texture = 0.0
    for f in range(texture.shape[1]):
        same_texture += min(texture[a, f], texture[b, f])
    around = ((max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0]))
              * (max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1])))
    together = size[a] + size[b]
    return (weights[0] * same_colour + weights[1] * same_texture + weights[2] * (1 - together / pixels)
            + weights[3] * (1 - (around - together) / pixels))


@jit_exact
def merge_regions(pairs, size, boxes, colour, texture, pixels, weights, tie):
    """Fill rows S.. of size, boxes, colour, texture, best pair first -> merges (S - 1, 2) int64. The caller gives fresh arrays."""
    S = len(size) // 2 + 1
    merges, near = np.empty((S - 1, 2), np.int64), np.zeros(len(size), np.bool_)
    capacity, count = 4 * len(pairs) + 16, len(pairs)
    left, right, value = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity)
    for p in range(count):
        left[p], right[p] = pairs[p, 0], pairs[p, 1]
        value[p] = likeness(left[p], right[p], size, boxes, colour, texture, pixels, weights)
    for t in range(S - 1):
        best = 0
        for p in range(1, count):
            if value[p] > value[best] + tie:
                best = p
        a, b, new = left[best], right[best], S + t
        merges[t, 0], merges[t, 1] = a, b
        join_rows(a, b, new, size, boxes, colour, texture)
        near[:] = False
        kept = 0
        for p in range(count):                                 # drop the pairs of a and b, remember whom they touched
            i, j = left[p], right[p]
            if i == a or i == b or j == a or j == b:
                near[i] = near[j] = True
            else:
                left[kept], right[kept], value[kept] = i, j, value[p]
                kept += 1
        near[a] = near[b] = False
        for i in range(new):
            if near[i]:                                        # a region that touched a or b touches their union: at most as many pairs
                left[kept], right[kept] = i, new
                value[kept] = likeness(i, new, size, boxes, colour, texture, pixels, weights)
                kept += 1
        count = kept
    return merges


@jit_exact
def join_rows(a, b, new, size, boxes, colour, texture):
    """The union's size, box and histograms, from its parts' alone: no pixel is looked at again."""
    size[new] = size[a] + size[b]
    for k in range(2):
        boxes[new, k] = min(boxes[a, k], boxes[b, k])
        boxes[new, k + 2] = max(boxes[a, k + 2], boxes[b, k + 2])
    for f in range(colour.shape[1]):
        colour[new, f] = (size[a] * colour[a, f] + size[b] * colour[b, f]) / size[new]
    for f in range(texture.shape[1]):
        texture[new, f] = (size[a] * texture[a, f] + size[b] * texture[b, f]) / size[new]
