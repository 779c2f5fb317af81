"""``stablemtl data show``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from stablemtl.commands.data_show import ShowConfig, run
from stablemtl.data.formats import write_png16, write_rgb


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with ``garden``: a frame with depth and classes, one with depth, one without a label."""
    folder = tmp_path / "data" / "garden"
    for name in "abc":
        write_rgb(folder / f"{name}.png", np.full((16, 20, 3), 100, np.uint8))
    write_png16(folder / "depth.png", np.linspace(1000, 5000, 320).reshape(16, 20).astype(np.uint16))
    write_rgb(folder / "classes.png", np.full((16, 20), 7, np.uint8))
    (folder / "manifest.csv").write_text(
        "image,depth,semantic,split\na.png,depth.png,classes.png,\nb.png,depth.png,,test\nc.png,,,\n"
    )
    (folder / "dataset.toml").write_text('[depth]\nunit = "mm"\nkind = "planar"\n[semantic.ids]\n7 = "sky"\n')
    return tmp_path / "data"


def options(data: Path, model: Path, *arguments: str) -> ShowConfig:
    """As the command line makes them."""
    return tyro.cli(
        ShowConfig,
        args=[*arguments, "--root", str(data), "--model", str(model), "--out", str(data.parent / "out.png")],
    )


def test_sheet_and_table(data: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options(data, tiny_folder, "garden", "0")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("semantic", "sky 100%", "miou 1", "depth", "1 / 2.99 / 5", "abs_rel", "100.0%", "out.png"):
        assert words in shown
    with Image.open(data.parent / "out.png") as both:
        height = both.height
    assert run(options(data, tiny_folder, "garden", "0", "--tasks", "depth")) == 0
    assert "semantic" not in capsys.readouterr().out
    with Image.open(data.parent / "out.png") as one:
        assert one.height < height


def test_part(data: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options(data, tiny_folder, "garden", "0", "--part", "test")) == 0
    assert "semantic" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gardn", "0"), "unknown dataset 'gardn'; choose from garden"),
        (("garden", "0", "--part", "val"), "no row of .* is of the val split"),
        (("garden", "2"), "garden has frames 0 to 1 in this part, got 2"),
        (("garden", "1"), "garden, frame 1 of train has no label"),
        (("garden", "0", "--tasks", "normal"), "garden, frame 0 has no label of normal; it has semantic, de"),
    ],
)
def test_what_is_not_there(data: Path, tiny_folder: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        run(options(data, tiny_folder, *arguments))
    assert not (data.parent / "out.png").exists()


def test_a_part_that_a_dataset_does_not_have(data: Path, tiny_folder: Path) -> None:
    (data / "cityscapes").mkdir()
    with pytest.raises(ValueError, match="unknown part of cityscapes 'train'; choose from test"):
        run(options(data, tiny_folder, "cityscapes", "0"))


def test_out_is_a_picture(data: Path) -> None:
    with pytest.raises(ValueError, match=r"--out must be a picture, such as sample.png, got .*sheet.txt"):
        run(ShowConfig(dataset="garden", index=0, root=data, out=data / "sheet.txt"))


def test_defaults() -> None:
    config = tyro.cli(ShowConfig, args=["vkitti2", "5"])
    assert config == ShowConfig(dataset="vkitti2", index=5)
    assert (config.root, config.part, config.model) == (Path("data"), "train", "nano")


def test_light_to_import() -> None:
    heavy = "{'torch', 'cv2', 'h5py', 'diffusers'}"
    code = f"import sys, stablemtl.commands.data_show; print({heavy} & set(sys.modules))"
    source = Path(__file__).resolve().parents[1] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
