"""Measures and figures of policies: what is measured and drawn is what the model and the environment say."""

import importlib
import math
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from toys import Toy, make_model

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning, figures, measures
from sb3_maxent.reference import gaussian_entropy, grid, soft_value_by_quadrature
from sb3_maxent.reporting.looks import BLUE, ORANGE, PINK, rows_and_columns

ALGORITHMS = (S2AC, SACNF, MixtureSAC, SoftQLearning, SAC, TQC)
STATE = [-2.5, 0.5]
SQUARE = spaces.Box(-1, 1, (2,))


@pytest.fixture(scope="module")
def models():
    """Small and untrained: the biases of their critics are random, so that Q is no symmetric function"""
    every: tuple[Any, ...] = (*ALGORITHMS, PPO)
    made = {
        algorithm.__name__: algorithm(
            "MlpPolicy",
            "MultiGoal-v0",
            seed=0,
            device="cpu",
            policy_kwargs={"net_arch": [32]},
            **({} if algorithm is PPO else {"buffer_size": 10}),
        )
        for algorithm in every
    }
    return made


@pytest.fixture
def axes():
    return Figure().subplots()


class Script:
    """A model whose actions a function says, for each row of the observations"""

    observation_space = spaces.Box(-7, 7, (2,))

    def __init__(self, act, action_space=SQUARE):
        self.act, self.action_space = act, action_space

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert not deterministic, "actions are to be sampled"
        return np.asarray(self.act(np.asarray(observation)), dtype=np.float32), None


def q_by_networks(model, actions):
    """Q of the state by the networks one by one"""
    inputs = th.cat([th.tensor(STATE).expand(len(actions), -1), th.as_tensor(actions, dtype=th.float32)], dim=1)
    with th.no_grad():
        values = [net(inputs).numpy() for net in model.critic.q_networks]
    if isinstance(model, TQC):  # of (actions, quantiles) for each network
        return np.mean([value.mean(axis=1) for value in values], axis=0)
    return np.min(values, axis=0)[:, 0]


# ---------------------------------------------------------------------- measures


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_q_function(models, algorithm):
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    values = measures.q_function(models[algorithm.__name__], STATE)(actions)
    assert values.dtype == np.float64 and np.ptp(values) > 0.01
    np.testing.assert_allclose(values, q_by_networks(models[algorithm.__name__], actions), atol=1e-6)


def test_q_function_of_other_spaces():
    """An observation that is no float, and batch norm that keeps its statistics although the model was being trained"""
    model = make_model(SAC, spaces.Box(-2, 3, (2,)), spaces.Discrete(4), steps=10)
    model.policy.set_training_mode(True)
    assert measures.q_function(model, 3)(np.zeros((5, 2))).shape == (5,)
    assert not model.critic.training


def test_sampled_actions_are_those_of_predict(models):
    for model in models.values():
        th.manual_seed(1)
        actions = measures.sample_actions(model, STATE, 40)
        th.manual_seed(1)
        np.testing.assert_allclose(
            actions, model.predict(np.tile(np.array(STATE, np.float32), (40, 1)), deterministic=False)[0]
        )
        assert len(np.unique(actions[:, 0])) > 20


def test_actions_are_scaled():
    model = Script(lambda observations: np.tile([[-2.0, 1.5], [4.0, 1.0], [1.0, 9.0]], (4, 1)))
    model.action_space = spaces.Box(np.array([-2.0, 1.0], np.float32), np.array([4.0, 2.0], np.float32))
    actions = measures.sample_actions(model, STATE, 12)
    # The last one is out of bounds
    np.testing.assert_array_equal(actions, np.tile([[-1, 0], [1, -1], [0, 1]], (4, 1)))


