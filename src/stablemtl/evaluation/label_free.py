"""Checks that need no labels: maps of one scene must agree with each other, and with the pictures.

========================== ====== =====================================================================
flow, forward and backward px     following the flow there and back leads to where one was
flow, colours              1      a pixel and the place that its flow leads to have the same colour
albedo x shading           1      up to one scale, they multiply to the picture, in linear colours
normals and depth          deg    normals are those of the surface that the depth describes
========================== ====== =====================================================================

Each check has a reference: what it would give with no motion, with the best single grey, or with a wall that
faces the camera. A low figure does not prove that maps are right (no motion at all agrees with itself); a
high one proves that one of them is wrong. Per pixel, as maps: :mod:`stablemtl.confidence`.

Letters: H, W height and width of picture and maps; C channels.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.camera import FIELD_OF_VIEW_DEG, Camera
from stablemtl.confidence.agreement import angle_deg, colour_change, follow, scaled_residual, surface
from stablemtl.conversions import srgb_to_linear
from stablemtl.outputs import Prediction

__all__ = [
    "FIELD_OF_VIEW_DEG",
    "Check",
    "forward_backward",
    "intrinsics",
    "normals_and_depth",
    "photometric",
]

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one check found."""

    name: str
    value: float
    """Mean error; nan where no pixel could be checked."""
    reference: float
    """The same error of something trivial, see this file's head."""
    unit: str
    pixels: int
    """How many the mean is over."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a figure that is not finite becomes None."""
        content = asdict(self)
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in content.items()
        }


def forward_backward(forward: Prediction, backward: Prediction) -> Check:
    r"""Mean length of :math:`f(p) + b(p + f(p))` over the pixels whose flow stays in the picture [px].

    Source: Sundaram et al., ECCV 2010, doi:10.1007/978-3-642-15549-9_32, eq. 5. Nothing is left out as
    occluded, where the two may differ.

    Args:
        forward: flow [px] from the first picture to the second.
        backward: flow [px] from the second picture to the first, of the same size.
    Returns:
        The reference is the mean length of ``forward``: what a backward flow of zero would give.
    Raises:
        ValueError: a flow is not in px, or the sizes differ.
    """
    there, back = _flow(forward, "forward"), _flow(backward, "backward")
    _same_size(forward=there, backward=back)
    returned, inside = follow(back, there)
    inside &= forward.valid
    gap = np.linalg.norm(there + returned, axis=-1)
    length = np.linalg.norm(there, axis=-1)
    return _check("flow, forward and backward", gap, length, inside, "px")


def photometric(image: NDArray[Any], image_next: NDArray[Any], flow: Prediction) -> Check:
    """Mean absolute difference of colours in [0, 1] between pixels and where their flow leads.

    Over the pixels whose flow stays in the picture; nothing is left out as occluded, or as lit differently.

    Args:
        image, image_next: (H, W, 3) in [0, 1].
        flow: from the first to the second [px].
    Returns:
        The reference is the difference without motion, over the same pixels.
    Raises:
        ValueError: the flow is not in px, or the sizes differ.
    """
    there = _flow(flow, "flow")
    first, second = np.asarray(image, np.float64), np.asarray(image_next, np.float64)
    _same_size(flow=there, image=first, image_next=second)
    difference, inside = colour_change(first, second, there)
    inside &= flow.valid
    still = np.abs(second - first).mean(axis=-1)
    return _check("flow, colours", difference, still, inside, "in [0, 1]")


def intrinsics(image: NDArray[Any], albedo: Prediction, shading: Prediction) -> Check:
    """Root mean square of image - s x albedo x shading, in linear colours in [0, 1], with the best scale s.

    Args:
        image: (H, W, 3) in [0, 1], sRGB.
        albedo: (H, W, 3), linear.
        shading: (H, W), linear.
    Returns:
        The reference is the residual of one grey, with the best scale as well.
    Raises:
        ValueError: the sizes or channels are others.
    """
    linear = srgb_to_linear(np.asarray(image, np.float32)).astype(np.float64)
    colour, light = albedo.values.astype(np.float64), shading.values.astype(np.float64)
    if colour.ndim != 3 or colour.shape[-1] != 3 or light.ndim != 2:
        raise ValueError(
            f"albedo must be (H, W, 3) and shading (H, W), got {colour.shape} and {light.shape}."
        )
    _same_size(image=linear, albedo=colour, shading=light)
    valid = albedo.valid & shading.valid
    residuals = (
        scaled_residual(values, linear, valid)[valid]
        for values in (colour * light[:, :, None], np.ones_like(colour))
    )
    value, reference = (float(np.sqrt((r**2).mean())) if r.size else math.nan for r in residuals)
    return Check(
        name="albedo x shading",
        value=value,
        reference=reference,
        unit="in [0, 1]",
        pixels=int(valid.sum()),
    )


def normals_and_depth(
    normal: Prediction, depth: Prediction, *, field_of_view_deg: float = FIELD_OF_VIEW_DEG
) -> Check:
    """Mean angle between normals and the normals of the surface that the depth describes [deg].

    Where the surface is smooth: borders of objects have no normal, and are left out where depth changes by
    more than a tenth from one pixel to the next.

    Args:
        normal: (H, W, 3), away from the camera, x right, y down, z forward.
        depth: (H, W), planar; its scale does not matter, its zero does.
        field_of_view_deg: of the longer side, with the principal point in the middle.
    Returns:
        The reference is the angle to a wall that faces the camera, (0, 0, 1), from the normals of the depth.
    Raises:
        ValueError: depth is known up to an added constant only, the sizes differ, or no lens has that angle.
    """
    if not depth.shift_known:
        raise ValueError("depth is known up to an added constant only: the slope of a surface is unknown.")
    if not 0 < field_of_view_deg < 180:
        raise ValueError(f"field_of_view_deg must be between 0 and 180, got {field_of_view_deg}.")
    vectors, z = normal.values.astype(np.float64), depth.values.astype(np.float64)
    _same_size(normal=vectors, depth=z)
    slopes, smooth = surface(z, depth.valid, Camera.from_field_of_view(depth.size, field_of_view_deg))
    smooth &= normal.valid
    angle, facing = angle_deg(vectors, slopes), angle_deg(np.array([0.0, 0.0, 1.0]), slopes)
    return _check("normals and depth", angle, facing, smooth, "deg")


def _check(name: str, errors: Float, reference: Float, where: NDArray[np.bool_], unit: str) -> Check:
    count = int(where.sum())
    mean = (float(errors[where].mean()), float(reference[where].mean())) if count else (math.nan, math.nan)
    return Check(name=name, value=mean[0], reference=mean[1], unit=unit, pixels=count)


def _flow(prediction: Prediction, name: str) -> Float:
    if not prediction.is_flow_in_px:
        raise ValueError(
            f"{name} must be motion in px, (H, W, 2), got {prediction.values.shape} in "
            f"{prediction.unit or 'no unit'!r}. Models with the encoding per_image do not know its scale."
        )
    return prediction.values.astype(np.float64)


def _same_size(**maps: Float) -> None:
    sizes = {name: values.shape[:2] for name, values in maps.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size[0]}x{size[1]}" for name, size in sizes.items())
        raise ValueError(f"maps and pictures must have one size (height x width), got {told}.")
