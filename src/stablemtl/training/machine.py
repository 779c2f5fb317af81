"""The machine a run is on: what it is, and how fast it computes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

_SIDE = {"cpu": 512, "cuda": 4096}
_MAPS = {"cpu": (4, 96, 24, 32), "cuda": (16, 640, 36, 48)}
_VALUES = {"cpu": 1 << 22, "cuda": 1 << 26}


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a device was measured to do."""

    product_flops: float
    """Additions and multiplications of a matrix product [1/s]."""
    convolution_flops: float
    """The same of a convolution over 3 x 3 cells [1/s]."""
    bandwidth: float
    """Read and written by an operation on each element, one read and one write [B/s]."""


def machine_facts() -> dict[str, str]:
    """What this machine is: accelerators or processor, cores, torch's threads, versions."""
    from stablemtl import __version__

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "device": ", ".join(devices) or f"CPU ({_processor()})",
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stablemtl": __version__,
    }


def device_memory(device: torch.device | str) -> int | None:
    """Memory of a device [B]; None where it cannot be known."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return None


def measure_speed(
    device: torch.device | str, dtype: torch.dtype = torch.float32, seconds: float = 0.3
) -> Speed:
    """How fast a device multiplies matrices, convolves, and reads and writes memory.

    The best of repeated runs: what else the machine does at the moment should not count.

    Args:
        device: where.
        dtype: of the numbers.
        seconds: how long to measure each of the three [s].
    """
    device = torch.device(device)
    # Of a size that the processor's fast memory holds, as most of a network's are; larger on an accelerator.
    kind = "cpu" if device.type == "cpu" else "cuda"
    side, (batch, channels, height, width) = _SIDE[kind], _MAPS[kind]
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    maps = torch.ones(batch, channels, height, width, device=device, dtype=dtype)
    kernel = torch.ones(channels, channels, 3, 3, device=device, dtype=dtype)
    values = torch.ones(_VALUES[kind], device=device, dtype=dtype)
    product = _shortest(lambda: matrix @ matrix, device, seconds)
    convolution = _shortest(lambda: F.conv2d(maps, kernel, padding=1), device, seconds)
    elementwise = _shortest(lambda: F.silu(values), device, seconds)
    return Speed(
        product_flops=2 * side**3 / product,
        convolution_flops=2 * maps.numel() * channels * 9 / convolution,
        bandwidth=2 * values.nbytes / elementwise,
    )


@torch.no_grad()
def _shortest(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Shortest wall time of ``work`` [s], after one run that does not count."""
    best, began = float("inf"), time.perf_counter()
    first = True
    while first or time.perf_counter() - began < seconds or best == float("inf"):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if not first:
            best = min(best, time.perf_counter() - start)
        first = False
    return best


def _processor() -> str:
    """The processor's model where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
