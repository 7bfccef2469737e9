"""Inputs for the exercises about mask and keypoint targets and about metrics: {name: function(rng) -> [(args, kwargs), ...]}."""
import numpy as np

# ---- masks and joints

def blob(rng, H, W):
    """A mask without symmetry: a small rectangle and two random ones."""
    mask = np.zeros((H, W), bool)
    mask[H // 3:H // 2, W // 3:W // 2] = True
    for _ in range(2):
        y, x = rng.integers(0, H - 2), rng.integers(0, W - 2)
        mask[y:y + rng.integers(2, H), x:x + rng.integers(2, W)] = True
    return mask


def crop_masks(rng):
    mask = np.zeros((1, 4, 6), bool)
    mask[0, :, 2:4] = True
    yield [mask, np.array([[1., 0, 4, 4]]), 2], {}
    masks = np.stack([blob(rng, 9, 12) for _ in range(3)])
    near = rng.uniform(0, 4, (3, 2))
    yield [masks, np.concatenate([near, near + rng.uniform(2, 5, (3, 2))], 1), 4], {}
    yield [masks, np.array([[-2.5, -1, 7, 6], [8, 3, 15, 11.5], [2, 2, 10, 7]]), 3], {}                  # partly outside the image
    yield [masks, np.array([[3., 4, 3, 8], [20, 20, 25, 25], [0, 0, 12, 9]]), 5], {}            # no area; wholly outside; all of it
    yield [np.zeros((0, 9, 12), bool), np.zeros((0, 4)), 4], {}


def paste_masks(rng):
    yield [np.array([[[0., 1], [0, 1]]]), np.array([[1., 1, 5, 5]]), (6, 7)], {}
    near = rng.uniform(0, 5, (3, 2))
    boxes = np.concatenate([near, near + rng.uniform(3, 8, (3, 2))], 1)
    yield [rng.random((3, 5, 5)), boxes, (11, 14)], {}
    yield [rng.random((3, 4, 4)), boxes - 4, (11, 14), 0.3], {}                                          # partly outside the image
    yield [np.full((1, 3, 3), 0.5), boxes[:1], (11, 14)], {}                                             # exactly on the threshold: set
    yield [rng.random((2, 4, 4)), np.array([[3., 3, 3, 6], [-9, 2, -4, 8]]), (11, 14)], {}               # nothing to paste
    yield [np.zeros((0, 4, 4)), np.zeros((0, 4)), (11, 14)], {}


def people(rng, count, size=60.0):
    """(count, 17, 3) keypoints, some hidden, some not labelled."""
    joints = np.concatenate([rng.uniform(0, size, (count, 17, 2)), rng.integers(0, 3, (count, 17, 1))], axis=2)
    return np.where(joints[..., 2:] > 0, joints, 0)                                # not labelled is 0, 0, 0 in COCO


def keypoint_cells(rng):
    yield [np.array([[[38.5, 76, 2]]]), np.array([[10., 20, 66, 132]]), 56], {}
    near = rng.uniform(0, 10, (3, 2))
    boxes = np.concatenate([near, near + rng.uniform(30, 50, (3, 2))], 1)
    yield [people(rng, 3), boxes, 14], {}
    corners = np.array([[[10., 20, 2], [66, 132, 2], [66, 20, 1], [9.9, 76, 2], [38, 132.1, 2], [38, 76, 0]]])
    yield [corners, np.array([[10., 20, 66, 132]]), 7], {}                                               # edges, outside, not labelled
    yield [np.zeros((1, 17, 3)), np.array([[-5., -5, 20, 30]]), 8], {}                                   # not labelled, yet inside the box
    yield [np.zeros((0, 17, 3)), np.zeros((0, 4)), 14], {}


def flip_keypoints(rng):
    one = np.zeros((1, 17, 3))
    one[0, :3] = [50, 10, 2], [54, 8, 2], [46, 9, 1]                               # nose, left eye, right eye
    yield [one, 100], {}
    yield [people(rng, 3), 64], {}
    yield [people(rng, 0), 64], {}


def oks(rng):
    truth = np.zeros((1, 17, 3))
    truth[0, 0] = 50, 40, 2                                                        # a nose, nothing else is labelled
    found = np.repeat(truth, 2, axis=0)
    found[1, 0, :2] += 3, 4                                                        # 5 pixels off
    yield [found, truth, np.array([1e4]), np.array([[0., 0, 100, 100]])], {}
    truth = people(rng, 3)
    found = np.concatenate([truth[:2] + rng.normal(0, 3, (2, 17, 3)), people(rng, 2)])
    boxes = np.tile([5., 5, 55, 50], (3, 1)) + rng.uniform(-5, 5, (3, 4))
    yield [found, truth, rng.uniform(400, 2500, 3), boxes], {}
    truth[1] = 0                                                                   # a person without a labelled joint
    small = np.tile([20., 22, 30, 35], (3, 1))
    yield [found, truth, rng.uniform(400, 2500, 3), small], {}
    yield [found[:, :5], truth[:1, :5], np.array([900.]), boxes[:1]], {"sigmas": rng.uniform(.03, .1, 5)}
    yield [found[:0], truth, np.ones(3), boxes], {}


# ---- metrics

def match_voc(rng):
    yield [np.array([[.8, .1], [.7, .6], [.2, .9]]), np.zeros(2, bool), 0.5], {}
    yield [np.array([[.5, .5], [.5, .4], [.49, 0]]), np.zeros(2, bool), 0.5], {}                          # exactly on the threshold; a tie
    yield [np.array([[.8, .1], [.9, .3], [.1, .7]]), np.array([True, False]), 0.5], {}                    # detections of an ignored object
    for D, G in ((10, 4), (7, 3)):
        yield [rng.random((D, G)).round(2), rng.random(G) < 0.3, 0.5], {}
    yield [np.zeros((3, 0)), np.zeros(0, bool), 0.5], {}
    yield [np.zeros((0, 2)), np.zeros(2, bool), 0.5], {}


def precision_recall(rng):
    hits = np.array([True, True, False, False, True])
    yield [hits, ~hits, 3], {}
    tp = rng.random(9) < 0.5
    yield [tp, ~tp, 12], {}
    yield [tp, ~tp & (rng.random(9) < 0.6), 7], {}                                                        # some count neither way
    yield [np.array([False, False, True]), np.array([False, True, False]), 1], {}
    tp = rng.random((3, 8)) < 0.6
    yield [tp, ~tp, 10], {}                                                                               # one ranking a row
    yield [np.zeros(0, bool), np.zeros(0, bool), 4], {}


def average_precision(rng):
    for hits, positives in [([1, 1, 0, 0, 1], 3), (rng.random(15) < 0.5, 20), ([0, 1, 0, 1, 1, 0, 1, 1], 5), ([1, 0, 1, 1], 4), ([], 2),
                            ([0, 0], 3)]:
        tp = np.array(hits, bool)
        ranks = np.arange(1, len(tp) + 1)
        for points in ("all", 11, 101):
            yield [tp.cumsum() / ranks, tp.cumsum() / positives], {"points": points}


def confusion_counts(rng):
    yield [np.array([[0, 0, 1], [1, 255, 2]]), np.array([[0, 1, 1], [1, 2, 1]]), 3], {}
    truth, found = rng.integers(0, 4, (2, 8, 9)), rng.integers(0, 4, (2, 8, 9))
    yield [truth, found, 5], {"ignore_index": None}
    yield [np.where(rng.random(truth.shape) < 0.2, 255, truth), found, 4], {}
    yield [rng.integers(0, 21, (9, 9)).astype(np.uint8), rng.integers(0, 21, (9, 9)).astype(np.uint8), 21], {}
    yield [np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64), 2], {}


def mean_iou(rng):
    yield [np.array([[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])], {}
    yield [rng.integers(0, 50, (5, 5))], {}
    table = rng.integers(1, 50, (6, 6))
    table[2] = table[4] = table[:, 4] = 0                                          # class 2 is only predicted, class 4 is nowhere
    yield [table], {}
    yield [np.zeros((3, 3), np.int64)], {}


CASES = {function.__name__: function for function in (
    crop_masks, paste_masks, keypoint_cells, flip_keypoints, oks, match_voc, precision_recall, average_precision,
    confusion_counts, mean_iou)}
