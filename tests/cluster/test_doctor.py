"""Each thing that can be broken in an installation is broken for real, and doctor names it."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import DEADLINE, await_

needs_root = pytest.mark.skipif(not AS_ROOT, reason="SlurmUser is the user of these tests")
Results = dict[str, list[dict[str, str]]]
Break = Callable[[ManagedCluster], AbstractContextManager[None]]

SETTINGS = {
    "RequeueExit": "1-3",
    "RequeueExitHold": "9",
    "MinJobAge": "60",
    "MessageTimeout": "99",
    "PrologEpilogTimeout": "20",
    "SchedulerParameters": "requeue_delay=700,nohold_on_prolog_fail",
    "AuthInfo": "{AuthInfo},cred_expire=700",
    "JobRequeue": "0",
    "SlurmdTimeout": "0",
}
"""Lines of slurm.conf that work against restarts."""
FOUND = {
    "requeue.exit": ("warning", "RequeueExit=1-3 and RequeueExitHold=9"),
    "requeue.prolog_hold": ("warning", "nohold_on_prolog_fail"),
    "requeue.delay": ("warning", ""),
    "requeue.default": ("ok", "JobRequeue=0"),
    "timer.interval": ("problem", "slurmctld deletes an ended job after 60 s"),
    "deadlines.hook": ("problem", "PrologEpilogTimeout=20 ends the hook"),
    "deadlines.command": ("warning", "MessageTimeout=99 s"),
    "nodes.slurmd_timeout": ("problem", "SlurmdTimeout=0"),
    "jobs.proctrack": ("warning", "proctrack/linuxproc leaves processes behind"),
    "jobs.kill_on_bad_exit": ("warning", "KillOnBadExit=0"),
    "jobs.prolog_flags": ("warning", "without PrologFlags=Alloc"),
}
"""What doctor finds in them: level and a part of the text."""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


def doctor(cluster: ManagedCluster, **identity: Any) -> tuple[int, Results]:
    """Run doctor in a bare environment; return its exit code and the results by check."""
    done = subprocess.run(
        [*cluster.csx_restart, "doctor", "--site", str(cluster.site), "--json"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd="/",
        env={"PATH": str(cluster.bin_dir), "SLURM_CONF": str(cluster.conf)},
        **identity,
    )
    assert done.returncode in {0, 1}, done.stderr
    assert not done.stderr
    found: Results = {}
    for result in json.loads(done.stdout):
        found.setdefault(result["check"], []).append(result)
        assert (result["remedy"] is None) == (result["level"] == "ok")
    levels = {result["level"] for results in found.values() for result in results}
    assert done.returncode == int("problem" in levels)
    return done.returncode, found


def levels(results: Results, check: str) -> set[str]:
    return {result["level"] for result in results[check]}


def texts(results: Results, check: str) -> str:
    return "\n".join(result["text"] for result in results[check])


# --- what can be broken --------------------------------------------------------------------------


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Give a file other permissions for a while."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@contextmanager
def owner(path: Path, uid: int) -> Iterator[None]:
    """Give a file to another user for a while."""
    before = path.stat()
    os.chown(path, uid, before.st_gid)
    try:
        yield
    finally:
        os.chown(path, before.st_uid, before.st_gid)


@contextmanager
def text(path: Path, change: Callable[[str], str]) -> Iterator[None]:
    """Change the text of a file for a while."""
    before = path.read_text()
    path.write_text(change(before))
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def moved(path: Path) -> Iterator[None]:
    """Take a file or a directory away for a while."""
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


def python(cluster: ManagedCluster, path: str) -> AbstractContextManager[None]:
    """Let the hook start another interpreter for a while."""
    return text(cluster.hook, lambda before: before.replace(sys.executable, path))


@contextmanager
def closed_venv(cluster: ManagedCluster) -> Iterator[None]:
    """Let the hook start an interpreter that has the package, and whose directory is root's."""
    directory = cluster.directory / "closed"
    venv.create(directory, symlinks=True)
    [packages] = directory.glob("lib/python*/site-packages")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "own.pth").write_text(f"{own}\n")
    directory.chmod(0o700)
    try:
        with python(cluster, f"{directory}/bin/python"):
            yield
    finally:
        shutil.rmtree(directory)


