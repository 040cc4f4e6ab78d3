"""Checkpoints at a URL, from the settings to the plan."""

import json

import pytest

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.format_plan import plan_json, plan_text
from slurm_restart.trainer.run_plan import RunPlan
from tests.unit.submit.conftest import CONFIG

REMOTE = CONFIG.replace("{steps: 10}", "{steps: 10, checkpoint_root: s3://bucket/run/}")


def slurm(block, config=CONFIG):
    return f"slurm: {{checkpoint: {block}}}\n{config}"


def test_the_root_of_the_config(submission, tmp_path):
    done = submission(config=REMOTE)
    plan = done.jobs[0].plan
    assert (plan.checkpoint.directory, plan.checkpoint.is_remote) == ("s3://bucket/run", True)
    assert plan.checkpoint.written == "checkpoint_{step}.mdl"
    plan.save(tmp_path / "plan.json")
    assert RunPlan.load(tmp_path / "plan.json") == plan
    line = "line such as 'Saved checkpoint s3://bucket/run/checkpoint_{step}.mdl'"
    assert done.notes[-1] == (
        f"nothing in s3://bucket/run is read: each {line} in the output shows a checkpoint; "
        "what was there before the run is not used"
    )
    assert done.warnings == ()
    assert "'s3://bucket/run', 'checkpoint_{step}.mdl', as the output says" in plan_text(done)
    shown = json.loads(plan_json(done))["phases"][0]["plan"]["checkpoint"]
    assert (shown["directory"], shown["saved"]) == ("s3://bucket/run", None)


def test_the_limit_of_checkpoints_is_the_trainers_alone(submission):
    callbacks = "    callbacks: [{KeepNCheckpoints: {n: 2}}]\n    loop:"
    assert submission(config=CONFIG.replace("    loop:", callbacks)).jobs[0].plan.keep_checkpoints
    plan = submission(config=REMOTE.replace("    loop:", callbacks)).jobs[0].plan
    assert plan.keep_checkpoints is None


def test_the_directory_and_the_line_of_another_trainer(submission):
    block = r"{directory: 'gs://b/x/run-*/', pattern: '{step}.pt', saved: 'put (?P<path>\S+)'}"
    layout = submission(config=slurm(block)).jobs[0].plan.checkpoint
    assert layout.directory == "gs://b/x"
    assert layout.pattern == r"run\-.*/(?P<step>\d+)\.pt"
    assert layout.saved == r"put (?P<path>\S+)"


def test_a_checkpoint_to_start_from(submission):
    config = CONFIG.replace("fit: {", "fit: {ckpt_path: s3://b/start.mdl, ")
    assert submission(config=config).jobs[0].plan.initial_checkpoint == "s3://b/start.mdl"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("{directory: 's3://', pattern: '{step}'}",
         "checkpoint.directory: expected a bucket or host behind s3://, got 's3://'"),
        ("{directory: 's3://*/x', pattern: '{step}'}", "expected a bucket or host behind s3://"),
        ("{directory: 'file:///x', pattern: '{step}'}",
         "checkpoint.directory: expected a path on a file system without file://"),
        ("{directory: 's3://b/../x', pattern: '{step}'}", "expected a URL without"),
        ("{directory: 's3://b', saved: 'put .+'}",
         r"checkpoint.saved: expected a regular expression with the group path, such as"),
        ("{directory: 's3://b', saved: 'put ('}",
         "checkpoint.saved: expected a regular expression"),
        ("{directory: 's3://b', saved: 'x(?P<path>(a+)+)b'}",
         "checkpoint.saved: 'x(?P<path>(a+)+)b': an unbounded repetition inside another one"),
        ("{directory: ckpt, saved: 'put (?P<path>.+)'}",
         "checkpoint.saved: expected checkpoints below a URL, got "),
        ("{directory: 's3://b', complete: '{path}.done'}",
         "checkpoint.complete: expected no marker, as nothing below a URL is read, got"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(submission, block, problem):
    with pytest.raises((ConfigError, UsageError)) as error:
        submission(config=slurm(block))
    assert problem in str(error.value)
