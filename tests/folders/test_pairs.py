"""Which picture is the frame after which."""

from __future__ import annotations

from pathlib import Path

import pytest

from stablemtl.folders.inputs import Source
from stablemtl.folders.jobs import make_jobs
from stablemtl.folders.pairs import NamePattern, pair, parse_pairing


def sources(*names: str) -> list[Source]:
    return [Source(path=Path("in", name), name=name) for name in names]


def nexts(found: tuple[Source, ...]) -> dict[str, str | None]:
    return {
        source.name: None if source.next is None else source.next.relative_to("in").as_posix()
        for source in found
    }


def test_none() -> None:
    found, left_out = pair(sources("b.png", "a.png"), "none")
    assert (nexts(found), left_out) == ({"b.png": None, "a.png": None}, 0)


def test_sequence_stays_in_its_folder_and_counts_as_people_do() -> None:
    found, left_out = pair(sources("a/f10.png", "a/f2.png", "b/f1.png", "a/f9.png"), "sequence")
    assert nexts(found) == {
        "a/f10.png": None,
        "a/f2.png": "a/f9.png",
        "b/f1.png": None,
        "a/f9.png": "a/f10.png",
    }
    assert left_out == 0


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("_10 _11", "train_10/000003_10.png", "train_10/000003_11.png"),
        ("*_10.png *_11.png", "train/000003_10.png", "train/000003_11.png"),
        ("left/* right/*", "s1/left/0001.png", "s1/right/0001.png"),
        ("*/left/*.png */right/*.jpg", "s1/left/0001.png", "s1/right/0001.jpg"),
        ("im0 im1", "Adirondack/im0.png", "Adirondack/im1.png"),
        ("'view 1' 'view 2'", "a/view 1.png", "a/view 2.png"),
        ("a.png b.png", "a/a.png", "a/b.png"),
        ("f(1)* f(2)*", "f(1).png", "f(2).png"),
    ],
)
def test_patterns(rule: str, first: str, second: str) -> None:
    pattern = parse_pairing(rule)
    assert isinstance(pattern, NamePattern)
    assert pattern.second_of(Path(first)) == Path(second)
    assert pattern.second_of(Path(second)) is None
    found, left_out = pair(sources(first, second, "other.gif"), rule)
    assert (nexts(found), left_out) == ({first: second}, 1)


def test_a_second_frame_need_not_be_among_the_inputs() -> None:
    found, _ = pair(sources("x_10.png"), "_10 _11")
    assert nexts(found) == {"x_10.png": "x_11.png"}


def test_a_pattern_that_fits_second_frames_too() -> None:
    found, left_out = pair(sources("a.png", "a_b.png", "c.png"), "*.png *_b.png")
    assert (nexts(found), left_out) == ({"a.png": "a_b.png", "c.png": "c_b.png"}, 0)


@pytest.mark.parametrize("rule", ["none", "sequence", "_10 _11"])
def test_what_a_list_says_stays(rule: str) -> None:
    listed = Source(path=Path("in/a.png"), name="a.png", next=Path("in/z.png"))
    found, _ = pair([listed, *sources("b_10.png")], rule)
    assert nexts(found)["a.png"] == "z.png"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("next", "none, sequence, or two patterns in one pair of quotes"),
        ("a b c", "none, sequence, or two patterns"),
        ("", "none, sequence, or two patterns"),
        ("'a b", "cannot be understood: No closing quotation"),
        ("_10 _10", "both patterns are the same"),
        ("*_10* *_11", "the same number of"),
        ("left/* right_*", "must have a /, or neither"),
        ("_20 _21", r"fits none of 2 pictures, such as in/a_10\.png"),
    ],
)
def test_rules_that_make_no_sense(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair(sources("a_10.png", "a_11.png"), rule)


# folders of the results -------------------------------------------------------------------------------------


def outputs(*names: str) -> dict[str, str]:
    return {job.name: job.output for job in make_jobs(sources(*names))}


def test_results_mirror_the_pictures() -> None:
    assert outputs("a/x.png", "b/x.png", "y.tar.png") == {
        "a/x.png": "a/x",
        "b/x.png": "b/x",
        "y.tar.png": "y.tar",
    }


def test_one_folder_for_each_picture() -> None:
    assert outputs("a/x.png", "a/x.jpg", "a/y.jpg") == {
        "a/x.png": "a/x.png",
        "a/x.jpg": "a/x.jpg",
        "a/y.jpg": "a/y",
    }
    # Where capital and small letters are one file, so are these.
    assert outputs("X.png", "x.jpg") == {"X.png": "X.png", "x.jpg": "x.jpg"}
    assert outputs("x.png", "X.PNG") == {"x.png": "x.png-2", "X.PNG": "X.PNG"}


def test_names_that_only_meet_in_the_second_place() -> None:
    found = outputs("x.png", "x.jpg", "x.png.jpg")
    assert found == {"x.png": "x.png", "x.jpg": "x.jpg", "x.png.jpg": "x.png-2"}
    assert outputs("results.parquet.png") == {"results.parquet.png": "results.parquet-2"}


def test_a_picture_with_two_second_frames() -> None:
    with pytest.raises(ValueError, match=r"a\.png comes twice, with different second frames"):
        make_jobs([*sources("a.png"), Source(path=Path("a.png"), name="a.png", next=Path("b.png"))])
