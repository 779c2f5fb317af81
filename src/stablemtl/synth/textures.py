"""Surface colours of the procedural scenes: procedural patterns, and crops of any photographs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

logger = logging.getLogger(__name__)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tga", ".bmp"}
_LARGEST_SIDE = 640  # [px] of photographs as they are kept: sharp enough, and hundreds fit in memory


@lru_cache(maxsize=2048)
def read_photo(path: Path) -> Image | None:
    """A photograph, uint8 sRGB (H, W, 3), its longer side at most 640 px.

    Returns:
        ``None`` if it cannot be read; a warning then names it in the log.
    """
    from PIL import Image as PILImage

    try:
        with PILImage.open(path) as file:
            file.draft("RGB", (_LARGEST_SIDE, _LARGEST_SIDE))
            picture = file.convert("RGB")
            picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:  # as Pillow raises
        logger.warning("texture %s skipped: %s", path, error)
        return None


class Textures:
    """Source of textures: procedural ones, mixed with crops of photographs when a folder is given.

    Args:
        folder: searched recursively for photographs or texture packs; ``None`` for procedural patterns only.
        held_out: take the eighth of the files that is kept for held-out scenes (by a hash of the file's name)
            instead of the others. A folder too small to give one of the two any file gives it all of them.
        photo_share: probability that a texture is a crop of a photograph when there are any.
        patterns: makes the procedural ones; ``pattern`` by default.
    Raises:
        FileNotFoundError: ``folder`` does not exist or holds no picture.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        held_out: bool = False,
        photo_share: float = 0.65,
        patterns: Callable[[np.random.Generator], Image] | None = None,
    ) -> None:
        self.photos: list[Path] = []
        self._patterns = pattern if patterns is None else patterns
        self._groups: list[list[Path]] = []
        self.photo_share = photo_share
        if folder is None:
            return
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"textures: no folder {folder}. Without textures, surfaces get patterns.")
        found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not found:
            raise FileNotFoundError(
                f"textures: no picture ({', '.join(sorted(_SUFFIXES))}) in {folder} or the folders below it."
            )
        self.photos = [p for p in found if _is_held_out(p) == held_out] or found
        # Folders inside count alike, so that a large pack does not drown a small one.
        groups: dict[str, list[Path]] = {}
        for path in self.photos:
            groups.setdefault(path.relative_to(folder).parts[0], []).append(path)
        self._groups = list(groups.values())

    def fingerprint(self) -> str:
        """Short hash of names and sizes of the photographs in use."""
        digest = hashlib.sha256()
        for path in self.photos:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:12]

    def photo(
        self, rng: np.random.Generator, size: tuple[int, int] = (128, 128), smallest: float = 0.15
    ) -> Image | None:
        """Random crop of a random photograph, uint8 sRGB, shape (*size, 3); ``None`` without photographs.

        Args:
            rng: decides which photograph, and where.
            size: (height, width) that the crop is scaled to [px].
            smallest: least side of the crop, as a share of the largest crop that fits.
        """
        for _ in range(8 if self._groups else 0):
            group = self._groups[int(rng.integers(len(self._groups)))]
            picture = read_photo(group[int(rng.integers(len(group)))])
            if picture is None or min(picture.shape[:2]) < 32:
                continue
            height, width = picture.shape[:2]
            aspect = size[1] / size[0]
            largest = min(height, width / aspect)
            crop_height = max(8, int(largest * rng.uniform(smallest, 1.0)))
            crop_width = max(8, min(width, int(crop_height * aspect)))
            top = int(rng.integers(height - crop_height + 1))
            left = int(rng.integers(width - crop_width + 1))
            crop = picture[top : top + crop_height, left : left + crop_width]
            return np.asarray(cv2.resize(crop, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return None

    def draw(self, rng: np.random.Generator) -> Image:
        """A texture, photographic or procedural, uint8 sRGB, shape (128, 128, 3)."""
        if self.photos and rng.random() < self.photo_share:
            crop = self.photo(rng)
            if crop is not None:
                return _brightened(crop, rng)
        return self._patterns(rng)


def _is_held_out(path: Path) -> bool:
    return hashlib.sha256(path.name.encode()).digest()[0] % 8 == 0


def _brightened(image: Image, rng: np.random.Generator) -> Image:
    """Random gain and tint; dark photographs are lifted, so that surfaces keep a visible albedo."""
    values = image.astype(np.float32)
    mean = max(float(values.mean()), 8.0)
    gain = rng.uniform(80, 170) / mean if mean < 70 or rng.random() < 0.3 else 1.0
    tint = rng.uniform(0.8, 1.2, 3) if rng.random() < 0.4 else np.ones(3)
    return np.clip(values * gain * tint, 6, 250).astype(np.uint8)


def colour(rng: np.random.Generator, low: float = 0.1, high: float = 0.9) -> NDArray[np.float64]:
    """Random sRGB colour in [0, 1], from greyish to saturated, shape (3,)."""
    value, saturation = rng.uniform(low, high), rng.beta(1.0, 2.0)
    tint = rng.random(3)
    tint = tint / tint.max()
    return np.asarray(value * (1 - saturation + saturation * tint))


def noise(
    rng: np.random.Generator, size: int = 128, octaves: int = 5, roughness: float = 0.6
) -> NDArray[np.float32]:
    """Fractal value noise in [0, 1], shape (size, size)."""
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    for octave in range(octaves):
        cells = 3 * 2**octave
        layer = rng.random((cells, cells)).astype(np.float32)
        total += weight * cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC)
        weight *= roughness
    total -= total.min()
    return np.asarray(total / max(float(total.max()), 1e-6))


def pattern(rng: np.random.Generator, size: int = 128) -> Image:
    """Procedural texture, uint8 sRGB, shape (size, size, 3): plain, noise, stripes, checks, bricks, ..."""
    row, col = np.mgrid[0:size, 0:size] / size
    first, second = colour(rng), colour(rng)
    kind = rng.choice(["plain", "noise", "stripes", "checks", "bricks", "dots", "patches"])
    count = int(rng.integers(2, 12))
    mix: NDArray[np.floating]  # 0 for the first colour, 1 for the second
    if kind == "plain":
        mix = np.zeros((size, size))
    elif kind == "noise":
        mix = noise(rng, size, octaves=int(rng.integers(2, 6)), roughness=rng.uniform(0.4, 0.9))
    elif kind == "stripes":
        angle = rng.uniform(0, np.pi)
        mix = ((row * np.cos(angle) + col * np.sin(angle)) * count % 1 < rng.uniform(0.2, 0.8)).astype(float)
    elif kind == "checks":
        mix = ((np.floor(row * count) + np.floor(col * count)) % 2).astype(float)
    elif kind == "bricks":
        shifted = col * count / 2 + 0.5 * (np.floor(row * count) % 2)
        mix = ((row * count % 1 < 0.1) | (shifted % 1 < 0.06)).astype(float)
    elif kind == "dots":
        squared = ((row * count % 1) - 0.5) ** 2 + ((col * count % 1) - 0.5) ** 2
        mix = (squared < rng.uniform(0.02, 0.2)).astype(float)
    else:
        cells = rng.random((count, count, 3)).astype(np.float32)
        patches = np.asarray(cv2.resize(cells, (size, size), interpolation=cv2.INTER_NEAREST), np.float32)
        return _grained(patches, rng)
    return _grained(first + (second - first) * mix[..., None], rng)


def _grained(image: NDArray[np.floating], rng: np.random.Generator) -> Image:
    """The image, in [0, 1], under a little noise."""
    grain = rng.uniform(0, 0.2) * (noise(rng, len(image), roughness=0.8)[..., None] - 0.5)
    return (np.clip(image + grain, 0.02, 0.98) * 255).astype(np.uint8)
