"""COCO's greedy matching as the plain loop. Shapes here: A area ranges, T thresholds, D detections (best first), G ground truths."""
import numpy as np

from numpyvision.kernels.jit import jit


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
