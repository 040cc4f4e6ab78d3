"""Supervisors that requeue their job, killed at each step, on a Slurm that only remembers."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.job_comment import format_comment
from slurm_restart.supervise.attempt_fence import Fences, take_fence
from slurm_restart.supervise.excluded_nodes import ExcludedNodesError, leave_excluded
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.lost_batch_host import HostQuestion
from slurm_restart.supervise.run_records import history_before, history_of
from slurm_restart.supervise.settle_run import Settlement, settle
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import to_json
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.submission_record import SubmissionRecord
from tests.unit.supervise import fake_cluster
from tests.unit.supervise.fake_cluster import FakeCluster

SETUP = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.supervise.fake_cluster import FakeCluster
from slurm_restart.supervise import supervisor_context
supervisor_context.cluster_of = lambda plan: FakeCluster(Path({path!r}))
"""
KILL = "kill -9 $(ps -o ppid= $PPID); sleep 60"
"""A program that kills its supervisor; the reaper ends it then."""
ROOT = str(Path(fake_cluster.__file__).parents[3])


@pytest.fixture
def cluster(run, tmp_path):
    """The cluster of a run that requeues itself, with two restarts and without waits."""
    path = tmp_path / "cluster.json"
    run.setup = SETUP.format(root=ROOT, path=str(path))
    run.set(policy=replace(run.plan.policy, self_requeue=True, backoff=(0,)))
    fake = FakeCluster(path)
    fake.reset()
    return fake


