"""The hook always ends with status 0 and leaves a trace, whatever it is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = "from slurm_restart.control.epilog import main; main()"
ENV = {
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_COMMENT": "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1",
    "SLURM_JOB_EXIT_CODE2": "1:0",
    "SLURM_JOB_RESTART_COUNT": "0",
    "SLURM_JOB_NODELIST": "n1",
}


def hook(folder: Path, *, squeue: str = "exit 1", settings: str = "", **env: str) -> str:
    """Run the hook with stub commands; returns its trace."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name in ("squeue", "scontrol", "sinfo"):
        (commands / name).write_text(f"#!/bin/sh\n{squeue}\n")
        (commands / name).chmod(0o755)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    site = folder / "site.toml"
    site.write_text(
        f'state_dir = "{state}"\nslurm_bin = "{commands}"\nslurm_conf = "/none"\n{settings}'
    )
    site.chmod(0o644)
    folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(site)],
        env=ENV | env,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = state / "csx-epilog.log"
    return log.read_text() if log.exists() else ""


def test_slurm_does_not_answer(tmp_path: Path) -> None:
    assert "nothing done: SlurmError" in hook(tmp_path)


def test_slurm_hangs(tmp_path: Path) -> None:
    settings = "[hook]\ncommand_timeout = 0.3\n"
    assert "nothing done: SlurmUnavailable" in hook(
        tmp_path, squeue="exec sleep 20", settings=settings
    )


def test_the_hooks_own_deadline(tmp_path: Path) -> None:
    assert "nothing done: HookTimeout" in hook(
        tmp_path, squeue="exec sleep 20", settings="[hook]\ndeadline = 0.5\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_COMMENT", "csx-restart/1 run=../../etc;max=1;num=1;min=1"),
        ("SLURM_JOB_COMMENT", "csx-restart/1 \x01\x02\x1b[2J"),
        ("SLURM_JOB_EXIT_CODE2", "x"),
        ("SLURM_JOB_ID", "7; reboot"),
        ("SLURM_JOB_UID", ""),
    ],
)
def test_odd_facts_are_refused_and_traced(tmp_path: Path, name: str, value: str) -> None:
    log = hook(tmp_path, **{name: value})
    assert "nothing done" in log
    assert log.isprintable() or "\n" in log
    assert not (tmp_path / "state" / "journal").exists()


def test_a_fault_of_its_own_is_traced(tmp_path: Path) -> None:
    odd = 'printf "slurm 22.05.8\\n"'
    assert "nothing done" in hook(tmp_path, squeue=odd)


def test_without_settings_it_still_ends_well(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", ENTRY, str(tmp_path / "none.toml")],
        env=ENV,
        check=False,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import slurm_restart.control.epilog, slurm_restart.control.process_end, "
        "slurm_restart.control.start_requeued; "
        "print(sorted({'click','jinja2','yaml','h5py','pyslurm','ClusterShell','asyncio'}"
        " & set(sys.modules)), 'ast' in sys.modules)"
    )
    out = subprocess.check_output([sys.executable, "-I", "-c", code], text=True, cwd=os.sep)
    assert out.strip() == "[] False"