@contextmanager
def file_of_root(cluster: ManagedCluster) -> Iterator[None]:
    """Leave a journal of root's in the state directory, as a sweep as root would."""
    path = cluster.state_dir / "left.jsonl"
    path.touch()
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def full_disk(cluster: ManagedCluster) -> Iterator[None]:
    """Put a file system of 1 MiB over the state directory for a while."""
    path, user = str(cluster.state_dir), cluster.slurm_user
    options = f"size=1m,mode=0700,uid={user.pw_uid},gid={user.pw_gid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", path], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@contextmanager
def observing(cluster: ManagedCluster) -> Iterator[None]:
    """Set the mode `observe` for a while."""
    cluster.configure(policy=FAST, mode="observe")
    try:
        yield
    finally:
        cluster.configure(policy=FAST)


BREAKS: dict[str, tuple[Break, str, str, str]] = {
    "hook not executable": (
        lambda cluster: mode(cluster.hook, 0o644),
        "hook.executable",
        "problem",
        "cannot read and execute",
    ),
    "hook writable by everybody": (
        lambda cluster: mode(cluster.hook, 0o777),
        "hook.owner",
        "problem",
        "can be written by everybody",
    ),
    "directory of the hook writable by everybody": (
        lambda cluster: mode(cluster.site_dir, 0o777),
        "hook.owner",
        "problem",
        "can be written by everybody",
    ),
    "hook of other settings": (
        lambda cluster: text(cluster.hook, lambda before: before.replace("site.toml", "x.toml")),
        "hook.settings",
        "problem",
        "x.toml, not ",
    ),
    "hook printed before a change of the settings": (
        lambda cluster: text(
            cluster.site,
            lambda before: before.replace("command_timeout = 60.0", "command_timeout = 59.0"),
        ),
        "hook.values",
        "problem",
        "holds COMMAND=60, which ",
    ),
    "hook of an older release": (
        lambda cluster: text(
            cluster.hook,
            lambda before: "#!/bin/sh\n# slurm_restart 0.0.1\n" + before.partition("\n")[2],
        ),
        "hook.version",
        "problem",
        "is of slurm_restart 0.0.1, this is",
    ),
    "interpreter removed": (
        lambda cluster: python(cluster, "/nowhere/bin/python"),
        "hook.python",
        "problem",
        "/nowhere/bin/python cannot import slurm_restart as ",
    ),
    "interpreter without the package": (
        lambda cluster: python(cluster, "/usr/bin/python3"),
        "hook.python",
        "problem",
        "No module named 'slurm_restart'",
    ),
    "hook removed": (
        lambda cluster: moved(cluster.hook),
        "hook.configured",
        "problem",
        "EpilogSlurmctld is not csx-epilog",
    ),
    "settings invalid": (
        lambda cluster: text(cluster.site, lambda before: f"nonsense = 1\n{before}"),
        "site.valid",
        "problem",
        "nonsense: unknown key",
    ),
    "observe": (observing, "site.mode", "warning", "observe"),
    "state directory open to all": (
        lambda cluster: mode(cluster.state_dir, 0o755),
        "state.directory",
        "problem",
        "is accessible to others",
    ),
    "state directory removed": (
        lambda cluster: moved(cluster.state_dir),
        "state.directory",
        "problem",
        "does not exist",
    ),
    "export directory removed": (
        lambda cluster: moved(cluster.export_dir),
        "export.directory",
        "problem",
        "does not exist",
    ),
    "export directory closed to users": (
        lambda cluster: mode(cluster.export_dir, 0o700),
        "export.directory",
        "warning",
        "is closed to others",
    ),
}
"""What is broken; by which act; the check that finds it, its level, a part of its text, in which
{user} is the user who submits jobs."""

