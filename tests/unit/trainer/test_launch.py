import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.job_comment import Mode
from slurm_restart.errors import UsageError
from slurm_restart.trainer.launch import (
    PLACEHOLDERS,
    Launch,
    can_compile_only,
    default_command,
    runs_model_zoo,
)

LAUNCH = Launch(
    config="/r/attempts/1/params.yaml",
    checkpoint="/m/checkpoint_10.mdl",
    num_csx=6,
    nodes=3,
    model_dir="/m",
    run_dir="/r",
    attempt=1,
    run_id="0123456789abcdef",
    step=10,
)
# What the kernel can pass as an argument: no NUL, and no lone surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("mode", "command"),
    [
        (Mode.FIT, "cszoo fit /r/attempts/1/params.yaml"),
        (Mode.TRAIN_AND_EVAL, "cszoo fit /r/attempts/1/params.yaml"),
        (Mode.VALIDATE, "cszoo validate /r/attempts/1/params.yaml"),
        (Mode.VALIDATE_ALL, "cszoo validate_all /r/attempts/1/params.yaml"),
    ],
)
def test_the_default_command_of_each_mode(mode, command):
    assert LAUNCH.command(default_command(mode)) == command


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("cszoo fit {config}", True),
        ("/opt/zoo/bin/cszoo validate {config}", True),
        ("srun -N {nodes} ./cszoo  validate_all {config}", True),
        ("cd /x && cszoo fit {config}", True),
        ("cszoo checkpoint info {config}", False),
        ("mycszoo fit {config}", False),
        ("python cszoo fitting {config}", False),
        ("python train.py {config}", False),
    ],
)
def test_the_model_zoo_is_known_by_its_command(template, expected):
    assert runs_model_zoo(template) is expected


def test_every_placeholder_is_filled_in():
    template = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    assert LAUNCH.command(template) == (
        "/r/attempts/1/params.yaml /m/checkpoint_10.mdl 6 3 /m /r 1 0123456789abcdef 10"
    )


def test_braces_of_the_shell_are_kept():
    template = """a ${config} {{config}} {a,b} 'it' "${X}" \\' {config} # don't
    {nodes}"""
    assert LAUNCH.command(template) == (
        """a ${config} {config} {a,b} 'it' "${X}" \\' /r/attempts/1/params.yaml # don't
    3"""
    )


@pytest.mark.parametrize(
    ("template", "command"),
    [
        ("train --resume {checkpoint}", "train"),
        ("train --resume {checkpoint} --nodes {nodes}", "train  --nodes 3"),
        ("train --resume \\\n  {checkpoint}; x", "train ; x"),
        ("train --resume={checkpoint} -v", "train  -v"),
        ("train --fast ckpt={checkpoint}", "train --fast"),
        ("train --a=b {checkpoint}", "train --a=b"),
        ("train {checkpoint} last", "train  last"),
        ("(train -c {checkpoint}) | tee x", "(train ) | tee x"),
        ("train {{checkpoint}} ${checkpoint}", "train {checkpoint} ${checkpoint}"),
        # Where leaving it out would change what the shell does, the argument is empty.
        ("train < {checkpoint}", "train < ''"),
        ("train $(ls {checkpoint}/*)", "train $(ls ''/*)"),
    ],
)
def test_without_a_checkpoint_its_option_is_left_out(template, command):
    launch = replace(LAUNCH, checkpoint=None)
    assert launch.command(template) == command
    if "{{" not in template:
        filled = LAUNCH.command(template)
        assert filled == template.format(checkpoint=LAUNCH.checkpoint, nodes=3)


def test_the_values_are_variables_and_a_missing_value_is_empty():
    launch = replace(LAUNCH, checkpoint=None)
    assert launch.command("train --resume {checkpoint}", ["--x y"]) == "train '--x y'"
    assert launch.environment(script=False)["CSX_RESTART_CHECKPOINT"] == ""
    assert launch.environment(script=False)["CSX_RESTART_NODES"] == "3"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("x {chekpoint}", "{chekpoint} (did you mean {checkpoint}?)"),
        ("x {zzz}", "got {zzz}; write {{zzz}} for the text"),
        (" ", "expected a command, got nothing"),
        ("a\0b", "NUL"),
        ('x "{config}"', "outside quotes"),
        ("sh -c 'x {config}'", "inside double quotes write $CSX_RESTART_CONFIG"),
        ("x `cat {config}`", "outside quotes"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template, message):
    with pytest.raises(UsageError) as caught:
        LAUNCH.command(template)
    assert message in str(caught.value)


@settings(max_examples=60)
@given(TEXT, st.lists(TEXT, max_size=2))
def test_any_value_becomes_one_argument(text, arguments):
    show = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
    launch = replace(LAUNCH, config=text, checkpoint=text)
    command = launch.command(
        f'{sys.executable} -S -c "{show}" {{config}} {{checkpoint}}', arguments
    )
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    assert json.loads(done.stdout) == [a.encode().hex() for a in (text, text, *arguments)]


@pytest.mark.parametrize(
    ("template", "arguments", "expected"),
    [
        ("cszoo fit {config}", (), True),
        ("  /opt/zoo/bin/cszoo  fit {config} --num_csx {num_csx}\n", (), True),
        ("OMP_NUM_THREADS=4 A='b' ~/zoo/bin/cszoo fit {config}", (), True),
        ("cszoo fit {config}", ("--disable_version_check",), True),
        ("cszoo fit {config}", ("--compile_only",), False),
        ("cszoo fit {config}", ("--target_device=CPU",), False),
        ("cszoo fit {config} --validate_only", (), False),
        ("srun cszoo fit {config}", (), False),
        ("source venv/bin/activate; cszoo fit {config}", (), False),
        ("cd /x && cszoo fit {config}", (), False),
        ("cszoo fit {config} | tee log", (), False),
        ("cszoo fit {config} > log", (), False),
        ("cszoo fit {config} &", (), False),
        ("cszoo fit $(prepare {config})", (), False),
        ("cszoo fit {config}  # comment", (), False),
        ("cszoo fit {config}\necho done", (), False),
        ("cszoo validate {config}", (), False),
        ("cszoo fitting {config}", (), False),
        ("python train.py {config}", (), False),
    ],
)
def test_only_a_command_that_is_cszoo_fit_alone_can_compile_only(template, arguments, expected):
    assert can_compile_only(template, arguments) is expected
