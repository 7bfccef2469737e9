"""Compile a model's loops before its training starts, in several processes at once, with a bar that says so: once on every machine.

A first step compiles thirty loops, twenty seconds on one core. numba compiles under one global lock, so that threads would wait for
each other; processes do not. Each one here makes a few small calls (a row of ROWS), whose compiled loops numba keeps on disk, and the
training finds them there. What no row reaches is compiled by the training itself, as it would be without this file: the rows decide
how long a first run takes, never what it computes. `tests/test_ahead.py` watches that they reach everything.

Nothing is started where one processor is all there is, where numba may write nowhere, or where the rows have been compiled before.
"""
import contextlib
import gc
import hashlib
import os
import platform
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from numpyvision import check, kernels, threads
from numpyvision.contract import case, distinct, fixed, integers, randn

MOST_WORKERS = 4            # each needs half a gigabyte, and the longest row takes a quarter of all the time
PATIENCE = 120              # seconds: whoever takes longer for one row is given up
ROIS = [[0, 1.2, 0.7, 9.4, 11.2], [1, 3.3, 2.8, 12.5, 7.6]]
BOXES = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [9, 9, 12, 14]], np.float32)


# ---------------------------------------------------------------------------------------------------------------- what is compiled
def find_boxes():
    """Encoding, decoding, clipping, IoU, matching and both NMS."""
    from numpyvision.boxes import iou, matching, nms
    from numpyvision.ops import box_transform
    box_transform.encode_boxes_forward(BOXES, BOXES)
    box_transform.decode_boxes_forward(BOXES, BOXES)
    box_transform.clip_boxes_forward(BOXES, (8, 8))
    matching.match_boxes(iou.box_iou(BOXES, BOXES), 0.7, 0.3, allow_low_quality=True)
    nms.nms(BOXES, BOXES[:, 0], 0.5)
    nms.batched_nms(BOXES, BOXES[:, 0], np.arange(3), 0.5)


def crop_regions():
    """RoI Align and its gradient to the features; where the boxes should move, only `detach_proposals=False` asks."""
    from numpyvision.cache import Cache
    from numpyvision.ops import roi
    out, cache = roi.roi_align_forward(np.ones((2, 3, 8, 9), np.float32), np.array(ROIS, np.float32), 2, 0.5)
    roi.roi_align_backward(out, Cache(cache, constant_rois=True))


def crop_masks():
    """The masks that a region is to learn."""
    from numpyvision.boxes import mask_crops
    mask_crops.crop_masks(np.ones((3, 8, 8), bool), BOXES, 2)


def learn_wide_filters():
    """The gradient to filters of 16 x 16, as FCN's learnable upsampling has them; the rest of it is "any convolution"."""
    filters = np.ones((8, 8, 16, 16), np.float32)
    kernels.product_wide.products(filters[:1, :, :2, :2].copy(), filters[:1], filters.shape, (8, 8), (4, 4), 1)


def search_selectively():
    """The proposals of the oldest detectors."""
    from numpyvision.proposals import selective_search
    selective_search.selective_search(np.random.default_rng(0).random((3, 32, 32), np.float32))


def add_maps():
    """The sum of two maps."""
    from numpyvision.ops import activation
    activation.add(BOXES, BOXES)


def update_weights(kind):
    """A step of an optimiser, with the gradients' norm."""
    from numpyvision.training import optim
    grads = {"w": np.ones((2, 2), np.float32)}
    optim.clip_grad_norm(grads, 1.0)
    getattr(optim, kind)({"w": np.ones((2, 2), np.float32)}, lr=0.1).step(grads)


def draw_scene():
    """A picture of the built-in data."""
    from numpyvision.data.scenes import Scenes
    Scenes(1)[0]


