"""A student's function inside a real model: what differs first is found and named; what agrees trains the model as the library does."""
import functools
import importlib
import time

import loop_ops
import numpy as np
import pytest

from numpyvision import plug, plugged
from numpyvision.data import batches
from numpyvision.data.scenes import Scenes
from numpyvision.exercises import bugs_seen, divergence, side_by_side, trace, two_trainings
from numpyvision.models.mask_rcnn import MaskRCNN
from numpyvision.ops import conv, roi
from numpyvision.training import loop, optim

ROI_ALIGN = roi.roi_align_forward


@functools.cache
def world(model):
    return side_by_side.compared(model)


@functools.cache
def recording(model, names):
    return trace.record(*world(model), list(names))


def first_difference(functions, model="mask_rcnn"):
    """The Divergence of these functions, None if there is none."""
    try:
        trace.follow(*world(model), functions, recording(model, tuple(functions)))
    except divergence.Divergence as found:
        return found
    return None


# ------------------------------------------------------------------------------------------------ loops train the model
TINY = dict(classes=Scenes.classes, widths=[2, 2, 2, 2], blocks=[1, 1, 1, 1], channels=2, norm="batch", anchor_sizes=[[12], [20], [28]],
            aspect_ratios=[1.0], hidden=4, rpn_samples=8, roi_samples=6, pre_nms=12, post_nms=4, mask_size=4, mask_convs=1, head_channels=2)


def losses_of_training(steps=4):
    """The losses of a Mask R-CNN of two channels, on scenes of 32 pixels, in float64."""
    model = MaskRCNN(**TINY, rng=np.random.default_rng(0), dtype=np.float64)
    stream = batches.BatchStream(Scenes(8, size=(32, 32)), 1, 0, dtype=np.float64)
    sgd = optim.SGD(model.named_params(), 0.02)
    return loop.train(model, stream, optimizer=sgd, schedule=lambda step: 0.02, steps=steps, progress=False)


@pytest.mark.parametrize("names", [("conv2d_forward", "conv2d_backward"), ("roi_align_forward", "roi_align_backward"), ("nms",)],
                         ids=lambda names: names[0])
def test_loops_train_mask_rcnn_to_the_references_losses(names):
    """The same numbers to rounding, step after step, while every update is made from the loops' own gradients."""
    want, called = losses_of_training(), dict.fromkeys(names, 0)

    def counted(name):
        def mine(*args, **kwargs):
            called[name] += 1
            return getattr(loop_ops, name)(*args, **kwargs)
        return mine
    swaps = [plugged(name, counted(name)) for name in names]
    for swap in swaps:
        swap.__enter__()
    try:
        got = losses_of_training()
    finally:
        for swap in swaps:
            swap.__exit__()
    assert all(called.values()), called
    for mine, theirs in zip(got, want, strict=True):
        for key in theirs:
            if key.startswith("loss"):
                assert mine[key] == pytest.approx(theirs[key], rel=1e-9, abs=1e-12), (mine["step"], key)
    assert want[-1]["loss"] != want[0]["loss"]


@pytest.mark.parametrize("name", ["nms", "batched_nms", "match_boxes"])
def test_to_plug_in_the_librarys_own_choice_changes_no_bit_of_a_training(name):
    """What has nothing to do with it (the convolutions, the optimiser) stays compiled, and rounds as before."""
    want = losses_of_training()
    with plugged(name, plug.find(name)):
        got = losses_of_training()
    assert [row["loss"] for row in got] == [row["loss"] for row in want] and got[-1]["grad_norm"] == want[-1]["grad_norm"]


# ------------------------------------------------------------------------------------------------ the first difference names the op
PLANTED = [("conv2d", "missing-accumulation"), ("conv2d", "flipped-kernel"), ("conv2d", "missing-sum"), ("linear", "transposed-axes"),
           ("relu", "wrong-routing"), ("group_norm", "missing-path"), ("conv_transpose2d", "flipped-kernel"), ("roi_align", "sign"),
           ("upsample_nearest", "constant-factor"), ("softmax_cross_entropy", "ignores-dout"), ("sigmoid_bce", "sign"),
           ("smooth_l1", "wrong-routing"), ("decode_boxes", "missing-path"), ("encode_boxes", "swapped-gradients"),
           ("clip_boxes", "transposed-axes"), ("max_pool2d", "batch-leak"), ("batch_norm", "missing-path"), ("max_unpool2d", "shifted")]
FOUND_IN = {"max_pool2d": "fcn", "batch_norm": "fcn", "max_unpool2d": "deconvnet"}


