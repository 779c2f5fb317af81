"""Videos from end to end, with a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import StableMTLPipeline
from stablemtl.tasks import TASKS
from stablemtl.video import VideoMaps, VideoOptions, VideoProgress, VideoResult, predict_video
from stablemtl.video.record import WORK
from stablemtl.video.tracks import LAST_FRAME_NOTE

SOURCE = Path(__file__).resolve().parents[2] / "src"
WriteClip = Callable[..., Path]
Show = Callable[[Path], tuple[np.ndarray, list[float]]]
OPTIONS = VideoOptions(chunk_frames=2, batch_size=2)
SOME = ("semantic", "optical_flow", "shading")
"""Tasks enough to compare interrupted runs: voted, blended, aligned."""


@pytest.fixture(scope="module")
def clip(write_clip: WriteClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=5)


@pytest.fixture(scope="module")
def result(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> VideoResult:
    return predict_video(tiny_pipeline, clip, tmp_path_factory.mktemp("whole") / "maps", OPTIONS)


@pytest.fixture(scope="module")
def some(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> VideoResult:
    out = tmp_path_factory.mktemp("some") / "maps"
    return predict_video(tiny_pipeline, clip, out, OPTIONS, tasks=SOME)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same(first: Path, second: Path, show: Show) -> None:
    """Two folders hold the same arrays, byte for byte, and videos of the same pictures and times."""
    assert files_in(first) == files_in(second)
    for name in files_in(first):
        if name.endswith(".npz"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
        elif name.endswith(".mp4"):
            for a, b in zip(show(first / name), show(second / name), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


def test_what_is_written(result: VideoResult, show: Show) -> None:
    videos = ["side_by_side", *TASKS]
    arrays = [f"{task}/{name}.npz" for task in TASKS for name in ("000000", "000002", "000004")]
    assert files_in(result.folder) == sorted(["video.json", *(f"{name}.mp4" for name in videos), *arrays])
    assert (result.frames, result.resumed, result.notes) == (5, 0, ())
    assert set(result.files) == {*videos, "video"}
    for name in TASKS:
        frames, times = show(result.files[name])
        assert frames.shape == (5, 32, 48, 3)
        assert times == pytest.approx([0.1 * n for n in range(5)])
    page, _ = show(result.files["side_by_side"])
    assert len(page) == 5
    assert page.shape[1] % 2 == page.shape[2] % 2 == 0


def test_description(result: VideoResult) -> None:
    facts = json.loads((result.folder / "video.json").read_text(encoding="utf-8"))
    assert facts["source"] == "clip.mp4"
    assert (facts["frames"], facts["rate"], facts["size"]) == (5, "10", [32, 48])
    assert facts["processed_size"] == [32, 48]
    assert list(facts["tasks"]) == list(TASKS)
    depth = facts["tasks"]["depth"]
    assert (depth["unit"], depth["dtype"], depth["scale_known"]) == ("m", "float16", True)
    assert depth["encoding"] == {"encoding": "log", "near_m": 0.5, "far_m": 80.0}
    assert 0.5 <= depth["shown"][0] < depth["shown"][1] <= 80.0
    assert facts["tasks"]["semantic"]["dtype"] == "uint8"
    assert facts["tasks"]["semantic"]["shown"] is None
    assert facts["arrays"]["frames_per_file"] == 2
    assert facts["options"]["smoothing"] == "exponential"
    for change in result.change.values():
        assert set(change) == {"as_predicted", "as_written"}


def test_values_are_those_of_the_pipeline(
    tiny_pipeline: StableMTLPipeline, clip: Path, show: Show, tmp_path: Path
) -> None:
    """Without smoothing; each frame with the next, the last one alone."""
    options = replace(OPTIONS, smoothing="none", array_type="float32")
    out = predict_video(tiny_pipeline, clip, tmp_path / "raw", options).folder
    maps = VideoMaps(out)
    frames, _ = show(clip)
    for number in (2, 4):
        following = frames[number + 1] if number < 4 else None
        expected = tiny_pipeline(frames[number], following)
        found = maps[number]
        assert list(found) == list(expected)
        for task, one in expected.items():
            np.testing.assert_allclose(found[task].values, one.values, rtol=1e-4, atol=1e-4, err_msg=task)
            assert found[task].values.dtype == one.values.dtype
            np.testing.assert_array_equal(found[task].valid, one.valid)
            assert (found[task].unit, found[task].encoding) == (one.unit, one.encoding)
            last_motion = number == 4 and TASKS[task].spec.frames == 2
            assert found[task].note == (LAST_FRAME_NOTE if last_motion else "")
    assert [*maps] == list(range(5))
    np.testing.assert_allclose(maps.times_s, np.arange(5) / 10)
    with pytest.raises(KeyError, match="no frame 5; this clip has frames 0 to 4"):
        maps[5]


def test_each_frame_is_encoded_once(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = tiny_pipeline._encode
    monkeypatch.setattr(tiny_pipeline, "_encode", lambda x, tile=0: seen.append(len(x)) or encode(x, tile))
    predict_video(tiny_pipeline, clip, tmp_path / "maps", OPTIONS, tasks="depth")
    assert sum(seen) == 5


def test_colours_have_one_range_over_the_clip(result: VideoResult, show: Show) -> None:
    """A picture of the video is the task's colours with the range of the description."""
    maps = VideoMaps(result.folder)
    frames, _ = show(result.files["depth"])
    low, high = result.ranges["depth"] or (0.0, 0.0)
    task = TASKS["depth"]
    for number in (1, 4):
        values = torch.from_numpy(maps[number]["depth"].values)[None, None]
        wanted = task.colorize(values, value_range=(low, high))[0].permute(1, 2, 0).numpy()
        error = np.abs(frames[number].astype(int) - wanted)
        assert np.median(error) < 12  # 4:2:0 colours of a small, noisy picture
    assert result.ranges["normal"] == (-1.0, 1.0)
    assert result.ranges["semantic"] is None


