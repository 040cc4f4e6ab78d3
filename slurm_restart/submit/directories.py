"""Make run directories after all checks, and remove them all if the submission fails."""

import os
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from slurm_restart.errors import StateError

SUFFIX = "_restartable"
_TRIES = 600
_MAX_NAME = 255
_MAX_PATH = 4096 - 128
"""PATH_MAX of Linux, less what the run directory needs below it."""


def directory_problem(path: Path) -> str | None:
    """Return why a directory cannot be used or made; None: it can. Nothing is changed."""
    if len(os.fsencode(path)) > _MAX_PATH:
        return f"expected a path of at most {_MAX_PATH} bytes, got {len(os.fsencode(path))}"
    if any(len(os.fsencode(part)) > _MAX_NAME for part in path.parts):
        return f"expected names of at most {_MAX_NAME} bytes, got a longer one"
    try:
        place = path
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            return f"expected a directory that can be made, got {str(place)!r}, which is none"
    except OSError as error:
        return f"expected a directory that can be made, got {str(path)!r}: {error.strerror}"
    if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        return f"expected a directory that you may write to, got {str(place)!r}"
    return None


@dataclass
class RunDirectories:
    """The directories that one submission has made, newest last."""

    made: list[Path] = field(default_factory=list)

    def make(self, model_dir: Path, now: datetime) -> Path:
        """Make `<model_dir>/<YYYYmmdd_HHMMSS>_restartable`; if it exists, use the next free second.

        Raises:
            StateError: it cannot be made.
        """
        try:
            self._make_parents(model_dir)
            for second in range(_TRIES):
                stamp = f"{now + timedelta(seconds=second):%Y%m%d_%H%M%S}"
                path = model_dir / f"{stamp}{SUFFIX}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                self.made.append(path)
                return path
        except OSError as error:
            raise StateError(f"{model_dir}: cannot make a run directory: {error}") from error
        raise StateError(f"{model_dir}: no free name for a run directory in {_TRIES} s from now")

    def _make_parents(self, model_dir: Path) -> None:
        missing = []
        place = model_dir
        while not place.exists():
            missing.append(place)
            place = place.parent
        for path in reversed(missing):
            try:
                path.mkdir()
            except FileExistsError:
                # Another submission made it at the same time; do not remove it.
                continue
            self.made.append(path)

    def remove(self, kept: set[Path]) -> None:
        """Remove what was made except the kept run directories and what others use."""
        for path in reversed(self.made):
            if path in kept:
                continue
            if path.name.endswith(SUFFIX):
                shutil.rmtree(path, ignore_errors=True)
            else:
                try:
                    path.rmdir()
                except OSError:
                    # Not empty: somebody else uses it.
                    continue
