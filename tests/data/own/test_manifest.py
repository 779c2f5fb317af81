"""A folder with a manifest: its rows, its labels, and everything that can be wrong with it."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from stablemtl.data import EmptySplitError, open_datasets
from stablemtl.data.formats import write_flo, write_png16, write_rgb
from stablemtl.data.own.manifest import ManifestDataset, find_manifest
from stablemtl.data.own.table import SHOWN_PROBLEMS, ManifestError, read_table
from stablemtl.tasks import TASKS

SIZE = (8, 12)
UNITS = """
[semantic.ids]
1 = "road"
2 = "sky"

[depth]
unit = "mm"
kind = "planar"
"""
ROWS = [
    {"image": "a.png", "image_next": "b.png", "depth": "labels/a.png", "optical_flow": "labels/a.flo"},
    {"image": "b.png", "semantic": "labels/b.png", "mask": "mask.png", "split": "train", "key": "second"},
    {"image": "c.png", "depth": "labels/a.png", "mask": "mask.png", "mask_depth": "half.png"},
    {"image": "d.png", "depth": "labels/a.png", "split": "test"},
]


def write_files(folder: Path) -> None:
    """Four pictures, a label of each of three kinds, two masks."""
    for i, name in enumerate("abcd"):
        write_rgb(folder / f"{name}.png", np.full((*SIZE, 3), 51 * i, np.uint8))
    depth = np.full(SIZE, 2500, np.uint16)
    depth[0, 3] = 0
    write_png16(folder / "labels" / "a.png", depth)
    write_flo(folder / "labels" / "a.flo", np.full((*SIZE, 2), (1.5, -2.0)))
    classes = np.zeros(SIZE, np.uint8)
    classes[:, :5], classes[:, 5:9] = 1, 2
    write_rgb(folder / "labels" / "b.png", classes)
    mask, half = np.full(SIZE, 255, np.uint8), np.zeros(SIZE, np.uint8)
    mask[2] = 0
    half[:, 6:] = 1
    write_rgb(folder / "mask.png", mask)
    write_rgb(folder / "half.png", half)


def write_manifest(folder: Path, rows: list[dict[str, Any]], suffix: str = ".csv") -> Path:
    path = folder / f"manifest{suffix}"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        table = pa.table({column: [row.get(column) for row in rows] for column in columns})
        pyarrow.parquet.write_table(table, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``garden``, with files and units but no manifest."""
    garden = tmp_path / "garden"
    garden.mkdir()
    write_files(garden)
    (garden / "dataset.toml").write_text(UNITS)
    return garden


def problems(folder: Path, rows: list[dict[str, Any]], suffix: str = ".csv") -> tuple[str, ...]:
    write_manifest(folder, rows, suffix)
    with pytest.raises(ManifestError) as caught:
        ManifestDataset(folder)
    return caught.value.problems


# what is right --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_tasks_and_splits(folder: Path, suffix: str) -> None:
    path = write_manifest(folder, ROWS, suffix)
    assert find_manifest(folder) == path
    dataset = ManifestDataset(folder)
    assert (dataset.name, len(dataset)) == ("garden", 3)
    assert dataset.tasks == ("semantic", "depth", "optical_flow")  # in the order of TASKS
    assert [list(dataset.indices(task)) for task in dataset.tasks] == [[1], [0, 2], [0]]
    assert ManifestDataset(folder, "test").tasks == ("depth",)
    with pytest.raises(EmptySplitError, match=r"garden: no row of .* is of the val split"):
        ManifestDataset(folder, "val")


def test_values(folder: Path) -> None:
    write_manifest(folder, ROWS)
    dataset = ManifestDataset(folder)
    depth = dataset.load(0, "depth")
    assert (depth.task, depth.dataset, depth.key) == ("depth", "garden", "a.png")
    assert depth.image_next is None
    assert depth.image.shape == (3, *SIZE)
    assert depth.target.dtype == torch.float32
    assert depth.target[0, 1, 0] == 2.5
    assert not depth.valid[0, 0, 3]
    assert depth.valid.sum() == 8 * 12 - 1
    flow = dataset.load(0, "optical_flow")
    assert flow.image_next is not None
    assert flow.image_next[0, 0, 0] == pytest.approx(0.2)
    assert flow.target[:, 3, 4].tolist() == [1.5, -2.0]
    classes = dataset.load(1, "semantic")
    assert classes.key == "second"
    assert classes.target.dtype == torch.int64
    assert classes.target[0, 0, [0, 5, 9]].tolist() == [0, 6, 250]
    assert classes.target[0, 2].unique().tolist() == [250]  # the mask's row
    assert not classes.valid[0, 2].any()


