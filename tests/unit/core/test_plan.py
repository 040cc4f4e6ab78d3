"""One step of the plan, by the state of the job and the decision about its last end."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import WAIT
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.journal_events import (
    CLEARED,
    Action,
    AppliedEvent,
    EndEvent,
    ExcludeEvent,
    FinalEvent,
    ReadmitEvent,
    StaleRunningEvent,
    StartedEvent,
)
from slurm_restart.core.plan import EarlierPhase, PhaseState, RunPlan, plan
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import JUDGED_LATER, LATE_BEGIN
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED

NOW = SUBMITTED + 600


def requests(step: RunPlan) -> list[str]:
    """The requests without AdminComment."""
    hostlist = ",".join(step.plan.job_update.exc_nodes or ())
    texts = (str(operation) for operation in step.plan.operations(hostlist))
    return [text.partition(" AdminComment=")[0] for text in texts]


def ended_events(step: RunPlan) -> list[EndEvent]:
    return [event for event in step.plan.events if isinstance(event, EndEvent)]


def after(*events: Any, action: Action = Action.REQUEUE, **changes: Any) -> History:
    """A run of which attempt 0 has ended, and whose journal holds these events besides."""
    end = facts.ended(**{"action": action, "start_at": SUBMITTED, "nodes": NODES[:3]} | changes)
    return replay([end, *events])


def waiting(**changes: Any) -> Job:
    return facts.pending(**{"restarts": 1, "eligible_time": SUBMITTED + 121} | changes)


def test_a_failed_job_is_judged_and_requeued_while_it_is_completing() -> None:
    step = plan(facts.view(job=facts.job(flags=frozenset({facts.COMPLETING}))))
    assert requests(step) == ["requeue", "update StartTime=now+2"]
    assert [event.action for event in ended_events(step)] == [Action.REQUEUE]
    assert step.plan.look_again is not None


def test_an_end_on_record_is_not_judged_again() -> None:
    job = facts.job(flags=frozenset({facts.COMPLETING}))
    step = plan(facts.view(job=job, history=after()))
    assert ended_events(step) == []
    assert requests(step) == ["requeue", "update StartTime=now+2"]


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.COMPLETED, JobState.DEADLINE])
def test_a_job_that_a_person_has_ended_is_not_requeued(state: JobState) -> None:
    job = facts.job(state=state, nodes=NODES[:3])
    step = plan(facts.view(job=job, history=after()))
    assert requests(step) == []
    assert [type(event) for event in step.plan.events] == [FinalEvent]
    assert plan(facts.view(job=job, history=after(*step.plan.events))).plan.events == ()


def test_a_pending_job_is_started_once_its_second_is_over() -> None:
    early = plan(facts.view(job=waiting(), history=after(), now=SUBMITTED + 1.0))
    assert requests(early) == []
    assert early.plan.look_again == SUBMITTED + 2.1
    assert requests(plan(facts.view(job=waiting(), history=after()))) == ["update StartTime=now"]


def test_a_job_is_started_at_the_time_decided() -> None:
    history = after(start_at=NOW + 30)
    step = plan(facts.view(job=waiting(), history=history))
    assert (requests(step), step.plan.look_again) == (["update StartTime=now+30"], NOW + 30)
    begun = waiting(eligible_time=NOW + 30)
    assert requests(plan(facts.view(job=begun, history=history))) == []


def test_a_blamed_node_is_excluded_and_the_job_shrinks_only_if_it_must() -> None:
    blamed = ExcludeEvent(at=NOW, node="csx2", until=NOW + 99, evidence="e", submit_time=SUBMITTED)
    step = plan(facts.view(job=waiting(), history=after(blamed)))
    assert requests(step) == ["update ExcNodeList=csx2", "update StartTime=now"]
    fewer = plan(facts.view(job=waiting(), history=after(blamed), nodes=facts.nodes(csx4="DOWN")))
    assert requests(fewer)[:2] == ["update ExcNodeList=csx2", "update NumNodes=2-2 NumCPUs=2"]


def test_a_node_that_slurm_does_not_know_any_more_is_left_out() -> None:
    blamed = ExcludeEvent(at=NOW, node="gone", until=NOW + 99, evidence="e", submit_time=SUBMITTED)
    job = waiting(exc_nodes=("gone", "old"))
    assert requests(plan(facts.view(job=job, history=after(blamed))))[0] == "update ExcNodeList="


def test_without_nodes_the_begin_time_is_set_ahead_and_renewed() -> None:
    down = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    step = plan(facts.view(job=waiting(), history=after(), nodes=down))
    assert requests(step)[-1] == f"update StartTime=now+{WAIT}"
    intent = facts.intent(start_time=NOW + WAIT)
    for left, due in ((WAIT, False), (WAIT // 2, True)):
        job = waiting(eligible_time=NOW + left)
        intent = facts.intent(start_time=NOW + left)
        found = requests(plan(facts.view(job=job, history=after(intent), nodes=down)))
        assert any("StartTime" in text for text in found) is due
    back = requests(
        plan(
            facts.view(
                job=waiting(eligible_time=NOW + 1800),
                history=after(facts.intent(start_time=NOW + 1800)),
            )
        )
    )
    assert back == ["update StartTime=now"]


@pytest.mark.parametrize(
    ("limit", "now", "expected"),
    [
        (None, NOW, ["update NumNodes=3-3 NumCPUs=3", "update StartTime=now"]),
        (3, NOW, ["update NumNodes=3-3 NumCPUs=3", "update StartTime=now"]),
        (2, NOW - 1, [f"update StartTime=now+{WAIT}"]),
        (2, NOW, ["update StartTime=now"]),
        (1, NOW, [f"update StartTime=now+{WAIT}"]),
    ],
)
def test_a_run_grows_back_within_the_limits_of_its_account(
    limit: int | None, now: int, expected: list[str]
) -> None:
    size = facts.intent(num_nodes=2)
    shrunk = after(size, AppliedEvent(at=SUBMITTED, num_nodes=2), num_nodes=3)
    job = waiting(num_nodes=2, eligible_time=SUBMITTED + 121)
    step = plan(facts.view(job=job, history=shrunk, node_limit=limit, now=float(now)))
    assert requests(step) == expected


def test_a_size_that_was_never_changed_is_left_to_slurms_own_limits() -> None:
    step = plan(facts.view(job=waiting(), history=after(), node_limit=1))
    assert requests(step) == ["update StartTime=now"]


def test_a_hold_of_a_person_is_left_alone() -> None:
    held = waiting(priority=0, reason="JobHeldUser")
    assert requests(plan(facts.view(job=held, history=after()))) == []
    own = after(AppliedEvent(at=NOW, held=True))  # of a release that held jobs
    assert "release" in requests(plan(facts.view(job=held, history=own)))
    prolog = waiting(priority=0, reason="launch_failed_requeued_held")
    assert requests(plan(facts.view(job=prolog, history=after()))) == []
    released = after(action=Action.RELEASE, requeued=True, restarts=1)
    assert "release" in requests(plan(facts.view(job=prolog, history=released)))


def test_a_list_that_a_person_clears_stays_cleared_but_a_lost_one_is_set_again() -> None:
    blamed = ExcludeEvent(at=NOW, node="csx2", until=NOW + 99, evidence="e", submit_time=SUBMITTED)
    history = after(
        blamed, facts.intent(exc_nodes=("csx2",)), AppliedEvent(at=NOW - 10, exc_nodes=("csx2",))
    )
    job = waiting(exc_nodes=())
    cleared = plan(facts.view(job=job, history=history))
    assert [event for event in cleared.plan.events if isinstance(event, ReadmitEvent)] == [
        ReadmitEvent(at=NOW, node="csx2", why=CLEARED)
    ]
    booted = ClusterFacts(boot_time=NOW - 5)
    lost = plan(facts.view(job=job, history=history, cluster=booted))
    assert requests(lost)[0] == "update ExcNodeList=csx2"


def final(**changes: Any) -> History:
    return after(action=Action.LEAVE, category=Category.CONFIG, exit_code=1, **changes)


def test_a_requeue_after_a_final_end_is_a_persons_unless_slurm_did_it() -> None:
    assert requests(plan(facts.view(job=waiting(), history=final()))) == []
    site = ClusterFacts(requeue_exit=frozenset({1}))
    assert requests(plan(facts.view(job=waiting(), history=final(), cluster=site)))[-1] == "cancel"
    seen = replay([FinalEvent(at=NOW, restarts=0, submit_time=SUBMITTED, state="FAILED")], final())
    assert requests(plan(facts.view(job=waiting(), history=seen, cluster=site))) == []


@pytest.mark.parametrize(
    ("restarts", "expected"),
    [(1, "update StartTime=now"), (9, "update StartTime=now"), (10, "cancel")],
)
def test_a_finished_run_that_slurm_requeues_again_and_again_comes_to_an_end(
    restarts: int, expected: str
) -> None:
    """As with 0 in RequeueExit; after one such requeue its dependents are kept."""
    end = {"category": Category.COMPLETED, "restarts": restarts - 1, "exit_code": 0}
    history = after(action=Action.LEAVE, **end)
    step = plan(
        facts.view(
            job=waiting(restarts=restarts),
            history=history,
            cluster=ClusterFacts(requeue_exit=frozenset({0})),
            site=SitePolicy(max_uncounted_restarts=10),
        )
    )
    assert requests(step)[-1] == expected


@pytest.mark.parametrize(
    ("left_completing", "expected"), [(NOW + 20, ["cancel"]), (NOW, ["cancel"]), (NOW - 1, [])]
)
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_after_a_final_end_slurm_requeues_a_lost_job_once_it_is_started_and_a_person_at_any_time(
    state: JobState, left_completing: int, expected: list[str]
) -> None:
    """A run that a person has requeued goes on when slurmctld is restarted days later."""
    started = NOW + 30 if state is JobState.RUNNING else None
    job = waiting(
        state=state,
        submit_time=left_completing,
        eligible_time=left_completing,
        start_time=started,
        nodes=NODES[:3] if started else (),
    )
    booted = ClusterFacts(boot_time=NOW)
    step = plan(facts.view(job=job, history=final(), cluster=booted, now=NOW + 60.0))
    assert requests(step)[-1:] == expected


@pytest.mark.parametrize(
    ("begin", "text", "expected"),
    [
        (LATE_BEGIN, JUDGED_LATER, ["cancel"]),
        (LATE_BEGIN, "", []),
        (121, JUDGED_LATER, []),  # a person has requeued it since
    ],
)
def test_a_final_end_stands_although_csx_epilog_has_requeued_the_job(
    begin: int, text: str, expected: list[str]
) -> None:
    """It does so where Python fails after the judgement."""
    job = waiting(eligible_time=SUBMITTED + begin, admin_comment=text)
    assert requests(plan(facts.view(job=job, history=final())))[-1:] == expected
    seen = FinalEvent(at=NOW, restarts=0, submit_time=SUBMITTED, state="FAILED")
    assert requests(plan(facts.view(job=job, history=replay([seen], final())))) == []


# --- slurmctld, killed before it had saved a start, shows the job as it was before ---------------


def start_lost(**changes: Any) -> Job:
    return facts.pending(**{"reason": "QOSMaxWallDurationPerJobLimit", "run_time": 0} | changes)


def test_an_attempt_whose_start_was_lost_is_judged_by_its_report_and_excludes_its_node() -> None:
    record = facts.comment_record(
        cause=Category.HARDWARE_ACCELERATOR, rule="a.b", nodes="csx2", exit=3
    )
    lost = facts.end(state=JobState.PENDING, reason="QOSMaxWallDurationPerJobLimit", run_time=0)
    seen = {"job": start_lost(), "comment_record": record, "end_": lost, "named": ("csx2",)}
    step = plan(facts.view(**seen))
    [end] = ended_events(step)
    assert (end.category, end.action) == (Category.HARDWARE_ACCELERATOR, Action.REQUEUE)
    assert (end.index, end.attempt, end.exit_code, end.run_time) == (0, 0, 3, None)
    assert requests(step) == ["update ExcNodeList=csx2", "update StartTime=now"]
    # The report itself may be lost, once the end is in the journal.
    unreported = facts.comment_record(attempt=None, submit=None, restarts=None, ended=False)
    history = replay(step.plan.events)
    again = plan(facts.view(job=start_lost(), comment_record=unreported, history=history))
    assert (ended_events(again), requests(again)) == ([], requests(step))


@pytest.mark.parametrize("seen_final", [False, True])
@pytest.mark.parametrize(
    ("category", "expected"),
    [(Category.CONFIG, "cancel"), (Category.COMPLETED, "update StartTime=now")],
)
def test_a_final_end_whose_start_was_lost(
    category: Category, expected: str, seen_final: bool
) -> None:
    record = facts.comment_record(cause=category, exit=0)
    late = facts.end(state=JobState.PENDING)
    judged = plan(facts.view(job=start_lost(), comment_record=record, end_=late))
    assert requests(judged)[-1] == expected
    # It may have been judged, and seen in its final state, before slurmctld was killed.
    end = facts.ended(category, action=Action.LEAVE)
    final = FinalEvent(at=NOW, restarts=0, submit_time=SUBMITTED, state="FAILED")
    history = replay([end, final] if seen_final else [end])
    known = plan(facts.view(job=start_lost(), comment_record=record, history=history))
    assert (ended_events(known), requests(known)[-1]) == ([], expected)


@pytest.mark.parametrize(
    ("boot", "rule", "expected"),
    [
        (NOW - 1, "slurm.no_report", "update StartTime=now"),
        # A slurmctld that was killed since may have forgotten a cancellation.
        (NOW, "slurm.no_report", "cancel"),
        (NOW + 9, "slurm.no_report", "cancel"),
        (None, "slurm.no_report", "cancel"),
        (NOW - 1, "state.cancelled", "cancel"),
    ],
)
def test_an_end_without_report_after_which_the_same_slurmctld_requeues_was_no_cancellation(
    boot: int | None, rule: str, expected: str
) -> None:
    """slurmctld had forgotten the start, and its node told that there is no such job."""
    end = facts.ended(Category.CANCELLED, action=Action.LEAVE, rule=rule, at=NOW)
    record = facts.comment_record(attempt=None, submit=None, restarts=None, ended=False)
    view = facts.view(
        job=start_lost(),
        comment_record=record,
        history=replay([end]),
        cluster=ClusterFacts(boot_time=boot),
    )
    assert requests(plan(view))[-1] == expected


def test_a_cancellation_that_was_lost_is_repeated() -> None:
    history = after(action=Action.CANCEL, requeued=True, restarts=1)
    assert requests(plan(facts.view(job=waiting(), history=history)))[-1] == "cancel"
    running = facts.job(
        state=JobState.RUNNING, restarts=1, submit_time=NOW, start_time=NOW, nodes=NODES[:3]
    )
    assert requests(plan(facts.view(job=running, history=history))) == ["cancel"]


def test_a_running_job_whose_trainer_has_ended_is_requeued_after_a_while() -> None:
    job = facts.job(state=JobState.RUNNING, start_time=SUBMITTED, nodes=NODES[:3])
    first = plan(facts.view(job=job))
    assert [type(event) for event in first.plan.events] == [StaleRunningEvent]
    seen = replay(first.plan.events)
    assert requests(plan(facts.view(job=job, history=seen, now=NOW + 59))) == []
    step = plan(facts.view(job=job, history=seen, now=NOW + 60))
    assert requests(step) == ["requeue"]
    assert len(ended_events(step)) == 1


def test_the_nodes_of_a_running_attempt_are_recorded_once() -> None:
    job = facts.job(state=JobState.RUNNING, start_time=SUBMITTED, nodes=NODES[:3])
    record = facts.comment_record(ended=False)
    step = plan(facts.view(job=job, comment_record=record))
    assert [type(event) for event in step.plan.events] == [StartedEvent]
    again = facts.view(job=job, comment_record=record, history=replay(step.plan.events))
    assert plan(again).plan.events == ()


def test_a_later_phase_gets_exclusions_and_size_before_its_first_attempt() -> None:
    job = facts.pending(restarts=0, reason="Dependency", eligible_time=None)
    record = facts.comment_record(phase=1, attempt=None, submit=None, ended=False)
    excluded = (Exclusion(node="csx2", since=1, until=NOW + 99, evidence="e"),)
    view = facts.view(
        job=job, comment_record=record, run_exclusions=excluded, nodes=facts.nodes(csx4="DOWN")
    )
    assert requests(plan(view)) == ["update ExcNodeList=csx2", "update NumNodes=2-2 NumCPUs=2"]
    first = replace(record, phase=0)
    assert requests(plan(facts.view(job=job, comment_record=first))) == []


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (PhaseState.ALIVE, "update Dependency=afterok:6"),
        (PhaseState.COMPLETED, "update Dependency="),
        (PhaseState.FAILED, "cancel"),
    ],
)
def test_a_dependency_that_slurm_has_given_up_is_set_anew_or_ends_the_phase(
    state: PhaseState, expected: str
) -> None:
    job = facts.pending(restarts=0, reason="DependencyNeverSatisfied")
    record = facts.comment_record(phase=1, attempt=None, submit=None, ended=False)
    earlier = EarlierPhase(job_id=6, state=state, reason="why")
    assert (
        requests(plan(facts.view(job=job, comment_record=record, earlier=earlier)))[-1] == expected
    )
    unknown = plan(facts.view(job=job, comment_record=record))
    assert requests(unknown) == []
    waiting_for_it = replace(job, reason="Dependency")
    view = facts.view(job=waiting_for_it, comment_record=record, earlier=earlier)
    assert requests(plan(view)) == []


def test_an_end_from_before_the_state_directory_was_made_is_not_judged() -> None:
    job = facts.job(state=JobState.FAILED, end_time=NOW - 10, nodes=NODES[:3])
    for born in (NOW, NOW - 10):  # whole seconds: it may have been made after the end
        assert ended_events(plan(facts.view(job=job, born=born))) == []
    assert len(ended_events(plan(facts.view(job=job, born=NOW - 11)))) == 1


def test_a_site_that_observes_changes_nothing() -> None:
    step = plan(facts.view(job=facts.job(flags=frozenset({facts.COMPLETING})), observe=True))
    assert requests(step) == []
    assert [event.observed for event in ended_events(step)] == [True]
    later = facts.view(job=waiting(), history=after(observed=True))
    assert requests(plan(later)) == []


def test_a_forged_size_grows_no_job_beyond_what_slurm_has_granted() -> None:
    forged = facts.comment_record(num_nodes=4)
    step = plan(facts.view(job=waiting(num_nodes=3), history=after(), comment_record=forged))
    assert not any("NumNodes" in text for text in requests(step))


@pytest.mark.parametrize(
    ("requested", "shown", "left", "size"),
    [
        (2, 4, 2, 3),  # nodes were lost under --no-kill: Slurm requests what was left, and wants 4
        (2, 4, 4, None),  # a person's: only the maximum, which 22.05 shows, is still the former one
        (2, None, 2, None),  # a person's
        (4, 2, 4, 3),  # 22.05 shows the former size
        (3, 4, 3, None),
    ],
)
def test_the_size_of_a_pending_job_is_the_one_that_slurm_wants(
    requested: int, shown: int | None, left: int, size: int | None
) -> None:
    record = facts.comment_record(num_nodes=4, min_nodes=3)
    job = waiting(num_nodes=requested, shown_nodes=shown)
    ours = () if requested != 3 else (facts.intent(num_nodes=3),)
    nodes = facts.nodes(csx4="DOWN")
    step = plan(
        facts.view(
            job=job, history=after(*ours, num_nodes=left), comment_record=record, nodes=nodes
        )
    )
    asked = [text for text in requests(step) if "NumNodes" in text]
    assert asked == ([] if size is None else [f"update NumNodes={size}-{size} NumCPUs={size}"])


def test_a_record_of_another_attempt_is_ignored() -> None:
    record = facts.comment_record(submit=1, cause=Category.CONFIG)
    job = facts.job(flags=frozenset({facts.COMPLETING}))
    (event,) = ended_events(plan(facts.view(job=job, comment_record=record)))
    assert event.category is Category.UNKNOWN


def test_a_run_that_a_person_stops_ends_with_the_attempt_that_is_named() -> None:
    job = facts.job(flags=frozenset({facts.COMPLETING}))
    stopped = facts.comment_record(stop=0)
    step = plan(facts.view(job=job, comment_record=stopped))
    assert requests(step) == []
    assert [event.action for event in ended_events(step)] == [Action.LEAVE]
    # Slurm, or the front of the hook, has requeued it meanwhile.
    requeued = facts.end(state=JobState.PENDING, restarts=1, env_restarts=None)
    step = plan(facts.view(job=waiting(), comment_record=stopped, end_=requeued, source="sweep"))
    assert requests(step)[-1] == "cancel"
    assert [event.action for event in ended_events(step)] == [Action.CANCEL]


def test_a_run_that_a_person_stops_while_it_waits_does_not_start() -> None:
    stopped = facts.comment_record(stop=1)
    step = plan(facts.view(job=waiting(), comment_record=stopped, history=after()))
    assert requests(step)[-1] == "cancel"
    # The request was about the attempt before: a person has requeued the job since.
    earlier = facts.comment_record(stop=0)
    step = plan(facts.view(job=waiting(), comment_record=earlier, history=after()))
    assert requests(step) == ["update StartTime=now"]


def without_batch_host(**changes: Any) -> Job:
    """A job that goes on although Slurm has lost its batch host, csx1."""
    values = {
        "state": JobState.RUNNING,
        "nodes": NODES[1:3],
        "batch_host": "csx1",
        "start_time": SUBMITTED,
        "num_nodes": 2,
    }
    return facts.job(**values | changes)


RUNNING_RECORD = facts.comment_record(ended=False, exit=None, cause=None, step=1200)


def test_a_job_without_its_batch_host_is_requeued_once_that_is_sure() -> None:
    seen = {
        "job": without_batch_host(),
        "comment_record": RUNNING_RECORD,
        "nodes": facts.nodes(csx1="DOWN+NOT_RESPONDING"),
    }
    first = plan(facts.view(**seen))
    assert requests(first) == []
    assert [type(event) for event in first.plan.events] == [StaleRunningEvent]
    noticed = replace(first.plan.events[0], at=NOW - 30)
    assert requests(plan(facts.view(**seen, history=replay([noticed])))) == []
    noticed = replace(noticed, at=NOW - 61)
    step = plan(facts.view(**seen, history=replay([noticed])))
    assert requests(step) == ["requeue"]
    [end] = ended_events(step)
    assert (end.category, end.rule) == (Category.HARDWARE_NODE, "state.node_fail")
    assert (end.action, end.progress) == (Action.REQUEUE, True)
    [excluded] = [event for event in step.plan.events if isinstance(event, ExcludeEvent)]
    assert excluded.node == "csx1"


def test_the_end_of_a_script_whose_host_was_lost_is_that_of_the_node() -> None:
    """22.05 kills the script then; the host is no longer the job's, and no sweep has seen it."""
    seen = {
        "job": without_batch_host(state=None, flags=frozenset({facts.COMPLETING})),
        "end_": facts.end(nodes=NODES[1:3]),
        "comment_record": facts.comment_record(ended=False, exit=None, cause=None),
    }
    [judged] = ended_events(plan(facts.view(**seen, nodes=facts.nodes(csx1="DOWN"))))
    assert (judged.category, judged.rule) == (Category.HARDWARE_NODE, "slurm.node_down")
    [judged] = ended_events(plan(facts.view(**seen, nodes=facts.nodes(csx4="DOWN"))))
    assert judged.category is Category.UNKNOWN


