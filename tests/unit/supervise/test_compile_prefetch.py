"""Whole supervisors that compile smaller sizes ahead, with a stand-in for `cszoo fit`."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from slurm_restart.supervise.compile_worker import BoundedLog

from .conftest import DEADLINE, await_

STEP = "echo '| Train Device=CSX, Step=1, Loss=8.3'"
# It trains as `train` says, and compiles as `compile` does, a line each of the shell.
CSZOO = """#!/bin/sh
case "$*" in
*--compile_only*) echo "$CSX_RESTART_NUM_CSX $*" >> {folder}/calls; . {folder}/compile;;
*) . {folder}/train;;
esac
"""


@pytest.fixture
def zoo(run, tmp_path):
    """A run of four systems, at least one, whose trainer is the stand-in."""
    command = tmp_path / "bin" / "cszoo"
    command.parent.mkdir()
    command.write_text(CSZOO.format(folder=tmp_path))
    command.chmod(0o755)
    run.patched["supervise.compile_prefetch.INTERVAL"] = 0.05
    run.set(num_nodes=4, num_csx=4, command=f"{command} fit {{config}}", compile_prefetch=True)

    def does(*, train: str, compiles: str) -> str:
        (tmp_path / "train").write_text(f"{train}\n")
        (tmp_path / "compile").write_text(f"{compiles}\n")
        return run.plan.command

    return does


@pytest.fixture
def calls(tmp_path):
    """Return the sizes that were compiled, in order."""

    def read() -> list[int]:
        path = tmp_path / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.split()[0]) for line in lines]

    return read


def records(run) -> list[dict]:
    if not run.dir.compiles.exists():
        return []
    return [json.loads(line) for line in run.dir.compiles.read_text().splitlines()]


def wait_for(run, count: int) -> str:
    """The shell's way to wait until so many compiles are on record."""
    path = run.dir.compiles
    return f'until [ "$(cat "{path}" 2>/dev/null | wc -l)" -ge {count} ]; do sleep 0.05; done'


def test_the_next_two_sizes_are_compiled_one_after_the_other_while_it_executes(run, zoo, calls):
    quiet = "echo Compiling; [ ! -e calls ] || exit 9"
    # From its first command on, which children inherit.
    facts = "cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj"
    command = zoo(
        train=f"{quiet}; {STEP}; {wait_for(run, 2)}",
        compiles=f"[ ! -e busy ] || exit 8; touch busy; echo compiles; {facts}; rm busy",
    )
    done = run.run(command)
    assert done.returncode == 0
    assert calls() == [3, 2]
    assert [(one["num_csx"], one["outcome"]) for one in records(run)] == [
        (3, "compiled"),
        (2, "compiled"),
    ]
    folder = run.dir.path / "attempts/0/compiles"
    assert (folder / "num_csx_3.log").read_text() == "compiles\n19\n1000\n"
    init = yaml.safe_load((folder / "num_csx_3.yaml").read_text())["trainer"]["init"]
    assert init["backend"]["cluster_config"]["num_csx"] == 3
    assert init["model_dir"] == str(folder / "num_csx_3")
    assert init["checkpoint"]["save_initial_checkpoint"] is False
    assert "compiles" not in run.output_of(0).splitlines()
    log = run.log()
    assert "[run_1] " in log
    assert "compile ahead for num_csx 3 begins, with low priority; its output: attempts/0/" in log
    assert "compile ahead for num_csx 2 is done, after " in log
    run.assert_nothing_left()


def test_no_later_attempt_repeats_what_has_compiled_or_does_not_compile(run, zoo, calls):
    refusal = "echo cerebras.appliance.errors.ApplianceCompilationError: no placement; exit 1"
    command = zoo(
        train=f"{STEP}; {wait_for(run, 2)}; exit 1",
        compiles=f'[ "$CSX_RESTART_NUM_CSX" = 3 ] && {{ {refusal}; }}; exit 0',
    )
    run.run(command)
    assert [one["outcome"] for one in records(run)] == ["refused", "compiled"]
    assert "num_csx 3: it does not compile, no restart gets this size: cerebras.app" in run.log()
    run.run(command)
    assert calls() == [3, 2]
    # Another config is another matter.
    run.dir.params.write_text(run.dir.params.read_text().replace("100", "200"))
    zoo(train=f"{STEP}; {wait_for(run, 4)}; exit 1", compiles="exit 0")
    run.run(command)
    assert calls() == [3, 2, 3, 2]


