"""The command line: finds the subcommand, turns arguments into its config, errors into one line.

A subcommand is a module with a function ``run(config: C) -> int``, where ``C`` is anything `tyro` can fill
from arguments, usually a frozen keyword-only dataclass (a union of annotated dataclasses gives commands below
the command, such as ``data check``). The module's docstring is its help, ``C``'s field docstrings the help of
the options, and the integer the exit status. A module that reads its arguments itself has a function
``parse(program, arguments) -> C`` as well, like ``train``. The module must be light to import: what is heavy
is imported inside its functions. One line in ``COMMANDS`` makes it a command; a module that is not installed
is left out of the list.

Exit status: 0 done, 1 a defect in the program, 2 something the user can put right (one line on stderr, no
traceback), 130 interrupted. ``STABLEMTL_DEBUG=1`` shows the traceback as well.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Sequence
from types import ModuleType

COMMANDS = {
    "predict": ("stablemtl.commands.predict", "seven maps from images, pairs, folders or a video"),
    "train": ("stablemtl.commands.train", "train a model on partly labelled datasets"),
    "evaluate": ("stablemtl.commands.evaluate", "score a model on the benchmarks"),
    "compare": ("stablemtl.commands.compare", "two evaluations: differences with confidence intervals"),
    "data": ("stablemtl.commands.data", "check, describe, show and prepare datasets"),
    "synth": ("stablemtl.commands.synth", "render labelled scenes in the official layouts"),
    "convert": ("stablemtl.commands.convert", "published weights into one folder, maps into other files"),
    "export": ("stablemtl.commands.export", "a model for ONNX Runtime or OpenVINO"),
    "app": ("stablemtl.commands.app", "a web page to try it"),
    "demo": ("stablemtl.commands.demo", "predict on a stereo pair that comes with scikit-image"),
    "completion": ("stablemtl.commands.completion", "a script that completes this in your shell"),
}
"""Command name -> module, one line of help."""

_USER_ERRORS = (ValueError, OSError, ImportError, NotImplementedError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments after the program's name; those of the process by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from stablemtl import __version__

        print(f"stablemtl {__version__}")
        return 0
    name = arguments[0]
    if name not in available():
        return _complain("stablemtl", _unknown(name), 2)
    program = f"stablemtl {name}"
    try:
        return _run(program, COMMANDS[name][0], arguments[1:])
    except KeyboardInterrupt as stop:
        return _complain(program, str(stop) or "interrupted; no file was left half-written", 130)
    except BrokenPipeError:  # the reader of our output has gone, as in `stablemtl ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _USER_ERRORS as error:
        return _complain(program, _message(error), 2)
    except Exception as error:
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
            way_out = "lower --processing-resolution, or choose another --device"
            return _complain(program, f"not enough memory ({_message(error)}); {way_out}", 2)
        text = f"unexpected {type(error).__name__}: {_message(error)} (STABLEMTL_DEBUG=1 shows where)"
        return _complain(program, text, 1)


def _run(program: str, module_name: str, arguments: list[str]) -> int:
    import tyro

    module = importlib.import_module(module_name)
    try:
        if hasattr(module, "parse"):
            config = module.parse(program, arguments)
        else:
            config = tyro.cli(
                config_type(module),
                prog=program,
                description=inspect.cleandoc(module.__doc__ or ""),
                args=arguments,
            )
    except SystemExit as stop:  # tyro has printed its help or what is wrong with the arguments
        return stop.code if isinstance(stop.code, int) else 2
    return int(module.run(config))


def config_type(module: ModuleType) -> typing.Any:
    """The annotated type of the argument of the module's ``run``."""
    hints = typing.get_type_hints(module.run, include_extras=True)
    hints.pop("return", None)
    assert len(hints) == 1, f"{module.__name__}.run must take exactly one annotated argument"
    return next(iter(hints.values()))


def available() -> list[str]:
    return [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module) is not None]


def _help() -> str:
    names = available()
    width = max(map(len, names), default=0)
    lines = ["usage: stablemtl COMMAND [options]", "", "commands:"]
    lines += [f"  {name:<{width}}  {COMMANDS[name][1]}" for name in names]
    return "\n".join([*lines, "", "stablemtl COMMAND --help tells more; stablemtl --version the version."])


def _unknown(name: str) -> str:
    names = available()
    near = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown command {name!r}; choose from {', '.join(names)}.{guess}"


def _message(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _complain(program: str, message: str, status: int) -> int:
    if os.environ.get("STABLEMTL_DEBUG", "") not in ("", "0") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"{program}: error: {message}" if status != 130 else f"{program}: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
