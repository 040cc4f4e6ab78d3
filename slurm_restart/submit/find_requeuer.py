"""Find out who requeues the jobs of a submission: the cluster's hook, or each job itself.

The answer is written into the job's comment record, and the hook and the reconciler leave a job
alone that requeues itself. So never both do it, whatever is installed or removed later.
"""

from pathlib import Path

from slurm_restart.core.recovery import HookUse
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit.submission import Submission

HOOK_NAME = "csx-epilog"
"""The hook's file name as docs/howto/install.md has it."""
_ITSELF = "the job requeues itself"


@frozen
class Requeuer:
    """The submission with the answer in its plans, and what the user is told."""

    submission: Submission
    note: str | None = None
    warning: str | None = None


def find_requeuer(submission: Submission, slurm: Slurm) -> Requeuer:
    """Return the submission with who requeues its jobs."""
    if not submission.may_requeue:
        return Requeuer(submission=submission)
    match submission.hook:
        case HookUse.NO:
            return _itself(submission, "--hook=no")
        case HookUse.YES:
            note = _hook_note("the hook requeues the job (--hook=yes)", submission)
            return Requeuer(submission=submission, note=note)
        case HookUse.AUTO:
            return _ask(submission, slurm)


def _itself(submission: Submission, why: str) -> Requeuer:
    note = f"{_ITSELF} after a failure ({why}): see docs/howto/without-the-hook.md"
    return Requeuer(submission=submission.requeued_by_supervisor(), note=note)


def _hook_note(text: str, submission: Submission) -> str | None:
    """Return what the user is told of the hook; None: it only observes, which a warning says."""
    if submission.observes is None:
        return f"{text}, unless the site is in observe mode (its settings are not on this host)"
    return None if submission.observes else text


def _ask(submission: Submission, slurm: Slurm) -> Requeuer:
    try:
        facts = slurm.cluster_facts()
    except SlurmError as error:
        warning = f"it is not known whether this cluster has the hook, which is expected: {error}"
        return Requeuer(submission=submission, warning=warning)
    if not facts.has_epilog:
        return _itself(submission, "no hook: EpilogSlurmctld is not set")
    if facts.epilog is None or Path(facts.epilog).name == HOOK_NAME:
        note = _hook_note("the cluster's hook requeues the job", submission)
        return Requeuer(submission=submission, note=note)
    warning = (
        f"EpilogSlurmctld of this cluster, {facts.epilog}, is taken for the hook: if it is another "
        f"program, give --hook=no, with which {_ITSELF}"
    )
    return Requeuer(submission=submission, warning=warning)
