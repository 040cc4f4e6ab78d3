"""The completion in a real zsh and a real fish: subcommands, options, values and files."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from contrib import package_files
from contrib.testing.waiting import DEADLINE, await_
from slurm_restart.cli.completion import command

CALLS = {
    "csx-restart": "from slurm_restart.cli.restart import main",
    "csx-sbatch": "from slurm_restart.cli.sbatch import main",
}
# A key completes the word before the cursor, and tells what the line is then.
ZSHRC = """\
{load}
zle-line-init() {{ : > ready }}
zle -N zle-line-init
complete-and-tell() {{ zle complete-word; print -r -- "$BUFFER" > new; mv new told; exit }}
zle -N complete-and-tell
bindkey '^T' complete-and-tell
"""
KEY = b"\x14"
CASES = (
    ("csx-restart sta", "csx-restart status"),
    ("csx-restart list --st", "csx-restart list --state"),
    ("csx-restart nodes cl", "csx-restart nodes clear"),
    ("csx-restart completion z", "csx-restart completion zsh"),
    ("csx-restart classify slu", "csx-restart classify slurm-7.out"),
    ("csx-sbatch --max-re", "csx-sbatch --max-restarts"),
    ("csx-sbatch job", "csx-sbatch job.sh"),
)
SOURCES = pytest.mark.parametrize("source", ["printed", "packaged"])
LINES = pytest.mark.parametrize(("typed", "completed"), CASES)


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell}: not installed")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with both programs in `bin`, and two files."""
    (tmp_path / "bin").mkdir()
    for name, call in CALLS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -I -c '{call}; main()' \"$@\"\n")
        program.chmod(0o755)
    for name in ("slurm-7.out", "job.sh"):
        (tmp_path / name).touch()
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(place), "TERM": "xterm", "LANG": "C.UTF-8"}


def printed(shell: str, place: Path) -> Path:
    """Return the file with what `csx-restart completion` prints."""
    path = place / f"completion.{shell}"
    path.write_text(CliRunner().invoke(command, [shell]).output)
    return path


def packaged(place: Path, folder: str) -> Path:
    """Return the folder of a package with the files for a shell."""
    package_files.main([str(place / "root")])
    return place / "root" / "usr" / "share" / folder


@needs("zsh")
@SOURCES
@LINES
def test_zsh(place: Path, source: str, typed: str, completed: str) -> None:
    load = "autoload -Uz compinit; compinit -u -D"
    if source == "packaged":
        load = f"fpath=({packaged(place, 'zsh/vendor-completions')} $fpath); {load}"
    else:
        load += f"; source {printed('zsh', place)}"
    (place / ".zshrc").write_text(ZSHRC.format(load=load))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-d", "-i"],
        cwd=place,
        env=environment(place),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        await_((place / "ready").exists, "zsh reads a line")
        os.write(ours, typed.encode() + KEY)
        await_((place / "told").exists, "zsh has completed the word")
        shell.wait(DEADLINE)
    os.close(ours)
    assert (place / "told").read_text().rstrip() == completed


@needs("fish")
@SOURCES
@LINES
def test_fish(place: Path, source: str, typed: str, completed: str) -> None:
    if source == "packaged":
        folder = packaged(place, "fish/vendor_completions.d")
        load = f"set -p fish_complete_path {folder}"
    else:
        load = f"source {printed('fish', place)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{load}; complete -C '{typed}'"],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    words = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert completed.rpartition(" ")[2] in words