ROOT_BREAKS: dict[str, tuple[Break, str, str, str]] = {
    "hook for root only": (
        lambda cluster: mode(cluster.hook, 0o700),
        "hook.executable",
        "problem",
        "slurm (SlurmUser) cannot read and execute",
    ),
    "hook of a user": (
        lambda cluster: owner(cluster.hook, cluster.user.pw_uid),
        "hook.owner",
        "problem",
        "csx-epilog belongs to {user}",
    ),
    "directory of a user above the hook": (
        lambda cluster: owner(cluster.directory, cluster.user.pw_uid),
        "hook.owner",
        "problem",
        "belongs to {user}",
    ),
    "package for root only": (
        closed_venv,
        "hook.python",
        "problem",
        "cannot import slurm_restart as slurm (SlurmUser): ",
    ),
    "settings for root only": (
        lambda cluster: mode(cluster.site, 0o600),
        "site.readable",
        "problem",
        "slurm (SlurmUser) cannot read",
    ),
    "settings of a user": (
        lambda cluster: owner(cluster.site, cluster.user.pw_uid),
        "site.owner",
        "problem",
        "site.toml belongs to {user}",
    ),
    "slurm.conf for root only": (
        lambda cluster: mode(cluster.conf, 0o600),
        "slurm.conf",
        "problem",
        "slurm (SlurmUser) cannot read",
    ),
    "slurm.conf for root only: no request": (
        lambda cluster: mode(cluster.conf, 0o600),
        "slurm.ping",
        "problem",
        "slurm (SlurmUser) does not reach slurmctld",
    ),
    "file of root in the state directory": (
        file_of_root,
        "state.files",
        "problem",
        "left.jsonl (root)",
    ),
    "full disk": (full_disk, "state.space", "problem", "is full"),
    "state directory of root": (
        lambda cluster: owner(cluster.state_dir, 0),
        "state.directory",
        "problem",
        "belongs to root, not to SlurmUser (slurm)",
    ),
    "export directory of a user": (
        lambda cluster: owner(cluster.export_dir, cluster.user.pw_uid),
        "export.owner",
        "problem",
        "belongs to {user}",
    ),
    "export directory that SlurmUser cannot write": (
        lambda cluster: owner(cluster.export_dir, 0),
        "export.directory",
        "problem",
        "slurm (SlurmUser) cannot write export_dir",
    ),
}
"""The same for what only root can break, or see as SlurmUser."""


def broken_and_mended(
    cluster: ManagedCluster, act: Break, check: str, level: str, part: str
) -> None:
    _, before = doctor(cluster)
    assert levels(before, check) == {"ok"}, texts(before, check)
    with act(cluster):
        _, found = doctor(cluster)
    assert level in levels(found, check)
    assert part.format(user=cluster.user.pw_name) in texts(found, check)
    _, after = doctor(cluster)
    assert levels(after, check) == {"ok"}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(cluster: ManagedCluster, name: str) -> None:
    broken_and_mended(cluster, *BREAKS[name])


@needs_root
@pytest.mark.parametrize("name", ROOT_BREAKS)
def test_what_only_slurm_user_notices_is_named(cluster: ManagedCluster, name: str) -> None:
    broken_and_mended(cluster, *ROOT_BREAKS[name])


# --- slurm.conf ----------------------------------------------------------------------------------


def shown(cluster: ManagedCluster) -> dict[str, str]:
    """The configuration as slurmctld shows it."""
    lines = cluster.run("scontrol", "show", "config", as_root=True).splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


@contextmanager
def slurm_conf(cluster: ManagedCluster, settings: dict[str, str]) -> Iterator[None]:
    """Reconfigure slurmctld with other settings for a while."""
    conf, before = cluster.conf.read_text(), shown(cluster)
    lines = [line for line in conf.splitlines() if line.partition("=")[0] not in settings]
    lines += [f"{name}={value.format_map(before)}" for name, value in settings.items()]
    try:
        reconfigure(cluster, "\n".join(lines) + "\n", lambda now: now["MinJobAge"] == "60 sec")
        yield
    finally:
        reconfigure(cluster, conf, lambda now: now["MinJobAge"] == before["MinJobAge"])


def reconfigure(cluster: ManagedCluster, conf: str, done: Callable[[dict[str, str]], bool]) -> None:
    cluster.conf.write_text(conf)
    cluster.run("scontrol", "reconfigure", as_root=True)
    await_(lambda: done(shown(cluster)), "slurmctld uses the other slurm.conf")


