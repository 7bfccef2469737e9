"""The table of what is timed: every operation, at sizes of small models (scenes of 128 pixels) and of large ones (photographs of 800).

    case("conv 3x3", "4x64x32x32 -> 64", "conv2d", x=randn(4, 64, 32, 32), w=randn(64, 64, 3, 3), padding=1)

names the line, its size, the operation (as `contract.operations()` knows it), its arrays and its settings. A line becomes `Task`s, one for
forward and one for backward; each holds the same work as a function of ours and of every other library that can do it.

Memory is as every process finds it. A training keeps what it frees (training/memory.py, and so do the whole steps of steps.py); here that
would change nothing for our lines, whose calls get the same pages again as it is, and lend torch a gain that its users do not have.

Shapes here: N images, C and F channels, H W map, R regions, K1 classes.
"""
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from numpyvision import backend, contract
from numpyvision.boxes import iou, matching, nms
from numpyvision.ops import activation
from numpyvision.training import optim

COMPOSED = ("rpn_losses",)                 # operations that are others in a row: a line of their own would say nothing
INDICES = ("indices", "labels", "rois")     # arrays that count, point or are constants: drawn by rules of their own, never differentiated


@dataclass(frozen=True)
class Task:
    """One line of the bench: `work` maps "compiled", "readable", "torch" and "onnxruntime", where they can do it, to a function."""

    group: str
    name: str
    direction: str                          # "forward" or "backward"
    work: dict
    flops: float = 0.0                      # of the definition, whatever way is taken
    bytes: float = 0.0                      # that must be read and written at least

    @property
    def key(self):
        return f"{self.group} {self.name} {self.direction}"


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    group: str
    name: str
    op: str
    arrays: dict
    statics: dict
    big: bool = False                       # left out by --quick; its readable body is not run
    constants: tuple = field(default=())

    def draw(self):
        """The arrays by name, float32 or int64."""
        rng = np.random.default_rng(0)
        return {name: make(rng) for name, make in self.arrays.items()}


def case(group, name, op, big=False, constants=(), **arguments):
    """A line: arguments that are callables draw arrays, the others are settings of the operation."""
    arrays = {k: v for k, v in arguments.items() if isinstance(v, Callable)}
    return Case(group, name, op, arrays, {k: v for k, v in arguments.items() if k not in arrays}, big, constants)


# ---------------------------------------------------------------------------------------------------------------- arrays
def randn(*shape):
    return lambda rng: rng.standard_normal(shape, np.float32)


def integers(high, *shape):
    return lambda rng: rng.integers(0, high, shape)


def uniform(*shape):
    return lambda rng: rng.random(shape, np.float32) + np.float32(0.5)


def boxes(count, size, clusters=None):
    """Boxes (count, 4) in an image of size x size; with clusters, heaps of them around so many objects, as a detector's are."""
    def make(rng):
        side = np.exp(rng.uniform(np.log(size / 16), np.log(size / 2), (count, 2)))
        centre = rng.uniform(0, size, (count, 2))
        if clusters:
            which = rng.integers(0, clusters, count)
            centre, side = (a[which] * rng.normal(1, 0.05, (count, 2)) for a in (centre[:clusters], side[:clusters]))
        return np.concatenate([centre - side / 2, centre + side / 2], 1).clip(0, size).astype(np.float32)
    return make


def rois(count, images, size):
    """(count, 5): boxes with the number of their image before them."""
    return lambda rng: np.concatenate([rng.integers(0, images, (count, 1)), boxes(count, size)(rng)], 1).astype(np.float32)


def centres(count, images, size):
    """(count, 3): image, y, x of pixels."""
    return lambda rng: rng.integers(0, (images, size, size), (count, 3))


def onehot(count, classes):
    """Targets (count, classes) 0 or 1, of anchors that are mostly background."""
    def make(rng):
        label = np.where(rng.random(count) < 0.02, rng.integers(0, classes, count), -1)
        return (label[:, None] == np.arange(classes)).astype(np.float32)
    return make


