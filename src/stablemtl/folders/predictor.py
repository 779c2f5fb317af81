"""A model with all that is decided before the first picture: how it predicts, and which files it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemtl.folders.options import PredictorOptions, check_options
from stablemtl.folders.results import FileRecord, checksum
from stablemtl.writers import staged_folder

if TYPE_CHECKING:
    from stablemtl.confidence import ConsistencyMap
    from stablemtl.frames import FrameSource
    from stablemtl.outputs import Predictions
    from stablemtl.point_cloud import Camera


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """The maps of a picture, and what their files need."""

    predictions: Predictions
    consistency: Mapping[str, ConsistencyMap] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Checks of consistency that the maps do not allow -> why."""
    image: FrameSource
    image_next: FrameSource | None = None


class Predictor:
    """Predicts and writes.

    Args:
        pipe: a ``StableMTLPipeline``, or anything that is called like one.
        options: how to predict, and what to write.
    Raises:
        ValueError: a task or a format that is not known, or options that exclude each other.
    """

    def __init__(self, pipe: Any, options: PredictorOptions) -> None:
        self.pipe, self.options = pipe, options
        self._check()

    @property
    def shares_frames(self) -> bool:
        """Whether a frame that is in two pairs can be encoded once, see :meth:`encode`."""
        return not (self.options.tile or self.options.flips or self._needs_pixels)

    @property
    def computes_together(self) -> bool:
        """Whether several pictures are computed faster than one after the other."""
        return not (self.options.tile or self.options.flips)

    def encode(self, image: FrameSource) -> FrameSource:
        """A frame to give to :meth:`predict` more than once, where ``shares_frames``."""
        options = self.options
        frame: FrameSource = self.pipe.encode(
            image, processing_resolution=options.processing_resolution, codec_tile=options.codec_tile
        )
        return frame

    def predict(
        self, images: Sequence[FrameSource], images_next: Sequence[FrameSource | None]
    ) -> list[Predicted]:
        """The maps of each picture, in the order given.

        Args:
            images: pictures.
            images_next: the frame after each, or None.
        Raises:
            ValueError: a picture that cannot be used, or two frames of different sizes.
        """
        if self.computes_together:
            found = self._predict_together(images, images_next)
        else:
            found = [self._predict_alone(*pair) for pair in zip(images, images_next, strict=True)]
        return [self._with_checks(one) for one in found] if self.options.confidence else found

    def write(self, predicted: Predicted, folder: Path) -> tuple[FileRecord, ...]:
        """Write the files into ``folder``, all or nothing; other files in it stay.

        Returns:
            What was written, by name.
        Raises:
            FileExistsError: ``folder`` is a file.
        """
        with staged_folder(folder) as beside:
            inner = beside / "maps"
            predicted.predictions.save(inner, **self._save_options(predicted))
            for name, consistency in predicted.consistency.items():
                for suffix in (".png", ".npz"):
                    consistency.save(inner / f"{name}_consistency{suffix}")
            files = sorted(inner.iterdir())
            records = tuple(
                FileRecord(name=file.name, bytes=file.stat().st_size, sha256=checksum(file)) for file in files
            )
            for file in files:
                file.replace(beside / file.name)
            inner.rmdir()
        return records

    @property
    def _needs_pixels(self) -> bool:
        return self.options.confidence or "ply" in self.options.formats

    def _call_options(self) -> dict[str, Any]:
        options = self.options
        return {
            "processing_resolution": options.processing_resolution,
            "match_input_resolution": options.match_input_resolution,
            "single_stream": options.single_stream,
            "batch_tasks": options.batch_tasks,
            "codec_tile": options.codec_tile,
        }

    def _predict_together(
        self, images: Sequence[FrameSource], images_next: Sequence[FrameSource | None]
    ) -> list[Predicted]:
        call = {"tasks": self.options.tasks or None, **self._call_options()}
        if len(images) == 1:  # whose errors then speak of the image, not of the first one of a list
            maps = [self.pipe(images[0], images_next[0], **call)]
        else:
            maps = self.pipe(list(images), list(images_next), batch_size=len(images), **call)
        return [
            Predicted(predictions=one, image=image, image_next=image_next)
            for one, image, image_next in zip(maps, images, images_next, strict=True)
        ]

    def _predict_alone(self, image: Any, image_next: Any) -> Predicted:
        tasks, call = self.options.tasks or None, self._call_options()
        if self.options.tile:
            from stablemtl.large_images import predict_tiled

            call.pop("match_input_resolution")  # they always do
            maps = predict_tiled(self.pipe, image, image_next, tasks, tile=self.options.tile, **call)
            return Predicted(predictions=maps, image=image, image_next=image_next)

        from stablemtl.confidence import predict_with_flips

        maps, spread = predict_with_flips(
            self.pipe, image, image_next, tasks, flips=self.options.flips, **call
        )
        named = {f"{name}_flip": value for name, value in spread.items()} if self.options.confidence else {}
        return Predicted(predictions=maps, consistency=named, image=image, image_next=image_next)

    def _with_checks(self, one: Predicted) -> Predicted:
        """With the maps of how well the maps agree with each other."""
        from stablemtl.confidence import cross_task

        camera = self._camera(one.predictions)
        found = cross_task(one.predictions, one.image, one.image_next, camera=camera)
        return replace(one, consistency={**one.consistency, **found}, left_out=found.left_out)

    def _camera(self, maps: Predictions) -> Camera | None:
        """The camera that --field-of-view means; None to let those assume one who need it."""
        degrees = self.options.field_of_view
        if degrees is None or not maps:
            return None
        from stablemtl.point_cloud import Camera

        return Camera.from_field_of_view(next(iter(maps.values())).size, degrees)

    def _save_options(self, predicted: Predicted) -> dict[str, Any]:
        options: dict[str, Any] = {"camera": self._camera(predicted.predictions)}
        if self.options.formats:
            options["formats"] = self.options.formats
        if self._needs_pixels:
            options |= {"image": predicted.image, "image_next": predicted.image_next}
        return options

    def _check(self) -> None:
        from stablemtl.names import choose
        from stablemtl.outputs import FORMATS

        for task in self.options.tasks:
            choose("task", task, self.pipe.tasks)
        for name in self.options.formats:
            choose("format", name, FORMATS)
        check_options(self.options)
