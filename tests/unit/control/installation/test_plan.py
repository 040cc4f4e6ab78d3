"""What `csx-restart install` prints for a machine is run, and it finds everything in place then."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from contrib import package_files
from slurm_restart.cli.install import script
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.timer import SERVICE, TIMER
from slurm_restart.control.installation.machine import Machine, look, source
from slurm_restart.control.installation.part import Part, State
from slurm_restart.control.installation.plan import parts
from slurm_restart.control.site import load_site
from slurm_restart.errors import SlurmUnavailableError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root owns can only root write")
RESTART = '#!/bin/sh\nexec {python} -m slurm_restart.cli.restart "$@"\n'
CONFIG = {
    "SLURM_VERSION": "22.05.8",
    "SlurmUser": "games(5)",
    "MinJobAge": "300 sec",
    "SlurmdTimeout": "300 sec",
    "PrologEpilogTimeout": "65534",
    "EpilogSlurmctld": "(null)",
    "PrivateData": "none",
}
SYSTEMCTL = """\
#!/bin/sh
echo "$@" >> {top}/asked
[ "$1" != enable ] || {{ mkdir -p {units}/timers.target.wants
    ln -s {units}/$3 {units}/timers.target.wants/; }}
"""


@pytest.fixture
def machine(top: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A controller with Slurm, without anything of this package but the package."""
    conf = top / "slurm.conf"
    conf.write_text("ClusterName=c\nSlurmUser=games  # no line feed at the end")
    for folder in ("etc/cron.d", "usr/local/bin", "var/lib", "opt/bin"):
        (top / folder).mkdir(parents=True)
    programs = {"csx-restart": RESTART, "csx-sbatch": RESTART, "systemctl": SYSTEMCTL}
    for name, text in programs.items():
        values = {"python": sys.executable, "top": top, "units": top / "etc/systemd/system"}
        (top / "opt/bin" / name).write_text(text.format(**values))
        (top / "opt/bin" / name).chmod(0o755)
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("PATH", f"{top}/opt/bin:/usr/bin:/bin")
    context = Context(
        site_path=top / "etc" / "slurm_restart" / "site.toml",
        site_found=("there is no such file",),
        config_found=CONFIG,
    )
    return Machine(
        context=context,
        answers=True,
        command=top / "opt/bin/csx-restart",
        systemd=False,
        root=top,
    )


def planned(machine: Machine) -> dict[str, Part]:
    """Return the parts but the package, which these tests run from a checkout."""
    return {part.id: part for part in parts(machine) if part.id != "package"}


def follow(machine: Machine) -> Machine:
    """Run the printed script, and return the machine as it is then, slurmctld restarted."""
    text = script(machine, tuple(planned(machine).values()))
    subprocess.run(["sh", "-eu"], input=text, text=True, check=True, timeout=120)
    return looked_at_again(machine)


def looked_at_again(machine: Machine, **config: str) -> Machine:
    path = machine.context.site_path
    read = {
        line.partition("=")[0]: line.partition("=")[2]
        for line in machine.slurm_conf.read_text().splitlines()
    }
    settings = CONFIG | {name: value for name, value in read.items() if name != "SlurmUser"}
    context = replace(machine.context, site_found=load_site(path), config_found=settings | config)
    return replace(machine, context=context)


def absent(machine: Machine) -> set[str]:
    return {name for name, part in planned(machine).items() if part.state is not State.PRESENT}


@as_root
@pytest.mark.parametrize("systemd", [False, True])
def test_the_printed_script_installs_everything(machine: Machine, systemd: bool) -> None:
    machine = replace(machine, systemd=systemd)
    sweep = {"service", "timer"} if systemd else {"cron"}
    rest = {"path", "settings", "state_dir", "export_dir", "hook", "slurm.conf"}
    assert absent(machine) == rest | sweep
    after = follow(machine)
    assert absent(after) == set()
    # A second time nothing is to be done.
    assert all(not part.commands for part in planned(after).values())
    site = after.context.site
    assert site.observe
    assert site.state_dir.stat().st_mode & 0o777 == 0o700
    assert site.export_dir is not None
    assert site.export_dir.stat().st_uid == 5
    hook = after.context.site_path.parent / "csx-epilog"
    assert after.slurm_conf.read_text().splitlines()[2:] == [f"EpilogSlurmctld={hook}"]
    assert hook.stat().st_mode & 0o777 == 0o755
    if systemd:
        unit = (machine.root / "etc/systemd/system" / SERVICE).read_text()
        assert "User=games\nGroup=games\n" in unit
        assert f"ReadWritePaths=-{site.export_dir}" in unit
        assert (machine.root / "etc/systemd/system" / TIMER).is_file()


@as_root
def test_what_differs_is_said_and_corrected(machine: Machine) -> None:
    machine = follow(machine)
    site = machine.context.site
    site.state_dir.chmod(0o755)
    hook = machine.context.site_path.parent / "csx-epilog"
    hook.write_text("#!/bin/sh\n")
    cron = machine.root / "etc/cron.d/slurm-restart"
    cron.write_text(cron.read_text().replace(" games ", " root "))
    found = planned(machine)
    assert {name for name, part in found.items() if part.state is State.DIFFERS} == {
        "state_dir",
        "hook",
        "cron",
    }
    assert found["state_dir"].found.endswith("has mode 755, expected 700")
    assert absent(follow(machine)) == set()


