"""The exercises about operations: the reference passes, the skeleton is told to be unwritten, every known mistake is named, other right
answers pass, and the numbers in the statements are those that come out."""
import pathlib
import tomllib

import numpy as np
import pytest
import solutions_ops
import solutions_resample

import numpyvision
from numpyvision import check
from numpyvision.exercises import cases, catalog, mutants, mutants_ops, pictures, skeleton
from numpyvision.exercises.judge import judge

SOLUTIONS = {**solutions_ops.SOLUTIONS, **solutions_resample.SOLUTIONS}
NAMES = list(mutants_ops.MISTAKES)
MISTAKES = [(name, i) for name in NAMES for i in range(len(mutants_ops.MISTAKES[name]))]


def test_every_exercise_has_mistakes_and_two_other_solutions():
    assert len(NAMES) >= 40
    assert all(len(mutants_ops.MISTAKES[name]) >= 3 for name in NAMES)
    assert sorted(SOLUTIONS) == sorted(NAMES) and all(len(found) == 2 for found in SOLUTIONS.values())
    entries = tomllib.loads(pathlib.Path(catalog.__file__).with_name("catalog_ops.toml").read_text())["exercise"]
    assert set(NAMES) == {entry["name"] for entry in entries}


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_passes(name):
    for seed in (0, 7):
        verdict = judge(name, catalog.find(name).reference(), seed)
        assert verdict.ok, verdict.message


@pytest.mark.parametrize("name", NAMES)
def test_the_skeleton_is_not_implemented(name):
    exercise, namespace = catalog.find(name), {}
    exec(compile(skeleton.skeleton(exercise), exercise.file_name, "exec"), namespace)
    verdict = judge(name, namespace[exercise.function_name])
    assert verdict.diagnosis == "not-implemented" and exercise.name in verdict.message


@pytest.mark.parametrize("name,place", MISTAKES, ids=[f"{name}-{mutants_ops.MISTAKES[name][i].code}-{i}" for name, i in MISTAKES])
def test_a_mistake_is_named(name, place):
    bug, wrong = mutants.functions(name)[place]
    verdict = judge(name, wrong)
    assert not verdict.ok and verdict.diagnosis == bug.code and bug.code in check.DIAGNOSES
    assert "It stops with" not in verdict.message, "a mistake that raises is not what a student would have to be told"
    assert bug.why[1:] in verdict.message or bug.code == "mutates-input" and "writes into its input x" in verdict.message


@pytest.mark.parametrize("name,solution", [(name, s) for name in NAMES for s in SOLUTIONS[name]], ids=lambda v: getattr(v, "__name__", v))
def test_other_solutions_pass(name, solution):
    verdict = judge(name, solution, seed=3)
    assert verdict.ok, verdict.message


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_drawn_with_the_students_function(name, tmp_path):
    calls = []

    def mine(*args, **kwargs):
        calls.append(args)
        return SOLUTIONS[name][1](*args, **kwargs)
    with numpyvision.use("numpy"):
        pictures.draw(name, tmp_path / "mine.png", mine)
    assert calls and (tmp_path / "mine.png").stat().st_size > 5000


# ---- the worked examples: what the statements say, typed again from there

BLOCKS = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
COUNT = np.arange(16.).reshape(4, 4)
FORWARDS = {
    "relu_forward": [[0, 0.5, 3]],
    "linear_forward": [[19, 32, 45]],
    "im2col": [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]],
    "conv2d_forward": [[-2, 0], [4, 6]],
    "col2im": [[1, 2, 1], [2, 4, 2], [1, 2, 1]],
    "conv1d_forward": [210, 321, 432, 43],
    "max_pool2d_forward": [[5, 6], [7, 8]],
    "avg_pool2d_forward": [[2.75, 3], [3.25, 3.75]],
    "batch_norm_forward": [[8, 8], [12, 12]],
    "group_norm_forward": [[[-1, 1]], [[3, 7]]],
    "roi_pool_forward": [[8, 10], [26, 28]],
    "roi_align_forward": [[0, 1], [5, 6]],
    "bed_of_nails_forward": [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]],
    "upsample_nearest_forward": BLOCKS,
    "sample_positions": [-0.25, 0.25, 0.75, 1.25],
    "axis_weights": [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]],
    "upsample_bilinear_forward": [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]],
    "keys": [1, 0.59375, 0, -0.09375, 0],
    "upsample_bicubic_forward": [[0.6836, 1.0156, 1.5625, 1.8945], [1.3477, 1.6797, 2.2266, 2.5586], [2.4414, 2.7734, 3.3203, 3.6523],
                                 [3.1055, 3.4375, 3.9844, 4.3164]],
    "max_unpool2d_forward": [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]],
    "conv_transpose2d_forward": [[5, 14, 10, 12], [14, 36, 24, 30], [15, 34, 20, 24], [24, 55, 32, 36]],
    "conv_transpose1d_forward": [1, 2, 13, 20, 30],
    "conv_matrix": [[1, 2, 3, 0, 0, 0], [0, 1, 2, 3, 0, 0], [0, 0, 1, 2, 3, 0], [0, 0, 0, 1, 2, 3]],
}
BACKWARDS = {                                                                   # dout, and each gradient that the statement gives
    "relu_backward": ([[10, 20, 30]], [[0, 20, 30]]),
    "linear_backward": ([[1, 0, -1]], [[-2, -2]], [[1, 0, -1], [2, 0, -2]], [1, 0, -1]),
    "conv2d_db": ([[1, 2], [3, 4]], 10),
    "conv2d_dw": ([[1, 2], [3, 4]], [[27, 37], [57, 67]]),
    "conv2d_dx": ([[1, 2], [3, 4]], [[1, 4, 4], [3, 9, 6], [0, -3, -4]]),
    "max_pool2d_backward": ([[10, 20], [30, 40]], [[0, 0, 20, 0], [0, 10, 0, 0], [0, 0, 0, 0], [30, 0, 0, 40]]),
    "avg_pool2d_backward": ([[4, 8], [12, 16]], BLOCKS),
    "batch_norm_backward": ([[1, 0], [0, 0]], [[0.5, -0.5], [0, 0]], -1, 1),
    "group_norm_backward": ([[[1, 0]], [[0, 0]]], [[[0.5, -0.5]], [[0, 0]]], [-1, 0], [1, 0]),
    "roi_pool_backward": ([[1, 2], [3, 4]], [[0] * 6, [0, 0, 1, 0, 2, 0], [0] * 6, [0] * 6, [0, 0, 3, 0, 4, 0], [0] * 6], [[0] * 5]),
    "roi_align_dx": ([[1]], [[0.1, 0.1], [0.4, 0.4]]),
    "roi_align_dbox": ([[1]], [[0, 0.5, 1.0, 0.5, 1.0]]),
    "bed_of_nails_backward": (COUNT, [[0, 2], [8, 10]]),
    "upsample_nearest_backward": (COUNT, [[10, 18], [42, 50]]),
    "upsample_bilinear_backward": (np.eye(4)[1][:, None] * np.eye(4)[1], [[0.5625, 0.1875], [0.1875, 0.0625]]),
    "max_unpool2d_backward": (COUNT, [[5, 2], [12, 15]]),
    "conv_transpose2d_backward": (np.ones((5, 5)), [[45, 45], [45, 45]], np.full((3, 3), 10)),
}