@pytest.mark.parametrize("ent_coef", [0.05, 0.2])
def test_entropy_of_a_quadratic_q(models, monkeypatch, ent_coef):
    """exp(Q / alpha) of Q = -|a - m|^2 / (2 v) is a Gaussian with variance alpha v, here nearly all of it inside of the box"""
    mean, variance = th.tensor([0.1, -0.2]), 0.1

    def forward(observations, actions):
        q_values = -0.5 * (actions - mean).square().sum(dim=1, keepdim=True) / variance + observations[:, :1]
        return q_values, q_values + 1

    monkeypatch.setattr(models["SAC"].policy.critic, "forward", forward)
    entropy = measures.entropy_of_q(models["SAC"], STATE, ent_coef)
    assert entropy == pytest.approx(gaussian_entropy(ent_coef * variance * np.eye(2)), abs=1e-4)


def test_entropy_of_q_at_the_temperature_of_the_model(models):
    """By another formula: the derivative of V with respect to alpha is the entropy"""
    for name in ("S2AC", "SAC"):
        alpha, q_values = measures.current_ent_coef(models[name]), measures.q_function(models[name], STATE)
        values = [soft_value_by_quadrature(q_values, alpha + step, 2) for step in (0.01, -0.01)]
        assert measures.entropy_of_q(models[name], STATE) == pytest.approx((values[0] - values[1]) / 0.02, abs=1e-3)


def test_current_ent_coef(models):
    assert measures.current_ent_coef(SAC("MlpPolicy", "MultiGoal-v0", ent_coef="auto_0.3", buffer_size=1)) == pytest.approx(
        0.3
    )
    assert measures.current_ent_coef(S2AC("MlpPolicy", "MultiGoal-v0", ent_coef=0.7, buffer_size=1)) == pytest.approx(0.7)
    with pytest.raises(TypeError, match="`model` must have a temperature, which PPO has not"):
        measures.current_ent_coef(models["PPO"])


def test_current_target_entropy(models):
    scheduled = S2AC("MlpPolicy", "MultiGoal-v0", ent_coef="auto", target_entropy="lin_0_-1", buffer_size=1)
    assert measures.current_target_entropy(scheduled) == 0
    assert measures.current_target_entropy(SAC("MlpPolicy", "MultiGoal-v0", target_entropy=-1.5, buffer_size=1)) == -1.5
    with pytest.raises(TypeError, match="`model` must have a target entropy, which PPO has not"):
        measures.current_target_entropy(models["PPO"])


def test_entropy_of_actions():
    """Of samples whose density is known, and not of the action space's own size"""
    rng = np.random.default_rng(0)
    uniform = Script(lambda observations: rng.uniform(-3, 3, observations.shape), spaces.Box(-3, 3, (2,)))
    assert measures.entropy_of_actions(uniform, STATE) == pytest.approx(math.log(4), abs=0.03)
    narrow = Script(lambda observations: rng.normal(0.1, 0.2, observations.shape))
    exact = gaussian_entropy(0.2**2 * np.eye(2))
    assert measures.entropy_of_actions(narrow, STATE, 20_000) == pytest.approx(exact, abs=0.03)


def test_play(models):
    env = gym.make("MultiGoal-v0")
    th.manual_seed(0)
    episode = measures.play(models["S2AC"], env, seed=5)
    np.testing.assert_array_equal(episode.observations, env.unwrapped.trajectory)
    again = gym.make("MultiGoal-v0")
    np.testing.assert_array_equal(again.reset(seed=5)[0], episode.observations[0])
    for action, observation, reward in zip(episode.actions, episode.observations[1:], episode.rewards, strict=True):
        expected = again.step(action)
        np.testing.assert_array_equal(expected[0], observation)
        assert expected[1] == reward
    assert episode.info == expected[4] and not episode.blocked


def test_play_discrete_actions():
    model = make_model(DiscreteSAC, steps=10)
    episode = measures.play(model, Toy())
    assert episode.observations.shape == (11, 3) and episode.actions.shape == episode.rewards.shape == (10,)


