"""Average precision by the two rules in use, Pascal VOC's and COCO's; of boxes, of masks (IoU of pixels) and of poses (OKS).

    evaluator = DetectionEvaluator(classes)                      # classes[0] is the background
    evaluator.add(image_id, gt_boxes, gt_labels, boxes, labels, scores)      # once an image
    evaluator.coco()["AP"], evaluator.voc(points=11)["mAP"]

    mask_evaluator(classes)      ... .add(..., gt_masks=, masks=)            # one evaluator, one table of records: only the similarity
    keypoint_evaluator(classes)  ... .add(..., gt_keypoints=, keypoints=)    # of a detection with a truth is another

| | VOC | COCO |
|---|---|---|
| a detection may take | only the object it overlaps most | of the objects still free, the one it overlaps most |
| ... and that is a hit | at IoU >= 0.5, if no better detection took it before | at IoU >= t, for ten t from 0.5 to 0.95 |
| ignored truth (a detection on it counts neither way) | `difficult`, crowd | those and what is out of the area range; taken last |
| IoU with a crowd region | usual | intersection / area of the detection; it may be taken many times |
| AP | mean precision at 11 recalls (2007), or area under the curve ("all", 2010) | mean precision at 101 recalls |
| detections | all | the best 1, 10 or 100 an image and class |

A number that nothing defines (a class or an area range without one counted object) is nan here, where pycocotools says -1, and means
leave it out. Equal scores keep the order in which they were added (pycocotools: the order of image ids).

Shapes here: K foreground classes, D detections, G ground truths, A = 4 area ranges, T = 10 thresholds, R = 101 recalls, M = 3 limits.
Sources: Everingham et al. 2010 (4.2), Lin et al. 2014, pycocotools' COCOeval (to which the tests hold these numbers to 1e-9).
"""
import numpy as np

from numpyvision import backend, kernels
from numpyvision.boxes import convert, iou
from numpyvision.boxes import keypoints as joints
from numpyvision.boxes import masks as rle

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)             # not arange(101) / 100: the last bits decide when a recall is exactly, say, 0.55
AREAS = {"all": (0, 1e10), "s": (0, 32 ** 2), "m": (32 ** 2, 96 ** 2), "l": (96 ** 2, 1e10)}      # both ends belong to a range
LIMITS = (1, 10, 100)
COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")        # at 20 detections an image


def box_similarity(dt, gt):
    """IoU of detections with ground truth, (D, G); for a crowd region, the part of the detection that lies inside it.

    dt and gt are dicts of arrays with one row an object: here `boxes` (·, 4) xyxy and gt's `iscrowd` (G,).
    An evaluator of masks or keypoints is this one with another such function.
    """
    overlap = iou.box_iou(dt["boxes"], gt["boxes"])                                                      # (D, G)
    if gt["iscrowd"].any():
        overlap[:, gt["iscrowd"]] = iou.box_ioa(dt["boxes"], gt["boxes"][gt["iscrowd"]])
    return overlap


def mask_similarity(dt, gt):
    """IoU of masks in pixels, (D, G), from the column `masks` of RLEs; for a crowd region, the part of the detection inside it."""
    return rle.rle_iou(dt["masks"], gt["masks"], gt["iscrowd"])


def keypoint_similarity(dt, gt):
    """OKS of poses, (D, G), from the column `keypoints` (·, J, 3). A person's size is the square root of `areas`."""
    return joints.oks(dt["keypoints"], gt["keypoints"], gt["areas"], gt["boxes"])


def mask_evaluator(classes):
    """Scores masks: `add` wants gt_masks and masks, (G, H, W) bool or a list of G RLEs. The area of a detection is its mask's."""
    return DetectionEvaluator(classes, mask_similarity, reads="masks")


def keypoint_evaluator(classes):
    """Scores poses: `add` wants gt_keypoints (G, J, 3) and keypoints (D, J, 3). A person without a labelled joint is ignored truth.

    COCO's rules for poses: 20 detections an image, ten numbers (none for small persons); the area of a detection is its joints' extent.
    """
    return DetectionEvaluator(classes, keypoint_similarity, reads="keypoints", limits=(20,), names=KEYPOINT_NAMES)


