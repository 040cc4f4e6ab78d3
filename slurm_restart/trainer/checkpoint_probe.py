"""Check checkpoints in a short-lived process: `python -m … [--first] PATH…`, one JSON line a path.

The supervisor must neither keep HDF5's memory, nor hang with a file system, nor crash on a damaged
file. The result for a path is printed before the next path is opened, so that the caller knows at
which file this process crashed.
"""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

SECONDS = 120
"""After which the process ends by itself if its caller was killed."""
_STEP = "global_step"
_MAX_LINKS = 8


class Soundness(Enum):
    """Result of a check."""

    COMPLETE = "complete"
    BROKEN = "broken"
    """The file was read and is not a complete checkpoint."""
    UNREADABLE = "unreadable"
    """The file could not be read now; whether it is complete is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """The check of one checkpoint. `step` is None if the file does not hold it."""

    path: str
    soundness: Soundness
    step: int | None = None
    reason: str = ""


def probe(path: str) -> Probe:
    """Check that one `.mdl` file can be opened and is marked as completely written."""
    try:
        with Path(path).open("rb") as stream:
            stream.read(1)
    except OSError as error:
        reason = error.strerror or str(error)
        return Probe(path=path, soundness=Soundness.UNREADABLE, reason=reason)
    import h5py  # noqa: PLC0415 - slow to import, and not needed for a missing file

    try:
        # The trainer of a lost node may still hold HDF5's lock on a network file system.
        with h5py.File(path, "r", locking=False) as file:
            if not bool(file.attrs.get("__SUCCESS__", False)):
                return _broken(path, "it was not written to its end (no __SUCCESS__)")
            return Probe(path=path, soundness=Soundness.COMPLETE, step=_step(file))
    except OSError as error:
        if "errno = " in str(error) or error.errno is not None:
            return Probe(path=path, soundness=Soundness.UNREADABLE, reason=str(error))
        return _broken(path, str(error))
    except (KeyError, RuntimeError, ValueError) as error:
        return _broken(path, str(error))


def _broken(path: str, reason: str) -> Probe:
    return Probe(path=path, soundness=Soundness.BROKEN, reason=" ".join(reason.split()))


def _step(file: Any) -> int | None:
    """Return the global step; equal scalars of a checkpoint are stored once and linked."""
    key = _STEP
    for _ in range(_MAX_LINKS):
        name = f"{key}.__metadata__"
        if name not in file.attrs:
            break
        entry = json.loads(file.attrs[name]).get(name, {})
        if "scalar_value" in entry:
            return _to_int(entry["scalar_value"])
        if not entry.get("__LINKED__"):
            break
        key = str(entry.get("key"))
    return _to_int(file[key][()]) if key in file else None


def _to_int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def probe_all(paths: Sequence[str], *, first: bool) -> Iterator[Probe]:
    """Yield the check of each path in order; `first`: stop after the first complete checkpoint."""
    for path in paths:
        result = probe(path)
        yield result
        if first and result.soundness is Soundness.COMPLETE:
            return


def to_json(result: Probe) -> str:
    """Return a result as one line of JSON."""
    return json.dumps(asdict(result) | {"soundness": result.soundness.value})


def from_json(line: str) -> Probe:
    """Return the result of a line that `to_json` returned.

    Raises:
        ValueError, KeyError, TypeError: not such a line.
    """
    data = json.loads(line)
    return Probe(**(data | {"soundness": Soundness(data["soundness"])}))


def main() -> None:
    """Print one line for each path."""
    signal.alarm(SECONDS)
    paths = sys.argv[1:]
    first = paths[:1] == ["--first"]
    for result in probe_all(paths[first:], first=first):
        print(to_json(result), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main()
