"""Finite Markov decision processes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from sb3_maxent.envs._checks import check_array, check_distribution, check_indices, n_axes
from sb3_maxent.envs._draw import RenderMode, SceneEnv

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def chain(n_states: int = 5, slip: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """
    A row of states with the actions left (0) and right (1); a step fails with probability ``slip``, and the state stays.
    Going left in the first state pays 0.2, going right in the last one 1, all else nothing. Chosen here.

    :param n_states: number of states S, at least 2
    :param slip: in [0, 1]
    :return: transitions (S, 2, S) and rewards (S, 2)
    """
    transitions, rewards = np.zeros((n_states, 2, n_states)), np.zeros((n_states, 2))
    states = np.arange(n_states)
    for action, step in enumerate((-1, 1)):
        transitions[states, action, states] = slip
        transitions[states, action, (states + step).clip(0, n_states - 1)] += 1 - slip
    rewards[0, 0], rewards[-1, 1] = 0.2, 1.0
    return transitions, rewards


class TabularMDPEnv(SceneEnv[Any, Any]):
    """
    Any finite MDP, observed as a ``Discrete`` state: what soft value iteration solves exactly.
    By default a :func:`chain` of five states.

    :param transitions: (S, A, S), the probability of each next state; each row sums to 1
    :param rewards: (S, A), or (S, A, S) where they depend on the next state. The attribute ``rewards`` is the
        expectation over next states, (S, A).
    :param horizon: number of steps after which an episode is truncated, at least 1
    :param start: the action space's first action
    :param initial: (S,), the distribution of the first state; ``None``: uniform over the states that aren't terminal
    :param terminal: the states that end the episode when they are entered; their own rows are never used
    :param render_mode: ``"rgb_array"`` or ``None``
    :raises ValueError: naming the argument, for one out of range
    """

    def __init__(
        self,
        transitions: ArrayLike | None = None,
        rewards: ArrayLike | None = None,
        horizon: int = 50,
        start: int = 0,
        initial: ArrayLike | None = None,
        terminal: Iterable[int] = (),
        render_mode: RenderMode | None = None,
    ):
        super().__init__(render_mode)
        if (transitions is None) != (rewards is None):
            raise ValueError("`transitions` and `rewards` must be given together or not at all")
        if transitions is None:
            transitions, rewards = chain()
        self.transitions = check_distribution("transitions", transitions, (None, None, None))
        n_states, n_actions, n_next = self.transitions.shape
        if n_next != n_states:
            raise ValueError(f"`transitions` must have the shape (S, A, S), not {self.transitions.shape}")
        shape = (n_states, n_actions, n_states)[: max(n_axes(rewards), 2)]
        self._rewards = np.broadcast_to(
            check_array("rewards", rewards, shape).reshape((*shape, 1)[:3]), self.transitions.shape
        )
        self.rewards = (self.transitions * self._rewards).sum(axis=-1)
        for name, value, minimum in (("horizon", horizon, 1), ("start", start, float("-inf"))):
            if check_array(name, value, (), minimum) % 1:
                raise ValueError(f"`{name}` must be an integer, not {value!r}")
        self.horizon, self.start = int(horizon), int(start)
        self.terminal = check_indices("terminal", terminal, n_states)
        alive = np.ones(n_states)
        alive[self.terminal] = 0
        if not alive.any():
            raise ValueError("`terminal` must leave at least one state, not name all")
        self.initial = check_distribution("initial", alive / alive.sum() if initial is None else initial, (n_states,))
        if self.initial[self.terminal].any():
            raise ValueError(f"`initial` must be 0 in the terminal states {self.terminal.tolist()}, not {initial!r}")
        self.observation_space = spaces.Discrete(n_states)
        self.action_space = spaces.Discrete(n_actions, start=self.start)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self._draw_state(self.initial)
        self.trajectory = [self.state]
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):  # a negative one would count from the end of the table
            raise ValueError(f"The action must be in {self.action_space}, not {action!r}")
        before, index = self.state, int(action) - self.start
        self.state = self._draw_state(self.transitions[before, index])
        self.trajectory.append(self.state)
        reward = float(self._rewards[before, index, self.state])
        return self.state, reward, self.state in self.terminal, len(self.trajectory) > self.horizon, {}

    def _draw_state(self, probabilities: np.ndarray) -> int:
        return int(self.np_random.choice(len(probabilities), p=probabilities))

    def _places(self) -> np.ndarray:
        """(S, 2), the states on a circle."""
        angles = np.pi / 2 - 2 * np.pi * np.arange(len(self.initial)) / len(self.initial)
        return np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def _draw_background(self, axes: "Axes") -> None:
        places = self._places()
        for origin, end in np.argwhere(self.transitions.max(axis=1) > 0):
            if origin not in self.terminal:
                axes.plot(*places[[origin, end]].T, color="tab:gray", linewidth=0.7)
        colours = ["tab:red" if state in self.terminal else "lightgray" for state in range(len(places))]
        axes.scatter(places[:, 0], places[:, 1], s=500, c=colours, zorder=2)
        for state, place in enumerate(places):
            axes.annotate(str(state), 1.18 * place, ha="center", va="center")
        axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), xticks=[], yticks=[])

    def _draw_episode(self, axes: "Axes") -> "list[Artist]":
        """The current state in blue, how it was reached, and the number of steps."""
        places = self._places()
        return [
            *axes.plot(*places[self.trajectory[-2:]].T, color="tab:blue", linewidth=2),
            *axes.plot(*places[self.state], "o", color="tab:blue", markersize=22),
            axes.annotate(f"step {len(self.trajectory) - 1}", (0, 0), ha="center", va="center"),
        ]
