"""Per-region heads (L16-H01): whatever is to be said about an object, a head says it, and all heads plug in alike.

    rois, truth = head.targets(regions)                            which regions it wants to see, and what it shall say there
    outputs, losses, cache = head.forward(P, rois, truth, train)   outputs: an array with one row a region; losses empty without truth
    dP, grads = head.backward(dlosses, cache)                      dP: one gradient a pyramid level; the regions are constants to it
    (dP, drois), grads = head.backward_to_regions(dlosses, cache)  may be left out; `detach_proposals=False` asks where they should move;
                                                                   with `to_rois=False` they are constants after all, and drois None
    {field: rows} = head.decode(outputs, found, size)              found: the Detections of one image of this size that outputs are about

Masks (`mask_head.py`) and poses (`keypoint_head.py`) are two such heads, `colour_head.py` is a third in few lines. In training a head sees
the positive regions, with the object that each belongs to; in prediction it sees the boxes that are reported, and nothing else, because
where the second stage has moved the box onto the object, a mask or a joint in it is more exact.

Shapes here: N images, F positive regions of the batch, D detections, P_l (N, C, H_l, W_l), G objects of a sample.
"""
import dataclasses

import numpy as np

from numpyvision import tree
from numpyvision.boxes import convert, iou
from numpyvision.cache import new_cache
from numpyvision.layers.base import Layer
from numpyvision.models.targets import split_truth, unsure_objects

# A region S cells wide is cut at its best from the level on which it is about S cells wide itself. The box branch (S = 7) takes regions of
# 96 pixels from level 4; a head that wants S = 14 takes those of 192 from there, and so smaller regions from finer levels than the box.
CELLS = 96 / 7


@dataclasses.dataclass
class Regions:
    """The positive regions of a batch, each with its object: rois (F, 5), labels (F,) 1..K, and `rows` (F,): of which object of samples[i].

    i is the image, column 0 of the roi.
    """

    rois: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    samples: list

    def __len__(self):
        return len(self.rois)

    def __getitem__(self, index):
        """Some of the regions, by a mask or by indices."""
        return Regions(self.rois[index], self.labels[index], self.rows[index], self.samples)

    def objects(self):
        """(sample, row) of the object of every region."""
        return [(self.samples[int(i)], int(row)) for i, row in zip(self.rois[:, 0], self.rows, strict=True)]

    def read(self, field):
        """What the samples say about each region's object: regions.read("masks") -> list of F (H, W) arrays."""
        return [said(sample, field)[row] for sample, row in self.objects()]

    def image_by_image(self, field):
        """The same, for each image with regions (which regions, one array about their objects): of one image, all masks have one size."""
        for i, sample in enumerate(self.samples):
            mine = np.flatnonzero(self.rois[:, 0] == i)
            if len(mine):
                yield mine, said(sample, field)[self.rows[mine]]


def said(sample, field):
    """sample.masks, or another field; ValueError if there is none."""
    if getattr(sample, field) is None:
        raise ValueError(f"this model learns from sample.{field}, and image {sample.image_id!r} has none: either the data set does "
                         f"not offer {field}, or they were left out when it was opened")
    return getattr(sample, field)


def positive_regions(rois, labels, samples):
    """The regions that the box branch labelled with a class, and for each the object that it overlaps most, as the box branch has it.

    rois (R, 5), labels (R,) 0..K of `BoxBranch.targets` -> Regions. Selection: no gradient.
    """
    rows = np.zeros(len(rois), np.int64)
    for i, sample in enumerate(samples):
        mine = np.flatnonzero((rois[:, 0] == i) & (labels > 0))
        if len(mine):
            gt_boxes, _, _ = split_truth(sample, rois.dtype)
            rows[mine] = np.flatnonzero(~unsure_objects(sample))[iou.box_iou(gt_boxes, rois[mine, 1:]).argmax(axis=0)]
    return Regions(rois, labels, rows, list(samples))[labels > 0]


class RegionHead(Layer):
    """Base of heads. `labels`: the classes that it has something to say about, None for all."""

    labels = None

    def wanted(self, labels):
        """(F,) -> the indices of the regions of these classes that the head wants."""
        return np.arange(len(labels)) if self.labels is None else np.flatnonzero(np.isin(labels, self.labels))

    def backward(self, dlosses, cache):
        """dlosses: {name: loss weight}, a missing one counts as zero -> dP, grads."""
        (dP, _drois), grads = self.backward_to_regions(dlosses, cache, to_rois=False)
        return dP, grads


def forward_heads(heads, P, regions, train=True):
    """Every head learns from its regions -> losses of all, cache."""
    losses, cache = {}, new_cache(train, rois=regions.rois)
    for name, head in heads.items():
        rois, truth = head.targets(regions[head.wanted(regions.labels)])
        cache["rois", name] = rois
        _, head_losses, cache[name] = head.forward(P, rois, truth, train)
        twice = set(losses) & set(head_losses)
        if twice:
            raise ValueError(f"the head {name!r} names its loss {twice.pop()!r}, as another head does; every loss needs a name of its own")
        losses |= head_losses
    return losses, cache


def backward_heads(heads, dlosses, cache, to_rois=True):
    """dlosses: {name: loss weight} -> (dP, drois (F, 5)), grads {head's name: its gradients}.

    To a head that has only `backward`, the regions are constants; without to_rois they are to all, and drois is zero.
    """
    dP, drois, grads = None, np.zeros_like(cache.rois), {}
    for name, head in reversed(heads.items()):
        if to_rois and hasattr(head, "backward_to_regions"):
            (dP_head, drois_head), grads[name] = head.backward_to_regions(dlosses, cache[name])
            drois[rows_among(cache["rois", name], cache.rois)] += drois_head        # copy gate: one region, a reader a head
        else:
            dP_head, grads[name] = head.backward(dlosses, cache[name])
        dP = tree.add(dP, dP_head)                                                  # copy gate: one pyramid, a reader a head
    return (dP, drois), grads


def rows_among(chosen, rois):
    """Which of the rois (F, 5) a head chose: chosen (n, 5), some of them in their order -> (n,) indices."""
    rows, row = [], 0
    for roi in chosen:
        while row < len(rois) and (rois[row] != roi).any():
            row += 1
        if row == len(rois):
            raise ValueError(f"targets() of a head with backward_to_regions must return some of the rois that it is given, in their order; "
                             f"{roi.tolist()} is not among those left: was the box enlarged, or were the rows sorted?")
        rows.append(row)
        row += 1
    return np.array(rows, np.int64)


def decode_heads(heads, P, found, sizes):
    """Let every head look at the boxes that were found -> the same Detections with its fields. Other classes than its own get zeros."""
    rois = convert.boxes_to_rois([d.boxes for d in found]).astype(P[0].dtype, copy=False)
    labels = np.concatenate([d.labels for d in found])
    for head in heads.values():
        outputs, _, _ = head.forward(P, rois[head.wanted(labels)], train=False)
        start, complete = 0, []
        for d, size in zip(found, sizes, strict=True):
            rows = head.wanted(d.labels)
            said = head.decode(outputs[start:start + len(rows)], d[rows], tuple(size.tolist()))
            start += len(rows)
            complete.append(d.with_rows(**{field: _spread(values, rows, len(d)) for field, values in said.items()}))
        found = complete
    return found


def _spread(values, rows, count):
    """values for some rows -> for all `count` rows, zero elsewhere."""
    if len(rows) == count:
        return values
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    out[rows] = values
    return out
