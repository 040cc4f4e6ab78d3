"""The wait before a restart in place ends early only once the health check passes again."""

import threading

import pytest

from slurm_restart.supervise import outage_check
from slurm_restart.supervise.outage_check import OutageCheck
from tests.unit.supervise.conftest import DEADLINE


@pytest.mark.parametrize(
    ("answers", "is_over", "asked"),
    [
        ([False, True], True, 2),
        ([False, False, True], True, 3),
        # It does not look at what has failed.
        ([True, True], False, 1),
        # Slurm cannot start it.
        ([None, True], False, 1),
        ([False, None, True], False, 2),
    ],
)
def test_the_cause_has_passed_once_the_check_passes_after_it_has_failed(
    monkeypatch, answers, is_over, asked
):
    left = list(answers)
    monkeypatch.setattr(outage_check, "PAUSE", 0.001)
    monkeypatch.setattr(outage_check, "passes", lambda *_: left.pop(0))
    lines = []
    monkeypatch.setattr(OutageCheck, "_log", lambda _, text: lines.append(text))
    check = OutageCheck(None, None, None)
    check.start()
    check.join(DEADLINE)
    assert not check.is_alive()
    assert (check.is_over, len(answers) - len(left)) == (is_over, asked)
    assert lines == ["the health check passes again: the wait is cut short"] * is_over


def test_once_the_wait_is_over_no_check_begins(monkeypatch):
    asked, goes_on = threading.Event(), threading.Event()

    def passes(*_):
        assert not asked.is_set()
        asked.set()
        goes_on.wait(DEADLINE)
        return False

    monkeypatch.setattr(outage_check, "PAUSE", 0.001)
    monkeypatch.setattr(outage_check, "passes", passes)
    check = OutageCheck(None, None, None)
    check.start()
    assert asked.wait(DEADLINE)
    check.finish()
    goes_on.set()
    check.join(DEADLINE)
    assert not check.is_alive()
