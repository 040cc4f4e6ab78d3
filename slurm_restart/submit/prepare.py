"""Turn a command line with a config into a submission; all problems are reported at once."""

import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurm_restart.core.checkpoint_url import is_url
from slurm_restart.core.job_comment import MAX_NODES, Mode
from slurm_restart.core.recovery import HookUse
from slurm_restart.errors import UsageError
from slurm_restart.safe_files import open_binary
from slurm_restart.submit.argv import (
    CommandLine,
    OptionTable,
    from_environment,
    from_settings,
    layered,
    value_of,
)
from slurm_restart.submit.compile_prefetch import compile_problems, compile_warnings
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.directories import directory_problem
from slurm_restart.submit.health import health_warnings
from slurm_restart.submit.job_plan import SubmissionRequest, plan_job
from slurm_restart.submit.merge import sbatch_arguments
from slurm_restart.submit.notices import (
    notes,
    observe_warnings,
    pattern_warnings,
    warnings,
)
from slurm_restart.submit.problems import raise_problems, rules_problems
from slurm_restart.submit.progress import progress_problems, progress_warnings
from slurm_restart.submit.remote import remote_notes, remote_problems
from slurm_restart.submit.render_script import syntax_problem
from slurm_restart.submit.restart_options import SCRIPT_ONLY, restart_layer
from slurm_restart.submit.spares import spares_problems
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.submit.watchdog import watchdog_problems
from slurm_restart.trainer import yaml_lines
from slurm_restart.trainer.phases import Phase, read_phases
from slurm_restart.trainer.settings import Settings, combine
from slurm_restart.trainer.settings_files import SettingsLayer, config_layer

_CONFIG_MODES = tuple(mode for mode in Mode if mode is not Mode.SCRIPT)
EXPECTED = "a batch script (its first two bytes are #!) or a trainer config (YAML)"
_CONFIG_SUFFIXES = (".yaml", ".yml")
_CONFIG_KEY = re.compile(rb"""^\s*[{]?\s*['"]?(trainer|slurm|runconfig)['"]?\s*:""", re.MULTILINE)
_HEAD_BYTES = 1 << 20
_SHORTEST_BEGINNING = len("--num_")
# Options of the default trainer that would override what every attempt is given. argparse accepts
# any unambiguous beginning of a name.
_OVERRIDES: dict[str, str] = {
    "--checkpoint_path": "it would load the same checkpoint again in every attempt: set "
    "trainer.fit.ckpt_path in the config",
    "--load_checkpoint_states": "a restart would lose its step and its optimizer: use the callback "
    "LoadCheckpointStates in the config, which restarts leave out",
    "--num_csx": "each attempt gets its own number of systems: use csx-sbatch --num-csx",
    "--model_dir": "csx-sbatch needs it: set trainer.init.model_dir in the config",
}


def prepare(
    line: CommandLine, table: OptionTable, files: Sequence[SettingsLayer], context: SubmitContext
) -> Submission:
    """Check a submission and plan its jobs. Nothing is created.

    Raises:
        ConfigError: all problems, if one of them is in a file.
        UsageError: all problems, if they are in the command line and in variables only.
    """
    mode, num_csx, problems = _own_values(line)
    path = _config_path(line)
    document = yaml_lines.read(path)
    block = config_layer(document)
    own = restart_layer(line.options, context.cwd)
    settings, setting_problems = combine([*files, *([] if block is None else [block]), own])
    phases, phase_problems = read_phases(document, mode, section_required=settings.command is None)
    problems += setting_problems + phase_problems
    from_files, option_problems = from_settings(settings.sbatch, table)
    options = layered([from_files, from_environment(context.environ, table), line.options])
    request = SubmissionRequest(
        document=document,
        mode=mode,
        settings=settings,
        options=options,
        num_csx=num_csx,
        arguments=line.arguments,
        work_dir=context.cwd / (value_of(options, "chdir") or "."),
        run=secrets.token_hex(8),
        phases=len(phases),
    )
    jobs = tuple(plan_job(request, phase, context) for phase in phases)
    problems += option_problems + _setup_problems(settings)
    problems += rules_problems(settings, request.rule_files)
    problems += progress_problems(settings) + watchdog_problems(settings)
    problems += spares_problems(settings, jobs) + compile_problems(settings, jobs)
    for phase, job in zip(phases, jobs, strict=True):
        problems += _phase_problems(request, phase, job)
        problems += remote_problems(settings, job.plan)
        problems += sbatch_arguments(options, job.facts())[1]
    problems += _argument_problems(request)
    raise_problems(str(path), problems)
    return Submission(
        jobs=jobs,
        warnings=(
            *(() if mode.is_evaluation else _training_warnings(request, phases, jobs[0])),
            *compile_warnings(jobs[0].plan, phases[0], settings),
            *observe_warnings(jobs, observes=context.observes),
        ),
        notes=(*notes(jobs, observes=context.observes), *remote_notes(jobs[0].plan)),
        hook=settings.hook or HookUse.AUTO,
        observes=context.observes,
    )


