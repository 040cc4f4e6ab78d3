"""What `csx-restart completion` prints, in a real bash and as other shells get it."""

import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from slurm_restart.cli.completion import command, sbatch_completion, sbatch_options
from slurm_restart.cli.restart import COMMANDS


def printed(shell: str) -> str:
    done = CliRunner().invoke(command, [shell])
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_both_programs(shell):
    text = printed(shell)
    assert "csx-restart" in text
    assert "csx-sbatch" in text
    assert "max-restarts" in text


def test_options_that_are_refused_are_not_completed():
    assert "--max-restarts" in sbatch_options()
    assert "--nodelist" not in sbatch_options()
    assert "-l max-restarts" in sbatch_completion("fish")


def complete(tmp_path, *words: str) -> set[str]:
    program = tmp_path / "csx-restart"
    call = "import sys; from slurm_restart.cli.restart import main; main()"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -I -c '{call}' \"$@\"\n")
    program.chmod(0o755)
    ask = (
        'eval "$COMPLETION"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "_csx_restart_completion csx-restart; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", ask, "bash", *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "COMPLETION": printed("bash")},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), set(COMMANDS)),
        (("sta",), {"status"}),
        (("list", "--st"), {"--state"}),
        (("nodes", "cl"), {"clear"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(tmp_path, words, expected):
    assert complete(tmp_path, "csx-restart", *words) == expected
