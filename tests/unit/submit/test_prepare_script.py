import io
import re
import sys
from pathlib import Path

import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import ConfigError, CsxError, UsageError
from slurm_restart.submit import format_plan
from slurm_restart.submit.argv import OptionTable, parse
from slurm_restart.submit.batch_script import find_script, is_script
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.prepare import prepare
from slurm_restart.submit.prepare_script import prepare_script, script_of
from slurm_restart.trainer.run_plan import (
    CheckpointFormat,
    ProgressMeasure,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.settings_files import SettingsLayer

JOB = """\
#!/bin/bash
#SBATCH -n 8 --gres=gpu:2 --time=60
#SBATCH --output=out-%j.txt
#CSX --max-restarts=5
srun ./solve "$@"
"""


REMOTE = """\
#!/bin/bash
#CSX --checkpoint=s3://bucket/run/step-{step}.pt
#CSX --checkpoint-saved='put (?P<path>.+)'
srun ./solve
"""


def layer(**values):
    return SettingsLayer(values=values, where=lambda keys: f"user.toml: {'.'.join(keys)}")


@pytest.fixture
def script(tmp_path):
    """Prepare a script's submission: `script("-N2", "job.sh", "x", text=…, env=…)`."""

    def make(*arguments, text=JOB, env=None, files=(), stdin=b""):
        (tmp_path / "job.sh").write_text(text)
        table = OptionTable(["container-image="])
        environ = env or {}
        context = SubmitContext(
            environ=environ, cwd=Path(tmp_path), slurm=SlurmAccess(bin_dir="/usr/bin")
        )
        line = parse(
            arguments or ["job.sh"], table, lambda word: is_script(find_script(word, environ))
        )
        found = script_of(line, environ, io.BytesIO(stdin))
        if found is None:
            return prepare(line, table, files, context)
        return prepare_script(found, line, table, files, context)

    return make


def problems(script, *arguments, **options):
    with pytest.raises(CsxError) as caught:
        script(*arguments, **options)
    return str(caught.value).splitlines()


def test_the_plan_of_a_script(script, tmp_path):
    result = script("--comment=mine", "job.sh", "-N", "x y", "--")
    (job,) = result.jobs
    plan = job.plan
    assert (plan.mode, plan.phase, plan.phases) == (Mode.SCRIPT, 0, 1)
    assert plan.policy == RestartPolicy(max_restarts=5, recovery=Recovery.AUTO)
    assert plan.command == "exec /bin/bash {run_dir}/job.sh"
    assert plan.arguments == ("-N", "x y", "--")
    assert (plan.work_dir, plan.model_dir) == (str(tmp_path), str(tmp_path / "csx-restart"))
    assert plan.config_path == str(tmp_path / "job.sh")
    assert plan.fixed_size
    assert plan.checkpoint.format is CheckpointFormat.NONE
    assert plan.user_comment == "mine"
    assert job.input_file == ("job.sh", JOB.encode(), 0o755)
    plan.save(tmp_path / "plan.json")
    assert RunPlan.load(tmp_path / "plan.json") == plan


def test_sbatch_gets_the_options_of_the_script_and_what_restarts_need(script):
    arguments = script().jobs[0].arguments()
    assert arguments[:4] == ("--ntasks=8", "--gres=gpu:2", "--time=60", "--output=out-%j.txt")
    assert arguments[4:8] == (
        "--open-mode=append", "--signal=B:USR1@120", "--job-name=job.sh", "--requeue",
    )  # fmt: skip
    assert arguments[8].startswith("--comment=csx-restart/1 run=")
    assert len(arguments) == 9


def test_variables_and_the_command_line_stand_above_the_script_and_settings_below(script):
    job = script(
        "--time=5", "job.sh",
        env={"SBATCH_GRES": "gpu:4", "SBATCH_TIMELIMIT": "7"},
        files=[layer(sbatch={"output": "u.txt", "account": "a"}, script={"max_restarts": "9"})],
    ).jobs[0]  # fmt: skip
    arguments = job.arguments()
    assert {"--time=5", "--gres=gpu:4", "--output=out-%j.txt", "--account=a"} <= set(arguments)
    assert job.plan.policy == RestartPolicy(max_restarts=5, recovery=Recovery.AUTO)


def test_restart_options_of_settings_lines_and_the_command_line(script):
    files = [layer(script={"max_restarts": "9", "run_dir": "runs"}, policy={"exclude_for": "1h"})]
    plan = script(text="#!/bin/sh\n", files=files).jobs[0].plan
    assert plan.policy == RestartPolicy(max_restarts=9, recovery=Recovery.AUTO, exclude_for=3600)
    assert plan.model_dir.endswith("/runs")
    text = "#!/bin/sh\n#CSX --shrink-after=10min --give-up-after 2h\n#CSX --max-restarts=4\n"
    plan = script(
        "--max-restarts=0",
        "--stop-on-repeat=3",
        "--relaunch-min-time=2min",
        "job.sh",
        text=text,
        files=files,
    )
    assert plan.jobs[0].plan.policy == RestartPolicy(
        max_restarts=0,
        recovery=Recovery.AUTO,
        exclude_for=3600,
        stop_on_repeat=3,
        shrink_after=600,
        give_up_after=7200,
        relaunch_min_time=120,
    )
    assert script(text="#!/bin/sh\n").jobs[0].plan.policy == RestartPolicy(
        max_restarts=3, recovery=Recovery.AUTO
    )


def test_a_script_is_not_given_what_is_for_configs(script):
    job = script(files=[layer(setup=["module load x"], command="train {config}")]).jobs[0]
    assert (job.setup, job.plan.command) == ((), "exec /bin/bash {run_dir}/job.sh")
    assert "--exclusive" not in job.arguments()


@pytest.mark.parametrize(
    ("value", "directory", "pattern"),
    [
        ("ckpt/step-{step}.pt", "ckpt", r"step\-(?P<step>\d+)\.pt"),
        ("m-{step}", ".", r"m\-(?P<step>\d+)"),
        ("/m-{step}", "/", r"m\-(?P<step>\d+)"),
        ("~/c/m-{step}", "/home/me/c", r"m\-(?P<step>\d+)"),
        ("c/s-{step}/x.pt", "c", r"s\-(?P<step>\d+)/x\.pt"),
    ],
)
def test_a_checkpoint_is_a_directory_and_a_name(
    script, tmp_path, monkeypatch, value, directory, pattern
):
    monkeypatch.setenv("HOME", "/home/me")
    text = f"#!/bin/sh\n#CSX --checkpoint='{value}' --checkpoint-complete={{path}}.done\n"
    layout = script(text=text).jobs[0].plan.checkpoint
    assert layout.directory == str(tmp_path / directory)
    assert (layout.pattern, layout.complete) == (pattern, "{path}.done")
    assert layout.format is CheckpointFormat.AUTO


@pytest.mark.parametrize(
    ("options", "directory", "pattern"),
    [
        (("--checkpoint-format=hf",), ".", r"checkpoint-(?P<step>\d+)"),
        (("--checkpoint-format=hf", "--checkpoint=out"), "out", r"checkpoint-(?P<step>\d+)"),
        (("--checkpoint-format=torch", "--checkpoint=o/m{step}"), "o", r"m(?P<step>\d+)"),
    ],
)
def test_a_format_has_names(script, tmp_path, options, directory, pattern):
    text = "#!/bin/sh\n#CSX --checkpoint=x/y-{step}\n#CSX --checkpoint=.\n"
    layout = script(*options, "job.sh", text=text).jobs[0].plan.checkpoint
    assert (layout.directory, layout.pattern) == (str(tmp_path / directory), pattern)
    assert layout.format.value in options[0]


def test_the_first_attempt_of_a_new_submission_gets_a_checkpoint_that_is_there(script, tmp_path):
    text = "#!/bin/sh\n#CSX --checkpoint=step-{step}.pt\n"
    assert "a new checkpoint is progress" in script(text=text).notes[-1]
    (tmp_path / "step-30.pt").touch()
    result = script(text=text)
    assert f"{tmp_path}/step-30.pt is there already: the first attempt" in result.notes[-1]
    assert result.jobs[0].plan.autoload_last_checkpoint


def test_a_script_without_checkpoints_is_told_what_that_means(script):
    assert script().notes[0] == "at most 5 restarts in a row without progress"
    assert script().notes[1] == (
        "no --checkpoint given: every attempt starts the script anew; progress is an attempt that "
        "lasts longer than 1 h"
    )


@pytest.mark.parametrize(
    ("option", "measure", "noted"),
    [
        (
            r"--progress='step (\d+)'",
            ProgressMeasure(pattern=r"step (\d+)"),
            "progress is a step in the output beyond all earlier ones",
        ),
        (
            "--progress-file=~/r.dat",
            ProgressMeasure(file="/home/me/r.dat"),
            "progress is growth of /home/me/r.dat",
        ),
        (
            "--progress-after=10min",
            ProgressMeasure(after=600),
            "progress is an attempt that lasts longer than 10 min",
        ),
    ],
)
def test_what_shows_progress_without_checkpoints(script, monkeypatch, option, measure, noted):
    monkeypatch.setenv("HOME", "/home/me")
    result = script(text=f"#!/bin/sh\n#CSX {option}\n")
    assert result.jobs[0].plan.progress == measure
    assert result.notes[-1].endswith(noted)
    assert result.warnings == ()


def test_a_measure_of_progress_that_is_not_used_is_named_with_its_place(script):
    result = script(text="#!/bin/sh\n#CSX --progress-after=1h --checkpoint=c-{step}\n")
    assert len(result.warnings) == 1
    assert result.warnings[0].endswith("not used, as the checkpoints of the run show its progress")
    assert "job.sh:2" in result.warnings[0]


@pytest.mark.parametrize("arguments", [["--no-requeue", "job.sh"], ["job.sh"]])
def test_a_job_that_must_not_be_requeued_does_not_restart(script, arguments):
    text = "#!/bin/sh\n#SBATCH --no-requeue\n"
    result = script(*arguments, text=text)
    (job,) = result.jobs
    assert job.plan.policy is None
    assert job.plan.comment_record is None
    assert "--no-requeue" in job.arguments()
    assert not [word for word in job.arguments() if word.startswith(("--requeue", "--comment"))]
    assert result.notes[0].endswith("--no-requeue: the job does not restart")


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ("-N4 --min-nodes=2", (4, 2, False)),
        ("-N4-4 --min-nodes=2", (4, 2, False)),
        ("-N4 --min-nodes=4", (4, 4, True)),
        ("-N4", (4, 4, True)),
        ("-N2-4 -n 9", (2, 2, True)),
        ("-n 9 --ntasks-per-node=3 --cpus-per-task=2 -G 4 --gpus-per-task=1", (1, 1, True)),
        ("-s --exclusive=user --tres-per-task=cpu:2 -C 'a*2&b*2'", (1, 1, True)),
    ],
)
def test_the_size_is_fixed_unless_it_may_have_fewer_nodes(script, options, sizes):
    words = [word.strip("'") for word in options.split()]
    job = script(*words, "job.sh", text="#!/bin/sh\n").jobs[0]
    assert (job.plan.num_nodes, job.plan.min_nodes, job.plan.fixed_size) == sizes
    passed = [word for word in job.arguments() if word.startswith("--nodes")]
    given = [word for word in words if word.startswith("-N")]
    assert len(passed) == len(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--min-nodes=2", "--min-nodes: expected --nodes with one number beside it, got nothing"),
        ("--min-nodes=2 -N2-4", "--min-nodes: expected --nodes with one number beside it, got "),
        ("--min-nodes=5 -N4", "--min-nodes: expected a whole number from 1 to 4 (--nodes), got 5"),
        ("--min-nodes=0 -N4", "--min-nodes: expected a whole number from 1 to 100000, got '0'"),
        (
            "--min-nodes=2 -N4 -n8",
            "-n (--ntasks): refused with --min-nodes and --spares",
        ),
        (
            "--min-nodes=2 -N4 -c8",
            "-c (--cpus-per-task): refused with --min-nodes and",
        ),
        ("--min-nodes=2 -N4 -C a*2", "-C (--constraint): refused with node counts (`*N`) and --mi"),
        ("--max-restarts=x", "--max-restarts: expected a whole number from 0 to 10000, got 'x'"),
        ("--checkpoint=model.pt", "--checkpoint: expected "),
        ("--mode=fit", "--mode: refused with a batch script: it belongs to a trainer config"),
        ("-w n1", "-w (--nodelist): refused: a job pinned to nodes cannot be restarted without"),
        ("--rules=gone.yaml", "--rules: "),
        ("--run-dir=job.sh/x", "--run-dir: expected a directory that can be made"),
        ("--requeue=expedite", "--requeue: expected no value"),
        ("--open-mode=truncate", "--open-mode: expected append"),
    ],
)
def test_what_cannot_be_is_refused(script, tmp_path, options, message):
    found = problems(script, *options.split(), "job.sh", text="#!/bin/sh\n")
    assert [line for line in found if line.startswith(message)], found
    assert [path.name for path in tmp_path.iterdir()] == ["job.sh"]


