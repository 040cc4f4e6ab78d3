"""Checks of the hook: configured, the only one, safe from others, of this version and settings."""

from collections.abc import Iterable
from pathlib import Path

from slurm_restart import __version__
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.hook_file import HookFile, find_hook, the_hook
from slurm_restart.control.checks.owner_findings import owner_findings
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning
from slurm_restart.control.checks.run_as import not_accessible
from slurm_restart.control.hook_script import hook_text

_SEVERAL_SINCE = (24, 11)


def _configured(context: Context) -> Iterable[Finding]:
    hook = find_hook(context)
    if hook is not None:
        yield ok(f"EpilogSlurmctld is {hook.path}")
        return
    found = ", ".join(context.several("EpilogSlurmctld")) or "none"
    yield problem(
        f"EpilogSlurmctld is not csx-epilog (found: {found}), so no job is restarted",
        "csx-restart install --print prints how to install it: the hook, EpilogSlurmctld in "
        "slurm.conf, a restart of slurmctld",
    )


def _single(context: Context) -> Iterable[Finding]:
    own = str(the_hook(context).path)
    others = [path for path in context.several("EpilogSlurmctld") if path != own]
    if not others:
        yield ok("it is the only EpilogSlurmctld")
        return
    since = ".".join(f"{part:02}" for part in _SEVERAL_SINCE)
    yield problem(
        f"other EpilogSlurmctld programs run beside it ({', '.join(others)}): from {since} on, the "
        "first that returns ends COMPLETING for all of them",
        f"keep only csx-epilog, and let it run the other: csx-restart hook --former {others[0]}",
    )


def _executable(context: Context) -> Iterable[Finding]:
    path = the_hook(context).path
    user = context.slurm_user
    if not_accessible(user, "-x", str(path)) or not_accessible(user, "-r", str(path)):
        yield problem(
            f"{user.name} (SlurmUser) cannot read and execute {path}",
            f"chmod 755 {path}, and let {user.name} enter every directory of its path "
            f"(namei -l {path}); then restart slurmctld",
        )
    else:
        yield ok(f"{user.name} (SlurmUser) can execute it")


def _owner(context: Context) -> Iterable[Finding]:
    yield from owner_findings(the_hook(context).path, context, "the hook")


def _settings(context: Context) -> Iterable[Finding]:
    hook = the_hook(context)
    if hook.site == str(context.site_path):
        yield ok(f"it reads {hook.site}")
    else:
        yield problem(
            f"{hook.path} reads {hook.site or 'no settings'}, not {context.site_path}",
            f"csx-restart hook --site {context.site_path} > {hook.path}",
        )


def _version(context: Context) -> Iterable[Finding]:
    hook = the_hook(context)
    if hook.version not in (None, __version__):
        text = f"{hook.path} is of slurm_restart {hook.version}, this is {__version__}"
        yield problem(text, f"print it again: {_print_again(hook)}")
    elif hook.code != _as_printed(hook).code:
        text = f"{hook.path} differs from what `csx-restart hook` of {__version__} prints"
        yield warning(text, f"if nobody changed it on purpose: {_print_again(hook)}")
    else:
        yield ok(f"it is of slurm_restart {__version__}")


def _print_again(hook: HookFile) -> str:
    former = f" --former {hook.former}" if hook.former else ""
    return f"csx-restart hook --site {hook.site}{former} > {hook.path}"


def _as_printed(hook: HookFile) -> HookFile:
    """Return the hook that `csx-restart hook` prints for the same files."""
    former = Path(hook.former) if hook.former else None
    text = hook_text(Path(hook.site), former=former, python=Path(hook.python))
    return HookFile(path=hook.path, text=text)


_OWN_VALUES = frozenset({"PYTHON", "SITE", "FORMER"})
"""Values of the hook that are not settings."""


def _values(context: Context) -> Iterable[Finding]:
    hook = the_hook(context)
    now = HookFile(path=hook.path, text=hook_text(context.site_path, context.site)).values
    stale = sorted(
        f"{name}={hook.values[name]}"
        for name in now.keys() - _OWN_VALUES
        if name in hook.values and hook.values[name] != now[name]
    )
    if stale:
        text = f"{hook.path} holds {', '.join(stale)}, which {context.site_path} no longer says"
        yield problem(text, f"print it again: {_print_again(hook)}")
    else:
        yield ok(f"its values are those of {context.site_path}")


def _former(context: Context) -> Iterable[Finding]:
    hook = the_hook(context)
    if not hook.former:
        return
    user = context.slurm_user
    if not_accessible(user, "-x", hook.former):
        yield problem(
            f"{user.name} (SlurmUser) cannot execute {hook.former}, the site's own EpilogSlurmctld",
            f"chmod 755 {hook.former}, or csx-restart hook > {hook.path} without --former",
        )
    else:
        yield ok(f"it runs {hook.former} first")


CHECKS = (
    Check(id="hook.configured", meaning="EpilogSlurmctld is csx-epilog.", run=_configured),
    Check(id="hook.single", meaning="There is no other EpilogSlurmctld.", run=_single),
    Check(
        id="hook.executable",
        meaning="SlurmUser can read and execute the hook; tried as that user.",
        run=_executable,
    ),
    Check(
        id="hook.owner",
        meaning="Only root and SlurmUser can change the hook and each directory of its path.",
        run=_owner,
    ),
    Check(id="hook.settings", meaning="The hook reads this site.toml.", run=_settings),
    Check(id="hook.version", meaning="The hook is the installed package's.", run=_version),
    Check(
        id="hook.values",
        meaning="It holds the values of site.toml, such as the state directory and time limits.",
        run=_values,
    ),
    Check(
        id="hook.former",
        meaning="SlurmUser can execute the site's former EpilogSlurmctld (`--former`).",
        run=_former,
    ),
)
