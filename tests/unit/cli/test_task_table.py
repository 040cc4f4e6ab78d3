"""The table of the tasks of a job array."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from contrib.testing.json_output import read_json
from slurm_restart.cli import status
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.errors import JobNotFoundError, SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.attempt_records import to_json
from slurm_restart.trainer.rundir import RunDir
from tests.unit.cli.test_any_input import RUN, make_run_dir, plan_of

ARRAY = 120


def job(task, job_id, state, *, run=RUN, restarts=0, **report):
    record = CommentRecord(run=run, max_restarts=3, num_nodes=1, min_nodes=1, **report)
    return Job(
        job_id=job_id,
        uid=1,
        state=state,
        comment=format_comment(record),
        restarts=restarts,
        array_job_id=ARRAY,
        array_task_id=task,
    )


JOBS = (
    job(4, 122, JobState.RUNNING, restarts=2, attempt=2, step=4096, unit=ProgressUnit.BYTE),
    job(0, 121, JobState.FAILED, attempt=0, step=7),
    job(None, ARRAY, JobState.PENDING),
)

OTHER = Job(job_id=9, uid=1, state=JobState.RUNNING)


@pytest.fixture
def array(tmp_path, monkeypatch) -> Path:
    """The directory of an array whose task 0 has ended; task 10 is unknown to Slurm."""
    run = RunDir(tmp_path / "run")
    run.tasks.mkdir(parents=True)
    plan_of(run.path).save(run.plan)
    for task in (0, 10):
        make_run_dir(run.task(task).path)
    (run.tasks / "notes").mkdir()
    monkeypatch.setattr(
        Commands, "job", lambda _, job_id: next(job for job in JOBS if job.job_id == job_id)
    )
    monkeypatch.setattr(Commands, "jobs", lambda *_, **__: (*JOBS, OTHER))
    monkeypatch.setattr(Commands, "script", lambda *_: run.path / "job.sh")
    return run.path


def show(*arguments: object) -> str:
    done = CliRunner().invoke(status.command, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("by", ["job id", "directory"])
def test_the_tasks_of_an_array(array, by):
    lines = show(ARRAY if by == "job id" else array).splitlines()
    cells = [line.split(maxsplit=6) for line in lines]
    assert cells[0] == ["TASK", "JOBID", "STATE", "ATTEMPT", "STEP", "RESTARTS", "LAST END"]
    assert cells[1][:6] == ["0", "121", "FAILED", "0", "7", "0"]
    assert cells[1][6].startswith("a\\x00")  # escaped
    assert lines[2].split() == ["4", "122", "RUNNING", "2", "4096", "bytes", "2", "-"]
    assert cells[3][:6] == ["10", "-", "-", "0", "0", "0"]
    assert lines[4].split() == ["others", "120", "PENDING", "-", "-", "0", "-"]


def test_as_json(array):
    rows = read_json("status-tasks", show("--json", ARRAY))
    assert [row["task"] for row in rows] == [0, 4, 10, None]
    assert rows[0]["run_dir"] == str(array / "tasks" / "0")
    assert (rows[1]["unit"], rows[1]["step"], rows[1]["max_num_restarts"]) == ("byte", 4096, 3)


def test_restarts_in_place_are_counted(array, monkeypatch):
    """By the run directory, and of a task without one here by the job's Comment."""
    first = RunDir(array).task(10).attempts()[0]
    later = RunDir(array).task(10).new_attempt()
    later.start_file.write_bytes(to_json(replace(first.start(), attempt=1, in_place=1)))
    jobs = (*JOBS, job(5, 123, JobState.RUNNING, restarts=0, attempt=3, in_place=3))
    monkeypatch.setattr(Commands, "jobs", lambda *_, **__: jobs)
    rows = read_json("status-tasks", show("--json", ARRAY))
    assert [row["restarts"] for row in rows] == [0, 2, 3, 1, 0]


def test_slurm_does_not_answer(array, monkeypatch):
    def refuse(*_, **__):
        raise SlurmUnavailableError("no answer")

    monkeypatch.setattr(Commands, "jobs", refuse)
    assert [row["state"] for row in read_json("status-tasks", show("--json", array))] == [
        None,
        None,
    ]


@pytest.mark.usefixtures("array")
def test_slurm_has_forgotten_the_task_with_the_id_of_the_array(monkeypatch):
    def forgotten(*_):
        raise JobNotFoundError("job 120")

    monkeypatch.setattr(Commands, "job", forgotten)
    assert [row["task"] for row in read_json("status-tasks", show("--json", ARRAY))] == [
        0,
        4,
        10,
        None,
    ]


@pytest.mark.usefixtures("array")
def test_one_task_is_shown_by_itself():
    assert show("120_4").startswith("job 122: RUNNING")
    assert show(121).startswith("job 121: FAILED")