# The longest first, so that no worker begins a long row when the others have finished. Two rows must not reach one loop with arrays of
# different kinds: numba's index of a loop's versions is a file, and of two workers who add to it at once, one would be forgotten.
ROWS = {
    "any convolution": [case("conv2d", x=randn(2, 3, 9, 9), w=randn(F, 3, 3, 3), b=randn(F), stride=2, padding=1) for F in (4, 16)],
    "roi_align": crop_regions,
    "3x3 convolution": [case("conv2d", x=randn(1, 16, 8, 8), w=randn(16, 16, 3, 3), padding=1)],
    "boxes": find_boxes,
    "norm": [case("group_norm", x=randn(2, 8, 3, 5), gamma=randn(8), beta=randn(8), num_groups=4)],
    "cross-entropy of maps": [case("softmax_cross_entropy", logits=randn(2, 3, 4, 4), labels=integers(3, 2, 4, 4))],
    "max_pool2d": [case("max_pool2d", x=distinct(2, 3, 6, 6), kernel_size=2)],
    "scene": draw_scene,
    "sigmoid_bce": [case("sigmoid_bce", logits=randn(4, 5), targets=randn(4, 5))],
    "smooth_l1": [case("smooth_l1", pred=randn(4, 4), target=randn(4, 4))],
    "upsample_nearest": [case("upsample_nearest", x=randn(2, 3, 3, 4))],
    "cross-entropy": [case("softmax_cross_entropy", logits=randn(4, 3), labels=integers(3, 4))],
    "max_unpool2d": [case("max_unpool2d", x=randn(1, 1, 2, 2), indices=fixed([[[[0, 2], [8, 10]]]], np.int64))],
    "global_avg_pool": [case("global_avg_pool", x=randn(2, 3, 4, 5))],
    "selective search": search_selectively,
    "masks": crop_masks,
    "wide filters": learn_wide_filters,
    "add": add_maps,
    "relu": [case("relu", x=distinct(2, 3, 4, 5)), case("relu", x=distinct(4, 5))],
    "linear": [case("linear", x=randn(3, 5), w=randn(5, 4), b=randn(4))],                         # the loops of "any convolution"
    "SGD": lambda: update_weights("SGD"),
    "AdamW": lambda: update_weights("AdamW"),
}
EVERY_MODEL = {"any convolution", "3x3 convolution", "norm", "relu", "add", "scene"}
REGIONS = {"SGD", "roi_align", "linear", "cross-entropy", "sigmoid_bce", "smooth_l1", "boxes", "upsample_nearest"}
MAPS = {"AdamW", "max_pool2d", "cross-entropy of maps"}
MORE = {"classifier": {"SGD", "linear", "cross-entropy", "global_avg_pool"},
        "sliding_window": {"SGD", "linear", "cross-entropy", "max_pool2d"},
        "fcn": MAPS | {"wide filters"}, "deconvnet": MAPS | {"max_unpool2d"},
        **dict.fromkeys(["slow_rcnn", "fast_rcnn"], REGIONS | {"selective search"}),
        **dict.fromkeys(["faster_rcnn", "keypoint_rcnn"], REGIONS), **dict.fromkeys(["mask_rcnn", "joint_rcnn"], REGIONS | {"masks"})}


def compile_row(name):
    """Make the calls of one row, in float32."""
    calls = ROWS[name]
    if callable(calls):
        calls()
        return
    for one in calls:
        forward, backward = one.functions()
        arrays = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in one.arrays()]
        out, cache = forward(*arrays, **one.statics())
        backward(check.operation.upstream(out), cache)


# ---------------------------------------------------------------------------------------------------------------- who compiles it
def compile_for(model):
    """Compile the rows that a model (its name) needs and that this machine has not compiled yet. Returns when that is done, or given up."""
    done = record()
    rows = [name for name in ROWS if name in EVERY_MODEL | MORE.get(model, set())]
    rows = rows if done is None else [name for name in rows if not (done / name).exists()]
    workers = min(threads.max_threads(), MOST_WORKERS, len(rows))
    if done is None or workers < 2:
        return
    from tqdm.auto import tqdm
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} [{elapsed}]"
    with tqdm(total=len(rows), desc="compiling loops, once on this machine", bar_format=bar_format, leave=False, dynamic_ncols=True) as bar:
        for name in compiled_by(workers, rows):
            done.mkdir(exist_ok=True)
            (done / name).touch()
            bar.update()


def record():
    """The folder that has a file for every row compiled before; None if numba keeps nothing.

    It lies in numba's own folder, to be deleted along with it. Its name stands for all that makes numba compile anew.
    """
    folder = kernels.jit.cache_folder()
    if folder is None:
        return None
    import llvmlite.binding
    import numba
    cpu = numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    machine = (numba.__version__, platform.python_version(), cpu, numba.config.CPU_FEATURES, kernels.jit.sources())
    key = hashlib.sha256(repr(machine).encode() + Path(__file__).read_bytes())
    return Path(folder) / f"compiled-ahead-{key.hexdigest()[:16]}"


def compiled_by(count, rows):
    """Yield the names of rows as `count` processes finish them. A worker who dies or is too slow leaves its row to the training."""
    todo, done = queue.SimpleQueue(), queue.SimpleQueue()
    for name in rows:
        todo.put(name)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            worker = start_worker()
            stack.callback(stop_worker, worker)
            threading.Thread(target=feed, args=(worker, todo, done), daemon=True).start()
        working = count
        with contextlib.suppress(queue.Empty):                         # nobody has finished a row for PATIENCE seconds
            while working:
                name = done.get(timeout=PATIENCE)
                if name is None:
                    working -= 1
                else:
                    yield name


def feed(worker, todo, done):
    """Hand rows to one worker until none is left, or until it is gone; None on `done` says so."""
    with contextlib.suppress(queue.Empty, OSError, ValueError):        # it died: the pipe is broken, or closed
        while True:
            name = todo.get_nowait()
            print(name, file=worker.stdin, flush=True)
            if worker.stdout.readline().strip() != name:
                break
            done.put(name)
    done.put(None)


def start_worker():
    """A Python of its own that runs `work`. Not multiprocessing: that would run the user's script again in every worker."""
    root = str(Path(__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
           **dict.fromkeys(["NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")}
    return subprocess.Popen([sys.executable, "-P", "-m", "numpyvision.ahead"], env=env, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def stop_worker(worker):
    """End it, whatever it is doing: what it had compiled is on disk."""
    worker.kill()
    with contextlib.suppress(OSError), worker:                         # waits for it and closes its pipes
        pass


def work():
    """Compile the rows whose names come in, line by line; say each name when it is done."""
    gc.set_threshold(100_000, 20, 20)              # compiling makes millions of objects that live on: looking for garbage is a sixth of it
    for line in sys.stdin:
        compile_row(line.strip())
        print(line.strip(), flush=True)


if __name__ == "__main__":
    work()
