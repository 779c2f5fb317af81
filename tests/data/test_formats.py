from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from stablemtl.data import formats


def test_flo_bytes(tmp_path):
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    (tmp_path / "a.flo").write_bytes(b"PIEH" + struct.pack("<ii6f", 3, 1, *values))
    flow = formats.read_flo(tmp_path / "a.flo")
    assert flow.shape == (1, 3, 2)
    assert flow[0, 1].tolist() == [3.0, 4.0]
    formats.write_flo(tmp_path / "new" / "b.flo", flow)
    assert (tmp_path / "new" / "b.flo").read_bytes() == (tmp_path / "a.flo").read_bytes()


@pytest.mark.parametrize(("content", "match"), [(b"HEIP" + bytes(8), "202021.25"), (b"PIEH", "tag")])
def test_flo_refuses_other_files(tmp_path, content, match):
    (tmp_path / "a.flo").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        formats.read_flo(tmp_path / "a.flo")


def test_flo_refuses_short_files(tmp_path):
    (tmp_path / "a.flo").write_bytes(b"PIEH" + struct.pack("<ii2f", 3, 1, 0.0, 0.0))
    with pytest.raises(ValueError, match=re.escape("announces 1x3 flow, 36 bytes, but holds 20")):
        formats.read_flo(tmp_path / "a.flo")


def test_flo_refuses_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"flow must be \(H, W, 2\) in pixels, got \(2, 3, 4\)"):
        formats.write_flo(tmp_path / "a.flo", np.zeros((2, 3, 4)))


@pytest.mark.parametrize(("scale", "order"), [(b"-1.0", "<"), (b"1", ">")])
def test_pfm_rows_are_stored_bottom_up(tmp_path, scale, order):
    data = struct.pack(order + "6f", 4, 5, 6, 1, 2, 9)
    (tmp_path / "a.pfm").write_bytes(b"Pf\n3 2\n" + scale + b"\n" + data)
    assert formats.read_pfm(tmp_path / "a.pfm").tolist() == [[1, 2, 9], [4, 5, 6]]


def test_pfm_data_may_start_with_white_space(tmp_path):
    first = struct.unpack("<f", b"\n \t\x20")[0]
    values = np.array([[1.0, 2.0], [first, 4.0]], np.float32)
    formats.write_pfm(tmp_path / "a.pfm", values)
    np.testing.assert_array_equal(formats.read_pfm(tmp_path / "a.pfm"), values)


def test_pfm_colour_round_trip(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    formats.write_pfm(tmp_path / "a.pfm", values)
    np.testing.assert_array_equal(formats.read_pfm(tmp_path / "a.pfm"), values)


def test_pfm_errors(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"P5\n2 2\n255\n")
    with pytest.raises(ValueError, match="not a PFM file"):
        formats.read_pfm(tmp_path / "a.pfm")
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 2\n-1\n" + bytes(12))
    with pytest.raises(ValueError, match="holds fewer"):
        formats.read_pfm(tmp_path / "a.pfm")
    with pytest.raises(ValueError, match=r"must be \(H, W\) or \(H, W, 3\), got \(1, 2, 2\)"):
        formats.write_pfm(tmp_path / "b.pfm", np.zeros((1, 2, 2)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pfm"]


@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_rgb_round_trip_keeps_the_order_of_colours(tmp_path, suffix):
    image = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)
    formats.write_rgb(tmp_path / f"a{suffix}", image)
    np.testing.assert_array_equal(formats.read_rgb(tmp_path / f"a{suffix}"), image)


def test_ppm_bytes_are_rgb(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n255\n" + bytes([1, 2, 3, 4, 5, 6]))
    assert formats.read_rgb(tmp_path / "a.ppm").tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_grey_files_are_repeated(tmp_path):
    formats.write_rgb(tmp_path / "a.png", np.array([[7, 8, 9]], np.uint8))
    assert formats.read_rgb(tmp_path / "a.png")[0, 1].tolist() == [8, 8, 8]


def test_jpeg_keeps_a_flat_colour(tmp_path):
    image = np.full((8, 16, 3), (200, 100, 50), np.uint8)
    formats.write_rgb(tmp_path / "a.jpg", image)
    np.testing.assert_allclose(formats.read_rgb(tmp_path / "a.jpg"), image, atol=2)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3)])
def test_png16_round_trip(tmp_path, shape):
    image = np.linspace(0, 65535, num=int(np.prod(shape))).astype(np.uint16).reshape(shape)
    formats.write_png16(tmp_path / "a.png", image)
    np.testing.assert_array_equal(formats.read_png16(tmp_path / "a.png"), image)


