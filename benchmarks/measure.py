"""What the benchmarks share: networks to measure, a clock, a memory gauge, counted arithmetic, reports."""

from __future__ import annotations

import ctypes
import gc
import inspect
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import diffusers
import psutil
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stablemtl import TASKS, StableMTLModel, StableMTLPipeline

Size = Literal["nano", "sd2", "sd2-tiny"]
DType = Literal["float32", "bfloat16", "float16"]

SD2_UNET = {
    "in_channels": 12,
    "block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SD2_CODEC: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SD2_TOKENS = {
    "semantic": 4,
    "normal": 3,
    "depth": 3,
    "optical_flow": 4,
    "scene_flow": 4,
    "shading": 3,
    "albedo": 5,
}


@dataclass(kw_only=True)
class Options:
    """What every benchmark can be told."""

    size: Size = "nano"
    """nano: the embedded model. sd2: Stable Diffusion 2's sizes with random weights (9 GB in float32).
    sd2-tiny: the same with a codec of TAESD's size, to see what it saves; such weights say nothing of its
    accuracy."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    dtype: DType = "float32"
    """Number type of weights and activations."""
    repeats: int = 5
    """Measured runs of each figure, after one that does not count; the median is reported."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    out: Path = Path("benchmarks/results")
    """Folder for the JSON and PNG files."""

    def start(self) -> torch.device:
        """Settles threads and says where it runs."""
        if self.threads:
            torch.set_num_threads(self.threads)
        return torch.device(self.device)


# networks ---------------------------------------------------------------------------------------------------


def load(size: Size, device: torch.device | str, dtype: DType = "float32") -> StableMTLPipeline:
    """A pipeline of the given size, in eval mode; random weights are the same in every run."""
    number_type = getattr(torch, dtype)
    if size == "nano":
        return StableMTLPipeline.from_pretrained("nano", torch_dtype=number_type, device=device)
    torch.manual_seed(0)
    model = StableMTLModel(unet=SD2_UNET, tasks=list(TASKS), token_lengths=[SD2_TOKENS[t] for t in TASKS])
    model.set_tokens({task: torch.randn(SD2_TOKENS[task], 1024) for task in TASKS})
    model.add_main_stream()
    for block in model.task_attention_blocks:
        torch.nn.init.normal_(block.out.weight, std=0.02)  # it starts at zero, which would hide the streams
    vae = AutoencoderTiny() if size == "sd2-tiny" else AutoencoderKL(**SD2_CODEC)
    return StableMTLPipeline(model.eval().to(dtype=number_type), vae.eval().to(dtype=number_type)).to(device)


def meta_twin(pipe: StableMTLPipeline) -> StableMTLPipeline:
    """The same networks without numbers, to count arithmetic on."""
    taken = inspect.signature(type(pipe.vae)).parameters  # diffusers stores more than it takes, and warns
    vae_config = {name: value for name, value in pipe.vae.config.items() if name in taken}
    with torch.device("meta"):
        model = StableMTLModel.from_config(pipe.model.config)
        vae = type(pipe.vae).from_config(vae_config)
    return StableMTLPipeline(model.eval(), vae.eval())


def make_frames(pipe: StableMTLPipeline, size: tuple[int, int], batch: int, count: int) -> list[Tensor]:
    """``count`` frames (B, 3, H, W) in [-1, 1] of smoothed noise, of the pipeline's type and device."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, batch, 3, max(2, size[0] // 8), max(2, size[1] // 8), generator=generator)
    frames = [torch.nn.functional.interpolate(one, size, mode="bilinear") * 2 - 1 for one in coarse]
    return [frame.to(pipe.vae.device, pipe.vae.dtype) for frame in frames]


# gauges -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds of the measured runs."""

    runs: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def __str__(self) -> str:
        spread = "" if len(self.runs) == 1 else f" ({min(self.runs):.3g} to {max(self.runs):.3g})"
        return f"{self.median:.3g}{spread}"


