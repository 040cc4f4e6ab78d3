import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.supervise.backfill import backfill, backfill_earlier
from slurm_restart.trainer import runlog
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, Saved, to_json, to_line
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir
from tests.unit.core.expected_causes import EXIT_ROWS, STATE_ROWS

OWNER = 4711


@pytest.fixture
def job(run):
    return Job(
        job_id=7,
        uid=1,
        state=JobState.RUNNING,
        comment=format_comment(run.plan.comment_record),
        end_time=2000,
    )


@pytest.fixture(autouse=True)
def owner(run, monkeypatch):
    """Make the caller the owner of the run directory and not root, whoever runs the tests."""
    if os.geteuid() == 0:
        os.chown(run.dir.path, OWNER, -1)
        monkeypatch.setattr(os, "geteuid", lambda: OWNER)


def attempt(run, *, ended=False, saved=(), from_step=10, resumed=False):
    made = run.dir.new_attempt()
    start = AttemptStart(
        attempt=made.number,
        at=1000.0,
        job_id=7,
        restarts=made.number,
        nodes=("csx1",),
        num_csx=2,
        checkpoint=None,
        from_step=from_step,
        resumed=resumed,
        first_step=0,
        last_step=None,
    )
    made.start_file.write_bytes(to_json(start))
    lines = [to_line(Saved(at=1001.0, step=step, path=f"/m/{step}")) for step in saved]
    made.progress_file.write_text("".join(f"{line}\n" for line in lines))
    if ended:
        end = AttemptEnd(attempt=made.number, at=1002.0, category="code", rule="r", reason="own")
        made.end_file.write_bytes(to_json(end))
    return made


def test_a_new_attempt_backfills_those_before_it(run):
    attempt(run, ended=True)
    attempt(run, saved=(20, 30))
    attempt(run)
    attempt(run)
    first, second = backfill_earlier(run.dir, before=3, now=3000.0).ends
    assert (first.attempt, first.step, first.progress) == (1, 30, True)
    # Whether it wrote a checkpoint that is not on record is not known.
    assert (second.attempt, second.step, second.progress) == (2, 10, None)
    assert first.backfilled
    assert run.dir.attempts()[0].end().reason == "own"
    assert run.dir.attempts()[3].end() is None
    assert backfill_earlier(run.dir, before=3, now=3000.0).ends == ()
    assert run.log().count("no exit record was written") == 2


@pytest.mark.parametrize(
    ("found", "step", "progress"), [(40, 40, True), (30, 30, True), (10, 10, False)]
)
def test_what_the_next_attempt_found_was_saved_by_the_one_before(run, found, step, progress):
    attempt(run, saved=() if found == 10 else (20, 30))
    attempt(run, from_step=found, resumed=True)
    (end,) = backfill_earlier(run.dir, before=1, now=3000.0).ends
    assert (end.step, end.progress) == (step, progress)


@pytest.mark.parametrize(
    ("state", "flags", "count"),
    [
        (JobState.RUNNING, (), 0),
        (JobState.SUSPENDED, (), 0),
        (JobState.FAILED, (JobFlag.COMPLETING,), 0),
        (None, (JobFlag.COMPLETING,), 0),
        (JobState.PENDING, (), 1),
        (JobState.FAILED, (), 1),
    ],
)
def test_the_newest_attempt_is_left_alone_while_it_may_run(run, job, state, flags, count):
    attempt(run)
    now = replace(job, state=state, flags=frozenset(flags))
    assert len(backfill(run.dir, now, now=3000.0).ends) == count


@pytest.mark.parametrize(
    ("state", "category", "status"),
    [
        (JobState.CANCELLED, "cancelled", "non_recoverable_failure"),
        (JobState.TIMEOUT, "timeout", "failed"),
        (JobState.NODE_FAIL, "hardware.node", "failed"),
        (JobState.OUT_OF_MEMORY, "oom_host", "failed"),
        (JobState.FAILED, "unknown", "failed"),
        (JobState.COMPLETED, "completed", "success"),
    ],
)
def test_the_end_record_of_a_final_job_follows_from_slurms_facts(run, job, state, category, status):
    attempt(run)
    over = replace(job, state=state, reason="Why", exit_code=3, signal=0)
    done = backfill(run.dir, over, now=3000.0)
    assert [one.category for one in done.ends] == [category]
    (entry,) = run.summary()["runs"]
    assert (entry["status"], entry["settled_afterwards"]) == (status, True)
    assert done.job_end == f"job 7 has ended: {state.value}, Why"
    assert run.log().count("[main]") == 1
    assert not backfill(run.dir, over, now=3001.0).changed
    assert run.log().count("[main]") == 1


