"""The watchdog under a simulated clock: no healthy run is called hung, and every hung one is."""

from collections.abc import Callable
from dataclasses import replace
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
    STOPPED,
    interval,
)
from slurm_restart.supervise.life_signs import MODEL_ZOO_STEPS

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


def test_a_long_evaluation_of_the_model_zoo_that_gets_on_is_no_hang() -> None:
    """Its lines name the step of the training, which stays the same for hours."""
    train = [Stretch(seconds=15, text=f"| Train Device=CSX, Step={step}") for step in range(100)]
    line = "| Eval Device=CSX, GlobalStep=99, Batch={}, Loss=2.0"
    batches = [Stretch(seconds=60, text=line.format(batch)) for batch in range(600)]
    stretches = iter([*train, *batches])
    assert SimulatedRun(stretches=stretches, pattern=MODEL_ZOO_STEPS).play().hung_at is None
    stuck = iter([*train, *batches[:10], *[Stretch(seconds=60, busy=True)] * 600])
    assert SimulatedRun(stretches=stuck, pattern=MODEL_ZOO_STEPS).play().hung_at is not None


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


STOPPED_RANK = HangReport(reason="", lines=("rank 1",), stopped={("csx2", 7): 2.5})


def stopped_rank(minutes: list[Stretch], **facts: object) -> SimulatedRun:
    """A run of guessed steps that trains for 25 min, and then does this."""
    facts = {"gather": lambda _: STOPPED_RANK, **facts}
    stretches = iter([*steps(100, 15, busy=True), *minutes])
    return SimulatedRun(stretches=stretches, speaks=False, **facts).play()


def test_a_rank_that_stays_stopped_while_the_others_wait_busily_ends_the_run() -> None:
    run = stopped_rank([Stretch(seconds=60, busy=True)] * 600)
    floor = WatchdogSettings().floor
    first, second = run.gathered_at
    assert run.hung_at == second == pytest.approx(first + floor, abs=10)
    told = [text.partition(" for ")[0] for text in run.messages]
    hang = ["hang: output or CPU time, but no new step and no checkpoint", "hang: rank 1"]
    assert told == [*hang, f"hang: {STOPPED.format(floor).partition(' for ')[0]}", *hang]


def test_a_stopped_rank_whose_peers_compute_on_other_nodes_ends_the_run() -> None:
    report = replace(STOPPED_RANK, busy_elsewhere=True)
    run = stopped_rank([Stretch(seconds=60)] * 600, gather=lambda _: report)
    first, second = run.gathered_at
    # Not later than it is called where the batch host computes.
    assert run.hung_at == second < first + 5 * WatchdogSettings().floor


def other_process(run: SimulatedRun) -> HangReport:
    return replace(STOPPED_RANK, stopped={("csx2", len(run.gathered_at)): 2.5})


def runs_at_times(run: SimulatedRun) -> HangReport:
    return replace(STOPPED_RANK, stopped={("csx2", 7): run.now / 10})


def stopped_once(run: SimulatedRun) -> HangReport:
    return STOPPED_RANK if len(run.gathered_at) == 1 else HangReport(reason="")


BUSY = Stretch(seconds=60, busy=True)


@pytest.mark.parametrize(
    ("minutes", "gather"),
    [
        pytest.param([BUSY] * 600, other_process, id="always another one"),
        pytest.param([BUSY] * 600, runs_at_times, id="stopped and continued"),
        pytest.param([BUSY] * 600, stopped_once, id="stopped once"),
        pytest.param(
            [Stretch(seconds=60, busy=True, text="epoch 3")] * 600,
            lambda _: STOPPED_RANK,
            id="output",
        ),
        pytest.param(
            [Stretch(seconds=3000, busy=True, saved=True)] * 12,
            lambda _: STOPPED_RANK,
            id="checkpoints",
        ),
        pytest.param(
            [Stretch(seconds=86400, paused=True)], lambda _: STOPPED_RANK, id="supervisor stopped"
        ),
    ],
)
def test_a_stopped_process_alone_ends_no_run(
    minutes: list[Stretch], gather: Callable[[SimulatedRun], HangReport]
) -> None:
    assert stopped_rank(minutes, gather=gather).hung_at is None


def test_a_node_that_does_not_answer_once_is_looked_at_again() -> None:
    def silent_once(run: SimulatedRun) -> HangReport:
        return HangReport(reason="") if len(run.gathered_at) == 2 else STOPPED_RANK

    run = stopped_rank([BUSY] * 600, gather=silent_once)
    assert len(run.gathered_at) == 3
    assert run.hung_at == run.gathered_at[-1]


def test_a_stopped_rank_that_goes_on_again_is_no_hang() -> None:
    minutes = [*[BUSY] * 130, *steps(200, 15, first=100)]
    run = stopped_rank(minutes)
    assert len(run.gathered_at) == 1
    assert (run.hung_at, run.messages[-1]) == (None, "the run gets on as before")


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
