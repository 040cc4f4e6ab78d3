"""A small language model over bytes, in numpy: real training that is the same bit for bit.

The gradient of a step is summed over a fixed number of micro-batches in a fixed order, no matter
which rank computed them, and the data of a step depend on nothing but the seed and the step. So
the weights after a step are the same with one rank or with four, killed and resumed or never
disturbed.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy: more threads would sum in another order

import hashlib  # noqa: E402
import itertools  # noqa: E402
import sysconfig  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

MICRO_BATCHES = 8
"""A batch is always split into so many, by however many ranks they are computed."""
MAX_CORPUS = 1_000_000


@dataclass(frozen=True)
class Corpus:
    """The text of Python's own library, as bytes: most to train on, the rest to validate."""

    train: np.ndarray
    validate: np.ndarray
    digest: str
    """SHA-256 of all of it: another release of Python has another text."""


def corpus() -> Corpus:
    """Read the library's modules in a fixed order, at most MAX_CORPUS bytes of them."""
    text = b""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= MAX_CORPUS:
            break
    text = text[:MAX_CORPUS]
    train, validate = np.split(np.frombuffer(text, dtype=np.uint8), [len(text) * 9 // 10])
    return Corpus(train, validate, hashlib.sha256(text).hexdigest())


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    context: int = 8
    embedding: int = 8
    hidden: int = 32
    vocab_size: int = 256

    def parts(self) -> dict[str, tuple[int, int]]:
        """Names and shapes of the weights."""
        return {
            "embedding": (self.vocab_size, self.embedding),
            "hidden": (self.context * self.embedding, self.hidden),
            "output": (self.hidden, self.vocab_size),
        }


class Model:
    """Embedding of the last bytes, one hidden layer, softmax; SGD with momentum."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        random = np.random.default_rng([seed, 0])
        parts = [random.standard_normal(size) / np.sqrt(size[0]) for size in shape.parts().values()]
        self.flat = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
        self.flat_momentum = np.zeros_like(self.flat)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name; writing into one changes the model."""
        return self._named(self.flat)

    @property
    def momentum(self) -> dict[str, np.ndarray]:
        """The optimiser's state, by the name of the weights."""
        return self._named(self.flat_momentum)

    def _named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        shapes = self.shape.parts()
        ends = itertools.accumulate(rows * columns for rows, columns in shapes.values())
        pieces = np.split(flat, list(ends)[:-1])
        named = zip(shapes.items(), pieces, strict=True)
        return {name: piece.reshape(size) for (name, size), piece in named}

    def loss(self, before: np.ndarray, after: np.ndarray) -> float:
        """The sum of the losses of (batch, context) bytes and the (batch,) bytes that follow."""
        chances = self._forward(before)[2]
        return float(-np.log(chances[np.arange(len(after)), after]).sum())

    def gradient(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The flat gradient of the summed loss, and that loss as one more element."""
        weights, size = self.weights, len(after)
        embedded, hidden, chances = self._forward(before)
        rows = np.arange(size)
        loss = -np.log(chances[rows, after]).sum()
        chances[rows, after] -= 1
        back = (chances @ weights["output"].T) * (1 - hidden * hidden)
        embedding = np.zeros_like(weights["embedding"])
        np.add.at(embedding, before, (back @ weights["hidden"].T).reshape(*before.shape, -1))
        parts = (embedding, embedded.T @ back, hidden.T @ chances, loss)
        return np.concatenate([np.ravel(part) for part in parts]).astype(self.flat.dtype)

    def _forward(self, before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights = self.weights
        embedded = weights["embedding"][before].reshape(len(before), -1)
        hidden = np.tanh(embedded @ weights["hidden"])
        logits = hidden @ weights["output"]
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        return embedded, hidden, chances / chances.sum(axis=1, keepdims=True)

    def apply(self, gradient: np.ndarray, *, rate: float, momentum: float) -> None:
        """One step of the optimiser."""
        self.flat_momentum *= np.float32(momentum)
        self.flat_momentum += gradient
        self.flat -= np.float32(rate) * self.flat_momentum


def micro_batch(
    text: np.ndarray, shape: Shape, *, seed: int, step: int, number: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Part `number` of a step's batch: a function of its arguments alone."""
    size = batch_size // MICRO_BATCHES + (number < batch_size % MICRO_BATCHES)
    starts = np.random.default_rng([seed, step, number]).integers(
        0, len(text) - shape.context, size
    )
    before = text[starts[:, None] + np.arange(shape.context)]
    return before, text[starts + shape.context]
