"""The tutorial's commands as they are printed, one after the other, as an ordinary user."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import AS_ROOT, PROGRAM, SYSTEM_PATH
from contrib.testing.waiting import LONG_DEADLINE

TOP = Path(__file__).parents[2]
TUTORIAL = TOP / "docs" / "tutorial" / "first-run.md"
USER = "games"
# What a reader waits for, before the block that begins with this line.
WAITS = {
    "devcluster fault cluster kill-step csx3": "[ -e model_dir/checkpoint_20.mdl ]",
    "devcluster fault cluster kill-slurmd csx2": "csx-restart status 2 | grep -q RUNNING",
    "kill %1": "csx-restart status 2 | grep -q COMPLETED",
}
SHORTER = {
    # The package is installed already, with what it depends on.
    "python3 -m venv venv\n": f"ln -s {sys.prefix} venv\n",
    "venv/bin/pip install ~/slurm_restart\n": "",
    "STEP_SECONDS=0.5": "STEP_SECONDS=0.1",
}


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory with the checkout, that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="csx-tutorial-", dir="/var/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "slurm_restart").symlink_to(TOP)
        if AS_ROOT:
            subprocess.run(["chown", "-h", USER, folder], check=True)
        yield path


def blocks() -> list[str]:
    """The blocks of shell commands, but for the installation of Debian's packages."""
    found = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)
    return [block for block in found if not block.startswith("sudo ")]


def script() -> str:
    """The blocks as one script, with what a reader does between them."""
    text = "set -eu\n"
    for block in blocks():
        condition = WAITS.get(block.partition("\n")[0])
        if condition is not None:
            text += f"until {condition}; do sleep 0.2; done\n"
        text += block
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    # The directories that are put into PATH must not hide it.
    return text + "type -P test\n"


def test_the_commands_work_as_they_are_printed(home: Path) -> None:
    text = script()
    assert all(first in text for first in WAITS)
    as_user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if AS_ROOT else {}
    output = home / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=home,
            env={"PATH": SYSTEM_PATH, "HOME": str(home), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            **as_user,
        )
        try:
            code = process.wait(LONG_DEADLINE)
        finally:
            process.kill()
            down = [sys.executable, str(PROGRAM), "down", str(home / "tour" / "cluster")]
            if (home / "tour" / "cluster").exists():
                subprocess.run(down, check=False, env=os.environ | {"HOME": str(home)})
    said = output.read_text()
    assert code == 0, said
    assert "Submitted batch job 2" in said
    assert "srun: error: csx3: task 2: Killed" in said
    assert "decision     leave: an error in the program" in said
    assert said.splitlines()[-1] == "/usr/bin/test"
