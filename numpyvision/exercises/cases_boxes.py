"""Inputs for the exercises about boxes, losses and metrics: {name: function(rng) -> [(args, kwargs), ...]}, the worked example first.

Each case is there because a mistake hides without it: touching boxes, ties, empty boxes, no boxes at all, sizes that are not square.
"""

import numpy as np

from numpyvision.exercises import cases_losses, cases_targets

NONE = np.zeros((0, 4))


def random_boxes(rng, count, size=20.0):
    """(count, 4) boxes whose corners lie in [0, size]."""
    corners = np.sort(rng.uniform(0, size, (count, 2, 2)), axis=1)               # (N, near and far, xy)
    return corners.reshape(count, 4)


def heap(rng, count, size=20.0):
    """(count, 4) boxes that overlap each other a good deal: one box, shaken; scores (count,)."""
    return np.array([4., 5, 14, 17]) + rng.uniform(-4, 4, (count, 4)), rng.permutation(count) / max(count, 1)


# ---- what a box is

def box_convert(rng):
    yield [np.array([[10., 20, 30, 60]]), "xyxy", "cxcywh"], {}
    boxes = random_boxes(rng, 4)
    for ours, theirs in [("xyxy", "xywh"), ("xywh", "xyxy"), ("cxcywh", "xyxy"), ("xyxy", "cxcywh"), ("xywh", "cxcywh"), ("cxcywh", "xywh"),
                         ("xyxy", "xyxy")]:
        yield [boxes, ours, theirs], {}
    yield [rng.uniform(1, 5, (2, 3, 4)), "cxcywh", "xywh"], {}                     # any leading shape
    yield [NONE, "xywh", "xyxy"], {}


def clip_boxes(rng):
    yield [np.array([[-5., 10, 70, 50]]), (40, 60)], {}
    yield [random_boxes(rng, 6, 40) - 10, (15, 22)], {}
    yield [np.array([[30., 2, 35, 4], [-9, -8, -7, -6], [1, 99, 3, 120]]), (20, 24)], {}                # wholly outside
    yield [random_boxes(rng, 6, 40).reshape(2, 3, 4) - 10, (22, 15)], {}
    yield [NONE, (20, 24)], {}


# ---- overlap and suppression

def box_iou(rng):
    yield [np.array([[0., 0, 4, 4]]), np.array([[2., 2, 6, 6], [4, 0, 8, 4], [0, 0, 4, 2]])], {}
    yield [random_boxes(rng, 5), random_boxes(rng, 3)], {}
    yield [random_boxes(rng, 4), random_boxes(rng, 4) + 100.0], {}                # all apart along both axes
    yield [np.array([[1., 1, 1, 1], [0, 0, 2, 2]]), np.array([[1., 1, 1, 1], [0, 0, 0, 3]])], {}                # empty boxes: 0, not nan
    yield [NONE, random_boxes(rng, 3)], {}
    yield [random_boxes(rng, 2), NONE], {}


def nms(rng):
    boxes = np.array([[0., 0, 10, 10], [0, 1, 10, 11], [0, 3, 10, 13], [20, 0, 30, 10]])
    yield [boxes, np.array([.9, .8, .7, .95]), 0.6], {}
    yield [boxes[[0, 0, 3, 1, 3]], np.array([.5, .5, .5, .5, .5]), 0.5], {}       # equal scores: the first index is the better one
    yield [np.array([[0., 0, 4, 4], [0, 0, 4, 2]]), np.array([.3, .6]), 0.5], {}                        # an IoU of exactly 0.5 stays
    for count, threshold in ((12, 0.5), (20, 0.3), (9, 0.7)):
        yield [*heap(rng, count), threshold], {}
    yield [NONE, np.zeros(0), 0.5], {}


def batched_nms(rng):
    boxes = np.array([[0., 0, 10, 10], [0, 1, 10, 11], [0, 1, 10, 11], [20, 0, 30, 10]])
    yield [boxes, np.array([.9, .8, .7, .95]), np.array([0, 0, 1, 1]), 0.5], {}
    yield [boxes[[1, 0, 1, 0, 3]], np.array([.5] * 5), np.array([7, 2, 2, 7, 0]), 0.5], {}                 # ties, within groups and across
    yield [np.array([[8., 8, 10, 10], [-2, -2, 0, 0]]), np.array([.4, .6]), np.array([0, 1]), 0.5], {}     # negative coordinates
    for count, groups in ((14, 3), (20, 2)):
        boxes, scores = heap(rng, count)
        yield [boxes - 12, scores, rng.integers(0, groups, count), 0.4], {}
    yield [NONE, np.zeros(0), np.zeros(0, np.int64), 0.5], {}


