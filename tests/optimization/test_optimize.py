"""``pipe.optimize``: what it changes, within which bounds, and what cannot be."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablemtl import TASKS, StableMTLModel, StableMTLPipeline
from stablemtl.optimization import Capabilities, Optimizations, apply, optimize, quantized

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (22, 34, 3), dtype=np.uint8)
IMAGE_NEXT = RANDOM.integers(0, 256, (22, 34, 3), dtype=np.uint8)

PLAIN = Capabilities(device="cpu", compiler=True)
AMX = Capabilities(device="cpu", fast_bfloat16=True, compiler=True, detail="amx_bf16")

Fresh = Callable[[], StableMTLPipeline]


@pytest.fixture(scope="module")
def nano() -> StableMTLPipeline:
    """As it is loaded; tests change copies."""
    return StableMTLPipeline.from_pretrained("nano")


@pytest.fixture
def fresh(make_tiny_model, make_tiny_vae, tiny_pipeline) -> Fresh:
    """New tiny pipelines."""

    def make() -> StableMTLPipeline:
        return StableMTLPipeline(make_tiny_model(), make_tiny_vae(), tiny_pipeline.config["task_options"])

    return make


@pytest.fixture
def here(monkeypatch) -> Callable[[Capabilities], None]:
    """Gives the machine other capabilities."""

    def pretend(capabilities: Capabilities) -> None:
        monkeypatch.setattr(Capabilities, "of", classmethod(lambda cls, device: capabilities))

    return pretend


def copied(pipe: StableMTLPipeline) -> StableMTLPipeline:
    return StableMTLPipeline(copy.deepcopy(pipe.model), copy.deepcopy(pipe.vae), pipe.config["task_options"])


def images(pipe: StableMTLPipeline, **options: Any) -> dict[str, torch.Tensor]:
    """Each task's label image in [-1, 1] or a little beyond, before it is decoded to units."""
    found = {}
    latents = [
        pipe._encode(torch.from_numpy(image).permute(2, 0, 1)[None] / 255) for image in (IMAGE, IMAGE_NEXT)
    ]
    network = pipe.model if pipe._optimized is None else pipe._optimized.network
    with torch.no_grad():
        for task, latent in network(*latents, **options).items():
            found[task] = pipe._decode(latent, IMAGE.shape[:2])
    return found


def largest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[task] - b[task]).abs().max()) for task in TASKS)


# exact ------------------------------------------------------------------------------------------------------


def test_exact_is_exact_up_to_rounding(nano) -> None:
    with torch.no_grad():
        before = images(nano)
        pipe = copied(nano).optimize("exact", threads=torch.get_num_threads())
        after = images(pipe)
    assert pipe.optimizations.channels_last
    assert pipe.model.auxiliary.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert pipe.vae.decoder.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert 0 < largest(before, after) < 1e-5  # of images whose range is 2


def test_exact_can_be_undone(nano) -> None:
    with torch.no_grad():
        pipe = copied(nano).optimize("exact")
        pipe.optimize("exact", channels_last=False)
        assert pipe.model.auxiliary.conv_in.weight.is_contiguous()
        assert largest(images(nano), images(pipe)) == 0


def test_default_and_optimized_tell_what_they_are(fresh: Fresh, here) -> None:
    here(PLAIN)
    pipe = fresh()
    assert pipe.optimizations == Optimizations()
    assert "optimizations" not in pipe(IMAGE, tasks="depth").source
    pipe.optimize("exact", threads=1)
    assert pipe.optimizations.mode == "exact"
    source = pipe(IMAGE, tasks="depth").source
    assert source["optimizations"] == pipe.optimizations.to_dict()
    assert json.loads(json.dumps(source)) == source


def test_once_more_changes_nothing(fresh: Fresh) -> None:
    pipe = fresh().optimize("exact", compile=True)
    before = pipe._optimized
    assert pipe.optimize("exact", compile=True)._optimized is before  # its graphs are kept
    assert pipe.optimize("exact")._optimized is not before


