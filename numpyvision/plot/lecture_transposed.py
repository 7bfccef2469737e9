"""The lecture's figures of transposed convolution (L16-V03 to V11): stamps, letters, and the matrix with its transpose.

Every input pixel has a colour, its stamp has that colour, and a cell of the output where stamps overlap has the mixture, with one dot
for each stamp that adds to it. The letters are computed: the operations run on them (ops/symbolic.py).
"""
import numpy as np

from numpyvision.ops import conv_matrix, conv_transpose, symbolic
from numpyvision.plot import lecture, style


def draw_stamps(x=((1, 2), (3, 4)), w=((1, 2, 3), (4, 5, 6), (7, 8, 9)), stride=2, padding=1, output_padding=1, title=None):
    """L16-V03, V04: input (H, W), one stamp a pixel, their sum, and what is kept of it. Small arrays only: numbers stand in the cells."""
    x, w = np.asarray(x, float), np.asarray(w, float)
    stamps = conv_transpose.conv_transpose2d_stamps(x[None, None], w[None, None], stride, padding, output_padding)
    (H, W), (Hf, Wf) = x.shape, stamps.full.shape[1:]
    small = 0.52                                                                       # the stamps' cells beside those of the sum
    gap, left = 0.45, max(W, len(w[0])) + 2.0
    right = left + W * (small * Wf + gap) + 0.9
    height = max(H * (small * Hf + gap), Hf) + 4.3
    ax = lecture.canvas(right + Wf + 1.0, height, title or f"Transposed convolution: {len(w)}x{len(w[0])}, stride {stride}",
                        "Weight the filter by the input value and copy it to the output; sum where copies overlap (dots: how many).\n"
                        f"The filter moves {stride} in the output for every 1 in the input. Black: what is kept after trimming.")
    top = 2.15
    lecture.label(ax, 1 + W / 2, top - 0.4, "input")
    lecture.board(ax, x, 1, top, [[lecture.tint(lecture.HUES[W * i + j], 0.45) for j in range(W)] for i in range(H)])
    lecture.label(ax, 1 + len(w[0]) / 2, top + H + 0.75, "filter")
    lecture.board(ax, w, 1, top + H + 1.1)
    lecture.label(ax, left + W * (small * Wf + gap) / 2 - gap / 2, top - 0.4, "one weighted copy for each input pixel")
    for s in stamps.stamps:
        cx, cy = left + s.column * (small * Wf + gap), top + s.row * (small * Hf + gap)
        values, colors = np.full((Hf, Wf), np.nan), np.full((Hf, Wf), None)
        values[np.ix_(s.rows, s.columns)] = s.copy[0]
        colors[np.ix_(s.rows, s.columns)] = _color(lecture.HUES[W * s.row + s.column])
        lecture.board(ax, values, cx, cy, colors, cell=small, size=11)
        lecture.label(ax, cx + small * s.columns.mean() + small / 2, cy + small * Hf + 0.2, f"{s.value[0]:g} x filter", size=11,
                      color=lecture.HUES[W * s.row + s.column])
    lecture.arrow(ax, (right - 1.0, top + Hf / 2), (right - 0.2, top + Hf / 2))
    lecture.label(ax, right - 0.6, top + Hf / 2 - 0.4, "sum", size=lecture.NOTE)
    _draw_sum(ax, stamps, W, right, top)
    return ax.figure


def _color(hue):
    """A colour that fits into one cell of an object array."""
    color = np.empty((), dtype=object)
    color[()] = lecture.tint(hue, 0.4)
    return color


def _draw_sum(ax, stamps, W, x, y):
    """The untrimmed output with the colours and dots of its stamps, and the window that is kept."""
    (Hf, Wf), who = stamps.full.shape[1:], {}
    for s in stamps.stamps:
        for cell in ((i, j) for i in s.rows for j in s.columns):
            who.setdefault((int(cell[0]), int(cell[1])), []).append(lecture.HUES[W * s.row + s.column])
    colors = [[lecture.tint(lecture.blend(np.ones(len(who[i, j])), who[i, j]), 0.5) if (i, j) in who else None for j in range(Wf)]
              for i in range(Hf)]
    top, left, height, width = stamps.window
    kept = [(i, j) for i in range(top, top + height) for j in range(left, left + width)]
    lecture.board(ax, stamps.full[0], x, y, colors, bold=kept)
    for i, j in stamps.overlaps:
        for k, hue in enumerate(who[i, j]):
            lecture.dots(ax, x + j + 0.5 + 0.17 * (k - (len(who[i, j]) - 1) / 2), y + i + 0.84, size=16, color=hue)
    lecture.frame(ax, x + left, y + top, x + left + width, y + top + height, style.INK, 4, zorder=6)
    lecture.label(ax, x + Wf / 2, y - 0.4, f"output {Hf}x{Wf}, kept {height}x{width}")