# ---- the box transform

def encode_boxes(rng):
    yield [np.array([[40., 33, 80, 43]]), np.array([[40., 35, 60, 45]])], {}
    boxes, references = (random_boxes(rng, 5) + [0, 0, 1, 1] for _ in range(2))
    yield [boxes, references], {}
    yield [boxes, references], {"weights": (10, 10, 5, 5)}
    yield [boxes[:, None], references[None, :3], (1, 2, 3, 4)], {}                # every box against every reference
    yield [NONE, NONE], {}


def decode_boxes(rng):
    yield [np.array([[0.5, -0.2, np.log(2), 0]]), np.array([[40., 35, 60, 45]])], {}
    references = random_boxes(rng, 5) + [0, 0, 1, 1]
    yield [rng.standard_normal((5, 4)), references], {}
    yield [rng.standard_normal((5, 4)), references, (10, 9, 5, 4)], {}
    yield [np.array([[0, 0, 4.2, 9], [0, 0, -9, 4.1]]), references[:2]], {}       # beyond log(1000 / 16) = 4.135
    yield [rng.standard_normal((5, 3, 4)), references[:, None]], {}               # one box a class
    yield [NONE, NONE], {}


def decode_boxes_backward(rng):
    yield [np.array([[0.5, -0.2, np.log(2), 0]]), np.array([[40., 35, 60, 45]])], {}
    references = random_boxes(rng, 5) + [0, 0, 1, 1]
    yield [rng.standard_normal((5, 4)), references], {}
    yield [rng.standard_normal((5, 4)), references, (3, 2, 5, 4)], {}
    yield [np.array([[.2, 0, 4.2, 9], [0, .1, -9, 4.1]]), references[:2]], {}     # beyond log(1000 / 16) = 4.135: clipped
    yield [NONE, NONE], {}


# ---- anchors, matching, sampling, levels

def cell_anchors(rng):
    yield [(4,), (1, 4)], {"dtype": np.float64}
    yield [rng.uniform(8, 64, 3), rng.uniform(.3, 3, 2)], {"dtype": np.float64}
    yield [(32, 64), (0.5, 1.0, 2.0)], {}                                         # float32 unless told otherwise


def grid_anchors(rng):
    cell = np.array([[-4., -2, 4, 2], [-3, -3, 3, 3]])
    yield [(2, 3), 8], {"cell": cell}
    yield [(3, 2), (4, 8)], {"cell": random_boxes(rng, 3) - 10}
    yield [(2, 2), 16, 0], {"cell": cell}                                         # offset 0, as Faster R-CNN had it
    yield [(0, 3), 8], {"cell": cell}


def match_boxes(rng):
    iou = np.array([[.8, .4, .2, .1, .3], [.1, .5, .2, .0, .25]])
    yield [iou, 0.7, 0.3], {}
    yield [iou, 0.7, 0.3], {"allow_low_quality": True}
    yield [np.array([[.7, .5, .3], [.0, .5, .3]]), 0.7, 0.3], {}                  # exactly on the thresholds, ties
    yield [np.array([[.1, .5, .5], [.8, .2, .1]]), 0.7, 0.3, True], {}            # two best anchors of one truth
    yield [np.array([[.9, .2, .1], [.0, .0, .0]]), 0.5, 0.5], {"allow_low_quality": True}                  # a truth that nobody overlaps
    yield [np.array([[.2, .6, .0], [.5, .7, .6]]), 0.65, 0.3, True], {}           # a truth's best anchor overlaps another truth more
    for shape in ((3, 12), (1, 8)):
        overlaps = np.round(rng.uniform(0, .9, shape) * (rng.random(shape) < .5), 1)
        yield [overlaps, 0.6, 0.3], {}
        yield [overlaps, 0.6, 0.3], {"allow_low_quality": True}
    yield [np.zeros((0, 4)), 0.7, 0.3, True], {}
    yield [np.zeros((2, 0)), 0.7, 0.3], {}


