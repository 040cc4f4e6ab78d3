"""The example's model: its gradient is the derivative of its loss, and its data are a function."""

import sys
from types import ModuleType

import numpy as np
import pytest

from tests.unit.examples.example import EXAMPLES


@pytest.fixture
def textmodel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that what the module sets is set back
    monkeypatch.delitem(sys.modules, "textmodel", raising=False)
    import textmodel  # noqa: PLC0415

    return textmodel


def test_the_gradient_is_the_derivative_of_the_loss(textmodel: ModuleType) -> None:
    model = textmodel.Model(textmodel.Shape(context=3, embedding=4, hidden=5, vocab_size=11), 1)
    model.flat = model.flat.astype(np.float64)
    random = np.random.default_rng(2)
    before, after = random.integers(0, 11, (6, 3)), random.integers(0, 11, 6)
    gradient = model.gradient(before, after)
    assert gradient[-1] == pytest.approx(model.loss(before, after))
    for place in random.choice(model.flat.size, 40, replace=False):
        value, losses = model.flat[place], []
        for move in (1e-6, -1e-6):
            model.flat[place] = value + move
            losses.append(model.loss(before, after))
        model.flat[place] = value
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(gradient[place], abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 8, 60, 64])
def test_micro_batches_make_up_the_batch(textmodel: ModuleType, batch_size: int) -> None:
    shape, text = textmodel.Shape(), np.arange(200, dtype=np.uint8)
    sizes = []
    for number in range(textmodel.MICRO_BATCHES):
        before, after = textmodel.micro_batch(
            text, shape, seed=1, step=2, number=number, batch_size=batch_size
        )
        assert before.shape == (len(after), shape.context)
        assert (before[:, -1] + 1 == after).all()
        sizes.append(len(after))
    assert sum(sizes) == batch_size


def test_every_micro_batch_has_data_of_its_own(textmodel: ModuleType) -> None:
    text = np.arange(50_000) // 200
    first = {"seed": 1, "step": 2, "number": 3, "batch_size": 64}
    others = [first | {name: first[name] + 50} for name in ("seed", "step", "number")]

    def drawn(where: dict[str, int]) -> bytes:
        return textmodel.micro_batch(text, textmodel.Shape(), **where)[0].tobytes()

    assert drawn(first) == drawn(first)
    assert all(drawn(other) != drawn(first) for other in others)


def test_the_corpus_is_the_same_every_time(textmodel: ModuleType) -> None:
    one, other = textmodel.corpus(), textmodel.corpus()
    assert one.digest == other.digest
    assert len(one.train) + len(one.validate) <= textmodel.MAX_CORPUS
    assert len(one.validate) > 10_000
