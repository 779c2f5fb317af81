"""Rendering of a scene with Mitsuba 3: noisy colour, exact labels.

Colour and albedo are averages over the pixel. Positions, normals and object numbers come from one ray
through each pixel's centre, because averages are wrong at the borders of objects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablemtl.synth.denoise import smooth_irradiance
from stablemtl.synth.frames import Frame
from stablemtl.synth.scenes import Array, Scene, SceneObject, intrinsics
from stablemtl.synth.shapes import join, moved

_BRIGHTEST = 1000.0  # linear radiance above this is clipped: lamps would overflow half floats
_CODE = np.arange(256) / 255
_LINEAR = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)
_FAR_CLIP_M = 2e4
_SUPERSAMPLING = 3  # rays per pixel and axis for the albedo; odd, so that one goes through the centre


def require_mitsuba(threads: int | None = None) -> Any:
    """The ``mitsuba`` module in its scalar variant, optionally limited to a number of threads.

    Raises:
        ImportError: Mitsuba is not installed; the message names the extra.
    """
    try:
        import drjit
        import mitsuba
    except ImportError as error:
        raise ImportError("rendering needs Mitsuba 3: pip install 'stablemtl[synth]'") from error
    if mitsuba.variant() != "scalar_rgb":
        mitsuba.set_variant("scalar_rgb")
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
    if threads is not None:
        drjit.set_thread_count(threads)
    return mitsuba


def render(
    scene: Scene, size: tuple[int, int], samples: int = 16, seed: int = 0, colour: bool = True
) -> list[Frame]:
    """All instants of a scene, one frame each.

    Args:
        scene: what to render.
        size: (height, width) of the images [px].
        samples: rays per pixel of the colour images.
        seed: of the renderer's random numbers; the result does not depend on the number of threads.
        colour: ``False`` leaves the colour black, for labels alone.
    Raises:
        ImportError: Mitsuba is not installed.
    """
    bsdfs = _bsdfs(require_mitsuba(), scene.objects) if colour else []
    frames = []
    for instant in range(len(scene.cameras)):
        seen = look(scene, instant, size)
        if colour:
            seen = paint(scene, instant, seen, samples, seed * 64 + instant, bsdfs)
        frames.append(seen)
    return frames


def paint(
    scene: Scene,
    instant: int,
    seen: Frame,
    samples: int = 16,
    seed: int = 0,
    bsdfs: list[Any] | None = None,
) -> Frame:
    """The frame with its colour under the lights of the scene.

    Args:
        scene: what to render.
        instant: number of the frame.
        seen: its labels, from ``look``; they stay the same under other lights.
        samples: rays per pixel.
        seed: of the renderer's random numbers.
        bsdfs: materials of the objects, if they have been made already.
    """
    mi = require_mitsuba()
    size = (seen.index.shape[0], seen.index.shape[1])
    materials = _bsdfs(mi, scene.objects) if bsdfs is None else bsdfs
    shapes = {
        f"object{i:04d}": _shape(mi, item, item.pose(instant), bsdf)
        for i, (item, bsdf) in enumerate(zip(scene.objects, materials, strict=True))
    }
    world = mi.load_dict({"type": "scene", **_emitters(mi, scene), **shapes})
    sampler = {"type": "independent", "sample_count": samples}
    sensor = _sensor(mi, seen.camera, scene.focal_ratio, size, sampler)
    raw = _render(mi, world, sensor, {"type": "path", "max_depth": 3}, seed)
    raw = np.clip(np.nan_to_num(raw, nan=0.0, posinf=_BRIGHTEST, neginf=0.0), 0, _BRIGHTEST)
    return replace(seen, colour=smooth_irradiance(raw, seen.albedo, seen.normal, seen.depth))


def look(scene: Scene, instant: int, size: tuple[int, int]) -> Frame:
    """Labels of one instant, without colour.

    All objects become one mesh, whose triangles tell the object. One ray goes through the centre of each of
    the 3x3 parts of a pixel: the central one gives position, normal and object, all nine give the albedo.
    """
    mi = require_mitsuba()
    camera, parts = scene.cameras[instant], _SUPERSAMPLING
    meshes = [moved(item.mesh, item.pose(instant)) for item in scene.objects]
    owner = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
    everything = SceneObject(
        mesh=join(*meshes), poses=(np.eye(4),), texture=np.full((1, 1, 3), 128, np.uint8)
    )
    matt = mi.load_dict({"type": "twosided", "bsdf": {"type": "diffuse"}})
    world = mi.load_dict({"type": "scene", "all": _shape(mi, everything, np.eye(4), matt)})
    fine = (size[0] * parts, size[1] * parts)
    sensor = _sensor(
        mi, camera, scene.focal_ratio, fine, {"type": "stratified", "sample_count": 1, "jitter": False}
    )
    wanted = {"type": "aov", "aovs": "pp:position,nn:sh_normal,tt:prim_index,uu:uv"}
    values = _render(mi, world, sensor, wanted, 0)  # (3 H, 3 W, 3 + 3 + 1 + 2)
    hit = np.linalg.norm(values[..., 3:6], axis=-1) > 0.5
    index = np.where(hit, owner[np.clip(np.rint(values[..., 6]).astype(int), 0, len(owner) - 1)], -1)
    albedo = _reflectance(scene.objects, index, values[..., 7:9])
    albedo = albedo.reshape(size[0], parts, size[1], parts, 3).mean((1, 3))
    centre = (slice(parts // 2, None, parts), slice(parts // 2, None, parts))
    values, hit, index = values[centre], hit[centre], index[centre]
    position, normal = values[..., :3], values[..., 3:6]
    away = np.sum(normal * (camera[:3, 3] - position), -1, keepdims=True) < 0
    normal = np.where(away, -normal, normal)
    return Frame(
        colour=np.zeros((*size, 3), np.float32),
        albedo=albedo.astype(np.float32),
        position=np.where(hit[..., None], position, 0).astype(np.float32),
        normal=np.where(hit[..., None], normal, 0).astype(np.float32),
        index=index,
        camera=camera,
        intrinsics=intrinsics(scene.focal_ratio, size),
    )


def _reflectance(
    objects: tuple[SceneObject, ...], index: NDArray[np.int64], uv: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear reflectance (H, W, 3) of the objects seen; 0 on the sky and on lamps.

    Textures are made linear, then interpolated bilinearly and repeated: the renderer's own lookup.

    Args:
        objects: of the scene.
        index: numbers of the objects seen, -1 for none, shape (H, W).
        uv: texture coordinates, shape (H, W, 2).
    """
    albedo = np.zeros((*index.shape, 3), np.float32)
    for number in np.unique(index[index >= 0]):
        item, here = objects[number], index == number
        if item.emission > 0:
            continue
        rows, cols = item.texture.shape[:2]
        x = uv[here, 0] * item.tiles * cols - 0.5
        y = uv[here, 1] * item.tiles * rows - 0.5
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, down = (x - left)[:, None], (y - top)[:, None]
        corners = [linear(item.texture[(top + i) % rows, (left + j) % cols]) for i in (0, 1) for j in (0, 1)]
        upper = corners[0] * (1 - right) + corners[1] * right
        lower = corners[2] * (1 - right) + corners[3] * right
        albedo[here] = upper * (1 - down) + lower * down
    return albedo


