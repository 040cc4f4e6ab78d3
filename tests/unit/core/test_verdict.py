"""A whole end judged: exclusions with the user's own, size, announcement, silence."""

from slurm_restart.core.category import Category
from slurm_restart.core.history import Action, ExcludeEvent, WroteEvent, fold
from slurm_restart.core.verdict import judge
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED, case


def test_a_named_node_is_excluded_beside_the_users_own_and_replaced() -> None:
    verdict = judge(
        case(
            digest=facts.digest(cause=Category.HARDWARE_ACCELERATOR, rule="xid"),
            named=("csx2",),
            job=facts.job(exc_nodes=("old7",)),
        )
    )
    assert verdict.decision.action is Action.REQUEUE
    assert verdict.shape.exc_nodes == ("old7", "csx2")
    assert verdict.shape.num_nodes is None
    assert verdict.fit.num_nodes == 3
    assert "excluded csx2" in (verdict.shape.admin_comment or "")


def test_it_shrinks_where_there_is_no_replacement_and_grows_back() -> None:
    word = facts.digest(cause=Category.HARDWARE_NODE)
    shrunk = judge(case(digest=word, named=("csx2",), nodes=facts.nodes(csx4="DOWN")))
    assert shrunk.shape.num_nodes == 2
    history = fold([WroteEvent(at=SUBMITTED, num_nodes=2)])
    grown = judge(case(history=history, end=facts.end(nodes=("csx1", "csx3"))))
    assert grown.shape.num_nodes == 3


def test_too_few_nodes_hold_the_job_with_the_reason() -> None:
    sick = facts.nodes(csx2="DOWN", csx3="IDLE+DRAIN", csx4="DOWN")
    verdict = judge(case(nodes=sick))
    assert verdict.fit.num_nodes is None
    assert verdict.shape.held is True
    assert "1 usable nodes, 2 are needed" in (verdict.shape.admin_comment or "")


def test_a_size_that_a_person_has_set_stays() -> None:
    verdict = judge(case(end=facts.end(nodes=("csx1",))))
    assert verdict.shape.num_nodes is None
    assert verdict.fit.num_nodes == 1


def test_what_a_person_took_off_the_list_is_not_excluded_again() -> None:
    history = fold(
        [
            ExcludeEvent(at=1, node="csx4", until=SUBMITTED * 2, evidence="e", submit_time=1),
            WroteEvent(at=1, exc_nodes=("csx4",)),
        ]
    )
    verdict = judge(case(history=history, job=facts.job(exc_nodes=())))
    assert verdict.shape.exc_nodes is None
    assert verdict.exclusions == ()


def test_an_exclusion_runs_out() -> None:
    history = fold(
        [
            ExcludeEvent(at=1, node="csx4", until=SUBMITTED, evidence="e", submit_time=1),
            WroteEvent(at=1, exc_nodes=("csx4",)),
        ]
    )
    verdict = judge(case(history=history, job=facts.job(exc_nodes=("csx4", "old7"))))
    assert verdict.shape.exc_nodes == ("old7",)


def test_a_digest_of_another_attempt_is_silence() -> None:
    fatal = facts.digest(cause=Category.CONFIG, submit=SUBMITTED - 5)
    verdict = judge(case(digest=fatal))
    assert verdict.termination.category is Category.UNKNOWN
    assert verdict.decision.action is Action.REQUEUE
    assert verdict.decision.failures == 0


def test_an_administrators_own_text_stays_in_front() -> None:
    verdict = judge(case(job=facts.job(admin_comment="ticket 12 | csx-restart: failures=0/3")))
    comment = verdict.shape.admin_comment or ""
    assert comment.startswith("ticket 12 | csx-restart: failures=1/3")
    assert comment.count("csx-restart: ") == 1


def test_a_run_that_was_requeued_with_its_budget_used_up_is_cancelled_with_the_reason() -> None:
    verdict = judge(
        case(
            history=facts.attempts(3),
            digest=facts.digest(ended=True),
            end=facts.end(exit_code=0, reason="None", restarts=1, env_restarts=0),
        )
    )
    assert verdict.decision.action is Action.CANCEL
    assert "ends here" in (verdict.shape.admin_comment or "")
