"""The training loop: batch, forward, backward, clip, step; and around it a log, checkpoints, curves, and a way back after a crash.

It knows no model by name. A model has `losses, cache = forward(images, targets, sizes, rng=rng, train=True)`, with losses a dict
{name: float}; `dimages, grads = backward({name: weight}, cache)`; named_params() and named_buffers(). A stream has `batch(step)`.

Step s (counted from 0) sees the batch `stream.batch(s)`, the generator `default_rng([seed, s])` and the rate `schedule(s)`: nothing depends
on how the run came to s. Hence a run that was killed and resumed ends with the very bits of one that was not.
"""
import contextlib
import json
import math
import signal
import threading
import time
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from numpyvision.training import checkpoint, finite, memory, optim

CHECKPOINT, LOG, CURVES, CONFIG = "checkpoint.safetensors", "log.jsonl", "curves.png", "config.json"
SECONDS_BETWEEN_CURVES = 60     # a figure costs half a second


def train(model, stream, *, optimizer, schedule, steps, out=None, seed=0, loss_weights=None, clip=10.0, checkpoint_every=100,
          log_every=1, resume=False, progress=True, on_step=None, batches=None, config=None, plot=None):
    """Train until `steps` steps are done -> the log's rows, a list of dicts {step, loss, each loss, lr, grad_norm, seconds}.

    out: the run's folder (checkpoint, log, curves, config); None writes nothing. With resume=True it goes on from the folder's
    checkpoint, or from the start if the run died before it wrote one. Without, a folder that has a checkpoint is refused.
    loss_weights: {loss name: weight}; 1 where absent, 0 switches a loss off. batches: `batches(start, stop)` yields the batches of
    those steps (a prefetcher); by default they are asked of the stream one by one. on_step(row) is called after every step.
    config: a JSON dict that is kept in the checkpoint. plot(rows) -> matplotlib axes, saved as curves.png.

    Ctrl-C finishes the step, saves, and raises KeyboardInterrupt (a second Ctrl-C: at once, unsaved). A NaN raises NonFiniteError.
    """
    memory.keep_freed_memory()
    run = _Run(out, model, optimizer, config, plot)
    start = run.resume() if resume else run.begin()
    if start > steps:
        raise ValueError(f"{run.folder}: the checkpoint is at step {start}, beyond steps={steps}; a run cannot be shortened")
    batches = batches or (lambda first, last: (stream.batch(s) for s in range(first, last)))
    with _stop_after_step() as stop, contextlib.closing(_closable(batches(start, steps))) as queue, \
            tqdm(total=steps, initial=start, disable=not progress, unit="step", dynamic_ncols=True, mininterval=0.5) as bar, \
            np.errstate(over="ignore", divide="ignore", invalid="ignore"):         # the loop itself looks for NaN, and says more
        bar.set_postfix_str("first step; loops that this machine has not compiled yet are compiled now, once")
        for s, batch in zip(range(start, steps), queue, strict=False):
            began = time.perf_counter()
            losses, norm = train_step(model, batch, optimizer, schedule(s), [seed, s], loss_weights or {}, clip)
            row = _row(s, losses, loss_weights or {}, schedule(s), norm, time.perf_counter() - began)
            _show(bar, row)
            run.log(row, write=(s + 1) % log_every == 0 or s + 1 == steps)
            if (s + 1) % checkpoint_every == 0 or s + 1 == steps or stop:
                run.save(s + 1)
            if on_step is not None:
                on_step(row)
            if stop:
                raise KeyboardInterrupt
            start = s + 1
    if start < steps:
        raise ValueError(f"batches({start}, ...) ended after step {start}, expected {steps}; a stream must not run dry")
    run.draw()
    return run.rows


def train_step(model, batch, optimizer, lr, seed, loss_weights, clip):
    """One step of training -> losses, norm of the gradient before clipping. Nothing is updated if anything is not finite."""
    losses, cache = model.forward(batch.images, batch.targets, batch.sizes, rng=np.random.default_rng(seed), train=True)
    unknown = [name for name in loss_weights if name not in losses]
    if unknown:
        raise ValueError(f"loss_weights names {unknown}, but the model's losses are {sorted(losses)}")
    if not all(math.isfinite(value) for value in losses.values()):
        raise finite.explain_losses(model, batch, np.random.default_rng(seed), losses, seed[1])
    _, grads = model.backward({name: loss_weights.get(name, 1.0) for name in losses}, cache)
    clipped, norm = optim.clip_grad_norm(grads, clip)
    if not math.isfinite(norm):
        raise finite.explain_gradients(grads, seed[1])
    optimizer.step(clipped, lr)
    return losses, norm


