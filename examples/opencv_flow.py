"""Two classic optical flows, of OpenCV, written as predictions that ``stablemtl evaluate`` scores.

    python examples/opencv_flow.py --out flows --data data/minibench
    stablemtl evaluate --data data/minibench --predictions flows/dis --out dis.json
    stablemtl evaluate --data data/minibench --predictions flows/farneback --out farneback.json
    stablemtl evaluate --data data/minibench --model nano --tasks optical_flow --out nano.json
    stablemtl compare dis.json nano.json

Writes OUT/<method>/<dataset>/optical_flow/<frame>.flo, for the stereo pair that comes with scikit-image and
for every flow set of the data folder, at the size that the protocol shows to a network. DIS: Kroeger et al.,
ECCV 2016, preset "medium"; Farneback: SCIA 2003, with the options of OpenCV's own example.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from stablemtl.data.formats import write_flo
from stablemtl.evaluation.motorcycle import Motorcycle
from stablemtl.evaluation.protocols import native_benchmark
from stablemtl.evaluation.runner import Job, limit_of, open_benchmarks
from stablemtl.evaluation.samples import Samples, spread
from stablemtl.tasks import TASKS

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


def dis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Dense inverse search; two grey pictures (H, W) uint8 to flow (H, W, 2) [px]."""
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)


def farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Polynomial expansion; as :func:`dis`."""
    return cv2.calcOpticalFlowFarneback(
        first,
        second,
        None,
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )


METHODS: dict[str, Flow] = {"dis": dis, "farneback": farneback}


def grey(image: Tensor) -> np.ndarray:
    """(3, H, W) in [0, 1] to (H, W) uint8."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)


def write_flows(out: Path, data: Path | None, protocol: str = "auto", limit: int | None = None) -> int:
    """Write both methods' flows.

    Args:
        out: receives a folder for each method.
        data: data folder; None for the stereo pair alone.
        protocol: as in ``stablemtl evaluate``: frames come at its size, and the pair with auto and native.
        limit: frames of each dataset at most, as in ``stablemtl evaluate``.
    Returns:
        Number of files.
    """
    jobs: list[Job] = []
    if protocol in ("auto", "native"):
        jobs.append(Job(native_benchmark(Motorcycle.name, "optical_flow"), Motorcycle()))
    if data is not None:
        jobs += open_benchmarks(data, protocol=protocol, tasks=["optical_flow"])[0]
    count = 0
    for benchmark, dataset in jobs:
        indices = spread(dataset.indices("optical_flow"), limit_of(benchmark, limit))
        for frame in Samples(dataset, benchmark, TASKS["optical_flow"].spec, indices):
            sample = frame.sample
            assert sample.image_next is not None
            first, second = grey(sample.image), grey(sample.image_next)
            for name, method in METHODS.items():
                path = out / name / sample.dataset / "optical_flow" / f"{sample.key}.flo"
                write_flo(path, method(first, second))
                count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("flows"), help="folder to write to")
    parser.add_argument("--data", type=Path, help="data folder; the stereo pair alone if left out")
    parser.add_argument("--protocol", default="auto", choices=["auto", "paper", "standard", "native"])
    parser.add_argument("--limit", type=int, help="frames of each dataset at most, as in stablemtl evaluate")
    options = parser.parse_args()
    count = write_flows(options.out, options.data, options.protocol, options.limit)
    print(f"{count} flows in {options.out}")


if __name__ == "__main__":
    main()
