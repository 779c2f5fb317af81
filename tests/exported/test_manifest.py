"""``exported.json`` and the files it names; packages that are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stablemtl.exported import is_exported, load_exported
from stablemtl.exported.manifest import Manifest, describe_files
from stablemtl.exported.packages import require


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose graphs are no graphs."""
    for name in ("encoder", "single", "decoder"):
        (tmp_path / f"{name}.xml").write_text(f"graph {name}")
        (tmp_path / f"{name}.bin").write_bytes(bytes(5))
    manifest = Manifest(
        runtime="openvino",
        streams="single",
        tasks=("depth", "optical_flow"),
        pair_tasks=("optical_flow",),
        second_frame="duplicate",
        task_options={"depth": {"encoding": "log"}},
        default_processing_resolution=512,
        latent_channels=4,
        downscale=8,
        dtype="float16",
        opset=20,
        source="nano",
        files=describe_files(tmp_path.iterdir()),
    )
    manifest.write(tmp_path)
    return tmp_path


def test_written_and_read(folder: Path) -> None:
    manifest = Manifest.read(folder, verify=True)
    assert manifest.tasks == ("depth", "optical_flow")
    assert manifest.task_options == {"depth": {"encoding": "log"}}
    assert manifest.graphs == {"encoder": "encoder.xml", "single": "single.xml", "decoder": "decoder.xml"}
    # sha256 of five zero bytes
    expected = "8855508aade16ec573d21e6a485dfd0a7624085c1a14b5ecdd6485de0c6839a4"
    assert manifest.files["single.bin"] == {"bytes": 5, "sha256": expected}
    assert len(manifest.files) == 6


def test_folders_that_are_exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert is_exported(folder)
    assert is_exported(str(folder))
    empty = tmp_path_factory.mktemp("empty")
    assert not is_exported(empty)
    assert not is_exported("nano")
    with pytest.raises(
        FileNotFoundError, match=r"not an exported model: it has no exported.json.*stablemtl export"
    ):
        load_exported(empty)


def test_fields_of_a_later_version_are_left_out(folder: Path) -> None:
    content = json.loads((folder / "exported.json").read_text())
    (folder / "exported.json").write_text(json.dumps({**content, "colour": "blue"}))
    assert Manifest.read(folder).source == "nano"
    (folder / "exported.json").write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(ValueError, match="format 2 is of a later version of stablemtl; this one reads 1"):
        Manifest.read(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "tasks": [], "pair_tasks": []}'])
def test_damaged_manifests(folder: Path, text: str) -> None:
    (folder / "exported.json").write_text(text)
    with pytest.raises(ValueError, match=r"exported.json cannot be used .*Export the model again"):
        Manifest.read(folder)


def test_graphs_without_a_checksum(folder: Path) -> None:
    content = json.loads((folder / "exported.json").read_text())
    del content["files"]["single.xml"]
    (folder / "exported.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"exported.json cannot be used \(it has no checksum of single.xml\)"
    ):
        Manifest.read(folder)


def test_fingerprints(folder: Path) -> None:
    written = Manifest.read(folder)
    assert len(written.fingerprint) == 64
    assert replace(written, source="elsewhere", versions={"torch": "3"}, check=[{}]).fingerprint == (
        written.fingerprint
    )
    (folder / "single.bin").write_bytes(b"other")
    files = describe_files(path for path in folder.iterdir() if path.name != "exported.json")
    for change in ({"files": files}, {"second_frame": "zero"}, {"task_options": {}}):
        assert replace(written, **change).fingerprint != written.fingerprint


def test_damaged_files(folder: Path) -> None:
    file = folder / "single.bin"
    file.write_bytes(b"other")
    Manifest.read(folder)  # of the right size
    with pytest.raises(ValueError, match=r"single.bin is damaged: its checksum"):
        Manifest.read(folder, verify=True)
    file.write_bytes(b"more bytes")
    with pytest.raises(ValueError, match=r"single.bin is damaged: 10 bytes instead of 5"):
        load_exported(folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"single.bin is missing, which exported.json names"):
        Manifest.read(folder)


def test_missing_packages() -> None:
    assert require("onnx", "json").__name__ == "json"
    with pytest.raises(
        ImportError, match=r"no_such_runtime is not installed .*pip install 'stablemtl\[onnx\]'"
    ):
        require("onnx", "json", "no_such_runtime")
