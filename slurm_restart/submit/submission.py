"""A planned submission: each job with its options, script and files."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from slurm_restart.core.job_comment import Mode
from slurm_restart.core.recovery import HookUse, Recovery
from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.interpreter import supervisor_command
from slurm_restart.submit.merge import JobFacts, sbatch_arguments
from slurm_restart.submit.render_script import render
from slurm_restart.trainer.run_plan import (
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.rundir import PARAMS, SCRIPT
from slurm_restart.trainer.settings import Settings
from slurm_restart.trainer.settings_files import SiteFacts

CONFIG_JOB, SCRIPT_JOB = "job.sh", "supervisor.sh"
"""Names of the batch script that sbatch gets, in the run directory of a config and of a script."""


@frozen
class PhaseJob:
    """One phase: the job and the content of its run directory."""

    plan: RunPlan
    can_shrink: bool
    """Whether a restart may have fewer nodes."""
    name: str
    """The job's name if none is given."""
    options: Mapping[str, GivenOption]
    setup: tuple[str, ...]
    rules: tuple[Path, ...]
    """Files of rules over log lines, highest precedence first; they are copied."""
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str | None = None
    """The text of the config file if it has one phase only; None: `config` is written."""
    outlives_nodes: bool = True
    """Whether the job may be submitted so that it outlives the loss of a node: this cluster has
    what ends it if that is its batch host."""
    user_script: bytes | None = None
    """The batch script that the job runs; None: the job runs a config."""

    @property
    def is_script(self) -> bool:
        """Whether the job runs a batch script of the user's."""
        return self.plan.mode is Mode.SCRIPT

    @property
    def params(self) -> str:
        """Text of params.yaml."""
        if self.config_text is not None:
            return self.config_text
        from slurm_restart.trainer.config import dump  # noqa: PLC0415 - a script needs no YAML

        return dump(self.config)

    @property
    def input_file(self) -> tuple[str, bytes, int]:
        """Name, content and mode of the file in the run directory that the trainer is given."""
        if self.user_script is not None:
            return SCRIPT, self.user_script, 0o755
        return PARAMS, os.fsencode(self.params), 0o644

    @property
    def batch_script(self) -> str:
        """Name of the script in the run directory that sbatch gets."""
        return SCRIPT_JOB if self.is_script else CONFIG_JOB

    def facts(self, after: str | None = None) -> JobFacts:
        """Return the facts for merging options; `after`: job id of the phase before."""
        return JobFacts(
            nodes=None if self.plan.fixed_size else self.plan.num_nodes,
            can_shrink=self.can_shrink,
            spares=self.plan.spares,
            keeps_allocation=self.plan.keeps_allocation and self.outlives_nodes,
            comment_record=self.plan.comment_record,
            name=self.name,
            first=self.plan.phase == 0,
            after=after,
            script=self.is_script,
            requeues=self.plan.policy is None or self.plan.policy.recovery.requeues,
            requeues_itself=self.plan.requeues_itself,
        )

    def arguments(self, after: str | None = None) -> tuple[str, ...]:
        """Return the arguments for sbatch; they have been checked."""
        return sbatch_arguments(self.options, self.facts(after))[0]

    def script(self, run_dir: Path) -> str:
        """Return the batch script for a run directory.

        Raises:
            TemplateError: as `render`.
        """
        command = supervisor_command(str(run_dir), array=self.plan.array is not None)
        return render(supervisor=command, setup=self.setup, keep_shell=self.plan.requeues_itself)


@frozen
class Submission:
    """All phases in order. Warnings and notes are whole lines for the user."""

    jobs: tuple[PhaseJob, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hook: HookUse = HookUse.AUTO
    observes: bool | None = False
    """Whether the site is in observe mode; None: not known on this host."""

    @property
    def may_requeue(self) -> bool:
        """Whether a job of it may be requeued after a failure."""
        policies = [job.plan.policy for job in self.jobs]
        return any(policy is not None and policy.recovery.requeues for policy in policies)

    def requeued_by_supervisor(self) -> "Submission":
        """Return the same jobs, requeued by their supervisors."""
        return replace(self, jobs=tuple(map(_requeued_by_supervisor, self.jobs)))


def _requeued_by_supervisor(job: PhaseJob) -> PhaseJob:
    policy = job.plan.policy
    if policy is None:
        return job
    return replace(job, plan=replace(job.plan, policy=replace(policy, self_requeue=True)))


def restart_policy(settings: Settings, max_restarts: int, *, site: SiteFacts) -> RestartPolicy:
    """Return the policy that the settings give a run.

    Args:
        settings: the run's.
        max_restarts: in a row without progress.
        site: the site's; in observe mode nothing restarts by default.
    """
    waits = site.observes and settings.hook is not HookUse.NO
    return RestartPolicy(
        max_restarts=max_restarts,
        stop_on_repeat=settings.stop_on_repeat,
        shrink_after=settings.shrink_after,
        give_up_after=settings.give_up_after,
        exclude_for=settings.exclude_for,
        node_search=settings.node_search is not False,
        recovery=settings.recovery or (Recovery.REQUEUE if waits else Recovery.AUTO),
        relaunch_min_time=settings.relaunch_min_time,
        self_requeue=settings.hook is HookUse.NO,
        backoff=settings.backoff,
        max_total_restarts=site.max_total_restarts,
        max_uncounted_restarts=site.max_uncounted_restarts,
    )


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
