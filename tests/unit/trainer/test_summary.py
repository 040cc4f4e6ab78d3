import json
from dataclasses import replace

import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, to_json
from slurm_restart.trainer.run_plan import (
    CheckpointLayout,
    LoopFacts,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.rundir import RunDir

PLAN = RunPlan(
    run="0123456789abcdef",
    phase=1,
    phases=2,
    mode=Mode.FIT,
    num_nodes=4,
    min_nodes=1,
    num_csx=8,
    csx_per_node=2,
    policy=RestartPolicy(max_restarts=3),
    command="true",
    arguments=(),
    model_dir="/m",
    work_dir="/w",
    config_path="/w/trainer.yaml",
    checkpoint=CheckpointLayout(directory="/m", pattern=r"(?P<step>\d+)"),
    checkpoint_steps=10,
    initial_checkpoint=None,
    autoload_last_checkpoint=True,
    loop=LoopFacts(),
    slurm=SlurmAccess(bin_dir="/usr/bin"),
)
# The names that tools made for the vendor's summary read.
TOP = {"workflow_id", "max_num_restarts", "min_num_csx", "runs"}
RUN = {
    "artifact_dir",
    "start_time",
    "end_time",
    "status",
    "failure_reason",
    "starting_step",
    "ending_step",
    "compile_job_ids",
    "execute_job_ids",
    "steps_progressed",
    "loaded_trainer_state_file",
    "num_csx",
    "nan_checker_enabled",
}


def add(run: RunDir, *, step: int | None, from_step: int | None = 0, ended: bool = True, **end):
    attempt = run.new_attempt()
    start = AttemptStart(
        attempt=attempt.number,
        at=1_764_000_000.0,
        job_id=7,
        restarts=attempt.number,
        nodes=("csx1",),
        num_csx=2,
        checkpoint=None,
        from_step=from_step,
        resumed=False,
        first_step=0,
        last_step=None,
    )
    attempt.start_file.write_bytes(to_json(start))
    if ended:
        given = {"category": "unknown", "reason": "why", "rule": "r"} | end
        record = AttemptEnd(attempt=attempt.number, at=1_764_000_001.0, step=step, **given)
        attempt.end_file.write_bytes(to_json(record))
    return attempt


def test_the_summary_has_the_vendors_and_our_names(tmp_path):
    run = RunDir(tmp_path)
    add(run, step=20)
    add(run, step=20, from_step=20, recoverable=False, category="code")
    add(run, step=100, from_step=20, category="completed", reason="")
    add(run, step=None, ended=False)
    data = summary.summarize(PLAN, run)
    assert set(data) >= TOP
    assert (data["max_num_restarts"], data["min_num_csx"]) == (3, 2)
    assert all(set(item) >= RUN for item in data["runs"])
    assert [item["status"] for item in data["runs"]] == [
        "failed",
        "non_recoverable_failure",
        "success",
    ]
    assert [item["steps_progressed"] for item in data["runs"]] == [20, 0, 80]
    assert data["running"]["attempt"] == 3
    json.dumps(data)


def test_only_a_resumed_attempt_has_loaded_an_earlier_state(tmp_path):
    """As in the vendor's wrapper; `checkpoint` says in both what was loaded."""
    run = RunDir(tmp_path)
    for resumed in (False, True):
        attempt = add(run, step=20)
        start = replace(attempt.start(), checkpoint="/m/checkpoint_10.mdl", resumed=resumed)
        attempt.start_file.write_bytes(to_json(start))
    runs = summary.summarize(PLAN, run)["runs"]
    assert [one["loaded_trainer_state_file"] for one in runs] == [None, "/m/checkpoint_10.mdl"]
    assert {one["checkpoint"] for one in runs} == {"/m/checkpoint_10.mdl"}


@pytest.mark.parametrize("mode", [Mode.VALIDATE, Mode.VALIDATE_ALL])
def test_an_evaluation_starts_at_step_0(tmp_path, mode):
    run = RunDir(tmp_path)
    add(run, step=None, from_step=None)
    (one,) = summary.summarize(replace(PLAN, mode=mode), run)["runs"]
    assert (one["starting_step"], one["ending_step"], one["steps_progressed"]) == (0, 0, 0)


def test_attempts_are_numbered_from_1_in_the_log():
    assert [runlog.run_name(attempt) for attempt in (0, 1)] == ["run_1", "run_2"]


@pytest.mark.parametrize(
    ("from_step", "step", "ending", "progressed"),
    [(None, None, None, None), (5, None, 5, 0), (None, 7, 7, None), (9, 7, 7, 0)],
)
def test_steps_that_are_not_known(tmp_path, from_step, step, ending, progressed):
    run = RunDir(tmp_path)
    add(run, step=step, from_step=from_step)
    (run_data,) = summary.summarize(PLAN, run)["runs"]
    assert (run_data["ending_step"], run_data["steps_progressed"]) == (ending, progressed)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\udcff"])
def test_a_damaged_file_is_kept_beside_the_new_one(tmp_path, content):
    run = RunDir(tmp_path)
    add(run, step=20)
    data = content.encode("utf-8", "surrogateescape")
    run.summary.write_bytes(data)
    aside = summary.write(PLAN, run, at=5.0)
    assert aside == tmp_path / "summary.json.corrupt-5"
    assert aside.read_bytes() == data
    assert len(json.loads(run.summary.read_text())["runs"]) == 1
    assert summary.write(PLAN, run, at=6.0) is None


def test_a_line_of_the_log_is_one_line(tmp_path):
    text = runlog.line("run_2", "a\nb\x1b[31m\u2028c", at=0.25, level="ERROR")
    assert text.startswith("[run_2] ")
    assert text.endswith(r",250 ERROR:   a\nb\x1b[31m\u2028c")
    for _ in range(2):
        runlog.append(tmp_path / "run.log", text)
    assert (tmp_path / "run.log").read_text() == f"{text}\n{text}\n"


def test_the_summary_of_a_script_has_no_words_of_configs(tmp_path):
    run = RunDir(tmp_path)
    add(run, step=20)
    add(run, step=None, ended=False)
    plan = replace(PLAN, mode=Mode.SCRIPT, config_path="/w/job.sh", array_task=3)
    data = summary.summarize(plan, run)
    assert data["script"] == "/w/job.sh"
    assert data["run_id"] == plan.run_id != plan.run
    assert data["runs"][0]["steps_progressed"] == 20
    text = json.dumps(data)
    for word in ('csx"', "num_csx", "config", "phase", "nan_checker", "compile", "trainer_state"):
        assert word not in text, word
