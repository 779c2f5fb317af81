"""The parts of the page, and where they are. What they do is in ``page`` and ``clicks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from stablemtl.app.example import EXAMPLE_LABEL
from stablemtl.app.limits import Limits
from stablemtl.app.shelf import Offer

_STREAMS = {"multi": "multi-stream", "single": "single stream"}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is chosen on the left."""

    first: gr.Image
    second: gr.Image
    video: gr.Video
    model: gr.Dropdown
    stream: gr.Radio
    tasks: gr.CheckboxGroup
    example: gr.Button
    predict: gr.Button
    predict_video: gr.Button

    @property
    def choice(self) -> list[Any]:
        """What goes with a picture or a video."""
        return [self.model, self.stream, self.tasks]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One map of the grid."""

    column: gr.Column
    picture: gr.Image
    legend: gr.HTML | None


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is shown on the right."""

    tabs: gr.Tabs
    summary: gr.HTML
    cards: dict[str, Card]
    values: gr.HTML
    compare_task: gr.Radio
    slider: gr.ImageSlider
    slider_legend: gr.HTML
    cloud_tab: gr.Tab
    cloud: gr.Model3D
    cloud_text: gr.HTML
    attention_task: gr.Dropdown
    attention_button: gr.Button
    scores: gr.Image
    places: gr.Image
    clip_tab: gr.Tab
    clip: gr.Video
    download: gr.DownloadButton


def build_inputs(limits: Limits, offers: Sequence[Offer]) -> Inputs:
    """What is chosen: pictures or a video, model, network, maps."""
    with gr.Tabs():
        with gr.Tab("Pictures"):
            with gr.Row():
                first = _picture_input(label="Picture", elem_id="smtl-first")
                second = _picture_input(label="Next frame", elem_id="smtl-second")
            example = gr.Button(EXAMPLE_LABEL, size="sm", elem_id="smtl-example")
            predict = gr.Button("Predict", variant="primary", elem_id="smtl-predict")
            gr.HTML(
                '<p class="smtl-hint">Motion needs two frames of one size. PNG, JPEG, WebP, TIFF and more, '
                f"up to {limits.upload_mb:g} MB; longer than {limits.side_px} px is made smaller.</p>"
            )
        with gr.Tab("Video"):
            video = gr.Video(label="Video", sources=["upload"], height=220, elem_id="smtl-video")
            predict_video = gr.Button("Predict video", variant="primary", elem_id="smtl-predict-video")
            gr.HTML(f'<p class="smtl-hint">Up to {limits.video_seconds:g} s and {limits.upload_mb:g} MB.</p>')
    first_offer = offers[0]
    model = gr.Dropdown(
        [offer.name for offer in offers],
        value=first_offer.name,
        label="Model",
        interactive=len(offers) > 1,
        elem_id="smtl-model",
    )
    stream = gr.Radio(
        streams_of(first_offer), value=first_offer.streams[0], label="Network", elem_id="smtl-stream"
    )
    tasks = gr.CheckboxGroup(
        labelled(first_offer.tasks), value=list(first_offer.tasks), label="Maps", elem_id="smtl-tasks"
    )
    return Inputs(
        first=first,
        second=second,
        video=video,
        model=model,
        stream=stream,
        tasks=tasks,
        example=example,
        predict=predict,
        predict_video=predict_video,
    )


def _picture_input(**options: Any) -> gr.Image:
    """A picture as the file that was uploaded: it is looked at before anything decodes it."""

    def path(payload: Any) -> str | None:
        return None if payload is None else payload.path

    picture = gr.Image(
        type="filepath",
        sources=["upload", "clipboard"],
        placeholder="Drop or click",
        height=170,
        min_width=120,
        buttons=[],
        **options,
    )
    # Gradio's own would open the file here, before its size was checked. A subclass would do as well, but
    # makes gradio write a stub file beside this one.
    picture.preprocess = path
    return picture


