from dataclasses import replace

import pytest

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.hang import HangReport
from slurm_restart.core.in_place_ends import NONE_IN_PLACE
from slurm_restart.core.job_comment import in_place_fields
from slurm_restart.core.journal_events import Action
from slurm_restart.core.program_start import LONG, KnownProgress
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.errors import ConfigError, StateError
from slurm_restart.supervise.attempt_result import attempt_result, preparation_failure, said_of
from slurm_restart.supervise.expected_decision import (
    end_events,
    expected_decision,
    history_of_started,
)
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.run_records import site_policy
from slurm_restart.supervise.set_aside import SetAside
from slurm_restart.supervise.trainer_end import (
    StopReason,
    TrainerEnd,
    attribute_trainer_end,
    cause_of_stop,
    explain,
    fingerprint,
)
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart
from slurm_restart.trainer.rundir import AttemptDir

NAN = Finding(
    rule="cs.nan", category=Category.NUMERIC_NAN, role=Role.ROOT, line=3, text="NaN error: x"
)
CAUGHT = replace(NAN, went_on=5)
NODE = Finding(
    rule="srun.node",
    category=Category.HARDWARE_NODE,
    role=Role.ROOT,
    line=1,
    text="srun: error: Node failure on csx3",
    nodes=("csx3",),
)


def ending(code=1, *, number=None, stop=None, findings=(), reached=False, quiet_time=0.0):
    return TrainerEnd(
        exit_code=None if number else code,
        signal=number,
        stop=stop,
        findings=tuple(findings),
        last_step_reached=reached,
        quiet_time=quiet_time,
    )


@pytest.mark.parametrize(
    ("end", "exit_code", "category", "rule"),
    [
        (ending(0), 0, "completed", "exit.zero"),
        (ending(0, findings=[NAN]), 0, "completed", "exit.zero"),
        (ending(3), 3, "unknown", "exit.nonzero"),
        (ending(3, findings=[NAN]), 3, "numeric.nan", "cs.nan"),
        (ending(number=9), 137, "unknown", "exit.nonzero"),
        (ending(number=11), 139, "software.crash", "exit.crash"),
        (ending(139), 139, "software.crash", "exit.crash"),
        # It had failed before the stop and only hung.
        (ending(1, stop=StopReason.TIME_LIMIT, findings=[NAN]), 1, "numeric.nan", "cs.nan"),
        (
            ending(1, stop=StopReason.TIME_LIMIT, findings=[CAUGHT]),
            1,
            "timeout",
            "supervisor.time_limit",
        ),
        (ending(stop=StopReason.TIME_LIMIT, quiet_time=4000.0), 1, "hang", "log.no_output"),
        # Exit code 0 after a stop is no success.
        (
            ending(1, stop=StopReason.TERMINATED, findings=[NAN]),
            1,
            "unknown",
            "supervisor.terminated",
        ),
        (ending(number=15, stop=StopReason.TIME_LIMIT), 143, "timeout", "supervisor.time_limit"),
        (ending(0, stop=StopReason.TIME_LIMIT), 143, "timeout", "supervisor.time_limit"),
        (ending(0, stop=StopReason.TIME_LIMIT, reached=True), 0, "completed", "exit.zero"),
        (ending(number=15, stop=StopReason.TERMINATED), 143, "unknown", "supervisor.terminated"),
        (ending(0, stop=StopReason.TERMINATED), 143, "unknown", "supervisor.terminated"),
        # A person's decision stands, whatever the trainer had printed before.
        (
            ending(3, stop=StopReason.CANCELLED, findings=[NAN]),
            3,
            "cancelled",
            "supervisor.cancelled",
        ),
        (ending(number=15, stop=StopReason.HUNG), 143, "hang", "supervisor.hung"),
        (ending(0, stop=StopReason.HUNG), 143, "hang", "supervisor.hung"),
        # SIGABRT in place of TERM, of the trainer itself or of what its shell ran.
        (ending(number=6, stop=StopReason.HUNG), 143, "hang", "supervisor.hung"),
        (ending(134, stop=StopReason.HUNG), 143, "hang", "supervisor.hung"),
        (ending(134), 134, "software.crash", "exit.crash"),
        (ending(0, stop=StopReason.SLOW), 143, "hang", "supervisor.slow"),
        (ending(number=9, stop=StopReason.HUNG, findings=[NAN]), 137, "numeric.nan", "cs.nan"),
        (ending(number=9, stop=StopReason.HUNG, findings=[CAUGHT]), 137, "hang", "supervisor.hung"),
        (ending(0, stop=StopReason.CANCELLED), 143, "cancelled", "supervisor.cancelled"),
        (ending(0, stop=StopReason.CANCELLED, reached=True), 0, "completed", "exit.zero"),
    ],
)
def test_the_attribution_of_a_trainers_end(end, exit_code, category, rule):
    attribution = attribute_trainer_end(end)
    assert (end.job_exit_code, attribution.category.value, attribution.rule) == (
        exit_code,
        category,
        rule,
    )
    assert bool(explain(end, attribution)) is (category != "completed")


