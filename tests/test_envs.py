"""The registered environments: what they pay, where they go, what they show."""

import copy
import importlib
import pickle
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecVideoRecorder

import sb3_maxent
from sb3_maxent.envs import MixtureBanditEnv, MultiGoalEnv, PerturbationWrapper, TabularMDPEnv, TwoWaysEnv

WALL = [[[-2, 0], [0, 2]]]
UNEVEN: dict[str, Any] = {"weights": [0.7, 0.3], "means": [[0.9], [-0.4]], "widths": [0.3, 0.1], "ent_coef": 0.5}
IN_3D = {"means": [[0.5, 0.0, 1.0], [-0.5, 0.0, -1.0]], "widths": 0.4}
# From state 0 action 0 leads to state 1, action 1 to state 2, and both of these end the episode
FORK: dict[str, Any] = {
    "transitions": [[[0, 1, 0], [0, 0, 1]], [[0, 1, 0]] * 2, [[0, 0, 1]] * 2],
    "rewards": [[3.0, 5.0], [0.0, 0.0], [0.0, 0.0]],
    "terminal": [1, 2],
}
VARIANTS = [
    ("MultiGoal-v0", {}),
    ("MultiGoal-v0", {"rewarded_goals": [0, 2], "init_sigma": 3.0, "goal_reward": [1, 2, 3, 4]}),
    ("MultiGoal-v0", {"goals": [[0.1, 0.2]], "limits": (-0.3, 0.3), "goal_threshold": 0.01}),
    ("MultiGoalMaxEnt-v0", {}),
    ("MultiGoalMaxEnt-v0", {"obstacles": WALL, "probe_states": []}),
    ("MixtureBandit-v0", {}),
    ("MixtureBandit-v0", UNEVEN),
    ("MixtureBandit-v0", IN_3D),
    ("TabularMDP-v0", {}),
    ("TabularMDP-v0", {"start": -3, "horizon": 4}),
    ("TabularMDP-v0", FORK),
    ("TwoWays-v0", {}),
    ("TwoWays-v0", {"closed": "up", "frame_skip": 5, "reset_noise_scale": 0.4, "goal_threshold": 1}),
]
IDS = sorted({env_id for env_id, _ in VARIANTS})
variants = pytest.mark.parametrize("env_id, kwargs", VARIANTS, ids=lambda value: value if isinstance(value, str) else "")


def play(env, n_steps=40, seed=7):
    """Everything that the environment says in some steps, its first observation included."""
    env.action_space.seed(seed)
    said = [env.reset(seed=seed)]
    for _ in range(n_steps):
        said.append(env.step(env.action_space.sample()))
        if said[-1][2] or said[-1][3]:
            said.append(env.reset())
    return said


@variants
def test_checkers_are_silent(env_id, kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, **kwargs)
        check_env(env.unwrapped)
        play(env)  # under gym.make's own checks of every step
        if "start" not in kwargs:  # SB3's checker refuses such an action space for want of support in its algorithms
            check_env_sb3(env)


@variants
def test_seeds_copies_and_pickles_repeat_the_episode(env_id, kwargs):
    env = gym.make(env_id, render_mode="rgb_array", **kwargs)
    said = repr(play(env))
    env.render()  # a drawn environment can be copied too
    assert repr(play(env)) == said
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env.unwrapped)), gym.make(env_id, **kwargs)):
        assert repr(play(getattr(twin, "unwrapped", twin))) == repr(play(env.unwrapped))
    assert repr(play(env, seed=8)) != said


def test_registration_can_be_repeated():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(sb3_maxent.envs)
    assert all(gym.spec(env_id).to_json() for env_id in IDS)  # the specs hold nothing but numbers and names


@pytest.mark.parametrize("env_id", IDS)
def test_vectorised(env_id):
    env = make_vec_env(env_id, n_envs=2, seed=0)
    env.reset()
    infos = []
    for _ in range(60):
        rewards, dones, step_infos = env.step(np.array([env.action_space.sample() for _ in range(2)]))[1:]
        infos += [info for info, done in zip(step_infos, dones, strict=True) if done]
        assert np.isfinite(rewards).all()
    assert infos and all("episode" in info for info in infos)
    env.close()
    vector = gym.make_vec(env_id, num_envs=2)
    vector.reset(seed=0)
    vector.step(vector.action_space.sample())
    env.close()


