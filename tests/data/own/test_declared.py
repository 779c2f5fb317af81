"""``dataset.toml``: each kind of value, and how wrong ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stablemtl.data.own import declared
from stablemtl.data.own.declared import Check, check_table, nearest, read_tables

KEYS = {
    "unit": declared.one_of("m", "cm", "mm"),
    "encoding": declared.one_of("kitti"),
    "scale": declared.number(above=0),
    "offset": declared.number(),
    "invalid": declared.numbers("a number or a list of numbers"),
    "center_px": declared.numbers("[column, row]", count=2),
    "array": declared.text("a name"),
    "ids": declared.table_of('{ 7 = "road" }', declared.class_id, ("road", "sky")),
    "colours": declared.table_of('{ "#804080" = "road" }', declared.colour, ("road", "sky")),
}
COLOURS = 'colours must be { "#804080" = "road" }'


def test_values_that_are_right() -> None:
    table = {
        "unit": "mm",
        "encoding": "kitti",
        "scale": 2,
        "offset": -1.5,
        "invalid": 65535,
        "center_px": [3, 4.5],
        "array": "depth",
        "ids": {"7": "road", "26": "sky"},
        "colours": {"#80408A": "road"},
    }
    values, problems = check_table(table, KEYS)
    assert problems == []
    assert values == {
        **table,
        "scale": 2.0,
        "invalid": (65535.0,),
        "center_px": (3.0, 4.5),
        "ids": {7: "road", 26: "sky"},
        "colours": {128 * 65536 + 64 * 256 + 138: "road"},
    }
    assert check_table({"invalid": [0, 255]}, KEYS)[0] == {"invalid": (0.0, 255.0)}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("unit", "inch", "unit must be \"m\", \"cm\" or \"mm\", got 'inch'."),
        ("unit", ["m"], "unit must be \"m\", \"cm\" or \"mm\", got ['m']."),
        ("encoding", 1, 'encoding must be "kitti", got 1.'),
        ("scale", 0, "scale must be a number above 0, got 0."),
        ("scale", "2", "scale must be a number above 0, got '2'."),
        ("scale", True, "scale must be a number above 0, got True."),
        ("offset", float("nan"), "offset must be a number, got nan."),
        ("invalid", [1, "a"], "invalid must be a number or a list of numbers, got [1, 'a']."),
        ("center_px", [1], "center_px must be [column, row], got [1]."),
        ("array", "", "array must be a name, got ''."),
        ("array", 3, "array must be a name, got 3."),
        ("ids", {}, 'ids must be { 7 = "road" }, got {}.'),
        ("ids", "road", "ids must be { 7 = \"road\" }, got 'road'."),
        ("ids", {"7": "raod"}, "ids must be { 7 = \"road\" }, got 'raod': did you mean 'road'."),
        ("ids", {"7": 3}, "ids must be { 7 = \"road\" }, got 3: choose from road, sky."),
        ("ids", {"-7": "road"}, "ids must be { 7 = \"road\" }, got the id '-7'."),
        ("colours", {"7": "road"}, f"{COLOURS}, got the colour '7'."),
        ("colours", {"#-04080": "sky"}, f"{COLOURS}, got the colour '#-04080'."),
        ("colours", {"#804080": 1}, f"{COLOURS}, got 1: choose from road, sky."),
        ("untis", "m", "unknown key 'untis': did you mean 'unit'?"),
        ("zzz", 1, f"unknown key 'zzz': choose from {', '.join(KEYS)}."),
    ],
)  # fmt: skip
def test_values_that_are_wrong(key: str, value: Any, told: str) -> None:
    assert check_table({key: value}, KEYS) == ({}, [told])


def test_nearest_does_not_mind_capitals() -> None:
    assert nearest("Depth", ["depth", "normal"]) == "did you mean 'depth'?"


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    assert read_tables(path) == ({}, [])
    path.write_text('\ufeff[depth]\nunit = "mm"\n', encoding="utf-8")  # with the mark that editors put before
    assert read_tables(path) == ({"depth": {"unit": "mm"}}, [])
    path.write_text("[depth\n")
    assert read_tables(path)[0] == {}
    assert read_tables(path)[1][0].startswith("it is not a TOML file: ")
    path.write_bytes(b"\xff\xfe[")
    assert read_tables(path)[1][0].startswith("it is not a TOML file: ")


def test_a_check_says_what_it_takes() -> None:
    assert all(isinstance(check, Check) and check.says for check in KEYS.values())
