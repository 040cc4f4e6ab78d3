"""Everything that a decision about an end depends on, with the run's counters."""

from dataclasses import replace

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.end_rules import NOT_STARTED_RULES
from slurm_restart.core.fall_back import MAX_BACK
from slurm_restart.core.history import History, Streak, add_in_place, ends_at_step, streak
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.prolog_failures import PrologFailures
from slurm_restart.core.restart_limits import Policy
from slurm_restart.core.search_history import MAY_BE_NODE, REPEATS, WITHOUT_CAUSE
from slurm_restart.core.slurm_operations import read_search_mark
from slurm_restart.frozen import frozen

STOPPED = "a person wanted the run to end here (csx-restart stop)"
"""Reason of a decision that follows a person's request."""


@frozen
class Progress:
    """How far the attempt got, counted in `unit`; None: not known."""

    made: bool | None
    attempt: int | None = None
    from_step: int | None = None
    step: int | None = None
    unit: ProgressUnit = ProgressUnit.STEP


@frozen
class Situation:
    """Everything that a decision depends on."""

    attribution: Attribution
    progress: Progress
    """As the self-report shows it; `made` is what counts."""
    policy: Policy
    history: History
    restarts: int
    """Slurm's own restart count, which no user can forge."""
    requeueable: bool = True
    """Slurm's Requeue= of the job, which a person may have turned off."""
    run_time: int | None = None
    """Seconds that the attempt ran; None: not known."""
    failed: bool = False
    """Whether the attempt has to be taken for a failed one (`EndFacts.failed`)."""
    suspects_checkpoint: bool = False
    """Whether the end is evidence against the checkpoint that the attempt started from, and there
    is an earlier one."""
    stopped: str | None = None
    """Why a person wants no further attempt of this job; None: it may go on."""
    prolog_failures: tuple[PrologFailures, ...] = ()
    """Those in each of the job's partitions."""
    in_place: InPlaceEnds = NONE_IN_PLACE
    """Ends before this one in the same allocation that `history` does not hold."""
    nodes: tuple[str, ...] = ()
    """Those of the attempt; empty: not known."""
    other_nodes: bool = False
    """Whether there are nodes that could take the place of all or some of these."""
    allocation: Allocation | None = None
    """What is left of the job's allocation; None: it is gone, or a restart in place not wanted."""

    @property
    def streak(self) -> Streak:
        """Failures in a row with this end; restarts before situation."""
        before = streak(
            self.history.ends,
            next_from_step=self.progress.from_step,
            prior_failures=self.policy.prior_failures,
        )
        before = add_in_place(before, self.in_place)
        if self.made:
            return Streak(failures=0, restarts=0)
        failed = self.is_capped and self.made is False
        return replace(before, failures=before.failures + failed)

    @property
    def made(self) -> bool | None:
        """Whether the attempt made progress; None: not known.

        An evaluation never makes any, nor does an attempt that never started. A short attempt that
        failed without a report of progress has made none: a job that always fails before it can
        report would use up no budget otherwise.
        """
        if self.policy.evaluation or self._not_started:
            return False
        if self.progress.made is None and self.failed and self._short:
            return False
        return self.progress.made

    @property
    def may_move(self) -> bool:
        """Whether a requeue could find other nodes for an attempt that its nodes may have ended."""
        allocation = self._allocation_to_leave
        return allocation is not None and self._failed_at_once and allocation.other_nodes_are_free

    @property
    def same_before(self) -> tuple[EndEvent, ...]:
        """Ends before this one, back to the last progress, with its root cause at its step."""
        cause = self.attribution.category, self.attribution.root_hash
        if self.made or cause[1] is None:
            return ()
        ends = ends_at_step(self.history.ends, self.progress.step)
        return tuple(end for end in ends if (end.category, end.root) == cause)

    @property
    def nan_may_be_node(self) -> bool:
        """Whether NaN that repeats may be the fault of a node that a restart can leave out.

        It is not once it has come on different nodes: without a node in common.
        """
        if self.attribution.category is not Category.NUMERIC_NAN or not self.policy.node_search:
            return False
        if self.allocation is not None and not self.allocation.requeues:
            return False
        common = set(self.nodes)
        for end in self.same_before:
            common &= set(end.nodes)
        shrinks = not self.policy.fixed_size and self.policy.min_nodes < len(self.nodes)
        return bool(common) and (shrinks or self.other_nodes)

    @property
    def is_searched(self) -> bool:
        """Whether a requeue could find out whether a node is to blame: it failed so again.

        In a search each failure leads to a requeue, as the next attempt gets other nodes. None
        begins while other jobs wait for the nodes: the run would lose its own to them.
        """
        allocation, category = self._allocation_to_leave, self.attribution.category
        if allocation is None or category not in MAY_BE_NODE:
            return False
        if self.attribution.blamed or self.made is not False:
            return False
        if self.same_before and self.nan_may_be_node:
            return True  # on the same nodes the run would end
        if allocation.job is not None and read_search_mark(allocation.job.admin_comment):
            return True
        last = self.history.ends[-1] if self.history.ends else None
        again = last is not None and last.category in REPEATS and last.progress is False
        again = again and category in REPEATS and not allocation.others_wait
        return again and (allocation.may_shrink or allocation.other_nodes_are_free)

    @property
    def falls_back(self) -> bool:
        """Whether the checkpoint before is due, whatever the category: `MAX_BACK` times."""
        failed = self.suspects_checkpoint and self.made is False
        return failed and self._fall_backs < MAX_BACK

    @property
    def is_capped(self) -> bool:
        """Whether the end counts, as `EndEvent.is_capped` says of it later."""
        return self.attribution.counts or self.falls_back

    @property
    def outside_failures(self) -> int:
        """Failures outside the job in a row without progress between them, with this end."""
        if not self.attribution.category.is_outside:
            return 0
        count = 1
        for end in () if self.made else reversed(self.history.ends):
            if not end.category.is_outside:
                break
            count += 1
            if end.progress:
                break
        return count

    @property
    def _not_started(self) -> bool:
        found = self.attribution
        return found.category is Category.PROLOG_FAILED or found.rule in NOT_STARTED_RULES

    @property
    def _short(self) -> bool:
        return self.run_time is not None and self.run_time < self.policy.site.short_attempt

    @property
    def _failed_at_once(self) -> bool:
        """Whether the attempt failed within a short time without progress or a known cause."""
        unexplained = self.attribution.category in WITHOUT_CAUSE
        return unexplained and self._short and self.made is False

    @property
    def _allocation_to_leave(self) -> Allocation | None:
        """The allocation, if the run may leave it for other nodes than those of a failure."""
        allocation = self.allocation
        leaves = allocation is not None and allocation.requeues and self.policy.node_search
        return allocation if leaves else None

    @property
    def total(self) -> int:
        """Restarts so far that count against the cap.

        The larger of Slurm's count and our own, and restarts in place, which Slurm does not count.
        """
        by_slurm = max(
            self.history.total_restarts(), self._before - self.history.uncounted_restarts()
        )
        in_place = self.history.in_place_restarts() + self.in_place.restarts
        return self.policy.prior_total + by_slurm + in_place

    @property
    def _fall_backs(self) -> int:
        before = 0 if self.in_place.progress else self.history.count_fall_backs()
        return before + self.in_place.fall_backs

    @property
    def uncounted(self) -> int:
        """Restarts so far that never count: the larger of Slurm's count and our own."""
        return max(self.history.uncounted_restarts(), self._before - self.history.total_restarts())

    @property
    def _before(self) -> int:
        """Slurm's restart count without the restart that follows this end."""
        return self.restarts - self.attribution.requeued
