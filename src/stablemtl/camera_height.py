"""The scale of a map of depth, from the height of the camera above flat ground.

H, W: size of the map [px]; M: pixels of the ground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stablemtl.metric_scale import ScaleFit, require_depth
from stablemtl.outputs import Prediction

if TYPE_CHECKING:
    from stablemtl.camera import Camera

Float64 = NDArray[np.float64]

_LOWER_PART = 0.4  # of the rows, where the ground is looked for
_SEED, _DRAWS, _PIXELS, _LEAST_PIXELS = 0, 300, 20_000, 50
_STEEPEST_DEG = 60.0  # between the ground's normal and the camera's y axis
_WORST_RESIDUAL = 0.2


def scale_from_camera_height(
    depth: Prediction,
    height_m: float,
    camera: Camera,
    *,
    ground: NDArray[np.bool_] | None = None,
) -> ScaleFit:
    r"""Scale from the height of the camera above flat ground.

    On a plane with unit normal n at distance h, the depth of the pixel with ray
    :math:`r = ((u - c_x) / f_x, (v - c_y) / f_y, 1)` satisfies :math:`z \, p \cdot r = 1` with
    :math:`p = n / h`. p is the candidate, of planes through three pixels, with the least median of
    :math:`|z \, p \cdot r - 1|`; then least squares over the pixels that agree with it. Almost half of the
    pixels may be of something else. The camera may be tilted: the height is measured at right angles to
    the ground.

    Source: Rousseeuw, J. Am. Stat. Assoc. 1984, doi:10.1080/01621459.1984.10477105 (least median of squares).

    Args:
        depth: a map of depth that knows its zero.
        height_m: of the camera above the ground [m].
        camera: its intrinsics, for the size of the map.
        ground: where the ground is seen, bool (H, W), for example ``maps["semantic"].values == 0`` (road);
            the lower 40 % of the rows by default.
    Raises:
        ValueError: not depth, its zero is unknown, a wrong size or height, or no plane that lies below the
            camera and that most pixels agree with.
    """
    require_depth(depth)
    if not depth.shift_known:
        raise ValueError(
            "the camera's height gives a scale, but this depth has an unknown shift too. "
            "Give two points of known depth: scale_from_points."
        )
    if not 0 < height_m < np.inf:
        raise ValueError(f"height_m must be above 0, got {height_m}.")
    if camera.size != depth.size:
        raise ValueError(f"camera is for (height, width) {camera.size}, depth has {depth.size}.")
    rows, columns = _ground_pixels(depth, ground)
    given = len(rows)
    if given > _PIXELS:
        chosen = np.random.default_rng(_SEED).choice(given, _PIXELS, replace=False)
        rows, columns = rows[chosen], columns[chosen]
    z = depth.values[rows, columns].astype(np.float64)
    scaled_rays = camera.rays(rows, columns) * z[:, None]  # (M, 3): points of the map
    plane = _least_median_plane(scaled_rays)
    for _ in range(5):  # settles in two or three
        distance = np.abs(scaled_rays @ plane - 1)
        agreeing = distance <= max(2.5 * 1.4826 * float(np.median(distance)), 1e-6)
        plane[:] = np.linalg.lstsq(scaled_rays[agreeing], np.ones(int(agreeing.sum())), rcond=None)[0]
    # Noise makes least squares lean to a small p; the median is right again.
    plane = plane / float(np.median(scaled_rays[agreeing] @ plane))
    residual = float(np.median(np.abs(scaled_rays @ plane - 1)))
    if residual > _WORST_RESIDUAL:
        raise ValueError(
            f"no flat ground found: half of the pixels are more than {residual:.0%} off the best plane. "
            "Give ground=, a mask of where the ground is seen."
        )
    normal = plane / np.linalg.norm(plane)
    tilt_deg = float(np.degrees(np.arccos(np.clip(normal[1], -1.0, 1.0))))
    if tilt_deg > _STEEPEST_DEG:
        raise ValueError(
            f"most of these pixels lie on a plane that is {tilt_deg:.0f} degrees from lying below the "
            "camera: no ground. Give ground=, a mask of where the ground is seen."
        )
    scale = height_m * float(np.linalg.norm(plane))
    return ScaleFit(
        scale=scale,
        shift=0.0,
        residual_m=residual * height_m,
        count=int(agreeing.sum()),
        given=given,
        ground_normal=(float(normal[0]), float(normal[1]), float(normal[2])),
    )


def _least_median_plane(points: Float64) -> Float64:
    """The p of the plane p . x = 1 through three of the points (M, 3) that half of them are nearest to."""
    generator = np.random.default_rng(_SEED)
    some = points[generator.choice(len(points), min(len(points), 2000), replace=False)]
    triples = points[generator.integers(0, len(points), (_DRAWS, 3))]  # (draws, 3 points, 3)
    volume = np.abs(np.linalg.det(triples))
    triples = triples[volume > 1e-9 * np.linalg.norm(triples, axis=2).prod(axis=1)]
    planes = np.linalg.solve(triples, np.ones((len(triples), 3, 1)))[:, :, 0]  # (draws, 3)
    if not len(planes):
        raise ValueError("the pixels of the ground lie on one line. Give ground=, a mask with more of it.")
    distances = np.median(np.abs(some @ planes.T - 1), axis=0)  # (draws,)
    best: Float64 = planes[int(np.argmin(distances))]
    return best


def _ground_pixels(
    depth: Prediction, ground: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    usable = depth.valid & (depth.values > 0)
    if ground is None:
        usable = usable.copy()
        usable[: round(depth.size[0] * (1 - _LOWER_PART))] = False
    elif ground.shape != depth.size or ground.dtype != bool:
        raise ValueError(f"ground must be bool {depth.size}, got {ground.dtype} {ground.shape}.")
    else:
        usable = usable & ground
    rows, columns = np.nonzero(usable)
    if len(rows) < _LEAST_PIXELS:
        raise ValueError(f"the ground needs at least {_LEAST_PIXELS} valid pixels, got {len(rows)}.")
    return rows, columns
