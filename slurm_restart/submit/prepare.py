"""From a command line to a submission: everything is read, checked and told at once."""

import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slurm_restart.core.job_comment import MAX_NODES, Mode
from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.logs.rules import read_file
from slurm_restart.submit.argv import CommandLine, from_environment, from_settings, layered
from slurm_restart.submit.directories import directory_problem
from slurm_restart.submit.job_plan import SubmissionRequest, SubmitContext, plan_job, value_of
from slurm_restart.submit.merge import sbatch_arguments
from slurm_restart.submit.notices import notes, warnings
from slurm_restart.submit.options import OptionTable
from slurm_restart.submit.render_script import syntax_problem
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.trainer import yaml_lines
from slurm_restart.trainer.phases import Phase, read_phases
from slurm_restart.trainer.settings import Settings, combine
from slurm_restart.trainer.settings_files import SettingsLayer, config_layer

_OUTSIDE_FILES = ("-", "SBATCH_", "SLURM_")
"""How the names of options and variables begin; of a file, the problem starts with its path."""
_SHORTEST_BEGINNING = len("--num_")
# Options of the default trainer that would undo what every attempt is given. argparse takes any
# beginning of a name that is nobody else's.
_OVERRIDES: dict[str, str] = {
    "--checkpoint_path": "it would load the same checkpoint again in every attempt: set "
    "trainer.fit.ckpt_path in the config",
    "--load_checkpoint_states": "a restart would lose its step and its optimizer: use the callback "
    "LoadCheckpointStates in the config, which restarts leave out",
    "--num_csx": "each attempt is told how many systems it has: use csx-sbatch --num-csx",
    "--model_dir": "csx-sbatch has to know it: set trainer.init.model_dir in the config",
}


def prepare(
    line: CommandLine, table: OptionTable, files: Sequence[SettingsLayer], context: SubmitContext
) -> Submission:
    """Check a submission and plan its jobs. Nothing is created.

    Raises:
        ConfigError: problems in a file (and perhaps in options too), all of them.
        UsageError: problems with the command line or with variables only, all of them.
    """
    mode, num_csx, problems = _own_values(line)
    path = _config_path(line)
    document = yaml_lines.read(path)
    block = config_layer(document)
    settings, file_problems = combine([*files, *([] if block is None else [block])])
    phases, phase_problems = read_phases(document, mode, section_required=settings.command is None)
    file_problems += phase_problems
    from_files, option_problems = from_settings(settings.sbatch, table)
    uses = layered([from_files, from_environment(context.environ, table), line.uses])
    order = SubmissionRequest(
        document=document,
        mode=mode,
        settings=settings,
        uses=uses,
        num_csx=num_csx,
        arguments=line.trainer_arguments,
        work_dir=context.cwd / (value_of(uses, "chdir") or "."),
        run=secrets.token_hex(8),
        phases=len(phases),
    )
    jobs = tuple(plan_job(order, phase, context) for phase in phases)
    file_problems += option_problems + _setup_problems(settings)
    file_problems += _rules_problems(settings, order.rule_files)
    for phase, job in zip(phases, jobs, strict=True):
        file_problems += _phase_problems(order, phase, job)
        problems += sbatch_arguments(uses, job.facts())[1]
    problems += _argument_problems(order)
    _raise(str(path), file_problems, problems)
    return Submission(
        jobs=jobs,
        warnings=tuple(() if mode.is_evaluation else warnings(order, phases)),
        notes=tuple(notes(jobs)),
    )


def _raise(path: str, file_problems: Sequence[str], problems: Sequence[str]) -> None:
    """Raise where there are problems: one error with all of them, each once."""
    in_files = file_problems or not all(problem.startswith(_OUTSIDE_FILES) for problem in problems)
    every = sorted(dict.fromkeys([*file_problems, *problems]), key=_line(path))
    if in_files:
        raise ConfigError(path, every)
    if every:
        raise UsageError("\n".join(every))


def _line(path: str) -> Callable[[str], int]:
    """Sorts the problems of the config by their line, and leaves the others behind them."""
    form = re.compile(rf"{re.escape(path)}:(\d+):")

    def line(problem: str) -> int:
        match = form.match(problem)
        return int(match[1]) if match else sys.maxsize

    return line


def _own_values(line: CommandLine) -> tuple[Mode, int | None, list[str]]:
    problems: list[str] = []
    given = {use.option.name: use.value or "" for use in line.uses}
    mode, num_csx = Mode.FIT, None
    if "mode" in given:
        try:
            mode = Mode(given["mode"])
        except ValueError:
            names = ", ".join(member.value for member in Mode)
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
            f"expected one trainer config, got {got} (options of the trainer go behind --)"
        )
    return Path(line.operands[0])


def _phase_problems(order: SubmissionRequest, phase: Phase, job: PhaseJob) -> list[str]:
    document, size = order.document, job.size
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
    """What is wrong with the run's own rules, each with its place in their file."""
    problems = [problem for path in files for problem in read_file(path)[1]]
    return [f"{settings.rules_origin}: {problem}" for problem in problems]


def _argument_problems(order: SubmissionRequest) -> list[str]:
    """Trainer options that would undo what an attempt is given, for the default trainer."""
    if order.settings.command is not None:
        return []
    problems = []
    for word in order.arguments:
        name = word.split("=", maxsplit=1)[0]
        for option, reason in _OVERRIDES.items():
            beginning = len(name) >= _SHORTEST_BEGINNING and option.startswith(name)
            if beginning or (name == "-o" and option == "--model_dir"):
                problems.append(f"{name} (trainer option): refused: {reason}")
    return problems
