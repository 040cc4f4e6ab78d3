"""The watch with a guardian that only notes what it is told."""

import queue
import signal
import threading

import pytest

from slurm_restart.supervise import watch as watching
from slurm_restart.supervise.events import Ended, Gone, Signalled, Started, Superseded
from slurm_restart.supervise.guardian import Command
from slurm_restart.supervise.judge import Stop
from slurm_restart.supervise.watch import Watch, Watched, graces

COMMAND = Command(text="true", directory="/", variables={})
PID = 2**22 + 1  # above the kernel's largest


class Guardian:
    """Answers KILL with the end of everything, unless something hangs."""

    def __init__(self, events, *, hangs=False, ends_on_term=False):
        self.events, self.hangs, self.ends_on_term = events, hangs, ends_on_term
        self.told = []
        self.running = True

    def launch(self, command):
        self.told.append(command.text)
        self.events.put(Started(PID))

    def signal(self, number):
        self.told.append(("group", number))
        if self.ends_on_term and number == signal.SIGTERM:
            self.events.put(Ended(number))
            self.events.put(Gone())

    def end(self, number, *, told_group=None):
        self.told.append(("all", number, told_group))
        if number == signal.SIGKILL and not self.hangs:
            if self.running:
                self.events.put(Ended(number))
            self.events.put(Gone())


@pytest.fixture
def events():
    return queue.SimpleQueue()


def watch(events, *given, grace=0.05, **kind):
    """Watch with these events to come; what came of it, and what the guardian was told."""
    guardian = Guardian(events, **kind)
    it = Watch(guardian, events, dict.fromkeys(Stop, grace))
    guardian.running = not any(isinstance(event, Ended) for event in given)
    timer = threading.Timer(0.05, lambda: [events.put(event) for event in given])
    timer.start()
    result = it.run(COMMAND)
    timer.join()
    return result, guardian.told


def test_an_end_of_its_own(events):
    result, told = watch(events, Ended(3 << 8), Gone())
    assert result == Watched(exit_code=3, signal=None, stop=None)
    assert told == ["true", ("all", signal.SIGTERM, None)]


def test_what_is_left_behind_is_killed(events, monkeypatch):
    monkeypatch.setattr(watching, "LEFTOVER_GRACE", 0.05)
    result, told = watch(events, Ended(0))
    assert result == Watched(exit_code=0, signal=None, stop=None)
    assert told[-2:] == [("all", signal.SIGTERM, None), ("all", signal.SIGKILL, None)]


@pytest.mark.parametrize(
    ("number", "forwarded", "stop"),
    [
        (signal.SIGUSR1, signal.SIGTERM, Stop.TIME_LIMIT),
        (signal.SIGTERM, signal.SIGTERM, Stop.TERMINATED),
        (signal.SIGHUP, signal.SIGTERM, Stop.TERMINATED),
        (signal.SIGINT, signal.SIGINT, Stop.TERMINATED),
    ],
)
def test_signals_that_end_it(events, number, forwarded, stop):
    result, told = watch(events, Signalled(number))
    assert result == Watched(exit_code=None, signal=signal.SIGKILL, stop=stop)
    assert told[:3] == ["true", ("group", forwarded), ("all", signal.SIGKILL, None)]


def test_a_signal_that_is_only_passed_on(events):
    result, told = watch(events, Signalled(signal.SIGUSR2), Ended(0), Gone())
    assert result == Watched(exit_code=0, signal=None, stop=None)
    assert ("group", signal.SIGUSR2) in told


def test_an_end_in_time_needs_no_kill(events):
    result, told = watch(events, Signalled(signal.SIGUSR1), grace=30, ends_on_term=True)
    assert result == Watched(exit_code=None, signal=15, stop=Stop.TIME_LIMIT)
    # The group that was told already is not told twice.
    assert told == ["true", ("group", 15), ("all", 15, PID)]


def test_the_first_reason_counts_and_the_shorter_grace(events):
    both = (Signalled(signal.SIGUSR1), Signalled(signal.SIGTERM))
    result, told = watch(events, *both)
    assert result.stop is Stop.TIME_LIMIT
    assert told.count(("group", signal.SIGTERM)) == 2


def test_another_attempt_has_begun(events):
    result, told = watch(events, Superseded(), grace=30)
    assert result.stop is Stop.SUPERSEDED
    assert told == ["true", ("all", signal.SIGKILL, None), ("all", signal.SIGTERM, None)]


def test_a_signal_after_the_end_stops_nothing(events):
    result, _ = watch(events, Ended(1 << 8), Signalled(signal.SIGTERM), Gone())
    assert result == Watched(exit_code=1, signal=None, stop=None)


@pytest.mark.parametrize("status", [0, 15, 143 << 8])
@pytest.mark.parametrize("gone", [True, False])
def test_slurm_tells_the_trainer_first(events, status, gone):
    order = [Ended(status), Gone(), Signalled(signal.SIGTERM)]
    result, _ = watch(events, *(order if gone else [order[0], order[2], order[1]]))
    assert result.stop is Stop.TERMINATED


def test_what_hangs_in_the_kernel_is_left(events, monkeypatch):
    monkeypatch.setattr(watching, "KILL_TIMEOUT", 0.05)
    result, _ = watch(events, Signalled(signal.SIGTERM), hangs=True)
    assert result == Watched(exit_code=None, signal=signal.SIGKILL, stop=Stop.TERMINATED)


def test_a_guardian_that_is_gone(events):
    result, _ = watch(events, Gone())
    assert result == Watched(exit_code=None, signal=signal.SIGKILL, stop=None)


@pytest.mark.parametrize(("lead", "grace"), [(120, 90), (300, 90), (60, 30), (10, 5), (0, 0)])
def test_the_grace_is_shorter_than_the_warning(lead, grace):
    assert graces(lead)[Stop.TIME_LIMIT] == grace
