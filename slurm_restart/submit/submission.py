"""A planned submission: each job with its options, script and files."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.interpreter import supervisor_command
from slurm_restart.submit.merge import JobFacts, sbatch_arguments
from slurm_restart.submit.render_script import render
from slurm_restart.submit.size import JobSize
from slurm_restart.trainer.config import dump
from slurm_restart.trainer.run_plan import RunPlan, SlurmAccess


@dataclass(frozen=True, kw_only=True)
class PhaseJob:
    """One phase: the job and the content of its run directory."""

    plan: RunPlan
    size: JobSize
    name: str
    """The job's name if none is given."""
    options: Mapping[str, GivenOption]
    setup: tuple[str, ...]
    rules: tuple[Path, ...]
    """Files of rules over log lines, highest precedence first; they are copied."""
    config: Mapping[str, Any]
    config_text: str | None
    """The text of the config file if it has one phase only; None: `config` is written."""

    @property
    def params(self) -> str:
        """Text of params.yaml."""
        return dump(self.config) if self.config_text is None else self.config_text

    def facts(self, after: str | None = None) -> JobFacts:
        """Return the facts for merging options; `after`: job id of the phase before."""
        return JobFacts(
            nodes=self.plan.num_nodes,
            can_shrink=self.size.can_shrink,
            comment_record=self.plan.comment_record,
            name=self.name,
            first=self.plan.phase == 0,
            after=after,
        )

    def arguments(self, after: str | None = None) -> tuple[str, ...]:
        """Return the arguments for sbatch; they have been checked."""
        return sbatch_arguments(self.options, self.facts(after))[0]

    def script(self, run_dir: Path) -> str:
        """Return the batch script for a run directory.

        Raises:
            TemplateError: as `render`.
        """
        return render(supervisor=supervisor_command(str(run_dir)), setup=self.setup)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """All phases in order. Warnings and notes are whole lines for the user."""

    jobs: tuple[PhaseJob, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def slurm_access(environ: Mapping[str, str]) -> SlurmAccess | None:
    """Return where Slurm's commands are; None: no sbatch in PATH."""
    sbatch = shutil.which("sbatch", path=environ.get("PATH"))
    if sbatch is None:
        return None
    conf = environ.get("SLURM_CONF")
    return SlurmAccess(
        bin_dir=str(Path(sbatch).absolute().parent),
        conf=str(Path(conf).absolute()) if conf else None,
    )
