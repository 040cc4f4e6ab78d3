"""Parse `scontrol show config`: the settings that the controller uses. It holds no users' text."""

import re

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.parse_values import parse_text

_VERSION = re.compile(r"([0-9]{2})\.([0-9]{2})\.")
_CRED_EXPIRE = re.compile(r"cred_expire=([0-9]+)")
_REQUEUE_DELAY = re.compile(r"(?:^|,)requeue_delay=([0-9]+)")
_NO_HOLD = re.compile(r"(?:^|,)nohold_on_prolog_fail(?:,|$)")
_SECONDS = re.compile(r"([0-9]+) sec")
_USER = re.compile(r"(.+)\([0-9]+\)")
_CODES = re.compile(r"([0-9]+)(?:-([0-9]+))?")

_DEFAULT_CRED_EXPIRE = 120
_DEFAULT_KILL_WAIT = 30
_LEAST_CRED_EXPIRE = 5
"""Slurm replaces smaller values by its default (interfaces/cred.c)."""
_REQUEUE_DELAY_SINCE = (25, 11)
_HIGHEST_EXIT_CODE = 255


def parse_config(text: str) -> dict[str, str]:
    """Return the settings by name, as printed: `(null)` where none is set."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def cluster_facts(config: dict[str, str]) -> ClusterFacts:
    """Return the cluster's facts.

    Args:
        config: of `parse_config`; printed with SLURM_TIME_FORMAT=%s.

    Raises:
        SlurmError: SLURM_VERSION is missing, so this is no configuration of Slurm.
    """
    version = _VERSION.match(config.get("SLURM_VERSION", ""))
    if version is None:
        raise SlurmError("scontrol show config: expected SLURM_VERSION such as 22.05.8, got none")
    release = int(version[1]), int(version[2])
    epilogs = _values(config, "EpilogSlurmctld")
    boot_time = config.get("BOOT_TIME", "")
    kill_wait = _SECONDS.fullmatch(config.get("KillWait", ""))
    user = _USER.fullmatch(config.get("SlurmUser", ""))
    return ClusterFacts(
        release=release,
        boot_time=int(boot_time) if boot_time.isdecimal() else None,
        requeue_delay=_requeue_delay(config, release),
        requeue_exit=parse_exit_codes(config.get("RequeueExit", "")),
        requeue_exit_hold=parse_exit_codes(config.get("RequeueExitHold", "")),
        holds_on_prolog_fail=_NO_HOLD.search(config.get("SchedulerParameters", "")) is None,
        limits_enforced="limits" in config.get("AccountingStorageEnforce", "").lower().split(","),
        kill_wait=int(kill_wait[1]) if kill_wait else _DEFAULT_KILL_WAIT,
        slurm_user=user[1] if user else None,
        has_epilog=bool(epilogs),
        epilog=epilogs[0] if epilogs else None,
    )


def _values(config: dict[str, str], name: str) -> list[str]:
    """Return the values of a setting; none if it is not set.

    From 24.11, those that slurm.conf may have several times are numbered, `EpilogSlurmctld[0]`, and
    left out where there is none.
    """
    values = (value for key, value in config.items() if key.partition("[")[0] == name)
    return [text for value in values if (text := parse_text(value)) is not None]


def _requeue_delay(config: dict[str, str], release: tuple[int, int]) -> int:
    """Return seconds: slurmctld adds 1 to either setting (batch_requeue_fini in job_mgr.c)."""
    delay = _REQUEUE_DELAY.search(config.get("SchedulerParameters", ""))
    if delay is not None and release >= _REQUEUE_DELAY_SINCE:
        return int(delay[1]) + 1
    expire = _CRED_EXPIRE.search(config.get("AuthInfo", ""))
    seconds = int(expire[1]) if expire else _DEFAULT_CRED_EXPIRE
    return (seconds if seconds >= _LEAST_CRED_EXPIRE else _DEFAULT_CRED_EXPIRE) + 1


def parse_exit_codes(text: str) -> frozenset[int]:
    """Return the exit codes of RequeueExit: `1-5,9`. Like Slurm, skip what is no exit code."""
    codes: set[int] = set()
    for part in (parse_text(text) or "").split(","):
        match = _CODES.fullmatch(part.strip())
        if match is not None:
            first, last = int(match[1]), int(match[2] or match[1])
            codes.update(range(first, min(last, _HIGHEST_EXIT_CODE) + 1))
    return frozenset(codes)
