"""``stablemtl predict`` of several images."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from stablemtl.commands.predict import PredictConfig
    from stablemtl.folders import Job


def predict_many(config: PredictConfig) -> int:
    """Predict each image into a folder of its own; 1 if some could not be predicted."""
    from stablemtl.commands.json_document import print_json
    from stablemtl.commands.predict_checks import options_of
    from stablemtl.commands.predict_output import ImageProgress, folder_document, print_summary

    start = time.perf_counter()
    jobs, base = _jobs(config)

    from stablemtl.commands.predict_model import load_model
    from stablemtl.folders import Predictor, model_fingerprint, predict_folder

    model = load_model(config)
    predictor = Predictor(model.pipe, options_of(config))
    progress = ImageProgress(len(jobs))
    try:
        with progress:
            summary = predict_folder(
                predictor,
                jobs,
                config.out,
                base=base,
                model=config.model,
                weights=model_fingerprint(model.folder),
                batch_size=config.batch_size or 4,
                overwrite=config.overwrite,
                fail_fast=config.fail_fast,
                on_result=progress.advance,
            )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"interrupted; {progress.finished} of {len(jobs)} images are finished, the same command goes on "
            "from there"
        ) from stop
    seconds = time.perf_counter() - start
    if config.json:
        print_json(folder_document(config, summary, seconds, model.device))
    else:
        print_summary(summary, config.out, seconds, model.device)
    return 1 if summary.failures else 0


def _jobs(config: PredictConfig) -> tuple[Sequence[Job], Path]:
    """What to predict, and the folder that names count from. Says what is left out."""
    from stablemtl.folders import find_sources, make_jobs, pair

    found = find_sources(
        config.inputs, list_file=config.list_file, recursive=config.recursive, exclude=config.out
    )
    sources, unpaired = pair(found.sources, config.pair)
    for count, what in (
        (found.left_out, "other files, which are no images by their suffix"),
        (unpaired, "images that the first pattern of --pair does not fit"),
    ):
        if count:
            print(f"left out: {count} {what}", file=sys.stderr)
    return make_jobs(sources), found.base
