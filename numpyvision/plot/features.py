"""Pictures of feature maps and filters: many channels in one image, signed numbers in red and blue around white."""
import numpy as np

from numpyvision.plot import style


def tile(maps, columns, gap=1):
    """Maps side by side with a gap of nan between them: (C, H, W) -> (rows*(H+gap)-gap, columns*(W+gap)-gap)."""
    C, H, W = maps.shape
    rows = -(-C // columns)
    sheet = np.full((rows, columns, H + gap, W + gap), np.nan)
    for c, one in enumerate(maps):
        sheet[c // columns, c % columns, :H, :W] = one
    sheet = sheet.transpose(0, 2, 1, 3).reshape(rows * (H + gap), columns * (W + gap))                   # rows of maps -> rows of pixels
    return sheet[:sheet.shape[0] - gap, :sheet.shape[1] - gap]


def draw_features(features, ax=None, columns=8, count=32, title=None):
    """The first `count` channels of features (C, H, W), or (1, C, H, W), on one common scale, `columns` in a row, with a colour bar.

    Maps with negative numbers are red above zero and blue below; others (after a ReLU) go from white to dark.
    """
    features = np.asarray(features)
    features = features[0] if features.ndim == 4 else features
    shown = features[:count]
    if features.ndim != 3 or shown.size == 0:
        raise ValueError(f"features must be (C, H, W) with something in it, got {features.shape}; of a batch, draw one image at a time")
    columns = min(columns, len(shown))
    sheet = tile(shown, columns, gap=max(1, shown.shape[2] // 16))
    ax = style.new_axes(ax, (6.5, 6.5 * float(np.clip(sheet.shape[0] / sheet.shape[1], 0.15, 1.6)) + 0.4))
    low, high = float(shown.min()), float(shown.max())
    peak = max(abs(low), abs(high)) or 1.0
    scale = {"cmap": "RdBu_r", "vmin": -peak, "vmax": peak} if low < 0 else {"cmap": "magma_r", "vmin": 0, "vmax": peak}
    picture = ax.imshow(sheet, interpolation="nearest", extent=(0, sheet.shape[1], sheet.shape[0], 0), **scale)
    style.bare(ax, sheet.shape)
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.8, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    some = f"{len(features)} channels" if len(shown) == len(features) else f"the first {len(shown)} of {len(features)} channels"
    ax.set_title(f"{title + ': ' if title else ''}{some}, {features.shape[1]} x {features.shape[2]}", fontsize=10, color=style.INK)
    return ax
