"""Masks as COCO stores them: run-length encoding (RLE), its compressed text, and polygons drawn into pixels.

Reading a mask column by column (x outer, y inner), an RLE counts how long each run is, beginning with a run of zeros, which may be empty:

    0 1 1
    0 1 0      columns 00 11 10      counts [2, 3, 1]

An RLE is COCO's dict {"size": [H, W], "counts": ...} whose counts are a list of numbers (uncompressed) or text (compressed). Everything
here takes both, and equals the COCO API bit for bit (tests/oracle/test_masks_pycocotools.py), because AP is defined by those masks.

Shapes here: mask (H, W) bool, counts (m,) int64 with sum H*W, polygon (2k,) = x1 y1 x2 y2 ..., N and M numbers of masks.
"""
import numpy as np

# ---------------------------------------------------------------------------------------------------------------- masks and counts

def mask_to_counts(mask):
    """Run lengths of a mask in column order: (H, W) bool -> (m,) int64. Only the first run may be empty. A mask of no pixels is [0]."""
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got {mask.shape}; encode a stack of masks one at a time")
    flat = mask.astype(bool, copy=False).T.ravel()                     # (W*H,): column after column
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1                # where a new run begins
    starts_set = flat.size > 0 and flat[0]
    return _positions_to_counts(np.concatenate([[0], changes]) if starts_set else changes, flat.size)


def counts_to_mask(counts, size):
    """Inverse of `mask_to_counts`: counts (m,), size (H, W) -> (H, W) bool."""
    height, width = size
    values = np.arange(len(counts)) % 2 == 1                           # zeros, ones, zeros, ...
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def _positions_to_counts(positions, total):
    """Counts of the mask that flips at each of these sorted flat positions (the first flip is from 0 to 1)."""
    return np.diff(np.concatenate([[0], positions, [total]])).astype(np.int64)


def encode_mask(mask):
    """(H, W) bool -> {"size": [H, W], "counts": compressed text}, ready for JSON."""
    mask = np.asarray(mask)
    return {"size": [int(n) for n in mask.shape], "counts": counts_to_string(mask_to_counts(mask))}


def decode_mask(rle):
    """RLE (any form) -> (H, W) bool."""
    return counts_to_mask(rle_counts(rle), rle["size"])


def rle_counts(rle):
    """The run lengths of an RLE in any form, checked: none negative, and together exactly H*W pixels."""
    if not isinstance(rle, dict) or "size" not in rle or "counts" not in rle:
        raise ValueError(f'an RLE is {{"size": [H, W], "counts": text or list}}, got {str(rle)[:60]}')
    counts, (height, width) = rle["counts"], rle["size"]
    counts = counts_from_string(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts, dtype=np.int64).reshape(-1)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"the runs of an RLE of size {height}x{width} must sum to {height * width}, got {counts.sum()}"
                         f"{' with negative runs' if (counts < 0).any() else ''}; size is [height, width], in this order")
    return counts


# ---------------------------------------------------------------------------------------------------------------- compressed text
# A number is cut into 5-bit digits, lowest first. A character is chr(48 + digit + 32 * "more digits follow"); the highest bit of the last
# digit is the sign. From the fourth run on, the difference to the run before last is stored: neighbouring columns look alike.

def counts_to_string(counts):
    """(m,) counts -> COCO's compressed text."""
    counts = np.asarray(counts, dtype=np.int64)
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    columns, alive = [], np.ones(len(rest), bool)
    while alive.any():
        digit = rest & 31
        rest = rest >> 5                                               # arithmetic: a negative number ends at -1, not at 0
        more = np.where(digit & 16, rest != -1, rest != 0)             # the sign bit must say what the rest is
        columns.append(np.where(alive, digit + 32 * more + 48, 0))
        alive = alive & more
    text = np.stack(columns, axis=1).astype(np.uint8).ravel() if columns else np.zeros(0, np.uint8)   # (m * digits,), 0 = none
    return text[text > 0].tobytes().decode("ascii")


