"""A function plugged in is called everywhere, compiled or not, and everything is as before when the `with` ends."""
import contextlib
import importlib
import pathlib
import sys
import types

import numpy as np
import pytest
import whole_model

import numpyvision
from numpyvision import contract, models, plug, plugged
from numpyvision.boxes import iou, nms
from numpyvision.data.sample import Sample
from numpyvision.layers import blocks, upsample
from numpyvision.models import rpn
from numpyvision.ops import activation, conv, resize, roi
from numpyvision.training import optim


def counted(function):
    """The same function, and the list of its calls."""
    calls = []

    def mine(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)
    return mine, calls


@pytest.fixture
def some_boxes():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (30, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 30, (30, 2))], axis=1), rng.random(30), np.arange(30) % 3


@pytest.fixture
def everything():
    """What every module of the package held before; checked afterwards."""
    plug.functions()
    held = lambda: {(m, n): v for m, module in sys.modules.items() if m.startswith("numpyvision") and isinstance(module, types.ModuleType)
                    for n, v in vars(module).items() if callable(v) or isinstance(v, tuple)}
    before = held()
    yield
    after = held()
    assert [key for key in before if after[key] is not before[key] and after[key] != before[key]] == []
    assert not plug._stacks


def test_every_name_of_a_function_is_exchanged(everything):
    mine, calls = counted(activation.relu_forward)
    nearest, nearest_calls = counted(resize.upsample_nearest_forward)
    with plugged("relu_forward", mine), plugged("upsample_nearest_forward", nearest):
        assert rpn.relu_forward is activation.relu_forward
        activation.relu_forward(np.ones((1, 2)))
        rpn.relu_forward(np.ones((1, 2)))
        upsample.Upsample("nearest").forward(np.ones((1, 1, 2, 2)))          # held in a table, as the first of a pair
    assert len(calls) == 2 and len(nearest_calls) == 1


def test_restored_after_an_exception(everything):
    with pytest.raises(ZeroDivisionError), plugged("nms", lambda boxes, scores, iou_threshold: 1 / 0):
        nms.batched_nms(np.ones((1, 4)), np.ones(1), np.zeros(1, np.int64), 0.5)
    assert nms.nms.__module__ == "numpyvision.boxes.nms"


def test_nests_in_any_order(everything):
    first, second = plugged("box_iou", lambda boxes1, boxes2: 1), plugged("box_iou", lambda boxes1, boxes2: 2)
    first.__enter__()
    second.__enter__()
    assert iou.box_iou(None, None) == 2
    first.__exit__()
    assert iou.box_iou(None, None) == 2
    second.__exit__()
    assert iou.box_iou(np.ones((1, 4)), np.ones((2, 4))).shape == (1, 2)


def test_enters_as_what_stood_there_and_is_used_once_at_a_time(everything):
    original, swap = nms.nms, plugged("nms", lambda boxes, scores, iou_threshold: None)
    with swap as before:
        assert before is original
        with pytest.raises(ValueError, match="in use already"):
            swap.__enter__()
    with swap:
        assert nms.nms is not original


def test_a_module_that_is_first_imported_inside_does_not_keep_it(monkeypatch):
    name = "numpyvision.models.faster_rcnn"
    plug.functions()
    monkeypatch.setattr(models, "faster_rcnn", models.faster_rcnn)                          # both are put back afterwards
    monkeypatch.delitem(sys.modules, name)
    with plugged("boxes_to_rois", lambda boxes: None):
        inside = importlib.import_module(name)
        assert hasattr(inside.boxes_to_rois, "plugged")
    assert not hasattr(inside.boxes_to_rois, "plugged")


