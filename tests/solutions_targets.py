"""Two other right answers to each exercise about mask and keypoint targets and metrics: plain loops, and NumPy in another way."""
import math

import numpy as np

from numpyvision.boxes.keypoints import NAMES, SIGMAS

# ---- masks and joints

def crop_masks_loops(masks, boxes, size):
    out = np.zeros((len(boxes), size, size))
    for r, (x1, y1, x2, y2) in enumerate(boxes.astype(float)):
        h, w = (y2 - y1) / size, (x2 - x1) / size
        for m, n in np.ndindex(size, size):
            if h <= 0 or w <= 0:
                continue
            top, left = y1 + m * h, x1 + n * w
            for i, j in zip(*np.nonzero(masks[r]), strict=True):
                tall = min(i + 1, top + h) - max(i, top)
                wide = min(j + 1, left + w) - max(j, left)
                if tall > 0 and wide > 0:
                    out[r, m, n] += tall * wide / (h * w)
    return np.clip(out, 0, 1)


def crop_masks_products(masks, boxes, size):
    """How long each pixel's part of each cell is, along rows and along columns; then a sum over both."""
    def lengths(near, far, pixels):
        edges = near[:, None] + np.arange(size + 1) / size * (far - near)[:, None]                       # (R, M+1)
        part = np.minimum(edges[:, 1:, None], np.arange(pixels) + 1) - np.maximum(edges[:, :-1, None], np.arange(pixels))
        cell = ((far - near) / size)[:, None, None]
        return np.divide(np.maximum(part, 0), cell, out=np.zeros_like(part), where=cell > 0)
    x1, y1, x2, y2 = boxes.astype(float).T
    _, H, W = masks.shape
    return np.einsum("rmi,rij,rnj->rmn", lengths(y1, y2, H), masks.astype(float), lengths(x1, x2, W))


def paste_masks_loops(probs, boxes, size, threshold=0.5):
    out, M = np.zeros((len(probs), *size), bool), probs.shape[1]
    for d, (x1, y1, x2, y2) in enumerate(boxes.astype(float)):
        for i, j in np.ndindex(*size):
            x, y = j + 0.5, i + 0.5
            if not (x1 <= x < x2 and y1 <= y < y2):
                continue
            u = min(max((x - x1) / (x2 - x1) * M - 0.5, 0), M - 1)
            v = min(max((y - y1) / (y2 - y1) * M - 0.5, 0), M - 1)
            a, b = min(int(v), M - 2), min(int(u), M - 2)
            s, t = v - a, u - b
            value = (probs[d, a, b] * (1 - s) * (1 - t) + probs[d, a, b + 1] * (1 - s) * t
                     + probs[d, a + 1, b] * s * (1 - t) + probs[d, a + 1, b + 1] * s * t)
            out[d, i, j] = value >= threshold - 1e-12
    return out


def paste_masks_padded(probs, boxes, size, threshold=0.5):
    """The whole image at once: interpolate everywhere with np.interp along both axes, then cut off what lies outside of the box."""
    out, M = np.zeros((len(probs), *size), bool), probs.shape[1]
    y, x = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    for d, (x1, y1, x2, y2) in enumerate(boxes.astype(float)):
        if x2 <= x1 or y2 <= y1:
            continue
        cells_x, cells_y = x1 + (np.arange(M) + 0.5) / M * (x2 - x1), y1 + (np.arange(M) + 0.5) / M * (y2 - y1)
        wide = np.stack([np.interp(x, cells_x, row) for row in probs[d].astype(float)])                  # (M, W), ends held
        full = np.stack([np.interp(y, cells_y, column) for column in wide.T], axis=1)                    # (H, W)
        inside = np.outer((y >= y1) & (y < y2), (x >= x1) & (x < x2))
        out[d] = (full >= threshold - 1e-12) & inside
    return out


def keypoint_cells_loops(keypoints, boxes, size):
    out = np.full(keypoints.shape[:2], -1, np.int64)
    for r, j in np.ndindex(*out.shape):
        x, y, v = keypoints[r, j].astype(float)
        x1, y1, x2, y2 = boxes[r].astype(float)
        if v > 0 and x1 <= x <= x2 and y1 <= y <= y2:
            column, row = math.floor((x - x1) * size / (x2 - x1)), math.floor((y - y1) * size / (y2 - y1))
            out[r, j] = min(row, size - 1) * size + min(column, size - 1)
    return out


