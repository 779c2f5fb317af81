"""The checks without labels as one HTML file that needs nothing else: figures, maps, and where they agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from stablemtl.evaluation.html_page import jpeg, note, page, picture, table
from stablemtl.evaluation.pictures import Examined

_MEANINGS = (
    (
        "flow, forward and backward",
        "following the flow to the next picture and back leads to where one was",
        "no motion back",
    ),
    ("flow, colours", "a pixel and the place that its flow leads to look alike", "no motion"),
    ("albedo x shading", "up to one scale, they multiply to the picture, in linear colours", "one grey"),
    (
        "normals and depth",
        "normals are those of the surface that the depth describes",
        "a wall that faces the camera",
    ),
)
"""Check, what should hold, and what the reference is."""


def checks_html(
    pictures: Mapping[str, Examined],
    *,
    model: str,
    field_of_view_deg: float,
    versions: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        pictures: name -> what was found.
        model: that was checked.
        field_of_view_deg: of the longer side of the pictures, as it was assumed.
        versions: of libraries.
    """
    sections: dict[str, Sequence[str]] = {"All checks": list(_checks(pictures))}
    for name, examined in pictures.items():
        sections[name] = list(_picture(examined))
    facts = [
        ("model", model),
        ("field of view of the longer side", f"{field_of_view_deg:g} degrees"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    sections["To get the same figures again"] = [table(("", ""), facts, kinds=("", "text"))]
    introduction = note(
        "Maps of one scene must agree with each other. A low figure does not prove them right; a high one "
        "proves one of them wrong."
    )
    return page(f"Checks of {model} without labels", sections, introduction=[introduction])


def _checks(pictures: Mapping[str, Examined]) -> Iterator[str]:
    rows = []
    for name, examined in pictures.items():
        for check in examined.checks:
            figures = ("-" if math.isnan(v) else f"{v:.4g}" for v in (check.value, check.reference))
            rows.append((name, check.name, check.unit, *figures, f"{check.pixels:,}"))
    head = ("picture", "check", "unit", "model", "reference", "pixels")
    yield table(head, rows, kinds=("", "", "", "number", "number", "number"), pinned=True)
    yield note("Means over the pixels; for albedo x shading the root mean square. Lower is better.")
    done = {check.name for examined in pictures.values() for check in examined.checks}
    known = [cells for cells in _MEANINGS if cells[0] in done]
    yield "<h3>What they are</h3>"
    yield table(("check", "what should hold", "reference"), known, kinds=("", "text", ""))
    left = sum(not examined.maps for examined in pictures.values())
    if left:
        yield note(f"Maps are drawn of the first {len(pictures) - left} pictures, not of the other {left}.")


def _picture(examined: Examined) -> Iterator[str]:
    """The frames, the maps, and where they agree."""
    if not examined.maps:
        return
    maps = {**examined.frames, **examined.maps}
    yield _grid([picture(title.replace("_", " "), jpeg(one), "jpeg") for title, one in maps.items()])
    if examined.agreement:
        yield "<h3>Where they agree</h3>"
        yield note("Black: they agree; yellow: they do not; grey: nothing to compare.")
        shown = []
        for check in examined.checks:
            if (one := examined.agreement.get(check.name)) is not None:
                title = f"{check.name}: {check.value:.4g} {check.unit}; yellow: {one.full_scale:.3g} or more"
                shown.append(picture(title, jpeg(one.colorize()), "jpeg"))
        yield _grid(shown)


def _grid(pictures: Sequence[str]) -> str:
    return "<div class=maps>\n" + "\n".join(pictures) + "\n</div>"
