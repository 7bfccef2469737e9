"""Selective search (Uijlings et al. 2013; L16-S01): boxes that may hold an object, found by growing regions, without learning anything.

1. `segment`: pixels join into small segments of one colour (Felzenszwalb and Huttenlocher 2004).
2. `group`: the two neighbouring regions that are most alike become one, again and again, until one region is left. Every region ever seen
   is a node of a tree, and its box is a proposal: an object of any size is hoped to be one of them.
3. `selective_search`: does so for several settings, for no single one suits all objects, and puts the boxes in order.

Shapes here: an image (3, H, W) in [0, 1] of H W pixels; S segments, numbered by their first pixel; 2S - 1 regions, of which the first S are
the segments and region S + t is the union that merge t made; the last is the whole picture.
"""
import itertools
from typing import NamedTuple

import numpy as np

from numpyvision import backend, kernels
from numpyvision.check import arguments

COLOUR_BINS, TEXTURE_BINS, ORIENTATIONS = 25, 10, 8      # a histogram of 75 numbers for colour and of 240 for texture, as in the paper
STEPS = 128                                              # edge weights are kept in 1/128 of a grey level: whole numbers sort fast
STEEPEST = 0.2                                           # slope of the last texture bin: half of that between black and white
TIE = 1e-9                                               # likenesses closer than this are equal, and the earlier pair wins


class Hierarchy(NamedTuple):
    """What grouping did: which pixels began together, and who joined whom."""

    segments: np.ndarray      # (H, W) int64, 0..S-1
    merges: np.ndarray        # (S - 1, 2) int64: merge t made region S + t of these two
    boxes: np.ndarray         # (2S - 1, 4) xyxy of every region, float64
    sizes: np.ndarray         # (2S - 1,) int64 pixels of every region

    def at(self, count):
        """(H, W) int64: the regions at the moment when `count` of them were left, by their number. count is cut to 1..S."""
        S = len(self.merges) + 1
        owner = np.arange(S)
        for t in range(S - min(max(count, 1), S)):
            owner[np.isin(owner, self.merges[t])] = S + t
        return owner[self.segments]


def selective_search(image, scales=(50, 100), colours=("hsv", "rgb"), sigma=0.8, min_size=20, weights=(1, 1, 1, 1), min_side=4,
                     max_boxes=None, rng=None):
    """Boxes that may hold an object: image (3, H, W) -> (P, 4) xyxy in the image's dtype, each box once, no side under min_side.

    scales, colours: one hierarchy for each pair; a larger scale begins with larger segments. weights: of the similarities in colour,
    texture, size and fill. max_boxes: only the first so many.
    Order: coarse to fine. The last regions to be made come first (the whole picture, then its halves), the hierarchies taking turns;
    the same every time. With rng, each place is multiplied by a random number in [0, 1), as in the paper (4.2), so that large regions
    lead without filling all the first places. A picture of one colour has one box, its own.
    """
    _check(image, scales, colours, weights)
    places, boxes = [], []
    trees = zip(*(hierarchies(image, scales, colour, sigma, min_size, weights) for colour in colours), strict=True)
    for tree in itertools.chain.from_iterable(trees):
        boxes.append(tree.boxes[::-1])
        places.append(np.arange(1, len(tree.boxes) + 1) * (1.0 if rng is None else rng.random(len(tree.boxes))))
    boxes = np.concatenate(boxes)[np.argsort(np.concatenate(places), kind="stable")]
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= min(min_side, *image.shape[1:])]
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)[:max_boxes]].astype(image.dtype)


def hierarchy(image, scale=100, colour="hsv", sigma=0.8, min_size=20, weights=(1, 1, 1, 1)):
    """Segments and all their unions in one colour space: image (3, H, W) -> Hierarchy."""
    _check(image, (scale,), (colour,), weights)
    return next(hierarchies(image, (scale,), colour, sigma, min_size, weights))


def hierarchies(image, scales, colour, sigma, min_size, weights):
    """Yield a Hierarchy for each scale; edges and histogram bins are those of the picture, the same for all."""
    pixels = COLOURS[colour](backend.to_numpy(image).astype(np.float64))
    edges, bins = sorted_edges(pixels, sigma), pixel_bins(pixels)
    for scale in scales:
        yield grow(bins, join(edges, pixels.shape[1:], scale, min_size), weights)


# ---------------------------------------------------------------------------------------------------------------- segments
def segment(image, scale=100, sigma=0.8, min_size=20):
    """Felzenszwalb and Huttenlocher's segments: image (C, H, W) in [0, 1] -> (H, W) int64, 0..S-1 in the order of their first pixel.

    Two segments become one if no edge within either is much weaker than the weakest edge between them: its weight (distance of the
    colours, 0 to 255 a channel) must be at most Int(C) + scale / |C| of both, so that small segments are generous (paper, Eq. 3 and 4).
    sigma: the picture is blurred first. Segments under min_size pixels then join the neighbour that is most like them.
    """
    return join(sorted_edges(image, sigma), image.shape[1:], scale, min_size)


