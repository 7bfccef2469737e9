"""The lecture's figures of cropping features: RoI Pool (L16-F03 to F05) and RoI Align (L16-A01 to A05).

`draw_samples` draws any record of `ops/roi_samples.py`; the other functions compose the slides. Here cell i of a map covers [i, i + 1)
and its value stands at its centre, so that a sample at position v, counted in cells, is drawn at v + 0.5.
"""
import numpy as np

from numpyvision.ops import roi, roi_pool, roi_samples
from numpyvision.plot import lecture, style

BOX, SNAPPED, BINS = "#e6194b", "#2f7ed8", ("#2ca25f", "#f58231", "#911eb4", "#00a5a5")
SLIDE_BOX = (2.7, 1.3, 6.7, 6.3)                           # on a map of 8 x 9 cells: snaps to 4 columns x 5 rows


def wavy(H, W, seed=3):
    """A smooth map (H, W) with one-digit numbers, for crops that one can follow by eye."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(H)[:, None] + 0.5, np.arange(W) + 0.5
    total = sum(np.sin(y * a + x * b + c) for a, b, c in rng.uniform(-1.2, 1.2, (4, 3)))
    return np.round(4.5 + 4.4 * total / abs(total).max())


def greys(values):
    """Colours of a board of features: the larger, the darker, all pale enough to write on."""
    low, high = values.min(), values.max()
    return [[lecture.tint("#4a5270", 0.04 + 0.34 * (v - low) / max(high - low, 1e-9)) for v in row] for row in values]


# ---- RoI Pool

def draw_roi_pool(box=SLIDE_BOX):
    """L16-F04 and erratum E07: one box, snapped and divided as the slide draws it, and as real code does."""
    x = wavy(8, 9, seed=11)
    ax = lecture.canvas(28, 13.8, "Cropping features: RoI Pool",
                        "Red: the box, projected onto the features. Blue: the same box snapped to the grid. Each bin keeps its largest "
                        "cell (ring).\nReal code rounds both corners, counts the last cell too, and lets bins overlap (erratum L16-E07).")
    for left, mode, name in ((0.9, "slide", "the slide: 4 x 5 cells, disjoint bins"),
                             (14.9, "caffe", "real code: 5 x 6 cells, bins overlap")):
        bins = roi_pool.pool_bins(np.array([[0, *box]]), x.shape, (2, 2), 1.0, mode)
        out, cache = roi_pool.roi_pool_forward(x[None, None], np.array([[0, *box]]), 2, 1.0, mode)
        top = 3.1
        lecture.label(ax, left + 4.7, top - 0.6, name, size=16)
        lecture.board(ax, np.full(x.shape, ""), left, top, greys(x))
        _draw_bins(ax, bins, left, top)
        for i, j in np.ndindex(x.shape):
            lecture.label(ax, left + j + 0.5, top + i + 0.5, f"{x[i, j]:g}", size=14, zorder=6)
        for k, place in enumerate(cache.argmax.ravel().tolist()):                      # a cell that won twice gets a ring in a ring
            again = cache.argmax.ravel().tolist()[:k].count(place)
            ax.scatter(left + place % 9 + 0.5, top + place // 9 + 0.5, s=340 + 260 * again, facecolors="none", edgecolors=BINS[k],
                       linewidths=3, zorder=7)
        lecture.frame(ax, left + box[0], top + box[1], left + box[2], top + box[3], BOX, 3.4, zorder=6)
        lecture.arrow(ax, (left + 9.2, top + 4), (left + 10.1, top + 4))
        colors = [[lecture.tint(BINS[2 * i + j], 0.45) for j in range(2)] for i in range(2)]
        lecture.board(ax, out[0, 0], left + 10.3, top + 3, colors)
        rows, columns = ([f"{a}:{b}" for a, b in zip(near[0] - near[0, 0], far[0] - near[0, 0], strict=True)]
                         for near, far in ((bins.top, bins.bottom), (bins.left, bins.right)))
        lecture.label(ax, left + 11.1, top + 6.3, f"rows {', '.join(rows)}\ncolumns {', '.join(columns)}", size=lecture.NOTE,
                      linespacing=1.5)
    return ax.figure


def _draw_bins(ax, bins, left, top):
    """The snapped box, and each bin as a tinted rectangle, drawn a little smaller so that overlaps are seen as such."""
    from matplotlib.patches import Rectangle
    for p in range(bins.top.shape[1]):
        for q in range(bins.left.shape[1]):
            x1, x2, y1, y2 = bins.left[0, q], bins.right[0, q], bins.top[0, p], bins.bottom[0, p]
            inner, hue = 0.09, BINS[2 * p + q]
            ax.add_patch(Rectangle((left + x1 + inner, top + y1 + inner), x2 - x1 - 2 * inner, y2 - y1 - 2 * inner, zorder=3,
                                   facecolor=(*lecture.tint(hue, 1.0), 0.25), edgecolor=hue, linewidth=2.2))
    x1, x2, y1, y2 = bins.left[0, 0], bins.right[0, -1], bins.top[0, 0], bins.bottom[0, -1]
    lecture.frame(ax, left + x1, top + y1, left + x2, top + y2, SNAPPED, 3.4, zorder=5)


def draw_pool_against_align():
    """L16-F05: one output number while the box slides to the right: RoI Pool jumps, RoI Align follows."""
    x = wavy(8, 14)[None, None]
    shifts = np.linspace(0, 6, 1201)
    rois = np.array([[0, 1.2 + t, 1.3, 5.2 + t, 6.3] for t in shifts])
    crops = {"RoI Pool": roi_pool.roi_pool_forward(x, rois, 2, 1.0, "slide")[0], "RoI Align": roi.roi_align_forward(x, rois, 2, 1.0)[0]}
    ax = lecture.canvas(18, 8.4, "A box that slides: RoI Pool jumps, RoI Align follows",
                        "RoI Pool is constant between the jumps: its gradient to the box is zero, so the box cannot learn from the crop.")
    for k, (name, hue) in enumerate((("RoI Pool", lecture.HUES[1]), ("RoI Align", lecture.HUES[0]))):
        inner = lecture.inset(ax, 1.3 + 8.5 * k, 2.2, 7.2, 4.3)
        values = crops[name][:, 0, 0, 0]
        jumps = np.flatnonzero(abs(np.diff(values)) > 0.5) + 1
        for piece in np.split(np.arange(len(shifts)), jumps):
            inner.plot(shifts[piece], values[piece], color=hue, linewidth=3, solid_capstyle="butt")
        style.plain(inner)
        inner.tick_params(labelsize=lecture.NOTE)
        inner.set(xlim=(0, 6), ylim=(min(c[:, 0, 0, 0].min() for c in crops.values()) - 0.7, crops["RoI Pool"][:, 0, 0, 0].max() + 0.7))
        inner.set_title(name, fontsize=17, color=style.INK)
        inner.set_xlabel("box shifted by ... cells", fontsize=lecture.NOTE, color=style.INK)
        if k == 0:
            inner.set_ylabel("upper left output", fontsize=lecture.NOTE, color=style.INK)
    return ax.figure


# ---- RoI Align

def draw_samples(record, plane=None, ax=None, at=None, origin=(0, 0)):
    """A record of `roi_align_samples` on its map: box, bins and sample points; `at` = (p, q, s, t) also with its neighbours and weights.

    plane (H, W): the features, drawn as a board. origin: where the map's upper left corner is on the axes.
    """
    H, W = record.feature_size
    ax = style.new_axes(ax, (0.62 * W + 0.4, 0.62 * H + 0.6))
    if plane is not None:
        lecture.board(ax, [[""] * W] * H, *origin, greys(np.asarray(plane)))
    ax.autoscale_view()
    shift = np.array(origin) + 0.5
    cells_x, cells_y = np.meshgrid(np.arange(W) + shift[0], np.arange(H) + shift[1])
    ax.scatter(cells_x, cells_y, s=14, color="#8a91a5", zorder=3)
    for x1, y1, x2, y2 in record.bins.reshape(-1, 4):
        lecture.frame(ax, x1 + shift[0], y1 + shift[1], x2 + shift[0], y2 + shift[1], BOX, 1.6, zorder=5)
    x1, y1, x2, y2 = record.box
    lecture.frame(ax, x1 + shift[0], y1 + shift[1], x2 + shift[0], y2 + shift[1], BOX, 3.6, zorder=5)
    lecture.dots(ax, record.x + shift[0], record.y + shift[1], size=52, color=lecture.HUES[2], zorder=6)
    if at is not None:
        u, v = record.x[at] + shift[0], record.y[at] + shift[1]
        for i, j, w in zip(record.rows[at], record.columns[at], record.weights[at], strict=True):
            ax.plot([u, j + shift[0]], [v, i + shift[1]], color=lecture.HUES[0], linewidth=1.2 + 7 * w, zorder=5.5, solid_capstyle="round")
            lecture.dots(ax, j + shift[0], i + shift[1], size=90, color=lecture.HUES[0], zorder=6)
        lecture.dots(ax, u, v, size=150, color=style.INK, zorder=7)
    return ax


def slide_record(dout=True):
    """The record behind the slide: a box of 2 x 2 bins of 2 x 2 samples, of which (1, 1, 0, 0) lies at (6.5, 5.8); and the map."""
    x = wavy(9, 10, seed=5)
    x[5, 6:8], x[6, 6:8] = (1, 2), (3, 4)
    box = np.array([0, 4.25, 3.05, 8.65, 8.25])
    return roi_samples.roi_align_samples(x[None, None], box, 2, 1.0, 2, dout=np.ones((1, 2, 2)) if dout else None), x


def draw_roi_align():
    """L16-A01, A02: equal bins that ignore the grid, regular samples, and the four neighbours of one of them."""
    record, x = slide_record()
    at = (1, 1, 0, 0)
    ax = lecture.canvas(21.5, 13.3, "Cropping features: RoI Align",
                        "No snapping: the box is divided into equal bins, not aligned to the grid, each sampled at regular points by\n"
                        "bilinear interpolation, then averaged (or the maximum taken). Two samples stand at 1/4 and 3/4 of a bin\n"
                        "(erratum L16-E06).")
    draw_samples(record, x, ax, at, origin=(0.9, 2.0))
    ax.set(xlim=(0, 21.5), ylim=(13.3, 0))
    lecture.label(ax, 11.7, 2.7, r"$f_{xy} = \sum_{i,j} f_{ij}\, \max(0,1-|x-i|)\, \max(0,1-|y-j|)$", size=17, ha="left")
    fx, fy = record.x[at] - record.columns[at][0], record.y[at] - record.rows[at][0]
    terms = [f"f_{{{j},{i}}} \\cdot {wx:.1f} \\cdot {wy:.1f}" for i, j, wx, wy in
             zip(record.rows[at], record.columns[at], (1 - fx, fx, 1 - fx, fx), (1 - fy, 1 - fy, fy, fy), strict=True)]
    lecture.label(ax, 11.7, 4.3, rf"$f_{{{record.x[at]:.1f},\,{record.y[at]:.1f}}} \;=\; {terms[0]} \;+\; {terms[1]}$", size=17, ha="left")
    lecture.label(ax, 13.42, 5.2, rf"$+\; {terms[2]} \;+\; {terms[3]}$", size=17, ha="left")
    out = record.output()[0]
    lecture.label(ax, 16.3, 6.9, "mean of 2 x 2 samples in each bin")
    lecture.arrow(ax, (11.5, 8.7), (14.3, 8.7))
    lecture.board(ax, out, 14.9, 7.4, [[lecture.tint(BOX, 0.18)] * 2] * 2, cell=1.3, fmt="{:.2f}")
    lecture.label(ax, 16.2, 10.45, "region features, always 2 x 2", size=lecture.NOTE, color="#555d70")
    return ax.figure


def draw_sample_gradient():
    """L16-A03 to A05: one sample under the magnifying glass, forward, and the gradient that comes back to features and position."""
    record, x = slide_record()
    at = (1, 1, 0, 0)
    ax = lecture.canvas(22.4, 12.6, "One sample of RoI Align, forward and backward",
                        "The slope in x is the difference of the right and left neighbours, in y that of the lower and upper ones. From\n"
                        "the sample's position the gradient goes on to the corners of the box: we can backprop to box coordinates.")
    values, weights = x[record.rows[at], record.columns[at]], record.weights[at]
    for left, back in ((2.9, False), (14.1, True)):
        lecture.label(ax, left + 2.5, 1.9, "backward: g, the sample's gradient" if back else "forward: f is a weighted sum", size=17)
        _draw_sample(ax, record, at, values, left, 3.1, 5.0, back)
    lecture.label(ax, 5.7, 9.75, "f  =  " + " + ".join(f"{w:.1f} · {f:g}" for w, f in zip(weights, values, strict=True))
                  + f"  =  {weights @ values:.1f}", size=16)
    slope_x, slope_y = (d[at] / record.dvalues[0][at] for d in (record.dx, record.dy))
    u, v = (14.1 + 5 * (record.x[at] - record.columns[at][0]), 3.1 + 5 * (record.y[at] - record.rows[at][0]))
    lecture.arrow(ax, (u, v), (u + 0.9 * slope_x, v), color=style.INK, linewidth=3.4)
    lecture.arrow(ax, (u, v), (u, v + 0.9 * slope_y), color=style.INK, linewidth=3.4)
    slopes = rf"$\partial f / \partial x = {slope_x:.1f}\qquad\partial f / \partial y = {slope_y:.1f}$"
    lecture.label(ax, u, v + 0.9 * slope_y + 0.85, slopes, size=18)
    return ax.figure


def _draw_sample(ax, record, at, values, left, top, side, back):
    """The four neighbours of a sample as the corners of a square, joined to it by their weights; back: arrows the other way."""
    fx, fy = record.x[at] - record.columns[at][0], record.y[at] - record.rows[at][0]
    start = np.array([left + side * fx, top + side * fy])
    lecture.frame(ax, left, top, left + side, top + side, "#8a91a5", 1.2, linestyle=(0, (4, 3)))
    for k, (i, j, w, hue) in enumerate(zip(record.rows[at], record.columns[at], record.weights[at], lecture.HUES[:4], strict=True)):
        corner, right = np.array([left + side * (k % 2), top + side * (k // 2)]), k % 2 == 1
        if back:
            stop = corner - (corner - start) / np.linalg.norm(corner - start) * 0.7
            lecture.arrow(ax, tuple(start), tuple(stop), color=hue, linewidth=1.5 + 9 * w)
        else:
            ax.plot(*np.array([start, corner]).T, color=hue, linewidth=1.5 + 9 * w, zorder=3, solid_capstyle="round")
        ax.scatter(*corner, s=1350, marker="s", color=lecture.tint(hue, 0.45), edgecolors=hue, linewidths=2, zorder=5)
        lecture.label(ax, *corner, f"{values[k]:g}", size=19, weight="bold", zorder=6)
        text = f"$f_{{{j},{i}}}$\n" + (f"gets {w:.1f} g" if back else f"times {w:.1f}")
        lecture.label(ax, corner[0] + (0.65 if right else -0.65), corner[1], text, size=15, ha="left" if right else "right", color=hue,
                      linespacing=1.3)
    lecture.dots(ax, *start, size=240, color=style.INK, zorder=7)


def draw_box_descent(image, true_box, path, ious, crops):
    """L16-A05: a box that follows the gradient of its crop. image (3, H, W), path (T, 4), ious (T,), crops: [(name, (3, S, S))]."""
    from matplotlib import colormaps
    ax = lecture.canvas(22, 11.8, "We can backprop to box coordinates",
                        "Loss: mean squared difference between the box's crop and the template (the true box's crop), on a blurred\n"
                        "picture that is sharpened twice (the dips). Nothing else moves the box: the gradient reaches its four numbers\n"
                        "through RoI Align.")
    side, H, W = 7.3, *image.shape[1:]
    picture = lecture.inset(ax, 0.7, 2.2, side, side * H / W)
    style.show_image(image, picture)
    shown = np.unique(np.r_[0, len(path) - 1, np.geomspace(1, len(path) - 1, 14).astype(int)])
    for k, color in zip(shown, colormaps["plasma"](np.linspace(0.05, 0.9, len(shown))), strict=True):
        lecture.frame(picture, *path[k], color, 2.2 if k in (0, len(path) - 1) else 1.2)
    lecture.frame(picture, *true_box, "white", 2.6, linestyle=(0, (3, 2)))
    curve = lecture.inset(ax, 9.5, 2.6, 6.4, 6.2)
    curve.plot(ious, color=lecture.HUES[0], linewidth=3)
    curve.set(ylim=(0, 1.03), xlim=(0, len(path) - 1))
    curve.set_xlabel("step", fontsize=lecture.NOTE, color=style.INK)
    curve.set_title("IoU with the object", fontsize=lecture.LABEL, color=style.INK)
    style.plain(curve)
    curve.tick_params(labelsize=lecture.NOTE)
    for k, va, place in ((0, "bottom", (3, -0.12)), (-1, "top", (len(path) - 3, -0.04))):
        curve.text(place[0], ious[k] + place[1], f"{ious[k]:.2f}", fontsize=lecture.LABEL, color=lecture.HUES[0], va=va,
                   ha="left" if k == 0 else "right")
    for k, (name, crop) in enumerate(crops):
        x, y, s = 16.8 + 2.6 * (k % 2), 2.75 + 3.9 * (k // 2), 2.3
        style.show_image(crop, lecture.inset(ax, x, y, s, s))
        lecture.label(ax, x + s / 2, y - 0.35, name, size=13)
    return ax.figure
