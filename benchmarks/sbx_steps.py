"""
Gradient steps of sbx-rl's algorithms for ``speed.py``, in the environment that has sbx-rl and on one core.

Reads lines ``gradient_steps batch_size`` from its input, does as many, and answers ``done``.
"""

import os
import sys

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before JAX counts the cores

import jax
import sbx
import speed


def main() -> None:
    """Command line: name of the algorithm, batch size, units of the layers."""
    name, batch_size, *net_arch = sys.argv[1:]
    action_space = speed.BOX if name == "SAC" else speed.DISCRETE
    policy_kwargs = {"net_arch": [int(units) for units in net_arch]}
    sizes = {"batch_size": int(batch_size), "buffer_size": 10_000}
    model = getattr(sbx, name)("MlpPolicy", speed.Noise(action_space), policy_kwargs=policy_kwargs, **sizes)
    speed.fill(model)
    print("ready", flush=True)
    for line in sys.stdin:
        steps, rows = map(int, line.split())
        model.train(steps, rows)
        jax.block_until_ready(model.policy.qf_state.params)  # the last thing that a step computes
        print("done", flush=True)


if __name__ == "__main__":
    main()
