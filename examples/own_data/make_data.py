"""A folder of 20 small images with different labels each, from pictures that come with scikit-image.

``python examples/own_data/make_data.py data/own/photos`` writes them, ``manifest.csv`` and ``dataset.toml``:

- 6 cut-outs of a stereo pair of a motorcycle: depth and optical flow from the measured disparity, and on four
  of them the motorcycle painted by hand;
- 8 pictures on a tilted wall, under a lamp: depth, normals, motion, paint and light are known exactly;
- 2 pieces of a photograph of a rocket, with sky and towers painted by hand;
- 4 photographs of bricks and grass put together along a line.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image
from wall import photograph, to_srgb8

from stablemtl.data.formats import write_flo, write_png16, write_rgb
from stablemtl.evaluation.motorcycle import depth_m, flow_px

SIZE = (96, 128)
PALETTE = {"building": (70, 70, 70), "vegetation": (107, 142, 35), "sky": (70, 130, 180)}
PALETTE |= {"pole": (153, 153, 153), "vehicle": (0, 0, 142)}
IDS = {name: number for number, name in enumerate(PALETTE, start=1)}  # 0 is for nothing

UNITS = f"""\
# What the numbers in the label files mean.
[depth]
unit = "mm"
kind = "planar"              # along the optical axis; 0 where not measured

[normal]
axes = "opengl"              # x right, y up, z to the viewer
facing = "camera"

[scene_flow]
unit = "m"
axes = "opencv"              # x right, y down, z forward

[shading]
space = "linear"

[albedo]
space = "srgb"