def test_a_requeue_of_a_job_without_its_batch_host_is_the_end_of_the_node() -> None:
    """Another of its nodes has asked for it, or a person."""
    pending = without_batch_host(state=None, flags=frozenset({facts.COMPLETING}), restarts=1)
    end = facts.end(nodes=NODES[1:3], restarts=1, env_restarts=1, host_lost=True)
    down = facts.nodes(csx1="DOWN")
    made = plan(facts.view(job=pending, end_=end, nodes=down))
    [judged] = ended_events(made)
    assert (judged.category, judged.rule) == (Category.HARDWARE_NODE, "state.node_fail")
    assert (judged.requeued, judged.action) == (True, Action.ADJUST)
    [excluded] = [event for event in made.plan.events if isinstance(event, ExcludeEvent)]
    assert excluded.node == "csx1"


@pytest.mark.parametrize(
    ("job", "states"),
    [
        # Slurm's own facts are needed, both of them: silence is none.
        (without_batch_host(), {"csx1": "IDLE"}),
        (without_batch_host(), {"csx1": "MIXED+NOT_RESPONDING"}),
        (without_batch_host(nodes=NODES[:3]), {"csx1": "DOWN"}),
        (without_batch_host(batch_host=None), {"csx1": "DOWN"}),
    ],
)
def test_a_job_whose_batch_host_may_live_is_left_alone(job: Job, states: dict[str, str]) -> None:
    noticed = StaleRunningEvent(at=NOW - 999, submit_time=SUBMITTED, attempt=0)
    view = facts.view(
        job=job,
        comment_record=RUNNING_RECORD,
        nodes=facts.nodes(**states),
        history=replay([noticed]),
    )
    assert requests(plan(view)) == []
    assert ended_events(plan(view)) == []


def test_the_attempt_after_a_restart_in_place_is_looked_at_anew() -> None:
    noticed = StaleRunningEvent(at=NOW - 999, submit_time=SUBMITTED, attempt=0)
    view = facts.view(
        job=without_batch_host(),
        comment_record=replace(RUNNING_RECORD, attempt=1),
        nodes=facts.nodes(csx1="DOWN"),
        history=replay([noticed]),
    )
    assert requests(plan(view)) == []


def test_a_job_that_a_person_has_taken_up_as_another_is_not_restarted() -> None:
    job = facts.job(state=JobState.FAILED, nodes=NODES[:3], end_time=NOW - 10)
    step = plan(facts.view(job=job, source="sweep", resumed_as=8))
    assert requests(step) == []
    [event] = ended_events(step)
    assert (event.action, "job 8" in event.reason) == (Action.LEAVE, True)
    # Nor if the requeue was decided before.
    assert requests(plan(facts.view(job=job, source="sweep", history=after(), resumed_as=8))) == []