def sorted_edges(image, sigma):
    """Pixels joined by each edge, as y*W + x, and its weight in 1/128 of a grey level, the lightest first: three (M,) int64."""
    from scipy import ndimage
    H, W = image.shape[1:]
    smooth = 255 * (ndimage.gaussian_filter(image, (0, sigma, sigma)) if sigma > 0 else image)
    number, edges = np.arange(H * W).reshape(H, W), []
    for a, b in _neighbours(H, W):
        distance = np.sqrt(((smooth[:, *a] - smooth[:, *b]) ** 2).sum(axis=0))
        edges.append((number[a].ravel(), number[b].ravel(), np.rint(STEPS * distance).astype(np.uint16).ravel()))
    first, second, weight = (np.concatenate(part) for part in zip(*edges, strict=True))
    order = np.argsort(weight, kind="stable")
    return first[order], second[order], weight[order].astype(np.int64)


def join(edges, size, scale, min_size):
    """Sorted edges of a picture of size (H, W) -> segments (H, W)."""
    run = kernels.selective_search.join_pixels if backend.mode() == "compiled" else _join_pixels
    return run(*edges, size[0] * size[1], STEPS * float(scale), int(min_size)).reshape(size)


def _neighbours(H, W):
    """Pixels (rows, columns) and their neighbours right, below, and at both lower corners: each edge of the 8-neighbourhood once."""
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        yield ((slice(0, H - dy), slice(max(-dx, 0), W - max(dx, 0))),
               (slice(dy, H), slice(max(dx, 0), W + min(dx, 0))))


def _join_pixels(first, second, weight, pixels, scale, min_size):
    """Segments as sets of pixels: the plain version of the compiled loop."""
    member, limit = {p: [p] for p in range(pixels)}, dict.fromkeys(range(pixels), scale)
    root = list(range(pixels))
    for small in (False, True):
        for i, j, w in zip(first.tolist(), second.tolist(), weight.tolist(), strict=True):
            a, b = sorted((root[i], root[j]))
            if a == b:
                continue
            if min(len(member[a]), len(member[b])) < min_size if small else w <= min(limit[a], limit[b]):
                for p in member[b]:
                    root[p] = a
                member[a] += member.pop(b)
                limit[a] = w + scale / len(member[a])
    return np.unique(root, return_inverse=True)[1]              # a root is its segment's first pixel, so numbers follow first pixels


# ---------------------------------------------------------------------------------------------------------------- grouping
def group(image, segments, weights=(1, 1, 1, 1)):
    """Join the two neighbouring regions that are most alike until one is left: image (3, H, W), segments (H, W) -> Hierarchy.

    Likeness (paper, Eq. 1 to 5) is the weighted sum of: the overlap of the colour histograms, the overlap of the texture histograms,
    how small both are together (small ones join first, all over the picture), and how well they fill the box around them.
    """
    return grow(pixel_bins(image), segments, weights)


def grow(bins, segments, weights):
    """Pixels' histogram bins, as `pixel_bins` gives them, and segments (H, W) -> Hierarchy."""
    S, (H, W) = int(segments.max()) + 1, segments.shape
    sizes, boxes = np.zeros(2 * S - 1, np.int64), np.zeros((2 * S - 1, 4))
    sizes[:S], boxes[:S] = np.bincount(segments.ravel()), segment_boxes(segments, S)
    features = []
    for cells, count in zip(bins, (3 * COLOUR_BINS, 3 * ORIENTATIONS * TEXTURE_BINS), strict=True):
        features.append(np.zeros((2 * S - 1, count)))
        features[-1][:S] = histograms(cells, segments, S, count)
    merge = kernels.selective_search.merge_regions if backend.mode() == "compiled" else _merge_regions
    merges = merge(touching(segments), sizes, boxes, *features, H * W, np.asarray(weights, np.float64), TIE)
    return Hierarchy(segments, merges, boxes, sizes)


def touching(segments):
    """Pairs of segments that share an edge of the 8-neighbourhood: (E, 2) int64, the smaller number first, ascending."""
    S, found = int(segments.max()) + 1, []
    for a, b in _neighbours(*segments.shape):
        i, j = segments[a], segments[b]
        apart = i != j
        found.append(np.minimum(i, j)[apart] * S + np.maximum(i, j)[apart])
    return np.stack(np.divmod(np.unique(np.concatenate(found)), S), axis=1)