def pool_places(N, C, H, W):
    """Indices as a 2x2 max pool of a map (N, C, 2H, 2W) gives them: one cell of every window."""
    def make(rng):
        y, x = 2 * np.arange(H)[:, None], 2 * np.arange(W)
        return (y + rng.integers(0, 2, (N, C, H, W))) * 2 * W + x + rng.integers(0, 2, (N, C, H, W))
    return make


# ---------------------------------------------------------------------------------------------------------------- the table
def conv(N, C, H, W, F, k, s=1, big=False, groups=1):
    kind = f"{k}x{k}" + (f" stride {s}" if s > 1 else "") + (f" {groups} groups" if groups > 1 else "")
    return case(f"conv {kind}", f"{N}x{C}x{H}x{W} -> {F}", "conv2d", big, x=randn(N, C, H, W), w=randn(F, C // groups, k, k), stride=s,
                padding=k // 2, groups=groups)


def transposed(N, C, H, W, F, k, s, p=0):
    return case(f"transposed conv {k}x{k} stride {s}", f"{N}x{C}x{H}x{W} -> {F}", "conv_transpose2d", x=randn(N, C, H, W),
                w=randn(C, F, k, k), stride=s, padding=p)


def maps(group, op, *shapes, big=(), **settings):
    """One line for each shape of map x."""
    return [case(group, "x".join(map(str, shape)), op, shape in big, x=randn(*shape), **settings) for shape in shapes]


def norm(group, op, *shapes, **settings):
    lines = []
    for shape in shapes:
        C = shape[1]
        running = dict(running_mean=randn(C), running_var=uniform(C)) if "batch" in op else {}
        lines.append(case(group, "x".join(map(str, shape)), op, shape[2] > 100, tuple(running), x=randn(*shape), gamma=randn(C),
                          beta=randn(C), **running, **settings))
    return lines


SMALL, MIDDLE, LARGE = (4, 16, 64, 64), (4, 64, 32, 32), (1, 64, 200, 304)

CASES = [
    conv(4, 16, 64, 64, 16, 3), conv(8, 16, 32, 32, 16, 3), conv(4, 32, 64, 64, 32, 3), conv(8, 32, 32, 32, 32, 3),
    conv(4, 48, 32, 32, 48, 3), conv(4, 64, 64, 64, 64, 3), conv(4, 64, 32, 32, 64, 3), conv(16, 64, 16, 16, 64, 3),
    conv(4, 96, 8, 8, 96, 3), conv(4, 128, 32, 32, 128, 3), conv(4, 128, 16, 16, 128, 3), conv(64, 64, 14, 14, 64, 3),
    conv(1, 256, 200, 304, 256, 3, big=True), conv(1, 256, 50, 76, 256, 3), conv(1, 512, 25, 38, 512, 3, big=True),
    conv(4, 64, 64, 64, 64, 1), conv(4, 128, 32, 32, 128, 1), conv(4, 64, 32, 32, 256, 1), conv(1, 64, 200, 304, 256, 1, big=True),
    conv(1, 256, 200, 304, 64, 1, big=True), conv(1, 1024, 50, 76, 256, 1, big=True), conv(4, 48, 32, 32, 6, 1),
    conv(4, 3, 128, 128, 16, 3, 2), conv(4, 32, 64, 64, 64, 3, 2), conv(4, 64, 32, 32, 128, 3, 2),
    conv(1, 128, 200, 304, 128, 3, 2, big=True),
    conv(4, 64, 64, 64, 128, 1, 2), conv(4, 3, 128, 128, 32, 7, 2), conv(1, 3, 800, 1216, 64, 7, 2, big=True),
    conv(4, 64, 32, 32, 64, 3, groups=64), conv(4, 64, 32, 32, 64, 3, groups=4),
    transposed(16, 32, 14, 14, 32, 2, 2), transposed(64, 64, 14, 14, 64, 2, 2), transposed(16, 64, 14, 14, 17, 4, 2, 1),
    transposed(4, 64, 16, 16, 64, 4, 2, 1), transposed(4, 21, 16, 16, 21, 16, 8, 4),
    case("conv 1D", "16x64x128 -> 64", "conv1d", x=randn(16, 64, 128), w=randn(64, 64, 3), padding=1),
    case("transposed conv 1D", "16x64x64 -> 64", "conv_transpose1d", x=randn(16, 64, 64), w=randn(64, 64, 4), stride=2, padding=1),
    case("linear", "128x2352 -> 128", "linear", x=randn(128, 2352), w=randn(2352, 128), b=randn(128)),
    case("linear", "512x12544 -> 1024", "linear", True, x=randn(512, 12544), w=randn(12544, 1024), b=randn(1024)),
    *maps("max pool 2x2", "max_pool2d", SMALL, MIDDLE, LARGE, big=(LARGE,), kernel_size=2),
    *maps("max pool 3x3 stride 2", "max_pool2d", MIDDLE, (1, 64, 400, 608), big=((1, 64, 400, 608),), kernel_size=3, stride=2, padding=1),
    *maps("avg pool 2x2", "avg_pool2d", SMALL, LARGE, big=(LARGE,), kernel_size=2),
    *maps("global avg pool", "global_avg_pool", (16, 128, 8, 8), (4, 512, 25, 38)),
    *(case("max unpool 2x2", "x".join(map(str, shape)), "max_unpool2d", shape[2] > 50, x=randn(*shape), indices=pool_places(*shape))
      for shape in [(4, 32, 32, 32), (1, 64, 100, 152)]),
    *norm("batch norm", "batch_norm", SMALL, MIDDLE, LARGE),
    *norm("group norm", "group_norm", SMALL, MIDDLE, LARGE, num_groups=8),
    *norm("batch norm + relu", "batch_norm_relu", SMALL, MIDDLE, LARGE),
    *norm("group norm + relu", "group_norm_relu", SMALL, MIDDLE, LARGE, num_groups=8),
    *(case(group, "4x64x32x32", op, constants=("mean", "var"), x=randn(*MIDDLE), gamma=randn(64), beta=randn(64), mean=randn(64),
           var=uniform(64)) for group, op in (("frozen norm", "affine_norm"), ("frozen norm + relu", "affine_norm_relu"))),
    *maps("relu", "relu", SMALL, MIDDLE, LARGE, big=(LARGE,)),
    *maps("sigmoid", "sigmoid", MIDDLE),
    *maps("nearest x2", "upsample_nearest", (4, 48, 16, 16), (1, 256, 50, 76), scale_factor=2),
    *maps("bilinear x2", "upsample_bilinear", (4, 21, 32, 32), (1, 64, 100, 152), scale_factor=2),
    *maps("bilinear x8", "upsample_bilinear", (4, 21, 16, 16), scale_factor=8),
    *maps("bicubic x2", "upsample_bicubic", (4, 21, 32, 32), (1, 64, 100, 152), scale_factor=2),
    *maps("bed of nails x2", "bed_of_nails", (4, 48, 16, 16), scale_factor=2),
    case("patches 29x29", "256 of 4x3x128x128", "extract_patches", x=randn(4, 3, 128, 128), centres=centres(256, 4, 128), size=29),
    *(case("pixel cross-entropy", f"{N}x{K}x{H}x{W}", "softmax_cross_entropy", K > 50, logits=randn(N, K, H, W),
           labels=integers(K, N, H, W))
      for N, K, H, W in [(4, 12, 128, 128), (4, 21, 128, 128), (2, 81, 200, 304)]),
    *(case("row cross-entropy", f"{N}x{K}", "softmax_cross_entropy", logits=randn(N, K), labels=integers(K, N))
      for N, K in [(128, 12), (512, 81)]),
    *(case("sigmoid BCE", name, "sigmoid_bce", constants=("targets",), logits=randn(*shape), targets=uniform(*shape))
      for name, shape in [("256 anchors", (256,)), ("32 masks 28x28", (32, 28, 28)), ("1M", (1 << 20,))]),
    *(case("focal loss", f"{n} x {K}", "sigmoid_focal_loss", n > 50_000, ("targets",), logits=randn(n, K), targets=onehot(n, K))
      for n, K in [(8064, 12), (100_000, 80)]),
    *(case("smooth L1", name, "smooth_l1", constants=("target",), pred=randn(n, 4), target=randn(n, 4))
      for name, n in [("256 boxes", 256), ("200k boxes", 200_000)]),
    *(case(f"RoI Align {S}x{S}", f"{R} of {N}x{C}x{H}x{H}", "roi_align", H > 100, x=randn(N, C, H, H), rois=rois(R, N, 4 * H),
           output_size=S, spatial_scale=0.25)
      for R, N, C, H, S in [(64, 4, 48, 32, 7), (512, 4, 64, 32, 7), (128, 4, 64, 32, 14), (512, 1, 256, 200, 7)]),
    *(case("RoI Pool 7x7", f"{R} of {N}x{C}x{H}x{H}", "roi_pool", x=randn(N, C, H, H), rois=rois(R, N, 4 * H), output_size=7,
           spatial_scale=0.25) for R, N, C, H in [(64, 4, 48, 32), (512, 4, 64, 32)]),
    case("encode boxes", "2000", "encode_boxes", boxes=boxes(2000, 512), references=boxes(2000, 512)),
    case("decode boxes", "2000", "decode_boxes", deltas=randn(2000, 4), references=boxes(2000, 512)),
    case("clip boxes", "2000", "clip_boxes", boxes=boxes(2000, 512), image_size=(400, 400)),
]


# ---------------------------------------------------------------------------------------------------------------- tasks
def tasks(names=(), quick=False, others=None):
    """Every Task, one after the other (an iterator: their arrays are large). names: only lines whose group or operation contains one.

    others: {library: function(case, arrays, dout) -> {"forward": function, "backward": function}}, as `peers.py` offers.
    """
    known = contract.operations()
    for line in CASES:
        if line.op in known and wanted(names, line.group, line.op, line.name) and not (quick and line.big):
            yield from pair(line, *known[line.op], others or {})
    for group, op, make in EXTRAS:
        if wanted(names, group, op):
            yield from make(others or {}, quick)


def wanted(names, *texts):
    return not names or any(name.lower() in text.lower() for name in names for text in texts)


def count(names=(), quick=False):
    """How many cases tasks() will go through, for a progress bar."""
    lines = sum(wanted(names, c.group, c.op, c.name) and not (quick and c.big) for c in CASES)
    return lines + sum(wanted(names, group, op) for group, op, _ in EXTRAS)


def pair(line, forward, backward, others):
    """The two Tasks of one case."""
    arrays = line.draw()
    out, cache = forward(*arrays.values(), **line.statics)
    dout = np.float32(1) if np.ndim(out) == 0 else np.random.default_rng(1).standard_normal(out.shape, np.float32)
    grads = backward(dout, cache)
    floats = [a for name, a in arrays.items() if a.dtype == np.float32 and name not in (*line.constants, *INDICES)]
    work = {"forward": ours(lambda: forward(*arrays.values(), **line.statics), line.big),
            "backward": ours(lambda: backward(dout, cache), line.big)}
    for library, offer in others.items():
        for direction, function in offer(line, arrays, dout).items():
            work[direction][library] = function
    flops = arithmetic(line, arrays, out)
    read, written = sum(a.nbytes for a in arrays.values()), np.asarray(out).nbytes
    gave = sum(g.nbytes for g in (grads if isinstance(grads, tuple) else (grads,)) if g is not None)
    needs = sum(a.nbytes for name, a in arrays.items() if not (name == "x" and line.op in LINEAR))
    yield Task(line.group, line.name, "forward", work["forward"], flops, read + written)
    yield Task(line.group, line.name, "backward", work["backward"], len([a for a in floats if a.ndim > 1]) * flops,
               np.asarray(dout).nbytes + needs + gave)


# backward need not read x: out is linear in it, or (max pool) the indices say all
LINEAR = ("avg_pool2d", "global_avg_pool", "max_pool2d", "max_unpool2d", "upsample_nearest", "upsample_bilinear", "upsample_bicubic")


def ours(function, big=False):
    """{"compiled": function, "readable": the same through the readable bodies}."""
    def readable():
        with backend.use("numpy"):
            function()
    return {"compiled": function} | ({} if big else {"readable": readable})


def arithmetic(line, arrays, out):
    """Multiplications and additions of the definition, for the operations that are made of them."""
    if line.op == "conv2d":
        return 2.0 * out.size * arrays["w"][0].size
    if line.op == "conv_transpose2d":
        return 2.0 * arrays["x"].size * arrays["w"][0].size
    return 2.0 * out.size * len(arrays["w"]) if line.op == "linear" else 0.0


# ---------------------------------------------------------------------------------------------------------------- without a backward
def add_tasks(others, quick):
    """h + skip, as a residual block and a pyramid do it."""
    for shape in (SMALL, MIDDLE) if quick else (SMALL, MIDDLE, LARGE):
        a, b = (np.random.default_rng(i).standard_normal(shape, np.float32) for i in range(2))
        size = "x".join(map(str, shape))
        yield plain("add", size, "add", lambda a=a, b=b: activation.add(a, b), (a, b), others, 3 * a.nbytes, two_ways=False)
        yield plain("add + relu", size, "add_relu", lambda a=a, b=b: activation.add_relu(a, b), (a, b), others, 3 * a.nbytes,
                    two_ways=False)


def iou_tasks(others, quick):
    for n, m in ((20, 8064), (1000, 1000)):
        a, b = boxes(n, 512)(np.random.default_rng(0)), boxes(m, 512)(np.random.default_rng(1))
        yield plain("IoU", f"{n} x {m}", "box_iou", lambda a=a, b=b: iou.box_iou(a, b), (a, b), others, a.nbytes + b.nbytes + 4 * n * m)


def nms_tasks(others, quick):
    for n in (1000, 5000):
        rng = np.random.default_rng(0)
        b, scores = boxes(n, 512, n // 40)(rng), rng.random(n, np.float32)
        yield plain("NMS", f"{n} boxes", "nms", lambda b=b, s=scores: nms.nms(b, s, 0.7), (b, scores), others, b.nbytes + scores.nbytes)


def match_tasks(others, quick):
    for g, a in ((5, 8064), (20, 50_000)):
        overlap = iou.box_iou(boxes(g, 512)(np.random.default_rng(0)), boxes(a, 512)(np.random.default_rng(1)))
        yield plain("matching", f"{g} x {a}", "match_boxes", lambda o=overlap: matching.match_boxes(o, 0.7, 0.3, True), (overlap,), others,
                    overlap.nbytes + 16 * a)


def optimizer_tasks(others, quick):
    """An update of all parameters: a small model's 60 arrays, and a ResNet-50's 26 million numbers."""
    sizes = [("60 arrays, 0.8M", [(48, 32, 3, 3)] * 60)] + [("10 arrays, 26M", [(2600, 1000)] * 10)] * (not quick)
    for name, shapes in sizes:
        for kind, slots in (("SGD", 1), ("AdamW", 2)):
            params = {f"p{i}": np.random.default_rng(i).standard_normal(s, np.float32) for i, s in enumerate(shapes)}
            grads = {k: 0.1 * p for k, p in params.items()}
            optimizer = getattr(optim, kind)(params, lr=1e-4, weight_decay=1e-4)
            size = sum(p.nbytes for p in params.values())
            yield plain(f"{kind} update", name, kind, lambda o=optimizer, g=grads: o.step(g), (list(params.values()), list(grads.values())),
                        others, (3 + 2 * slots) * size)


EXTRAS = [("add", "add", add_tasks), ("IoU", "box_iou", iou_tasks), ("NMS", "nms", nms_tasks),
          ("matching", "match_boxes", match_tasks), ("SGD AdamW update", "optimizer", optimizer_tasks)]


def plain(group, name, op, function, arrays, others, size, two_ways=True):
    """A Task that is a forward only."""
    work = ours(function, not two_ways)
    for library, offer in others.items():
        for function in offer(Case(group, name, op, {}, {}), arrays, None).values():
            work[library] = function
    return Task(group, name, "forward", work, 0.0, size)
