import errno
from dataclasses import replace

import pytest
import yaml

from slurm_restart.core.job_comment import Mode
from slurm_restart.errors import ConfigError
from slurm_restart.supervise import prepare_attempt
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.prepare_attempt import prepare
from slurm_restart.supervise.render_config import RenderRequest, render
from slurm_restart.trainer.attempt_records import AttemptEnd, to_json
from slurm_restart.trainer.run_plan import LoopFacts

JOB = JobEnvironment(job_id=7, restarts=2, nodes=("csx1",), num_nodes=1)


def go(run, job=JOB, **given):
    return prepare(run.plan, run.dir, run.dir.new_attempt(), job, clock=lambda: 5.0, **given)


def params(prepared):
    return yaml.safe_load(prepared.attempt.params.read_text())["trainer"]


def test_a_first_attempt(run, checkpoint):
    old = checkpoint(run.model / "checkpoint_5.mdl", 5)
    run.set(loop=LoopFacts(num_steps=50), command="train {checkpoint} {num_csx} {nodes} {attempt}")
    first = go(run)
    start = first.start
    assert (start.from_step, start.first_step, start.last_step) == (5, 5, 55)
    assert (start.resumed, start.num_csx, start.job_id, start.restarts) == (False, 1, 7, 2)
    assert list(start.before) == ["checkpoint_5.mdl"]
    assert first.attempt.start() == start
    assert first.command.text == f"train '{old}' 1 1 0"
    assert first.command.directory == run.plan.work_dir
    assert first.command.variables["CSX_RESTART_CHECKPOINT"] == str(old)
    given = params(first)
    assert given["fit"]["ckpt_path"] == str(old)
    assert "autorestart" not in given["init"]
    assert given["init"]["backend"]["cluster_config"]["num_csx"] == 1
    # num_steps counts from the checkpoint on, as it does in the trainer.
    assert given["init"]["loop"] == {"max_steps": 100}


def test_what_the_health_check_has_found_is_known_as_long_as_the_allocation_lasts(run):
    first = go(run, unhealthy={"csx2": "fan 3"})
    second = go(run, replace(JOB, in_place=1), unhealthy={"csx3": "disk: full"})
    third = go(run, replace(JOB, in_place=2))
    assert [each.start.unhealthy for each in (first, second, third)] == [
        {"csx2": "fan 3"},
        {"csx3": "disk: full"},
        {},
    ]
    both = {"csx2": "fan 3", "csx3": "disk: full"}
    assert second.unhealthy == third.unhealthy == both
    assert go(run, replace(JOB, restarts=3)).unhealthy == {}


def test_a_later_attempt_has_the_same_last_step(run, checkpoint):
    checkpoint(run.model / "checkpoint_5.mdl", 5)
    run.set(loop=LoopFacts(num_steps=50))
    go(run)
    new = checkpoint(run.model / "checkpoint_30.mdl", 30)
    second = go(run)
    start = second.start
    assert (start.attempt, start.checkpoint, start.resumed) == (1, str(new), True)
    assert (start.from_step, start.first_step, start.last_step) == (30, 5, 55)
    assert start.before == {}
    assert params(second)["init"]["loop"]["max_steps"] == 55
    assert params(second)["init"]["checkpoint"]["save_initial_checkpoint"] is False


def test_the_ends_of_the_jobs_earlier_attempts_are_known(run):
    first = go(run)
    end = AttemptEnd(attempt=0, at=9.0, category="config", rule="config.value", reason="x")
    first.attempt.end_file.write_bytes(to_json(end))
    assert [event.rule for event in go(run).ends] == ["config.value"]
    assert go(run, replace(JOB, job_id=8)).ends == ()


def test_nothing_is_left_to_do(run, checkpoint):
    checkpoint(run.model / "checkpoint_100.mdl", 100)
    prepared = go(run)
    assert prepared.done
    assert not prepared.attempt.params.exists()


@pytest.mark.parametrize(
    ("command", "started"),
    [
        ("cszoo fit {config}", "cszoo validate_all"),
        ("srun -N {nodes} /opt/cszoo fit {config} --x=fit", "srun -N 1 /opt/cszoo validate_all"),
        ("python train.py {config}", None),
        ("mycszoo fit {config}", None),
    ],
)
def test_the_validation_after_the_last_step_is_left(run, checkpoint, command, started):
    run.set(command=command, validates_at_end=True)
    go(run)
    last = checkpoint(run.model / "checkpoint_100.mdl", 100)
    second = go(run)
    assert (second.start.from_step, second.start.last_step) == (100, 100)
    assert second.start.validation_only is (started is not None)
    if started is None:
        assert second.done
        return
    assert second.command.text.startswith(f"{started} ")
    given = params(second)
    assert "fit" not in given
    assert given["validate_all"] == {"val_dataloaders": None, "ckpt_paths": [str(last)]}
    assert second.attempt.start() == second.start


