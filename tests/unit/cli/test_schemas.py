"""What commands print with --json is as the published schemas say."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contrib.json_schemas import names, text_of
from slurm_restart.cli import explain, log, nodes, status
from slurm_restart.cli import list as list_module
from slurm_restart.cli.restart import group
from slurm_restart.control.reconcile import Sweep
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from tests.unit.cli.test_any_input import make_run_dir
from tests.unit.cli.test_list import public  # noqa: F401 - a fixture

jsonschema = pytest.importorskip("jsonschema", reason="contrib/test makes the environment anew")
SCHEMAS = Path(__file__).parents[3] / "docs" / "reference" / "schemas"


def check(name: str, text: str) -> None:
    """Check one document; an array without items would show nothing."""
    data = json.loads(text)
    assert data
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema)


def output(command, *args: str) -> str:
    done = CliRunner().invoke(command, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", names())
def test_the_published_schemas_are_those_of_the_code(name):
    assert (SCHEMAS / f"{name}.json").read_text() == text_of(name)


def json_commands(command: click.Command, path: tuple[str, ...] = ()) -> list[str]:
    """Return the names of the commands with the option --json."""
    found = ["-".join(path)] if any(each.name == "as_json" for each in command.params) else []
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found += json_commands(inner, (*path, name))
    return found


def test_every_command_with_json_has_a_schema():
    commands = json_commands(group)
    assert {"list", "rules-list", "classify"} <= set(commands)
    assert not set(commands) - set(names())
    assert "csx-sbatch" in names()


@pytest.mark.parametrize(("name", "command"), [("list", list_module), ("nodes", nodes)])
def test_lists(public, name, command):  # noqa: F811 - the fixture
    check(name, output(command.command, "--all", "--json", "--site", str(public)))


def test_one_run(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise SlurmUnavailableError("no answer")

    for name in ("job", "jobs", "script"):
        monkeypatch.setattr(Commands, name, refuse)
    run = make_run_dir(tmp_path / "run")
    run.attempts()[0].output.write_text("step 1\n")
    check("status", output(status.command, str(run.path), "--json"))
    check("explain", output(explain.command, str(run.path), "--json"))
    check("log", output(log.command, str(run.path), "--json").splitlines()[0])


def test_a_sweep():
    check("reconcile", json.dumps(asdict(Sweep(managed=3))))


@pytest.mark.parametrize(
    "wrong", [[{"job_id": 1}], [{"job_id": "1"}], {"job_id": 1}, [None], ["text"]]
)
def test_a_schema_refuses_another_form(wrong):
    schema = json.loads(text_of("list"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