def test_killed_and_continued_is_the_same(
    some: VideoResult, clip: Path, tiny_folder: Path, show: Show, tmp_path: Path
) -> None:
    """Many times, after a run that was refused while another one was at work."""
    worker = Path(__file__).with_name("resumed.py")
    done = subprocess.run(
        [sys.executable, str(worker), str(tiny_folder), str(clip), str(tmp_path / "maps"), *SOME],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, resumed = done.stdout.splitlines()
    assert refused == (
        f"another run writes into {tmp_path / 'maps'} at this moment. Wait for it, or choose another --out."
    )
    assert resumed == "5"
    assert_same(some.folder, tmp_path / "maps", show)


def stop_at(number: int) -> Callable[[VideoProgress], None]:
    def progress(at: VideoProgress) -> None:
        if at.stage == "predict" and at.done == number:
            raise KeyboardInterrupt

    return progress


def test_interrupted_says_how_to_go_on(
    tiny_pipeline: StableMTLPipeline, clip: Path, some: VideoResult, show: Show, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
        predict_video(tiny_pipeline, clip, out, OPTIONS, tasks=SOME, progress=stop_at(3))
    assert [path.name for path in out.iterdir()] == [WORK]
    seen: list[VideoProgress] = []
    again = predict_video(tiny_pipeline, clip, out, OPTIONS, tasks=SOME, progress=seen.append)
    assert again.resumed == 2  # one chunk
    assert (seen[0].stage, seen[0].done, seen[0].total) == ("predict", 2, 5)
    assert_same(some.folder, out, show)
    assert again.change == some.change


def test_finished_is_not_made_again(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "maps"
    options = replace(OPTIONS, max_frames=2, chunk_frames=1)
    first = predict_video(tiny_pipeline, clip, out, options, tasks=["depth"])
    stamps = {name: (out / name).stat().st_mtime_ns for name in files_in(out)}
    again = predict_video(tiny_pipeline, clip, out, options, tasks=["depth"])
    assert again == replace(first, resumed=2)
    assert {name: (out / name).stat().st_mtime_ns for name in files_in(out)} == stamps
    (out / "depth" / "000001.npz").unlink()  # but what is missing is
    assert predict_video(tiny_pipeline, clip, out, options, tasks=["depth"]).resumed == 0
    assert set(files_in(out)) == set(stamps)
    assert (
        predict_video(tiny_pipeline, clip, out, replace(options, resume=False), tasks=["depth"]).resumed == 0
    )


def test_other_options_begin_again(tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path) -> None:
    """What is there of a longer clip goes; what is not ours stays."""
    out = tmp_path / "maps"
    predict_video(tiny_pipeline, clip, out, replace(OPTIONS, max_frames=3), tasks=["depth"])
    (out / "depth" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        predict_video(
            tiny_pipeline, clip, out, replace(OPTIONS, every=2), tasks=["depth"], progress=stop_at(2)
        )
    shorter = replace(OPTIONS, max_frames=2)
    assert predict_video(tiny_pipeline, clip, out, shorter, tasks=["depth"]).resumed == 0
    arrays = ["depth/000000.npz", "depth/mine.txt"]
    assert files_in(out) == sorted([*arrays, "depth.mp4", "side_by_side.mp4", "video.json"])


def test_work_that_was_altered_is_not_trusted(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "maps", replace(OPTIONS, max_frames=3)
    with pytest.raises(KeyboardInterrupt):
        predict_video(tiny_pipeline, clip, out, options, tasks="shading", progress=stop_at(3))
    chunk = out / WORK / "shading" / "000000.npz"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    assert predict_video(tiny_pipeline, clip, out, options, tasks="shading").resumed == 0


def test_irregular_times_are_kept(
    tiny_pipeline: StableMTLPipeline, write_clip: WriteClip, show: Show, tmp_path: Path
) -> None:
    times_ms = [0, 100, 150, 400, 1000]
    clip = write_clip(tmp_path / "vfr.mp4", frames=5, times_ms=times_ms)
    out = predict_video(
        tiny_pipeline, clip, tmp_path / "maps", VideoOptions(start_s=0.05), tasks="depth"
    ).folder
    for name in ("depth.mp4", "side_by_side.mp4"):
        _, times = show(out / name)
        assert times == pytest.approx([0.0, 0.05, 0.3, 0.9], abs=1e-3)
    np.testing.assert_allclose(VideoMaps(out).times_s, [0.1, 0.15, 0.4, 1.0], atol=1e-3)


def test_odd_sizes_one_frame_no_arrays(
    tiny_pipeline: StableMTLPipeline, write_clip: WriteClip, show: Show, tmp_path: Path
) -> None:
    clip = write_clip(
        tmp_path / "odd.mkv", frames=1, size=(33, 47), codec="ffv1", pixel_format="yuv444p", options={}
    )
    options = VideoOptions(arrays=False)
    result = predict_video(tiny_pipeline, clip, tmp_path / "maps", options, tasks=["normal", "optical_flow"])
    assert result.frames == 1
    assert files_in(result.folder) == ["normal.mp4", "optical_flow.mp4", "side_by_side.mp4", "video.json"]
    frames, _ = show(result.files["normal"])
    assert frames.shape == (1, 34, 48, 3)  # the last row and column twice
    assert np.abs(frames[0, 33].astype(int) - frames[0, 32]).mean() < 12
    assert result.change["normal"] == {"as_predicted": None, "as_written": None}
    with pytest.raises(ValueError, match="holds no arrays: they were turned off"):
        VideoMaps(result.folder)


def test_smaller_maps(tiny_pipeline: StableMTLPipeline, clip: Path, show: Show, tmp_path: Path) -> None:
    options = VideoOptions(processing_resolution=24, match_input_resolution=False, max_frames=2)
    result = predict_video(tiny_pipeline, clip, tmp_path / "maps", options, tasks=["depth"])
    assert VideoMaps(result.folder)[1]["depth"].size == (16, 24)
    frames, _ = show(result.files["depth"])
    assert frames.shape == (2, 16, 24, 3)


def test_the_last_frame_taken_sees_the_one_after_it(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path
) -> None:
    """max_frames and stop_s do not make the last motion empty; only the end of the clip does."""
    options = VideoOptions(max_frames=2)
    maps = VideoMaps(predict_video(tiny_pipeline, clip, tmp_path / "a", options, tasks="optical_flow").folder)
    assert maps[1]["optical_flow"].note == ""


def test_a_cut_video_is_predicted_as_far_as_it_goes(
    tiny_pipeline: StableMTLPipeline, write_clip: WriteClip, tmp_path: Path
) -> None:
    whole = write_clip(tmp_path / "whole.mkv", frames=16, options={"g": "2"}).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    result = predict_video(tiny_pipeline, cut, tmp_path / "maps", OPTIONS, tasks="depth")
    assert 1 <= result.frames < 13
    assert result.notes == (f"ends early: {result.frames} of about 16 frames could be read",)


def test_pictures(tiny_pipeline: StableMTLPipeline, clip: Path, show: Show, tmp_path: Path) -> None:
    frames, _ = show(clip)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames[:3]):
        Image.fromarray(frame).save(folder / f"{number}.png")
    result = predict_video(
        tiny_pipeline, folder, tmp_path / "maps", VideoOptions(frame_rate=5.0), tasks="depth"
    )
    assert result.frames == 3
    assert show(result.files["depth"])[1] == pytest.approx([0.0, 0.2, 0.4])


def test_what_is_wrong_is_said_before_any_work(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    with pytest.raises(ValueError, match="unknown task 'depht'; choose from albedo, depth"):
        predict_video(tiny_pipeline, clip, out, tasks=["depht"])
    with pytest.raises(ValueError, match="tasks is empty"):
        predict_video(tiny_pipeline, clip, out, tasks=[])
    with pytest.raises(ValueError, match=r"codec 'h265x' is not a video encoder here; there are libx264"):
        predict_video(tiny_pipeline, clip, out, VideoOptions(codec="h265x"))
    with pytest.raises(ValueError, match="codec 'aac' is not a video encoder"):
        predict_video(tiny_pipeline, clip, out, VideoOptions(codec="aac"))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        predict_video(tiny_pipeline, tmp_path / "none.mp4", out)
    with pytest.raises(FileExistsError, match="it is a file"):
        predict_video(tiny_pipeline, clip, clip)
    assert not out.exists()


def test_no_frame_to_predict(tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip\.mp4 has no frame from start_s=60 to its end"):
        predict_video(tiny_pipeline, clip, tmp_path / "maps", VideoOptions(start_s=60.0))
    assert not (tmp_path / "maps").exists()
    small = tmp_path / "small"
    small.mkdir()
    Image.fromarray(np.zeros((4, 9, 3), np.uint8)).save(small / "1.png")
    with pytest.raises(ValueError, match="each side must be at least 8 px"):
        predict_video(tiny_pipeline, small, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_without_pyav(
    tiny_pipeline: StableMTLPipeline, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"videos need PyAV: pip install 'stablemtl\[video\]'"):
        predict_video(tiny_pipeline, clip, tmp_path / "maps")
