"""A linear classifier that obeys the model protocol, its data, and a program that trains it: `python tiny_training.py OUT STEPS [resume]`.

The program is what tests/test_training_resume.py kills. It knows no test.
"""
import sys
import time
from dataclasses import dataclass

import numpy as np

from numpyvision.cache import new_cache
from numpyvision.training import loop, optim, schedule


@dataclass
class TinyBatch:
    images: np.ndarray
    targets: list
    sizes: np.ndarray


class TinyStream:
    """Images (B, 3, 2, 2) with labels made by a fixed random linear map: batch(step) is a pure function of (seed, step)."""

    def __init__(self, seed=0, batch_size=8, dtype=np.float64):
        self.seed, self.batch_size, self.dtype = seed, batch_size, dtype
        self.truth = np.random.default_rng(99).standard_normal((4, 12))

    def batch(self, step):
        rng = np.random.default_rng([self.seed, step, 7])
        images = rng.standard_normal((self.batch_size, 3, 2, 2)).astype(self.dtype)
        labels = (images.reshape(self.batch_size, -1) @ self.truth.T).argmax(1)
        return TinyBatch(images, list(labels), np.full((self.batch_size, 2), 2))


class TinyModel:
    """Softmax regression with dropout (it uses rng), a running mean of its input (a buffer), and two losses."""

    def __init__(self, seed=0, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.w, self.b = (0.1 * rng.standard_normal((4, 12))).astype(dtype), np.zeros(4, dtype)
        self.mean = np.zeros(12, dtype)

    def named_params(self):
        yield "head.w", self.w
        yield "head.b", self.b

    def named_buffers(self):
        yield "mean", self.mean

    def forward(self, images, targets, sizes, *, rng, train=True):
        x = images.reshape(len(images), -1)                                      # (B, 12)
        if train:
            self.mean += 0.1 * (x.mean(0) - self.mean)
        keep = (rng.random(x.shape) < 0.9).astype(x.dtype)
        h = x * keep - self.mean
        logits = h @ self.w.T + self.b
        z = logits - logits.max(1, keepdims=True)
        log_probs = z - np.log(np.exp(z).sum(1, keepdims=True))
        losses = {"loss_classifier": float(-log_probs[np.arange(len(x)), targets].mean()), "loss_size": float((self.w**2).sum())}
        head = new_cache(train, h=h, log_probs=log_probs, labels=np.array(targets))
        return losses, new_cache(train, x=x, head=head)

    def backward(self, dlosses, cache):
        dlogits = np.exp(cache.head.log_probs)
        dlogits[np.arange(len(dlogits)), cache.head.labels] -= 1
        dlogits *= dlosses["loss_classifier"] / len(dlogits)
        dw = dlogits.T @ cache.head.h + dlosses["loss_size"] * 2 * self.w
        return None, {"head": {"w": dw, "b": dlogits.sum(0)}}


def make(seed=0, steps=60, dtype=np.float64, **kwargs):
    """Model and the keyword arguments of loop.train for it."""
    model = TinyModel(seed, dtype)
    optimizer = optim.Adam(model.named_params(), lr=0.02, weight_decay=1e-3)
    rate = schedule.warmup_cosine(0.02, steps, warmup_steps=min(5, steps // 2))
    settings = dict(optimizer=optimizer, schedule=rate, steps=steps, seed=seed, loss_weights={"loss_size": 0.01}, progress=False)
    return model, TinyStream(seed, dtype=dtype), {**settings, **kwargs}


if __name__ == "__main__":
    folder, steps = sys.argv[1], int(sys.argv[2])
    model, stream, settings = make(seed=3, steps=steps, dtype=np.float32, out=folder, checkpoint_every=7, resume="resume" in sys.argv)

    def tell(row):
        print(row["step"], flush=True)
        time.sleep(0.002)                       # a step of a real model takes longer than a line of text
    loop.train(model, stream, on_step=tell, **settings)
