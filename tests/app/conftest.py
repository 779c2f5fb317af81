"""Pictures, predictions and models shared by the page's tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl.app.limits import Limits
from stablemtl.app.prediction import Choice, Result, predict
from stablemtl.app.shelf import Shelf
from stablemtl.outputs import Prediction
from stablemtl.tasks import TASKS, build_task

MakePrediction = Callable[..., Prediction]


def _make_prediction(task: str, values: np.ndarray, *, note: str = "", **encoding: object) -> Prediction:
    """A map of given values; what is not finite is not valid."""
    spec = build_task(task, **encoding).spec
    return Prediction(
        task=task,
        values=values,
        valid=np.isfinite(values) if values.ndim == 2 else np.isfinite(values).all(axis=2),
        unit=spec.unit,
        convention=spec.convention,
        scale_known=spec.scale_known,
        shift_known=spec.shift_known,
        encoding=encoding,
        note=note,
    )


@pytest.fixture(scope="session")
def make_prediction() -> MakePrediction:
    """``make_prediction(task, values, note="", **encoding)``."""
    return _make_prediction


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two pictures of 27x18 px."""
    folder = tmp_path_factory.mktemp("frames")
    pixels = np.random.default_rng(0).integers(0, 256, (18, 27, 3), dtype=np.uint8)
    paths = (folder / "a.png", folder / "b.png")
    for path in paths:
        Image.fromarray(pixels).save(path)
        pixels = pixels[:, ::-1]
    return paths


@pytest.fixture(scope="session")
def shelf(tiny_folder: Path) -> Shelf:
    """One tiny model of two streams, called by its folder."""
    return Shelf([str(tiny_folder)])


@pytest.fixture(scope="session")
def result(shelf: Shelf, frames: tuple[Path, Path]) -> Result:
    """All maps of the two pictures."""
    choice = Choice(model=next(iter(shelf.offers)), tasks=tuple(TASKS))
    return predict(shelf, Limits(), *frames, choice)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    temporary: Path
    """What it takes for the system's folder of temporary files."""

    def stop(self, how: int) -> int:
        """End it by a signal; its exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """``start_server("--max-upload-mb", 1)``: ``stablemtl app`` at a free port, ended after the tests."""
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'stablemtl[app]'")
    source = Path(__file__).resolve().parents[2] / "src"
    servers: list[Running] = []

    def start(*arguments: object) -> Running:
        temporary = tmp_path_factory.mktemp("temporary")
        environment = {
            **os.environ,
            "PYTHONPATH": str(source),
            "TMPDIR": str(temporary),
            "GRADIO_HEARTBEAT_INTERVAL": "0.5",  # how soon a closed page is noticed [s]
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "stablemtl", "app", "--port", "0", "--no-open-browser"]
        process = subprocess.Popen(
            [*command, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = process.stdout.readline()  # it says where it listens, or ends
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, f"the server did not start: {said!r}, exit status {process.poll()}"
        servers.append(Running(url=found[0], process=process, temporary=temporary))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            assert server.stop(signal.SIGTERM) == 0
        if server.process.stdout is not None:
            server.process.stdout.close()
