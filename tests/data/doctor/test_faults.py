"""The doctor passes good data, and names every fault that is planted, alone or with others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from stablemtl.data.catalog import CATALOG
from stablemtl.data.doctor import CHECKS, check_data

_SPEC = importlib.util.spec_from_file_location("doctor_faults", Path(__file__).with_name("faults.py"))
faults = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(faults)

SMALL = {"frame-count", "empty-split"}
"""Notes that any small set gets."""


def told(report):
    """What the report says, less that the data are small."""
    return [finding for finding in report.findings if finding.check not in SMALL]


def test_good_data_pass(good_root):
    report = check_data(good_root)
    assert told(report) == []
    assert report.healthy
    notes = {(f.dataset, f.split, f.message) for f in report.findings}
    assert ("hypersim", "val", "no frame of this split") in notes
    assert ("vkitti2", "test", "3 frames; the official release has 5,364") in notes
    assert {finding.severity for finding in report.findings} == {"note"}


def test_twelve_faults_at_once(copy_of_good):
    root = copy_of_good()
    assert len(faults.TWELVE) == 12
    for fault in faults.TWELVE.values():
        fault.plant(root)
    report = check_data(root)
    expected = {(f.severity, f.check, f.dataset, f.split) for f in faults.TWELVE.values()}
    assert {(f.severity, f.check, f.dataset, f.split) for f in told(report)} == expected
    assert len(told(report)) == len(expected) == 12
    assert not report.healthy
    for fault in faults.TWELVE.values():
        (finding,) = [f for f in told(report) if (f.check, f.dataset) == (fault.check, fault.dataset)]
        assert fault.words in " ".join([finding.message, *finding.examples])


@pytest.mark.parametrize("name", [*faults.TWELVE, *faults.OTHERS])
def test_one_fault(name, copy_of_good):
    fault = {**faults.TWELVE, **faults.OTHERS}[name]
    root = copy_of_good(CATALOG[fault.dataset].folder)
    fault.plant(root)
    findings = told(check_data(root))
    assert {(f.check, f.dataset) for f in findings} == {(fault.check, fault.dataset)}
    (finding, *_) = [f for f in findings if f.split == fault.split]
    assert finding.severity == fault.severity
    assert fault.words in " ".join([finding.message, *finding.examples])
    assert finding.check in CHECKS
