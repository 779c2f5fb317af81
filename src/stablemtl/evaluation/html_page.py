"""The parts of an HTML page that needs nothing else: style, tables, pictures in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --pale: #5a5a5a; --line: #ddd; --rule: #888 }
:root { --bad: #a00000; --bar: #1f6fb4; --link: #0b57a4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --pale: #a6a9ae; --line: #34373d; --rule: #777; --bad: #ff8a80 }
  :root { --bar: #5aa2e0; --link: #8cc4ff }
  .plot img { filter: invert(1) hue-rotate(180deg) }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
body { max-width: 1280px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.25em; margin-top: 2em } h3 { font-size: 1.05em }
a { color: var(--link) } nav a { margin-right: 1.2em; display: inline-block }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.92em; font-variant-numeric: tabular-nums }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { border-bottom: 2px solid var(--rule); vertical-align: bottom; white-space: nowrap }
th small { font-weight: normal; color: var(--pale) }
td { white-space: nowrap } .pinned :is(th, td):first-child { position: sticky; left: 0 }
.pinned :is(th, td):first-child { background: var(--paper) }
.number { text-align: right } .text { min-width: 14em; white-space: normal }
td.code { font-family: monospace }
.bar { display: inline-block; height: 0.7em; background: var(--bar) }
.bad { color: var(--bad) } .note, figcaption { color: var(--pale) } code { overflow-wrap: anywhere }
figure { margin: 0 } img { max-width: 100%; height: auto; display: block } figcaption { margin-top: 0.3em }
.grid { display: grid; gap: 1.5em; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)) }
.maps { display: grid; gap: 1em; grid-template-columns: repeat(auto-fill, minmax(min(46%, 190px), 1fr)) }
.maps img { width: 100% }
.sheet { overflow-x: auto } .sheet img { min-width: 560px }
@media (max-width: 600px) {
  .bars { display: none } .pinned td:first-child { white-space: normal; max-width: 7em }
}
"""
_JPEG_QUALITY = 88

Rows = Sequence[Sequence[str]]


def page(title: str, sections: Mapping[str, Sequence[str]], *, introduction: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        title: as text.
        sections: heading, as text -> parts, as HTML; sections without a part are left out.
        introduction: parts before the first heading.
    """
    known = {heading: parts for heading, parts in sections.items() if parts}
    links = "".join(f'<a href="#{_anchor(i)}">{escape(heading)}</a> ' for i, heading in enumerate(known))
    lines = [f"<h1>{escape(title)}</h1>", *introduction, f"<nav>{links}</nav>"]
    for i, (heading, parts) in enumerate(known.items()):
        lines += [f'<h2 id="{_anchor(i)}">{escape(heading)}</h2>', *parts]
    body = "\n".join(lines)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def note(text: str) -> str:
    """A paragraph beside the matter."""
    return f"<p class=note>{escape(text)}</p>"


def table(head: Sequence[str], rows: Rows, *, kinds: Sequence[str] = (), pinned: bool = False) -> str:
    """A table, which scrolls where the window is too narrow.

    Args:
        head: of the columns; lines after the first are smaller. Without a word, there is no head.
        rows: cells, as text.
        kinds: of the columns: ``number`` to the right, ``text`` for sentences, ``code``, or nothing; those
            left out are nothing.
        pinned: the first column stays where the table scrolls.
    """
    marks = [f" class={kind}" if kind else "" for kind in (*kinds, *[""] * (len(head) - len(kinds)))]

    def row(cells: Sequence[str], tag: str) -> str:
        marked = (f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in zip(marks, cells, strict=True))
        return f"<tr>{''.join(marked)}</tr>"

    lines = [row([_heading(text) for text in head], "th")] if any(head) else []
    lines += [row([escape(cell) for cell in cells], "td") for cells in rows]
    kind = "wide pinned" if pinned else "wide"
    return f'<div class="{kind}"><table>\n' + "\n".join(lines) + "\n</table></div>"


def picture(title: str, data: bytes, kind: str, *, look: str = "") -> str:
    """A picture in the page, its title below it.

    Args:
        title: as text.
        data: the file.
        kind: ``png`` or ``jpeg``.
        look: ``plot`` for lines on a transparent ground, which turn light where the page is dark; ``sheet``
            for many small pictures, which scroll where the window is too narrow.
    """
    code = base64.b64encode(data).decode("ascii")
    return (
        f"<figure{f' class={look}' if look else ''}>"
        f'<img alt="{escape(title, quote=True)}" src="data:image/{kind};base64,{code}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def jpeg(image: Image.Image) -> bytes:
    """A photograph as a small file."""
    with io.BytesIO() as file:
        image.save(file, format="JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()


def _anchor(number: int) -> str:
    return f"part-{number + 1}"


def _heading(text: str) -> str:
    first, *more = (escape(line) for line in text.split("\n"))
    return first + "".join(f"<br><small>{line}</small>" for line in more)
