"""Both stages with small networks on a few fake frames."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from stablemtl import TASKS, StableMTLModel, StableMTLPipeline
from stablemtl.models.codec import LatentCodec
from stablemtl.models.task_attention import TaskAttentionConfig
from stablemtl.training import stages
from stablemtl.training.config import StageRun
from stablemtl.training.latents import LatentBatch, Latents
from stablemtl.training.loop import fit
from stablemtl.training.losses import masked_mse, squared_error
from stablemtl.training.mixtures import training_mixture
from stablemtl.training.preview import write_preview
from stablemtl.training.stages import train_stage
from stablemtl.training.start import init_folder
from stablemtl.training.step import Loss

Runs = Callable[..., StageRun]
Parameters = Callable[[nn.Module], dict[str, Tensor]]

TASK_ATTENTION = TaskAttentionConfig(heads=2, query_hidden_dim=8, mask_probability=0.5)
MAIN = ("main.", "task_attention_blocks.")


class Killed(Exception):
    """Stands for whatever ends a run from outside."""


pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def small_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the pair that comes with scikit-image."""
    import skimage.data

    pair = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    monkeypatch.setattr(skimage.data, "stereo_motorcycle", lambda: (pair[0], pair[1], None))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``watch(before=f)``: f(model, step, micro) ahead of every micro-batch; it may raise."""

    def install(before: Callable[[StableMTLModel, int, int], None]) -> None:
        def watched(
            accelerator: Any, model: StableMTLModel, loss_at: Callable[..., Loss], *args: Any, **options: Any
        ) -> None:
            def watched_loss(module: nn.Module, step: int, micro: int, rank: int) -> Loss:
                before(model, step, micro)
                return loss_at(module, step, micro, rank)

            fit(accelerator, model, watched_loss, *args, **options)

        monkeypatch.setattr(stages, "fit", watched)

    return install


@pytest.fixture(scope="module")
def first(
    make_tiny_model: Callable[..., StableMTLModel],
    codec_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A pipeline such as stage 1 writes, with random weights."""
    folder = tmp_path_factory.mktemp("first") / "pipeline"
    StableMTLPipeline(
        model=make_tiny_model(multi_stream=False),
        vae=AutoencoderTiny.from_pretrained(codec_folder),
        task_options={"depth": {"encoding": "log", "near_m": 0.5, "far_m": 80.0}},
        default_processing_resolution=24,
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def untrained(first: Path, stage_run: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The pipeline that stage 2 starts from."""
    with monkeypatch.context() as patch:
        patch.setattr(stages, "fit", lambda *args, **options: None)
        return train_stage(second(stage_run, first, out=tmp_path / "untrained"))


def second(stage_run: Runs, init: Path, **options: Any) -> StageRun:
    return stage_run(2, **{"init": init, "task_attention": TASK_ATTENTION, **options})


def load(folder: Path) -> StableMTLPipeline:
    return StableMTLPipeline.from_pretrained(folder)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def log(run: StageRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.out / "train.jsonl").read_text().splitlines()]


def interrupt_at(stop: int) -> Callable[..., None]:
    def before(model: StableMTLModel, step: int, micro: int) -> None:
        if step == stop:
            raise Killed

    return before


# stage 1 ----------------------------------------------------------------------------------------------------


def test_stage_1_writes_a_pipeline_that_predicts(stage_run: Runs, codec_folder: Path) -> None:
    run = stage_run(1, steps=7, log_every=1, balance_losses=True)
    folder = train_stage(run)
    assert folder == run.out / "pipeline"
    pipeline = load(folder)
    assert pipeline.model.main is None
    assert list(pipeline.tasks) == list(TASKS)
    assert pipeline.config["default_processing_resolution"] == 24
    assert pipeline.tasks["depth"].options == {"encoding": "log", "near_m": 0.5, "far_m": 80.0}
    frames = np.random.default_rng(0).integers(0, 256, (2, 18, 27, 3), dtype=np.uint8)
    maps = pipeline(frames[0], frames[1])
    assert list(maps) == list(TASKS)
    assert all(one.values.shape[:2] == (18, 27) and np.isfinite(one.values).all() for one in maps.values())
    assert {label for line in log(run) for label in line["loss"]} == set(TASKS)
    assert all(np.isfinite(list(line["loss"].values())).all() for line in log(run))
    training = json.loads((folder / "training.json").read_text())
    assert training["run"]["stage"] == 1
    assert training["run"]["loop"]["steps"] == 7
    assert training["code_version"]
    # The codec is the one that was given.
    codec = AutoencoderTiny.from_pretrained(codec_folder)
    assert not changed(codec.state_dict(), pipeline.vae.state_dict())
    assert pipeline.vae.config["scaling_factor"] == codec.config["scaling_factor"]
    written = {"pipeline", "checkpoints", "train.jsonl", "report.md", "report"}
    assert {path.name for path in run.out.iterdir()} == written
    report = (run.out / "report.md").read_text()
    assert all(task in report for task in TASKS)


def test_stage_1_trains_the_unet_and_not_the_tokens(
    stage_run: Runs, watch: Callable[..., None], parameters: Parameters
) -> None:
    seen: dict[int, dict[str, Tensor]] = {}
    watch(lambda model, step, micro: seen.__setitem__(step, parameters(model)))
    run = stage_run(1, steps=3)
    seen[3] = load(train_stage(run)).model.state_dict()
    # The output starts from zeros: nothing before it has a gradient in the first step.
    assert not any(seen[0][f"auxiliary.conv_out.{name}"].any() for name in ("weight", "bias"))
    assert changed(seen[0], seen[1]) == {"auxiliary.conv_out.weight", "auxiliary.conv_out.bias"}
    # A softmax does not see what all its inputs share, so that the bias of keys may have no gradient.
    still = set(seen[0]) - changed(seen[0], seen[3])
    assert "task_tokens" in still
    assert all("token" in name or ".to_k." in name for name in still)


def test_stage_1_in_half_precision(stage_run: Runs) -> None:
    from safetensors.torch import load_file

    folder = train_stage(stage_run(1, steps=1, save_dtype="float16"))
    for part in ("model", "vae"):
        weights = load_file(folder / part / "diffusion_pytorch_model.safetensors")
        assert {value.dtype for value in weights.values()} == {torch.float16}
    assert load(folder).model.dtype == torch.float32


def test_some_tasks(stage_run: Runs) -> None:
    weights = {"optical_flow": 3.0, "depth": 2.0}
    run = stage_run(1, steps=2, tasks=("depth", "normal"), task_weights=weights)
    pipeline = load(train_stage(run))
    assert tuple(pipeline.tasks) == ("depth", "normal")
    assert {label for line in log(run) for label in line["loss"]} <= {"depth", "normal"}


def test_stage_1_from_a_pipeline(
    first: Path,
    stage_run: Runs,
    watch: Callable[..., None],
    parameters: Parameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start: list[dict[str, Tensor]] = []
    watch(lambda model, step, micro: start.append(parameters(model)))
    sizes = set()

    def loss(pred: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        sizes.add(tuple(pred.shape))
        return squared_error(pred, target, valid)

    monkeypatch.setattr(stages, "squared_error", loss)
    run = stage_run(1, init=first, steps=2, log_every=1, data={"tasks": ("optical_flow",), "window": (4, 6)})
    pipeline, given = load(train_stage(run)), load(first)
    assert not changed(start[0], given.model.state_dict())
    assert "auxiliary.conv_in.weight" in changed(start[0], pipeline.model.state_dict())
    assert pipeline.model.main is None
    assert list(pipeline.tasks) == list(TASKS)  # those of the model, trained or not
    assert pipeline.config["task_options"] == given.config["task_options"]
    assert torch.equal(pipeline.model.task_tokens, given.model.task_tokens)
    assert not changed(given.vae.state_dict(), pipeline.vae.state_dict())
    assert [list(line["loss"]) for line in log(run)] == [["optical_flow"]] * 2
    assert sizes == {(2, 4, 4, 6)}


# stage 2 ----------------------------------------------------------------------------------------------------


def test_stage_2_starts_at_the_outputs_of_stage_1(first: Path, untrained: Path) -> None:
    one, two = load(first).model, load(untrained).model
    assert one.main is None
    assert two.main is not None
    generator = torch.Generator().manual_seed(0)
    latent, latent_next = torch.randn(2, 1, 4, 8, 12, generator=generator)
    with torch.no_grad():
        expected, found = one(latent, latent_next), two(latent, latent_next)
    for task in TASKS:
        assert expected[task].abs().max() > 0
        torch.testing.assert_close(found[task], expected[task], rtol=1e-5, atol=1e-6)


def test_stage_2_trains_the_main_stream_only(first: Path, untrained: Path, stage_run: Runs) -> None:
    run = second(stage_run, first, steps=3)
    pipeline = load(train_stage(run))
    one, start = load(first), load(untrained)
    moved = changed(start.model.state_dict(), pipeline.model.state_dict())
    assert moved
    assert all(name.startswith(MAIN) for name in moved)
    assert {name.split(".")[0] for name in moved} == {"main", "task_attention_blocks"}
    assert not changed(one.model.auxiliary.state_dict(), pipeline.model.auxiliary.state_dict())
    assert torch.equal(one.model.task_tokens, pipeline.model.task_tokens)
    assert not changed(one.vae.state_dict(), pipeline.vae.state_dict())


def test_stage_2_keeps_encodings_and_predicts(first: Path, stage_run: Runs) -> None:
    pipeline = load(train_stage(second(stage_run, first, steps=2)))
    assert pipeline.model.config["task_attention"]["query_hidden_dim"] == 8
    assert pipeline.config["task_options"] == load(first).config["task_options"]
    image = np.zeros((10, 14, 3), np.uint8)
    both, single = pipeline(image), pipeline(image, single_stream=True)
    assert both["depth"].unit == "m"
    assert any(not np.allclose(both[name].values, single[name].values, atol=1e-7) for name in TASKS)


def test_frozen_stream_stays_in_evaluation_mode(
    first: Path, stage_run: Runs, watch: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    monkeypatch.setattr(stages, "write_preview", lambda pipeline, path: None)

    def before(model: StableMTLModel, step: int, micro: int) -> None:
        assert model.main is not None
        modes.append((model.main.training, model.auxiliary.training))

    watch(before)
    train_stage(second(stage_run, first, steps=2, preview_every=1))
    assert modes == [(True, False)] * 2


# both stages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [1, 2])
def test_resumed_stage_gives_the_same_parameters(
    first: Path, stage_run: Runs, watch: Callable[..., None], tmp_path: Path, stage: int
) -> None:
    def run(name: str) -> StageRun:
        options = {"steps": 3, "accumulation": 3 - stage, "checkpoint_every": 2, "out": tmp_path / name}
        return stage_run(1, **options) if stage == 1 else second(stage_run, first, **options)

    watch(interrupt_at(2))
    with pytest.raises(Killed):
        train_stage(run("cut"))
    assert not (tmp_path / "cut" / "pipeline").exists()
    steps: list[int] = []
    watch(lambda model, step, micro: steps.append(step))
    resumed = load(train_stage(run("cut"))).model.state_dict()
    assert steps == [2] * (3 - stage)
    whole = load(train_stage(run("whole"))).model.state_dict()
    assert not changed(resumed, whole)


def test_finished_run_writes_its_pipeline_again(stage_run: Runs, watch: Callable[..., None]) -> None:
    folder = train_stage(stage_run(1, steps=2))
    before = load(folder).model.state_dict()
    shutil.rmtree(folder)
    watch(interrupt_at(0))
    assert train_stage(stage_run(1, steps=2)) == folder
    assert not changed(before, load(folder).model.state_dict())


def test_one_task_a_step(
    stage_run: Runs, monkeypatch: pytest.MonkeyPatch, watch: Callable[..., None]
) -> None:
    place, seen, real = [(-1, -1)], {}, Latents.batch
    watch(lambda model, step, micro: place.__setitem__(0, (step, micro)))

    def batch(self: Latents, step: int, micro: int = 0, rank: int = 0) -> LatentBatch:
        found = real(self, step, micro, rank)
        if place[0] == (step, micro):  # not while the variances are taken
            seen[step, micro] = found.task
        return found

    monkeypatch.setattr(Latents, "batch", batch)
    run = stage_run(1, steps=7, accumulation=2, log_every=1)
    train_stage(run)
    assert sorted(seen) == [(step, micro) for step in range(7) for micro in range(2)]
    assert all(seen[step, 0] == seen[step, 1] for step in range(7))
    assert {seen[step, 0] for step in range(7)} == set(TASKS)
    assert [list(line["loss"]) for line in log(run)] == [[seen[step, 0]] for step in range(7)]


def test_losses_are_balanced(stage_run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Latents, "variances", lambda self: dict.fromkeys(TASKS, 0.25))
    losses = {}
    for balanced in (True, False):
        run = stage_run(1, steps=1, balance_losses=balanced, out=tmp_path / str(balanced))
        train_stage(run)
        (losses[balanced],) = log(run)[0]["loss"].values()
    assert losses[True] == pytest.approx(4 * losses[False], rel=1e-4)


@pytest.mark.usefixtures("small_photographs")
def test_validation_and_previews(stage_run: Runs) -> None:
    run = stage_run(1, steps=4, preview_every=2, balance_losses=True)
    train_stage(run)
    figures = {line["step"]: line["validation"] for line in log(run) if "validation" in line}
    assert list(figures) == [2, 4]
    assert all(
        set(found) == set(TASKS) and all(value > 0 for value in found.values()) for found in figures.values()
    )
    assert sorted(path.name for path in (run.out / "previews").iterdir()) == [
        "step_000002.png",
        "step_000004.png",
    ]


@pytest.mark.usefixtures("small_photographs")
def test_validation_figures_are_those_of_the_held_out_frames(stage_run: Runs) -> None:
    run = stage_run(1, steps=2, preview_every=2)
    pipeline = load(train_stage(run))
    (figures,) = [line["validation"] for line in log(run) if "validation" in line]
    held_out = training_mixture(run.data, run.loop, pipeline.tasks, split="val")
    for task in ("depth", "optical_flow"):
        latents = Latents(held_out.only([task]), LatentCodec(pipeline.vae), pipeline.tasks)
        losses = []
        for batch in (latents.batch(step) for step in range(2)):
            with torch.no_grad():
                pred = pipeline.model(batch.latent, batch.latent_next, tasks=[task])[task]
                losses.append(masked_mse(pred, batch.target, batch.valid).item())
        assert figures[task] == pytest.approx(sum(losses) / 2, abs=2e-4)


@pytest.mark.usefixtures("small_photographs")
def test_without_held_out_frames_there_are_pictures_only(
    stage_run: Runs, data_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_root / "hypersim", tmp_path / "data" / "hypersim")
    listed = tmp_path / "data" / "hypersim" / "metadata_images_split_scene_v1.csv"
    kept = [line for line in listed.read_text().splitlines() if not line.endswith(",val")]
    listed.write_text("\n".join(kept) + "\n")
    tasks = ("albedo", "shading", "depth", "normal")
    run = stage_run(1, steps=2, preview_every=2, root=tmp_path / "data", tasks=tasks)
    train_stage(run)
    assert [line["validation"] for line in log(run) if "validation" in line] == [{}]
    assert (run.out / "previews" / "step_000002.png").is_file()


@pytest.mark.usefixtures("small_photographs")
def test_write_preview(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    from PIL import Image

    write_preview(tiny_pipeline, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.width > 30


# errors -----------------------------------------------------------------------------------------------------


def test_missing_codec(stage_run: Runs, tmp_path: Path) -> None:
    message = r"codec: no config.json in .*none; train one with `stablemtl train nano-codec`"
    with pytest.raises(FileNotFoundError, match=message):
        train_stage(stage_run(1, codec=tmp_path / "none"))


@pytest.mark.parametrize("stage", [1, 2])
def test_missing_pipeline_to_start_from(stage_run: Runs, tmp_path: Path, stage: int) -> None:
    message = r"init: there is no folder .*none; the recipe of the step before writes it .* with --init"
    with pytest.raises(FileNotFoundError, match=message):
        train_stage(stage_run(stage, init=tmp_path / "none"))


def test_stage_2_from_what_is_no_pipeline(stage_run: Runs, codec_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a StableMTL model: it has no model_index.json"):
        train_stage(second(stage_run, codec_folder))


def test_stage_2_from_two_streams(stage_run: Runs, tiny_folder: Path) -> None:
    message = r"init: .* has a main stream already; give a pipeline of stage 1"
    with pytest.raises(ValueError, match=message):
        train_stage(stage_run(2, init=tiny_folder))


def test_stage_1_from_two_streams_goes_on_with_the_single_one(
    stage_run: Runs, tiny_folder: Path, tmp_path: Path
) -> None:
    alone = StableMTLPipeline.from_pretrained(tiny_folder)
    alone.model.drop_main_stream()
    alone.save_pretrained(tmp_path / "single")
    results = [
        StableMTLPipeline.from_pretrained(train_stage(stage_run(1, init=init, out=tmp_path / name))).model
        for name, init in (("a", tiny_folder), ("b", tmp_path / "single"))
    ]
    assert all(model.main is None for model in results)
    trained, expected = (model.state_dict() for model in results)
    assert trained.keys() == expected.keys()
    assert all(torch.equal(trained[name], value) for name, value in expected.items())
    before = alone.model.state_dict()
    assert not all(torch.equal(trained[name], before[name]) for name in before)


def test_embedded_model_to_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (init_folder(Path("nano")) / "model" / "config.json").is_file()
    (tmp_path / "nano").mkdir()
    assert init_folder(Path("nano")) == Path("nano")  # a folder of this name comes first


def test_no_data(stage_run: Runs, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data folder .* It must hold one or more of hypersim"):
        train_stage(stage_run(1, root=tmp_path / "none"))


def test_unknown_task(stage_run: Runs) -> None:
    with pytest.raises(ValueError, match="unknown task 'normals'; choose from albedo, depth, normal"):
        train_stage(stage_run(1, tasks=("depth", "normals")))


def test_nothing_is_left_of_a_run_that_cannot_start(stage_run: Runs, tmp_path: Path) -> None:
    run = stage_run(1, codec=tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        train_stage(run)
    assert not run.out.exists()
