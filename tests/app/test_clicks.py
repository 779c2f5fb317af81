"""The functions behind the buttons, called as gradio calls them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stablemtl.app.limits import Limits
from stablemtl.app.sessions import Sessions
from stablemtl.app.shelf import Shelf
from stablemtl.tasks import TASKS

gr = pytest.importorskip("gradio", reason="the page needs gradio: pip install 'stablemtl[app]'")
VISITOR: Any = SimpleNamespace(session_hash="one")
OTHER: Any = SimpleNamespace(session_hash="other")


@pytest.fixture
def clicks(shelf: Shelf, tmp_path: Path) -> Any:
    from stablemtl.app.clicks import Clicks

    sessions = Sessions(tmp_path / "sessions", keep_seconds=1000.0, capacity=10)
    return Clicks(shelf, Limits(), sessions)


@pytest.fixture
def model(shelf: Shelf) -> str:
    return next(iter(shelf.offers))


def test_a_visitor_sees_their_own_result_until_they_leave(
    clicks: Any, model: str, frames: tuple[Path, Path]
) -> None:
    shown = clicks.predict(str(frames[0]), None, model, "multi", ["depth", "optical_flow"], VISITOR)
    assert list(shown.legends) == ["depth", "optical_flow"]
    assert list(shown.pictures) == ["image", "depth", "optical_flow"]
    assert shown.attention_tasks[:2] == ["depth", "optical_flow"]
    assert set(shown.attention_tasks) == set(TASKS)
    assert "data-values" in shown.legends["depth"]
    event = SimpleNamespace(index=[3, 5])
    assert "At x 3, y 5 px" in clicks.values(VISITOR, event)
    (picture, chosen), legend = clicks.compared("depth", VISITOR)
    assert Path(picture).name == "image.png"
    assert Path(chosen).is_file()
    assert legend == shown.legends["depth"]
    assert Path(clicks.archive(VISITOR)).is_file()
    with pytest.raises(gr.Error, match="There is no result yet"):
        clicks.archive(OTHER)

    clicks.leave(VISITOR)
    assert not Path(chosen).exists()
    with pytest.raises(gr.Error, match="There is no result yet"):
        clicks.values(VISITOR, event)


def test_the_cloud_is_made_once_for_a_result(clicks: Any, model: str, frames: tuple[Path, Path]) -> None:
    assert clicks.cloud(VISITOR)[0] is None
    for _ in range(2):
        clicks.predict(str(frames[0]), None, model, "single", ["depth"], VISITOR)
        path, text = clicks.cloud(VISITOR)
        assert Path(path).is_file()
        assert "points in metres" in text
        assert clicks.cloud(VISITOR) is None
    shown = clicks.predict(str(frames[0]), None, model, "single", ["normal"], VISITOR)
    assert shown.attention_tasks == []
    path, text = clicks.cloud(VISITOR)
    assert path is None
    assert "depth was not predicted" in text


def test_what_a_user_can_put_right_is_said(clicks: Any, model: str) -> None:
    with pytest.raises(gr.Error, match="Choose a picture first") as caught:
        clicks.predict(None, None, model, "multi", ["depth"], VISITOR)
    assert not caught.value.print_exception


def test_a_defect_goes_to_the_log_and_not_to_the_page(
    clicks: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("secret/path")

    monkeypatch.setattr(clicks.sessions, "running", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error, match="Something went wrong") as caught:
        clicks.archive(VISITOR)
    assert "secret" not in str(caught.value)
    assert "secret/path" in caplog.text


def test_too_little_memory_is_said(clicks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(clicks.sessions, "running", broken)
    with pytest.raises(gr.Error, match="not enough memory"):
        clicks.archive(VISITOR)
