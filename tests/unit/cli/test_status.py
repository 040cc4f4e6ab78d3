"""What `status` and `explain` write, and what they say about stopping a run."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from contrib.testing.json_output import read_json
from slurm_restart.cli import explain, status
from slurm_restart.cli.stop_advice import stop_advice
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import CsxError, JobNotFoundError, SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.attempt_records import AttemptEnd, Measured, Saved, to_json, to_line
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from tests.unit.cli.test_any_input import OWNER, RUN, make_run_dir

RECORD = CommentRecord(run=RUN, max_restarts=1, num_nodes=1, min_nodes=1)


def job(state=JobState.FAILED, *, completing=False, **fields):
    return Job(
        job_id=7,
        uid=1,
        state=state,
        flags=frozenset({JobFlag.COMPLETING} if completing else ()),
        comment=format_comment(RECORD),
        **fields,
    )


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """The run directory of a failed job whose supervisor wrote no end record."""
    run = make_run_dir(tmp_path / "run")
    run.attempts()[0].end_file.unlink()
    (run.path / "job.sh").touch()
    monkeypatch.setattr(Commands, "job", lambda *_: job())
    monkeypatch.setattr(Commands, "script", lambda *_: run.path / "job.sh")
    monkeypatch.setattr(Commands, "cluster_facts", lambda *_: ClusterFacts())
    return run


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


COMMANDS = pytest.mark.parametrize("command", [status.command, explain.command])
TARGETS = pytest.mark.parametrize("by", ["job id", "directory"])


def invoke(command, run_dir: RunDir, by: str) -> str:
    target = "7" if by == "job id" else str(run_dir.path)
    done = CliRunner().invoke(command, [target])
    assert done.exit_code == 0, done.output
    return done.output


@COMMANDS
@TARGETS
def test_the_owner_completes_the_records(run_dir, monkeypatch, command, by):
    owner = OWNER if os.geteuid() == 0 else os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    invoke(command, run_dir, by)
    assert run_dir.attempts()[0].end_file.is_file()
    assert run_dir.summary.is_file()
    assert run_dir.log.is_file()


@COMMANDS
@TARGETS
@pytest.mark.parametrize("owned", [True, False])
def test_root_reads_and_writes_nothing(run_dir, monkeypatch, command, by, owned):
    if owned and os.getuid() == 0:
        os.chown(run_dir.path, 0, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = content(run_dir.path)
    assert "job 7" in invoke(command, run_dir, by)
    assert content(run_dir.path) == before


@COMMANDS
def test_root_follows_no_link_that_a_user_swaps_in_while_it_writes(run_dir, monkeypatch, command):
    """The directory is root's when its owner is looked at, and a link to root's files later."""
    target, checked = run_dir.path.with_name("of-root"), run_dir.path.with_name("moved")
    (target / "attempts" / "0").mkdir(parents=True)
    for name in ("plan.json", "attempts/0/start.json"):
        (target / name).write_bytes((run_dir.path / name).read_bytes())
    before = content(target)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if os.getuid() == 0:
        os.chown(run_dir.path, 0, -1)
    stat = Path.stat

    def swap(path, **options):
        found = stat(path, **options)
        if path == run_dir.path and not checked.exists():
            path.rename(checked)
            path.symlink_to(target)
        return found

    monkeypatch.setattr(Path, "stat", swap)
    invoke(command, run_dir, "job id")
    # Had root asked for the owner, the exchange would have followed: here it comes anyway.
    swap(run_dir.path)
    invoke(command, run_dir, "job id")
    monkeypatch.undo()
    assert content(target) == before


@COMMANDS
def test_another_user_writes_nothing(run_dir, monkeypatch, command):
    monkeypatch.setattr(os, "geteuid", lambda: OWNER + 1)
    before = content(run_dir.path)
    invoke(command, run_dir, "directory")
    assert content(run_dir.path) == before


@pytest.mark.parametrize(
    ("shown", "advice"),
    [
        # scancel does what everybody expects.
        (job(JobState.RUNNING), None),
        (job(JobState.PENDING), None),
        (job(JobState.FAILED), None),
        (job(JobState.CANCELLED, completing=True), None),
        (job(JobState.COMPLETED, completing=True), None),
        # Slurm ignores it: before 24.11 only COMPLETING is known, later the base state too.
        (job(None, completing=True), "`csx-restart cancel 7` repeats it"),
        (job(JobState.FAILED, completing=True), "`csx-restart cancel 7` repeats it"),
        # Requeued, so that it works again.
        (job(JobState.PENDING, completing=True), "`scancel 7` ends the run"),
        (job(JobState.PENDING, restarts=1), "`scancel 7` ends the run"),
        (job(JobState.PENDING, reason="DependencyNeverSatisfied"), "the controller cancels this"),
        (
            replace(
                job(JobState.PENDING, reason="DependencyNeverSatisfied"),
                comment=format_comment(replace(RECORD, self_requeue=True)),
            ),
            "this one never starts: `scancel 7` ends it",
        ),
    ],
)
def test_how_to_stop_a_run_for_certain(run_dir, monkeypatch, shown, advice):
    monkeypatch.setattr(Commands, "job", lambda *_: shown)
    found = stop_advice(shown)
    assert (found is None) if advice is None else (advice in found)
    for command in (status.command, explain.command):
        lines = [
            line for line in invoke(command, run_dir, "job id").splitlines() if "to stop it" in line
        ]
        assert len(lines) == (advice is not None)
        assert all(advice in line for line in lines)


@pytest.mark.parametrize(
    ("shown", "changes", "can"),
    [
        (job(JobState.FAILED), {}, True),
        (job(JobState.CANCELLED), {}, True),
        (job(JobState.COMPLETED), {}, False),
        (job(JobState.RUNNING), {}, False),
        (job(JobState.FAILED, completing=True), {}, False),
        (job(JobState.FAILED), {"policy": None}, False),
        (job(JobState.FAILED), {"array": "1-3"}, False),
        (replace(job(JobState.FAILED), job_id=6), {}, False),
    ],
)
def test_how_a_run_that_has_ended_is_taken_up(run_dir, monkeypatch, shown, changes, can):
    plan = RunPlan.load(run_dir.plan)
    replace(plan, **changes).save(run_dir.plan)
    monkeypatch.setattr(Commands, "job", lambda *_: shown)
    text = invoke(status.command, run_dir, "job id")
    assert ("  to go on       csx-restart resume 7\n" in text) is can


@pytest.mark.parametrize(
    ("unit", "shown"), [(ProgressUnit.STEP, "4096\n"), (ProgressUnit.BYTE, "4096 bytes\n")]
)
def test_the_step_is_shown_with_its_unit(run_dir, monkeypatch, unit, shown):
    record = replace(RECORD, step=4096, unit=unit)
    shown_job = replace(job(JobState.RUNNING), comment=format_comment(record))
    monkeypatch.setattr(Commands, "job", lambda *_: shown_job)
    assert f"  step           {shown}" in invoke(status.command, run_dir, "job id")


@COMMANDS
@pytest.mark.parametrize("target", ["999", "99_1"])
@pytest.mark.parametrize(
    ("error", "code"), [(JobNotFoundError("999"), 5), (SlurmUnavailableError("no answer"), 75)]
)
def test_an_unknown_id_ends_alike_everywhere(monkeypatch, command, target, error, code):
    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("job", "script"):
        monkeypatch.setattr(Commands, name, refuse)
    monkeypatch.setattr(Commands, "jobs", refuse if code == 75 else lambda *_, **__: ())
    done = CliRunner().invoke(command, [target, "--site", "/nonexistent"])
    assert isinstance(done.exception, CsxError)
    assert done.exception.exit_code == code


@COMMANDS
@pytest.mark.usefixtures("run_dir")
@pytest.mark.parametrize(
    ("mode", "itself", "told"),
    [("observe", False, True), ("observe", True, False), ("act", False, False)],
)
def test_observe_mode_is_said(monkeypatch, tmp_path, command, mode, itself, told):
    """Of a job that requeues itself nothing depends on the site's mode."""
    record = replace(RECORD, self_requeue=itself)
    shown = replace(job(JobState.RUNNING), comment=format_comment(record))
    monkeypatch.setattr(Commands, "job", lambda *_: shown)
    site = tmp_path / "site.toml"
    site.write_text(f'mode = "{mode}"\n')
    options = ["7", "--site", str(site)]
    text = CliRunner().invoke(command, options).output
    assert ("observe: the site judges ends and restarts nothing" in text) is told
    data = json.loads(CliRunner().invoke(command, [*options, "--json"]).output)
    assert data["observed"] is told


