"""The helper of the pages' tests on the import path, and the folder that pages are run in."""

from __future__ import annotations

import copy
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from pages import HEIGHT, WIDTH


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What readers of the pages have: two frames, a panorama, a folder of pictures, a clip."""
    folder = tmp_path_factory.mktemp("reader")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    first = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    first.save(folder / "street.jpg")
    _moved(first, 2).save(folder / "street_next.jpg")
    first.resize((1200, 80), Image.Resampling.BICUBIC).save(folder / "panorama.jpg")
    (folder / "photos" / "more").mkdir(parents=True)
    for i in range(3):
        _moved(first, 2 * i).save(folder / "photos" / f"frame_{i}.png")
    first.save(folder / "photos" / "more" / "other.jpg")
    _write_clip(folder / "clip.mp4", [np.asarray(_moved(first, 2 * i)) for i in range(4)])
    return folder


@pytest.fixture(scope="session")
def nano() -> Any:
    """The embedded model, loaded once."""
    from stablemtl import StableMTLPipeline

    return StableMTLPipeline.from_pretrained("nano")


@pytest.fixture
def reader(prepared: Path, nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the working directory; ``nano`` is loaded by copying it in memory."""
    load = type(nano).from_pretrained

    def from_pretrained(name: object, **options: Any) -> Any:
        asked = {key: str(value) for key, value in options.items()}
        plain = asked.items() <= {"torch_dtype": "torch.float32", "device": "cpu"}.items()
        return copy.deepcopy(nano) if name == "nano" and plain else load(name, **options)

    monkeypatch.setattr(type(nano), "from_pretrained", staticmethod(from_pretrained))
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The globals of a module, as dataclasses and type hints expect them."""
    module = types.ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    return module.__dict__


def _moved(picture: Image.Image, pixels: int) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, pixels, 0, 1, 0))


def _write_clip(path: Path, frames: list[np.ndarray]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
