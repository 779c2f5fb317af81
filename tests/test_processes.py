from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import cv2
import pytest

from stablemtl import processes
from stablemtl.processes import interrupts_blocked, run_calls, start_process


class Pool:
    """Gives futures that the test finishes."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, work, *arguments) -> Future[Any]:
        assert work is divmod
        self.futures.append(Future())
        return self.futures[-1]


def test_calls_are_handed_over_when_there_is_room() -> None:
    pool, taken = Pool(), []

    def calls() -> Iterator[tuple[int, int]]:
        for number in range(5):
            taken.append(number)
            yield number, 7

    run = run_calls(pool, divmod, calls(), processes=2, poll_s=0.0)
    assert next(run) == {}  # nothing is done yet
    assert taken == [0, 1, 2]  # one more than can run
    first, second, third = pool.futures
    third.set_result("third")
    first.set_exception(OSError("first"))
    done = next(run)
    assert list(done.items()) == [(first, (0, 7)), (third, (2, 7))]  # in the order of the calls
    assert taken == [0, 1, 2]  # no more before the next time
    second.set_result("second")
    assert next(run) == {second: (1, 7)}
    assert taken == [0, 1, 2, 3, 4]
    for future in pool.futures[3:]:
        future.set_result(None)
    assert list(next(run).values()) == [(3, 7), (4, 7)]
    assert list(run) == []


def test_no_calls() -> None:
    assert list(run_calls(Pool(), divmod, [], processes=2)) == []


def blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.fixture
def signals() -> Iterator[None]:
    """Restores what ``start_process`` changes."""
    set_mask, threads = signal.pthread_sigmask, cv2.getNumThreads()
    handler, mask = signal.getsignal(signal.SIGINT), set_mask(signal.SIG_BLOCK, ())
    yield
    signal.signal(signal.SIGINT, handler)
    set_mask(signal.SIG_SETMASK, mask)
    cv2.setNumThreads(threads)


@pytest.mark.usefixtures("signals")
def test_a_process_is_deaf_to_interrupts() -> None:
    assert not blocked()
    start_process()
    assert blocked()
    assert cv2.getNumThreads() == 1


@pytest.mark.usefixtures("signals")
def test_a_system_without_signal_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    with interrupts_blocked():
        assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    start_process()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_interrupts_are_blocked_for_a_while() -> None:
    with interrupts_blocked():
        assert blocked()
    assert not blocked()
    with pytest.raises(OSError, match="no process"), interrupts_blocked():
        raise OSError("no process")
    assert not blocked()


def test_a_process_ends_with_the_one_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parent:
        def join(self) -> None:
            told.append("joined")

    told: list[Any] = []
    monkeypatch.setattr(processes.os, "_exit", told.append)
    processes._end_with_parent()  # this one has no such parent
    assert told == []
    monkeypatch.setattr(processes.multiprocessing, "parent_process", Parent)
    processes._end_with_parent()
    assert told == ["joined", 1]
