"""Looks: gradio's plain theme with the fonts of the visitor's system, so that none is fetched."""

from __future__ import annotations

import gradio as gr

_TEXT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"]
_CODE = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]


def theme() -> gr.themes.Base:
    """The page's theme; it follows the browser's choice of light or dark."""
    return gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=_TEXT, font_mono=_CODE)
