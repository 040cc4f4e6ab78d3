"""The step of a failed task is ended where srun lets the other tasks go on."""

import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_restart.supervise import failed_task
from slurm_restart.supervise.failed_task import SERIES, FailedTasks
from slurm_restart.supervise.job_processes import Belonging, JobProcesses
from slurm_restart.supervise.output_pipe import OutputPipe
from slurm_restart.supervise.srun_processes import are_alive, find_sruns
from slurm_restart.supervise.stop_request import LATE_SIGNAL

from .conftest import DEADLINE, await_

NOW = 1000.0
KILLED = b"srun: error: csx2: task 1: Killed\n"
ENDED = (
    "csx2: task 1: Killed: the other tasks of its step are ended "
    "(srun --kill-on-bad-exit=0 lets them go on)"
)
# It is called srun, as a script has the name of its file, and has a process of its own below it.
SRUN = """#!/bin/sh
./child &
while :; do read -r line; done
"""
CHILD = "#!/bin/sh\nexec sleep 600\n"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a program that runs commands, one beside the other, and wait for so many srun."""
    monkeypatch.setattr(failed_task, "MIN_AGE", -1.0)  # the clocks may differ by a tick
    monkeypatch.setattr(failed_task, "DELAY", 0.0)
    monkeypatch.setattr(failed_task, "SETTLE", 0.0)
    for name, text in (("srun", SRUN), ("child", CHILD)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    started = []

    def begin(*commands: str, **variables: str) -> subprocess.Popen[bytes]:
        text = " ".join(f"{command} <&0 &" for command in commands)
        program = subprocess.Popen(
            ["/bin/sh", "-c", f"{text} wait"],
            cwd=tmp_path,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(program)
        await_(lambda: len(sruns(program)) == len(commands), "each srun")
        return program

    yield begin
    for program in started:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def processes_of(program: subprocess.Popen[bytes]) -> JobProcesses:
    return JobProcesses(Belonging(job_id=None, node=None, roots=(program.pid,)))


def sruns(program: subprocess.Popen[bytes]) -> list[int]:
    """Those that a script has started: the process below one is called srun at first, too."""
    return [stat.pid for stat in find_sruns(processes_of(program))]


def is_about_to_end() -> bool:
    """Whether a step is; the report of its other tasks changes nothing."""
    ending = [thread for thread in threading.enumerate() if thread.name == "failed-task"]
    assert len(ending) <= 1
    return bool(ending)


@pytest.mark.parametrize(
    "line",
    [
        KILLED,
        b"srun: error: csx[2-3]: tasks 1-2: Exited with exit code 1\r\n",
        b"srun: error: n1: task 12: Segmentation fault (core dumped)\n",
        b"srun: error: n1: tasks 3,5-6: Out Of Memory\n",
    ],
)
def test_srun_is_told_to_end_once_a_task_has_failed(launch: Start, line: bytes) -> None:
    program, reports = launch("./srun -N2 ./train"), list[str]()
    failed = FailedTasks(program.pid, reports.append)
    failed.feed(b"step 1\n" + line[:20])
    assert not is_about_to_end()
    failed.feed(line[20:])
    await_(lambda: not sruns(program) and reports, "the end of srun")
    text = line.decode().removeprefix("srun: error: ").rstrip()
    assert reports == [ENDED.replace("csx2: task 1: Killed", text)]


@pytest.mark.parametrize(
    ("commands", "variables", "line"),
    [
        (("./srun --kill-on-bad-exit=0 ./train",), {}, KILLED),
        (("./srun ./train",), {"SLURM_KILL_BAD_EXIT": "0"}, KILLED),
        # It does so itself.
        (("./srun -K ./train",), {}, KILLED),
        (("./srun ./train",), {}, b"srun: error: csx2: task 1: Exited with exit code 0\n"),
        (("./srun ./train",), {}, b"0: " + KILLED),
        (("./srun ./train",), {}, b"srun: error: Unable to create step: Invalid node\n"),
    ],
)
def test_other_steps_go_on(
    launch: Start, commands: tuple[str, ...], variables: dict[str, str], line: bytes
) -> None:
    program = launch(*commands, **variables)
    FailedTasks(program.pid, pytest.fail).feed(line)
    assert not is_about_to_end()
    assert len(sruns(program)) == len(commands)


MAY_WAIT = "csx2: task 1: Killed: other tasks of its step may wait for it, and this step is not"


@pytest.mark.parametrize(
    ("commands", "warned"),
    [
        (("./srun ./train", "./srun ./train"), True),
        (("./srun -K ./train", "./srun ./train"), True),
        (("./srun -K0 ./train", "./srun --kill-on-bad-exit ./train"), False),
    ],
)
def test_of_several_sruns_none_is_ended_and_that_is_said_once(
    launch: Start, commands: tuple[str, ...], *, warned: bool
) -> None:
    """It is not known which one has printed the line."""
    program, reports = launch(*commands), list[str]()
    failed = FailedTasks(program.pid, reports.append)
    for _ in range(2):
        failed.feed(KILLED)
        await_(lambda: not is_about_to_end(), "the thread")
    assert [report.startswith(MAY_WAIT) for report in reports] == [True] * warned
    assert len(sruns(program)) == len(commands)


def test_of_several_sruns_one_that_ends_was_that_of_the_failed_task(
    launch: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits: it was the only task of its step, or slurm.conf has others ended, too."""
    monkeypatch.setattr(failed_task, "are_alive", lambda *_: False)
    program = launch("./srun ./train", "./srun ./train")
    FailedTasks(program.pid, pytest.fail).feed(KILLED)
    await_(lambda: not is_about_to_end(), "the thread")