def time_call(call: Callable[[], object], repeats: int, device: torch.device, warmup: int = 1) -> Timing:
    """Times ``call``, waiting for the device each time."""
    runs = []
    for i in range(warmup + repeats):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        if i >= warmup:
            runs.append(time.perf_counter() - start)
    return Timing(runs)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Peak:
    """Bytes; both are final once the block has ended."""

    before: int = 0
    """In use when it began: weights, and what was kept from earlier."""
    highest: int = 0
    """The most in use at a time."""

    @property
    def added(self) -> int:
        """What the block itself needed on top."""
        return max(0, self.highest - self.before)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measures the most memory in use inside the block.

    On CUDA what tensors hold; on the CPU the process's resident memory, by the kernel's own high-water mark
    on Linux, sampled every 5 ms elsewhere.
    """
    gc.collect()
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        peak.before = torch.cuda.memory_allocated(device)
        yield peak
        peak.highest = torch.cuda.max_memory_allocated(device)
        return
    _return_free_memory()
    peak.before = psutil.Process().memory_info().rss
    if _reset_high_water_mark():
        yield peak
        peak.highest = _high_water_mark()
        return
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            peak.highest = max(peak.highest, psutil.Process().memory_info().rss)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _return_free_memory() -> None:
    """Free memory that the allocator keeps would hide what the block needs."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _reset_high_water_mark() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


@torch.no_grad()
def count_operations(call: Callable[[], object]) -> dict[str, float]:
    """Floating-point operations of ``call``, in units of 10^9; a multiplication and an addition count as two.

    Convolutions, matrix products and attention are counted, nothing else. ``call`` should run on the meta
    device: attention kernels of some devices are not known to the counter.

    Returns:
        ``convolution`` and ``matmul``.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    counts = {str(name): count / 1e9 for name, count in counter.get_flop_counts()["Global"].items()}
    convolution = sum(count for name, count in counts.items() if "convolution" in name)
    return {"convolution": convolution, "matmul": sum(counts.values()) - convolution}


# reports ----------------------------------------------------------------------------------------------------


def environment(device: torch.device) -> dict[str, Any]:
    """What a figure depends on besides the code."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "load": psutil.getloadavg()[0],
    }


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "cpu"


@dataclass
class Report:
    """A table on the screen, and the same in a JSON file."""

    name: str
    """Name of the files, without suffix."""
    title: str
    options: Options
    notes: list[str] = field(default_factory=list)
    """Lines under the table."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Column -> value; JSON keeps them as they are."""

    def write(self, columns: Sequence[str] | None = None) -> Path:
        """Prints the table, writes ``<name>.json``.

        Args:
            columns: those of the table; all of the first row by default.
        Returns:
            Path of the JSON file; a picture goes beside it.
        """
        device = torch.device(self.options.device)
        around = environment(device)
        table = Table(title=f"{self.title}\n{', '.join(f'{k} {v}' for k, v in around.items())}")
        shown = list(columns or self.rows[0])
        for column in shown:
            table.add_column(column, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(*(_cell(row.get(column, "")) for column in shown))
        console = Console(width=200)
        console.print(table)
        for note in self.notes:
            console.print(note, markup=False)
        options = {key: str(value) for key, value in asdict(self.options).items()}
        content = {
            "title": self.title,
            "options": options,
            "environment": around,
            "rows": self.rows,
            "notes": self.notes,
        }
        self.options.out.mkdir(parents=True, exist_ok=True)
        path = self.options.out / f"{self.name}.json"
        path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
        return path

    def picture(self, draw: Callable[[Any], None], size: tuple[float, float] = (7, 4)) -> Path:
        """Writes ``<name>.png``; ``draw`` gets the axes."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        self.options.out.mkdir(parents=True, exist_ok=True)
        path = self.options.out / f"{self.name}.png"
        figure.savefig(path, dpi=120)
        plt.close(figure)
        return path


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return value.runs if isinstance(value, Timing) else str(value)
