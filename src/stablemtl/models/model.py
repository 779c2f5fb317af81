"""StableMTLModel: latents of one or two frames in, one latent per task out.

Source: StableMTL (arXiv 2506.08013). One UNet, told the task by a text token, regresses the latent of the
label image in one step (the *auxiliary* streams, and the whole of StableMTL-S). A second UNet (the *main*
stream) starts as its copy and attends, in every self-attention block, to the features of the other tasks'
auxiliary streams (:mod:`stablemtl.models.task_attention`).

The released code runs the auxiliary UNet again for each main task. Features of an auxiliary task do not
depend on the main task, so here they are computed once, all tasks in one batch, and the main tasks in
another. Without gradients a pass costs less again (:mod:`stablemtl.models.fixed_unet`); with gradients the
UNets run as diffusers runs them.

Letters: B images, M tasks of a pass, U distinct inputs among them, K all tasks, L text tokens, N spatial
tokens, C latent channels, (h, w) latent size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from stablemtl.models.fixed_unet import FixedUNet
from stablemtl.models.offload import on_device
from stablemtl.models.passes import Passes, SecondFrame, chunks, distinct_inputs
from stablemtl.models.task_attention import (
    AuxiliaryFeatures,
    FeatureStream,
    MainStream,
    Stream,
    TaskAttention,
    TaskAttentionConfig,
    install_processors,
    selected_blocks,
    self_attention_blocks,
)
from stablemtl.models.unets import build_unet, level_sizes, own_options


class StableMTLModel(ModelMixin, ConfigMixin):
    """A latent regressor for several tasks: the single-stream UNet and, if added, the main UNet on top.

    What the tokens and the timestep come to is kept between calls without gradients, and made anew when a
    weight it comes from was replaced, moved or written to. Writing through ``weight.data`` shows only after
    the next ``train()``, ``eval()`` or ``to()``.

    Args:
        unet: options of ``diffusers.UNet2DConditionModel``, for both streams. ``in_channels`` is three times
            ``out_channels`` (frame, second frame, an unused group of zeros); twice for
            ``second_frame="average"``.
        tasks: task names; their order is that of the tokens.
        token_lengths: text tokens of each task's prompt.
        task_attention: fields of :class:`TaskAttentionConfig`; None builds the single-stream model.
        pair_tasks: tasks that look at two frames. Names that are not in ``tasks`` are ignored.
        second_frame: what the other tasks see in its place: their frame again, zeros, or one group that holds
            the average of both frames.
        timestep: the constant diffusion timestep.

    Attributes:
        auxiliary: the single-stream UNet. With a main stream it is frozen and stays in eval mode.
        main: the multi-stream UNet, or None.
        task_attention_blocks: one :class:`TaskAttention` per attending block.
        task_tokens: prompt embeddings (K, L, D), zero-padded.
        token_mask: True at the tokens that are no padding, (K, L), bool.
        offload_device: where the UNets go while they run, see :meth:`offload_streams`; None if they stay.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["BasicTransformerBlock", "ResnetBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]  # noqa: RUF012

    task_tokens: Tensor
    token_mask: Tensor

    @register_to_config
    def __init__(
        self,
        unet: dict[str, Any],
        tasks: Sequence[str],
        token_lengths: Sequence[int],
        task_attention: dict[str, Any] | None = None,
        pair_tasks: Sequence[str] = ("optical_flow", "scene_flow"),
        second_frame: SecondFrame = "duplicate",
        timestep: int = 999,
    ) -> None:
        super().__init__()
        self._fixed: dict[str, FixedUNet] = {}
        self.offload_device: torch.device | None = None
        self.tasks = tuple(tasks)
        self.pair_tasks = tuple(task for task in pair_tasks if task in self.tasks)
        self.second_frame = second_frame
        self.timestep = timestep
        self._check_config(token_lengths)

        self.auxiliary = build_unet(unet)
        self.latent_channels = int(self.auxiliary.config["out_channels"])
        groups = 2 if second_frame == "average" else 3
        if (in_channels := self.auxiliary.config["in_channels"]) != groups * self.latent_channels:
            raise ValueError(
                f"unet in_channels must be {groups} x out_channels = {groups * self.latent_channels} "
                f"with second_frame={second_frame!r}, got {in_channels}."
            )
        install_processors(self.auxiliary)
        self._size_tokens(token_lengths)
        self.register_to_config(
            unet=own_options(self.auxiliary.config), tasks=list(tasks), pair_tasks=list(pair_tasks)
        )

        self.main: UNet2DConditionModel | None = None
        if task_attention is not None:
            self._attach(build_unet(unet), TaskAttentionConfig.from_dict(task_attention))

    def register_to_config(self, **kwargs: Any) -> None:
        """Record values, also those that were left to their defaults.

        diffusers notes which arguments were not given, and ``from_config`` forgets their values, even where
        they have changed since: a model with a main stream added would come back without it.
        """
        kwargs.pop("_use_default_values", None)
        super().register_to_config(**kwargs)

    def add_main_stream(
        self,
        task_attention_config: TaskAttentionConfig | None = None,
        *,
        initial: UNet2DConditionModel | None = None,
    ) -> None:
        """Turns the single-stream model into the multi-stream one, which at first gives the same outputs.

        The main UNet starts as a copy of the auxiliary one, the task attention with an output projection of
        zeros. The auxiliary UNet is frozen from here on.

        Args:
            task_attention_config: sizes and masking; None takes the released model's.
            initial: UNet whose weights the main stream starts from instead (the paper's ablation "w/o
                single-stream init").
        Raises:
            ValueError: a main stream is there already, tasks are fewer than two, or the config does not fit.
        """
        if self.main is not None:
            raise ValueError(
                "this model has a main stream already; start from the single-stream model to add another."
            )
        main = copy.deepcopy(self.auxiliary).requires_grad_(True)
        if initial is not None:
            main.load_state_dict(initial.state_dict())
        self._attach(main, task_attention_config or TaskAttentionConfig())
        reference = next(self.auxiliary.parameters())
        self.task_attention_blocks.to(device=reference.device, dtype=reference.dtype)

    def drop_main_stream(self) -> None:
        """Turns the multi-stream model back into its single stream, which can be trained again."""
        if self.main is None:
            return
        self.main = None
        del self.task_attention_blocks, self.attending_blocks
        self.register_to_config(task_attention=None)
        self.auxiliary.requires_grad_(True)
        self.train(self.training)

    def set_tokens(self, tokens: Mapping[str, Tensor]) -> None:
        """Stores the prompt embeddings; their lengths need not be those the model was built with.

        Args:
            tokens: task -> (L, D) or (1, L, D), D the UNet's ``cross_attention_dim``.
        Raises:
            ValueError: a task is missing or unknown, or a shape is wrong.
        """
        if set(tokens) != set(self.tasks):
            raise ValueError(
                f"tokens must be given for exactly {', '.join(self.tasks)}; got {', '.join(tokens)}."
            )
        rows = []
        for task in self.tasks:
            row = tokens[task]
            if row.ndim == 3 and row.shape[0] == 1:
                row = row[0]
            if row.ndim != 2 or row.shape[0] == 0 or row.shape[1] != self._token_width():
                raise ValueError(
                    f"tokens[{task!r}] must be (L, {self._token_width()}) or (1, L, {self._token_width()}), "
                    f"got {tuple(tokens[task].shape)}."
                )
            rows.append(row.detach().to(self.task_tokens))
        self._size_tokens([len(row) for row in rows])
        for i, row in enumerate(rows):
            self.task_tokens[i, : len(row)] = row
        self.register_to_config(token_lengths=list(self.token_lengths))

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the model; diffusers' own property looks at each parameter to tell it."""
        return self.task_tokens.dtype

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What trains: the auxiliary UNet or, once there is one, the main UNet with its task attention."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def offload_streams(self, device: torch.device | str | None) -> None:
        """From now on, brings each UNet to ``device`` only while it runs, and returns its place at once.

        For a device that cannot hold both. The model itself stays where it is, on the CPU as a rule; results
        are on ``device``. With gradients nothing moves.

        Args:
            device: where the UNets run; None ends it.
        """
        self.offload_device = None if device is None else torch.device(device)

    def train(self, mode: bool = True) -> StableMTLModel:
        """Sets training mode; the auxiliary UNet stays in eval mode once there is a main stream."""
        self._fixed.clear()
        super().train(mode)
        if self.main is not None:
            self.auxiliary.eval()
        return self

    def forward(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Predicted label latents, by the main stream when there is one, else by the single stream.

        Args:
            latent: latent of the frame, shape (B, C, h, w); any h and w.
            latent_next: latent of the next frame, same shape; None repeats the first one. Only ``pair_tasks``
                look at it.
            tasks: tasks to predict; None takes all. Only what they need is computed.
            batch_tasks: how many tasks at most go through a UNet in one batch; None sends all. Fewer need
                less memory and more time; outputs are the same.
            generator: source of the task masking's random numbers (training mode only).
        Returns:
            task -> (B, C, h, w), in the order of ``tasks``.
        Raises:
            ValueError: an unknown, repeated or missing task, or a wrong shape.
        """
        if self.main is None:
            return self.single_stream(latent, latent_next, tasks, batch_tasks)
        outputs, _ = self._multi_stream(latent, latent_next, tasks, batch_tasks, generator)
        return outputs

    @apply_forward_hook  # diffusers' offloading waits for forward only
    def single_stream(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
    ) -> dict[str, Tensor]:
        """The auxiliary UNet's own predictions (StableMTL-S); arguments and result as in :meth:`forward`."""
        chosen = self._check_inputs(latent, latent_next, tasks, batch_tasks)
        away = self._run_device()
        outputs: dict[str, Tensor] = {}
        with on_device([self.auxiliary], away):
            for part in chunks(chosen, batch_tasks):
                outputs.update(self._run(self.auxiliary, latent, latent_next, part))
        return outputs

    def attention_maps(
        self,
        latent: Tensor,
        latent_next: Tensor | None = None,
        tasks: Sequence[str] | None = None,
        batch_tasks: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[tuple[str, str, int], Tensor]:
        """How much each main task attends to each auxiliary task; arguments as in :meth:`forward`.

        Returns:
            (main task, auxiliary task, block index) -> weights (B, h_block, w_block), float32, averaged over
            heads. Over the auxiliary tasks they sum to one, except in training mode with masking per
            location.
        Raises:
            ValueError: the model has no main stream, or as in :meth:`forward`.
        """
        if self.main is None:
            raise ValueError(
                "attention_maps needs a main stream, which this single-stream model does not have."
            )
        _, streams = self._multi_stream(latent, latent_next, tasks, batch_tasks, generator, keep_weights=True)
        blocks = self_attention_blocks(self.main)
        sizes = level_sizes(self.main, (latent.shape[-2], latent.shape[-1]))
        maps = {}
        for stream in streams:
            for block, weights in stream.weights.items():  # (B, N, M, A)
                by_pair = weights.permute(2, 3, 0, 1).unflatten(-1, sizes[blocks[block].level])
                for i, main in enumerate(stream.tasks):
                    for j, other in enumerate(stream.auxiliary_tasks):
                        if other != main:
                            maps[main, other, block] = by_pair[i, j]
        return maps

    def fixed_unet(self, unet: UNet2DConditionModel) -> FixedUNet | None:
        """One of this model's UNets with its tokens and timestep as constants, kept between calls.

        Returns:
            None for a UNet that only its own forward serves.
        """
        name = "main" if unet is self.main else "auxiliary"
        fixed = FixedUNet.of(
            unet, self.timestep, self.task_tokens, self.token_mask, self._fixed.pop(name, None)
        )
        if fixed is not None and self.offload_device is None:  # else it would hold on to weights that leave
            self._fixed[name] = fixed
        return fixed

    def _multi_stream(
        self,
        latent: Tensor,
        latent_next: Tensor | None,
        tasks: Sequence[str] | None,
        batch_tasks: int | None,
        generator: torch.Generator | None,
        keep_weights: bool = False,
    ) -> tuple[dict[str, Tensor], list[MainStream]]:
        assert self.main is not None, "only called with a main stream"
        chosen = self._check_inputs(latent, latent_next, tasks, batch_tasks)
        blocks = cast(Iterable[TaskAttention], self.task_attention_blocks)
        attention = dict(zip(self.attending_blocks, blocks, strict=True))

        passes = Passes.of(self.tasks, chosen, batch_tasks)

        # 1. An auxiliary stream for each task that some main task attends to. It ends where the main streams
        # look at it for the last time.
        kept = FeatureStream(self.attending_blocks)
        away = self._run_device()
        with torch.no_grad(), on_device([self.auxiliary], away):
            for part in passes.auxiliary:
                self._run(
                    self.auxiliary, latent, latent_next, part, kept, stop_after=self.attending_blocks[-1]
                )
        features = AuxiliaryFeatures(
            passes.others, kept.features(len(passes.others)), differentiable=torch.is_grad_enabled()
        )

        # 2. The main stream of every requested task.
        outputs: dict[str, Tensor] = {}
        streams = []
        with on_device([self.main, self.task_attention_blocks], away):
            for part in passes.main:
                stream = MainStream(
                    part,
                    features,
                    attention,
                    device=away or latent.device,
                    last=part is passes.main[-1],
                    generator=generator,
                    keep_weights=keep_weights,
                )
                outputs.update(self._run(self.main, latent, latent_next, part, stream))
                streams.append(stream)
        return outputs, streams

    def _run(
        self,
        unet: UNet2DConditionModel,
        latent: Tensor,
        latent_next: Tensor | None,
        tasks: Sequence[str],
        stream: Stream | None = None,
        stop_after: int | None = None,
    ) -> dict[str, Tensor]:
        """One pass of ``unet`` for ``tasks``; empty if it could stop after the block ``stop_after``."""
        weight = unet.conv_in.weight
        device = weight.device if self._run_device() else latent.device
        inputs, source = self.stream_inputs(
            latent.to(device, weight.dtype),
            None if latent_next is None else latent_next.to(device, weight.dtype),
            tasks,
        )
        rows = [self.tasks.index(task) for task in tasks]
        fixed = None if torch.is_grad_enabled() else self.fixed_unet(unet)
        if fixed is not None:
            prediction = fixed(inputs, source, rows, stream, stop_after)
        else:
            prediction = self._stock_pass(unet, torch.cat([inputs[i] for i in source]), rows, stream)
        if prediction is None:
            return {}
        return dict(zip(tasks, prediction.unflatten(0, (len(tasks), -1)).unbind(0), strict=True))

    def _run_device(self) -> torch.device | None:
        """Where the UNets go to run; None if they stay."""
        return None if torch.is_grad_enabled() else self.offload_device

    def _stock_pass(
        self, unet: UNet2DConditionModel, sample: Tensor, rows: Sequence[int], stream: Stream | None
    ) -> Tensor:
        """The UNet's own forward on a batch of M x B samples, task-major: (M*B, C, h, w)."""
        lengths = [self.token_lengths[i] for i in rows]
        longest, batch = max(lengths), len(sample) // len(rows)
        tokens = self.task_tokens[rows, :longest].to(sample)
        mask = None
        if min(lengths) < longest:  # padding would take part in the cross-attention
            mask = self.token_mask[rows, :longest].to(sample.device).repeat_interleave(batch, dim=0)
        prediction: Tensor = unet(
            sample,
            self.timestep,
            tokens.repeat_interleave(batch, dim=0),
            encoder_attention_mask=mask,
            cross_attention_kwargs=None if stream is None else {"task_stream": stream},
            return_dict=False,
        )[0]
        return prediction

    def stream_inputs(
        self, latent: Tensor, latent_next: Tensor | None, tasks: Sequence[str]
    ) -> tuple[list[Tensor], list[int]]:
        """The U distinct UNet inputs (B, in_channels, h, w), and which of them each task takes.

        Frames by each task's rule, then zeros.
        """
        unused = torch.zeros_like(latent)
        second = latent if latent_next is None else latent_next
        if self.second_frame == "average":
            alone, pair = [latent, unused], [(latent + second) / 2, unused]
        else:
            alone = [latent, latent if self.second_frame == "duplicate" else unused, unused]
            pair = [latent, second, unused]
        # A frame repeated, or averaged with itself, is what tasks of one frame see anyway.
        differ = latent_next is not None or self.second_frame == "zero"
        distinct, source = distinct_inputs(tasks, self.pair_tasks if differ else ())
        return [torch.cat(pair if both else alone, dim=1) for both in distinct], source

    def _check_config(self, token_lengths: Sequence[int]) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must name each task once, and at least one; got {list(self.tasks)}.")
        if bad := [task for task in self.tasks if not task or "." in task]:
            raise ValueError(f"task names become parts of parameter names: no empty one, no dot; got {bad}.")
        if len(token_lengths) != len(self.tasks) or min(token_lengths) < 1:
            raise ValueError(
                f"token_lengths must hold one length >= 1 for each of {len(self.tasks)} tasks, "
                f"got {list(token_lengths)}."
            )
        if self.second_frame not in get_args(SecondFrame):
            raise ValueError(
                f"second_frame must be one of {', '.join(get_args(SecondFrame))}, got {self.second_frame!r}."
            )

    def _check_inputs(
        self, latent: Tensor, latent_next: Tensor | None, tasks: Sequence[str] | None, batch_tasks: int | None
    ) -> list[str]:
        """The tasks to predict, once everything is known to fit."""
        if latent.ndim != 4 or latent.shape[1] != self.latent_channels or 0 in latent.shape:
            raise ValueError(
                f"latent must be (B, {self.latent_channels}, h, w), got {tuple(latent.shape)}. "
                "Images are encoded with stablemtl.models.LatentCodec."
            )
        if latent_next is not None and latent_next.shape != latent.shape:
            raise ValueError(
                f"latent_next must have the shape of latent, {tuple(latent.shape)}, "
                f"got {tuple(latent_next.shape)}."
            )
        if isinstance(tasks, str):
            raise TypeError(
                f"tasks must be a list of names, got the string {tasks!r}; write tasks=[{tasks!r}]."
            )
        chosen = list(self.tasks if tasks is None else tasks)
        if not chosen:
            raise ValueError(f"tasks must name at least one task; choose from {', '.join(self.tasks)}.")
        for task in chosen:
            if task not in self.tasks:
                raise ValueError(f"unknown task {task!r}; choose from {', '.join(self.tasks)}.")
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"tasks must name each task once, got {chosen}.")
        if batch_tasks is not None and batch_tasks < 1:
            raise ValueError(f"batch_tasks must be at least 1, or None for no limit; got {batch_tasks}.")
        return chosen

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: not what is made again."""
        return {**self.__dict__, "_fixed": {}}

    def _apply(self, *args: Any, **kwargs: Any) -> StableMTLModel:
        """Moves or converts all tensors (``to``, ``half``, ``cuda``)."""
        self._fixed.clear()
        super()._apply(*args, **kwargs)
        return self

    def _attach(self, main: UNet2DConditionModel, config: TaskAttentionConfig) -> None:
        """Installs the main UNet with fresh task attention, and freezes the auxiliary one."""
        if len(self.tasks) < 2:
            raise ValueError(
                f"a main stream attends to other tasks: it needs at least two, got {list(self.tasks)}."
            )
        blocks = self_attention_blocks(main)
        self.attending_blocks = selected_blocks(config, blocks)
        self.task_attention_blocks = nn.ModuleList(
            TaskAttention(blocks[i].width, self.tasks, config) for i in self.attending_blocks
        )
        install_processors(main)
        self.main = main
        self.register_to_config(task_attention=config.to_dict())
        self.auxiliary.requires_grad_(False)
        self.train(self.training)

    def _size_tokens(self, lengths: Sequence[int]) -> None:
        """Zero tokens and the mask for prompts of these lengths."""
        self.token_lengths = tuple(int(length) for length in lengths)
        like = self._buffers.get("task_tokens", torch.zeros(()))
        assert like is not None, "task_tokens is a tensor"
        longest = max(self.token_lengths)
        self.register_buffer("task_tokens", like.new_zeros(len(self.tasks), longest, self._token_width()))
        mask = torch.arange(longest) < torch.tensor(self.token_lengths)[:, None]
        self.register_buffer("token_mask", mask.to(like.device), persistent=False)  # known from the config

    def _token_width(self) -> int:
        width = self.auxiliary.config["encoder_hid_dim"] or self.auxiliary.config["cross_attention_dim"]
        return int(width if isinstance(width, int) else width[0])
