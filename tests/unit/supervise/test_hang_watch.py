"""The watchdog under a simulated clock: no healthy run is called hung, and every hung one is."""

from pathlib import Path

import pytest

from contrib.testing.simulated_runs import (
    EACH,
    HANGS,
    SimulatedRun,
    Stretch,
    healthy,
    table,
)
from slurm_restart.core.hang import HangReport
from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.supervise.hang_watch import (
    MAX_INTERVAL,
    MIN_INTERVAL,
    NOT_ENDED,
    interval,
)

PAGE = Path(__file__).parents[3] / "docs/explanation/watchdog.md"
RUNS = 200


def steps(count: int, seconds: float, *, first: int = 0, busy: bool = False) -> list[Stretch]:
    return [
        Stretch(seconds=seconds, text=f"step {first + number}", busy=busy)
        for number in range(count)
    ]


def test_no_healthy_run_is_called_hung() -> None:
    played = [healthy(number) for number in range(RUNS)]
    assert [run.messages for run in played if run.hung_at is not None] == []
    # Those that become slower are reported.
    assert sum("slowdown: " in " ".join(run.messages) for run in played) > RUNS // 20


def test_every_hang_is_called_as_late_as_the_documentation_says() -> None:
    """Write the table anew by `python -m contrib.testing.simulated_runs`."""
    found = table()
    assert found.count(f"| {EACH} | {EACH} |") == len(HANGS)
    assert EACH * len(HANGS) == RUNS
    assert found in PAGE.read_text()


@pytest.mark.parametrize(
    "pause",
    [
        pytest.param(Stretch(seconds=10_500, text="Compiling"), id="compile"),
        pytest.param(Stretch(seconds=1700), id="checkpoint that is not announced"),
        pytest.param(Stretch(seconds=3400, text="Saving checkpoint at step 9"), id="checkpoint"),
        pytest.param(Stretch(seconds=7000, writes=True), id="checkpoint that is written slowly"),
        pytest.param(Stretch(seconds=3400, text="Running evaluation"), id="evaluation"),
        pytest.param(Stretch(seconds=7000, busy=True), id="evaluation that is not announced"),
        pytest.param(Stretch(seconds=86400, paused=True), id="supervisor stopped"),
    ],
)
@pytest.mark.parametrize("before", [0, 100])
def test_pauses_of_healthy_runs(pause: Stretch, before: int) -> None:
    stretches = iter([*steps(before, 15), pause, *steps(20, 15, first=before)])
    assert SimulatedRun(stretches=stretches).play().hung_at is None


def hanging(**facts: object) -> SimulatedRun:
    """A run that hangs without CPU time after some steps, for a day."""
    stretches = [*steps(100, 15), *[Stretch(seconds=60)] * 1440]
    return SimulatedRun(stretches=iter(stretches), **facts)


def test_processes_that_compute_on_other_nodes_are_a_sign_of_life() -> None:
    assert hanging(speaks=False).play().hung_at is not None
    run = hanging(gather=lambda _: HangReport(reason="", busy_elsewhere=True), speaks=False).play()
    assert run.hung_at is None
    assert run.messages[-1] == f"hang: {NOT_ENDED}"
    # They are looked at once in each floor, at most.
    assert len(run.gathered_at) <= 86400 / WatchdogSettings().floor


def test_a_run_that_gets_on_while_its_report_is_gathered_is_not_ended() -> None:
    def late(run: SimulatedRun) -> HangReport:
        run.now += 30
        run.saved += len(run.gathered_at) == 1
        return HangReport(reason="")

    run = hanging(gather=late).play()
    assert len(run.gathered_at) == 2
    assert run.hung_at is not None
    # The time that it took to gather does not count.
    assert run.gathered_at[1] - run.gathered_at[0] >= WatchdogSettings().floor + 30


def test_a_script_that_prepares_its_data_and_then_computes_for_hours_is_not_ended() -> None:
    bars = [Stretch(seconds=5, text=f"{number}/900 [", busy=True) for number in range(900)]
    training = [Stretch(seconds=60, busy=True)] * 600
    run = SimulatedRun(stretches=iter([*bars, *training]), speaks=False).play()
    assert run.hung_at is None
    assert run.messages[-1] == f"hang: {NOT_ENDED}"


def test_a_watchdog_that_fails_ends_no_run() -> None:
    def fail(_run: SimulatedRun) -> HangReport:
        raise ValueError("broken")

    run = hanging(gather=fail).play()
    assert run.hung_at is None
    assert run.messages == ["the run is not watched any more: ValueError: broken"]


def test_a_run_that_is_slow_is_ended_at_its_next_checkpoint_if_that_is_wanted() -> None:
    ended = []
    for wanted in (False, True):
        slow = steps(60, 150, first=100)
        slow[40].saved = True
        run = SimulatedRun(
            stretches=iter([*steps(100, 15), *slow]),
            settings=WatchdogSettings(restart_when_slow=wanted),
        )
        ended.append(run.play().slow_at)
        assert [text for text in run.messages if text.startswith("slowdown: ")] != []
        assert run.hung_at is None
    assert ended[0] is None
    assert ended[1] == pytest.approx(100 * 15 + 41 * 150, abs=20)


def test_a_slowdown_that_is_over_is_told_once() -> None:
    parts = [steps(100, 15), steps(20, 150, first=100), steps(20, 15, first=120)]
    run = SimulatedRun(stretches=iter(stretch for part in parts for stretch in part)).play()
    assert [text.partition(":")[0] for text in run.messages] == [
        "slowdown",
        "the run gets on as before",
    ]


@pytest.mark.parametrize(
    ("floor", "expected"), [(1, MIN_INTERVAL), (40, 1.0), (1800, MAX_INTERVAL)]
)
def test_looks_are_as_far_apart_as_the_floors_allow(floor: int, expected: float) -> None:
    assert interval(WatchdogSettings(floor=floor)) == expected
