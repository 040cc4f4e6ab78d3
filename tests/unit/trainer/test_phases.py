import pytest
import yaml

from slurm_restart.core.job_comment import Mode
from slurm_restart.trainer.phases import Autorestart, Backend, read_phases
from slurm_restart.trainer.run_plan import LoopFacts
from slurm_restart.trainer.yaml_lines import parse

GOOD = """\
trainer:
  init:
    model: {name: gpt2}
    backend:
      backend_type: CSX
      cluster_config:
        num_csx: 4
    model_dir: out
    checkpoint:
      steps: 10
    loop:
      max_steps: 100
    autorestart:
      max_num_restarts: 3
      min_num_csx: 2
  fit:
    train_dataloader: {}
    ckpt_path: start.mdl
  validate:
    val_dataloader: {}
"""


def phases(text=GOOD, mode=Mode.FIT, **options):
    return read_phases(parse(text, "t.yaml"), mode, **options)


def changed(**init):
    """The good config with keys of `init` changed (None: taken out)."""
    data = yaml.safe_load(GOOD)
    for key, value in init.items():
        data["trainer"]["init"][key] = value
    return yaml.safe_dump(data, sort_keys=False)


def problem_of(text, mode=Mode.FIT):
    """The one problem of a config, without the line."""
    problems = phases(text, mode)[1]
    assert len(problems) == 1, problems
    return problems[0].split(": ", 1)[1].removeprefix("trainer.")


def test_the_facts_of_a_phase():
    (phase,), problems = phases()
    assert problems == []
    assert phase.backend is Backend.CSX
    assert phase.num_csx == 4
    assert phase.autorestart == Autorestart(max_num_restarts=3, min_num_csx=2)
    assert phase.model_dir == "out"
    assert phase.checkpoint_steps == 10
    assert phase.checkpoint_name == "checkpoint_{step}.mdl"
    assert phase.autoload_last_checkpoint is True
    assert phase.ckpt_path == "start.mdl"
    assert phase.loop == LoopFacts(max_steps=100)
    assert phase.config == yaml.safe_load(GOOD)


def test_defaults_are_those_of_the_trainer():
    (phase,), problems = phases("trainer: {init: {model: 1}, fit: {}}")
    assert problems == []
    assert (phase.backend, phase.num_csx, phase.autorestart) == (Backend.CSX, None, None)
    assert (phase.model_dir, phase.checkpoint_steps, phase.ckpt_path) == ("./model_dir", None, None)
    assert phase.loop == LoopFacts()


def test_with_a_null_checkpoint_the_newest_is_not_loaded():
    (phase,), problems = phases(GOOD.replace("ckpt_path: start.mdl", "ckpt_path:"))
    assert problems == []
    assert phase.ckpt_path is None
    assert phase.autoload_last_checkpoint is False
    (phase,), _ = phases(GOOD.replace("    ckpt_path: start.mdl\n", ""))
    assert phase.autoload_last_checkpoint is True


@pytest.mark.parametrize(
    ("loop", "facts"),
    [
        ({"num_steps": 7}, LoopFacts(num_steps=7)),
        ({"num_steps": 7, "max_steps": 9}, LoopFacts(num_steps=7, max_steps=9)),
        ({"num_epochs": 3, "steps_per_epoch": 10}, LoopFacts(num_steps=30)),
        (
            {"num_epochs": 3, "steps_per_epoch": 10, "grad_accum_steps": 4},
            LoopFacts(num_steps=6),
        ),
        ({"num_epochs": 3, "max_steps": 5}, LoopFacts(max_steps=5, unknown_epochs=True)),
    ],
)
def test_the_length_of_the_run(loop, facts):
    (phase,), problems = phases(changed(loop=loop))
    assert problems == []
    assert phase.loop == facts


