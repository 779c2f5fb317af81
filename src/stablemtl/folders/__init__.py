"""Predictions of many pictures: which ones, in pairs or not, and a table of what became of each.

>>> from stablemtl.folders import find_sources, make_jobs, pair, predict_folder  # doctest: +SKIP
>>> found = find_sources(["frames"], recursive=True)  # doctest: +SKIP
>>> sources, _ = pair(found.sources, "sequence")  # doctest: +SKIP
>>> jobs = make_jobs(sources)  # doctest: +SKIP
>>> predictor = Predictor(pipe, PredictorOptions())  # doctest: +SKIP
>>> predict_folder(predictor, jobs, Path("maps"), base=found.base, model="nano")  # doctest: +SKIP
"""

from __future__ import annotations

from stablemtl.folders.fingerprint import model_fingerprint
from stablemtl.folders.inputs import IMAGE_SUFFIXES, Found, Source, find_sources, natural_key
from stablemtl.folders.jobs import Job, make_jobs
from stablemtl.folders.options import PredictorOptions
from stablemtl.folders.pairs import pair, parse_pairing
from stablemtl.folders.predictor import Predicted, Predictor
from stablemtl.folders.results import JOURNAL, RESULTS, Result, read_results
from stablemtl.folders.run import Summary, predict_folder

__all__ = [
    "IMAGE_SUFFIXES",
    "JOURNAL",
    "RESULTS",
    "Found",
    "Job",
    "Predicted",
    "Predictor",
    "PredictorOptions",
    "Result",
    "Source",
    "Summary",
    "find_sources",
    "make_jobs",
    "model_fingerprint",
    "natural_key",
    "pair",
    "parse_pairing",
    "predict_folder",
    "read_results",
]
