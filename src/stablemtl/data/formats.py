"""File formats of the public datasets: ``.flo``, PFM, 8- and 16-bit images, KITTI maps, ``.npy`` and HDF5.

OpenEXR is in ``exr.py``. Every reader has its writer beside it. Arrays are (H, W) or (H, W, C), colours are
in RGB order. Writers create missing folders, and write beside the target and rename, so that an interrupted
run leaves no half-written file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

PathLike = str | os.PathLike[str]
Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]

FLO_MAGIC = 202021.25
HDF5_KEY = "dataset"


def read_flo(path: PathLike) -> Float32:
    """Optical flow of a Middlebury ``.flo`` file [px], shape (H, W, 2), u right and v down.

    Source: Baker et al., IJCV 2011, doi:10.1007/s11263-010-0390-2 (float32 tag 202021.25, int32 width, int32
    height, then interleaved u and v, all little-endian).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the tag is wrong or the file is shorter than its header says.
    """
    data = _read_bytes(path)
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != np.float32(FLO_MAGIC):
        raise ValueError(f"{path} is not a .flo file: it must start with the float32 tag {FLO_MAGIC}.")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, offset=4))
    expected = 12 + 8 * width * height
    if width <= 0 or height <= 0 or len(data) < expected:
        raise ValueError(f"{path} announces {height}x{width} flow, {expected} bytes, but holds {len(data)}.")
    flow = np.frombuffer(data, "<f4", 2 * width * height, offset=12)
    return flow.reshape(height, width, 2).astype(np.float32)


def write_flo(path: PathLike, flow: NDArray[np.floating]) -> None:
    """Write optical flow [px], shape (H, W, 2), as a Middlebury ``.flo`` file."""
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow must be (H, W, 2) in pixels, got {flow.shape}.")
    height, width = flow.shape[:2]
    header = np.array([FLO_MAGIC], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    _write_bytes(path, header + np.ascontiguousarray(flow, "<f4").tobytes())


def read_pfm(path: PathLike) -> Float32:
    """A portable float map, rows turned top-down: (H, W) for ``Pf`` files, (H, W, 3) for ``PF`` files.

    Values are returned as stored (FlyingThings3D stores disparities negated: its reader deals with that). The
    magnitude of the header's scale is ignored, as usual; its sign gives the byte order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the header is not that of a PFM file or the data are too short.
    """
    data = _read_bytes(path)
    fields = data.split(maxsplit=4)
    try:
        channels = {b"Pf": 1, b"PF": 3}[fields[0]]
        width, height, scale = int(fields[1]), int(fields[2]), float(fields[3])
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"{path} is not a PFM file: it must start with 'Pf' or 'PF', size and scale."
        ) from error
    start = 0
    for field in fields[:4]:  # exactly one white space follows the scale; the data may start with any byte
        start = data.index(field, start) + len(field)
    count = width * height * channels
    if width <= 0 or height <= 0 or len(data) < start + 1 + 4 * count:
        raise ValueError(f"{path} announces {height}x{width}x{channels} floats but holds fewer.")
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", count, offset=start + 1)
    shape = (height, width) if channels == 1 else (height, width, 3)
    return values.reshape(shape)[::-1].astype(np.float32)


def write_pfm(path: PathLike, values: NDArray[np.floating]) -> None:
    """Write an (H, W) or (H, W, 3) map, row 0 at the top, as little-endian PFM (stored bottom-up)."""
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] == 3):
        raise ValueError(f"a PFM map must be (H, W) or (H, W, 3), got {values.shape}.")
    height, width = values.shape[:2]
    header = f"{'Pf' if values.ndim == 2 else 'PF'}\n{width} {height}\n-1.0\n".encode()
    _write_bytes(path, header + np.ascontiguousarray(values[::-1], "<f4").tobytes())


def read_rgb(path: PathLike) -> UInt8:
    """An 8-bit image (PNG, JPEG, PPM, ...), shape (H, W, 3), RGB order; a grey file is repeated."""
    return _to_rgb(_decode(path, cv2.IMREAD_COLOR)).astype(np.uint8)


def write_rgb(path: PathLike, image: UInt8, *, jpeg_quality: int = 95) -> None:
    """Write an (H, W) or (H, W, 3) RGB uint8 image; the suffix (.png, .jpg, .ppm) names the format."""
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, got {image.dtype}.")
    parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if _suffix(path) in {".jpg", ".jpeg"} else []
    _encode(path, image, parameters)


def read_png16(path: PathLike) -> UInt16:
    """A 16-bit PNG as stored: (H, W) for one channel, (H, W, 3) in RGB order for three."""
    image = _decode(path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16:
        raise ValueError(f"{path} must hold 16 bits per channel, got {image.dtype}.")
    return _to_rgb(image).astype(np.uint16)


def write_png16(path: PathLike, image: UInt16) -> None:
    """Write an (H, W) or (H, W, 3) RGB uint16 image as PNG."""
    if image.dtype != np.uint16:
        raise ValueError(f"image must be uint16, got {image.dtype}.")
    _encode(path, image, [])


def read_kitti_flow(path: PathLike) -> tuple[Float32, NDArray[np.bool_]]:
    """KITTI 2015 flow PNG: flow [px] (H, W, 2), zero where unmeasured, and validity (H, W).

    Source: KITTI development kit; u, v = (value - 2^15) / 64 in red and green, blue is 1 where measured.
    """
    image = read_png16(path)
    if image.ndim != 3:
        raise ValueError(f"{path} must have three channels (u, v, valid), got one.")
    valid = image[..., 2] > 0
    flow = (image[..., :2].astype(np.float32) - 32768.0) / 64.0
    return np.where(valid[..., None], flow, 0.0).astype(np.float32), valid


def write_kitti_flow(path: PathLike, flow: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
    """Write flow [px] (H, W, 2) and validity (H, W) as a KITTI 2015 flow PNG (steps of 1/64, to 512 px)."""
    if flow.ndim != 3 or flow.shape[2] != 2 or valid.shape != flow.shape[:2]:
        raise ValueError(f"flow must be (H, W, 2) and valid (H, W), got {flow.shape} and {valid.shape}.")
    code = np.clip(np.round(np.nan_to_num(flow) * 64.0 + 32768.0), 0, 65535) * valid[..., None]
    write_png16(path, np.concatenate([code, valid[..., None]], axis=2).astype(np.uint16))


def read_kitti_map(path: PathLike) -> tuple[Float32, NDArray[np.bool_]]:
    """KITTI disparity [px] or depth [m] PNG: values = stored / 256, validity = stored > 0, (H, W) each."""
    image = read_png16(path)
    if image.ndim != 2:
        raise ValueError(f"{path} must have one channel, got {image.shape[2]}.")
    return image.astype(np.float32) / np.float32(256.0), image > 0


def write_kitti_map(path: PathLike, values: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
    """Write disparity [px] or depth [m] (H, W) as KITTI stores it: uint16 of 256 x value, 0 where not valid.

    A valid value below 1/256 is stored as 1/256, so that it stays valid; one above 255.996 is clipped.
    """
    if values.ndim != 2 or valid.shape != values.shape:
        raise ValueError(f"values and valid must both be (H, W), got {values.shape} and {valid.shape}.")
    code = np.clip(np.round(np.nan_to_num(values) * 256.0), 1, 65535) * valid
    write_png16(path, code.astype(np.uint16))


def read_npy(path: PathLike) -> NDArray[Any]:
    """The array of a NumPy ``.npy`` file; one that holds Python objects is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that is cut short, or Python objects.
    """
    _require(path)
    with Path(path).open("rb") as file:
        try:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, TokenError, MemoryError) as error:  # the last two from a damaged header
            raise ValueError(f"{path} is not a readable .npy file: {error}") from error
    return array


def write_npy(path: PathLike, array: NDArray[Any]) -> None:
    """Write one array as a NumPy ``.npy`` file."""

    def save(beside: Path) -> None:
        with beside.open("wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)

    write_beside(path, save)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file in UTF-8, line ends as they are."""
    _write_bytes(path, text.encode())


