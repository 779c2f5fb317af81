"""What the machine can do, as far as it decides which optimisation pays."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """Of one device. Plain values, so that a plan can be made for a machine that is not there."""

    device: str
    """Kind: cpu, cuda, mps, ..."""
    fast_bfloat16: bool = False
    """Multiplies bfloat16 faster than float32: a CPU with AMX or AVX512_BF16, CUDA from capability 8.0."""
    fast_float16: bool = False
    """Multiplies float16 faster than float32: CUDA from compute capability 7.0."""
    compiler: bool = False
    """What ``torch.compile`` needs is there: a C++ compiler on a CPU, Triton on CUDA."""
    threads: int | None = None
    """CPU threads that would serve better than those set; None if there is nothing to change."""
    detail: str = ""
    """For people: the compute capability, the instruction sets."""

    @classmethod
    def of(cls, device: torch.device | str) -> Capabilities:
        """Those of a device of this machine."""
        device = torch.device(device)
        if device.type == "cpu":
            return _cpu()
        if device.type == "cuda":
            return _cuda(device)
        return cls(device=device.type)


def _cuda(device: torch.device) -> Capabilities:
    if torch.version.hip:  # AMD: numbers of another meaning
        return Capabilities(device="cuda", detail="ROCm: not known which number type pays")
    major, minor = torch.cuda.get_device_capability(device)
    return Capabilities(
        device="cuda",
        fast_bfloat16=major >= 8,
        fast_float16=major >= 7,
        compiler=major >= 7 and importlib.util.find_spec("triton") is not None,
        detail=f"compute capability {major}.{minor}",
    )


def _cpu() -> Capabilities:
    flags = cpu_flags()
    found = [name for name in ("amx_bf16", "avx512_bf16") if name in flags]
    return Capabilities(
        device="cpu",
        fast_bfloat16=bool(found),
        compiler=cpp_compiler() is not None,
        threads=better_threads(torch.get_num_threads(), usable_cores(), set_by_user=_threads_set()),
        detail=", ".join(found) or "no AMX, no AVX512_BF16",
    )


def cpu_flags() -> frozenset[str]:
    """Instruction sets by their names in ``/proc/cpuinfo``; those that matter here only where torch says."""
    flags = set()
    path = Path("/proc/cpuinfo")
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        flags = {flag for line in lines if line.startswith("flags") for flag in line.split(":", 1)[1].split()}
    for name, query in (("amx_bf16", "_is_amx_tile_supported"), ("avx512_bf16", "_is_avx512_bf16_supported")):
        asked = getattr(torch.cpu, query, None)
        if asked is not None and asked():
            flags.add(name)
    return frozenset(flags)


def cpp_compiler() -> str | None:
    """The C++ compiler that ``torch.compile`` would call on a CPU; None if there is none."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["g++", "clang++", "cl"]:
        if path := shutil.which(name):
            return path
    return None


def usable_cores() -> int:
    """Physical cores that this process may use: by affinity, and by the quota of a container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(allowed, _physical_cores() or allowed)
    quota = _quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def better_threads(threads: int, cores: int, *, set_by_user: bool) -> int | None:
    """Threads to set instead of ``threads``; None to leave them.

    More threads than cores wait for each other: that costs more than it gains. Fewer may be somebody's
    choice, and stay.
    """
    return cores if threads > cores and not set_by_user else None


def _threads_set() -> bool:
    return any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))


def _physical_cores(path: Path = Path("/proc/cpuinfo")) -> int | None:
    """Cores without their hyper-threads; None where it is not known."""
    if not path.is_file():
        return None
    cores = set()
    package = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "physical id":
            package = value
        elif name == "core id":
            cores.add((package, value))
    return len(cores) or None


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores that the container may keep busy; None without a limit."""
    try:
        limit, period = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)
