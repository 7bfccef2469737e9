"""Two other right answers to each exercise about boxes: plain loops, and NumPy in another way than the library's.

They are written as students write: for NumPy alone, without checks of the arguments, and without looking at the library's body.
"""
import math

import numpy as np

# ---- what a box is

def box_convert_loops(boxes, in_fmt, out_fmt):
    out = np.empty(boxes.shape, boxes.dtype)
    for index in np.ndindex(boxes.shape[:-1]):
        p, q, r, s = boxes[index]
        if in_fmt == "xywh":
            x1, y1, x2, y2 = p, q, p + r, q + s
        elif in_fmt == "cxcywh":
            x1, y1, x2, y2 = p - r / 2, q - s / 2, p + r / 2, q + s / 2
        else:
            x1, y1, x2, y2 = p, q, r, s
        if out_fmt == "xywh":
            out[index] = x1, y1, x2 - x1, y2 - y1
        elif out_fmt == "cxcywh":
            out[index] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        else:
            out[index] = x1, y1, x2, y2
    return out


def box_convert_matrices(boxes, in_fmt, out_fmt):
    """Each format is a linear map of the corners, so converting is one matrix and the inverse of another."""
    corner_size = [[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 1, 0], [0, -1, 0, 1]]
    centre_size = [[.5, 0, .5, 0], [0, .5, 0, .5], [-1, 0, 1, 0], [0, -1, 0, 1]]
    of_corners = {"xyxy": np.eye(4), "xywh": np.array(corner_size, float), "cxcywh": np.array(centre_size)}
    matrix = of_corners[out_fmt] @ np.linalg.inv(of_corners[in_fmt])
    return np.einsum("ij,...j->...i", matrix.astype(boxes.dtype), boxes)


def clip_boxes_loops(boxes, image_size):
    out = boxes.copy()
    for index in np.ndindex(boxes.shape):
        limit = image_size[1] if index[-1] % 2 == 0 else image_size[0]
        out[index] = min(max(boxes[index], 0), limit)
    return out


def clip_boxes_vectors(boxes, image_size):
    limits = np.array([image_size[1], image_size[0]] * 2, boxes.dtype)
    return np.minimum(np.maximum(boxes, 0), limits).astype(boxes.dtype)


# ---- overlap and suppression

def box_iou_loops(boxes1, boxes2):
    out = np.zeros((len(boxes1), len(boxes2)), boxes1.dtype)
    for i, (a1, b1, a2, b2) in enumerate(boxes1):
        for j, (c1, d1, c2, d2) in enumerate(boxes2):
            w, h = min(a2, c2) - max(a1, c1), min(b2, d2) - max(b1, d1)
            if w > 0 and h > 0:
                out[i, j] = w * h / ((a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - w * h)
    return out


def box_iou_axes(boxes1, boxes2):
    """One axis after the other; the shared length is what two intervals have less what they span together."""
    def shared(a, b, c, d):
        return np.clip(np.minimum.outer(b, d) - np.maximum.outer(a, c), 0, None)
    inter = shared(boxes1[:, 0], boxes1[:, 2], boxes2[:, 0], boxes2[:, 2]) * shared(boxes1[:, 1], boxes1[:, 3], boxes2[:, 1], boxes2[:, 3])
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes1, boxes2)]
    union = np.add.outer(*areas) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def nms_loops(boxes, scores, iou_threshold):
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(box_iou_loops(boxes[i:i + 1], boxes[k:k + 1])[0, 0] <= iou_threshold for k in kept):
            kept.append(i)
    return np.array(kept, np.int64)


def nms_table(boxes, scores, iou_threshold):
    """All IoUs first, then a mask of who is still alive."""
    order = np.lexsort((np.arange(len(boxes)), -scores))
    over = box_iou_axes(boxes, boxes) > iou_threshold
    alive = np.ones(len(boxes), bool)
    for place, i in enumerate(order):
        if alive[i]:
            later = order[place + 1:]
            alive[later[over[i, later]]] = False
    return order[alive[order]]


def batched_nms_loops(boxes, scores, idxs, iou_threshold):
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        rivals = [k for k in kept if idxs[k] == idxs[i]]
        if all(box_iou_loops(boxes[i:i + 1], boxes[k:k + 1])[0, 0] <= iou_threshold for k in rivals):
            kept.append(i)
    return np.array(kept, np.int64)


