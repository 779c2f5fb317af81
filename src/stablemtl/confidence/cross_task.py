"""Maps of different tasks, predicted of one scene, held against each other at every pixel.

=================== ========= ================================================================================
``normal_depth``    deg       angle between normals and those of the surface that depth describes
``flow_scene_flow`` px        optical flow against that which follows from depth and scene flow
``albedo_shading``  of white  image against albedo x shading, in linear colours, up to one scale
``flow_image``      of white  colour of a pixel against that of the place its flow leads to, in sRGB
=================== ========= ================================================================================

What cannot be computed is left out, with the reason: a relative depth has no surface, a relative flow no
length.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablemtl.camera import Camera
from stablemtl.confidence.agreement import angle_deg, colour_change, induced_flow, scaled_residual, surface
from stablemtl.confidence.maps import ConsistencyMap
from stablemtl.conversions import normals_in, srgb_to_linear
from stablemtl.frames import Frame, FrameSource
from stablemtl.images import processing_size, read_pixels, to_tensor
from stablemtl.outputs import LARGER_IS_NEARER, Prediction

logger = logging.getLogger(__name__)

_WHITE = "of white"


class CrossTask(dict[str, ConsistencyMap]):
    """Name of the check -> map, in the order of ``CHECKS``, with what was left out."""

    def __init__(self, maps: Mapping[str, ConsistencyMap], left_out: Mapping[str, str]) -> None:
        """``left_out``: name of the check -> why it cannot be computed."""
        super().__init__(maps)
        self.left_out = dict(left_out)


class _CannotSayError(Exception):
    """A check that these maps do not allow, and why."""


@dataclass(frozen=True)
class _Scene:
    """All that checks look at."""

    maps: Mapping[str, Prediction]
    image: FrameSource | None
    image_next: FrameSource | None
    camera: Camera | None


def cross_task(
    predictions: Mapping[str, Prediction],
    image: FrameSource | None,
    image_next: FrameSource | None = None,
    *,
    camera: Camera | None = None,
) -> CrossTask:
    """All the checks that the maps allow.

    Maps that were enlarged from a smaller processing size show that size's grid in ``normal_depth``; predict
    with ``match_input_resolution=False`` to compare them where they were computed.

    Args:
        predictions: task -> map, all of one size.
        image: that they were predicted from; of another size, it is resized. ``None`` leaves out the checks
            that look at it.
        image_next: the second frame of motion.
        camera: for pictures of any size with the aspect of the maps, the same for both frames. Without it, 60
            degrees along the longer side are assumed, and the maps say so. A wrong camera tilts the surface
            and bends the flow.
    Returns:
        A dict of maps, low where they agree; its ``left_out`` has the reason for every other check.
    Raises:
        FileNotFoundError: no such image file.
        ValueError: an image that cannot be read, or an image or a camera of another aspect than the maps.
    """
    scene = _Scene(predictions, image, image_next, camera)
    found, left_out = {}, {}
    for name, check in CHECKS.items():
        try:
            values, valid, unit, convention = check(scene)
        except _CannotSayError as reason:
            left_out[name] = str(reason)
            logger.info("consistency of %s left out: %s", name, reason)
            continue
        found[name] = ConsistencyMap.of(name, values, valid, unit, convention)
    return CrossTask(found, left_out)


_Found = tuple[NDArray[np.float64], NDArray[np.bool_], str, str]  # values, valid, unit, convention


def _normal_depth(scene: _Scene) -> _Found:
    normal, depth = _maps(scene, "normal", "depth")
    _check_depth(depth)
    if not depth.shift_known:
        raise _CannotSayError(
            "depth is known up to an added constant only: the slope of a surface is unknown"
        )
    camera, told = _camera(scene, depth.size)
    towards = normals_in(normal, "opencv", outward=False)
    slopes, smooth = surface(depth.values, depth.valid, camera)
    convention = (
        "angle between normal and the normal of the surface that depth describes [deg], where depth has no "
        f"border; {told}."
    )
    return angle_deg(towards.values, slopes), normal.valid & smooth, "deg", convention


def _flow_scene_flow(scene: _Scene) -> _Found:
    flow, motion, depth = _maps(scene, "optical_flow", "scene_flow", "depth")
    _check_moving(flow)
    _check_depth(depth)
    for one in (depth, motion):
        if not (one.unit == "m" and one.scale_known and one.shift_known):
            raise _CannotSayError(f"{one.task} is relative, and must be in metres")
    _check_px(flow)
    camera, told = _camera(scene, depth.size)
    induced, visible = induced_flow(depth.values, motion.values, camera)
    apart = np.linalg.norm(induced - flow.values, axis=-1)
    convention = (
        "length of the difference between optical flow and the flow that follows from depth and scene flow "
        f"[px]; one camera for both frames, {told}."
    )
    return apart, flow.valid & motion.valid & depth.valid & visible, "px", convention


def _albedo_shading(scene: _Scene) -> _Found:
    albedo, shading = _maps(scene, "albedo", "shading")
    linear = srgb_to_linear(_pixels(scene.image, "image", albedo.size))
    product = albedo.values * shading.values[:, :, None]
    valid = albedo.valid & shading.valid
    convention = (
        "root mean square over R, G and B of image - s x albedo x shading, linear, 1 for white, with the "
        "least-squares scale s."
    )
    return scaled_residual(product, linear, valid), valid, _WHITE, convention


def _flow_image(scene: _Scene) -> _Found:
    (flow,) = _maps(scene, "optical_flow")
    _check_moving(flow)
    _check_px(flow)
    pictures = [
        _pixels(source, name, flow.size)
        for name, source in (("image", scene.image), ("image_next", scene.image_next))
    ]
    change, inside = colour_change(pictures[0], pictures[1], flow.values)
    convention = (
        "mean absolute difference over R, G and B, sRGB, 1 for white, between a pixel and the place in the "
        "second frame that its flow leads to; also large where that is hidden or lit differently."
    )
    return change, flow.valid & inside, _WHITE, convention


CHECKS: dict[str, Callable[[_Scene], _Found]] = {
    "normal_depth": _normal_depth,
    "flow_scene_flow": _flow_scene_flow,
    "albedo_shading": _albedo_shading,
    "flow_image": _flow_image,
}
"""The checks by name."""


def _maps(scene: _Scene, *tasks: str) -> list[Prediction]:
    missing = [task for task in tasks if task not in scene.maps]
    if missing:
        raise _CannotSayError(f"{' and '.join(missing)} not predicted")
    found = [scene.maps[task] for task in tasks]
    sizes = {one.size for one in found}
    if len(sizes) > 1:
        told = ", ".join(f"{one.task} {one.size}" for one in found)
        raise ValueError(f"predictions must have one size (height, width), got {told}.")
    return found


def _check_depth(depth: Prediction) -> None:
    if LARGER_IS_NEARER in depth.convention:
        raise _CannotSayError("depth is a disparity; convert it with disparity_to_depth")


def _check_moving(flow: Prediction) -> None:
    from stablemtl.pipeline import ONE_FRAME_NOTE

    if ONE_FRAME_NOTE in flow.note:
        raise _CannotSayError("one frame given, which shows no motion")


def _check_px(flow: Prediction) -> None:
    if not flow.is_flow_in_px:
        raise _CannotSayError("optical_flow is relative, and must be in px")


def _pixels(source: FrameSource | None, name: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 3) in [0, 1], sRGB, at the size of the maps."""
    if source is None:
        raise _CannotSayError(f"{name} not given")
    if isinstance(source, Frame):
        raise _CannotSayError(f"{name} was encoded before; give the image itself")
    pixels = read_pixels(source, name=name)
    _check_aspect(name, (pixels.shape[0], pixels.shape[1]), size)
    return to_tensor(pixels, size).permute(1, 2, 0).numpy()


def _camera(scene: _Scene, size: tuple[int, int]) -> tuple[Camera, str]:
    """The camera for maps of that size, and what to say of it."""
    if scene.camera is not None:
        _check_aspect("camera", scene.camera.size, size)
    camera = scene.camera.resized(size) if scene.camera else Camera.from_field_of_view(size, assumed=True)
    vertical, horizontal = camera.field_of_view_deg
    known = "ASSUMED" if camera.assumed else "given"
    return camera, f"field of view {horizontal:.3g} x {vertical:.3g} deg (horizontal x vertical), {known}"


def _check_aspect(name: str, given: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse what is no resized copy, give or take the pixel that rounding takes."""
    expected = processing_size(given, max(size))
    if max(abs(expected[0] - size[0]), abs(expected[1] - size[1])) > 1:
        raise ValueError(f"{name} is for (height, width) {given}, the maps have {size}: another aspect.")