def test_problems_of_lines_have_their_place(script):
    text = """\
#!/bin/bash
#SBATCH --partiton=x --hold
#SBATCH -N 4 job
#SBATCH hetjob
#SBATCH --max-restarts=3
#CSX --max-restart=3
#CSX --max-restarst=3
#CSX --nodes=4
#CSX --min-nodes=9
#CSX --checkpoint={x}{step}
"""
    with pytest.raises(ConfigError) as caught:
        script(text=text)
    short = [re.split(r" \(|, as |, and ", problem)[0] for problem in caught.value.problems]
    assert short == [
        "job.sh:2: #SBATCH: --partiton: sbatch has no such option; did you mean --partition?",
        "job.sh:3: #SBATCH: expected options only, got 'job'",
        "job.sh:4: #SBATCH: expected one job",
        "job.sh:5: #SBATCH: expected --max-restarts in a line with #CSX",
        "job.sh:7: #CSX: --max-restarst: sbatch has no such option; did you mean --max-restarts?",
        "job.sh:8: #CSX: expected --nodes in a line with #SBATCH",
        "job.sh:9: --min-nodes: expected a whole number from 1 to 4",
        "job.sh:10: --checkpoint: expected {step}, {epoch}, * or ? instead of {x}, got '{x}{step}'",
    ]