# ------------------------------------------------------------------------------------------------ matching, one image, one class
def match_coco(similarity, ignore, crowd, thresholds):
    """Greedy matching, best detection first: each takes its most similar free ground truth, an ignored one only for want of another.

    similarity (D, G) with detections by falling score, ignore (A, G) bool by area range, crowd (G,) bool, thresholds (T,)
    -> matched (A, T, D): the row of the ground truth taken, -1 for none. Of equally similar truths the last is taken, as in COCOeval.
    """
    thresholds = np.minimum(thresholds, 1 - 1e-10)                         # so that t = 1 can be reached at all
    if backend.compiled(similarity):
        return kernels.metrics.match_coco(np.ascontiguousarray(similarity), np.ascontiguousarray(ignore), crowd, thresholds)
    (D, G), A, T = similarity.shape, len(ignore), len(thresholds)
    matched = np.full((A, T, D), -1)
    taken = np.zeros((A, T, G), bool)
    for d in range(D if G else 0):
        able = (similarity[d] >= thresholds[:, None]) & (~taken | crowd)                                 # (A, T, G)
        counted = able & ~ignore[:, None]
        able = np.where(counted.any(-1, keepdims=True), counted, able)     # an ignored truth only if no counted one is left
        last = np.where(able, similarity[d], -1.)[..., ::-1].argmax(-1)                                  # (A, T)
        matched[:, :, d] = np.where(able.any(-1), G - 1 - last, -1)
        taken |= (np.arange(G) == matched[:, :, d, None])
    return matched


def match_voc(similarity, ignore, threshold):
    """Each detection, best first, against the one ground truth that it overlaps most, whether that is free or not.

    similarity (D, G) with detections by falling score, ignore (G,) bool -> (D,) int64:
       1 true positive: the truth it overlaps most (ties: the first) has similarity >= threshold, and no better detection had it before
       0 false positive: below the threshold, or that truth was had before, even if another truth is free
      -1 that truth is to be ignored: counts neither way, however often
    G = 0: all are false positives.
    """
    verdict, taken = np.zeros(len(similarity), np.int64), set()
    for d, row in enumerate(similarity if similarity.shape[1] else []):
        g = int(row.argmax())
        if row[g] >= threshold:
            verdict[d] = -1 if ignore[g] else g not in taken
            taken.add(g)
    return verdict


# ------------------------------------------------------------------------------------------------ from verdicts to a number
def precision_recall(tp, fp, positives):
    """Running precision and recall down the ranking. tp, fp (..., D) bool, best first; positives > 0 -> two (..., D) float64 arrays.

    At rank d, with TP and FP counted from the best detection to this one: precision = TP / (TP + FP), recall = TP / positives, the number
    of objects there are. A detection that is neither (it lies on ignored truth) changes nothing; precision is 0 while nothing is counted.
    """
    tp, fp = np.cumsum(tp, -1, dtype=np.float64), np.cumsum(fp, -1)
    return tp / np.maximum(tp + fp, 1), tp / positives


def envelope(precision):
    """The best precision at this rank or any later one, (..., D): it removes the saw teeth, as every definition of AP does."""
    return np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]


def average_precision(precision, recall, points="all"):
    """AP of one ranking from the precision and recall at each of its ranks, precision, recall (D,), recall not falling -> float.

    First the envelope: at each rank, the best precision at this rank or any later one. Then, by `points`:
    "all"   the area under it: each step of recall (the first from 0) times the envelope where the step ends
    11      VOC 2007: the mean over the recalls 0, 0.1, ..., 1 of the envelope at the first rank whose recall is at least that
    101     COCO: the same at 101 recalls 0, 0.01, ..., 1, as np.linspace gives them
    A recall that is never reached has precision 0; D = 0 gives 0.0.
    L16's example, hits 1 1 0 0 1 of 3 objects: 0.866667 (all), 0.854545 (11), 0.865347 (101).
    """
    best = np.append(envelope(precision), 0.)                              # beyond the last recall reached, precision is 0
    if points == "all":
        return float(np.sum(np.diff(recall, prepend=0.) * best[:-1]))
    if points not in (11, 101):
        raise ValueError(f'points must be "all", 11 (VOC 2007) or 101 (COCO), got {points!r}')
    at = RECALLS if points == 101 else np.arange(11) / 10
    return float(best[np.searchsorted(recall, at, side="left")].mean())


