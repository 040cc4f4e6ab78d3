"""Check checkpoints in a short-lived process: `python -m … [--first] FORMAT PATH…`.

It prints one JSON line a path. The supervisor must neither keep HDF5's memory, nor hang with a file
system, nor crash on a damaged file. The result for a path is printed before the next path is
opened, so that the caller knows at which file this process crashed.
"""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import Enum

from slurm_restart.frozen import frozen
from slurm_restart.trainer.run_plan import CheckpointFormat

SECONDS = 120
"""After which the process ends by itself if its caller was killed."""


class Soundness(Enum):
    """Result of a check."""

    COMPLETE = "complete"
    BROKEN = "broken"
    """The file was read and is not a complete checkpoint."""
    UNREADABLE = "unreadable"
    """The file could not be read now; whether it is complete is not known."""


@frozen
class Probe:
    """The check of one checkpoint. `step` is None if the file does not hold it."""

    path: str
    soundness: Soundness
    step: int | None = None
    reason: str = ""


def probe(path: str, form: CheckpointFormat = CheckpointFormat.MDL) -> Probe:
    """Check one checkpoint by the means of its form. It is only read; nothing in it is executed."""
    # Here, as the supervisor imports this module, and only this process needs the checks.
    from slurm_restart.trainer.probes.broken import BrokenCheckpointError  # noqa: PLC0415
    from slurm_restart.trainer.probes.checks import check  # noqa: PLC0415

    try:
        step = check(path, form)
    except BrokenCheckpointError as error:
        return Probe(path=path, soundness=Soundness.BROKEN, reason=_line(error))
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename not in (None, path):
            reason = f"{error.filename}: {reason}"
        return Probe(path=path, soundness=Soundness.UNREADABLE, reason=_line(reason))
    except Exception as error:  # noqa: BLE001 - what no check expects is no proof of damage
        reason = f"the check failed: {type(error).__name__}: {error}"
        return Probe(path=path, soundness=Soundness.UNREADABLE, reason=_line(reason))
    return Probe(path=path, soundness=Soundness.COMPLETE, step=step)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:500]


def probe_all(
    paths: Sequence[str], form: CheckpointFormat = CheckpointFormat.MDL, *, first: bool
) -> Iterator[Probe]:
    """Yield the check of each path in order; `first`: stop after the first complete checkpoint."""
    for path in paths:
        result = probe(path, form)
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
    args = sys.argv[1:]
    first = args[:1] == ["--first"]
    form, *paths = args[first:]
    for result in probe_all(paths, CheckpointFormat(form), first=first):
        print(to_json(result), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main()
