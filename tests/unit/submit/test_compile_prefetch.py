"""Which submissions compile ahead, and what is wrong with asking for it."""

import json

import pytest

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.format_plan import plan_json, plan_text
from slurm_restart.trainer.run_plan import RunPlan

from .conftest import CONFIG

NOTE = "compiled ahead while it executes: num_csx 3 and 2 (compile_prefetch)"


def test_the_model_zoo_compiles_ahead_where_it_may_become_smaller(submission, tmp_path):
    result = submission()
    plan = result.jobs[0].plan
    assert plan.compile_prefetch
    assert NOTE in result.notes
    assert "# compiles ahead: num_csx 3 and 2\n" in plan_text(result)
    assert json.loads(plan_json(result))["phases"][0]["plan"]["compile_prefetch"] is True
    plan.save(tmp_path / "plan.json")
    assert RunPlan.load(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (("--compile-prefetch=off",), CONFIG),
        ((), f"slurm: {{compile_prefetch: off}}\n{CONFIG}"),
        (("--num-csx=2",), CONFIG),
        ((), CONFIG.replace("CSX,", "CPU,")),
        ((), CONFIG.replace("    autorestart: {max_num_restarts: 3, min_num_csx: 2}\n", "")),
        (("--mode=validate",), CONFIG),
        (("--", "--target_device=CPU"), CONFIG),
        ((), f"slurm: {{command: 'srun cszoo fit {{config}}'}}\n{CONFIG}"),
        ((), f"slurm: {{command: 'python train.py'}}\n{CONFIG}"),
    ],
)
def test_others_do_not(submission, options, config):
    result = submission(*options, config=config)
    assert not result.jobs[0].plan.compile_prefetch
    assert not any("compiled ahead" in note for note in result.notes)
    assert "compiles ahead" not in plan_text(result)


def test_an_option_overrides_the_config(submission):
    config = f"slurm: {{compile_prefetch: off}}\n{CONFIG}"
    assert submission("--compile-prefetch=on", config=config).jobs[0].plan.compile_prefetch


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py", "expected the Model Zoo's `cszoo fit` as the trainer"),
        ("srun cszoo fit {config}", "expected `cszoo fit {config}` alone as the command"),
        ("cd /x; cszoo fit {config}", "expected `cszoo fit {config}` alone as the command"),
    ],
)
def test_it_is_an_error_to_ask_for_it_with_another_trainer(submission, command, expected):
    with pytest.raises(ConfigError) as caught:
        submission(
            config=f"slurm:\n  compile_prefetch: on\n  command: {json.dumps(command)}\n{CONFIG}"
        )
    assert f"trainer.yaml:2: slurm.compile_prefetch: {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "config", "reason"),
    [
        (("--num-csx=2",), CONFIG, "no restart may have fewer nodes"),
        ((), CONFIG.replace("CSX,", "GPU,"), "nothing is compiled for backend_type GPU"),
        (
            ("--mode=validate",),
            CONFIG,
            "an evaluation is not restarted with a size that was compiled ahead",
        ),
    ],
)
def test_what_has_no_effect_is_told(submission, options, config, reason):
    result = submission("--compile-prefetch=on", *options, config=config)
    assert result.warnings == (f"--compile-prefetch: not used, as {reason}",)


def test_a_wrong_value(submission):
    with pytest.raises(UsageError, match="expected one of on, off, got 'maybe'"):
        submission("--compile-prefetch=maybe")