@pytest.mark.core
def test_settings_of_slurm_that_work_against_restarts_are_named(cluster: ManagedCluster) -> None:
    with slurm_conf(cluster, SETTINGS):
        code, found = doctor(cluster)
    assert code == 1
    for check, (level, part) in FOUND.items():
        assert levels(found, check) == {level}, (check, texts(found, check))
        assert part in texts(found, check)
    release = shown(cluster)["SLURM_VERSION"]
    ignored = tuple(map(int, release.split(".")[:2])) < (25, 11)
    delay = "is ignored before Slurm 25.11" if ignored else "waits 701 s"
    assert delay in texts(found, "requeue.delay")
    _, mended = doctor(cluster)
    assert "problem" not in levels(mended, "timer.interval") | levels(mended, "deadlines.hook")


@pytest.mark.core
def test_a_second_hook_is_named(cluster: ManagedCluster) -> None:
    release = tuple(map(int, shown(cluster)["SLURM_VERSION"].split(".")[:2]))
    if release < (24, 11):
        pytest.skip("before 24.11, slurm.conf may have one EpilogSlurmctld")
    conf = cluster.conf.read_text()
    with text(cluster.conf, lambda _: f"{conf}EpilogSlurmctld=/bin/true\n"):
        cluster.run("scontrol", "reconfigure", as_root=True)
        await_(lambda: "problem" in levels(doctor(cluster)[1], "hook.single"), "a second hook")
    cluster.run("scontrol", "reconfigure", as_root=True)
    await_(lambda: levels(doctor(cluster)[1], "hook.single") == {"ok"}, "one hook again")


@pytest.mark.core
def test_the_bugs_of_the_running_release_are_named(cluster: ManagedCluster) -> None:
    version = shown(cluster)["SLURM_VERSION"]
    release = tuple(map(int, version.split("-")[0].split(".")))
    _, found = doctor(cluster)
    assert levels(found, "release.supported") == {"ok"}
    assert levels(found, "release.bugs") == ({"ok"} if release >= (26, 5, 4) else {"warning"})
    assert version in texts(found, "release.bugs")


# --- slurmctld and users -------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "mend"), [("kill", "start"), ("freeze", "thaw")])
def test_a_slurmctld_that_does_not_answer_is_a_result(
    cluster: ManagedCluster, fault: str, mend: str
) -> None:
    cluster.configure(policy=FAST, hook={"command_timeout": 3.0})
    cluster.fault(f"{fault}-ctld")
    try:
        code, found = doctor(cluster)
    finally:
        cluster.fault(f"{mend}-ctld")
        cluster.configure(policy=FAST)
    assert code == 1
    assert levels(found, "slurm.config") == {"problem"}
    assert levels(found, "hook.configured") == {"unknown"}
    assert levels(found, "site.mode") == {"ok"}
    await_(lambda: "ok" in levels(doctor(cluster)[1], "slurm.config"), "slurmctld answers")


@needs_root
def test_slurm_user_can_try_everything(cluster: ManagedCluster) -> None:
    user = cluster.slurm_user
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    _, found = doctor(cluster, **identity)
    tried = {name: levels(found, name) for name in ("hook.python", "slurm.ping", "state.files")}
    assert tried == {name: {"ok"} for name in tried}


@needs_root
def test_a_user_sees_what_only_others_may_try(cluster: ManagedCluster) -> None:
    user = cluster.user
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    code, found = doctor(cluster, **identity)
    assert code == 0
    for check in ("hook.executable", "hook.python", "site.readable", "slurm.conf", "slurm.ping"):
        assert levels(found, check) == {"unknown"}
        assert texts(found, check) == "could not be tried as SlurmUser (slurm)"
        assert found[check][0]["remedy"] == "run csx-restart doctor as root"
    assert levels(found, "state.files") == {"unknown"}
    assert levels(found, "hook.owner") == {"ok"}


def test_doctor_changes_nothing(cluster: ManagedCluster) -> None:
    def everything() -> list[tuple[str, int, int, int]]:
        paths = sorted(cluster.site_dir.rglob("*"))
        return [
            (str(path), status.st_mode, status.st_mtime_ns, status.st_uid)
            for path, status in ((path, path.lstat()) for path in paths)
        ]

    before = everything()
    doctor(cluster)
    assert everything() == before
