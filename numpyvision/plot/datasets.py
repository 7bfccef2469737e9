"""What a data set holds, as a picture: how many objects of each class, how large, how elongated, how many in an image.

Look at it before choosing anchors: their sizes should span the box sizes, their ratios the aspects. Shapes here: K classes, B boxes.
"""
import numpy as np

from numpyvision.plot import style

MOST_CLASSES = 20   # bars that one can still read


def plot_dataset_statistics(statistics, path=None):
    """Four histograms of a data set -> figure. path: written there as an image.

    statistics: anything with the attributes classes (K names), class_counts (K,), box_sizes (B,) px, aspect_ratios (B,) height / width,
    objects_per_image (N,), such as `check_dataset(...).statistics`. An empty data set gives four empty axes.
    """
    s = statistics
    figure, axes = style.grid(4, 2, (4.6, 3.2))
    plot_classes(s.classes, s.class_counts, axes[0])
    plot_log_histogram(s.box_sizes, "box size: sqrt(width x height), px", axes[1])
    plot_log_histogram(s.aspect_ratios, "aspect: height / width", axes[2])
    plot_counts(s.objects_per_image, axes[3])
    return style.save(figure, path)


def plot_classes(classes, counts, ax=None):
    """Objects of each class as bars, the most frequent on top; beyond 20 classes the rest is one bar."""
    ax = style.new_axes(ax)
    counts = np.asarray(counts)
    order = np.argsort(-counts, kind="stable")
    shown, rest = order[:MOST_CLASSES], order[MOST_CLASSES:]
    names = [classes[k] for k in shown] + ([f"{len(rest)} others"] if len(rest) else [])
    values = [int(counts[k]) for k in shown] + ([int(counts[rest].sum())] if len(rest) else [])
    colors = [style.class_color(k + 1) for k in shown] + ([style.GREY] if len(rest) else [])
    style.plain(ax)
    if names:
        bars = ax.barh(np.arange(len(names)), values, height=min(0.8, 0.15 * len(names) + 0.2), color=colors)   # a lone class is no wall
        ax.bar_label(bars, padding=2, fontsize=7, color=style.GREY)
    ax.set(yticks=np.arange(len(names)), yticklabels=names, xlabel="objects")
    ax.tick_params(axis="y", labelsize=8 if len(names) <= 8 else 6)
    ax.margins(x=0.15)
    _whole_numbers(ax.xaxis)
    ax.invert_yaxis()
    return ax


def plot_log_histogram(values, label, ax=None, bins=40):
    """Histogram over a logarithmic axis, on which twice and half are equally far; the median is marked. values (B,) > 0."""
    ax = style.new_axes(ax)
    values = np.asarray(values, np.float64)
    style.plain(ax)
    ax.set_xscale("log")
    ax.set(xlabel=label, ylabel="objects")
    if len(values):
        low, high = values.min(), values.max()
        edges = np.geomspace(low / 1.05, high * 1.05, bins + 1)
        ax.hist(values, edges, color=style.NEGATIVE)
        median = np.median(values)
        ax.margins(y=0.15)                                             # room for the label
        ax.axvline(median, color=style.POSITIVE, linewidth=1.2)
        ax.annotate(f"median {median:.3g}", (median, 1), xycoords=("data", "axes fraction"), xytext=(3, -9), textcoords="offset points",
                    fontsize=8, color=style.POSITIVE)
        _readable_ticks(ax, low, high)
    _whole_numbers(ax.yaxis)
    return ax


def _readable_ticks(ax, low, high):
    """1, 2, 5, 10, 20, ... or, on a short axis, finer; written as plain numbers."""
    from matplotlib.ticker import FixedLocator, NullLocator
    decades = 10.0 ** np.arange(-6, 7)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [t for t in np.outer(decades, steps).ravel() if low / 1.05 <= t <= high * 1.05]
        if len(ticks) >= 4:
            break
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _whole_numbers(axis):
    """Objects are counted in whole numbers."""
    from matplotlib.ticker import MaxNLocator
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def plot_counts(objects_per_image, ax=None):
    """How many images hold how many objects. objects_per_image (N,) int."""
    ax = style.new_axes(ax)
    values = np.asarray(objects_per_image, np.int64)
    style.plain(ax)
    if len(values):
        step = max(1, int(np.ceil((values.max() + 1) / 40)))          # at most about 40 bars
        ax.hist(values, np.arange(0, values.max() + step + 1, step) - 0.5, color=style.NEGATIVE, rwidth=0.9)
    ax.set(xlabel="objects in an image", ylabel="images")
    _whole_numbers(ax.xaxis), _whole_numbers(ax.yaxis)
    return ax
