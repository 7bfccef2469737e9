"""One table line for every operation, loss and layer: what the contract suite and `numpyvision gradcheck` run.

    case("max_pool2d", x=distinct(2, 3, 7, 6), kernel_size=3, stride=2, padding=1)

names the operation (its module is found), its array inputs and its static arguments. Arrays are recipes, drawn when the case runs, from a
generator seeded by the case's own text: adding a line changes no other. Inputs stay off kinks (`distinct`: no two equal, none near zero),
because a finite difference across a corner is wrong about a right gradient.
"""
import difflib
import functools
import importlib
import inspect
import pkgutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numpyvision import check
from numpyvision import losses as losses_folder
from numpyvision import ops as ops_folder
from numpyvision.cache import new_cache
from numpyvision.layers import base, blocks, conv, fpn, linear, norm, pooling, resnet, roi, upsample, vgg

# ---- recipes for arrays

class Recipe:
    """An array to be drawn later: `make(rng)`."""

    def __init__(self, text, make):
        self.text, self.make = text, make


def randn(*shape):
    """Standard normal."""
    return Recipe(f"randn{shape}", lambda rng: rng.standard_normal(shape))


def distinct(*shape):
    """All values different by at least 0.1 and none nearer to zero than 0.05: no tie for a maximum, no corner of a ReLU."""
    count = int(np.prod(shape))
    return Recipe(f"distinct{shape}", lambda rng: 0.1 * (rng.permutation(count) - count // 2 + 0.5).reshape(shape))


def uniform(low, high, *shape):
    """Between low and high."""
    return Recipe(f"uniform{(low, high, *shape)}", lambda rng: rng.uniform(low, high, shape))


def integers(high, *shape):
    """Class indices 0..high-1."""
    return Recipe(f"integers{(high, *shape)}", lambda rng: rng.integers(0, high, shape))


def fixed(values, dtype=np.float64):
    """These very numbers."""
    return Recipe(f"{values}", lambda rng: np.array(values, dtype))


# ---- cases

@dataclass(frozen=True)
class OpCase:
    """One operation with its inputs. `arguments` holds recipes (array inputs), None (an absent array) and static arguments by name."""

    name: str
    arguments: dict
    constants: tuple = ()                 # floating inputs without a gradient: targets, running statistics
    mutates: tuple = ()                   # inputs that forward may write
    empty: tuple | None = None            # inputs to cut to length 0 for the empty batch; None: the first
    fixed: dict | None = None             # {input: columns} that are indices in disguise and must not move in a difference

    @property
    def id(self):
        shown = [f"{k}={'x'.join(map(str, v.make(np.random.default_rng(0)).shape)) if isinstance(v, Recipe) else v}".replace(" ", "")
                 for k, v in self.arguments.items()]
        return f"{self.name}({','.join(shown)})"

    def functions(self):
        """(forward, backward)."""
        return operations()[self.name]

    def arrays(self, rng=None):
        """The array inputs in forward's order, drawn anew: always the same numbers, or others from your own generator."""
        rng = seeded(self.id) if rng is None else rng
        names = list(inspect.signature(self.functions()[0]).parameters)
        drawn = {k: v.make(rng) if isinstance(v, Recipe) else v for k, v in self.arguments.items() if isinstance(v, Recipe) or v is None}
        if list(drawn) != names[:len(drawn)]:
            raise ValueError(f"the arrays of {self.name} must come first and in forward's order {names}, got {list(drawn)}")
        return list(drawn.values())

    def statics(self):
        """The other arguments."""
        return {k: v for k, v in self.arguments.items() if not isinstance(v, Recipe) and v is not None}

    def check(self):
        """Run the contract on it."""
        return check.check_op(*self.functions(), self.arrays(), self.statics(), rng=seeded(self.id, 1), constants=self.constants,
                              mutates=self.mutates, empty=self.empty, fixed=self.fixed, title=self.id)


@dataclass(frozen=True)
class LayerCase:
    """One layer, built by build(rng), and the recipes of its inputs: one a name, a tuple of them for a pyramid."""

    name: str
    text: str
    build: Callable
    inputs: dict
    fixed: dict | None = None

    @property
    def id(self):
        return f"{self.name}({self.text})"

    def check(self):
        """Run the contract on it."""
        rng = seeded(self.id)
        inputs = [tuple(r.make(rng) for r in x) if isinstance(x, tuple) else x.make(rng) for x in self.inputs.values()]
        return check.check_layer(self.build(rng), *inputs, rng=rng, fixed=self.fixed, title=self.id)


def case(name, constants=(), mutates=(), empty=None, fixed=None, **arguments):
    """A line of the table of operations."""
    return OpCase(name, arguments, constants, mutates, empty, fixed)


def layer(cls, *args, fixed=None, name=None, **kwargs):
    """A line of the table of layers: the class, its arguments (an rng is added if it takes one), and the recipes of forward's inputs."""
    inputs = {k: v for k, v in kwargs.items() if isinstance(v, Recipe) or (isinstance(v, tuple) and isinstance(v[0], Recipe))}
    options = {k: v for k, v in kwargs.items() if k not in inputs}
    text = ",".join([*map(str, args), *(f"{k}={v}" for k, v in options.items())]).replace(" ", "")

    def build(rng):
        takes_rng = "rng" in inspect.signature(cls).parameters
        return cls(*args, **options, **({"rng": rng} if takes_rng else {}))
    return LayerCase(name or cls.__name__, text, build, inputs, fixed)


def sequential(rng):
    """A Sequential of two layers."""
    return base.Sequential(conv.Conv2d(3, 4, 3, 2, 1, rng=rng), blocks.BasicBlock(4, 8, norm="batch", rng=rng))


class PoolUnpool(base.Layer):
    """A pool and the unpool that it is paired with: the indices are constants, so only together do they map an array to an array."""

    def __init__(self):
        self.pool, self.unpool = pooling.MaxPool2d(2), pooling.MaxUnpool2d(2)

    def forward(self, x, train=True):
        h, indices, pooled = self.pool.forward_with_indices(x, train)
        out, cache = self.unpool.forward(h, indices, x.shape[2:], train)
        return out, new_cache(train, pooled=pooled, unpooled=cache)

    def backward(self, dout, cache):
        return self.pool.backward(self.unpool.backward(dout, cache.unpooled)[0], cache.pooled)


def seeded(text, stream=0):
    """A generator that depends on this text alone."""
    return np.random.default_rng([zlib.crc32(text.encode()), stream])


@functools.cache
def operations():
    """{name: (name_forward, name_backward)} of every operation in ops/ and losses/."""
    found = {}
    for folder in (ops_folder, losses_folder):
        for info in pkgutil.iter_modules(folder.__path__, folder.__name__ + "."):
            module = importlib.import_module(info.name)
            for name, function in vars(module).items():
                if name.endswith("_forward") and not name.startswith("_") and function.__module__ == module.__name__:
                    stem = name.removesuffix("_forward")
                    found[stem] = function, getattr(module, f"{stem}_backward")
    return found


def select(names=()):
    """The cases of these operations and layers, in table order; all of them where no name is given."""
    everything = CASES + LAYERS
    known = list(dict.fromkeys(c.name for c in everything))
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3, 0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"no operation or layer is called {name!r}; {hint}")
    return [c for c in everything if not names or c.name in names]


# ---- the table

# no sample point of these within 1e-3 of a pixel centre, where bilinear interpolation has a corner
ROIS = [[0, 1.13, 0.71, 9.37, 11.21], [1, 3.29, 2.83, 12.47, 7.61], [0, -2.17, 4.43, 5.57, 17.89], [1, 4.37, 5.11, 4.61, 5.29]]
BOXES = [[-3.2, 4.1, 9.7, 27.3], [2.2, 3.3, 5.5, 9.1], [-8.4, -7.3, 31.9, 22.6]]          # across the border, inside, all around
REFERENCES = [[1.3, 2.4, 14.5, 19.6], [0.2, 4.3, 6.5, 8.2], [-2.4, 3.3, 21.9, 12.6]]
SEMANTIC = [[[0, 2, 255], [1, 255, 3]], [[255, 255, 0], [3, 2, 1]]]
RUNNING = dict(constants=("running_mean", "running_var"), mutates=("running_mean", "running_var"))
ONEHOT = [[0, 1, 0, 0, 1, 0]] * 2 + [[1, 1, 0, 0, 0, 1]] * 2
PLAIN = dict(constants=("targets",), empty=("logits", "targets"))
WEIGHTED = dict(constants=("targets", "weights"), empty=("logits", "targets", "weights"))

CASES = [
    case("linear", x=randn(3, 5), w=randn(5, 4), b=randn(4)),
    case("linear", x=randn(3, 2, 2, 2), w=randn(8, 4)),
    case("conv2d", x=randn(2, 3, 6, 5), w=randn(4, 3, 3, 3), b=randn(4), padding=1),
    case("conv2d", x=randn(2, 3, 7, 8), w=randn(4, 3, 3, 3), b=randn(4), stride=2, padding=1),
    case("conv2d", x=randn(2, 4, 7, 8), w=randn(6, 2, 3, 2), b=randn(6), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=2),
    case("conv2d", x=randn(2, 5, 4, 4), w=randn(3, 5, 1, 1)),
    case("conv2d", x=randn(2, 4, 5, 5), w=randn(4, 1, 3, 3), padding=1, groups=4),
    case("conv_transpose2d", x=randn(2, 3, 4, 5), w=randn(3, 2, 3, 3), b=randn(2), stride=2, padding=1, output_padding=1),
    case("conv_transpose2d", x=randn(2, 4, 3, 4), w=randn(4, 3, 2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
    case("conv_transpose2d", x=randn(1, 2, 3, 3), w=randn(2, 2, 3, 2), b=randn(2), dilation=3, padding=1, output_padding=(2, 1)),
    case("conv_transpose2d", x=randn(1, 2, 3, 3), w=randn(2, 2, 2, 2), stride=2),
    case("conv1d", x=randn(2, 4, 7), w=randn(6, 2, 3), b=randn(6), stride=2, padding=1, groups=2),
    case("conv_transpose1d", x=randn(2, 4, 5), w=randn(4, 2, 3), b=randn(4), stride=2, padding=1, output_padding=1, groups=2),
    case("relu", x=distinct(2, 3, 4, 5)),
    case("sigmoid", x=randn(4, 5)),
    case("max_pool2d", x=distinct(2, 3, 6, 6), kernel_size=2),
    case("max_pool2d", x=distinct(2, 3, 7, 6), kernel_size=3, stride=2, padding=1),
    case("max_pool2d", x=distinct(1, 2, 5, 5), kernel_size=3, stride=1),
    case("max_unpool2d", x=randn(1, 2, 2, 3), indices=fixed([[[[1, 2, 23], [13, 0, 9]], [[5, 5, 8], [20, 5, 8]]]], np.int64),
         empty=("x", "indices")),                                                       # the second plane: several values for one place
    case("max_unpool2d", x=randn(1, 1, 2, 2), indices=fixed([[[[6, 2], [10, 14]]]], np.int64), output_size=(5, 3), empty=("x", "indices")),
    case("extract_patches", x=randn(2, 3, 5, 6), centres=fixed([[0, 0, 0], [1, 4, 5], [1, 2, 3], [1, 2, 3]], np.int64), size=3,
         empty=("centres",)),
    case("extract_patches", x=randn(1, 2, 4, 4), centres=fixed([[0, 1, 2]], np.int64), size=6, empty=("centres",)),
    case("avg_pool2d", x=randn(2, 3, 6, 6), kernel_size=2),
    case("avg_pool2d", x=randn(2, 3, 7, 6), kernel_size=3, stride=2, padding=1),
    case("global_avg_pool", x=randn(2, 3, 4, 5)),
    case("upsample_nearest", x=randn(2, 3, 3, 4)),
    case("upsample_nearest", x=randn(2, 3, 3, 4), scale_factor=3),
    case("upsample_nearest", x=randn(2, 3, 3, 4), size=(5, 3)),
    case("bed_of_nails", x=randn(2, 3, 3, 4), scale_factor=(2, 3)),
    *(case(f"upsample_{name}", x=randn(2, 3, 3, 4), **where)
      for name in ("bilinear", "bicubic") for where in [{}, {"scale_factor": (3, 2), "align_corners": True}, {"size": (2, 9)}]),
    case("upsample_bicubic", x=randn(2, 3, 1, 5), size=3, a=-0.5),
    case("batch_norm", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), running_mean=randn(4), running_var=uniform(.5, 2, 4), **RUNNING),
    case("batch_norm", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), running_mean=randn(4), running_var=uniform(.5, 2, 4),
         train=False, constants=("running_mean", "running_var")),
    case("batch_norm_relu", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), running_mean=randn(4), running_var=uniform(.5, 2, 4),
         **RUNNING),
    case("affine_norm", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), mean=randn(4), var=uniform(.5, 2, 4),
         constants=("mean", "var")),
    case("group_norm", x=randn(2, 8, 3, 5), gamma=randn(8), beta=randn(8), num_groups=4),
    case("affine_norm_relu", x=randn(3, 4, 3, 5), gamma=randn(4), beta=randn(4), mean=randn(4), var=uniform(.5, 2, 4),
         constants=("mean", "var")),
    case("group_norm", x=randn(2, 6, 3, 3), gamma=randn(6), beta=randn(6), num_groups=1),
    case("group_norm_relu", x=randn(2, 8, 3, 5), gamma=randn(8), beta=randn(8), num_groups=4),
    *(case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ROIS), output_size=size, spatial_scale=.5, sampling_ratio=ratio, aligned=aligned,
           empty=("rois",), fixed={"rois": [0]})
      for size, ratio, aligned in [(2, 2, True), ((3, 2), 2, False), (2, 0, True), (2, -1, False), (1, 3, True)]),
    case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ROIS), output_size=3, spatial_scale=.5, empty=("x", "rois"), fixed={"rois": [0]}),
    *(case("roi_align", x=randn(2, 3, 8, 9), rois=fixed(ROIS), output_size=(3, 2), spatial_scale=.5, sampling_ratio=ratio, aligned=aligned,
           reduce="max", empty=("rois",), fixed={"rois": [0]}) for ratio, aligned in [(2, True), (0, False)]),
    *(case("roi_pool", x=distinct(2, 3, 8, 9), rois=fixed(ROIS), output_size=(3, 2), spatial_scale=.5, mode=mode, empty=("rois",),
           fixed={"rois": [0]}) for mode in ("caffe", "slide")),
    case("encode_boxes", boxes=fixed(BOXES), references=fixed(REFERENCES), weights=(10, 9, 5, 4), empty=("boxes", "references")),
    case("decode_boxes", deltas=randn(3, 4), references=fixed(REFERENCES), weights=(2, 1, 3, 1), empty=("deltas", "references")),
    case("decode_boxes", deltas=fixed([[.3, -.2, 5, .1], [.1, .2, .3, 4.2], [-1, 0, -5, 4.1]]), references=fixed(REFERENCES),
         empty=("deltas", "references")),                                               # some beyond the clip at log(1000 / 16) = 4.14
    case("clip_boxes", boxes=fixed(BOXES), image_size=(20, 24)),
    case("softmax_cross_entropy", logits=randn(5, 4), labels=integers(4, 5), empty=("logits", "labels")),
    case("softmax_cross_entropy", logits=randn(2, 4, 2, 3), labels=fixed(SEMANTIC, np.int64), empty=("logits", "labels")),
    case("softmax_cross_entropy", logits=randn(5, 4), labels=fixed([0, -1, 3, -1, 1], np.int64), ignore_index=-1,
         empty=("logits", "labels")),
    case("softmax_cross_entropy", logits=randn(3, 2), labels=fixed([255] * 3, np.int64), empty=("logits", "labels")),
    case("sigmoid_bce", logits=randn(4, 6), targets=uniform(0, 1, 4, 6), weights=None, **PLAIN),
    case("sigmoid_bce", logits=randn(4, 6), targets=uniform(0, 1, 4, 6), weights=uniform(0, 2, 4, 6), normalizer=7, **WEIGHTED),
    case("sigmoid_focal_loss", logits=randn(4, 6), targets=fixed(ONEHOT), weights=uniform(0, 2, 4, 6), gamma=1.5, normalizer=7, **WEIGHTED),
    case("sigmoid_focal_loss", logits=randn(4, 6), targets=fixed(ONEHOT), weights=None, **PLAIN),
    case("rpn_losses", logits=randn(2, 6), deltas=randn(2, 6, 4), image=fixed([0, 0, 1, 1, 1], np.int64),
         anchor=fixed([4, 1, 0, 5, 2], np.int64), labels=fixed([1, 0, 1, 0, 1], np.int64), gt_deltas=randn(3, 4),
         constants=("gt_deltas",), empty=("image", "anchor", "labels", "gt_deltas")),
    case("smooth_l1", pred=randn(6, 4), target=randn(6, 4), weights=None, beta=0.5, constants=("target",), empty=("pred", "target")),
    case("smooth_l1", pred=randn(6, 4), target=randn(6, 4), weights=uniform(0, 2, 6, 4), constants=("target", "weights"),
         empty=("pred", "target", "weights")),
    case("smooth_l1", pred=randn(6, 4), target=randn(6, 4), weights=None, beta=0, constants=("target",), empty=("pred", "target")),
]

