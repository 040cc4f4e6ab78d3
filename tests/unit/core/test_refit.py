"""A pending job is fitted to today's nodes; what people have set stays."""

from typing import Any

import pytest

from slurm_restart.core.history import Event, ExcludeEvent, ReadmitEvent, WroteEvent, fold
from slurm_restart.core.job import Job
from slurm_restart.core.operations import Verb
from slurm_restart.core.policy import SitePolicy
from slurm_restart.core.refit import Pending, Refit, refit
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

NOW = SUBMITTED + 100
FAR = SUBMITTED * 2


def look(job: Job | None = None, *events: Event, **changes: Any) -> Refit:
    """A refit of a job whose restart is due."""
    values: dict[str, Any] = {
        "job": job or facts.pending(),
        "digest": facts.digest(),
        "history": fold([facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]), *events]),
        "nodes": facts.nodes(),
        "reserved": None,
        "site": SitePolicy(),
        "now": NOW,
        "startable": True,
    }
    return refit(Pending(**values | changes))


def excluded(node: str, *, since: int = SUBMITTED) -> tuple[Event, Event]:
    return (
        ExcludeEvent(at=since, node=node, until=FAR, evidence="e", submit_time=SUBMITTED),
        WroteEvent(at=since, exc_nodes=(node,)),
    )


def test_a_job_that_nothing_was_decided_about_is_left_alone() -> None:
    assert look(history=fold([])) == Refit()


def test_a_due_job_is_started_once() -> None:
    first = look()
    assert first.start == "now"
    assert look(None, WroteEvent(at=NOW, start_time=NOW)).start is None


def test_slurms_own_delay_is_cut_short_and_a_persons_time_is_not() -> None:
    assert look(facts.pending(eligible_time=SUBMITTED + 121)).start == "now"
    assert look(facts.pending(eligible_time=SUBMITTED + 5000)).start is None


def test_no_start_in_the_second_of_the_kill() -> None:
    assert look(startable=False).start is None


def test_a_later_begin_is_restored() -> None:
    history = fold([facts.ended(start_at=NOW + 60)])
    found = look(facts.pending(eligible_time=SUBMITTED + 121), history=history)
    assert found.start == "now+60"


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin"])
def test_a_persons_hold_stays(reason: str) -> None:
    found = look(facts.pending(priority=0, reason=reason))
    assert found.operations("") == ()
    assert len(found.events) == 1


def test_a_persons_size_stays() -> None:
    found = look(facts.pending(num_nodes=1))
    assert found.shape.num_nodes is None


def test_it_shrinks_with_the_pool() -> None:
    found = look(nodes=facts.nodes(csx1="DOWN", csx4="DOWN"))
    assert found.shape.num_nodes == 2


def test_a_node_found_dead_later_is_excluded() -> None:
    found = look(nodes=facts.nodes(csx2="DOWN+NOT_RESPONDING"))
    assert found.shape.exc_nodes == ("csx2",)
    assert any(isinstance(event, ExcludeEvent) for event in found.events)


def test_too_few_nodes_hold_it_and_enough_release_it() -> None:
    sick = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    assert look(nodes=sick).verbs == (Verb.HOLD,)
    held = facts.pending(priority=0, reason="JobHeldAdmin")
    again = look(held, WroteEvent(at=SUBMITTED, held=True))
    assert again.verbs == (Verb.RELEASE,)
    assert again.start == "now"


SICK = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
HELD = facts.pending(priority=0, reason="JobHeldAdmin")
OURS = WroteEvent(at=SUBMITTED, held=True)


def test_a_hold_that_a_person_released_is_not_put_back_and_his_own_not_taken_for_ours() -> None:
    released = look(None, OURS, nodes=SICK)
    assert released.verbs == ()
    assert look(None, OURS, *released.events, nodes=SICK).verbs == ()
    # It is held again, by a person, and then there are nodes enough.
    assert look(HELD, OURS, *released.events).verbs == ()


def test_a_hold_of_an_earlier_wait_is_not_taken_for_ours() -> None:
    later = facts.ended(attempt=1, submit_time=SUBMITTED + 50, start_at=NOW)
    assert look(HELD, OURS, later).verbs == ()


def test_a_job_that_is_released_before_it_is_due_starts_when_it_is_due() -> None:
    due = facts.ended(start_at=NOW + 300)
    found = look(HELD, due, OURS)
    assert (found.verbs, found.start) == ((Verb.RELEASE,), "now+300")


def test_a_release_leaves_a_persons_begin_time() -> None:
    tomorrow = facts.pending(priority=0, reason="JobHeldAdmin", eligible_time=NOW + 86_400)
    found = look(tomorrow, OURS)
    assert (found.verbs, found.start) == ((Verb.RELEASE,), None)


def test_a_job_that_may_not_start_yet_does_not_wait_for_nodes() -> None:
    busy = facts.nodes(csx1="ALLOCATED", csx2="ALLOCATED")
    assert look(nodes=busy, now=SUBMITTED + 3600).shape.num_nodes == 2
    next_week = facts.pending(eligible_time=SUBMITTED + 600_000)
    assert look(next_week, nodes=busy, now=SUBMITTED + 3600).shape.num_nodes is None
    assert look(next_week, nodes=SICK, now=SUBMITTED + 100_000).verbs == (Verb.HOLD,)


def test_a_forged_size_grows_no_job_beyond_what_slurm_has_granted() -> None:
    history = fold([facts.ended(num_nodes=3), WroteEvent(at=1, num_nodes=2)])
    word = facts.digest(num_nodes=100_000)
    found = look(facts.pending(num_nodes=2), history=history, digest=word)
    assert found.shape.num_nodes == 3


def test_it_gives_up_in_the_end() -> None:
    sick = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    found = look(nodes=sick, now=SUBMITTED + 24 * 3600 + 1)
    assert found.verbs == (Verb.CANCEL,)
    assert "gives up" in (found.shape.admin_comment or "")


def test_bad_constraints_undo_the_oldest_exclusion() -> None:
    job = facts.pending(reason="BadConstraints", priority=0, exc_nodes=("csx1", "csx4"))
    events = [
        *excluded("csx4", since=SUBMITTED),
        ExcludeEvent(at=SUBMITTED + 1, node="csx1", until=FAR, evidence="e", submit_time=1),
        WroteEvent(at=SUBMITTED + 1, exc_nodes=("csx1", "csx4")),
    ]
    found = look(job, *events, digest=facts.digest(min_nodes=1))
    assert found.shape.exc_nodes == ("csx1",)
    assert [event.node for event in found.events if isinstance(event, ReadmitEvent)] == ["csx4"]


def test_what_a_person_took_off_the_list_stays_off() -> None:
    found = look(facts.pending(exc_nodes=()), *excluded("csx4"))
    assert found.shape.exc_nodes is None


def test_what_a_person_added_to_the_list_stays_on() -> None:
    job = facts.pending(exc_nodes=("csx4", "csx3"))
    assert look(job, *excluded("csx4")).shape.exc_nodes is None