def test_whether_all_of_several_run(launch: Start) -> None:
    program = launch("./srun ./train", "./srun ./train")
    processes = processes_of(program)
    found = find_sruns(processes)
    assert are_alive(found)
    os.kill(found[0].pid, signal.SIGTERM)
    await_(lambda: len(sruns(program)) == 1, "the end of one")
    assert not are_alive(found)


class Pipe(OutputPipe):
    """One that was last seen empty so many seconds after the newest process has started."""

    def __init__(self, started: float, *, is_own: bool = True) -> None:
        self.empty_at = started
        self._is_own = is_own

    def writes_to(self, _pid: int) -> bool:
        return self._is_own


@pytest.mark.parametrize(
    ("after", "is_own", "is_ended"),
    [(0.0, True, True), (-0.01, True, False), (5.0, False, False)],
)
def test_what_was_written_since_a_young_srun_began_is_its_report(
    launch: Start, monkeypatch: pytest.MonkeyPatch, *, after: float, is_own: bool, is_ended: bool
) -> None:
    """Unless a program such as tee stands between srun and the pipe, and may be late."""
    monkeypatch.setattr(failed_task, "MIN_AGE", DEADLINE)
    monkeypatch.setattr(failed_task, "QUIET", DEADLINE)
    program, reports = launch("./srun ./train"), list[str]()
    [srun] = find_sruns(processes_of(program))
    pipe = Pipe(srun.surely_started + after, is_own=is_own)
    failed = FailedTasks(program.pid, reports.append, [pipe])
    failed.feed(KILLED)
    await_(lambda: reports, "a line for the user")
    assert (reports == [ENDED]) is is_ended
    failed.finish()
    await_(lambda: not is_about_to_end(), "the thread")
    await_(lambda: bool(sruns(program)) is not is_ended, "the end of srun, where it is due")


