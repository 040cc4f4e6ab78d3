"""`csx-restart list` and `nodes`: whose runs they show, from where, and which filters choose."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from contrib.bench_lists import CLUSTER
from slurm_restart.cli import explain, nodes, status
from slurm_restart.cli import list as list_module
from slurm_restart.cli.run_rows import merge_runs
from slurm_restart.control.run_index import IndexedRun
from slurm_restart.core.job import Job, JobFlag, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.run_summary import summarize
from slurm_restart.errors import JobNotFoundError, SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from tests.unit.control.test_run_index import write
from tests.unit.core.test_run_summary import DONE, END, EXCLUDED, FINAL, STARTED

ME, OTHER = 4711, 4712
RECORD = CommentRecord(
    run=f"{1:016x}", max_restarts=3, num_nodes=2, min_nodes=1, attempt=1, step=40
)


def job(job_id: int, uid: int, state: JobState, **fields) -> Job:
    record = replace(RECORD, run=f"{job_id:016x}")
    given = {"comment": format_comment(record), "partitions": ("gpu",)} | fields
    return Job(job_id=job_id, uid=uid, state=state, **given)


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The public copies of five runs of two users, of which Slurm still knows two and a third."""
    monkeypatch.setattr(os, "getuid", lambda: ME)
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)
    write(tmp_path, 1, ME, [END, EXCLUDED, STARTED])
    write(tmp_path, 2, ME, [END, STARTED, DONE, FINAL])
    write(tmp_path, 3, OTHER, [END, EXCLUDED])
    write(tmp_path, 4, OTHER, [END, STARTED, replace(DONE, nodes=("z",)), FINAL])
    (tmp_path / "journal").rename(tmp_path / "public")
    lines = {"state_dir": tmp_path / "none", "export_dir": tmp_path / "public"}
    site = tmp_path / "site.toml"
    site.write_text("".join(f'{key} = "{path}"\n' for key, path in lines.items()))
    answer(monkeypatch)
    return site


def answer(monkeypatch: pytest.MonkeyPatch, *, private: str = "none", extra=()) -> None:
    """Let Slurm answer: it hides from this user what PrivateData says."""
    jobs = [
        job(1, ME, JobState.RUNNING, nodes=("b", "c"), num_nodes=2),
        job(5, ME, JobState.PENDING, reason="Resources"),
        job(6, ME, JobState.RUNNING, comment="not managed"),
        *extra,
        *(() if "jobs" in private else (job(3, OTHER, JobState.PENDING, reason="BeginTime"),)),
    ]

    def shown(_self: object, *, uid: int | None = None) -> tuple[Job, ...]:
        return tuple(each for each in jobs if uid in (None, each.uid))

    config = {"ClusterName": CLUSTER, "PrivateData": private}
    monkeypatch.setattr(Commands, "config", lambda _self: config)
    monkeypatch.setattr(Commands, "jobs", shown)
    monkeypatch.setattr(Commands, "nodes", lambda _self: (NodeState(name="a", state="DOWN"),))


def run(command, site: Path, *args: str) -> str:
    done = CliRunner().invoke(command, [*args, "--site", str(site)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def ids(site: Path, *args: str) -> list[int]:
    return [row["job_id"] for row in json.loads(run(list_module.command, site, "--json", *args))]


def test_own_runs_finished_ones_too(public):
    rows = {row["job_id"]: row for row in json.loads(run(list_module.command, public, "--json"))}
    assert list(rows) == [1, 2, 5]
    assert (rows[1]["state"], rows[1]["step"], rows[1]["restarts"]) == ("RUNNING", 40, 1)
    assert (rows[2]["state"], rows[2]["category"]) == ("COMPLETED", "completed")
    assert (rows[5]["state"], rows[5]["reason"]) == ("PENDING", "Resources")
    assert [rows[number]["in_slurm"] for number in (1, 2, 5)] == [True, False, True]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--all",), [1, 2, 3, 4, 5]),
        (("--all", "--user", str(OTHER)), [3, 4]),
        (("--user", str(OTHER)), [3, 4]),
        (("--state", "running,PENDING"), [1, 5]),
        (("--all", "--state", "COMPLETED"), [2, 4]),
        (("--category", "completed"), [2]),
        (("--all", "--category", "hardware.node,completed"), [1, 2, 3, 4]),
        (("--all", "--partition", "gpu"), [1, 3, 5]),
        (("--partition", "other"), []),
        (("--all", "--node", "z"), [4]),
        (("--all", "--node", "c"), [1, 2]),
        (("--all", "--node", "c,z"), [1, 2, 4]),
        (("--since", "1970-01-02"), []),
        (("--since", "1970-01-01T00:00:10+00:00"), [1, 2]),
        (("--since", "1970-01-01T00:03:25+00:00"), [2]),
    ],
)
def test_filters(public, args, expected):
    assert ids(public, *args) == expected


