"""The project's habits: pins, metadata, import cost, tracked files."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# What CI installs; [int8] and [ray] are not.
PINNED_EXTRAS = ("app", "synth", "lora", "onnx", "openvino", "docs", "dev")
PUBLIC = {"StableMTLPipeline", "StableMTLModel", "TASKS", "delta_m"}
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".cff", ".txt", ".cfg", ".json", ".ipynb", ".sh", ""}
# A path of somebody's machine, at a word's start so that addresses like host/home/ do not count.
MACHINE_PATH = re.compile(r"(?<![\w.:/~$}-])/(?:home|root|tmp|work|mnt|Users)/\w")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins() -> dict[str, str]:
    return {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in constraint_lines())
    }


def requirements() -> list[Requirement]:
    project = pyproject()["project"]
    lines = list(project["dependencies"])
    for extra in PINNED_EXTRAS:
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return [one for one in found if one.name != project["name"]]  # an extra that is made of others


def tracked_files() -> list[Path]:
    """Files that are, or would be, committed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [path for path in (ROOT / name for name in names if name) if path.is_file()]


# --- versions


def test_constraints_are_exact_public_versions() -> None:
    for line in constraint_lines():
        assert re.fullmatch(r"[\w.-]+==\d[\w.]*", line), (
            f"{line!r} is not name==version, or has a local suffix"
        )
    names = [canonicalize_name(line.split("==")[0]) for line in constraint_lines()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_each_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier, "a requirement needs a lower bound"
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} is missing in constraints.txt"
    assert requirement.specifier.contains(pin)


@pytest.mark.parametrize("tool", ["pytest", "ruff", "mypy", "pre-commit", "torch", "diffusers"])
def test_installed_version_is_the_pinned_one(tool: str) -> None:
    assert metadata.version(tool).partition("+")[0] == pins()[canonicalize_name(tool)]


def test_pre_commit_runs_the_pinned_tools() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"], "a remote hook brings its own version"
    hooks = config["repos"][0]["hooks"]
    assert {"ruff-check", "ruff-format", "mypy"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_minimum_python_is_the_same_everywhere() -> None:
    project = pyproject()
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"


def test_version_is_the_same_everywhere() -> None:
    version = pyproject()["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert metadata.version("stablemtl") == version, "run `make test`, which installs the package again"


# --- documents


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_extras_that_documents_name_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    groups = re.findall(r"(?:stablemtl|\.)\[([a-z]+(?:,[a-z]+)*)\]", text)
    named = {extra for group in groups for extra in group.split(",")}
    assert named, f"{name} says nothing about extras"
    assert named <= set(pyproject()["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(name: str) -> None:
    # Pictures that are still to be made sit behind a TODO comment, which hides them from a reader as well.
    text = re.sub(r"<!--.*?-->", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (ROOT / target).exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_documents_name_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = re.findall(r"```.*?```|`[^`\n]+`", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(code)))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{name} names `make {target}`"


def test_no_machine_paths_in_tracked_files() -> None:
    found = []
    for path in tracked_files():
        if path.suffix not in TEXT:
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_tracked_files_stay_small() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    large = {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > 30 * 2**20}
    assert not large
    assert sum(sizes.values()) < 40 * 2**20


# --- the package


def test_public_names_are_importable() -> None:
    package = importlib.import_module("stablemtl")
    assert set(package.__all__) >= PUBLIC
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))


def test_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "stablemtl" / "py.typed").is_file()


def test_import_is_quick_and_has_no_side_effects(tmp_path: Path) -> None:
    # The audit hook sees every socket, file opened for writing, process and folder made by Python code.
    script = """
import sys

def watch(event, args):
    if event.startswith(("socket.", "subprocess.")) or event in ("os.system", "os.mkdir", "os.posix_spawn"):
        raise RuntimeError(f"importing stablemtl caused {event} {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise RuntimeError(f"importing stablemtl wrote {args[0]}")

sys.addaudithook(watch)
import stablemtl
heavy = {"torch", "numpy", "diffusers", "transformers", "accelerate", "mitsuba", "matplotlib", "cv2"}
loaded = sorted(heavy & set(sys.modules))
assert not loaded, f"importing stablemtl imported {loaded}; import them where they are used"
print("imported")
"""
    command = [sys.executable, "-B", "-W", "error", "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=4)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "imported\n", "importing prints nothing"
    assert list(tmp_path.iterdir()) == []
