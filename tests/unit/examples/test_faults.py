"""What the example trainer's failures look like, and that the project's own rules know them."""

import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrib.testing.waiting import await_
from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category
from slurm_restart.core.finding import Role
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner, make_matcher
from tests.unit.examples.example import EXAMPLES, TIMEOUT, Example, rank_environment, read_until


def findings(said: str):
    scanner = LogScanner(make_matcher(load_rules(site=None)))
    scanner.feed(said.encode())
    return scanner.findings()


def category(said: str, code: int) -> Category:
    return attribute_log(ExitFacts(exit_code=code), findings(said)).category


@pytest.mark.parametrize(
    ("fail", "code", "cause"),
    [
        ("exit:7@5", 7, Category.UNKNOWN),
        ("signal:11@5", -11, Category.UNKNOWN),
        ("raise:TypeError@5", 1, Category.CODE),
        ("raise:MemoryError@5", 1, Category.OOM_HOST),
        ("nan@5", 1, Category.NUMERIC_NAN),
    ],
)
def test_it_fails_on_purpose(example: Example, fail: str, code: int, cause: Category) -> None:
    said = example.run("fit", example.config(), code=code, CSX_EXAMPLE_FAIL=fail)
    assert "Step=4," in said
    assert ("Step=5, Loss=nan" in said) == (fail == "nan@5")
    if code > 0:
        assert category(said, code) is cause


def test_printing_does_not_stop_it(example: Example) -> None:
    said = example.run("fit", example.config(), CSX_EXAMPLE_FAIL="print:RuntimeError: a@b@30")
    assert "\nRuntimeError: a@b\n" in said
    assert "Training completed successfully!" in said


def test_it_hangs_until_it_is_terminated(example: Example) -> None:
    process = example.start("fit", example.config(), CSX_EXAMPLE_FAIL="hang@5")
    read_until(process, lambda line: "Step=4," in line)
    process.terminate()
    assert "Step=5," not in process.communicate(timeout=TIMEOUT)[0]
    assert process.returncode == 143


@pytest.mark.parametrize("appears", [True, False])
def test_it_waits_for_a_file(example: Example, appears: bool) -> None:
    wanted = example.folder / "wanted"
    fail = {"CSX_EXAMPLE_FAIL": f"print:waiting@5;wait:{wanted}@5"}
    process = example.start("fit", example.config(), **fail)
    before = read_until(process, lambda line: line == "waiting\n")
    assert "Step=4," in before
    if appears:
        wanted.touch()
    else:
        process.terminate()
    after = process.communicate(timeout=TIMEOUT)[0]
    assert process.returncode == (0 if appears else 143)
    assert ("Step=5," in after) == appears
    assert ("Training completed successfully!" in after) == appears


