from __future__ import annotations

import pytest

from stablemtl.names import TASK_NAMES, choose
from stablemtl.tasks import TASKS


def test_task_names_are_those_of_the_tasks() -> None:
    assert tuple(TASKS) == TASK_NAMES


def test_choose() -> None:
    assert choose("fruit", "pear", {"plum": 1, "pear": 2}) == 2
    with pytest.raises(ValueError, match=r"^unknown fruit 'rose'; choose from pear, plum$"):
        choose("fruit", "rose", {"plum": 1, "pear": 2})
