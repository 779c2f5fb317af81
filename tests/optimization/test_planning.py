"""What is chosen for which machine, and how the choice reads. No machine but this one is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from stablemtl.optimization import Capabilities, Optimizations, capabilities, plan
from stablemtl.optimization.capabilities import better_threads

PLAIN_CPU = Capabilities(device="cpu", compiler=True, detail="no AMX, no AVX512_BF16")
AMX_CPU = Capabilities(device="cpu", fast_bfloat16=True, compiler=True, detail="amx_bf16")
BARE_CPU = Capabilities(device="cpu", threads=4)
AMPERE = Capabilities(
    device="cuda", fast_bfloat16=True, fast_float16=True, compiler=True, detail="compute capability 8.0"
)
TURING = Capabilities(device="cuda", fast_float16=True, compiler=True, detail="compute capability 7.5")
PASCAL = Capabilities(device="cuda", detail="compute capability 6.1")
NO_TRITON = Capabilities(device="cuda", fast_bfloat16=True, fast_float16=True)
MPS = Capabilities(device="mps")

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("mode", "here", "loaded", "dtype", "channels_last", "compiled"),
    [
        ("exact", PLAIN_CPU, F32, F32, True, False),
        ("exact", AMX_CPU, F32, F32, True, False),
        ("exact", AMX_CPU, BF16, BF16, True, False),
        ("exact", AMPERE, F32, F32, False, True),
        ("exact", AMPERE, F16, F16, True, True),
        ("exact", PASCAL, F32, F32, False, False),
        ("exact", NO_TRITON, F32, F32, False, False),
        ("exact", MPS, F32, F32, False, False),
        ("fast", PLAIN_CPU, F32, F32, True, False),
        ("fast", AMX_CPU, F32, BF16, True, False),
        ("fast", AMPERE, F32, BF16, True, True),
        ("fast", AMPERE, F16, F16, True, True),
        ("fast", TURING, F32, F16, True, True),
        ("fast", PASCAL, F32, F32, False, False),
        ("fast", NO_TRITON, F32, BF16, True, False),
        ("fast", MPS, F32, F32, False, False),
    ],
)
def test_what_is_chosen(mode, here, loaded, dtype, channels_last, compiled) -> None:
    chosen = plan(mode, here, loaded)
    assert (chosen.dtype, chosen.channels_last, chosen.compile) == (dtype, channels_last, compiled)
    assert (chosen.mode, chosen.device) == (mode, here.device)
    # What costs accuracy beyond the number type never comes by itself.
    assert (chosen.int8, chosen.tiny_codec, chosen.single_stream) == ("off", None, False)
    assert not chosen.approximate


def test_threads_follow_the_machine_unless_settled() -> None:
    assert plan("exact", BARE_CPU).threads == 4
    assert plan("exact", BARE_CPU, threads=2).threads == 2
    assert plan("exact", PLAIN_CPU).threads is None


@pytest.mark.parametrize(
    ("threads", "cores", "by_user", "expected"),
    [(8, 4, False, 4), (8, 4, True, None), (4, 4, False, None), (1, 4, False, None)],
)
def test_only_too_many_threads_are_changed(threads, cores, by_user, expected) -> None:
    assert better_threads(threads, cores, set_by_user=by_user) == expected


def test_a_choice_goes_before_the_plan() -> None:
    chosen = plan("fast", AMPERE, compile=False, dtype=F16, single_stream=True, int8="weights")
    assert (chosen.compile, chosen.dtype, chosen.single_stream) == (False, F16, True)
    assert chosen.approximate
    assert chosen.reasons["compile"] == "asked for"
    assert plan("fast", TURING, dtype=F32).channels_last is False  # follows the number type chosen


@pytest.mark.parametrize(
    ("mode", "here", "choices", "message"),
    [
        ("faster", PLAIN_CPU, {}, "unknown mode 'faster'; choose from exact, fast"),
        (
            "fast",
            PLAIN_CPU,
            {"precision": 16},
            "unknown option precision; choose from channels_last, compile",
        ),
        ("fast", PLAIN_CPU, {"mode": "exact"}, "unknown option mode"),
        ("fast", PLAIN_CPU, {"dtype": F16}, "float16 needs a GPU"),
        ("fast", TURING, {"dtype": BF16}, "bfloat16 needs compute capability 8.0, .* 7.5. Choose float16"),
        (
            "fast",
            PLAIN_CPU,
            {"dtype": torch.int32},
            r"dtype must be one of torch.float64, .* got torch.int32",
        ),
        ("fast", PLAIN_CPU, {"dtype": "bf16"}, "dtype must be one of torch.float64, .* got 'bf16'"),
        ("fast", BARE_CPU, {"compile": True}, "compile is not available on cpu; it needs a C.. compiler"),
        ("fast", NO_TRITON, {"compile": True}, "compile is not available on cuda; it needs Triton"),
        ("fast", MPS, {"compile": True}, r"compile is not available on mps\."),
        ("exact", AMX_CPU, {"dtype": BF16}, "bfloat16 is not exact for a pipeline in float32"),
        ("exact", PLAIN_CPU, {"int8": "weights"}, "change results; choose mode 'fast'"),
        ("exact", PLAIN_CPU, {"single_stream": True}, "change results; choose mode 'fast'"),
        ("fast", PLAIN_CPU, {"int8": True}, "int8 must be one of off, weights, dynamic, got True"),
        ("fast", PLAIN_CPU, {"int8_networks": "main"}, "int8_networks must name some of auxiliary, main"),
        ("fast", PLAIN_CPU, {"int8_networks": ("vae",)}, "int8_networks must name some of"),
        ("fast", PLAIN_CPU, {"compile_buckets": 0}, "compile_buckets must be 1 or more, got 0"),
        ("fast", PLAIN_CPU, {"threads": True}, "threads must be 1 or more, got True"),
        ("fast", PLAIN_CPU, {"compile_sizes": "some"}, "compile_sizes must be one of each, any"),
        ("fast", PLAIN_CPU, {"channels_last": 1}, "channels_last must be True or False, got 1"),
    ],
)
def test_what_cannot_be(mode, here, choices, message) -> None:
    with pytest.raises(ValueError, match=message):
        plan(mode, here, **choices)


def test_all_problems_come_together() -> None:
    with pytest.raises(ValueError, match=r"int8 must be .*; .*threads must be 1 or more"):
        Optimizations(int8="some", threads=0)  # type: ignore[arg-type]


def test_description() -> None:
    lines = plan("fast", AMPERE, tiny_codec="madebyollin/taesd").describe().splitlines()
    assert lines[0] == "optimizations: fast, for cuda"
    by_name = {}
    for line in lines[1:-1]:
        name, text, *why = (part for part in re.split(r" {2,}", line.strip()))
        by_name[name] = (text, *why)
    assert by_name["dtype"] == ("bfloat16", "multiplied faster here (compute capability 8.0)")
    assert by_name["tiny codec"] == ("madebyollin/taesd (both)", "asked for")
    assert by_name["compile"][0] == "at most 8 buckets, one graph a size"
    assert all(line == line.rstrip() for line in lines)
    assert lines.pop() == "Choices for cuda follow its documentation and were not measured."
    assert "not measured" not in plan("fast", AMX_CPU).describe()


def test_plain_values_for_files() -> None:
    values = plan("fast", AMX_CPU).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["dtype"] == "bfloat16"
    assert "reasons" not in values


# this machine, and stand-ins --------------------------------------------------------------------------------


def test_this_machine() -> None:
    here = Capabilities.of("cpu")
    assert here.device == "cpu"
    assert here.fast_bfloat16 == bool({"amx_bf16", "avx512_bf16"} & capabilities.cpu_flags())
    assert here.fast_float16 is False
    assert Capabilities.of("meta") == Capabilities(device="meta")


@pytest.mark.parametrize(
    ("capability", "bf16", "f16", "compiled"),
    [
        ((9, 0), True, True, True),
        ((8, 0), True, True, True),
        ((7, 5), False, True, True),
        ((6, 1), *[False] * 3),
    ],
)
def test_cuda_by_its_compute_capability(monkeypatch, capability, bf16, f16, compiled) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(capabilities.importlib.util, "find_spec", lambda name: object())
    here = Capabilities.of("cuda:1")
    assert (here.fast_bfloat16, here.fast_float16, here.compiler) == (bf16, f16, compiled)
    assert here.detail == f"compute capability {capability[0]}.{capability[1]}"
    monkeypatch.setattr(capabilities.importlib.util, "find_spec", lambda name: None)
    assert not Capabilities.of("cuda").compiler


def test_rocm_is_not_taken_for_cuda(monkeypatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    here = Capabilities.of("cuda")
    assert (here.fast_bfloat16, here.fast_float16, here.compiler) == (False, False, False)


def test_compiler_is_the_one_named(monkeypatch, tmp_path) -> None:
    for name in ("g++", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert capabilities.cpp_compiler() == str(tmp_path / "g++")
    monkeypatch.setenv("CXX", "mine")
    assert capabilities.cpp_compiler() == str(tmp_path / "mine")
    monkeypatch.setenv("CXX", "nobody's")
    assert capabilities.cpp_compiler() is None


CPUINFO = """\
processor : 0
physical id : 0
core id : 0

processor : 1
physical id : 0
core id : 0

processor : 2
physical id : 0
core id : 1

processor : 3
physical id : 1
core id : 0
"""


def test_cores_are_counted_without_hyper_threads(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    assert capabilities._physical_cores(path) == 3
    path.write_text("processor : 0\n")  # some do not say
    assert capabilities._physical_cores(path) is None
    assert capabilities._physical_cores(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("nonsense", None)]
)
def test_a_container_s_quota(tmp_path: Path, text: str, quota: float | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert capabilities._quota(path) == quota
    assert capabilities._quota(tmp_path / "nothing") is None


def test_cores_within_affinity_and_quota(monkeypatch: Any) -> None:
    monkeypatch.setattr(capabilities.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(capabilities, "_physical_cores", lambda: 6)
    monkeypatch.setattr(capabilities, "_quota", lambda: None)
    assert capabilities.usable_cores() == 6
    monkeypatch.setattr(capabilities, "_quota", lambda: 1.5)
    assert capabilities.usable_cores() == 2
