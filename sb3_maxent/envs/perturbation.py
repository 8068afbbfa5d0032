"""A changed world for a trained agent: what robustness is measured with."""

import sys
from collections import deque
from operator import attrgetter
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from sb3_maxent.envs._checks import POSITIVE, check_array, n_axes
from sb3_maxent.envs.multigoal import MultiGoalEnv

#: What can be perturbed: the names of :class:`PerturbationWrapper`'s parameters, in their order.
PERTURBATIONS = (
    "observation_noise",
    "action_noise",
    "action_delay",
    "mass",
    "friction",
    "gravity",
    "obstacles",
)


class PerturbationWrapper(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """
    Perturbs the world of a trained agent: its sensors, its actuators, or the physics. The defaults change nothing.

    The random numbers of observation and action noise are two streams of their own. ``reset(seed=...)`` seeds them with the
    environment, which draws the same numbers for every strength of a perturbation; so do they, up to the factor.

    Rewards are the environment's, for the action that reaches it: noise that acts costs what the action costs.

    The world's factors and obstacles are relative to the world as it was loaded, whatever wrappers it has had. They are the
    environment's own, so those of the last wrapper around it hold, all of them, and :meth:`close` takes them back.

    :param env: the environment; what a parameter needs of it is said there
    :param observation_noise: standard deviation of the Gaussian noise on each observation (the first one, too), in the
        observation's units, in [0, inf): a number, or one for each entry of the observation, of its shape. Observations
        are clipped to their space afterwards. For a ``Box`` of floats; use ``gymnasium.wrappers.FlattenObservation`` before
        for a ``Dict``.
    :param action_noise: standard deviation of the Gaussian noise on each action, in halves of the action's range, in
        [0, inf). Actions are clipped to their bounds afterwards. For a bounded ``Box`` of floats.
    :param action_delay: number of steps by which the agent's actions come late, a whole number >= 0; until an episode's
        first one arrives, the middle of the range is applied. The noise is added to what has arrived.
        For a bounded ``Box`` of floats.
    :param mass: factor on mass and inertia of every body, in (0, inf); not on the joints' armature. MuJoCo only.
    :param friction: factor on the coefficients of sliding, torsional and rolling friction of all contacts, in (0, inf);
        those that the model makes frictionless stay so. MuJoCo only.
    :param gravity: factor on gravity, in [0, inf). MuJoCo only.
    :param obstacles: (O, 2, 2), the walls of a :class:`MultiGoalEnv`, which replace its own; ``None``: its own
    :raises ValueError: naming the parameter, for one out of range, or other than its default in an environment that it
        can't perturb; the world is as it was then
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        observation_noise: ArrayLike = 0.0,
        action_noise: float = 0.0,
        action_delay: int = 0,
        mass: float = 1.0,
        friction: float = 1.0,
        gravity: float = 1.0,
        obstacles: ArrayLike | None = None,
    ):
        gym.utils.RecordConstructorArgs.__init__(
            self,
            observation_noise=observation_noise,
            action_noise=action_noise,
            action_delay=action_delay,
            mass=mass,
            friction=friction,
            gravity=gravity,
            obstacles=obstacles,
        )
        gym.Wrapper.__init__(self, env)

        # Those of the environment: rl_zoo3's TimeFeatureWrapper assigns its own to the wrapper that it is put around
        self._spaces: tuple[Any, Any] = env.observation_space, env.action_space
        space = env.observation_space
        is_float_box = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
        shape = space.shape if is_float_box and n_axes(observation_noise) else ()
        self.observation_noise = check_array("observation_noise", observation_noise, shape or (), 0)
        if self.observation_noise.any() and not is_float_box:
            raise ValueError(
                f"`observation_noise` must be 0 where observations are no Box of floats, not {observation_noise!r}: {space}"
            )

        space = env.action_space
        self.action_noise = float(check_array("action_noise", action_noise, (), 0))
        if check_array("action_delay", action_delay, (), 0) % 1:
            raise ValueError(f"`action_delay` must be a whole number of steps, not {action_delay!r}")
        self.action_delay = int(action_delay)
        self._arriving: deque[np.ndarray] = deque()
        is_bounded = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) and space.is_bounded()
        for name, value in (("action_noise", self.action_noise), ("action_delay", self.action_delay)):
            if value and not is_bounded:
                raise ValueError(f"`{name}` must be 0 where actions are no bounded Box of floats, not {value!r}: {space}")

        self._world: dict[str, Any] = {}
        is_mujoco = _mujoco_model(env) is not None
        for name, factor, minimum in (("mass", mass, POSITIVE), ("friction", friction, POSITIVE), ("gravity", gravity, 0)):
            self._world[name] = float(check_array(name, factor, (), minimum))
            if factor != 1 and not is_mujoco:
                raise ValueError(
                    f"`{name}` must be 1 outside MuJoCo environments (those whose `unwrapped.model` is a mujoco.MjModel), "
                    f"not {factor!r}: {env.unwrapped}"
                )
        if obstacles is not None:
            self._world["obstacles"] = check_array("obstacles", obstacles, (None, 2, 2), allow_empty=True)
            if not isinstance(env.unwrapped, MultiGoalEnv):
                raise ValueError(f"`obstacles` must be None outside MultiGoalEnv, not {obstacles!r}: {env.unwrapped}")

        # Keeps the noise apart from the environment's random numbers, which have the same seed, and from the noise of another
        # such wrapper in it. Not 0, as NumPy pads seeds with zeros.
        self._noise_stream = 1 + (env.get_wrapper_attr("_noise_stream") if env.has_wrapper_attr("_noise_stream") else 0)
        self._seed(None)
        self._set_world(**self._world)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seed(seed)
        self._arriving.clear()
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(self._act(action))
        return self._observe(observation), reward, terminated, truncated, info

    def close(self) -> None:
        """Close the environment, whose world is as it was loaded then."""
        self._world = {}
        self._set_world()
        super().close()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The copy of a MuJoCo environment has loaded its model anew
        self.__dict__.update(state)
        self._set_world(**self._world)

    def _seed(self, seed: int | None) -> None:
        streams = np.random.SeedSequence(None if seed is None else (seed, self._noise_stream)).spawn(2)
        self._observation_rng, self._action_rng = map(np.random.default_rng, streams)

    def _observe(self, observation: Any) -> Any:
        if not self.observation_noise.any():
            return observation
        space, _ = self._spaces
        noise = self.observation_noise * self._observation_rng.standard_normal(space.shape)
        return np.asarray(np.clip(observation + noise, space.low, space.high), dtype=space.dtype)

    def _act(self, action: Any) -> Any:
        _, space = self._spaces
        if self.action_delay:
            self._arriving.append(np.array(action))  # a copy, as the agent may use its array again
            is_first = len(self._arriving) <= self.action_delay
            # Halved first, as the sum may be too large for the type
            action = (space.low / 2 + space.high / 2).astype(space.dtype) if is_first else self._arriving.popleft()
        if self.action_noise:
            half_range = space.high / 2 - space.low / 2
            noise = self.action_noise * half_range * self._action_rng.standard_normal(space.shape)
            action = np.asarray(np.clip(action + noise, space.low, space.high), dtype=space.dtype)
        return action

    def _set_world(
        self, mass: float = 1.0, friction: float = 1.0, gravity: float = 1.0, obstacles: np.ndarray | None = None
    ) -> None:
        """Give the world these properties, relative to those it was loaded with, which it keeps; by default just those."""
        world: Any = self.unwrapped
        model = _mujoco_model(world)
        if isinstance(world, MultiGoalEnv):
            own = vars(world).setdefault("_loaded", world.obstacles)
            world.obstacles = own if obstacles is None else obstacles
            world._axes = None  # the next frame draws the scene anew
        elif model is not None:
            import mujoco

            loaded = vars(world).setdefault("_loaded", {})
            masses = model.body_mass.copy()
            for factor, names in (
                (mass, ("body_mass", "body_inertia")),
                (friction, ("geom_friction", "pair_friction")),
                (gravity, ("opt.gravity",)),
            ):
                for name in names:
                    field = attrgetter(name)(model)
                    field[...] = factor * loaded.setdefault(name, field.copy())
            if (model.body_mass != masses).any():
                # What MuJoCo has derived from the masses, with data of its own, which this overwrites
                mujoco.mj_setConst(model, mujoco.MjData(model))


def _mujoco_model(env: gym.Env[Any, Any]) -> Any:
    """The ``mujoco.MjModel`` of an environment's world, ``None`` if it has none. Who has one has imported mujoco."""
    mujoco = sys.modules.get("mujoco")
    model = getattr(env.unwrapped, "model", None)
    return model if mujoco is not None and isinstance(model, mujoco.MjModel) else None