def _training_warnings(
    request: SubmissionRequest, phases: Sequence[Phase], first: PhaseJob
) -> Iterator[str]:
    yield from warnings(request, phases)
    yield from pattern_warnings(first)
    yield from progress_warnings(first.plan, request.settings)
    yield from health_warnings(first.plan, request.settings)


def _own_values(line: CommandLine) -> tuple[Mode, int | None, list[str]]:
    problems: list[str] = []
    given = {given.option.name: given.value or "" for given in line.options}
    mode, num_csx = Mode.FIT, None
    if "mode" in given:
        named = next((known for known in _CONFIG_MODES if known.value == given["mode"]), None)
        mode = named or mode
        if named is None:
            names = ", ".join(known.value for known in _CONFIG_MODES)
            problems.append(f"--mode: expected one of {names}, got {given['mode']!r}")
    if (text := given.get("num-csx")) is not None:
        if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and 1 <= int(text) <= MAX_NODES:
            num_csx = int(text)
        else:
            problems.append(f"--num-csx: expected a whole number from 1, got {text!r}")
    problems += [
        f"--{name}: refused with a config: set {key} in it"
        for name, key in SCRIPT_ONLY.items()
        if name in given
    ]
    return mode, num_csx, problems


def _config_path(line: CommandLine) -> Path:
    if not line.operands:
        raise UsageError(f"expected {EXPECTED}, got nothing")
    path = Path(line.operands[0])
    _refuse_other_files(path)
    if len(line.operands) > 1:
        words = " ".join(map(repr, line.operands))
        raise UsageError(
            f"expected one trainer config, got {words} (put options of the trainer after --)"
        )
    return path


def _refuse_other_files(path: Path) -> None:
    """Refuse a file that is neither a batch script nor meant as a trainer config.

    Raises:
        UsageError: what is expected.
    """
    if path.suffix.lower() in _CONFIG_SUFFIXES:
        return  # what is wrong in it is said with its line
    try:
        with open_binary(path) as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        got = (error.strerror or str(error)).removeprefix("expected a regular file, got ")
    else:
        if _CONFIG_KEY.search(head):
            return
        got = "an empty file" if not head else "data that is no text" if b"\0" in head else "a text"
        if got == "a text":
            got = "a text that is neither: a script begins with #!, such as #!/bin/bash"
    raise UsageError(f"{path}: expected {EXPECTED}, got {got}")


def _phase_problems(request: SubmissionRequest, phase: Phase, job: PhaseJob) -> list[str]:
    document, num_csx = request.document, job.plan.num_csx
    problems = []
    least = phase.autorestart.min_num_csx if phase.autorestart is not None else 1
    if least > num_csx:
        message = f"expected a whole number from 1 to num_csx ({num_csx}), got {least}"
        problems.append(document.problem((*phase.keys, "autorestart", "min_num_csx"), message))
    for keys, path in (
        ((*phase.keys, "model_dir"), job.plan.model_dir),
        ((*phase.keys, "checkpoint", "checkpoint_root"), job.plan.checkpoint.directory),
    ):
        if is_url(path):
            continue
        if (problem := directory_problem(Path(path))) is not None:
            problems.append(document.problem(keys, problem))
            break
    return problems


def _setup_problems(settings: Settings) -> list[str]:
    if not settings.setup:
        return []
    problem = syntax_problem(settings.setup)
    return (
        []
        if problem is None
        else [f"{settings.origins['setup']}: expected lines of shell, got {problem}"]
    )


def _argument_problems(request: SubmissionRequest) -> list[str]:
    """Return a problem for each trainer option that would override what an attempt is given."""
    if request.settings.command is not None:
        return []
    problems = []
    for word in request.arguments:
        name = word.split("=", maxsplit=1)[0]
        for option, reason in _OVERRIDES.items():
            beginning = len(name) >= _SHORTEST_BEGINNING and option.startswith(name)
            if beginning or (name == "-o" and option == "--model_dir"):
                problems.append(f"{name} (trainer option): refused: {reason}")
    return problems