@pytest.mark.parametrize(
    ("init", "problem"),
    [
        (
            {"autorestart": {}},
            "init.autorestart.max_num_restarts: expected a whole number from 0, got nothing",
        ),
        (
            {"autorestart": {"max_num_restarts": -1}},
            "init.autorestart.max_num_restarts: expected a whole number from 0 to 10000, got -1",
        ),
        (
            {"autorestart": {"max_num_restarts": True}},
            "init.autorestart.max_num_restarts: expected a whole number from 0 to 10000, got true",
        ),
        (
            {"autorestart": {"max_num_restarts": "3"}},
            "init.autorestart.max_num_restarts: expected a whole number from 0 to 10000, got '3'",
        ),
        (
            {"autorestart": {"max_num_restarts": 3, "min_num_csx": 0}},
            "init.autorestart.min_num_csx: expected a whole number from 1 to 100000, got 0",
        ),
        (
            {"autorestart": {"max_num_restarts": 3, "min_csx": 1}},
            "init.autorestart.min_csx: expected min_num_csx, got 'min_csx'",
        ),
        (
            {"autorestart": {"max_num_restarts": 3, "zzz": 1}},
            "init.autorestart.zzz: expected one of max_num_restarts, min_num_csx, got 'zzz'",
        ),
        ({"autorestart": 3}, "init.autorestart: expected a mapping, got 3"),
        ({"autorestrat": {}}, "init.autorestrat: expected autorestart, got 'autorestrat'"),
        ({"checkpoints": {}}, "init.checkpoints: expected checkpoint, got 'checkpoints'"),
        ({"model_dir": 3}, "init.model_dir: expected text, got 3"),
        ({"model_dir": "a\0b"}, "init.model_dir: expected text, got 'a\\x00b'"),
        (
            {"model_dir": "s3://b/x"},
            "init.model_dir: expected a path on a file system, got 's3://b/x'",
        ),
        ({"backend": []}, "init.backend: expected a mapping, got an empty list"),
        (
            {"backend": {"backend_type": "TPU"}},
            "init.backend.backend_type: expected one of CSX, CPU, GPU, got 'TPU'",
        ),
        (
            {"backend": None, "device": "TPU"},
            "init.device: expected one of CSX, CPU, GPU, got 'TPU'",
        ),
        (
            {"backend": {"cluster_config": {"num_csx": 0}}},
            "init.backend.cluster_config.num_csx: expected a whole number from 1 to 100000, got 0",
        ),
        (
            {"backend": {"cluster_config": 4}},
            "init.backend.cluster_config: expected a mapping, got 4",
        ),
        (
            {"checkpoint": {"steps": "often"}},
            "init.checkpoint.steps: expected a whole number from 0, got 'often'",
        ),
        (
            {"checkpoint": {"checkpoint_root": "s3:///x"}},
            (
                "init.checkpoint.checkpoint_root: expected a bucket or host behind s3://, got "
                "'s3:///x'"
            ),
        ),
        (
            {"checkpoint": {"checkpoint_root": "file:///x"}},
            (
                "init.checkpoint.checkpoint_root: expected a path on a file system without "
                "file://, got 'file:///x'"
            ),
        ),
        (
            {"checkpoint": {"checkpoint_name": "c.mdl"}},
            (
                "init.checkpoint.checkpoint_name: expected a file name with {step} in it once, got "
                "'c.mdl'"
            ),
        ),
        (
            {"checkpoint": {"autoload_last_checkpoint": 1}},
            "init.checkpoint.autoload_last_checkpoint: expected true or false, got 1",
        ),
        (
            {"loop": {"max_steps": 0}},
            "init.loop.max_steps: expected a whole number from 1, got 0",
        ),
        ({"loop": "long"}, "init.loop: expected a mapping, got 'long'"),
    ],
)
def test_problems_name_their_key(init, problem):
    assert problem_of(changed(**init)) == problem


def test_all_problems_are_reported_with_their_lines():
    text = GOOD.replace("num_csx: 4", "num_csx: two").replace(" steps: 10", " steps: -1")
    text = text.replace("max_num_restarts: 3", "max_num_restart: 3")
    assert set(phases(text)[1]) == {
        f"t.yaml:{line}: trainer.init.{problem}"
        for line, problem in [
            (
                7,
                (
                    "backend.cluster_config.num_csx: expected a whole number from 1 to 100000, "
                    "got 'two'"
                ),
            ),
            (10, "checkpoint.steps: expected a whole number from 0, got -1"),
            (13, "autorestart.max_num_restarts: expected a whole number from 0, got nothing"),
            (14, "autorestart.max_num_restart: expected max_num_restarts, got 'max_num_restart'"),
        ]
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {}\nrunconfig: {}", "expected the key trainer, got the legacy form (runconfig, "),
        ("trainer_: {}", "expected the key trainer, got the key 'trainer_'"),
        ("a: 1", "expected the key trainer, got a file without it"),
        ("trainer:", "trainer: expected a mapping, got nothing"),
        ("trainer: 3", "trainer: expected a mapping, got 3"),
        ("trainer: []", "trainer: expected at least one phase, got an empty list"),
        ("trainer: {fit: {}}", "trainer.init: expected a mapping, got nothing"),
        ("trainer: [3]", "trainer[0]: expected a mapping, got 3"),
        ("trainer: [{init: {}}]", "trainer[0].trainer: expected a mapping, got nothing"),
        ("trainer: [{trainer: {init: 1}}]", "trainer[0].trainer.init: expected a mapping, got 1"),
    ],
)
def test_a_config_without_phases_is_refused(text, problem):
    found, problems = phases(text)
    assert found == ()
    assert len(problems) == 1
    assert problem in problems[0]


