"""Render an attempt's config in a short-lived process, so that the supervisor loads no YAML."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slurm_restart.errors import ConfigError, CsxError
from slurm_restart.frozen import frozen
from slurm_restart.supervise.child_process import run_module
from slurm_restart.trainer.atomic_file import write_atomic

TIMEOUT = 120.0


@frozen
class RenderRequest:
    """Arguments of the child; `phase` is used if the source has several phases.

    With `validation_only`, the config is for the validation after the last step. The other fields
    are arguments of `trainer.config.for_attempt`.
    """

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
    validation_only: bool = False
    nan_checker: bool = False


def render(request: RenderRequest) -> None:
    """Write the attempt's config in a child process.

    Raises:
        ConfigError: the source is not a trainer config.
        OSError: a file cannot be read or written (ENOSPC: no space), or the file system hangs.
    """
    done = run_module(__name__, timeout=TIMEOUT, text=json.dumps(asdict(request)))
    if done.code == 0:
        return
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last_line = done.stderr.strip().rpartition("\n")[2]
        raise ConfigError(request.source, [f"{request.source}: {last_line}"]) from None
    if "errno" in answer:
        raise OSError(answer["errno"], answer["message"], answer["path"])
    raise ConfigError(request.source, answer["problems"])


def main() -> None:
    """Read a request from stdin; on a failure print it as JSON and exit 1."""
    from slurm_restart.trainer import config  # noqa: PLC0415 - YAML is loaded in the child only

    request = RenderRequest(**json.load(sys.stdin))
    try:
        text = _render_text(config, request)
        write_atomic(Path(request.target), text.encode())
    except ConfigError as error:
        _fail(problems=list(error.problems))
    except CsxError as error:
        _fail(problems=[str(error)])
    except OSError as error:
        _fail(errno=error.errno, message=error.strerror, path=str(error.filename or request.target))


def _render_text(config: Any, request: RenderRequest) -> str:
    phases = config.phases(config.load(Path(request.source)))
    phase = phases[request.phase] if len(phases) > 1 else phases[0]
    params = config.for_attempt(
        phase,
        model_dir=request.model_dir,
        ckpt_path=request.ckpt_path,
        num_csx=request.num_csx,
        full_num_csx=request.full_num_csx,
        training=request.training,
        resumed=request.resumed,
        last_step=request.last_step,
        max_restarts=request.max_restarts,
        nan_checker=request.nan_checker,
    )
    if request.validation_only and request.ckpt_path is not None:
        params = config.for_last_validation(params, request.ckpt_path)
    elif request.training and request.ckpt_path is None:
        # The trainer's own index of checkpoints may still name one that was set aside.
        init = params["trainer"]["init"]
        init["checkpoint"] = {**(init.get("checkpoint") or {}), "autoload_last_checkpoint": False}
    text: str = config.dump(params)
    return text


def _fail(**answer: Any) -> None:
    print(json.dumps(answer))  # noqa: T201 - read by the parent
    sys.exit(1)
