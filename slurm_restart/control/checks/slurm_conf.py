"""Checks of the settings of slurm.conf that decide what becomes of a failed job."""

from collections.abc import Iterable

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning

_REQUEUE_DELAY_SINCE = (25, 11)
_LONG_DELAY = 600
"""Seconds; five times Slurm's default."""
_LONGEST_SILENCE = 300
"""Seconds; Slurm's default of SlurmdTimeout."""


def _requeue_exit(context: Context) -> Iterable[Finding]:
    settings = [
        f"{name}={value}"
        for name in ("RequeueExit", "RequeueExitHold")
        if (value := context.setting(name))
    ]
    if not settings:
        yield ok("RequeueExit and RequeueExitHold are not set")
        return
    yield warning(
        f"{' and '.join(settings)}: Slurm itself requeues a job that ends with such an exit code, "
        "also where the plugin has decided that the run is over; such a job is then cancelled",
        "remove these exit codes from slurm.conf, or let only jobs use them that csx-sbatch has "
        "not submitted",
    )


def _requeue_default(context: Context) -> Iterable[Finding]:
    if context.setting("JobRequeue") == "0":
        yield ok("JobRequeue=0: csx-sbatch asks for --requeue itself")
    else:
        yield ok("jobs may be requeued (JobRequeue=1)")


def _requeue_delay(context: Context) -> Iterable[Finding]:
    seconds = context.facts.requeue_delay
    effect = f"a requeued job that nobody starts earlier waits {seconds} s"
    options = context.options("SchedulerParameters")
    given = any(option.startswith("requeue_delay=") for option in options)
    if given and context.release[:2] < _REQUEUE_DELAY_SINCE:
        yield warning(
            f"SchedulerParameters=requeue_delay is ignored before Slurm 25.11: {effect}",
            "remove it, or set AuthInfo=cred_expire, which the delay depends on here",
        )
    elif seconds > _LONG_DELAY:
        yield warning(
            f"{effect}; the helper that starts it earlier may fail",
            "lower SchedulerParameters=requeue_delay (from Slurm 25.11) or AuthInfo=cred_expire",
        )
    else:
        yield ok(f"{effect}; the hook's helper starts it as soon as it is safe")


def _prolog_hold(context: Context) -> Iterable[Finding]:
    if "nohold_on_prolog_fail" not in context.options("SchedulerParameters"):
        yield ok("Slurm holds a job whose prolog fails")
        return
    limit = context.setting("MaxBatchRequeue") or "5"
    yield warning(
        "SchedulerParameters=nohold_on_prolog_fail: a job whose prolog fails on every node drains "
        f"up to {limit} nodes before anybody is asked (MaxBatchRequeue)",
        "remove nohold_on_prolog_fail: the plugin releases such a job itself where that is safe",
    )


def _prolog_flags(context: Context) -> Iterable[Finding]:
    flags = context.setting("PrologFlags")
    if not context.several("Prolog"):
        yield ok("there is no Prolog")
    elif "alloc" in context.options("PrologFlags"):
        # Slurm adds Alloc to what it shows where another flag implies it.
        yield ok(f"the Prolog runs before the job starts (PrologFlags={flags})")
    else:
        yield warning(
            "without PrologFlags=Alloc the Prolog of most nodes of a job runs only when a step "
            "starts there: where it fails, the trainer fails, and the cause is not seen",
            "set PrologFlags=Alloc,DeferBatch: the job then starts after the Prolog of all its "
            "nodes",
        )


def _proctrack(context: Context) -> Iterable[Finding]:
    plugin = context.setting("ProctrackType").removeprefix("proctrack/")
    if plugin == "cgroup":
        yield ok("ProctrackType=proctrack/cgroup ends every process of a job")
        return
    yield warning(
        f"ProctrackType=proctrack/{plugin} leaves processes behind that have left their parent or "
        "their process group; they can hold the devices that the next attempt needs",
        "set ProctrackType=proctrack/cgroup",
    )


def _kill_on_bad_exit(context: Context) -> Iterable[Finding]:
    if context.setting("KillOnBadExit") == "1":
        yield ok("KillOnBadExit=1: a step ends when one of its tasks fails")
        return
    yield warning(
        "KillOnBadExit=0: where one task of a step fails, the others go on waiting for it, unless "
        "the launch command says otherwise",
        "set KillOnBadExit=1, or use srun --kill-on-bad-exit=1 in launch commands",
    )


def _open_mode(context: Context) -> Iterable[Finding]:
    if context.setting("JobFileAppend") == "1":
        yield ok("JobFileAppend=1: a restart keeps the output of the attempts before")
    else:
        yield ok("JobFileAppend=0: csx-sbatch asks for --open-mode=append itself")


def _slurmd_timeout(context: Context) -> Iterable[Finding]:
    seconds = context.seconds("SlurmdTimeout")
    if seconds == 0:
        yield problem(
            "SlurmdTimeout=0: Slurm never finds out that a node is lost, so a run on it is never "
            "restarted",
            "set SlurmdTimeout, such as 120",
        )
    elif seconds is None or seconds > _LONGEST_SILENCE:
        shown = context.setting("SlurmdTimeout") or "unknown"
        yield warning(
            f"SlurmdTimeout={shown}: a run on a lost node stands still for so long before it can "
            "be restarted",
            "lower SlurmdTimeout, such as to 120",
        )
    else:
        yield ok(f"a lost node is noticed after {seconds} s (SlurmdTimeout)")


CHECKS = (
    Check(
        id="requeue.exit",
        meaning="RequeueExit and RequeueExitHold are not set: Slurm would restart jobs itself.",
        run=_requeue_exit,
    ),
    Check(
        id="requeue.delay",
        meaning="How long a requeued job waits if nobody starts it earlier: `requeue_delay` (from "
        "Slurm 25.11) or `cred_expire`, plus one second.",
        run=_requeue_delay,
    ),
    Check(id="requeue.default", meaning="Jobs may be requeued (JobRequeue).", run=_requeue_default),
    Check(
        id="requeue.prolog_hold",
        meaning="`nohold_on_prolog_fail` is not set.",
        run=_prolog_hold,
    ),
    Check(
        id="jobs.prolog_flags",
        meaning="Where there is a Prolog, it runs before the job starts (PrologFlags=Alloc).",
        run=_prolog_flags,
    ),
    Check(
        id="jobs.proctrack",
        meaning="ProctrackType is proctrack/cgroup: no process survives its job.",
        run=_proctrack,
    ),
    Check(
        id="jobs.kill_on_bad_exit",
        meaning="A step ends when one of its tasks fails (KillOnBadExit).",
        run=_kill_on_bad_exit,
    ),
    Check(id="jobs.open_mode", meaning="A restart appends to the output file.", run=_open_mode),
    Check(
        id="nodes.slurmd_timeout",
        meaning="A lost node is noticed within five minutes (SlurmdTimeout).",
        run=_slurmd_timeout,
    ),
)