LAYERS = [
    layer(conv.Conv2d, 3, 4, 3, 2, 1, x=randn(2, 3, 6, 5)),
    layer(conv.Conv2d, 4, 4, 3, x=randn(2, 4, 5, 5), groups=2, bias=False),
    layer(linear.Linear, 12, 5, x=randn(3, 3, 2, 2)),
    layer(norm.BatchNorm2d, 4, x=randn(3, 4, 3, 5)),
    layer(norm.FrozenBatchNorm2d, 4, x=randn(3, 4, 3, 5)),
    layer(norm.GroupNorm, 8, 4, x=randn(2, 8, 3, 5)),
    layer(blocks.Identity, x=randn(2, 3, 4, 4)),
    layer(blocks.ConvNorm, 3, 8, 3, x=randn(2, 3, 6, 6), norm="batch"),
    layer(blocks.BasicBlock, 8, 8, x=randn(2, 8, 6, 6)),
    layer(blocks.BasicBlock, 8, 16, 2, x=randn(2, 8, 6, 6), norm="batch"),
    layer(blocks.Bottleneck, 8, 32, 2, x=randn(2, 8, 6, 6)),
    layer(fpn.FPN, (4, 8, 6), 8, x=(randn(2, 4, 8, 12), randn(2, 8, 4, 6), randn(2, 6, 2, 3))),
    layer(sequential, name="Sequential", x=randn(2, 3, 8, 8)),
    layer(roi.RoIAlign, 2, .5, x=randn(2, 3, 8, 9), rois=fixed(ROIS), fixed={"rois": [0]}),
    layer(roi.PyramidRoIAlign, 2, (2, 4), 8, 2, P=(randn(2, 3, 8, 12), randn(2, 3, 4, 6)), rois=fixed(ROIS), fixed={"rois": [0]}),
    layer(roi.RoIPool, 2, .5, x=distinct(2, 3, 8, 9), rois=fixed(ROIS), fixed={"rois": [0]}),
    layer(roi.PyramidRoIPool, 2, (2, 4), 8, 2, P=(distinct(2, 3, 8, 12), distinct(2, 3, 4, 6)), rois=fixed(ROIS), fixed={"rois": [0]}),
    layer(pooling.MaxPool2d, 2, x=distinct(2, 3, 6, 5)),
    layer(PoolUnpool, name="MaxUnpool2d", x=distinct(2, 3, 5, 6)),
    layer(upsample.ConvTranspose2d, 3, 4, 4, 2, 1, x=randn(2, 3, 3, 4)),
    layer(upsample.ConvTranspose2d, 3, 3, 5, 3, 1, 1, x=randn(2, 3, 3, 2), bilinear=True, bias=False),
    *(layer(upsample.Upsample, kind, 4, 3, x=randn(2, 3, 2, 3)) for kind in upsample.UPSAMPLERS if kind != "max_unpool"),
    layer(vgg.ConvNormReLU, 3, 8, 3, x=randn(2, 3, 6, 6)),
    layer(vgg.ConvNormReLU, 3, 8, 3, x=randn(2, 3, 6, 6), norm="group", transposed=True),
    layer(vgg.VGG, (8, 8, 16), (1, 2, 1), x=randn(2, 3, 16, 16), norm="group"),
    layer(resnet.ResNet, (8, 8, 16), (1, 1, 1), (2, 3), x=randn(2, 3, 16, 16)),
]
