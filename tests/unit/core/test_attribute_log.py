from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.core.job import JobFlag, JobState

CASCADE, ROOT, GUESS = Role.CASCADE, Role.ROOT, Confidence.GUESS
FAILED = ExitFacts(state=JobState.FAILED, exit_code=1)


def finding(category: Category, role: Role = ROOT, line: int = 3, **changes: Any) -> Finding:
    values: dict[str, Any] = {"rule": f"r.{category.value}", "text": f"{category.value} {line}"}
    return Finding(category=category, role=role, line=line, **(values | changes))


CODE = finding(Category.CODE)
TIME_LIMIT = finding(Category.TIMEOUT, line=9)
XID = finding(Category.HARDWARE_ACCELERATOR, nodes=("csx3",))
ABORTED = finding(
    Category.SOFTWARE_CRASH, line=5, nodes=("csx2",), naming=Naming.HOST, confidence=GUESS
)


def category(facts: ExitFacts, *findings: Finding) -> Category:
    return attribute_log(facts, findings).category


def blamed(facts: ExitFacts, *findings: Finding) -> list[str]:
    return [blame.node for blame in attribute_log(facts, findings).blamed]


def test_exit_code_0_is_completed_whatever_the_log_says() -> None:
    assert category(ExitFacts(exit_code=0), CODE, XID) is Category.COMPLETED
    assert category(ExitFacts(state=JobState.COMPLETED, exit_code=0), CODE) is Category.COMPLETED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (JobState.CANCELLED, Category.CANCELLED),
        (JobState.TIMEOUT, Category.TIMEOUT),
        (JobState.PREEMPTED, Category.PREEMPTION),
        (JobState.OUT_OF_MEMORY, Category.OOM_HOST),
        (JobState.NODE_FAIL, Category.HARDWARE_NODE),
        (JobState.DEADLINE, Category.DEADLINE),
    ],
)
def test_slurms_state_stands_above_what_came_later(
    state: JobState | JobFlag, expected: Category
) -> None:
    late = finding(Category.CODE, line=99)
    said = finding(expected, line=2)
    attribution = attribute_log(ExitFacts(state=state, exit_code=1), [said, late])
    assert (attribution.category, attribution.confidence) == (expected, Confidence.CERTAIN)
    assert attribution.root_cause is not None
    assert attribution.root_cause.line == 2
    assert category(ExitFacts(state=state)) is expected


@pytest.mark.parametrize("state", [JobState.TIMEOUT, JobState.CANCELLED, JobFlag.REQUEUED])
def test_an_error_that_had_stopped_the_program_before_is_the_cause(
    state: JobState | JobFlag,
) -> None:
    assert category(ExitFacts(state=state), CODE, TIME_LIMIT) is Category.CODE
    caught = finding(Category.CODE, went_on=1)
    assert category(ExitFacts(state=state), caught) is not Category.CODE
    tracker = finding(Category.DEPENDENCY_SERVICE)
    assert category(ExitFacts(state=state), tracker) is not Category.DEPENDENCY_SERVICE
    guess = finding(Category.CODE, confidence=GUESS)
    assert category(ExitFacts(state=state), guess) is not Category.CODE


def test_a_node_given_up_for_its_accelerator_is_a_fault_of_the_accelerator() -> None:
    attribution = attribute_log(
        ExitFacts(state=JobState.NODE_FAIL), [finding(Category.HARDWARE_NODE, line=1), XID]
    )
    assert attribution.category is Category.HARDWARE_ACCELERATOR
    assert [blame.node for blame in attribution.blamed] == ["csx3"]


def test_a_requeue_is_refined_by_a_line_about_preemption_only() -> None:
    facts = ExitFacts(state=JobFlag.REQUEUED)
    assert category(facts) is Category.REQUEUED
    assert category(facts, finding(Category.PREEMPTION)) is Category.PREEMPTION
    assert category(facts, finding(Category.NETWORK_FABRIC, CASCADE)) is Category.REQUEUED


def test_an_exception_before_a_complaint_is_the_cause_of_a_timeout() -> None:
    raised = finding(Category.CODE, confidence=GUESS, at_start=Confidence.LIKELY, raised=True)
    late = finding(Category.HANG, line=90, rank="[rank0]:")
    limit = finding(Category.TIMEOUT, CASCADE, line=99)
    assert category(ExitFacts(state=JobState.TIMEOUT), raised, late, limit) is Category.CODE


