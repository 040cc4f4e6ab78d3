"""No fault of one job reaches another one, or slurmctld; each is logged."""

import signal
import time

import pytest

from slurm_restart.control import advance as advance_module
from slurm_restart.control.controller import Controller
from slurm_restart.control.guarded_advance import (
    Advanced,
    HookTimeoutError,
    guarded_advance,
    time_limit,
)
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import HookLimits
from slurm_restart.errors import (
    CommentRecordError,
    CsxError,
    JobNotFoundError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
)
from tests.unit.control.conftest import FakeSlurm, controller_of, log_of


def advancing(monkeypatch: pytest.MonkeyPatch, what: object) -> list[tuple[int, object]]:
    """Let `advance` return or raise that, or call it; returns the calls."""
    calls: list[tuple[int, object]] = []

    def advance(
        _controller: Controller, job_id: int, *, hook: object = None, steps: int = 0
    ) -> object:
        assert steps == advance_module.MAX_STEPS
        calls.append((job_id, hook))
        if isinstance(what, BaseException):
            raise what
        return what() if callable(what) else what

    monkeypatch.setattr(advance_module, "advance", advance)
    return calls


@pytest.mark.parametrize("again", [None, 17.5])
def test_a_job_is_advanced(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, again: float | None
) -> None:
    hook = object()
    calls = advancing(monkeypatch, again)
    advanced = guarded_advance(controller, 7, hook=hook)  # type: ignore[arg-type]
    assert advanced == Advanced(done=True, look_again=again)
    assert calls == [(7, hook)]
    assert log_of(controller) == ""


@pytest.mark.parametrize(
    ("error", "done"),
    [
        (CommentRecordError("x"), True),
        (JobNotFoundError("x"), True),
        (StateError("x"), False),
        (SlurmError("x"), False),
        (SlurmUnavailableError("x"), False),
        (CsxError("x"), False),
    ],
)
def test_what_cannot_get_better_is_done(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, error: CsxError, done: bool
) -> None:
    advancing(monkeypatch, error)
    assert guarded_advance(controller, 7) == Advanced(done=done)
    assert f"job 7: nothing done: {type(error).__name__}: x\n" in log_of(controller)


def test_an_internal_error_is_logged(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    advancing(monkeypatch, ZeroDivisionError("a fault"))
    assert guarded_advance(controller, 7) == Advanced(done=False)
    assert "job 7: internal error of csx-epilog: " in log_of(controller)
    assert "ZeroDivisionError: a fault" in log_of(controller)


def test_a_job_has_a_time_limit(slurm: FakeSlurm, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    limited = controller_of(slurm, tmp_path, limits=HookLimits(deadline=0.2))
    began = time.monotonic()
    advancing(monkeypatch, lambda: time.sleep(300))
    assert guarded_advance(limited, 7) == Advanced(done=False)
    assert time.monotonic() - began < 100
    assert "job 7: nothing done: HookTimeoutError: time limit reached" in log_of(limited)


def test_the_limit_is_the_sites_and_is_off_afterwards(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    advancing(monkeypatch, lambda: seen.append(signal.getitimer(signal.ITIMER_REAL)[0]))
    guarded_advance(controller, 7)
    assert controller.site.limits.deadline - 20 < seen[0] <= controller.site.limits.deadline
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_is_off_when_a_failure_is_logged(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[float] = []
    append = HookLog._append

    def append_and_look(log: HookLog, line: str) -> None:
        timers.append(signal.getitimer(signal.ITIMER_REAL)[0])
        append(log, line)

    monkeypatch.setattr(HookLog, "_append", append_and_look)
    for error in (StateError("x"), ZeroDivisionError("x")):
        advancing(monkeypatch, error)
        guarded_advance(controller, 7)
    assert timers == [0.0, 0.0]


def test_a_limit_ends_what_takes_longer() -> None:
    with pytest.raises(HookTimeoutError, match="time limit reached"), time_limit(0.1):
        time.sleep(300)
