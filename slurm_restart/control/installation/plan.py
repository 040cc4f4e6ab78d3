"""The parts of an installation on a controller, in the order in which they are put there."""

import re
from dataclasses import replace
from pathlib import Path

from slurm_restart.control.checks.context import NotKnownError
from slurm_restart.control.checks.hook_file import find_hook
from slurm_restart.control.hook_script import hook_text, share
from slurm_restart.control.installation.machine import DEFAULT_EXPORT, Machine, is_default
from slurm_restart.control.installation.package import commands_in_path, package
from slurm_restart.control.installation.part import Part, directory, file_of_root, quote, write_file
from slurm_restart.control.installation.slurm_conf import hook_path, slurm_conf
from slurm_restart.control.installation.sweep import sweep
from slurm_restart.control.site import Site


def parts(machine: Machine, *, controller: bool = True) -> tuple[Part, ...]:
    """Return the parts of an installation on this machine, and what is there of them.

    Args:
        machine: its facts.
        controller: whether slurmctld runs here; all other hosts need package and commands only.

    Raises:
        CsxError: SlurmUser is not known, or this installation lacks files.
    """
    if not controller:
        return (package(machine), *commands_in_path(machine))
    site = proposed_site(machine)
    user = machine.context.slurm_user.name
    found = [package(machine), *commands_in_path(machine), settings(machine, site)]
    found.append(
        directory(
            "what the controller remembers of each run",
            site.state_dir,
            part="state_dir",
            owner=user,
            mode=0o700,
        )
    )
    if site.export_dir is not None:
        found.append(
            directory(
                "copies of decisions for all users, without what is private",
                site.export_dir,
                part="export_dir",
                owner=user,
                mode=0o755,
            )
        )
    return (*found, hook(machine, site), slurm_conf(machine, site), *sweep(machine, site))


def proposed_site(machine: Machine) -> Site:
    """Return the site's settings, or those that are proposed where there are none."""
    if isinstance(machine.context.site_found, Site):
        return machine.context.site_found
    return Site(
        state_dir=machine.at(str(Site().state_dir)),
        slurm_bin=machine.slurm_bin,
        slurm_conf=machine.slurm_conf,
        export_dir=None if machine.hides_jobs else machine.at(DEFAULT_EXPORT),
        observe=True,
    )


def settings(machine: Machine, site: Site) -> Part:
    """Return the part site.toml; one that is there is kept as it is."""
    path = machine.context.site_path
    found = machine.context.site_found

    def problem(_: str) -> str | None:
        return None if isinstance(found, Site) else "; ".join(found)

    part = file_of_root(
        "the site's settings, in observe mode at first",
        path,
        part="settings",
        mode=0o644,
        commands=write_file(path, site_text(site), 0o644),
        problem=problem,
    )
    if isinstance(found, Site) and part.commands:
        part = replace(part, commands=(f"chown root {quote(path)} && chmod 644 {quote(path)}",))
    return part


def site_text(site: Site) -> str:
    """Return the text of a site.toml with these paths."""
    text = (share("site") / "site.toml").read_text()
    values = {
        "state_dir": site.state_dir,
        "export_dir": site.export_dir,
        "slurm_bin": site.slurm_bin,
        "slurm_conf": site.slurm_conf,
    }
    for name, value in values.items():
        line = f'# {name} = "/shared/slurm_restart"' if value is None else f'{name} = "{value}"'
        before, found, after = _cut(text, name)
        text = f"{before}{line}{after}" if found else f"{line}\n{text}"
    return text


def _cut(text: str, name: str) -> tuple[str, bool, str]:
    """Return what stands before and after a setting of a template, and whether it is there."""
    match = re.search(rf'^(# )?{name} = "[^"]*"', text, re.MULTILINE)
    if match is None:
        return text, False, ""
    return text[: match.start()], True, text[match.end() :]


def hook(machine: Machine, site: Site) -> Part:
    """Return the part that is the hook."""
    context = machine.context
    path = hook_path(machine)
    former = former_epilog(machine)
    options = "" if is_default(context.site_path) else f" --site {quote(context.site_path)}"
    options += "" if former is None else f" --former {quote(former)}"
    new = quote(f"{path}.new")

    def problem(text: str) -> str | None:
        wanted = hook_text(context.site_path, site, former=former)
        return None if text == wanted else f"{path} differs from what `csx-restart hook` prints"

    return file_of_root(
        "the hook that slurmctld runs at the end of each job (EpilogSlurmctld)",
        path,
        part="hook",
        mode=0o755,
        commands=(
            f"{quote(machine.command)} hook{options} > {new}",
            f"chmod 755 {new} && mv {new} {quote(path)}",
        ),
        problem=problem,
    )


def former_epilog(machine: Machine) -> Path | None:
    """Return the site's own EpilogSlurmctld, which the hook is to run first; None: none."""
    try:
        hook_file = find_hook(machine.context)
    except NotKnownError:
        hook_file = None
    if hook_file is not None:
        return Path(hook_file.former) if hook_file.former else None
    others = [Path(name) for name in machine.context.several("EpilogSlurmctld")]
    own = hook_path(machine)
    return next((path for path in others if path != own), None)
