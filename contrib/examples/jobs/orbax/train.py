"""Train a small network in JAX, with checkpoints of Orbax."""

import argparse
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax import numpy as jnp


def loss(weights: dict[str, Any], inputs: jax.Array) -> jax.Array:
    outputs = jnp.tanh(inputs @ weights["first"]) @ weights["last"]
    return jnp.mean((outputs - jnp.sin(inputs.sum(axis=1))) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    args = parser.parse_args()

    one, two = jax.random.split(jax.random.key(0))
    weights = {"first": jax.random.normal(one, (32, 64)), "last": jax.random.normal(two, (64,))}
    manager = ocp.CheckpointManager(Path("checkpoints").absolute())
    step = 0
    if args.resume:
        step = int(args.resume.name)
        weights = manager.restore(step, args=ocp.args.StandardRestore(weights))
    slope = jax.jit(jax.grad(loss))
    while step < args.steps:
        step += 1
        inputs = jax.random.normal(jax.random.key(step), (64, 32))
        change = slope(weights, inputs)
        weights = jax.tree.map(lambda value, by: value - 0.01 * by, weights, change)
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # a bigger model takes longer
        if step % args.every == 0:
            print(f"step {step}, loss {loss(weights, inputs):.6f}", flush=True)
            manager.save(step, args=ocp.args.StandardSave(weights))
    manager.wait_until_finished()
    both = weights["first"].tobytes() + weights["last"].tobytes()
    Path("result.txt").write_text(hashlib.sha256(both).hexdigest())


if __name__ == "__main__":
    main()
