"""How a hung trainer is asked to end: who gets which signal, on which node, in which order."""

import json
import os
import queue
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.core.record_reader import to_data
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.process import Call, Completed
from slurm_restart.supervise import hang_abort, hang_end
from slurm_restart.supervise.abort_probe import Aborted
from slurm_restart.supervise.events import EndHung, TrainerHung
from slurm_restart.supervise.hang_end import HangEnd
from slurm_restart.supervise.job_environment import JobEnvironment

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("csx1", "csx2"), num_nodes=2, node_name="csx1")


def process(pid: int, node: str = "csx1", **changes: object) -> StuckProcess:
    values = {
        "node": node, "pid": pid, "rank": None, "name": "python3", "command": "", "state": "S",
        "threads": "S", "cpu_share": 0.0, "wait_channel": "", "system_call": "",
        "stack": "no stack: py-spy is not installed", "handles_abort": True,
    }  # fmt: skip
    return StuckProcess(**(values | changes))  # type: ignore[arg-type]


SRUN = process(1, name="srun", stack=None, handles_abort=False)


class World:
    """The nodes, Slurm, and the supervisor's main thread: what they are asked for, in order."""

    def __init__(self, *, notes: bool = True, failing: bool = False) -> None:
        self.done: list[tuple[object, ...]] = []
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.notes = notes
        self.failing = failing
        self.grace = 0.0
        self.warnings: list[str] = []
        self.held: list[int] = []
        """The processes here whose shells were stopped."""
        self.ended: set[int] = set()

    def run(
        self,
        *processes: StuckProcess,
        job: JobEnvironment = JOB,
        on_term: Callable[[HangEnd], None] = lambda _: None,
    ) -> HangEnd:
        end = HangEnd(
            job=job,
            reaper=5,
            slurm=lambda: self,  # type: ignore[arg-type,return-value]
            events=self,  # type: ignore[arg-type]
            grace=lambda: self.grace,
            warn=self.warnings.append,
        )
        self._end, self._on_term = end, on_term
        end.run(HangReport(reason="no output", processes=processes))
        return end

    def put(self, event: object) -> None:
        self.done.append(("put", event))
        if isinstance(event, TrainerHung) and self.notes:
            self._end.note_stop()
        if isinstance(event, EndHung):
            self._on_term(self._end)

    def start_on_nodes(
        self, _job_id: int, nodes: Sequence[str], command: Sequence[str], **_: object
    ) -> "Probe":
        self.done.append(("elsewhere", *nodes, *command[-4::3]))
        return Probe(Aborted(node=nodes[0], pid=3))

    def signal_steps(self, job_id: int, name: str) -> None:
        self.done.append(("steps", job_id, name))
        if self.failing:
            raise SlurmUnavailableError("scancel: no answer")

    def start_here(self, call: Call, **_: object) -> "Probe":
        self.done.append(("here", *call.args[-4::3]))
        return Probe(Aborted(node="csx1", pid=2))


class Probe:
    """What one prints that has stopped and aborted one process."""

    def __init__(self, aborted: Aborted) -> None:
        self.aborted = aborted

    def lines(self) -> list[str]:
        return [f"stopped {self.aborted.node}", json.dumps(to_data(self.aborted))]

    def end_input(self) -> None:
        pass

    def result(self) -> Completed:
        return Completed(code=0, stdout="", stderr="")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(hang_abort, "Interactive", made.start_here)
    monkeypatch.setattr(hang_end, "hold_shells", made.held.extend)
    monkeypatch.setattr(hang_end, "is_ending", lambda pid: pid in made.ended)
    return made


HUNG = ("put", TrainerHung)
GROUP, STEPS = ("put", EndHung(group=True)), ("put", EndHung(group=False))
TERM, CONT = ("steps", 7, "TERM"), ("steps", 7, "CONT")


def done(world: World) -> list[tuple[object, ...]]:
    [first, *others] = world.done
    assert isinstance(first[1], TrainerHung)
    return others


def test_a_trainer_with_stacks_gets_term_alone(world):
    world.run(process(2, stack="train (train.py:3)"), process(3, handles_abort=False))
    assert done(world) == [GROUP]


