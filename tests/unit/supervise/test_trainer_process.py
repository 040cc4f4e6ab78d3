"""The trainer process with a reaper that only records the requests."""

import math
import queue
import signal

import pytest

from slurm_restart.core.hang import HangReport
from slurm_restart.supervise import trainer_process
from slurm_restart.supervise.events import (
    EndHung,
    NodesDrained,
    NodesLost,
    Preempted,
    ReaperExited,
    SearchOpen,
    SignalReceived,
    Superseded,
    TrainerEnded,
    TrainerHung,
    TrainerStarted,
)
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.stop_request import (
    GracePeriods,
    StopRequest,
    late_signal_due,
    signal_number,
)
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.supervise.trainer_process import TrainerExit, TrainerProcess
from slurm_restart.trainer.run_plan import STOP_SIGNALS, StopReceiver

COMMAND = TrainerCommand(text="true", directory="/", variables={})
TERM = StopRequest()
PID = 2**22 + 1  # above the kernel's largest


class FixedGrace(GracePeriods):
    """The same time, the lead, for each reason."""

    def of(self, _stop):
        return self.signal_lead


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

    def signal(self, number, *, group=True, without_srun=False):
        receiver = "without srun" if without_srun else "group"
        self.requests.append((receiver if group else "first", number))
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


def follow(
    events, *given, grace=0.05, kill_wait=30, request=TERM, signal_due=late_signal_due, **kind
):
    """Follow a trainer with these events; return its exit and the requests to the reaper."""
    reaper = FakeReaper(events, given, **kind)
    periods = FixedGrace(signal_lead=grace, kill_wait=kill_wait)
    trainer = TrainerProcess(reaper, events, periods, request, signal_due=signal_due)
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
    assert result == TrainerExit(
        exit_code=None, signal=signal.SIGKILL, stop=stop, asked_to_end=True
    )
    assert requests[:3] == ["true", ("group", forwarded), ("all", signal.SIGKILL, None)]


def test_a_signal_that_is_only_passed_on(events):
    result, requests = follow(
        events, SignalReceived(signal.SIGUSR2), TrainerEnded(0), ReaperExited()
    )
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert ("group", signal.SIGUSR2) in requests


def test_a_trainer_that_ends_within_its_grace_period_is_not_killed(events):
    result, requests = follow(events, SignalReceived(signal.SIGUSR1), grace=600, ends_on_term=True)
    assert result == TrainerExit(
        exit_code=None, signal=15, stop=StopReason.TIME_LIMIT, asked_to_end=True
    )
    # The group that has had the signal does not get it twice.
    assert requests == ["true", ("group", 15), ("all", 15, (PID, 15))]


def test_the_first_reason_counts_and_the_shorter_grace(events):
    both = (SignalReceived(signal.SIGUSR1), SignalReceived(signal.SIGTERM))
    result, requests = follow(events, *both)
    assert result.stop is StopReason.TIME_LIMIT
    assert requests.count(("group", signal.SIGTERM)) == 2


def test_a_superseded_trainer_is_killed_at_once(events):
    result, requests = follow(events, Superseded(), grace=600)
    assert result.stop is StopReason.SUPERSEDED
    assert requests == ["true", ("all", signal.SIGKILL, None), ("all", signal.SIGTERM, None)]


HANG = HangReport(reason="no output")


HUNG = TrainerHung(StopReason.HUNG, HANG)


def test_a_hung_trainer_is_asked_to_end_and_a_stopped_one_continued_for_it(events):
    result, requests = follow(events, HUNG, EndHung(group=True))
    assert result == TrainerExit(exit_code=None, signal=9, stop=StopReason.HUNG, hang=HANG)
    group = [("group", signal.SIGTERM), ("group", signal.SIGCONT)]
    assert requests[1:4] == [*group, ("all", signal.SIGKILL, None)]


@pytest.mark.parametrize(
    ("happens", "followed"),
    [
        ((TrainerEnded(1 << 8),), True),
        ((HUNG, EndHung(group=True)), True),
        ((TrainerHung(StopReason.SLOW, HANG), EndHung(group=True)), True),
        ((NodesLost(),), True),
        ((NodesDrained(),), False),
        ((Superseded(),), False),
        ((SignalReceived(signal.SIGTERM),), False),
        # The person, or Slurm, comes second: the first reason counts, and nothing follows.
        ((HUNG, EndHung(group=True), SignalReceived(signal.SIGTERM)), False),
        ((HUNG, SignalReceived(signal.SIGTERM), EndHung(group=True)), False),
        ((NodesLost(), SignalReceived(signal.SIGUSR1)), False),
        ((HUNG, EndHung(group=True), SignalReceived(signal.SIGUSR2)), True),
    ],
)
def test_what_may_be_followed_by_another_attempt_at_once(events, happens, followed):
    result, _ = follow(events, *happens)
    assert result.may_be_followed is followed


def test_the_group_of_a_hung_trainer_whose_steps_were_told_gets_term_later(events):
    _, requests = follow(events, HUNG, EndHung(group=False), EndHung(group=True))
    group = [("group", signal.SIGTERM), ("group", signal.SIGCONT)]
    assert requests[1:4] == [*group, ("all", signal.SIGKILL, None)]