def planted(op, code):
    """The first bug of this kind that ZOO's collection of students' mistakes has for this operation."""
    found = [bug for bug in bugs_seen.SEEN if (bug.op, bug.code) == (op, code)]
    return found[0] if found else next(bug for bug in bugs_seen.SEEN if bug.op == op)


@pytest.mark.parametrize("op, code", PLANTED)
def test_planted_bug_is_named(op, code):
    """All operations of the file give way to those of the file with the bug in it: which one is wrong, the comparison must find out."""
    bug = planted(op, code)
    module = bug.plant()
    functions = {f"{module.__name__}.{name}": f for name, f in vars(module).items() if name.endswith(("_forward", "_backward"))
                 and not name.startswith("_") and getattr(f, "__module__", "") == module.__name__}
    assert len(functions) >= 2
    found = first_difference(functions, FOUND_IN.get(op, "mask_rcnn"))
    wrong = {f"{made}_{way}" for made in (op, f"{op}_relu") for way in ("forward", "backward")}          # alone, or with a ReLU behind it
    assert found is not None and found.op in wrong, bug
    assert found.call.layer or found.call.line.startswith("models/")


@pytest.mark.parametrize("name, model", [("conv2d_backward", "mask_rcnn"), ("roi_align_backward", "keypoint_rcnn"), ("nms", "faster_rcnn"),
                                         ("box_iou", "faster_rcnn"), ("batch_norm_forward", "deconvnet"), ("sample_labels", "mask_rcnn"),
                                         ("paste_masks", "mask_rcnn"), ("max_unpool2d_backward", "deconvnet"), ("encode_boxes_backward",
                                         "faster_rcnn"), ("im2col", "fcn"), ("top_down_backward", "mask_rcnn")])
def test_the_librarys_own_function_differs_nowhere(name, model):
    assert first_difference({name: plug.find(name)}, model) is None
    assert any(call.op == name for call in recording(model, (name,)))


@pytest.mark.parametrize("name", ["nms", "roi_align_forward", "roi_align_backward"])
def test_loops_differ_nowhere(name):
    assert first_difference({name: getattr(loop_ops, name)}) is None


def test_rounding_is_no_difference_and_does_not_add_up():
    """In twenty layers it would: but each gets the recorded numbers, so that no box is chosen otherwise because of the ninth digit."""
    rng = np.random.default_rng(0)

    def conv2d_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
        out, cache = conv.conv2d_forward(x, w, b, stride, padding, dilation, groups)
        near = out + (9e-9 * abs(out).max(initial=0) * rng.uniform(-1, 1, out.shape)).astype(out.dtype)
        return near, cache
    assert first_difference({"conv2d_forward": conv2d_forward}) is None


def test_what_starts_at_zero_is_no_zero_here():
    """A new model's biases are 0, and forgetting them would change nothing."""
    def conv2d_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
        return conv.conv2d_forward(x, w, b if b is None else 0 * b, stride, padding, dilation, groups)
    assert first_difference({"conv2d_forward": conv2d_forward}).op == "conv2d_forward"


# ------------------------------------------------------------------------------------------------ what it says
def changed(change):
    """RoI Align whose (out, cache) went through change(out, cache, x)."""
    def roi_align_forward(x, rois, output_size, spatial_scale, sampling_ratio=2, aligned=True, reduce="avg"):
        out, cache = ROI_ALIGN(x, rois, output_size, spatial_scale, sampling_ratio, aligned, reduce)
        return change(out, cache, x)
    return roi_align_forward


def one_number(out, cache, x):
    if len(out) > 1:
        out[1, 2, 0, 1] += 1e-3
    return out, cache


def without_x(out, cache, x):
    del cache["x"]
    return out, cache


def another_x(out, cache, x):
    return out, cache | {"x": 2 * x}


def write(out, cache, x):
    x[0] = 0
    return out, cache


def stop(out, cache, x):
    raise SystemExit("enough")


def test_index_in_words_and_both_values():
    found = first_difference({"roi_align_forward": changed(one_number)})
    assert found.index == (1, 2, 0, 1) and found.got - found.expected == pytest.approx(1e-3)
    assert found.call.layer.startswith("box.pool.aligns")
    page = side_by_side.describe(found, ROI_ALIGN)
    assert "RoI 1, channel 2, bin row 0, bin column 1" in page and f"{found.expected:.8g}" in page and "1 of " in page
    assert "layers/roi.py, line" in page and f"all {found.before} calls" in page