def test_mine_may_call_what_it_replaces(everything):
    def mine(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
        out, cache = conv.conv2d_forward(x, w, b, stride, padding, dilation, groups)         # the library's, not mine again
        return out + 1, cache
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1))
    with plugged("conv2d_forward", mine):
        assert (conv.conv2d_forward(x, w)[0] == 2).all()
        fails = lambda *args, **kwargs: conv.conv2d_forward(None, None)
        with pytest.raises(ValueError, match="must be an array"), plugged("conv2d_forward", fails):
            conv.conv2d_forward(x, w)
        assert (conv.conv2d_forward(x, w)[0] == 2).all()


# ------------------------------------------------------------------------------------------------ no compiled loop goes round it
@pytest.mark.parametrize("name", ["nms", "box_iou", "box_area"])
def test_nms_of_groups_calls_what_it_is_made_of(name, some_boxes):
    boxes, scores, groups = some_boxes
    want = nms.batched_nms(boxes, scores, groups, 0.3)
    mine, calls = counted(plug.find(name))
    with plugged(name, mine):
        got = nms.batched_nms(boxes, scores, groups, 0.3)
    assert calls and np.array_equal(got, want)
    calls.clear()
    nms.batched_nms(boxes, scores, groups, 0.3)
    assert not calls


@pytest.mark.parametrize("name", ["im2col", "filter_rows"])
def test_conv_calls_its_parts(name):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 3, 3))
    mine, calls = counted(plug.find(name))
    with plugged(name, mine):
        conv.conv2d_forward(x, w)
    assert len(calls) == 1


def test_roi_align_calls_its_parts():
    mine, calls = counted(roi.axis_weights)
    with plugged("roi.axis_weights", mine):
        roi.roi_align_forward(np.ones((1, 1, 4, 4)), np.array([[0, 0, 0, 4., 4]]), 2, 1.0)
    assert len(calls) == 2


def test_what_does_not_reach_it_stays_compiled():
    reaches = lambda function: plug._reaches(function.__code__, id(function.__globals__), plug.Globals(function.__globals__))
    with plugged("nms", lambda boxes, scores, iou_threshold: None):
        assert reaches(nms.batched_nms) and not reaches(conv.conv2d_forward) and not reaches(iou.box_iou)
        assert not reaches(optim.SGD._update) and reaches(blocks.ConvNorm.forward)    # a layer may call anything, an optimiser none
    with plugged("im2col", conv.im2col):
        assert not reaches(nms.batched_nms) and reaches(conv.conv2d_forward)


def test_nobody_takes_compiled_out_of_its_module():
    """plug.py exchanges `backend.compiled`; a module that holds the function itself would go round a stand-in."""
    root = pathlib.Path(numpyvision.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "backend import compiled" not in text and "import compiled" not in text, path


@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_backward", "roi_align_forward", "roi_align_backward", "nms", "box_iou",
                                  "group_norm_forward", "relu_backward", "match_boxes", "sigmoid_bce_forward", "decode_boxes_forward",
                                  "conv_transpose2d_forward", "crop_masks", "linear_backward", "assign_levels", "sample_labels"])
def test_mask_rcnn_calls_mine_and_computes_the_same(name, everything):
    model, images, targets, sizes = whole_model.scene()

    def losses():
        found, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
        model.backward(dict.fromkeys(found, 1.0), cache)
        return found
    want = losses()
    mine, calls = counted(plug.find(name))
    with plugged(name, mine):
        got = losses()
    assert calls and all(abs(got[key] - want[key]) <= 1e-12 * abs(want[key]) for key in want)


def calls_of_everything(run):
    """{name: how often it is called} of every function of ops/, boxes/ and losses/ that run() calls in readable bodies."""
    watched = {name: counted(plug.find(name)) for name in
               (f"{f.__module__}.{name}" for name, functions in plug.functions().items() for f in functions)
               if name.split(".")[1] in ("ops", "boxes", "losses")}
    with contextlib.ExitStack() as stack, numpyvision.use("numpy"):
        for name, (mine, _) in watched.items():
            stack.enter_context(plugged(name, mine))
        run()
    return {name: len(calls) for name, (_, calls) in watched.items() if calls}


