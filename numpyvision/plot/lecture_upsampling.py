"""The lecture's figures of upsampling without parameters (L16-U01 to U08), redrawn from the operations' own results.

Shapes here: the slide's 2 x 2 image [[1, 2], [3, 4]] becomes 4 x 4; each of its pixels has a colour, and an output cell is painted with
the mixture of those that count in it.
"""
import numpy as np

from numpyvision.ops import pool, resize
from numpyvision.plot import lecture, style

SLIDE = np.array([[1.0, 2], [3, 4]])
QUARTERS = np.arange(4).reshape(2, 2)                      # the number of each pixel, which is its hue


def hues(numbers, strength=0.45):
    """A board's colours: the hue of each number, None (white) for -1."""
    return [[None if k < 0 else lecture.tint(lecture.HUES[k], strength) for k in row] for row in numbers]


def mixtures(wy, wx):
    """Colours of an output board: the four input hues by their weights. wy (Ho, 2), wx (Wo, 2)."""
    weights = np.einsum("pi,qj->pqij", wy, wx).reshape(len(wy), len(wx), 4)
    return [[lecture.tint(lecture.blend(w), 0.5) for w in row] for row in weights]


def draw_nails_and_nearest():
    """L16-U01, U02: the two ways to unpool without arithmetic."""
    ax = lecture.canvas(18, 8.1, "Unpooling: bed of nails and nearest neighbour",
                        "Backward is the transpose. Bed of nails: read the gradient at the nails. Nearest: add up the gradient of each "
                        "block.")
    for name, x, forward in (("Bed of nails", 0.9, resize.bed_of_nails_forward),
                             ("Nearest neighbour", 9.7, resize.upsample_nearest_forward)):
        out = forward(SLIDE[None, None])[0][0, 0]
        source = forward(1.0 + QUARTERS[None, None])[0][0, 0].astype(int) - 1          # which pixel each cell holds; -1 none
        lecture.label(ax, x + 3.7, 1.75, name, size=17)
        lecture.board(ax, SLIDE, x, 3.3, hues(QUARTERS))
        lecture.arrow(ax, (x + 2.25, 4.3), (x + 3.2, 4.3))
        lecture.board(ax, out, x + 3.4, 2.3, hues(source))
        lecture.label(ax, x + 1, 5.75, "2 x 2", color=style.GREY)
        lecture.label(ax, x + 5.4, 6.7, "4 x 4", color=style.GREY)
    return ax.figure


def draw_bilinear(align_corners=False, at=(1, 2)):
    """L16-U03: 2 x 2 -> 4 x 4 with the places where the outputs lie; output `at` is written out."""
    name = "bilinear interpolation" + (", align_corners=True" if align_corners else "")
    ax = lecture.canvas(18, 9.0, f"In-network upsampling: {name}")
    out = resize.upsample_bilinear_forward(SLIDE[None, None], align_corners=align_corners)[0][0, 0]
    places = resize.sample_positions(2, 4, align_corners)
    weights = resize.axis_weights(2, 4, resize.hat, align_corners)
    _input_with_places(ax, 1.6, 2.5, places, at)
    lecture.label(ax, 3.6, 1.95, "input 2 x 2; dots: the 16 outputs")
    lecture.arrow(ax, (6.2, 4.5), (7.9, 4.5))
    lecture.board(ax, out, 8.6, 1.9 + 0.1, mixtures(weights, weights), cell=1.25, fmt="{:.2f}", bold=[at])
    lecture.label(ax, 11.1, 1.6, "output 4 x 4")
    lecture.frame(ax, 8.6 + 1.25 * at[1], 2 + 1.25 * at[0], 8.6 + 1.25 * (at[1] + 1), 2 + 1.25 * (at[0] + 1), style.INK, 3.2, zorder=6)
    _hat(ax, 14.35, 3.0, places[at[1]])
    wy, wx = weights[at[0]], weights[at[1]]
    terms = "  +  ".join(f"{wy[i]:.3g} · {wx[j]:.3g} · {SLIDE[i, j]:g}" for i in range(2) for j in range(2) if wy[i] * wx[j] > 0)
    lecture.label(ax, 9, 7.55, f"{out[at]:.4g}  =  {terms}", size=18)
    note = ("Rings: places beyond the outer centres are moved onto them (the border is repeated); without that, only the four\n"
            "middle numbers come out (erratum L16-E04)." if not align_corners else
            "The corner outputs lie on the corner pixels: the dots of the slide's picture, not the numbers of its table (erratum L16-E03).")
    lecture.label(ax, 9, 8.4, note, size=lecture.NOTE, color="#555d70", linespacing=1.4)
    return ax.figure