def test_only_the_jobs_nodes_are_blamed_and_other_names_are_reported():
    for nodes, blamed, reported in ((("csx3", "csx4"), ["csx3"], ()), (("csx4",), [], ("csx3",))):
        found = attribute_trainer_end(replace(ending(1, findings=[NODE]), nodes=nodes))
        assert ([blame.node for blame in found.blamed], found.reported) == (blamed, reported)
        assert found.names == ("csx3",)


def test_the_node_that_the_watchdog_names_is_blamed():
    report = HangReport(reason="no output for 900 s", blamed=(Blame(node="csx2", evidence="T"),))
    end = replace(ending(number=15, stop=StopReason.HUNG), hang=report)
    attribution = attribute_trainer_end(end)
    assert attribution.names == ("csx2",)
    assert explain(end, attribution) == "the run hung: no output for 900 s (signal 15)"


def test_two_printings_of_one_error_are_alike():
    one = "2025-07-11 18:04:19,669 ERROR:   at 0x7f01: wsjob-abc failed (pid 12): index 50258"
    two = "3: 2025-07-12 01:00:00,000 ERROR:   at 0xdead: wsjob-x1 failed (pid 999): index 50258"
    other = two.replace("50258", "50259")
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(other)
    assert len(fingerprint("")) == 8


def start(attempt, from_step=0):
    return AttemptStart(
        attempt=attempt,
        at=100.0 * attempt,
        job_id=7,
        restarts=attempt,
        nodes=(),
        num_csx=2,
        checkpoint=None,
        from_step=from_step,
        resumed=False,
        first_step=0,
        last_step=None,
    )


def end(attempt, *, step=None, progress=False, category="unknown", root=None):
    return AttemptEnd(
        attempt=attempt,
        at=100.0 * attempt + 90,
        category=category,
        rule="r",
        reason="why",
        step=step,
        progress=progress,
        root=root,
    )


def attribution(category):
    return Attribution(category=category, rule="r", confidence=Confidence.LIKELY)


NAN_AGAIN = {"category": "numeric.nan", "root": "00000000"}


@pytest.mark.parametrize(
    ("earlier", "now", "action", "reason"),
    [
        ([], {}, Action.REQUEUE, "restart 1/2"),
        ([end(0)], {}, Action.REQUEUE, "restart 2/2"),
        ([end(0), end(1)], {}, Action.LEAVE, "max_num_restarts is 2"),
        ([end(0), end(1)], {"step": 10}, Action.REQUEUE, "after progress"),
        ([end(0), end(1, step=5, progress=True)], {}, Action.REQUEUE, "restart 1/2"),
        ([], {"category": "compile"}, Action.LEAVE, "does not compile"),
        ([end(0, category="of another release")], {}, Action.REQUEUE, "restart 2/2"),
        ([end(0, **NAN_AGAIN)], NAN_AGAIN, Action.LEAVE, "same root cause"),
    ],
)
def test_the_decision_that_is_expected(run, earlier, now, action, reason):
    pairs = [(start(number), one) for number, one in enumerate(earlier)]
    decision = expected_decision(
        run.plan.comment_record,
        history_of_started(pairs, start(0).job_id),
        start(len(pairs)),
        attribution(Category(now.get("category", "unknown"))),
        step=now.get("step"),
        root=now.get("root"),
        exit_code=1,
        now=1000.0,
        site=SitePolicy(),
    )
    assert decision.action is action
    assert reason in decision.reason


def test_the_site_s_cap_holds_for_the_supervisor_s_decisions(run):
    pairs = [(start(number), end(number, step=5, progress=True)) for number in range(3)]
    run.set(policy=replace(run.plan.policy, max_total_restarts=3))
    decision = expected_decision(
        run.plan.comment_record,
        history_of_started(pairs, start(0).job_id),
        start(3),
        attribution(Category.UNKNOWN),
        step=9,
        root=None,
        exit_code=1,
        now=1000.0,
        site=site_policy(run.plan),
    )
    assert (decision.action, decision.rule) == (Action.LEAVE, "total-cap")
    assert "the site allows 3" in decision.reason


@pytest.fixture
def prepared(tmp_path):
    attempt = AttemptDir(tmp_path / "0", 0)
    return PreparedAttempt(
        attempt=attempt,
        start=start(0),
        job=JobEnvironment(job_id=7, restarts=0, nodes=("csx3",), num_nodes=1),
        command=None,
        rejected=(),
        set_aside=SetAside(),
        present={},
    )


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (None, None),
        ("csx3", None),
        ("csx[1-2]", "disk:_full"),
        # What is told is about the first one.
        ("csx[0-2]", None),
    ],
)
def test_what_is_said_of_nodes(nodes, said):
    assert said_of(nodes, {"csx1": "disk: full", "csx2": "fan 3"}) == said


