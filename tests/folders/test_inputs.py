"""Which pictures are meant, and in which order."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from stablemtl.folders.inputs import (
    IMAGE_SUFFIXES,
    Found,
    common_folder,
    find_sources,
    has_wildcards,
    natural_key,
)
from stablemtl.images import FORMATS


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/{a10,A2}.png, photos/sub/{b1,b03}.jpg, and what does not count; the current folder is above."""
    monkeypatch.chdir(tmp_path)
    folder = Path("photos")
    for name in ("a10.png", "A2.png", "sub/b1.JPG", "sub/b03.jpg", ".hidden.png", ".git/c.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16)).save(path, format="PNG")
    (folder / "notes.txt").write_text("text")
    return folder


def names(found: Found) -> list[str]:
    return [source.name for source in found.sources]


def test_suffixes_are_those_of_the_formats_that_are_read() -> None:
    Image.init()
    registered = Image.registered_extensions()
    expected = {suffix for suffix, name in registered.items() if name in FORMATS}
    # .pfm holds measurements; .avif and .jp2 are there only where Pillow was built with them.
    assert expected - {".pfm"} <= set(IMAGE_SUFFIXES)
    assert {registered[suffix] for suffix in IMAGE_SUFFIXES if suffix in registered} <= set(FORMATS)


def test_a_folder(photos: Path, tmp_path: Path) -> None:
    found = find_sources([photos])
    assert names(found) == ["A2.png", "a10.png"]
    assert [source.path for source in found.sources] == [Path("photos/A2.png"), Path("photos/a10.png")]
    assert found.base == tmp_path / "photos"
    assert found.left_out == 1


def test_recursive_mirrors_the_tree(photos: Path) -> None:
    found = find_sources([f"{photos}/"], recursive=True)
    assert names(found) == ["A2.png", "a10.png", "sub/b1.JPG", "sub/b03.jpg"]


@pytest.mark.parametrize("pattern", ["photos/*", "photos/a*.png", "photos/[aA]*"])
def test_patterns(photos: Path, tmp_path: Path, pattern: str) -> None:
    found = find_sources([pattern])
    assert names(found) == (["a10.png"] if pattern == "photos/a*.png" else ["A2.png", "a10.png"])
    assert found.base == tmp_path / "photos"


def test_a_pattern_of_any_depth(photos: Path, tmp_path: Path) -> None:
    for pattern in ("**/*.jpg", str(tmp_path / "**" / "*.jpg")):
        found = find_sources([pattern])
        assert names(found) == ["photos/sub/b03.jpg"]
        assert found.base == tmp_path


def test_a_file_with_brackets_in_its_name_is_no_pattern(photos: Path) -> None:
    (photos / "a10.png").rename(photos / "c [1].png")
    assert not has_wildcards("photos/c [1].png")
    assert names(find_sources(["photos/c [1].png", "photos/A2.png"])) == ["A2.png", "c [1].png"]


def test_names_count_from_what_all_have_in_common(photos: Path, tmp_path: Path) -> None:
    found = find_sources([photos / "A2.png", photos / "sub"])
    assert names(found) == ["A2.png", "sub/b1.JPG", "sub/b03.jpg"]
    assert find_sources([photos / "sub"]).base == tmp_path / "photos" / "sub"


def test_nothing_comes_twice(photos: Path) -> None:
    found = find_sources([photos, "photos/a10.png", photos / "sub" / ".." / "a10.png", "photos/*.png"])
    assert names(found) == ["A2.png", "a10.png"]


def test_a_named_file_is_told_by_its_content(photos: Path) -> None:
    (photos / "a10.png").rename(photos / "a10.data")
    assert names(find_sources([photos / "a10.data"])) == ["a10.data"]
    with pytest.raises(ValueError, match=r"notes\.txt is not a picture that can be read"):
        find_sources([photos / "notes.txt", photos])


def test_results_are_not_taken_for_pictures(photos: Path) -> None:
    out = photos / "maps"
    (out / "a10").mkdir(parents=True)
    Image.new("RGB", (20, 16)).save(out / "a10" / "depth.png")
    assert len(find_sources([photos], recursive=True, exclude=out).sources) == 4
    assert names(find_sources(["photos/**/*.png"], exclude=out)) == ["A2.png", "a10.png"]
    assert names(find_sources([out], recursive=True)) == ["a10/depth.png"]
    with pytest.raises(ValueError, match="photos is where the results go"):
        find_sources([photos], recursive=True, exclude=photos)


def test_links_to_folders_are_not_entered(photos: Path) -> None:
    os.symlink(photos.absolute(), photos / "sub" / "again")
    assert len(find_sources([photos], recursive=True).sources) == 4


# lists ------------------------------------------------------------------------------------------------------


def test_a_list_keeps_its_order_and_names_pairs(photos: Path, tmp_path: Path) -> None:
    Path("list.txt").write_text(
        "# first, second\nphotos/a10.png\tphotos/A2.png\n\n"
        "photos/sub/b1.JPG, photos/sub/b03.jpg\nphotos/A2.png\n"
    )
    found = find_sources([], list_file="list.txt")
    assert names(found) == ["a10.png", "sub/b1.JPG", "A2.png"]
    assert [source.next for source in found.sources] == [
        Path("photos/A2.png"),
        Path("photos/sub/b03.jpg"),
        None,
    ]


def test_a_list_beside_its_pictures(photos: Path) -> None:
    (photos / "list.txt").write_bytes("\ufeffa10.png\r\nsub/b1.JPG\r\n".encode())  # as Windows writes it
    found = find_sources([], list_file=photos / "list.txt")
    assert [source.path for source in found.sources] == [photos / "a10.png", photos / "sub" / "b1.JPG"]


def test_a_list_on_the_standard_input(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("photos/a10.png\nphotos/none.png\n"))
    assert names(find_sources([], list_file="-")) == ["a10.png", "none.png"]


def test_a_comma_in_a_name(photos: Path) -> None:
    (photos / "a10.png").rename(photos / "a, b.png")
    Path("list.txt").write_text("photos/a, b.png\n")
    assert names(find_sources([], list_file="list.txt")) == ["a, b.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\tb.png\tc.png\nphotos/a10.png\n", r"line 1: expected one picture, or two"),
        ("photos/a10.png,\n", r"line 1: expected one picture, or two"),
        ("none.png\nnone2.png\n", r"names 2 pictures, of which none is there: none\.png"),
        ("\n", r"names 0 pictures"),
    ],
)
def test_lists_that_make_no_sense(photos: Path, text: str, message: str) -> None:
    Path("list.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_sources([], list_file="list.txt")


def test_files_that_are_no_lists(photos: Path) -> None:
    with pytest.raises(ValueError, match="is not a text file in UTF-8"):
        find_sources([], list_file=photos / "a10.png")
    with pytest.raises(ValueError, match=r"is a folder\. Give it as INPUT"):
        find_sources([], list_file=photos)
    with pytest.raises(FileNotFoundError):
        find_sources([], list_file="none.txt")


# nothing ----------------------------------------------------------------------------------------------------


def test_nothing_found(photos: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder photos/none\.png"):
        find_sources(["photos/none.png", photos])
    with pytest.raises(FileNotFoundError, match=r"no file fits the pattern photos/\*\.tif"):
        find_sources(["photos/*.tif"])
    Path("empty/deep").mkdir(parents=True)
    (Path("empty") / "x.txt").touch()
    with pytest.raises(ValueError, match=r"no picture in empty \(1 other files\)\. --recursive looks"):
        find_sources(["empty"])
    with pytest.raises(ValueError, match=r"no picture in empty \(1 other files\)\.$"):
        find_sources(["empty"], recursive=True)


def test_natural_order() -> None:
    ordered = ["1.png", "2.png", "10.png", "a.png", "a1b2.png", "a1b10.png", "B.png", "b.png"]
    assert sorted(reversed(ordered), key=natural_key) == ordered
    assert sorted(["a/10/x.png", "a/9/x.png", "a/x.png"], key=natural_key) == [
        "a/x.png",
        "a/9/x.png",
        "a/10/x.png",
    ]


def test_common_folder(tmp_path: Path) -> None:
    assert common_folder([tmp_path / "a" / "b", tmp_path / "a" / "c"]) == tmp_path / "a"
