"""What can follow on the command line: the commands, their options, and the values that are known."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    flags: tuple[str, ...]
    """``--recursive``, ``--no-recursive``."""
    help: str
    """Its first sentence."""
    takes_value: bool
    words: tuple[str, ...] = ()
    """Values that are known; others may be allowed as well."""
    many: bool = False
    """Whether several values may follow."""
    files: bool = True
    """Whether the value may be a file or a folder."""


@dataclass(frozen=True)
class Command:
    """A command, or one below another."""

    path: tuple[str, ...]
    """``("data", "check")``; empty for the program itself."""
    help: str
    below: tuple[str, ...] = ()
    """Names of the commands below, or of the values that come first."""
    options: tuple[Option, ...] = ()


def all_commands() -> list[Command]:
    """The program, its commands, and those below them, each after the one that it is below."""
    from stablemtl import cli

    names = [name for name in cli.COMMANDS if importlib.util.find_spec(cli.COMMANDS[name][0]) is not None]
    found = [Command((), "", tuple(names), (_HELP, Option(("--version", "-V"), "the version", False)))]
    for name in names:
        module, line = cli.COMMANDS[name]
        found += _MAKERS.get(name, _from_module)((name,), line, importlib.import_module(module))
    values = _known_values()
    return [
        replace(one, options=tuple(_with_values(option, values) for option in one.options)) for one in found
    ]


_HELP = Option(("--help", "-h"), "what there is", False)


def _from_module(path: tuple[str, ...], line: str, module: Any) -> Iterator[Command]:
    """A command whose arguments tyro reads, with those below it."""
    from stablemtl.cli import config_type

    yield from _from_parser(path, line, _parser(config_type(module)))


def _from_train(path: tuple[str, ...], line: str, module: Any) -> Iterator[Command]:
    """The recipes. Those of one kind have the same options, so that one of each is asked."""
    from stablemtl.recipes import RECIPES, describe

    yield Command(path, line, (*RECIPES, "report"), (_HELP,))
    options: dict[object, tuple[Option, ...]] = {}
    for name, recipe in RECIPES.items():
        run = recipe()
        kind = (type(run), getattr(run, "stage", None))
        if kind not in options:
            (first, *_) = _from_parser((), "", _parser(type(run), default=run))
            options[kind] = first.options
        yield Command((*path, name), describe(name), (), options[kind])
    yield from _from_parser((*path, "report"), "write the report of a run", _parser(module.ReportConfig))


def _from_convert(path: tuple[str, ...], line: str, module: Any) -> Iterator[Command]:
    """The kinds of conversion."""
    yield Command(path, line, tuple(module._KINDS), (_HELP,))
    for kind, (config, about) in module._KINDS.items():
        yield from _from_parser((*path, kind), _first_sentence(about), _parser(config))


_MAKERS = {"train": _from_train, "convert": _from_convert}
"""Commands that read their arguments themselves -> what lists them, with those below."""


def _parser(config: Any, **more: Any) -> Any:
    """An ``ArgumentParser``, or one of tyro's own that is like it."""
    from tyro.extras import get_parser

    with warnings.catch_warnings():
        # Deprecated in favour of completion scripts of tyro's own, which know one command and start Python at
        # each Tab; but the public way to learn the options as tyro names them.
        warnings.simplefilter("ignore", DeprecationWarning)
        return get_parser(config, **more)


def _from_parser(path: tuple[str, ...], line: str, parser: Any) -> Iterator[Command]:
    options, first, below = [], [], {}
    for action in parser._actions:
        if action.option_strings:
            options.append(_option(action))
        elif isinstance(action.choices, dict):  # names of commands, and their parsers
            below = action.choices
        elif action.choices:
            first += [str(choice) for choice in action.choices]
    named = {
        name: one for name, one in below.items() if ":" not in name
    }  # others say which kind a value is of
    yield Command(path, line, (*named, *first), tuple(options))
    for name, one in named.items():
        yield from _from_parser((*path, name), _first_sentence(one.description or ""), one)


def _option(action: Any) -> Option:
    long_first = sorted(action.option_strings, key=lambda flag: not flag.startswith("--"))
    many = action.nargs in ("*", "+") or (isinstance(action.nargs, int) and action.nargs > 1)
    return Option(
        flags=tuple(long_first),
        help=_first_sentence(action.help or ""),
        takes_value=action.nargs != 0,
        words=tuple(str(choice) for choice in action.choices or ()),
        many=many,
        files=not action.choices,
    )


def _with_values(option: Option, values: dict[str, tuple[str, ...]]) -> Option:
    field = option.flags[0].removeprefix("--").rpartition(".")[2]
    if option.words or not option.takes_value or field not in values:
        return option
    return replace(option, words=values[field], files=field == "model")


def _known_values() -> dict[str, tuple[str, ...]]:
    """Field -> values that are not in its type, since a user can have more."""
    from stablemtl.data import CATALOG
    from stablemtl.locate import EMBEDDED
    from stablemtl.tasks import TASKS

    return {
        "tasks": tuple(TASKS),
        "model": EMBEDDED,
        "datasets": tuple(CATALOG),
        "pair": ("none", "sequence"),
    }


def _first_sentence(text: str) -> str:
    plain = " ".join(inspect.cleandoc(text).split())
    head, _, _ = plain.partition(" (default:")
    head, _, _ = head.partition(" (required)")
    return head.partition(". ")[0].rstrip(".")
