"""The page: its parts put together, and which click goes where. What a click does is in ``clicks``."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from stablemtl.app.clicks import Clicks, Shown
from stablemtl.app.layout import Inputs, Outputs, build_inputs, build_outputs, hint, labelled, streams_of

TITLE = "StableMTL"
_SWEEP_SECONDS = 60

_HEADER = f"""
<div class="smtl-header"><h1>{TITLE}</h1>
<p>One picture, or two consecutive frames, to seven dense maps: semantic classes, surface normals, depth,
optical flow, scene flow, shading and albedo.</p></div>
"""
_PHOTOGRAPH = '<div class="smtl-legend"><p class="smtl-title"><b>picture</b></p></div>'


def build_page(clicks: Clicks) -> gr.Blocks:
    """The page, ready to be served."""
    offers = list(clicks.shelf.offers.values())
    known = list(dict.fromkeys(task for offer in offers for task in offer.tasks))
    keep_seconds = max(1, round(clicks.limits.keep_minutes * 60))
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(min(_SWEEP_SECONDS, keep_seconds), keep_seconds)
    ) as page:
        gr.HTML(_HEADER)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=330):
                inputs = build_inputs(clicks.limits, offers)
            with gr.Column(scale=3, min_width=320):
                outputs = build_outputs(known)
        _wire(page, clicks, inputs, outputs)
    return page


def _wire(page: gr.Blocks, clicks: Clicks, inputs: Inputs, outputs: Outputs) -> None:
    """Which click calls what, and where it goes."""
    private: dict[str, Any] = {"api_visibility": "private"}
    work = private | {
        "concurrency_id": "work",
        "concurrency_limit": clicks.limits.concurrency,
        "show_progress_on": outputs.summary,
    }
    quick = private | {"concurrency_limit": None, "show_progress": "hidden"}
    cards = list(outputs.cards.values())
    changed: list[Any] = [
        outputs.tabs,
        outputs.clip_tab,
        outputs.clip,
        outputs.summary,
        outputs.values,
        outputs.compare_task,
        outputs.slider,
        outputs.slider_legend,
        outputs.cloud,
        outputs.cloud_text,
        outputs.attention_task,
        outputs.scores,
        outputs.places,
        outputs.download,
        *(part for card in cards for part in (card.column, card.picture, card.legend)),
    ]

    def predict(
        first: str | None, second: str | None, model: str, stream: str, tasks: list[str], request: gr.Request
    ) -> dict[Any, Any]:
        return _updates(outputs, clicks.predict(first, second, model, stream, tasks, request))

    def archive(request: gr.Request) -> Any:
        return gr.DownloadButton(value=clicks.archive(request), interactive=True)

    def values(request: gr.Request, event: gr.SelectData) -> str:
        return clicks.values(request, event)

    def compared(task: str | None, request: gr.Request) -> Any:
        return (None, "") if task is None else clicks.compared(task, request)

    def cloud(request: gr.Request) -> Any:
        drawn = clicks.cloud(request)
        return (gr.skip(), gr.skip()) if drawn is None else (drawn[0], hint(drawn[1]))

    def attention(task: str | None, request: gr.Request) -> Any:
        return clicks.attention(task, request)

    def predict_video(
        video: str | None,
        model: str,
        stream: str,
        tasks: list[str],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio finds it
    ) -> Any:
        def tell(share: float, text: str) -> None:
            progress(share, desc=text)

        clip, zipped, summary = clicks.predict_video(video, model, stream, tasks, request, tell)
        return (
            gr.Tabs(selected="video"),
            gr.Tab(visible=True),
            clip,
            gr.DownloadButton(value=zipped, interactive=True),
            _sentence(summary),
        )

    def offered(model: str) -> Any:
        offer = clicks.shelf.offer(model)
        return (
            gr.Radio(streams_of(offer), value=offer.streams[0]),
            gr.CheckboxGroup(labelled(offer.tasks), value=list(offer.tasks)),
        )

    chosen = inputs.choice
    inputs.model.change(offered, inputs.model, [inputs.stream, inputs.tasks], **quick)
    inputs.example.click(clicks.example, None, [inputs.first, inputs.second], **quick)
    done = inputs.predict.click(predict, [inputs.first, inputs.second, *chosen], changed, **work)
    done.success(archive, None, outputs.download, **quick)
    done.success(compared, outputs.compare_task, [outputs.slider, outputs.slider_legend], **quick)
    inputs.predict_video.click(
        predict_video,
        [inputs.video, *chosen],
        [outputs.tabs, outputs.clip_tab, outputs.clip, outputs.download, outputs.summary],
        **work,
    )
    for card in cards:
        card.picture.select(values, None, outputs.values, **quick)
    outputs.compare_task.input(
        compared, outputs.compare_task, [outputs.slider, outputs.slider_legend], **quick
    )
    outputs.cloud_tab.select(cloud, None, [outputs.cloud, outputs.cloud_text], **quick)
    outputs.attention_button.click(
        attention, outputs.attention_task, [outputs.scores, outputs.places], **work
    )
    page.unload(clicks.leave)


def _updates(outputs: Outputs, shown: Shown) -> dict[Any, Any]:
    """A new prediction: its maps in, everything of the one before out."""
    maps = list(shown.legends)
    updates: dict[Any, Any] = {
        outputs.tabs: gr.Tabs(selected="maps"),
        outputs.clip_tab: gr.Tab(visible=False),
        outputs.clip: None,
        outputs.summary: _sentence(shown.summary),
        outputs.values: hint("Click a map for the values of all maps at that pixel."),
        outputs.compare_task: gr.Radio(labelled(maps), value=maps[0], visible=True),
        outputs.slider: gr.ImageSlider(value=None, visible=True),
        outputs.slider_legend: "",
        outputs.cloud: None,
        outputs.cloud_text: "",
        outputs.attention_task: gr.Dropdown(
            labelled(shown.attention_tasks), value=next(iter(shown.attention_tasks), None)
        ),
        outputs.scores: None,
        outputs.places: None,
        outputs.download: gr.DownloadButton(value=None, interactive=False),
    }
    for name, card in outputs.cards.items():
        seen = name in shown.pictures
        updates[card.column] = gr.Column(visible=seen)
        updates[card.picture] = str(shown.pictures[name]) if seen else None
        updates[card.legend] = shown.legends.get(name, "" if not seen else _PHOTOGRAPH)
    return updates


def _sentence(text: str) -> str:
    return f'<p class="smtl-summary">{escape(text)}</p>'
