"""Checks of the deadlines in site.toml against those of slurm.conf."""

from collections.abc import Iterable

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning

_NO_LIMIT = 65534
"""NO_VAL16 in slurm.h, which `scontrol show config` prints for a 16-bit value without a limit."""
_DEFAULT_MESSAGE_TIMEOUT = 10


def _hook(context: Context) -> Iterable[Finding]:
    deadline = context.site.limits.deadline
    # From 25.05, Slurm shows EpilogTimeout in place of PrologEpilogTimeout where they differ.
    name = "EpilogTimeout" if context.setting("EpilogTimeout") else "PrologEpilogTimeout"
    limit = context.seconds(name)
    if limit is None or limit == 0 or limit >= _NO_LIMIT:
        yield ok(f"Slurm sets the hook no time limit; its own deadline is {deadline:g} s")
    elif limit < deadline:
        yield problem(
            f"{name}={limit} ends the hook before its own deadline of {deadline:g} s",
            f"raise {name} above {deadline:g}, or lower hook.deadline in {context.site_path}",
        )
    else:
        yield ok(f"the hook's deadline of {deadline:g} s is within {name}={limit}")


def _command(context: Context) -> Iterable[Finding]:
    limits = context.site.limits
    timeout, deadline = limits.command_timeout, limits.deadline
    message = context.seconds("MessageTimeout") or _DEFAULT_MESSAGE_TIMEOUT
    if timeout < message:
        yield warning(
            f"hook.command_timeout={timeout:g} s is shorter than MessageTimeout={message} s, so "
            "that a request is given up while Slurm still works on it",
            f"set hook.command_timeout in {context.site_path} to {message} or more",
        )
    elif 2 * timeout > deadline:
        yield warning(
            f"hook.deadline={deadline:g} s is less than twice hook.command_timeout={timeout:g} s: "
            "one slow request uses up the hook's time",
            f"raise hook.deadline in {context.site_path}",
        )
    else:
        yield ok(f"a request may take {timeout:g} s, MessageTimeout is {message} s")


CHECKS = (
    Check(
        id="deadlines.hook",
        meaning="Slurm (EpilogTimeout, PrologEpilogTimeout) lets the hook run for `hook.deadline`.",
        run=_hook,
    ),
    Check(
        id="deadlines.command",
        meaning="`hook.command_timeout` is between MessageTimeout and half of `hook.deadline`.",
        run=_command,
    ),
)
