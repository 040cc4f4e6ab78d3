"""csx-sbatch: submit a training run that restarts by itself."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from slurm_restart import __version__
from slurm_restart.cli import common
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit import format_plan, submit
from slurm_restart.submit.argv import CommandLine, OptionTable, parse
from slurm_restart.submit.batch_script import find_script, is_script
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.limit_warnings import limit_warnings
from slurm_restart.submit.submission import Submission, slurm_access
from slurm_restart.trainer.run_plan import SlurmAccess
from slurm_restart.trainer.settings import combine
from slurm_restart.trainer.settings_files import SettingsLayer, read_settings_files

NAME = "csx-sbatch"
NO_SLURM = SlurmAccess(bin_dir="/usr/bin")
"""For a dry run on a machine without Slurm."""
_TIMEOUT = 150.0
"""Seconds; sbatch itself retries for up to 120 s while the controller is busy."""
_DRY_RUN_TIMEOUT = 10.0
"""Seconds: a dry run shows the plan without an answer, too."""
HELP = """\
Usage: csx-sbatch [options] JOB.sh [arguments]
       csx-sbatch [options] --wrap='COMMAND'
       csx-sbatch [options] TRAINER.yaml [-- options of the trainer]

Submits a batch script, a command, or the phases of a trainer config, as sbatch does. A job that
fails is restarted by itself, from its last checkpoint if it writes any, without the faulty nodes.

How to restart a batch script; the same options in its `#CSX` lines, beside `#SBATCH`:
  --max-restarts N  restarts in a row without progress (default 3)
  --checkpoint P    checkpoints that the program writes, such as 'ckpt/step-{step}.pt'; a restart
                    finds the newest in the variable CSX_RESTART_CHECKPOINT. Of a URL, such as
                    's3://bucket/step-{step}.pt', lines like 'saved URL' tell what is there
  --checkpoint-saved REGEX   other lines that tell it, with a group: 'put (?P<path>\\S+)'
  --checkpoint-format F   torch, hf, lightning, dcp, orbax, keras, npz or another: the names of
                    checkpoints, and how it is checked that they are complete
  --checkpoint-complete FILE   a file that exists once a checkpoint is, such as '{path}.done'
  --stop-signal S   signal that asks the program to save ahead of the time limit (default TERM)
  --progress REGEX             without checkpoints: the step in its output, such as 'step (\\d+)'
  --progress-file FILE         the same: a file that grows while the program gets on
  --progress-after TIME        the same: attempts longer than this have made progress (default 1h)
  --health-check COMMAND       run on every node before the program is started; or ready-made ones:
                               cpu,memory,disk,network,gpu
  --leave-drained true         leave a node that the site drains at the next checkpoint
  --min-nodes N     continue with as few nodes as this if necessary
  --run-dir DIR     where run directories are made (default csx-restart)
  --recovery requeue  restart through the queue only, never in the same allocation
  --spares N        allocate N more nodes, to take the place of one that fails
  --stop-on-repeat, --shrink-after, --give-up-after, --exclude-for, --node-search,
  --relaunch-min-time, --rules, --health-check-timeout, --health-check-when    see the reference

For a trainer config, in which `autorestart` says how to restart:
  --mode MODE       fit (the default), train_and_eval, validate or validate_all
  --num-csx N       CSX systems of a full-size attempt, instead of the config's
  --compile-prefetch off   do not compile smaller sizes ahead while the run executes

For both:
  --print, --dry-run   print what would be submitted on this cluster, and change nothing
  --test-only       ask `sbatch --test-only` for every job, and create nothing
  --json            print the result as JSON
  --parsable        print the job ids, one a line
  -Q, --quiet       print errors only, and what the options above ask for
  -h, --help        print this
  -V, --version     print the version

Options of sbatch are passed on, merged with what restarts need, or refused with the reason and an
alternative; docs/reference/sbatch-options.md lists them all. Defaults can be set in
~/.config/slurm_restart/user.toml and in /etc/slurm_restart/site.toml.

Examples:
  csx-sbatch job.sh
  csx-sbatch -N 4 -t 2-0 --max-restarts 5 job.sh --lr 0.1
  csx-sbatch --checkpoint 'ckpt/step-{step}.pt' --min-nodes 2 -N 4 job.sh
  csx-sbatch --print job.sh
  csx-sbatch -n 1 --wrap='./simulate input.dat'
  csx-sbatch -p csx trainer.yaml
  csx-sbatch --mode validate trainer.yaml
  csx-sbatch -d afterok:4711 trainer.yaml -- --disable_version_check

Exit codes: 0 submitted, 2 wrong usage, 3 a wrong config or settings file, 4 refused by Slurm,
75 no answer from Slurm.
"""


@frozen
class _OwnOptions:
    """The options that csx-sbatch handles itself."""

    dry_run: bool
    test_only: bool
    json: bool
    parsable: bool
    quiet: bool

    @classmethod
    def of(cls, line: CommandLine, submission: Submission) -> "_OwnOptions":
        """Return them; only --quiet may be given elsewhere than on the command line."""
        names = {given.option.name for given in line.options}
        return cls(
            dry_run=bool(names & {"dry-run", "print"}),
            test_only="test-only" in names,
            json="json" in names,
            parsable="parsable" in names,
            quiet=any("quiet" in job.options for job in submission.jobs),
        )


class _SbatchCommand(click.Command):
    """A command whose arguments are parsed as sbatch does, which differs from click."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["arguments"] = tuple(args)
        return []

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        return HELP.rstrip()


