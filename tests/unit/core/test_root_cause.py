from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.root_cause import SURVIVED, find_root_cause, sort_findings


def choose(findings: Iterable[Finding]) -> Finding | None:
    return find_root_cause(sort_findings(findings))


GUESS, LIKELY = Confidence.GUESS, Confidence.LIKELY


def finding(
    category: Category,
    role: Role = Role.ROOT,
    confidence: Confidence = LIKELY,
    line: int = 1,
    **more: Any,
) -> Finding:
    return Finding(
        rule="a.rule",
        category=category,
        role=role,
        line=line,
        text="…",
        confidence=confidence,
        **more,
    )


CODE = finding(Category.CODE)
SEGFAULT = finding(Category.SOFTWARE_CRASH)
ABORT = finding(Category.SOFTWARE_CRASH, confidence=GUESS)
NCCL = finding(Category.NETWORK_FABRIC)
HANG = finding(Category.HANG)
PEER_CLOSED = finding(Category.NETWORK_FABRIC, Role.CASCADE)
CHILD_FAILED = finding(Category.UNKNOWN, Role.CASCADE)
LEAKED = finding(Category.UNKNOWN, Role.TEARDOWN)
NOISE = finding(Category.UNKNOWN, Role.NOISE)
CAUGHT = finding(Category.CODE, went_on=3)
LONG_AGO = finding(Category.AUTH, went_on=SURVIVED + 1)
LOST_GPU = finding(Category.HARDWARE_ACCELERATOR, went_on=3)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([NOISE, LEAKED], None, id="noise and teardown are no cause"),
        pytest.param([CODE, NCCL], CODE, id="the first root candidate"),
        pytest.param([NCCL, CODE], NCCL, id="the first root candidate, whatever it is"),
        pytest.param([PEER_CLOSED, CODE], CODE, id="a cascade printed first is still a cascade"),
        pytest.param([LEAKED, CHILD_FAILED, NCCL], NCCL, id="any root candidate beats a cascade"),
        pytest.param([NCCL, SEGFAULT], SEGFAULT, id="a death outranks its peers' complaint"),
        pytest.param([HANG, SEGFAULT], SEGFAULT, id="a death outranks the watchdog"),
        pytest.param([HANG, ABORT], HANG, id="an abort is mostly the watchdog's own"),
        pytest.param([CODE, SEGFAULT], CODE, id="a death after an error of its own is later"),
        pytest.param([ABORT, CODE], CODE, id="a guess gives way"),
        pytest.param([ABORT], ABORT, id="a guess is better than nothing"),
        pytest.param([CAUGHT, SEGFAULT], SEGFAULT, id="an error that was caught gives way"),
        pytest.param([CAUGHT, HANG], CAUGHT, id="but not to a complaint: steps may be buffered"),
        pytest.param([CAUGHT, CODE], CAUGHT, id="but not to the same from another rank"),
        pytest.param([CAUGHT], CAUGHT, id="an error with steps behind it is better than nothing"),
        pytest.param([LOST_GPU, CODE], LOST_GPU, id="a lost device is not caught"),
        pytest.param([LONG_AGO, CODE], CODE, id="an error that was long survived gives way"),
        pytest.param([LONG_AGO, ABORT], ABORT, id="even to a guess"),
    ],
)
def test_choose(findings: list[Finding], expected: Finding | None) -> None:
    assert choose(findings) == expected


def test_an_error_long_survived_is_a_guess() -> None:
    chosen = choose([LONG_AGO])
    assert chosen is not None
    assert chosen.confidence is GUESS


def test_what_fails_at_the_start_and_nothing_explains_better_fails_always() -> None:
    early = finding(Category.CODE, confidence=GUESS, at_start=LIKELY)
    chosen = choose([early])
    assert chosen is not None
    assert chosen.confidence is LIKELY
    assert choose([early, NCCL]) == NCCL
    caught = choose([replace(early, went_on=1)])
    assert caught is not None
    assert caught.confidence is GUESS


def test_an_exception_that_nobody_knows_comes_before_those_who_miss_its_rank() -> None:
    raised = finding(Category.CODE, confidence=GUESS, at_start=LIKELY, raised=True, rank="[rank3]:")
    late = replace(HANG, line=90, rank="[rank0]:")
    chosen = choose([raised, late])
    assert chosen is not None
    assert (chosen.category, chosen.confidence) == (Category.CODE, LIKELY)
    assert choose([replace(raised, raised=False), late]) == late
    # The complaint is the rest of its message.
    assert choose([raised, replace(HANG, line=3, rank="[rank3]:")]) != chosen


def test_of_a_death_the_line_that_is_certain_is_shown() -> None:
    killed = finding(Category.OOM_HOST)
    kernel = finding(Category.OOM_HOST, confidence=Confidence.CERTAIN, line=2)
    assert choose([killed, kernel]) == kernel
    assert choose([CODE, finding(Category.CODE, confidence=Confidence.CERTAIN)]) == CODE


def test_candidates_are_ordered_by_time_where_all_of_them_tell_it() -> None:
    late = finding(Category.CODE, line=1, at=20.0)
    early = finding(Category.STORAGE_IO, line=9, at=10.0)
    assert sort_findings([late, early]) == (early, late)
    assert choose([late, early]) is early
    untimed = finding(Category.AUTH, line=5)
    assert sort_findings([late, early, untimed]) == (late, untimed, early)


def test_times_of_consequences_do_not_count() -> None:
    root = finding(Category.CODE, line=1)
    cascade = finding(Category.UNKNOWN, Role.CASCADE, line=2, at=5.0)
    assert sort_findings([cascade, root]) == (root, cascade)


def test_cascades_alone_are_a_guess() -> None:
    chosen = choose([LEAKED, CHILD_FAILED, PEER_CLOSED])
    assert chosen is not None
    assert (chosen.category, chosen.confidence) == (CHILD_FAILED.category, GUESS)


any_finding = st.builds(
    finding, st.sampled_from(Category), st.sampled_from(Role), st.sampled_from(Confidence)
)
consequence = st.builds(
    finding, st.sampled_from(Category), st.sampled_from([Role.CASCADE, Role.TEARDOWN, Role.NOISE])
)


@given(st.lists(any_finding), st.lists(consequence), st.lists(consequence))
def test_consequences_never_change_a_root_cause(
    findings: list[Finding], before: list[Finding], after: list[Finding]
) -> None:
    chosen = choose(findings)
    if chosen is not None and chosen.role is Role.ROOT:
        assert choose([*before, *findings, *after]) == chosen
