from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.argv import OptionTable, parse
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.prepare import prepare
from slurm_restart.trainer.run_plan import CheckpointFormat, LoopFacts, RestartPolicy, SlurmAccess
from slurm_restart.trainer.settings_files import SiteFacts, read_settings_files

from .conftest import CONFIG, TWO_PHASES


def test_the_plan_of_one_phase(submission, tmp_path):
    (job,) = submission("--comment=mine", "--signal=B:USR1@300", "--", "--x", "y z").jobs
    plan = job.plan
    assert len(plan.run) == 16
    assert (plan.phase, plan.phases, plan.mode) == (0, 1, Mode.FIT)
    assert (plan.num_nodes, plan.min_nodes, plan.num_csx, plan.csx_per_node) == (4, 2, 4, 1)
    assert plan.policy == RestartPolicy(max_restarts=3, recovery=Recovery.AUTO)
    assert (plan.command, plan.arguments) == ("cszoo fit {config}", ("--x", "y z"))
    assert plan.model_dir == str(tmp_path / "out")
    assert plan.work_dir == str(tmp_path)
    assert plan.config_path == str(tmp_path / "trainer.yaml")
    assert plan.checkpoint.directory == str(tmp_path / "out")
    assert plan.checkpoint.pattern == r"checkpoint_(?P<step>\d+)(?P<stamp>_\d{8}_\d{6})?\.mdl"
    assert plan.checkpoint.format is CheckpointFormat.MDL
    assert (plan.checkpoint_steps, plan.initial_checkpoint) == (10, None)
    assert plan.loop == LoopFacts(max_steps=100)
    assert (plan.user_comment, plan.signal_lead) == ("mine", 300)
    # The file itself, comments and all, is what was submitted.
    assert job.params == CONFIG
    assert "--nodes=4" in job.arguments()


def test_the_plan_of_an_evaluation(submission, tmp_path):
    for path, shown in (("a.mdl", str(tmp_path / "a.mdl")), ("s3://b/a", "s3://b/a")):
        config = CONFIG.replace("validate: {", f"validate: {{ckpt_path: '{path}', ")
        (job,) = submission("--mode=validate", config=config).jobs
        assert job.plan.initial_checkpoint == shown
        assert not job.plan.validates_at_end


def test_a_validation_at_the_end_is_in_the_plan(submission):
    config = CONFIG.replace("fit: {", "fit: {val_dataloader: {batch_size: 1}, ")
    assert submission(config=config).jobs[0].plan.validates_at_end
    assert not submission().jobs[0].plan.validates_at_end


def test_phases_are_jobs_with_configs_of_their_own(submission):
    first, second = submission("-d", "afterok:9", config=TWO_PHASES).jobs
    assert first.plan.run == second.plan.run
    assert [job.plan.phase for job in (first, second)] == [0, 1]
    assert "--dependency=afterok:9" in first.arguments()
    assert second.arguments("7")[-1] == "--dependency=afterok:7"
    assert "&" not in second.params
    assert second.params.startswith("trainer:\n  init:\n")
    assert "phase=1" in " ".join(second.arguments())


def test_all_settings(submission, tmp_path):
    block = """\
slurm:
  sbatch: {partition: csx, time: 1:00:00}
  setup: [module load x]
  command: train {config} {checkpoint}
  checkpoint: {directory: "{model_dir}/ck", pattern: "step-{step}", complete: "{path}/DONE"}
  nodes: {csx_per_node: 3}
  policy: {shrink_after: 5min, stop_on_repeat: 0}
"""
    (job,) = submission("-t2", config=block + CONFIG, env={"SBATCH_PARTITION": "env"}).jobs
    plan = job.plan
    assert plan.policy == RestartPolicy(
        max_restarts=3, recovery=Recovery.AUTO, shrink_after=300, stop_on_repeat=0
    )
    assert (plan.num_nodes, plan.min_nodes, plan.num_csx) == (2, 1, 4)
    assert [plan.csx_of(nodes) for nodes in (1, 2)] == [3, 4]
    assert plan.command == "train {config} {checkpoint}"
    assert plan.checkpoint.directory == str(tmp_path / "out" / "ck")
    assert plan.checkpoint.pattern == r"step\-(?P<step>\d+)"
    assert plan.checkpoint.format is CheckpointFormat.AUTO
    assert plan.checkpoint.complete == "{path}/DONE"
    assert job.setup == ("module load x",)
    # Command line over variables over the config.
    assert job.arguments()[:2] == ("--partition=env", "--time=2")


