"""The part that is slurm.conf: the hook, and what would be a fault beside it."""

from collections.abc import Mapping
from pathlib import Path

from slurm_restart.control.checks.deadlines import hook_limit
from slurm_restart.control.checks.timer import least_min_job_age
from slurm_restart.control.hook_script import longest_hook
from slurm_restart.control.installation.machine import Machine
from slurm_restart.control.installation.part import Part, State, quote
from slurm_restart.control.site import Site

_HOOK = "csx-epilog"
_SPARE = 1.3
"""Of the time that the hook may take, for the time limit that Slurm sets it."""
_DETECT = 120
"""Seconds after which a lost node is noticed, where Slurm is told never to."""


def hook_path(machine: Machine) -> Path:
    """Return where the hook belongs: beside the settings."""
    return machine.context.site_path.parent / _HOOK


def wanted(machine: Machine, site: Site) -> Mapping[str, str]:
    """Return the lines of slurm.conf that are missing, by name.

    Others than the hook's are those that `csx-restart doctor` calls a problem.
    """
    context = machine.context
    path = str(hook_path(machine))
    lines = {} if context.several("EpilogSlurmctld") == (path,) else {"EpilogSlurmctld": path}
    name, limit = hook_limit(context)
    longest = longest_hook(site.limits, former=True)
    if limit is not None and limit < longest:
        lines[name] = f"{longest * _SPARE:.0f}"
    least, keep = least_min_job_age(), context.seconds("MinJobAge")
    if keep and keep < least:
        lines["MinJobAge"] = f"{max(least, 300):.0f}"
    if context.seconds("SlurmdTimeout") == 0:
        lines["SlurmdTimeout"] = str(_DETECT)
    return lines


def slurm_conf(machine: Machine, site: Site) -> Part:
    """Return the part slurm.conf, as the running slurmctld has read it."""
    lines, conf = wanted(machine, site), machine.slurm_conf
    there = machine.conf_settings
    to_write = {name: value for name, value in lines.items() if there.get(name.lower()) != value}
    shown = ", ".join(f"{name}={value}" for name, value in lines.items())
    if not lines:
        state, found = State.PRESENT, f"EpilogSlurmctld={hook_path(machine)}"
    elif to_write:
        state, found = State.MISSING, f"not set: {shown}"
    else:
        state, found = State.DIFFERS, f"slurmctld has not read it: {shown}"
    if not machine.answers and not lines:
        state, found = State.PRESENT, f"{found}; slurmctld does not answer"
    commands = [line for name, value in to_write.items() for line in _set(name, value, machine)]
    return Part(
        id="slurm.conf",
        what="slurmctld reads the hook's path at its start only",
        path=conf,
        state=state,
        found=found,
        commands=(*commands, *_restart(machine)) if lines else (),
    )


def _set(name: str, value: str, machine: Machine) -> tuple[str, ...]:
    line, conf = f"{name}={value}", quote(machine.slurm_conf)
    if name.lower() not in machine.conf_settings:
        # The last line may lack its line feed; the file may be a link.
        change = f"$a {line}"
    else:
        change = f"s|^[ \\t]*{name}[ \\t]*=.*|{line}|I"
    return (f"sed -i --follow-symlinks {quote(change)} {conf}",)


def _restart(machine: Machine) -> tuple[str, ...]:
    if machine.systemd:
        return ("systemctl restart slurmctld",)
    return ("# restart slurmctld, in the way in which it is started here",)
