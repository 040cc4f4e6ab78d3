"""Checks of the deadlines in site.toml against those of slurm.conf."""

from collections.abc import Iterable

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.hook_file import find_hook
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning
from slurm_restart.control.hook_script import longest_hook

_NO_LIMIT = 65534
"""NO_VAL16 in slurm.h, which `scontrol show config` prints for a 16-bit value without a limit."""
_DEFAULT_MESSAGE_TIMEOUT = 10


def _hook(context: Context) -> Iterable[Finding]:
    hook = find_hook(context)
    longest = longest_hook(context.site.limits, former=hook is not None and bool(hook.former))
    name, limit = hook_limit(context)
    if limit is None:
        yield ok(f"Slurm sets the hook no time limit; it takes {longest:g} s at most")
    elif limit < longest:
        yield problem(
            f"{name}={limit} ends the hook, which may take {longest:g} s if it cannot judge an end",
            f"raise {name} above {longest:g}, or lower hook.queue_timeout, hook.deadline or "
            f"hook.command_timeout in {context.site_path}",
        )
    else:
        yield ok(f"the hook takes {longest:g} s at most, which is within {name}={limit}")


def hook_limit(context: Context) -> tuple[str, int | None]:
    """Return the setting that limits the hook's time, and its seconds; None: there is no limit."""
    # From 25.05, Slurm shows EpilogTimeout in place of PrologEpilogTimeout where they differ.
    name = "EpilogTimeout" if context.setting("EpilogTimeout") else "PrologEpilogTimeout"
    limit = context.seconds(name)
    return name, None if not limit or limit >= _NO_LIMIT else limit


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
        meaning="Slurm (EpilogTimeout, PrologEpilogTimeout) lets the hook run as long as it may.",
        run=_hook,
    ),
    Check(
        id="deadlines.command",
        meaning="`hook.command_timeout` is between MessageTimeout and half of `hook.deadline`.",
        run=_command,
    ),
)
