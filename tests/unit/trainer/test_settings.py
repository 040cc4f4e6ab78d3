import pytest

from slurm_restart.core.node_answers import CheckTime
from slurm_restart.core.watchdog_settings import WatchdogMode
from slurm_restart.errors import ConfigError
from slurm_restart.trainer.run_plan import CheckpointFormat
from slurm_restart.trainer.settings import Settings, combine
from slurm_restart.trainer.settings_files import config_layer, read_settings_files
from slurm_restart.trainer.yaml_lines import parse


def of_yaml(block):
    layer = config_layer(parse(f"slurm:\n{block}", "t.yaml"))
    assert layer is not None
    return layer


def values(settings):
    return {name: given.value for name, given in settings.sbatch.items()}


def files(tmp_path, site="", user=""):
    (tmp_path / "site.toml").write_text(site)
    (tmp_path / "slurm_restart").mkdir(exist_ok=True)
    (tmp_path / "slurm_restart" / "user.toml").write_text(user)
    return read_settings_files(
        {"CSX_RESTART_SITE": str(tmp_path / "site.toml"), "XDG_CONFIG_HOME": str(tmp_path)}
    ).layers


def test_every_key_of_the_block():
    settings, problems = combine(
        [
            of_yaml("""\
  sbatch: {partition: gpu, time: 1:00:00, --exclude: [a, b], requeue: on, hold: off, mem: 010}
  setup: |
    module load x
    export A="b c"
  command: srun python train.py --resume {checkpoint}
  site_options: [container-image=]
  stop_signal: sigusr1
  checkpoint: {directory: ck, pattern: "epoch=*-step={step}.ckpt", complete: "{path}.done",
    format: lightning}
  nodes: {csx_per_node: 2}
  policy: {stop_on_repeat: 0, shrink_after: 10min, give_up_after: 1-0, exclude_for: unlimited}
""")
        ]
    )
    assert problems == []
    assert values(settings) == {
        "partition": "gpu",
        "time": "1:00:00",
        "exclude": "a,b",
        "requeue": True,
        "mem": "010",
    }
    assert settings.setup == ("module load x", 'export A="b c"')
    assert settings.command == "srun python train.py --resume {checkpoint}"
    assert settings.site_options == ("container-image=",)
    assert settings.stop_signal == "USR1"
    assert settings.checkpoint_directory == "ck"
    assert settings.checkpoint_complete == "{path}.done"
    assert settings.csx_per_node == 2
    assert (settings.stop_on_repeat, settings.shrink_after) == (0, 600)
    assert (settings.give_up_after, settings.exclude_for) == (86400, 10**8)
    assert settings.checkpoint_pattern == "epoch=*-step={step}.ckpt"
    assert settings.checkpoint_format is CheckpointFormat.LIGHTNING


def test_without_settings_all_are_defaults():
    assert combine([]) == (Settings(), [])
    assert combine([of_yaml("  policy: {}\n  sbatch:\n")]) == (Settings(), [])
    assert config_layer(parse("trainer: 1", "t.yaml")) is None
    assert config_layer(parse("slurm: ~", "t.yaml")) is None