def backfilled_cause(run, job, **ended):
    attempt(run)
    (end,) = backfill(run.dir, replace(job, **ended), now=3000.0).ends
    return end.rule, end.category, end.confidence


@pytest.mark.parametrize("name", [state.value for state in JobState if state.value in STATE_ROWS])
def test_the_cause_of_a_final_state_is_the_one_of_the_table(run, job, name):
    assert backfilled_cause(run, job, state=JobState(name), exit_code=1) == STATE_ROWS[name]


@pytest.mark.parametrize(("code", "signal"), EXIT_ROWS)
def test_the_cause_of_a_failed_job_follows_from_its_exit_status(run, job, code, signal):
    failed = {"state": JobState.FAILED, "exit_code": code, "signal": signal}
    assert backfilled_cause(run, job, **failed) == EXIT_ROWS[code, signal]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.PENDING])
@pytest.mark.parametrize("rule", ["storage.full", None])
def test_the_cause_that_the_supervisor_has_reported_to_slurm_counts(run, job, state, rule):
    """It could not write its records, as the file system was full."""
    report = replace(
        run.plan.comment_record,
        attempt=0,
        ended=True,
        exit=139,
        cause=Category.STORAGE_FULL,
        rule=rule,
    )
    ended = {"state": state, "exit_code": 139, "comment": format_comment(report)}
    expected = (rule or "job.reported", "storage.full", "likely")
    assert backfilled_cause(run, job, **ended) == expected
    (entry,) = run.summary()["runs"]
    assert entry["status"] == "non_recoverable_failure"


@pytest.mark.parametrize("change", [{"attempt": 1}, {"ended": False}])
def test_the_report_of_another_attempt_or_of_none_tells_no_cause(run, job, change):
    report = replace(run.plan.comment_record, attempt=0, ended=True, cause=Category.STORAGE_FULL)
    comment = format_comment(replace(report, **change))
    ended = {"state": JobState.FAILED, "exit_code": 139, "comment": comment}
    assert backfilled_cause(run, job, **ended)[:2] == ("exit.crash", "software.crash")


def test_the_hooks_announcement_is_the_reason(run, job):
    attempt(run)
    requeued = replace(
        job, state=JobState.PENDING, admin_comment="own text csx-restart: restart 1/2, csx3 down"
    )
    (end,) = backfill(run.dir, requeued, now=3000.0).ends
    assert end.reason == "no exit record was written: restart 1/2, csx3 down"


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": 8},
        {"comment": "somebody else's"},
        {"comment": "csx-restart/1 run=fedcba9876543210;max=1;num=1;min=1"},
    ],
)
def test_another_job_of_the_same_number_backfills_nothing(run, job, change):
    attempt(run)
    other = replace(job, state=JobState.FAILED, **change)
    assert not backfill(run.dir, other, now=3000.0).changed


def test_without_slurm_the_earlier_attempts_are_backfilled(run):
    attempt(run)
    attempt(run)
    assert [one.attempt for one in backfill(run.dir, None, now=3000.0).ends] == [0]


def test_a_damaged_end_record_is_renamed_and_reported(run, job):
    path = attempt(run).end_file
    path.write_text("{")
    path.with_name("end.json.corrupt-3000").write_text("an earlier one")
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert len(done.ends) == 1
    assert path.with_name("end.json.corrupt-3000").read_text() == "an earlier one"
    assert path.with_name("end.json.corrupt-3001").read_text() == "{"
    damage, renamed = done.problems
    assert damage.startswith(f"{path}: expected JSON")
    assert renamed == f"{path}: renamed to end.json.corrupt-3001, and written anew"
    assert all(problem in run.log() for problem in done.problems)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("x")])
def test_an_end_record_that_is_no_file_stays_and_is_reported(run, job, make):
    first, second = attempt(run), attempt(run)
    make(first.end_file)
    before = first.end_file.lstat()
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert [end.attempt for end in done.ends] == [second.number]
    assert any("attempt 0: no end record written" in problem for problem in done.problems)
    assert first.end_file.lstat() == before