def test_waiting_ends_only_when_the_file_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that what textmodel sets is set back
    for name in ("faults", "textmodel"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import faults  # noqa: PLC0415

    wanted = tmp_path / "wanted"
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            wanted.touch()

    monkeypatch.setattr(faults, "time", SimpleNamespace(sleep=pause))
    monkeypatch.setenv("CSX_EXAMPLE_FAIL", f"wait:{wanted}@5")
    faults.fail_on_purpose(4, 0, None)
    assert pauses == []
    faults.fail_on_purpose(5, 0, None)
    assert len(pauses) == 3


@pytest.mark.parametrize("fail", ["exit:7", "exit:7@x", "explode@5", "raise:Unheard@5"])
def test_a_fault_that_is_not_known_ends_it_with_1(example: Example, fail: str) -> None:
    assert "Error: " in example.run("fit", example.config(), code=1, CSX_EXAMPLE_FAIL=fail)


def test_a_list_of_faults(example: Example) -> None:
    fail = ";print:first@5;print:second@5;exit:8@6/rank=1;exit:9@6/restart=1;;exit:7@7;"
    said = example.run("fit", example.config(), code=7, CSX_EXAMPLE_FAIL=fail)
    places = [said.index(text) for text in ("Step=4,", "\nfirst\n", "\nsecond\n", "Step=6,")]
    assert places == sorted(places)
    assert "Step=7," not in said


def test_one_unknown_fault_of_a_list_ends_it_at_the_first_step(example: Example) -> None:
    fail = {"CSX_EXAMPLE_FAIL": "exit:7@5;exit:7"}
    said = example.run("fit", example.config(), code=1, **fail)
    assert "ValueError: CSX_EXAMPLE_FAIL: " in said
    assert "'exit:7'" in said
    assert "Step=1," not in said


@pytest.mark.parametrize(("restarts", "code"), [({}, 7), ({"SLURM_RESTART_COUNT": "1"}, 0)])
def test_a_fault_of_the_first_attempt_only(
    example: Example, restarts: dict[str, str], code: int
) -> None:
    fail = {"CSX_EXAMPLE_FAIL": "exit:7@5/restart=0"}
    example.run("fit", example.config(), code=code, **fail, **restarts)


def test_when_a_rank_dies_the_others_say_so_and_that_is_no_cause(example: Example) -> None:
    ranks = example.start_ranks(3, "fit", example.config(), CSX_EXAMPLE_FAIL="signal:9@25/rank=1")
    said = [rank.communicate(timeout=TIMEOUT)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, -9, 1]
    assert "ERROR:   PeerLostError: Connection closed by peer: rank 1\n" in said[0]
    assert "ERROR:   PeerLostError: Connection closed by peer: rank 0\n" in said[2]
    assert "rank 1" not in said[2]
    assert {finding.role for finding in findings(said[0] + said[2])} == {Role.CASCADE}
    assert example.checkpoint(20).exists()


def test_an_error_of_rank_0_at_the_start_keeps_nobody_waiting(example: Example) -> None:
    ranks = example.start_ranks(2, "fit", example.config(fit__ckpt_path="none.mdl"))
    said = [rank.communicate(timeout=TIMEOUT)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, 1]
    assert "FileNotFoundError" in said[0]
    assert "PeerLostError" in said[1]


@pytest.mark.parametrize("fault", ["config", "step"])
def test_configs_and_finished_runs_are_known_as_such(example: Example, fault: str) -> None:
    if fault == "step":
        example.run("fit", example.config())
    changes = {"init__bogus": 1} if fault == "config" else {}
    said = example.run("fit", example.config(**changes), code=1)
    assert category(said, 1) is Category.CONFIG


def test_a_token_beyond_the_vocabulary(example: Example) -> None:
    config = example.config(init__model={"name": "textmodel", "vocab_size": 64})
    said = example.run("fit", config, code=1)
    assert re.search(r"\nIndexError: .* is out of bounds", said)


# --- meeting -------------------------------------------------------------------------------------


def test_ranks_meet_beside_a_file_left_behind_and_a_stranger(example: Example) -> None:
    folder = example.folder / "model_dir"
    folder.mkdir()
    meeting = folder / ".ranks-7-0-0"
    with socket.create_server(("localhost", 0)) as deaf:
        stale = f"{socket.gethostname()} {deaf.getsockname()[1]} {'00' * 16}"
        meeting.write_text(stale)
        config = example.config()
        root = example.start("fit", config, **rank_environment(0, 2))
        await_(lambda: meeting.exists() and meeting.read_text() != stale, "rank 0's invitation")
        assert meeting.stat().st_mode & 0o077 == 0
        port = int(meeting.read_text().split()[1])
        with socket.create_connection(("localhost", port)) as stranger:
            stranger.sendall(b"\0" * 20)
            assert stranger.recv(1) == b""
        peer = example.start("fit", config, **rank_environment(1, 2))
        said = [process.communicate(timeout=TIMEOUT)[0] for process in (root, peer)]
    assert [root.returncode, peer.returncode] == [0, 0], said
    assert not meeting.exists()


def test_a_number_of_ranks_that_is_not_num_csx_is_told(example: Example) -> None:
    backend = {"backend_type": "CSX", "cluster_config": {"num_csx": 4}}
    said = example.run_ranks(2, "fit", example.config(init__backend=backend))
    assert "WARNING:   num_csx is 4, and there are 2 ranks" in said[0]
    said = example.run_ranks(2, "fit", example.config(), "--num_csx", 2, "--model_dir", "other")
    assert "WARNING" not in said[0]