def test_a_hung_trainer_that_nobody_tells_to_end_is_killed(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "STACKS_TIMEOUT", 0.05)
    result, requests = follow(events, HUNG)
    assert result == TrainerExit(exit_code=None, signal=9, stop=StopReason.HUNG, hang=HANG)
    assert requests[1] == ("all", signal.SIGKILL, None)


def test_what_is_left_of_a_hung_trainer_has_its_grace_period(events, monkeypatch):
    """It was ended by SIGABRT, and others of its processes may save what they hold on TERM."""
    monkeypatch.setattr(trainer_process, "LEFTOVER_GRACE", 0.0)
    left = (HUNG, TrainerEnded(signal.SIGABRT), EndHung(group=True), ReaperExited())
    result, requests = follow(events, *left, grace=600)
    assert result == TrainerExit(exit_code=None, signal=6, stop=StopReason.HUNG, hang=HANG)
    assert requests[1:] == [("all", signal.SIGTERM, None)]


def test_a_trainer_that_does_not_hang_is_not_ended_as_one(events):
    result, requests = follow(events, EndHung(group=True), TrainerEnded(0), ReaperExited())
    assert result == TrainerExit(exit_code=0, signal=None, stop=None)
    assert ("group", signal.SIGTERM) not in requests


@pytest.mark.parametrize("before", [SignalReceived(signal.SIGTERM), TrainerEnded(0)])
def test_a_hang_of_a_trainer_that_is_ending_changes_nothing(events, before):
    result, _ = follow(events, before, HUNG, EndHung(group=True))
    assert result.stop is not StopReason.HUNG
    assert result.hang is None


def test_a_signal_after_the_end_stops_nothing(events):
    result, _ = follow(events, TrainerEnded(1 << 8), SignalReceived(signal.SIGTERM), ReaperExited())
    assert result == TrainerExit(exit_code=1, signal=None, stop=None, asked_to_end=True)


@pytest.mark.parametrize("status", [0, 15, 143 << 8])
@pytest.mark.parametrize("gone", [True, False])
def test_a_term_that_slurm_sent_to_the_trainer_first(events, status, gone):
    order = [TrainerEnded(status), ReaperExited(), SignalReceived(signal.SIGTERM)]
    result, _ = follow(events, *(order if gone else [order[0], order[2], order[1]]))
    assert result.stop is StopReason.TERMINATED


@pytest.mark.parametrize(("status", "may_be_slurms"), [(143 << 8, True), (137 << 8, False)])
def test_who_knows_why_tasks_ended_says_until_when_that_term_is_waited_for(
    events, status, may_be_slurms
):
    asked = []

    def due(ended: float) -> float:
        asked.append(ended)
        return -math.inf

    result, _ = follow(events, TrainerEnded(status), ReaperExited(), signal_due=due)
    assert result.stop is None
    assert bool(asked) is may_be_slurms


def test_a_process_that_hangs_in_the_kernel_is_left(events, monkeypatch):
    monkeypatch.setattr(trainer_process, "KILL_TIMEOUT", 0.05)
    result, _ = follow(events, SignalReceived(signal.SIGTERM), hangs=True)
    assert result == TrainerExit(
        exit_code=None, signal=signal.SIGKILL, stop=StopReason.TERMINATED, asked_to_end=True
    )


def test_a_reaper_that_is_gone(events):
    result, _ = follow(events, ReaperExited())
    assert result == TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=None)


@pytest.mark.parametrize("status", [0, 15, 143 << 8])
def test_an_end_before_the_warning_is_the_trainers_own(events, status):
    """Slurm sends the warning to the supervisor alone, so nothing else can end on it."""
    order = [TrainerEnded(status), SignalReceived(signal.SIGUSR1), ReaperExited()]
    assert follow(events, *order)[0].stop is None


@pytest.mark.parametrize(
    ("receiver", "sent"),
    [
        (StopReceiver.GROUP, [("group", signal.SIGUSR1)]),
        (StopReceiver.SCRIPT, [("first", signal.SIGUSR1)]),
        (StopReceiver.STEPS, ["steps"]),
    ],
)
def test_who_gets_the_signal_ahead_of_the_time_limit(events, receiver, sent):
    asked = []
    request = StopRequest(
        number=signal.SIGUSR1, receiver=receiver, signal_steps=lambda: asked.append("steps")
    )
    result, requests = follow(events, SignalReceived(signal.SIGUSR1), request=request)
    assert result.stop is StopReason.TIME_LIMIT
    of_warning = [request for request in requests if request[0] != "all"]
    assert [*of_warning[1:], *asked] == sent


