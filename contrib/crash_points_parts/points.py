"""The points of a walk: which call of which caller is interrupted, in which scenario, and how."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from contrib.testing.crash_points import Act, Caller, When


class Mode(Enum):
    """Who is interrupted, and how."""

    HOOK = "hook"
    """The hook is killed."""
    HELPER = "helper"
    """The helper is killed."""
    RECONCILER = "reconciler"
    """Hook and helper are killed at every call, and the reconciler at one."""
    FREEZE = "freeze"
    """The hook is frozen for ten seconds, and then goes on."""
    SLURMCTLD = "slurmctld"
    """slurmctld is killed at a call of the hook, and started again at once."""
    SLURMCTLD_START = "slurmctld-start"
    """The same, and the first start of the job was not saved: it is lost if it was the last."""
    SLURMCTLD_HELPER = "slurmctld-helper"
    """slurmctld is killed at a call of the helper."""
    SCANCEL = "scancel"
    """The job is cancelled at a call of the hook."""
    SUPERVISOR = "supervisor"
    """The supervisor is killed before anything that it does to a file or a process."""
    SUPERVISOR_ALONE = "supervisor-alone"
    """The same of a job that no hook requeues."""
    REAPER = "reaper"
    """The process between the supervisor and its program is killed."""

    @property
    def caller(self) -> Caller:
        """Whose calls are counted."""
        callers = {
            Mode.HELPER: Caller.HELPER,
            Mode.SLURMCTLD_HELPER: Caller.HELPER,
            Mode.RECONCILER: Caller.RECONCILER,
            Mode.SUPERVISOR: Caller.SUPERVISOR,
            Mode.SUPERVISOR_ALONE: Caller.SUPERVISOR,
            Mode.REAPER: Caller.REAPER,
        }
        return callers.get(self, Caller.HOOK)

    @property
    def in_job(self) -> bool:
        """Whether a process of the job is interrupted, and none of the controller's."""
        return self.caller in {Caller.SUPERVISOR, Caller.REAPER}

    @property
    def act(self) -> Act:
        """What happens at the call."""
        acts = {
            Mode.FREEZE: Act.FREEZE,
            Mode.SLURMCTLD: Act.SLURMCTLD,
            Mode.SLURMCTLD_START: Act.SLURMCTLD,
            Mode.SLURMCTLD_HELPER: Act.SLURMCTLD,
            Mode.SCANCEL: Act.RUN,
        }
        return acts.get(self, Act.KILL)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a walk: a scenario, a mode, and a call.

    The call is a number from 1 or a shell pattern of the command (`scontrol requeue *`), of which
    the first is meant; empty: nothing is interrupted.
    """

    scenario: str
    mode: Mode
    call: str = ""
    when: When = When.BEFORE

    def __str__(self) -> str:
        where = f"call {self.call} {self.when.value}" if self.call else "no interruption"
        return f"{self.mode.value} {self.scenario} {where}"


def points_of(
    scenarios: Iterable[str],
    mode: Mode,
    calls: dict[str, int],
    most: int,
    when: Iterable[When] = When,
) -> list[Point]:
    """Return all points of a mode: before and after each call that an undisturbed run makes.

    Args:
        scenarios: their names.
        mode: the mode.
        calls: by scenario, how many calls the caller makes if nothing is interrupted.
        most: the highest number of a call.
        when: before a call, after it.
    """
    sides = list(when)
    return [
        Point(scenario=name, mode=mode, call=str(number), when=side)
        for name in scenarios
        for number in range(1, min(calls[name], most) + 1)
        for side in sides
    ]
