"""The deadlines of site.toml against those of slurm.conf, at their borders."""

import sys
from pathlib import Path

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Level
from slurm_restart.control.hook_script import hook_text
from tests.unit.control.checks.installation import (
    configured,
    hook_of,
    level,
    limited,
    only,
    without,
)


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("204", Level.PROBLEM),
        ("205", Level.OK),
        ("206", Level.OK),
        ("0", Level.OK),
        ("65534", Level.OK),
        ("65535", Level.OK),
        ("", Level.OK),
    ],
)
def test_slurm_must_not_end_the_hook_before_it_has_requeued_the_job(
    context: Context, limit: str, found: Level
) -> None:
    limits = {"queue_timeout": 20, "deadline": 60, "command_timeout": 10}
    tested = limited(configured(context, PrologEpilogTimeout=limit), **limits)
    assert level(tested, "deadlines.hook") is found


@pytest.mark.parametrize(
    ("limit", "found"),
    [("65533", Level.PROBLEM), ("65534", Level.OK), ("65535", Level.OK)],
)
def test_an_unlimited_time_is_no_limit(context: Context, limit: str, found: Level) -> None:
    tested = limited(configured(context, PrologEpilogTimeout=limit), deadline=70_000)
    assert level(tested, "deadlines.hook") is found


def test_from_25_05_the_epilogs_own_limit_counts(context: Context) -> None:
    shown = without(context, "PrologEpilogTimeout")
    tested = limited(configured(shown, EpilogTimeout="30", PrologTimeout="600"), deadline=60)
    result = only(tested, "deadlines.hook")
    assert result.level is Level.PROBLEM
    assert result.text.startswith("EpilogTimeout=30 ends the hook")


def test_the_sites_former_hook_takes_its_time_too(context: Context) -> None:
    limits = {"queue_timeout": 20, "deadline": 60, "command_timeout": 10}
    tested = limited(configured(context, PrologEpilogTimeout="205"), **limits)
    former = hook_text(context.site_path, former=Path("/bin/true"), python=Path(sys.executable))
    hook_of(context).write_text(former)
    assert level(tested, "deadlines.hook") is Level.PROBLEM
    assert level(configured(tested, PrologEpilogTimeout="265"), "deadlines.hook") is Level.OK


@pytest.mark.parametrize(
    ("timeout", "deadline", "message", "found"),
    [
        (10, 60, "10 sec", Level.OK),
        (9.9, 60, "10 sec", Level.WARNING),
        (10, 60, "11 sec", Level.WARNING),
        (10, 60, "", Level.OK),
        (9, 60, "", Level.WARNING),
        (30, 60, "10 sec", Level.OK),
        (31, 60, "10 sec", Level.WARNING),
    ],
)
def test_one_request_against_slurms_and_the_hooks_limit(
    context: Context, timeout: float, deadline: float, message: str, found: Level
) -> None:
    tested = limited(context, command_timeout=timeout, deadline=deadline)
    assert level(configured(tested, MessageTimeout=message), "deadlines.command") is found
