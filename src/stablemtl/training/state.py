"""Everything that changes in training, written to a folder and read back. Nothing is pickled.

The folder holds, in safetensors: ``model`` (what trains, and buffers), ``ema`` where there is one,
``optimizer`` (one tensor for each parameter and average, as ``parameter::average``) and ``generators`` (of
every process). Shares of several processes (FSDP) are put together first: any number of them can read it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stablemtl.training.config import LoopConfig
from stablemtl.training.optimizers import Ema, make_optimizer
from stablemtl.training.shards import local, shared_like, whole

MODEL, EMA, OPTIMIZER, GENERATORS = (
    f"{name}.safetensors" for name in ("model", "ema", "optimizer", "generators")
)


class TrainState:
    """A module with its optimizer and moving average, spread over the processes of a run.

    Args:
        accelerator: the processes.
        module: what is trained, the parameters that require a gradient. It is trained in place, but under
            FSDP: then it keeps the start, and receives the result at the end.
        config: optimizer and average.
    Raises:
        ImportError: the optimizer is not installed.
        ValueError: ``adamw8bit`` under FSDP.
    """

    def __init__(self, accelerator: Accelerator, module: nn.Module, config: LoopConfig) -> None:
        if accelerator.is_fsdp2 and config.optimizer == "adamw8bit":
            raise ValueError("optimizer adamw8bit does not go with FSDP; use adamw, which FSDP shares out")
        self.accelerator, self.given = accelerator, module
        self.frozen = {name for name, value in module.named_parameters() if not value.requires_grad}
        self.frozen_digest = digest(dict(module.named_parameters()), self.frozen)
        trained = copy.deepcopy(module) if accelerator.is_fsdp2 else module
        optimizer = make_optimizer([p for p in trained.parameters() if p.requires_grad], config)
        self.module, self.optimizer = accelerator.prepare(trained, optimizer)
        self.names = [name for name, value in self._plain.named_parameters() if value.requires_grad]
        self.parameters = [value for value in self._plain.parameters() if value.requires_grad]
        self.ema = Ema(self.parameters, config.ema) if config.ema else None

    @property
    def _plain(self) -> nn.Module:
        """The trained module without what the accelerator put around it; its parameters may be shares."""
        module: nn.Module = self.accelerator.unwrap_model(self.module)
        return module

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """A module to evaluate: not wrapped, whole on every process, with the moving average if there is one.

        To be entered by every process.
        """
        with self.ema.applied() if self.ema else nullcontext():
            if self.accelerator.is_fsdp2:
                self._gather()
            module = self.given.to(self.accelerator.device)
            module.eval()
            try:
                yield module
            finally:
                if self.accelerator.is_fsdp2:
                    self.given.to("cpu")
                self.module.train()

    def finish(self) -> None:
        """Put the result, the moving average if there is one, into the module that was given."""
        if self.ema is not None:
            self.ema.copy_to_parameters()
        if self.accelerator.is_fsdp2:
            self._gather()
        else:
            self.accelerator.unwrap_model(self.module, keep_fp32_wrapper=False)

    def _gather(self) -> None:
        given = self.given.state_dict()
        for name, value in self._plain.state_dict().items():
            given[name].copy_(whole(value))

    # to a folder and back ---------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write all of it to a folder that is there. To be called by every process."""
        # One file after the other: together they are three times the model.
        weights = {n: v for n, v in self._plain.state_dict().items() if n not in self.frozen}
        self._save(folder / MODEL, weights)
        if self.ema is not None:
            self._save(folder / EMA, dict(zip(self.names, self.ema.values, strict=True)))
        tensors, others = self._optimizer_state()
        self._save(folder / OPTIMIZER, tensors, others)
        processes = gather_object([generators()])
        if self.accelerator.is_main_process:
            states = [
                (f"{i}.{name}", value) for i, own in enumerate(processes) for name, value in own.items()
            ]
            save_file(dict(states), folder / GENERATORS)

    @torch.no_grad()
    def read(self, folder: Path) -> None:
        """Take up what :meth:`write` wrote. To be called by every process.

        Raises:
            ValueError: the folder is not of this module.
        """
        weights = load_file(folder / MODEL)
        current = {n: v for n, v in self._plain.state_dict().items() if n not in self.frozen}
        if weights.keys() != current.keys() or any(weights[n].shape != v.shape for n, v in current.items()):
            raise ValueError(f"{folder} holds the weights of another model; give another --out")
        for name, value in current.items():
            local(value).copy_(local(shared_like(weights[name], value)))
        if self.ema is not None:
            averages = load_file(folder / EMA)
            for name, value in zip(self.names, self.ema.values, strict=True):
                local(value).copy_(local(shared_like(averages[name], value)))
        self._read_optimizer(folder / OPTIMIZER)
        own = f"{self.accelerator.process_index}."
        with safe_open(folder / GENERATORS, "pt") as file:
            kept = {n.removeprefix(own): file.get_tensor(n) for n in file.keys() if n.startswith(own)}  # noqa: SIM118
        if kept:  # not on processes that were not there before
            restore_generators(kept)

    def _save(self, path: Path, values: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
        """Write whole tensors from the main process. To be called by every process: shares are gathered."""
        found = {}
        for name, value in values.items():
            everything = whole(value)
            if self.accelerator.is_main_process:
                found[name] = everything.detach().cpu().contiguous()  # a copy only where it is needed
        if self.accelerator.is_main_process:
            save_file(found, path, metadata=metadata)

    def _optimizer_state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors by ``parameter::average``, and what else there is, as text."""
        tensors, others = {}, {}
        for index, averages in self.optimizer.state_dict()["state"].items():
            for key, value in averages.items():
                name = f"{self.names[index]}::{key}"
                if isinstance(value, Tensor):
                    tensors[name] = value
                else:
                    others[name] = json.dumps(value)
        if self.accelerator.scaler is not None:
            others["scaler"] = json.dumps(self.accelerator.scaler.state_dict())
        return tensors, others

    def _read_optimizer(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            others = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        scaler = others.pop("scaler", None)
        if scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)
        index = {name: i for i, name in enumerate(self.names)}
        state: dict[int, dict[str, Any]] = {}
        for name, value in (tensors | others).items():
            parameter, key = name.rsplit("::", 1)
            place = index[parameter]
            if isinstance(value, Tensor) and value.shape == self.parameters[place].shape and value.ndim:
                value = shared_like(value, self.parameters[place])
            state.setdefault(place, {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def digest(tensors: Mapping[str, Tensor], names: set[str]) -> str:
    """Checksum of the values of some tensors, in the order of their names."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(names):
        values = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)
        found.update(name.encode())
        found.update(values.numpy().data)
    return found.hexdigest()


def generators() -> dict[str, Tensor]:
    """State of the generators of Python, NumPy and torch, of all GPUs as well."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    found = {
        "python": torch.tensor([version, *words]),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_position": torch.tensor([position, has_gauss]),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return found


def restore_generators(kept: Mapping[str, Tensor]) -> None:
    """Set the generators to a state from :func:`generators`; GPUs that are not there are left out."""
    version, *words = kept["python"].tolist()
    random.setstate((version, tuple(words), (kept["python_gauss"].tolist() or [None])[0]))
    position, has_gauss = kept["numpy_position"].tolist()
    keys = kept["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, kept["numpy_gauss"].item()))
    torch.set_rng_state(kept["torch"])
    for i in range(torch.cuda.device_count()):
        if f"cuda{i}" in kept:
            torch.cuda.set_rng_state(kept[f"cuda{i}"], i)
