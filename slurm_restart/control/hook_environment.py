"""Read the facts of an end that slurmctld gave to csx-epilog, strictly."""

import re
from collections.abc import Mapping

from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen

_COMMENT = "SLURM_JOB_COMMENT"
_NAMES = (
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ID",
    "SLURM_JOB_UID",
    "SLURM_JOB_EXIT_CODE2",
    "SLURM_JOB_RESTART_COUNT",
    "SLURM_JOB_NODELIST",
)
_TASK = "SLURM_ARRAY_TASK_ID"
_FORMS = ((*_NAMES, _TASK, _COMMENT), (*_NAMES, _COMMENT))
"""The lines of the file that csx-epilog writes, in their order; then those of 0.3 and before."""


@frozen
class HookEnvironment:
    """Values of the hook's environment. `comment` is text that a user wrote."""

    cluster: str
    job_id: int
    uid: int
    comment: str
    exit_code: int
    signal: int
    restarts: int
    nodelist: str
    array_task_id: int | None = None
    """None: the job is no task of an array."""
    queued_at: float | None = None
    """When csx-epilog wrote it down, in epoch seconds; None: not known."""


def parse_end(text: str) -> HookEnvironment:
    """Read the file that csx-epilog writes: `NAME=value` lines, the comment last and whole.

    Raises:
        CsxError: the file is not complete, or a value is not of the expected form.
    """
    for names in _FORMS:
        pairs = [line.partition("=") for line in text.split("\n", len(names) - 1)]
        if tuple(name for name, _, _ in pairs) == names and text.endswith("\n"):
            break
    else:
        raise CsxError(f"expected lines of {', '.join(_FORMS[0])}, got {text[:80]!r}")
    values = {name: value for name, _, value in pairs}
    return read_environment(values | {_COMMENT: values[_COMMENT].removesuffix("\n")})


def _number(env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "")
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        raise CsxError(f"{name}: expected a number, got {text[:40]!r}")
    return int(text)


def read_environment(env: Mapping[str, str]) -> HookEnvironment:
    """Read the hook's environment.

    Raises:
        CsxError: a variable that Slurm sets is missing or not of the expected form.
    """
    code, colon, signal = env.get("SLURM_JOB_EXIT_CODE2", "").partition(":")
    if not colon or not code.isdecimal() or not signal.isdecimal():
        raise CsxError(f"SLURM_JOB_EXIT_CODE2: expected CODE:SIGNAL, got {code[:40]!r}")
    return HookEnvironment(
        cluster=env.get("SLURM_CLUSTER_NAME", ""),
        job_id=_number(env, "SLURM_JOB_ID"),
        uid=_number(env, "SLURM_JOB_UID"),
        comment=env.get(_COMMENT, ""),
        exit_code=int(code),
        signal=int(signal),
        restarts=_number(env, "SLURM_JOB_RESTART_COUNT"),
        nodelist=env.get("SLURM_JOB_NODELIST", ""),
        array_task_id=_number(env, _TASK) if env.get(_TASK) else None,
    )
