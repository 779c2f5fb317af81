"""Reading images: every kind accepted, every kind refused, and the values they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import images
from stablemtl.images import MIN_SIDE_PX, frame_picture, processing_size, read_image, read_pixels, to_tensor

H, W = 9, 14
RGB = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
EXPECTED = torch.from_numpy(RGB.astype(np.float32) / 255).permute(2, 0, 1)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_same_image_as_file_picture_array_and_tensor(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB)
    path = save(tmp_path / "a.png", picture)
    sources = [path, str(path), picture, RGB, RGB.astype(np.float64) / 255, EXPECTED, EXPECTED.double()]
    sources += [torch.from_numpy(RGB).permute(2, 0, 1), np.ascontiguousarray(RGB[:, ::-1])[:, ::-1]]
    for source in sources:
        image = read_image(source)
        assert image.shape == (3, H, W)
        assert image.dtype == torch.float32
        torch.testing.assert_close(image, EXPECTED)


def test_source_is_not_changed() -> None:
    tensor = EXPECTED.clone()
    image = read_image(tensor)
    image.zero_()
    assert torch.equal(tensor, EXPECTED)
    array = np.full((H, W), 0.5, np.float32)
    read_image(array).zero_()
    assert (array == 0.5).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = Image.fromarray(RGB).convert(mode)
    torch.testing.assert_close(read_image(picture), read_image(picture.convert("RGB")), atol=0.003, rtol=0)


def test_grey_is_repeated() -> None:
    grey = RGB[:, :, 0]
    for source in (grey, grey[:, :, None], Image.fromarray(grey), torch.from_numpy(grey)[None]):
        image = read_image(source)
        torch.testing.assert_close(image, EXPECTED[:1].expand(3, -1, -1))


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((H, W, 1), np.uint8)
    alpha[:, 1:] = 255
    alpha[0, 2] = 51  # a fifth
    rgba = np.concatenate([RGB, alpha], axis=2)
    expected = EXPECTED.clone()
    expected[:, :, 0] = 1.0
    expected[:, 0, 2] = 0.2 * EXPECTED[:, 0, 2] + 0.8
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    deep = rgba.astype(np.uint16) * 257
    for source in (path, Image.fromarray(rgba), rgba, rgba / 255.0, deep):
        torch.testing.assert_close(read_image(source), expected, atol=0.005, rtol=0)
    la = Image.merge("LA", (Image.fromarray(RGB[:, :, 0]), Image.fromarray(alpha[:, :, 0])))
    assert read_image(la)[:, :, 0].eq(1).all()


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.new("P", (W, H), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((3, 2), 1)
    path = save(tmp_path / "a.png", picture, transparency=0)
    image = read_image(path)
    assert image[:, 0, 0].tolist() == [1, 1, 1]  # the red is transparent
    assert image[:, 2, 3].tolist() == [0, 0, 1]


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    deep = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 7 + 40000
    path = save(tmp_path / "a.png", Image.fromarray(deep))
    expected = torch.from_numpy(deep.astype(np.float32) / 65535).expand(3, -1, -1)
    for source in (path, Image.open(path), deep, Image.fromarray(deep.astype(np.int32))):
        torch.testing.assert_close(read_image(source), expected)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    torch.testing.assert_close(read_image(path), EXPECTED.rot90(-1, (1, 2)))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (W, H), value) for value in (255, 0)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert read_image(path).eq(1).all()


def test_format_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (W, H), (255, 255, 255)))
    assert read_image(path.rename(tmp_path / "a.png")).eq(1).all()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image not found: there is no file .*none\.png"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n"])
def test_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"image .*a\.png is not an image that can be read: its content is none of PNG"
    ):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_file_cut_short(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged or cut short"):
        read_image(path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_damaged_file_is_read_or_refused_in_our_words(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    Image.fromarray(RGB).save(path, form)
    data, random = path.read_bytes(), np.random.default_rng(2)
    for trial in range(60):
        damaged = bytearray(data[: len(data) * trial // 40] if trial < 40 else data)
        if trial >= 40:
            damaged[random.integers(min(len(data), 60))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_pixels(path)
        except ValueError as error:
            assert str(error).startswith("image ")  # noqa: PT017


def test_closed_picture(tmp_path: Path) -> None:
    with Image.open(save(tmp_path / "a.png", Image.fromarray(RGB))) as picture:
        pass
    with pytest.raises(ValueError, match="image is damaged or cut short and cannot be decoded"):
        read_image(picture)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(path).shape == (3, 40, 40)  # above the limit, below its double: Pillow only warns
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"has more than 0 million pixels. Make it smaller first"):
        read_image(path)


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        (Image.new("RGB", (1, 1)), ValueError, f"image is 1x1 px .* at least {MIN_SIDE_PX} px"),
        (np.zeros((0, 0, 3), np.uint8), ValueError, "image is 0x0 px"),
        (np.zeros((MIN_SIDE_PX, MIN_SIDE_PX - 1), np.uint8), ValueError, "image is 7x8 px"),
        (np.zeros((3, 20, 30), np.uint8), ValueError, r"got \(3, 20, 30\). Move the channels last"),
        (np.zeros((20, 30, 2), np.uint8), ValueError, r"must be .*\(H, W, 4\), got \(20, 30, 2\)"),
        (np.zeros(20, np.uint8), ValueError, r"got \(20,\)"),
        (np.zeros((20, 30), np.int64), ValueError, "uint8, uint16, or floats in .* got int64"),
        (np.full((20, 30), 128.0), ValueError, "got 128 to 128. Divide by 255"),
        (np.full((20, 30), -0.5), ValueError, r"got -0.5 to -0.5. .*undoes \[-1, 1\]"),
        (np.full((20, 30), np.nan), ValueError, "nan or infinite"),
        (torch.zeros(20, 30, 3), ValueError, r"Move the channels first: image.permute"),
        (torch.zeros(2, 3, 20, 30), ValueError, r"must be one image .* Pass a batch as a list"),
        (torch.zeros(20, 30), ValueError, r"got \(20, 30\)"),
        (Image.fromarray(np.full((20, 30), 70000, np.int32)), ValueError, "integers from 70000 to 70000"),
        (Image.fromarray(np.full((20, 30), 2.0, np.float32)), ValueError, "Divide by 255"),
        ("https://example.org/a.png", ValueError, "Download it first"),
        (b"bytes", TypeError, "must be a path, a PIL image, .* got bytes"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_what_is_refused(source: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        read_image(source)  # type: ignore[arg-type]


def test_folder_is_refused_and_the_name_is_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image_next must be an image file, got the folder"):
        read_image(tmp_path, name="image_next")


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((480, 640), 0, (480, 640)),
        ((480, 640), 128, (96, 128)),
        ((640, 480), 128, (128, 96)),
        ((30, 40), 128, (96, 128)),
        ((10, 4000), 100, (1, 100)),
    ],
)
def test_processing_size(size: tuple[int, int], resolution: int, expected: tuple[int, int]) -> None:
    assert processing_size(size, resolution) == expected


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((16, 32), np.uint8)
    stripes[:, ::2] = 255  # one pixel white, one black
    small = to_tensor(read_pixels(stripes), (4, 8))
    assert small.shape == (3, 4, 8)
    torch.testing.assert_close(small, torch.full((3, 4, 8), 0.5), atol=0.05, rtol=0)


def test_resizing_does_not_depend_on_the_kind_of_source() -> None:
    sizes = (5, 6)
    expected = to_tensor(read_pixels(RGB), sizes)
    torch.testing.assert_close(to_tensor(read_pixels(EXPECTED), sizes), expected)
    torch.testing.assert_close(to_tensor(read_pixels(RGB.astype(np.uint16) * 257), sizes), expected)


def test_frame_picture() -> None:
    assert frame_picture(RGB).size == (W, H)
    assert (np.asarray(frame_picture(RGB)) == RGB).all()
    assert frame_picture(RGB, longest_px=7).size == (7, 4)


def test_formats_are_names_pillow_knows() -> None:
    Image.init()
    assert {"PNG", "JPEG"} <= set(images.FORMATS) & set(Image.OPEN)
    assert "EPS" not in images.FORMATS  # would start Ghostscript
