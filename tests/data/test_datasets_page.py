"""docs/datasets.md: its Python runs, its table of weights is the published one."""

from __future__ import annotations

import re
from pathlib import Path

from stablemtl.data import STABLEMTL_PAIRS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_python_of_the_page_runs(data_root, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(data_root)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/datasets.md", "exec"), names)
    assert names["sample"].target.shape == names["sample"].valid.shape == (1, 5, 7)
    assert "component 1: hypersim, vkitti2" in capsys.readouterr().out


def test_weights_of_the_page():
    rows = re.findall(r"([a-z0-9]+), ([a-z ]+) \| ([0-9.]+) \|", PAGE)
    told = {(name, task.replace(" ", "_"), float(weight)) for name, task, weight in rows}
    assert told == set(STABLEMTL_PAIRS[:11])