def keypoint_cells_dot(keypoints, boxes, size):
    near, far = boxes[:, None, :2].astype(float), boxes[:, None, 2:].astype(float)
    xy = keypoints[..., :2].astype(float)
    learned = (keypoints[..., 2] != 0) & ((xy >= near) & (xy <= far)).all(axis=-1)
    cells = np.minimum(((xy - near) * size / (far - near)).astype(np.int64), size - 1)
    return np.where(learned, cells @ np.array([1, size]), -1)


def flip_keypoints_loops(keypoints, width):
    out = np.empty_like(keypoints)
    for r, person in enumerate(keypoints):
        for j, name in enumerate(NAMES):
            twin = name.replace("left", "?").replace("right", "left").replace("?", "right")
            x, y, v = person[NAMES.index(twin)]
            out[r, j] = (width - x if v > 0 else x), y, v
    return out


def flip_keypoints_pairs(keypoints, width):
    """Odd rows are left, even ones right, of the same pair: exchange them as a block."""
    out = np.array(keypoints)
    out[:, 1::2], out[:, 2::2] = keypoints[:, 2::2], keypoints[:, 1::2]
    labelled = out[..., 2] > 0
    out[labelled, 0] = width - out[labelled, 0]
    return out


def oks_loops(keypoints, gt_keypoints, gt_areas, gt_boxes, sigmas=SIGMAS):
    out = np.zeros((len(keypoints), len(gt_keypoints)))
    for d, g in np.ndindex(*out.shape):
        labelled = [j for j in range(len(sigmas)) if gt_keypoints[g, j, 2] > 0]
        x1, y1, x2, y2 = gt_boxes[g].astype(float)
        values = []
        for j in labelled or range(len(sigmas)):
            x, y = keypoints[d, j, :2].astype(float)
            if labelled:
                dx, dy = x - gt_keypoints[g, j, 0], y - gt_keypoints[g, j, 1]
            else:
                dx = max(x1 - (x2 - x1) - x, 0, x - x2 - (x2 - x1))
                dy = max(y1 - (y2 - y1) - y, 0, y - y2 - (y2 - y1))
            values.append(math.exp(-(dx * dx + dy * dy) / (2 * float(gt_areas[g]) * (2 * sigmas[j]) ** 2)))
        out[d, g] = sum(values) / len(values)
    return out


def oks_einsum(keypoints, gt_keypoints, gt_areas, gt_boxes, sigmas=SIGMAS):
    """d^2 by |a|^2 - 2ab + |b|^2 would cancel; so the difference first, and the means by einsum with a weight a joint."""
    found, truth, boxes = (np.asarray(a, float) for a in (keypoints, gt_keypoints, gt_boxes))
    weight = (truth[..., 2] > 0).astype(float)
    unknown = weight.sum(axis=1) == 0
    weight[unknown] = 1
    weight /= weight.sum(axis=1, keepdims=True)
    way = found[:, None, :, :2] - truth[None, :, :, :2]
    centre, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, 1.5 * (boxes[:, 2:] - boxes[:, :2])
    beyond = np.maximum(abs(found[:, None, :, :2] - centre[None, :, None]) - reach[None, :, None], 0)
    way[:, unknown] = beyond[:, unknown]
    value = np.exp(-np.einsum("dgjk,dgjk->dgj", way, way) / (8 * np.outer(gt_areas, np.square(sigmas))))
    return np.einsum("dgj,gj->dg", value, weight)


# ---- metrics

def match_voc_loops(similarity, ignore, threshold):
    verdict, seen = [], [False] * similarity.shape[1]
    for row in similarity:
        best, g = -1.0, -1
        for k, value in enumerate(row):
            if value > best:
                best, g = value, k
        if g < 0 or best < threshold:
            verdict.append(0)
        elif ignore[g]:
            verdict.append(-1)
        else:
            verdict.append(0 if seen[g] else 1)
            seen[g] = True
    return np.array(verdict, np.int64)


