"""What a training program prints while all is well."""

import random
import time

RANDOM = random.Random(7)


def train(
    steps: int = 20, *, start: int = 0, seconds: float = 0.0, rank: int | None = None
) -> None:
    """Print the lines of so many steps."""
    who = "" if rank is None else f"[rank {rank}] "
    for step in range(start + 1, start + steps + 1):
        loss = 11.0 / (1 + step / 40) + RANDOM.random() / 10
        rate = 41000 + RANDOM.randrange(900)
        print(
            f"{who}step {step} | loss {loss:.4f} | lr 3.00e-04 | {rate} tokens/s", flush=seconds > 0
        )
        time.sleep(seconds)