def example(name, function):
    args, kwargs = cases.of(name)[0]
    with numpyvision.use("numpy"):
        return function(*args, **kwargs)


def assert_same_numbers(got, expected, tolerance=1e-9):
    got, expected = np.asarray(got.toarray() if hasattr(got, "toarray") else got), np.asarray(expected, float)
    assert np.abs(got.reshape(expected.shape) - expected).max() <= tolerance


@pytest.mark.parametrize("name", FORWARDS)
def test_the_example_in_the_statement(name):
    result = example(name, catalog.find(name).reference())
    rough = {"upsample_bicubic_forward": 5e-5, "batch_norm_forward": 2e-5, "group_norm_forward": 1e-4}
    assert_same_numbers(result[0] if catalog.find(name).kind == "forward" else result, FORWARDS[name], rough.get(name, 1e-9))


@pytest.mark.parametrize("name", BACKWARDS)
def test_the_backward_example_in_the_statement(name):
    exercise, (dout, *expected) = catalog.find(name), BACKWARDS[name]
    out, cache = example(name, exercise.pair()[0])
    with numpyvision.use("numpy"):
        grads = exercise.reference()(np.asarray(dout, float).reshape(out.shape), cache)
    for got, wanted in zip(grads if isinstance(grads, tuple) else (grads,), expected, strict=False):
        assert_same_numbers(got, wanted, 1e-4 if "norm" in name else 1e-9)


def test_every_exercise_has_its_example_here():
    assert {*FORWARDS, *BACKWARDS, "top_down_forward", "top_down_backward"} == set(NAMES)


def test_further_numbers_of_the_statements():
    """What a second half of a statement says: indices, running statistics, the other mode, a single sample, the pyramid, the full sum."""
    find = {name: catalog.find(name).reference() for name in NAMES}
    assert_same_numbers(example("max_pool2d_forward", find["max_pool2d_forward"])[1].indices, [[5, 2], [12, 15]])
    (x, gamma, beta, mean, var), _ = cases.of("batch_norm_forward")[0]
    find["batch_norm_forward"](x, gamma, beta, mean, var)
    assert_same_numbers([mean[0], var[0]], [0.2, 1.0333], 5e-5)
    (x, rois), kwargs = cases.of("roi_pool_forward")[0]
    assert_same_numbers(find["roi_pool_forward"](x, rois, **{**kwargs, "mode": "caffe"})[0], [[15, 17], [33, 35]])
    assert_same_numbers(example("roi_align_dx", catalog.find("roi_align_forward").reference())[0], 3.1)
    assert_same_numbers(find["sample_positions"](2, 4, True), [0, 1 / 3, 2 / 3, 1])
    (x, w), _ = cases.of("conv_transpose2d_forward")[0]
    full = [[1, 2, 5, 4, 6], [4, 5, 14, 10, 12], [10, 14, 36, 24, 30], [12, 15, 34, 20, 24], [21, 24, 55, 32, 36]]
    assert_same_numbers(find["conv_transpose2d_forward"](x, w, stride=2)[0], full)
    M, cache = example("top_down_forward", find["top_down_forward"])
    assert_same_numbers(M[0], [[11, 12], [13, 14]])
    dlaterals = find["top_down_backward"]((np.array([[[[1., 2], [3, 4]]]]), np.array([[[[100.]]]])), cache)
    assert_same_numbers(dlaterals[0], [[1, 2], [3, 4]])
    assert_same_numbers(dlaterals[1], 110)
    assert_same_numbers(find["conv_matrix"](np.array([1., 2, 3]), 6, 2), [[1, 2, 3, 0, 0, 0], [0, 0, 1, 2, 3, 0]])
    assert_same_numbers(find["upsample_nearest_forward"](np.arange(3.).reshape(1, 1, 3, 1), size=(5, 1))[0].ravel(), [0, 0, 1, 1, 2])