def batched_nms_apart(boxes, scores, idxs, iou_threshold):
    """Groups moved so far apart that their boxes cannot meet: one NMS does for all."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    far = boxes.max() - boxes.min() + 1
    groups = np.unique(idxs, return_inverse=True)[1]
    return nms_table(boxes + (groups * far)[:, None], scores, iou_threshold)


# ---- the box transform

def encode_boxes_loops(boxes, references, weights=(1, 1, 1, 1)):
    boxes, references = np.broadcast_arrays(boxes, references)
    out = np.zeros(boxes.shape, boxes.dtype)
    for index in np.ndindex(boxes.shape[:-1]):
        (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes[index], references[index]
        out[index] = (((x1 + x2) - (u1 + u2)) / 2 / (u2 - u1) * weights[0], ((y1 + y2) - (v1 + v2)) / 2 / (v2 - v1) * weights[1],
                      (math.log(x2 - x1) - math.log(u2 - u1)) * weights[2], (math.log(y2 - y1) - math.log(v2 - v1)) * weights[3])
    return out


def encode_boxes_halves(boxes, references, weights=(1, 1, 1, 1)):
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    centre0, size0 = (references[..., :2] + references[..., 2:]) / 2, references[..., 2:] - references[..., :2]
    return np.concatenate([(centre - centre0) / size0, np.log(size) - np.log(size0)], axis=-1) * np.asarray(weights, boxes.dtype)


def decode_boxes_loops(deltas, references, weights=(1, 1, 1, 1)):
    deltas, references = np.broadcast_arrays(deltas, references)
    out = np.zeros(deltas.shape, deltas.dtype)
    for index in np.ndindex(deltas.shape[:-1]):
        (dx, dy, dw, dh), (u1, v1, u2, v2) = deltas[index] / np.asarray(weights), references[index]
        x, y = (u1 + u2) / 2 + (u2 - u1) * dx, (v1 + v2) / 2 + (v2 - v1) * dy
        w = (u2 - u1) * min(math.exp(dw), 1000 / 16)
        h = (v2 - v1) * min(math.exp(dh), 1000 / 16)
        out[index] = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return out


def decode_boxes_halves(deltas, references, weights=(1, 1, 1, 1)):
    deltas = deltas / np.asarray(weights, deltas.dtype)
    size0 = references[..., 2:] - references[..., :2]
    centre = (references[..., 2:] + references[..., :2]) / 2 + size0 * deltas[..., :2]
    half = size0 * np.minimum(np.exp(deltas[..., 2:]), deltas.dtype.type(1000 / 16)) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def decode_boxes_backward_loops(dout, cache):
    ddeltas, dreferences = np.zeros_like(cache.deltas), np.zeros_like(cache.references)
    for n in range(len(dout)):
        for axis in (0, 1):                                            # x, then y
            near, far = dout[n, axis], dout[n, axis + 2]
            p1, p2 = cache.references[n, axis], cache.references[n, axis + 2]
            weight, weight_size = cache.weights[axis], cache.weights[axis + 2]
            t, t_size = cache.deltas[n, axis] / weight, cache.deltas[n, axis + 2] / weight_size
            clipped = t_size >= math.log(1000 / 16)
            grow = 1000 / 16 if clipped else math.exp(t_size)
            dcentre, dsize = near + far, (far - near) / 2
            ddeltas[n, axis] = dcentre * (p2 - p1) / weight
            ddeltas[n, axis + 2] = 0 if clipped else dsize * (p2 - p1) * grow / weight_size
            dreferences[n, axis] = dcentre * (0.5 - t) - dsize * grow
            dreferences[n, axis + 2] = dcentre * (0.5 + t) + dsize * grow
    return ddeltas, dreferences


def decode_boxes_backward_jacobian(dout, cache):
    """The whole Jacobian of each coordinate axis, 2 outputs by 4 inputs, and one einsum."""
    dtype = dout.dtype
    weights = np.asarray(cache.weights, dtype)
    t = (cache.deltas / weights).reshape(-1, 2, 2)                     # (N, way or growth, xy)
    limit = np.log(dtype.type(1000 / 16))
    grow, size = np.exp(np.minimum(t[:, 1], limit)), cache.references[:, 2:] - cache.references[:, :2]           # (N, xy)
    J = np.zeros((len(dout), 2, 2, 4), dtype)                          # (N, xy, near or far, way growth p1 p2)
    for side, sign in enumerate((-0.5, 0.5)):
        J[:, :, side, 0] = size / weights[:2]
        J[:, :, side, 1] = np.where(t[:, 1] < limit, sign * size * grow, 0) / weights[2:]
        J[:, :, side, 2] = 0.5 - t[:, 0] - sign * grow
        J[:, :, side, 3] = 0.5 + t[:, 0] + sign * grow
    grads = np.einsum("nsa,nask->nka", dout.reshape(-1, 2, 2), J)      # (N, 4, xy)
    return grads[:, :2].reshape(-1, 4), grads[:, 2:].reshape(-1, 4)


# ---- anchors, matching, sampling, levels

def cell_anchors_loops(sizes, aspect_ratios, dtype=np.float32):
    out = []
    for size in sizes:
        for ratio in aspect_ratios:
            w = math.sqrt(size * size / ratio)
            out.append([-w / 2, -w * ratio / 2, w / 2, w * ratio / 2])
    return np.array(out, dtype)


def cell_anchors_product(sizes, aspect_ratios, dtype=np.float32):
    s, r = np.meshgrid(np.asarray(sizes, float), np.asarray(aspect_ratios, float), indexing="ij")
    half = np.stack([s * r ** -0.5, s * r ** 0.5], axis=-1).reshape(-1, 2) / 2
    return np.concatenate([-half, half], axis=1).astype(dtype)


def grid_anchors_loops(feature_size, stride, offset=0.5, *, cell):
    sy, sx = stride if isinstance(stride, tuple) else (stride, stride)
    out = np.zeros((feature_size[0] * feature_size[1] * len(cell), 4), cell.dtype)
    row = 0
    for i in range(feature_size[0]):
        for j in range(feature_size[1]):
            for anchor in cell:
                x, y = (j + offset) * sx, (i + offset) * sy
                out[row] = anchor + np.array([x, y, x, y], cell.dtype)
                row += 1
    return out


def grid_anchors_broadcast(feature_size, stride, offset=0.5, *, cell):
    (H, W), (sy, sx) = feature_size, np.broadcast_to(stride, 2)
    out = np.zeros((H, W, len(cell), 4), cell.dtype) + cell
    out[..., [0, 2]] += ((np.arange(W) + offset) * sx).astype(cell.dtype)[None, :, None, None]
    out[..., [1, 3]] += ((np.arange(H) + offset) * sy).astype(cell.dtype)[:, None, None, None]
    return out.reshape(-1, 4)


def match_boxes_loops(iou, fg_threshold, bg_threshold, allow_low_quality=False):
    G, A = iou.shape
    matched, labels = np.zeros(A, np.int64), np.zeros(A, np.int64)
    for a in range(A):
        best = -1.0
        for g in range(G):
            if iou[g, a] > best:
                best, matched[a] = iou[g, a], g
        labels[a] = 1 if best >= fg_threshold else (0 if best < bg_threshold else -1)
    for g in range(G if allow_low_quality else 0):
        best = max(iou[g], default=0)
        for a in range(A):
            if iou[g, a] == best and best > 0:
                labels[a] = 1
    return matched, labels


def match_boxes_padded(iou, fg_threshold, bg_threshold, allow_low_quality=False):
    """A row of zeros below stands for "no truth": then no case is special."""
    iou = np.vstack([iou, np.zeros_like(iou, shape=(1, iou.shape[1]))])
    best = iou.max(axis=0)
    labels = (best >= fg_threshold).astype(np.int64) - ((best >= bg_threshold) & (best < fg_threshold))
    if allow_low_quality and iou.shape[1]:
        rows, columns = np.nonzero((iou == iou.max(axis=1, keepdims=True)) & (iou > 0))
        labels[columns] = 1
    return np.where(best > 0, iou.argmax(axis=0), 0), labels


def sample_labels_permutation(labels, num_samples, positive_fraction, rng):
    positives, negatives = (rng.permutation(np.flatnonzero(labels == k)) for k in (1, 0))
    positives = positives[:int(num_samples * positive_fraction)]
    negatives = negatives[:num_samples - len(positives)]
    return np.concatenate([np.sort(positives), np.sort(negatives)])


def sample_labels_loops(labels, num_samples, positive_fraction, rng):
    """A random number for every anchor; the smallest win."""
    tickets = sorted((rng.random(), i) for i in range(len(labels)))
    chosen = {1: [], 0: []}
    for _, i in tickets:
        if labels[i] == 1 and len(chosen[1]) < int(num_samples * positive_fraction):
            chosen[1].append(i)
    for _, i in tickets:
        if labels[i] == 0 and len(chosen[0]) < num_samples - len(chosen[1]):
            chosen[0].append(i)
    return np.array(sorted(chosen[1]) + sorted(chosen[0]), np.int64)


def assign_levels_loops(boxes, min_level, max_level, canonical_size=224, canonical_level=4):
    out = np.zeros(len(boxes), np.int64)
    for n, (x1, y1, x2, y2) in enumerate(boxes):
        area = max(float(x2 - x1), 0) * max(float(y2 - y1), 0)
        k = math.floor(canonical_level + math.log2(math.sqrt(area) / canonical_size + 1e-8))
        out[n] = min(max(k, min_level), max_level)
    return out


def assign_levels_doublings(boxes, min_level, max_level, canonical_size=224, canonical_level=4):
    """How many of the levels' areas does the box reach? A level up is four times the area."""
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    begins = canonical_size ** 2 * 4.0 ** (np.arange(min_level + 1, max_level + 1) - canonical_level)
    return min_level + (area[:, None] * (1 + 1e-7) >= begins).sum(axis=1)


SOLUTIONS = {
    "box_convert": (box_convert_loops, box_convert_matrices),
    "clip_boxes": (clip_boxes_loops, clip_boxes_vectors),
    "box_iou": (box_iou_loops, box_iou_axes),
    "nms": (nms_loops, nms_table),
    "batched_nms": (batched_nms_loops, batched_nms_apart),
    "encode_boxes": (encode_boxes_loops, encode_boxes_halves),
    "decode_boxes": (decode_boxes_loops, decode_boxes_halves),
    "decode_boxes_backward": (decode_boxes_backward_loops, decode_boxes_backward_jacobian),
    "cell_anchors": (cell_anchors_loops, cell_anchors_product),
    "grid_anchors": (grid_anchors_loops, grid_anchors_broadcast),
    "match_boxes": (match_boxes_loops, match_boxes_padded),
    "sample_labels": (sample_labels_loops, sample_labels_permutation),
    "assign_levels": (assign_levels_loops, assign_levels_doublings),
}
