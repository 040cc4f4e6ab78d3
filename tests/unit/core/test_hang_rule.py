"""When a run is healthy, slow or hung, by its signs of life."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.hang_rule import Health, Phase, Signs, Watch
from slurm_restart.core.watchdog_settings import WatchdogSettings

SETTINGS = WatchdogSettings(
    floor=100, start_floor=200, compile_floor=1000, slow_after=300, slow_factor=3, busy_factor=3
)


def watch(*signs: Signs, speaks: bool = True, settings: WatchdogSettings = SETTINGS) -> Watch:
    known = Watch(settings=settings, speaks=speaks)
    for one in signs:
        known = known.after(one)
    return known


def steps(count: int, every: float = 1.0, start: float = 10.0) -> list[Signs]:
    return [Signs(at=start + every * n, output=True, steps=1) for n in range(count)]


def hung_at(known: Watch, *, until: float = 20_000) -> float | None:
    """The whole second, after the last sign, at which a hang is called."""
    begin = int(known.last_sign)
    return next(
        (at for at in range(begin, int(until)) if known.judge(at).health is Health.HUNG), None
    )


@pytest.mark.parametrize(
    ("signs", "speaks", "expected"),
    [
        pytest.param([], True, 200, id="nothing at all"),
        pytest.param([], False, None, id="nothing of a script that need not print"),
        pytest.param([Signs(at=5, phase=Phase.START, output=True)], False, None, id="one line"),
        pytest.param([Signs(at=5, phase=Phase.START, output=True)], True, 205, id="start-up"),
        pytest.param([Signs(at=5, phase=Phase.COMPILE, output=True)], True, 1005, id="compile"),
        pytest.param(steps(20), True, 129, id="steps every second: the floor"),
        pytest.param(steps(9), False, None, id="a script with some steps at its start"),
        pytest.param(steps(12), False, 121, id="a script that trains"),
        pytest.param([Signs(at=10, steps=12)], False, None, id="steps of a script in one look"),
        pytest.param([Signs(at=10, steps=2)], True, 210, id="two steps"),
        pytest.param([Signs(at=10, steps=3)], True, 110, id="three steps in one look"),
        pytest.param([Signs(at=9, checkpoints=2)], False, None, id="two checkpoints"),
        pytest.param([Signs(at=9, checkpoints=3)], False, 109, id="three checkpoints in one look"),
        pytest.param(steps(20, every=20), True, 390 + 12 * 20, id="twelve times the usual pause"),
        pytest.param(
            [*steps(20), *steps(20, start=119)], True, 138 + 3 * 90, id="thrice the longest pause"
        ),
        pytest.param(
            [*steps(20), Signs(at=30, output=True, phase=Phase.EVALUATION)],
            True,
            230,
            id="an evaluation",
        ),
        pytest.param(
            [*steps(20), Signs(at=30, output=True, phase=Phase.END)], True, 230, id="the end"
        ),
    ],
)
def test_nothing_at_all_is_a_hang_after(
    signs: list[Signs], speaks: bool, expected: int | None
) -> None:
    assert hung_at(watch(*signs, speaks=speaks)) == expected


def lively(known: Watch, seconds: int, **kind: bool) -> tuple[Watch, int | None]:
    """The same every ten seconds, without progress; and when a hang is called."""
    begin = int(known.last_sign)
    for at in range(begin + 10, begin + seconds, 10):
        known = known.after(Signs(at=at, **kind))
        if known.judge(at).health is Health.HUNG:
            return known, at - begin
    return known, None


@pytest.mark.parametrize("kind", ["busy", "output"])
def test_signs_without_progress_are_a_hang_later(kind: str) -> None:
    _, after = lively(watch(*steps(20)), 2000, **{kind: True})
    assert after == 300  # three times the floor


@pytest.mark.parametrize("kind", ["busy", "output"])
def test_signs_without_progress_are_none_before_the_first_steps(kind: str) -> None:
    _, after = lively(watch(Signs(at=1, output=True, phase=Phase.START)), 20_000, **{kind: True})
    assert after is None


def test_steps_that_came_within_one_look_are_counted() -> None:
    """A rank may compute for ever right after its first steps."""
    known, after = lively(watch(Signs(at=10, output=True, steps=3)), 2000, busy=True)
    assert after == 300
    assert known.judge(known.last_sign).is_sure
    _, after = lively(watch(Signs(at=10, output=True, steps=2)), 2000, busy=True)
    assert after is None


def test_output_too_much_to_be_searched_is_no_hang() -> None:
    _, after = lively(watch(*steps(20)), 20_000, output=True, unsearched=True)
    assert after is None


def test_checkpoints_alone_show_progress() -> None:
    saved = [Signs(at=100.0 * n, checkpoints=1, busy=True) for n in range(1, 6)]
    known = watch(*saved, speaks=False)
    known, after = lively(known, 20_000, busy=True)
    assert after == 1200  # twelve times the usual interval
    # Those of a run that keeps only its best state come less and less often.
    assert not known.judge(known.last_sign).is_sure


@pytest.mark.parametrize(("speaks", "is_sure"), [(True, True), (False, False)])
def test_a_run_whose_steps_are_guessed_is_not_ended_while_it_computes(
    speaks: bool, is_sure: bool
) -> None:
    """It may have printed them while it prepared its data."""
    known, _ = lively(watch(*steps(20), speaks=speaks), 2000, busy=True)
    judgement = known.judge(known.last_sign)
    assert (judgement.health, judgement.is_sure) == (Health.HUNG, is_sure)
    # Without CPU time it is.
    assert known.judge(known.last_sign + 1000).is_sure


def test_output_alone_is_no_rhythm() -> None:
    lines = [Signs(at=100.0 * n, output=True) for n in range(1, 100)]
    assert hung_at(watch(*lines, speaks=False), until=10**5) is None


def test_a_hang_says_why_and_since_when() -> None:
    judgement = watch(*steps(20)).judge(500)
    assert judgement.since == 29
    assert judgement.reason == (
        "no output, no step, no checkpoint and no CPU time for 471 s in training; "
        "100 s are the limit for this run"
    )


def paced(times: list[float], *, start: float = 0.0) -> tuple[list[Signs], float]:
    signs, at = [], start
    for time in times:
        at += time
        signs.append(Signs(at=at, output=True, steps=1, step_time=time))
    return signs, at


def test_a_run_that_is_ten_times_slower_is_slow_and_not_hung() -> None:
    usual, at = paced([5.0] * 60)
    known, slow = watch(*usual), []
    begun = at
    for sign in paced([50.0] * 40, start=at)[0]:
        for second in range(int(known.last_sign), int(sign.at)):
            assert known.judge(second).health is not Health.HUNG
        known = known.after(sign)
        if known.judge(sign.at).health is Health.SLOW:
            slow.append(sign.at - begun)
    assert slow[0] == 300
    judgement = known.judge(known.last_sign)
    assert judgement.reason.startswith("a step takes 50 s, 10.0 times the run's own median of 5 s")
    again = paced([5.0], start=known.last_sign)[0]
    assert known.after(again[0]).judge(again[0].at).health is Health.HEALTHY


def test_a_pause_after_some_slow_steps_is_no_slowdown() -> None:
    usual, at = paced([5.0] * 60)
    known = watch(
        *usual, *paced([50.0] * 4, start=at)[0], settings=WatchdogSettings(slow_after=300)
    )
    assert known.judge(known.last_sign + 1000).health is Health.HEALTHY


def test_one_long_step_is_no_slowdown() -> None:
    usual, at = paced([5.0] * 60)
    known = watch(*usual, *paced([400.0], start=at)[0])
    assert known.judge(known.last_sign + 50).health is Health.HEALTHY


@given(
    st.lists(st.floats(0.1, 30), min_size=1, max_size=60),
    st.floats(0, 99),
    st.sampled_from(Phase),
    st.booleans(),
)
def test_no_hang_is_called_below_the_floor(
    pauses: list[float], quiet: float, phase: Phase, speaks: bool
) -> None:
    known, at = Watch(settings=SETTINGS, speaks=speaks), 0.0
    for pause in pauses:
        at += pause
        known = known.after(Signs(at=at, output=True, steps=1, phase=phase))
        assert known.judge(at + quiet).health is not Health.HUNG


@given(st.lists(st.floats(1, 500), min_size=12, max_size=60), st.data())
def test_no_pause_as_long_as_an_earlier_one_is_a_hang(
    pauses: list[float], data: st.DataObject
) -> None:
    known, at = Watch(settings=SETTINGS, speaks=True), 0.0
    for pause in pauses:
        at += pause
        known = known.after(Signs(at=at, output=True, steps=1))
    # The first pause is that of the start-up.
    again = data.draw(st.sampled_from(pauses[1:]))
    assert known.judge(at + again).health is not Health.HUNG


@given(st.lists(st.floats(1, 100), min_size=12, max_size=60), st.booleans())
def test_every_hang_of_a_known_rhythm_is_called(pauses: list[float], busy: bool) -> None:
    known, at = Watch(settings=SETTINGS, speaks=False), 0.0
    for pause in pauses:
        at += pause
        known = known.after(Signs(at=at, output=True, steps=1))
    for _ in range(1000):
        at += 10
        known = known.after(Signs(at=at, busy=busy))
    assert known.judge(at).health is Health.HUNG