def test_paths_are_relative_to_the_jobs_directory(submission, tmp_path):
    config = CONFIG.replace("steps: 10", "steps: 10, checkpoint_root: ck")
    config = config.replace("fit: {", "fit: {ckpt_path: start.mdl, ")
    (job,) = submission("-D", "sub", config=config).jobs
    assert job.plan.work_dir == str(tmp_path / "sub")
    assert job.plan.model_dir == str(tmp_path / "sub" / "out")
    assert job.plan.checkpoint.directory == str(tmp_path / "sub" / "ck")
    assert job.plan.initial_checkpoint == str(tmp_path / "sub" / "start.mdl")
    assert job.plan.config_path == str(tmp_path / "trainer.yaml")
    own = "slurm: {checkpoint: {directory: ck}}\n"
    assert submission(config=own + CONFIG).jobs[0].plan.checkpoint.directory == str(tmp_path / "ck")
    (job,) = submission(config=CONFIG.replace("out", str(tmp_path / "abs"))).jobs
    assert job.plan.model_dir == str(tmp_path / "abs")


NO_SIZE = CONFIG.replace("cluster_config: {num_csx: 4}", "x: 1").replace(", min_num_csx: 2", "")


@pytest.mark.parametrize(
    ("arguments", "config", "sizes"),
    [
        ([], CONFIG, (4, 4, 2)),
        (["--num-csx=2"], CONFIG, (2, 2, 2)),
        (["--num-csx", "8", "-N8"], CONFIG, (8, 8, 2)),
        ([], NO_SIZE, (1, 1, 1)),
        (["-N3"], NO_SIZE, (3, 3, 1)),
        (["-N3"], NO_SIZE.replace("CSX", "GPU"), (3, 3, 1)),
        (["-N2"], "slurm: {nodes: {csx_per_node: 4}}\n" + NO_SIZE, (8, 2, 1)),
        ([], "slurm: {nodes: {csx_per_node: 4}}\n" + CONFIG, (4, 1, 1)),
        ([], "slurm: {nodes: {csx_per_node: 4}}\n" + CONFIG.replace("CSX", "GPU"), (4, 4, 2)),
        (["--num-csx=6"], "slurm: {nodes: {csx_per_node: 4}}\n" + NO_SIZE, (6, 2, 1)),
    ],
)
def test_the_size(submission, arguments, config, sizes):
    plan = submission(*arguments, config=config).jobs[0].plan
    assert (plan.num_csx, plan.num_nodes, plan.min_nodes) == sizes


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.SCRIPT])
def test_modes(submission, mode):
    config = f"{CONFIG}  validate_all: {{}}\n"
    result = submission(f"--mode={mode.value}", config=config)
    assert result.jobs[0].plan.mode is mode
    command = "fit" if mode is Mode.TRAIN_AND_EVAL else mode.value
    assert result.jobs[0].plan.command == f"cszoo {command} {{config}}"


