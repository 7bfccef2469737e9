"""How good is a label map? Four numbers from one table of counts, which fills as images stream by.

Shapes here: K1 classes (0 is background, or whatever class the data set puts there), H W an image's size. `matrix` (K1, K1) int64 counts
pixels: row = the class that is true, column = the class that was predicted. With n_ij its entries and t_i the sum of row i:

    pixel accuracy   sum_i n_ii / sum_i t_i                     mean accuracy   mean_i  n_ii / t_i
    IoU of class i   n_ii / (t_i + sum_j n_ji - n_ii)           mean IoU        mean_i  IoU_i
    frequency-weighted IoU   sum_i t_i IoU_i / sum_i t_i        (Long et al. 2015, section 5)

A class that occurs neither in the truth nor in any prediction has IoU nan, and the means leave it out; one that is only predicted has IoU 0
and counts, because those pixels are mistakes. Pixels whose true label is `ignore_index` are nowhere in the table.
"""
import numpy as np


def confusion_counts(truth, prediction, num_classes, ignore_index=255):
    """How many pixels of each true class got each predicted class: two label maps of one shape -> (K1, K1) int64.

    Row = the class that is true, column = the class that was predicted. truth: integers 0..K1-1, or ignore_index, where a pixel is not
    counted whatever was predicted there (None: every pixel counts). prediction: 0..K1-1 wherever the truth is not ignored.
    """
    valid = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    pairs = truth[valid].astype(np.int64) * num_classes + prediction[valid]                # the pair as one number; uint8 would wrap at 256
    return np.bincount(pairs, minlength=num_classes ** 2).reshape(num_classes, num_classes)


def class_iou(matrix):
    """IoU of each class from the table of counts: (K1, K1), rows true, columns predicted -> (K1,) float64.

    Pixels that are the class and were called so, over pixels that are it or were called so. nan for a class that occurs in neither.
    """
    hits = np.diag(matrix)
    return _divide(hits, matrix.sum(axis=1) + matrix.sum(axis=0) - hits)