def counts_from_string(text):
    """Inverse of `counts_to_string`; str or bytes. Text that is no RLE is a ValueError."""
    try:
        raw = np.frombuffer(text.encode("ascii") if isinstance(text, str) else bytes(text), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raw = np.array([-1])
    if len(raw) == 0:
        return np.zeros(0, np.int64)
    if raw.min() < 0 or raw.max() > 63 or raw[-1] & 32:
        raise ValueError(f"not a compressed RLE (characters '0' to 'o', the last without a continuation bit): {str(text)[:40]!r}")
    ends = np.flatnonzero((raw & 32) == 0)                             # the last digit of every number
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise ValueError(f"not a compressed RLE: a number of {lengths.max()} digits does not fit 64 bits")
    place = np.arange(len(raw)) - np.repeat(starts, lengths)           # 0, 1, 2, ... within each number
    counts = np.add.reduceat((raw & 31) << (5 * place), starts)
    counts -= np.where(raw[ends] & 16, np.int64(1) << (5 * lengths), 0)   # two's complement
    counts[1::2] = np.cumsum(counts[1::2])                             # undo "minus the run before last" ...
    counts[2::2] = np.cumsum(counts[2::2])                             # ... which the first three runs do not have
    return counts


# ---------------------------------------------------------------------------------------------------------------- polygons

def polygon_to_counts(polygon, size):
    """Counts of the pixels that COCO gives to one polygon: x1 y1 x2 y2 ... (at least 3 points), size (H, W) -> (m,).

    COCO's rule (Piotr Dollar's maskApi, 2014): the outline is drawn on a grid five times finer. Where it crosses the middle of a pixel
    column, it flips the pixels of that column below it. A pixel is set if it was flipped an odd number of times, so that a polygon crossing
    itself has holes.
    """
    height, width = size
    fine_x, fine_y = _fine_outline(polygon)
    crossing = np.flatnonzero(fine_x[1:] != fine_x[:-1])               # the outline steps between fine columns
    x = (np.minimum(fine_x[crossing], fine_x[crossing + 1]) + 0.5) / SCALE - 0.5
    y = (np.minimum(fine_y[crossing], fine_y[crossing + 1]) + 0.5) / SCALE - 0.5
    middle = (x == np.floor(x)) & (x >= 0) & (x <= width - 1)          # one fine column in five is the middle of a pixel, at 5x + 2
    x, y = x[middle].astype(np.int64), np.ceil(np.clip(y[middle], 0, height)).astype(np.int64)
    flips, times = np.unique(x * height + y, return_counts=True)
    return _positions_to_counts(flips[(times % 2 == 1) & (flips < height * width)], height * width)


SCALE = 5   # the fine grid of COCO's polygon rule


def _fine_outline(polygon):
    """The closed outline as a chain of points on the fine grid: polygon (2k,) -> x (P,), y (P,) int64, neighbours at most 1 apart."""
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1)
    if len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError(f"a polygon is x1 y1 x2 y2 ... with at least 3 finite points, got {len(corners)} numbers")
    # astype cuts towards zero, as C does: below zero this rounds half a pixel differently, and we follow the reference
    corners = (SCALE * corners.reshape(-1, 2) + 0.5).astype(np.int64)  # (k, 2)
    ends = np.roll(corners, -1, axis=0)
    keep = (corners != ends).any(axis=1)
    if not keep.any():
        return np.zeros(1, np.int64), np.zeros(1, np.int64)            # all points in one place
    corners, ends = corners[keep], ends[keep]
    steps = np.abs(ends - corners)
    flat = steps[:, 0] >= steps[:, 1]                                  # an edge takes unit steps along its longer direction, "main"
    main0, main1 = np.where(flat, corners[:, 0], corners[:, 1]), np.where(flat, ends[:, 0], ends[:, 1])
    other0, other1 = np.where(flat, corners[:, 1], corners[:, 0]), np.where(flat, ends[:, 1], ends[:, 0])
    flip = main0 > main1                                               # ... and is computed from its lower end, whichever way we walk
    low, other_low = np.where(flip, main1, main0), np.where(flip, other1, other0)
    length = np.abs(main1 - main0)
    slope = np.where(flip, other0 - other1, other1 - other0) / length

    edge = np.repeat(np.arange(len(length)), length + 1)               # (P,) the edge of each point; both end points belong to it
    t = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    t = np.where(flip[edge], length[edge] - t, t)
    main, other = low[edge] + t, (other_low[edge] + slope[edge] * t + 0.5).astype(np.int64)
    return np.where(flat[edge], main, other), np.where(flat[edge], other, main)


def polygons_to_counts(polygons, size):
    """One object of several polygons: the union of their pixels. No polygon: an empty mask."""
    if len(polygons) == 0:
        return np.array([size[0] * size[1]], dtype=np.int64)
    return merge_counts([polygon_to_counts(polygon, size) for polygon in polygons])


def polygons_to_mask(polygons, size):
    """list of (2k,) polygons, size (H, W) -> (H, W) bool, pixel for pixel as COCO draws it."""
    return counts_to_mask(polygons_to_counts(polygons, size), size)


