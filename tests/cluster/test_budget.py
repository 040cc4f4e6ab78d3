"""How often a run is restarted, and when it is not: counters, people, and ends that are final."""

import json
import re

import pytest

from contrib.testing.managed_cluster import FAST, SHORT_BATCH_START, ManagedCluster
from contrib.testing.waiting import await_

# Slurm is to find a lost batch step, not the reconciler.
HOOK = {"stale_running_after": 3600}


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 3, "options": SHORT_BATCH_START, "hook": HOOK}


def failing(cluster: ManagedCluster, command: str, *, restarts: int = 3, **changes: object) -> int:
    """Submit a run of one node with that command."""
    config = cluster.config(command=command, nodes=1, min_nodes=1, restarts=restarts, **changes)
    [job_id] = cluster.csx_sbatch(config)
    return job_id


@pytest.mark.parametrize("restarts", [0, pytest.param(1, marks=pytest.mark.core), 3])
def test_without_progress_exactly_so_many_restarts(cluster: ManagedCluster, restarts: int) -> None:
    job_id = failing(cluster, "sh -c 'exit 3'", restarts=restarts)
    assert cluster.await_end(job_id) == "FAILED"
    ends = cluster.ends(job_id)
    assert len(ends) == restarts + 1
    assert [end["action"] for end in ends] == ["requeue"] * restarts + ["leave"]
    assert [end["failures"] for end in ends] == list(range(1, restarts + 2))
    assert cluster.job(job_id)["ExitCode"] == "3:0"
    assert cluster.job(job_id)["Restarts"] == str(restarts)
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "max_num_restarts" in explained
    log = (cluster.run_dir() / "run.log").read_text()
    assert len(re.findall(r"^\[run_\d+\].*exit(?:ed)?\b", log, re.MULTILINE)) >= restarts + 1
    if restarts:
        admin = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
        assert f"failures={restarts}/{restarts}" in admin
        assert "the next failure without progress is final" in admin


def test_progress_sets_the_count_back(cluster: ManagedCluster) -> None:
    # Every attempt but the last ones writes one checkpoint and fails.
    cluster.environment["CSX_EXAMPLE_STEP_SECONDS"] = "0"
    command = "sh -c 'cszoo fit \"$1\" & p=$!; wait $p; exit 9' run {config}"
    job_id = failing(cluster, command, restarts=1, steps=20, every=5)
    assert cluster.await_end(job_id) in {"COMPLETED", "FAILED"}
    first = cluster.ends(job_id)[0]
    assert first["progress"] is True
    assert first["failures"] == 0


def test_exit_137_is_no_known_cause(cluster: ManagedCluster) -> None:
    job_id = failing(cluster, "sh -c 'kill -9 $$'", restarts=1)
    assert cluster.await_end(job_id) == "FAILED"
    assert [end["category"] for end in cluster.ends(job_id)] == ["unknown", "unknown"]


def test_a_config_error_is_final_at_once(cluster: ManagedCluster) -> None:
    job_id = failing(cluster, "cszoo fit {config}", restarts=3, **{"trainer.init.bogus_key": 1})
    assert cluster.await_end(job_id) == "FAILED"
    [end] = cluster.ends(job_id)
    assert end["category"] == "config"
    assert end["action"] == "leave"


@pytest.mark.parametrize(("failing_attempts", "state"), [("1", "COMPLETED"), ("1 2", "FAILED")])
def test_a_mistake_at_a_restart_ends_the_run_only_if_it_repeats(
    cluster: ManagedCluster, failing_attempts: str, state: str
) -> None:
    cluster.trainer_does("exit:9@15/restart=0")
    mistake = "error: unrecognized arguments: --sequence-paralel"
    fail = f'{{ echo "{mistake}" >&2; exit 2; }}'
    loop = f'for n in {failing_attempts}; do test "$2" != $n || {fail}; done'
    command = f"sh -c '{loop}; exec cszoo fit \"$1\"' run {{config}} {{attempt}}"
    # One checkpoint alone: there is no earlier one to go back to.
    job_id = failing(cluster, command, steps=20, every=10)
    assert cluster.await_end(job_id) == state
    attempts = cluster.run_dir() / "attempts"
    doubted = json.loads((attempts / "1" / "end.json").read_text())
    assert (doubted["category"], doubted["root_cause"]["text"]) == ("unknown", mistake)
    last = json.loads((attempts / "2" / "end.json").read_text())
    assert last["category"] == ("config" if state == "FAILED" else "completed")


def test_a_finished_run_is_left_alone(cluster: ManagedCluster) -> None:
    job_id = failing(cluster, "cszoo fit {config}", steps=10, every=5)
    assert cluster.await_end(job_id) == "COMPLETED"
    [end] = cluster.ends(job_id)
    assert (end["category"], end["action"]) == ("completed", "leave")
    assert cluster.summary()["runs"][0]["status"] == "success"


@pytest.mark.core
def test_scancel_while_running_is_final(cluster: ManagedCluster) -> None:
    job_id = failing(cluster, "sleep 300")
    cluster.await_running(job_id)
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    [end] = cluster.ends(job_id)
    assert (end["category"], end["action"]) == ("cancelled", "leave")


