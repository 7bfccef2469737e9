"""From scores to answers: the class of a pixel, and COCO's greedy matching as the plain loop.

Shapes here: N images of P pixels, K1 classes; A area ranges, T thresholds, D detections (best first), G ground truths.
"""
import numpy as np

from numpyvision.kernels.jit import jit, jit_exact

BLOCK = 1024             # pixels whose best scores so far stay in the first cache while all classes pass by


@jit_exact
def largest_class(scores, used):
    """scores (N, K1, P) -> (N, P) uint8: which of the classes `used` (rising) has the highest score, the first of equals, the first NaN."""
    N, _, P = scores.shape
    out, best, which = np.empty((N, P), np.uint8), np.empty(BLOCK, scores.dtype), np.empty(BLOCK, np.int32)
    for n in range(N):
        for start in range(0, P, BLOCK):
            size = min(BLOCK, P - start)
            for i in range(size):
                best[i], which[i] = scores[n, used[0], start + i], used[0]
            for k in used[1:]:
                row = scores[n, k]
                for i in range(size):                                          # choices instead of branches, so that it vectorises
                    better = (row[start + i] > best[i]) | ((row[start + i] != row[start + i]) & (best[i] == best[i]))
                    best[i] = row[start + i] if better else best[i]
                    which[i] = k if better else which[i]
            for i in range(size):
                out[n, start + i] = which[i]
    return out


@jit
def match_coco(similarity, ignore, crowd, thresholds):
    """similarity (D, G) float64, ignore (A, G) bool, crowd (G,) bool, thresholds (T,) -> matched (A, T, D) int64, -1 for none."""
    (A, G), T, D = ignore.shape, len(thresholds), len(similarity)
    matched = np.full((A, T, D), -1)
    for a in range(A):
        for t in range(T):
            taken = np.zeros(G, np.bool_)
            for d in range(D):
                best, best_value, best_ignored = -1, thresholds[t], True
                for g in range(G):
                    if (taken[g] and not crowd[g]) or similarity[d, g] < thresholds[t]:
                        continue
                    better = similarity[d, g] >= best_value                    # the last of equals, as COCO's loop has it
                    if (best_ignored and not ignore[a, g]) or (better and best_ignored == ignore[a, g]):
                        best, best_value, best_ignored = g, similarity[d, g], ignore[a, g]
                if best >= 0:
                    taken[best] = True
                    matched[a, t, d] = best
    return matched
