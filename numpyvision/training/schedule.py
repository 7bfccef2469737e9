"""Learning rates over time: each function here returns a function step -> lr, where step counts from 0.

Warm-up: a detector's heads start from noise, and full-size steps on their first gradients would wreck the backbone below them.
So the rate climbs linearly from warmup_factor * base_lr to the main schedule (Goyal et al. 2017, section 2.2).
"""
import math
from bisect import bisect_right


def warmup_cosine(base_lr, total_steps, warmup_steps=0, warmup_factor=1e-3, final_factor=0.0):
    """After warm-up, half a cosine from base_lr down to final_factor * base_lr at total_steps (Loshchilov & Hutter 2017, eq. 5).

    Steps beyond total_steps keep the last value. With total_steps == warmup_steps the rate only climbs.
    """
    _check(base_lr, warmup_steps, warmup_factor)
    if total_steps < max(warmup_steps, 1):
        raise ValueError(f"total_steps must be >= 1 and >= warmup_steps = {warmup_steps}, got {total_steps}; shorten the warm-up")

    def lr(step):
        progress = min(max(step - warmup_steps, 0) / max(total_steps - warmup_steps, 1), 1.0)
        factor = final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2
        return base_lr * factor * _warmup(step, warmup_steps, warmup_factor)
    return lr


def warmup_step(base_lr, milestones, gamma=0.1, warmup_steps=0, warmup_factor=1e-3):
    """After warm-up, base_lr times gamma for every milestone reached: `warmup_step(0.02, [60000, 80000])` is Detectron's schedule."""
    _check(base_lr, warmup_steps, warmup_factor)
    if list(milestones) != sorted(milestones):
        raise ValueError(f"milestones must be steps in rising order, got {list(milestones)}")
    milestones = list(milestones)
    return lambda step: base_lr * gamma ** bisect_right(milestones, step) * _warmup(step, warmup_steps, warmup_factor)


def constant(base_lr):
    """Always base_lr."""
    _check(base_lr, 0, 1.0)
    return lambda step: base_lr


def _warmup(step, warmup_steps, warmup_factor):
    if step >= warmup_steps:
        return 1.0
    return warmup_factor + (1 - warmup_factor) * step / warmup_steps


def _check(base_lr, warmup_steps, warmup_factor):
    if not (math.isfinite(base_lr) and base_lr >= 0):
        raise ValueError(f"base_lr must be a finite number >= 0, got {base_lr!r}")
    if warmup_steps < 0 or not 0 <= warmup_factor <= 1:
        raise ValueError(f"warm-up needs warmup_steps >= 0 and warmup_factor in [0, 1], got {warmup_steps!r} and {warmup_factor!r}")
