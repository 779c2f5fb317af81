"""Print a script that completes commands, options and their values when Tab is pressed.

    stablemtl completion bash > ~/.local/share/bash-completion/completions/stablemtl
    stablemtl completion zsh > "${fpath[1]}/_stablemtl"
    stablemtl completion fish > ~/.config/fish/completions/stablemtl.fish

A new shell then knows them. The script holds all words and starts no program; write it again after an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class CompletionConfig:
    """Options of ``stablemtl completion``."""

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """The shell that is to complete."""


def run(config: CompletionConfig) -> int:
    """Print the script."""
    from stablemtl.commands.completion_scripts import SCRIPTS
    from stablemtl.commands.completion_words import all_commands

    print(SCRIPTS[config.shell](all_commands()), end="")
    return 0