def sample_labels(rng):
    seed = lambda: np.random.default_rng(rng.integers(1 << 30))
    yield [np.array([1, 0, -1, 0, 0, 1, 1, 1, 0, -1]), 4, 0.5, seed()], {}
    yield [rng.permutation([1] * 40 + [0] * 60 + [-1] * 20), 30, 0.25, seed()], {}
    yield [rng.permutation([1] * 3 + [0] * 60 + [-1] * 20), 30, 0.5, seed()], {}               # few positives: more negatives
    yield [rng.permutation([1] * 40 + [0] * 3 + [-1] * 20), 30, 0.5, seed()], {}               # few negatives
    yield [rng.permutation([1] * 2 + [0] * 2 + [-1] * 20), 30, 0.5, seed()], {}
    yield [np.full(5, -1), 4, 0.5, seed()], {}
    yield [np.zeros(0, np.int64), 4, 0.5, seed()], {}


def check_sample(args, kwargs, out):
    """Any sample that keeps the rules is right: (code, message) of the first rule that `out` breaks."""
    labels, num_samples, fraction, _ = args
    wrong = lambda text: ("wrong-forward", text)
    if not isinstance(out, np.ndarray) or out.ndim != 1 or out.dtype.kind not in "iu":
        return "wrong-shape", f"return a 1-d array of integer indices into labels, got {getattr(out, 'dtype', type(out).__name__)}"
    if out.size and not 0 <= out.min() <= out.max() < len(labels):
        return wrong(f"index {out.max()} does not point into labels, which has {len(labels)} entries")
    if len(np.unique(out)) < len(out):
        return wrong(f"the same anchor was chosen twice ({len(out)} indices, {len(np.unique(out))} different): draw without replacement")
    if (labels[out] == -1).any():
        return wrong("a neutral anchor (label -1) was chosen: it has no say in the loss, only labels 1 and 0 may be sampled")
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wanted = min(int(num_samples * fraction), len(positives))
    rest = min(num_samples - wanted, len(negatives))
    found = int((labels[out] == 1).sum())
    if found != wanted:
        return wrong(f"{found} positives were chosen, expected {wanted}: int(num_samples * positive_fraction) = "
                     f"{int(num_samples * fraction)}, but not more than there are, {len(positives)}")
    if len(out) - found != rest:
        return wrong(f"{len(out) - found} negatives were chosen, expected {rest}: fill up to num_samples = {num_samples} after the "
                     f"{wanted} positives, but not more than there are, {len(negatives)}")
    if (labels[out[:wanted]] != 1).any() or (np.diff(out[:wanted]) < 0).any() or (np.diff(out[wanted:]) < 0).any():
        return wrong("the right ones are chosen, in another order than asked for: the positives first, then the negatives, each ascending")
    for kind, chosen, there in (("positives", out[:wanted], positives), ("negatives", out[wanted:], negatives)):
        for end in (there[:len(chosen)], there[len(there) - len(chosen):]):
            if 8 <= len(chosen) < 0.8 * len(there) and np.array_equal(chosen, end):     # by chance: less than once in 10^6
                return wrong(f"the {kind} are always those at one end of the list: choose them at random, with rng")
    return None


def assign_levels(rng):
    yield [np.array([[0., 0, 224, 224], [0, 0, 112, 112], [0, 0, 448, 112], [5, 5, 5, 9]]), 2, 5], {}
    sides = np.concatenate([2 ** rng.uniform(3, 11, (12, 2)), [[9000, 9000], [1, 2]]])               # beyond both ends too
    corners = rng.uniform(0, 50, (14, 2))
    yield [np.concatenate([corners, corners + sides], 1), 2, 5], {}
    yield [np.concatenate([corners, corners + sides], 1), 3, 7], {"canonical_size": 100, "canonical_level": 5}
    yield [NONE, 2, 5], {}


CASES = {function.__name__: function for function in (
    box_convert, clip_boxes, box_iou, nms, batched_nms, encode_boxes, decode_boxes, decode_boxes_backward, cell_anchors, grid_anchors,
    match_boxes, sample_labels, assign_levels)}
CASES |= cases_losses.CASES | cases_targets.CASES
OPTIONS = cases_losses.OPTIONS
CHECKS = {"sample_labels": check_sample}
