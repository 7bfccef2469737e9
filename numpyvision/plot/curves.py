"""Pictures of numbers over time: the losses of a run, and precision against recall."""
import numpy as np

from numpyvision.plot import style

NOT_LOSSES = ("step", "lr", "grad_norm", "seconds")


def smooth(values, span):
    """Mean over the last `span` entries (fewer at the start), skipping nan: (n,) -> (n,)."""
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    total, count = (np.concatenate([[0], np.cumsum(a)]) for a in (np.where(known, values, 0), known))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - span, 0)
    n = count[ends] - count[starts]
    return np.divide(total[ends] - total[starts], n, out=np.full(len(values), np.nan), where=n > 0)


def loss_names(rows):
    """Names of the losses in a log, the total first."""
    names = dict.fromkeys(name for row in rows for name in row if name not in NOT_LOSSES and name.startswith("loss"))
    return sorted(names, key=lambda name: name != "loss")


def plot_curves(rows, ax=None):
    """The losses of a run by name, smoothed, the raw ones faint behind; below them, the learning rate on an axis of its own.

    rows: dicts {step, loss, loss_..., lr}, as in log.jsonl. The legend names the last smoothed value. Without rows the axes stay empty.
    """
    ax = style.new_axes(ax, (7, 4.2))
    style.plain(ax)
    ax.set_title("training loss", fontsize=11, color=style.INK, loc="left")
    ax.set_xlabel("step", fontsize=9)
    names = loss_names(rows)
    if not names:
        return ax
    steps, span, top = [row["step"] for row in rows], max(1, len(rows) // 40), 0
    for i, name in enumerate(names):
        raw = np.array([row.get(name, np.nan) for row in rows], np.float64)
        color, line = (style.INK, smooth(raw, span)) if name == "loss" else (style.class_color(i), smooth(raw, span))
        ax.plot(steps, raw, color=color, linewidth=0.6, alpha=0.18)
        ax.plot(steps, line, color=color, linewidth=2 if name == "loss" else 1.4, label=f"{name.removeprefix('loss_')}  {line[-1]:.3g}",
                marker="o" if len(rows) == 1 else None)
        top = max(top, np.nanmax(line[min(span, len(line)) - 1:], initial=0))      # the first step's spike may leave the picture
    ax.set_ylim(0, 1.15 * top or 1)
    ax.legend(fontsize=8, frameon=False, loc="upper right")
    if any("lr" in row for row in rows):
        _plot_rate(ax, steps, [row.get("lr", np.nan) for row in rows])
    return ax


def _plot_rate(ax, steps, rates):
    """The learning rate in a strip under the losses, which gives up its own step labels to the strip."""
    strip = ax.inset_axes([0, -0.2, 1, 0.14], sharex=ax)
    style.plain(strip)
    strip.plot(steps, rates, color=style.GREY, linewidth=1.2)
    strip.fill_between(steps, rates, color=style.PALE, linewidth=0)
    peak = np.nanmax(np.asarray(rates, np.float64), initial=0)
    strip.set(ylim=(0, 1.15 * peak or 1), yticks=[0, peak] if peak else [0], yticklabels=["0", f"{peak:.2g}"] if peak else ["0"])
    strip.set_xlabel("step", fontsize=9)
    strip.set_ylabel("rate", fontsize=8, color=style.GREY)
    ax.set_xlabel("")
    ax.tick_params(labelbottom=False)


def plot_precision_recall(precision, recall, ax=None, name="precision"):
    """One ranking's saw-toothed curve and, filled, its envelope: the area that average precision measures. Both (D,), best first."""
    ax = style.new_axes(ax, (4.2, 4))
    style.plain(ax)
    best = np.maximum.accumulate(np.asarray(precision)[::-1])[::-1]
    ax.fill_between(np.concatenate([[0], recall]), np.concatenate([best[:1], best]), step="pre", color=style.NEGATIVE, alpha=0.15,
                    linewidth=0)
    ax.plot(recall, precision, "o-", color=style.NEGATIVE, markersize=3, linewidth=1.4, label=name)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
    return ax
