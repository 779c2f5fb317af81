"""Reads one image, whatever it comes as, into a (3, H, W) tensor in [0, 1].

Accepted: a path, a PIL image of any mode, a NumPy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8,
uint16 or floats in [0, 1], and a torch tensor (3, H, W) or (1, H, W) of uint8 or floats in [0, 1].

Rules, the same for all of them:

- grey becomes three equal channels; 16-bit values are divided by 65535, 8-bit ones by 255;
- transparency is composited on white, as a viewer with a white page shows it (``convert("RGB")`` would reveal
  whatever colour the file stores under fully transparent pixels);
- the EXIF orientation of a file or PIL image is applied; of several pages or frames the first is taken;
- colour profiles are not applied: values are taken as sRGB.

Letters: H, W height and width in pixels; C channels.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

logger = logging.getLogger(__name__)

ImageSource: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"

MIN_SIDE_PX = 8
"""Smallest height and width accepted; below it there is nothing to predict from."""

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "GIF", "PPM")
"""File formats read, by their content, whatever the file is called (Pillow's names)."""

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
_RANGE_TOLERANCE = 1e-3


def read_image(source: ImageSource, *, name: str = "image") -> Tensor:
    """One image as float32 (3, H, W) in [0, 1], at its own size.

    Args:
        source: path, PIL image, array or tensor; see the head of this file.
        name: what the image is called in error messages.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, damaged, too small, too large, or values whose range or layout is unclear.
        TypeError: ``source`` is none of the accepted types.
    """
    return to_tensor(read_pixels(source, name=name))


def read_pixels(source: ImageSource, *, name: str = "image") -> np.ndarray:
    """The image in its own number type: (H, W, 1) or (H, W, 3), uint8, uint16 or float32 in [0, 1].

    Kept apart from :func:`to_tensor` so that a very large image is made small before it is made float.
    Errors are those of :func:`read_image`.
    """
    if isinstance(source, str | os.PathLike):
        pixels = _from_file(Path(source), name)
    elif isinstance(source, Image.Image):
        pixels = _from_pil(source, name, where=name)
    elif isinstance(source, Tensor):
        pixels = _from_tensor(source, name)
    elif isinstance(source, np.ndarray):
        pixels = _from_array(source, name)
    else:
        raise TypeError(
            f"{name} must be a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W), "
            f"got {type(source).__name__}. Several images go in a list."
        )
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise ValueError(
            f"{name} is {width}x{height} px (width x height); each side must be at least {MIN_SIDE_PX} px. "
            "Give a larger image."
        )
    return pixels


def to_tensor(pixels: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
    """Pixels of :func:`read_pixels` as float32 (3, h, w) in [0, 1], resized to ``size`` (height, width) if
    given.

    Bilinear, with antialiasing when shrinking. Works on one channel at a time, so a large image costs one
    float channel of its own size and no more.
    """
    white = _WHITE[pixels.dtype]
    channels = []
    for c in range(pixels.shape[2]):
        channel = torch.from_numpy(np.ascontiguousarray(pixels[:, :, c], dtype=np.float32))  # (H, W)
        if size is not None and size != tuple(channel.shape):
            channel = F.interpolate(
                channel[None, None], size=size, mode="bilinear", antialias=True, align_corners=False
            )[0, 0]
        channels.append(channel / white)
    image = torch.stack(channels).clamp_(0.0, 1.0)  # (1 or 3, h, w)
    return image.expand(3, -1, -1).contiguous()


def processing_size(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """The (height, width) whose longest edge is ``resolution`` px, aspect ratio kept; 0 keeps ``size``.

    >>> processing_size((480, 640), 128)
    (96, 128)
    """
    if resolution == 0:
        return size
    height, width = size
    scale = resolution / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def frame_picture(pixels: np.ndarray, longest_px: int = 640) -> Image.Image:
    """A small RGB picture of the pixels, at most ``longest_px`` px long, to show beside predictions."""
    size = processing_size((pixels.shape[0], pixels.shape[1]), min(longest_px, max(pixels.shape[:2])))
    image = to_tensor(pixels, size).mul(255.0).round().to(torch.uint8)  # (3, h, w)
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def _from_file(path: Path, name: str) -> np.ndarray:
    if str(path).startswith(("http:/", "https:/")):
        raise ValueError(f"{name} must be a file on this machine, got the address {path}. Download it first.")
    if path.is_dir():
        raise ValueError(f"{name} must be an image file, got the folder {path}. Give one file inside it.")
    if not path.exists():
        raise FileNotFoundError(f"{name} not found: there is no file {path}. Check the name and the folder.")
    Image.init()
    formats = [f for f in FORMATS if f in Image.OPEN]
    where = f"{name} {path}"
    with warnings.catch_warnings():
        # Pillow warns above 89 Mpx, which is fine here, and raises above 179 Mpx, see below.
        warnings.simplefilter("ignore")
        with _decoding(where):
            picture = Image.open(path, formats=formats)
        with picture:
            return _from_pil(picture, name, where=where)


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Turns whatever Pillow raises about a file's content into a ValueError that says what to do."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{where} is not an image that can be read: its content is none of {', '.join(FORMATS)}. "
            "Check the file, or convert it to PNG or JPEG."
        ) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise ValueError(
            f"{where} has more than {limit} million pixels. Make it smaller first, "
            "or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise  # not about the content: no permission, a broken disk
        raise ValueError(
            f"{where} is damaged or cut short and cannot be decoded ({error}). Copy or export it again."
        ) from error


def _from_pil(picture: Image.Image, name: str, *, where: str) -> np.ndarray:
    with _decoding(where):
        picture.load()
    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception as error:  # broken EXIF says nothing about the pixels
        logger.info("%s: its EXIF data cannot be read (%s); orientation ignored", where, error)
    if picture.mode.startswith("I"):  # I;16, I;16B, I;16L, or I for 16-bit PNG in older Pillow
        return _sixteen_bit(np.asarray(picture), where)
    if picture.mode == "F":
        return _from_array(np.asarray(picture), name)
    try:
        if picture.has_transparency_data:
            picture = _on_white(picture.convert("RGBA"))
        picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{where} has the mode {picture.mode!r}, which cannot be made RGB ({error})."
        ) from error
    pixels = np.asarray(picture)  # (H, W) or (H, W, 3) uint8
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _sixteen_bit(values: np.ndarray, where: str) -> np.ndarray:
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(
            f"{where} holds integers from {values.min()} to {values.max()}; expected 8 or 16 bits. "
            "Convert it to an 8-bit image."
        )
    return values.astype(np.uint16)[:, :, None]


def _from_tensor(image: Tensor, name: str) -> np.ndarray:
    if image.ndim == 4:
        raise ValueError(
            f"{name} must be one image (3, H, W), got {tuple(image.shape)}. "
            "Pass a batch as a list: list(images)."
        )
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        hint = " Move the channels first: image.permute(2, 0, 1)." if image.ndim == 3 else ""
        raise ValueError(f"{name} tensor must be (3, H, W) or (1, H, W), got {tuple(image.shape)}.{hint}")
    if image.is_floating_point():
        image = image.float()
    return _from_array(image.detach().cpu().permute(1, 2, 0).numpy(), name)


def _from_array(image: np.ndarray, name: str) -> np.ndarray:
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        hint = ""
        if image.ndim == 3 and image.shape[0] in (1, 3, 4):
            hint = " Move the channels last: image.transpose(1, 2, 0)."
        raise ValueError(f"{name} array must be (H, W), (H, W, 3) or (H, W, 4), got {image.shape}.{hint}")
    if image.dtype.kind == "f":
        image = image.astype(np.float32)
        _check_unit_range(image, name)
    elif image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name} must be uint8, uint16, or floats in [0, 1], got {image.dtype}. Convert it first."
        )
    if image.shape[2] < 4:
        return image
    if image.dtype == np.uint8:
        return np.asarray(_on_white(Image.fromarray(np.ascontiguousarray(image))))
    white = _WHITE[image.dtype]
    alpha = image[:, :, 3:].astype(np.float32) / white
    colour = image[:, :, :3].astype(np.float32) * alpha + white * (1.0 - alpha)
    return np.rint(colour).astype(np.uint16) if image.dtype == np.uint16 else colour


def _check_unit_range(image: np.ndarray, name: str) -> None:
    if image.size == 0:
        return
    lowest, highest = float(image.min()), float(image.max())  # nan in, nan out
    if not np.isfinite([lowest, highest]).all():
        raise ValueError(f"{name} holds nan or infinite values. Replace them before predicting.")
    if lowest < -_RANGE_TOLERANCE or highest > 1 + _RANGE_TOLERANCE:
        way_out = (
            "Divide by 255, or pass uint8."
            if highest > 1
            else "Bring it to [0, 1]: (image + 1) / 2 undoes [-1, 1]."
        )
        raise ValueError(f"{name} floats must be in [0, 1], got {lowest:.3g} to {highest:.3g}. {way_out}")


def _on_white(picture: Image.Image) -> Image.Image:
    """RGBA with straight alpha -> RGB."""
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB")
