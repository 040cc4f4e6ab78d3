"""Runs a case's script for real and takes down what it left behind."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contrib.testing.dev_cluster import missing
from tests.data.generator import needs
from tests.data.generator.case import RECOVERABLE, Case, NotAsExpectedError
from tests.data.generator.places import command, unusable
from tests.data.generator.scrub import PYTHON, RUN, scrub
from tests.data.generator.server import answering
from tests.data.generator.sshd import refusing

PAYLOADS = Path(__file__).parents[1] / "payloads"
DEADLINE = 180
MAX_BYTES = 200_000
"""Logs are kept in the repository: a case must do with so much."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a run left behind, scrubbed."""

    log: str
    state: str
    exit_code: str
    slurm: str | None = None


def why_not(case: Case, python: Path) -> str | None:
    """Why a case cannot be made here; None: it can."""
    reasons = (needs.lacking(need, python) for need in case.needs)
    cluster = missing() if case.cluster is not None else None
    return next(filter(None, (*reasons, unusable(case.place), cluster)), None)


def prepare(folder: Path, python: Path) -> dict[str, str]:
    """Put the payloads into a directory; the environment for their scripts."""
    shutil.copytree(PAYLOADS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    programs = folder / ".bin"
    programs.mkdir()
    for name, arguments in (("python", ""), ("torchrun", " -m torch.distributed.run")):
        (programs / name).write_text(f'#!/bin/sh\nexec {python}{arguments} "$@"\n')
        (programs / name).chmod(0o755)
    (folder / "tmp").mkdir(mode=0o777)
    (folder / "checkpoints").mkdir()
    return {
        "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def places(folder: Path, python: Path) -> dict[Path, str]:
    """The paths of this machine that a log may hold, and what stands for them."""
    prefix = python.parent.parent
    system = prefix in (Path("/usr"), Path("/usr/local"))
    return {folder: RUN} | ({} if system else {prefix: PYTHON})


def run(case: Case, folder: Path, python: Path) -> Made:
    """Run a case of no cluster. The directory is made."""
    environment = prepare(folder, python)
    script = folder / "slurm_script"
    script.write_text(f"#!/bin/bash\n{case.script}\n")
    output = folder / "slurm-1.out"
    with _around(case, folder, environment), output.open("ab") as log:
        done = subprocess.run(
            command(case.place, script),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=DEADLINE,
            check=False,
        )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Made(
        log=scrub(output.read_text(errors="replace"), places(folder, python)),
        state="COMPLETED" if code == 0 else "FAILED",
        exit_code=f"{code}:0",
    )


@contextlib.contextmanager
def _around(case: Case, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if case.answers is not None:
            url = stack.enter_context(answering(case.answers))
            environment["URL"] = environment["HF_ENDPOINT"] = url
        elif "transformers" in case.needs:
            environment["HF_HUB_OFFLINE"] = "1"
        if "sshd" in case.needs:
            port = stack.enter_context(refusing(folder.with_name(f"{folder.name}-sshd")))
            environment["SSHD_PORT"] = str(port)
        yield


def check(case: Case, made: Made) -> str | None:
    """The root-cause line of a log.

    Raises:
        NotAsExpectedError: the program did not fail as the case is meant to.
    """
    expected = case.state or ("COMPLETED" if case.category == "completed" else "FAILED")
    if made.state != expected:
        raise NotAsExpectedError(f"ended as {made.state} {made.exit_code}, expected {expected}")
    if len(made.log) > MAX_BYTES:
        raise NotAsExpectedError(f"{len(made.log)} bytes of log, at most {MAX_BYTES} are kept")
    return case.root_line(made.log)


def record(case: Case, made: Made, python: Path) -> dict[str, object]:
    """The line of a case."""
    return {
        "name": case.name,
        "state": made.state,
        "exit_code": made.exit_code,
        "category": case.category,
        "also": list(case.also),
        "recoverable": RECOVERABLE[case.category],
        "blame": list(case.blame),
        "root_cause_line": check(case, made),
        "also_root_cause_lines": case.other_root_lines(made.log),
        "made_by": case.script,
        "versions": _versions(case, made, python),
    }


def _versions(case: Case, made: Made, python: Path) -> dict[str, str]:
    versions = {"python": needs.python_version(python)}
    for need in case.needs:
        if version := need in needs.MODULES and needs.module_version(python, need):
            versions[need] = version
    if made.slurm is not None:
        versions["slurm"] = made.slurm
    return versions


def free(folder: Path) -> None:
    """Remove a directory that a case ran in, whoever owns what is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() == 0:
        subprocess.run(["rm", "-rf", folder], check=False)
