"""Many pictures: what is computed once, what is skipped, what fails, what is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stablemtl import StableMTLPipeline
from stablemtl.folders import (
    JOURNAL,
    RESULTS,
    Predictor,
    PredictorOptions,
    Result,
    Summary,
    find_sources,
    make_jobs,
    pair,
    predict_folder,
    read_results,
    work,
)
from stablemtl.outputs import read_prediction

Write = Callable[..., list[Path]]


def run(predictor: Predictor, folder: Path, out: Path, rule: str = "none", **options: Any) -> Summary:
    found = find_sources([folder], recursive=True, exclude=out)
    sources, _ = pair(found.sources, rule)
    given = {"model": "tiny", "weights": "0", **options}
    return predict_folder(predictor, make_jobs(sources), out, base=found.base, **given)


def statuses(summary: Summary) -> dict[str, str]:
    return {result.name: result.status for result in summary.results}


@pytest.fixture
def calls(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the predictor was given."""
    seen: list[int] = []
    plain = predictor.predict

    def predict(images: Sequence[Any], images_next: Sequence[Any]) -> Any:
        seen.append(len(images))
        return plain(images, images_next)

    monkeypatch.setattr(predictor, "predict", predict)
    return seen


def test_each_picture_has_its_folder_and_its_row(
    predictor: Predictor, write_frames: Write, tmp_path: Path
) -> None:
    write_frames(tmp_path / "in" / "sub", 2)
    write_frames(tmp_path / "in", 1, (18, 27))
    out = tmp_path / "out"
    seen: list[tuple[str, int, int]] = []
    summary = run(predictor, tmp_path / "in", out, on_result=lambda r, *n: seen.append((r.name, *n)))
    assert statuses(summary) == {"f0.png": "ok", "sub/f0.png": "ok", "sub/f1.png": "ok"}
    assert [numbers for _, *numbers in seen] == [[1, 3], [2, 3], [3, 3]]
    assert read_prediction(out / "sub" / "f1" / "depth.npz").size == (18, 27)
    assert read_prediction(out / "f0" / "depth.npz").size == (27, 18)
    assert {path.name for path in out.iterdir()} == {"f0", "sub", RESULTS}
    rows = read_results(out)
    assert rows == list(summary.results)
    row = rows[2]
    assert (row.output, row.width, row.height, row.model, row.weights) == ("sub/f1", 27, 18, "tiny", "0")
    assert row.base == (tmp_path / "in").as_posix()
    assert {file.name for file in row.files} == {"depth.npz", "optical_flow.npz", "maps.json"}
    assert row.image is not None
    assert row.image.bytes == (tmp_path / "in" / "sub" / "f1.png").stat().st_size