def test_observe_mode_is_said_below_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(Commands, "jobs", lambda *_, **__: [job(JobState.RUNNING)])
    site = tmp_path / "site.toml"
    site.write_text('mode = "observe"\n')
    options = ["--backend", "commands", "--site", str(site)]
    done = CliRunner().invoke(status.command, options)
    assert "mode observe" in done.stderr
    done = CliRunner().invoke(status.command, [*options, "--json"])
    [row] = read_json("status-runs", done.stdout)
    assert row["observed"] is True


@pytest.mark.parametrize(
    ("saved", "recorded", "unit", "shown"),
    [
        ((10, 30), 10, ProgressUnit.STEP, 30),
        ((10, 30), None, ProgressUnit.STEP, 30),
        ((), 10, ProgressUnit.STEP, 10),
        # A network file system may show this host an older state.
        ((10,), 30, ProgressUnit.STEP, 30),
        # What was measured in another unit is not compared.
        ((10, 30), 4096, ProgressUnit.BYTE, 4096),
    ],
)
def test_the_run_directory_tells_the_step_sooner_than_the_comment(
    run_dir, monkeypatch, saved, recorded, unit, shown
):
    attempt = run_dir.attempts()[0]
    lines = (to_line(Saved(at=1.0, step=step, path=f"/ckpt/{step}")) for step in saved)
    attempt.progress_file.write_text("".join(f"{line}\n" for line in lines))
    record = replace(RECORD, attempt=0, step=recorded, unit=unit)
    shown_job = replace(job(JobState.RUNNING), comment=format_comment(record))
    monkeypatch.setattr(Commands, "job", lambda *_: shown_job)
    done = CliRunner().invoke(status.command, ["7", "--json"])
    told = read_json("status", done.stdout)
    assert (told["step"], told["unit"], told["attempt"]) == (shown, unit.value, 0)


