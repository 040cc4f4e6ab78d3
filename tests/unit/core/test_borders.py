"""Values exactly at a limit, on both sides of it; contrib/mutations moves each limit by one."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.decision import decide
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.history import Action, ExcludeEvent, replay
from slurm_restart.core.job import JobState
from slurm_restart.core.operations import Verb
from slurm_restart.core.plan_end import plan_end, readmit_events
from slurm_restart.core.plan_pending import PendingCase, plan_pending
from slurm_restart.core.policy import SitePolicy
from slurm_restart.core.root_cause import MAX_MESSAGE_LINES, SURVIVED, find_root_cause
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

SITE = SitePolicy()


def test_a_preemption_restarts_although_the_budget_is_used_up() -> None:
    history = facts.attempts(facts.policy().max_restarts + 2)
    assert decide(facts.situation(Category.PREEMPTION, history)).action is Action.REQUEUE
    assert decide(facts.situation(Category.UNKNOWN, history)).action is Action.LEAVE


def test_a_preemption_does_not_wait() -> None:
    history = facts.attempts(2)
    short = SITE.short_attempt - 1
    assert decide(facts.situation(Category.PREEMPTION, history, run_time=short)).delay == 0
    assert decide(facts.situation(Category.UNKNOWN, history, run_time=short)).delay > 0


@pytest.mark.parametrize(("run_time", "delay"), [(59, 30), (60, 0)])
def test_an_attempt_is_short_below_one_minute(run_time: int, delay: int) -> None:
    assert SITE.short_attempt == 60
    assert decide(facts.situation(Category.UNKNOWN, run_time=run_time)).delay == delay


@pytest.mark.parametrize(
    ("missing", "category"), [(300, Category.TIMEOUT), (301, Category.UNKNOWN)]
)
def test_a_reported_timeout_is_accepted_300_s_before_the_limit(
    missing: int, category: Category
) -> None:
    found = plan_end(
        facts.case(
            comment_record=facts.comment_record(cause=Category.TIMEOUT),
            end=facts.end(time_limit=3600, run_time=3600 - missing),
        )
    )
    assert found.attribution.category is category


def test_a_held_job_that_is_cancelled_is_cancelled() -> None:
    end = facts.end(state=JobState.CANCELLED, reason="JobHeldUser", exit_code=0)
    found = plan_end(facts.case(end=end, comment_record=facts.comment_record(submit=1)))
    assert found.attribution.category is Category.CANCELLED


@pytest.mark.parametrize(("early", "count"), [(0, 1), (1, 0)])
def test_an_exclusion_ends_in_its_last_second(early: int, count: int) -> None:
    until = SUBMITTED + 100
    exclusion = ExcludeEvent(at=1, node="csx2", until=until, evidence="e", submit_time=SUBMITTED)
    events = readmit_events(facts.pending(), replay([exclusion]), until - early)
    assert len(events) == count
    assert len(replay([exclusion]).excluded(until - early)) == 1 - count


@pytest.mark.parametrize(("longer", "cancelled"), [(0, False), (1, True)])
def test_a_wait_for_nodes_ends_after_give_up_after(longer: int, *, cancelled: bool) -> None:
    plan = plan_pending(
        PendingCase(
            job=facts.pending(),
            comment_record=facts.comment_record(),
            history=replay([facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3])]),
            nodes=facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN"),
            reserved=None,
            site=SITE,
            now=SUBMITTED + SITE.give_up_after + longer,
            startable=True,
        )
    )
    assert (Verb.CANCEL in plan.verbs) is cancelled


def finding(category: Category, line: int, *, went_on: int = 0, **more: object) -> Finding:
    return Finding(
        rule="a.rule",
        category=category,
        role=Role.ROOT,
        line=line,
        text="…",
        confidence=Confidence.LIKELY,
        went_on=went_on,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("lines", "confidence"), [(SURVIVED, Confidence.LIKELY), (SURVIVED + 1, Confidence.GUESS)]
)
def test_an_error_counts_up_to_so_many_lines_after_it(lines: int, confidence: Confidence) -> None:
    chosen = find_root_cause([finding(Category.CODE, 1, went_on=lines)])
    assert chosen is not None
    assert chosen.confidence is confidence


@pytest.mark.parametrize(
    ("distance", "category"),
    [(MAX_MESSAGE_LINES, Category.HANG), (MAX_MESSAGE_LINES + 1, Category.CODE)],
)
def test_a_complaint_in_the_message_of_an_exception_is_not_a_second_one(
    distance: int, category: Category
) -> None:
    raised = replace(finding(Category.CODE, 1, raised=True), confidence=Confidence.GUESS)
    chosen = find_root_cause([raised, finding(Category.HANG, 1 + distance)])
    assert chosen is not None
    assert chosen.category is category
