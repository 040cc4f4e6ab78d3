"""One end is judged once: progress, the record of this attempt only, events, and the budget."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord, Mode
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    ExcludeEvent,
    IntendEvent,
    StartedEvent,
)
from slurm_restart.core.judge_end import (
    EndCase,
    Judgement,
    attempt_progress,
    judge_end,
    observed_only,
)
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.restart_limits import SitePolicy, policy_for
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED, case

NO_REPORT = {"ended": False, "exit": None, "cause": None}


def ended(judgement: Judgement) -> EndEvent:
    [event] = [event for event in judgement.events if isinstance(event, EndEvent)]
    return event


def excluded(judgement: Judgement) -> list[str]:
    return [event.node for event in judgement.events if isinstance(event, ExcludeEvent)]


# --- the record of the attempt -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "before", "used"),
    [
        ({}, None, True),
        ({"submit": SUBMITTED - 5}, None, False),
        ({"submit": None}, None, False),
        # The attempt before may have had the same SubmitTime; then its number tells.
        ({"attempt": 0}, {"attempt": 0}, False),
        ({"attempt": 1}, {"attempt": 0}, True),
        ({"attempt": 1}, {"attempt": None}, True),
        ({"attempt": None}, {"attempt": 0}, True),
    ],
)
def test_a_record_of_another_attempt_is_ignored(
    record: dict[str, Any], before: dict[str, Any] | None, used: bool
) -> None:
    fatal = facts.comment_record(cause=Category.CONFIG, **record)
    history = History() if before is None else replay([facts.ended(**before)])
    judged = judge_end(case(comment_record=fatal, history=history, index=0 if not before else 1))
    assert (judged.attribution.category is Category.CONFIG) is used
    assert judged.decision.action is (Action.LEAVE if used else Action.REQUEUE)


@pytest.mark.parametrize(
    ("self_report", "made", "step"),
    [
        ({"from_step": 0, "step": 100}, True, 100),
        ({"from_step": 100, "step": 100}, False, 100),
        ({"from_step": 100, "step": 50}, False, 50),  # the newest was set aside
        ({"from_step": 0, "step": 100, "ended": False}, True, 100),
        ({"from_step": 0, "step": 0, "ended": False}, None, 0),
        ({"from_step": 100, "step": None}, False, 100),
        ({"from_step": None, "step": None, "ended": False}, None, None),
        ({"submit": SUBMITTED - 1, "from_step": 0, "step": 100}, None, None),
        ({"submit": None, "attempt": None, "ended": False}, None, None),
        # An evaluation makes none, with a report or without.
        ({"mode": Mode.VALIDATE, "from_step": 0, "step": 100}, False, 100),
        ({"mode": Mode.VALIDATE_ALL, "submit": SUBMITTED - 1}, False, None),
    ],
)
def test_progress_by_the_self_report(
    self_report: dict[str, Any], made: bool | None, step: int | None
) -> None:
    given_case = case(comment_record=facts.comment_record(**self_report))
    progress = attempt_progress(given_case, policy_for(given_case.comment_record, SitePolicy()))
    assert (progress.made, progress.step) == (made, step)


# --- what is written -----------------------------------------------------------------------------


def test_a_named_node_is_excluded_for_the_runs_time() -> None:
    record = facts.comment_record(cause=Category.HARDWARE_ACCELERATOR, exclude_for=50)
    judged = judge_end(case(comment_record=record, named=("csx2",)))
    [event] = [event for event in judged.events if isinstance(event, ExcludeEvent)]
    assert (event.node, event.until, event.submit_time) == ("csx2", SUBMITTED + 650, SUBMITTED)


def test_an_end_that_stays_an_end_excludes_nothing() -> None:
    record = facts.comment_record(cause=Category.HARDWARE_ACCELERATOR, max_restarts=0)
    judged = judge_end(case(comment_record=record, named=("csx2",)))
    assert (judged.decision.action, excluded(judged)) == (Action.LEAVE, [])


def test_an_end_that_is_only_observed_excludes_nothing() -> None:
    record = facts.comment_record(cause=Category.HARDWARE_ACCELERATOR)
    judged = observed_only(judge_end(case(comment_record=record, named=("csx2",))))
    assert (ended(judged).observed, excluded(judged)) == (True, [])


@pytest.mark.parametrize(
    ("end", "index", "restarts", "requeued", "run_time"),
    [
        ({}, 0, 0, False, 600),
        ({}, 4, 4, False, 600),
        # Slurm has requeued it: the count is one more, and the run time is lost.
        ({"exit_code": 0, "reason": "None", "restarts": 1, "run_time": 0}, 0, 1, True, None),
    ],
)
def test_the_end_is_named_by_the_attempts_index(
    end: dict[str, Any], index: int, restarts: int, requeued: bool, run_time: int | None
) -> None:
    record = facts.comment_record(**NO_REPORT)
    event = ended(judge_end(case(end=facts.end(**end), comment_record=record, index=index)))
    assert (event.index, event.restarts) == (index, restarts)
    assert (event.requeued, event.run_time) == (requeued, run_time)


def test_the_nodes_and_times_of_the_end_are_kept() -> None:
    event = ended(judge_end(case(source="sweep")))
    assert (event.nodes, event.num_nodes, event.source) == (NODES[:3], 3, "sweep")
    assert (event.at, event.exit_code) == (SUBMITTED + 600, 1)
    unknown = ended(judge_end(case(end=facts.end(nodes=()))))
    assert (unknown.nodes, unknown.num_nodes) == ((), 3)


def test_a_later_start_is_kept_with_the_end() -> None:
    site = SitePolicy(short_attempt=60, short_wait=30)
    event = ended(judge_end(case(end=facts.end(run_time=5), site=site)))
    assert event.start_at == SUBMITTED + 630


def test_a_lost_node_is_no_short_attempt_although_slurm_shows_no_run_time() -> None:
    lost = facts.end(exit_code=0, reason="None", restarts=1, env_restarts=0, run_time=0)
    judged = judge_end(case(comment_record=facts.comment_record(**NO_REPORT), end=lost))
    assert (judged.decision.action, judged.decision.delay) == (Action.ADJUST, 0)


def test_a_run_that_was_requeued_with_its_budget_used_up_is_cancelled() -> None:
    judged = judge_end(
        case(
            history=facts.attempts(3),
            end=facts.end(exit_code=0, reason="None", restarts=1, env_restarts=0),
        )
    )
    assert judged.decision.action is Action.CANCEL


def test_every_restart_of_an_evaluation_counts_even_without_a_report() -> None:
    no_report = facts.comment_record(mode=Mode.VALIDATE, max_restarts=1, submit=None, ended=False)
    first = judge_end(case(comment_record=no_report))
    again = facts.end(submit_time=SUBMITTED + 1)
    history = replay(first.events)
    second = judge_end(case(comment_record=no_report, history=history, end=again, index=1))
    assert (first.decision.action, second.decision.action) == (Action.REQUEUE, Action.LEAVE)
    assert second.decision.rule == "budget"


# --- the budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(
    "category", [Category.UNKNOWN, Category.NETWORK_FABRIC, Category.TIMEOUT, Category.HANG]
)
def test_a_run_without_progress_is_restarted_exactly_so_many_times(
    limit: int, category: Category
) -> None:
    history = History()
    for attempt in range(limit + 2):
        history = replay(_failed(history, attempt, limit, category, step=0).events, history)
        if not history.ends[-1].action.restarts:
            break
    assert [end.action for end in history.ends] == [Action.REQUEUE] * limit + [Action.LEAVE]
    assert [end.failures for end in history.ends] == list(range(1, limit + 2))


@given(limit=st.integers(0, 3), progress=st.lists(st.booleans(), max_size=20))
def test_a_run_ends_only_after_more_failures_in_a_row_than_allowed(
    limit: int, progress: list[bool]
) -> None:
    history, step, failures = History(), 0, 0
    for attempt, made in enumerate(progress):
        step += 10 * made
        judged = _failed(history, attempt, limit, Category.UNKNOWN, step=step, made=made)
        history = replay(judged.events, history)
        failures = 0 if made else failures + 1
        assert judged.decision.action is (Action.LEAVE if failures > limit else Action.REQUEUE)
        if failures > limit:
            return


def _failed(
    history: History,
    attempt: int,
    limit: int,
    category: Category,
    *,
    step: int,
    made: bool = False,
) -> Judgement:
    submit = SUBMITTED + attempt * 1000
    record = facts.comment_record(
        max_restarts=limit,
        attempt=attempt,
        submit=submit,
        restarts=attempt,
        from_step=step - 10 if made else step,
        step=step,
        cause=category,
    )
    end = facts.end(submit_time=submit, restarts=attempt, env_restarts=attempt, run_time=3550)
    return judge_end(
        case(comment_record=record, end=end, history=history, now=submit + 900, index=attempt)
    )


# --- every end has a judgement, and it touches nothing of others ---------------------------------

NAMES = st.sampled_from([*NODES, "csx9", "gpu1"])
STEPS = st.none() | st.integers(0, 300)
TIMES = st.integers(SUBMITTED - 5, SUBMITTED + 5)
RECORDS = st.builds(
    facts.comment_record,
    max_restarts=st.integers(0, 3),
    mode=st.sampled_from(Mode),
    attempt=st.none() | st.integers(0, 3),
    submit=st.none() | TIMES,
    restarts=st.none() | st.integers(0, 10**12),
    from_step=STEPS,
    step=STEPS,
    ended=st.booleans(),
    exit=st.none() | st.integers(0, 255),
    cause=st.none() | st.sampled_from(Category),
    root=st.none() | st.sampled_from(["aaaaaaaa", "bbbbbbbb"]),
    stop_on_repeat=st.none() | st.integers(0, 3),
)
REASONS = [
    "None", "NonZeroExitCode", "JobLaunchFailure", "NodeDown", "TimeLimit", "OutOfMemory",
    "DeadLine", "launch_failed_requeued_held", "JobHeldUser", "JobHeldAdmin", "BadConstraints",
    "ReservationDeleted", "AssocGrpCPUMinutesLimit", "QOSGrpNodeLimit", "BeginTime", "Priority",
]  # fmt: skip
NODE_STATES = st.sampled_from(["IDLE", "ALLOCATED", "DOWN", "IDLE+DRAIN", "MIXED+NOT_RESPONDING"])
CLUSTERS = st.fixed_dictionaries(dict.fromkeys(NODES, NODE_STATES)).map(
    lambda states: facts.nodes(**states)
)
ENDS = st.builds(
    facts.end,
    submit_time=TIMES,
    exit_code=st.integers(0, 255),
    signal=st.integers(0, 64),
    reason=st.sampled_from(REASONS),
    state=st.none() | st.sampled_from(JobState),
    restarts=st.integers(0, 200),
    env_restarts=st.none() | st.integers(0, 200),
    flags=st.frozensets(st.sampled_from(JobFlag), max_size=2),
    lost=st.booleans(),
    preempted=st.booleans(),
    nodes=st.sets(st.sampled_from(NODES), max_size=4).map(lambda names: tuple(sorted(names))),
    run_time=st.none() | st.integers(0, 4000),
    down_nodes=CLUSTERS,
)
PAST = st.lists(
    st.builds(
        facts.ended,
        st.sampled_from(Category),
        submit_time=TIMES,
        attempt=st.none() | st.integers(0, 3),
        action=st.sampled_from(Action),
        requeued=st.booleans(),
        restarts=st.integers(0, 200),
        progress=st.none() | st.booleans(),
        from_step=STEPS,
        step=STEPS,
    ),
    max_size=6,
).map(replay)
CASES = st.builds(
    case,
    end=ENDS,
    job=st.builds(facts.job, requeue=st.booleans(), num_nodes=st.integers(1, 4)),
    comment_record=RECORDS,
    named=st.lists(NAMES, max_size=3).map(tuple),
    nodes=CLUSTERS,
    history=PAST,
    index=st.integers(0, 5),
)


@given(case_=CASES)
def test_every_end_has_a_judgement(case_: EndCase) -> None:
    judged = judge_end(case_)
    event = ended(judged)
    assert judged.decision.reason
    assert (event.action, event.index) == (judged.decision.action, case_.index)
    assert event.submit_time == case_.end.submit_time


@given(case_=CASES)
def test_only_nodes_of_the_job_are_blamed_and_only_on_evidence(case_: EndCase) -> None:
    down = {node.name for node in case_.end.down_nodes}
    for event in judge_end(case_).events:
        if isinstance(event, ExcludeEvent):
            assert event.node in case_.end.nodes
            assert event.node in down | set(case_.named)
            assert event.evidence
            assert event.until > case_.now


@given(case_=CASES)
def test_the_record_of_another_attempt_changes_nothing_but_the_policy(case_: EndCase) -> None:
    def judged(**values: Any) -> Judgement:
        other = vars(case_.comment_record) | {"submit": case_.end.submit_time + 1} | values
        record = CommentRecord(**other)
        return judge_end(facts.case(**vars(case_) | {"comment_record": record, "named": ()}))

    fatal_report = judged(cause=Category.CONFIG, ended=True, exit=0, step=10**9, root="cccccccc")
    no_report = judged(attempt=None, ended=False, exit=None, cause=None, step=None, from_step=None)
    assert fatal_report == no_report


@pytest.mark.parametrize(
    ("unit", "reached"),
    [
        (ProgressUnit.STEP, "step 70"),
        (ProgressUnit.BYTE, "70 bytes"),
        (ProgressUnit.SECOND, "70 s"),
    ],
)
def test_the_reason_names_what_the_steps_count(unit: ProgressUnit, reached: str) -> None:
    record = facts.comment_record(max_restarts=0, from_step=70, step=70, unit=unit)
    event = ended(judge_end(case(comment_record=record)))
    assert (event.action, event.unit) == (Action.LEAVE, unit)
    assert f"without progress beyond {reached}, max" in event.reason


RESUMED = {"from_step": 70, "step": 70, "attempt": 1, "earlier": True, "rule": "exit.nonzero"}


@pytest.mark.parametrize(
    ("record", "changes", "falls_back"),
    [
        ({}, {}, True),
        ({"cause": Category.CODE}, {}, True),
        ({"cause": Category.CONFIG, "likely": True}, {}, True),
        ({"earlier": False}, {}, False),
        ({"step": 80}, {}, False),
        ({"ended": False}, {}, False),
        ({"cause": Category.AUTH}, {}, False),
        ({"cause": Category.NETWORK_FABRIC}, {}, False),
        ({"rule": "supervisor.terminated"}, {}, False),
        ({"exit": 137}, {}, False),
        # Slurm's facts stand above the report.
        ({}, {"end": facts.end(state=JobState.NODE_FAIL)}, False),
        ({}, {"end": facts.end(state=JobState.OUT_OF_MEMORY)}, True),
        ({}, {"end": facts.end(state=JobState.CANCELLED)}, False),
    ],
)
def test_an_earlier_checkpoint_is_due(
    record: dict[str, Any], changes: dict[str, Any], falls_back: bool
) -> None:
    comment_record = facts.comment_record(**RESUMED | record)
    event = ended(judge_end(case(comment_record=comment_record, **changes)))
    assert event.fall_back is falls_back
    if falls_back:
        assert (event.action, event.failures) == (Action.REQUEUE, 1)


@pytest.mark.parametrize(
    ("left_out", "names"),
    [
        (("csx2",), {"csx2"}),
        # A node that the job has lost is no longer among its nodes.
        (("csx4",), {"csx4"}),
        # What was never the job's is not excluded.
        (("csx9",), set()),
    ],
)
def test_nodes_that_restarts_in_place_have_left_out_are_excluded(
    left_out: tuple[str, ...], names: set[str]
) -> None:
    started = StartedEvent(at=SUBMITTED, restarts=0, submit_time=SUBMITTED, nodes=NODES)
    judged = judge_end(case(left_out=left_out, history=replay([started])))
    assert set(excluded(judged)) == names


@pytest.mark.parametrize(
    ("cause", "said", "evidence"),
    [
        (None, "disk:_full", ["health check: disk: full", "the job has left it out: see run.log"]),
        (None, None, ["the job has left it out: see run.log"] * 2),
        # It is about the nodes that the attempt names, then.
        (Category.HEALTH_CHECK, "disk:_full", ["the job has left it out: see run.log"] * 2),
    ],
)
def test_what_the_health_check_has_found_is_told_of_the_first_node_that_is_left_out(
    cause: Category | None, said: str | None, evidence: list[str]
) -> None:
    report = facts.comment_record(cause=cause, said=said)
    judged = judge_end(case(left_out=("csx2", "csx3"), comment_record=report))
    found = [event.evidence for event in judged.events if isinstance(event, ExcludeEvent)]
    assert found == evidence


# --- the search for a faulty node ----------------------------------------------------------------


def search_history(last: bool) -> History:
    """The ends of a search that the end of an attempt without csx1 completes, or not yet."""
    attempts = [(True, NODES)] * 2 + [(False, NODES[1:])] + [(True, NODES)] * 2
    attempts += [(False, NODES[1:])] * (3 if last else 2)
    ends = [
        facts.ended(nodes=nodes, run_time=9, attempt=number, progress=not failed)
        for number, (failed, nodes) in enumerate(attempts)
    ]
    return replay(ends)


@pytest.mark.parametrize(
    ("last", "step", "policy", "found"),
    [
        (True, 5, {}, ["csx1"]),
        (False, 5, {}, []),
        (True, 0, {}, []),  # it made no progress
        (True, 5, {"node_search": False}, []),
    ],
)
def test_a_node_that_the_search_finds_is_excluded(
    last: bool, step: int, policy: dict[str, Any], found: list[str]
) -> None:
    record = facts.comment_record(step=step, attempt=9, cause=Category.NODE_SEARCH, **policy)
    job = facts.job(admin_comment="csx-restart: failures=0/3 search=open | restart")
    given = case(
        comment_record=record,
        end=facts.end(nodes=NODES[1:]),
        job=job,
        history=search_history(last),
        index=9,
    )
    judged = judge_end(given)
    assert judged.attribution.category is Category.NODE_SEARCH
    assert judged.decision.action is Action.REQUEUE
    assert excluded(judged) == found
    if found:
        [event] = [event for event in judged.events if isinstance(event, ExcludeEvent)]
        assert event.evidence.startswith("search: all 4 attempts on it failed")
        again = replace(given, history=replay([event], given.history))
        assert excluded(judge_end(again)) == []


# --- NaN -----------------------------------------------------------------------------------------


INTENDED = IntendEvent(at=1, submit_time=1, operations=(), exc_nodes=("csx4",))


@pytest.mark.parametrize(
    ("exc_nodes", "events", "states", "stops"),
    [
        ((), (), {}, False),
        # Left out as a guess by this plugin: it can be had again.
        (("csx4",), (INTENDED,), {}, False),
        (("csx4",), (), {}, True),  # a person has excluded it
        ((), (), {"csx4": "DOWN"}, True),
        (
            (),
            (
                ExcludeEvent(
                    at=SUBMITTED, node="csx4", until=SUBMITTED * 2, evidence="x", submit_time=1
                ),
            ),
            {},
            True,
        ),
    ],
)
def test_nan_that_repeats_goes_on_where_there_are_other_nodes(
    exc_nodes: tuple[str, ...], events: tuple[Any, ...], states: dict[str, str], stops: bool
) -> None:
    record = facts.comment_record(
        cause=Category.NUMERIC_NAN, root="aaaaaaaa", rule="cerebras.nan", attempt=1, min_nodes=3
    )
    before = facts.ended(
        Category.NUMERIC_NAN, root="aaaaaaaa", nodes=NODES[:3], submit_time=SUBMITTED - 100
    )
    judged = judge_end(
        case(
            comment_record=record,
            history=replay([before, *events]),
            job=facts.job(exc_nodes=exc_nodes),
            nodes=facts.nodes(**states),
            index=1,
        )
    )
    assert (judged.decision.rule == "repeated") is stops