def segment_boxes(segments, count):
    """Half-open boxes around segments (H, W): (count, 4) float64."""
    from scipy import ndimage
    return np.array([(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(segments + 1, count)], np.float64)


def pixel_bins(image):
    """Which bins a pixel falls into: image (3, H, W) in [0, 1] -> colour (3, H, W) of 75 bins, texture (24, H, W) of 240, both int64.

    Colour: 25 bins a channel. Texture: for each channel and each of 8 directions, 10 bins of how fast it brightens that way.
    """
    from scipy import ndimage
    dy, dx = (ndimage.gaussian_filter(image, (0, *order), (0, *order)) for order in ((1, 0), (0, 1)))    # Gaussian of width 1 derived
    angles = 2 * np.pi * np.arange(ORIENTATIONS // 2)[:, None, None, None] / ORIENTATIONS
    slopes = np.cos(angles) * dx + np.sin(angles) * dy                                                   # (4, 3, H, W)
    slopes = np.concatenate([slopes, -slopes]).reshape(-1, *image.shape[1:])                             # and the 4 opposite directions
    return _bins(image, COLOUR_BINS), _bins(slopes / STEEPEST, TEXTURE_BINS)


def _bins(maps, bins):
    """Each map's values in [0, 1], cut to it, as one of `bins` bins; map m has the bins from m * bins on."""
    cells = np.clip(maps * bins, 0, bins - 1).astype(np.int64)
    cells += bins * np.arange(len(maps))[:, None, None]
    return cells


def histograms(cells, segments, count, bins):
    """cells (M, H, W) in 0..bins-1 -> (count, bins): for each segment the share of each bin; a row's sum is 1."""
    counts = np.bincount((cells + bins * segments).ravel(), minlength=count * bins).reshape(count, bins)
    return counts / counts.sum(axis=1, keepdims=True)


def _likeness(a, b, sizes, boxes, colour, texture, pixels, weights):
    around = np.prod(np.maximum(boxes[a, 2:], boxes[b, 2:]) - np.minimum(boxes[a, :2], boxes[b, :2]))
    together = sizes[a] + sizes[b]
    four = (np.minimum(colour[a], colour[b]).sum(), np.minimum(texture[a], texture[b]).sum(), 1 - together / pixels,
            1 - (around - together) / pixels)
    return float(np.dot(weights, four))


def _merge_regions(pairs, sizes, boxes, colour, texture, pixels, weights, tie):
    """Fill the rows of the unions -> merges (S - 1, 2): the plain version of the compiled loop, with a dict of pairs."""
    S, merges = len(sizes) // 2 + 1, []
    alike = {(int(a), int(b)): _likeness(a, b, sizes, boxes, colour, texture, pixels, weights) for a, b in pairs}
    for new in range(S, 2 * S - 1):
        best = next(iter(alike))
        for pair, value in alike.items():
            if value > alike[best] + tie:
                best = pair
        a, b = best
        merges.append(best)
        sizes[new] = sizes[a] + sizes[b]
        boxes[new] = *np.minimum(boxes[a, :2], boxes[b, :2]), *np.maximum(boxes[a, 2:], boxes[b, 2:])
        for histogram in (colour, texture):                     # of the parts alone: no pixel is looked at again
            histogram[new] = (sizes[a] * histogram[a] + sizes[b] * histogram[b]) / sizes[new]
        near = sorted({i for pair in alike if set(pair) & set(best) for i in pair} - set(best))
        alike = {pair: value for pair, value in alike.items() if not set(pair) & set(best)}
        alike |= {(i, new): _likeness(i, new, sizes, boxes, colour, texture, pixels, weights) for i in near}
    return np.array(merges, np.int64).reshape(-1, 2)


# ---------------------------------------------------------------------------------------------------------------- colours, checks
def hsv(image):
    """Hue, saturation and value, all in [0, 1]: (3, H, W) -> (3, H, W). A grey pixel has hue 0."""
    high, low = image.max(axis=0), image.min(axis=0)
    spread, (r, g, b) = np.where(high > low, high - low, 1), image
    sector = np.where(high == r, (g - b) / spread, np.where(high == g, 2 + (b - r) / spread, 4 + (r - g) / spread))
    return np.stack([np.where(high > low, sector / 6 % 1, 0), (high - low) / np.where(high > 0, high, 1), high])


COLOURS = {"rgb": lambda image: image, "hsv": hsv}


def _check(image, scales, colours, weights):
    arguments.array("image", image, 3, "(3, H, W), one picture at a time")
    arguments.require(image.shape[0] == 3 and min(image.shape[1:]) > 0, f"image must be (3, H, W) with pixels, got {image.shape}")
    arguments.require(bool(np.isfinite(image).all()), "image contains NaN or infinity")
    arguments.require(image.min() >= 0 and image.max() <= 1,
                      f"image must be in [0, 1], got {image.min()} to {image.max()}; divide a picture of bytes by 255")
    arguments.require(len(scales) > 0 and min(scales) > 0, f"scales must be numbers above 0, got {scales!r}")
    arguments.require(len(colours) > 0 and set(colours) <= set(COLOURS),
                      f"colours must be names out of {', '.join(COLOURS)}, as a tuple, got {colours!r}")
    arguments.require(len(weights) == 4, f"weights are four, of colour, texture, size and fill, got {weights!r}")
