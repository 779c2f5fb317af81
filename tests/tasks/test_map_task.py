"""What a task inherits when it says no more than it must."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from stablemtl.tasks import Metric, Task, TaskSpec
from stablemtl.tasks.checks import as_image, as_label
from stablemtl.tasks.map_task import MapTask
from stablemtl.tasks.unit_range import decode_unit_range, encode_unit_range


@dataclass(frozen=True)
class Tint(MapTask):
    """A colour that says no more than it must."""

    spec = TaskSpec(
        name="tint",
        prompt="tint",
        channels=3,
        frames=1,
        unit="share",
        value_range=(0.0, 1.0),
        headline="mae",
        higher_is_better=False,
        convention="RGB in [0, 1].",
        scale_known=True,
        shift_known=True,
    )

    def encode(self, target: Tensor, valid: Tensor) -> Tensor:
        return encode_unit_range(as_label(target, valid, self.spec)[0])

    def decode(self, image: Tensor) -> Tensor:
        return decode_unit_range(as_image(image, self.spec))

    def metric(self) -> Metric:
        raise NotImplementedError


class Arrows(Tint):
    """Vectors instead."""

    vectors = True


TINT: Task = Tint()
MAP = torch.tensor([[0.0, 1.0], [0.25, 0.5], [0.75, 2.0]]).view(1, 3, 1, 2)


def test_there_is_nothing_to_choose() -> None:
    assert TINT.options == {}
    assert Tint() == TINT


def test_flips_move_pixels_and_negate_the_components_of_vectors_only() -> None:
    assert TINT.hflip(MAP)[0, :, 0].tolist() == [[1.0, 0.0], [0.5, 0.25], [2.0, 0.75]]
    assert Arrows().hflip(MAP)[0, :, 0].tolist() == [[-1.0, 0.0], [0.5, 0.25], [2.0, 0.75]]
    column = MAP.transpose(2, 3)
    assert TINT.vflip(column)[0, :, :, 0].tolist() == [[1.0, 0.0], [0.5, 0.25], [2.0, 0.75]]
    assert Arrows().vflip(column)[0, :, :, 0].tolist() == [[1.0, 0.0], [-0.5, -0.25], [2.0, 0.75]]


@pytest.mark.parametrize("name", ["resize", "resize_prediction"])
def test_resizing_is_bilinear(name: str) -> None:
    resized = getattr(TINT, name)(MAP, (2, 4))
    assert resized.shape == (1, 3, 2, 4)
    assert resized[0, 0].tolist() == [[0.0, 0.25, 0.75, 1.0]] * 2


def test_colours_are_the_values_clipped_and_black_where_unusable() -> None:
    assert TINT.colorize(MAP)[0, :, 0].T.tolist() == [[0, 64, 191], [255, 128, 255]]
    holes = torch.where(MAP == 0.5, math.nan, MAP)
    assert TINT.colorize(holes)[0, :, 0].T.tolist() == [[0, 64, 191], [0, 0, 0]]
    second = torch.tensor([[[False, True]]])
    assert TINT.colorize(MAP, second)[0, :, 0].T.tolist() == [[0, 0, 0], [255, 128, 255]]
    with pytest.raises(ValueError, match=r"tint values must be \(B, 3, H, W\)"):
        TINT.colorize(MAP[:, :2])


def test_a_task_without_a_description_is_refused() -> None:
    class Nameless(MapTask):
        pass

    with pytest.raises(TypeError, match=r"abstract method '?spec'?"):
        Nameless()  # type: ignore[abstract]