def _input_with_places(ax, x, y, places, at):
    """The 2 x 2 input at twice the size, the outputs' places as dots, and lines from one of them to the pixels it reads."""
    lecture.board(ax, [[""] * 2] * 2, x, y, hues(QUARTERS), cell=2)
    lecture.frame(ax, x + 1, y + 1, x + 3, y + 3, "#8a91a5", 1.2, linestyle=(0, (4, 3)), zorder=2)
    held = np.clip(places, 0, 1)
    u, v = x + 2 * (places[at[1]] + 0.5), y + 2 * (places[at[0]] + 0.5)
    for i, j in np.ndindex(2, 2):
        if abs(held[at[0]] - i) < 1 and abs(held[at[1]] - j) < 1:
            ax.plot([u, x + 2 * j + 1], [v, y + 2 * i + 1], color=lecture.HUES[2 * i + j], linewidth=2.4, zorder=3)
    for p in places:
        for q in places:
            inside = 0 <= p <= 1 and 0 <= q <= 1
            lecture.dots(ax, x + 2 * (q + 0.5), y + 2 * (p + 0.5), filled=inside, size=46, zorder=5)
    lecture.dots(ax, u, v, size=130, zorder=6)
    for i, j in np.ndindex(2, 2):
        ax.scatter(x + 2 * j + 1, y + 2 * i + 1, s=420, marker="s", color=lecture.HUES[2 * i + j], zorder=7)
        lecture.label(ax, x + 2 * j + 1, y + 2 * i + 1, f"{SLIDE[i, j]:g}", size=17, color="white", weight="bold", zorder=8)


def _hat(ax, x, y, place):
    """The two hats along x: how much each column counts at every place."""
    inner = lecture.inset(ax, x, y, 3.2, 2.6)
    at = np.linspace(-0.75, 1.75, 300)
    for j, hue in enumerate(lecture.HUES[:2]):
        inner.plot(at, resize.hat(at - j), color=hue, linewidth=2.5)
        inner.plot([place, place], [0, float(resize.hat(place - j))], color=style.INK, linewidth=1)
        inner.plot(place, float(resize.hat(place - j)), "o", color=hue, markersize=8)
    inner.set(xticks=[0, 1], yticks=[0, 1], xlim=(-0.75, 1.75), ylim=(0, 1.12))
    inner.set_xticklabels(["left\npixel", "right\npixel"])
    inner.set_title("max(0, 1 - |x - i|)", fontsize=lecture.NOTE, color=style.INK)
    style.plain(inner)
    inner.tick_params(labelsize=lecture.NOTE)


def draw_bicubic(a=-0.75, at=(1, 2)):
    """L16-U05: 2 x 2 -> 4 x 4; output `at` with its 4 x 4 neighbours (the border is repeated) and the weights along both axes."""
    ax = lecture.canvas(18, 9.4, "In-network upsampling: bicubic interpolation")
    out = resize.upsample_bicubic_forward(SLIDE[None, None], a=a)[0][0, 0]
    places = resize.sample_positions(2, 4)
    weights = resize.axis_weights(2, 4, lambda d: resize.keys(d, a))
    cells = np.floor(places[list(at)])[:, None].astype(int) + np.arange(-1, 3)         # (2, 4): rows, columns that it reads, unclamped
    wy, wx = (resize.keys(places[k] - c, a) for k, c in zip(at, cells, strict=True))
    rows, columns = np.clip(cells, 0, 1)
    x, y = 2.3, 3.0
    lecture.board(ax, SLIDE[np.ix_(rows, columns)], x, y, [[lecture.tint(lecture.HUES[QUARTERS[i, j]], 0.5 if (i, j) == (r, q) else 0.18)
                  for j, q in zip(columns, cells[1], strict=True)] for i, r in zip(rows, cells[0], strict=True)])
    lecture.frame(ax, x + 1, y + 1, x + 3, y + 3, style.INK, 2.6)
    for k in range(4):
        lecture.label(ax, x + k + 0.5, y - 0.4, f"{wx[k]:.3f}", size=lecture.NOTE, color="#b3123a" if wx[k] < 0 else style.INK)
        lecture.label(ax, x - 0.15, y + k + 0.5, f"{wy[k]:.3f}", size=lecture.NOTE, color="#b3123a" if wy[k] < 0 else style.INK, ha="right")
    lecture.dots(ax, x + 1 + places[at[1]] + 0.5, y + 1 + places[at[0]] + 0.5, size=110)
    lecture.label(ax, x + 1.7, y - 1.05, "4 x 4 neighbours and their weights")
    lecture.label(ax, x + 2, y + 4.4, "pale: repeated border", size=lecture.NOTE, color="#555d70")
    lecture.arrow(ax, (6.6, 5.0), (7.8, 5.0))
    lecture.board(ax, out, 8.2, 2.5, mixtures(weights, weights), cell=1.25, fmt="{:.2f}", bold=[at])
    lecture.frame(ax, 8.2 + 1.25 * at[1], 2.5 + 1.25 * at[0], 8.2 + 1.25 * (at[1] + 1), 2.5 + 1.25 * (at[0] + 1), style.INK, 3.2, zorder=6)
    lecture.label(ax, 10.7, 1.95, "output 4 x 4")
    _keys(ax, 14.2, 3.2, a)
    neighbors = SLIDE[np.ix_(rows, columns)]
    lecture.label(ax, 9, 8.15, rf"$\sum_{{i,j}}\; w_i \, w_j \, f_{{ij}}$  =  {wy @ neighbors @ wx:.4f}", size=18)
    note = "Four neighbours an axis, not three (erratum L16-E02). Red weights are negative: numbers may leave the range 1 to 4."
    lecture.label(ax, 9, 8.95, note, size=lecture.NOTE, color="#555d70")
    return ax.figure


