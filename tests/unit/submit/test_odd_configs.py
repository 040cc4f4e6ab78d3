"""Any config leads to a submission or to an error message."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.argv import OptionTable, parse
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.prepare import prepare
from slurm_restart.submit.submit import preview_run_dir
from slurm_restart.trainer.run_plan import SlurmAccess

TABLE = OptionTable()
KEYS = st.sampled_from(
    [
        "slurm",
        "sbatch",
        "setup",
        "command",
        "checkpoint",
        "directory",
        "pattern",
        "complete",
        "nodes",
        "csx_per_node",
        "policy",
        "shrink_after",
        "stop_on_repeat",
        "trainer",
        "init",
        "fit",
        "validate",
        "backend",
        "backend_type",
        "cluster_config",
        "num_csx",
        "model_dir",
        "steps",
        "checkpoint_root",
        "checkpoint_name",
        "autoload_last_checkpoint",
        "loop",
        "max_steps",
        "num_steps",
        "num_epochs",
        "steps_per_epoch",
        "autorestart",
        "max_num_restarts",
        "min_num_csx",
        "ckpt_path",
        "device",
        "partition",
        "nodelist",
        "comment",
        "signal",
        "time",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.dates()
    | st.text(max_size=20)
    | st.sampled_from(["CSX", "{config}", "{step}", "{path}", "10min", "s3://x", "#SBATCH -n 3"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(max_size=5) | st.integers(), inner, max_size=5)
    ),
    max_leaves=20,
)
INIT = st.dictionaries(KEYS, TREES, max_size=6)
PHASE = st.fixed_dictionaries({"trainer": st.fixed_dictionaries({"init": INIT, "fit": TREES})})
CONFIGS = (
    st.dictionaries(KEYS | st.text(max_size=5), TREES, max_size=4)
    | PHASE
    | st.fixed_dictionaries({"trainer": st.lists(PHASE, max_size=3)}, optional={"slurm": TREES})
)

PIECES = ["-", ":", "&a ", "*a", "{", "}", "[", "]", "\n", "  ", "<<", "x", "trainer", "init",
          "!!int ", "? ", "'", '"', "#", "|", ","]  # fmt: skip


def try_config(directory: Path, text: str) -> None:
    path = directory / "trainer.yaml"
    path.write_text(text, errors="surrogatepass")
    context = SubmitContext(environ={}, cwd=directory, slurm=SlurmAccess(bin_dir="/usr/bin"))
    with contextlib.suppress(ConfigError, UsageError):
        for job in prepare(parse([str(path)], TABLE), TABLE, [], context).jobs:
            assert "\0" not in " ".join(job.arguments())
            assert job.script(preview_run_dir(job))
            assert yaml.safe_load(job.params)
    assert [entry.name for entry in directory.iterdir()] == ["trainer.yaml"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("odd")


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(CONFIGS)
def test_any_data(directory, config):
    try_config(directory, yaml.safe_dump(config, allow_unicode=True))


@settings(max_examples=200)
@given(st.text())
def test_any_text(directory, text):
    try_config(directory, text)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(PIECES)))
def test_anything_like_yaml(directory, parts):
    try_config(directory, "".join(parts))