def test_the_table_is_for_other_programs_too(
    predictor: Predictor, write_frames: Write, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    write_frames(tmp_path / "in", 2)
    run(predictor, tmp_path / "in", tmp_path / "out", rule="sequence")
    table = pq.read_table(tmp_path / "out" / RESULTS)
    assert table.column("name").to_pylist() == ["f0.png", "f1.png"]
    assert [None if one is None else one["name"] for one in table.column("image_next").to_pylist()] == [
        "f1.png",
        None,
    ]
    assert table.num_rows == 2


def test_maps_are_those_of_the_pipeline(
    predictor: Predictor, tiny_pipeline: StableMTLPipeline, write_frames: Write, tmp_path: Path
) -> None:
    paths = write_frames(tmp_path / "in", 3)
    run(predictor, tmp_path / "in", tmp_path / "out", rule="sequence", batch_size=2)
    for path, following in zip(paths, [*paths[1:], None], strict=True):
        expected = tiny_pipeline(path, following, tasks=["depth", "optical_flow"])
        for task, prediction in expected.items():
            got = read_prediction(tmp_path / "out" / path.stem / f"{task}.npz")
            np.testing.assert_allclose(got.values, prediction.values, rtol=1e-4, atol=1e-4)
            assert got.note == prediction.note


def test_pictures_of_one_size_are_computed_together(
    predictor: Predictor, calls: list[int], write_frames: Write, tmp_path: Path
) -> None:
    write_frames(tmp_path / "in" / "a", 3)
    write_frames(tmp_path / "in" / "b", 2, (18, 27))
    for i in range(3):  # landscape and portrait in turn
        (tmp_path / "in" / "a" / f"f{i}.png").rename(tmp_path / "in" / f"{2 * i}.png")
    for i in range(2):
        (tmp_path / "in" / "b" / f"f{i}.png").rename(tmp_path / "in" / f"{2 * i + 1}.png")
    run(predictor, tmp_path / "in", tmp_path / "out", batch_size=3)
    assert sorted(calls) == [2, 3]


def test_large_pictures_are_not_computed_together(
    predictor: Predictor,
    calls: list[int],
    write_frames: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "BATCH_PIXELS", 2 * 27 * 18 + 1)
    write_frames(tmp_path / "in", 5)
    run(predictor, tmp_path / "in", tmp_path / "out", batch_size=4)
    assert calls == [2, 2, 1]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_frame_of_two_pairs_is_read_and_encoded_once(
    predictor: Predictor,
    tiny_pipeline: StableMTLPipeline,
    write_frames: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
) -> None:
    from stablemtl import images

    read: list[str] = []
    read_pixels = images.read_pixels

    def counted(source: Any, **options: Any) -> Any:
        if isinstance(source, Path):
            read.append(source.name)
        return read_pixels(source, **options)

    monkeypatch.setattr(images, "read_pixels", counted)
    encoded: list[int] = []
    hook = tiny_pipeline.vae.encoder.register_forward_hook(lambda _, given, __: encoded.append(len(given[0])))
    try:
        write_frames(tmp_path / "in", 6)
        summary = run(predictor, tmp_path / "in", tmp_path / "out", rule="sequence", batch_size=batch_size)
    finally:
        hook.remove()
    assert summary.count("ok") == 6
    assert sorted(read) == [f"f{i}.png" for i in range(6)]
    assert sum(encoded) == 6


# failures ---------------------------------------------------------------------------------------------------


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_a_bad_picture_does_not_stop_the_others(
    predictor: Predictor, write_frames: Write, tmp_path: Path
) -> None:
    paths = write_frames(tmp_path / "in", 5)
    spoil(paths[0])
    Image.new("RGB", (4, 4)).save(paths[1])
    paths[2].write_bytes(b"")
    summary = run(predictor, tmp_path / "in", tmp_path / "out")
    assert list(statuses(summary).values()) == ["failed", "failed", "failed", "ok", "ok"]
    errors = [result.error for result in summary.failures]
    assert errors[0].startswith("the picture is damaged or cut short")
    assert "4x4 px" in errors[1]
    assert errors[2].startswith("the picture is not an image that can be read")
    assert not (tmp_path / "out" / "f0").exists()


def test_second_frames_that_do_not_fit(predictor: Predictor, write_frames: Write, tmp_path: Path) -> None:
    paths = write_frames(tmp_path / "in", 3)
    Image.new("RGB", (18, 27)).save(tmp_path / "in" / "f0_next.png")
    shutil.copy(paths[0], tmp_path / "in" / "f1_next.png")
    summary = run(predictor, tmp_path / "in", tmp_path / "out", rule="f?.png f?_next.png".replace("?", "*"))
    assert statuses(summary) == {"f0.png": "failed", "f1.png": "ok", "f2.png": "failed"}
    errors = {result.name: result.error for result in summary.failures}
    assert errors["f0.png"].startswith(
        "its second frame, f0_next.png, is 18x27 px (width x height), the picture 27"
    )
    assert "there is no file" in errors["f2.png"]
    assert "f2_next.png" in errors["f2.png"]


def test_one_picture_of_a_batch_fails(
    predictor: Predictor, write_frames: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path / "in", 3)
    plain = predictor.predict

    def predict(images: Sequence[Any], images_next: Sequence[Any]) -> Any:
        if len(images) > 1:
            raise MemoryError
        if images[0][0, 0, 0] == Image.open(tmp_path / "in" / "f1.png").getpixel((0, 0))[0]:  # type: ignore[index]
            raise KeyError("what")
        return plain(images, images_next)

    monkeypatch.setattr(predictor, "predict", predict)
    summary = run(predictor, tmp_path / "in", tmp_path / "out")
    assert statuses(summary) == {"f0.png": "ok", "f1.png": "failed", "f2.png": "ok"}
    assert summary.failures[0].error == "unexpected KeyError: 'what'"


def test_fail_fast(predictor: Predictor, write_frames: Write, tmp_path: Path) -> None:
    paths = write_frames(tmp_path / "in", 4)
    spoil(paths[1])
    summary = run(predictor, tmp_path / "in", tmp_path / "out", batch_size=1, fail_fast=True)
    assert summary.pictures == 4
    assert statuses(summary) == {"f0.png": "ok", "f1.png": "failed"}
    paths[1].write_bytes(paths[0].read_bytes())
    again = run(predictor, tmp_path / "in", tmp_path / "out", batch_size=1, fail_fast=True)
    assert list(statuses(again).values()) == ["skipped", "ok", "ok", "ok"]


def test_a_full_disk_ends_the_run_and_loses_nothing(
    predictor: Predictor, write_frames: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path / "in", 4)
    plain = predictor.write

    def write(predicted: Any, folder: Path) -> Any:
        if folder.name == "f2":
            raise OSError(28, "No space left on device", str(folder))
        return plain(predicted, folder)

    monkeypatch.setattr(predictor, "write", write)
    with pytest.raises(OSError, match="No space left"):
        run(predictor, tmp_path / "in", tmp_path / "out", batch_size=1)
    monkeypatch.undo()
    summary = run(predictor, tmp_path / "in", tmp_path / "out")
    assert summary.count("failed") == 0
    assert [result.status for result in summary.results[:2]] == ["skipped", "skipped"]
    assert summary.results[2].status == "ok"


@pytest.mark.parametrize("where", ["predict", "write", "on_result"])
def test_an_interruption_keeps_what_is_finished(
    predictor: Predictor, write_frames: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    write_frames(tmp_path / "in", 5)
    times = 0

    def third(*_: object) -> None:
        nonlocal times
        times += 1
        if times == 3:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"batch_size": 1}
    if where == "on_result":
        options["on_result"] = third
    else:
        plain = getattr(predictor, where)
        monkeypatch.setattr(predictor, where, lambda *given: (third(), plain(*given))[1])
    with pytest.raises(KeyboardInterrupt):
        run(predictor, tmp_path / "in", tmp_path / "out", **options)
    monkeypatch.undo()
    assert not (tmp_path / "out" / JOURNAL).exists()
    finished = [result.name for result in read_results(tmp_path / "out")]
    assert 1 <= len(finished) <= 4
    summary = run(predictor, tmp_path / "in", tmp_path / "out")
    assert summary.count("skipped") == len(finished)
    assert summary.count("ok") == 5 - len(finished)


# going on ---------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(predictor: Predictor, write_frames: Write, tmp_path: Path) -> Path:
    """A finished run over three pictures in pairs, in ``out``; its pictures are in ``in`` beside it."""
    write_frames(tmp_path / "in", 3)
    run(predictor, tmp_path / "in", tmp_path / "out", rule="sequence")
    return tmp_path / "out"


def again(predictor: Predictor, finished: Path, **options: Any) -> list[str]:
    summary = run(predictor, finished.parent / "in", finished, **{"rule": "sequence", **options})
    return [result.status for result in summary.results]


def test_finished_pictures_are_skipped(predictor: Predictor, finished: Path, calls: list[int]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.npz")}
    assert again(predictor, finished) == ["skipped"] * 3
    assert again(predictor, finished) == ["skipped"] * 3
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.npz")} == before
    assert all(result.files and result.seconds > 0 for result in read_results(finished))


def test_a_changed_picture_is_predicted_again_with_its_pair(predictor: Predictor, finished: Path) -> None:
    picture = finished.parent / "in" / "f1.png"
    picture.write_bytes((finished.parent / "in" / "f0.png").read_bytes())
    assert again(predictor, finished) == ["ok", "ok", "skipped"]


def test_a_touched_picture_of_the_same_content_is_not(predictor: Predictor, finished: Path) -> None:
    os.utime(finished.parent / "in" / "f1.png", ns=(1, 1))
    assert again(predictor, finished) == ["skipped"] * 3


@pytest.mark.parametrize("change", ["gone", "shorter", "extra"])
def test_files_that_are_not_as_they_were(predictor: Predictor, finished: Path, change: str) -> None:
    file = finished / "f1" / "depth.npz"
    if change == "gone":
        file.unlink()
    elif change == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        (finished / "f1" / "mine.txt").touch()
    assert again(predictor, finished) == ["skipped", "skipped" if change == "extra" else "ok", "skipped"]
    assert read_prediction(file).size == (18, 27)


def test_another_model_or_other_options(
    predictor: Predictor, finished: Path, tiny_pipeline: StableMTLPipeline
) -> None:
    assert again(predictor, finished, weights="1") == ["ok"] * 3
    assert again(predictor, finished, weights="1", model="another name") == ["skipped"] * 3
    other = Predictor(tiny_pipeline, replace(predictor.options, single_stream=True))
    assert again(other, finished, weights="1") == ["ok"] * 3
    same = Predictor(tiny_pipeline, replace(other.options, batch_tasks=1))
    assert again(same, finished, weights="1") == ["skipped"] * 3
    assert again(same, finished, weights="1", overwrite=True) == ["ok"] * 3


def test_files_of_an_earlier_choice_do_not_stay_beside_new_ones(
    predictor: Predictor, finished: Path, tiny_pipeline: StableMTLPipeline
) -> None:
    (finished / "f1" / "mine.txt").touch()
    changed = finished / "f2" / "optical_flow.npz"
    changed.write_bytes(b"edited")
    depth = Predictor(tiny_pipeline, PredictorOptions(tasks=("depth",), formats=("exr",)))
    again(depth, finished)
    assert {path.name for path in (finished / "f0").iterdir()} == {"maps.exr", "maps.json"}
    assert {path.name for path in (finished / "f1").iterdir()} == {"maps.exr", "maps.json", "mine.txt"}
    assert changed.read_bytes() == b"edited"


def test_a_failure_is_tried_again(predictor: Predictor, finished: Path) -> None:
    picture = finished.parent / "in" / "f2.png"
    content = picture.read_bytes()
    spoil(picture)
    assert again(predictor, finished) == ["skipped", "failed", "failed"]
    picture.write_bytes(content)
    assert again(predictor, finished) == ["skipped", "ok", "ok"]


def test_rows_of_other_pictures_stay(predictor: Predictor, finished: Path, write_frames: Write) -> None:
    write_frames(finished.parent / "in" / "deep", 1)
    found = find_sources([finished.parent / "in" / "deep"])
    jobs = [replace(job, output=f"deep/{job.output}") for job in make_jobs(found.sources)]
    predict_folder(predictor, jobs, finished, base=found.base, model="tiny", weights="0")
    assert [row.output for row in read_results(finished)] == ["deep/f0", "f0", "f1", "f2"]


def test_maps_of_other_pictures_are_not_written_over(
    predictor: Predictor, finished: Path, write_frames: Write
) -> None:
    other = finished.parent / "other"
    write_frames(other, 1, (20, 16))
    with pytest.raises(
        ValueError, match=r"out/f0 has the maps of .*in/f0\.png, and .*other/f0\.png is another"
    ):
        run(predictor, other, finished)
    assert statuses(run(predictor, other, finished, overwrite=True)) == {"f0.png": "ok"}


def test_a_moved_folder_goes_on(predictor: Predictor, finished: Path) -> None:
    moved = finished.parent / "moved"
    (finished.parent / "in").rename(moved)
    assert set(statuses(run(predictor, moved, finished, rule="sequence")).values()) == {"skipped"}


def test_two_runs_do_not_write_into_one_folder(predictor: Predictor, finished: Path) -> None:
    def second(*_: object) -> None:
        with pytest.raises(BlockingIOError, match="another run writes into"):
            again(predictor, finished)

    assert again(predictor, finished, overwrite=True, on_result=second) == ["ok"] * 3


def test_leftovers_of_a_killed_run_are_removed(predictor: Predictor, finished: Path) -> None:
    (finished / ".f1-0123abcd").mkdir()
    (finished / ".f1-0123abcd" / "depth.npz").touch()
    (finished / ".f1-keep").mkdir()
    again(predictor, finished)
    assert not (finished / ".f1-0123abcd").exists()
    assert (finished / ".f1-keep").exists()


def test_errors(predictor: Predictor, tmp_path: Path, write_frames: Write) -> None:
    write_frames(tmp_path / "in", 1)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        run(predictor, tmp_path / "in", tmp_path / "out", batch_size=0)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match=r"is a file\. Name a folder"):
        run(predictor, tmp_path / "in", tmp_path / "file")


def test_a_result_survives_its_dict() -> None:
    result = Result(name="a", status="ok", base="/", output="a", model="m", weights="w", options="{}")
    assert Result.from_dict(result.to_dict()) == result
