"""One agent in one world, and many of these evaluations in processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from sb3_maxent import zoo
from sb3_maxent.envs import PerturbationWrapper
from sb3_maxent.reporting.versions import versions
from sb3_maxent.robustness.table import Row, World


@dataclass(frozen=True)
class Job:
    """
    :param agent: which
    :param model: hash of its file
    :param world: where
    :param shared: how, see ``table.SHARED``
    :param device: PyTorch's
    """

    agent: zoo.TrainedAgent
    model: str
    world: World
    shared: dict[str, Any]
    device: str

    def __str__(self) -> str:
        return f"{self.agent.label} on {self.agent.env}, agent {self.agent.exp_id} (seed {self.agent.seed}), {self.world}"


def environment(agent: zoo.TrainedAgent, world: World, n_envs: int = 1, seed: int = 0) -> VecEnv:
    """
    :param agent: which
    :param world: where
    :param n_envs: number of copies
    :param seed: the first episode of copy i gets ``seed + i``
    :return: what the agent was trained in, perturbed within the wrappers of its training
    """
    wrappers = [{PerturbationWrapper: world.arguments}] if world.perturbation else []
    return agent.environment(n_envs, seed, wrappers)


def evaluate(job: Job) -> Row | str:
    """
    The episodes are made side by side, each in a copy of the environment that is reset with a seed of its own: the same
    ones for each agent and world.

    :param job: what
    :return: the result, or why there is none
    """
    successes = []

    def note_success(local: dict[str, Any], _: dict[str, Any]) -> None:
        if "episode" in local["info"] and "is_success" in local["info"]:
            successes.append(local["info"]["is_success"])

    episodes, seed = job.shared["episodes"], job.shared["first_seed"]
    try:
        model = job.agent.load(job.device)
        env = environment(job.agent, job.world, episodes, seed)
        set_random_seed(seed)  # what samples actions
        deterministic = job.shared["actions"] == "deterministic"
        # Monitor's returns, which no wrapper of the training has changed
        returns, lengths = evaluate_policy(
            model, env, episodes, deterministic, callback=note_success, return_episode_rewards=True
        )
        env.close()
    except Exception as error:  # an agent that can't be loaded, an environment's own: the others may still do
        return f"failed: {type(error).__name__}: {error}"
    return Row(
        algo=job.agent.label,
        env=job.agent.env,
        exp_id=job.agent.exp_id,
        folder=job.agent.folder,
        seed=job.agent.seed,
        model=job.model,
        **job.world._asdict(),
        **job.shared,
        mean_return=float(np.mean(returns)),
        std_return=float(np.std(returns)),
        mean_length=float(np.mean(lengths)),
        success_rate=float(np.mean(successes)) if successes else float("nan"),
        versions="; ".join(map(" ".join, versions().items())),
    )


def outcomes(todo: Sequence[Job], n_jobs: int) -> Generator[tuple[Job, Row | str]]:
    """
    :param todo: what to evaluate
    :param n_jobs: number of processes
    :return: what came out, in any order
    :raises BrokenProcessPool: if one of the processes was killed
    """
    if n_jobs == 1:
        th.set_num_threads(1)  # as in the processes
        yield from ((job, evaluate(job)) for job in todo)
        return
    context = multiprocessing.get_context("spawn")
    end, alive = context.Pipe(duplex=False)
    with ProcessPoolExecutor(n_jobs, context, _start, (end,)) as pool:
        try:
            futures = {pool.submit(evaluate, job): job for job in todo}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            alive.close()
            raise


def _start(end: Connection) -> None:
    """
    Begin a process of the pool, one that ends at once when the command does, however that ends.

    :param end: of a pipe into which nothing is written, and which is closed at the other end
    """

    def watch() -> None:
        end.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    th.set_num_threads(1)
