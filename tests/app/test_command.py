"""``stablemtl app`` without a page: its options and what it needs."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from stablemtl import cli


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