# ---------------------------------------------------------------------- the actions in a state


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_contours_lie_where_q_has_their_level(models, axes, algorithm):
    contours = figures.draw_q(models[algorithm.__name__], axes, STATE, n_grid=40)
    values = q_by_networks(models[algorithm.__name__], np.stack(np.meshgrid(*[np.linspace(-1, 1, 40)] * 2), -1).reshape(-1, 2))
    assert (contours.zmin, contours.zmax) == pytest.approx((values.min(), values.max()), abs=1e-5)
    drawn = [(level, lines) for level, lines in zip(contours.levels, contours.allsegs, strict=True) if lines]
    assert len(drawn) > 5
    for level, lines in drawn:
        q_values = q_by_networks(models[algorithm.__name__], np.concatenate(lines))
        np.testing.assert_allclose(q_values, level, atol=0.02 * np.ptp(values))
    assert axes.get_xlim() == axes.get_ylim() == (-1, 1)


def test_drawn_actions(models, axes):
    actions = figures.draw_actions(models["SoftQLearning"], axes, STATE, n_actions=30)
    (points,) = axes.get_lines()
    np.testing.assert_array_equal(points.get_xydata(), actions)
    assert actions.shape == (30, 2)


@pytest.fixture(scope="module")
def bandit():
    """Two modes that no symmetry of the square maps onto each other"""
    return gym.make("MixtureBandit-v0", means=[[0.6, 0.1], [-0.4, 0.5]], weights=[0.7, 0.3]).unwrapped


def test_exact_density(bandit, axes):
    mesh = figures.draw_density(bandit.log_prob, axes, n_grid=50)
    densities = mesh.get_array().reshape(50, 50)
    centres = np.linspace(-0.98, 0.98, 50)
    for row, column in [(27, 39), (37, 15), (10, 44)]:
        exact = bandit.log_prob([centres[column], centres[row]])
        assert densities[row, column] == pytest.approx(np.exp(exact))
    assert densities.sum() * (2 / 50) ** 2 == pytest.approx(1, abs=0.01)
    coordinates: Any = mesh.get_coordinates()
    np.testing.assert_allclose(coordinates[27, 39], [centres[39] - 0.02, centres[27] - 0.02])
    assert mesh.get_clim() == (0, densities.max())


def test_density_of_samples(bandit, axes):
    """That of the optimum's own samples is the exact one, cell by cell."""
    optimum = Script(lambda observations: bandit.sample(len(observations), np.random.default_rng(0)))
    actions = figures.draw_action_density(optimum, axes, STATE, n_actions=200_000)
    assert actions.shape == (200_000, 2)
    (mesh,) = axes.collections
    densities = mesh.get_array().reshape(20, 20)
    nodes, weights = grid(2, 8)
    for row, column in [(11, 16), (15, 6), (9, 14)]:
        low = np.array([column, row]) / 10 - 1
        exact = weights / 4 @ np.exp(bandit.log_prob(low + (nodes + 1) / 20))  # mean over the cell
        assert densities[row, column] == pytest.approx(exact, rel=0.1) and exact > 0.5


def test_density_figure(bandit):
    rng = np.random.default_rng(0)
    scripts = {
        "optimum": Script(lambda observations: bandit.sample(len(observations), rng)),
        "uniform": Script(lambda observations: rng.uniform(-1, 1, observations.shape)),
    }
    figure, divergences = figures.density_figure(scripts, STATE, bandit.log_prob)
    assert list(divergences) == ["optimum", "uniform"]
    nodes, weights = grid(2, 100)
    uniform = weights / 4 @ (-math.log(4) - bandit.log_prob(nodes))  # KL of the uniform density
    assert 0 < divergences["optimum"] < 0.02 and divergences["uniform"] == pytest.approx(uniform, rel=0.05)
    *panels, scale = figure.axes
    meshes = [mesh for axes in panels for mesh in axes.collections]
    assert len(meshes) == 3 and {mesh.get_clim() for mesh in meshes} == {meshes[0].get_clim()}, "one scale of colours"
    assert [axes.get_title() for axes in panels][0::2] == ["exact", f"uniform, KL {divergences['uniform']:.2f}"]
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in panels} == {("action[0]", "action[1]")}
    assert scale.get_ylabel() == "density"