def test_without_autorestart_there_is_a_note(submission):
    config = CONFIG.replace("    autorestart: {max_num_restarts: 3, min_num_csx: 2}\n", "")
    result = submission(config=config)
    assert result.jobs[0].plan.policy is None
    arguments = result.jobs[0].arguments()
    assert not [text for text in arguments if text.startswith(("--comment", "--requeue"))]
    assert result.notes == (
        "4 whole nodes (--exclusive); no autorestart in the config: submitted without restarting",
    )
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("arguments", "config", "noted"),
    [
        ((), TWO_PHASES.replace("      autorestart: {max_num_restarts: 3}\n", ""), True),
        (
            ("--kill-on-invalid-dep=yes",),
            TWO_PHASES.replace("      autorestart: {max_num_restarts: 3}\n", ""),
            False,
        ),
        ((), TWO_PHASES, False),
    ],
)
def test_phases_that_nobody_cancels_are_noted(submission, arguments, config, noted):
    notes = submission(*arguments, config=config).notes
    assert [note for note in notes if "DependencyNeverSatisfied" in note] == list(notes[2:])
    assert (len(notes) == 3) is noted


def test_what_a_person_should_know(submission):
    result = submission(config=CONFIG.replace("checkpoint: {steps: 10}", "checkpoint: {}"))
    assert result.notes == (
        (
            "4 whole nodes (--exclusive); at most 3 restarts in a row without a new checkpoint, "
            "with at least 2"
        ),
        "compiled ahead while it executes: num_csx 3 and 2 (compile_prefetch)",
    )
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("trainer.yaml:6: trainer.init.checkpoint.steps: not set")
    result = submission(config=CONFIG.replace("max_steps: 100", "num_epochs: 2"))
    assert "num_epochs: its length in steps is not known" in result.warnings[0]
    result = submission(config=CONFIG.replace("fit: {", "fit: {ckpt_path: none.mdl, "))
    assert result.warnings == (
        "trainer.yaml:9: trainer.fit.ckpt_path: 'none.mdl' does not exist now",
    )
    assert submission("--mode=validate").notes[0].endswith("at most 3 restarts, with at least 2")
    quiet = CONFIG.replace("steps: 10", "").replace("s: 3, min_num_csx: 2", "s: 1, min_num_csx: 4")
    result = submission("--mode=validate", config=quiet)
    assert result.warnings == ()
    assert result.notes[0].endswith("at most 1 restart")