def mean_iou(matrix):
    """The mean of the classes' IoU: (K1, K1) counts, rows true, columns predicted -> a float.

    A class that occurs neither in the truth nor in any prediction is left out of the mean; one that is only predicted has IoU 0 and
    counts, because those pixels are mistakes. nan for a table without pixels.
    """
    return _mean(class_iou(matrix))


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels added so far. Nothing but the (K1, K1) table is kept."""

    def __init__(self, num_classes, ignore_index=255):
        if num_classes < 1 or (ignore_index is not None and 0 <= ignore_index < num_classes):
            raise ValueError(f"num_classes must be at least 1 and must not reach ignore_index {ignore_index}, got {num_classes}")
        self.num_classes, self.ignore_index = int(num_classes), ignore_index
        self.matrix = np.zeros((self.num_classes, self.num_classes), np.int64)

    def add(self, truth, prediction):
        """Count the pixels of two label maps of one shape (integers, any number of axes). Returns self.

        truth: 0..K1-1 or ignore_index; prediction: 0..K1-1 wherever the truth is not ignored.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise ValueError(f"truth and prediction must have one shape, got {truth.shape} and {prediction.shape}; "
                             "was the prediction cut to the image's own size, without the padding of its batch?")
        valid = np.ones(truth.shape, bool) if self.ignore_index is None else truth != self.ignore_index
        truth, prediction = self._labels("truth", truth[valid]), self._labels("prediction", prediction[valid])
        self.matrix += confusion_counts(truth, prediction, self.num_classes, None)         # what is ignored is gone already
        return self

    def _labels(self, name, values):
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name} must hold integers, got {values.dtype}; take the argmax of scores first")
        values = values.astype(np.int64)                                # uint8 * K1 would wrap at 256
        if values.size and not 0 <= values.min() <= values.max() < self.num_classes:
            wrong = values.min() if values.min() < 0 else values.max()
            raise ValueError(f"{name} must be 0..{self.num_classes - 1}{'' if name == 'prediction' else f' or {self.ignore_index}'}, got "
                             f"{wrong}; was num_classes counted without the background?")
        return values

    @property
    def iou(self):
        """(K1,) IoU of each class; nan where the class is in neither the truth nor the predictions."""
        return class_iou(self.matrix)

    @property
    def accuracy(self):
        """(K1,) the share of each class's pixels that were found (its recall); nan where the truth has none."""
        return _divide(np.diag(self.matrix), self.matrix.sum(axis=1))

    @property
    def pixel_accuracy(self):
        """The share of all pixels that are right; nan without pixels."""
        return float(_divide(np.trace(self.matrix), self.matrix.sum()))

    @property
    def mean_accuracy(self):
        """Mean of `accuracy` over the classes that the truth has; nan without pixels."""
        return _mean(self.accuracy)

    @property
    def mean_iou(self):
        """Mean of `iou` over the classes that occur; nan without pixels."""
        return mean_iou(self.matrix)

    @property
    def frequency_weighted_iou(self):
        """IoU averaged over classes, each weighted by its number of true pixels; nan without pixels."""
        counts = self.matrix.sum(axis=1)
        return float(_divide(np.nansum(counts * self.iou), counts.sum()))

    def summary(self):
        """The four numbers by name."""
        return {name: getattr(self, name) for name in ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")}

    def table(self, names=None):
        """Per class: IoU, accuracy, its share of the true pixels and what it is most often taken for; then the means. One string."""
        names = [str(k) for k in range(self.num_classes)] if names is None else list(names)
        if len(names) != self.num_classes:
            raise ValueError(f"names must have one for each of {self.num_classes} classes, got {len(names)}")
        width, counts = max(10, *map(len, names)), self.matrix.sum(axis=1)
        share = _divide(counts, counts.sum())
        lines = [f"{'class':<{width}}    IoU  accuracy   pixels  mostly taken for"]
        for k in np.flatnonzero(~np.isnan(self.iou)):
            numbers = f"{self.iou[k]:5.3f}  {_text(self.accuracy[k], 8)}  {100 * share[k]:6.2f}%"
            lines.append(f"{names[k]:<{width}}  {numbers}  {self._taken_for(k, names)}".rstrip())
        lines += [f"{'mean':<{width}}  {_text(self.mean_iou, 5)}  {_text(self.mean_accuracy, 8)}",
                  f"pixel accuracy {_text(self.pixel_accuracy, 5)}, frequency-weighted IoU {_text(self.frequency_weighted_iou, 5)}"]
        return "\n".join(lines)

    def _taken_for(self, k, names):
        wrong = np.where(np.arange(self.num_classes) == k, 0, self.matrix[k])
        other = int(np.argmax(wrong))
        return f"{names[other]} {100 * wrong[other] / self.matrix[k].sum():.1f}%" if wrong[other] else ""


def score_maps(pairs, classes):
    """Stream (truth, prediction) pairs of label maps -> (numbers by name, the same as a table in text)."""
    whole, thin = ConfusionMatrix(len(classes)), ConfusionMatrix(len(classes))
    for truth, prediction in pairs:
        whole.add(truth, prediction)
        thin.add(keep_only(truth, thin_zone(truth)), prediction)
    per_class = {name: {"IoU": iou, "accuracy": acc} for name, iou, acc in zip(classes, whole.iou, whole.accuracy, strict=True)}
    table = f"{whole.table(classes)}\nmean IoU at and around parts thinner than 5 pixels: {_text(thin.mean_iou, 5)}"
    return {**whole.summary(), "thin_mean_iou": thin.mean_iou, "per_class": per_class}, table


def thin_zone(truth, radius=2):
    """The pixels at and around thin parts of a label map: legs, wings, masts, far objects. (H, W) integers -> (H, W) bool.

    A pixel is thin if no square of side 2 * radius + 1 that lies in one class contains it: an opening of every class's mask by that square,
    all classes at once. The zone adds what is within `radius` of a thin pixel, so that a leg drawn too thick counts as wrong as well.
    Beyond its border, the map is taken to go on: a wide region that the border cuts is not thin.
    """
    from scipy import ndimage
    truth, side = np.asarray(truth), 2 * radius + 1
    square = dict(size=side, mode="nearest")
    same = ndimage.maximum_filter(truth, **square) == ndimage.minimum_filter(truth, **square)    # centres of squares of one class
    thin = ~ndimage.maximum_filter(same, **square)
    return ndimage.maximum_filter(thin, **square)


def keep_only(truth, zone, ignore_index=255):
    """The label map with everything outside the zone ignored: add it to a ConfusionMatrix of its own to score the zone alone."""
    return np.where(zone, truth, np.asarray(truth).dtype.type(ignore_index))


def _divide(a, b):
    """a / b in float64, nan where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)


def _mean(values):
    """Mean over what is not nan, nan if nothing is left (np.nanmean would warn)."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _text(value, width):
    return f"{'-':>{width}}" if np.isnan(value) else f"{value:{width}.3f}"
