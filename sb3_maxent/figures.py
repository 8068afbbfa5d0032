"""
Figures of policies with two-dimensional actions, with matplotlib.

A ``draw_`` function draws into the axes that it is given and returns what it drew; a ``_figure`` function makes the figure
(``figure.savefig("name.png")`` writes it, ``display(figure)`` shows it in a notebook). Models, states and the scaling of
actions are those of :mod:`sb3_maxent.measures`.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike
from stable_baselines3.common.type_aliases import PolicyPredictor

from sb3_maxent.measures import Episode, action_dim, has_q_function, play, q_function, sample_actions
from sb3_maxent.reference import histogram_kl
from sb3_maxent.reporting.looks import BLUE, INK, ORANGE, PINK, legend_of_panels, rows_and_columns

try:
    import pandas as pd
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise ImportError(f'Figures need matplotlib and pandas: pip install "sb3_maxent[figures]" ({error})') from error

ActionFunction = Callable[[np.ndarray], np.ndarray]
# What draw_trajectories needs of an environment
SCENE = ("limits", "goals", "obstacles", "probe_states", "reward_at")
# Cells per dimension of drawn histograms: those of reference.histogram_kl
BINS = 20
CONTOURS = "viridis"
# Of trajectories by whether a wall stopped them, and whether they reach a goal
FREE = {"color": BLUE, "linestyle": "-", "label": "trajectory"}
AROUND = {"color": ORANGE, "linestyle": "-", "label": "blocked, reaches a goal"}
STUCK = {"color": PINK, "linestyle": "--", "label": "blocked, reaches none"}


# ---------------------------------------------------------------------- the actions in a state


def draw_q(model: PolicyPredictor, axes: Axes, state: ArrayLike, n_grid: int = 50, levels: int = 15) -> QuadContourSet:
    """
    Draw contours of Q over the actions in one state.

    :param model: one that has critics, see :func:`~sb3_maxent.measures.q_function`
    :param axes: where to draw
    :param state: one observation
    :param n_grid: points along each axis
    :param levels: about how many contours
    :return: the contours, for instance for a colour bar
    :raises TypeError: for a model without critics
    :raises ValueError: for a state of another shape, or actions that are not from a bounded ``Box`` of two dimensions
    """
    _check_actions(model)
    x, y, actions = _grid(np.linspace(-1, 1, n_grid))
    contours = axes.contour(x, y, q_function(model, state)(actions).reshape(x.shape), levels, cmap=CONTOURS)
    _action_axes(axes)
    return contours


def draw_actions(model: PolicyPredictor, axes: Axes, state: ArrayLike, n_actions: int = 300) -> np.ndarray:
    """
    Draw actions that a policy samples in one state, as points.

    :param model: what acts
    :param axes: where to draw
    :param state: one observation
    :param n_actions: how many
    :return: (n_actions, 2), the actions
    :raises ValueError: for a state of another shape, or actions that are not from a bounded ``Box`` of two dimensions
    """
    _check_actions(model)
    actions = sample_actions(model, state, n_actions)
    axes.plot(*actions.T, ".", color=BLUE, markersize=3, label="sampled action")
    _action_axes(axes)
    return actions


def draw_density(log_density: ActionFunction, axes: Axes, n_grid: int = 100, highest: float | None = None) -> QuadMesh:
    """
    Draw a density that is known: ``MixtureBandit``'s optimum is ``env.unwrapped.log_prob``, that of a learned Q
    :func:`~sb3_maxent.reference.optimal_log_density` of :func:`~sb3_maxent.measures.q_function`.

    :param log_density: actions (M, 2) in [-1, 1] to log-densities (M,)
    :param axes: where to draw
    :param n_grid: cells along each axis; each has the colour of its centre
    :param highest: density at the end of the colour map, the largest of the cells if ``None``
    :return: what was drawn, for instance for a colour bar
    """
    edges = np.linspace(-1, 1, n_grid + 1)
    x, _, actions = _grid((edges[1:] + edges[:-1]) / 2)
    return _draw_cells(axes, edges, np.exp(log_density(actions)).reshape(x.shape), highest)


def draw_action_density(
    model: PolicyPredictor, axes: Axes, state: ArrayLike, n_actions: int = 20_000, highest: float | None = None
) -> np.ndarray:
    """
    Draw the density of the actions that a policy samples in one state, by their histogram of 20 x 20 cells.

    :param model: what acts
    :param axes: where to draw
    :param state: one observation
    :param n_actions: how many
    :param highest: density at the end of the colour map, the largest of the cells if ``None``
    :return: (n_actions, 2), the actions
    :raises ValueError: for a state of another shape, or actions that are not from a bounded ``Box`` of two dimensions
    """
    _check_actions(model)
    actions = sample_actions(model, state, n_actions)
    density, edges, _ = np.histogram2d(actions[:, 0], actions[:, 1], bins=BINS, range=[(-1, 1)] * 2, density=True)
    _draw_cells(axes, edges, density.T, highest)
    return actions


def density_figure(
    models: Mapping[str, PolicyPredictor], state: ArrayLike, log_density: ActionFunction, n_actions: int = 20_000
) -> tuple[Figure, dict[str, float]]:
    """
    Exact beside learned densities of the actions in one state, all in the same colours.

    :param models: by their names
    :param state: one observation
    :param log_density: the exact one, actions (M, 2) in [-1, 1] to log-densities (M,), normalized
    :param n_actions: how many to sample of each model
    :return: the figure, at most three panels in a row, and for each model the KL divergence of its actions from the exact
        density, in nats (see :func:`~sb3_maxent.reference.histogram_kl`)
    :raises ValueError: without a model, or as :func:`draw_action_density`
    """
    _check_models(models)
    n_rows, n_columns = rows_and_columns(1 + len(models))
    figure = Figure(figsize=(3.2 * n_columns + 0.8, 3.3 * n_rows), layout="constrained")
    first, *others = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    mesh = draw_density(log_density, first)
    highest = mesh.get_clim()[1]
    first.set_title("exact")
    divergences = {}
    for (name, model), axes in zip(models.items(), others, strict=False):
        actions = draw_action_density(model, axes, state, n_actions, highest)
        divergences[name] = histogram_kl(actions, log_density, BINS)
        axes.set_title(f"{name}, KL {divergences[name]:.2f}")
    for axes in others[len(models) :]:
        axes.remove()
    figure.colorbar(mesh, ax=figure.axes, label="density", extend="max", shrink=0.8)
    return figure, divergences


# ---------------------------------------------------------------------- goals in the plane


def draw_trajectories(model: PolicyPredictor, axes: Axes, env: gym.Env, n_episodes: int = 20) -> list[Episode]:
    """
    Draw episodes with sampled actions, over the contours of the reward for where the point is. Those that a wall stopped are
    orange if they still reach a goal, and dashed in pink if they don't; the others are blue. Goals are stars, probe states
    crosses. No legend: ``axes.legend()``, or that of :func:`multigoal_figure`.

    :param model: what acts
    :param axes: where to draw
    :param env: ``MultiGoal-v0``, a variant of it, or another one with positions as observations and its attributes
        ``limits``, ``goals``, ``obstacles``, ``probe_states`` and ``reward_at``
    :param n_episodes: how many; they have the seeds 0, 1, 2, ...
    :return: the episodes
    :raises ValueError: for another environment
    """
    scene = _scene(env)
    low, high = scene.limits
    x, y, positions = _grid(np.linspace(low, high, 80))
    axes.contour(x, y, scene.reward_at(positions).reshape(x.shape), 12, alpha=0.3, cmap=CONTOURS)
    episodes = [play(model, env, seed) for seed in range(n_episodes)]
    for episode in episodes:
        axes.plot(*episode.observations.T, linewidth=0.8, **_trajectory(episode))
    axes.plot(*scene.goals.T, "*", color=INK, markersize=10, label="goal")
    axes.plot(*scene.probe_states.T, "x", color=INK, markersize=6, label="probe state")
    for wall in scene.obstacles:
        axes.plot(*wall.T, "-", color=INK, linewidth=3, label="wall")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="x", ylabel="y")
    return episodes


def multigoal_figure(models: Mapping[str, PolicyPredictor], env: gym.Env) -> Figure:
    """
    The figure of soft Q-learning's and S2AC's papers, a block for each model: trajectories, then for each of the
    environment's probe states sampled actions over the contours of Q (without the contours for a model that has no Q, as
    PPO). At most three panels stand in a row.

    :param models: by their names
    :param env: see :func:`draw_trajectories`
    :return: the figure
    :raises ValueError: without a model, or for another environment
    """
    _check_models(models)
    probe_states = _scene(env).probe_states
    n_rows, n_columns = rows_and_columns(1 + len(probe_states))
    figure = Figure(figsize=(3.1 * n_columns, 3.2 * n_rows * len(models) + 0.7), layout="constrained")
    blocks = figure.subfigures(len(models), 1, squeeze=False)[:, 0]
    for (name, model), block in zip(models.items(), blocks, strict=True):
        block.suptitle(name)
        first, *others = block.subplots(n_rows, n_columns, squeeze=False).ravel()
        draw_trajectories(model, first, env)
        first.set_title("trajectories")
        for state, axes in zip(probe_states, others, strict=False):
            with_q = has_q_function(model)
            if with_q:
                draw_q(model, axes, state)
            draw_actions(model, axes, state)
            axes.set_title(f"{'Q and actions' if with_q else 'actions'} at ({state[0]:g}, {state[1]:g})")
        for axes in others[len(probe_states) :]:
            axes.remove()
    _legend(figure, n_columns)
    return figure


def trajectories_figure(models: Mapping[str, PolicyPredictor], env: gym.Env, n_episodes: int = 40) -> Figure:
    """
    Trajectories of several models beside each other, and how many of the goals each reaches.

    :param models: by their names
    :param env: see :func:`draw_trajectories`
    :param n_episodes: number of episodes of each model; they have the seeds 0, 1, 2, ...
    :return: the figure, a panel for each model, at most three in a row
    :raises ValueError: without a model, or for another environment
    """
    _check_models(models)
    n_goals = len(_scene(env).goals)
    n_rows, n_columns = rows_and_columns(len(models))
    figure = Figure(figsize=(3.6 * n_columns, 3.7 * n_rows + 1), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for (name, model), axes in zip(models.items(), panels, strict=False):
        episodes = draw_trajectories(model, axes, env, n_episodes)
        reached = {episode.info["goal"] for episode in episodes if episode.info["is_success"]}
        axes.set_title(f"{name}: {len(reached)} of {n_goals} goals")
    for axes in panels[len(models) :]:
        axes.remove()
    _legend(figure, n_columns)
    return figure


def _trajectory(episode: Episode) -> dict[str, Any]:
    if not episode.blocked:
        return FREE
    return AROUND if episode.info["is_success"] else STUCK


def _legend(figure: Figure, n_columns: int) -> None:
    """What the panels show, each once, below them."""
    handles = legend_of_panels(figure)
    handles["contours, yellow is high"] = Line2D([], [], color=colormaps[CONTOURS](0.8))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns, fontsize="small")


# ---------------------------------------------------------------------- training


def draw_entropy(
    source: str | Path | tuple[ArrayLike, ArrayLike],
    axes: Axes,
    target_entropy: float | None = None,
    label: str | None = None,
    column: str = "train/entropy",
) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw the policy's entropy over training, for any kind of action.

    :param source: the ``progress.csv`` of SB3's logger (or its folder), or steps and values, both (N,)
    :param axes: where to draw
    :param target_entropy: drawn as a dashed line, in nats
    :param label: name of the curve in the legend
    :param column: what of the file to draw
    :return: environment steps (N,) and values (N,)
    :raises ValueError: if the file has no such column, or nothing in it; for steps and values of other shapes
    """
    steps, values = _read_progress(Path(source), column) if isinstance(source, str | Path) else map(np.asarray, source)
    if steps.ndim != 1 or steps.shape != values.shape or not len(steps):
        raise ValueError(f"`source` must have as many steps as values, at least one, not {steps.shape} and {values.shape}")
    (line,) = axes.plot(steps, values, label=label)
    if target_entropy is not None:
        axes.axhline(target_entropy, color=line.get_color(), linestyle="--")
    axes.set(xlabel="environment steps", ylabel="entropy, nats" if column == "train/entropy" else column)
    if label is not None:
        axes.legend()
    return steps, values


