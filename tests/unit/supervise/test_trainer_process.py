"""The watch with a reaper that only notes what it is told."""

import queue
import signal

import pytest

from slurm_restart.supervise import trainer_process
from slurm_restart.supervise.events import (
    ReaperExited,
    SignalReceived,
    Superseded,
    TrainerEnded,
    TrainerStarted,
)
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.supervise.trainer_process import TrainerExit, TrainerProcess, grace_periods

COMMAND = TrainerCommand(text="true", directory="/", variables={})
PID = 2**22 + 1  # above the kernel's largest


class FakeReaper:
    """Answers KILL with the end of everything, unless something hangs."""

    def __init__(self, events, given, *, hangs=False, ends_on_term=False):
        self.events, self.given = events, given
        self.hangs, self.ends_on_term = hangs, ends_on_term
        self.told = []
        self.running = not any(isinstance(event, TrainerEnded) for event in given)

    def launch(self, command):
        self.told.append(command.text)
        for event in (TrainerStarted(PID), *self.given):
            self.events.put(event)

    def signal(self, number):
        self.told.append(("group", number))
        if self.ends_on_term and number == signal.SIGTERM:
            self.events.put(TrainerEnded(number))
            self.events.put(ReaperExited())

    def end(self, number, *, already_signalled=None):
        self.told.append(("all", number, already_signalled))
        if number == signal.SIGKILL and not self.hangs:
            if self.running:
                self.events.put(TrainerEnded(number))
            self.events.put(ReaperExited())


@pytest.fixture
def events():
    return queue.SimpleQueue()


def watch(events, *given, grace=0.05, **kind):
    """Watch with these events to come; what came of it, and what the reaper was told."""
    reaper = FakeReaper(events, given, **kind)
    it = TrainerProcess(reaper, events, dict.fromkeys(StopReason, grace))
    return it.run(COMMAND), reaper.told


def test_an_end_of_its_own(events):
    result, told = watch(events, TrainerEnded(3 << 8), ReaperExited())
    assert result == TrainerExit(exit_code=3, signal=None, stop=None)
    assert told == ["true", ("all", signal.SIGTERM, None)]


def test_what_is_left_behind_is_killed(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "LEFTOVER_GRACE", 0.05)
    result, told = watch(events, TrainerEnded(0))
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert told[-2:] == [("all", signal.SIGTERM, None), ("all", signal.SIGKILL, None)]


@pytest.mark.parametrize(
    ("number", "forwarded", "stop"),
    [
        (signal.SIGUSR1, signal.SIGTERM, StopReason.TIME_LIMIT),
        (signal.SIGTERM, signal.SIGTERM, StopReason.TERMINATED),
        (signal.SIGHUP, signal.SIGTERM, StopReason.TERMINATED),
        (signal.SIGINT, signal.SIGINT, StopReason.TERMINATED),
    ],
)
def test_signals_that_end_it(events, number, forwarded, stop):
    result, told = watch(events, SignalReceived(number))
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=stop)
    assert told[:3] == ["true", ("group", forwarded), ("all", signal.SIGKILL, None)]


def test_a_signal_that_is_only_passed_on(events):
    result, told = watch(events, SignalReceived(signal.SIGUSR2), TrainerEnded(0), ReaperExited())
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert ("group", signal.SIGUSR2) in told


def test_an_end_in_time_needs_no_kill(events):
    result, told = watch(events, SignalReceived(signal.SIGUSR1), grace=600, ends_on_term=True)
    assert result == TrainerExit(exit_code=None, signal=15, stop=StopReason.TIME_LIMIT)
    # The group that was told already is not told twice.
    assert told == ["true", ("group", 15), ("all", 15, PID)]


def test_the_first_reason_counts_and_the_shorter_grace(events):
    both = (SignalReceived(signal.SIGUSR1), SignalReceived(signal.SIGTERM))
    result, told = watch(events, *both)
    assert result.stop is StopReason.TIME_LIMIT
    assert told.count(("group", signal.SIGTERM)) == 2


def test_another_attempt_has_begun(events):
    result, told = watch(events, Superseded(), grace=600)
    assert result.stop is StopReason.SUPERSEDED
    assert told == ["true", ("all", signal.SIGKILL, None), ("all", signal.SIGTERM, None)]


def test_a_signal_after_the_end_stops_nothing(events):
    result, _ = watch(events, TrainerEnded(1 << 8), SignalReceived(signal.SIGTERM), ReaperExited())
    assert result == TrainerExit(exit_code=1, signal=None, stop=None)


@pytest.mark.parametrize("status", [0, 15, 143 << 8])
@pytest.mark.parametrize("gone", [True, False])
def test_slurm_tells_the_trainer_first(events, status, gone):
    order = [TrainerEnded(status), ReaperExited(), SignalReceived(signal.SIGTERM)]
    result, _ = watch(events, *(order if gone else [order[0], order[2], order[1]]))
    assert result.stop is StopReason.TERMINATED


def test_what_hangs_in_the_kernel_is_left(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "KILL_TIMEOUT", 0.05)
    result, _ = watch(events, SignalReceived(signal.SIGTERM), hangs=True)
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=StopReason.TERMINATED)


def test_a_reaper_that_is_gone(events):
    result, _ = watch(events, ReaperExited())
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=None)


@pytest.mark.parametrize(("lead", "grace"), [(120, 90), (300, 90), (60, 30), (10, 5), (0, 0)])
def test_the_grace_is_shorter_than_the_warning(lead, grace):
    assert grace_periods(lead)[StopReason.TIME_LIMIT] == grace
