"""Mistakes in a config: file, line and key are named, what was expected, and what is there."""

import pytest

from slurm_restart.errors import ConfigError

CONFIG = """\
trainer:
  init:
    model: {name: gpt2}
    backend: {backend_type: CSX, cluster_config: {num_csx: 4}}
    model_dir: out
    checkpoint: {steps: 10}
    loop: {max_steps: 100}
    autorestart: {max_num_restarts: 3, min_num_csx: 2}
  fit: {train_dataloader: {}}
"""
WHOLE = "expected a whole number from"
INIT = "trainer.init"

REPLACED = [
    # what is there, what is written instead, the message
    ("  fit:", "  fitt:", "9: trainer.fitt: expected fit, as --mode is fit, got 'fitt'"),
    ("  fit: {train_dataloader: {}}\n", "", "1: trainer.fit: expected this section, as --mode"),
    ("trainer:\n", "trainr:\n", "1: trainer: expected the key trainer, got the key 'trainr'"),
    ("  init:", "\tinit:", "2: not YAML: "),
    ("    model_dir: out", "   model_dir: out", "5: not YAML: "),
    ("model_dir: out", "model_dir:out", "6: not YAML: "),
    ("min_num_csx: 2}", "min_num_csx: 2", "9: not YAML: "),
    ("    model_dir: out", "    model_dir: out\n    model_dir: b",
     f"6: {INIT}.model_dir: expected each key once, got it in line 5 too"),
    ("model_dir: out", "model_dir: 7", f"5: {INIT}.model_dir: expected text, got 7"),
    ("model_dir: out", "model_dir: ''", f"5: {INIT}.model_dir: expected text, got ''"),
    ("model_dir: out", "model_dir: s3://b/x",
     f"5: {INIT}.model_dir: expected a path on a file system"),
    ("model_dir: out", "model_dir: trainer.yaml/sub",
     f"5: {INIT}.model_dir: expected a directory that can be made, got"),
    ("backend_type: CSX", "backend_type: GPU4",
     f"4: {INIT}.backend.backend_type: expected one of CSX, CPU, GPU, got 'GPU4'"),
    ("num_csx: 4", "num_csx: 0", f"4: {INIT}.backend.cluster_config.num_csx: {WHOLE} 1"),
    ("num_csx: 4", "num_csx: four",
     f"4: {INIT}.backend.cluster_config.num_csx: {WHOLE} 1 to 100000, got 'four'"),
    ("{steps: 10}", "{steps: ten}",
     f"6: {INIT}.checkpoint.steps: {WHOLE} 0, got 'ten'"),
    ("max_steps: 100", "max_steps: 0", f"7: {INIT}.loop.max_steps: {WHOLE} 1, got 0"),
    ("max_steps: 100", "max_steps: 1e3x",
     f"7: {INIT}.loop.max_steps: {WHOLE} 1, got '1e3x'"),
    ("autorestart:", "autorestarts:",
     f"8: {INIT}.autorestarts: expected autorestart, got 'autorestarts'"),
    ("{max_num_restarts: 3, min_num_csx: 2}", "[3, 2]",
     f"8: {INIT}.autorestart: expected a mapping, got a list"),
    ("max_num_restarts:", "max_num_restart:",
     f"8: {INIT}.autorestart.max_num_restart: expected max_num_restarts, got"),
    ("restarts: 3", "restarts: -1",
     f"8: {INIT}.autorestart.max_num_restarts: {WHOLE} 0 to 10000, got -1"),
    ("restarts: 3", "restarts: three",
     f"8: {INIT}.autorestart.max_num_restarts: {WHOLE} 0 to 10000, got 'three'"),
    ("restarts: 3", "restarts: 2.5",
     f"8: {INIT}.autorestart.max_num_restarts: {WHOLE} 0 to 10000, got 2.5"),
    ("restarts: 3", "restarts: true",
     f"8: {INIT}.autorestart.max_num_restarts: {WHOLE} 0 to 10000, got true"),
    ("min_num_csx: 2", "min_num_csx: 8",
     f"8: {INIT}.autorestart.min_num_csx: {WHOLE} 1 to num_csx (4), got 8"),
    ("min_num_csx: 2", "min_num_csx: 0", f"8: {INIT}.autorestart.min_num_csx: {WHOLE} 1"),
]  # fmt: skip
SLURM = [
    # what stands below `slurm`, the message
    ("sbach: {time: 1:00}", "slurm.sbach: expected sbatch, got 'sbach'"),
    ("sbatch: {tme: 1:00}", "slurm.sbatch.tme: expected --time, got 'tme'"),
    ("sbatch: ['-t 1']", "slurm.sbatch: expected a mapping, got a list"),
    ("policy: {shrink_aftr: 10}",
     "slurm.policy.shrink_aftr: expected policy.shrink_after, got"),
    ("policy: {shrink_after: soon}",
     "slurm.policy.shrink_after: expected a time such as 10min, 24h or 1-12:00:00, got 'soon'"),
    ("policy: {stop_on_repeat: -2}", f"slurm.policy.stop_on_repeat: {WHOLE} 0"),
    ("recovery: fast", "slurm.recovery: expected one of "),
    ("watchdog: {floor: -1}", "slurm.watchdog.floor: expected a time such as"),
    ("nodes: 0", "slurm.nodes: expected a mapping, got '0'"),
    ("csx_per_node: 2", "slurm.csx_per_node: expected nodes.csx_per_node, got 'csx_per_node'"),
    ("command: ''", "slurm.command: expected text, got ''"),
    ("command: 'python {confg}'", "slurm.command: expected one of {config}, "),
    ("command: [python, train.py]", "slurm.command: expected text, got a list"),
    ("setup: {a: b}", "slurm.setup: expected a list of shell lines"),
    ("health_check: 'cpu,gppu'",
     "slurm.health_check.command: expected some of cpu, memory, disk, network, gpu, or a command"),
    ("checkpoint: {patern: x}", "slurm.checkpoint.patern: expected checkpoint.pattern, got"),
]  # fmt: skip
FILES = [
    # the whole file, the message
    ("", "1: expected a mapping with the key trainer, got an empty file"),
    ("- a\n", "1: expected a mapping with the key trainer, got a list"),
    ("\x01", "1: not YAML: control characters are not allowed"),
    ("trainer: *x\n", "1: not YAML: found undefined alias"),
]
MISTAKES = [
    *((CONFIG.replace(old, new), message) for old, new, message in REPLACED),
    *((f"{CONFIG}slurm: {{{text}}}\n", f"10: {message}") for text, message in SLURM),
    *FILES,
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_place(submission, text: str, message: str) -> None:
    assert text != CONFIG
    with pytest.raises(ConfigError) as raised:
        submission(config=text)
    assert f"trainer.yaml:{message}" in raised.value.problems[0], raised.value.problems


def test_all_mistakes_are_named_at_once(submission) -> None:
    text = CONFIG.replace("num_csx: 4", "num_csx: 0").replace("{steps: 10}", "{steps: ten}")
    with pytest.raises(ConfigError) as raised:
        submission(config=f"{text}slurm: {{recovery: fast}}\n")
    lines = sorted(problem.split(":")[1] for problem in raised.value.problems)
    assert lines == ["10", "4", "6", "8"]  # min_num_csx is above num_csx now


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (f"#SBATCH -N 4\n#SBATCH -t 60\n{CONFIG}",
         "trainer.yaml:1: '#SBATCH -N 4', and 1 more: a comment in a config, and not read: "),
        (f"#CSX --max-restarts=5\n{CONFIG}",
         "trainer.yaml:1: '#CSX --max-restarts=5': a comment in a config, and not read: "),
        (f"{CONFIG}  fitt: {{train_dataloader: {{}}}}\n",
         "trainer.yaml:10: trainer.fitt: no section of the Model Zoo, left to the trainer"),
        (CONFIG.replace("{train_dataloader: {}}", "{ckpt_path: no.mdl}"),
         "trainer.yaml:9: trainer.fit.ckpt_path: 'no.mdl' does not exist now"),
        (CONFIG.replace("{steps: 10}", "{steps: 0}"),
         "trainer.yaml:6: trainer.init.checkpoint.steps: not set, so no checkpoint is written"),
    ],
)  # fmt: skip
def test_what_is_valid_but_probably_a_mistake_is_told(submission, text: str, warning: str) -> None:
    warnings = submission(config=text).warnings
    assert any(line.startswith(warning) for line in warnings), warnings


def test_a_section_of_another_trainer_is_no_mistake(submission) -> None:
    text = CONFIG.replace("  fit:", "  fitt:")
    submission(config=f"{text}slurm: {{command: 'python train.py {{config}}'}}\n")


def test_a_command_that_is_named_like_a_check_is_given_by_its_path(submission) -> None:
    plan = submission(config=f"{CONFIG}slurm: {{health_check: ./gppu}}\n").jobs[0].plan
    assert plan.health_check.command == "./gppu"
