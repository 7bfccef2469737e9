"""Mistakes that students make in the exercises about operations: each a few changed characters of the reference."""
from numpyvision.exercises.planted import Bug

CONV = "ops/conv.py"

MISTAKES = {
    "conv2d_forward": (
        Bug("conv2d", CONV, "out = out + b[:, None, None]", "out = out - b[:, None, None]", "wrong-forward",
            "the bias is subtracted; it is added"),
        Bug("conv2d", CONV, "out = filter_rows(w, groups) @ cols", "out = filter_rows(w[:, :, ::-1, ::-1], groups) @ cols",
            "flipped-kernel", "the kernel is turned by 180 degrees, as in mathematics; in deep learning it is not turned"),
        Bug("conv2d", CONV, "padded = zero_pad(x, padding)", "padded = zero_pad(x, padding) + (padding[0] > 0)", "border",
            "the padding is filled with ones: it is zeros"),
    ),
}