def test_wrap(script):
    job = script("-n1", "--wrap=sleep 5; exit 3").jobs[0]
    assert job.plan.command == "exec /bin/sh {run_dir}/job.sh"
    assert job.input_file[1].endswith(b"\nsleep 5; exit 3\n")
    assert "--job-name=wrap" in job.arguments()
    assert not [word for word in job.arguments() if word.startswith("--wrap")]
    for words in (["--wrap=x", "job.sh"], ["--wrap=x", "y"], ["--wrap=x", "--", "y"]):
        with pytest.raises(UsageError, match="--wrap: expected no script and no arguments"):
            script(*words)
    with pytest.raises(UsageError, match="--wrap: expected a command, got ' '"):
        script("--wrap= ")


def test_a_script_from_standard_input(script):
    job = script("-n1", stdin=b"#!/bin/sh\n#SBATCH -t 5\n").jobs[0]
    assert {"--ntasks=1", "--time=5", "--job-name=stdin"} <= set(job.arguments())
    with pytest.raises(UsageError, match=r"expected a batch script .*, got nothing"):
        script("-n1")


def test_words_behind_two_dashes(script):
    job = script("-n1", "--", "job.sh", "--", "-N4").jobs[0]
    assert job.plan.arguments == ("--", "-N4")


@pytest.mark.parametrize(
    ("name", "data", "got"),
    [
        ("notes.txt", b"Buy milk.\n", "a text that is neither: a script begins with #!"),
        ("program", b"\x7fELF\0\0", "data that is no text"),
        ("empty", b"", "an empty file"),
        ("gone", None, "No such file or directory"),
        (".", None, "a directory"),
        ("late.sh", b"\n#!/bin/sh\n", "a text that is neither"),
    ],
)
def test_a_wrong_file_is_told_what_is_expected(script, tmp_path, name, data, got):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        script("-n1", name, "argument")
    assert str(caught.value).startswith(
        f"{name}: expected a batch script (its first two bytes are #!) or a trainer config (YAML), "
        f"got {got}"
    )