def test_later_layers_override_earlier_ones_by_key(tmp_path):
    layers = files(
        tmp_path,
        site="""
[slurm]
setup = ["module load slurm"]
command = "site {config}"
[slurm.sbatch]
partition = "site"
account = "all"
exclusive = true
time = 01:00:00
[slurm.policy]
shrink_after = "1h"
""",
        user='[slurm.sbatch]\npartition = "user"\nnice = 5\n[slurm.nodes]\ncsx_per_node = 2\n',
    )
    own = of_yaml("  sbatch: {account: ~, nice: 7, exclusive: no}\n  command: ~\n")
    settings, problems = combine([*layers, own])
    assert problems == []
    assert values(settings) == {"time": "01:00:00", "partition": "user", "nice": "7"}
    assert settings.setup == ("module load slurm",)
    assert settings.origins["setup"] == f"{tmp_path}/site.toml:3: slurm.setup"
    assert settings.command is None
    assert (settings.csx_per_node, settings.shrink_after) == (2, 3600)
    assert settings.sbatch["nice"].origin == "t.yaml:2: slurm.sbatch.nice"
    # `partition` stands in one line of that file only.
    assert settings.sbatch["partition"].origin.endswith("user.toml:2: slurm.sbatch.partition")


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("  comand: x", "slurm.comand: expected command, got 'comand'"),
        ("  polcy: {x: 1}", "slurm.polcy: expected policy, got 'polcy'"),
        ("  zzzzz: 1", "slurm.zzzzz: expected one of sbatch, setup, command, "),
        (
            "  policy: {shrnk_after: 1h}",
            "slurm.policy.shrnk_after: expected policy.shrink_after, got 'policy.shrnk_after'",
        ),
        ("  policy: 3", "slurm.policy: expected a mapping, got '3'"),
        ("  policy: {shrink_after: 300}", "slurm.policy.shrink_after: expected a time such as"),
        ("  policy: {stop_on_repeat: 1.5}", "expected a whole number from 0 to 10000, got '1.5'"),
        ("  nodes: {csx_per_node: 0}", "expected a whole number from 1 to 100000, got '0'"),
        ("  command: ''", "slurm.command: expected text, got ''"),
        ("  command: x {confg}", "got {confg} (did you mean {config}?)"),
        ("  command: x '{config}'", "slurm.command: expected {config} outside quotes"),
        ("  setup: {a: b}", "slurm.setup: expected a list of shell lines, or a block of them"),
        ("  setup: [a: b]", "slurm.setup: expected a list of shell lines, or a block of them"),
        ("  site_options: ['-x']", "expected a list of option names such as container-image="),
        ("  checkpoint: {pattern: c.pt}", "expected the name of a checkpoint with {step} or"),
        ("  checkpoint: {pattern: 'a/../{step}'}", "expected names separated by single slashes"),
        ("  checkpoint: {pattern: '{step}-{loss}'}", "expected {step}, {epoch}, * or ? instead of"),
        ("  checkpoint: {directory: 'a/*/../b'}", "expected names separated by single slashes"),
        ("  checkpoint: {format: mdk}", "expected one of mdl, torch, safetensors, hf, "),
        ("  checkpoint: {complete: done}", "expected a path with {path} in it"),
        ("  progress: {pattern: 'step (}'}", "slurm.progress.pattern: expected a regular expr"),
        ("  progress: 'step [0-9]+'", r"expected a regular expression with a group, such as"),
        ("  progress: [a]", "slurm.progress: expected a mapping, got a list"),
        ("  progress: {after: 0}", "slurm.progress.after: expected a time from 1s, got '0'"),
        ("  progress: {file: ''}", "slurm.progress.file: expected text, got ''"),
        ("  watchdog: maybe", "slurm.watchdog.mode: expected one of on, report, off, got 'maybe'"),
        ("  watchdog: {floor: 0}", "slurm.watchdog.floor: expected a time from 1s, got '0'"),
        ("  watchdog: {floor: 10}", "slurm.watchdog.floor: expected a time such as 10min"),
        ("  watchdog: {busy_factor: 1}", "expected a whole number from 2 to 10000, got '1'"),
        ("  watchdog: {restart_when_slow: 3}", "expected true or false, got '3'"),
        ("  watchdog: {steps: 'a'}", "expected a regular expression with a group"),
        ("  watchdog: {flor: 1min}", "expected watchdog.floor, got 'watchdog.flor'"),
        ("  sbatch: {mem: {a: 1}}", "slurm.sbatch.mem: expected text or a flag, got a mapping"),
        ("  sbatch: [a]", "slurm.sbatch: expected a mapping, got a list"),
    ],
)
def test_problems_name_their_line(block, problem):
    problems = combine([of_yaml(block)])[1]
    assert len(problems) == 1
    assert problems[0].startswith("t.yaml:2: slurm.")
    assert problem in problems[0]


