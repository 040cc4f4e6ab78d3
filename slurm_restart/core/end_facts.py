"""The facts of one end, and what follows from them before a rule gives the end its category."""

from slurm_restart.core.category import SLURM_ONLY, Category
from slurm_restart.core.job import JobEnd, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.slurm_state import COMMAND_NOT_RUN, NONZERO, Cause, exit_cause
from slurm_restart.frozen import frozen

TIME_LIMIT_MARGIN = 300
"""Seconds before the time limit within which a self-reported `timeout` is accepted.

The default warning comes 120 s before the limit; Slurm may send it up to 60 s earlier (sbatch(1),
--signal).
"""
_EARLY_WARNING = 120
"""Seconds that are added to a longer lead: Slurm sends the warning up to 60 s earlier."""
EARLY_TIMEOUT_MARGIN = 60
"""Seconds before the time limit from which on the state TIMEOUT is due to that limit.

slurmctld compares every 30 s (PERIODIC_TIMEOUT in its src/slurmctld/slurmctld.h) and never ends a
job before its limit; the rest allows for a clock that was set.
"""
_NODE_FAILURE_EXITS = frozenset({(0, 0), (0, 1)})
"""(exit code, signal) in the hook's environment after a node failure: 22.05, and later releases."""
_STEPD_LOST = (0, 1)
_TERMINATED = 128 + 15
"""Exit code of a job that ends on SIGTERM, which a requeue of a running job sends."""
_TOLD_TO_END = frozenset({"supervisor.terminated", "supervisor.superseded"})


