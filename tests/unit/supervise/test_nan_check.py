"""Whole supervisors whose trainer reports NaN: the check is on, off again, and given up."""

import json

import pytest
import yaml

from slurm_restart.supervise.nan_check import read_outcomes

NAN = "echo 'cerebras.appliance.errors.ApplianceNanError: NaN in loss at step 12'; exit 1"
DEADLOCK = "echo 'cerebras.appliance.errors.ApplianceDeadlockError: no activity'; exit 1"
NODES = "csx[1-4]"


@pytest.fixture
def zoo(run, tmp_path):
    """Run an attempt on these nodes, in which the stand-in for `cszoo fit` does this."""
    command = tmp_path / "bin" / "cszoo"
    command.parent.mkdir()

    def attempt(does: str, *, nodes: str = NODES) -> int:
        command.write_text(f"#!/bin/sh\n{does}\n")
        command.chmod(0o755)
        text = f"{command} fit {{config}}"
        return run.run(text, SLURM_JOB_NODELIST=nodes).returncode

    return attempt


def checked(run) -> list[bool]:
    """Whether the check was on in each attempt, by its record and by its config."""
    by_record = [entry["nan_checker_enabled"] for entry in run.summary()["runs"]]
    by_config = []
    for number in range(len(by_record)):
        path = run.dir.path / f"attempts/{number}/params.yaml"
        callbacks = yaml.safe_load(path.read_text())["trainer"]["init"].get("callbacks") or []
        by_config.append({"NaNChecker": {"num_steps": 10}} in callbacks)
    assert by_record == by_config
    return by_record


def test_it_is_on_after_nan_and_given_up_after_two_deadlocks(run, zoo):
    run.set(num_nodes=4, min_nodes=4, num_csx=4)
    zoo(NAN)
    zoo(DEADLOCK)
    assert run.end_of(1)["category"] == "hang"
    zoo(DEADLOCK)
    assert checked(run) == [False, True, True]
    last = run.end_of(2)
    assert (last["category"], last["rule"]) == ("numeric.nan", "nan.not_found")
    assert last["root"] == run.end_of(0)["root"]
    assert "leave (the same root cause at the same step 2 times)" in last["expected_decision"]
    assert "with the check for NaN" in run.log()


def test_it_is_off_once_a_node_is_left_out(run, zoo):
    run.set(num_nodes=4, min_nodes=2, num_csx=4)
    zoo(NAN)
    zoo(DEADLOCK)
    zoo("exit 1", nodes="csx[1-3]")
    assert checked(run) == [False, True, False]


def test_it_is_off_once_its_steps_are_done(run, zoo, checkpoint, tmp_path):
    done = checkpoint(tmp_path / "done.mdl", 10)
    zoo(NAN)
    exit_code = zoo(f'cp "{done}" "{run.model}/checkpoint_10.mdl"')
    assert exit_code == 1  # else Slurm would take the job for a finished one
    end = run.end_of(1)
    assert (end["rule"], end["progress"], end["exit_code"]) == ("nan.checked", True, 0)
    assert end["reason"] == "the check for NaN is done, and the run goes on without it"
    assert end["expected_decision"].startswith("requeue (unknown: after progress")
    zoo("exit 1")
    assert checked(run) == [False, True, False]
    assert [entry["status"] for entry in run.summary()["runs"]] == ["failed", "success", "failed"]


def test_it_stays_on_in_a_run_that_ends_with_it(run, zoo, checkpoint, tmp_path):
    """After the last step nothing is left to do."""
    done = checkpoint(tmp_path / "done.mdl", 100)
    zoo(NAN)
    assert zoo(f'cp "{done}" "{run.model}/checkpoint_100.mdl"') == 0
    assert run.end_of(1)["category"] == "completed"
    assert json.loads(run.dir.summary.read_text())["runs"][1]["status"] == "success"


def test_no_attempt_before_the_last_one_without_it_is_read(run, zoo):
    for does in ("exit 1", NAN, NAN):
        zoo(does)
    earlier = run.dir.attempts()
    assert checked(run) == [False, False, True]
    assert [outcome.checker for outcome in read_outcomes(earlier)] == [False, True]
    # An attempt that has not started a program has no record.
    earlier[0].start_file.unlink()
    earlier[2].start_file.unlink()
    assert [outcome.checker for outcome in read_outcomes(earlier)] == [False]
    assert read_outcomes(earlier[:1]) == read_outcomes(()) == []


def test_other_nan_has_no_such_check(run, zoo):
    zoo("echo 'FloatingPointError: NaN loss detected at step 12'; exit 1")
    assert run.end_of(0)["category"] == "numeric.nan"
    zoo("exit 1")
    assert checked(run) == [False, False]