def linear(srgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear values in [0, 1] of 8-bit sRGB (IEC 61966-2-1)."""
    return _LINEAR[srgb]


def _render(mi: Any, world: Any, sensor: Any, integrator: dict[str, Any], seed: int) -> NDArray[np.float32]:
    """Image of a Mitsuba scene as the integrator gives it (H, W, C)."""
    image = mi.render(world, sensor=sensor, integrator=mi.load_dict(integrator), seed=seed)
    return np.array(image, dtype=np.float32)


def _sensor(
    mi: Any, camera: Array, focal_ratio: float, size: tuple[int, int], sampler: dict[str, Any]
) -> Any:
    """A pinhole camera. Mitsuba's has x to the left and y up: both are negated."""
    to_world = mi.ScalarTransform4f((camera @ np.diag([-1.0, -1.0, 1.0, 1.0])).tolist())
    film = {
        "type": "hdrfilm",
        "width": size[1],
        "height": size[0],
        "rfilter": {"type": "box"},
        "component_format": "float32",
        "pixel_format": "rgb",
    }
    pinhole = {
        "type": "perspective",
        "fov": float(np.degrees(2 * np.arctan(0.5 / focal_ratio))),
        "fov_axis": "x",
        "near_clip": 0.02,
        "far_clip": _FAR_CLIP_M,
        "to_world": to_world,
        "film": film,
        "sampler": sampler,
    }
    return mi.load_dict(pinhole)


def _shape(mi: Any, item: SceneObject, pose: Array, bsdf: Any) -> Any:
    """A Mitsuba mesh of an object in world space. Its vertex normals follow from the triangles."""
    mesh = moved(item.mesh, pose)
    properties = mi.Properties()
    properties["bsdf"] = bsdf
    if item.emission > 0:
        properties["emitter"] = mi.load_dict(
            {"type": "area", "radiance": {"type": "rgb", "value": item.emission}}
        )
    shape = mi.Mesh(
        "mesh",
        len(mesh.vertices),
        len(mesh.faces),
        props=properties,
        has_vertex_normals=True,
        has_vertex_texcoords=True,
    )
    parameters = mi.traverse(shape)
    parameters["faces"] = mesh.faces.ravel().astype(np.uint32)
    parameters["vertex_texcoords"] = (mesh.uv * item.tiles).ravel().astype(np.float32)
    parameters["vertex_positions"] = mesh.vertices.ravel().astype(np.float32)
    parameters.update()
    return shape


def _bsdfs(mi: Any, objects: tuple[SceneObject, ...]) -> list[Any]:
    """One material per object; objects with the same looks share it, because textures are slow to make."""
    made: dict[tuple[bytes, float | None, bool], Any] = {}
    for item in objects:
        key = _looks(item)
        if key not in made:
            made[key] = _bsdf(mi, item)
    return [made[_looks(item)] for item in objects]


def _looks(item: SceneObject) -> tuple[bytes, float | None, bool]:
    return item.texture.tobytes(), item.roughness, item.emission > 0


def _bsdf(mi: Any, item: SceneObject) -> Any:
    if item.emission > 0:
        reflectance: dict[str, Any] = {"type": "rgb", "value": 0.0}
    elif item.texture.shape[:2] == (1, 1):
        reflectance = {"type": "rgb", "value": linear(item.texture).ravel().tolist()}
    else:
        reflectance = {
            "type": "bitmap",
            "bitmap": mi.Bitmap(np.ascontiguousarray(item.texture)),
            "wrap_mode": "repeat",
        }
    if item.roughness is None:
        inner: dict[str, Any] = {"type": "diffuse", "reflectance": reflectance}
    else:
        inner = {"type": "roughplastic", "diffuse_reflectance": reflectance, "alpha": item.roughness}
    return mi.load_dict({"type": "twosided", "bsdf": inner})


def _emitters(mi: Any, scene: Scene) -> dict[str, Any]:
    emitters: dict[str, Any] = {}
    for i, light in enumerate(scene.lights):
        power = {"type": "rgb", "value": list(light.power)}
        if light.kind == "sun":
            emitters[f"light{i}"] = {
                "type": "directional",
                "direction": list(light.vector),
                "irradiance": power,
            }
        else:
            emitters[f"light{i}"] = {"type": "point", "position": list(light.vector), "intensity": power}
    if scene.sky is not None:
        upright = mi.ScalarTransform4f().rotate([1, 0, 0], 90)
        emitters["sky"] = {
            "type": "envmap",
            "bitmap": mi.Bitmap(np.ascontiguousarray(scene.sky)),
            "to_world": upright,
        }
    return emitters
