import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role, choose

GUESS, LIKELY = Confidence.GUESS, Confidence.LIKELY


def finding(
    category: Category, role: Role = Role.ROOT, confidence: Confidence = LIKELY, line: int = 1
) -> Finding:
    return Finding(
        rule="a.rule", category=category, role=role, line=line, text="…", confidence=confidence
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
    ],
)
def test_choose(findings: list[Finding], expected: Finding | None) -> None:
    assert choose(findings) == expected


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
        assert choose([*before, *findings, *after]) is chosen
