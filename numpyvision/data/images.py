"""Image files to arrays: (3, H, W) float32 RGB in [0, 1], whatever the file holds. Pillow decodes.

grey            the three channels are equal
palette         looked up
RGBA, LA        the alpha channel is dropped; the stored colours are kept, also where they are transparent
CMYK, YCbCr     converted to RGB
16 bits         one channel: divided by 65535, no bit is lost; three channels: Pillow reads the upper 8 bits
32 bits, float  only if all values are in [0, 1] (float) or in [0, 65535] (integer); there is no other way to know the white point
EXIF rotation   applied: a phone stores a portrait as a rotated landscape and notes that
animation       the first frame
"""
import numpy as np

from numpyvision.data.faults import DataError

ORIENTATION = 0x0112   # the EXIF tag: 1 is upright


def read_image(path, orient=True):
    """Read one image file -> (3, H, W) float32 in [0, 1].

    orient=False leaves the pixels as stored, without the rotation that EXIF asks for. A file that is missing, cut short or no image is a
    DataError that names it.
    """
    from PIL import Image, ImageOps
    try:
        with Image.open(path) as image:
            image.load()
            if orient and image.getexif().get(ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
            return _to_array(image)
    except FileNotFoundError:
        raise DataError(path, "image", "the file does not exist") from None
    except MemoryError:
        raise
    except Exception as error:                # Pillow's plugins raise OSError, SyntaxError, struct.error, ... for a malformed file
        raise DataError(path, "image", f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _to_array(image):
    if image.mode.startswith("I") or image.mode == "F":                # 16 and 32 bits, one channel
        grey = np.asarray(image, dtype=np.float32)                     # (H, W)
        white = 1 if image.mode == "F" else 65535
        if grey.size and not (0 <= grey.min() and grey.max() <= white):
            raise ValueError(f"values from {grey.min():g} to {grey.max():g}, expected 0 to {white} for mode {image.mode!r}")
        return np.repeat(grey[None] / np.float32(white), 3, axis=0)    # (3, H, W)
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))   # (H, W, 3) uint8
    return to_float(pixels.transpose(2, 0, 1))                         # (3, H, W)


def to_float(pixels):
    """uint8 in [0, 255] -> float32 in [0, 1], contiguous."""
    return np.divide(pixels, np.float32(255), dtype=np.float32, order="C")


def to_uint8(image):
    """float in [0, 1] -> uint8, rounded; inverse of `to_float`."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def image_size(path):
    """(H, W) from the file's header, as `read_image` would give it, without decoding the pixels; None if it cannot be read."""
    from PIL import Image
    try:
        with Image.open(path) as image:
            width, height = image.size
            sideways = image.getexif().get(ORIENTATION, 1) >= 5        # EXIF orientations 5 to 8 swap the axes
    except Exception:                         # the error, with its file, is raised when the image is read
        return None
    return (width, height) if sideways else (height, width)


def read_image_of_size(path, size, file, field):
    """`read_image`, checked against the (H, W) that the annotation `file` gives in `field` (None: not given).

    Tools disagree on whether coordinates are of the rotated picture: where only the stored orientation has the size given, that is used.
    """
    image = read_image(path)
    if size is not None and image.shape[1:] != tuple(size):
        got = image.shape[1:]
        image = read_image(path, orient=False)
        if image.shape[1:] != tuple(size):
            raise DataError(file, field, f"says {size[1]}x{size[0]} (width x height), but {path} is {got[1]}x{got[0]}")
    return image