def match_voc_first(similarity, ignore, threshold):
    """No loop over detections: of those that chose the same object, the first is the hit."""
    if not similarity.size:
        return np.zeros(len(similarity), np.int64)
    choice = np.where(similarity.max(axis=1) >= threshold, similarity.argmax(axis=1), -1)
    verdict = np.zeros(len(choice), np.int64)
    for g in np.unique(choice[choice >= 0]):
        who = np.flatnonzero(choice == g)
        verdict[who if ignore[g] else who[:1]] = -1 if ignore[g] else 1
    return verdict


def precision_recall_loops(tp, fp, positives):
    precision, recall = np.zeros(tp.shape), np.zeros(tp.shape)
    for index in np.ndindex(tp.shape):
        so_far = (*index[:-1], slice(0, index[-1] + 1))
        hits, misses = int(tp[so_far].sum()), int(fp[so_far].sum())
        precision[index] = hits / (hits + misses) if hits + misses else 0
        recall[index] = hits / positives
    return precision, recall


def precision_recall_matrix(tp, fp, positives):
    """Running sums as a product with a triangle of ones."""
    triangle = np.triu(np.ones((tp.shape[-1],) * 2))
    hits, counted = tp @ triangle, (tp | fp) @ triangle
    return np.divide(hits, counted, out=np.zeros_like(hits), where=counted > 0), hits / positives


def average_precision_loops(precision, recall, points="all"):
    best = [max(precision[d:]) for d in range(len(precision))]
    if points == "all":
        area, before = 0.0, 0.0
        for height, r in zip(best, recall, strict=True):
            area, before = area + (r - before) * height, r
        return float(area)
    total = 0.0
    for at in (np.linspace(0, 1, 101) if points == 101 else [k / 10 for k in range(11)]):
        total += max((p for p, r in zip(precision, recall, strict=True) if r >= at), default=0.0)
    return float(total / points)


def average_precision_table(precision, recall, points="all"):
    """Precision at a recall is the largest at any rank that reaches it: a table of ranks by recalls."""
    reach = lambda at: np.where(recall >= np.asarray(at)[:, None], precision, 0).max(axis=1, initial=0)
    if points == "all":
        steps = np.unique(recall)
        return float(np.sum((steps - np.concatenate([[0.], steps[:-1]])) * reach(steps))) if len(steps) else 0.0
    return float(reach(np.linspace(0, 1, 101) if points == 101 else np.arange(11) / 10).mean())


def confusion_counts_loops(truth, prediction, num_classes, ignore_index=255):
    out = np.zeros((num_classes, num_classes), np.int64)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if ignore_index is None or t != ignore_index:
            out[t, p] += 1
    return out


def confusion_counts_onehot(truth, prediction, num_classes, ignore_index=255):
    """One-hot maps multiplied: an ignored pixel is no class at all, so its row is zero."""
    classes = np.arange(num_classes)
    rows, columns = truth.reshape(-1, 1) == classes, prediction.reshape(-1, 1) == classes
    if ignore_index is not None:
        rows = rows & (truth.reshape(-1, 1) != ignore_index)
    return np.einsum("pt,pc->tc", rows.astype(np.int64), columns.astype(np.int64))


def mean_iou_loops(matrix):
    found = []
    for k in range(len(matrix)):
        union = sum(matrix[k, j] for j in range(len(matrix))) + sum(matrix[j, k] for j in range(len(matrix)) if j != k)
        if union:
            found.append(matrix[k, k] / union)
    return float(sum(found) / len(found)) if found else float("nan")


def mean_iou_dice(matrix):
    """By Dice: IoU = F / (2 - F), with F = 2 hits / (true + predicted)."""
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    there = both > 0
    f = 2 * np.diag(matrix)[there] / both[there]
    return float(np.mean(f / (2 - f))) if there.any() else float("nan")


SOLUTIONS = {
    "crop_masks": (crop_masks_loops, crop_masks_products),
    "paste_masks": (paste_masks_loops, paste_masks_padded),
    "keypoint_cells": (keypoint_cells_loops, keypoint_cells_dot),
    "flip_keypoints": (flip_keypoints_loops, flip_keypoints_pairs),
    "oks": (oks_loops, oks_einsum),
    "match_voc": (match_voc_loops, match_voc_first),
    "precision_recall": (precision_recall_loops, precision_recall_matrix),
    "average_precision": (average_precision_loops, average_precision_table),
    "confusion_counts": (confusion_counts_loops, confusion_counts_onehot),
    "mean_iou": (mean_iou_loops, mean_iou_dice),
}
