"""Count how often a problem is reported, so that the log has one line of it and not one a sweep."""

import os
import re
from pathlib import Path

FOLDER = "reported"
MAX_COUNT = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9?][A-Za-z0-9_?-]{0,63}(\.[a-z_-]{1,32})?", re.ASCII)


def count_report(state_dir: Path, problem: str) -> int:
    """Count a report of a problem; return how often it has been reported, from 1.

    Each problem has a file of as many bytes in the state directory, so that all processes count
    together without a lock. A file that cannot be written counts as a first report.

    Args:
        state_dir: the state directory.
        problem: what names it: a job id and the kind, such as `17.comment`.
    """
    if not _NAME.fullmatch(problem):
        raise ValueError(f"expected a short name for a problem, got {problem!r}")
    path = state_dir / FOLDER / problem
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return _append_byte(path)
    except OSError:
        return 1


def _append_byte(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    known = path.exists()
    descriptor = os.open(path, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size >= MAX_COUNT:
            return MAX_COUNT + 1
        try:
            os.write(descriptor, b".")
        except OSError:  # a full disk: the file itself says that the problem is known
            return 2 if known else 1
        # After an append the position is the end of this very byte, whatever others append.
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def is_due(count: int) -> bool:
    """Return whether the log is to mention this report of a problem: the 1st, 10th, 100th."""
    return str(count).rstrip("0") == "1"


def known_problems(state_dir: Path, kind: str) -> list[str]:
    """Return the names of the problems of a kind that have been reported."""
    try:
        names = [path.name for path in (state_dir / FOLDER).iterdir()]
    except OSError:
        return []
    return [name for name in names if name.endswith(f".{kind}")]


def clear_report(state_dir: Path, problem: str) -> None:
    """Forget the reports of a problem that is solved, so that it is reported if it returns."""
    try:
        (state_dir / FOLDER / problem).unlink(missing_ok=True)
    except OSError:
        return  # it stays counted
