"""The point cloud of a depth map, as the page's 3D view shows it.

Letters: N points.
"""

from __future__ import annotations

import json
import struct
from math import ceil, sqrt
from pathlib import Path

import numpy as np

from stablemtl.app.prediction import Result
from stablemtl.conversions import srgb_to_linear
from stablemtl.point_cloud import point_cloud, why_no_cloud
from stablemtl.writers import staged_file

_FLOAT, _USHORT = 5126, 5123  # number types of glTF
_POINTS = 0  # glTF's way of drawing: points

_SHOWN_POINTS = 400_000  # 8 MB
_FAR = 4.0  # medians of depth; what lies beyond would make the rest small
_JUMP = 0.05


def draw_cloud(result: Result, path: Path) -> str:
    """Write the cloud that the page shows; one fit for other programs is in the zip file.

    Args:
        result: with a map of depth.
        path: the file, ``.glb``.
    Returns:
        What to know about it.
    Raises:
        ValueError: no depth was predicted, or none that gives points.
    """
    reasons = {task: why_no_cloud(prediction) for task, prediction in result.predictions.items()}
    task = next((task for task, reason in reasons.items() if not reason), None)
    if task is None:
        reason = reasons.get("depth", "depth was not predicted; choose it and predict again")
        raise ValueError(f"There is no 3D view: {reason}.")
    depth = result.predictions[task]
    stride = max(1, ceil(sqrt(depth.values.size / _SHOWN_POINTS)))
    cloud = point_cloud(depth, result.picture.pixels, stride=stride, max_jump=_JUMP)
    if not len(cloud):
        raise ValueError("There is no 3D view: no pixel has a depth.")
    near = cloud.points[:, 2] <= _FAR * float(np.median(cloud.points[:, 2]))
    write_glb(path, cloud.points[near], cloud.colors[near])
    unit = "metres" if cloud.unit == "m" else "an unknown unit"
    field = max(cloud.camera.field_of_view_deg)
    return (
        f"{int(near.sum()):,} points in {unit}. The camera is assumed to see {field:.0f} degrees along the "
        "longer side. Pixels at the edges of things, and what is far behind the rest, are left out here."
    )


def write_glb(path: Path, points: np.ndarray, colors: np.ndarray) -> None:
    """Points as binary glTF 2.0, lit by nothing but their colours.

    Args:
        path: the file, ``.glb``.
        points: (N, 3) float32 in camera axes, x right, y down, z forward; glTF has y up and looks along -z.
        colors: (N, 3) uint8, sRGB; glTF holds linear ones.
    Raises:
        ValueError: no points, or shapes that disagree.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.shape != colors.shape or not len(points):
        raise ValueError(f"points and colors must be (N, 3), N > 0; got {points.shape} and {colors.shape}.")
    places = np.ascontiguousarray(points * np.array([1, -1, -1]), dtype="<f4")
    linear = srgb_to_linear((colors / 255).astype(np.float32))
    shades = np.full((len(points), 4), 65535, dtype="<u2")
    shades[:, :3] = np.rint(linear * 65535)
    body = places.tobytes() + shades.tobytes()  # 12 and 8 bytes a point: aligned as glTF wants it
    facts = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": _POINTS, "material": 0}]}
        ],
        "materials": [{"extensions": {"KHR_materials_unlit": {}}}],
        "extensionsUsed": ["KHR_materials_unlit"],
        "buffers": [{"byteLength": len(body)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": places.nbytes},
            {"buffer": 0, "byteOffset": places.nbytes, "byteLength": shades.nbytes},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(points),
                "type": "VEC3",
                "min": places.min(0).tolist(),
                "max": places.max(0).tolist(),
            },
            {
                "bufferView": 1,
                "componentType": _USHORT,
                "normalized": True,
                "count": len(points),
                "type": "VEC4",
            },
        ],
    }
    text = json.dumps(facts, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    with staged_file(path) as beside:
        beside.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
