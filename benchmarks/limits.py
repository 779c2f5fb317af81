"""What the device can do at most, and how much of it the networks reach.

    python benchmarks/limits.py --size nano
    python benchmarks/limits.py --size sd2-tiny --height 192 --width 256 --types float32
    python benchmarks/limits.py --size sd2 --height 384 --width 512 --device cuda --types float32 bfloat16

For each number type: the highest rate of any matrix product and of any 3x3 convolution among shapes of the
networks and large ones; the operations of one call, counted; the time they would take at those rates; the
time they take. The share is the quotient. What is not counted (normalisation, activations, copies) has no
part in the bound, so that a share of one is out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from measure import (
    DType,
    Options,
    Report,
    count_operations,
    load,
    make_frames,
    meta_twin,
    peak_memory,
    time_call,
)
from published import decode_latents, encode_frames

from stablemtl import TASKS


@dataclass(kw_only=True)
class LimitOptions(Options):
    """Share of the device's ceiling."""

    height: int = 96
    """Height of the frames [px]."""
    width: int = 128
    """Width of the frames [px]."""
    types: tuple[DType, ...] = ("float32", "bfloat16")
    """Number types, in place of ``dtype``."""
    square: int = 2048
    """Edge of the large matrix product; 8192 fills a large GPU."""


def main(options: LimitOptions) -> Report:
    device = options.start()
    report = Report(
        f"limits_{options.size}_{options.height}x{options.width}_{device.type}",
        f"Ceilings and what is reached: {options.size}, pair of {options.height}x{options.width}, all tasks",
        options,
    )
    if device.type == "cuda":
        products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        report.notes.append(
            f"float32 on CUDA: TF32 in matrix products {products}, convolutions {convolutions}."
        )
    for number_type in options.types:
        ceilings = measure_ceilings(options, device, getattr(torch, number_type))
        report.rows += shares(options, device, number_type, ceilings)
        report.notes.append(
            f"{number_type}: "
            + "; ".join(f"{kind} at most with {c['shape']}" for kind, c in ceilings.items())
        )
    report.write([column for column in report.rows[0] if not column.endswith("_runs")])
    report.picture(lambda axes: draw(axes, report))
    return report


def measure_ceilings(
    options: LimitOptions, device: torch.device, dtype: torch.dtype
) -> dict[str, dict[str, Any]]:
    """Kind of operation -> the highest rate [GFLOP/s] and where it was reached."""
    sd2 = options.size != "nano"
    cell, widths = (8, (320, 640, 1280)) if sd2 else (4, (48, 96, 144))
    height, width = options.height // cell, options.width // cell
    samples = len(TASKS)
    products = [(options.square, options.square, options.square)]
    convolutions = (
        [(1, 128, options.height, options.width)] if sd2 else [(2, 32, options.height, options.width)]
    )
    for level, channels in enumerate(widths):
        tokens = samples * max(1, height >> level) * max(1, width >> level)
        products += [(tokens, channels, channels), (tokens, channels, 8 * channels)]
        convolutions.append((samples, channels, max(1, height >> level), max(1, width >> level)))
    rates: dict[str, list[tuple[float, str]]] = {"matmul": [], "convolution": []}
    with torch.no_grad():
        for rows, inner, columns in products:
            a, b = (torch.randn(s, device=device, dtype=dtype) for s in ((rows, inner), (inner, columns)))
            seconds = min(time_call(lambda a=a, b=b: a @ b, options.repeats, device).runs)
            rates["matmul"].append((2e-9 * rows * inner * columns / seconds, f"{rows}x{inner}x{columns}"))
        for batch, channels, h, w in convolutions:
            x = torch.randn(batch, channels, h, w, device=device, dtype=dtype)
            kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
            for layout in (torch.contiguous_format, torch.channels_last):
                a, b = x.to(memory_format=layout), kernel.to(memory_format=layout)
                seconds = min(
                    time_call(lambda a=a, b=b: F.conv2d(a, b, padding=1), options.repeats, device).runs
                )
                gflop = 2e-9 * 9 * channels**2 * batch * h * w
                name = "channels last" if layout is torch.channels_last else "channels first"
                rates["convolution"].append((gflop / seconds, f"{batch}x{channels}x{h}x{w}, {name}"))
    return {kind: {"rate": max(found)[0], "shape": max(found)[1]} for kind, found in rates.items()}


def shares(
    options: LimitOptions, device: torch.device, number_type: DType, ceilings: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for encoding, networks, decoding and all of it."""
    pipe = load(options.size, device, number_type)
    twin = meta_twin(pipe)
    size = (options.height, options.width)
    first, second = make_frames(pipe, size, 1, 2)
    shadow = [torch.empty_like(frame, device="meta", dtype=torch.float32) for frame in (first, second)]
    rows = []
    with torch.no_grad():
        calls = {}
        for name, on, frames in (("real", pipe, (first, second)), ("meta", twin, shadow)):
            latents = encode_frames(on, *frames)
            outputs = on.model(*latents)
            calls[name] = {
                "encode": lambda on=on, frames=frames: encode_frames(on, *frames),
                "networks": lambda on=on, latents=latents: on.model(*latents),
                "decode": lambda on=on, outputs=outputs: decode_latents(on, outputs, size),
            }
        total = {"seconds": 0.0, "bound_s": 0.0, "matmul_GFLOP": 0.0, "convolution_GFLOP": 0.0}
        for part, call in calls["real"].items():
            timing = time_call(call, options.repeats, device)
            with peak_memory(device) as peak:
                call()
            gflop = count_operations(calls["meta"][part])
            bound = sum(gflop[kind] / ceilings[kind]["rate"] for kind in gflop)
            values = {
                "seconds": timing.median,
                "bound_s": bound,
                "matmul_GFLOP": gflop["matmul"],
                "convolution_GFLOP": gflop["convolution"],
            }
            total = {name: total[name] + value for name, value in values.items()}
            row = {"part": part, **values, "seconds_runs": timing.runs, "added_MB": round(peak.added / 1e6)}
            rows.append(row)
        rows.append({"part": "all", **total, "added_MB": max(row["added_MB"] for row in rows)})
    return [
        {
            "type": number_type,
            "part": row["part"],
            "seconds": row["seconds"],
            "matmul_GFLOP": row["matmul_GFLOP"],
            "convolution_GFLOP": row["convolution_GFLOP"],
            "matmul_ceiling_GFLOP/s": ceilings["matmul"]["rate"],
            "convolution_ceiling_GFLOP/s": ceilings["convolution"]["rate"],
            "bound_s": row["bound_s"],
            "share": row["bound_s"] / row["seconds"],
            "added_MB": row["added_MB"],
            "seconds_runs": row.get("seconds_runs", []),
        }
        for row in rows
    ]


def draw(axes: Any, report: Report) -> None:
    """Seconds of each part, and the least they could be."""
    names = [f"{row['type']}\n{row['part']}" for row in report.rows]
    axes.bar(names, [row["seconds"] for row in report.rows], color="tab:blue", label="measured")
    axes.bar(names, [row["bound_s"] for row in report.rows], color="tab:orange", label="at the ceilings")
    axes.tick_params(axis="x", labelsize=7)
    axes.set(ylabel="seconds", title=report.title)
    axes.legend()


if __name__ == "__main__":
    main(tyro.cli(LimitOptions))
