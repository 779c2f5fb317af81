"""The words of :mod:`stablemtl.commands.completion_words` as scripts for shells."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stablemtl.commands.completion_words import Command, Option

_HEAD = "# Completion of stablemtl {version} for {shell}. Written by: stablemtl completion {shell}\n"

_BASH = r"""
_stablemtl() {
  local word command="" option="" found="" i
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    if [[ "$word" == -* ]]; then
      option="$word"
    elif [[ -z "$option" && " $(__stablemtl_below "$command") " == *" $word "* ]]; then
      command="${command:+$command }$word"
    fi
  done
  local like="$(__stablemtl_like "$command")"
  if [[ "$current" == -* ]]; then
    found="$(__stablemtl_options "$like")"
  elif [[ -n "$option" && ( "$option" == "$before" || -n "$(__stablemtl_many "$like" "$option")" ) ]]; then
    found="$(__stablemtl_values "$like" "$option")"
  elif [[ -z "$option" ]]; then
    found="$(__stablemtl_below "$command")"
  fi
  COMPREPLY=($(compgen -W "$found" -- "$current"))
}
complete -o bashdefault -o default -F _stablemtl stablemtl
"""

_ZSH = r"""
_stablemtl() {
  local word command="" option="" found="" current="${words[CURRENT]}" before="${words[CURRENT-1]}"
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word="${words[i]}"
    if [[ "$word" == -* ]]; then
      option="$word"
    elif [[ -z "$option" && " $(__stablemtl_below "$command") " == *" $word "* ]]; then
      command="${command:+$command }$word"
    fi
  done
  local like="$(__stablemtl_like "$command")"
  if [[ "$current" == -* ]]; then
    found="$(__stablemtl_options "$like")"
  elif [[ -n "$option" && ( "$option" == "$before" || -n "$(__stablemtl_many "$like" "$option")" ) ]]; then
    found="$(__stablemtl_values "$like" "$option")"
  elif [[ -z "$option" ]]; then
    found="$(__stablemtl_below "$command")"
  fi
  [[ -n "$found" ]] && compadd -- ${=found} && return
  _files
}
if [[ "${funcstack[1]}" == "_stablemtl" ]]; then
  _stablemtl "$@"
else
  compdef _stablemtl stablemtl
fi
"""


def bash_script(commands: Sequence[Command]) -> str:
    """For bash 3.2 and later. Where no word is known, files are completed."""
    return _HEAD.format(version=_version(), shell="bash") + _tables(commands) + _BASH


def zsh_script(commands: Sequence[Command]) -> str:
    """For zsh: in a folder of ``fpath``, or read in after ``compinit``."""
    return "#compdef stablemtl\n" + _HEAD.format(version=_version(), shell="zsh") + _tables(commands) + _ZSH


def fish_script(commands: Sequence[Command]) -> str:
    """For fish, which shows the help beside each word."""
    helps = {command.path: command.help for command in commands}
    lines = [_HEAD.format(version=_version(), shell="fish").rstrip()]
    for command in commands:
        here = _fish_seen(command.path)
        if command.below:
            not_yet = f"not __fish_seen_subcommand_from {' '.join(command.below)}"
            condition = f"{here}; and {not_yet}" if here else not_yet
            for name in command.below:
                about = helps.get((*command.path, name), "")
                lines.append(f"complete -c stablemtl -f -n '{condition}' -a {name} -d '{_quoted(about)}'")
    for options, paths in _alike(commands).items():
        for condition in _fish_conditions(paths):
            lines += [_fish_option(condition, option) for option in options]
    return "\n".join(lines) + "\n"


SCRIPTS: dict[str, Callable[[Sequence[Command]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
"""Shell -> what makes its script."""


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


def _fish_seen(path: tuple[str, ...]) -> str:
    return "; and ".join(f"__fish_seen_subcommand_from {name}" for name in path)


def _fish_conditions(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """One condition for all paths below the same command."""
    last: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        last.setdefault(path[:-1], []).extend(path[-1:])
    conditions = []
    for above, names in last.items():
        seen = [_fish_seen(above)] if above else []
        seen += [f"__fish_seen_subcommand_from {' '.join(names)}"] if names else ["__fish_use_subcommand"]
        conditions.append("; and ".join(seen))
    return conditions


def _fish_option(condition: str, option: Option) -> str:
    names = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    if option.takes_value:
        names.append("-r")
    if option.words:
        names.append(f"-a '{_quoted(' '.join(option.words))}'")
    about = f" -d '{_quoted(option.help)}'" if option.help else ""
    return f"complete -c stablemtl -n '{condition}' {' '.join(names)}{about}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _version() -> str:
    from stablemtl import __version__

    return __version__
