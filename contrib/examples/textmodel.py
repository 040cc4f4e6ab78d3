"""A small language model over bytes, in numpy: real training that is the same bit for bit.

The gradient of a step is summed over a fixed number of micro-batches in a fixed order, whoever has
computed them, and the data of a step depend on nothing but the seed and the step. So the weights
after a step are the same with one rank or with four, killed and resumed or never disturbed.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy: more threads would sum in another order

import sysconfig  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

MICRO_BATCHES = 8
"""Fixed, and a multiple of every sensible number of ranks' share."""
VOCABULARY = 256
MAX_CORPUS = 1_000_000


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    context: int = 8
    embedding: int = 8
    hidden: int = 32

    def parts(self) -> dict[str, tuple[int, int]]:
        """Names and shapes of the weights."""
        return {
            "embedding": (VOCABULARY, self.embedding),
            "hidden": (self.context * self.embedding, self.hidden),
            "output": (self.hidden, VOCABULARY),
        }


def corpus() -> np.ndarray:
    """The text of Python's own library: bytes, in a fixed order, at most MAX_CORPUS of them."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = b"".join(file.read_bytes() for file in files)
    return np.frombuffer(text[:MAX_CORPUS], dtype=np.uint8)


class Model:
    """Embedding of the last bytes, one hidden layer, softmax; SGD with momentum."""

    def __init__(self, shape: Shape, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self.shape = shape
        self.weights = {
            name: (rng.standard_normal(size) / np.sqrt(size[0])).astype(np.float32)
            for name, size in shape.parts().items()
        }
        self.momentum = {name: np.zeros_like(part) for name, part in self.weights.items()}

    def gradient(self, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
        """Flat gradient and loss over one micro-batch.

        Args:
            before: (batch, context) bytes.
            after: (batch,) the bytes that follow.
        """
        w, size = self.weights, len(after)
        embedded = w["embedding"][before].reshape(size, -1)
        hidden = np.tanh(embedded @ w["hidden"])
        logits = hidden @ w["output"]
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        rows = np.arange(size)
        loss = float(-np.log(chances[rows, after]).mean())
        chances[rows, after] -= 1
        chances /= size
        back = (chances @ w["output"].T) * (1 - hidden * hidden)
        embedding = np.zeros_like(w["embedding"])
        pieces = (back @ w["hidden"].T).reshape(size, self.shape.context, -1)
        np.add.at(embedding, before, pieces)
        parts = (embedding, embedded.T @ back, hidden.T @ chances)
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32), loss

    def apply(self, flat: np.ndarray, rate: float) -> None:
        """One optimiser step with a summed gradient."""
        start = 0
        for name, part in self.weights.items():
            step = flat[start : start + part.size].reshape(part.shape) / np.float32(MICRO_BATCHES)
            self.momentum[name] = np.float32(0.9) * self.momentum[name] + step
            np.subtract(part, np.float32(rate) * self.momentum[name], out=part)
            start += part.size


def micro_batch(
    text: np.ndarray, shape: Shape, *, seed: int, step: int, number: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The data of one micro-batch: a function of seed, step and number alone."""
    rng = np.random.default_rng([seed, step, number])
    starts = rng.integers(0, len(text) - shape.context - 1, size)
    before = text[starts[:, None] + np.arange(shape.context)]
    return before, text[starts + shape.context]