def test_a_run_that_was_done_before_it_began_validates_nothing(run, checkpoint):
    """It is the trainer's result of another run that is there."""
    checkpoint(run.model / "checkpoint_100.mdl", 100)
    run.set(command="cszoo fit {config}", validates_at_end=True)
    prepared = go(run)
    assert prepared.done
    assert not prepared.start.validation_only


def test_without_a_checkpoint_the_trainer_may_not_look_for_one_itself(run):
    (run.model / "checkpoints_index.yaml").write_text("- checkpoint_20.mdl\n")
    given = params(go(run))
    assert given["fit"]["ckpt_path"] is None
    assert given["init"]["checkpoint"]["autoload_last_checkpoint"] is False


def test_an_evaluation_keeps_its_config(run, checkpoint):
    checkpoint(run.model / "checkpoint_100.mdl", 100)
    run.set(mode=Mode.VALIDATE)
    prepared = go(run)
    assert not prepared.done
    assert (prepared.start.from_step, prepared.start.last_step) == (None, None)
    assert "autoload_last_checkpoint" not in params(prepared)["init"]["checkpoint"]
    assert prepared.start.checkpoint is None
    run.set(initial_checkpoint="/m/checkpoint_7.mdl")
    assert go(run).start.checkpoint == "/m/checkpoint_7.mdl"


@pytest.mark.parametrize(
    ("granted", "per_node", "configured", "expected"),
    [(3, 2, 8, 6), (4, 2, 7, 7), (4, 1, 2, 2), (None, 1, 2, 2)],
)
def test_num_csx_is_what_was_granted(run, granted, per_node, configured, expected):
    run.set(csx_per_node=per_node, num_csx=configured)
    job = JobEnvironment(job_id=None, restarts=0, nodes=(), num_nodes=granted)
    assert go(run, job).start.num_csx == expected


def test_an_attempt_that_never_started_does_not_begin_the_phase(run, checkpoint):
    """Killed before its record was written: what is there now was there before the phase."""
    run.dir.new_attempt()
    checkpoint(run.model / "checkpoint_5.mdl", 5)
    run.set(autoload_last_checkpoint=False)
    prepared = go(run)
    assert prepared.start.attempt == 1
    assert prepared.start.checkpoint is None
    assert list(prepared.start.before) == ["checkpoint_5.mdl"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, JobEnvironment(job_id=None, restarts=0, nodes=(), num_nodes=None)),
        (
            {
                "SLURM_JOB_ID": "7",
                "SLURM_RESTART_COUNT": "2",
                "SLURM_JOB_NODELIST": "csx[1,3-4]",
                "SLURM_JOB_NUM_NODES": "3",
            },
            JobEnvironment(
                job_id=7,
                restarts=2,
                nodes=("csx1", "csx3", "csx4"),
                num_nodes=3,
                held=("csx1", "csx3", "csx4"),
            ),
        ),
        (
            {"SLURM_JOB_ID": "x", "SLURM_JOB_NODELIST": "csx[", "SLURM_JOB_NUM_NODES": "-1"},
            JobEnvironment(job_id=None, restarts=0, nodes=(), num_nodes=None),
        ),
    ],
)
def test_the_jobs_environment(env, expected):
    assert JobEnvironment.read(env) == expected


def rendering(run, **values):
    return RenderRequest(
        **{
            "source": str(run.dir.params),
            "target": str(run.dir.path / "out.yaml"),
            "phase": 0,
            "model_dir": "/m",
            "ckpt_path": None,
            "num_csx": 1,
            "full_num_csx": 1,
            "training": True,
            "resumed": False,
            "last_step": None,
            "max_restarts": None,
        }
        | values
    )


def test_a_config_that_is_none(run):
    run.dir.params.write_text("trainer: [")
    with pytest.raises(ConfigError, match="not YAML"):
        render(rendering(run))
    run.dir.params.write_text("trainer: 5")
    with pytest.raises(ConfigError):
        render(rendering(run))


def test_a_place_that_cannot_be_written(run):
    with pytest.raises(OSError, match="No such file") as caught:
        render(rendering(run, target=str(run.dir.path / "absent" / "out.yaml")))
    assert caught.value.errno == errno.ENOENT


def test_very_many_earlier_checkpoints_are_recorded_in_a_file(run, checkpoint, monkeypatch):
    monkeypatch.setattr(prepare_attempt, "MAX_FOUND", 2)
    for step in (50, 60, 70):
        checkpoint(run.model / f"checkpoint_{step}.mdl", step)
    run.set(autoload_last_checkpoint=False, initial_checkpoint=None)
    first = go(run)
    assert (first.start.before, first.start.before_in_file) == ({}, True)
    assert first.attempt.start() == first.start
    # What was there before is not this phase's.
    assert go(run).start.checkpoint is None
    new = checkpoint(run.model / "checkpoint_10.mdl", 10)
    third = go(run).start
    assert (third.checkpoint, third.resumed, third.before_in_file) == (str(new), True, False)