def mean_or_nan(values):
    """The mean of what is defined: nan entries are left out, and nothing at all gives nan."""
    values = np.asarray(values)[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


class DetectionEvaluator:
    """Collects truth and detections image by image, then scores them by VOC's or COCO's rule (the table on top of this file).

    classes: names, index 0 the background, as a data set's `classes`. similarity(dt, gt) -> (D, G) may replace the IoU of boxes; `reads`
    is the further column that it needs, "masks" or "keypoints". limits: detections an image and class that count; names: what `coco` tells.
    """

    def __init__(self, classes, similarity=box_similarity, reads=None, limits=LIMITS, names=COCO_NAMES):
        self.classes, self.similarity, self.reads = tuple(map(str, classes)), similarity, reads
        self.limits, self.names = limits, names
        self.image_ids = set()
        self.records = {k: [] for k in range(1, len(self.classes))}        # class -> [(dt, gt)] of the images that have either

    def add(self, image_id, gt_boxes, gt_labels, boxes, labels, scores, iscrowd=None, areas=None, difficult=None, *, gt_masks=None,
            masks=None, gt_keypoints=None, keypoints=None):
        """One image: gt_boxes (G, 4) xyxy, gt_labels (G,) 1..K; boxes (D, 4), labels (D,), scores (D,) in any order.

        iscrowd, difficult (G,) bool: none by default. areas (G,): COCO's `area` (of the mask), the box's area by default.
        gt_masks and masks, gt_keypoints and keypoints: for an evaluator that reads them (mask_evaluator, keypoint_evaluator).
        """
        if image_id in self.image_ids:
            raise ValueError(f"image_id must be new, got {image_id!r} a second time; usually an evaluator used for a second pass")
        gt_boxes, boxes = (np.reshape(np.asarray(b, np.float64), (-1, 4)) for b in (gt_boxes, boxes))
        none = np.zeros(len(gt_boxes), bool)
        gt = {"boxes": gt_boxes, "labels": gt_labels, "areas": convert.box_area(gt_boxes) if areas is None else areas,
              "iscrowd": none if iscrowd is None else iscrowd, "difficult": none if difficult is None else difficult}
        dt = {"boxes": boxes, "labels": labels, "scores": scores, "areas": convert.box_area(boxes)}
        if self.reads == "masks":
            gt["masks"], dt["masks"] = (as_rles(m, name) for m, name in ((gt_masks, "gt_masks"), (masks, "masks")))
            dt["areas"] = [rle.rle_area(m) for m in dt["masks"]]
        if self.reads == "keypoints":
            gt["keypoints"], dt["keypoints"] = (as_poses(k, name) for k, name in ((gt_keypoints, "gt_keypoints"), (keypoints, "keypoints")))
            dt["areas"] = np.prod(np.ptp(dt["keypoints"][..., :2], axis=1), axis=1)                      # of the joints' box
            gt["difficult"] = np.asarray(gt["difficult"], bool) | (gt["keypoints"][..., 2] <= 0).all(axis=1)
        gt, dt = self._columns("ground truth", gt, image_id), self._columns("detections", dt, image_id)
        if np.isnan(dt["scores"]).any():
            raise ValueError(f"scores must be numbers, got nan in image {image_id!r}; usually training has diverged")
        self.image_ids.add(image_id)
        dt = {name: column[np.argsort(-dt["scores"], kind="stable")] for name, column in dt.items()}
        for k in np.union1d(gt["labels"], dt["labels"]).astype(int):
            self.records[k].append(tuple({name: column[side["labels"] == k] for name, column in side.items()} for side in (dt, gt)))

    def _columns(self, what, side, image_id):
        """The columns as arrays, checked to be of one length, with labels in 1..K."""
        types = {"labels": np.int64, "iscrowd": bool, "difficult": bool, "areas": np.float64, "scores": np.float64, "boxes": np.float64,
                 "masks": object, "keypoints": np.float64}
        side = {name: np.asarray(column, types[name]) for name, column in side.items()}
        lengths = {name: len(column) if column.ndim else "a scalar" for name, column in side.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{what} of image {image_id!r} must have one row an object in every array, got lengths {lengths}")
        wrong = side["labels"][(side["labels"] < 1) | (side["labels"] >= len(self.classes))]
        if wrong.size:
            raise ValueError(f"labels of {what} must be 1..{len(self.classes) - 1} (0 is the background), got {wrong[0]} in image "
                             f"{image_id!r}; usually classes without the background in front")
        return side

    # -------------------------------------------------------------------------------------------- VOC
    def curve(self, label, iou_threshold=0.5):
        """VOC's ranking of one class: precision (D,), recall (D,), scores (D,), positives. Without a counted object recall is nan."""
        verdicts = [match_voc(self.similarity(dt, gt), gt["difficult"] | gt["iscrowd"], iou_threshold) for dt, gt in self.records[label]]
        verdicts = np.concatenate([np.zeros(0, np.int64), *verdicts])
        scores = np.concatenate([np.zeros(0), *(dt["scores"] for dt, _ in self.records[label])])
        positives = sum(int((~(gt["difficult"] | gt["iscrowd"])).sum()) for _, gt in self.records[label])
        order = np.argsort(-scores, kind="stable")
        precision, recall = precision_recall(verdicts[order] == 1, verdicts[order] == 0, positives or np.nan)
        return precision, recall, scores[order], positives

    def voc(self, iou_threshold=0.5, points="all"):
        """{"mAP": mean over the classes that occur, "per_class": {name: AP or nan}}; points "all" (since 2010) or 11 (2007)."""
        per_class = {}
        for k, name in enumerate(self.classes[1:], 1):
            precision, recall, _, positives = self.curve(k, iou_threshold)
            per_class[name] = average_precision(precision, recall, points) if positives else float("nan")
        return {"mAP": mean_or_nan(list(per_class.values())), "per_class": per_class}

    # -------------------------------------------------------------------------------------------- COCO
    def coco_arrays(self):
        """precision (K, A, T, R) at the largest limit, and recall (K, A, T, M); nan for a class and area range without counted objects."""
        K, A, T = len(self.classes) - 1, len(AREAS), len(THRESHOLDS)
        precision, recall = np.full((K, A, T, len(RECALLS)), np.nan), np.full((K, A, T, len(self.limits)), np.nan)
        for k, records in self.records.items():
            if records:
                self._coco_class(records, precision[k - 1], recall[k - 1])
        return precision, recall

    def _coco_class(self, records, precision, recall):
        """Fill one class's precision (A, T, R) and recall (A, T, M), which were born in coco_arrays."""
        matches = [self._coco_record(dt, gt) for dt, gt in records]
        tp, fp = (np.concatenate([m[i] for m in matches], -1) for i in (0, 1))                           # (A, T, D)
        positives = sum(m[2] for m in matches)                                                           # (A,)
        scores = np.concatenate([dt["scores"][:self.limits[-1]] for dt, _ in records])                        # (D,)
        rank = np.concatenate([np.arange(m[0].shape[-1]) for m in matches])                              # (D,) place within its image
        for m, limit in enumerate(self.limits):
            kept = np.flatnonzero(rank < limit)
            recall[..., m] = tp[..., kept].sum(-1) / np.where(positives > 0, positives, np.nan)[:, None]
        order = np.argsort(-scores, kind="stable")
        for a in np.flatnonzero(positives):
            pr, rc = precision_recall(tp[a][:, order], fp[a][:, order], positives[a])                    # (T, D)
            best = np.pad(envelope(pr), ((0, 0), (0, 1)))                  # beyond the last recall reached, precision is 0
            for t in range(len(THRESHOLDS)):
                precision[a, t] = best[t, np.searchsorted(rc[t], RECALLS, side="left")]

    def _coco_record(self, dt, gt):
        """One image, one class: tp, fp (A, T, D) bool for its best 100 detections, and how many truths count by area range, (A,)."""
        dt = {name: column[:self.limits[-1]] for name, column in dt.items()}
        low, high = np.array(list(AREAS.values())).T[..., None]                                          # (A, 1) each
        ignore = gt["iscrowd"] | gt["difficult"] | (gt["areas"] < low) | (gt["areas"] > high)            # (A, G)
        matched = match_coco(self.similarity(dt, gt), ignore, gt["iscrowd"], THRESHOLDS)                 # (A, T, D)
        hit = matched >= 0
        on_ignored = np.zeros_like(hit)
        for a in range(len(AREAS)):
            on_ignored[a] = hit[a] & np.append(ignore[a], False)[matched[a]]                             # -1 reads the appended False
        outside = ((dt["areas"] < low) | (dt["areas"] > high))[:, None]                                  # (A, 1, D)
        return hit & ~on_ignored, ~hit & ~outside, (~ignore).sum(1)       # a miss outside the range is no fault within it

    def coco(self):
        """COCO's twelve numbers by name: AP (mean over IoU .5:.95), AP50, AP75, APs/m/l, AR1/10/100, ARs/m/l. nan: nothing to find.

        Poses have ten, KEYPOINT_NAMES."""
        return self._summary(*self.coco_arrays())

    def coco_per_class(self):
        """{class name: the same twelve numbers of that class alone}."""
        precision, recall = self.coco_arrays()
        return {name: self._summary(precision[k:k + 1], recall[k:k + 1]) for k, name in enumerate(self.classes[1:])}

    def _summary(self, precision, recall):
        """precision (K, A, T, R), recall (K, A, T, M) -> {name: number}, in the order of self.names."""
        ways = {"": (0, slice(None)), "50": (0, 0), "75": (0, 5), **{area: (a, slice(None)) for a, area in enumerate(AREAS) if a}}
        values = {f"AP{way}": precision[:, a, t] for way, (a, t) in ways.items()}
        values |= {f"AR{way}": recall[:, a, t, -1] for way, (a, t) in ways.items()}
        values |= {f"AR{limit}": recall[:, 0, :, m] for m, limit in enumerate(self.limits)}
        return {name: mean_or_nan(values[name]) for name in self.names}

    def table(self):
        """The numbers as text: COCO's, then by class its objects, AP, AP50 and VOC's AP at 0.5."""
        precision, recall = self.coco_arrays()
        total, voc = self._summary(precision, recall), self.voc()
        lines = ["  ".join(f"{name} {total[name]:.3f}" for name in self.names[i:i + 3]) for i in range(0, len(self.names), 3)]
        width = max(map(len, (*self.classes[1:], "class")))
        lines += ["", f"{'class':<{width}}  objects     AP   AP50  VOC AP"]
        for k, name in enumerate(self.classes[1:]):
            row = self._summary(precision[k:k + 1], recall[k:k + 1])
            count = sum(int((~(gt["iscrowd"] | gt["difficult"])).sum()) for _, gt in self.records[k + 1])
            lines.append(f"{name:<{width}}  {count:7d}  {row['AP']:5.3f}  {row['AP50']:5.3f}   {voc['per_class'][name]:5.3f}")
        return "\n".join(lines + [f"{'mean':<{width}}  {'':7}  {total['AP']:5.3f}  {total['AP50']:5.3f}   {voc['mAP']:5.3f}"])


def as_rles(masks, name):
    """(G, H, W) bool or a list of RLEs -> (G,) object array of RLEs with counted runs."""
    if masks is None:
        raise ValueError(f"this evaluator scores masks, and got no {name}")
    out = np.empty(len(masks), object)
    for i, mask in enumerate(masks):
        size, runs = (mask["size"], rle.rle_counts(mask)) if isinstance(mask, dict) else (mask.shape, rle.mask_to_counts(mask))
        out[i] = {"size": list(size), "counts": runs}
    return out


def as_poses(keypoints, name):
    """(G, J, 3) float64; J = 17 joints where there is no person."""
    if keypoints is None:
        raise ValueError(f"this evaluator scores keypoints, and got no {name}")
    poses = np.asarray(keypoints, np.float64)
    poses = poses.reshape(0, len(joints.SIGMAS), 3) if poses.size == 0 else poses
    if poses.shape[1:] != (len(joints.SIGMAS), 3):
        raise ValueError(f"{name} must be (·, {len(joints.SIGMAS)}, 3) = (x, y, v), got {poses.shape}")
    return poses
