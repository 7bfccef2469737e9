"""Pictures for the exercises on pooling, crops, pyramids and resizing: `NAME(figure, function)`; the function may be a student's."""
import numpy as np

from numpyvision.layers import fpn
from numpyvision.ops import pool, resize, roi, roi_pool
from numpyvision.plot import style
from numpyvision.plot.gradients import draw_numbers, signed_colormap

PARTS = ("#2f7ed8", "#d1495b", "#2ca25f")
SLIDE = np.array([[[[1., 2], [3, 4]]]])
POOLED = np.array([[[[1., 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]]])
TENS = np.array([[[[10., 20], [30, 40]]]])
SIXTEEN = np.arange(16.).reshape(1, 1, 4, 4)
BOX = np.array([[0, 2.7, 1.3, 6.7, 6.3]])                  # the slide's box, in cells (L16-F03, erratum L16-E07)


def tables(figure, *panels, rows=False, fmt="{:.3g}"):
    """Small arrays with their numbers written in, side by side (or below each other): (title, array) or (title, array, cells to frame)."""
    arrays = [np.atleast_2d(panel[1]) for panel in panels]
    sizes = [a.shape[0] if rows else a.shape[1] for a in arrays]
    share = {"height_ratios" if rows else "width_ratios": [s + 0.6 for s in sizes]}
    axes = figure.subplots(*((len(panels), 1) if rows else (1, len(panels))), gridspec_kw=share, squeeze=False).ravel()
    for ax, array, (title, _, *mark) in zip(axes, arrays, panels, strict=True):
        draw_numbers(array, ax, title, fmt=fmt, mark=mark[0] if mark else ())
        ax.title.set_fontsize(9)


def curve(ax, x, y, xlabel, ylabel, title, color=PARTS[0], label=None):
    """A line in the library's look."""
    ax.plot(x, y, color=color, label=label)
    style.plain(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel, **({"title": title} if title else {}))


def cells(ax, values, title, cmap="gray", symmetric=False):
    """A map as an image whose cell i covers [i, i + 1)."""
    peak = max(np.abs(values).max(), 1e-9)
    ax.imshow(values, cmap=cmap, extent=(0, values.shape[1], values.shape[0], 0), **({"vmin": -peak, "vmax": peak} if symmetric else {}))
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])


def outline(ax, x1, y1, x2, y2, color, width=2.0, dashed=False):
    ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=color, linewidth=width, linestyle="--" if dashed else "-")


def wavy(H=8, W=9):
    """A smooth map with a bright spot."""
    y, x = np.mgrid[:H, :W]
    return np.exp(-((y - 3.2) ** 2 + (x - 4.4) ** 2) / 6)


# ---- pooling

def max_pool2d_forward(figure, function):
    """The slide's numbers."""
    out, cache = function(POOLED, 2)
    tables(figure, ("x, the maxima framed", POOLED[0, 0], [divmod(int(k), 4) for k in cache["indices"].ravel()]), ("out", out[0, 0]),
           ("indices", cache["indices"][0, 0]))


def max_pool2d_backward(figure, function):
    """The slide's numbers, backward."""
    _, cache = pool.max_pool2d_forward(POOLED, 2)
    places = [divmod(int(k), 4) for k in cache.indices.ravel()]
    tables(figure, ("x, the maxima framed", POOLED[0, 0], places), ("dout", TENS[0, 0]), ("dx", function(TENS, cache)[0, 0], places))


def avg_pool2d_forward(figure, function):
    """The same 4 x 4 image, averaged."""
    tables(figure, ("x", POOLED[0, 0]), ("2 x 2 means", function(POOLED, 2)[0][0, 0]),
           ("3 x 3, stride 1, padding 1", function(POOLED, 3, 1, 1)[0][0, 0]))


