"""How fast training samples load: downloads that are decoded and resized each time, or prepared samples.

Run it from the root of the repository, on a machine that does nothing else::

    python benchmarks/loading.py                            frames of Hypersim's official size, made up
    python benchmarks/loading.py --data data --size 96 128  the datasets in a data folder as well

Prints a table, and writes ``loading.json`` and ``loading.png`` to ``--out``. One thread reads, and both kinds
of files come from the system's page cache: a slow disk makes the difference larger, as prepared samples are
smaller. The made-up frames and the samples prepared are deleted at the end.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import matplotlib
import numpy as np
import pyarrow as pa
import torch
import tyro
from rich.console import Console
from rich.table import Table

from stablemtl.data import Dataset, Hypersim, Sample, open_datasets
from stablemtl.data.prepared import open_prepared
from stablemtl.data.prepared.block import Job, make_block
from stablemtl.data.prepared.layout import FRAMES, Header, Options, Source, Split
from stablemtl.data.transforms import Compose, Resize
from stablemtl.tasks import TASKS

matplotlib.use("Agg")

OFFICIAL_SIZE = (768, 1024)


@dataclass(frozen=True, kw_only=True)
class LoadingConfig:
    """Options of the benchmark."""

    data: Path | None = None
    """Data folder whose datasets are measured too."""
    split: str = "train"
    """Part of that data."""
    size: tuple[int, int] = (288, 384)
    """Height and width of the samples [px]."""
    frames: int = 12
    """Frames of each dataset, and made-up frames of Hypersim."""
    seconds: float = 3.0
    """To measure each kind of loading for at least; every frame is loaded twice or more."""
    out: Path = Path("benchmarks/results")
    """Folder for the figures and the picture."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Loading of one dataset's samples of one task."""

    dataset: str
    task: str
    direct_ms: float
    prepared_ms: float
    ratio: float
    cpu_ratio: float
    """Of the processor's time; other programs on the machine lengthen the rest, and long loads most."""
    prepared_kb: float
    """Size of a prepared sample, with its share of the frames."""