@pytest.mark.parametrize(
    ("number", "has_steps", "sruns", "sent"),
    [
        (signal.SIGTERM, True, [PID + 1], [("without srun", signal.SIGTERM), "steps"]),
        (signal.SIGTERM, True, [], [("group", signal.SIGTERM)]),
        (signal.SIGTERM, False, [PID + 1], [("group", signal.SIGTERM)]),
        # srun passes it on.
        (signal.SIGUSR1, True, [PID + 1], [("group", signal.SIGUSR1)]),
    ],
)
def test_tasks_get_themselves_the_signal_on_which_srun_would_kill_them(
    events, monkeypatch, number, has_steps, sruns, sent
):
    monkeypatch.setattr(trainer_process.processes, "find_srun", {PID: sruns}.__getitem__)
    asked = []
    request = StopRequest(
        number=number, has_steps=has_steps, signal_steps=lambda: asked.append("steps")
    )
    _, requests = follow(events, SignalReceived(signal.SIGUSR1), request=request)
    of_warning = [request for request in requests if request[0] != "all"]
    assert [*of_warning[1:], *asked] == sent


def test_what_a_script_leaves_is_not_waited_for(events, monkeypatch):
    """Only a process group that was asked to save has its whole grace after its first process."""
    monkeypatch.setattr(trainer_process, "LEFTOVER_GRACE", 0.05)
    request = StopRequest(number=signal.SIGUSR1, receiver=StopReceiver.SCRIPT)
    events_given = (SignalReceived(signal.SIGUSR1), TrainerEnded(0))
    result, requests = follow(events, *events_given, grace=600, request=request)
    assert result == TrainerExit(
        exit_code=0, signal=None, stop=StopReason.TIME_LIMIT, asked_to_end=True
    )
    assert requests[-2:] == [("all", signal.SIGTERM, None), ("all", signal.SIGKILL, None)]


def test_a_preempted_trainer_has_the_grace_time(events):
    given = (SignalReceived(signal.SIGUSR1), Preempted(600), TrainerEnded(0), ReaperExited())
    result, requests = follow(events, *given)
    assert result == TrainerExit(
        exit_code=0, signal=None, stop=StopReason.TERMINATED, asked_to_end=True
    )
    # With the grace of 0.05 s it would have been killed.
    assert requests[1:] == [("group", signal.SIGTERM), ("all", signal.SIGTERM, (PID, 15))]


def test_a_preemption_that_gives_less_time_than_the_lead(events):
    given = (SignalReceived(signal.SIGUSR1), Preempted(0))
    result, _ = follow(events, *given, kill_wait=0.05, grace=600)
    assert result == TrainerExit(
        exit_code=None, signal=9, stop=StopReason.TERMINATED, asked_to_end=True
    )


@pytest.mark.parametrize(("lead", "grace"), [(120, 110), (300, 290), (60, 50), (10, 5), (0, 0)])
def test_the_grace_is_the_lead_without_a_reserve(lead, grace):
    assert GracePeriods(signal_lead=lead).of(StopReason.TIME_LIMIT) == grace


@pytest.mark.parametrize(("kill_wait", "grace"), [(30, 20), (300, 290), (4, 2)])
def test_the_grace_after_term_is_killwait_without_a_reserve(kill_wait, grace):
    periods = GracePeriods(signal_lead=120, kill_wait=kill_wait)
    assert periods.of(StopReason.TERMINATED) == grace


@pytest.mark.parametrize("name", STOP_SIGNALS)
def test_every_stop_signal_has_a_number(run, name):
    run.set(stop_signal=name)
    assert signal.Signals(signal_number(run.plan)).name == f"SIG{name}"


@pytest.mark.parametrize(
    ("event", "stop"),
    [(NodesDrained(), StopReason.NODE_DRAINED), (SearchOpen(), StopReason.NODE_SEARCH)],
)
def test_a_trainer_that_goes_on_with_other_nodes_is_asked_to_save_and_end(events, event, stop):
    request = StopRequest(number=signal.SIGUSR1)
    result, requests = follow(events, event, request=request)
    assert result.stop is stop
    assert requests[:3] == ["true", ("group", signal.SIGUSR1), ("all", signal.SIGKILL, None)]


def test_a_drained_node_is_no_reason_for_a_trainer_that_ends_already(events):
    result, requests = follow(
        events, SignalReceived(signal.SIGTERM), NodesDrained(), TrainerEnded(0), ReaperExited()
    )
    assert result.stop is StopReason.TERMINATED
    assert requests.count(("group", signal.SIGTERM)) == 1


def test_a_trainer_that_has_lost_nodes_is_asked_to_end_and_then_killed(events):
    result, requests = follow(events, NodesLost())
    assert result.stop is StopReason.NODES_LOST
    assert requests[:3] == ["true", ("group", signal.SIGTERM), ("all", signal.SIGKILL, None)]


def test_a_lost_node_is_no_reason_for_a_trainer_that_ends_already(events):
    result, _ = follow(
        events, SignalReceived(signal.SIGTERM), NodesLost(), TrainerEnded(0), ReaperExited()
    )
    assert result.stop is StopReason.TERMINATED


def test_who_is_left_of_its_own_choice_has_the_lead_to_save():
    grace = GracePeriods(signal_lead=600, kill_wait=30)
    assert grace.of(StopReason.NODE_DRAINED) == grace.of(StopReason.TIME_LIMIT)
    assert grace.of(StopReason.NODE_SEARCH) == grace.of(StopReason.TIME_LIMIT)
