"""Checks a data folder: looks around, lists files, reads frames in parallel, and judges them together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stablemtl.data.catalog import DatasetInfo
from stablemtl.data.doctor import depth, flow, labels, normals, scene_flow
from stablemtl.data.doctor.files import take_inventory
from stablemtl.data.doctor.findings import (
    Finding,
    Measurement,
    Observation,
    Problem,
    gather,
    in_order,
    join_splits,
    without_consequences,
)
from stablemtl.data.doctor.folder import find_datasets, look_around
from stablemtl.data.doctor.opening import open_split, verify
from stablemtl.data.doctor.pool import Job, Place, choose_processes, run_jobs
from stablemtl.data.doctor.raw import RAW, cityscapes, forget
from stablemtl.data.doctor.raw.flyingthings3d import CHANGE_RULE
from stablemtl.data.doctor.raw.hypersim import DISTANCE_RULE
from stablemtl.data.doctor.report import Report, SplitReport
from stablemtl.data.doctor.sampling import choose_frames
from stablemtl.data.doctor.trials import judge
from stablemtl.data.sample import Dataset

DEFAULT_SAMPLES = 20
"""Frames looked at for each task of a split, unless all are."""

Progress = Callable[[str, int, int], object]
"""Told a step's name, how many of its frames are done, and how many there are."""

_RULES = (flow.RULE, normals.RULE, scene_flow.RULE, DISTANCE_RULE, CHANGE_RULE)


@dataclass
class _Split:
    """A split that could be opened, and what was seen of it."""

    info: DatasetInfo
    folder: Path
    name: str
    dataset: Dataset
    labelled: dict[str, Sequence[int]]
    frames: list[int] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)


def check_data(
    root: str | os.PathLike[str],
    *,
    deep: bool = False,
    samples: int = DEFAULT_SAMPLES,
    datasets: Collection[str] = (),
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Check the datasets of a data folder.

    Names and sizes of all files are looked at; contents of an evenly spread sample, or of all with ``deep``.

    Args:
        root: a data folder, see ``stablemtl.data.datasets_in``, or the folder of a single dataset.
        deep: read every file.
        samples: frames to read for each task of a split, if not ``deep``.
        datasets: names of those to check; all if empty.
        workers: processes that read; ``None`` for as many as are worth it. 1 reads in this process.
        on_progress: told how far the work is.
    Raises:
        FileNotFoundError: no such folder, or no dataset in it.
        ValueError: ``samples`` or ``workers`` is below 1, or a dataset is not there.
        OSError: a worker process died.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    start = time.perf_counter()
    tell: Progress = on_progress or (lambda step, done, total: None)
    base = Path(root)
    forget()
    infos = find_datasets(base, datasets)
    findings = [] if datasets else look_around(base, infos)
    splits: list[_Split] = []
    reports: list[SplitReport] = []
    for name, info in infos.items():
        opened, told = _open(name, info, base / info.folder)
        findings += told
        if deep:
            findings += gather(name, "", verify(base / info.folder))
        for split in opened:
            findings += _list_files(split, None if deep else samples, tell)
        splits += opened
        reports += _split_reports(name, info, opened)
    jobs = [job for number, split in enumerate(splits) for job in _jobs(number, split)]
    places = [Place(info=split.info, folder=split.folder, split=split.name) for split in splits]
    processes = choose_processes(workers, len(jobs), places)
    results = run_jobs(jobs, places, [split.dataset for split in splits], processes)
    loaded = 0
    for done, (job, (seen, count)) in enumerate(zip(jobs, results, strict=True), 1):
        splits[job.place].seen += seen
        loaded += count
        tell("reading", done, len(jobs))
    for split in splits:
        findings += _judge(split)
    return Report(
        root=str(base),
        deep=deep,
        splits=tuple(reports),
        findings=tuple(in_order(join_splits(without_consequences(findings)))),
        samples=loaded,
        seconds=time.perf_counter() - start,
        workers=processes,
    )


def _open(name: str, info: DatasetInfo, folder: Path) -> tuple[list[_Split], list[Finding]]:
    """The splits of a dataset that open, and what their lists of frames tell."""
    found: list[_Split] = []
    findings: list[Finding] = []
    empty: list[str] = []
    broken = False
    for split in dict.fromkeys(info.splits.values()):
        opened = open_split(info, folder, split)
        findings += gather(name, split, opened.problems)
        broken |= bool(opened.problems)
        if opened.empty:
            empty.append(split)
        if opened.dataset is None:
            continue
        try:
            labelled = {task: opened.dataset.indices(task) for task in opened.dataset.tasks}
        except Exception as error:  # a dataset of the user's own may raise anything
            problem = Problem(
                severity="error", check="index", message="frames cannot be listed", where=str(error)
            )
            findings += gather(name, split, [problem])
            continue
        found.append(_Split(info, folder, split, opened.dataset, labelled))
        findings += _count(name, info, split, len(opened.dataset))
    if empty and not found and not broken:
        inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:5]
        findings.append(
            Finding(
                severity="error",
                check="empty-split",
                dataset=name,
                split=", ".join(empty),
                message=f"no frame of any split in {info.folder}; in it is {', '.join(inside) or 'nothing'}",
            )
        )
    else:
        message = "no frame of this split"
        findings += [
            Finding(severity="note", check="empty-split", dataset=name, split=split, message=message)
            for split in empty
        ]
    checks = RAW.get(type(found[0].dataset)) if found else None
    if checks is not None and not broken:
        problems: dict[str, list[Problem]] = {}
        for split, problem in checks.survey(folder, {split.name: split.dataset for split in found}):
            problems.setdefault(split, []).append(problem)
        for split, some in problems.items():
            findings += gather(name, split, some)
    return found, findings