def test_the_legacy_form_is_refused_with_the_remedy():
    assert "cszoo config convert_legacy OLD.yaml -o NEW.yaml" in phases("runconfig: {}")[1][0]


TWO = """\
trainer:
- trainer:
    init: {model: 1, autorestart: {max_num_restarts: 1}}
    fit: {}
- trainer:
    init: {model: 1}
    fit: {}
"""


def test_autorestart_is_in_all_phases_or_in_none():
    assert phases(TWO)[1] == [
        (
            "t.yaml:6: trainer[1].trainer.init.autorestart: expected this block in all phases or "
            "in none (phase 1 has it), got nothing"
        )
    ]
    both, problems = phases(TWO.replace("{model: 1}", "{autorestart: {max_num_restarts: 2}}"))
    assert problems == []
    assert [phase.autorestart.max_num_restarts for phase in both] == [1, 2]
    assert [phase.index for phase in both] == [0, 1]


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        (Mode.FIT, None),
        (Mode.TRAIN_AND_EVAL, None),
        (Mode.VALIDATE, None),
        (
            Mode.VALIDATE_ALL,
            "validate_all: expected this section, as --mode is validate_all, got nothing",
        ),
    ],
)
def test_the_section_of_the_mode_is_required(mode, problem):
    if problem is None:
        assert phases(mode=mode)[1] == []
    else:
        assert problem_of(GOOD, mode) == problem
        assert phases(mode=mode, section_required=False)[1] == []


def test_the_checkpoint_of_an_evaluation_is_not_checked():
    (phase,), problems = phases(GOOD.replace("start.mdl", "s3://b/x"), Mode.VALIDATE)
    assert problems == []
    assert phase.ckpt_path is None


def test_an_evaluation_names_its_own_checkpoint():
    text = "trainer: {init: {}, validate: {ckpt_path: %s}, validate_all: {ckpt_paths: [a, b]}}"
    for path in ("run/checkpoint_5.mdl", "s3://b/x"):
        (phase,), problems = phases(text % path, Mode.VALIDATE)
        assert (phase.ckpt_path, problems) == (path, [])
        assert phases(text % path, Mode.VALIDATE_ALL)[0][0].ckpt_path is None
    assert phases(text % "null", Mode.VALIDATE)[0][0].ckpt_path is None


@pytest.mark.parametrize(
    ("init", "fit", "expected"),
    [
        ("", "", False),
        ("", "val_dataloader: {batch_size: 1}", True),
        ("", "val_dataloader: [{batch_size: 1}, {batch_size: 2}]", True),
        ("loop: {eval_frequency: 10}", "val_dataloader: {batch_size: 1}", True),
        ("loop: {eval_frequency: 0}", "val_dataloader: {batch_size: 1}", False),
        ("loop: {eval_frequency: null}", "val_dataloader: {batch_size: 1}", False),
        ("callbacks: [{NaNChecker: {}}]", "", False),
        ("callbacks: [3, {EleutherEvalHarness: {}}]", "", True),
    ],
)
def test_whether_the_trainer_validates_after_the_last_step(init, fit, expected):
    text = f"trainer: {{init: {{{init}}}, fit: {{{fit}}}, validate: {{}}}}"
    (phase,), problems = phases(text)
    assert (phase.validates_at_end, problems) == (expected, [])
    assert not phases(text, Mode.VALIDATE)[0][0].validates_at_end


def test_a_misspelt_slurm_block_is_reported():
    assert phases(f"slrum: {{}}\n{GOOD}")[1] == ["t.yaml:1: slrum: expected slurm, got 'slrum'"]


@pytest.mark.parametrize(
    ("callbacks", "keep"),
    [
        ("[{KeepNCheckpoints: {n: 2}}]", 2),
        ("[{Other: {}}, {KeepNCheckpoints: {n: 10}}]", 10),
        ("[{KeepNCheckpoints: {n: 2}}, {KeepNCheckpoints: {n: 3}}]", None),
        ("[{KeepNCheckpoints: {n: null}}]", None),
        ("[{KeepNCheckpoints: {n: 0}}]", None),
        ("[{KeepNCheckpoints: }]", None),
        ("[KeepNCheckpoints]", None),
        ("{}", None),
    ],
)
def test_the_limit_of_checkpoints(callbacks, keep):
    text = f"trainer: {{init: {{model: {{}}, callbacks: {callbacks}}}, fit: {{}}}}\n"
    phases, _ = read_phases(parse(text, "t.yaml"), Mode.FIT)
    assert [phase.keep_checkpoints for phase in phases] == [keep]