@pytest.mark.parametrize(("seconds", "expected"), [(3599.0, "timeout"), (3600.0, "hang")])
def test_an_hour_without_output_before_the_time_limit_is_a_hang(
    seconds: float, expected: str
) -> None:
    facts = ExitFacts(state=JobState.TIMEOUT, seconds_without_output=seconds)
    assert attribute_log(facts, []).category.value == expected
    assert category(facts, CODE) is Category.CODE


def test_secondary_findings_are_told_apart_by_file_and_line() -> None:
    root, other = finding(Category.CODE, file="a"), finding(Category.CODE, file="b")
    assert attribute_log(FAILED, [other, root]).secondary == (other,)


def test_only_an_error_before_the_line_of_the_time_limit_is_the_cause() -> None:
    facts = ExitFacts(state=JobState.TIMEOUT)
    limit = finding(Category.TIMEOUT, CASCADE, line=2)
    assert category(facts, limit, finding(Category.CODE, line=3)) is Category.TIMEOUT
    assert category(facts, finding(Category.CODE, line=1), limit) is Category.CODE


def test_an_accelerator_explains_a_node_failure_better_than_a_line_about_the_node() -> None:
    node = finding(Category.HARDWARE_NODE, line=1, nodes=("csx3",))
    device = finding(Category.HARDWARE_ACCELERATOR, line=5)
    attribution = attribute_log(ExitFacts(state=JobState.NODE_FAIL), [node, device])
    assert attribution.category is Category.HARDWARE_ACCELERATOR


def test_sure_evidence_of_a_peer_does_not_blame_where_the_cause_is_a_guess() -> None:
    guess = finding(Category.HARDWARE_NODE, line=1, confidence=GUESS, nodes=("csx1",))
    host = finding(Category.SOFTWARE_CRASH, ROOT, line=2, confidence=GUESS, nodes=("csx2",))
    host = replace(host, naming=Naming.HOST)
    attribution = attribute_log(FAILED, [guess, host])
    assert (attribution.confidence, attribution.category) == (GUESS, Category.HARDWARE_NODE)
    assert (attribution.blamed, attribution.reported) == ((), ())


def test_a_guess_neither_stops_nor_blames() -> None:
    guess = finding(Category.CONFIG, confidence=GUESS, nodes=("csx1",))
    attribution = attribute_log(FAILED, [guess])
    assert (attribution.category, attribution.confidence, attribution.blamed) == (
        Category.UNKNOWN,
        GUESS,
        (),
    )
    assert attribution.root_cause is not None


def test_a_guess_that_a_restart_helps_keeps_its_name() -> None:
    assert category(FAILED, finding(Category.HANG, confidence=GUESS)) is Category.HANG


def test_a_cascade_alone_is_a_guess_and_stops_nothing() -> None:
    attribution = attribute_log(FAILED, [finding(Category.NETWORK_FABRIC, CASCADE)])
    assert (attribution.category, attribution.confidence) == (Category.NETWORK_FABRIC, GUESS)
    assert category(FAILED, finding(Category.CANCELLED, CASCADE)) is Category.UNKNOWN
    assert category(FAILED) is Category.UNKNOWN
    assert category(ExitFacts()) is Category.UNKNOWN


def test_a_signal_of_the_programs_own_is_a_crash_unless_the_log_knows_better() -> None:
    unknown = finding(Category.UNKNOWN, confidence=GUESS)
    for facts in (
        ExitFacts(signal=11),
        ExitFacts(exit_code=139),
        ExitFacts(state=JobState.FAILED, exit_code=134),
    ):
        assert category(facts) is Category.SOFTWARE_CRASH
        assert category(facts, unknown) is Category.SOFTWARE_CRASH
        assert category(facts, CODE) is Category.CODE
    assert category(ExitFacts(signal=9)) is Category.UNKNOWN


