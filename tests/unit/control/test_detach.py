"""The helper of the hook is independent of the process that slurmctld waits for."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import os, sys
from slurm_restart.control.start_requeued import detach
if detach():
    links = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}
    with open(sys.argv[1], "w") as file:
        print(os.getsid(0) == os.getpid(), *links, file=file)
    os._exit(0)
"""


def test_the_helper_has_a_session_and_descriptors_of_its_own(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hook = subprocess.Popen(
        [sys.executable, "-c", CODE, str(fifo)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert fifo.read_text() == f"True {os.devnull}\n"
    hook.communicate()
    assert hook.returncode == 0