@as_root
def test_the_unit_of_a_package_gets_a_drop_in_for_what_differs(machine: Machine) -> None:
    machine = replace(machine, systemd=True)
    package_files.main([str(machine.root)])
    unit = machine.root / "usr/lib/systemd/system" / SERVICE
    before = unit.read_text()
    assert planned(machine)["service"].found == f"{unit} lacks User=games"
    after = follow(machine)
    assert absent(after) == set()
    assert unit.read_text() == before
    drop_in = machine.root / "etc/systemd/system" / f"{SERVICE}.d" / "site.conf"
    lines = drop_in.read_text().splitlines()
    assert lines[:3] == ["[Service]", "User=games", "Group=games"]
    # The package's own command is replaced, not followed.
    assert lines[lines.index("ExecStart=") + 1].startswith(f"ExecStart={machine.command} reconcile")


@as_root
def test_settings_that_are_there_are_kept(machine: Machine) -> None:
    machine = follow(machine)
    path = machine.context.site_path
    path.write_text(path.read_text().replace("observe", "act"))
    machine = looked_at_again(machine)
    assert "settings" not in absent(machine)
    path.chmod(0o600)
    assert planned(machine)["settings"].commands == (f"chown root {path} && chmod 644 {path}",)


@as_root
def test_a_former_epilog_is_run_by_the_hook(machine: Machine) -> None:
    former = machine.root / "former.sh"
    former.write_text("#!/bin/sh\n")
    machine.slurm_conf.write_text(f"SlurmUser=games\nEpilogSlurmctld={former}\n")
    config = dict(machine.context.config) | {"EpilogSlurmctld": str(former)}
    machine = replace(machine, context=replace(machine.context, config_found=config))
    after = follow(machine)
    assert absent(after) == set()
    hook = after.context.site_path.parent / "csx-epilog"
    assert f"FORMER={former}" in hook.read_text()
    assert after.slurm_conf.read_text() == f"SlurmUser=games\nEpilogSlurmctld={hook}\n"


def test_slurmctld_that_was_not_restarted_is_said(machine: Machine) -> None:
    hook = machine.context.site_path.parent / "csx-epilog"
    machine.slurm_conf.write_text(f"EpilogSlurmctld={hook}\n")
    part = planned(machine)["slurm.conf"]
    assert part.found == f"slurmctld has not read it: EpilogSlurmctld={hook}"
    assert part.commands == ("# restart slurmctld, in the way in which it is started here",)
    [restart] = planned(replace(machine, systemd=True))["slurm.conf"].commands
    assert restart == "systemctl restart slurmctld"


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"PrologEpilogTimeout": "60"}, "PrologEpilogTimeout=280"),
        ({"MinJobAge": "60 sec"}, "MinJobAge=300"),
        ({"SlurmdTimeout": "0 sec"}, "SlurmdTimeout=120"),
    ],
)
def test_what_doctor_would_call_a_problem(
    machine: Machine, config: dict[str, str], line: str
) -> None:
    context = replace(machine.context, config_found=CONFIG | config)
    part = planned(replace(machine, context=context))["slurm.conf"]
    assert line in part.found
    assert any(line in command for command in part.commands)


def test_no_copies_where_slurm_hides_the_jobs_of_others(machine: Machine) -> None:
    context = replace(machine.context, config_found=CONFIG | {"PrivateData": "jobs,usage"})
    found = planned(replace(machine, context=context))
    assert "export_dir" not in found
    assert any(line.startswith("# export_dir =") for line in found["settings"].commands)


def test_a_package_that_others_can_change_is_installed_elsewhere(machine: Machine) -> None:
    context = replace(machine.context, config_found=CONFIG | {"SlurmUser": "nobody(65534)"})
    [part] = [part for part in parts(replace(machine, context=context)) if part.id == "package"]
    if part.state is State.DIFFERS:
        assert part.commands[0].startswith("python3 -m venv /opt/slurm_restart-")
        assert source() in part.commands[1]


def test_without_slurmctld_the_settings_are_those_of_slurm_conf(machine: Machine) -> None:
    assert machine.slurm_conf.is_file()
    found = look(machine.context.site_path)
    assert not found.answers
    assert found.context.slurm_user.name == "games"
    machine.slurm_conf.unlink()
    with pytest.raises(SlurmUnavailableError, match="run this on the controller"):
        look(machine.context.site_path)


@pytest.mark.parametrize(
    ("hosts", "here"),
    [
        ({"SlurmctldHost[0]": "ctl1(10.0.0.1)", "SlurmctldHost[1]": "ctl2"}, True),
        ({"SlurmctldHost[0]": "ctl2.example.org"}, True),
        ({"SlurmctldHost[0]": "ctl1"}, False),
        ({}, True),
    ],
)
def test_whether_this_is_a_controller(machine: Machine, hosts: dict[str, str], here: bool) -> None:
    context = replace(machine.context, config_found=CONFIG | hosts)
    machine = replace(machine, context=context, host="ctl2.cluster")
    assert machine.is_controller is here
    found = [part.id for part in parts(machine, controller=False)]
    assert found == ["package", "path"]