def main(config: LoadingConfig) -> None:
    """Measure, print, write."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        made_up = write_hypersim(Path(folder) / "hypersim", config.frames)
        rows += measure(
            Hypersim(made_up, "train"), config, Path(folder) / "prepared", "hypersim, official size"
        )
    for name, dataset in ({} if config.data is None else open_datasets(config.data, config.split)).items():
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(dataset, config, Path(folder), f"{name} in the data folder")
    report(rows, config)


class Pace(NamedTuple):
    """Seconds by the clock, and of one processor."""

    wall: float
    cpu: float


def measure(dataset: Dataset, config: LoadingConfig, folder: Path, title: str) -> list[Row]:
    """One row for each task of a dataset, of whose frames the first ones are prepared in ``folder``."""
    kept, sizes = prepare_first(dataset, config, folder)
    resize = Compose([Resize(size=config.size)], TASKS)
    rows = []
    for task in kept.tasks:
        if indices := list(kept.indices(task)):
            direct = pace(dataset, task, indices, config.seconds, resize)
            prepared = pace(kept, task, indices, config.seconds, lambda sample: sample)
            frames = 1 if kept.load(indices[0], task).image_next is None else 2
            rows.append(
                Row(
                    dataset=title,
                    task=task,
                    direct_ms=1e3 * direct.wall,
                    prepared_ms=1e3 * prepared.wall,
                    ratio=direct.wall / prepared.wall,
                    cpu_ratio=direct.cpu / prepared.cpu,
                    prepared_kb=(sizes[task] + frames * sizes[FRAMES]) / 1e3,
                )
            )
    return rows


def prepare_first(dataset: Dataset, config: LoadingConfig, folder: Path) -> tuple[Dataset, dict[str, float]]:
    """The first frames of a dataset, prepared, and the bytes of a row by task and for ``frames``."""
    indices = {
        task: np.array([index for index in dataset.indices(task) if index < config.frames], np.int64)
        for task in dataset.tasks
    }
    options = Options(size=config.size, samples_per_shard=config.frames)
    job = Job(dataset=dataset, options=options, folder=folder, split="train", indices=indices)
    block = make_block(job, 0)
    source = Source(
        frames=min(config.frames, len(dataset)),
        samples={task: len(some) for task, some in indices.items()},
        listing="",
    )
    header = Header(
        dataset=dataset.name,
        made_by="benchmark",
        options=options,
        parts={"train": "train"},
        splits={"train": Split(source=source, blocks={0: block})},
    )
    header.write(folder)
    sizes = {kind: shard.bytes / shard.rows for kind, shard in block.shards.items()}
    return open_prepared(folder, "train"), sizes


def pace(
    dataset: Dataset,
    task: str,
    indices: Sequence[int],
    seconds: float,
    change: Callable[[Sample], Sample],
) -> Pace:
    """Times to load and change a sample [s]: the least of several for each, the mean over all."""
    best = dict.fromkeys(indices, Pace(float("inf"), float("inf")))
    begin, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - begin < seconds:
        for index in indices:
            start = Pace(time.perf_counter(), time.thread_time())
            change(dataset.load(index, task))
            end = Pace(time.perf_counter(), time.thread_time())
            best[index] = Pace(
                min(best[index].wall, end.wall - start.wall), min(best[index].cpu, end.cpu - start.cpu)
            )
        rounds += 1
    return Pace(*np.mean(list(best.values()), axis=0).tolist())


def write_hypersim(root: Path, frames: int) -> Path:
    """Frames of the official size, in the official layout, types and compression; their content is made up.

    Geometry is smooth, colours are smooth with a little of the grain that path tracing leaves.
    """
    scene, camera = "ai_001_001", "cam_00"
    root.mkdir(parents=True)
    with (root / "metadata_images_split_scene_v1.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                "scene_name",
                "camera_name",
                "frame_id",
                "included_in_public_release",
                "exclude_reason",
                "split_partition_name",
            )
        )
        writer.writerows((scene, camera, number, True, "", "train") for number in range(frames))
    rng = np.random.default_rng(0)
    _write(root / scene / "_detail" / camera / "camera_keyframe_positions.hdf5", rng.normal(size=(frames, 3)))
    for number in range(frames):
        files = {
            "final": {
                "color": np.exp(_smooth(rng, 3)) * rng.gamma(100.0, 0.01, (*OFFICIAL_SIZE, 3)),
                "diffuse_reflectance": 0.5 + 0.4 * np.tanh(_smooth(rng, 3)),
            },
            "geometry": {
                "depth_meters": 4.0 + _smooth(rng, 1)[..., 0],
                "normal_cam": _unit(_smooth(rng, 3)),
                "normal_world": _unit(_smooth(rng, 3)),
                "position": 5.0 * _smooth(rng, 3),
                "render_entity_id": (3.0 * _smooth(rng, 1)[..., 0]).astype(np.int32) + 20,
            },
        }
        for group, arrays in files.items():
            folder = root / scene / "images" / f"scene_{camera}_{group}_hdf5"
            for kind, array in arrays.items():
                halves = array if array.dtype == np.int32 else array.astype(np.float16)
                _write(folder / f"frame.{number:04d}.{kind}.hdf5", halves)
    return root


def _smooth(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Random waves (H, W, C) of a few periods, of unit variance."""
    height, width = OFFICIAL_SIZE
    y, x = np.mgrid[:height, :width] / width
    waves = []
    for _ in range(channels):
        parts = rng.uniform(-20.0, 20.0, (6, 2)), rng.uniform(0.0, 2.0 * np.pi, 6)
        waves.append(sum(np.cos(u * x + v * y + p) for (u, v), p in zip(*parts, strict=True)) / np.sqrt(3.0))
    return np.stack(waves, -1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset", data=array, compression="gzip")


def report(rows: Sequence[Row], config: LoadingConfig) -> None:
    """The table, ``loading.json`` and ``loading.png``."""
    height, width = config.size
    table = Table(
        "dataset", "task", "direct [ms]", "prepared [ms]", "ratio", "ratio of CPU time", "kB prepared"
    )
    for row in rows:
        figures = (
            f"{row.direct_ms:.1f}",
            f"{row.prepared_ms:.2f}",
            f"{row.ratio:.0f}",
            f"{row.cpu_ratio:.0f}",
            f"{row.prepared_kb:.0f}",
        )
        table.add_row(row.dataset, row.task, *figures)
    Console(width=120).print(table)
    config.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "size": [height, width],
        "frames": config.frames,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pyarrow": pa.__version__,
            "h5py": h5py.__version__,
        },
        "rows": [asdict(row) for row in rows],
    }
    (config.out / "loading.json").write_text(json.dumps(facts, indent=2) + "\n")
    draw(rows, f"samples of {height} x {width} px, one thread", config.out / "loading.png")
    least = min(min(row.ratio, row.cpu_ratio) for row in rows)
    print(f"least ratio {least:.0f}; figures in {config.out / 'loading.json'}")


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Bars of both times, on a logarithmic axis."""
    import matplotlib.pyplot as plt

    places = np.arange(len(rows))[::-1]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes.barh(places + 0.2, [row.direct_ms for row in rows], 0.4, label="decoded and resized each time")
    bars = axes.barh(places - 0.2, [row.prepared_ms for row in rows], 0.4, label="prepared")
    axes.bar_label(bars, [f"{row.ratio:.0f} times as fast" for row in rows], padding=3)
    axes.set_yticks(places, [f"{row.dataset}: {row.task}" for row in rows])
    axes.set_xscale("log")
    axes.set_xlabel("time to load a sample [ms]")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(LoadingConfig, description=__doc__))
