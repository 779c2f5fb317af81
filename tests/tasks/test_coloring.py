"""Colour helpers."""

from __future__ import annotations

import colorsys

import pytest
import torch

from stablemtl.tasks.coloring import flow_colors, flow_wheel, hsv_to_rgb, spectral, stretch


def test_flow_wheel_has_the_middlebury_colours() -> None:
    wheel = flow_wheel()
    assert wheel.shape == (55, 3)
    corners = {0: (1, 0, 0), 15: (1, 1, 0), 21: (0, 1, 0), 25: (0, 1, 1), 36: (0, 0, 1), 49: (1, 0, 1)}
    for row, color in corners.items():
        assert tuple(wheel[row].tolist()) == color
    assert wheel[3].tolist() == pytest.approx([1, 3 / 15, 0])


def test_flow_colors_by_hand() -> None:
    # right: red; none: white; half of it: pale red; left: half way round (between cyan and blue)
    flow = torch.tensor([[[4.0, 0.0, 2.0, -4.0]], [[0.0, 0.0, 0.0, 0.0]]])[None]
    colors = flow_colors(flow)[0, :, 0].T
    assert colors[0].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert colors[1].tolist() == [1, 1, 1]
    assert colors[2].tolist() == pytest.approx([1, 0.5, 0.5], abs=1e-6)
    assert colors[3].tolist() == pytest.approx([0, 1 - 2 / 11, 1], abs=1e-5)  # row 27 of 54


def test_flow_colors_scale_each_image_by_itself() -> None:
    flow = torch.randn(1, 2, 5, 7)
    together = flow_colors(torch.cat([flow, 10 * flow]))
    torch.testing.assert_close(together[0], together[1])


def test_hsv_agrees_with_the_standard_library() -> None:
    hsv = torch.rand(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rgb = hsv_to_rgb(*hsv.view(3, 1, 1, 5, 10))
    assert rgb.shape == (1, 3, 5, 10)
    for (h, s, v), color in zip(hsv.T.tolist(), rgb[0].flatten(1).T.tolist(), strict=True):
        assert color == pytest.approx(colorsys.hsv_to_rgb(h, s, v))


def test_stretch_looks_at_usable_pixels_only() -> None:
    maps = torch.tensor([2.0, 3.0, 4.0, 100.0]).view(1, 1, 1, 4)
    usable = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
    assert stretch(maps, usable).flatten().tolist() == [0, 0.5, 1, 0]
    assert stretch(torch.full_like(maps, 3.0), usable).flatten().tolist() == [0, 0, 0, 0]
    assert stretch(maps, torch.zeros_like(usable)).flatten().tolist() == [0, 0, 0, 0]


def test_spectral_runs_from_red_to_blue() -> None:
    near, far = spectral(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))[0, :, 0].T
    assert near.argmax() == 0
    assert far.argmax() == 2
