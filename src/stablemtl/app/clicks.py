"""From clicks to what the page shows: the functions behind its buttons.

They hold no layout. Each takes the values of components and gives the values of others; which ones, ``page``
says.
"""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr

from stablemtl.app.clouds import draw_cloud
from stablemtl.app.downloads import zip_result
from stablemtl.app.example import example_views
from stablemtl.app.legends import legend
from stablemtl.app.limits import Limits
from stablemtl.app.prediction import Choice, Result, draw_attention, draw_maps, main_tasks, predict
from stablemtl.app.sessions import Session, Sessions
from stablemtl.app.shelf import Shelf
from stablemtl.app.values import hover_data, value_table
from stablemtl.app.videos import Progress, predict_clip

logger = logging.getLogger(__name__)

SINGLE = "single"
NO_RESULT = "There is no result yet, or it was removed after a long pause. Press Predict."

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a prediction changes on the page."""

    summary: str
    """HTML."""
    pictures: dict[str, Path]
    """Task -> picture; ``image`` for the photograph."""
    legends: dict[str, str]
    """Task -> HTML with what the mouse needs."""
    attention_tasks: list[str]
    """Tasks whose attention can be shown; none where there is no main stream."""


def readable(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Errors as one sentence on the page; what is a defect of ours goes to the log, with its traceback."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except gr.Error:
            raise
        except (ValueError, ImportError) as error:
            raise gr.Error(" ".join(str(error).split()), print_exception=False, duration=None) from error
        except Exception as error:
            logger.exception("%s failed", function.__name__)
            if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
                text = "There is not enough memory for this picture. Take a smaller one, or fewer maps."
            else:
                text = "Something went wrong on the server; its log says what."
            raise gr.Error(text, print_exception=False, duration=None) from error

    return call


class Clicks:
    """The functions behind the buttons, with what they share.

    Args:
        shelf: the models.
        limits: what is accepted.
        sessions: what is kept for each visitor.
    """

    def __init__(self, shelf: Shelf, limits: Limits, sessions: Sessions) -> None:
        self.shelf, self.limits, self.sessions = shelf, limits, sessions

    @readable
    def predict(
        self,
        first: str | None,
        second: str | None,
        model: str,
        stream: str,
        tasks: Sequence[str],
        request: gr.Request,
    ) -> Shown:
        """Predict the maps of a picture or of two, and draw them."""
        choice = Choice(model=model, tasks=tuple(tasks), single_stream=stream == SINGLE)
        with self.sessions.running(_key(request)) as session:
            result = predict(self.shelf, self.limits, first, second, choice)
            pictures = draw_maps(result, _emptied(session.maps))
            session.result = result
        legends = {
            task: legend(prediction) + hover_data(prediction)
            for task, prediction in result.predictions.items()
        }
        offer = self.shelf.offer(model)
        attends = not offer.no_attention and not choice.single_stream
        return Shown(
            summary=result.summary,
            pictures=pictures,
            legends=legends,
            attention_tasks=main_tasks(offer, list(result.predictions)) if attends else [],
        )

    @readable
    def example(self) -> tuple[str, str]:
        """The two views of the example."""
        first, second = example_views(self.sessions.root / "example")
        return str(first), str(second)

    @readable
    def archive(self, request: gr.Request) -> str:
        """Everything of the last prediction as a zip file."""
        with self.sessions.running(_key(request)) as session:
            return str(zip_result(_result(session), session.maps))

    @readable
    def values(self, request: gr.Request, event: gr.SelectData) -> str:
        """The values of all maps at the pixel clicked."""
        with self.sessions.running(_key(request)) as session:
            x, y = (int(place) for place in event.index)
            return value_table(_result(session).predictions, x, y)

    @readable
    def compared(self, task: str, request: gr.Request) -> tuple[tuple[str, str], str]:
        """The photograph and a map, and the map's legend."""
        with self.sessions.running(_key(request)) as session:
            prediction = _result(session).predictions[task]
            paths = tuple(str(session.maps / f"{name}.png") for name in ("image", task))
            return (paths[0], paths[1]), legend(prediction) + hover_data(prediction)

    @readable
    def cloud(self, request: gr.Request) -> tuple[str | None, str] | None:
        """The cloud of points and what to know of it, or why there is none; None if it is there already."""
        with self.sessions.running(_key(request)) as session:
            path = session.maps / "cloud.glb"
            if session.result is None:
                return None, NO_RESULT
            if path.is_file():
                return None
            try:
                return str(path), draw_cloud(session.result, path)
            except ValueError as reason:
                return None, str(reason)

    @readable
    def attention(self, task: str | None, request: gr.Request) -> tuple[str, str]:
        """How much each task listens to each other one, and where ``task`` does."""
        with self.sessions.running(_key(request)) as session:
            result = _result(session)
            chosen = task or next(iter(result.predictions))
            scores, places = draw_attention(self.shelf, result, chosen, session.maps)
            return str(scores), str(places)

    @readable
    def predict_video(
        self,
        video: str | None,
        model: str,
        stream: str,
        tasks: Sequence[str],
        request: gr.Request,
        progress: Progress,
    ) -> tuple[str, str, str]:
        """Predict the frames of a video: the video of all maps, the zip file, and a summary."""
        choice = Choice(model=model, tasks=tuple(tasks), single_stream=stream == SINGLE)
        with self.sessions.running(_key(request)) as session:
            folder = _emptied(session.folder / "clip")
            made = predict_clip(self.shelf, self.limits, video, choice, folder, progress)
            return str(made.video), str(made.archive), made.summary

    def leave(self, request: gr.Request) -> None:
        """The page was closed: nothing of it is kept."""
        self.sessions.drop(_key(request))


def _key(request: gr.Request) -> str:
    return str(request.session_hash)


def _result(session: Session) -> Result:
    if session.result is None:
        raise ValueError(NO_RESULT)
    return session.result


def _emptied(folder: Path) -> Path:
    """The folder, without the files of what was predicted before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