def _keys(ax, x, y, a):
    """Keys' bump, and the other common one in grey."""
    inner, d = lecture.inset(ax, x, y, 3.4, 3.2), np.linspace(-2.3, 2.3, 400)
    other = -0.5 if a != -0.5 else -0.75
    inner.axhline(0, color="#8a91a5", linewidth=0.8)
    inner.plot(d, resize.keys(d, other), color="#8a91a5", linewidth=1.8, label=f"a = {other:g}")
    inner.plot(d, resize.keys(d, a), color=lecture.HUES[0], linewidth=2.8, label=f"a = {a:g}")
    inner.set(xticks=[-2, -1, 0, 1, 2], yticks=[0, 1], ylim=(-0.2, 1.55))
    inner.set_title("weight by distance", fontsize=lecture.NOTE, color=style.INK)
    style.plain(inner)
    inner.tick_params(labelsize=lecture.NOTE)
    inner.legend(fontsize=11, frameon=False, loc="upper center", ncols=2, handlelength=1.2, columnspacing=0.9, bbox_to_anchor=(0.5, 1.03))


def draw_max_unpooling():
    """L16-U07, U08: max pooling remembers where each maximum was, max unpooling puts values back there."""
    x = np.array([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
    pooled, cache = pool.max_pool2d_forward(x[None, None], 2)
    unpooled = pool.max_unpool2d_forward(SLIDE[None, None], cache.indices)[0][0, 0]
    window = np.kron(QUARTERS, np.ones((2, 2), int))                                   # (4, 4): the window of every cell
    won = [(k // 4, k % 4) for k in cache.indices.ravel().tolist()]
    ax = lecture.canvas(19.4, 8.2, "In-network upsampling: max unpooling",
                        "Zeros elsewhere. Backward: the gradient at each kept place, and nothing from the others.")
    lecture.label(ax, 2.8, 1.8, "Max pooling")
    lecture.label(ax, 2.8, 2.3, "remember which element was max", size=lecture.NOTE, color="#555d70")
    lecture.board(ax, x, 0.8, 2.8, [[lecture.tint(lecture.HUES[k], 0.55 if (i, j) in won else 0.16) for j, k in enumerate(row)]
                                    for i, row in enumerate(window)], bold=won)
    lecture.arrow(ax, (5.0, 4.8), (5.8, 4.8))
    lecture.board(ax, pooled[0, 0], 6.0, 3.8, hues(QUARTERS), bold=list(np.ndindex(2, 2)))
    lecture.arrow(ax, (8.2, 4.8), (11.0, 4.8), "rest of the\nnetwork", linewidth=1.6, color="#555d70")
    lecture.board(ax, SLIDE, 11.2, 3.8, hues(QUARTERS), bold=list(np.ndindex(2, 2)))
    lecture.arrow(ax, (13.4, 4.8), (14.2, 4.8))
    source = np.where(unpooled > 0, window, -1)
    lecture.board(ax, unpooled, 14.4, 2.8, hues(source, 0.55), bold=won)
    lecture.label(ax, 16.4, 1.8, "Max unpooling")
    lecture.label(ax, 16.4, 2.3, "use the positions of the pooling layer", size=lecture.NOTE, color="#555d70")
    ax.plot([2.8, 2.8, 16.4], [6.8, 7.1, 7.1], color=lecture.HUES[4], linewidth=1.8)
    lecture.arrow(ax, (16.4, 7.1), (16.4, 6.86), color=lecture.HUES[4], linewidth=1.8)
    lecture.label(ax, 9.6, 6.75, f"positions {tuple(cache.indices.ravel().tolist())}", size=lecture.NOTE, color=lecture.HUES[4])
    return ax.figure
