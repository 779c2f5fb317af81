"""ONNX Runtime and OpenVINO behind one small interface: a graph takes and gives named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from stablemtl.exported.manifest import Manifest, Runtime
from stablemtl.exported.packages import require

Precision = Literal["float32", "bfloat16"]

_PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "COREML": "CoreMLExecutionProvider",
}


class Engine(Protocol):
    """An opened graph."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name -> tensor on the CPU, in and out; results are the caller's own."""
        ...


class OnnxEngine:
    """A graph in ONNX Runtime.

    Args:
        path: the ``.onnx`` file.
        device: ``CPU``, ``CUDA`` or ``COREML``, or the name of one of ONNX Runtime's execution providers.
        threads: CPU threads; 0 leaves ONNX Runtime's choice.
        precision: only ``float32``.
    Raises:
        ImportError: ``onnxruntime`` is missing.
        ValueError: this build of ONNX Runtime has no such device or precision.
    """

    def __init__(self, path: Path, device: str, threads: int, precision: Precision) -> None:
        runtime = require("onnx", "onnxruntime")
        if precision != "float32":
            raise ValueError(f"precision must be 'float32' with ONNX Runtime, got {precision!r}.")
        provider = _PROVIDERS.get(device.upper(), device)
        available = runtime.get_available_providers()
        if provider not in available:
            names = [short for short, long in _PROVIDERS.items() if long in available]
            raise ValueError(
                f"device {device!r} is not available in this ONNX Runtime ({', '.join(available)}). "
                f"Choose {' or '.join(names)}, or install the build of ONNX Runtime for your device."
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors: the rest is about choices that users cannot change
        fallback = [] if provider == _PROVIDERS["CPU"] else [_PROVIDERS["CPU"]]
        self._session = runtime.InferenceSession(str(path), options, providers=[provider, *fallback])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = self._session.run(None, {name: _array(value) for name, value in inputs.items()})
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, results, strict=True)}


class OpenvinoEngine:
    """A graph in OpenVINO.

    Args:
        path: the ``.xml`` file.
        device: ``CPU``, ``GPU``, ``NPU``, ``AUTO`` or whatever OpenVINO finds on this machine.
        threads: CPU threads; 0 leaves OpenVINO's choice.
        precision: ``float32`` computes as torch does; OpenVINO itself would take bfloat16 where it is faster.
    Raises:
        ImportError: ``openvino`` is missing.
        ValueError: no such device or precision on this machine.
    """

    def __init__(self, path: Path, device: str, threads: int, precision: Precision) -> None:
        openvino = require("openvino", "openvino")
        core = openvino.Core()
        kind = device.split(".")[0].split(":")[0].upper()
        if kind not in (known := sorted({one.split(".")[0] for one in core.available_devices} | {"AUTO"})):
            raise ValueError(
                f"device {device!r} is not available to OpenVINO here. Choose {' or '.join(known)}."
            )
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]
        }
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and kind == "CPU" and "BF16" not in capabilities:
            raise ValueError("precision 'bfloat16' is not available: this CPU has none. Choose 'float32'.")
        if threads and kind == "CPU":
            options["INFERENCE_NUM_THREADS"] = threads
        self._model = core.compile_model(core.read_model(path), device.upper(), options)
        self._outputs = [output.get_any_name() for output in self._model.outputs]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: _array(value) for name, value in inputs.items()}
        results = self._model(arrays, share_inputs=True, share_outputs=False)
        return {name: torch.from_numpy(results[i]) for i, name in enumerate(self._outputs)}


_ENGINES: dict[Runtime, type[OnnxEngine] | type[OpenvinoEngine]] = {
    "onnx": OnnxEngine,
    "openvino": OpenvinoEngine,
}


class Engines:
    """The graphs of an exported folder, opened when they are first used.

    Args:
        folder: the folder.
        manifest: what it holds.
        device: where to compute, see :class:`OnnxEngine` and :class:`OpenvinoEngine`.
        threads: CPU threads; 0 leaves the runtime's choice.
        precision: number type of the arithmetic.
        one_at_a_time: close each graph after its use: memory for one, time for opening them each time.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        device: str = "CPU",
        threads: int = 0,
        precision: Precision = "float32",
        one_at_a_time: bool = False,
    ) -> None:
        self._files = {name: folder / file for name, file in manifest.graphs.items()}
        self._kind = _ENGINES[manifest.runtime]
        self._options = (device, threads, precision)
        self.precision: Precision = precision
        self._one_at_a_time = one_at_a_time
        self._open: dict[str, Engine] = {}

    def run(self, name: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs a graph; see :class:`Engine`."""
        engine = self._open.get(name) or self._kind(self._files[name], *self._options)
        if not self._one_at_a_time:
            self._open[name] = engine
        return engine(inputs)

    def open(self) -> None:
        """Opens every graph now, so that problems show before the first image; nothing one at a time."""
        for name, file in self._files.items():
            if not self._one_at_a_time and name not in self._open:
                self._open[name] = self._kind(file, *self._options)


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().cpu().contiguous().numpy()
    return array