@pytest.mark.parametrize("prints", [True, False])
def test_a_young_srun_may_be_the_next_command_unless_nothing_is_printed_any_more(
    launch: Start, monkeypatch: pytest.MonkeyPatch, *, prints: bool
) -> None:
    monkeypatch.setattr(failed_task, "MIN_AGE", DEADLINE)
    monkeypatch.setattr(failed_task, "QUIET", 0.5)
    program, reports = launch("./srun ./train"), list[str]()
    failed = FailedTasks(program.pid, reports.append)
    failed.feed(KILLED + b"what the task had printed last\n")

    def is_decided() -> bool:
        if prints:
            failed.feed(b"step 1\n")
        return not is_about_to_end()

    await_(is_decided, "the thread")
    assert reports[0].startswith(MAY_WAIT)
    assert reports[1:] == ([] if prints else [ENDED])
    await_(lambda: bool(sruns(program)) is prints, "the end of srun, where it is due")


def test_nothing_is_ended_once_the_trainer_is_asked_to_end(
    launch: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks save then, each as long as it needs."""
    monkeypatch.setattr(failed_task, "DELAY", DEADLINE)
    program = launch("./srun ./train")
    failed = FailedTasks(program.pid, pytest.fail)
    failed.feed(KILLED * 3)
    assert is_about_to_end()
    failed.finish()
    await_(lambda: not is_about_to_end(), "the thread")
    failed.feed(KILLED)
    assert not is_about_to_end()
    assert sruns(program)


@pytest.mark.parametrize(
    ("how", "later", "due"),
    [
        # It has crashed: no signal of Slurm's has ended it.
        (b"Killed", 0, -math.inf),
        (b"Segmentation fault (core dumped)", 0, -math.inf),
        # It may have done so on TERM, which has been on its way to all since then.
        (b"Exited with exit code 1", 0, NOW + LATE_SIGNAL),
        (b"Terminated", 0, NOW + LATE_SIGNAL),
        # A step before.
        (b"Killed", SERIES + 1, NOW + SERIES + 1 + LATE_SIGNAL),
    ],
)
def test_until_when_a_signal_of_slurms_may_come(
    monkeypatch: pytest.MonkeyPatch, how: bytes, later: float, due: float
) -> None:
    monkeypatch.setattr(failed_task.time, "monotonic", lambda: NOW)
    failed = FailedTasks(0, pytest.fail)
    failed.finish()
    assert failed.signal_due(NOW) == NOW + LATE_SIGNAL
    failed.feed(b"srun: error: csx2: task 1: " + how + b"\n")
    # What was ended with it.
    failed.feed(b"srun: error: csx1: task 0: Terminated\n" + KILLED)
    assert failed.signal_due(NOW + later) == due


def test_each_step_has_its_own_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([NOW, NOW + SERIES + 1])
    monkeypatch.setattr(failed_task.time, "monotonic", lambda: next(clock))
    failed = FailedTasks(0, pytest.fail)
    failed.finish()
    failed.feed(KILLED)
    failed.feed(b"srun: error: csx1: task 0: Terminated\n")
    assert failed.signal_due(NOW + SERIES + 1) == NOW + SERIES + 1 + LATE_SIGNAL


def test_a_later_step_is_ended_too(launch: Start) -> None:
    program, reports = launch("{ ./srun ./train; ./srun ./train; }"), list[str]()
    failed = FailedTasks(program.pid, reports.append)
    first = sruns(program)
    failed.feed(KILLED)
    await_(lambda: len(reports) == 1 and not is_about_to_end(), "the end of the first")
    await_(lambda: sruns(program) not in ([], first), "the second")
    failed.feed(KILLED)
    await_(lambda: reports == [ENDED, ENDED], "the end of the second")


def test_what_is_reported_of_the_tasks_that_were_ended_ends_no_later_step(
    launch: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_task, "SETTLE", DEADLINE)
    program, reports = launch("{ ./srun ./train; ./srun ./train; }"), list[str]()
    failed = FailedTasks(program.pid, reports.append)
    first = sruns(program)
    failed.feed(KILLED)
    await_(lambda: reports and sruns(program) not in ([], first), "the second")
    failed.feed(KILLED * 2)
    assert is_about_to_end()
    failed.finish()
    await_(lambda: not is_about_to_end(), "the thread")
    assert reports == [ENDED]
    assert sruns(program)
