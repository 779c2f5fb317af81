"""One training step without any data or memory: what it would allocate and compute.

The network runs on fake tensors, which have shapes and types but no values, forward and backward through the
very code of training. So the figures hold for every option of the model, and cost a few seconds whatever its
size.

Letters: B batch, C latent channels, h and w latent size.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from stablemtl.models.model import StableMTLModel
from stablemtl.training.losses import masked_mse

Precision = Literal["no", "bf16", "fp16"]
"""Mixed precision by the names of ``accelerate``; ``no`` is float32 throughout."""
AUTOCAST: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """What a model holds, and how much of it trains."""

    trainable: int
    """Parameters that train."""
    frozen: int
    """Parameters that do not: the auxiliary UNet in stage 2."""
    quantized: int
    """Trainable parameters in tensors of at least 4096, the ones that 8-bit optimizers keep in 8 bits."""
    weight_bytes: int
    """Parameters and buffers [B]."""
    gradient_bytes: int
    """Gradients of all that trains [B]."""


@dataclass(frozen=True, kw_only=True)
class DryStep:
    """What one micro-batch takes."""

    parameters: ParameterCounts
    """Of the model."""
    activation_bytes: int
    """Kept by the forward pass for the backward pass [B]."""
    peak_bytes: int
    """Largest sum of activations, gradients and temporary tensors at any moment of the micro-batch [B]."""
    forward_flops: int
    """Additions and multiplications in matrix products, convolutions and attention, forward."""
    flops: int
    """The same, forward and backward."""
    convolution_flops: int
    """Of these, those of convolutions."""
    traffic_bytes: int
    """Read and written by all other operations, forward and backward [B]."""


def count_parameters(options: Mapping[str, Any]) -> ParameterCounts:
    """Parameters of a model, without their memory.

    Args:
        options: arguments of :class:`StableMTLModel`; with ``task_attention`` it is stage 2, else stage 1.
    Raises:
        ValueError: options that the model refuses.
    """
    with torch.device("meta"):
        return _counts(StableMTLModel(**options))


def _counts(model: StableMTLModel) -> ParameterCounts:
    trainable = model.trainable_parameters()
    return ParameterCounts(
        trainable=sum(p.numel() for p in trainable),
        frozen=sum(p.numel() for p in model.parameters() if not p.requires_grad),
        quantized=sum(p.numel() for p in trainable if p.numel() >= 4096),
        weight_bytes=sum(_bytes(tensor) for tensor in (*model.parameters(), *model.buffers())),
        gradient_bytes=sum(_bytes(p) for p in trainable),
    )


def dry_step(
    options: Mapping[str, Any],
    latent_size: tuple[int, int],
    batch_size: int,
    *,
    accumulation: int = 1,
    precision: Precision = "no",
    gradient_checkpointing: bool = False,
    prepare: Callable[[StableMTLModel], object] | None = None,
) -> DryStep:
    """Runs one micro-batch of one task on fake tensors.

    The task is the one with the longest prompt, and it sees two frames; the others take the same or slightly
    less.

    Args:
        options: arguments of :class:`StableMTLModel`; with ``task_attention`` it is stage 2, else stage 1.
        latent_size: height and width of the latents [cells].
        batch_size: samples of a micro-batch.
        accumulation: micro-batches of an optimizer step; from the second on, the gradients of those before
            are in memory as well.
        precision: mixed precision.
        gradient_checkpointing: compute activations again in the backward pass rather than keep them.
        prepare: changes the model before the step, as training does: adds adapters, freezes a part.
    Raises:
        ValueError: a size below 1, an unknown precision, or options that the model refuses.
    """
    if min(*latent_size, batch_size, accumulation) < 1:
        raise ValueError(
            "latent_size, batch_size and accumulation must be at least 1, "
            f"got {latent_size}, {batch_size} and {accumulation}."
        )
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}.")
    # Fake tensors on the CPU: on torch's device "meta" attention would be the kind that keeps every score.
    with FakeTensorMode():
        model = StableMTLModel(**options)
        if prepare is not None:
            prepare(model)
        model.train()
        # With a hook the UNet runs by its own forward: the faster pass that has no gradient copies weights,
        # which fake tensors do not allow. The time of the frozen UNet is so a little overestimated.
        model.auxiliary.register_forward_hook(lambda *_: None)
        task = max(model.tasks, key=lambda name: model.token_lengths[model.tasks.index(name)])
        if gradient_checkpointing:
            model.enable_gradient_checkpointing()
        trainable = model.trainable_parameters()
        gradients = [torch.empty_like(parameter) for parameter in trainable] if accumulation > 1 else []
        for parameter, gradient in zip(trainable, gradients, strict=False):
            parameter.grad = gradient
        with _Tape((*model.parameters(), *model.buffers(), *gradients)) as tape:
            loss = _loss(model, task, latent_size, batch_size, precision)
            activations, forward = tape.live, tape.flops
            loss.backward()
    return DryStep(
        parameters=_counts(model),
        activation_bytes=activations,
        peak_bytes=tape.peak + sum(_bytes(gradient) for gradient in gradients),
        forward_flops=forward,
        flops=tape.flops,
        convolution_flops=tape.convolution_flops,
        traffic_bytes=tape.traffic,
    )


def _loss(
    model: StableMTLModel, task: str, size: tuple[int, int], batch_size: int, precision: Precision
) -> Tensor:
    """The loss of a micro-batch of ``task``, computed as training does."""
    latent, latent_next, target = (
        torch.empty(batch_size, model.latent_channels, *size) for _ in ("frame", "next", "label")
    )
    valid = torch.ones(batch_size, 1, *size, dtype=torch.bool)
    autocast = (
        contextlib.nullcontext() if precision == "no" else torch.autocast("cpu", dtype=AUTOCAST[precision])
    )
    with autocast:
        pred = model(latent, latent_next, tasks=[task])[task]
    return masked_mse(pred.float(), target, valid)


class _Tape(TorchDispatchMode):
    """Counts floating-point operations, bytes moved, and bytes in memory.

    Args:
        before: tensors that are there already, which ``live`` leaves out.

    Attributes:
        live: bytes of the tensors made under the tape that still exist [B].
        peak: the most that ``live`` has been [B].
        flops: of matrix products, convolutions and attention.
        convolution_flops: of these, those of convolutions.
        traffic: bytes read and written by the other operations [B].
    """

    def __init__(self, before: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = self.flops = self.convolution_flops = self.traffic = 0
        # By address, next to the reference that tells when the memory is released.
        self._known: dict[int, Any] = {tensor.untyped_storage()._cdata: None for tensor in before}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace != "aten":
            return result
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        made = sum([self._add(tensor) for tensor in outputs])  # every one, hence no generator
        packet = func.overloadpacket
        if packet in _ATTENTION:
            q, k = args[_ATTENTION[packet][0]], args[_ATTENTION[packet][0] + 1]
            batch, heads, length, width = q.shape
            self.flops += _ATTENTION[packet][1] * 2 * batch * heads * length * k.shape[-2] * width
        elif packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=result)
            self.flops += flops
            self.convolution_flops += flops if "conv" in func.name() else 0
        elif made or func._schema.is_mutable:  # neither: a view, which moves nothing
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.traffic += sum(_bytes(tensor) for tensor in (*inputs, *outputs))
        return result

    def _add(self, tensor: Tensor) -> int:
        """Counts the tensor's memory until it is released; 0 if it is counted already."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return 0

        def released(_: Any) -> None:
            del self._known[key]
            self.live -= size

        self._known[key] = weakref.ref(storage, released)
        self.live += size
        self.peak = max(self.peak, self.live)
        return size


_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (0, 2),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (1, 5),
}
"""Attention on the CPU: position of the queries among the arguments, and number of matrix products."""


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
