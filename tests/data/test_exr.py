from __future__ import annotations

import sys

import numpy as np
import OpenEXR
import pytest

from stablemtl.data.exr import read_exr, write_exr


def _channels(path, **channels):
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (40, 7, 3)])
def test_floats_come_back_as_they_are(tmp_path, shape):
    values = np.linspace(-2.0, 1e6, int(np.prod(shape))).astype(np.float32).reshape(shape)
    write_exr(tmp_path / "new" / "a.exr", values)
    read = read_exr(tmp_path / "new" / "a.exr")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.exr"]


def test_half_floats_stay_half_in_the_file(tmp_path):
    values = np.array([[[0.1, 2.0, 65504.0], [np.inf, 0.0, -1.0]]], np.float16)
    write_exr(tmp_path / "a.exr", values)
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        assert file.channels()["RGB"].pixels.dtype == np.float16
    read = read_exr(tmp_path / "a.exr")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)
    write_exr(tmp_path / "a.exr", values.astype(np.float64))
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        assert file.channels()["RGB"].pixels.dtype == np.float32


def test_a_view_in_another_order(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3)[:, ::2, ::-1]
    write_exr(tmp_path / "a.exr", values)
    np.testing.assert_array_equal(read_exr(tmp_path / "a.exr"), values)


def test_channels_by_name(tmp_path):
    red, green, blue, alpha = (np.full((2, 3), value, np.float32) for value in (1, 2, 3, 4))
    _channels(tmp_path / "a.exr", A=alpha, B=blue, R=red, G=green)
    assert read_exr(tmp_path / "a.exr")[0, 0].tolist() == [1, 2, 3]
    _channels(tmp_path / "b.exr", Z=alpha)
    assert read_exr(tmp_path / "b.exr").tolist() == alpha.tolist()


def test_other_channels(tmp_path):
    plane = np.zeros((2, 3), np.float32)
    _channels(tmp_path / "a.exr", R=plane, G=plane)
    with pytest.raises(ValueError, match=r"a\.exr must have channels R, G, B or a single one, got G, R"):
        read_exr(tmp_path / "a.exr")
    _channels(tmp_path / "a.exr", X=plane, Y=plane, Z=plane)
    with pytest.raises(ValueError, match="R, G, B or a single one, got X, Y, Z"):
        read_exr(tmp_path / "a.exr")
    _channels(tmp_path / "a.exr", id=plane.astype(np.uint32))
    with pytest.raises(ValueError, match=r"a\.exr must hold floats, got uint32"):
        read_exr(tmp_path / "a.exr")


def test_subsampled_channels(tmp_path):
    import Imath

    header = OpenEXR.Header(6, 4)
    number = Imath.PixelType(Imath.PixelType.FLOAT)
    header["channels"] = {
        "R": Imath.Channel(number),
        "G": Imath.Channel(number, 2, 2),
        "B": Imath.Channel(number),
    }
    file = OpenEXR.OutputFile(str(tmp_path / "a.exr"), header)
    file.writePixels({"R": bytes(4 * 4 * 6), "G": bytes(4 * 2 * 3), "B": bytes(4 * 4 * 6)})
    file.close()
    with pytest.raises(ValueError, match=r"a\.exr must hold R, G, B of one size, got .*\(2, 3\)"):
        read_exr(tmp_path / "a.exr")


def test_damaged_files(tmp_path):
    path = tmp_path / "a.exr"
    write_exr(path, np.random.default_rng(0).random((40, 7, 3)))
    data = path.read_bytes()
    for length in (5, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"a\.exr is not a readable OpenEXR file, or it is cut short"):
            read_exr(path)
    for other in (b"", b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"a\.exr is not an OpenEXR file: it must start with"):
            read_exr(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.exr"):
        read_exr(tmp_path / "b.exr")


@pytest.mark.parametrize("shape", [(3,), (2, 3, 2), (1, 2, 3, 3), (0, 4), (4, 0, 3)])
def test_writes_pictures_only(tmp_path, shape):
    with pytest.raises(ValueError, match=r"an OpenEXR map must be \(H, W\) or \(H, W, 3\), got \("):
        write_exr(tmp_path / "a.exr", np.zeros(shape))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_exr(tmp_path / "a.exr", np.ones((2, 3)))

    class Full(OpenEXR.File):
        def write(self, *_):
            raise OSError("no space left")

    monkeypatch.setattr(OpenEXR, "File", Full)
    with pytest.raises(OSError, match="no space left"):
        write_exr(tmp_path / "a.exr", np.zeros((2, 3)))
    monkeypatch.undo()
    assert read_exr(tmp_path / "a.exr").tolist() == np.ones((2, 3)).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["a.exr"]


def test_without_the_package(tmp_path, monkeypatch):
    write_exr(tmp_path / "a.exr", np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(ImportError, match="pip install OpenEXR"):
        read_exr(tmp_path / "a.exr")
    with pytest.raises(ImportError, match="pip install OpenEXR"):
        write_exr(tmp_path / "b.exr", np.ones((2, 3)))
