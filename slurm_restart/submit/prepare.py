"""Turn a command line into a submission: read and check all, and report all problems at once."""

import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slurm_restart.core.job_comment import MAX_NODES, Mode
from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.argv import (
    CommandLine,
    OptionTable,
    from_environment,
    from_settings,
    layered,
)
from slurm_restart.submit.directories import directory_problem
from slurm_restart.submit.job_plan import SubmissionRequest, SubmitContext, plan_job, value_of
from slurm_restart.submit.merge import sbatch_arguments
from slurm_restart.submit.notices import notes, warnings
from slurm_restart.submit.render_script import syntax_problem
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.trainer import yaml_lines
from slurm_restart.trainer.phases import Phase, read_phases
from slurm_restart.trainer.settings import Settings, combine
from slurm_restart.trainer.settings_files import SettingsLayer, config_layer

_OUTSIDE_FILES = ("-", "SBATCH_", "SLURM_")
"""Beginnings of problems with options and variables; those with a file begin with its path."""
_CONFIG_MODES = tuple(mode for mode in Mode if mode is not Mode.SCRIPT)
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
    settings, file_problems = combine([*files, *([] if block is None else [block])])
    phases, phase_problems = read_phases(document, mode, section_required=settings.command is None)
    file_problems += phase_problems
    from_files, option_problems = from_settings(settings.sbatch, table)
    options = layered([from_files, from_environment(context.environ, table), line.options])
    request = SubmissionRequest(
        document=document,
        mode=mode,
        settings=settings,
        options=options,
        num_csx=num_csx,
        arguments=line.trainer_arguments,
        work_dir=context.cwd / (value_of(options, "chdir") or "."),
        run=secrets.token_hex(8),
        phases=len(phases),
    )
    jobs = tuple(plan_job(request, phase, context) for phase in phases)
    file_problems += option_problems + _setup_problems(settings)
    file_problems += _rules_problems(settings, request.rule_files)
    for phase, job in zip(phases, jobs, strict=True):
        file_problems += _phase_problems(request, phase, job)
        problems += sbatch_arguments(options, job.facts())[1]
    problems += _argument_problems(request)
    _raise(str(path), file_problems, problems)
    return Submission(
        jobs=jobs,
        warnings=tuple(() if mode.is_evaluation else warnings(request, phases)),
        notes=tuple(notes(jobs)),
    )


def _raise(path: str, file_problems: Sequence[str], problems: Sequence[str]) -> None:
    """Raise one error with all problems, without duplicates, if there are any."""
    in_files = file_problems or not all(problem.startswith(_OUTSIDE_FILES) for problem in problems)
    every = sorted(dict.fromkeys([*file_problems, *problems]), key=_line(path))
    if in_files:
        raise ConfigError(path, every)
    if every:
        raise UsageError("\n".join(every))


def _line(path: str) -> Callable[[str], int]:
    """Return a sort key: problems of the config by their line, then all others."""
    form = re.compile(rf"{re.escape(path)}:(\d+):")

    def line(problem: str) -> int:
        match = form.match(problem)
        return int(match[1]) if match else sys.maxsize

    return line


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
    return mode, num_csx, problems


def _config_path(line: CommandLine) -> Path:
    if len(line.operands) != 1:
        got = "nothing" if not line.operands else " ".join(map(repr, line.operands))
        raise UsageError(
            f"expected one trainer config, got {got} (put options of the trainer after --)"
        )
    return Path(line.operands[0])


def _phase_problems(request: SubmissionRequest, phase: Phase, job: PhaseJob) -> list[str]:
    document, size = request.document, job.size
    problems = []
    least = phase.autorestart.min_num_csx if phase.autorestart is not None else 1
    if least > size.num_csx:
        message = f"expected a whole number from 1 to num_csx ({size.num_csx}), got {least}"
        problems.append(document.problem((*phase.keys, "autorestart", "min_num_csx"), message))
    for keys, path in (
        ((*phase.keys, "model_dir"), job.plan.model_dir),
        ((*phase.keys, "checkpoint", "checkpoint_root"), job.plan.checkpoint.directory),
    ):
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
        else [f"{settings.setup_origin}: expected lines of shell, got {problem}"]
    )


def _rules_problems(settings: Settings, files: Sequence[Path]) -> list[str]:
    """Return the problems in the run's own rules, each with its place in the file."""
    if not files:
        return []
    from slurm_restart.logs.rules import read_file  # noqa: PLC0415 - slow to import, rarely needed

    problems = [problem for path in files for problem in read_file(path)[1]]
    return [f"{settings.rules_origin}: {problem}" for problem in problems]


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
