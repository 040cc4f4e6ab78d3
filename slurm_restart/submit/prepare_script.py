"""Turn a command line with a batch script into a submission; all problems are reported at once."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import IO

from slurm_restart.core.recovery import HookUse
from slurm_restart.errors import UsageError
from slurm_restart.submit.argv import (
    CommandLine,
    GivenOption,
    OptionTable,
    from_environment,
    from_settings,
    layered,
    parse,
    value_of,
)
from slurm_restart.submit.array_checkpoints import array_problems
from slurm_restart.submit.batch_script import (
    MAX_BYTES,
    STDIN,
    BatchScript,
    Directive,
    find_script,
    parse_script,
    read_script,
    wrapped_script,
)
from slurm_restart.submit.compile_prefetch import compile_problems
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.directories import directory_problem
from slurm_restart.submit.merge import sbatch_arguments
from slurm_restart.submit.notices import observe_warnings, pattern_warnings
from slurm_restart.submit.option import OptionHandling
from slurm_restart.submit.problems import raise_problems, rules_problems
from slurm_restart.submit.progress import progress_problems
from slurm_restart.submit.remote import remote_notes, remote_problems
from slurm_restart.submit.restart_options import restart_layer
from slurm_restart.submit.script_notices import script_notes, script_warnings
from slurm_restart.submit.script_plan import ScriptRequest, plan_script, script_checkpoints
from slurm_restart.submit.script_size import script_size
from slurm_restart.submit.spares import spares_problems
from slurm_restart.submit.submission import Submission
from slurm_restart.submit.watchdog import watchdog_problems
from slurm_restart.trainer.settings import combine
from slurm_restart.trainer.settings_files import SettingsLayer

_CONFIG_ONLY = ("mode", "num-csx")
_HETEROGENEOUS = ("hetjob", "packjob")


def script_of(
    line: CommandLine, environ: Mapping[str, str], stdin: IO[bytes] | None
) -> BatchScript | None:
    """Return the batch script of a command line; None: it has a config, or nothing.

    Args:
        line: the command line.
        environ: PATH in it is searched for the script.
        stdin: read where there is neither a script nor --wrap, as sbatch does; None: a terminal.

    Raises:
        UsageError, ConfigError: the script cannot be read, or sbatch would refuse it.
    """
    command = line.given("wrap")
    if command is not None:
        if line.operands or line.arguments:
            word = (*line.operands, *line.arguments)[0]
            raise UsageError(f"--wrap: expected no script and no arguments beside it, got {word!r}")
        if not command.strip() or "\0" in command:
            raise UsageError(f"--wrap: expected a command, got {command!r}")
        return wrapped_script(command)
    if line.is_script:
        return read_script(find_script(line.operands[0], environ))
    if not line.operands and stdin is not None and (data := stdin.read(MAX_BYTES)):
        return parse_script(data, STDIN)
    return None


def prepare_script(
    script: BatchScript,
    line: CommandLine,
    table: OptionTable,
    files: Sequence[SettingsLayer],
    context: SubmitContext,
) -> Submission:
    """Check the submission of a batch script and plan its job. Nothing is created.

    Raises:
        ConfigError: all problems, if one of them is in a file.
        UsageError: all problems, if they are in the command line and in variables only.
    """
    problems = [
        f"--{name}: refused with a batch script: it belongs to a trainer config"
        for name in _CONFIG_ONLY
        if line.given(name) is not None
    ]
    own = _directives(script, script.sbatch, "#SBATCH", table, problems)
    restart = _directives(script, script.restart, "#CSX", table, problems)
    layers = [*files, restart_layer(restart), restart_layer(line.options)]
    settings, setting_problems = combine(layers)
    from_files, option_problems = from_settings(settings.sbatch, table)
    problems += setting_problems + option_problems
    environment = from_environment(context.environ, table)
    options = layered([from_files, own, environment, line.options])
    size, size_problems = script_size(options, settings)
    work_dir = context.cwd / (value_of(options, "chdir") or ".")
    checkpoint, checkpoint_problems = script_checkpoints(settings, work_dir)
    if setting_problems:
        checkpoint_problems = []  # a pattern that was refused is missing here
    request = ScriptRequest(
        script=script,
        arguments=line.arguments,
        settings=settings,
        options=options,
        size=size,
        checkpoint=checkpoint,
        work_dir=work_dir,
        run=secrets.token_hex(8),
    )
    job = plan_script(request, context)
    problems += size_problems + checkpoint_problems + rules_problems(settings, request.rule_files)
    problems += progress_problems(settings) + watchdog_problems(settings)
    problems += spares_problems(settings, (job,)) + compile_problems(settings, (job,))
    problems += remote_problems(settings, job.plan) + array_problems(settings, job.plan)
    problems += sbatch_arguments(options, job.facts())[1]
    if (problem := directory_problem(request.run_dirs)) is not None:
        problems.append(f"{settings.origins.get('script_run_dir', '--run-dir')}: {problem}")
    raise_problems(script.path, problems)
    return Submission(
        jobs=(job,),
        warnings=(
            *script_warnings(request, job.plan),
            *pattern_warnings(job),
            *observe_warnings((job,), observes=context.observes),
        ),
        notes=(
            *script_notes(request, job, observes=context.observes),
            *remote_notes(job.plan),
        ),
        hook=settings.hook or HookUse.AUTO,
        observes=context.observes,
    )


def _directives(
    script: BatchScript,
    directives: Sequence[Directive],
    mark: str,
    table: OptionTable,
    problems: list[str],
) -> list[GivenOption]:
    """Return the options of the `#SBATCH` or the `#CSX` lines; add what is wrong with them."""
    found: list[GivenOption] = []
    for directive in directives:
        place = f"{script.path}:{directive.line}"
        try:
            line = parse(directive.words, table)
        except UsageError as error:
            problems.append(f"{place}: {mark}: {error}")
            continue
        if line.operands or line.arguments or "--" in directive.words:
            word = (*line.operands, "--")[0]
            expected = "options only"
            if word.lower() in _HETEROGENEOUS:
                expected = "one job, as heterogeneous ones cannot be restarted yet"
            problems.append(f"{place}: {mark}: expected {expected}, got {word!r}")
        for given in line.options:
            name, restart = given.option.name, given.option.handling is OptionHandling.RESTART
            if restart is (mark == "#SBATCH"):
                other = "#CSX" if restart else "#SBATCH"
                problems.append(f"{place}: {mark}: expected --{name} in a line with {other}")
            else:
                found.append(replace(given, origin=f"{place}: {given.origin}"))
    return found