def test_a_config_of_any_name_is_a_config(script, tmp_path):
    (tmp_path / "params").write_text("# comment\ntrainer: {init: {}}\n")
    with pytest.raises(ConfigError, match=r"params:2: trainer\.fit: expected this section"):
        script("params")


def test_other_batch_systems_are_a_warning(script):
    text = "#!/bin/sh\n#PBS -l nodes=2\n"
    assert script(text=text).warnings == (
        "job.sh:2: #PBS lines are not read: write their options as #SBATCH",
    )
    assert script("--ignore-pbs", "job.sh", text=text).warnings == ()


def test_what_is_printed_for_print(script):
    text = format_plan.plan_text(script("job.sh", "a b"))
    assert "# script:        " in text
    assert "/job.sh 'a b'\n" in text
    assert "# checkpoints:   none known (--checkpoint)" in text
    assert "/supervisor.sh\n" in text
    # The interpreter's path may have any words.
    assert "trainer" not in text.replace(sys.prefix, "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ("TERM", "GROUP", 120)),
        ("--signal=B:USR1@300", ("USR1", "SCRIPT", 300)),
        ("--signal=USR2@60", ("USR2", "STEPS", 60)),
        ("--signal=B:USR1@300 --stop-signal=INT", ("INT", "GROUP", 300)),
        ("--stop-signal=SIGUSR1", ("USR1", "GROUP", 120)),
    ],
)
def test_the_signal_ahead_of_the_time_limit(script, options, expected):
    job = script(*options.split(), "job.sh").jobs[0]
    plan = job.plan
    assert (plan.stop_signal, plan.stop_receiver.name, plan.signal_lead) == expected
    assert f"--signal=B:USR1@{expected[2]}" in job.arguments()


