"""The models the page offers: those named when it was started, loaded on first use."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stablemtl.locate import EMBEDDED, find_model
from stablemtl.pipeline import StableMTLPipeline

Stream: TypeAlias = Literal["multi", "single"]

NO_MAIN_STREAM = (
    "This model has one stream only: nothing in it attends to other tasks. Choose a multi-stream model."
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is known of a model before its weights are read."""

    name: str
    """What it is called on the page: an embedded name, a hub id, or the last part of a folder's path."""
    folder: str
    """Where it lies."""
    tasks: tuple[str, ...]
    """Maps it predicts, in its order."""
    streams: tuple[Stream, ...]
    """Networks that can be chosen, the better one first."""
    no_attention: str = ""
    """Why it cannot be seen which tasks its main network attends to; empty if it can."""


class Shelf:
    """Models by what they are called on the page; the last few used stay in memory.

    A visitor chooses a name. Nothing but the names given here is ever looked up, so no path comes from the
    browser.

    Args:
        names: embedded models, folders (of exported models too) or hub ids; each is found now, so that a
            wrong one is told at once.
        device: where to compute; exported models stay on the CPU.
        keep: how many models stay in memory.
    Raises:
        ValueError: no name, one that is not a model, or two folders of one name.
        FileNotFoundError: no such folder.
        OSError: the hub cannot be reached.
    """

    def __init__(self, names: Sequence[str], *, device: str = "cpu", keep: int = 2) -> None:
        if not names:
            raise ValueError("models is empty; name at least one, such as nano.")
        self.offers = {offer.name: offer for offer in map(_offer, dict.fromkeys(names))}
        if len(self.offers) < len(set(names)):
            raise ValueError(f"models must be told apart by their folder's name, got {', '.join(names)}.")
        self._device, self._keep = device, keep
        self._loaded: OrderedDict[str, StableMTLPipeline] = OrderedDict()
        self._busy = {name: threading.Lock() for name in self.offers}
        self._lock = threading.Lock()

    def offer(self, name: str) -> Offer:
        """What is known of a model.

        Raises:
            ValueError: it is not offered.
        """
        if name not in self.offers:
            raise ValueError(f"the model {name!r} is not offered; choose from {', '.join(self.offers)}.")
        return self.offers[name]

    @contextmanager
    def use(self, name: str) -> Iterator[StableMTLPipeline]:
        """A model, for one user at a time: a pipeline is not made for two threads.

        Raises:
            ValueError: it is not offered.
            OSError: damaged weights.
        """
        offer = self.offer(name)
        with self._busy[name]:
            with self._lock:
                pipe = self._loaded.get(name)
            if pipe is None:
                pipe = _load(offer.folder, self._device)
            with self._lock:
                self._loaded[name] = pipe
                self._loaded.move_to_end(name)
                while len(self._loaded) > self._keep:
                    self._loaded.popitem(last=False)
            yield pipe

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory, the last used one last."""
        with self._lock:
            return tuple(self._loaded)


def _offer(name: str) -> Offer:
    from stablemtl.exported import is_exported

    if is_exported(name):
        from stablemtl.exported.manifest import Manifest

        manifest = Manifest.read(name)
        return Offer(
            name=Path(name).resolve().name,
            folder=name,
            tasks=manifest.tasks,
            streams=(manifest.streams,),
            no_attention="An exported model does not give its attention. Choose the model it was made from.",
        )
    folder = find_model(name)
    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    multi = config.get("task_attention") is not None
    return Offer(
        name=folder.resolve().name if Path(name).is_dir() and name not in EMBEDDED else name,
        folder=str(folder),
        tasks=tuple(config["tasks"]),
        streams=("multi", "single") if multi else ("single",),
        no_attention="" if multi else NO_MAIN_STREAM,
    )


def _load(folder: str, device: str) -> StableMTLPipeline:
    from stablemtl.exported import is_exported

    if is_exported(folder):
        from stablemtl.exported import load_exported

        return load_exported(folder)
    return StableMTLPipeline.from_pretrained(folder, device=device)
