"""What a click on the page does: pictures in, maps, cloud and attention out. Knows nothing of gradio."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stablemtl.app.attention import attention_pictures
from stablemtl.app.limits import Limits
from stablemtl.app.shelf import Offer, Shelf
from stablemtl.app.uploads import Picture, read_pair
from stablemtl.outputs import Predictions
from stablemtl.writers import write_picture


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a visitor chose beside the pictures."""

    model: str
    """One of the models offered."""
    tasks: tuple[str, ...]
    """Maps wanted."""
    single_stream: bool = False
    """Take the auxiliary network's prediction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Maps of one picture or of two frames, with what they came from."""

    predictions: Predictions
    """At the size of ``picture``."""
    picture: Picture
    """The first frame."""
    following: Picture | None
    """The second frame."""
    choice: Choice
    """What was asked for."""
    seconds: float
    """How long the network and its codec took, the loading of a model not counted [s]."""

    @property
    def summary(self) -> str:
        """One line: sizes, model, time, and what was done to the pictures."""
        height, width = self.picture.size
        frames = "1 picture" if self.following is None else "2 pictures"
        stream = ", single stream" if self.choice.single_stream else ""
        notes = [shot.note for shot in (self.picture, self.following) if shot is not None and shot.note]
        facts = f"{frames} of {width}x{height} px, {self.choice.model}{stream}, {self.seconds:.1f} s."
        return " ".join([facts, *notes])


def predict(
    shelf: Shelf,
    limits: Limits,
    first: str | os.PathLike[str] | None,
    second: str | os.PathLike[str] | None,
    choice: Choice,
) -> Result:
    """Read the uploads and predict.

    Raises:
        ValueError: no picture, no task, or anything that cannot be used.
    """
    offer, tasks = wanted(shelf, choice)
    if first is None:
        raise ValueError("Choose a picture first." if second is None else "Choose the first picture as well.")
    picture, following = read_pair(first, second, limits)
    with shelf.use(offer.name) as pipe:
        start = time.perf_counter()
        maps = pipe(
            picture.pixels,
            None if following is None else following.pixels,
            tasks=tasks,
            single_stream=choice.single_stream,
        )
        seconds = time.perf_counter() - start
    return Result(predictions=maps, picture=picture, following=following, choice=choice, seconds=seconds)


def wanted(shelf: Shelf, choice: Choice) -> tuple[Offer, list[str]]:
    """The model chosen, and of the tasks chosen those it knows.

    Raises:
        ValueError: the model is not offered, or no task is left.
    """
    offer = shelf.offer(choice.model)
    tasks = [task for task in offer.tasks if task in choice.tasks]
    if not tasks:
        raise ValueError(f"Choose at least one map; {offer.name} knows {', '.join(offer.tasks)}.")
    return offer, tasks


def draw_maps(result: Result, folder: Path) -> dict[str, Path]:
    """A colour picture of each map, and the photograph as ``image``.

    Returns:
        Name -> path of the picture, in the maps' order, the photograph first.
    """
    pictures = {"image": result.picture.image}
    pictures |= {task: prediction.colorize() for task, prediction in result.predictions.items()}
    paths = {}
    for name, picture in pictures.items():
        paths[name] = folder / f"{name}.png"
        write_picture(paths[name], picture)
    return paths


def draw_attention(shelf: Shelf, result: Result, task: str, folder: Path) -> tuple[Path, Path]:
    """See :func:`stablemtl.app.attention.attention_pictures`.

    Raises:
        ValueError: the model, or the choice, has no main stream.
    """
    if reason := shelf.offer(result.choice.model).no_attention:
        raise ValueError(reason)
    if result.choice.single_stream:
        raise ValueError(
            "These maps were predicted with the single stream, which attends to no other task. "
            "Choose multi-stream and predict again."
        )
    with shelf.use(result.choice.model) as pipe:
        return attention_pictures(pipe, result.picture, result.following, task, folder)


def main_tasks(offer: Offer, tasks: Sequence[str]) -> list[str]:
    """Tasks whose attention can be shown, those predicted first."""
    return sorted(offer.tasks, key=lambda task: task not in tasks)
