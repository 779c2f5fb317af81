"""Arrays as they are stored, from every format."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import h5py
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from stablemtl.data.formats import write_pfm, write_rgb
from stablemtl.data.own.files import MASK_SUFFIXES, SUFFIXES, channels_last, read_array, read_mask

GREY = np.arange(6, dtype=np.float32).reshape(2, 3)
COLOURS = np.arange(18, dtype=np.float32).reshape(2, 3, 3)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {key: np.ascontiguousarray(plane) for key, plane in channels.items()}) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff"])
def test_integer_pictures(tmp_path: Path, suffix: str, dtype: type) -> None:
    for name, values in (("grey", GREY), ("colours", COLOURS)):
        path = tmp_path / f"{name}{suffix}"
        values = (values * 10).astype(dtype)
        assert cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])
        read = read_array(path)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, values)


def test_floats_in_tif_and_pfm(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "grey.tif"), GREY + 0.5)
    np.testing.assert_array_equal(read_array(tmp_path / "grey.tif"), GREY + 0.5)
    for name, values in (("grey", GREY), ("colours", COLOURS)):
        write_pfm(tmp_path / f"{name}.pfm", values)
        np.testing.assert_array_equal(read_array(tmp_path / f"{name}.pfm"), values)


def test_transparency_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3, 4), (10, 20, 30, 0), np.uint8), "RGBA").save(tmp_path / "a.png")
    assert read_array(tmp_path / "a.png")[1, 2].tolist() == [10, 20, 30]


def test_palette_as_ids_or_as_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 64, 128, 70, 130, 180])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_array(tmp_path / "a.png", palette_ids=True), [[0, 1, 2], [2, 1, 0]])
    assert read_array(tmp_path / "a.png")[0, 1].tolist() == [128, 64, 128]
    write_rgb(tmp_path / "b.png", COLOURS.astype(np.uint8))  # no palette: nothing to choose
    np.testing.assert_array_equal(read_array(tmp_path / "b.png", palette_ids=True), COLOURS)


def test_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY[..., None])
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), GREY)  # one channel has no axis
    np.savez(tmp_path / "one.npz", depth=GREY, unit=np.array("m"), count=np.arange(3))
    np.testing.assert_array_equal(read_array(tmp_path / "one.npz"), GREY)
    np.savez(tmp_path / "two.npz", near=GREY, far=GREY + 1)
    np.testing.assert_array_equal(read_array(tmp_path / "two.npz", name="far"), GREY + 1)
    np.savez(tmp_path / "ours.npz", valid=GREY > 0, values=GREY)  # as Prediction.save writes it
    np.testing.assert_array_equal(read_array(tmp_path / "ours.npz"), GREY)


def test_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["camera/depth"] = GREY
        file["focal"] = 3.0
    np.testing.assert_array_equal(read_array(tmp_path / "a.h5"), GREY)
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["dataset"], file["other"] = GREY, GREY + 1
    np.testing.assert_array_equal(read_array(tmp_path / "b.hdf5"), GREY)
    np.testing.assert_array_equal(read_array(tmp_path / "b.hdf5", name="other"), GREY + 1)


def test_exr(tmp_path: Path) -> None:
    single = write_exr(tmp_path / "z.exr", {"Z": GREY})
    np.testing.assert_array_equal(read_array(single), GREY)
    colours = write_exr(tmp_path / "rgba.exr", {"RGBA": np.concatenate([COLOURS, GREY[..., None]], -1)})
    np.testing.assert_array_equal(read_array(colours), COLOURS)
    flow = write_exr(tmp_path / "uv.exr", {"V": GREY, "U": GREY + 1})
    assert read_array(flow)[0, 0].tolist() == [1.0, 0.0]
    layers = {f"View.Normal.{axis}": GREY + i for i, axis in enumerate("XYZ")}
    path = write_exr(tmp_path / "layers.exr", {**layers, "View.Depth.V": GREY + 7})
    np.testing.assert_array_equal(read_array(path, name="View.Depth.V"), GREY + 7)
    np.testing.assert_array_equal(read_array(path, name="View.Depth"), GREY + 7)
    assert read_array(path, name="View.Normal")[0, 0].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match=r"layers.exr has 4 channels; it holds View.Depth.V, View.Normal.X"):
        read_array(path)
    with pytest.raises(ValueError, match=r"has no channels 'Depth'; it holds .* array = "):
        read_array(path, name="Depth")


def test_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0.0, np.nan, -1.0]]))
    assert read_mask(tmp_path / "a.npy").tolist() == [[False, False, True]]
    write_rgb(tmp_path / "b.png", np.array([[[0, 0, 0], [0, 0, 3]]], np.uint8))
    assert read_mask(tmp_path / "b.png").tolist() == [[False, True]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "c.png")  # one bit a pixel
    assert read_mask(tmp_path / "c.png").tolist() == [[True, False]]
    assert set(MASK_SUFFIXES) < set(SUFFIXES)


def test_channels_last() -> None:
    path = Path("a.npy")
    assert channels_last(GREY, 1, path) is GREY
    assert channels_last(COLOURS, 3, path) is COLOURS
    with pytest.raises(ValueError, match=r"a.npy must hold \(H, W, 3\), got \(2, 3\)\.$"):
        channels_last(GREY, 3, path)
    with pytest.raises(ValueError, match=r"must hold \(H, W\), got \(2, 3, 3\)"):
        channels_last(COLOURS, 1, path)
    with pytest.raises(ValueError, match=r"must hold \(H, W, 2\), got \(2, 4, 5\). Move the channels last"):
        channels_last(np.zeros((2, 4, 5)), 2, path)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.jpg must be one of .png, .tif"):
        read_array(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"no file .*a.png"):
        read_array(tmp_path / "a.png")
    for suffix, kind in {
        ".png": "an image that can be decoded",
        ".npy": "NumPy",
        ".npz": "NumPy",
        ".h5": "HDF5",
        ".exr": "EXR",
        ".pfm": "PFM",
    }.items():
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=rf"broken\{suffix} is .*{kind}"):
            read_array(path)
    with pytest.raises(ValueError, match=r"broken.png is damaged, or not a PNG"):
        read_array(tmp_path / "broken.png", palette_ids=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.npy is damaged"):
        read_array(tmp_path / "empty.npy")
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match=r"text.npy must hold numbers of shape .*, got <U1 \(1, 2\)"):
        read_array(tmp_path / "text.npy")
    np.save(tmp_path / "flat.npy", np.arange(3))
    with pytest.raises(ValueError, match=re.escape("or (H, W, C), got int64 (3,)")):
        read_array(tmp_path / "flat.npy")
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(
        ValueError, match=r"objects.npy is damaged, or not a NumPy file of numbers: .*allow_pickle=False"
    ):
        read_array(tmp_path / "objects.npy")
    np.savez(tmp_path / "two.npz", near=GREY, far=GREY)
    with pytest.raises(ValueError, match=r'two.npz has 2 maps; it holds far, near. Name one: array = "..."'):
        read_array(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"two.npz has no map 'depth'; it holds far, near"):
        read_array(tmp_path / "two.npz", name="depth")
    with h5py.File(tmp_path / "none.h5", "w"):
        pass
    with pytest.raises(ValueError, match=r"none.h5 has 0 maps; it holds nothing"):
        read_array(tmp_path / "none.h5")
