"""What ``stablemtl completion`` knows and prints; ``test_completion_in_shells`` presses Tab."""

from __future__ import annotations

import pytest

from stablemtl import cli
from stablemtl.commands.completion_scripts import SCRIPTS
from stablemtl.commands.completion_words import Command, Option, all_commands


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    return all_commands()


def find(commands: list[Command], path: str, flag: str) -> Option:
    command = next(command for command in commands if command.path == tuple(path.split()))
    return next(option for option in command.options if flag in option.flags)


@pytest.mark.parametrize("name", ["predict", "evaluate", "compare", "synth", "demo", "app", "data check"])
def test_options_are_those_of_the_help(
    commands: list[Command], name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = next(command for command in commands if command.path == tuple(name.split()))
    assert cli.main([*name.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert len(command.options) >= 3
    for option in command.options:
        assert option.flags[0] in told


def test_options_that_can_be_switched_off_have_two_flags(commands: list[Command]) -> None:
    assert find(commands, "predict", "--recursive").flags == ("--recursive", "--no-recursive")


def test_help_is_one_sentence(commands: list[Command]) -> None:
    assert find(commands, "predict", "--tile") == Option(
        ("--tile",),
        "Take a large image in overlapping tiles of N px, brought to one scale; 0 for the image in one piece",
        takes_value=True,
    )


def test_values(commands: list[Command]) -> None:
    device, model = (find(commands, "predict", flag) for flag in ("--device", "--model"))
    assert (device.words, device.files, device.many) == (("auto", "cpu", "cuda", "mps"), False, False)
    assert (model.words, model.files) == (("nano",), True)
    tasks = find(commands, "train stage1", "--data.tasks")
    assert (tasks.words[2], tasks.files, tasks.many) == ("depth", False, True)


def test_a_command_prints_the_script(commands: list[Command], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fish"]) == 0
    assert capsys.readouterr().out == SCRIPTS["fish"](commands)


def test_quotes_of_fish() -> None:
    option = Option(("--to", "-t"), r"a \ that's", takes_value=True, words=("x", "y"), many=True, files=False)
    lines = SCRIPTS["fish"]([Command((), "", (), (option,))]).splitlines()
    assert lines[-3:] == [
        'set -g __stablemtl_0 ""',
        r"complete -c stablemtl -n '__stablemtl_at $__stablemtl_0' -l to -s t -x -a 'x y' -d 'a \\ that\'s'",
        "complete -c stablemtl -n '__stablemtl_at $__stablemtl_0; and __stablemtl_after --to -t' -f -a 'x y' "
        r"-d 'a \\ that\'s'",
    ]
