"""``stablemtl app`` without a page: its options and what it needs."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import tyro

from stablemtl import cli
from stablemtl.app.limits import Limits
from stablemtl.commands.app import AppConfig


def test_without_gradio_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "gradio" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert cli.main(["app"]) == 2
    assert "pip install 'stablemtl[app]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port must be 0 to 65535, got 70000"),
        (["--concurrency", "0"], "concurrency must be above 0, got 0"),
        (["--model", "nanoo"], "unknown model 'nanoo'"),
    ],
)
def test_wrong_options_are_told_at_once(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    pytest.importorskip("gradio", reason="the page needs gradio")
    assert cli.main(["app", *arguments, "--no-open-browser"]) == 2
    assert message in capsys.readouterr().err


def test_limits_are_options() -> None:
    assert tyro.cli(AppConfig, args=[]).limits == Limits()
    options = {
        "--max-upload-mb": 0.5,
        "--max-side-px": 64,
        "--max-megapixels": 0.25,
        "--max-video-seconds": 1.5,
        "--concurrency": 2,
        "--queue-size": 3,
        "--keep-minutes": 0.75,
    }
    arguments = [str(part) for option in options.items() for part in option]
    assert tyro.cli(AppConfig, args=arguments).limits == Limits(
        upload_mb=0.5,
        side_px=64,
        megapixels=0.25,
        video_seconds=1.5,
        concurrency=2,
        queue=3,
        keep_minutes=0.75,
    )


def test_a_limit_that_is_not_for_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["app", "--help"]) == 0
    assert "visitors" not in capsys.readouterr().out
    assert cli.main(["app", "--visitors", "3"]) == 2
    assert "--visitors" in capsys.readouterr().err