def test_who_aborts_as_another_has_failed_has_not_crashed() -> None:
    lost = finding(Category.NETWORK_FABRIC, CASCADE)
    for aborted in (ExitFacts(signal=6), ExitFacts(state=JobState.FAILED, exit_code=134)):
        assert category(aborted, lost) is Category.NETWORK_FABRIC
        assert category(aborted, finding(Category.UNKNOWN, CASCADE)) is Category.SOFTWARE_CRASH
    assert category(ExitFacts(signal=11), lost) is Category.SOFTWARE_CRASH


def test_a_command_that_is_not_there_is_a_matter_of_configuration() -> None:
    for code in (126, 127):
        assert category(ExitFacts(state=JobState.FAILED, exit_code=code)) is Category.CONFIG
        assert (
            category(ExitFacts(exit_code=code), finding(Category.STORAGE_IO)) is Category.STORAGE_IO
        )


def test_all_nodes_that_evidence_of_the_cause_names_are_blamed() -> None:
    other = finding(Category.HARDWARE_NODE, line=7, nodes=("csx4", "csx3"))
    assert blamed(FAILED, XID, other) == ["csx3", "csx4"]
    survived = finding(Category.HARDWARE_ACCELERATOR, nodes=("csx5",), went_on=5000)
    assert blamed(FAILED, XID, survived) == ["csx3"]


def test_names_that_evidence_of_something_else_gives_are_not() -> None:
    assert blamed(FAILED, CODE, finding(Category.HARDWARE_NODE, line=9, nodes=("csx4",))) == []


def test_a_name_outside_the_job_and_a_cs_system_are_only_reported() -> None:
    attribution = attribute_log(ExitFacts(exit_code=1, nodes=("csx1", "csx2")), [XID])
    assert (attribution.blamed, attribution.reported) == ((), ("csx3",))
    system = finding(Category.HARDWARE_ACCELERATOR, nodes=("cs3-07",), naming=Naming.SYSTEM)
    attribution = attribute_log(FAILED, [system])
    assert (attribution.blamed, attribution.reported) == ((), ("cs3-07",))


def test_the_only_host_where_a_process_died_of_itself_is_that_of_the_faulty_device() -> None:
    hang = finding(Category.HARDWARE_ACCELERATOR)
    assert blamed(FAILED, hang, ABORTED) == ["csx2"]
    other = finding(Category.SOFTWARE_CRASH, line=6, nodes=("csx5",), naming=Naming.HOST)
    assert blamed(FAILED, hang, ABORTED, other) == []
    exited = finding(Category.UNKNOWN, CASCADE, line=6, nodes=("csx6",), naming=Naming.HOST)
    assert blamed(FAILED, hang, ABORTED, exited) == []
    assert blamed(FAILED, hang, exited) == []
    assert blamed(FAILED, CODE, ABORTED) == []
    assert blamed(FAILED, ABORTED) == []


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [(("csx1",), ["csx1"]), (("csx1", "csx1"), ["csx1"]), (("csx1", "csx2"), [])],
)
def test_the_one_host_that_reports_the_fault_of_its_device_is_blamed(
    hosts: tuple[str, ...], expected: list[str]
) -> None:
    """Where several report it, they have something in common that is no node."""
    faults = [
        finding(
            Category.HARDWARE_ACCELERATOR, line=number, host=host, confidence=Confidence.CERTAIN
        )
        for number, host in enumerate(hosts, start=1)
    ]
    facts = ExitFacts(state=JobState.FAILED, exit_code=1, nodes=("csx1", "csx2", "csx3"))
    assert blamed(facts, *faults) == expected


def test_a_peer_is_blamed_only_where_another_source_confirms_it() -> None:
    lost = finding(Category.NETWORK_FABRIC, nodes=("csx2",), naming=Naming.PEER)
    assert blamed(FAILED, lost) == []
    assert blamed(ExitFacts(exit_code=1, down=("csx2",)), lost) == ["csx2"]
    assert blamed(FAILED, lost, ABORTED) == ["csx2"]


def test_findings_that_are_no_cause_are_listed() -> None:
    cascade = finding(Category.UNKNOWN, CASCADE, line=8)
    attribution = attribute_log(FAILED, [cascade, CODE])
    assert attribution.secondary == (cascade,)
    assert attribution.root_cause is not None
    assert attribution.root_cause.text == CODE.text