def environment(restarts: int, job_id: int = 7) -> dict[str, str]:
    """The job's environment, after so many restarts."""
    job = {"SLURM_JOB_ID": str(job_id)}
    job |= {"SLURM_JOB_NODELIST": "csx[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    return job | {"SLURM_RESTART_COUNT": str(restarts)} if restarts else job


def attempt(run, cluster, restarts, command="exit 3", job_id=7, **shown):
    """Run the job's next start; return the supervisor's exit code."""
    cluster.reset(restarts=restarts, **shown)
    process = run.start(command, **environment(restarts, job_id))
    process.communicate(timeout=240)
    return process.returncode


def settle_after(run, cluster, restarts, code=137):
    """Do what the batch script's shell does after the supervisor was killed.

    Returns:
        The job's exit code.
    """
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        return settle(
            Settlement(
                run_dir=run.dir,
                job=JobEnvironment.read(environment(restarts)),
                slurm=lambda _: cluster,
                tell=print,
                exit_code=code,
            )
        )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def ask_elsewhere(run, cluster, restarts=0, **changes):
    """Do what another node of the job does once the heartbeat stands still."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    question = HostQuestion(
        run_dir=run.dir,
        job_id=7,
        restarts=restarts,
        host="csx1",
        held=("csx1", "csx2"),
        heartbeat="",
        slurm=lambda _: cluster,
    )
    try:
        return replace(question, **changes).requeue_if_lost()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def decisions(run):
    return [one["expected_decision"].partition(" ")[0] for one in run.summary()["runs"]]


def test_as_many_restarts_as_allowed(run, cluster):
    for restarts in range(3):
        assert attempt(run, cluster, restarts) == 3
    assert decisions(run) == ["requeue", "requeue", "leave"]
    calls = cluster.read()["calls"]
    assert calls[:3] == ["requeue 7", "update 7 StartTime=now+2", "requeue 7"]
    # A guess, after two short failures without a cause.
    assert calls[3:] == ["update 7 ExcNodeList=csx1 StartTime=now+2"]
    assert "decision: leave (3 ends in a row without progress" in run.log()
    assert run.summary()["self_requeue"] is True
    assert run.summary()["runs"][0]["requeue"]["accepted"] is True
    assert cluster.read()["comment"].startswith("csx-restart/1 self=1;run=")


def test_the_same_cause_before_the_first_checkpoint_is_repeated(run, cluster):
    for restarts, expected in enumerate(["requeue", "leave"]):
        attempt(run, cluster, restarts, "echo 'MemoryError: x' >&2; exit 1")
        assert decisions(run)[restarts] == expected
    assert "out of memory again at the same step" in run.log()


def test_a_job_that_runs_again_is_not_changed(run, cluster):
    """As where only the slurmstepd of the attempt before was killed: its supervisor goes on."""
    cluster.reset(restarts=1)
    process = run.start("exit 3", **environment(0))
    process.communicate(timeout=240)
    assert cluster.read()["calls"] == []
    assert "nothing is asked of Slurm: a later start of the job has begun" in run.log()


@pytest.mark.parametrize("command", ["exit 3", KILL])
def test_the_job_that_takes_up_a_run_has_its_own_restarts(run, cluster, command):
    """What it keeps of the former job is in the counters of its comment record."""
    for restarts in range(3):
        attempt(run, cluster, restarts, command)
    run.set(policy=replace(run.plan.policy, max_restarts=1))
    # The site requeues what the former job ended with; it was no start of this one.
    for restarts in range(2):
        assert attempt(run, cluster, restarts, job_id=8, requeue_exit=[3]) == 3
    assert decisions(run)[3:] == ["requeue", "leave"]
    assert "restart 1/1" in run.end_of(3)["expected_decision"]
    assert "2 ends in a row" in run.end_of(4)["expected_decision"]


def test_progress_gives_the_restarts_back(run, cluster, checkpoint):
    for restarts in range(4):
        step = 10 * (restarts + 1)
        made = run.model / f"checkpoint_{step}.mdl"
        checkpoint(run.model / "ready", step)
        attempt(run, cluster, restarts, f"mv '{run.model}/ready' '{made}'; exit 3")
    assert decisions(run) == ["requeue"] * 4


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["requeue", "update"])
def test_a_supervisor_killed_at_a_call_loses_nothing_and_counts_once(run, cluster, when, call):
    assert attempt(run, cluster, 0, die=f"{when} {call}") == -signal.SIGKILL
    settle_after(run, cluster, 0)
    data = cluster.read()
    assert data["restarts"] == 1
    assert data["calls"][-1].startswith("update 7 StartTime=now+")
    for restarts in (1, 2):
        attempt(run, cluster, restarts)
    assert decisions(run) == ["requeue", "requeue", "leave"]
    assert "restart 2/2" in run.end_of(1)["expected_decision"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["requeue", "update"])
def test_a_job_killed_at_a_call_is_counted_once(run, cluster, when, call):
    """Nobody is left: Slurm itself has requeued the job."""
    assert attempt(run, cluster, 0, die=f"{when} {call}") == -signal.SIGKILL
    for restarts in (1, 2):
        attempt(run, cluster, restarts)
    assert decisions(run) == ["requeue", "requeue", "leave"]


@pytest.mark.parametrize("settled", [True, False])
def test_supervisors_killed_in_mid_attempt(run, cluster, settled):
    for restarts in range(3):
        assert attempt(run, cluster, restarts, KILL) == -signal.SIGKILL
        if settled:
            settle_after(run, cluster, restarts)
    restart = "requeue" if settled else "adjust"
    if not settled:
        assert attempt(run, cluster, 3, KILL) == 1
        assert len(run.dir.attempts()) == 3
        assert "the program was not started: the run ends here: 3 ends in a row" in run.log()
    assert decisions(run) == [restart, restart, "leave" if settled else "cancel"]
    assert {one["rule"] for one in run.summary()["runs"]} == {"supervisor.no_exit_record"}
    assert cluster.read()["calls"].count("requeue 7") == (2 if settled else 0)


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("exit 3", 137), (KILL, 137)])
def test_the_job_is_a_success_if_the_supervisor_is_killed_after_that_of_the_run_is_on_record(
    run, cluster, command, code
):
    attempt(run, cluster, 0, command)
    assert settle_after(run, cluster, 0) == code


def test_attempts_that_die_before_their_start_record_are_counted(run, cluster):
    for _ in range(3):
        run.dir.new_attempt()
    assert attempt(run, cluster, 3, "true") == 1
    assert "max_num_restarts is 2" in run.log()


@pytest.mark.parametrize(("itself", "count"), [(True, 2), (False, 1)])
def test_an_attempt_without_a_start_record_counts_for_the_restart_in_place_too(
    run, cluster, itself, count
):
    """As the next settlement counts it. The hook does not, as nothing was reported."""
    run.set(policy=replace(run.plan.policy, self_requeue=itself))
    run.dir.new_attempt()
    for restarts in (1, 2):
        attempt(run, cluster, restarts)
    attempts = run.dir.attempts()
    assert attempts[0].start() is None
    assert len(history_before(run.plan, attempts, attempts[2].start()).ends) == count


def test_a_start_that_slurm_has_given_up_settles_nothing(run, cluster):
    """Its supervisor is killed on a node that is lost, while the job runs elsewhere."""
    attempt(run, cluster, 0, KILL)
    fenced = run.dir.new_attempt()
    later = JobEnvironment.read(environment(1))
    take_fence(Fences(run.dir), fenced, later, restarts=1)
    settle_after(run, cluster, 0)
    assert [one.number for one in run.dir.attempts()] == [0, 1]
    assert run.dir.attempts()[1].end() is None
    assert cluster.read()["calls"] == []
    # Nor does it begin, if it gets there only now.
    cluster.reset(restarts=1)
    assert run.start("echo never", **environment(0)).wait(240) == 143
    assert len(run.dir.attempts()) == 2


def test_a_lost_node_is_blamed(run, cluster):
    attempt(run, cluster, 0, KILL)
    attempt(run, cluster, 1, "exit 3", down=["csx2"])
    first = run.summary()["runs"][0]
    assert (first["category"], first["blamed_nodes"]) == ("hardware.node", ["csx2"])
    calls = cluster.read()["calls"]
    assert calls == ["requeue 7", "update 7 ExcNodeList=csx2 StartTime=now+2"]


def test_a_node_that_an_attempt_has_not_used_for_its_health_is_excluded(run, cluster):
    found = '{"csx3": "disk: full"}'
    start = '"$CSX_RESTART_RUN_DIR/attempts/0/start.json"'
    change = f'sed -i \'s/"unhealthy": {{}}/"unhealthy": {found}/\' {start}'
    attempt(run, cluster, 0, f"{change}; {KILL}")
    settle_after(run, cluster, 0)
    assert cluster.read()["calls"] == ["requeue 7", "update 7 ExcNodeList=csx3 StartTime=now+2"]
    [excluded] = history_of(run.plan, run.dir.attempts(), 7).exclusions
    assert (excluded.node, excluded.evidence) == ("csx3", "attempt 0: health check: disk: full")


def test_an_allocation_with_an_excluded_node_is_left_once(run, cluster):
    command = "echo started; echo 'srun: error: Node failure on csx2'; exit 3"
    attempt(run, cluster, 0, command, die="before requeue")
    # Slurm has requeued the job by itself, and knows of no exclusion.
    attempt(run, cluster, 1, command)
    second = run.summary()["runs"][1]
    assert (second["rule"], second["category"]) == ("supervisor.excluded_node", "health_check")
    assert cluster.read()["calls"] == ["requeue 7", "update 7 ExcNodeList=csx2 StartTime=now+2"]
    attempt(run, cluster, 2, command)
    assert run.output_of(2).startswith("started\n")
    assert "restart 2/2" in run.end_of(2)["expected_decision"]


LOSES_CSX2 = "echo 'srun: error: Node failure on csx2'; exit 3"


@pytest.mark.parametrize(
    ("shown", "done"),
    [
        ({"unanswered": 9}, None),
        ({"refused": 9}, False),
        ({"unanswered": 1}, True),  # each part, once more
        ({"refused": 1, "unanswered": 1}, None),
    ],
)
def test_an_update_without_an_answer_is_no_refusal(run, cluster, shown, done):
    attempt(run, cluster, 0, LOSES_CSX2, **shown)
    request = run.dir.attempts()[0].requeue()
    assert (request.exc_nodes, request.done) == (("csx2",), done)
    assert run.summary()["runs"][0]["requeue"]["accepted"] is done
    unknown = "not known whether Slurm has accepted: ExcNodeList=csx2" in run.log()
    assert unknown is ("unanswered" in shown)
    assert ("refused by Slurm: ExcNodeList=csx2" in run.log()) is ("refused" in shown)


@pytest.mark.parametrize("done", [None, False, True])
def test_a_node_that_was_let_back_in_is_used_also_if_no_answer_came(run, cluster, done):
    """Slurm has carried it out: the allocation has no node that it was asked to exclude."""
    attempt(run, cluster, 0, LOSES_CSX2)
    first = run.dir.attempts()[0]
    write_atomic(first.requeue_file, to_json(replace(first.requeue(), exc_nodes=("csx3",))))
    change_done(first, done)
    job = JobEnvironment.read(environment(1))
    leave_excluded(run.plan, run.dir, run.dir.new_attempt(), job, lambda: cluster)


@pytest.mark.parametrize(("done", "left"), [(None, True), (False, True), (True, False)])
def test_a_node_that_slurm_was_to_exclude_and_has_not_is_left(run, cluster, done, left):
    attempt(run, cluster, 0, LOSES_CSX2)
    change_done(run.dir.attempts()[0], done)
    job, new = JobEnvironment.read(environment(1)), run.dir.new_attempt()
    if left:
        with pytest.raises(ExcludedNodesError, match="csx2"):
            leave_excluded(run.plan, run.dir, new, job, lambda: cluster)
    else:
        leave_excluded(run.plan, run.dir, new, job, lambda: cluster)


def change_done(entry, done):
    """Change what an attempt's record says of Slurm's answer to its request."""
    write_atomic(entry.requeue_file, to_json(replace(entry.requeue(), done=done)))


@pytest.mark.parametrize(("done", "applied"), [(True, ["csx3"]), (None, []), (False, [])])
def test_only_what_slurm_has_for_certain_can_have_been_cleared_by_a_person(
    run, cluster, done, applied
):
    for restarts in range(2):
        attempt(run, cluster, restarts, LOSES_CSX2)
    second = run.dir.attempts()[1]
    write_atomic(second.requeue_file, to_json(replace(second.requeue(), exc_nodes=("csx3",))))
    change_done(second, done)
    assert list(history_of(run.plan, run.dir.attempts(), 7).applied.exc_nodes) == applied


@pytest.mark.parametrize(
    ("cleared", "phase", "left"),
    [(None, 1, True), (1, 1, True), (10**10, 1, False), (None, 0, False)],
)
def test_a_later_phase_leaves_the_nodes_of_the_earlier_ones(run, cluster, cleared, phase, left):
    command = "echo 'srun: error: Node failure on csx2'; exit 3"
    attempt(run, cluster, 0, command)
    later = RunDir(run.model / "later_restartable")
    later.path.mkdir()
    plan = replace(run.plan, phase=phase, phases=2)
    plan.save(later.plan)
    SubmissionRecord(
        directory="/",
        script="job.sh",
        arguments=(),
        phases=(str(run.dir.path), str(later.path)),
    ).save(later.path)
    cluster.reset(comment=format_comment(replace(plan.comment_record, cleared=cleared)))
    job = JobEnvironment.read(environment(0, job_id=8))
    first = later.new_attempt()
    if left:
        with pytest.raises(ExcludedNodesError, match="csx2"):
            leave_excluded(plan, later, first, job, lambda: cluster)
    else:
        leave_excluded(plan, later, first, job, lambda: cluster)


def test_a_cancelled_job_is_not_requeued(run, cluster):
    attempt(run, cluster, 0, "kill -TERM $(ps -o ppid= $PPID); sleep 60", state="COMPLETING")
    assert decisions(run) == ["leave"]
    assert run.end_of(0)["category"] == "cancelled"
    assert cluster.read()["calls"] == []


def test_a_job_that_slurm_has_requeued_is_only_adjusted(run, cluster):
    # Restarts= has grown since the attempt began.
    cluster.reset(state="REQUEUED", restarts=1, down=["csx2"])
    process = run.start("kill -TERM $(ps -o ppid= $PPID); sleep 60", **environment(0))
    process.communicate(timeout=240)
    assert decisions(run) == ["adjust"]
    assert cluster.read()["calls"] == ["update 7 ExcNodeList=csx2 StartTime=now+2"]


def test_a_final_end_that_the_site_requeues_stays_final(run, cluster):
    run.set(policy=replace(run.plan.policy, max_restarts=0))
    assert attempt(run, cluster, 0) == 3
    assert attempt(run, cluster, 1, requeue_exit=[3]) == 1
    assert "RequeueExit" in run.log()
    # A person's requeue is another matter.
    assert attempt(run, cluster, 2) == 3
    assert len(run.dir.attempts()) == 2


def test_a_wrong_config_is_not_restarted(run, cluster):
    command = "echo 'ModuleNotFoundError: No module named x' >&2; exit 1"
    assert attempt(run, cluster, 0, command) == 1
    assert cluster.read()["calls"] == []
    assert decisions(run) == ["leave"]


# --- a batch host that is lost while the job goes on without it (--no-kill) ----------------------

LOST = {"lost": ["csx1"], "down": ["csx1"]}


def test_a_job_without_its_batch_host_is_requeued_from_another_node(run, cluster):
    for restarts in range(3):
        attempt(run, cluster, restarts, KILL)
        cluster.reset(restarts=restarts, **LOST)
        assert ask_elsewhere(run, cluster, restarts) is True
    calls = cluster.read()["calls"]
    assert calls[:2] == ["requeue 7", "update 7 ExcNodeList=csx1 StartTime=now+2"]
    # No script is left whose end would be that of the job.
    assert calls[4:] == ["cancel 7"]
    assert decisions(run) == ["requeue", "requeue", "leave"]
    assert {one["category"] for one in run.summary()["runs"]} == {"hardware.node"}
    assert {*map(str, run.summary()["runs"][0]["blamed_nodes"])} == {"csx1"}
    assert "its batch host is lost, and the run has ended" in run.log()


def test_a_batch_host_that_is_back_by_then_is_lost_all_the_same(run, cluster):
    attempt(run, cluster, 0, KILL)
    cluster.reset(lost=["csx1"])
    assert ask_elsewhere(run, cluster) is True
    assert run.end_of(0)["blamed_nodes"] == ["csx1"]


@pytest.mark.parametrize(
    ("shown", "is_over"),
    [
        ({}, False),  # its supervisor is paused, or its file system hangs
        ({"down": ["csx1"]}, False),  # Slurm has not given it up yet
        ({"lost": ["csx2"]}, False),
        ({**LOST, "state": "COMPLETING"}, True),  # cancelled, or ended by itself
        ({**LOST, "restarts": 1}, True),
        ({"state": "REQUEUED"}, True),
    ],
)
def test_only_a_job_that_has_lost_its_batch_host_is_requeued(run, cluster, shown, is_over):
    attempt(run, cluster, 0, KILL)
    cluster.reset(**shown)
    assert ask_elsewhere(run, cluster) is is_over
    assert cluster.read()["calls"] == []
    assert run.dir.attempts()[0].end() is None


@pytest.mark.parametrize(("written", "seen"), [("2", "1"), ("2", ""), (None, "1")])
def test_a_supervisor_whose_heart_beats_is_left_alone(run, cluster, written, seen):
    attempt(run, cluster, 0, KILL)
    cluster.reset(**LOST)
    if written is not None:
        run.dir.heartbeat.write_text(f"{written}\n")
    assert ask_elsewhere(run, cluster, heartbeat=seen) is False
    assert cluster.read()["calls"] == []


def test_a_job_whose_run_has_ended_before_its_batch_host_is_cancelled(run, cluster):
    attempt(run, cluster, 0, "exit 0")
    cluster.reset(**LOST)
    assert ask_elsewhere(run, cluster) is True
    assert cluster.read()["calls"] == ["cancel 7"]
    assert decisions(run) == ["leave"]


def test_a_restart_in_place_that_never_came_is_a_requeue(run, cluster):
    """The decision is on record, and the next attempt has no directory yet."""
    attempt(run, cluster, 0)
    end = run.dir.attempts()[0].end()
    write_atomic(
        run.dir.attempts()[0].end_file, to_json(replace(end, expected_decision="relaunch (1/2)"))
    )
    cluster.reset(calls=[], **LOST)
    assert ask_elsewhere(run, cluster) is True
    assert cluster.read()["calls"][0] == "requeue 7"
    assert len(run.dir.attempts()) == 1


# --- the same where the hook requeues the job ----------------------------------------------------


def with_hook(run):
    """Let the hook requeue the run's jobs."""
    run.set(policy=replace(run.plan.policy, self_requeue=False))


def test_the_reconciler_has_its_time_and_then_the_job_is_requeued_for_the_hook(run, cluster):
    attempt(run, cluster, 0, KILL)
    with_hook(run)
    cluster.reset(**LOST)
    assert ask_elsewhere(run, cluster, patience=0.01, pause=0.001) is True
    assert cluster.read()["calls"] == ["requeue 7"]
    # The hook and the next attempt write down how it has ended.
    assert run.dir.attempts()[0].end() is None
    assert "Slurm has lost the batch host, csx1, and nobody else has requeued" in run.log()


@pytest.mark.parametrize(
    ("then", "is_over"),
    [
        ({"restarts": 1}, True),
        ({"state": "REQUEUED"}, True),
        ({**LOST, "state": "COMPLETING"}, True),
        ({}, False),
    ],
)
def test_what_somebody_else_does_in_that_time_is_left_alone(run, cluster, then, is_over):
    attempt(run, cluster, 0, KILL)
    with_hook(run)
    cluster.reset(**LOST)
    asked = []

    def slurm(_plan):
        asked.append(1)
        if len(asked) == 3:
            cluster.reset(**then)
        return cluster

    assert ask_elsewhere(run, cluster, slurm=slurm, patience=60, pause=0.001) is is_over
    assert cluster.read()["calls"] == []
    assert len(asked) == 3


# --- a batch host that is set down while its slurmd lives: Slurm kills the script ---------------

KILLED = {"state": "COMPLETING", "down": ["csx1"], "signal": 9, "reason": "JobLaunchFailure"}


def test_a_job_that_slurm_ends_together_with_its_batch_host_is_requeued(run, cluster):
    attempt(run, cluster, 0, KILL)
    cluster.reset(**KILLED)
    assert ask_elsewhere(run, cluster, is_ending=True) is True
    calls = cluster.read()["calls"]
    assert calls == ["requeue 7", "update 7 ExcNodeList=csx1 StartTime=now+2"]
    assert decisions(run) == ["requeue"]
    end = run.end_of(0)
    assert (end["category"], end["blamed_nodes"]) == ("hardware.node", ["csx1"])


@pytest.mark.parametrize(
    "changes",
    [
        {"signal": 0},
        {"signal": 15, "reason": "RaisedSignal:15(Terminated)"},
        {"reason": "None"},  # cancelled
        {"down": ["csx2"]},
        {"restarts": 1},
        {"state": "RUNNING"},
    ],
)
def test_any_other_end_of_the_job_is_left_alone(run, cluster, changes):
    attempt(run, cluster, 0, KILL)
    cluster.reset(**KILLED | changes)
    assert ask_elsewhere(run, cluster, is_ending=True) is True
    assert cluster.read()["calls"] == []
    assert run.dir.attempts()[0].end() is None


def test_the_end_of_a_job_that_the_hook_requeues_is_the_hooks(run, cluster):
    attempt(run, cluster, 0, KILL)
    with_hook(run)
    cluster.reset(**KILLED)
    assert ask_elsewhere(run, cluster, is_ending=True) is True
    assert cluster.read()["calls"] == []
