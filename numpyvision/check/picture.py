"""A failed check as a picture: what backward claims, what finite differences measure, and where the two differ.

Small arrays show all of their cells, a weight or a batch laid out as a sheet of its planes; of big ones the slice with the worst error is
drawn, and the title says which.
"""
import base64
import html as markup
import io

import numpy as np

CELLS = 6000           # more than this are not drawn: one slice is


def html(report):
    """The table as text, and below it the picture of a failure."""
    image = png(report)
    drawn = f'<img alt="where the error lives" src="data:image/png;base64,{base64.b64encode(image).decode()}">' if image else ""
    return f'<pre style="line-height:1.2">{markup.escape(repr(report))}</pre>{drawn}'


def png(report):
    """The bytes of a PNG, or None if nothing is wrong or nothing was measured."""
    row = worst_row(report)
    if row is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure, report, row)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    return stream.getvalue()


def worst_row(report):
    """The row that the message speaks of: the first with the report's diagnosis whose arrays were kept."""
    kept = [r for r in report.rows if r.claimed is not None and r.numeric_array is not None and np.size(r.claimed)]
    return next((r for r in kept if r.diagnosis == report.diagnosis), kept[0] if kept else None)


def draw(figure, report, row):
    """Three maps of one input on a matplotlib figure: claimed, measured, difference. Grey was not measured."""
    claimed, measured = np.asarray(row.claimed, float), np.asarray(row.numeric_array, float)
    (claimed, measured), text = sheet([claimed, measured])
    names = ("out", "reference") if row.diagnosis == "wrong-forward" else ("backward", "finite difference")
    with np.errstate(invalid="ignore"):
        maps = (claimed, measured, claimed - measured)
    finite = [abs(m[np.isfinite(m)]).max(initial=0.0) for m in maps]
    size = max(finite[0], finite[1]) or 1.0
    figure.suptitle(f"{report.title}: {report.diagnosis}   ({row.name}, {text})", fontsize=11)
    for ax, values, title, limit in zip(figure.subplots(1, 3), maps, (*names, f"{names[0]} - {names[1]}"),
                                        (size, size, finite[2] or size), strict=True):
        ax.set_facecolor("0.8")
        picture = ax.imshow(np.ma.masked_invalid(values), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_title(title, fontsize=10)
        ax.tick_params(labelsize=7)
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(integer=True)
        if claimed.shape != np.shape(row.claimed):                   # planes side by side: places on the sheet are not indices
            ax.set_xticks([])
            ax.set_yticks([])
        if values.size <= 64:
            _write_numbers(ax, values, limit, size)
        figure.colorbar(picture, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)


def _write_numbers(ax, values, limit, size):
    for (i, j), v in np.ndenumerate(values):
        if np.isfinite(v):
            v = 0.0 if abs(v) < 1e-6 * size else v                   # rounding
            ax.text(j, i, f"{v:.2g}", ha="center", va="center", fontsize=7, color="white" if abs(v) > 0.6 * limit else "black")


def sheet(arrays):
    """Arrays of one shape -> the same as 2-dimensional maps, and a text that says what is drawn. The last two are (claimed, measured)."""
    shape = arrays[0].shape
    if len(shape) < 2:
        return [a.reshape(1, -1) for a in arrays], "all its elements" if shape else "a single number"
    if len(shape) == 2:
        return arrays, f"all {shape[0]} x {shape[1]} elements" if arrays[0].size <= CELLS else "all elements"
    planes = [a.reshape(-1, *shape[-2:]) for a in arrays]
    if arrays[0].size <= CELLS:
        rows = shape[0] if len(shape) > 3 else 1
        return [_tile(p, rows) for p in planes], (f"every plane of {shape}, {rows} x {len(planes[0]) // rows} of them"
                                                  if len(planes[0]) > 1 else "its one plane")
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(abs(planes[0] - planes[1]))
    worst = int(np.argmax(error.max(axis=(1, 2))))
    where = [int(i) for i in np.unravel_index(worst, shape[:-2])]
    names = ("image", "channel") if len(shape) == 4 else [f"index {i}:" for i in range(len(shape))]
    named = ", ".join(f"{n} {i}" for n, i in zip(names, where, strict=False))
    return [p[worst] for p in planes], f"{named} of {shape}: the worst plane"


def _tile(planes, rows):
    """(P, h, w) -> one map, `rows` rows of planes, with a blank line (NaN) between."""
    P, h, w = planes.shape
    columns = P // rows
    out = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for k in range(P):
        i, j = divmod(k, columns)
        out[i * (h + 1):i * (h + 1) + h, j * (w + 1):j * (w + 1) + w] = planes[k]
    return out
