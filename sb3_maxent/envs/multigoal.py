"""A point in the plane that may go to any of several goals."""

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from sb3_maxent.envs._checks import POSITIVE, check_array, check_each, check_indices
from sb3_maxent.envs._draw import RenderMode, SceneEnv

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


class MultiGoalEnv(SceneEnv[np.ndarray, np.ndarray]):
    """
    A point moves in a square by its action, a step of at most 1 along each axis, and the episode ends at a goal.
    All goals are as good: the optimum of maximum-entropy RL visits them equally often, and a unimodal policy can't.

    With a the action and x' the position after the step, the reward is ::

        reward_scale * (-action_cost * |a|^2 - distance_cost * min_g |x' - g|^2 + goal_reward if within a goal)

    The observation is the position, float32 (2,). Leaving the square isn't possible: each coordinate stops at its limit.
    ``info["goal"]`` is the name of the goal reached (``"goal 0"``, counted in the order of ``goals``) or ``None``, and
    ``info["is_success"]`` whether there is one. ``reset(options={"position": (x, y)})`` starts an episode elsewhere.

    ``MultiGoal-v0``, the defaults: soft Q-learning, https://arxiv.org/abs/1702.08165. All numbers are those of its code,
    https://github.com/haarnoja/softqlearning (environments/multigoal.py, and examples/multigoal_sql.py for the 30 steps,
    the reward scale and the probe states).

    ``MultiGoalMaxEnt-v0``: the three goals of S2AC, https://arxiv.org/abs/2405.00987, at distance 5 again, but two of them
    near each other, so that states differ in the entropy that pays. All numbers are those of its code,
    https://github.com/SafaMessaoud/S2AC-Energy-Based-RL-with-Stein-Soft-Actor-Critic
    (STAC/envs/multigoal_max_entropy_env.py): goals within 0.5, a start at exactly the origin (that code has an
    ``init_sigma``, but doesn't use it), rewards as they are (with a temperature of 0.2).
    Its obstacle, put up only after training: ``obstacles=[[[-2, 0], [0, 2]]]``
    (and for four goals, from multigoal_env_obstacles.py: ``[[[-1.5, 3], [1.5, 3]]]``).

    :param goals: (G, 2), positions
    :param rewarded_goals: indices of the goals that attract, pay and end the episode; ``None``: all.
        For an agent that is blind to the others' reward: to it they are places as any other, since a goal that only
        ended the episode would still attract, as the way out of the costs. They keep their number and are drawn grey.
    :param goal_threshold: distance from a goal, in (0, inf), below which it is reached
    :param goal_reward: reward for reaching a goal, before scaling: a number, or (G,), one for each goal
    :param action_cost: cost of a step of length 1, in [0, inf), before scaling; it grows with the length's square
    :param distance_cost: cost at distance 1 from the nearest goal, in [0, inf), before scaling; it grows with the square
    :param reward_scale: factor on all rewards, in (0, inf); it is 1 / temperature up to a common factor
    :param init_position: (2,), mean of the first position
    :param init_sigma: standard deviation of the first position along each axis, in [0, inf)
    :param limits: (2,), lowest and highest value of each coordinate
    :param obstacles: (O, 2, 2), walls without thickness, each from a point to a point. A step whose straight line touches
        a wall isn't made: the point stays, and pays for the action and for where it is.
        (A step along a wall's own line is made: there is nothing to cross.)
    :param probe_states: (P, 2), positions at which to look at a policy; they are only drawn, and kept as an attribute
    :param render_mode: ``"rgb_array"`` or ``None``
    :raises ValueError: naming the argument, for one out of range
    """

    def __init__(
        self,
        goals: ArrayLike = ((5, 0), (-5, 0), (0, 5), (0, -5)),
        rewarded_goals: list[int] | None = None,
        goal_threshold: float = 1.0,
        goal_reward: ArrayLike = 10.0,
        action_cost: float = 30.0,
        distance_cost: float = 1.0,
        reward_scale: float = 0.1,
        init_position: ArrayLike = (0.0, 0.0),
        init_sigma: float = 0.1,
        limits: tuple[float, float] = (-7.0, 7.0),
        obstacles: ArrayLike = (),
        probe_states: ArrayLike = ((-2.5, 0), (0, 0), (2.5, 2.5)),
        render_mode: RenderMode | None = None,
    ):
        super().__init__(render_mode)
        low, high = check_array("limits", limits, (2,))
        if not low < high:
            raise ValueError(f"`limits` must be (low, high) with low < high, not {limits!r}")
        self.limits = float(low), float(high)
        self.goals = check_array("goals", goals, (None, 2), *self.limits)
        n_goals = len(self.goals)
        self.rewarded_goals = check_indices(
            "rewarded_goals", range(n_goals) if rewarded_goals is None else rewarded_goals, n_goals
        )
        if not len(self.rewarded_goals):
            raise ValueError("`rewarded_goals` must name at least one goal, not none")
        self.goal_threshold = float(check_array("goal_threshold", goal_threshold, (), POSITIVE))
        self.goal_reward = check_each("goal_reward", goal_reward, n_goals)
        self.action_cost = float(check_array("action_cost", action_cost, (), 0))
        self.distance_cost = float(check_array("distance_cost", distance_cost, (), 0))
        self.reward_scale = float(check_array("reward_scale", reward_scale, (), POSITIVE))
        self.init_position = check_array("init_position", init_position, (2,), *self.limits)
        self.init_sigma = float(check_array("init_sigma", init_sigma, (), 0))
        self.obstacles = check_array("obstacles", obstacles, (None, 2, 2), allow_empty=True)
        self.probe_states = check_array("probe_states", probe_states, (None, 2), allow_empty=True)
        self.observation_space = spaces.Box(*self.limits, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        position = self.init_position + self.init_sigma * self.np_random.standard_normal(2)
        if options and "position" in options:
            position = check_array("options['position']", options["position"], (2,), *self.limits)
        self.position = self._clip(position)
        self.trajectory = [self.position]
        return self.position.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        action = np.clip(np.asarray(action, dtype=np.float64), -1, 1)
        position = self._clip(self.position + action)
        if not self._is_blocked(self.position, position):
            self.position = position
        self.trajectory.append(self.position)
        reward = self.reward_at(self.position) - self.reward_scale * self.action_cost * np.sum(action**2)
        goal = int(self.goal_at(self.position))
        info = {"goal": f"goal {goal}" if goal >= 0 else None, "is_success": goal >= 0}
        return self.position.copy(), float(reward), goal >= 0, False, info

    def reward_at(self, positions: ArrayLike) -> np.ndarray:
        """
        What it pays to arrive somewhere: the reward without the action's cost.

        :param positions: (..., 2)
        :return: (...), scaled
        """
        squared_distance, nearest = self._nearest_goal(positions)
        bonus = np.where(squared_distance < self.goal_threshold**2, self.goal_reward[nearest], 0)
        return self.reward_scale * (bonus - self.distance_cost * squared_distance)

    def goal_at(self, positions: ArrayLike) -> np.ndarray:
        """
        :param positions: (..., 2)
        :return: (...), the index in ``goals`` of the goal reached there, -1 for none
        """
        squared_distance, nearest = self._nearest_goal(positions)
        return np.where(squared_distance < self.goal_threshold**2, nearest, -1)

    def _nearest_goal(self, positions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Squared distance (...) to the nearest of the rewarded goals, and its index in ``goals`` (...)."""
        offsets = np.asarray(positions, dtype=np.float64)[..., None, :] - self.goals[self.rewarded_goals]
        squared_distances = (offsets**2).sum(axis=-1)  # (..., R)
        return squared_distances.min(axis=-1), self.rewarded_goals[squared_distances.argmin(axis=-1)]

    def _clip(self, position: np.ndarray) -> np.ndarray:
        # Kept as float32, so that the observation is the whole state
        return np.clip(position, *self.limits).astype(np.float32)

    def _is_blocked(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Whether the line from ``start`` to ``end``, both (2,), touches an obstacle."""

        def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

        move = end.astype(np.float64) - start
        wall = self.obstacles[:, 1] - self.obstacles[:, 0]
        offset = self.obstacles[:, 0] - start
        # start + t * move = wall's start + u * wall; parallel lines give NaN or infinity, which no comparison holds for
        with np.errstate(divide="ignore", invalid="ignore"):
            t, u = cross(offset, wall) / cross(move, wall), cross(offset, move) / cross(move, wall)
        return bool(((t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)).any())

    def _draw_background(self, axes: "Axes") -> None:
        axis = np.linspace(*self.limits, 141)
        positions = np.stack(np.meshgrid(axis, axis), axis=-1)
        axes.contour(axis, axis, self.reward_at(positions), levels=20, linewidths=0.7)
        for index, (x, y) in enumerate(self.goals):
            colour = "tab:red" if index in self.rewarded_goals else "tab:gray"
            circle = np.linspace(0, 2 * np.pi, 60)
            axes.fill(
                x + self.goal_threshold * np.cos(circle), y + self.goal_threshold * np.sin(circle), color=colour, alpha=0.3
            )
            axes.annotate(str(index), (x, y), color=colour, ha="center", va="center")
        axes.plot(*self.obstacles.transpose(2, 1, 0), color="tab:brown", linewidth=3)
        axes.plot(*self.probe_states.T, "x", color="black", markersize=5)
        axes.set(xlim=self.limits, ylim=self.limits)

    def _draw_episode(self, axes: "Axes") -> "list[Artist]":
        path = np.stack(self.trajectory)
        return [*axes.plot(*path.T, ".-", color="tab:blue"), *axes.plot(*path[-1], "o", color="tab:blue")]