def avg_pool2d_backward(figure, function):
    """Side by side, each pixel has one share; overlapping windows add theirs up."""
    apart, close = (pool.avg_pool2d_forward(POOLED, *how)[1] for how in ((2,), (3, 1, 1)))
    tables(figure, ("dout", TENS[0, 0]), ("dx, 2 x 2 windows", function(TENS, apart)[0, 0]),
           ("dx of ones, 3 x 3, stride 1", function(np.ones((1, 1, 4, 4)), close)[0, 0]), fmt="{:.2g}")


def max_unpool2d_forward(figure, function):
    """The slide's numbers."""
    places = np.array([[[[5, 2], [12, 15]]]])
    tables(figure, ("x", SLIDE[0, 0]), ("indices", places[0, 0]),
           ("out", function(SLIDE, places)[0][0, 0], [divmod(int(k), 4) for k in places.ravel()]))


def max_unpool2d_backward(figure, function):
    """Each value reads its gradient where it was put."""
    places = np.array([[[[5, 2], [12, 15]]]])
    _, cache = pool.max_unpool2d_forward(SLIDE, places)
    tables(figure, ("dout", SIXTEEN[0, 0], [divmod(int(k), 4) for k in places.ravel()]), ("dx", function(SIXTEEN, cache)[0, 0]))


# ---- crops

def roi_pool_forward(figure, function):
    """The slide's box, where it snaps to, and the winner of each bin (a dot)."""
    x = wavy()
    left, middle, right = figure.subplots(1, 3, width_ratios=(9, 9, 4))
    for ax, mode in ((left, "slide"), (middle, "caffe")):
        out, cache = function(x[None, None], BOX, 2, 1.0, mode=mode)
        cells(ax, x, f'mode "{mode}"')
        outline(ax, *BOX[0, 1:], PARTS[1], dashed=True)
        bins = roi_pool.pool_bins(BOX, x.shape, (2, 2), 1.0, mode)
        for p, q in np.ndindex(2, 2):
            odd = (p + q) % 2
            inset, color = 0.08 + 0.16 * odd, PARTS[2 * odd]
            outline(ax, bins.left[0, q] + inset, bins.top[0, p] + inset, bins.right[0, q] - inset, bins.bottom[0, p] - inset, color)
        row, column = np.divmod(cache["argmax"].ravel(), x.shape[1])
        ax.scatter(column + 0.5, row + 0.5, s=26, color="#ffb000", zorder=5)
    draw_numbers(out[0, 0], right, 'out, "caffe"', fmt="{:.2g}")


def roi_pool_backward(figure, function):
    """Where the gradient of a box's four bins lands."""
    x, dout = wavy(), np.array([[[[1., 2], [3, 4]]]])
    _, cache = roi_pool.roi_pool_forward(x[None, None], BOX, 2, 1.0, mode="slide")
    left, right = figure.subplots(1, 2, width_ratios=(3, 9))
    draw_numbers(dout[0, 0], left, "dout")
    dx = function(dout, cache)[0][0, 0]
    draw_numbers(np.where(dx == 0, np.nan, dx), right, "dx: to the winners")
    outline(right, *BOX[0, 1:], PARTS[1], dashed=True)


def align_samples(ax):
    """The box, its bins, and its samples."""
    _, ys, xs = roi.sample_points(BOX, (2, 2), 1.0, 2, True)
    x1, y1, x2, y2 = BOX[0, 1:]
    outline(ax, x1, y1, x2, y2, PARTS[1])
    ax.plot([x1, x2, np.nan, (x1 + x2) / 2, (x1 + x2) / 2], [(y1 + y2) / 2, (y1 + y2) / 2, np.nan, y1, y2], color=PARTS[1], linewidth=1.2)
    y, x = np.meshgrid(ys.v.ravel() + 0.5, xs.v.ravel() + 0.5, indexing="ij")
    ax.scatter(x, y, s=16, color="#ffb000", zorder=5)


def roi_align_forward(figure, function):
    """The slide's box, its four equal bins, their samples, and the mean of each bin."""
    x = wavy()
    left, right = figure.subplots(1, 2, width_ratios=(9, 4))
    cells(left, x, "no snapping: 2 x 2 bins, 2 x 2 samples each")
    align_samples(left)
    draw_numbers(function(x[None, None], BOX, 2, 1.0)[0][0, 0], right, "out", fmt="{:.2g}")


