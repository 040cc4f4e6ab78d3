"""Checks of what SlurmUser reads: site.toml, slurm.conf, Slurm's commands; and of its settings."""

from collections.abc import Iterable

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.owner_findings import owner_findings
from slurm_restart.control.checks.result import Check, Finding, ok, problem, warning
from slurm_restart.control.checks.run_as import last_line, not_accessible, run_as
from slurm_restart.control.site import Site
from slurm_restart.logs.lint import lint
from slurm_restart.logs.rules import SITE_RULES

_COMMANDS = ("scontrol", "squeue", "sinfo", "scancel")


def _valid(context: Context) -> Iterable[Finding]:
    found = context.site_found
    if isinstance(found, Site):
        yield ok(f"{context.site_path} is valid")
        return
    for text in found:
        yield problem(
            f"{text} (no hook and no sweep can do anything)",
            f"correct {context.site_path}; docs/reference/configuration.md describes it",
        )


def _readable(context: Context) -> Iterable[Finding]:
    user = context.slurm_user
    path = context.site_path.absolute()
    if not_accessible(user, "-r", str(path)):
        yield problem(
            f"{user.name} (SlurmUser) cannot read {path}",
            f"chmod 644 {path} and chmod 755 its directory",
        )
    else:
        yield ok(f"{user.name} (SlurmUser) can read {path}")


def _owner(context: Context) -> Iterable[Finding]:
    yield from owner_findings(context.site_path.absolute(), context, "the settings")


def _mode(context: Context) -> Iterable[Finding]:
    if context.site.observe:
        yield warning(
            "mode is `observe`: decisions are only written to the journal, nothing is restarted",
            f'set mode = "act" in {context.site_path} when the trial is over',
        )
    else:
        yield ok("mode is `act`")


def _rules(_context: Context) -> Iterable[Finding]:
    if not SITE_RULES.is_dir():
        return
    found = lint([SITE_RULES])
    for text in found.problems:
        yield problem(
            f"invalid log rule: {text}",
            "correct the rule, then check with: csx-restart rules lint",
        )
    if not found.problems:
        yield ok(f"{found.rules} rules in {SITE_RULES}")


def _config(context: Context) -> Iterable[Finding]:
    if isinstance(context.config_found, str):
        yield problem(
            f"scontrol show config failed: {context.config_found}",
            f"start slurmctld, or correct slurm_bin and slurm_conf in {context.site_path}",
        )
    else:
        yield ok(f"slurmctld answers ({context.setting('SLURM_VERSION')})")


def _commands(context: Context) -> Iterable[Finding]:
    user, folder = context.slurm_user, context.site.slurm_bin
    absent = not_accessible(user, "-x", *(str(folder / name) for name in _COMMANDS))
    if absent:
        yield problem(
            f"{user.name} (SlurmUser) cannot execute {', '.join(absent)}",
            f"set slurm_bin in {context.site_path} to the directory of Slurm's commands",
        )
    else:
        yield ok(f"Slurm's commands are in {folder}")


def _slurm_conf(context: Context) -> Iterable[Finding]:
    user, path = context.slurm_user, context.site.slurm_conf
    if not_accessible(user, "-r", str(path)):
        yield problem(
            f"{user.name} (SlurmUser) cannot read {path}",
            f"chmod 644 {path}, or set slurm_conf in {context.site_path} (where nodes get it from "
            "slurmctld: /run/slurm/conf/slurm.conf)",
        )
    else:
        yield ok(f"{user.name} (SlurmUser) can read {path}")


def _ping(context: Context) -> Iterable[Finding]:
    """Return whether a request works as SlurmUser, with the hook's environment."""
    user, site = context.slurm_user, context.site
    scontrol = str(site.slurm_bin / "scontrol")
    done = run_as(user, (scontrol, "ping"), env={"SLURM_CONF": str(site.slurm_conf)})
    if " is UP" in done.stdout:
        yield ok(f"{user.name} (SlurmUser) reaches slurmctld")
    else:
        yield problem(
            f"{user.name} (SlurmUser) does not reach slurmctld: {last_line(done)}",
            f"run as {user.name}: SLURM_CONF={site.slurm_conf} {scontrol} ping",
        )


CHECKS = (
    Check(id="site.valid", meaning="site.toml exists, and every key of it is valid.", run=_valid),
    Check(
        id="site.readable",
        meaning="SlurmUser can read site.toml; tried as that user.",
        run=_readable,
    ),
    Check(
        id="site.owner",
        meaning="Only root and SlurmUser can change site.toml and each directory of its path.",
        run=_owner,
    ),
    Check(id="site.mode", meaning="The mode is `act`, not `observe`.", run=_mode),
    Check(id="site.rules", meaning="The site's rules over log lines are valid.", run=_rules),
    Check(id="slurm.config", meaning="slurmctld answers.", run=_config),
    Check(
        id="slurm.commands",
        meaning="SlurmUser can execute scontrol, squeue, sinfo and scancel in `slurm_bin`.",
        run=_commands,
    ),
    Check(
        id="slurm.conf",
        meaning="SlurmUser can read `slurm_conf`; tried as that user.",
        run=_slurm_conf,
    ),
    Check(
        id="slurm.ping",
        meaning="`scontrol ping` works as SlurmUser, with the hook's environment.",
        run=_ping,
    ),
)