@pytest.mark.parametrize("kind", ["detector", "fcn", "deconvnet"])
def test_nothing_compiled_goes_round_any_function(kind):
    """Whatever the readable bodies of a whole model call, they call just as often when the compiled loops are on."""
    if kind == "detector":
        model, images, targets, sizes = whole_model.scene(detach_proposals=False)
    else:
        rng = np.random.default_rng(0)
        shape = dict(widths=[2] * 5, convs=[1] * 5) if kind == "fcn" else dict(widths=[2] * 3, convs=[1] * 3, fc_channels=2, fc_size=3)
        model = models.build(kind, dict(classes=["background", "a", "b"], **shape), rng=rng, dtype=np.float64)
        images, sizes = rng.random((2, 3, 32, 32)), np.array([[32, 32], [32, 32]])
        targets = [Sample(images[i], np.zeros((0, 4)), np.zeros(0, np.int64), semantic=rng.integers(0, 3, (32, 32)).astype(np.uint8))
                   for i in range(2)]

    def run():
        losses, cache = model.forward(images, targets, sizes, rng=np.random.default_rng(0))
        model.backward(dict.fromkeys(losses, 1.0), cache)
        model.predict(images, sizes)
    want, wrong = calls_of_everything(run), {}
    for name, count in want.items():
        mine, calls = counted(plug.find(name))
        with plugged(name, mine):
            run()
        if len(calls) != count:
            wrong[name] = count, len(calls)
    assert len(want) > 20 and not wrong


def test_the_contract_tests_what_is_plugged(everything):
    wrong = lambda dout, cache: -plug.find("sigmoid_backward")(dout, cache)
    with plugged("sigmoid_backward", wrong):
        assert not contract.select(["sigmoid"])[0].check().ok
    assert contract.select(["sigmoid"])[0].check().ok


# ------------------------------------------------------------------------------------------------ what it refuses
def test_unknown_names():
    with pytest.raises(ValueError, match="did you mean .*roi_align_forward"):
        plugged("roialign_forward", print)
    with pytest.raises(ValueError, match=r"2 functions; which one: 'resize.axis_weights', 'roi.axis_weights'"):
        plugged("axis_weights", print)
    with pytest.raises(ValueError, match="lives in numpyvision.boxes.nms"):
        plugged("roi.nms", print)
    with pytest.raises(ValueError, match="no function that can be plugged is called 'xyzzy'"):
        plugged("xyzzy", print)


@pytest.mark.parametrize("name", ["nms", "boxes.nms.nms", "numpyvision.boxes.nms.nms", "numpyvision.boxes.nms:nms"])
def test_a_name_may_say_where(name):
    assert plug.find(name) is nms.nms


@pytest.mark.parametrize("function, text", [
    (lambda b, scores, iou_threshold: 0, "argument 1 of your function is 'b', expected 'boxes'"),
    (lambda boxes, scores: 0, "lacks the argument 'iou_threshold'"),
    (lambda boxes, scores, iou_threshold, extra: 0, "nobody gives your function its argument 'extra'"),
    (3, "give it without")])
def test_wrong_arguments(function, text):
    with pytest.raises(ValueError, match=text):
        plugged("nms", function)


def test_wrong_defaults():
    with pytest.raises(ValueError, match="default of 'stride' in your function is 2, expected 1"):
        plugged("conv2d_forward", lambda x, w, b=None, stride=2, padding=0, dilation=1, groups=1: None)
    with pytest.raises(ValueError, match="'b' of your function has no default, expected None"):
        plugged("conv2d_forward", lambda x, w, b, stride, padding, dilation, groups: None)


@pytest.mark.parametrize("function", [lambda *args: 0, lambda boxes, *args, **kwargs: 0, lambda boxes, scores, iou_threshold, more=1: 0])
def test_arguments_that_will_do(function):
    plugged("nms", function)