def _row(step, losses, loss_weights, lr, norm, seconds):
    losses = {name: float(value) for name, value in losses.items()}
    total = sum(loss_weights.get(name, 1.0) * value for name, value in losses.items())
    return {"step": step, "loss": total, **losses, "lr": float(lr), "grad_norm": norm, "seconds": round(seconds, 4)}


def _show(bar, row):
    losses = {name.removeprefix("loss_"): f"{value:.3f}" for name, value in row.items() if name.startswith("loss")}
    bar.set_postfix({**losses, "lr": f"{row['lr']:.2g}"}, refresh=False)
    bar.update()
    if not bar.disable and bar.n == bar.initial + 1:       # the first one at once; later ones are shown twice a second
        bar.refresh()


class _Run:
    """The folder of one run. Its checkpoint is the truth; the log never says more than the checkpoint can repeat."""

    def __init__(self, folder, model, optimizer, config, plot):
        self.folder = None if folder is None else Path(folder)
        self.model, self.optimizer, self.config, self.plot = model, optimizer, config, plot
        self.rows, self.drawn = [], time.perf_counter()

    def begin(self):
        if self.folder is None:
            return 0
        if (self.folder / CHECKPOINT).exists():
            raise ValueError(f"{self.folder} holds the checkpoint of a run already; give another folder, or resume that run")
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.config is not None:
            checkpoint.write_atomically(self.folder / CONFIG, json.dumps(self.config, indent=2) + "\n")
        checkpoint.write_atomically(self.folder / LOG, "")
        return 0

    def resume(self):
        if self.folder is None:
            raise ValueError("resume=True needs `out`, the folder of the run to go on with")
        if not (self.folder / CHECKPOINT).exists():
            return self.begin()
        step = checkpoint.load(self.folder / CHECKPOINT, self.model, self.optimizer).step
        self.rows = [row for row in read_log(self.folder / LOG) if row["step"] < step]
        checkpoint.write_atomically(self.folder / LOG, "".join(json.dumps(row) + "\n" for row in self.rows))
        return step

    def log(self, row, write):
        if not write:
            return
        self.rows.append(row)
        if self.folder is not None:
            with open(self.folder / LOG, "a") as file:                 # one write: a kill leaves whole lines, or the last one cut
                file.write(json.dumps(row) + "\n")

    def save(self, step):
        if self.folder is None:
            return
        error = finite.explain_state(self.model, self.optimizer, step - 1)
        if error is not None:                                          # never overwrite a good checkpoint with a spoiled one
            raise error
        checkpoint.save(self.folder / CHECKPOINT, self.model, self.optimizer, step, self.config)
        if time.perf_counter() - self.drawn > SECONDS_BETWEEN_CURVES:
            self.draw()

    def draw(self):
        if self.folder is not None and self.plot is not None and self.rows:
            figure = self.plot(self.rows).figure
            figure.savefig(self.folder / CURVES, dpi=100, bbox_inches="tight")
            from matplotlib import pyplot
            pyplot.close(figure)
        self.drawn = time.perf_counter()


def read_log(path):
    """The rows of a log.jsonl: a list of dicts, up to the first line that is not whole (a killed run's last)."""
    rows = []
    if Path(path).exists():
        for line in Path(path).read_text(errors="replace").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            if not isinstance(row, dict) or "step" not in row:
                break
            rows.append(row)
    return rows


@contextlib.contextmanager
def _stop_after_step():
    """Ctrl-C appends to the list that this yields; a second one raises at once. Python delivers signals to the main thread alone."""
    stop = []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(signum, frame):
        if stop:
            raise KeyboardInterrupt
        stop.append(signum)
        tqdm.write("stopping after this step; press Ctrl-C again to stop at once, without saving")
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)


def _closable(iterable):
    return iterable if hasattr(iterable, "close") else (item for item in iterable)