def problems(submission, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        submission(*arguments, **options)
    return list(caught.value.problems)


def test_all_problems_are_reported_at_once_and_nothing_is_made(submission, tmp_path):
    config = CONFIG.replace("max_num_restarts: 3", "max_num_restarts: -1")
    config = f'slurm: {{sbatch: {{nodelist: a}}, setup: ["\'"]}}\n{config}'
    found = problems(
        submission,
        "--mode=x",
        "-N7",
        "--max-restarts=4",
        "--stop-on-repeat=x",
        config=config.replace("model_dir: out", "model_dir: trainer.yaml/x"),
        env={"SBATCH_WAIT": ""},
    )
    assert [problem.split(":")[0:2] for problem in found[:4]] == [
        ["trainer.yaml", "1"],
        ["trainer.yaml", "1"],
        ["trainer.yaml", "6"],
        ["trainer.yaml", "9"],
    ]
    rest = "\n".join(found[4:])
    for part in ("--mode: expected one of fit", "-N (--nodes): expected 4, got 7",
                 "--max-restarts: refused with a config: set autorestart.max_num_restarts",
                 "--stop-on-repeat: expected a whole number", "SBATCH_WAIT: ref"):  # fmt: skip
        assert part in rest
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.yaml"]


def test_more_systems_at_least_than_at_most(submission):
    assert problems(submission, "--num-csx=1") == [
        (
            "trainer.yaml:8: trainer.init.autorestart.min_num_csx: expected a whole number from "
            "1 to num_csx (1), got 2"
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--num-csx=0"], "--num-csx: expected a whole number from 1, got '0'"),
        (["--num-csx=x"], "--num-csx: expected a whole number from 1, got 'x'"),
        (["--num-csx=²"], "--num-csx: expected a whole number from 1, got '²'"),
        (["-w", "csx1"], "-w (--nodelist): refused: a job pinned to nodes"),
        (["--", "--num_csx=2"], "--num_csx (trainer option): refused: "),
        (["--", "--checkpoint_pa", "x"], "--checkpoint_pa (trainer option): refused: "),
        (
            ["--", "--load_checkpoint_states=model"],
            "--load_checkpoint_states (trainer option): ref",
        ),
        (["--", "-o", "x"], "-o (trainer option): refused: "),
        (["other.yaml"], "expected one trainer config, got 'trainer.yaml' 'other.yaml'"),
    ],
)
def test_wrong_usage(submission, arguments, problem):
    with pytest.raises(UsageError) as caught:
        submission(*arguments)
    assert problem in str(caught.value)


def test_another_trainer_has_its_own_options_and_sections(submission):
    config = "slurm: {command: train}\n" + CONFIG.replace("fit:", "data:")
    (job,) = submission("--", "--num_csx=2", config=config).jobs
    assert job.plan.arguments == ("--num_csx=2",)


def test_answers_are_for_the_command_line(submission):
    found = problems(submission, config=f"slurm: {{sbatch: {{test-only: true}}}}\n{CONFIG}")
    assert found == [
        "trainer.yaml:1: slurm.sbatch.test-only: refused here: give it on the command line"
    ]


def test_without_a_config_there_is_nothing_to_do():
    table = OptionTable()
    context = SubmitContext(environ={}, cwd=Path("/"), slurm=SlurmAccess(bin_dir="/usr/bin"))
    with pytest.raises(UsageError, match=r"expected a batch script .*, got nothing"):
        prepare(parse([], table), table, [], context)


@pytest.mark.parametrize("name", ["a b.yaml", "ü\n.yaml", "x"])
def test_the_job_is_named_after_the_config(submission, name):
    job = submission().jobs[0]
    (named,) = [
        text
        for text in replace(job, name=name.removesuffix(".yaml")).arguments()
        if text.startswith("--job-name")
    ]
    assert named == f"--job-name={name.removesuffix('.yaml')}"


RULES = """\
rules:
- id: own.flux
  category: storage.full
  role: root
  pattern: flux ran out
  meaning: x
  examples: {positive: [flux ran out]}
"""


def test_rules_of_the_run_are_checked_with_its_config(submission, tmp_path):
    (tmp_path / "flux.yaml").write_text(RULES)
    (job,) = submission(config="slurm: {rules: flux.yaml}\n" + CONFIG).jobs
    assert job.rules == (Path("flux.yaml"),)
    (tmp_path / "flux.yaml").write_text(RULES.replace("storage.full", "full"))
    with pytest.raises(ConfigError) as caught:
        submission(config="slurm:\n  rules: [flux.yaml, gone.yaml]\n" + CONFIG)
    assert [problem.partition(", got")[0][:70] for problem in caught.value.problems] == [
        "trainer.yaml:2: slurm.rules: flux.yaml:2: own.flux: category: expected",
        "trainer.yaml:2: slurm.rules: gone.yaml: No such file or directory",
    ]


def test_the_site_s_caps_are_in_the_plan(submission):
    facts = SiteFacts(observes=False, max_total_restarts=7, max_uncounted_restarts=9)
    policy = submission(site=facts).jobs[0].plan.policy
    assert (policy.max_total_restarts, policy.max_uncounted_restarts) == (7, 9)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", SiteFacts(observes=False)),
        ('mode = "observe"\n', SiteFacts(observes=True)),
        ("[policy]\nmax_total_restarts = 7\n", SiteFacts(observes=False, max_total_restarts=7)),
        ("[policy]\nmax_uncounted_restarts = -1\n", SiteFacts(observes=False)),
        ('policy = "odd"\n', SiteFacts(observes=False)),
        (None, SiteFacts()),
    ],
)
def test_what_a_submission_reads_of_the_site_s_settings(tmp_path, text, facts):
    path = tmp_path / "site.toml"
    if text is not None:
        path.write_text(text)
    assert read_settings_files({"CSX_RESTART_SITE": str(path)}).site == facts
