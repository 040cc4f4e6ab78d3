"""What is gathered about a hang, also where a node or a file system does not answer."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.core.record_reader import to_data
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.process import Completed
from slurm_restart.supervise import hang_report
from slurm_restart.supervise.hang_report import HangReporter
from slurm_restart.supervise.hang_stacks import STACKS
from slurm_restart.supervise.job_environment import JobEnvironment

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("csx1", "csx2"), num_nodes=2, node_name="csx1")


def lines(node: str, **changes: object) -> str:
    values = {
        "node": node, "pid": 7, "rank": 0, "name": "python3", "command": "python3 \x1b[2J",
        "state": "S", "threads": "S", "cpu_share": 0.0, "wait_channel": "", "system_call": "",
    }  # fmt: skip
    return f"{json.dumps(to_data(StuckProcess(**(values | changes))))}\n"


class Cluster:
    """Answers for the other nodes."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.writes = lambda: None
        self.asked: list[tuple[str, ...]] = []

    def run_on_nodes(self, _job_id: int, nodes: list[str], _command: list[str]) -> str:
        self.asked.append(tuple(nodes))
        self.writes()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers for the batch host."""
    done = Completed(code=0, stdout=lines("csx1"), stderr="")
    monkeypatch.setattr(hang_report, "run_module", lambda *_, **__: done)


def reporter(folder: Path, cluster: Cluster, warnings: list[str] | None = None) -> HangReporter:
    return HangReporter(
        job=JOB,
        reaper=1,
        directory=folder / "hang",
        slurm=lambda: cluster,  # type: ignore[arg-type,return-value]
        warn=[].append if warnings is None else warnings.append,
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("share", "busy"), [(0.0, False), (0.4, True)])
def test_processes_that_compute_on_other_nodes_are_seen(
    tmp_path: Path, share: float, busy: bool
) -> None:
    cluster = Cluster(lines("csx2", cpu_share=share))
    report = reporter(tmp_path, cluster).report("no output")
    assert [" on csx1: " in line for line in report.lines] == [True, False]
    assert cluster.asked == [("csx2",)]
    assert report.busy_elsewhere is busy


@pytest.mark.usefixtures("here")
def test_the_stacks_are_the_owners_alone(tmp_path: Path) -> None:
    cluster = Cluster(lines("csx2", stack="train (train.py:3)"))
    reporter(tmp_path, cluster).report("no output")
    file = tmp_path / "hang" / STACKS
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "train (train.py:3)" in text
    assert "\x1b" not in text


@pytest.mark.usefixtures("here")
def test_nodes_that_do_not_answer_leave_what_the_others_have_written(tmp_path: Path) -> None:
    file, text = tmp_path / "hang/csx2.jsonl", lines("csx2", state="T", cpu=2.5)
    warnings: list[str] = []
    cluster = Cluster(SlurmUnavailableError("srun: no answer"))
    cluster.writes = lambda: file.write_text(text)  # type: ignore[assignment,return-value]
    report = reporter(tmp_path, cluster, warnings).report("no output")
    assert [blame.node for blame in report.blamed] == ["csx2"]
    assert report.stopped == {("csx2", 7): 2.5}
    assert warnings == ["not all nodes can be looked at: srun: no answer"]
    # What an earlier look has written is not taken for this one.
    cluster.writes = lambda: None
    assert reporter(tmp_path, cluster, warnings).report("no output").blamed == ()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The look at the batch host does not end."""
    over = threading.Event()

    def wait(*_: object, **__: object) -> Completed:
        over.wait()
        return Completed(code=0, stdout="", stderr="")

    monkeypatch.setattr(hang_report, "run_module", wait)
    monkeypatch.setattr(hang_report, "TIMEOUT", 4.0)
    yield
    over.set()


@pytest.mark.usefixtures("endless")
def test_a_look_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    report = reporter(tmp_path, Cluster(lines("csx2"))).report("no output")
    assert [" on csx2: " in line for line in report.lines] == [True]
