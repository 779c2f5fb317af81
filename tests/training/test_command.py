"""``stablemtl train``, with the training itself left out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stablemtl import cli
from stablemtl.recipes import RECIPES
from stablemtl.training import autoencoder, distillation, stages
from stablemtl.training.config import CodecRun, StageRun, TinyCodecRun

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line: (exit status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["train", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that training was called with."""
    seen: list[Any] = []

    def instead(config: Any) -> Path:
        seen.append(config)
        return Path("there")

    monkeypatch.setattr(autoencoder, "train_codec", instead)
    monkeypatch.setattr(distillation, "distill_codec", instead)
    monkeypatch.setattr(stages, "train_stage", instead)
    return seen


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The command sets levels of logging for its process; put them back."""
    loggers = [logging.getLogger(name) for name in ("", "accelerate", "diffusers")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_help_lists_the_recipes(run: Run) -> None:
    status, stdout, stderr = run("--help")
    assert (status, stderr) == (0, "")
    for name, recipe in RECIPES.items():
        assert name in stdout
        assert (recipe.__doc__ or "").splitlines()[0][:60] in stdout


def test_help_of_a_recipe_shows_its_options_and_values(run: Run) -> None:
    status, stdout, _ = run("nano-stage1", "--help")
    assert status == 0
    for option in ("--out", "--codec", "--data.root", "--loop.steps", "--loop.accumulation", "--no-resume"):
        assert option in stdout
    assert f"(default: {RECIPES['nano-stage1']().loop.steps})" in stdout
    assert "Optimizer steps of the whole run." in stdout


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_as_it_is(run: Run, trained: list[Any], name: str) -> None:
    status, stdout, stderr = run(name)
    assert (status, stderr) == (0, "")
    kinds = {CodecRun: "codec", TinyCodecRun: "tiny codec", StageRun: "pipeline"}
    assert stdout.strip() == f"{kinds[type(RECIPES[name]())]}: there"
    assert trained == [RECIPES[name]()]


def test_options_replace_those_of_the_recipe(run: Run, trained: list[Any]) -> None:
    options = (
        "--data.root",
        "my data",
        "--data.size",
        48,
        64,
        "--loop.steps",
        7,
        "--loop.learning-rate",
        0.5,
    )
    assert run("nano-stage1", *options, "--tasks", "depth", "normal", "--no-resume", "--out", "o")[0] == 0
    expected = RECIPES["nano-stage1"]()
    assert trained == [
        dataclasses.replace(
            expected,
            data=dataclasses.replace(expected.data, root=Path("my data"), size=(48, 64)),
            loop=dataclasses.replace(expected.loop, steps=7, learning_rate=0.5),
            tasks=("depth", "normal"),
            resume=False,
            out=Path("o"),
        )
    ]


def test_groups_of_options_are_switched_on_by_name(run: Run, trained: list[Any]) -> None:
    command = ["stage1", "--base", "sd2", "lora:lora-options", "--lora.rank", 4]
    assert run(*command, "adaptive:adaptive-config", "--adaptive.every", 50)[0] == 0
    (config,) = trained
    assert (config.base, config.lora.rank, config.adaptive.every) == ("sd2", 4, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nano-codec"),
        (["nano"], "unknown recipe 'nano'. Did you mean nano-"),
        (["nano-stage1", "--loop.stepz", "3"], "--loop.stepz"),
        (["nano-codec", "--codec", "c"], "--codec"),
        (["nano-stage1", "--loop.steps", "many"], "many"),
        (["nano-stage1", "--loop.steps", "0"], "steps must be at least 1, got 0"),
        (["nano-stage1", "--codec", "None", "--init", "None"], "stage 1 needs either codec"),
    ],
)
def test_wrong_arguments(run: Run, trained: list[Any], arguments: list[str], message: str) -> None:
    status, _, stderr = run(*arguments)
    assert status == 2
    assert message in stderr
    assert "Traceback" not in stderr
    assert not trained


def test_what_is_missing_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    options = ("--codec", tmp_path / "none", "--init", "None", "--out", tmp_path / "out")
    status, _, stderr = run("nano-stage1", *options)
    assert status == 2
    assert stderr.startswith("stablemtl train: error: codec: no config.json in")
    assert "`stablemtl train nano-codec`" in stderr
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