def test_in_processes():
    """The workers don't import the package, so that the id says whose environment it is."""
    env = make_vec_env("sb3_maxent:MultiGoalMaxEnt-v0", n_envs=2, vec_env_cls=SubprocVecEnv, env_kwargs={"obstacles": WALL})
    env.reset()
    np.testing.assert_array_equal(env.step(np.array([[-1, 1], [1, 0]]))[0], [[0, 0], [1, 0]])
    env.close()


# ---------------------------------------------------------------------------------------------------- multigoal


def at(position, **kwargs):
    env = MultiGoalEnv(**kwargs)
    env.reset(seed=0, options={"position": position})
    return env


def test_multigoal_rewards_by_hand():
    # From (3, 1) by (0.5, -1) to (3.5, 0): action cost 30 * 1.25, distance cost 1.5^2, both a tenth
    observation, reward, terminated, truncated, info = at((3, 1)).step(np.array([0.5, -1], dtype=np.float32))
    assert observation.tolist() == [3.5, 0.0] and observation.dtype == np.float32
    assert reward == pytest.approx(-(37.5 + 2.25) / 10)
    assert (terminated, truncated, info) == (False, False, {"goal": None, "is_success": False})
    # On to (4.25, 0): within 1 of the first goal, which pays 10
    observation, reward, terminated, _, info = at((3.5, 0)).step(np.array([0.75, 0]))
    assert reward == pytest.approx((10 - 30 * 0.5625 - 0.5625) / 10)
    assert terminated and info == {"goal": "goal 0", "is_success": True}
    # The distance 1 itself isn't within
    assert not at((3, 0)).step(np.array([1.0, 0]))[2]


@pytest.mark.parametrize("env_id, goals", [("MultiGoal-v0", [[5, 0], [-5, 0], [0, 5], [0, -5]]), ("MultiGoalMaxEnt-v0", None)])
def test_multigoal_reaches_each_goal(env_id, goals):
    env = gym.make(env_id)
    for index, goal in enumerate(goals or [[5, 0], [-4, 3], [-4, -3]]):
        position, _ = env.reset(seed=index)
        done = False
        while not done:
            position, _, done, truncated, info = env.step(np.clip(np.array(goal, dtype=np.float32) - position, -1, 1))
            assert not truncated
        assert info == {"goal": f"goal {index}", "is_success": True}
        assert np.linalg.norm(position - goal) < env.unwrapped.goal_threshold


def test_multigoal_ends_after_30_steps_without_success():
    env = gym.make("MultiGoal-v0")
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, dtype=np.float32))[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]


