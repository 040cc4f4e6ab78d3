from datetime import datetime
from pathlib import Path

import pytest

from slurm_restart.submit.argv import OptionTable, parse
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.prepare import prepare
from slurm_restart.trainer.run_plan import SlurmAccess
from slurm_restart.trainer.settings_files import SiteFacts

CONFIG = """\
trainer:
  init:
    model: {name: gpt2}
    backend: {backend_type: CSX, cluster_config: {num_csx: 4}}
    model_dir: out
    checkpoint: {steps: 10}
    loop: {max_steps: 100}
    autorestart: {max_num_restarts: 3, min_num_csx: 2}
  fit: {train_dataloader: {}}
  validate: {val_dataloader: {}}
"""
TWO_PHASES = """\
trainer:
- trainer: &phase
    init:
      model: {name: gpt2}
      model_dir: out
      checkpoint: {steps: 10}
      autorestart: {max_num_restarts: 3}
    fit: {train_dataloader: {}}
- trainer: *phase
"""
NOW = datetime(2026, 11, 25, 2, 30, 0, 123456)  # noqa: DTZ001 - run directories bear local time


ACTS = SiteFacts(observes=False)


@pytest.fixture
def submission(tmp_path):
    """Prepare a submission in an empty directory: `submission("-p", "gpu", config=…, env=…)`."""

    def make(*arguments, config=CONFIG, env=None, site_options=(), files=(), site=ACTS):
        path = tmp_path / "trainer.yaml"
        path.write_text(config)
        table = OptionTable(site_options)
        context = SubmitContext(
            environ=env or {},
            cwd=Path(tmp_path),
            slurm=SlurmAccess(bin_dir="/usr/bin"),
            site=site,
        )
        line = parse(["trainer.yaml", *arguments], table)
        # The path as a user gives it, relative to the current directory.
        return prepare(line, table, files, context)

    return make


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