def _count(name: str, info: DatasetInfo, split: str, frames: int) -> list[Finding]:
    official = info.official.get(split)
    if official is None or official == frames:
        return []
    message = f"{frames:,} frame{'' if frames == 1 else 's'}; the official release has {official:,}"
    return [Finding(severity="note", check="frame-count", dataset=name, split=split, message=message)]


def _list_files(split: _Split, limit: int | None, tell: Progress) -> list[Finding]:
    """Find missing files, and choose the frames to look at."""
    checks = RAW.get(type(split.dataset))
    findings: list[Finding] = []
    suspects: list[int] = []
    if checks is not None:
        done, total = 0, len(split.dataset)

        def advance() -> None:
            nonlocal done
            done += 1
            tell(f"listing {split.info.name}", done, total)

        inventory = take_inventory(split.dataset, checks, split.folder, on_frame=advance)
        findings = gather(split.info.name, split.name, inventory.missing)
        suspects = inventory.suspects
    split.frames = choose_frames(split.labelled, limit, suspects)
    return findings


def _jobs(number: int, split: _Split) -> list[Job]:
    members = {task: set(indices) for task, indices in split.labelled.items()}
    return [
        Job(place=number, index=i, tasks=tuple(task for task, some in members.items() if i in some))
        for i in split.frames
    ]


def _split_reports(name: str, info: DatasetInfo, opened: Sequence[_Split]) -> list[SplitReport]:
    by_name = {split.name: split for split in opened}
    reports = []
    for own in dict.fromkeys(info.splits.values()):
        split = by_name.get(own)
        reports.append(
            SplitReport(
                dataset=name,
                folder=info.folder,
                split=own,
                parts=tuple(part for part, other in info.splits.items() if other == own),
                frames=0 if split is None else len(split.dataset),
                official=info.official.get(own),
                labelled={} if split is None else {t: len(i) for t, i in split.labelled.items()},
                looked_at=0 if split is None else len(split.frames),
            )
        )
    return reports


def _judge(split: _Split) -> list[Finding]:
    """Findings from everything that was seen of a split."""
    name = split.info.name
    findings = gather(name, split.name, [seen for seen in split.seen if isinstance(seen, Problem)])
    measured: dict[str, list[Measurement]] = {}
    for seen in split.seen:
        if isinstance(seen, Measurement):
            measured.setdefault(seen.check, []).append(seen)
    for rule in _RULES:
        findings += judge(rule, measured.get(rule.check, []), name, split.name)
    findings += depth.judge_unit(measured.get(depth.UNIT_CHECK, []), name, split.name)
    findings += cityscapes.judge_ids(measured.get(cityscapes.IDS_CHECK, []), name, split.name)
    findings += labels.judge_valid(measured.get(labels.VALID_CHECK, []), name, split.name)
    return findings