def _read_progress(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one column, where it has values."""
    path = path / "progress.csv" if path.is_dir() else path
    frame = pd.read_csv(path)
    for name in ("time/total_timesteps", column):
        if name not in frame:
            nearest = difflib.get_close_matches(name, frame.columns, n=3, cutoff=0.4) or list(frame.columns)
            raise ValueError(f"{path} has no column {name!r}. The nearest: {', '.join(map(repr, nearest))}")
    frame = frame[["time/total_timesteps", column]].dropna()
    if frame.empty:
        raise ValueError(f"{path} has no values in the column {column!r}")
    return frame["time/total_timesteps"].to_numpy(), frame[column].to_numpy()


# ---------------------------------------------------------------------- shared


def _grid(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (n, n) and (n, n) of all pairs from an axis (n,), and the pairs (n * n, 2)."""
    x, y = np.meshgrid(axis, axis)
    return x, y, np.stack([x.ravel(), y.ravel()], axis=1)


def _draw_cells(axes: Axes, edges: np.ndarray, densities: np.ndarray, highest: float | None) -> QuadMesh:
    """Densities (n, n), those of one line for equal second coordinates."""
    highest = densities.max() if highest is None else highest
    # Pixels in an SVG too, where each of the cells would be a path
    mesh = axes.pcolormesh(edges, edges, densities, vmin=0, vmax=highest, rasterized=True)
    axes.grid(visible=False)
    _action_axes(axes)
    return mesh


def _action_axes(axes: Axes) -> None:
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xlabel="action[0]", ylabel="action[1]")


def _check_actions(model: PolicyPredictor) -> None:
    if action_dim(model) != 2:
        raise ValueError(f"`model` must have actions of 2 dimensions, not {action_dim(model)}")


def _check_models(models: Mapping[str, PolicyPredictor]) -> None:
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"`models` must be a dictionary with at least one model, not {models!r}")


def _scene(env: gym.Env) -> Any:
    """The environment below its wrappers, if it is a MultiGoal."""
    missing = [name for name in SCENE if not hasattr(env.unwrapped, name)]
    if missing:
        raise ValueError(f"`env` must be a MultiGoal environment, not {env}, which has no {', '.join(missing)}")
    return env.unwrapped