def roi_align_dx(figure, function):
    """What one bin's gradient gives to the cells: each sample to four of them."""
    _, cache = roi.roi_align_forward(wavy()[None, None], BOX, 2, 1.0)
    dout = np.array([[[[1., 0], [0, 0]]]])
    dx = function(dout, cache)[0, 0]
    ax = figure.subplots()
    draw_numbers(np.where(dx == 0, np.nan, dx), ax, "dx, for dout = 1 in the first bin, 0 in the others", fmt="{:.2f}")
    align_samples(ax)
    ax.set(xlim=(0.9, 8.1), ylim=(6.6, 0.9))


def roi_align_dbox(figure, function):
    """How the mean of the crop would change if a side moved: the arrows, longer where it changes more."""
    x = wavy()
    _, cache = roi.roi_align_forward(x[None, None], BOX, 2, 1.0)
    d = function(np.full((1, 1, 2, 2), 0.25), cache)[0, 1:]
    left, right = figure.subplots(1, 2, width_ratios=(9, 6))
    cells(left, x, "brighter this way: the gradient of the mean to each side")
    align_samples(left)
    x1, y1, x2, y2 = BOX[0, 1:]
    scale = 1.6 / max(np.abs(d).max(), 1e-9)
    for place, (u, v) in zip(((x1, (y1 + y2) / 2), ((x1 + x2) / 2, y1), (x2, (y1 + y2) / 2), ((x1 + x2) / 2, y2)),
                             ((d[0], 0), (0, d[1]), (d[2], 0), (0, d[3])), strict=True):
        left.annotate("", (place[0] + scale * u, place[1] + scale * v), place, arrowprops={"color": PARTS[0], "width": 2.5, "headwidth": 9})
    draw_numbers(d, right, "d mean / d (x1, y1, x2, y2)", fmt="{:.2f}")


# ---- a pyramid

def pyramid_rows(figure, upper, lower, titles):
    """Three levels, what goes in above and what comes out below."""
    axes = figure.subplots(2, 3)
    for row, maps, title in zip(axes, (upper, lower), titles, strict=True):
        peak = max(np.abs(m).max() for m in maps)
        for l, (ax, values) in enumerate(zip(row, maps, strict=True)):
            ax.imshow(values[0, 0], cmap=signed_colormap(), vmin=-peak, vmax=peak)
            ax.set_title(f"{title}{l + 1}", fontsize=9)
            ax.set(xticks=[], yticks=[])


def top_down_forward(figure, function):
    """A coarse spot, a middle edge and a fine dot: the finest level ends up with all three."""
    laterals = [np.zeros((1, 1, 16 >> l, 24 >> l)) for l in range(3)]
    laterals[0][0, 0, 3, 4], laterals[1][0, 0, :, 6], laterals[2][0, 0, 2, 4] = 1, 0.6, 0.8
    pyramid_rows(figure, laterals, function(*laterals)[0], ("lateral_", "M_"))


def top_down_backward(figure, function):
    """A gradient at a few cells of the finest level reaches all coarser ones."""
    _, cache = fpn.top_down_forward(*(np.zeros((1, 1, 16 >> l, 24 >> l)) for l in range(3)))
    dM = tuple(np.zeros((1, 1, 16 >> l, 24 >> l)) for l in range(3))
    dM[0][0, 0, 4:8, 4:10], dM[1][0, 0, 5, 9] = 0.25, -1
    pyramid_rows(figure, dM, function(dM, cache), ("dM_", "dlateral_"))


# ---- resizing

def bed_of_nails_forward(figure, function):
    """The slide's numbers."""
    out = function(SLIDE)[0][0, 0]
    tables(figure, ("x", SLIDE[0, 0]), ("out, the nails framed", out, [(0, 0), (0, 2), (2, 0), (2, 2)]))