def test_an_attempt_that_the_comment_does_not_tell_yet_is_shown(run_dir, monkeypatch):
    """Slurm may refuse to change the Comment of a job that has lost a node."""
    first = run_dir.attempts()[0].start()
    later = run_dir.new_attempt()
    later.start_file.write_bytes(to_json(replace(first, attempt=1, measured=True)))
    later.measured_file.write_bytes(to_json(Measured(at=1.0, step=70)))
    record = replace(RECORD, attempt=0, step=50)
    shown_job = replace(job(JobState.RUNNING), comment=format_comment(record))
    monkeypatch.setattr(Commands, "job", lambda *_: shown_job)
    told = read_json("status", CliRunner().invoke(status.command, ["7", "--json"]).stdout)
    assert (told["attempt"], told["step"]) == (1, 70)


def test_a_job_that_takes_up_a_run_has_no_attempt_before_its_own(run_dir, monkeypatch):
    first = run_dir.attempts()[0].start()
    run_dir.attempts()[0].start_file.write_bytes(to_json(replace(first, job_id=6)))
    waits = replace(job(JobState.PENDING), comment=format_comment(RECORD))
    monkeypatch.setattr(Commands, "job", lambda *_: waits)
    told = read_json("status", CliRunner().invoke(status.command, ["7", "--json"]).stdout)
    assert (told["attempt"], told["step"]) == (None, None)


def add_attempts(run_dir: RunDir, *, in_place: int) -> None:
    """Let the first attempt of a run directory be followed by some in place; the last one runs."""
    first = run_dir.attempts()[0].start()
    end = AttemptEnd(attempt=0, at=2.0, category="unknown", rule="r", reason="x", progress=False)
    for number in range(in_place + 1):
        attempt = run_dir.new_attempt() if number else run_dir.attempts()[0]
        start = replace(first, attempt=number, in_place=number)
        attempt.start_file.write_bytes(to_json(start))
        if number < in_place:
            attempt.end_file.write_bytes(to_json(replace(end, attempt=number)))


