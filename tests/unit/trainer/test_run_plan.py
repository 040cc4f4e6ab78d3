import json
from dataclasses import replace

import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.errors import RecordError, StateError
from slurm_restart.trainer.run_plan import (
    CheckpointFormat,
    CheckpointLayout,
    LoopFacts,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)

PLAN = RunPlan(
    run="0123456789abcdef",
    phase=1,
    phases=2,
    mode=Mode.FIT,
    num_nodes=4,
    min_nodes=2,
    num_csx=8,
    csx_per_node=2,
    policy=RestartPolicy(max_restarts=3, shrink_after=600),
    command="cszoo fit {config}",
    arguments=("--disable_version_check",),
    model_dir="/data/it's a run\n/ü",
    work_dir="/data",
    config_path="/data/trainer.yaml",
    checkpoint=CheckpointLayout(
        directory="/data/m",
        pattern=r"checkpoint_(?P<step>\d+)\.mdl",
        format=CheckpointFormat.MDL,
    ),
    checkpoint_steps=100,
    initial_checkpoint=None,
    autoload_last_checkpoint=True,
    loop=LoopFacts(max_steps=1000),
    user_comment="mine",
    slurm=SlurmAccess(bin_dir="/usr/bin", conf="/etc/slurm/slurm.conf"),
)


def test_a_saved_plan_is_loaded_unchanged(tmp_path):
    path = tmp_path / "plan.json"
    for plan in (PLAN, replace(PLAN, policy=None, mode=Mode.VALIDATE, user_comment="")):
        plan.save(path)
        assert RunPlan.load(path) == plan
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_the_comment_record_has_what_the_hook_needs():
    comment_record = PLAN.comment_record
    assert comment_record is not None
    assert (
        comment_record.run,
        comment_record.max_restarts,
        comment_record.num_nodes,
        comment_record.min_nodes,
    ) == (
        "0123456789abcdef",
        3,
        4,
        2,
    )
    assert (comment_record.phase, comment_record.shrink_after, comment_record.attempt) == (
        1,
        600,
        None,
    )
    assert replace(PLAN, policy=None).comment_record is None


WHOLE = "a whole number from 1 to 100000"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 2, "schema: expected 1, got 2"),
        ("schema", True, "schema: expected a whole number from 0 to 1000000000000, got true"),
        ("num_nodes", "4", f"num_nodes: expected {WHOLE}, got '4'"),
        ("num_nodes", True, f"num_nodes: expected {WHOLE}, got true"),
        ("num_nodes", None, f"num_nodes: expected {WHOLE}, got null"),
        ("num_nodes", 0, f"num_nodes: expected {WHOLE}, got 0"),
        ("mode", "train", "mode: expected one of fit, validate, validate_all, train_and_eval"),
        ("arguments", "x", "arguments: expected a list"),
        ("arguments", ["x", "a\0b"], "arguments[1]: expected text without NUL characters"),
        ("checkpoint", [], "checkpoint: expected an object"),
        ("checkpoint", {"dir": 1}, "checkpoint.directory: expected a value, got nothing"),
        ("policy", {}, "policy.max_restarts: expected a value, got nothing"),
        ("policy", {"max_restarts": -1}, "policy.max_restarts: expected a whole number from 0"),
        ("run", "../../etc", "run: expected 16 hexadecimal digits"),
        ("checkpoint", {"directory": "/m", "pattern": "("}, "checkpoint.pattern: expected a reg"),
        ("checkpoint", {"directory": "/m", "pattern": "x"}, "with the group step, got 'x'"),
        ("bogus", float("inf"), "expected JSON, got expected a number, got Infinity"),
    ],
)
def test_an_invalid_plan_is_refused(tmp_path, key, value, message):
    path = tmp_path / "plan.json"
    PLAN.save(path)
    data = json.loads(path.read_text()) | {key: value}
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError) as caught:
        RunPlan.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_keys_of_another_release_are_written_again(tmp_path):
    path = tmp_path / "plan.json"
    PLAN.save(path)
    data = json.loads(path.read_text()) | {"new": [1, {"a": "b"}]}
    data["policy"]["newer"] = True
    path.write_text(json.dumps(data))
    plan = RunPlan.load(path)
    assert plan == PLAN
    plan.save(path)
    assert json.loads(path.read_text()) == data


def test_a_plan_that_could_not_be_read_is_not_written(tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(RecordError, match=r"loop\.max_steps"):
        replace(PLAN, loop=LoopFacts(max_steps=10**13)).save(path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", None])
def test_a_file_that_is_no_plan_is_refused(tmp_path, content):
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StateError):
        RunPlan.load(path)


@pytest.mark.parametrize(
    ("loop", "first_step", "last_step"),
    [
        (LoopFacts(max_steps=1000), 300, 1000),
        (LoopFacts(num_steps=1000), 300, 1300),
        (LoopFacts(max_steps=1000, num_steps=200), 300, 500),
        (LoopFacts(max_steps=1000, num_steps=900), 300, 1000),
        (LoopFacts(unknown_epochs=True), 0, None),
        (LoopFacts(), 0, None),
    ],
)
def test_the_last_step_counts_from_where_attempt_0_started(loop, first_step, last_step):
    assert loop.last_step(first_step) == last_step
