"""Motion of textures that were shifted by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from stablemtl.video.motion import (
    LONGEST_PX,
    enlarged,
    follow,
    grey_of,
    motion_between,
    motion_size,
    thinned,
)
from stablemtl.video.smoothing import CUT_AGREEMENT

H, W = 60, 90


def texture(seed: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]


def test_a_shift_is_found_both_ways() -> None:
    large = texture(0, (H, W + 10))
    motion = motion_between(large[:, 4 : 4 + W], large[:, :W])  # everything moves 4 px to the right
    inner = np.s_[8:-8, 12:-12]
    np.testing.assert_allclose(motion.forward[inner][..., 0], 4.0, atol=0.3)
    np.testing.assert_allclose(motion.forward[inner][..., 1], 0.0, atol=0.3)
    np.testing.assert_allclose(motion.backward[inner][..., 0], -4.0, atol=0.3)
    assert motion.agree_forward[inner].mean() > 0.95
    assert not motion.agree_forward[:, -3:].any()  # they have left the picture
    assert not motion.agree_backward[:, :3].any()
    assert motion.agreement > 0.8


def test_two_scenes_do_not_agree() -> None:
    coffee, face = (
        cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (270, 180), interpolation=cv2.INTER_AREA)
        for photo in (skimage.data.coffee(), skimage.data.astronaut())
    )
    assert motion_between(coffee, face).agreement < CUT_AGREEMENT / 2
    assert motion_between(face, face).agreement == 1.0


@pytest.mark.parametrize("size", [(8, 8), (9, 40), (60, 90)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    motion = motion_between(texture(0, size), texture(0, size))
    assert motion.forward.shape == (*size, 2)
    np.testing.assert_allclose(motion.forward, 0.0, atol=0.05)


def test_follow_by_hand() -> None:
    """Moved by half a pixel to the left, then a pixel down; outside, the edge."""
    maps = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = -0.5
    np.testing.assert_allclose(follow(maps, flow)[0, :, 0], [0.0, 0.5, 1.5, 2.5])
    flow[..., 0], flow[..., 1] = 0.0, 1.0
    np.testing.assert_allclose(follow(maps, flow)[:, 0, 0], [4.0, 8.0, 8.0])
    flow[..., 0], flow[..., 1] = 0.6, 0.0
    np.testing.assert_allclose(follow(maps, flow, nearest=True)[0, :, 0], [1.0, 2.0, 3.0, 3.0])


def test_follow_takes_any_number_of_channels() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 7, 9)).astype(np.float32)
    assert follow(maps, np.zeros((5, 7, 2), np.float32)).tolist() == maps.tolist()


def test_flow_of_a_smaller_size_is_enlarged() -> None:
    maps = np.arange(20, dtype=np.float32)[None, :, None].repeat(10, axis=0)
    flow = np.zeros((5, 10, 2), np.float32)
    flow[..., 0] = 1.0  # of 10 px: 2 of 20
    np.testing.assert_allclose(follow(maps, flow)[0, :5, 0], [2.0, 3.0, 4.0, 5.0, 6.0])


def test_sizes() -> None:
    assert motion_size((180, 320)) == (180, 320)
    assert motion_size((1080, 1920)) == (288, LONGEST_PX)
    assert motion_size((4000, 8)) == (LONGEST_PX, 1)
    frame = np.zeros((90, 200, 3), np.uint8)
    assert grey_of(frame, (30, 50)).shape == (30, 50)
    maps = np.arange(32).reshape(4, 8, 1)
    np.testing.assert_array_equal(thinned(maps, (2, 4))[..., 0], [[9, 11, 13, 15], [25, 27, 29, 31]])
    assert thinned(maps, (4, 8)) is maps
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(enlarged(mask, (2, 4))[..., 0], [[1, 1, 0, 0], [1, 1, 0, 0]])