@pytest.mark.parametrize("itself", [True, False])
def test_without_a_journal_the_run_directory_counts(run_dir, monkeypatch, itself):
    """The Comment is late, as Slurm may refuse to change it."""
    plan = RunPlan.load(run_dir.plan)
    policy = replace(plan.policy, max_restarts=5, recovery=Recovery.AUTO, self_requeue=itself)
    replace(plan, policy=policy).save(run_dir.plan)
    add_attempts(run_dir, in_place=2)
    record = replace(RECORD, max_restarts=5, self_requeue=itself, attempt=1, in_place=1, restarts=0)
    shown_job = replace(job(JobState.RUNNING, restarts=1), comment=format_comment(record))
    monkeypatch.setattr(Commands, "job", lambda *_: shown_job)
    told = read_json("status", CliRunner().invoke(status.command, ["7", "--json"]).stdout)
    assert [told[key] for key in ("restarts", "in_place", "failures")] == [3, 2, 2]
    text = invoke(status.command, run_dir, "job id")
    assert "restarts       3, 2 of them in place; 2 of 5 without progress\n" in text
    who = "requeues the job" if itself else "the hook requeues it"
    assert f"restarts it in place, or else {who}: 3 more in a row without progress\n" in text


def forgotten(*_: object) -> None:
    raise JobNotFoundError("7")


def test_a_run_that_slurm_has_forgotten_keeps_its_restarts(run_dir, monkeypatch):
    monkeypatch.setattr(Commands, "job", forgotten)
    add_attempts(run_dir, in_place=1)
    target = [str(run_dir.path), "--json"]
    told = read_json("status", CliRunner().invoke(status.command, target).stdout)
    assert (told["restarts"], told["in_place"], told["state"]) == (1, 1, None)


@pytest.mark.parametrize(
    ("decision", "after"),
    [
        ("leave (2 ends in a row (1 in place))", ": 2 ends in a row (1 in place)\n"),
        ("cancel (a wrong config)", ": a wrong config\n"),
        ("requeue (unknown: after progress)", "\n"),
        ("", "\n"),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_why_a_run_has_ended_without_a_journal(run_dir, monkeypatch, decision, after, is_known):
    end = AttemptEnd(attempt=0, at=2.0, category="unknown", rule="r", reason="x")
    record = to_json(replace(end, expected_decision=decision))
    run_dir.attempts()[0].end_file.write_bytes(record)
    if not is_known:
        monkeypatch.setattr(Commands, "job", forgotten)
    text = invoke(status.command, run_dir, "directory")
    assert f"  next           nothing: the run has ended{after}" in text


def test_an_end_before_those_of_the_job_itself_is_not_its_end(run_dir, monkeypatch):
    attempt = run_dir.attempts()[0]
    attempt.start_file.write_bytes(to_json(replace(attempt.start(), job_id=6)))
    end = AttemptEnd(attempt=0, at=2.0, category="unknown", rule="r", reason="x")
    attempt.end_file.write_bytes(to_json(replace(end, expected_decision="leave (x)")))
    monkeypatch.setattr(Commands, "job", lambda *_: job(JobState.CANCELLED))
    assert "nothing: the run has ended\n" in invoke(status.command, run_dir, "job id")


def test_a_cluster_that_has_lost_its_hook_is_told(run_dir, monkeypatch):
    monkeypatch.setattr(Commands, "cluster_facts", lambda *_: ClusterFacts(has_epilog=False))
    monkeypatch.setattr(Commands, "job", lambda *_: job(JobState.RUNNING))
    text = invoke(status.command, run_dir, "job id")
    assert "nobody restarts it: no hook: EpilogSlurmctld is not set; if it loses" in text


def test_the_last_compile_of_each_size_is_shown(run_dir: RunDir) -> None:
    base = {"at": 1.0, "attempt": 0, "seconds": 7.0, "config": "x"}
    records = [
        {"nodes": 2, "num_csx": 2, "outcome": "failed", "reason": "exit code 1"},
        {"nodes": 3, "num_csx": 3, "outcome": "refused", "reason": "no placement"},
        {"nodes": 2, "num_csx": 2, "outcome": "compiled", "reason": ""},
    ]
    run_dir.compiles.write_text("".join(f"{json.dumps(base | one)}\n" for one in records))
    done = CliRunner().invoke(status.command, [str(run_dir.path), "--json"])
    assert [(one["num_csx"], one["outcome"]) for one in json.loads(done.output)["compiles"]] == [
        (3, "refused"),
        (2, "compiled"),
    ]
