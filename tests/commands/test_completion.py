"""The scripts of ``stablemtl completion``, run in the shells that are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from stablemtl import cli
from stablemtl.commands.completion_scripts import SCRIPTS
from stablemtl.commands.completion_words import Command, Option, all_commands
from stablemtl.recipes import RECIPES
from stablemtl.tasks import TASKS


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    return all_commands()


@pytest.fixture(scope="module")
def bash_script(commands: list[Command], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "stablemtl"
    path.write_text(SCRIPTS["bash"](commands))
    return path


def complete(script: Path, line: str, folder: Path | None = None) -> list[str]:
    """What Tab offers at the end of the line, as bash would ask for it. PATH is empty: nothing is started."""
    program = f"""
source {script}
PATH=
COMP_WORDS=({line}{' ""' if line.endswith(" ") else ""})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
COMP_LINE='{line}' COMP_POINT=${{#COMP_LINE}}
_stablemtl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    result = subprocess.run(
        [bash, "--norc", "-u", "-c", program], capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert (result.returncode, result.stderr) == (0, "")
    return [word for word in result.stdout.splitlines() if word]


def test_commands_and_what_is_below(bash_script: Path) -> None:
    assert complete(bash_script, "stablemtl ") == [name for name in cli.COMMANDS if name in cli.available()]
    assert complete(bash_script, "stablemtl pre") == ["predict"]
    assert complete(bash_script, "stablemtl --v") == ["--version"]
    assert complete(bash_script, "stablemtl data ") == ["check", "describe", "show", "prepare", "index"]
    assert complete(bash_script, "stablemtl convert p") == ["published"]
    assert complete(bash_script, "stablemtl completion ") == ["bash", "zsh", "fish"]
    assert complete(bash_script, "stablemtl train nano-stage2-") == [
        name for name in RECIPES if name.startswith("nano-stage2-")
    ]
    assert "report" in complete(bash_script, "stablemtl train ")


def test_options(bash_script: Path) -> None:
    offered = complete(bash_script, "stablemtl predict a.png --")
    assert {"--next", "--tasks", "--recursive", "--no-recursive", "--video.start-s", "--help"} <= set(offered)
    assert complete(bash_script, "stablemtl predict a.png --proc") == ["--processing-resolution"]
    assert complete(bash_script, "stablemtl data check --dee") == ["--deep"]
    assert complete(bash_script, "stablemtl data prepare --dee") == []
    first, other = (
        complete(bash_script, f"stablemtl train {name} --loop.st") for name in ("stage1", "stage2")
    )
    assert first == other == ["--loop.steps"]


def test_values(bash_script: Path) -> None:
    assert complete(bash_script, "stablemtl predict a.png --tasks ") == list(TASKS)
    assert complete(bash_script, "stablemtl predict a.png --tasks depth n") == ["normal"]
    assert complete(bash_script, "stablemtl predict a.png --model ") == ["nano"]
    assert complete(bash_script, "stablemtl predict --device c") == ["cpu", "cuda"]
    assert complete(bash_script, "stablemtl train nano-stage1 --data.tasks opt") == ["optical_flow"]
    assert complete(bash_script, "stablemtl data check --datasets kitti_f") == ["kitti_flow"]


def test_where_no_word_is_known_files_are_left_to_the_shell(bash_script: Path) -> None:
    for line in ("predict ", "predict a.png --next ", "predict --device cpu ", "predict --out "):
        assert complete(bash_script, f"stablemtl {line}") == []
    registered = subprocess.run(
        ["bash", "-c", f"source {bash_script}; complete -p stablemtl"], capture_output=True, text=True
    )
    assert registered.stdout.strip() == "complete -o bashdefault -o default -F _stablemtl stablemtl"


@pytest.mark.parametrize("name", ["predict", "evaluate", "compare", "synth", "demo", "data check"])
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


def test_help_is_one_sentence(commands: list[Command]) -> None:
    predict = next(command for command in commands if command.path == ("predict",))
    option = next(option for option in predict.options if "--tile" in option.flags)
    assert option == Option(
        ("--tile",),
        "Take a large image in overlapping tiles of N px, brought to one scale; 0 for the image in one piece",
        takes_value=True,
    )


def test_a_command_prints_the_script(commands: list[Command], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fish"]) == 0
    assert capsys.readouterr().out == SCRIPTS["fish"](commands)


def test_fish_lines(commands: list[Command]) -> None:
    lines = SCRIPTS["fish"](commands).splitlines()
    device = [line for line in lines if " -l device " in line and "from predict'" in line]
    assert device == [
        "complete -c stablemtl -n '__fish_seen_subcommand_from predict' -l device -r -a 'auto cpu cuda mps' "
        "-d 'Where to compute; auto takes the GPU if there is one'"
    ]
    help_of_check = "-a check -d 'find what is wrong with the data before training does'"
    assert sum(line.lower().endswith(help_of_check) for line in lines) == 1


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(commands: list[Command], shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    path = tmp_path / "script"
    path.write_text(SCRIPTS[shell](commands))
    result = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_completes(commands: list[Command], tmp_path: Path) -> None:
    path = tmp_path / "script.fish"
    path.write_text(SCRIPTS["fish"](commands))
    program = f"source {path}; complete -C 'stablemtl predict --dev'; complete -C 'stablemtl data ch'"
    result = subprocess.run(["fish", "-c", program], capture_output=True, text=True, timeout=60)
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["--device", "check"]
