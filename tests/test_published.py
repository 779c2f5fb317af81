"""From files in the published layouts to a folder that predicts."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stablemtl import StableMTLPipeline, __version__
from stablemtl.cli import main
from stablemtl.models.published_files import read_published, task_attention_sizes
from stablemtl.published import convert_published
from stablemtl.tasks import TASKS

States = dict[str, dict[str, torch.Tensor]]

GOLDEN = Path(__file__).parent / "fixtures" / "golden"
CONFIG = json.loads((GOLDEN / "config.json").read_text())


@pytest.fixture(scope="module")
def states() -> States:
    """The golden networks' weights, as the two published files hold them."""
    weights = load_file(GOLDEN / "weights.safetensors")
    return {
        name: {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
        for name in ("aux.", "main.")
    }


@pytest.fixture(scope="module")
def base(write_tiny_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with the golden UNet's options; its UNet's weights are not needed."""
    return write_tiny_base(tmp_path_factory.mktemp("base"), CONFIG["unet"], weights=False)


@pytest.fixture
def files(tmp_path: Path, states: States) -> dict[str, Path]:
    """What was published: a bare state dict, a run folder with three checkpoints, and its tarball."""
    bare = tmp_path / "single_stream_unet.pth"
    torch.save(states["aux."], bare)
    run = tmp_path / "multi_stream"
    for name in ("iter_000500", "iter_011000", "latest"):
        unet = run / "checkpoint" / name / "unet"
        unet.mkdir(parents=True)
        good = name == "latest"
        torch.save(states["main."] if good else {"old": torch.zeros(1)}, unet / "diffusion_pytorch_model.bin")
        (unet / "config.json").write_text(json.dumps({"_class_name": "UNet3D", **CONFIG["unet"]}))
        (unet.parent / "trainer.ckpt").write_bytes(b"not read")
    (run / "config.yaml").write_text("trainer:\n  task_attn:\n    n_attns: 4  # heads\n")
    archive = tmp_path / "multi_stream.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(run, "multi_stream")
    return {"aux": bare, "run": run, "archive": archive}


def test_what_the_files_hold(files: dict[str, Path], states: States) -> None:
    bare = read_published(files["aux"])
    assert (bare.unet_config, bare.heads) == (None, None)
    assert bare.state.keys() == states["aux."].keys()
    unet = files["run"] / "checkpoint" / "latest" / "unet"
    for path in (
        files["run"],
        files["archive"],
        files["run"] / "checkpoint",
        unet,
        unet / "diffusion_pytorch_model.bin",
    ):
        found = read_published(path)
        assert found.state.keys() == states["main."].keys()
        assert found.unet_config is not None
        assert found.unet_config["norm_num_groups"] == 8
        assert found.heads == 4
    shutil.rmtree(files["run"] / "checkpoint" / "latest")
    torch.save(states["aux."], files["run"] / "checkpoint/iter_011000/unet/diffusion_pytorch_model.bin")
    assert read_published(files["run"]).state.keys() == states["aux."].keys()  # the highest iteration


def test_sizes_of_the_task_attention_are_read_off_the_tensors(
    states: States,
) -> None:
    assert task_attention_sizes(states["main."], None) == {
        "query_hidden_dim": 20,
        "query_hidden_layers": 2,
        "key_value_hidden": "width//2",
    }
    assert task_attention_sizes(states["main."], 2)["heads"] == 2
    with pytest.raises(ValueError, match=r"no task attention among the \d+ keys .* goes to --auxiliary"):
        task_attention_sizes(states["aux."], None)


def test_the_command_writes_a_folder_that_predicts(
    files: dict[str, Path], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    arguments = [
        "convert",
        "published",
        "--auxiliary",
        files["aux"],
        "--main",
        files["archive"],
        "--base",
        base,
    ]
    command = [*map(str, arguments), "--out", str(out), "--processing-resolution", "32"]
    assert main(command) == 0
    assert "multi-stream model with 7 tasks" in capsys.readouterr().out
    pipe = StableMTLPipeline.from_pretrained(str(out))
    assert not (out / "text_encoder").exists()
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".pth")]
    maps = pipe(np.zeros((40, 48, 3), np.uint8), tasks=["depth", "normal"])
    assert maps["depth"].values.shape == (40, 48)
    # The same networks, with tokens from the golden set, give the golden outputs.
    expected = load_file(GOLDEN / "io.safetensors")
    pipe.model.set_tokens({task: expected[f"token.{task}"] for task in pipe.model.tasks})
    with torch.no_grad():
        output = pipe.model(expected["z_i"], expected["z_j"])
        single = pipe.model.single_stream(expected["z_i"], expected["z_j"])
    for task in pipe.model.tasks:
        torch.testing.assert_close(output[task], expected[f"multi.{task}"], atol=1e-4, rtol=0)
        torch.testing.assert_close(single[task], expected[f"single.{task}"], atol=1e-4, rtol=0)
    assert main(command) == 2
    assert f"--out {out} is there already" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--dtype", "float16"]) == 0
    assert load_file(next((out / "model").glob("*.safetensors")))["task_tokens"].dtype == torch.float16


def test_the_command_prints_json(
    files: dict[str, Path], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    arguments = ("--auxiliary", files["aux"], "--base", base, "--out", out, "--processing-resolution", 32)
    assert main(["convert", "published", *map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = sorted(path for path in out.rglob("*") if path.is_file())
    assert len(written) > 3
    assert found.pop("files") == [
        {
            "name": path.relative_to(out).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in written
    ]
    assert found.pop("seconds") > 0
    assert found == {
        "stablemtl": __version__,
        "out": str(out),
        "streams": "single",
        "tasks": list(TASKS),
        "dtype": "float32",
        "processing_resolution": 32,
        "bytes": sum(path.stat().st_size for path in written),
    }
    assert main(["convert", "published", *map(str, arguments), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"--out {out} is there already" in captured.err


def test_single_stream_alone(files: dict[str, Path], base: Path) -> None:
    pipe = convert_published(files["aux"], None, base)
    assert pipe.model.main is None
    assert pipe.model.auxiliary.conv_in.in_channels == 12
    assert pipe.vae.config["scaling_factor"] == 0.18215


def test_wrong_files_are_refused(
    files: dict[str, Path],
    base: Path,
    states: States,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = tmp_path / "part.safetensors"
    save_file({key: value for key, value in states["aux."].items() if key != "conv_out.bias"}, part)
    with pytest.raises(ValueError, match=r"(?s)auxiliary_state does not fit .*missing conv_out.bias"):
        convert_published(part, None, base)
    with pytest.raises(ValueError, match=r"no task attention among"):
        convert_published(files["aux"], files["aux"], base)
    with pytest.raises(FileNotFoundError, match=r"no diffusion_pytorch_model.bin or .* below it"):
        convert_published(base / "tokenizer", None, base)
    with pytest.raises(ValueError, match="unknown task 'edges'"):
        convert_published(files["aux"], None, base, tasks=["edges"])
    with pytest.raises(OSError, match=r"."):
        convert_published(files["aux"], None, tmp_path)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(files["archive"].read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut.tar.gz cannot be unpacked; download it again"):
        read_published(cut)
    arguments = [
        "convert",
        "published",
        "--auxiliary",
        str(tmp_path / "none.pth"),
        "--base",
        "b",
        "--out",
        "o",
    ]
    assert main(arguments) == 2
    assert "--auxiliary: there is nothing at" in capsys.readouterr().err


def test_pickles_run_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(
        ValueError, match=r"trap\.pth is damaged, or holds more than tensors; nothing in it was"
    ):
        read_published(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_paths_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "run.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../outside.bin")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(ValueError, match="cannot be unpacked"):
        read_published(archive)
    assert not (tmp_path.parent / "outside.bin").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--help"]) == 0
    assert "stablemtl convert published" in capsys.readouterr().out
    assert main(["convert"]) == 2
    assert main(["convert", "marigold"]) == 2
    assert "unknown kind of weights 'marigold'; choose from published" in capsys.readouterr().err
