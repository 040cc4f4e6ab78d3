"""Values exactly at a limit, on both sides of it; contrib/mutations moves each limit by one."""

from dataclasses import replace

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.decision import decide
from slurm_restart.core.exclusions import readmit_events
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.core.history import replay
from slurm_restart.core.job import JobState
from slurm_restart.core.job_comment import (
    MAX_RECORD_BYTES,
    PREFIX,
    Mode,
    format_comment,
    parse_comment,
)
from slurm_restart.core.journal_events import Action, ExcludeEvent
from slurm_restart.core.judge_end import judge_end
from slurm_restart.core.node_pool import NodePool, choose_size
from slurm_restart.core.plan import plan
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.root_cause import MAX_MESSAGE_LINES, SURVIVED, find_root_cause
from slurm_restart.core.slurm_operations import Verb
from slurm_restart.errors import CommentRecordError
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
    ("lead", "missing", "category"),
    [
        (None, 300, Category.TIMEOUT),
        (None, 301, Category.UNKNOWN),
        (60, 300, Category.TIMEOUT),
        (60, 301, Category.UNKNOWN),
        # Slurm sends the warning up to a minute early.
        (300, 420, Category.TIMEOUT),
        (300, 421, Category.UNKNOWN),
    ],
)
def test_a_reported_timeout_is_accepted_300_s_before_the_limit_or_from_the_warning(
    lead: int | None, missing: int, category: Category
) -> None:
    found = judge_end(
        facts.case(
            comment_record=facts.comment_record(cause=Category.TIMEOUT, lead=lead),
            end=facts.end(time_limit=3600, run_time=3600 - missing),
        )
    )
    assert found.attribution.category is category


def test_a_held_job_that_is_cancelled_is_cancelled() -> None:
    end = facts.end(state=JobState.CANCELLED, reason="JobHeldUser", exit_code=0)
    found = judge_end(facts.case(end=end, comment_record=facts.comment_record(submit=1)))
    assert found.attribution.category is Category.CANCELLED


@pytest.mark.parametrize(("early", "count"), [(0, 1), (1, 0)])
def test_an_exclusion_ends_in_its_last_second(early: int, count: int) -> None:
    until = SUBMITTED + 100
    exclusion = ExcludeEvent(at=1, node="csx2", until=until, evidence="e", submit_time=SUBMITTED)
    events = readmit_events(facts.pending(), replay([exclusion]), until - early, boot_time=None)
    assert len(events) == count
    assert len(replay([exclusion]).excluded(until - early)) == 1 - count


@pytest.mark.parametrize(("longer", "cancelled"), [(0, False), (1, True)])
def test_a_wait_for_nodes_ends_after_give_up_after(longer: int, *, cancelled: bool) -> None:
    step = plan(
        facts.view(
            job=facts.pending(restarts=1),
            history=replay([facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3])]),
            nodes=facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN"),
            now=SUBMITTED + SITE.give_up_after + longer,
        )
    )
    assert (Verb.CANCEL in step.plan.after) is cancelled


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


@pytest.mark.parametrize("progress", [False, True])
def test_an_end_repeats_an_earlier_one_at_the_same_checkpoint(progress: bool) -> None:
    elsewhere = replay([facts.ended(Category.OOM_HOST, progress=progress, step=5)])
    assert decide(facts.situation(Category.OOM_HOST, elsewhere)).action is Action.REQUEUE
    same = replay([facts.ended(Category.OOM_HOST, progress=progress, step=0)])
    assert decide(facts.situation(Category.OOM_HOST, same)).rule == "oom-repeated"


def test_a_requeue_by_slurm_is_not_counted_before_the_end_is() -> None:
    requeued = facts.attribution(Category.UNKNOWN, requeued=True)
    assert decide(facts.situation(Category.UNKNOWN, restarts=3, attribution=requeued)).total == 3
    assert decide(facts.situation(Category.UNKNOWN, restarts=3)).total == 4


def test_a_job_whose_full_size_is_free_is_not_called_shrunk() -> None:
    names = frozenset({"csx1", "csx2", "csx3"})
    policy = facts.policy()
    size = choose_size(policy, NodePool(usable=names, idle=names), waited=policy.shrink_after)
    assert (size.num_nodes, size.reason) == (3, "3 nodes are usable for 3")


NOW = SUBMITTED + 600


@pytest.mark.parametrize(
    ("submit_time", "begin", "start_time"),
    [
        (SUBMITTED, NOW + 2, NOW + 2),
        (SUBMITTED, NOW + 3, None),
        (NOW + 3, NOW + 3, NOW + 2),
    ],
)
def test_a_begin_time_of_a_person_is_kept_after_a_requeue(
    submit_time: int, begin: int, start_time: int | None
) -> None:
    end = facts.end(restarts=1, env_restarts=1, exit_code=0, reason="None")
    job = facts.job(submit_time=submit_time, eligible_time=begin)
    record = facts.comment_record(ended=False)
    found = plan(
        facts.view(
            end_=end,
            job=replace(job, restarts=1, flags=frozenset({facts.COMPLETING})),
            comment_record=record,
            now=NOW,
        )
    )
    assert found.judgement is not None
    assert found.judgement.attribution.category is Category.REQUEUED
    assert found.plan.job_update.start_time == start_time


def test_the_line_of_the_cause_itself_does_not_confirm_its_host() -> None:
    device = replace(finding(Category.HARDWARE_ACCELERATOR, 1), nodes=("csx2",), naming=Naming.HOST)
    assert attribute_log(ExitFacts(exit_code=1), [device]).blamed == ()


@pytest.mark.parametrize(("extra", "accepted"), [(0, True), (1, False)])
def test_a_comment_record_has_a_greatest_length(extra: int, accepted: bool) -> None:
    record = facts.comment_record(
        max_restarts=10_000, num_nodes=100_000, min_nodes=100_000, mode=Mode.TRAIN_AND_EVAL,
        phase=10_000, stop_on_repeat=10_000, shrink_after=10**8, give_up_after=10**8,
        exclude_for=10**8, attempt=10**12, submit=10**12, restarts=10**12, from_step=10**12,
        step=10**12, exit=255, cause=Category.HARDWARE_ACCELERATOR, rule="r" * 64, root="0" * 8,
        said="s" * 80,
    )  # fmt: skip
    text = f"{format_comment(record)};nodes="
    text += "n" * (MAX_RECORD_BYTES + extra - len(text.removeprefix(PREFIX)))
    if accepted:
        assert parse_comment(text).nodes is not None
    else:
        with pytest.raises(CommentRecordError, match=f"longer than {MAX_RECORD_BYTES} bytes"):
            parse_comment(text)
