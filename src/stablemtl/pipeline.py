"""From images to typed predictions: the model, its latent codec, and the tasks' decodings in one object.

Letters: B images of a group; H, W size of the input; h, w size processed; y, x the latent's size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline
from diffusers.utils import deprecation_utils
from torch import Tensor, nn

from stablemtl.devices import check_device
from stablemtl.frames import Frame, FramePair, FrameReader, FrameSource
from stablemtl.inputs import check_resolution, chunks, names_of, pairs_of
from stablemtl.locate import HUB_OPTIONS, find_model
from stablemtl.models import LatentCodec, StableMTLModel
from stablemtl.outputs import Prediction, Predictions
from stablemtl.saved_configs import drop_derived_entries
from stablemtl.tasks import build_tasks
from stablemtl.tasks.base import Task

if TYPE_CHECKING:
    from stablemtl.optimization import Optimizations, Optimized

ONE_FRAME_NOTE = "one frame given: shows no motion"
"""Note on a motion map predicted without a second frame."""

_CODEC_PIXELS = 1 << 19
"""Pixels that go through the codec in one batch. More take more memory and hardly less time."""

_Input: TypeAlias = tuple[int, Frame, Frame | None]  # place in the list given, first frame, second frame

_LIBRARY = "stablemtl"
# diffusers renamed the argument; the old name warns where the new one exists.
_DTYPE_ARGUMENT = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"


class StableMTLPipeline(DiffusionPipeline):
    """One image, or two consecutive frames, to the seven dense maps.

    >>> pipe = StableMTLPipeline.from_pretrained("nano")  # doctest: +SKIP
    >>> maps = pipe("street.jpg", "street2.jpg", tasks=["depth", "optical_flow"])  # doctest: +SKIP
    >>> maps["depth"].values.shape, maps["depth"].unit  # doctest: +SKIP
    ((480, 640), 'm')

    Args:
        model: the network; its config names the tasks it knows.
        vae: the latent codec, one image in [-1, 1] to 4 latent channels and back.
        task_options: encoding of each task as the model was trained, ``{"depth": {"encoding": "log", ...}}``;
            a task left out has the published encoding.
        default_processing_resolution: longest edge at which images are processed [px], 0 for their own size.
    """

    model_cpu_offload_seq = "model->vae"
    model: StableMTLModel
    vae: AutoencoderKL | AutoencoderTiny
    _running_on: torch.device | None = None

    def __init__(
        self,
        model: StableMTLModel,
        vae: AutoencoderKL | AutoencoderTiny,
        task_options: dict | None = None,
        default_processing_resolution: int = 0,
    ) -> None:
        super().__init__()
        self._optimized: Optimized | None = None
        self.register_modules(model=model, vae=vae)
        options = {name: dict(values) for name, values in (task_options or {}).items()}
        known = build_tasks(options)
        self.tasks: dict[str, Task] = {name: known[name] for name in model.config["tasks"] if name in known}
        if len(self.tasks) < len(model.config["tasks"]):
            unknown = sorted(set(model.config["tasks"]) - set(known))
            raise ValueError(
                f"the model was trained for tasks this version does not know: {', '.join(unknown)}."
            )
        self.register_to_config(
            task_options=options,
            default_processing_resolution=check_resolution(default_processing_resolution),
        )

    def register_to_config(self, **kwargs: Any) -> None:
        """Record our classes as ``["stablemtl", name]``, where diffusers finds them again.

        diffusers would write the module that a class lives in, which then must not move; the library's public
        names are what we promise to keep.
        """
        for name, value in kwargs.items():
            if isinstance(value, tuple) and str(value[0]).split(".")[0] == _LIBRARY:
                kwargs[name] = (_LIBRARY, value[1])
        super().register_to_config(**kwargs)

    # loading and saving -------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        torch_dtype: torch.dtype = torch.float32,
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a model with everything it needs to predict.

        Args:
            pretrained_model_name_or_path: an embedded model (``"nano"``), a folder written by
                ``save_pretrained``, or a hub id (``"owner/name"``). To load a folder called ``nano``, write
                ``"./nano"``.
            torch_dtype: type of the weights in memory, whatever type the files hold.
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; where diffusers puts it (CPU) by default.
            kwargs: as in diffusers: ``variant``, ``device_map``, ready ``model`` or ``vae``; for the hub also
                ``revision``, ``token``, ``cache_dir`` and ``local_files_only``.
        Raises:
            ValueError: unknown embedded name, a folder that is not a model, or a device that is not there.
            FileNotFoundError: no such folder, or the embedded model is missing from the installation.
            OSError: damaged weights; or the hub cannot be reached, or does not have the model.
        """
        torch_dtype = kwargs.pop("dtype", torch_dtype)
        target = None if device is None else check_device(device)
        if not kwargs.pop("use_safetensors", True):
            raise ValueError(
                "use_safetensors=False is not supported: weights are read from safetensors files only."
            )
        hub: dict[str, Any] = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        folder = str(find_model(pretrained_model_name_or_path, hub))
        kwargs |= {_DTYPE_ARGUMENT: torch_dtype, "use_safetensors": True}
        pipe = super().from_pretrained(folder, **kwargs)
        pipe.register_to_config(_name_or_path=str(pretrained_model_name_or_path))
        return pipe if target is None else pipe.to(target)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write configs and safetensors into a folder, as in diffusers, but not where it was loaded from."""
        for part in (self, self.model, self.vae):
            if part.config.get("_name_or_path"):
                part.register_to_config(_name_or_path="")
        if self._optimized is not None:
            self._optimized.check_saving()
        super().save_pretrained(save_directory, *args, **kwargs)
        drop_derived_entries(Path(save_directory) / "vae" / "config.json", type(self.vae))

    # prediction ---------------------------------------------------------------------------------------------

    @overload
    def __call__(
        self,
        image: FrameSource,
        image_next: FrameSource | None = None,
        tasks: str | Sequence[str] | None = None,
        *,
        processing_resolution: int | None = None,
        match_input_resolution: bool = True,
        single_stream: bool | None = None,
        batch_size: int = 4,
        batch_tasks: int | None = None,
        codec_tile: int = 0,
        tile: int = 0,
    ) -> Predictions: ...

    @overload
    def __call__(
        self,
        image: list[Any] | tuple[Any, ...],
        image_next: list[Any] | tuple[Any, ...] | None = None,
        tasks: str | Sequence[str] | None = None,
        *,
        processing_resolution: int | None = None,
        match_input_resolution: bool = True,
        single_stream: bool | None = None,
        batch_size: int = 4,
        batch_tasks: int | None = None,
        codec_tile: int = 0,
        tile: int = 0,
    ) -> list[Predictions]: ...

    @torch.no_grad()
    def __call__(
        self,
        image: FrameSource | Sequence[FrameSource],
        image_next: FrameSource | Sequence[FrameSource | None] | None = None,
        tasks: str | Sequence[str] | None = None,
        *,
        processing_resolution: int | None = None,
        match_input_resolution: bool = True,
        single_stream: bool | None = None,
        batch_size: int = 4,
        batch_tasks: int | None = None,
        codec_tile: int = 0,
        tile: int = 0,
    ) -> Predictions | list[Predictions]:
        """Predict dense maps.

        Args:
            image: path, PIL image, array (H, W, 3) or tensor (3, H, W), see :mod:`stablemtl.images`; or a
                list of them, sizes may differ. Also what :meth:`encode` returned.
            image_next: the frame after ``image``, of its size; a list of the same length for a list of
                images, ``None`` where there is none. Without it motion tasks see the frame twice, and their
                maps carry a note saying so.
            tasks: names of the maps wanted; all the model knows by default. Fewer cost less.
            processing_resolution: longest edge at which the network runs [px]; 0 for the image's own size;
                the pipeline's ``default_processing_resolution`` by default. Smaller images are enlarged to
                it.
            match_input_resolution: give maps the size of ``image``; if False, the size processed.
            single_stream: take the auxiliary network's own prediction (StableMTL-S) and leave the main one
                out; no by default, unless :meth:`optimize` was told so.
            batch_size: images of the same size computed together, for a list.
            batch_tasks: how many tasks the network computes together; fewer need less memory. All by default.
            codec_tile: longest edge of the tiles in which the codec takes a larger image [px], so that its
                memory does not grow with the image; 0 for none. For what it changes see
                :class:`stablemtl.models.LatentCodec`.
            tile: longest edge of the tiles in which the whole model takes a larger image [px], each at
                ``processing_resolution``, joined at one scale; 0 for none. See
                :func:`stablemtl.large_images.predict_tiled`.
        Returns:
            The maps of the image; for a list of images, a list in its order.
        Raises:
            FileNotFoundError: no such image file.
            ValueError: an unknown task, an image that cannot be used, two frames of different sizes, a number
                out of range.
            TypeError: an image of a type that is not accepted.
        """
        # 1. Check everything that can be checked before reading an image.
        wanted = self._wanted(tasks)
        resolution = self._resolution(processing_resolution)
        for name, value in (("batch_size", batch_size), ("batch_tasks", batch_tasks)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")
        self._check_tile(codec_tile)
        batched = isinstance(image, list | tuple)
        pairs = pairs_of(image, image_next)
        if single_stream is None:
            single_stream = self.optimizations.single_stream
        if tile:
            from stablemtl.large_images import predict_tiled

            call: dict[str, Any] = {
                "tile": tile,
                "processing_resolution": processing_resolution,
                "match_input_resolution": match_input_resolution,
                "single_stream": single_stream,
                "batch_size": batch_size,
                "batch_tasks": batch_tasks,
                "codec_tile": codec_tile,
            }
            one: Any = predict_tiled  # it refuses frames that are encoded already
            tiled = [one(self, first, second, wanted, **call) for first, second in pairs]
            _name_inputs(tiled, pairs)
            return tiled if batched else tiled[0]

        # 2. Read, make small, and collect images that can be computed together.
        reader = FrameReader(
            pairs, resolution, explicit=processing_resolution is not None, cell=self.codec.downscale
        )
        options = (wanted, match_input_resolution, single_stream, batch_tasks, codec_tile)
        results: dict[int, Predictions] = {}
        groups: dict[tuple[object, ...], list[_Input]] = {}
        with self._running(self.model, self.vae):
            for index, (first, second) in enumerate(pairs):
                frame, frame_next = reader.pair(first, second, f"[{index}]" if batched else "")
                key = (frame.processed, frame_next is None)
                group = groups.setdefault(key, [])
                group.append((index, frame, frame_next))
                if len(group) == batch_size:
                    results.update(self._predict(groups.pop(key), *options))
            for group in groups.values():
                results.update(self._predict(group, *options))
        ordered = [results[index] for index in range(len(pairs))]
        _name_inputs(ordered, pairs)
        return ordered if batched else ordered[0]

    @torch.no_grad()
    def encode(
        self, image: FrameSource, *, processing_resolution: int | None = None, codec_tile: int = 0
    ) -> Frame:
        """Read and encode an image, to give it to the pipeline more than once: as the second frame of a pair,
        then as the first one of the next.

        >>> frames = map(pipe.encode, sorted(folder.glob("*.png")))  # doctest: +SKIP
        >>> maps = [pipe(a, b) for a, b in itertools.pairwise(frames)]  # doctest: +SKIP

        Args:
            image: as in the call.
            processing_resolution: as in the call; the call then takes the frame's.
            codec_tile: as in the call.
        Raises:
            FileNotFoundError: no such image file.
            ValueError: an image that cannot be used, or a number out of range.
            TypeError: an image of a type that is not accepted.
        """
        resolution = self._resolution(processing_resolution)
        self._check_tile(codec_tile)
        explicit = processing_resolution is not None
        reader = FrameReader([(image, None)], resolution, explicit=explicit, cell=self.codec.downscale)
        frame = reader.frame(image, "image")
        with self._running(self.vae):
            self._encode_frames([frame], codec_tile)
        return frame

    def enable_stream_offload(self, device: str | torch.device = "cuda") -> None:
        """Compute on ``device`` with only one of the two networks there at a time, the other in CPU memory.

        For a device too small for both: the weights needed there fall by those of the smaller network,
        40 % at full size, and each call moves both networks once.

        Args:
            device: where to compute.
        Raises:
            ValueError: no such device on this machine.
        """
        target = check_device(device)
        self.model.to("cpu")
        self.vae.to(target)
        self.model.offload_streams(target)

    # speed --------------------------------------------------------------------------------------------------

    def optimize(self, mode: Literal["exact", "fast"] = "exact", **choices: Any) -> Self:
        """Compute faster on the device where this pipeline is.

        ``exact`` changes results by no more than rounding in the pipeline's number type. ``fast`` takes a
        shorter number type where the hardware multiplies it faster. The rest is there by choice:

        >>> pipe.optimize("fast", tiny_codec="madebyollin/taesd", compile=True)  # doctest: +SKIP
        >>> print(pipe.optimizations.describe())  # doctest: +SKIP

        What is on already stays on; another call may change it, but not bring back weights that were rounded
        or replaced.

        Args:
            mode: ``exact`` or ``fast``.
            choices: fields of :class:`stablemtl.optimization.Optimizations` to settle: ``dtype``,
                ``channels_last``, ``compile``, ``compile_buckets``, ``compile_sizes``, ``int8``,
                ``int8_networks``, ``tiny_codec``, ``tiny_codec_parts``, ``single_stream``, ``threads``.
        Returns:
            This pipeline.
        Raises:
            ValueError: an option that is unknown, out of range, not for this device or mode, or not to be
                undone; a tiny codec trained for other latents.
            ImportError: an optional package is missing.
            OSError: no such tiny codec.
        """
        from stablemtl.optimization import optimize

        self._optimized = optimize(self, mode, self._optimized, **choices)
        return self

    @property
    def optimizations(self) -> Optimizations:
        """What :meth:`optimize` has switched on, and why."""
        from stablemtl.optimization.apply import current

        return current(self, self._optimized)

    @property
    def _execution_device(self) -> torch.device:
        return self._running_on or self.model.offload_device or super()._execution_device

    @contextmanager
    def _running(self, *modules: nn.Module) -> Iterator[None]:
        """Modules in evaluation mode inside, back as they were after.

        The device is looked up once: diffusers walks through all modules for it.
        """
        training = [module for module in modules if module.training]
        for module in training:
            module.eval()
        self._running_on = self._execution_device
        try:
            yield
        finally:
            self._running_on = None
            for module in training:
                module.train()

    def _resolution(self, given: int | None) -> int:
        resolution: int = self.config["default_processing_resolution"]
        return resolution if given is None else check_resolution(given)

    def _source(self, processed: tuple[int, int], single_stream: bool) -> dict[str, Any]:
        """What maps of this call are told to come from."""
        source: dict[str, Any] = {
            "model": str(self.config.get("_name_or_path") or ""),
            "streams": "single" if single_stream or getattr(self.model, "main", self) is None else "multi",
            "processing_size": list(processed),
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }
        if self._optimized is not None:
            source["optimizations"] = self.optimizations.to_dict()
        return source

    def _check_tile(self, codec_tile: int) -> None:
        if isinstance(codec_tile, bool) or not isinstance(codec_tile, int) or codec_tile < 0:
            raise ValueError(f"codec_tile must be 0 (no tiles) or a number of px, got {codec_tile!r}.")
        if codec_tile:
            self.codec.tiling(codec_tile)

    def _wanted(self, tasks: str | Sequence[str] | None) -> list[str]:
        if tasks is None:
            return list(self.tasks)
        names = list(dict.fromkeys([tasks] if isinstance(tasks, str) else tasks))
        if not names:
            raise ValueError(
                f"tasks is empty; choose from {', '.join(sorted(self.tasks))}, or leave it out for all."
            )
        for name in names:
            if name not in self.tasks:
                raise ValueError(f"unknown task {name!r}; choose from {', '.join(sorted(self.tasks))}")
        return names

    def _predict(
        self,
        group: list[_Input],
        wanted: list[str],
        match_input_resolution: bool,
        single_stream: bool,
        batch_tasks: int | None,
        codec_tile: int,
    ) -> Iterator[tuple[int, Predictions]]:
        """Steps 3 to 6 for images of one processing size, all with a second frame or all without."""
        # 3. Encode each frame once.
        small = group[0][1].processed
        self._encode_frames([f for _, *pair in group for f in pair if f is not None], codec_tile)
        latent = self._latents(frame for _, frame, _ in group)  # (B, 4, y, x)
        alone = group[0][2] is None
        latent_next = None if alone else self._latents(frame for _, _, frame in group)

        # 4. One pass of the network for all tasks wanted.
        network = self.model if self._optimized is None else self._optimized.network
        run = network.single_stream if single_stream else network
        latents = run(latent, latent_next, tasks=wanted, batch_tasks=batch_tasks)  # task -> (B, 4, y, x)

        # 5. Decode latents to images, several tasks at once, and each image to what it means.
        maps: list[dict[str, Prediction]] = [{} for _ in group]
        together = max(1, _CODEC_PIXELS // (small[0] * small[1] * len(group)))
        for names in chunks(wanted, min(together, batch_tasks or together)):
            images = self._decode(torch.cat([latents.pop(name) for name in names]), small, codec_tile)
            for name, image in zip(names, images.split(len(group)), strict=True):  # (B, 3, h, w)
                task = self.tasks[name]
                decoded = task.decode(image)  # (B, C, h, w) [unit]
                note = ONE_FRAME_NOTE if task.spec.frames == 2 and alone else ""
                for i, (_, frame, _) in enumerate(group):
                    one = decoded[i : i + 1]  # (1, C, h, w)
                    if match_input_resolution and frame.size != small:
                        one = task.resize_prediction(one, frame.size)  # (1, C, H, W)
                    maps[i][name] = Prediction.from_tensor(task, one, note=note)

        # 6. Say which image each belongs to.
        for (index, *pair), content in zip(group, maps, strict=True):
            pictures = tuple(frame.picture for frame in pair if frame is not None)
            yield index, Predictions(content, frames=pictures, source=self._source(small, single_stream))

    def _encode_frames(self, frames: list[Frame], codec_tile: int) -> None:
        """Gives each frame its latent; they have one processing size."""
        todo = [frame for frame in dict.fromkeys(frames) if frame.latent is None]
        size = max(1, _CODEC_PIXELS // (frames[0].processed[0] * frames[0].processed[1]))
        for part in chunks(todo, size):
            images = torch.stack([frame.pixels for frame in part if frame.pixels is not None])  # (B, 3, h, w)
            for frame, latent in zip(part, self._encode(images, codec_tile), strict=True):
                frame.latent, frame.pixels = latent, None

    def _latents(self, frames: Iterable[Frame | None]) -> Tensor:
        """Latents (B, 4, y, x) of encoded frames."""
        latents = [frame.latent for frame in frames if frame is not None and frame.latent is not None]
        return torch.stack(latents).to(self._execution_device, self.model.dtype)

    @property
    def codec(self) -> LatentCodec:
        """The latent codec around ``vae``."""
        return LatentCodec(self.vae) if self._optimized is None else self._optimized.codec(self.vae)

    def _encode(self, images: Tensor, tile: int = 0) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> latents of the model's number type, edges repeated up to whole cells."""
        images = images.to(device=self._execution_device, dtype=self.vae.dtype)
        latents: Tensor = self.codec.encode(images * 2 - 1, tile=tile).to(self.model.dtype)
        return latents

    def _decode(self, latents: Tensor, size: tuple[int, int], tile: int = 0) -> Tensor:
        """Latents -> (B, 3, h, w) float32 in [-1, 1] or a little beyond, on the CPU."""
        return self.codec.decode(latents, size=size, tile=tile).float().cpu()


def _name_inputs(results: Iterable[Predictions], pairs: Iterable[FramePair]) -> None:
    """Tells maps the names of the files that they were predicted from."""
    for maps, pair in zip(results, pairs, strict=True):
        if names := names_of(pair):
            maps.source["inputs"] = names
