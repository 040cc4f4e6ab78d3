"""The limits of restarting: the run's own within the site's."""

from collections.abc import Sequence
from dataclasses import replace

from slurm_restart.core.history import History
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.frozen import frozen

MINUTE, HOUR = 60, 3600


@frozen
class SitePolicy:
    """The site's limits and defaults; times are seconds."""

    max_total_restarts: int = 100
    max_uncounted_restarts: int = 1000
    """Restarts of a run after ends that never count: preemptions, requeues by people."""
    max_prolog_failed_share: float = 0.1
    """Of the nodes in each of a job's partitions: if the prolog has failed on more of them, a job
    that Slurm holds for a failed prolog is not released. One node is always allowed."""
    stop_on_repeat: int = 2
    shrink_after: int = 10 * MINUTE
    give_up_after: int = 24 * HOUR
    exclude_for: int = 24 * HOUR
    backoff: tuple[int, ...] = (30, 2 * MINUTE, 5 * MINUTE)
    outside_backoff: int = 30
    """The first wait after a failure outside the job; it doubles with each further one in a row. 0:
    as after other failures."""
    outside_backoff_max: int = 30 * MINUTE
    short_attempt: int = MINUTE
    """An attempt shorter than this waits at least `short_wait`."""
    short_wait: int = 30


@frozen
class Policy:
    """The limits of one run."""

    max_restarts: int
    num_nodes: int
    min_nodes: int
    spares: int
    """Nodes of the job beside `num_nodes`."""
    evaluation: bool
    site: SitePolicy
    stop_on_repeat: int
    shrink_after: int
    give_up_after: int
    exclude_for: int
    node_search: bool = True
    """Whether a faulty node is searched for that no log names."""
    prior_failures: int = 0
    """Ends in a row without progress before the run's present job."""
    prior_total: int = 0
    """Restarts in all before it that count against the cap."""
    fixed_size: bool = False
    """Slurm chooses the size from the user's own options; this plugin never writes it."""
    refused_sizes: frozenset[int] = frozenset()
    """Numbers of nodes for which the model is known not to compile: no restart gets them."""
    seed: int = 0
    """What makes the waits of different runs differ."""

    def outside_delay(self, failures: int) -> int:
        """Seconds to wait after a failure of a file system or service outside the job.

        Such a failure ends many jobs at the same time, and all of them at once could overload what
        has just come back. So the wait is a part of the full one, from half of it up, that differs
        from run to run and from restart to restart.

        Args:
            failures: such failures in a row without progress between them, with this one.
        """
        full = min(
            self.site.outside_backoff_max, self.site.outside_backoff << min(failures - 1, 31)
        )
        return full - full * _spread(self.seed + failures) // (2 * _SPREAD)

    def delay(self, restarts: int, *, progress: bool, run_time: int | None) -> int:
        """Seconds to wait before a restart.

        Args:
            restarts: how many there were since the last progress.
            progress: whether the attempt that has ended is known to have made some.
            run_time: how long it ran, in seconds; None: not known.
        """
        steps = self.site.backoff
        wait = steps[min(restarts, len(steps)) - 1] if restarts and steps else 0
        if not progress and run_time is not None and run_time < self.site.short_attempt:
            wait = max(wait, self.site.short_wait)
        return wait


_SPREAD = 1 << 32


def _spread(number: int) -> int:
    """Return a number below `_SPREAD` that looks random and is the same each time (SplitMix64)."""
    mask = (1 << 64) - 1
    mixed = number * 0x9E3779B97F4A7C15 & mask
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
    return (mixed ^ mixed >> 31) >> 32


def _chosen(asked: int | None, default: int) -> int:
    return default if asked is None else asked


def policy_for(comment_record: CommentRecord, site: SitePolicy) -> Policy:
    """Return the limits of a run from its comment record, else the site's defaults."""
    return Policy(
        max_restarts=comment_record.max_restarts,
        num_nodes=comment_record.num_nodes,
        min_nodes=comment_record.min_nodes,
        spares=comment_record.spares,
        evaluation=comment_record.mode.is_evaluation,
        site=site,
        stop_on_repeat=_chosen(comment_record.stop_on_repeat, site.stop_on_repeat),
        shrink_after=_chosen(comment_record.shrink_after, site.shrink_after),
        give_up_after=_chosen(comment_record.give_up_after, site.give_up_after),
        exclude_for=_chosen(comment_record.exclude_for, site.exclude_for),
        node_search=comment_record.node_search,
        prior_failures=comment_record.prior_failures,
        prior_total=comment_record.prior_total,
        fixed_size=comment_record.fixed_size,
        refused_sizes=comment_record.refused_sizes,
        seed=int(comment_record.run, 16),
    )


def granted_policy(
    comment_record: CommentRecord,
    site: SitePolicy,
    history: History,
    job: Job,
    nodes: Sequence[str] = (),
) -> Policy:
    """Return the limits of a run, with its size limited to what Slurm has granted.

    SlurmUser, who writes the size, is bound by no limit of an association or a QOS, but the comment
    record is written by the user.

    Args:
        comment_record: what the run asks for.
        site: the site's own limits.
        history: the attempts before.
        job: as Slurm shows it.
        nodes: those of the attempt that has ended.
    """
    policy = policy_for(comment_record, site)
    # Tasks of an array have the run id in common.
    policy = replace(policy, seed=policy.seed + (job.array_task_id or 0))
    if policy.fixed_size:
        return policy  # nobody writes a size
    # A job that has lost nodes shows fewer than it has been granted.
    started = 0 if history.started is None else len(history.started.nodes)
    ended = (end.num_nodes or 0 for end in history.ends)
    granted = max(len(nodes), job.num_nodes, started, *ended)
    if granted >= policy.num_nodes:
        return replace(policy, spares=min(policy.spares, granted - policy.num_nodes))
    return replace(policy, num_nodes=granted, min_nodes=min(granted, policy.min_nodes), spares=0)
