"""The pictures of a bench: sorted bars of the ratio with the line at 1, and how cost grows."""
import math

from numpyvision.bench import report
from numpyvision.plot import style

FASTER, SLOWER = "#2a7f9e", "#c8553d"
FAMILIES = {"conv": "#2a7f9e", "pool": "#6a9f58", "norm": "#b58b2a", "resize": "#8a6fb0", "loss": "#c8553d", "region": "#4c566a",
            "update": "#8f8f8f", "step": style.INK}


def family(group):
    """To which colour a group of operations belongs."""
    words = {"loss": ("entropy", "BCE", "focal", "L1"), "region": ("RoI", "IoU", "NMS", "matching", "boxes", "patches"),
             "resize": ("nearest", "bilinear", "bicubic", "nails"), "update": ("update",), "pool": ("pool",),
             "norm": ("norm", "relu", "sigmoid", "add"), "conv": ("conv", "linear")}
    return next((name for name, parts in words.items() if any(part in group for part in parts)), "step")


def ratio_bars(results, against="torch", ax=None):
    """One bar an operation and direction, the geometric mean over its sizes with a line from the best to the worst; whole steps above them.

    Sorted; at 1 both take the same time, on a logarithmic axis. -> ax.
    """
    from matplotlib import patches
    bars, groups = [], {}
    for r in [*results.get("operations", ()), *results.get("steps", ())]:
        if against in r["ratio"]:
            groups.setdefault((r["group"], r["direction"]), []).append(r["ratio"][against][0])
    for (group, direction), ratios in groups.items():
        bars.append((report.geometric_mean(ratios), min(ratios), max(ratios), f"{group}, {direction}", group))
    bars.sort()
    ax = style.new_axes(ax, (8, 1.2 + 0.155 * len(bars)))
    steps = {r["group"] for r in results.get("steps", ())}
    for y, (mean, best, worst, _, group) in enumerate(bars):
        ax.barh(y, mean - 1, left=1, color=FAMILIES[family(group)], height=0.72, alpha=1 if mean <= 1 else 0.7)
        ax.plot([best, worst], [y, y], color=style.INK, linewidth=0.8)
    low, high = min([0.3] + [b[1] for b in bars]) * 0.9, max([2.0] + [b[2] for b in bars]) * 1.1
    ax.set_xscale("log")
    ax.set(xlim=(low, high), ylim=(-0.8, len(bars) - 0.2), yticks=range(len(bars)))
    style.plain(ax)
    step = 1 if math.log10(high / low) < 2.5 else 3                      # every tick, or the powers of ten
    ticks = [t for t in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)[::step]
             if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_yticklabels([b[3] for b in bars], fontsize=7)
    for text, bar in zip(ax.get_yticklabels(), bars, strict=True):
        text.set_fontweight("bold" if bar[4] in steps else "normal")
    ax.axvline(1, color=style.INK, linewidth=1.4)
    threads = results["machine"]["threads"]
    ax.set_xlabel(f"time divided by {against}'s, {threads} threads: left of 1 is faster; thin lines: best to worst size", fontsize=8)
    every = [r["ratio"][against][0] for r in results.get("operations", ()) if against in r["ratio"]]
    if every:
        mean = report.geometric_mean(every)
        ax.axvline(mean, color=style.GREY, linewidth=1, linestyle="--")
        ax.set_title(f"{len(every)} lines, geometric mean {mean:.2f} (dashed)", fontsize=10, color=style.INK)
    shown = dict.fromkeys(family(b[4]) for b in bars)
    handles = [patches.Patch(color=FAMILIES[name], label=name) for name in FAMILIES if name in shown]
    ax.legend(handles=handles, fontsize=7, loc="lower right", frameon=False)
    return ax


def growth(results, axes=None):
    """How cost grows: one panel for each of side, batch, RoIs and threads. -> figure."""
    from matplotlib import ticker
    panels = {}
    for r in results.get("scaling", ()):
        panels.setdefault(r["group"], {})[float(r["direction"].split()[-1])] = (r["ms"], r["name"])
    figure, axes = style.grid(len(panels), 4, (3.1, 2.8))
    for ax, (group, points) in zip(axes, panels.items(), strict=True):
        names = [n for n in report.ORDER if any(n in ms for ms, _ in points.values())]
        for name in names:
            xs = [x for x in sorted(points) if name in points[x][0]]
            ax.plot(xs, [points[x][0][name] for x in xs], marker="o", markersize=3, label="ours" if name == "compiled" else name,
                    color={"compiled": FASTER, "torch": SLOWER}.get(name, style.GREY))
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())
        style.plain(ax)
        ax.set_xticks(sorted(points), [f"{x:g}" for x in sorted(points)])
        ax.set_title(next(iter(points.values()))[1], fontsize=8, color=style.INK)
        ax.set_xlabel(group, fontsize=8)
        ax.set_ylabel("milliseconds", fontsize=8)
        ax.legend(fontsize=7, frameon=False)
    return figure