def build_outputs(known: Sequence[str]) -> Outputs:
    """What is shown, with a place for each task of ``known``."""
    with gr.Row(elem_id="smtl-header"):
        summary = gr.HTML(
            hint("Choose a picture, or take the example, and press Predict."), elem_id="smtl-summary"
        )
        download = gr.DownloadButton(
            "Download all", interactive=False, size="sm", scale=0, min_width=150, elem_id="smtl-download"
        )
    with gr.Tabs(elem_id="smtl-tabs") as tabs:
        with gr.Tab("Maps", id="maps"), gr.Row(elem_id="smtl-grid"):
            cards = {name: _card(name) for name in ("image", *known)}
            with gr.Column(min_width=200):
                values = gr.HTML("", elem_id="smtl-values")
        with gr.Tab("Compare", id="compare"):
            compare_task = gr.Radio(labelled(known), label="Map", visible=False, elem_id="smtl-compare-task")
            slider = gr.ImageSlider(
                visible=False,
                show_label=False,
                interactive=False,
                format="png",
                elem_id="smtl-map-compare",
                max_height=620,
            )
            slider_legend = gr.HTML("", elem_id="smtl-legend-compare")
        with gr.Tab("3D", id="cloud") as cloud_tab:
            cloud = gr.Model3D(
                show_label=False,
                display_mode="point_cloud",
                height=520,
                interactive=False,
                elem_id="smtl-cloud",
            )
            cloud_text = gr.HTML("", elem_id="smtl-cloud-text")
        with gr.Tab("Attention", id="attention"):
            gr.HTML(
                hint(
                    "A multi-stream model predicts each map while it looks at what its other stream found "
                    "for the other tasks. Here is how much, and where, for your picture."
                )
            )
            with gr.Row():
                attention_task = gr.Dropdown(
                    [], label="Where does this task look?", scale=1, elem_id="smtl-attention-task"
                )
                attention_button = gr.Button("Show", scale=0, min_width=120, elem_id="smtl-attention-show")
            scores = _plain_image("smtl-attention-scores", "how much each task attends to each other one")
            places = _plain_image("smtl-attention-places", "where in the picture a task attends to which")
        with gr.Tab("Video", id="video", visible=False) as clip_tab:
            clip = gr.Video(
                show_label=False, interactive=False, autoplay=True, loop=True, elem_id="smtl-clip"
            )
    return Outputs(
        tabs=tabs,
        summary=summary,
        cards=cards,
        values=values,
        compare_task=compare_task,
        slider=slider,
        slider_legend=slider_legend,
        cloud_tab=cloud_tab,
        cloud=cloud,
        cloud_text=cloud_text,
        attention_task=attention_task,
        attention_button=attention_button,
        scores=scores,
        places=places,
        clip_tab=clip_tab,
        clip=clip,
        download=download,
    )


def _card(name: str) -> Card:
    with gr.Column(visible=False, min_width=200) as column:
        picture = _plain_image(f"smtl-map-{name}", name.replace("_", " "))
        legend = gr.HTML("", elem_id=f"smtl-legend-{name}")
    return Card(column=column, picture=picture, legend=legend)


def _plain_image(elem_id: str, alt_text: str) -> gr.Image:
    return gr.Image(
        show_label=False,
        interactive=False,
        type="filepath",
        format="png",
        buttons=["download", "fullscreen"],
        alt_text=alt_text,
        elem_id=elem_id,
    )


def labelled(tasks: Sequence[str]) -> list[tuple[str, str]]:
    """(what is shown, what is sent) of each task."""
    return [(task.replace("_", " "), task) for task in tasks]


def streams_of(offer: Offer) -> list[tuple[str, str]]:
    """(what is shown, what is sent) of each network."""
    return [(_STREAMS[stream], stream) for stream in offer.streams]


def hint(text: str) -> str:
    """A small grey line, as HTML."""
    return f'<p class="smtl-hint">{escape(text)}</p>'