@pytest.mark.parametrize("change, code, text", [
    (lambda out, cache, x: out, "wrong-shape", "must return two things"),
    (lambda out, cache, x: (out[:, :, :-1], cache), "wrong-shape", "out must be an array"),
    (lambda out, cache, x: None, "not-implemented", "returns None"),
    (lambda out, cache, x: (out.astype(np.float64), cache), "wrong-dtype", "float32 back"),
    (lambda out, cache, x: (out.astype(np.float32).astype(x.dtype), cache), None, "may be float32 somewhere inside"),
    (lambda out, cache, x: out[99], "raises", "IndexError"),
    (stop, "raises", "SystemExit"),
    (write, "mutates-input", "writes into x")])
def test_what_a_student_can_do_wrong(change, code, text):
    found = first_difference({"roi_align_forward": changed(change)})
    assert found.op == "roi_align_forward" and text in found.message and (code is None or found.code == code)


@pytest.mark.parametrize("change, text", [(without_x, "it lacks x"), (another_x, "look at its cache: x at")])
def test_a_wrong_cache_is_seen_in_backward_and_told_of_forward(change, text):
    found = first_difference({"roi_align_forward": changed(change)})
    assert found.op == "roi_align_backward" and text in found.message
    assert "what it returned agrees, but then roi_align_backward differs" in side_by_side.describe(found, ROI_ALIGN)


@pytest.mark.parametrize("op, name, shape, layer, text", [
    ("conv2d_backward", "dw", (8, 4, 3, 3), "fpn.output.0", "filter 1, channel 2, kernel row 1, kernel column 2"),
    ("conv2d_forward", "out", (2, 4, 9, 9), "fpn.output.0", "image 1, channel 2, y 1, x 2"),
    ("conv2d_forward", "out", (5, 4, 9, 9), "heads.mask.convs.0", "RoI 1, channel 2, y 1, x 2"),
    ("box_iou", "result", (3, 72), "rpn", "box of boxes1 1, box of boxes2 2"),
    ("clip_boxes_backward", "dboxes", (5, 4), "rpn", "box 1, x2"),
    ("group_norm_backward", "dgamma", (8,), "fpn", "channel 1"), ("decode_boxes", "result", (7, 6, 4), "box", "box 1, class 2, y1"),
    ("linear_forward", "out", (9, 16), "box.fc1", "RoI 1, feature 2"), ("im2col", "result", (2, 1, 36, 64), "", "axis 0 1, axis 1 2")])
def test_places_in_words(op, name, shape, layer, text):
    call = trace.Call(op, layer, 1, "forward", "")
    index = (1, 2, 1, 2)[:len(shape)]
    assert divergence.place_of(index, divergence.axes(call, name, shape)).startswith(text)


def test_columns_have_names():
    def roi_align_backward(dout, cache):
        dx, drois = roi.roi_align_backward(dout, cache)
        return dx, drois * np.array([1, 1, 1, 1, 2], drois.dtype)
    assert "drois at RoI 0, y2" in first_difference({"roi_align_backward": roi_align_backward}).message


def test_an_update_of_running_statistics_is_compared_too():
    def batch_norm_forward(x, gamma, beta, running_mean, running_var, train=True, momentum=0.1, eps=1e-5):
        kept = running_var.copy()
        result = plug.find("batch_norm_forward")(x, gamma, beta, running_mean, running_var, train, momentum, eps)
        running_var[:] = kept
        return result
    found = first_difference({"batch_norm_forward": batch_norm_forward}, "fcn")
    assert found.name == "running_var after the call"


def test_a_random_choice_may_be_another_one():
    def sample_labels(labels, num_samples, positive_fraction, rng):
        positive = min(int(num_samples * positive_fraction), int((labels == 1).sum()))
        negative = min(num_samples - positive, int((labels == 0).sum()))
        chosen = [rng.permutation(np.flatnonzero(labels == 1))[:positive], rng.permutation(np.flatnonzero(labels == 0))[:negative]]
        return np.concatenate([np.sort(c) for c in chosen])                    # the same rule, another use of rng
    assert first_difference({"sample_labels": sample_labels}) is None


def test_everything_is_put_back():
    held = lambda: {(name, f.__module__): getattr(importlib.import_module(f.__module__), name)
                    for name, functions in plug.functions().items() for f in functions}
    before = held()
    first_difference({"roi_align_forward": changed(stop)})
    assert held() == before


# ------------------------------------------------------------------------------------------------ run
def quiet(*args):
    """No output."""


def test_run_compares_a_file(tmp_path):
    path = tmp_path / "nms.py"
    path.write_text("from loop_ops import nms\n")
    lines = []
    outcome = side_by_side.run("numpyvision.boxes.nms:nms", path, seconds=0, print=lines.append, progress=False)
    assert outcome.ok and "all" in lines[-1] and "agree" in outcome.message


