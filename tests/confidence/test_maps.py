"""Consistency maps: colours, legend, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl.confidence import ConsistencyMap, read_consistency_map
from stablemtl.outputs import read_predictions

H, W = 6, 9
BLACK, YELLOW, GREY = (0, 0, 3), (252, 254, 164), (128, 128, 128)  # ends of inferno, and what is unknown


def ramp(**changes: object) -> ConsistencyMap:
    """0 on the left, 8 on the right; the first row is not valid."""
    values = np.tile(np.arange(W, dtype=np.float64), (H, 1))
    valid = np.ones((H, W), bool)
    valid[0] = False
    found = ConsistencyMap.of("depth_flip", values, valid, "m", "half the distance.")
    return ConsistencyMap(**{**vars(found), **changes})


def test_what_is_not_finite_is_not_valid() -> None:
    values = np.array([[1.0, np.nan, np.inf], [4.0, 5.0, 6.0]])
    one = ConsistencyMap.of("x", values, np.array([[True] * 3, [True, False, True]]), "px", "")
    assert one.valid.tolist() == [[True, False, False], [True, False, True]]
    assert one.values.dtype == np.float32
    assert np.isnan(one.values[~one.valid]).all()
    assert one.mean == pytest.approx(11 / 3)
    assert repr(one) == "ConsistencyMap(x, (2, 3), mean 3.67 px)"


def test_colours_run_from_0_to_nearly_the_largest_value() -> None:
    one = ramp()
    assert one.full_scale == pytest.approx(np.quantile(np.tile(np.arange(9), 5), 0.98))
    picture = one.colorize()
    assert picture.size == (W, H)
    assert [picture.getpixel(at) for at in ((4, 0), (0, 1), (8, 1))] == [GREY, BLACK, YELLOW]
    doubled = np.asarray(one.colorize(value_range=(0, 16)))[1, 8]
    np.testing.assert_array_equal(doubled, np.asarray(one.colorize(value_range=(0, 8)))[1, 4])
    assert one.colorize(value_range=(8, 9)).getpixel((8, 1)) == BLACK


@pytest.mark.parametrize(
    ("values", "full"), [([0.0] * 99 + [1.0], 1.0), ([0.0] * 100, 1.0), ([0.5] * 100, 0.5)]
)
def test_full_scale_is_never_0(values, full) -> None:
    one = ConsistencyMap.of("x", np.array([values]), np.ones((1, 100), bool), "0 or 1", "")
    assert one.full_scale == full


def test_nothing_to_compare() -> None:
    one = ConsistencyMap.of("x", np.ones((H, W)), np.zeros((H, W), bool), "px", "")
    assert np.isnan(one.mean)
    assert set(one.colorize().get_flattened_data()) == {GREY}


@pytest.mark.parametrize("width", [9, 700])
def test_the_picture_has_a_legend_below(width: int) -> None:
    values = np.tile(np.linspace(0, 5, width), (40, 1))
    one = ConsistencyMap.of("normal_depth", values, np.ones_like(values, bool), "deg", "")
    picture = np.asarray(one.picture(value_range=(0, 5)))
    assert picture.shape[1] == max(width, 280)
    legend = picture[40:]
    text_px = max(12, picture.shape[1] // 45)
    bar = text_px // 2 + round(1.4 * text_px) + 2
    ends = legend[bar, [text_px // 2, picture.shape[1] - text_px // 2 - 1]]
    assert [tuple(end) for end in ends.tolist()] == [BLACK, YELLOW]
    dark = (legend < 60).all(axis=2).sum(axis=1)
    assert dark[: bar - 4].any(), "the title"
    assert dark[bar + text_px + 4 :].any(), "the numbers"


def test_files(tmp_path: Path) -> None:
    one = ramp()
    png, npz = one.save(tmp_path / "a" / "x.png"), one.save(str(tmp_path / "a" / "x.npz"))
    with Image.open(png) as picture:
        assert picture.size == one.picture().size
    again = read_consistency_map(npz)
    np.testing.assert_array_equal(again.values, one.values)
    np.testing.assert_array_equal(again.valid, one.valid)
    assert (again.name, again.unit, again.convention) == (one.name, one.unit, one.convention)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["x.npz", "x.png"]
    with pytest.raises(FileNotFoundError, match=r"neither maps\.json nor"):
        read_predictions(tmp_path / "a")  # it is not taken for a prediction


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"values and valid must be .H, W., got .6, 9. and .3, 9."):
        ramp(valid=np.ones((3, W), bool))
    with pytest.raises(ValueError, match=r"cannot write 'x.exr': the suffix must be .png or .npz"):
        ramp().save(tmp_path / "x.exr")
    with pytest.raises(ValueError, match="value_range must be two finite numbers"):
        ramp().colorize(value_range=(1, 1))
    with pytest.raises(FileNotFoundError, match="no file"):
        read_consistency_map(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", values=np.ones(3))
    with pytest.raises(ValueError, match="no consistency map written by save"):
        read_consistency_map(tmp_path / "other.npz")
