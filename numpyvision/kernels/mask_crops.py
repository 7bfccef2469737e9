"""Masks cut out by boxes and pasted back, pixel by pixel of the box instead of all pixels of the image.

What comes out of these loops is a decision (half of a cell covered, a probability of one half), so they are compiled without fast-math.
Shapes here: R boxes xyxy, masks (R, H, W), M cells along a side of a box, D detections.
"""
import numpy as np

from numpyvision.kernels.jit import jit_exact


@jit_exact
def crop(masks, boxes, size):
    """masks (R, H, W) bool, boxes (R, 4) float64 -> the area of each cell that is covered, (R, M, M): see boxes.mask_crops.crop_masks."""
    R, H, W = masks.shape
    covered, along, share = np.zeros((R, size, size)), np.empty(size), np.arange(size + 1) / size
    for r in range(R):
        x1, y1, w, h = boxes[r, 0], boxes[r, 1], boxes[r, 2] - boxes[r, 0], boxes[r, 3] - boxes[r, 1]
        if not (w > 0 and h > 0 and w * h < np.inf):
            continue
        for i in range(int(max(np.floor(y1), 0.0)), int(min(np.ceil(y1 + h), float(H)))):
            for n in range(size):                                      # how much of row i lies in the mask and in column n of the cells
                near, far = x1 + share[n] * w, x1 + share[n + 1] * w
                along[n] = 0
                for j in range(int(max(np.floor(near), 0.0)), int(min(np.ceil(far), float(W)))):
                    if masks[r, i, j]:
                        along[n] += min(far, j + 1.0) - max(near, float(j))
            for m in range(size):                                      # times how much of it lies in each row of the cells
                length = min(y1 + share[m + 1] * h, i + 1.0) - max(y1 + share[m] * h, float(i))
                if length > 0:
                    for n in range(size):
                        covered[r, m, n] += length * along[n]
    return covered


@jit_exact
def paste(probs, boxes, threshold, out):
    """probs (D, My, Mx), boxes (D, 4), both float64; sets out (D, H, W), which comes as False: see boxes.mask_crops.paste_masks."""
    D, My, Mx = probs.shape
    H, W = out.shape[1:]
    cell, weight = np.empty(W, np.int64), np.empty(W)
    for d in range(D):
        x1, y1, x2, y2 = boxes[d]
        grid, left, right = probs[d], first_pixel(x1, W), first_pixel(x2, W)
        for j in range(left, right):
            cell[j], weight[j] = position(j, x1, x2, Mx)
        for i in range(first_pixel(y1, H), first_pixel(y2, H)):
            m, f = position(i, y1, y2, My)
            above, below = grid[m], grid[min(m + 1, My - 1)]
            for j in range(left, right):
                n, g = cell[j], weight[j]
                k = min(n + 1, Mx - 1)
                near, far = (1 - f) * above[n] + f * below[n], (1 - f) * above[k] + f * below[k]
                out[d, i, j] = (1 - g) * near + g * far >= threshold


@jit_exact
def first_pixel(edge, length):
    """The first pixel whose centre lies at the edge or beyond; `length` if none does."""
    return int(min(max(np.ceil(edge - 0.5), 0.0), float(length)))


@jit_exact
def position(i, near, far, M):
    """Where pixel i's centre lies among the centres of M cells from near to far: the cell before it, and the way from there to the next."""
    v = (i + 0.5 - near) / max(far - near, 1e-12) * M - 0.5
    v = v if v > 0 else 0.0                                            # NaN, of an infinite box, is not above 0
    v = v if v < M - 1 else M - 1.0
    return int(v), v - int(v)