def test_what_cannot_save_gets_sigabrt_before_term_and_what_can_after_it(world):
    end = world.run(process(2), process(4, handles_term=True))
    assert done(world) == [("here", "without-term", "csx1=2 "), GROUP, ("here", "all", "csx1=4 ")]
    assert [one.pid for one in end.aborted] == [2, 2]


def test_what_ends_on_term_gets_no_sigabrt(world):
    world.run(process(4, handles_term=True), on_term=HangEnd.note_end)
    assert done(world) == [GROUP]


def test_all_nodes_get_it(world):
    end = world.run(process(2), process(3, "csx2"), process(4, "csx2"))
    assert sorted(done(world)[:2]) == [
        ("elsewhere", "csx2", "without-term", "csx1=2 csx2=3,4 "),
        ("here", "without-term", "csx1=2 csx2=3,4 "),
    ]
    assert {one.node for one in end.aborted} == {"csx1", "csx2"}


def test_tasks_of_srun_get_term_before_srun_itself_which_would_kill_them(world):
    world.run(SRUN, process(3, "csx2", handles_term=True))
    late = ("elsewhere", "csx2", "all", "csx2=3 ")
    assert done(world) == [TERM, CONT, STEPS, late, GROUP]


def test_once_srun_has_ended_the_shells_that_ran_it_get_term(world):
    """They were stopped, so that they do not go on to their next command."""
    world.grace, world.ended = 600.0, {1}
    shell = process(9, name="bash", stack=None)
    world.run(shell, SRUN, on_term=lambda end: end.note_end() if GROUP in world.done else None)
    assert done(world) == [TERM, CONT, STEPS, GROUP]
    assert world.held == [9, 1]


def test_if_slurm_does_not_answer_srun_gets_term(world):
    world.failing = True
    world.run(SRUN)
    assert done(world) == [TERM, GROUP]
    assert world.warnings == ["the job's steps could not be sent TERM: scancel: no answer"]


def test_a_trainer_that_ends_for_another_reason_is_left_alone(world, monkeypatch):
    monkeypatch.setattr(hang_end, "NOTED_TIMEOUT", 0.05)
    world.notes = False
    world.run(SRUN, process(2))
    assert done(world) == []


def test_without_slurm_all_processes_are_on_this_node(world):
    job = JobEnvironment(job_id=None, restarts=0, nodes=(), num_nodes=None, node_name=None)
    world.run(process(2, "host"), job=job)
    assert done(world) == [("here", "without-term", "host=2 "), GROUP]


@pytest.mark.parametrize(
    ("command", "variable", "stopped"),
    [
        ("srun -N2 python train.py", "0", False),
        ("srun -N2 -K python train.py", "0", True),
        ("srun -K1 python train.py", "0", True),
        ("srun --kill-on-bad-exit=1 python train.py", "0", True),
        ("srun --kill-on-bad-exit=0 python train.py", "0", False),
        ("srun -K0 python train.py", "0", False),
        ("srun python train.py", "1", True),
    ],
)
def test_an_srun_that_kills_all_tasks_once_one_has_failed_is_stopped_meanwhile(
    world, monkeypatch, command, variable, stopped
):
    monkeypatch.setenv("SLURM_KILL_BAD_EXIT", variable)
    monkeypatch.setattr(hang_end, "is_srun", lambda _: True)
    monkeypatch.setattr(os, "kill", lambda *what: world.done.append(what))
    world.run(replace(SRUN, command=command), process(2))
    held = [(1, signal.SIGSTOP), ("here", "without-term", "csx1=2 "), (1, signal.SIGCONT)]
    assert done(world)[:3] == (held if stopped else [held[1], TERM, CONT])


def test_where_srun_would_kill_what_may_save_nothing_gets_sigabrt_before_term(world):
    saves = process(4, handles_term=True, rank=1)
    world.run(replace(SRUN, command="srun -K a"), process(2), saves)
    assert done(world) == [TERM, CONT, STEPS, ("here", "all", "csx1=4 "), GROUP]
