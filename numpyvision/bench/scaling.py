"""How cost grows: with the side of the image, the batch, the number of regions, and how it shrinks with threads."""
import sys

from numpyvision import contract, threads
from numpyvision.bench import operations, steps
from numpyvision.bench.operations import case, randn, rois

SIDES, BATCHES, REGIONS = (64, 128, 256, 512, 1024), (1, 2, 4, 8, 16), (16, 64, 256, 1024)
GROUPS = ("image side", "batch", "RoIs", "threads")


def tasks(names=(), quick=False, others=None):
    """Tasks whose group is what grows, whose name says what is timed, and whose direction ends in the number: "side 256"."""
    if operations.wanted(names, "image side"):
        for side in SIDES[:2] if quick else SIDES:
            yield _step("image side", "FCN, training step, 1 image", "fcn", 1, side, others)
    if operations.wanted(names, "batch"):
        for batch in BATCHES[:2] if quick else BATCHES:
            yield _step("batch", "Mask R-CNN, training step, 128x128", "mask_rcnn", batch, 128, others)
    if operations.wanted(names, "RoIs"):
        yield from region_tasks(quick, others)


def region_tasks(quick=False, others=None):
    """RoI Align of more and more regions."""
    for count in REGIONS[:2] if quick else REGIONS:
        line = case("RoIs", "RoI Align 7x7, forward and backward", "roi_align", True, x=randn(4, 64, 64, 64), rois=rois(count, 4, 256),
                    output_size=7, spatial_scale=0.25)
        forward, backward = operations.pair(line, *contract.operations()["roi_align"], others or {})
        work = {name: _both(forward.work[name], backward.work[name]) for name in forward.work if name in backward.work}
        yield operations.Task(line.group, line.name, f"RoIs {count}", work)


def thread_tasks(names=(), others=None):
    """(n, Task) for every number of threads: the caller sets n threads before it measures the task."""
    for n in range(1, threads.max_threads() + 1) if operations.wanted(names, "threads") else ():
        yield n, _step("threads", "Mask R-CNN, training step, 4 x 128x128", "mask_rcnn", 4, 128, others, n)


def _step(group, name, model, batch_size, side, others, number=None):
    task = next(iter(steps.model_tasks(model, batch_size, side, peers=bool(others), warm_steps=8)))
    work = {key: function for key, function in task.work.items() if key != "readable"}
    number = number or (side if group == "image side" else batch_size)
    return operations.Task(group, name, f"{group.split()[-1]} {number}", work)


def _both(forward, backward):
    def run():
        forward()
        backward()
    return run


def set_threads(n):
    """n threads for ours and, where it is loaded, for torch."""
    threads.set_num_threads(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