def test_threads_are_set(fresh: Fresh, here, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    here(Capabilities(device="cpu", threads=3))
    fresh().optimize()
    here(PLAIN)
    fresh().optimize()
    assert told == [3]


# shorter number types ---------------------------------------------------------------------------------------


def test_bfloat16_stays_within_its_bounds(nano) -> None:
    with torch.no_grad():
        before = images(nano)
        pipe = copied(nano).optimize("fast", dtype=torch.bfloat16)
        after = images(pipe)
    assert pipe.model.dtype == pipe.vae.dtype == torch.bfloat16
    assert pipe.optimizations.dtype == torch.bfloat16
    for task, image in after.items():
        difference = (image - before[task]).abs()
        assert difference.mean() < 0.02, task  # 1 % of the range
        assert 0 < difference.max() < 0.5, task


def test_fast_takes_bfloat16_where_the_hardware_does(fresh: Fresh, here) -> None:
    here(PLAIN)
    assert fresh().optimize("fast").model.dtype == torch.float32
    here(AMX)
    pipe = fresh().optimize("fast")
    assert pipe.model.dtype == torch.bfloat16
    again = pipe._optimized
    assert pipe.optimize("fast")._optimized is again
    assert pipe(IMAGE)["depth"].valid.all()


def test_rounded_weights_do_not_come_back(fresh: Fresh, here) -> None:
    here(AMX)
    pipe = fresh().optimize("fast")
    with pytest.raises(ValueError, match=r"changed dtype of this pipeline.*Load it again"):
        pipe.optimize("exact")
    with pytest.raises(ValueError, match="changed dtype"):
        pipe.optimize("fast", dtype=torch.float32)
    loaded = fresh().to(torch.bfloat16)  # was so before
    assert loaded.optimize("fast").optimize("exact").model.dtype == torch.bfloat16


def test_a_codec_that_overflows_stays_in_float32(fresh: Fresh) -> None:
    pipe = fresh()
    pipe.vae.register_to_config(force_upcast=True)
    cuda = Capabilities(device="cuda", fast_float16=True, detail="compute capability 7.5")
    optimize(pipe, "fast", capabilities=cuda)
    assert (pipe.model.dtype, pipe.vae.dtype) == (torch.float16, torch.float32)


# int8 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["weights", "dynamic"])
def test_int8_stays_within_its_bounds(nano, how) -> None:
    pytest.importorskip("torchao")
    with torch.no_grad():
        before = images(nano)
        pipe = copied(nano).optimize("fast", int8=how)
        assert pipe.model.fixed_unet(pipe.model.main) is not None  # still computed in the fast order
        after = images(pipe)
    for task, image in after.items():
        difference = (image - before[task]).abs()
        assert difference.mean() < 0.005, task
        assert 0 < difference.max() < 0.2, task
    with pytest.raises(ValueError, match="int8 weights cannot be saved"):
        pipe.save_pretrained("anywhere")
    with pytest.raises(ValueError, match="changed int8, int8_networks of this pipeline"):
        pipe.optimize("exact")
    assert pipe.optimize("fast").optimizations.int8 == how


class FakeTorchao:
    """Stands in for ``torchao.quantization``: rounds weights to 8 bits, keeps them as floats."""

    def __init__(self) -> None:
        self.touched: list[str] = []

    class Int8WeightOnlyConfig:
        pass

    class Int8DynamicActivationInt8WeightConfig:
        pass

    def quantize_(self, part, config, filter_fn) -> None:
        for name, module in part.named_modules():
            if filter_fn(module, name):
                self.touched.append(name)
                scale = module.weight.abs().amax(1, keepdim=True) / 127
                module.weight.data = (module.weight / scale).round() * scale


def pretend_torchao(monkeypatch, fake: FakeTorchao) -> None:
    for module in (apply, quantized):
        monkeypatch.setattr(module, "torchao_quantization", lambda: fake)


def test_which_layers_are_quantised(nano, monkeypatch) -> None:
    fake = FakeTorchao()
    pipe = copied(nano)
    pretend_torchao(monkeypatch, fake)
    pipe.optimize("fast", int8="weights", int8_networks=["auxiliary"])
    assert fake.touched
    assert any(name.endswith("attn1.to_q") for name in fake.touched)
    assert any(".ff.net." in name for name in fake.touched)
    assert not [name for name in fake.touched if "attn2" in name or "time_emb" in name]
    count = len(fake.touched)
    with torch.no_grad():
        assert 0 < largest(images(nano), images(pipe)) < 0.2
    quantized.quantize(pipe.model, "weights", ("task_attention",))
    assert {name.split(".")[1] for name in fake.touched[count:]} <= {"query", "key", "value", "out"}


def test_int8_of_nothing(fresh: Fresh, monkeypatch) -> None:
    pretend_torchao(monkeypatch, FakeTorchao())
    with pytest.raises(ValueError, match="auxiliary have no linear layer of width 64 or more"):
        fresh().optimize("fast", int8="weights", int8_networks=("auxiliary",))


def test_int8_without_torchao(fresh: Fresh, monkeypatch) -> None:
    monkeypatch.setattr(quantized.importlib.util, "find_spec", lambda name: None)
    pipe = fresh()
    with pytest.raises(ImportError, match=r"int8 needs torchao.*pip install 'stablemtl\[int8\]'"):
        pipe.optimize("fast", int8="weights")
    assert pipe.optimizations.mode == "default"  # nothing was touched
    assert pipe.model.auxiliary.conv_in.weight.is_contiguous()


def test_slow_int8_is_told_of(nano, monkeypatch, caplog) -> None:
    pretend_torchao(monkeypatch, FakeTorchao())
    with caplog.at_level(logging.WARNING):
        copied(nano).optimize("fast", int8="dynamic")
    assert "slow without compile=True" in caplog.text


# streams, and pipelines that cannot be optimised ------------------------------------------------------------


def test_single_stream_becomes_the_default_of_calls(fresh: Fresh) -> None:
    pipe = fresh()
    single, multi = (pipe(IMAGE, tasks="depth", single_stream=on)["depth"].values for on in (True, False))
    pipe.optimize("fast", single_stream=True, channels_last=False)
    maps = pipe(IMAGE, tasks="depth")
    np.testing.assert_allclose(maps["depth"].values, single, rtol=1e-5)
    assert maps.source["streams"] == "single"
    again = pipe(IMAGE, tasks="depth", single_stream=False)
    np.testing.assert_allclose(again["depth"].values, multi, rtol=1e-5)
    assert again.source["streams"] == "multi"


def test_offloaded_parts_are_left_alone(fresh: Fresh) -> None:
    pipe = fresh()
    pipe.model.offload_streams("cpu")
    assert pipe.optimize("exact").optimizations.channels_last
    for choice in ({"compile": True}, {"int8": "weights"}):
        with pytest.raises(ValueError, match="do not go with enable_stream_offload"):
            pipe.optimize("fast", **choice)
    hooked = fresh()
    hooked.vae._hf_hook = object()
    with pytest.raises(ValueError, match="Call optimize first"):
        hooked.optimize()


def test_an_exported_model_stays_as_it_is(fresh: Fresh) -> None:
    pipe = fresh()
    pipe.model = torch.nn.Identity()
    with pytest.raises(ValueError, match="an exported model computes as it was exported"):
        pipe.optimize()


def test_unknown_mode(fresh: Fresh) -> None:
    with pytest.raises(ValueError, match="unknown mode 'fastest'; choose from exact, fast"):
        fresh().optimize("fastest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        fresh().optimize("fast", dtype=torch.float16)


def test_an_optimized_pipeline_can_be_saved(fresh: Fresh, tmp_path: Path) -> None:
    pipe = fresh().optimize("exact")
    pipe.save_pretrained(tmp_path / "model")
    loaded = StableMTLPipeline.from_pretrained(tmp_path / "model")
    assert isinstance(loaded.model, StableMTLModel)
    with torch.no_grad():
        assert largest(images(loaded), images(pipe)) < 1e-4


def test_facts_of_a_call(fresh: Fresh, tmp_path: Path) -> None:
    from PIL import Image

    for name, image in (("a.png", IMAGE), ("b.png", IMAGE_NEXT)):
        Image.fromarray(image).save(tmp_path / name)
    pipe = fresh()
    source = pipe(tmp_path / "a.png", str(tmp_path / "b.png"), "depth", processing_resolution=16).source
    assert source["inputs"] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert source["processing_size"] == [10, 16]
    assert (source["dtype"], source["streams"], source["model"]) == ("float32", "multi", "")
    assert "inputs" not in pipe(IMAGE, tasks="depth").source


def test_tiles_of_the_whole_model(fresh: Fresh, monkeypatch) -> None:
    from stablemtl import large_images

    calls = []

    def predict_tiled(pipe, image, image_next, tasks, **options):
        calls.append((image is IMAGE, image_next is IMAGE_NEXT, tasks, options))
        return len(calls)

    monkeypatch.setattr(large_images, "predict_tiled", predict_tiled)
    pipe = fresh()
    assert pipe(IMAGE, IMAGE_NEXT, "depth", tile=64, processing_resolution=32) == 1
    assert pipe([IMAGE, IMAGE_NEXT], tile=64) == [2, 3]
    image, image_next, tasks, options = calls[0]
    assert (image, image_next, tasks) == (True, True, ["depth"])
    assert options["tile"] == 64
    assert options["processing_resolution"] == 32
    assert options["single_stream"] is False
    assert apply.current(pipe, None) == Optimizations()