@frozen
class EndFacts:
    """All that is known of one end. `self_report`: None where this attempt's job reported none."""

    end: JobEnd
    self_report: CommentRecord | None
    known_restarts: int
    """Slurm's restart count when the attempt began."""
    named: tuple[str, ...] = ()
    """Node names of the comment record's hostlist, expanded."""
    searching: bool = False
    """Whether the controller wanted the attempt to end for the search for a faulty node."""

    # --- what Slurm shows ------------------------------------------------------------------------

    @property
    def requeued(self) -> bool:
        """Whether the job is pending again already, requeued by Slurm or a person."""
        if self.end.state is not None:
            return self.end.state is JobState.PENDING
        return self.end.restarts > self.known_restarts

    @property
    def final(self) -> bool:
        """Whether Slurm shows that the job has ended; False where it shows no base state."""
        return self.end.state is not None and self.end.state.is_final

    @property
    def node_down(self) -> bool:
        """Whether a node of the attempt is down now."""
        return any(node.name in self.end.nodes for node in self.end.down_nodes)

    @property
    def prolog_failed(self) -> bool:
        """Whether a node of the attempt is drained because its prolog failed."""
        down = self.end.down_nodes
        return any(node.prolog_failed and node.name in self.end.nodes for node in down)

    @property
    def node_failed(self) -> bool:
        """Whether Slurm lost a node of the job.

        The base state shows it from 24.11. Before, the hook's restart count is still the old one
        while the record's has grown, which happens in no other end (measured on 22.05). Once the
        job is pending again and no hook has seen the end, only a node that is down shows it. A job
        that had lost its batch host before (--no-kill) had no script left that could end otherwise.
        """
        if self.end.state is JobState.NODE_FAIL or self.end.reason == "NodeDown":
            return True
        if not self.requeued:
            return False
        if self.end.host_lost:
            return True
        env = self.end.env_restarts
        if env is None:
            return self.node_down
        return env < self.end.restarts and self._exit_status in _NODE_FAILURE_EXITS

    @property
    def timed_out(self) -> bool:
        """Whether Slurm ended the job at its time limit, or at the end of the grace time."""
        return self.end.state is JobState.TIMEOUT or self.end.reason == "TimeLimit"

    @property
    def timed_out_early(self) -> bool:
        """Whether Slurm ended the job as TIMEOUT although its time limit had not been reached.

        slurmctld does so when a usage limit is used up and when a reservation ends (_job_timed_out
        in its src/slurmctld/job_mgr.c), and shows no other reason than TimeLimit.
        """
        limit, ran = self.end.time_limit, self.end.run_time
        if not self.timed_out or ran is None:
            return False
        return limit is None or ran < limit - EARLY_TIMEOUT_MARGIN

    @property
    def near_time_limit(self) -> bool:
        """Whether the attempt ran until the warning of its time limit was due."""
        limit, ran = self.end.time_limit, self.end.run_time
        lead = None if self.self_report is None else self.self_report.lead
        margin = max(TIME_LIMIT_MARGIN, (lead or 0) + _EARLY_WARNING)
        return limit is not None and ran is not None and ran >= limit - margin

    # --- the exit status -------------------------------------------------------------------------

    @property
    def _exit_status(self) -> tuple[int, int]:
        return self.end.exit_code, self.end.signal

    @property
    def exit_not_recorded(self) -> bool:
        """Whether the exit status 0:0 says nothing.

        slurmctld records none for a job that ends by itself after it was once preempted with a
        grace time: base state PREEMPTED, 0:0 (_job_complete in its src/slurmctld/job_mgr.c).
        """
        return self.end.state is JobState.PREEMPTED and self._exit_status == (0, 0)

    @property
    def clean_exit(self) -> bool:
        """Whether the hook's environment has exit code 0 and no signal."""
        return self._exit_status == (0, 0) and not self.exit_not_recorded

    @property
    def exit_failed(self) -> bool:
        """Whether the job ended by itself with an exit code or a signal.

        A job that is requeued while it runs keeps 0:0, and a lost slurmstepd shows as 0:1.
        """
        return self._exit_status not in ((0, 0), _STEPD_LOST)

    @property
    def failed(self) -> bool:
        """Whether the attempt has to be taken for a failed one, by Slurm's facts alone."""
        return self.exit_failed or self.exit_not_recorded

    @property
    def exit_cause(self) -> Cause | None:
        """The cause that the exit status alone gives.

        A supervisor that reports has judged the trainer's exit status together with its log.
        """
        cause = exit_cause(self.end.exit_code, self.end.signal)
        return NONZERO if cause is COMMAND_NOT_RUN and self.final_report is not None else cause

    # --- the self-report -------------------------------------------------------------------------

    @property
    def final_report(self) -> CommentRecord | None:
        """The self-report, if it says that the trainer of this attempt has ended."""
        report = self.self_report
        return report if report is not None and report.ended else None

    @property
    def cause(self) -> Category | None:
        """The self-reported cause; UNKNOWN in place of one that Slurm's facts do not bear out."""
        cause = self.final_report.cause if self.final_report is not None else None
        return cause if self._is_borne_out(cause) else Category.UNKNOWN

    def _is_borne_out(self, cause: Category | None) -> bool:
        """Return whether Slurm's facts allow a cause that would not count, or release a job."""
        if cause in SLURM_ONLY:
            return False
        if cause is Category.HEALTH_CHECK:
            # Each such restart costs the run a node of its own.
            return any(name in self.end.nodes for name in self.named)
        if cause is Category.NODE_SEARCH:
            return self.searching
        return cause is not Category.NODE_DRAINED or self.end.drained

    @property
    def leaves_node(self) -> bool:
        """Whether the attempt ended to leave a node of its own behind, which does not count."""
        return self.cause in (Category.HEALTH_CHECK, Category.NODE_DRAINED)

    @property
    def reports_completion(self) -> bool:
        """Whether the trainer of this attempt reported that it has finished."""
        return self.cause is Category.COMPLETED

    @property
    def reports_failure(self) -> bool:
        """Whether the trainer ended by itself with an exit code, by the self-report alone.

        A job that was told to end fails too: a person, or a preemption, requeued it then.
        """
        report = self.final_report
        if report is None or report.cause in SLURM_ONLY or report.rule in _TOLD_TO_END:
            return False
        return report.exit not in (None, 0, _TERMINATED)