# ---------------------------------------------------------------------------------------------------------------- arithmetic on runs

def merge_counts(list_of_counts, intersect=False):
    """Union (or intersection) of masks of one size, without decoding them."""
    if len(list_of_counts) == 1:
        return np.array(list_of_counts[0], dtype=np.int64)
    edges = [np.cumsum(counts) for counts in list_of_counts]           # a run of ones begins at edges[0::2] and ends at edges[1::2]
    total = edges[0][-1]
    if any(e[-1] != total for e in edges):
        raise ValueError(f"masks of different sizes cannot be merged: they have {[int(e[-1]) for e in edges]} pixels")
    at = np.concatenate(edges)
    change = np.concatenate([np.where(np.arange(len(e)) % 2 == 0, 1, -1) for e in edges])
    places, inverse = np.unique(at, return_inverse=True)
    depth = np.cumsum(np.bincount(inverse, weights=change, minlength=len(places)))   # how many masks are set from here on
    inside = depth >= (len(list_of_counts) if intersect else 1)
    flips = inside != np.concatenate([[False], inside[:-1]])
    return _positions_to_counts(places[flips & (places < total)], total)


def merge_rles(rles, intersect=False):
    """Union (or intersection) of RLEs of one size -> compressed RLE."""
    sizes = {tuple(rle["size"]) for rle in rles}
    if len(sizes) != 1:
        raise ValueError(f"expected RLEs of one size, got {sorted(sizes) or 'no RLE at all'}")
    counts = merge_counts([rle_counts(rle) for rle in rles], intersect)
    return {"size": list(sizes.pop()), "counts": counts_to_string(counts)}


def rle_area(rle):
    """Number of set pixels."""
    return int(rle_counts(rle)[1::2].sum())


def rle_iou(rles1, rles2, iscrowd=None):
    """IoU of every pair of masks: N and M RLEs -> (N, M) float64; two empty masks have IoU 0.

    iscrowd (M,) bool belongs to rles2 (the ground truth): a crowd has no outline of its own, so the union is the area of the first mask.
    """
    for rle in [*rles1, *rles2]:
        if tuple(rle["size"]) != tuple(rles1[0]["size"] if len(rles1) else rles2[0]["size"]):
            raise ValueError(f"masks to compare must have one size, got {rle['size']} beside {(rles1 or rles2)[0]['size']}")
    counts1, counts2 = [rle_counts(r) for r in rles1], [rle_counts(r) for r in rles2]
    area1 = np.array([c[1::2].sum() for c in counts1], dtype=np.float64)[:, None]     # (N, 1)
    area2 = np.array([c[1::2].sum() for c in counts2], dtype=np.float64)[None]        # (1, M)
    crowd = np.zeros(len(rles2), bool) if iscrowd is None else np.asarray(iscrowd, bool)
    inter = _intersections(counts1, counts2)
    union = np.where(crowd[None], area1, area1 + area2 - inter)
    return np.where(inter > 0, inter / np.maximum(union, 1), 0.0)


def _intersections(counts1, counts2):
    """Pixels that each pair shares, (N, M). How many pixels of mask 1 lie before flat position p is piecewise linear in p, with corners at
    the ends of its runs; so the pixels it has inside a run of mask 2 are one subtraction."""
    inter = np.zeros((len(counts1), len(counts2)))
    edges1 = [np.concatenate([[0], np.cumsum(c)]) for c in counts1]
    before1 = [np.concatenate([[0], np.cumsum(np.where(np.arange(len(c)) % 2, c, 0))]) for c in counts1]
    edges2 = [np.cumsum(c)[: len(c) // 2 * 2] for c in counts2]        # starts and ends of the runs of ones, in turn
    for i in range(len(counts1)):
        for j in range(len(counts2)):
            seen = np.interp(edges2[j], edges1[i], before1[i])         # exact: slopes are 0 or 1
            inter[i, j] = seen[1::2].sum() - seen[0::2].sum()
    return inter


def mask_to_box(masks):
    """The smallest half-open box around the set pixels: (H, W) -> (4,), or (N, H, W) -> (N, 4) float32. An empty mask: zeros."""
    masks = np.asarray(masks, dtype=bool)
    if masks.ndim not in (2, 3):
        raise ValueError(f"masks must be (H, W) or (N, H, W), got {masks.shape}")
    stack = masks if masks.ndim == 3 else masks[None]
    boxes = np.zeros((len(stack), 4), np.float32)
    for box, mask in zip(boxes, stack, strict=True):
        x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(x):
            box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes if masks.ndim == 3 else boxes[0]