def test_the_self_report_of_an_end(run, prepared):
    result = attempt_result(run.plan, prepared, ending(findings=[NODE]), step=20, now=5.0)
    assert result.self_report == {
        "ended": True,
        "exit": 1,
        "cause": Category.HARDWARE_NODE,
        "rule": "srun.node",
        "root": fingerprint(NODE.text),
        "likely": True,
        "put_off": False,
        "nodes": "csx3",
        "step": 20,
        **in_place_fields(NONE_IN_PLACE),
    }
    assert result.end.progress is True
    assert result.end.blamed_nodes == ("csx3",)
    assert result.end.root_cause.file == str(prepared.attempt.output)


CONFIG = Finding(
    rule="config.value",
    category=Category.CONFIG,
    role=Role.ROOT,
    line=3,
    text="unknown option --x",
)


def test_a_mistake_after_an_attempt_that_ran_is_put_off_once(run, prepared):
    ran = (start(0), end(0, step=10, progress=True))
    restarted = replace(prepared, start=start(1, from_step=10), ends=tuple(end_events([ran])))
    failed = ending(findings=[CONFIG])
    first = attempt_result(run.plan, restarted, failed, step=10, now=5.0)
    assert (first.self_report["cause"], first.self_report["put_off"]) == (Category.UNKNOWN, True)
    assert (first.end.category, first.end.rule) == ("unknown", "config.value")
    assert "unknown option --x" in first.end.reason
    assert first.end.recoverable
    before = tuple(end_events([ran, (start(1, from_step=10), first.end)]))
    again = replace(prepared, start=start(2, from_step=10), ends=before)
    second = attempt_result(run.plan, again, failed, step=10, now=5.0)
    assert (second.self_report["cause"], second.self_report["put_off"]) == (Category.CONFIG, False)
    assert attempt_result(run.plan, prepared, failed, step=None, now=5.0).is_final


@pytest.mark.parametrize(
    ("progress", "category"),
    [
        (KnownProgress(), Category.CONFIG),
        (KnownProgress(seconds=LONG), Category.UNKNOWN),
        (KnownProgress(made=True), Category.UNKNOWN),
    ],
)
def test_how_far_the_trainer_got_tells_whether_it_was_starting(progress, category):
    failed = replace(ending(findings=[CONFIG]), progress=progress)
    assert attribute_trainer_end(failed).category is category
    limit = replace(failed, stop=StopReason.TIME_LIMIT)
    assert attribute_trainer_end(limit).category is category


def test_too_many_named_nodes_are_left_out_of_the_self_report(run, prepared):
    names = tuple(f"{letter}{'x' * 30}" for letter in "abcdefgh")
    many = Finding(
        rule="r", category=Category.HARDWARE_NODE, role=Role.ROOT, line=1, text="x", nodes=names
    )
    self_report = attempt_result(
        run.plan, prepared, ending(findings=[many]), step=None, now=5.0
    ).self_report
    assert self_report["nodes"] is None
    assert "step" not in self_report


@pytest.mark.parametrize(
    ("failure", "exit_code", "category"),
    [
        (OSError(28, "No space left on device", "/m"), 74, Category.STORAGE_FULL),
        (OSError(122, "Disk quota exceeded", "/m"), 74, Category.STORAGE_FULL),
        (TimeoutError("probe: no answer"), 74, Category.STORAGE_IO),
        (FileNotFoundError(2, "No such file", "/m"), 74, Category.STORAGE_IO),
        (ConfigError("/m", ["/m:1: odd"]), 3, Category.CONFIG),
        (StateError("/m: schema"), 7, Category.CONFIG),
        (ValueError("odd"), 70, Category.UNKNOWN),
        (StopReason.TIME_LIMIT, 143, Category.TIMEOUT),
        (StopReason.TERMINATED, 143, Category.UNKNOWN),
        (StopReason.CANCELLED, 143, Category.CANCELLED),
    ],
)
def test_what_keeps_the_trainer_from_starting(failure, exit_code, category):
    result = preparation_failure(failure, None, now=5.0)
    assert (result.exit_code, result.self_report["exit"], result.self_report["cause"]) == (
        exit_code,
        exit_code,
        category,
    )
    assert result.end.reason.startswith("the program was not started: ")


@pytest.mark.parametrize(
    ("failure", "final"),
    [
        (ConfigError("/m", ["/m:1: odd"]), True),
        (OSError(28, "No space left on device", "/m"), True),
        (TimeoutError("probe: no answer"), False),
        (StopReason.TIME_LIMIT, False),
        (StopReason.CANCELLED, True),
    ],
)
def test_an_end_that_no_restart_can_help_is_final(failure, final):
    result = preparation_failure(failure, None, now=5.0)
    assert (result.is_final, result.end.recoverable) == (final, not final)


@pytest.mark.parametrize("stop", StopReason)
def test_every_reason_to_stop_has_a_cause(stop):
    assert cause_of_stop(stop)
