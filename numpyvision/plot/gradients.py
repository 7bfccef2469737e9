"""Pictures of small arrays and of gradients: every number written into its cell, and a gradient laid over the image it belongs to."""
import numpy as np

from numpyvision.plot import style


def signed_colormap():
    """Blue below zero, white at zero, red above, pale enough to be written on."""
    from matplotlib.colors import LinearSegmentedColormap
    return LinearSegmentedColormap.from_list("signed", [style.NEGATIVE, "#ffffff", style.POSITIVE])


def draw_numbers(values, ax=None, title=None, peak=None, fmt="{:.3g}", mark=()):
    """A small array as a table of coloured numbers: red above zero, blue below. values (n,) or (H, W), nan cells stay empty.

    peak: the magnitude of full colour (the largest one by default; give one to compare several arrays). mark: cells (i, j) to frame.
    """
    from matplotlib.patches import Rectangle
    values = np.atleast_2d(np.asarray(values, np.float64))
    H, W = values.shape
    ax = style.new_axes(ax, (0.62 * W + 0.4, 0.62 * H + 0.6))
    peak = peak or np.nanmax(np.abs(values), initial=0) or 1.0
    ax.imshow(values, cmap=signed_colormap(), vmin=-1.6 * peak, vmax=1.6 * peak, extent=(0, W, H, 0), interpolation="nearest")
    for i, j in np.argwhere(~np.isnan(values)):
        ax.text(j + 0.5, i + 0.5, fmt.format(values[i, j] + 0.0), ha="center", va="center", fontsize=10, color=style.INK)
    for k in range(H + 1):
        ax.axhline(k, color=style.PALE, linewidth=0.8)
    for k in range(W + 1):
        ax.axvline(k, color=style.PALE, linewidth=0.8)
    style.bare(ax, (H, W))
    for i, j in mark:
        ax.add_patch(Rectangle((j, i), 1, 1, fill=False, edgecolor=style.INK, linewidth=2.2, clip_on=False))
    if title:
        ax.set_title(title, fontsize=10, color=style.INK)
    return ax


def draw_gradient(dimage, image=None, ax=None, title=None):
    """How strongly each pixel matters: the gradient's length over the channels, (3, H, W) -> one glow on the darkened image.

    The scale ends at the 99.5th percentile, so that one pixel does not outshine the rest. A zero gradient shows the image alone, dark.
    """
    dimage = np.asarray(dimage, np.float64)
    if dimage.ndim != 3:
        raise ValueError(f"dimage must be (C, H, W), the gradient of one image, got {dimage.shape}")
    strength = np.sqrt((dimage ** 2).sum(0))                                                             # (H, W)
    nonzero = strength[strength > 0]
    strength = np.clip(strength / (np.percentile(nonzero, 99.5) if nonzero.size else 1), 0, 1)
    ax = style.image_axes(ax, strength.shape)
    dark = 0.35 * (np.ones((3, 1, 1)) * np.mean(image, axis=0) if image is not None else np.zeros((3, *strength.shape)))
    glow = np.array([1.0, 0.83, 0.25])[:, None, None]
    style.show_image(dark * (1 - strength) + glow * strength, ax)
    if title:
        ax.set_title(title, fontsize=10, color=style.INK)
    return ax