@pytest.mark.parametrize(("n_models", "shape"), [(1, (1, 2)), (3, (2, 2)), (4, (2, 3))])
def test_panels_of_the_density_figure(bandit, n_models, shape):
    """At most three a row, and none is empty."""
    script = Script(np.zeros_like)
    figure, _ = figures.density_figure({str(i): script for i in range(n_models)}, STATE, bandit.log_prob, n_actions=10)
    *panels, _ = figure.axes
    assert [axes.get_title() != "" for axes in panels] == [True] * (1 + n_models)
    assert panels[0].get_gridspec().get_geometry() == shape


# ---------------------------------------------------------------------- goals in the plane


def test_trajectories(models, axes):
    # Without symmetry, and without the jump of the reward at a goal's edge
    env = gym.make("MultiGoal-v0", goals=[[5, 1], [-3, 4]], goal_reward=0)
    th.manual_seed(0)
    episodes = figures.draw_trajectories(models["SAC"], axes, env, n_episodes=3)
    drawn = [line.get_xydata() for line in axes.get_lines()]
    th.manual_seed(0)
    for seed, episode in enumerate(episodes):
        measures.play(models["SAC"], env, seed)
        np.testing.assert_array_equal(episode.observations, env.unwrapped.trajectory)
        np.testing.assert_array_equal(drawn[seed], env.unwrapped.trajectory)
    np.testing.assert_array_equal(drawn[3], env.unwrapped.goals)
    np.testing.assert_array_equal(drawn[4], env.unwrapped.probe_states)
    assert len(drawn) == 5 and axes.get_xlim() == axes.get_ylim() == env.unwrapped.limits
    (contours,) = axes.collections
    for level, lines in zip(contours.levels, contours.allsegs, strict=True):
        for line in lines:
            np.testing.assert_allclose(env.unwrapped.reward_at(line), level, atol=0.05)


@pytest.mark.parametrize(
    ("moves", "colour"),
    [
        ([[1, 0]], PINK),  # into the wall for ever
        ([[1, 0], [1, 0], [0, 1], [0, 1], [1, -0.1]], ORANGE),  # into it, along it, and past its end to the goal
        ([[-1, 0]], BLUE),  # away from it
    ],
)
def test_colour_of_a_trajectory(axes, moves, colour):
    env = gym.make("MultiGoal-v0", obstacles=[[[1.5, -7], [1.5, 1.9]]], goal_threshold=2, init_sigma=0)
    rest = iter(moves)
    (episode,) = figures.draw_trajectories(Script(lambda position: next(rest, moves[-1])), axes, env, n_episodes=1)
    path, *_, wall = axes.get_lines()
    assert to_rgba(path.get_color()) == to_rgba(colour)
    assert episode.blocked == (colour != BLUE) and episode.info["is_success"] == (colour != PINK)
    np.testing.assert_array_equal(wall.get_xydata(), [[1.5, -7], [1.5, 1.9]])


def test_multigoal_figure(models):
    env = gym.make("MultiGoal-v0", probe_states=[STATE, [0, 0]], max_episode_steps=3)
    figure = figures.multigoal_figure(models, env)
    lines = np.array(figure.axes, dtype=object).reshape(len(models), 3)
    assert [block.get_suptitle() for block in figure.subfigs] == list(models)
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in lines[:, 0]} == {("x", "y")}
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in lines[:, 1:].ravel()} == {("action[0]", "action[1]")}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["trajectory", "goal", "probe state", "sampled action", "contours, yellow is high"]
    for name, (_, first, second) in zip(models, lines, strict=True):
        what = "actions" if name == "PPO" else "Q and actions"
        assert [first.get_title(), second.get_title()] == [f"{what} at (-2.5, 0.5)", f"{what} at (0, 0)"]
        assert len(first.collections) == (name != "PPO") and len(first.get_lines()) == 1


