"""The trainer process with a reaper that only records the requests."""

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
        self.requests = []
        self.running = not any(isinstance(event, TrainerEnded) for event in given)

    def launch(self, command):
        self.requests.append(command.text)
        for event in (TrainerStarted(PID), *self.given):
            self.events.put(event)

    def signal(self, number):
        self.requests.append(("group", number))
        if self.ends_on_term and number == signal.SIGTERM:
            self.events.put(TrainerEnded(number))
            self.events.put(ReaperExited())

    def end(self, number, *, already_signalled=None):
        self.requests.append(("all", number, already_signalled))
        if number == signal.SIGKILL and not self.hangs:
            if self.running:
                self.events.put(TrainerEnded(number))
            self.events.put(ReaperExited())


@pytest.fixture
def events():
    return queue.SimpleQueue()


def follow(events, *given, grace=0.05, **kind):
    """Follow a trainer with these events; return its exit and the requests to the reaper."""
    reaper = FakeReaper(events, given, **kind)
    trainer = TrainerProcess(reaper, events, dict.fromkeys(StopReason, grace))
    return trainer.run(COMMAND), reaper.requests


def test_a_trainer_that_ends_by_itself(events):
    result, requests = follow(events, TrainerEnded(3 << 8), ReaperExited())
    assert result == TrainerExit(exit_code=3, signal=None, stop=None)
    assert requests == ["true", ("all", signal.SIGTERM, None)]


def test_processes_that_are_left_are_killed(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "LEFTOVER_GRACE", 0.05)
    result, requests = follow(events, TrainerEnded(0))
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert requests[-2:] == [("all", signal.SIGTERM, None), ("all", signal.SIGKILL, None)]


@pytest.mark.parametrize(
    ("number", "forwarded", "stop"),
    [
        (signal.SIGUSR1, signal.SIGTERM, StopReason.TIME_LIMIT),
        (signal.SIGTERM, signal.SIGTERM, StopReason.TERMINATED),
        (signal.SIGHUP, signal.SIGTERM, StopReason.TERMINATED),
        (signal.SIGINT, signal.SIGINT, StopReason.TERMINATED),
    ],
)
def test_signals_that_end_the_trainer(events, number, forwarded, stop):
    result, requests = follow(events, SignalReceived(number))
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=stop)
    assert requests[:3] == ["true", ("group", forwarded), ("all", signal.SIGKILL, None)]


def test_a_signal_that_is_only_passed_on(events):
    result, requests = follow(
        events, SignalReceived(signal.SIGUSR2), TrainerEnded(0), ReaperExited()
    )
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert ("group", signal.SIGUSR2) in requests


def test_a_trainer_that_ends_within_its_grace_period_is_not_killed(events):
    result, requests = follow(events, SignalReceived(signal.SIGUSR1), grace=600, ends_on_term=True)
    assert result == TrainerExit(exit_code=None, signal=15, stop=StopReason.TIME_LIMIT)
    # The group that has had the signal does not get it twice.
    assert requests == ["true", ("group", 15), ("all", 15, PID)]


def test_the_first_reason_counts_and_the_shorter_grace(events):
    both = (SignalReceived(signal.SIGUSR1), SignalReceived(signal.SIGTERM))
    result, requests = follow(events, *both)
    assert result.stop is StopReason.TIME_LIMIT
    assert requests.count(("group", signal.SIGTERM)) == 2


def test_a_superseded_trainer_is_killed_at_once(events):
    result, requests = follow(events, Superseded(), grace=600)
    assert result.stop is StopReason.SUPERSEDED
    assert requests == ["true", ("all", signal.SIGKILL, None), ("all", signal.SIGTERM, None)]


def test_a_signal_after_the_end_stops_nothing(events):
    result, _ = follow(events, TrainerEnded(1 << 8), SignalReceived(signal.SIGTERM), ReaperExited())
    assert result == TrainerExit(exit_code=1, signal=None, stop=None)


@pytest.mark.parametrize("status", [0, 15, 143 << 8])
@pytest.mark.parametrize("gone", [True, False])
def test_a_term_that_slurm_sent_to_the_trainer_first(events, status, gone):
    order = [TrainerEnded(status), ReaperExited(), SignalReceived(signal.SIGTERM)]
    result, _ = follow(events, *(order if gone else [order[0], order[2], order[1]]))
    assert result.stop is StopReason.TERMINATED


def test_a_process_that_hangs_in_the_kernel_is_left(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "KILL_TIMEOUT", 0.05)
    result, _ = follow(events, SignalReceived(signal.SIGTERM), hangs=True)
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=StopReason.TERMINATED)


def test_a_reaper_that_is_gone(events):
    result, _ = follow(events, ReaperExited())
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=None)


@pytest.mark.parametrize(("lead", "grace"), [(120, 90), (300, 90), (60, 30), (10, 5), (0, 0)])
def test_the_grace_is_shorter_than_the_warning(lead, grace):
    assert grace_periods(lead)[StopReason.TIME_LIMIT] == grace