@click.command(cls=_SbatchCommand, add_help_option=False)
def command(arguments: Sequence[str]) -> None:
    """Submit a training run that restarts by itself."""
    files = read_settings_files(os.environ)
    table = OptionTable(combine(files.layers)[0].site_options)
    line = parse(arguments, table, _is_script)
    names = {given.option.name for given in line.options}
    if names & {"help", "usage"}:
        click.echo(HELP, nl=False)
        return
    if "version" in names:
        click.echo(f"{NAME} {__version__}")
        return
    access = slurm_access(os.environ)
    context = SubmitContext(
        environ=os.environ,
        cwd=Path.cwd(),
        slurm=access or NO_SLURM,
        site=files.site,
    )
    submission = _prepare(line, table, files.layers, context)
    own = _OwnOptions.of(line, submission)
    if not own.quiet:
        _report(submission)
    if access is None and not own.dry_run:
        raise SlurmError("sbatch: not found in PATH")
    _submit(submission, own, context.slurm)


def _is_script(word: str) -> bool:
    return is_script(find_script(word, os.environ))


def _prepare(
    line: CommandLine, table: OptionTable, layers: Sequence[SettingsLayer], context: SubmitContext
) -> Submission:
    """Prepare the submission of a batch script or a config. Imported here: each needs one half."""
    if line.is_script or not line.operands or line.given("wrap") is not None:
        from slurm_restart.submit import prepare_script  # noqa: PLC0415

        stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer
        script = prepare_script.script_of(line, context.environ, stdin)
        if script is not None:
            return prepare_script.prepare_script(script, line, table, layers, context)
    from slurm_restart.submit.prepare import prepare  # noqa: PLC0415

    return prepare(line, table, layers, context)


def _warn(*warnings: Iterable[str]) -> None:
    for warning in itertools.chain(*warnings):
        click.echo(f"{NAME}: warning: {warning}", err=True)


def _note(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(f"{NAME}: {note}", err=True)


def _print_error(line: str) -> None:
    """Print a line of sbatch's that it prints with --quiet too."""
    if line.startswith("sbatch: error:"):
        click.echo(line, err=True)


def _report(submission: Submission) -> None:
    _warn(submission.warnings)
    _note(submission.notes)


def _submit(submission: Submission, own: _OwnOptions, access: SlurmAccess) -> None:
    # Imported here: refused options need no Slurm.
    from slurm_restart.slurm.choose_backend import (  # noqa: PLC0415
        AUTO,
        BACKEND_VARIABLE,
        COMMANDS,
        choose_backend,
    )

    prefer = COMMANDS if own.dry_run else os.environ.get(BACKEND_VARIABLE) or AUTO
    choice = choose_backend(
        prefer,
        long_lived=False,
        bin_dir=access.bin_dir,
        timeout=_DRY_RUN_TIMEOUT if own.dry_run else _TIMEOUT,
        report=_print_error if own.quiet else lambda line: click.echo(line, err=True),
    )
    slurm = choice.slurm
    submission = _adapt(submission, slurm, own)
    if own.dry_run:
        # Bytes: a path may be undecodable in this locale.
        text = (
            f"{format_plan.plan_json(submission)}\n"
            if own.json
            else format_plan.plan_text(submission)
        )
        click.echo(os.fsencode(text), nl=False)
        return
    if own.test_only:
        answers = submit.test_phases(submission, slurm)
        if own.json:
            click.echo(format_plan.test_json(submission, answers))
        elif not own.parsable and not own.quiet:
            click.echo("\n".join(answers), err=True)
        return
    waits = submit.check_phases(submission, slurm)
    if not own.quiet:
        _warn(waits)
    done = submit.submit(submission, slurm, now=datetime.now, report=_job_reporter(own))
    if own.json:
        click.echo(format_plan.result_json(submission, done))
    if not own.quiet:
        _warn(limit_warnings(done, slurm))


def _adapt(submission: Submission, slurm: Slurm, own: _OwnOptions) -> Submission:
    """Return the submission as this cluster gets it, and say who requeues its jobs."""
    from slurm_restart.submit.find_requeuer import find_requeuer  # noqa: PLC0415
    from slurm_restart.submit.spares import fit_to_cluster  # noqa: PLC0415

    requeuer = find_requeuer(submission, slurm)
    adapted, unattended = fit_to_cluster(requeuer.submission, slurm)
    warnings = tuple(filter(None, [requeuer.warning, unattended]))
    notes = tuple(filter(None, [requeuer.note]))
    if not own.quiet:
        _warn(warnings)
        _note(notes)
    return replace(adapted, warnings=adapted.warnings + warnings, notes=adapted.notes + notes)


def _job_reporter(own: _OwnOptions) -> Callable[[submit.SubmittedPhase], Any]:
    if own.json:
        return lambda _: None
    if own.parsable:
        return lambda item: click.echo(item.job_id)
    if own.quiet:
        return lambda _: None
    return lambda item: click.echo(f"Submitted batch job {item.job_id}")


def _end(number: int, _frame: object) -> None:
    """Raise SystemExit, so that a partial submission is rolled back as it is at ^C."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run csx-sbatch and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup, a hang-up stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    common.run(command, NAME, sys.argv[1:])


if __name__ == "__main__":
    main()
