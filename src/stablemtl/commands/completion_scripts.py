"""The words of :mod:`stablemtl.commands.completion_words` as scripts for shells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stablemtl.commands.completion_words import Command, Option

_FIND = r"""
# The words that can be meant: __stablemtl_find CURRENT WORDS-BEFORE-IT ...
__stablemtl_find() {
  local current="$1" word="" command="" option=""
  shift
  for word in "$@"; do
    if [[ "$word" == -* ]]; then
      option="$word"
    elif [[ -z "$option" && " $(__stablemtl_below "$command") " == *" $word "* ]]; then
      command="${command:+$command }$word"
    fi
  done
  local like="$(__stablemtl_like "$command")"
  if [[ "$current" == -* ]]; then
    __stablemtl_options "$like"
  elif [[ -z "$option" ]]; then
    __stablemtl_below "$command"
  elif [[ "$option" == "$word" || -n "$(__stablemtl_many "$like" "$option")" ]]; then
    __stablemtl_values "$like" "$option"
  fi
}
"""

_BASH = r"""
_stablemtl() {
  local current="${COMP_WORDS[COMP_CWORD]}"
  local found="$(__stablemtl_find "$current" "${COMP_WORDS[@]:1:COMP_CWORD-1}")"
  COMPREPLY=($(compgen -W "$found" -- "$current"))
}
complete -o bashdefault -o default -F _stablemtl stablemtl
"""

_ZSH = r"""
_stablemtl() {
  local found="$(__stablemtl_find "${words[CURRENT]}" "${(@)words[2,CURRENT-1]}")"
  [[ -n "$found" ]] && compadd -- ${=found} && return
  _files
}
if [[ "${funcstack[1]}" == "_stablemtl" ]]; then
  _stablemtl "$@"
else
  compdef _stablemtl stablemtl
fi
"""

_FISH = r"""
# Whether the commands on the line are one of the arguments, such as "data check".
function __stablemtl_at
    set -l command
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and break
        set -l longer (string join ' ' -- $command $word)
        contains -- $longer $__stablemtl_commands; and set command $longer
    end
    contains -- "$command" $argv
end

# Whether the last option on the line is one of the arguments.
function __stablemtl_after
    set -l options (string match -- '-*' (commandline -opc)); and contains -- $options[-1] $argv
end
"""


def bash_script(commands: Sequence[Command]) -> str:
    """For bash 3.2 and later. Where no word is known, files are completed."""
    return _head("bash") + _tables(commands) + _FIND + _BASH


def zsh_script(commands: Sequence[Command]) -> str:
    """For zsh: in a folder of ``fpath``, or read in after ``compinit``."""
    return "#compdef stablemtl\n" + _head("zsh") + _tables(commands) + _FIND + _ZSH


def fish_script(commands: Sequence[Command]) -> str:
    """For fish, which shows the help beside each word."""
    helps = {command.path: command.help for command in commands}
    below = [(command.path, name) for command in commands for name in command.below]
    lines = [f"set -g __stablemtl_commands {_fish_paths((*path, name) for path, name in below)}"]
    for path, name in below:
        lines.append(_fish_line(_fish_paths([path]), f"-f -a {name}", helps.get((*path, name), "")))
    for number, (options, paths) in enumerate(_alike(commands).items()):
        lines.append(f"set -g __stablemtl_{number} {_fish_paths(paths)}")
        for option in options:
            lines += _fish_option(f"$__stablemtl_{number}", option)
    return _head("fish") + _FISH + "\n".join(lines) + "\n"


SCRIPTS: dict[str, Callable[[Sequence[Command]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
"""Shell -> what makes its script."""


def _head(shell: str) -> str:
    from stablemtl import __version__

    return f"# Completion of stablemtl {__version__} for {shell}. Written by: stablemtl completion {shell}\n"


def _tables(commands: Sequence[Command]) -> str:
    """Functions that say what is known, in words that bash and zsh both read."""
    like = {path: paths[0] for paths in _alike(commands).values() for path in paths[1:]}
    flags, values, many = {}, {}, {}
    for command in commands:
        if command.path in like:
            continue
        flags[command.path] = " ".join(flag for option in command.options for flag in option.flags)
        for option in command.options:
            for flag in option.flags if option.takes_value else ():
                if option.words:
                    values[(*command.path, flag)] = " ".join(option.words)
                if option.many:
                    many[(*command.path, flag)] = "yes"
    return "\n".join(
        (
            _function("below", "$1", {one.path: " ".join(one.below) for one in commands if one.below}),
            _function("like", "$1", {path: " ".join(first) for path, first in like.items()}, other="$1"),
            _function("options", "$1", flags),
            _function("values", "$1 $2", values),
            _function("many", "$1 $2", many),
        )
    )


def _function(name: str, key: str, table: dict[tuple[str, ...], str], other: str = "") -> str:
    keys: dict[str, list[str]] = {}
    for path, words in table.items():
        keys.setdefault(words, []).append(f'"{" ".join(path)}"')
    cases = [f'    {"|".join(paths)}) echo "{words}" ;;' for words, paths in keys.items()]
    cases += [f'    *) echo "{other}" ;;'] if other else []
    return "\n".join([f"__stablemtl_{name}() {{", f'  case "{key}" in', *cases, "  esac", "}"])


def _alike(commands: Sequence[Command]) -> dict[tuple[Option, ...], list[tuple[str, ...]]]:
    """Options -> paths of the commands that have them, as the recipes of a stage do."""
    alike: dict[tuple[Option, ...], list[tuple[str, ...]]] = {}
    for command in commands:
        alike.setdefault(command.options, []).append(command.path)
    return alike


def _fish_option(at: str, option: Option) -> list[str]:
    names = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    words = [f"-a {_quoted(' '.join(option.words))}"] if option.words else []
    if option.takes_value:
        names.append("-r" if option.files else "-x")
    lines = [_fish_line(at, " ".join(names + words), option.help)]
    if option.many and words:  # fish takes a second value for an argument of the command
        after = f"{at}; and __stablemtl_after {' '.join(option.flags)}"
        lines.append(_fish_line(after, f"-f {words[0]}", option.help))
    return lines


def _fish_line(at: str, what: str, about: str) -> str:
    line = f"complete -c stablemtl -n {_quoted(f'__stablemtl_at {at}')} {what}"
    return f"{line} -d {_quoted(about)}" if about else line


def _fish_paths(paths: Iterable[tuple[str, ...]]) -> str:
    return " ".join(f'"{" ".join(path)}"' for path in paths)


def _quoted(text: str) -> str:
    """In the single quotes of fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
