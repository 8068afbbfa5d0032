"""Trained agents: what a training of the RL Zoo, or of a comparison, left behind, found and loaded again."""

import contextlib
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_maxent.zoo.registry import register

# A folder of a comparison's with a folder for each variant, which the zoo's commands take as their -f
VARIANTS = "variants"


class _EndOfEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """
    ``Monitor``'s account of an episode that a wrapper around it ends, as a ``TimeLimit`` of the training may. The loss of a
    life ends none.
    """

    def __init__(self, env: gym.Env[Any, Any]):
        super().__init__(env)
        self._has_lives = is_wrapped(env, EpisodicLifeEnv)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if (terminated or truncated) and "episode" not in info and not self._has_lives:
            rewards = self.env.get_wrapper_attr("rewards")
            info = {**info, "episode": {"r": float(sum(rewards)), "l": len(rewards)}}
        return observation, reward, terminated, truncated, info


@dataclass(frozen=True)
class TrainedAgent:
    """
    What a training left behind in ``<folder>/<algo>/<env>_<exp_id>/``, or, for a comparison's variant of an algorithm, in
    ``<folder>/variants/<variant>/<algo>/<env>_<exp_id>/``.

    :param algo: zoo key
    :param env: environment id
    :param exp_id: what rl_zoo3 tells trainings of the same algorithm and environment apart by, mostly a number
    :param folder: as it was given
    :param seed: of the training
    :param file: the model
    :param arguments: of the training's command line, by name
    :param variant: of the algorithm, empty for the algorithm itself
    """

    algo: str
    env: str
    exp_id: str
    folder: str
    seed: int
    file: Path
    arguments: dict[str, Any]
    variant: str = ""

    @property
    def label(self) -> str:
        """The algorithm's name in reports: that of the variant, or the zoo key"""
        return self.variant or self.algo

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from all other agents: name of the algorithm, environment, number, folder."""
        return self.label, self.env, self.exp_id, self.folder

    @cached_property
    def _saved(self) -> tuple[dict[str, Any], str | None]:
        """Hyperparameters, and where the statistics of ``VecNormalize`` are, read by rl_zoo3's code."""
        from rl_zoo3 import get_saved_hyperparams

        settings = self.file.parent / self.env.replace("/", "-")
        return get_saved_hyperparams(str(settings), norm_reward=False, test_mode=True)

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The training's hyperparameters, without ``env_kwargs``"""
        return {name: value for name, value in self._saved[0].items() if name != "env_kwargs"}

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the training's environment"""
        given = self.arguments.get("env_kwargs")
        return (self._saved[0].get("env_kwargs") if given is None else given) or {}

    def load(self, device: str = "auto") -> BaseAlgorithm:
        """
        Load the model to act, as ``enjoy`` does: without the memory that its replay buffer would need.

        :param device: PyTorch's
        :return: the model, without an environment
        """
        register()
        from rl_zoo3 import ALGOS

        algorithm = ALGOS[self.algo]
        # Schedules are pickled functions, which other versions of Python can't read
        schedules = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}
        kwargs: dict[str, Any] = {}
        if issubclass(algorithm, OffPolicyAlgorithm):
            # Not HER's buffer either, which would need an environment
            kwargs = {"buffer_size": 1, "optimize_memory_usage": False, "replay_buffer_class": None}
            kwargs["replay_buffer_kwargs"] = {}
        return algorithm.load(self.file, custom_objects=schedules, device=device, **kwargs)

    def environment(self, n_envs: int = 1, seed: int = 0, wrappers: Sequence[dict[Any, dict[str, Any]]] = ()) -> VecEnv:
        """
        Make what the agent was trained in, as ``enjoy`` makes it: with the training's ``env_kwargs``, wrappers and stacked
        frames, and with its statistics of ``VecNormalize``, which stay as they are. ``info["episode"]`` has the environment's
        own rewards, up to where the outermost wrapper ends the episode (on Atari: up to the game's end, not to that of a
        life).

        :param n_envs: number of copies, in this process
        :param seed: the first episode of copy i gets ``seed + i``
        :param wrappers: ``{class: arguments}`` of wrappers that are put around the environment before those of the training
        :return: the environment
        """
        register()
        from rl_zoo3 import create_test_env

        for module in self.arguments.get("gym_packages", ()):
            importlib.import_module(module)
        hyperparams, own = self.hyperparams, self.hyperparams.get("env_wrapper") or []
        hyperparams["env_wrapper"] = [*wrappers, *(own if isinstance(own, list) else [own]), {_EndOfEpisode: {}}]
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
            return create_test_env(
                self.env,
                n_envs=n_envs,
                stats_path=self._saved[1],
                seed=seed,
                should_render=False,
                hyperparams=hyperparams,
                env_kwargs=self.env_kwargs,
                vec_env_cls=DummyVecEnv,
            )


def trained_agents(folder: str | Path, best: bool = False) -> list[TrainedAgent]:
    """
    :param folder: what the trainings had as ``-f``, or a comparison's folder
    :param best: the model with the best evaluation during training (``best_model.zip``) instead of the last one
    :return: the agents by algorithm, environment and number; a training that left no such model, for instance because it is
        still under way, is left out
    :raises ValueError: if the arguments of a training can't be read
    """
    import yaml  # rl_zoo3's

    agents = []
    variants = Path(folder, VARIANTS)
    for settings in (file.parent for root in (Path(folder), *variants.glob("*")) for file in root.glob("*/*/*/args.yml")):
        place = settings.parent
        root = place.parents[1]
        file = place / ("best_model.zip" if best else f"{settings.name}.zip")
        if file.is_file():
            try:
                # As rl_zoo3 reads what it wrote: values may be Python objects
                arguments = dict(yaml.load((settings / "args.yml").read_text(), Loader=yaml.UnsafeLoader))
                env, seed = arguments["env"], arguments["seed"]
            except (yaml.YAMLError, KeyError, TypeError) as error:
                raise ValueError(f"{settings / 'args.yml'} can't be read: {error!r}") from error
            exp_id = place.name.removeprefix(f"{settings.name}_")
            variant = root.name if root.parent == variants else ""
            algo, where = place.parent.name, Path(folder).as_posix()
            agents.append(TrainedAgent(algo, env, exp_id, where, seed, file, arguments, variant))
    return sorted(agents, key=lambda agent: (agent.label, agent.env, len(agent.exp_id), agent.exp_id))


def load_agent(agent: TrainedAgent, device: str = "auto") -> BaseAlgorithm:
    """
    :param agent: the agent to load
    :param device: PyTorch's
    :return: see :meth:`TrainedAgent.load`
    """
    return agent.load(device)


def evaluation_env(
    agent: TrainedAgent, n_envs: int = 1, seed: int = 0, wrappers: Sequence[dict[Any, dict[str, Any]]] = ()
) -> VecEnv:
    """
    :param agent: the agent whose environment is made
    :param n_envs: number of copies, in this process
    :param seed: the first episode of copy i gets ``seed + i``
    :param wrappers: ``{class: arguments}`` of wrappers that are put around the environment before those of the training
    :return: see :meth:`TrainedAgent.environment`
    """
    return agent.environment(n_envs, seed, wrappers)


def env_kwargs_of(agent: TrainedAgent) -> dict[str, Any]:
    """
    :param agent: the agent whose environment is asked for
    :return: see :attr:`TrainedAgent.env_kwargs`
    """
    return agent.env_kwargs
