"""Render an attempt's config in a short-lived process, which takes YAML's memory with it."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slurm_restart.errors import ConfigError, CsxError
from slurm_restart.supervise.child_process import run_module
from slurm_restart.trainer.atomic_file import write_atomic

TIMEOUT = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """One rendering; `phase` counts where the source has several. The rest as `for_attempt`."""

    source: str
    target: str
    phase: int
    model_dir: str
    ckpt_path: str | None
    num_csx: int
    full_num_csx: int
    training: bool
    resumed: bool
    last_step: int | None
    max_restarts: int | None


def render(rendering: Rendering) -> None:
    """Write the attempt's config.

    Raises:
        ConfigError: the source is not a trainer config.
        OSError: it cannot be read or written (ENOSPC: no space), or the file system hangs.
    """
    done = run_module(__name__, timeout=TIMEOUT, text=json.dumps(asdict(rendering)))
    if done.code == 0:
        return
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ConfigError(rendering.source, [f"{rendering.source}: {last}"]) from None
    if "errno" in answer:
        raise OSError(answer["errno"], answer["message"], answer["path"])
    raise ConfigError(rendering.source, answer["problems"])


def main() -> None:
    """Read the rendering from stdin; print what went wrong as JSON and exit 1."""
    from slurm_restart.trainer import config  # noqa: PLC0415 - YAML is loaded in the child only

    it = Rendering(**json.load(sys.stdin))
    try:
        text = _text(config, it)
        write_atomic(Path(it.target), text.encode())
    except ConfigError as error:
        _fail(problems=list(error.problems))
    except CsxError as error:
        _fail(problems=[str(error)])
    except OSError as error:
        _fail(errno=error.errno, message=error.strerror, path=str(error.filename or it.target))


def _text(config: Any, it: Rendering) -> str:
    phases = config.phases(config.load(Path(it.source)))
    phase = phases[it.phase] if len(phases) > 1 else phases[0]
    given = config.for_attempt(
        phase,
        model_dir=it.model_dir,
        ckpt_path=it.ckpt_path,
        num_csx=it.num_csx,
        full_num_csx=it.full_num_csx,
        training=it.training,
        resumed=it.resumed,
        last_step=it.last_step,
        max_restarts=it.max_restarts,
    )
    if it.training and it.ckpt_path is None:
        # There is nothing to load; the trainer's own index may still name what was set aside.
        init = given["trainer"]["init"]
        init["checkpoint"] = {**(init.get("checkpoint") or {}), "autoload_last_checkpoint": False}
    text: str = config.dump(given)
    return text


def _fail(**answer: Any) -> None:
    print(json.dumps(answer))  # noqa: T201 - the answer
    sys.exit(1)