def test_an_array_of_scripts(script):
    job = script("--array=1-20%5", "job.sh").jobs[0]
    assert job.plan.array == "1-20%5"
    assert "--array=1-20%5" in job.arguments()
    assert "--run-dir /r --array\n" in job.script(Path("/r"))
    assert "--array" not in script().jobs[0].script(Path("/r"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--checkpoint=ck/step-{step}.pt", "--checkpoint: expected %a"),
        ("--checkpoint=ck-%j/step-{step}.pt", "--checkpoint: expected %a"),
        ("--progress-file=grows", "--progress-file: expected %a"),
    ],
)
def test_tasks_that_would_be_restarted_from_the_checkpoints_of_others(script, options, says):
    assert any(line.startswith(says) for line in problems(script, "--array=1-3", options, "job.sh"))
    # One job has nobody to take them for.
    assert script(options, "job.sh").jobs


@pytest.mark.parametrize(
    "options",
    [
        "--checkpoint=t%a/step-{step}.pt",
        "--checkpoint=ck/t%a-step-{step}.pt",
        "--checkpoint=s3://bucket/%a/step-{step}.pt",
        "--progress-file=grows-%a",
    ],
)
def test_tasks_with_checkpoints_of_their_own(script, options):
    assert script("--array=1-3", options, "job.sh").jobs


def test_checkpoints_at_a_url(script):
    done = script(text=REMOTE)
    layout = done.jobs[0].plan.checkpoint
    assert (layout.directory, layout.written) == ("s3://bucket/run", "step-{step}.pt")
    assert layout.saved == "put (?P<path>.+)"
    line = "line that matches 'put (?P<path>.+)' and names s3://bucket/run/step-{step}.pt"
    assert f"each {line} in the output" in done.notes[-1]
    shown = format_plan.plan_text(done)
    assert "# checkpoints:   's3://bucket/run', 'step-{step}.pt', as the output says" in shown
    with pytest.raises(ConfigError, match=r"job.sh:2: --checkpoint: expected a bucket or host"):
        script(text=REMOTE.replace("bucket", ""))