def test_image_errors(tmp_path):
    image = np.zeros((2, 3, 3), np.uint8)
    formats.write_rgb(tmp_path / "a.png", image)
    with pytest.raises(ValueError, match="16 bits per channel, got uint8"):
        formats.read_png16(tmp_path / "a.png")
    with pytest.raises(ValueError, match="must be uint8, got float64"):
        formats.write_rgb(tmp_path / "b.png", image / 255.0)
    with pytest.raises(ValueError, match="must be uint16, got uint8"):
        formats.write_png16(tmp_path / "b.png", image)
    with pytest.raises(ValueError, match=r"must be \(H, W\) or \(H, W, 3\), got \(2, 3, 2\)"):
        formats.write_png16(tmp_path / "b.png", np.zeros((2, 3, 2), np.uint16))
    for content in (b"not an image", b""):
        (tmp_path / "c.png").write_bytes(content)
        with pytest.raises(ValueError, match="not an image that can be decoded"):
            formats.read_rgb(tmp_path / "c.png")
    with pytest.raises(FileNotFoundError, match=r"no file .*d\.png"):
        formats.read_rgb(tmp_path / "d.png")


def test_kitti_flow(tmp_path):
    flow = np.array([[[1.5, -2.25], [7.0, 7.0], [0.0, 0.0]]])
    valid = np.array([[True, False, True]])
    formats.write_kitti_flow(tmp_path / "a.png", flow, valid)
    stored = formats.read_png16(tmp_path / "a.png")
    assert stored[0, 0].tolist() == [32768 + 96, 32768 - 144, 1]
    assert stored[0, 1].tolist() == [0, 0, 0]
    read, mask = formats.read_kitti_flow(tmp_path / "a.png")
    assert mask.tolist() == valid.tolist()
    assert read.tolist() == [[[1.5, -2.25], [0.0, 0.0], [0.0, 0.0]]]


def test_kitti_map(tmp_path):
    values = np.array([[1.5, 0.0, 300.0], [np.nan, 0.25, 2.0]])
    valid = np.array([[True, True, True], [False, True, False]])
    formats.write_kitti_map(tmp_path / "a.png", values, valid)
    assert formats.read_png16(tmp_path / "a.png").tolist() == [[384, 1, 65535], [0, 64, 0]]
    read, mask = formats.read_kitti_map(tmp_path / "a.png")
    assert mask.tolist() == valid.tolist()
    assert read[0, 0] == 1.5


def test_kitti_errors(tmp_path):
    formats.write_png16(tmp_path / "grey.png", np.zeros((2, 3), np.uint16))
    formats.write_png16(tmp_path / "rgb.png", np.zeros((2, 3, 3), np.uint16))
    with pytest.raises(ValueError, match="three channels"):
        formats.read_kitti_flow(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="one channel, got 3"):
        formats.read_kitti_map(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"valid \(H, W\), got \(2, 3, 2\) and \(3, 2\)"):
        formats.write_kitti_flow(tmp_path / "a.png", np.zeros((2, 3, 2)), np.ones((3, 2), bool))
    with pytest.raises(ValueError, match=r"both be \(H, W\)"):
        formats.write_kitti_map(tmp_path / "a.png", np.zeros((2, 3)), np.ones((3, 2), bool))


def test_hdf5(tmp_path):
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    formats.write_hdf5(tmp_path / "a.hdf5", array)
    read = formats.read_hdf5(tmp_path / "a.hdf5")
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, array)
    (tmp_path / "b.hdf5").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        formats.read_hdf5(tmp_path / "b.hdf5")
    with pytest.raises(FileNotFoundError, match="no file"):
        formats.read_hdf5(tmp_path / "c.hdf5")


def test_hdf5_without_the_array(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["other"] = [1, 2]
    with pytest.raises(ValueError, match=r"no array named 'dataset'; it has \['other'\]"):
        formats.read_hdf5(tmp_path / "a.hdf5")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    formats.write_hdf5(tmp_path / "a.hdf5", np.ones(2))
    with pytest.raises(TypeError):
        formats.write_hdf5(tmp_path / "a.hdf5", np.array([object()]))
    assert formats.read_hdf5(tmp_path / "a.hdf5").tolist() == [1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


@pytest.mark.parametrize("shape", [(), (2, 5), (2, 5, 3)])
def test_npy(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    formats.write_npy(tmp_path / "new" / "a.npy", array)
    read = formats.read_npy(tmp_path / "new" / "a.npy")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "a.npy"), array)


def test_npy_errors(tmp_path):
    path = tmp_path / "a.npy"
    formats.write_npy(path, np.arange(60.0).reshape(5, 4, 3))
    data = path.read_bytes()
    header = data.replace(b"'shape'", b"'shape(")  # an open bracket in the dictionary
    for content in (b"", b"something else", data[:40], data[:-8], header):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npy is not a readable \.npy file"):
            formats.read_npy(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a readable \.npy file: Object arrays"):
        formats.read_npy(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.npy"):
        formats.read_npy(tmp_path / "b.npy")
    with pytest.raises(ValueError, match="Object arrays"):
        formats.write_npy(tmp_path / "b.npy", np.array([{}]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_text(tmp_path):
    formats.write_text(tmp_path / "new" / "a.txt", "eins\nzwölf\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "eins\nzwölf\n".encode()