def test_run_tells_the_first_difference():
    outcome = side_by_side.run("roi_align_forward", changed(one_number), seconds=0, print=quiet, progress=False)
    assert not outcome.ok and outcome.divergence.op == "roi_align_forward" and "RoI 1" in outcome.message


def test_run_trains_both_for_as_many_steps(monkeypatch):
    monkeypatch.setattr(two_trainings, "SETTINGS", two_trainings.SETTINGS[:1])
    monkeypatch.setattr(two_trainings, "HELD_OUT", 8)
    outcome = side_by_side.run("nms", loop_ops.nms, seconds=1, print=quiet, progress=False)
    training = outcome.training
    assert outcome.ok and len(training["mine"]["rows"]) == len(training["reference"]["rows"]) == training["steps"] >= 1
    assert training["mine"]["rows"][0]["loss"] == pytest.approx(training["reference"]["rows"][0]["loss"], rel=1e-5)
    assert "AP (boxes)" in training["table"] and "AP (masks)" in training["table"]


def test_a_function_that_turns_slow_ends_both_trainings_at_the_same_step(monkeypatch):
    monkeypatch.setattr(two_trainings, "SETTINGS", two_trainings.SETTINGS[:1])
    monkeypatch.setattr(two_trainings, "HELD_OUT", 8)
    calls = []

    def nms(boxes, scores, iou_threshold):
        calls.extend([1] * (boxes.dtype == np.float32))
        time.sleep(0.1 if 20 < len(calls) < 60 else 0)
        return plug.find("nms")(boxes, scores, iou_threshold)
    training = side_by_side.run("nms", nms, seconds=1, print=quiet, progress=False).training
    rows = training["mine"]["rows"], training["reference"]["rows"]
    assert training["steps"] == len(rows[0]) == len(rows[1]) and [r["lr"] for r in rows[0]] == [r["lr"] for r in rows[1]]


def test_run_tells_what_stops_in_training(monkeypatch):
    monkeypatch.setattr(two_trainings, "SETTINGS", two_trainings.SETTINGS[:1])

    def nms(boxes, scores, iou_threshold):
        if boxes.dtype == np.float32 and calls:
            raise ZeroDivisionError("here")
        calls.append(1) if boxes.dtype == np.float32 else None
        return plug.find("nms")(boxes, scores, iou_threshold)
    calls = []
    outcome = side_by_side.run("nms", nms, seconds=1, print=quiet, progress=False)
    assert not outcome.ok and "in training" in outcome.message and "ZeroDivisionError" in outcome.message


@pytest.mark.parametrize("name, text, model, match", [
    ("nms", None, "mask_rcnn", "no such file"), ("nms", "x = 1", "mask_rcnn", "defines no function nms"),
    ("nms", "import nothing_of_the_kind", "mask_rcnn", "cannot be loaded"), ("nms", "def nms(a, b): pass", "mask_rcnn", "expected 'boxes'"),
    ("nms", "def nms(boxes, scores, iou_threshold): pass", "mask_cnn", "no model is called 'mask_cnn'"),
    ("max_unpool2d_forward", "from numpyvision.ops.pool import max_unpool2d_forward", "mask_rcnn", "deconvnet does: try --in deconvnet")])
def test_mistakes_of_the_caller(name, text, model, match, tmp_path):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=match):
        side_by_side.run(name, path, model, seconds=0, print=quiet, progress=False)


@pytest.mark.parametrize("cost, chosen", [(lambda side: 0.0, 1), (lambda side: 0.1 * (side > 40), 0), (lambda side: 5 * (side > 40), 0)])
def test_a_slow_function_trains_a_smaller_setting(monkeypatch, cost, chosen):
    """Its time is simulated: a clock that only the function moves."""
    now = [0.0]
    settings = (two_trainings.Setting("small", True, 32, 1, 1), two_trainings.Setting("large", True, 64, 1, 10))
    monkeypatch.setattr(two_trainings, "SETTINGS", settings)
    monkeypatch.setattr(two_trainings.time, "perf_counter", lambda: now[0])

    def nms(boxes, scores, iou_threshold):
        now[0] += cost(boxes.max(initial=0))
        return plug.find("nms")(boxes, scores, iou_threshold)
    learn = functools.partial(two_trainings.train, "mask_rcnn")
    assert two_trainings.choose("nms", nms, learn, 10)[0] is settings[chosen]


def test_a_training_weighs_the_losses_as_the_recipe_does(monkeypatch):
    given = {}
    monkeypatch.setattr(loop, "train", lambda *args, **settings: given.update(settings))
    two_trainings.train("mask_rcnn", two_trainings.SETTINGS[0], 2, False)
    assert given["loss_weights"] == {"loss_mask": 2.0}