@pytest.mark.parametrize("args", [("--all",), ("--user", str(OTHER))])
def test_what_slurm_hides_is_not_shown(public, monkeypatch, args):
    answer(monkeypatch, private="accounts,jobs,nodes")
    assert not {3, 4} & set(ids(public, *args))
    assert {1, 2} <= set(ids(public))
    shown = json.loads(run(nodes.command, public, "--all", "--json"))
    assert {each["node"] for each in shown} == {"a", "b", "c"}
    assert sum(each["times_excluded"] for each in shown) == 1


def test_an_operator_sees_what_slurm_shows(public, monkeypatch):
    answer(monkeypatch, private="jobs", extra=[job(9, OTHER, JobState.RUNNING)])
    assert ids(public, "--all") == [1, 2, 5, 9]


def test_neither_slurm_nor_a_journal_is_an_error(public, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise SlurmUnavailableError("no answer")

    for name in ("config", "jobs"):
        monkeypatch.setattr(Commands, name, refuse)
    public.write_text('state_dir = "/nonexistent"\n')
    done = CliRunner().invoke(list_module.command, ["--site", str(public)])
    assert isinstance(done.exception, SlurmUnavailableError)
    assert not done.stdout


def test_slurm_does_not_answer(public, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise SlurmUnavailableError("no answer")

    for name in ("config", "jobs", "nodes"):
        monkeypatch.setattr(Commands, name, refuse)
    done = CliRunner().invoke(list_module.command, ["--all", "--site", str(public)])
    assert done.exit_code == 0
    assert done.stderr == "csx-restart: only the journals are shown: no answer\n"
    # What PrivateData hides is not known either.
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["JOBID", "1", "2"]


@pytest.mark.usefixtures("public")
def test_without_journals_the_queue_is_shown():
    done = CliRunner().invoke(list_module.command, ["--site", "/nonexistent/site.toml"])
    assert done.exit_code == 0
    assert "no journals can be read here" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["JOBID", "1", "5"]
    done = CliRunner().invoke(nodes.command, ["--site", "/nonexistent/site.toml"])
    assert "no journals can be read here" in str(done.exception)


@pytest.mark.parametrize(
    "args",
    [
        ("--state", "ASLEEP"),
        ("--category", "hardware"),
        ("--since", "yesterday"),
        ("--node", "a[1"),
        ("--user", "no such user"),
    ],
)
def test_a_wrong_filter_is_told(public, args):
    done = CliRunner().invoke(list_module.command, [*args, "--site", str(public)])
    assert done.exit_code != 0
    assert "expected" in done.output or "no such user" in str(done.exception)


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("command", [list_module.command, nodes.command])
def test_tables_fit(public, monkeypatch, width, command):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run(command, public, "--all").splitlines()
    assert max(map(len, lines)) <= width
    whole = monkeypatch.delenv("COLUMNS") or run(command, public, "--all")
    assert set(" ".join(lines).replace("…", "").split()) <= set(whole.split())


def test_the_table_of_all_users_has_their_names(public):
    assert "USER" not in run(list_module.command, public)
    assert str(OTHER) in run(list_module.command, public, "--all")


def test_what_is_known_of_a_node(public, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = run(nodes.command, public, "--all", "--node", "a,b")
    assert "a: DOWN\n" in text
    assert "  attempts     4: 4 hardware.node\n" in text
    assert "job 1: DOWN" in text
    assert "b: not known to Slurm\n" in text
    done = CliRunner().invoke(nodes.command, ["--node", "q", "--site", str(public)])
    assert "q: no run on record has been on this node" in str(done.exception)


def test_a_job_that_completes_is_found_by_either_state(public, monkeypatch):
    completing = job(8, ME, JobState.FAILED, flags=frozenset({JobFlag.COMPLETING}))
    answer(monkeypatch, extra=[completing])
    assert ids(public, "--state", "FAILED") == [8]
    assert ids(public, "--state", "completing") == [8]


@pytest.mark.parametrize("command", [explain.command, status.command])
@pytest.mark.parametrize(
    ("job_id", "private", "shown"),
    [
        (2, "jobs", True),  # the caller's own
        (4, "none", True),
        (4, "jobs", False),
        (4, None, False),  # Slurm does not answer
    ],
)
def test_one_run_that_slurm_hides(public, monkeypatch, command, job_id, private, shown):
    """It is as if nobody knew the job, as it is for Slurm's own commands."""

    def forgotten(*_: object) -> None:
        raise JobNotFoundError("no such job") if private else SlurmUnavailableError("no answer")

    answer(monkeypatch, private=private or "none")
    for name in ("job", "script", *(() if private else ("config",))):
        monkeypatch.setattr(Commands, name, forgotten)
    done = CliRunner().invoke(command, [str(job_id), "--site", str(public)])
    if shown:
        assert done.exit_code == 0, done.exception
    else:
        assert isinstance(done.exception, JobNotFoundError | SlurmUnavailableError)


def test_the_tasks_of_an_array_are_listed_in_their_order():
    tasks = [
        job(12, ME, JobState.RUNNING, array_job_id=12, array_task_id=10),
        job(13, ME, JobState.RUNNING, array_job_id=12, array_task_id=2),
        job(9, ME, JobState.RUNNING),
        job(100, ME, JobState.RUNNING),
    ]
    assert [row.name for row in merge_runs(tasks, ())] == ["9", "12_2", "12_10", "100"]


@pytest.mark.parametrize(
    ("shown", "report", "expected"),
    [
        ({}, {"in_place": 4, "in_place_failures": 1}, (4, 1)),
        ({"restarts": 1}, {"attempt": 5, "in_place": 2}, (5, None)),
    ],
)
def test_restarts_in_place_are_counted_without_a_journal(shown, report, expected):
    record = replace(RECORD, **({"restarts": 0} | report))
    [row] = merge_runs([job(1, ME, JobState.RUNNING, comment=format_comment(record), **shown)], ())
    assert (row.restarts, row.failures) == expected


@pytest.mark.parametrize(
    ("state", "since", "expected"),
    [
        (JobState.RUNNING, 1, (4, 3)),
        # The record tells of the allocation that has ended, which the journal has.
        (JobState.RUNNING, 0, (1, 1)),
        (JobState.PENDING, 1, (1, 1)),
    ],
)
def test_restarts_in_place_since_the_journal_are_counted(state, since, expected):
    record = replace(RECORD, restarts=since, attempt=4, in_place=3, in_place_failures=2)
    shown = job(1, ME, state, comment=format_comment(record), restarts=1)
    run = IndexedRun(
        cluster=CLUSTER, job_id=1, uid=ME, run=record.run, summary=summarize([END, STARTED])
    )
    [row] = merge_runs([shown], [run])
    assert (row.restarts, row.failures) == expected


def test_when_a_waiting_job_may_start_is_no_change_of_it():
    times = {"submit_time": 50, "start_time": 5000}
    waits = job(1, ME, JobState.PENDING, **times)
    runs = job(2, ME, JobState.RUNNING, **times)
    assert [(row.began, row.changed) for row in merge_runs([waits, runs], ())] == [
        (50, 50),
        (5000, 5000),
    ]