def test_progress():
    settings, problems = combine([of_yaml(r"  progress: {file: '{model_dir}/x', after: 90s}")])
    assert not problems
    assert (settings.progress_file, settings.progress_after) == ("{model_dir}/x", 90)
    assert settings.progress_pattern is None
    settings, problems = combine([of_yaml(r"  progress: 'step (\d+)'")])
    assert not problems
    assert settings.progress_pattern == r"step (\d+)"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("off", WatchdogMode.OFF),
        ("on", WatchdogMode.ON),
        ("'off'", WatchdogMode.OFF),
        ("report", WatchdogMode.REPORT),
        ("{mode: off}", WatchdogMode.OFF),
    ],
)
def test_the_watchdog_is_switched(text, mode):
    settings, problems = combine([of_yaml(f"  watchdog: {text}")])
    assert not problems
    assert settings.watchdog_mode is mode


def test_thresholds_of_the_watchdog():
    block = "  watchdog: {floor: 5min, slow_factor: 4, restart_when_slow: true}"
    settings, problems = combine([of_yaml(block)])
    assert not problems
    assert (settings.watchdog_floor, settings.watchdog_slow_factor) == (300, 4)
    assert settings.watchdog_restart_when_slow is True


def test_a_block_that_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match=r"t\.yaml:1: slurm: expected a mapping, got '3'"):
        config_layer(parse("slurm: 3", "t.yaml"))


def test_missing_files_are_ignored(tmp_path):
    nowhere = {"CSX_RESTART_SITE": str(tmp_path / "a" / "b"), "HOME": str(tmp_path)}
    assert read_settings_files(nowhere).layers == ()
    assert read_settings_files({**nowhere, "HOME": "/dev/null"}).layers == ()
    # A site file for the controller alone.
    assert files(tmp_path, site='state_dir = "/x"\n') == ()


@pytest.mark.parametrize(
    ("site", "problem"),
    [("slurm = 3", "slurm: expected a table"), ("[slurm", "Expected ']'"), ("x = \x01", "Invalid")],
)
def test_an_invalid_file_is_refused(tmp_path, site, problem):
    with pytest.raises(ConfigError) as caught:
        files(tmp_path, site=site)
    assert caught.value.problems[0].startswith(f"{tmp_path}/site.toml: ")
    assert problem in caught.value.problems[0]


def test_health_check():
    settings, problems = combine(
        [
            of_yaml("  health_check: {checks: [cpu, memory=30], timeout: 5min, when: always}"),
            of_yaml("  health_check: /opt/site/check --quick\n  leave_drained: true"),
        ]
    )
    assert problems == []
    assert settings.health_check_checks == ("cpu", "memory=30")
    assert settings.health_check_command == "/opt/site/check --quick"
    assert (settings.health_check_timeout, settings.health_check_when) == (300, CheckTime.ALWAYS)
    assert settings.leave_drained is True
    settings, problems = combine([of_yaml("  health_check: disk=7%, gpu, disk=7")])
    assert (problems, settings.health_check_checks) == ([], ("disk=7", "gpu"))
    assert settings.health_check_command is None
    settings, _ = combine([of_yaml("  health_check: cpu"), of_yaml("  health_check: {checks: }")])
    assert settings.health_check_checks is None


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("{checks: 'cpu,disks'}", "health_check.checks: expected some of cpu, memory, disk"),
        ("{checks: cpu=3}", "health_check.checks: expected a share only for memory and disk"),
        ("'cpu=3'", "health_check.checks: expected a share only for memory and disk"),
        ("{checks: memory=100}", "health_check.checks: expected some of"),
        ("{command: ''}", "health_check.command: expected text, got ''"),
        ("{timeout: 0}", "health_check.timeout: expected a time from 1s, got '0'"),
        ("{timeout: 2d}", "health_check.timeout: expected a time up to 24h, got '2d'"),
        ("{when: often}", "health_check.when: expected one of auto, always, never, got 'often'"),
        ("{comand: a}", "expected health_check.command, got 'health_check.comand'"),
        ("[cpu]", "health_check: expected a mapping, got a list"),
        ("x\n  leave_drained: maybe", "leave_drained: expected true or false, got 'maybe'"),
    ],
)
def test_wrong_values_of_the_health_check(block, problem):
    _, problems = combine([of_yaml(f"  health_check: {block}")])
    assert len(problems) == 1
    assert problem in problems[0]
    assert problems[0].startswith("t.yaml:")
