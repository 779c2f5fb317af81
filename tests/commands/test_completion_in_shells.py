"""The scripts of ``stablemtl completion`` in the shells that are here: what Tab offers.

The program is a file that cannot run, and nothing else is in PATH: a script must know all words by itself.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stablemtl import cli
from stablemtl.commands.completion_scripts import SCRIPTS
from stablemtl.commands.completion_words import Command, all_commands
from stablemtl.recipes import RECIPES
from stablemtl.tasks import TASKS

FILES = ["a.png", "data"]
"""What lies in the folder. Bash looks at files itself, where the script knows no word."""

OFFERED: dict[str, Sequence[str]] = {
    "": [name for name in cli.COMMANDS if name in cli.available()],
    "pre": ["predict"],
    "--v": ["--version"],
    "data ": ["check", "describe", "show", "prepare", "index"],
    "data check ": FILES,
    "data check data --dee": ["--deep"],
    "data prepare --dee": [],
    "data check --datasets kitti_f": ["kitti_flow"],
    "convert p": ["published"],
    "completion ": list(SCRIPTS),
    "completion bash ": FILES,
    "evaluate --data data ": FILES,  # a folder that is called like a command
    "predict ": FILES,
    "predict demo --proc": ["--processing-resolution"],
    "predict a.png --next ": FILES,
    "predict a.png --video.st": ["--video.start-s", "--video.stop-s"],
    "predict --device c": ["cpu", "cuda"],
    "predict --device ": ["auto", "cpu", "cuda", "mps"],
    "predict --device cpu ": FILES,
    "predict --tasks ": list(TASKS),
    "predict --tasks depth n": ["normal"],
    "predict --model n": ["nano"],
    "train nano-stage2-mask": [name for name in RECIPES if name.startswith("nano-stage2-mask")],
    "train repor": ["report"],
    "train stage1 --loop.st": ["--loop.steps"],
    "train single-depth --loop.st": ["--loop.steps"],
    "train nano-stage1 --data.tasks opt": ["optical_flow"],
}
"""Line behind the name of the program -> words that Tab offers."""

BASH = r"""
source "$0"
PATH=
for line; do
  [[ "$line" == *" " ]] && COMP_WORDS=($line "") || COMP_WORDS=($line)
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _stablemtl
  printf '%s\n' "${COMPREPLY[@]}" "----"
done
"""

FISH = r"""
set -gx PATH {programs}
for line in $argv
    complete -C $line | string replace -r '\t.*' '' | string trim -r -c /
    echo ----
end
"""

# Lines are typed into a shell of its own, whose compadd writes what it offers to the file OFFERS; with -A, -O
# or -D it offers nothing, and fills arrays.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "$SETUP"
zpty -w shell 'setopt noautolist; PS1= PATH=
compadd() {
  local -a offered
  if [[ " $* " != *" -"[a-zA-Z]#[AOD]" "* ]]; then
    builtin compadd -O offered "$@"
    (( $#offered )) && print -rl -- $offered >> $OFFERS
  fi
  builtin compadd "$@"
}
next-line() { print -- "----" >> $OFFERS; BUFFER= }
leave() { exit }
zle -N next-line; zle -N leave
bindkey "^I" complete-word "^Xn" next-line "^Xl" leave; print is" "ready'
zpty -r shell said '*is ready*'
for line; do
  zpty -w -n shell "$line"$'\t\C-xn'
done
zpty -w -n shell $'\C-xl'
while zpty -r shell said; do :; done
"""

Complete = Callable[[Sequence[str]], list[list[str]]]


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    return all_commands()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the shell is: a picture and a folder."""
    folder = tmp_path / "here"
    (folder / "data").mkdir(parents=True)
    (folder / "a.png").touch()
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a program that only seems to be there; fish completes no others."""
    program = tmp_path / "programs" / "stablemtl"
    program.parent.mkdir()
    program.write_text("#!/nowhere\n")
    program.chmod(0o755)
    return program.parent


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def said(command: Sequence[str], folder: Path, **environment: str) -> str:
    """What the command prints, if nothing went wrong."""
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def check(output: str) -> None:
    """One list of words for each of the lines."""
    found = [block.splitlines() for block in output.removesuffix("----\n").split("----\n")]
    offered = {line: sorted(filter(None, words)) for line, words in zip(OFFERED, found, strict=True)}
    assert offered == {line: sorted(words) for line, words in OFFERED.items()}


LINES = [f"stablemtl {line}" for line in OFFERED]


def test_bash(commands: list[Command], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script"
    script.write_text(SCRIPTS["bash"](commands))
    for line, words in OFFERED.items():
        monkeypatch.setitem(OFFERED, line, [] if words is FILES else words)
    check(said([shell("bash"), "--norc", "-u", "-c", BASH, str(script), *LINES], folder))
    registered = said([shell("bash"), "-c", f"source {script}; complete -p stablemtl"], folder)
    assert registered == "complete -o bashdefault -o default -F _stablemtl stablemtl\n"


@pytest.mark.parametrize("way", ["in a folder of fpath", "read in"])
def test_zsh(commands: list[Command], folder: Path, tmp_path: Path, way: str) -> None:
    script = tmp_path / "functions" / "_stablemtl"
    script.parent.mkdir()
    script.write_text(SCRIPTS["zsh"](commands))
    setup = "autoload -Uz compinit; compinit -u -D"
    setup = f"fpath=({script.parent} $fpath); {setup}" if way != "read in" else f"{setup}; source {script}"
    offers = tmp_path / "offers"
    offers.touch()
    program = [shell("zsh"), "-f", "-c", ZSH, "zsh", *LINES]
    assert said(program, folder, SETUP=setup, OFFERS=str(offers), TERM="xterm", HOME=str(tmp_path)) == ""
    check(offers.read_text())


def test_fish(commands: list[Command], folder: Path, programs: Path, tmp_path: Path) -> None:
    script = tmp_path / "fish" / "completions" / "stablemtl.fish"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPTS["fish"](commands))
    program = FISH.format(programs=programs)
    check(
        said(
            [shell("fish"), "-c", program, *LINES], folder, XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path)
        )
    )


def test_fish_shows_help(commands: list[Command], folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(SCRIPTS["fish"](commands))
    program = f"source {script}; complete -C 'stablemtl predict --devi'; complete -C 'stablemtl data ch'"
    assert said([shell("fish"), "--no-config", "-c", program], folder, HOME=str(tmp_path)).splitlines() == [
        "--device\tWhere to compute; auto takes the GPU if there is one",
        "check\tfind what is wrong with the data before training does",
    ]