def test_at_most_three_panels_a_row(models):
    assert [rows_and_columns(number) for number in range(1, 8)] == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 3), (3, 3)]
    figure = figures.multigoal_figure({"SAC": models["SAC"]}, gym.make("MultiGoalMaxEnt-v0", max_episode_steps=3))
    assert len(figure.axes) == 7 and all(axes.get_subplotspec().colspan.stop <= 3 for axes in figure.axes)


def test_trajectories_figure(models):
    env = gym.make("MultiGoal-v0", max_episode_steps=3)
    figure = figures.trajectories_figure(models, env, n_episodes=2)
    assert [axes.get_title() for axes in figure.axes] == [f"{name}: 0 of 4 goals" for name in models]
    assert all(axes.get_xlabel() == "x" for axes in figure.axes) and figure.axes[0].get_ylabel() == "y"
    assert len(figure.axes) == len(models) and len(figure.legends) == 1


def test_trajectories_figure_counts_goals():
    class ToTheRight:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.array([1.0, 0.0], dtype=np.float32), None

    figure = figures.trajectories_figure({"right": ToTheRight()}, gym.make("MultiGoal-v0"), n_episodes=3)
    assert figure.axes[0].get_title() == "right: 1 of 4 goals"


# ---------------------------------------------------------------------- entropy over training


def test_entropy_over_training(tmp_path, axes):
    """From what SB3's logger writes: other columns, and lines without an entropy."""
    logger = configure(str(tmp_path), ["csv"])
    for step, entropy in [(100, None), (200, 1.25), (300, None), (400, 0.5)]:
        logger.record("rollout/ep_rew_mean", 7.0)
        logger.record("time/total_timesteps", step)
        if entropy is not None:
            logger.record("train/entropy", entropy)
        logger.dump(step)
    for source in (tmp_path, tmp_path / "progress.csv", str(tmp_path), ([200, 400], [1.25, 0.5])):
        steps, values = figures.draw_entropy(source, axes, target_entropy=0.4, label="a name")
        assert steps.tolist() == [200, 400] and values.tolist() == [1.25, 0.5]
        curve, target = axes.get_lines()[-2:]
        np.testing.assert_array_equal(curve.get_xydata(), [[200, 1.25], [400, 0.5]])
        assert set(target.get_ydata()) == {0.4} and curve.get_label() == "a name"
    assert len(axes.get_legend().get_texts()) == 4, "the targets have no names"
    steps, values = figures.draw_entropy(tmp_path, axes, column="rollout/ep_rew_mean")
    assert steps.tolist() == [100, 200, 300, 400] and set(values) == {7} and axes.get_ylabel() == "rollout/ep_rew_mean"


def test_entropy_of_bad_sources(tmp_path, axes):
    path = tmp_path / "progress.csv"
    with pytest.raises(FileNotFoundError, match=r"progress\.csv"):
        figures.draw_entropy(tmp_path, axes)
    path.write_text("time/total_timesteps,train/entropy_loss,train/ent_coef,rollout/ep_rew_mean\n1,2,3,4\n")
    with pytest.raises(
        ValueError, match=r"progress.csv has no column 'train/entropy'. The nearest: 'train/entropy_loss', 'train"
    ):
        figures.draw_entropy(tmp_path, axes)
    path.write_text("time/total_timesteps,train/entropy\n1,\n")
    with pytest.raises(ValueError, match="no values in the column 'train/entropy'"):
        figures.draw_entropy(tmp_path, axes)
    path.write_text("step,train/entropy\n1,1\n")
    with pytest.raises(ValueError, match="no column 'time/total_timesteps'"):
        figures.draw_entropy(tmp_path, axes)
    with pytest.raises(ValueError, match=r"as many steps as values, at least one, not \(2,\) and \(1,\)"):
        figures.draw_entropy(([1, 2], [3]), axes)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", [figures.draw_q, figures.draw_actions, figures.draw_action_density])
