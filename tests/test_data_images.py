"""Reading image files: what each kind of file holds, as red, green and blue in [0, 1]."""
import numpy as np
import pytest
from PIL import Image

from numpyvision.data import images
from numpyvision.data.faults import DataError

RAMP = np.arange(12, dtype=np.uint8).reshape(2, 6) * 20                # (H, W) = (2, 6)


def test_rgb_grey_palette_and_alpha(tmp_path):
    rgb = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=-1)             # (2, 6, 3)
    expected = rgb.transpose(2, 0, 1) / 255
    image = Image.fromarray(rgb)
    transparent = image.copy()
    transparent.putalpha(Image.fromarray(RAMP))
    for name, file in {"rgb": image, "alpha": transparent, "palette": image.quantize(32)}.items():
        file.save(tmp_path / f"{name}.png")
        read = images.read_image(tmp_path / f"{name}.png")
        assert read.shape == (3, 2, 6) and read.dtype == np.float32 and read.flags.c_contiguous
        assert np.allclose(read, expected, atol=1e-6), name
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert np.allclose(images.read_image(tmp_path / "grey.png"), np.stack([RAMP] * 3) / 255, atol=1e-7)


def test_sixteen_bits_keep_all_of_them(tmp_path):
    values = np.array([[0, 1, 65535], [256, 257, 40000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.allclose(images.read_image(tmp_path / "a.png"), np.stack([values] * 3) / 65535, rtol=1e-6)


def test_float_images_must_say_their_white(tmp_path):
    Image.fromarray(np.array([[0, 0.25], [1, 0.5]], np.float32)).save(tmp_path / "a.tif")
    assert images.read_image(tmp_path / "a.tif")[2].tolist() == [[0, 0.25], [1, 0.5]]
    Image.fromarray(np.array([[0, 300.0]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="values from 0 to 300, expected 0 to 1"):
        images.read_image(tmp_path / "a.tif")


def test_the_rotation_that_exif_asks_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6                                                   # "turn by 90 degrees clockwise to view"
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    turned, stored = images.read_image(tmp_path / "a.png"), images.read_image(tmp_path / "a.png", orient=False)
    assert stored.shape == (3, 2, 6) and np.array_equal(turned[0], np.rot90(stored[0], -1))
    assert images.image_size(tmp_path / "a.png") == (6, 2)
    for size in ((6, 2), (2, 6)):                                      # whichever of the two the annotation was made on
        assert images.read_image_of_size(tmp_path / "a.png", size, "a.xml", "size").shape == (3, *size)
    with pytest.raises(DataError, match="a.xml: size: says 5x6"):
        images.read_image_of_size(tmp_path / "a.png", (6, 5), "a.xml", "size")


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    for path, words in ((tmp_path / "b.png", "does not exist"), (tmp_path / "a.png", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(DataError, match=f"image: .*{words}") as error:
            images.read_image(path)
        assert error.value.file == str(path)
        assert images.image_size(path) is None


def test_uint8_and_back_is_exact():
    pixels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(images.to_uint8(images.to_float(pixels)), pixels)
    assert images.to_uint8(np.array([-1.0, 0.4 / 255, 0.6 / 255, 2.0])).tolist() == [0, 0, 1, 255]