def bed_of_nails_backward(figure, function):
    """Read at the nails."""
    _, cache = resize.bed_of_nails_forward(SLIDE)
    tables(figure, ("dout, the nails framed", SIXTEEN[0, 0], [(0, 0), (0, 2), (2, 0), (2, 2)]), ("dx", function(SIXTEEN, cache)[0, 0]))


def upsample_nearest_forward(figure, function):
    """The slide's numbers, and a size that is no multiple."""
    tables(figure, ("x", SLIDE[0, 0]), ("twice", function(SLIDE)[0][0, 0]), ("size=(3, 5)", function(SLIDE, size=(3, 5))[0][0, 0]))


def upsample_nearest_backward(figure, function):
    """Each block adds up."""
    _, cache = resize.upsample_nearest_forward(SLIDE)
    tables(figure, ("dout", SIXTEEN[0, 0]), ("dx", function(SIXTEEN, cache)[0, 0]))


def sample_positions(figure, function):
    """Two cells on a line, and where four outputs lie among them, both ways."""
    for ax, align in zip(figure.subplots(2, 1), (False, True), strict=True):
        for i in range(2):
            outline(ax, i - 0.5, 0, i + 0.5, 1, style.GREY)
            ax.text(i, 0.8, f"cell {i}", ha="center", fontsize=8, color=style.GREY)
        places = function(2, 4, align)
        ax.scatter(places, np.full(4, 0.45), color=PARTS[1], zorder=4)
        for p in places:
            ax.text(p, 0.12, f"{p:.3g}", ha="center", fontsize=9)
        ax.set(xlim=(-0.7, 1.7), xticks=[], yticks=[])
        ax.set_title(f"align_corners={align}", fontsize=9)
        ax.spines[:].set_visible(False)


def axis_weights(figure, function):
    """Four cells become eight: the matrix of the hat, and that of Keys' cubic."""
    for ax, bump, name in zip(figure.subplots(1, 2), (resize.hat, resize.keys), ("hat", "Keys' cubic"), strict=True):
        weight = function(4, 8, bump)
        draw_numbers(np.where(np.abs(weight) < 1e-12, np.nan, weight), ax, f"{name}: a row an output, a column a cell", fmt="{:.2f}")
        ax.set_aspect("auto")
        ax.title.set_fontsize(9)
        for text in ax.texts:
            text.set_fontsize(8)


def enlarged(figure, function):
    """The slide's numbers, and the same four pixels at 64 x 64."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(2.4, 5, 4))
    draw_numbers(SLIDE[0, 0], left, "x")
    draw_numbers(function(SLIDE)[0][0, 0], middle, "out", fmt="{:.2f}")
    right.imshow(function(SLIDE, size=(64, 64))[0][0, 0], cmap="viridis")
    right.set(xticks=[], yticks=[])
    right.set_title("size=(64, 64)", fontsize=9)


upsample_bilinear_forward = upsample_bicubic_forward = enlarged


def upsample_bilinear_backward(figure, function):
    """One output's gradient goes to the cells that it read."""
    _, cache = resize.upsample_bilinear_forward(SLIDE)
    dout = np.zeros((1, 1, 4, 4))
    dout[0, 0, 1, 1] = 1
    tables(figure, ("dout", dout[0, 0]), ("dx", function(dout, cache)[0, 0]), ("dx of ones", function(np.ones_like(dout), cache)[0, 0]),
           fmt="{:.4g}")


def keys(figure, function):
    """The bump for two values of a, beside the hat."""
    d, ax = np.linspace(-2.5, 2.5, 301), figure.subplots()
    curve(ax, d, resize.hat(d), "distance d, in cells", "weight", None, color=style.GREY, label="hat (bilinear)")
    for a, color in ((-0.75, PARTS[1]), (-0.5, PARTS[0])):
        ax.plot(d, function(d, a), color=color, label=f"keys, a = {a}")
    ax.legend(fontsize=8)
