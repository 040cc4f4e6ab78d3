"""Read from the records of a phase whether the Model Zoo's check for NaN is to be on."""

from collections.abc import Sequence

from slurm_restart.core.job_comment import Mode
from slurm_restart.core.nan_flow import NanOutcome
from slurm_restart.supervise.expected_decision import category_of
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart
from slurm_restart.trainer.launch import runs_model_zoo
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir


def can_check(plan: RunPlan, last_step: int | None) -> bool:
    """Return whether the trainer has the check, and it can be told whether the check ended it.

    Args:
        plan: the phase.
        last_step: where it is done; None: not known.
    """
    trains = plan.mode in (Mode.FIT, Mode.TRAIN_AND_EVAL)
    return trains and runs_model_zoo(plan.command) and last_step is not None


def read_outcomes(earlier: Sequence[AttemptDir]) -> list[NanOutcome]:
    """Return what the records of the last attempts show, in order.

    They go back to the last one without the check: what was before has led to its being off.

    Args:
        earlier: the attempts before this one, in order.
    """
    outcomes: list[NanOutcome] = []
    for attempt in reversed(earlier):
        start = attempt.start()
        if start is not None:
            outcomes.append(_outcome(start, attempt.end()))
            if not start.nan_checker:
                break
    return outcomes[::-1]


def _outcome(start: AttemptStart, end: AttemptEnd | None) -> NanOutcome:
    if end is None:
        return NanOutcome(nodes=start.nodes, checker=start.nan_checker)
    return NanOutcome(
        nodes=start.nodes,
        checker=start.nan_checker,
        category=category_of(end),
        rule=end.rule,
        root=end.root,
        progress=bool(end.progress),
        named=bool(end.blamed_nodes),
    )