@pytest.mark.parametrize("name", ["attempts", "attempts/0"])
def test_nothing_is_written_through_a_symbolic_link(run, job, name, tmp_path):
    attempt(run)
    path, elsewhere = run.dir.path / name, tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    try:
        done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    except OSError as error:  # the attempts cannot be listed
        problem = str(error)
    else:
        assert done.ends == ()
        [problem] = done.problems
    assert sorted(elsewhere.rglob("*")) == before
    assert f"expected a directory, no link: Not a directory: '{path}'" in problem


@pytest.mark.parametrize("user", [0, OWNER + 1])
def test_root_and_other_users_write_nothing(run, job, user, monkeypatch):
    attempt(run)
    before = sorted(run.dir.path.rglob("*"))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(PermissionError, match="expected"):
        backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert sorted(run.dir.path.rglob("*")) == before


def test_a_run_directory_that_is_exchanged_for_a_link_meanwhile(run, job, tmp_path, monkeypatch):
    attempt(run)
    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    shutil.copytree(run.dir.path, elsewhere)
    before = sorted(elsewhere.rglob("*"))
    load = RunPlan.load

    def exchange(path):
        plan = load(path)
        run.dir.path.rename(moved)
        run.dir.path.symlink_to(elsewhere)
        return plan

    monkeypatch.setattr(RunPlan, "load", exchange)
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert done.job_end == "job 7 has ended: FAILED"
    assert sorted(elsewhere.rglob("*")) == before
    assert {"run.log", "summary.json"} <= {path.name for path in moved.iterdir()}
    assert (moved / "attempts/0/end.json").is_file()


def test_lines_of_checkpoints_that_cannot_be_read_are_reported(run, job):
    path = attempt(run, saved=(20, 30)).progress_file
    path.write_text(path.read_text() + '{"at": 1, "st')
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert done.ends[0].step == 30
    [problem] = done.problems
    assert problem.startswith(f"{path}:3: expected JSON")
    assert problem in run.log()


def test_a_record_that_another_process_writes_meanwhile_stays(run, job, monkeypatch):
    path = attempt(run, ended=True).end_file
    monkeypatch.setattr(AttemptDir, "end", lambda _: None)
    before = path.read_bytes()
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert (done.ends, path.read_bytes()) == ((), before)


def test_a_run_log_that_cannot_be_written_is_reported(run, job):
    attempt(run)
    run.dir.log.unlink(missing_ok=True)
    run.dir.log.mkdir()
    done = backfill(run.dir, replace(job, state=JobState.FAILED), now=3000.0)
    assert len(done.ends) == 1
    assert [problem.partition(":")[0] for problem in done.problems] == ["run.log", "run.log"]
    assert run.summary()["runs"]


def test_an_end_with_control_characters_is_logged_once(run, job):
    attempt(run)
    over = replace(job, state=JobState.FAILED, reason="a\x1b[2J\nb")
    assert backfill(run.dir, over, now=3000.0).job_end == r"job 7 has ended: FAILED, a\x1b[2J\nb"
    assert not backfill(run.dir, over, now=3001.0).changed


def test_an_end_that_run_log_does_not_tell_is_added_once(run, job):
    """Its supervisor was killed between the record and the line."""
    attempt(run, ended=True)
    attempt(run, ended=True)
    run.dir.log.write_text(f"{runlog.line('run_1', 'ended as code: own', at=1002.0)}\n")
    backfill_earlier(run.dir, before=2, now=3000.0)
    backfill(run.dir, replace(job, state=JobState.FAILED))
    told = [line for line in run.log().splitlines() if "ended as code: own" in line]
    assert [line.split()[0] for line in told] == ["[run_1]", "[run_2]"]


def test_the_decision_on_record_is_told_with_it(run):
    made = attempt(run)
    end = AttemptEnd(
        attempt=0, at=1002.0, category="code", rule="r", reason="own", expected_decision="leave (x)"
    )
    made.end_file.write_bytes(to_json(end))
    backfill_earlier(run.dir, before=1, now=3000.0)
    assert "ended as code: own; decision on record: leave (x)" in run.log()


def test_an_end_that_was_put_on_record_afterwards_is_told_once(run, job):
    attempt(run)
    backfill(run.dir, replace(job, state=JobState.FAILED, end_time=2000))
    backfill(run.dir, replace(job, state=JobState.FAILED, end_time=2000))
    assert run.log().count("no exit record was written") == 1
    assert "ended as" not in run.log()
