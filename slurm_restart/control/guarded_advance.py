"""Advance one job within a time limit, and log every failure: a fault must not reach slurmctld."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from slurm_restart.control.controller import Controller
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.errors import CommentRecordError, CsxError, JobNotFoundError
from slurm_restart.frozen import frozen


class HookTimeoutError(CsxError):
    """A time limit of the hook or of its helper was reached."""


@frozen
class Advanced:
    """The result for one job."""

    done: bool
    """False: it failed, and has to be tried again."""
    look_again: float | None = None
    """Epoch seconds when the job needs the next step; None: nothing is left to do."""


def _on_alarm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise HookTimeoutError("time limit reached: left to the reconciler")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise HookTimeoutError in the main thread after that time."""
    signal.signal(signal.SIGALRM, _on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        # An alarm after this, such as during the logging of an error, would not be caught.
        signal.setitimer(signal.ITIMER_REAL, 0)


def guarded_advance(
    controller: Controller,
    job_id: int,
    *,
    hook: HookEnvironment | None = None,
    one_step: bool = False,
) -> Advanced:
    """Advance a job; it never raises.

    Args:
        controller: the job's cluster.
        job_id: the job.
        hook: the facts that slurmctld gave about its end, if there are any.
        one_step: leave what is due after one plan to the next call, instead of doing all.
    """
    log = controller.log(job_id)
    try:
        with time_limit(controller.site.limits.deadline):
            # Imported while Slurm answers the first queries: the hook takes 80 ms in all.
            from slurm_restart.control.advance import MAX_STEPS, advance  # noqa: PLC0415

            steps = 1 if one_step else MAX_STEPS
            look_again = advance(controller, job_id, hook=hook, steps=steps)
            return Advanced(done=True, look_again=look_again)
    except (CommentRecordError, JobNotFoundError) as error:
        # Not a job of this plugin, or of no cluster any more: trying again changes nothing.
        log(f"nothing done: {type(error).__name__}: {error}")
        return Advanced(done=True)
    except CsxError as error:
        log(f"nothing done: {type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - a fault here must neither end other jobs' turn nor stay unlogged
        import traceback  # noqa: PLC0415 - rarely needed, slow to import

        log(f"internal error of csx-epilog: {traceback.format_exc(limit=-3)}")
    return Advanced(done=False)