[semantic.ids]
{chr(10).join(f'{number} = "{name}"' for name, number in IDS.items())}
"""

MOTORCYCLE = """
    92,197 130,200 143,168 150,160 200,165 240,170 280,190 350,190 400,165 440,157 470,150 470,130 497,80
    540,100 560,130 590,120 580,150 555,185 555,200 575,262 600,270 642,303 665,340 682,390 675,430 650,448
    620,447 570,410 530,355 508,330 505,300 520,280 530,275 505,235 490,228 476,250 478,300 455,350 420,378
    340,375 345,430 325,435 325,375 280,365 240,397 190,395 150,365 125,320 122,290 140,255 155,240 105,245"""
ROCKET = {
    "sky": ["206,0 300,0 300,330 206,330", "355,0 438,0 434,330 355,330"],
    "pole": ["191,192 202,192 203,362 171,362", "442,192 458,192 473,362 441,362"],
}


def main(folder: Path) -> None:
    """Write everything."""
    rng = np.random.default_rng(0)
    rows = [*motorcycle(folder), *walls(folder, rng), *rocket(folder), *boards(folder, rng)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "dataset.toml").write_text(UNITS, encoding="utf-8")
    print(f"{len(rows)} images in {folder}")


def motorcycle(folder: Path) -> list[dict[str, str]]:
    """Cut-outs at a third of the size; the disparity of a block of 3 x 3 px is that of its middle."""
    left, right, disparity = skimage.data.stereo_motorcycle()  # (500, 741, ...)
    left, right = (cv2.resize(view[:498], (247, 166), interpolation=cv2.INTER_AREA) for view in (left, right))
    disparity = disparity[1:498:3, 1::3]  # (166, 247), in full-size pixels
    known = np.isfinite(disparity)
    disparity = np.where(known, disparity, 0.0)
    depth_mm = np.where(known, np.round(depth_m(disparity) * 1000), 0).astype(np.uint16)
    flow = np.where(known[..., None], flow_px(disparity) / 3, np.nan)
    classes = polygons([MOTORCYCLE], (498, 741))[1::3, 1::3] * IDS["vehicle"]
    rows = []
    for i, (top, x) in enumerate([(0, 0), (0, 60), (0, 119), (70, 0), (70, 60), (70, 119)]):
        part = np.s_[top : top + SIZE[0], x : x + SIZE[1]]
        name = f"motorcycle_{i}"
        row = frames(folder, name, left[part], right[part])
        row["depth"] = put(folder, f"depth/{name}.png", depth_mm[part])
        if i % 3 != 2:
            row["optical_flow"] = put(folder, f"flow/{name}.flo", flow[part])
            lands_inside = np.nan_to_num(np.arange(SIZE[1]) + flow[part][..., 0], nan=-1.0) >= 0
            row["mask_optical_flow"] = put(folder, f"flow/{name}_mask.png", lands_inside * np.uint8(255))
        if i > 1:
            row["semantic"] = put(folder, f"classes/{name}.png", classes[part])
        row["split"] = "test" if i == 1 else ""
        rows.append(row)
    return rows


def walls(folder: Path, rng: np.random.Generator) -> list[dict[str, str]]:
    """Four with depth and normals, then four with motion; the four in the middle have paint and light too."""
    pictures = ("coffee", "chelsea", "astronaut", "rocket", "coffee", "retina", "chelsea", "astronaut")
    rows = []
    for i, picture in enumerate(pictures):
        wall = photograph(getattr(skimage.data, picture)(), rng, SIZE)
        name = f"wall_{i}"
        row = frames(folder, name, wall.image, wall.image_next if i > 3 else None)
        if i < 4:
            opengl = -wall.normal * (1, -1, -1)  # to the camera
            row["normal"] = put(
                folder, f"normal/{name}.png", np.round((opengl + 1) / 2 * 255).astype(np.uint8)
            )
            row["depth"] = put(folder, f"depth/{name}.png", np.round(wall.depth_m * 1000).astype(np.uint16))
        if 2 <= i < 6:
            row["albedo"] = put(folder, f"albedo/{name}.png", to_srgb8(wall.albedo))
            row["shading"] = put(
                folder, f"shading/{name}.png", np.round(wall.shading * 65535).astype(np.uint16)
            )
        if i > 3:
            row["optical_flow"] = put(folder, f"flow/{name}.flo", wall.flow_px)
            row["scene_flow"] = put(folder, f"scene_flow/{name}.npy", wall.scene_flow_m.astype(np.float32))
        row["split"] = "test" if i in (3, 5) else ""
        rows.append(row)
    return rows


def rocket(folder: Path) -> list[dict[str, str]]:
    """Two pieces of 240 x 320 px, reduced to 96 x 128."""
    picture = skimage.data.rocket()  # (427, 640, 3)
    classes = np.zeros(picture.shape[:2], np.uint8)
    for name, shapes in ROCKET.items():
        classes[polygons(shapes, classes.shape) > 0] = IDS[name]
    rows = []
    for i, x in enumerate((90, 290)):
        part = np.s_[100:340, x : x + 320]
        row = frames(
            folder, f"rocket_{i}", cv2.resize(picture[part], SIZE[::-1], interpolation=cv2.INTER_AREA)
        )
        small = cv2.resize(classes[part], SIZE[::-1], interpolation=cv2.INTER_NEAREST)
        row["semantic"] = put(folder, f"classes/rocket_{i}.png", small)
        row["split"] = "test" if i == 1 else ""
        rows.append(row)
    return rows


def boards(folder: Path, rng: np.random.Generator) -> list[dict[str, str]]:
    """Bricks above a line and grass below it."""
    height, width = SIZE
    rows = []
    for i in range(4):
        places = rng.integers(0, 512 - 2 * width, (2, 2))
        brick, grass = (
            cv2.resize(
                picture[y : y + 2 * height, x : x + 2 * width], (width, height), interpolation=cv2.INTER_AREA
            )
            for picture, (y, x) in zip((skimage.data.brick(), skimage.data.grass()), places, strict=True)
        )
        slope, start = rng.uniform(-0.4, 0.4), rng.uniform(30, 66)
        above = np.arange(height)[:, None] < start + slope * (np.arange(width)[None, :] - width / 2)
        row = frames(folder, f"board_{i}", np.where(above, brick, grass)[..., None].repeat(3, axis=2))
        ids = np.where(above, IDS["building"], IDS["vegetation"]).astype(np.uint8)
        row["semantic"] = put(folder, f"classes/board_{i}.png", ids)
        rows.append(row)
    return rows


def frames(
    folder: Path, name: str, image: np.ndarray, image_next: np.ndarray | None = None
) -> dict[str, str]:
    """Write one or two frames; the start of a row."""
    row = {"image": put(folder, f"{name}.jpg", image)}
    if image_next is not None:
        row["image_next"] = put(folder, f"{name}_next.jpg", image_next)
    return row


def put(folder: Path, file: str, values: np.ndarray) -> str:
    """Write an array in the format of the suffix; classes with a palette, so that one can look at them."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.startswith("classes/"):
        picture = Image.fromarray(values.astype(np.uint8))
        picture.putpalette([0, 0, 0, *(value for colour in PALETTE.values() for value in colour)])
        picture.save(path)
    elif path.suffix == ".flo":
        write_flo(path, values)
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        (write_png16 if values.dtype == np.uint16 else write_rgb)(path, values)
    return file


def polygons(shapes: list[str], size: tuple[int, int]) -> np.ndarray:
    """1 inside polygons given as ``x,y x,y ...`` in pixels, (H, W) uint8."""
    mask = np.zeros(size, np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.array([point.split(",") for point in shape.split()], np.int32)], 1)
    return mask


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/own/photos"))
