"""A trainer that is not the Model Zoo's: its own command, its own checkpoints."""

import re

import pytest

from contrib.testing.managed_cluster import EXAMPLES, ManagedCluster
from contrib.testing.waiting import await_


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 2}


def test_it_goes_on_from_its_own_checkpoint(cluster: ManagedCluster) -> None:
    text = (EXAMPLES / "other-trainer.yaml").read_text()
    assert "--resume {checkpoint}" in text
    config = cluster.work / "other-trainer.yaml"
    config.write_text(text.replace("train.py", str(EXAMPLES / "train.py")))
    cluster.trainer_does("wait@35/restart=0")
    [job_id] = cluster.csx_sbatch(config)
    folder = cluster.work / "checkpoints"
    await_((folder / "ckpt-000030.npz").exists, "checkpoint of step 30")
    cluster.fault("kill-step", cluster.await_running(job_id)[1])
    cluster.let_go()  # the other rank notices the loss at its next exchange
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert first["status"] == "failed"
    assert second["status"] == "success"
    run_dir = cluster.run_dir()
    outputs = [(run_dir / "attempts" / n / "output.log").read_text() for n in ("0", "1")]
    starts = [re.findall(r"rank 0 of 2 on \S+: steps (\d+) to 100", text) for text in outputs]
    assert starts[0] == ["0"]
    assert len(starts[1]) == 1
    assert int(starts[1][0]) >= 30
    assert int(starts[1][0]) == second["starting_step"]
    assert (folder / "ckpt-000100.npz").exists()