def read_hdf5(path: PathLike) -> NDArray[np.generic]:
    """The array named ``dataset`` of an HDF5 file (the layout of every Hypersim file)."""
    _require(path)
    try:
        with h5py.File(path, "r") as file:
            if HDF5_KEY not in file:
                raise ValueError(f"{path} has no array named {HDF5_KEY!r}; it has {sorted(file)}.")
            array: NDArray[np.generic] = file[HDF5_KEY][()]
            return array
    except OSError as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}.") from error


def write_hdf5(path: PathLike, array: NDArray[np.generic]) -> None:
    """Write one array, named ``dataset``, losslessly compressed."""

    def save(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            options = {"compression": "gzip", "compression_opts": 1} if array.ndim else {}
            file.create_dataset(HDF5_KEY, data=array, **options)

    write_beside(path, save)


def write_beside(path: PathLike, save: Callable[[Path], object]) -> None:
    """Write under another name in the same folder, then rename: readers see the old file or the new one.

    Args:
        path: of the file; missing folders are made.
        save: called with the name to write to.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    beside = Path(name)
    try:
        save(beside)
        beside.chmod(0o644)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _suffix(path: PathLike) -> str:
    return Path(path).suffix.lower()


def _require(path: PathLike) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")


def _read_bytes(path: PathLike) -> bytes:
    _require(path)
    return Path(path).read_bytes()


def _decode(path: PathLike, flag: int) -> NDArray[Any]:
    data = np.frombuffer(_read_bytes(path), np.uint8)
    image: NDArray[Any] | None = cv2.imdecode(data, flag) if len(data) else None
    if image is None:
        raise ValueError(f"{path} is not an image that can be decoded, or it is damaged.")
    return image


def _to_rgb(image: NDArray[Any]) -> NDArray[Any]:
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1])  # OpenCV's order is BGR(A)


def _encode(path: PathLike, image: UInt8 | UInt16, parameters: list[int]) -> None:
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] == 3):
        raise ValueError(f"image must be (H, W) or (H, W, 3), got {image.shape}.")
    done, data = cv2.imencode(_suffix(path), _to_rgb(image), parameters)
    if not done:
        raise ValueError(f"{path} could not be encoded as {_suffix(path)!r}.")
    _write_bytes(path, data.tobytes())


def _write_bytes(path: PathLike, data: bytes) -> None:
    write_beside(path, lambda beside: beside.write_bytes(data))
