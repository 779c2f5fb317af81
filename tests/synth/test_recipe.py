"""A folder keeps to one recipe, which lies beside the scenes from the beginning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stablemtl.synth.config import SynthConfig
from stablemtl.synth.making import WORLDS
from stablemtl.synth.recipe import check_recipe, recipe, recipe_path, write_recipe
from stablemtl.synth.textures import Textures


def config(out: Path, **options: Any) -> SynthConfig:
    return SynthConfig(out=out, **{"worlds": ("rooms",), "count": 3, **options})


def stored(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_what_is_in_a_recipe(tmp_path: Path) -> None:
    wanted = recipe(config(tmp_path, seed=4, processes=9), "rooms", Textures())
    assert wanted == {
        "world": "rooms",
        "part": "train",
        "seed": 4,
        "size": [96, 128],
        "samples": 10,
        "textures": None,
        "version": WORLDS["rooms"].version,
    }
    assert recipe(config(tmp_path, worlds=("cutouts",)), "cutouts", Textures())["samples"] is None
    bench = SynthConfig(out=tmp_path, bench=True)
    assert recipe(bench, "town", Textures())["minibench"] == 1
    assert recipe_path(bench, "town") == tmp_path / "synth-bench-town.json"
    assert recipe_path(config(tmp_path, split="test"), "rooms").name == "synth-test-rooms.json"


def test_pictures_count_by_names_and_sizes(tmp_path: Path, pictures: Path) -> None:
    one = recipe(config(tmp_path, textures=pictures), "rooms", Textures(pictures))["textures"]
    assert one.startswith(f"{pictures.name}, {len(Textures(pictures).photos)} pictures, ")
    assert str(pictures.parent) not in one  # no machine path
    few = tmp_path / pictures.name
    few.mkdir()
    (few / "a.png").write_bytes(next(pictures.rglob("*.png")).read_bytes())
    first = recipe(config(tmp_path, textures=few), "rooms", Textures(few))["textures"]
    (few / "a.png").rename(few / "b.png")
    second = recipe(config(tmp_path, textures=few), "rooms", Textures(few))["textures"]
    assert len({one, first, second}) == 3


def test_the_count_follows_the_scenes(tmp_path: Path) -> None:
    run = config(tmp_path)
    wanted = recipe(run, "rooms", Textures())
    write_recipe(run, "rooms", wanted)
    assert stored(tmp_path / "synth-train-rooms.json") == {**wanted, "count": 3, "scenes": 0}
    for number in (0, 2):
        mark = WORLDS["rooms"].mark(tmp_path, "train", number)
        mark.parent.mkdir(parents=True)
        mark.touch()
    write_recipe(run, "rooms", wanted)
    assert stored(tmp_path / "synth-train-rooms.json")["scenes"] == 2
    write_recipe(config(tmp_path, count=1), "rooms", wanted)  # a smaller run forgets none
    assert stored(tmp_path / "synth-train-rooms.json") == {**wanted, "count": 3, "scenes": 2}
    check_recipe(run, "rooms", wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, r"seed 0 there, 1 now\. Repeat the values of synth-train-rooms.json"),
        ({"size": (24, 36)}, "size 96 x 128 there, 24 x 36 now"),
        ({"samples": 3, "seed": 2}, "seed 0 there, 2 now; samples 10 there, 3 now"),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_recipe(config(tmp_path), "rooms", recipe(config(tmp_path), "rooms", Textures()))
    other = config(tmp_path, **options)
    with pytest.raises(ValueError, match=f"{tmp_path} holds scenes of rooms of another recipe: {message}"):
        check_recipe(other, "rooms", recipe(other, "rooms", Textures()))
    check_recipe(config(tmp_path, count=9), "rooms", recipe(config(tmp_path), "rooms", Textures()))


def test_other_pictures_or_versions_are_refused(tmp_path: Path, pictures: Path) -> None:
    wanted = recipe(config(tmp_path), "rooms", Textures())
    write_recipe(config(tmp_path), "rooms", wanted)
    with pytest.raises(ValueError, match=r"textures none there, .* pictures, .* now"):
        check_recipe(
            config(tmp_path),
            "rooms",
            recipe(config(tmp_path, textures=pictures), "rooms", Textures(pictures)),
        )
    with pytest.raises(
        ValueError, match=r"version 2 there, 3 now.*Choose another --out, or remove the scenes"
    ):
        check_recipe(config(tmp_path), "rooms", {**wanted, "version": 3})


def test_scenes_without_a_recipe_are_refused(tmp_path: Path) -> None:
    wanted = recipe(config(tmp_path), "rooms", Textures())
    check_recipe(config(tmp_path), "rooms", wanted)  # nothing there at all
    mark = WORLDS["rooms"].mark(tmp_path, "train", 2)
    mark.parent.mkdir(parents=True)
    mark.touch()
    with pytest.raises(
        ValueError, match=r"holds scenes of rooms, but no synth-train-rooms.json that says how"
    ):
        check_recipe(config(tmp_path), "rooms", wanted)
    recipe_path(config(tmp_path), "rooms").write_text("{")
    with pytest.raises(ValueError, match=r"synth-train-rooms.json is not a recipe \("):
        check_recipe(config(tmp_path), "rooms", wanted)