def test_a_failure_of_another_kind_says_nothing_and_is_tried_again(run, zoo, calls):
    command = zoo(
        train=f"{STEP}; {wait_for(run, 2)}; exit 1", compiles="echo no free system; exit 1"
    )
    run.run(command)
    assert [one["outcome"] for one in records(run)] == ["failed", "failed"]
    assert "num_csx 3 failed, which says nothing about this size: exit code 1" in run.log()
    zoo(train=f"{STEP}; {wait_for(run, 4)}; exit 1", compiles="exit 0")
    run.run(command)
    assert calls() == [3, 2, 3, 2]


# In a session of its own, and not to be ended by TERM.
STUBBORN = "trap '' TERM; touch compiling; setsid sleep 1000 & while :; do sleep 1; done"


@pytest.mark.parametrize("how", ["exit 1", "kill -9 $$", "exit 0"])
def test_a_compile_ends_with_the_attempt(run, zoo, calls, how):
    command = zoo(train=f"{STEP}; until [ -e compiling ]; do sleep 0.05; done; {how}",
                  compiles=STUBBORN)  # fmt: skip
    run.run(command)
    assert calls() == [3]
    assert records(run) == []
    assert "compile ahead for num_csx 3 has ended with the attempt" in run.log()
    # What was killed needs CPU time to end, which it gets late on a busy machine.
    await_(lambda: run.alive() == {}, "the end of all processes")


def test_a_compile_ends_with_a_supervisor_that_is_killed(run, zoo, tmp_path):
    process = run.start(zoo(train=f"{STEP}; sleep 1000", compiles=STUBBORN))
    await_((tmp_path / "compiling").exists, "a compile")
    process.kill()
    process.communicate(timeout=DEADLINE)
    await_(lambda: run.alive() == {}, "the end of all processes")


def test_a_compile_is_ended_as_soon_as_the_job_is_to_end(run, zoo, tmp_path):
    process = run.start(
        zoo(
            train="trap 'while kill -0 $(cat pid); do sleep 0.05; done; exit 0' TERM; "
            f"{STEP}; while :; do sleep 0.05; done",
            compiles="echo $$ > pid; touch compiling; while :; do sleep 0.05; done",
        )
    )
    await_((tmp_path / "compiling").exists, "a compile")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE)
    await_(lambda: run.alive() == {}, "the end of all processes")


def test_a_run_without_steps_compiles_nothing(run, zoo, calls):
    run.run(zoo(train="echo Compiling; sleep 0.5", compiles="exit 0"))
    assert calls() == []
    assert records(run) == []


def test_files_that_cannot_be_written_do_no_harm(run, zoo, calls):
    """As a full disk: here, a file is where the directory of the compiles would be."""
    folder = run.dir.path / "attempts/0/compiles"
    command = zoo(
        train=f'echo > "{folder}"; {STEP}; '
        f'until grep -q "nothing is compiled ahead" "{run.dir.log}"; do sleep 0.05; done',
        compiles="exit 0",
    )
    assert run.run(command).returncode == 0
    assert calls() == []
    assert run.log().count("nothing is compiled ahead") == 1


def test_the_log_keeps_the_beginning_and_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = BoundedLog(str(path), head=10, tail=5)
    for number in range(10):
        log.write(b"%d234" % number)
    log.close()
    assert path.read_bytes() == b"0234123422\n[csx-restart: 26 bytes of output left out]\n9234"


def test_a_log_on_a_full_disk_loses_the_output_alone() -> None:
    log = BoundedLog("/dev/full")
    log.write(b"x" * 100_000)
    log.close()
    assert os.path.exists("/dev/full")  # noqa: PTH110 - it is not replaced
