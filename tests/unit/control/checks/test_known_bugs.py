"""The table of Slurm's own bugs, at the borders of each range of releases."""

import re

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.known_bugs import (
    KNOWN_BUGS,
    OLDEST,
    Release,
    bugs_of,
    format_release,
)
from slurm_restart.control.checks.result import Level
from tests.unit.control.checks.installation import configured, only, problem, results

ALWAYS = {"AccountingStorageEnforce": "associations,limits", "PrologSlurmctld": "/p"}


@pytest.mark.parametrize(
    ("bug", "last_before", "first", "last", "fixed"),
    [
        ("completing-crash", (22, 5, 11), (23, 2, 0), (26, 5, 3), (26, 5, 4)),
        ("late-epilog-crash", None, (22, 5, 0), (24, 11, 5), (24, 11, 6)),
        ("submit-count", None, (22, 5, 0), (25, 11, 2), (25, 11, 3)),
        ("licenses-lost", (24, 11, 7), (25, 5, 0), (25, 11, 6), (25, 11, 7)),
        ("accounting-overwritten", None, (22, 5, 0), (26, 5, 3), (26, 5, 4)),
        ("prolog-requeued-twice", None, (22, 5, 0), (25, 11, 4), (25, 11, 5)),
    ],
)
def test_the_first_and_the_last_release_with_a_bug(
    bug: str, last_before: Release | None, first: Release, last: Release, fixed: Release
) -> None:
    def has(release: Release) -> bool:
        return bug in [known.id for known in bugs_of(release)]

    assert last_before is None or not has(last_before)
    assert has(first)
    assert has(last)
    assert not has(fixed)
    assert not has((26, 11, 0))


def test_every_row_has_a_test_at_its_borders() -> None:
    [mark] = test_the_first_and_the_last_release_with_a_bug.pytestmark  # type: ignore[attr-defined]
    rows = {row[0]: (row[2], row[4]) for row in mark.args[1]}
    assert rows == {bug.id: (bug.since, bug.fixed) for bug in KNOWN_BUGS}


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("22.05.8", ["late-epilog-crash", "submit-count", "accounting-overwritten"]),
        (
            "24.11.5",
            ["completing-crash", "late-epilog-crash", "submit-count", "accounting-overwritten"],
        ),
        ("25.11.7", ["completing-crash", "accounting-overwritten"]),
        ("26.05.5", []),
    ],
)
def test_the_bugs_of_the_releases_of_debian(context: Context, version: str, ids: list[str]) -> None:
    found = configured(context, SLURM_VERSION=version, AccountingStorageEnforce="limits")
    named = [re.search(r"\(([\w-]+)\)$", result.text) for result in results(found, "release.bugs")]
    assert [match[1] for match in named if match] == ids


def test_a_bug_is_a_warning_with_the_release_to_upgrade_to(context: Context) -> None:
    [result] = results(configured(context, SLURM_VERSION="25.11.7"), "release.bugs")
    assert result.level is Level.WARNING
    assert result.text.startswith("Slurm 25.11.7: slurmctld can crash")
    assert result.remedy is not None
    assert result.remedy.startswith("upgrade to Slurm 26.05.4 or later; until then ")


@pytest.mark.parametrize(
    ("config", "bug"),
    [
        ({"AccountingStorageEnforce": "limits"}, "submit-count"),
        ({"AccountingStorageEnforce": "limits"}, "accounting-overwritten"),
        ({"PrologSlurmctld[0]": "/p"}, "prolog-requeued-twice"),
    ],
)
def test_a_bug_that_needs_a_setting(context: Context, config: dict[str, str], bug: str) -> None:
    old = configured(context, SLURM_VERSION="24.11.5", AccountingStorageEnforce="(null)")
    assert not [result for result in results(old, "release.bugs") if bug in result.text]
    assert [
        result
        for result in results(configured(old, **config), "release.bugs")
        if bug in result.text
    ]


def test_no_known_bug(context: Context) -> None:
    assert only(configured(context, **ALWAYS), "release.bugs").level is Level.OK


@pytest.mark.parametrize(("version", "supported"), [("21.08.8", False), ("22.05.0", True)])
def test_the_oldest_release(context: Context, version: str, *, supported: bool) -> None:
    found = configured(context, SLURM_VERSION=version)
    if supported:
        assert only(found, "release.supported").level is Level.OK
    else:
        assert problem(found, "release.supported").startswith("Slurm 21.08.8 is older than 22.05,")


def test_releases_are_written_as_slurm_does() -> None:
    assert [format_release(release) for release in (OLDEST, (24, 11, 5))] == ["22.05.0", "24.11.5"]
