"""Slurm's commands and the log of a job follow the site's settings."""

from pathlib import Path

from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.site import HookLimits, Site


def stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_commands_are_the_sites(tmp_path: Path) -> None:
    stub(tmp_path / "bin", "scontrol", 'echo "CONF = $SLURM_CONF"')
    site = Site(slurm_bin=tmp_path / "bin", slurm_conf=tmp_path / "slurm.conf")
    assert commands_for(site).config() == {"CONF": str(tmp_path / "slurm.conf")}


def test_a_command_has_the_sites_time_limit(tmp_path: Path) -> None:
    stub(tmp_path / "bin", "scontrol", "exec sleep 20")
    site = Site(slurm_bin=tmp_path / "bin", limits=HookLimits(command_timeout=0.1))
    assert commands_for(site).ping() is False


def test_a_line_of_the_log_names_the_job(tmp_path: Path) -> None:
    site = Site(state_dir=tmp_path)
    Controller(slurm=commands_for(site), site=site, cluster="c").log(7)("text")
    assert (tmp_path / "csx-epilog.log").read_text().endswith(" job 7: text\n")