def draw_1d(letters="ab", weights="xyz", stride=2):
    """L16-V05: a transposed convolution of two letters, stamp by stamp."""
    x, w = symbolic.symbols(letters), symbolic.symbols(weights)
    stamps = conv_transpose.conv_transpose2d_stamps(x[None, None, None], w[None, None, None], (1, stride))
    n, length, k = len(x), stamps.full.shape[2], len(w)
    ax = lecture.canvas(12.2 + 1.6 * n, length + 3.6, "Transposed convolution: 1D example",
                        f"The output holds copies of the filter weighted by the input, {stride} apart; where they overlap they add up.")
    top = 2.2
    lecture.label(ax, 1.5, top - 0.4, "input")
    lecture.board(ax, x[:, None], 1, top + (length - n) / 2, [[lecture.tint(lecture.HUES[i], 0.45)] for i in range(n)])
    lecture.label(ax, 4.5, top - 0.4, "filter")
    lecture.board(ax, w[:, None], 4.0, top + (length - k) / 2)
    for i, s in enumerate(stamps.stamps):
        column, color = np.full((length, 1), None), np.full((length, 1), None)
        column[s.columns, 0] = s.copy[0, 0]
        for place in s.columns:
            color[place, 0] = lecture.tint(lecture.HUES[i], 0.45)
        lecture.label(ax, 7.6 + 1.6 * i, top - 0.4, f"{s.value[0]} times filter", size=lecture.NOTE, color=lecture.HUES[i])
        lecture.board(ax, column, 7.1 + 1.6 * i, top, color)
    x0 = 7.1 + 1.6 * n + 1.4
    lecture.arrow(ax, (x0 - 1.2, top + length / 2), (x0 - 0.3, top + length / 2))
    blends = [[lecture.tint(lecture.blend([place in s.columns for s in stamps.stamps]), 0.5)] for place in range(length)]
    lecture.label(ax, x0 + 1, top - 0.4, "output")
    lecture.board(ax, stamps.full[0, 0][:, None], x0, top, blends, width=2)
    return ax.figure


def draw_matrix(stride=1, weights="xyz", letters="abcd"):
    """L16-V07, V08 (stride 1), V10, V11 (stride 2): convolution as a matrix X, and the product with its transpose."""
    w, n = symbolic.symbols(weights), len(letters)
    X = conv_matrix.conv_matrix(w, n + 2, stride)
    padded = np.array([0, *symbolic.symbols(letters), 0], dtype=object)
    y = symbolic.symbols(letters[:len(X)])
    small = 0.86
    remark = {1: "With stride 1 the transpose is a convolution again, with the filter reversed: z y x (L16-E10).",
              2: "With stride 2 the transpose is no convolution of (a, b): its rows are not moved copies of one another (L16-V12)."}
    ax = lecture.canvas(21.6, max(len(X.T) * small, 5) + 4.4, f"Convolution as matrix multiplication: kernel 3, stride {stride}",
                        "Every row of X is the filter, x y z, moved on by the stride (the slide prints x y x: erratum L16-E01)."
                        f"\n{remark.get(stride, '')}")
    colors = dict(zip(weights, (lecture.HUES[0], lecture.HUES[1], lecture.HUES[2]), strict=True))

    def color_of(entry):
        return "#b3b9c7" if str(entry) == "0" else colors.get(str(entry), style.INK)

    def equation(x, name, A, v):
        middle, product = 2.5 + len(X.T) * small / 2, A @ v
        longest = 0.2 * max(len(str(e)) for e in product) + 0.3
        lecture.label(ax, x + 4.4, 1.95, name, size=17)
        for entries, width in ((A, 0.72), (v[:, None], 0.72), (product[:, None], longest)):
            if width == longest:
                lecture.label(ax, x + 0.3, middle, "=", size=20)
                x += 0.6
            x = 0.15 + lecture.matrix(ax, entries, x, middle - len(entries) * small / 2, small, 15, color_of, width)
    equation(0.6, r"convolution:  $X\vec{a}$", X, padded)
    equation(12.1, r"transposed convolution:  $X^T\vec{a}$", X.T, y)
    return ax.figure