def test_multigoal_start():
    starts = np.array([gym.make("MultiGoal-v0").reset(seed=seed)[0] for seed in range(300)])
    np.testing.assert_allclose(starts.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(starts.std(axis=0), 0.1, rtol=0.15)
    env = gym.make("MultiGoalMaxEnt-v0")
    assert env.reset(seed=0)[0].tolist() == [0, 0]
    assert env.unwrapped.probe_states.shape == (6, 2)


def test_multigoal_clips_actions_and_positions():
    observation, reward, *_ = at((6.5, -6.5)).step(np.array([9.0, -9.0]))
    assert observation.tolist() == [7, -7]
    assert reward == pytest.approx(-(60 + 4 + 49) / 10)


def test_multigoal_blind_to_goals():
    env = at((0, 4.5), rewarded_goals=[0, 1])
    _, reward, terminated, _, info = env.step(np.array([0, 0.5]))  # onto goal 2, 50 = 5^2 + 5^2 from the others
    assert not terminated and info["goal"] is None and reward == pytest.approx(-(7.5 + 50) / 10)
    assert env.goal_at([[5, 0], [-5, 0.5], [0, 5], [0, 0]]).tolist() == [0, 1, -1, -1]
    np.testing.assert_allclose(env.reward_at([[5, 0], [0, 5]]), [1, -5])
    # The names stay those of the whole list
    assert at((0, 4), rewarded_goals=[2, 3]).step(np.array([0, 0.5]))[4]["goal"] == "goal 2"


def test_multigoal_goals_may_pay_differently():
    env = MultiGoalEnv(goal_reward=[1, 2, 3, 4], reward_scale=1)
    np.testing.assert_allclose(env.reward_at(env.goals), [1, 2, 3, 4])


@pytest.mark.parametrize(
    "start, action, blocked",
    [
        ((0, 0), (-1, 1), True),  # straight through the middle
        ((-0.5, 0.5), (-0.5, 0.5), True),  # ends on it
        ((-1.5, 1.5), (1, -1), True),  # from behind
        ((0, 0), (-0.9, 0), False),  # stays before it
        ((-3, -0.5), (0.5, 1), False),  # passes its end
        ((0.5, 2.5), (-1, 0), False),  # passes its other end
        ((0, 0), (1, 1), False),  # away
        ((0, 0), (-0.5, -0.5), False),  # parallel
        ((0, 0), (0, 0), False),  # no step at all
    ],
)
def test_multigoal_obstacles_block(start, action, blocked):
    env = at(start, obstacles=WALL)
    observation, reward, *_ = env.step(np.array(action, dtype=np.float32))
    arrival = np.array(start) if blocked else np.add(start, action)
    np.testing.assert_allclose(observation, arrival, atol=1e-6)
    # A step that isn't made costs what it would have cost
    assert reward == pytest.approx(float(env.reward_at(observation)) - 3 * np.sum(np.square(action)))


# ---------------------------------------------------------------------------------------------------- bandit


def grid(n_dims, n=801):
    """Midpoints of cells that fill the box, and the volume of one."""
    axis = -1 + (np.arange(n) + 0.5) * 2 / n
    return np.stack(np.meshgrid(*[axis] * n_dims, indexing="ij"), axis=-1), (2 / n) ** n_dims


@pytest.mark.parametrize(
    "kwargs, n",
    [
        ({}, 401),
        (UNEVEN, 20001),
        (IN_3D, 101),
        ({"means": [[1.0, -1.0]], "widths": 50.0}, 101),
        ({"means": [[1.0]], "widths": 0.01}, 20001),
    ],
)
def test_bandit_density_integrates_to_one(kwargs, n):
    env = MixtureBanditEnv(**kwargs)
    actions, volume = grid(env.means.shape[1], n)
    assert np.exp(env.log_prob(actions)).sum() * volume == pytest.approx(1, abs=2e-4)


def test_bandit_log_prob_by_hand():
    # One Gaussian with its mean in a corner: a quarter of it is left
    env = MixtureBanditEnv(means=[[1.0, 1.0]], widths=0.1)
    np.testing.assert_allclose(
        env.log_prob(np.array([[1, 1], [0.9, 1], [1.1, 1]])), np.add(np.log(4 / (2 * np.pi * 0.01)), [0, -0.5, -np.inf])
    )
    env = MixtureBanditEnv(**UNEVEN)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(np.array([-0.4], dtype=np.float32))
    assert (terminated, truncated, info) == (True, False, {"mode": 1, "goal": "mode 1"})
    assert reward == pytest.approx(0.5 * np.log(0.3 / (0.1 * np.sqrt(2 * np.pi))), abs=1e-4)


@pytest.mark.parametrize("kwargs", [UNEVEN, {"means": [[0.8], [0.2]], "widths": 1.5, "weights": [0.9, 0.1]}])
def test_bandit_samples_agree_with_the_density(kwargs):
    env = MixtureBanditEnv(**kwargs)
    samples = env.sample(40_000, np.random.default_rng(0))
    counts, edges = np.histogram(samples, bins=20, range=(-1, 1))
    fine = (edges[:-1, None] + (np.arange(100) + 0.5) * 0.1 / 100)[..., None]
    expected = 40_000 * np.exp(env.log_prob(fine)).mean(axis=1) * 0.1
    assert np.sum((counts - expected) ** 2 / expected) < 45  # chi-square with 19 degrees of freedom: p = 7e-4
    # ... and the entropy of the samples is that of the density
    axis, volume = grid(1, 20001)
    entropy = -np.sum(np.exp(env.log_prob(axis)) * env.log_prob(axis)) * volume
    assert -env.log_prob(samples).mean() == pytest.approx(entropy, abs=0.02)


def test_bandit_modes_have_their_shares():
    weights = [0.4, 0.3, 0.2, 0.1]
    env = MixtureBanditEnv(weights=weights, widths=[0.05, 0.1, 0.15, 0.1])
    samples = env.sample(20_000, np.random.default_rng(1))
    assert samples.shape == (20_000, 2) and (np.abs(samples) <= 1).all()
    np.testing.assert_allclose(env.mode_probabilities(), weights)
    np.testing.assert_allclose(np.bincount(env.mode_of(samples)) / 20_000, weights, atol=0.02)
    np.testing.assert_array_equal(env.mode_of(env.means), range(4))
    assert env.mode_of(0.9 * env.means).shape == (4,)
    # A mode of which the box cuts most off keeps its share
    samples = MixtureBanditEnv(means=[[1.0], [-0.5]], widths=0.1).sample(20_000, np.random.default_rng(2))
    assert np.mean(samples > 0.25) == pytest.approx(0.5, abs=0.02)


def test_bandit_optimum_has_soft_value_zero():
    env = MixtureBanditEnv(ent_coef=0.3)
    samples = env.sample(1000, np.random.default_rng(3))
    env.reset(seed=0)
    rewards = np.array([env.step(action)[1] for action in samples])
    np.testing.assert_allclose(rewards - 0.3 * env.log_prob(samples), 0, atol=1e-12)


def test_bandit_rewards_are_finite_far_from_narrow_modes():
    env = MixtureBanditEnv(means=[[1.0, 1.0]], widths=1e-3)
    env.reset(seed=0)
    assert -np.inf < env.step(np.array([-1.0, -1.0]))[1] < -1e6
    assert np.isfinite(env.step(np.array([3.0, -3.0]))[1])  # clipped to the box


# ---------------------------------------------------------------------------------------------------- tabular


def test_tabular_terminal_states():
    env = gym.make("TabularMDP-v0", **FORK)
    for action, (state, reward) in enumerate([(1, 3.0), (2, 5.0)]):
        assert env.reset(seed=action)[0] == 0  # by default no episode starts where it ends
        assert env.step(action) == (state, reward, True, False, {})


def test_tabular_follows_its_table():
    rng = np.random.default_rng(0)
    transitions, rewards = rng.dirichlet(np.ones(3), size=(3, 2)), rng.normal(size=(3, 2, 3))
    env = TabularMDPEnv(transitions, rewards, start=1, initial=[0, 0.25, 0.75])
    firsts, counts = [], np.zeros((3, 2, 3))
    for episode in range(200):
        state, _ = env.reset(seed=episode)
        firsts.append(state)
        truncated = False
        while not truncated:
            action = int(rng.integers(2))
            after, reward, _, truncated, _ = env.step(action + 1)
            assert reward == rewards[state, action, after]
            counts[state, action, after] += 1
            state = after
    assert counts.sum() == 200 * 50
    np.testing.assert_allclose(counts / counts.sum(axis=-1, keepdims=True), transitions, atol=0.05)
    np.testing.assert_allclose(np.bincount(firsts, minlength=3) / 200, [0, 0.25, 0.75], atol=0.1)
    np.testing.assert_allclose(env.rewards, np.einsum("san,san->sa", transitions, rewards))


def test_tabular_default_is_a_chain():
    env = gym.make("TabularMDP-v0").unwrapped
    assert (env.observation_space.n, env.action_space.n, env.horizon) == (5, 2, 50)
    np.testing.assert_allclose(env.transitions[2], np.array([[0, 0.9, 0.1, 0, 0], [0, 0, 0.1, 0.9, 0]]))
    assert env.rewards[0, 0] == pytest.approx(0.2) and env.rewards[4, 1] == pytest.approx(1) and env.rewards.sum() == 1.2
    firsts = [env.reset(seed=seed)[0] for seed in range(100)]
    assert set(firsts) == set(range(5))


def test_tabular_refuses_actions_outside():
    env = TabularMDPEnv(start=1)
    env.reset(seed=0)
    for action in (0, 3):
        with pytest.raises(ValueError, match="The action must be in"):
            env.step(action)


# ---------------------------------------------------------------------------------------------------- two ways

RIGHT = np.array([1, 0], dtype=np.float32)


def steer(way, n_steps=40, **kwargs):
    """What each step says on the way from corner to corner, by forces towards the next one."""
    y = {"up": 1, "down": -1}[way]
    corners = [(-1, 0), (-1, y), (1, y), (1, 0), (2, 0)]
    env = TwoWaysEnv(**kwargs)
    observation = env.reset(seed=0)[0]
    said: list[Any] = []
    while len(said) < n_steps and not (said and said[-1][2]):
        if len(corners) > 1 and np.linalg.norm(observation[:2] - corners[0]) < 0.3:
            corners.pop(0)
        said.append(env.step(np.clip(corners[0] - observation[:2] - 0.2 * observation[2:], -1, 1, dtype=np.float32)))
        observation = said[-1][0]
    return said


def test_two_ways_moves_by_the_laws_of_motion():
    """A free ball under a constant force: v' = (F - d v') dt / m + v, MuJoCo's Euler step with implicit damping."""
    env = TwoWaysEnv(reset_noise_scale=0)
    env.reset(seed=0)
    position, velocity = -2.0, 0.0
    for action in (1.0, 0.5, -1.0):
        for _ in range(10):
            velocity = (velocity + 20 * action * 0.02) / (1 + 3 * 0.02)
            position += velocity * 0.02
        observation = env.step(np.array([action, 0], dtype=np.float32))[0]
        np.testing.assert_allclose(observation, [position, 0, velocity, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["up", "down"])
def test_two_ways_leads_around_the_block_on_both_sides(way):
    said = steer(way)
    *on_the_way, end = said
    assert [step[1:4] for step in on_the_way] == [(-1.0, False, False)] * len(on_the_way)
    assert end[1:] == (0.0, True, False, {"way": way, "is_success": True})
    assert np.linalg.norm(end[0][:2] - [2, 0]) <= 0.45
    assert said[2][4] == {"way": None, "is_success": False}  # not yet beside the block


@pytest.mark.parametrize("closed, other", [("up", "down"), ("down", "up")])
def test_two_ways_closed_way_has_a_wall(closed, other):
    said = steer(closed, closed=closed)
    assert len(said) == 40 and max(step[0][0] for step in said) < -0.59  # the ball's radius before the wall, but for softness
    assert steer(other, closed=closed)[-1][4] == {"way": other, "is_success": True}


def test_two_ways_walls_hold():
    env = TwoWaysEnv()
    env.reset(seed=0)
    assert max(env.step(RIGHT)[0][0] for _ in range(30)) < -0.59  # the block
    positions = np.array([said[0][:2] for said in play(gym.make("TwoWays-v0"), n_steps=400)])
    nearest = np.abs(positions[:, None] - env.walls).max(axis=2).min(axis=1)
    assert nearest.min() > 0.5  # the ball's middle is in no wall


def test_two_ways_starts_within_the_noise_and_is_cut_after_40_actions():
    env = gym.make("TwoWays-v0")
    starts = np.array([env.reset(seed=seed)[0] for seed in range(200)])
    offsets = starts[:, :2] - [-2, 0]
    assert (np.abs(offsets) <= 0.1 + 1e-6).all() and (np.ptp(offsets, axis=0) > 0.18).all() and not starts[:, 2:].any()
    cut = [env.step(np.zeros(2, dtype=np.float32))[3] for _ in range(40)]
    assert cut == [False] * 39 + [True]


def test_two_ways_is_a_mujoco_world_that_can_be_perturbed():
    """Twice the mass: half the acceleration at first."""
    light, heavy = gym.make("TwoWays-v0"), PerturbationWrapper(gym.make("TwoWays-v0"), mass=2.0)
    for env in (light, heavy):
        env.reset(seed=0)
        env.unwrapped.frame_skip = 1
    np.testing.assert_allclose(light.step(RIGHT)[0][2], 0.4 / 1.06, rtol=1e-5)
    np.testing.assert_allclose(heavy.step(RIGHT)[0][2], 0.2 / 1.03, rtol=1e-5)


def test_two_ways_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ImportError, match=r'TwoWays-v0 needs mujoco: pip install "sb3_maxent\[mujoco\]"'):
        TwoWaysEnv()


# ---------------------------------------------------------------------------------------------------- bad input

P = [[[0.5, 0.5]] * 2, [[1.0, 0.0]] * 2]


@pytest.mark.parametrize(
    "cls, kwargs, message",
    [
        (MultiGoalEnv, {"goals": [[1, 2, 3]]}, r"`goals` must be an array of shape \(any, 2\) .* not \[\[1, 2, 3\]\]"),
        (MultiGoalEnv, {"goals": [[9, 0]]}, r"`goals` .* in \[-7, 7\], not \[\[9, 0\]\]"),
        (MultiGoalEnv, {"goals": []}, "`goals` must be an array"),
        (MultiGoalEnv, {"goal_threshold": 0}, "`goal_threshold` must be a finite number .* not 0"),
        (MultiGoalEnv, {"action_cost": -1}, r"`action_cost` must be a finite number in \[0, inf\], not -1"),
        (MultiGoalEnv, {"reward_scale": float("nan")}, "`reward_scale` must be a finite number .* not nan"),
        (MultiGoalEnv, {"distance_cost": "much"}, "`distance_cost` must be a finite number .* not 'much'"),
        (MultiGoalEnv, {"goal_reward": [1, 2]}, r"`goal_reward` must be an array of shape \(4\)"),
        (MultiGoalEnv, {"rewarded_goals": [4]}, r"`rewarded_goals` must be different integers in \[0, 3\], not \[4\]"),
        (MultiGoalEnv, {"rewarded_goals": [1, 1]}, "`rewarded_goals` must be different"),
        (MultiGoalEnv, {"rewarded_goals": 1}, r"`rewarded_goals` must be different integers in \[0, 3\], not 1"),
        (MultiGoalEnv, {"rewarded_goals": []}, "`rewarded_goals` must name at least one"),
        (MultiGoalEnv, {"limits": (7, -7)}, r"`limits` must be \(low, high\)"),
        (MultiGoalEnv, {"obstacles": [[0, 1]]}, r"`obstacles` must be an array of shape \(any, 2, 2\)"),
        (MultiGoalEnv, {"probe_states": [[0, 1], [2]]}, r"`probe_states` must be an array of shape \(any, 2\)"),
        (MultiGoalEnv, {"render_mode": "human"}, "`render_mode` must be None or 'rgb_array', not 'human'"),
        (MixtureBanditEnv, {"means": [[2.0]]}, r"`means` .* in \[-1, 1\], not \[\[2.0\]\]"),
        (MixtureBanditEnv, {"means": [[0.5], [0.1, 0.2]]}, "`means` must be an array"),
        (MixtureBanditEnv, {"weights": [0.5, 0.5]}, r"`weights` must be an array of shape \(4\)"),
        (MixtureBanditEnv, {"weights": [0.5, 0.5, 0.5, 0.5]}, "`weights` must sum to 1, not to 2"),
        (MixtureBanditEnv, {"weights": [0.5, 0.5, 0, 0]}, r"`weights` must be in \(0, 1\]"),
        (MixtureBanditEnv, {"widths": 0}, r"`widths` must be a finite number in \[0.001, 1000\], not 0"),
        (MixtureBanditEnv, {"widths": [0.1, 0.2]}, r"`widths` must be an array of shape \(4\)"),
        (MixtureBanditEnv, {"widths": [[0.1], [0.1, 0.2]]}, r"`widths` must be an array of shape \(4\)"),
        (MixtureBanditEnv, {"ent_coef": 0}, "`ent_coef` must be a finite number"),
        (TabularMDPEnv, {"transitions": P}, "`transitions` and `rewards` must be given together"),
        (TabularMDPEnv, {"transitions": [[[0.5, 0.4]]], "rewards": [[0]]}, r"`transitions`\[0, 0\] must sum to 1, not to 0.9"),
        (TabularMDPEnv, {"transitions": [[[0.5, 0.5]]], "rewards": [[0]]}, r"`transitions` must have the shape \(S, A, S\)"),
        (TabularMDPEnv, {"transitions": P, "rewards": [[0, 0]]}, r"`rewards` must be an array of shape \(2, 2\)"),
        (TabularMDPEnv, {"transitions": P, "rewards": [0, 0]}, r"`rewards` must be an array of shape \(2, 2\)"),
        (TabularMDPEnv, {"transitions": P, "rewards": [[0, np.inf]] * 2}, "`rewards` .* finite"),
        (TabularMDPEnv, {"horizon": 0}, "`horizon`"),
        (TabularMDPEnv, {"horizon": 2.5}, "`horizon` must be an integer, not 2.5"),
        (TabularMDPEnv, {"terminal": [5]}, r"`terminal` must be different integers in \[0, 4\]"),
        (TabularMDPEnv, {"terminal": range(5)}, "`terminal` must leave at least one state"),
        (TwoWaysEnv, {"closed": "left"}, "`closed` must be None, 'up' or 'down', not 'left'"),
        (TwoWaysEnv, {"frame_skip": 0}, r"`frame_skip` must be a finite number in \[1, inf\], not 0"),
        (TwoWaysEnv, {"frame_skip": 2.5}, "`frame_skip` must be a whole number of steps, not 2.5"),
        (TwoWaysEnv, {"reset_noise_scale": 0.5}, r"`reset_noise_scale` must be a finite number in \[0, 0.4\], not 0.5"),
        (TwoWaysEnv, {"goal_threshold": 0}, "`goal_threshold` must be a finite number .* not 0"),
        (TabularMDPEnv, {"terminal": [4], "initial": [0, 0, 0, 0, 1]}, r"`initial` must be 0 in the terminal states \[4\]"),
    ],
)
def test_errors_name_the_argument(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


def test_errors_of_calls():
    with pytest.raises(ValueError, match=r"`options\['position'\]` .* in \[-7, 7\]"):
        at((0, 8))
    with pytest.raises(ValueError, match=r"`actions` must be an array of shape \(3, 2\)"):
        MixtureBanditEnv().log_prob(np.zeros((3, 5)))


# ---------------------------------------------------------------------------------------------------- pictures


@variants
def test_frames_show_the_episode(env_id, kwargs):
    env = gym.make(env_id, render_mode="rgb_array", **kwargs)
    env.reset(seed=0)
    frames = [env.render()]
    env.action_space.seed(0)
    for _ in range(3):
        done = env.step(env.action_space.sample())[2]
        frames.append(env.render())
        if done:
            env.reset()
    assert all(frame.shape == (400, 400, 3) and frame.dtype == np.uint8 for frame in frames)
    assert (frames[0] != frames[1]).any()
    np.testing.assert_array_equal(env.render(), env.render())


def test_frames_show_the_scene():
    """Obstacles and goals that don't count look different, also where the episode is the same."""
    frames = []
    for kwargs in ({}, {"obstacles": WALL}, {"rewarded_goals": [0]}):
        env = MultiGoalEnv(render_mode="rgb_array", **kwargs)
        env.reset(seed=0)
        frames.append(env.render())
    assert (frames[0] != frames[1]).any() and (frames[0] != frames[2]).any()


def test_rendering_out_of_place(recwarn):
    env = MultiGoalEnv(render_mode="rgb_array")
    with pytest.raises(ResetNeeded):
        env.render()
    env = MultiGoalEnv()
    env.reset(seed=0)
    assert env.render() is None
    assert "render_mode='rgb_array'" in str(recwarn.list[-1].message)


def test_video(tmp_path):
    pytest.importorskip("moviepy")
    env = make_vec_env("MultiGoal-v0", env_kwargs={"render_mode": "rgb_array"})
    env = VecVideoRecorder(env, str(tmp_path), record_video_trigger=lambda step: step == 0, video_length=5)
    env.reset()
    for _ in range(6):
        env.step(np.array([env.action_space.sample()]))
    env.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("*.mp4")] == [True]
