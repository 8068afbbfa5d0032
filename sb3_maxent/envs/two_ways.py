"""A ball in a maze with two ways to the goal, simulated by MuJoCo."""

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from gymnasium import spaces

from sb3_maxent.envs._checks import POSITIVE, check_array
from sb3_maxent.envs._draw import RenderMode, SceneEnv

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Way = Literal["up", "down"]

# One character a cell of 1 m, the middle cell is the origin: # wall, S start, G goal, u and d the two ways' middles
MAZE = (
    "#######",
    "##.u.##",
    "#S.#.G#",
    "##.d.##",
    "#######",
)
CELLS = {
    (column - 3, 2 - row): character for row, characters in enumerate(MAZE) for column, character in enumerate(characters)
}
START, GOAL = (next(place for place, character in CELLS.items() if character == wanted) for wanted in "SG")

# Of the observation. A constant force of 20 N at a damping of 3 leads to 6.7 m/s
LIMITS = np.array([3.5, 2.5, 10, 10], dtype=np.float32)

BALL = """
<mujoco>
  <option timestep="0.02" gravity="0 0 0"/>
  <worldbody>
    {walls}
    <body name="ball">
      <joint name="x" type="slide" axis="1 0 0" damping="3"/>
      <joint name="y" type="slide" axis="0 1 0" damping="3"/>
      <geom name="ball" type="sphere" size="0.1" mass="1"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/>
    <motor joint="y" gear="20" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""
WALL = '<geom type="box" pos="{} {} 0" size="0.5 0.5 0.5"/>'


class TwoWaysEnv(SceneEnv[np.ndarray, np.ndarray]):
    """
    A ball is pushed through a maze to a goal, around a block in the middle. Both ways are equally long, and either of them can
    be closed, before or after training. What is a policy worth that knows both?

    The maze, of 7 x 5 cells of 1 m with the origin in the block (S start, G goal, u and d the two ways' middles)::

        #######
        ##.u.##
        #S.#.G#
        ##.d.##
        #######

    An action is the force along each axis, in [-1, 1] of 20 N, held for ``frame_skip`` steps of MuJoCo of 0.02 s. The ball has
    a mass of 1 kg, a radius of 0.1 m and a damping of 3 N s/m, so that no axis is faster than 6.7 m/s. The observation is
    position and velocity (x, y, vx, vy), float32 (4,); that a way is closed can't be seen.

    Each action costs 1 until the ball is within ``goal_threshold`` of the goal, which ends the episode and costs nothing. So
    the return counts actions.

    ``info["way"]`` is ``"up"`` or ``"down"``, where the ball was last in the middle of a way, ``None`` before, and
    ``info["is_success"]`` whether the goal is reached.

    ``TwoWays-v0``, the defaults, has at most 40 actions. It is in the manner of D4RL's mazes (https://arxiv.org/abs/2004.07219)
    and Gymnasium-Robotics' PointMaze, with a maze and a ball of its own.

    :param closed: the way that a wall closes in its middle, ``"up"`` or ``"down"``; ``None``: both are open
    :param frame_skip: steps of MuJoCo for which an action is held, a whole number >= 1
    :param reset_noise_scale: the start is drawn evenly from a square with sides of twice this length (m) around the middle of
        its cell, in [0, 0.4]
    :param goal_threshold: distance from the goal's middle (m) at which it is reached, in (0, 1]
    :param render_mode: ``"rgb_array"`` or ``None``
    :raises ValueError: naming the argument, for one out of range
    :raises ImportError: without mujoco
    """

    def __init__(
        self,
        closed: Way | None = None,
        frame_skip: int = 10,
        reset_noise_scale: float = 0.1,
        goal_threshold: float = 0.45,
        render_mode: RenderMode | None = None,
    ):
        super().__init__(render_mode)
        if closed not in (None, *get_args(Way)):
            raise ValueError(f"`closed` must be None, 'up' or 'down', not {closed!r}")
        if check_array("frame_skip", frame_skip, (), 1) % 1:
            raise ValueError(f"`frame_skip` must be a whole number of steps, not {frame_skip!r}")
        self.closed = closed
        self.frame_skip = int(frame_skip)
        self.reset_noise_scale = float(check_array("reset_noise_scale", reset_noise_scale, (), 0, 0.4))
        self.goal_threshold = float(check_array("goal_threshold", goal_threshold, (), POSITIVE, 1))
        try:
            import mujoco
        except ImportError as error:
            raise ImportError(f'TwoWays-v0 needs mujoco: pip install "sb3_maxent[mujoco]" ({error})') from error

        self.walls = np.array(
            [place for place, character in CELLS.items() if character == "#" or (closed and character == closed[0])]
        )
        self.model = mujoco.MjModel.from_xml_string(BALL.format(walls="\n".join(WALL.format(*wall) for wall in self.walls)))
        self.data = mujoco.MjData(self.model)
        self.observation_space = spaces.Box(-LIMITS, LIMITS, dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        import mujoco

        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = START + self.np_random.uniform(-self.reset_noise_scale, self.reset_noise_scale, 2)
        mujoco.mj_forward(self.model, self.data)
        self.way: Way | None = None
        self.trajectory = [tuple(self.data.qpos)]
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        import mujoco

        self.data.ctrl[:] = action
        reached = False
        for _ in range(self.frame_skip):
            mujoco.mj_step(self.model, self.data)
            x, y = self.data.qpos.tolist()
            self.trajectory.append((x, y))
            if abs(x) < 0.5:  # above or below the block
                self.way = "up" if y > 0 else "down"
            reached = math.dist((x, y), GOAL) <= self.goal_threshold
            if reached:
                break
        return self._observe(), 0.0 if reached else -1.0, reached, False, {"way": self.way, "is_success": reached}

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel]).astype(np.float32)

    def _draw_background(self, axes: "Axes") -> None:
        for x, y in self.walls:
            axes.fill([x - 0.5, x + 0.5, x + 0.5, x - 0.5], [y - 0.5, y - 0.5, y + 0.5, y + 0.5], color="tab:gray")
        circle = np.linspace(0, 2 * np.pi, 60)
        x, y = GOAL
        axes.fill(
            x + self.goal_threshold * np.cos(circle), y + self.goal_threshold * np.sin(circle), color="tab:blue", alpha=0.3
        )
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))

    def _draw_episode(self, axes: "Axes") -> "list[Artist]":
        path = np.array(self.trajectory)
        return [*axes.plot(*path.T, color="tab:orange"), *axes.plot(*path[-1], "o", color="tab:orange")]