def test_both_masks_of_a_row_count(folder: Path) -> None:
    write_manifest(folder, ROWS)
    sample = ManifestDataset(folder).load(2, "depth")
    assert sample.valid.sum() == 6 * 7  # columns of half.png, without row 2
    assert sample.target[0, 2, 7] == 0.0


def test_open_datasets_finds_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_manifest(folder, ROWS)
    with caplog.at_level(logging.WARNING):
        assert list(open_datasets(folder.parent)) == ["garden"]
        assert list(open_datasets(folder.parent, "test")) == ["garden"]
    assert caplog.records == []
    with pytest.raises(FileNotFoundError, match=r"no dataset with a val split .*garden has none"):
        open_datasets(folder.parent, "val")


def test_a_relative_folder_has_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder, ROWS)
    monkeypatch.chdir(folder)
    assert ManifestDataset(".").name == "garden"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_spreadsheets_of_other_countries(folder: Path, separator: str) -> None:
    lines = ["image,depth, _remark ,split", "a.png, labels/a.png ,near,", "", "b.png,,,test"]
    text = "\r\n".join(line.replace(",", separator) for line in lines)
    (folder / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    dataset = ManifestDataset(folder)
    assert [(row.number, row.labels) for row in dataset.rows] == [(2, {"depth": "labels/a.png"})]
    assert ManifestDataset(folder, "test").tasks == ()
    assert ManifestDataset(folder, "test").rows[0].number == 4


def test_jsonl_with_blank_lines_and_nothing(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text(
        '{"image": "a.png", "depth": "labels/a.png", "key": 7, "semantic": null}\n\n{"image": "b.png"}\n'
    )
    dataset = ManifestDataset(folder)
    assert [(row.number, row.key) for row in dataset.rows] == [(1, "7"), (3, "b.png")]
    assert dataset.tasks == ("depth",)


def test_images_are_read_as_predict_reads_them(folder: Path) -> None:
    """16 bits a channel, from a file that cv2.IMREAD_COLOR would cut to 8."""
    write_png16(folder / "a.png", np.full(SIZE, 1000, np.uint16))
    write_manifest(folder, ROWS)
    image = ManifestDataset(folder).load(0, "depth").image
    assert image.unique().tolist() == pytest.approx([1000 / 65535])


# what is wrong --------------------------------------------------------------------------------------------


def test_all_problems_are_told_together(folder: Path) -> None:
    (folder / "dataset.toml").write_text('[depth]\nunit = "inch"\n')
    rows = [
        {"image": "a.png", "dpeth": "x.png", "depth": "labels/a.jpg", "split": "training"},
        {"image": "", "depth": "labels/none.png", "optical_flow": "labels/a.flo"},
        {"image": "a.png", "image_next": "none.png", "mask_depth": "mask.bmp", "mask": "labels\\m.png"},
    ]
    assert problems(folder, rows) == (
        "unknown column 'dpeth': did you mean 'depth'?",
        'dataset.toml: [depth] unit must be "m", "cm", "mm" or "km", got \'inch\'.',
        "row 2: split must be train, val, test or empty, got 'training'.",
        "row 2: depth: labels/a.jpg must be one of .png, .pfm, .tif, .tiff, .npy, .npz, .h5, .hdf5, .exr.",
        "row 3: no image.",
        "row 3: optical_flow: motion needs two frames; name the second one in image_next.",
        "row 4: mask_depth: mask.bmp must be one of .png, .tif, .tiff, .npy, .npz, .h5, .hdf5.",
        "row 4: the key 'a.png' is that of row 2; give each row its own in the column key.",
        f"row 2, depth: no file {folder}/labels/a.jpg.",
        f"row 3, depth: no file {folder}/labels/none.png.",
        f"row 4, image_next: no file {folder}/none.png.",
        f"row 4, mask: no file {folder}/labels\\m.png. Write / between folders.",
        f"row 4, mask_depth: no file {folder}/mask.bmp.",
    )


def test_what_is_not_declared(folder: Path) -> None:
    (folder / "dataset.toml").unlink()
    told = problems(folder, ROWS)
    assert told == (
        "what is in .png files of semantic is not declared; write in dataset.toml, under [semantic]: "
        'ids = { 7 = "road", 26 = "vehicle" }.',
        "what is in .png files of depth is not declared; write in dataset.toml, under [depth]: "
        'kind = "planar", "distance" or "disparity", and unit = "m", "cm", "mm" or "km".',
    )


def test_columns_that_must_be_there(folder: Path) -> None:
    assert problems(folder, [{"picture": "a.png", "_note": "x"}]) == (
        f"unknown column 'picture': choose from image, image_next, {', '.join(TASKS)}, mask, "
        f"{', '.join(f'mask_{task}' for task in TASKS)}, split, key.",
        "no column 'image'.",
        f"no column of labels: name one or more {', '.join(TASKS)}.",
        "row 2: no image.",
    )


def test_the_text_of_the_error_is_limited(folder: Path) -> None:
    write_manifest(folder, [{"image": f"{i}.png", "depth": "labels/a.png"} for i in range(30)])
    with pytest.raises(
        ManifestError, match=r"manifest.csv has 30 problems:\n  row 2, image: no file"
    ) as caught:
        ManifestDataset(folder)
    assert len(caught.value.problems) == 30
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + SHOWN_PROBLEMS + 1
    assert lines[-1] == "  ... and 10 more."
    write_manifest(folder, [{"image": "none.png", "depth": "labels/a.png"}])
    with pytest.raises(ValueError, match=r"has 1 problem:"):
        ManifestDataset(folder)


def test_folder_and_split(folder: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"garden: no manifest.csv, manifest.jsonl or manifest.parquet"
    ):
        ManifestDataset(folder)
    assert find_manifest(folder / "none") is None
    write_manifest(folder, ROWS)
    with pytest.raises(ValueError, match="unknown split 'dev' of garden; choose from train, val, test"):
        ManifestDataset(folder, "dev")
    write_manifest(folder, ROWS, ".jsonl")
    with pytest.raises(ValueError, match=r"holds manifest.csv and manifest.jsonl: keep one of them"):
        find_manifest(folder)
    with pytest.raises(FileNotFoundError, match="no manifest"):
        read_table(folder / "manifest.parquet")


def test_tables_that_are_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "manifest.csv"
    path.write_text("image,depth,image\na.png,labels/a.png,b.png,c.png\n")
    table = read_table(path)
    assert table.problems == [
        "row 1: column 'image' is there twice.",
        "row 2: 4 cells, but the header has 3.",
    ]
    path.write_text('image,depth\n"a.png,labels/a.png\n')
    assert read_table(path).problems == ["line 2: it is not a CSV file: unexpected end of data."]
    path.write_bytes("image,depth\né.png,\n".encode("latin-1"))
    assert read_table(path).problems == [
        "it is not UTF-8 text (invalid continuation byte); save it as UTF-8."
    ]
    path.write_text("")
    assert read_table(path) == ((), [], [])
    path.unlink()
    path = folder / "manifest.jsonl"
    path.write_text('{"image": \n[1]\n{"image": ["a.png"], "depth": true, "key": NaN}\n')
    assert read_table(path).problems == [
        "row 1: it is not JSON: Expecting value: line 1 column 11 (char 10).",
        'row 2: must be an object, {"image": "..."}, got [1].',
        "row 3, image: must be text, got ['a.png'].",
        "row 3, depth: must be text, got True.",
    ]
    path.unlink()
    path = folder / "manifest.parquet"
    path.write_bytes(b"nothing of the kind")
    assert read_table(path).problems[0].startswith("it is not a Parquet file: Parquet magic bytes not found")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ImportError, match=r"manifest.parquet needs the package pyarrow. Install it: pip inst"
    ):
        read_table(path)


def test_an_empty_parquet_has_columns(folder: Path) -> None:
    path = folder / "manifest.parquet"
    pyarrow.parquet.write_table(pa.table({"image": pa.array([], pa.string())}), path)
    assert read_table(path) == (("image",), [], [])


def test_loading_what_is_not_there(folder: Path) -> None:
    write_manifest(folder, ROWS)
    dataset = ManifestDataset(folder)
    with pytest.raises(ValueError, match="garden has no labels for task 'albedo'; it has semantic, depth"):
        dataset.load(0, "albedo")
    with pytest.raises(ValueError, match=r"garden, row 3 has no label of depth; use indices\('depth'\)"):
        dataset.load(1, "depth")
    (folder / "labels" / "a.flo").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"garden \(train split\), row 2, optical_flow: .* not a .flo file"):
        dataset.load(0, "optical_flow")
    (folder / "labels" / "a.flo").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*a.flo"):
        dataset.load(0, "optical_flow")


def test_sizes_must_agree(folder: Path) -> None:
    write_manifest(folder, ROWS)
    dataset = ManifestDataset(folder)
    other = np.zeros((9, 12), np.uint8)
    for index, task, file in (
        (0, "optical_flow", "b.png"),
        (1, "semantic", "mask.png"),
        (2, "depth", "labels/a.png"),
    ):
        write_rgb(folder / file, other)
        with pytest.raises(
            ValueError,
            match=rf"garden .*, {task}: {file} must have the size of .\.png, 8x12 px .*, got 9x12. Resize",
        ):
            dataset.load(index, task)
        write_files(folder)