def test_scancel_of_a_trainer_that_traps_term_is_final(cluster: ManagedCluster) -> None:
    job_id = failing(cluster, """sh -c 'trap "" TERM; while :; do sleep 1; done'""")
    cluster.await_running(job_id)
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    assert [end["category"] for end in cluster.ends(job_id)] == ["cancelled"]


def test_scancel_between_two_attempts_is_final(cluster: ManagedCluster) -> None:
    cluster.configure(policy={"backoff": [3600], "short_wait": 3600})
    try:
        job_id = failing(cluster, "sh -c 'exit 1'")
        cluster.await_state(job_id, "PENDING")
        await_(lambda: len(cluster.ends(job_id)) == 1, "the first end")
        cluster.await_state(job_id, "PENDING")
        cluster.run("scancel", str(job_id))
        assert cluster.await_end(job_id) == "CANCELLED"
        assert len(cluster.summary()["runs"]) == 1
    finally:
        cluster.configure(policy=FAST, hook=HOOK)


def test_the_time_limit_leads_to_a_restart(cluster: ManagedCluster) -> None:
    cluster.environment["CSX_EXAMPLE_STEP_SECONDS"] = "2"
    config = cluster.config(command="cszoo fit {config}", nodes=1, min_nodes=1, steps=1000, every=5)
    # Slurm counts limits in minutes and sends the warning up to a minute early, so it is early
    # here by nature: two minutes less the lead of two.
    [job_id] = cluster.csx_sbatch(config, "--time=2")
    await_(lambda: cluster.ends(job_id), "the first end")
    end = cluster.ends(job_id)[0]
    assert (end["category"], end["action"]) == ("timeout", "requeue")


def test_a_person_requeues(cluster: ManagedCluster) -> None:
    cluster.trainer_does("hang@30/restart=0")
    job_id = failing(cluster, "cszoo fit {config}", steps=60, every=5)
    cluster.await_step(5)
    cluster.run("scontrol", "requeue", str(job_id))
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert ends[0]["category"] in {"requeued", "preemption"}
    assert ends[0]["action"] == "adjust"
    assert ends[0]["failures"] == 0
    assert cluster.summary()["runs"][1]["starting_step"] >= 5


def test_a_person_requeues_on_hold(cluster: ManagedCluster) -> None:
    cluster.trainer_does("hang@30/restart=0")
    job_id = failing(cluster, "cszoo fit {config}", steps=60, every=5)
    cluster.await_step(5)
    cluster.run("scontrol", "requeuehold", str(job_id))
    cluster.await_state(job_id, "PENDING")
    cluster.reconcile()
    assert cluster.job(job_id)["Priority"] == "0"
    assert [end["action"] for end in cluster.ends(job_id)] == ["leave"]


def test_observe_mode_decides_and_does_nothing(cluster: ManagedCluster) -> None:
    cluster.configure(mode="observe")
    try:
        job_id = failing(cluster, "sh -c 'exit 1'")
        assert cluster.await_end(job_id) == "FAILED"
    finally:
        cluster.configure(policy=FAST, hook=HOOK)
    [end] = cluster.ends(job_id)
    assert end["action"] == "requeue"
    assert cluster.job(job_id)["Restarts"] == "0"


def test_an_unmanaged_job_is_not_touched(cluster: ManagedCluster) -> None:
    job_id = cluster.submit("exit 1", "-N1", "--requeue")
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == "0"
    assert f"job {job_id}:" not in cluster.hook_log()


def test_two_phases_and_the_second_runs_after_the_first_has_recovered(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("wait@30/restart=0")
    path = cluster.config(command="cszoo fit {config}", nodes=1, min_nodes=1, steps=40, every=5)
    import yaml  # noqa: PLC0415

    data = yaml.safe_load(path.read_text())
    phase = data["trainer"]
    second = yaml.safe_load(yaml.safe_dump(phase))
    second["init"]["loop"]["max_steps"] = 60
    data["trainer"] = [{"trainer": phase}, {"trainer": second}]
    path.write_text(yaml.safe_dump(data))
    first_job, second_job = cluster.csx_sbatch(path)
    cluster.await_step(5)
    cluster.lose_batch_step(first_job)
    cluster.let_go()
    assert cluster.await_end(first_job) == "COMPLETED"
    assert cluster.await_end(second_job) == "COMPLETED"
    assert len(cluster.ends(first_job)) == 2
    assert len(cluster.ends(second_job)) == 1


def test_the_second_phase_goes_when_the_first_fails_for_good(cluster: ManagedCluster) -> None:
    import yaml  # noqa: PLC0415

    path = cluster.config(command="sh -c 'exit 1'", nodes=1, min_nodes=1, restarts=1)
    data = yaml.safe_load(path.read_text())
    data["trainer"] = [{"trainer": data["trainer"]}, {"trainer": data["trainer"]}]
    path.write_text(yaml.safe_dump(data))
    first_job, second_job = cluster.csx_sbatch(path)
    assert cluster.await_end(first_job) == "FAILED"
    assert cluster.await_end(second_job) == "CANCELLED"
