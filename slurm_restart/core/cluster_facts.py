"""Facts of the cluster's configuration that decide how Slurm treats a requeued job."""

from slurm_restart.frozen import frozen


@frozen
class ClusterFacts:
    """What `scontrol show config` shows. The defaults are those of Slurm 22.05 without settings."""

    release: tuple[int, int] = (22, 5)
    """The controller's major and minor, such as (24, 11)."""
    boot_time: int | None = None
    """When slurmctld started, in epoch seconds; a reconfiguration may set it anew (from 23.11)."""
    requeue_delay: int = 121
    """Seconds after which Slurm itself starts a requeued job, if no begin time is set."""
    requeue_exit: frozenset[int] = frozenset()
    """Exit codes after which Slurm requeues a job (RequeueExit)."""
    requeue_exit_hold: frozenset[int] = frozenset()
    """Exit codes after which Slurm requeues a job and holds it (RequeueExitHold)."""
    holds_on_prolog_fail: bool = True
    """Whether Slurm holds a job whose prolog has failed (without nohold_on_prolog_fail)."""
    limits_enforced: bool = False
    """Whether limits of associations and QOS are enforced (AccountingStorageEnforce=limits)."""
    kill_wait: int = 30
    """Seconds between TERM and KILL when Slurm ends a job (KillWait)."""
    slurm_user: str | None = None
    """SlurmUser's name; None: not shown."""
    has_epilog: bool = True
    """Whether slurmctld runs a program at the end of a job (EpilogSlurmctld), such as the hook."""
    epilog: str | None = None
    """The path of that program; None: there is none, or it is not known."""