def test_bad_states_and_actions(models, axes, function):
    for state in ([0, 0, 0], [[0, 0]], 0):
        with pytest.raises(ValueError, match=r"`state` must have the shape \(2,\) of one observation, not \("):
            function(models["SAC"], axes, state)
    for space, message in [
        (spaces.Box(-1, 1, (3,)), "must have actions of 2 dimensions, not 3"),
        (spaces.Box(-1, 1, (2, 2)), "must have actions from a bounded Box with one axis, not from Box"),
        (spaces.Box(-np.inf, np.inf, (2,)), "bounded Box"),
        (spaces.Discrete(4), r"bounded Box with one axis, not from Discrete\(4\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(Script(lambda observations: None, space), axes, STATE)
    model = make_model(SAC, spaces.Box(-1, 1, (2,)), spaces.Dict({"a": spaces.Discrete(2)}), "MultiInputPolicy", steps=5)
    with pytest.raises(ValueError, match="observations that are arrays, not from Dict"):
        function(model, axes, {"a": 0})


def test_a_model_without_q(models, axes):
    """Gets an error where Q is asked for, and there only. TD3 has Q, but no temperature."""
    for function in (measures.q_function, measures.entropy_of_q):
        with pytest.raises(TypeError, match=r"`model` must have critics Q\(s, a\), .* which PPO has not"):
            function(models["PPO"], STATE)
    with pytest.raises(TypeError, match="which Script has not"):
        figures.draw_q(Script(lambda observations: observations), axes, STATE)
    # Has a layer that is named critic
    recurrent = RecurrentPPO("MlpLstmPolicy", "MultiGoal-v0", policy_kwargs={"enable_critic_lstm": False})
    assert recurrent.policy.critic is not None and not measures.has_q_function(recurrent)
    figures.draw_actions(models["PPO"], axes, STATE)
    td3 = TD3("MlpPolicy", make_vec_env("MultiGoal-v0"), buffer_size=1)
    figures.draw_q(td3, axes, STATE)
    with pytest.raises(TypeError, match="temperature, which TD3 has not"):
        measures.entropy_of_q(td3, STATE)


def test_other_bad_input(models, axes, bandit):
    with pytest.raises(ValueError, match=r"`env` must be a MultiGoal environment, not .*, which has no limits, goals"):
        figures.draw_trajectories(models["SAC"], axes, bandit)
    with pytest.raises(TypeError, match="`env` must be a Gymnasium environment, not DummyVecEnv"):
        measures.play(models["SAC"], make_vec_env("MultiGoal-v0"))  # type: ignore[arg-type]
    bads: list[Any] = [{}, models["SAC"]]
    for bad in bads:
        with pytest.raises(ValueError, match="`models` must be a dictionary with at least one model"):
            figures.multigoal_figure(bad, gym.make("MultiGoal-v0"))
        with pytest.raises(ValueError, match="`models` must be a dictionary with at least one model"):
            figures.density_figure(bad, STATE, bandit.log_prob)
    with pytest.raises(ValueError, match="`n_actions` must be at least 1, not 0"):
        measures.sample_actions(models["SAC"], STATE, 0)


def test_the_library_leaves_pyplot_alone():
    """No global state: nobody's backend or current figure changes."""
    for module in (figures, measures):
        source = Path(str(module.__file__)).read_text()
        assert "pyplot" not in source and "matplotlib.use" not in source


@pytest.mark.parametrize("module", ["matplotlib.figure", "pandas"])
def test_without_the_extra(module, monkeypatch):
    """Figures and drawn environments name the extra that they need."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "sb3_maxent.figures")
    with pytest.raises(ImportError, match=re.escape('pip install "sb3_maxent[figures]"')):
        importlib.import_module("sb3_maxent.figures")
    if module == "matplotlib.figure":
        env = gym.make("MultiGoal-v0", render_mode="rgb_array")
        env.reset(seed=0)
        with pytest.raises(ImportError, match=re.escape('pip install "sb3_maxent[figures]"')):
            env.render()
