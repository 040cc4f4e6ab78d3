"""Slurm's own bugs that concern requeued jobs: in which releases, their effect, and the remedy.

docs/reference/slurm-bugs.md cites the changelog and the commits for each row.
"""

from collections.abc import Callable, Iterable

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning
from slurm_restart.frozen import frozen

Release = tuple[int, int, int]

OLDEST: Release = (22, 5, 0)
"""The oldest release that the plugin supports."""


@frozen
class KnownBug:
    """One bug of Slurm.

    Attributes:
        id: a short name.
        since: the first release with the bug.
        fixed: the first release without it; all later ones are without it.
        effect: what happens.
        remedy: what to do besides the upgrade; empty: nothing.
        where: on which clusters, for the documentation.
        concerns: whether the configuration of a cluster makes the bug possible there.
    """

    id: str
    since: Release
    fixed: Release
    effect: str
    remedy: str = ""
    where: str = "all"
    concerns: Callable[[Context], bool] = lambda _: True


def _limits_enforced(context: Context) -> bool:
    return context.facts.limits_enforced


def _prolog_slurmctld(context: Context) -> bool:
    return bool(context.several("PrologSlurmctld"))


_LIMITS = "AccountingStorageEnforce with `limits`"

KNOWN_BUGS: tuple[KnownBug, ...] = (
    KnownBug(
        id="completing-crash",
        since=(23, 2, 0),
        fixed=(26, 5, 4),
        effect="slurmctld can crash when a COMPLETING job is requeued and the last node that it "
        "waits for is DOWN",
        remedy="let systemd restart slurmctld (Restart=on-failure): the reconciler then repeats "
        "what was lost",
    ),
    KnownBug(
        id="late-epilog-crash",
        since=OLDEST,
        fixed=(24, 11, 6),
        effect="slurmctld can crash under heavy load when a node reports the end of its Epilog "
        "twice and the job has been requeued and started again in between",
        remedy="let systemd restart slurmctld (Restart=on-failure): the reconciler then repeats "
        "what was lost",
    ),
    KnownBug(
        id="submit-count",
        since=OLDEST,
        fixed=(25, 11, 3),
        effect="each requeue of a COMPLETING job takes one job too many off the count of submitted "
        "jobs, so that limits such as MaxSubmitJobs let too many jobs pass",
        where=_LIMITS,
        concerns=_limits_enforced,
    ),
    KnownBug(
        id="licenses-lost",
        since=(25, 5, 0),
        fixed=(25, 11, 7),
        effect="a requeued job loses its request for licenses, and runs without them",
        remedy="do not use csx-sbatch for jobs that need licenses (-L)",
        where="clusters with licenses",
    ),
    KnownBug(
        id="accounting-overwritten",
        since=OLDEST,
        fixed=(26, 5, 4),
        effect="a requeue of a COMPLETING job can overwrite the accounting record of the attempt "
        "before: a restart count too high, no start time",
        remedy="submit with --time",
        where=_LIMITS,
        concerns=_limits_enforced,
    ),
    KnownBug(
        id="prolog-requeued-twice",
        since=OLDEST,
        fixed=(25, 11, 5),
        effect="a PrologSlurmctld that fails requeues its job twice, which leaves a surplus record "
        "in the accounting",
        where="PrologSlurmctld",
        concerns=_prolog_slurmctld,
    ),
)


def bugs_of(release: Release) -> tuple[KnownBug, ...]:
    """Return the bugs that a release has."""
    return tuple(bug for bug in KNOWN_BUGS if bug.since <= release < bug.fixed)


def format_release(release: Release) -> str:
    """Return a release as Slurm writes it: `24.11.5`."""
    return f"{release[0]}.{release[1]:02}.{release[2]}"


def _supported(context: Context) -> Iterable[Finding]:
    shown = format_release(context.release)
    if context.release < OLDEST:
        yield problem(
            f"Slurm {shown} is older than {OLDEST[0]}.{OLDEST[1]:02}, the oldest that the plugin "
            "supports",
            "upgrade Slurm",
        )
    else:
        yield ok(f"Slurm {shown} is supported")


def _known_bugs(context: Context) -> Iterable[Finding]:
    found = [bug for bug in bugs_of(context.release) if bug.concerns(context)]
    for bug in found:
        also = f"; until then {bug.remedy}" if bug.remedy else ""
        yield warning(
            f"Slurm {format_release(context.release)}: {bug.effect} ({bug.id})",
            f"upgrade to Slurm {format_release(bug.fixed)} or later{also}",
        )
    if not found:
        yield ok(f"no known bug of Slurm {format_release(context.release)} concerns requeued jobs")


CHECKS = (
    Check(
        id="release.supported",
        meaning="slurmctld is of a release that the plugin supports.",
        run=_supported,
    ),
    Check(
        id="release.bugs",
        meaning="slurmctld has no known bug that concerns requeued jobs ([table](slurm-bugs.md)).",
        run=_known_bugs,
    ),
)
