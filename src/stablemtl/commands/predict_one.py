"""``stablemtl predict`` of one image, or of two frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemtl.commands.predict import PredictConfig


def predict_one(config: PredictConfig) -> int:
    """Predict, write straight into ``--out``, and print what was written."""
    from stablemtl.commands.json_document import print_json
    from stablemtl.commands.predict_checks import options_of
    from stablemtl.commands.predict_output import one_document, print_maps

    times = {}
    start = time.perf_counter()

    # 1. Read the images first: a wrong path must not cost the loading of a large model.
    from stablemtl.images import read_pixels

    path, options = config.inputs[0].expanduser(), options_of(config)
    image = read_pixels(path, name="IMAGE")
    image_next = None if config.next is None else read_pixels(config.next, name="--next")

    # 2. Load.
    from stablemtl.commands.predict_model import load_model
    from stablemtl.folders import Predictor

    model = load_model(config)
    predictor = Predictor(model.pipe, options)
    times["load"] = time.perf_counter() - start

    # 3. Predict.
    start = time.perf_counter()
    predicted = predictor.predict([image], [image_next])[0]
    frames = [str(one) for one in (path, config.next) if one is not None]
    predicted.predictions.source["inputs"] = frames
    predicted.predictions.source.setdefault("model", config.model)
    times["predict"] = time.perf_counter() - start

    # 4. Write.
    start = time.perf_counter()
    files = predictor.write(predicted, config.out)
    times["write"] = time.perf_counter() - start
    if config.json:
        print_json(one_document(config, predicted, files, times, model.device))
    else:
        print_maps(predicted, files, config.out, times, model.device)
    return 0
