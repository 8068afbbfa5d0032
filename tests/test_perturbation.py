"""The perturbed worlds in which trained agents are tested: how strong each perturbation is, and what it leaves alone."""

import copy
import inspect
import pickle
import warnings
from operator import attrgetter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, TimeLimit
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_maxent.envs import PERTURBATIONS, MultiGoalEnv, PerturbationWrapper

WALL = [[[-2, 0.5], [2, 0.5]]]
ENV_IDS = ["Pendulum-v1", "MultiGoal-v0", "Hopper-v5"]


def make(env_id, **kwargs):
    if env_id == "Hopper-v5":
        pytest.importorskip("mujoco")
    return gym.make(env_id, **kwargs)


class Recorder(gym.Env):
    """Observes zeros, and keeps the actions that reach it."""

    observation_space: Any

    def __init__(self, observation_space=None, action_space=None):
        self.observation_space = observation_space or spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = action_space or spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 10.0]), dtype=np.float64)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions = []
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), {}

    def step(self, action):
        self.actions.append(action)
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), 0.0, False, False, {}


def episode(env, seed=3, n_steps=200):
    """What the environment says until the end of an episode, its first observation included."""
    env.action_space.seed(seed)
    said = [env.reset(seed=seed)]
    while len(said) <= n_steps and not (len(said) > 1 and (said[-1][2] or said[-1][3])):
        said.append(env.step(env.action_space.sample()))
    return said


def acted(actions, seed=0, action_space=None, **kwargs):
    """The actions that arrive of an agent's, (T, A)."""
    env = PerturbationWrapper(Recorder(action_space=action_space), **kwargs)
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    return np.array(env.unwrapped.actions)


# ---------------------------------------------------------------------------------------------------- nothing


def test_names():
    names = list(inspect.signature(PerturbationWrapper).parameters)
    assert list(PERTURBATIONS) == names[1:]


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize(
    "kwargs", [{}, {"observation_noise": 0, "action_noise": 0, "action_delay": 0, "mass": 1, "gravity": 1}]
)
def test_defaults_change_nothing(env_id, kwargs):
    plain, wrapped = make(env_id), PerturbationWrapper(make(env_id), **kwargs)
    assert (wrapped.observation_space, wrapped.action_space) == (plain.observation_space, plain.action_space)
    said, expected = episode(wrapped), episode(plain)
    assert len(said) == len(expected) > 5
    for ours, theirs in zip(said, expected, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[0].dtype == theirs[0].dtype
        assert repr(ours[1:]) == repr(theirs[1:])


def test_defaults_pass_on_the_action_itself():
    env = PerturbationWrapper(Recorder())
    env.reset()
    action = np.zeros(2)
    env.step(action)
    assert env.unwrapped.actions[0] is action


def test_defaults_allow_all_spaces():
    env = PerturbationWrapper(gym.make("CartPole-v1"), observation_noise=0.1)  # a Box, with Discrete actions
    assert len(episode(env)) > 5
    for env_id in ("TabularMDP-v0", "Taxi-v4", "MixtureBandit-v0"):
        episode(PerturbationWrapper(gym.make(env_id)), n_steps=3)


# ---------------------------------------------------------------------------------------------------- observation noise


def test_observation_noise_is_gaussian_of_the_given_deviation():
    env = PerturbationWrapper(Recorder(), observation_noise=[0, 0.5, 2])
    observations = [env.reset(seed=0)[0]] + [env.step(np.zeros(2))[0] for _ in range(8000)]
    assert {observation.dtype for observation in observations} == {np.dtype(np.float32)}
    assert np.all(observations[0][1:] != 0)  # the first one is noisy, too
    noise = np.array(observations)
    assert (noise[:, 0] == 0).all()
    noise = noise[:, 1:] / [0.5, 2]
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(noise.std(axis=0), 1, rtol=0.04)
    np.testing.assert_allclose((np.abs(noise) < 1).mean(axis=0), 0.683, atol=0.025)
    np.testing.assert_allclose((noise**4).mean(axis=0), 3, rtol=0.15)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05  # each entry has its own
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.05  # each step, too


def test_one_number_is_for_all_entries():
    noise = [PerturbationWrapper(Recorder(), observation_noise=sigma).reset(seed=5)[0] for sigma in (0.5, [0.5] * 3, 1.0)]
    np.testing.assert_array_equal(noise[0], noise[1])
    np.testing.assert_allclose(2 * noise[0], noise[2])


def test_observations_stay_in_their_space():
    env = PerturbationWrapper(gym.make("Pendulum-v1"), observation_noise=5.0)
    observations = np.array([said[0] for said in episode(env)])
    assert all(env.observation_space.contains(observation) for observation in observations)
    # ... and the bounds themselves are met
    assert (observations[:, 0] == 1).any() and (observations[:, 2] == -8).any()


def test_observation_noise_is_not_in_the_state():
    plain, noisy = episode(gym.make("Pendulum-v1")), episode(
        PerturbationWrapper(gym.make("Pendulum-v1"), observation_noise=0.5)
    )
    assert [said[1] for said in plain[1:]] == [said[1] for said in noisy[1:]]  # rewards
    assert np.abs(plain[1][0] - noisy[1][0]).max() > 1e-3


def test_flattened_dict():
    space = spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "y": spaces.Box(-9, 9, (1,))})
    env: Any = Recorder()
    env.observation_space = space
    env.reset = lambda **_: ({"x": np.zeros(2, np.float32), "y": np.zeros(1, np.float32)}, {})
    noise = PerturbationWrapper(FlattenObservation(env), observation_noise=[0, 0, 1]).reset(seed=0)[0]
    assert noise[:2].tolist() == [0, 0] and noise[2] != 0


# ---------------------------------------------------------------------------------------------------- action noise


def test_action_noise_is_in_halves_of_the_range():
    arrived = acted([np.array([0.0, 5.0])] * 8000, action_noise=0.1)
    noise = (arrived - [0, 5]) / [1, 5]
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.005)
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.04)
    np.testing.assert_allclose((np.abs(noise) < 0.1).mean(axis=0), 0.683, atol=0.025)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.05


def test_noisy_actions_are_clipped():
    action = np.array([1.0, 0.0])
    arrived = acted([action] * 400, action_noise=1.0)
    assert arrived.min(axis=0).tolist() == [-1, 0] and arrived.max(axis=0).tolist() == [1, 10]
    assert np.mean(arrived == action) == pytest.approx(0.5, abs=0.1)  # half of the noise points outward
    assert action.tolist() == [1, 0]  # the agent's own array stays


def test_noisy_actions_are_of_the_space():
    space = spaces.Box(-2.0, 2.0, (1,), np.float32)
    for kwargs in ({"action_noise": 0.3}, {"action_delay": 1}, {"action_noise": 0.3, "action_delay": 1}):
        env = PerturbationWrapper(Recorder(action_space=space), **kwargs)
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.array([0.5], dtype=np.float32))
        assert all(space.contains(action) and action.dtype == np.float32 for action in env.unwrapped.actions)


# ---------------------------------------------------------------------------------------------------- delay


def agent_actions(n):
    return [np.array([0.1 * step, step]) for step in range(1, n + 1)]


@pytest.mark.parametrize("delay", [0, 1, 3, 10])
def test_which_action_arrives_when(delay):
    actions = agent_actions(8)
    expected = ([[0.0, 5.0]] * delay + [action.tolist() for action in actions])[:8]  # first the middle of the range
    assert acted(actions, action_delay=delay).tolist() == expected


def test_nothing_of_the_old_episode_arrives_in_the_new_one():
    env = PerturbationWrapper(Recorder(), action_delay=2)
    env.reset()
    for action in agent_actions(5):
        env.step(action)
    env.reset()
    for action in 10 * np.array([[0.01, 0.1], [0.02, 0.2], [0.03, 0.3]]):
        env.step(action)
    np.testing.assert_allclose(env.unwrapped.actions, np.array([[0, 5], [0, 5], [0.1, 1]]))


def test_the_agent_may_use_its_array_again():
    env = PerturbationWrapper(Recorder(), action_delay=1)
    env.reset()
    action = np.zeros(2)
    for step in range(3):
        action[:] = step / 10
        env.step(action)
    np.testing.assert_allclose(env.unwrapped.actions, np.array([[0, 5], [0, 0], [0.1, 0.1]]))


def test_delay_then_noise():
    actions = agent_actions(6)
    noise = acted([np.array([0.0, 5.0])] * 6, action_noise=0.01) - [0, 5]
    late = acted(actions, action_delay=2)
    # The middle of the range, which is applied before the first action arrives, has its noise, too
    np.testing.assert_allclose(acted(actions, action_delay=2, action_noise=0.01), late + noise, atol=1e-12)
    assert np.all(noise != 0)


def test_delayed_pendulum_is_the_pendulum_of_the_delayed_actions():
    env, plain = PerturbationWrapper(gym.make("Pendulum-v1"), action_delay=1), gym.make("Pendulum-v1")
    env.reset(seed=0), plain.reset(seed=0)
    actions = [np.array([action], dtype=np.float32) for action in (2.0, -1.0, 0.5)]
    for ours, theirs in zip(actions, [np.zeros(1, np.float32), *actions[:2]], strict=True):
        assert repr(env.step(ours)) == repr(plain.step(theirs))


# ---------------------------------------------------------------------------------------------------- random numbers

STRENGTHS: list[dict[str, Any]] = [
    {"observation_noise": s, "action_noise": s, "action_delay": int(4 * s)} for s in (0.0, 0.25, 1.0)
]


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_seeds_repeat_the_episode(env_id):
    env = PerturbationWrapper(make(env_id), observation_noise=0.1, action_noise=0.2)
    said = repr(episode(env, n_steps=20))
    episode(env, seed=4, n_steps=7)
    assert repr(episode(env, n_steps=20)) == said
    assert repr(episode(PerturbationWrapper(make(env_id), observation_noise=0.1, action_noise=0.2), n_steps=20)) == said
    first = env.reset(seed=1)[0]
    assert np.any(env.reset()[0] != first)  # without a seed the noise goes on
    assert np.any(env.reset(seed=2)[0] != first)


def test_without_a_seed_the_noise_differs():
    noise = [PerturbationWrapper(Recorder(), observation_noise=1.0).reset()[0] for _ in range(2)]
    assert np.all(noise[0] != noise[1])


def test_first_states_are_those_of_the_unperturbed_environment():
    states: list[list[Any]] = []
    for kwargs in STRENGTHS:
        env = PerturbationWrapper(gym.make("Pendulum-v1"), **kwargs)
        states.append([])
        for seed in (7, None, None):
            env.reset(seed=seed)
            states[-1].append(env.unwrapped.state.copy())
            for _ in range(5):
                env.step(np.zeros(1, np.float32))
    np.testing.assert_array_equal(states[1], states[0])
    np.testing.assert_array_equal(states[2], states[0])


def test_noise_is_not_that_of_the_environment():
    """A stream that began as the environment's would make the noise a function of the first state."""
    noise = PerturbationWrapper(Recorder(), observation_noise=1.0).reset(seed=7)[0]
    env = Recorder()
    env.reset(seed=7)
    theirs = [env.np_random.standard_normal(3), env.np_random.spawn(1)[0].standard_normal(3)]
    assert not any(np.any(np.isclose(noise, numbers)) for numbers in theirs)


def test_nested_wrappers_have_different_noise():
    env = PerturbationWrapper(TimeLimit(PerturbationWrapper(Recorder(), observation_noise=3), 9999), observation_noise=4)
    noise = np.array([env.reset(seed=0)[0]] + [env.step(np.zeros(2))[0] for _ in range(3000)])
    assert noise.std() == pytest.approx(5, rel=0.03)


def test_each_noise_has_its_own_stream():
    actions = [np.array([0.0, 5.0])] * 5
    np.testing.assert_array_equal(
        acted(actions, action_noise=0.1), acted(actions, action_noise=0.1, observation_noise=1.0, action_delay=0)
    )
    np.testing.assert_allclose(2 * (acted(actions, action_noise=0.01) - [0, 5]), acted(actions, action_noise=0.02) - [0, 5])
    observation = PerturbationWrapper(Recorder(action_space=spaces.Box(-1, 1, (3,))), observation_noise=1.0).reset(seed=0)[0]
    first = acted([np.zeros(3)], action_space=spaces.Box(-1, 1, (3,)), action_noise=0.01)[0] / 0.01
    assert not np.any(np.isclose(observation, first, atol=1e-3))


# ---------------------------------------------------------------------------------------------------- MuJoCo

SCENE = """
<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <geom name="floor" type="plane" size="20 20 1" friction="0.3"/>
    <body name="ball" pos="0 0 9"><freejoint/><geom name="ball" size="0.1" mass="2"/></body>
    <body name="box" pos="3 0 0.1"><freejoint/><geom name="box" type="box" size="0.1 0.1 0.1" mass="4" friction="0.1"/></body>
    <body pos="-3 0 2"><joint name="rail" type="slide" axis="1 0 0"/><geom size="0.1" mass="1.5"/></body>
  </worldbody>
  <actuator><motor joint="rail" gear="6"/></actuator>
  {pairs}
</mujoco>
"""
PAIR = '<contact><pair geom1="floor" geom2="box" friction="0.3 0.3 0.005 0.0001 0.0001"/></contact>'


class Scene(gym.Env):
    """A ball that falls, a box that slides along x on a floor, and a cart on a rail with a motor; nothing is damped."""

    def __init__(self, pairs=""):
        mujoco = pytest.importorskip("mujoco")
        self.model = mujoco.MjModel.from_xml_string(SCENE.format(pairs=pairs))
        self.data = mujoco.MjData(self.model)
        self.observation_space = spaces.Box(-np.inf, np.inf, (self.model.nq,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        import mujoco

        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.joint(1).qvel[0] = 1.5  # the box
        mujoco.mj_forward(self.model, self.data)
        return self.data.qpos.copy(), {}

    def step(self, action):
        import mujoco

        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data)
        return self.data.qpos.copy(), 0.0, False, False, {}


def positions(n_steps, pairs="", action=0.0, **kwargs):
    """The scene's movement: the ball's height, the box' way, the cart's way, (T + 1, 3)."""
    env = PerturbationWrapper(Scene(pairs), **kwargs)
    said = [env.reset(seed=0)[0]] + [env.step(np.array([action]))[0] for _ in range(n_steps)]
    return np.array(said)[:, [2, 7, 14]]


def accelerations(path, timestep=0.002):
    return np.diff(path, n=2) / timestep**2


def model_bytes(model):
    """The whole model."""
    import mujoco

    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


@pytest.mark.parametrize("gravity", [1.0, 0.5, 0.0, 2.0])
def test_free_fall(gravity):
    np.testing.assert_allclose(accelerations(positions(50, gravity=gravity)[:, 0]), -9.81 * gravity, atol=1e-5)


@pytest.mark.parametrize("mass", [1.0, 0.5, 3.0])
def test_heavier_bodies_accelerate_less(mass):
    path = positions(50, mass=mass, action=1.0)
    np.testing.assert_allclose(accelerations(path[:, 2]), 6 / (1.5 * mass), rtol=1e-6)
    np.testing.assert_allclose(accelerations(path[:, 0]), -9.81, atol=1e-5)  # but they fall as fast


@pytest.mark.parametrize("pairs", ["", PAIR], ids=["geoms", "pair"])
def test_friction_shortens_the_slide(pairs):
    # From 1.5 m/s against friction mu * g, mu the larger one of the two geoms: v^2 / (2 mu g)
    for friction in (0.5, 1.0, 2.0):
        path = positions(1500, pairs=pairs, friction=friction)[:, 1]
        assert path[-1] - path[-2] == pytest.approx(0, abs=1e-6)  # it has come to rest
        assert path[-1] - 3 == pytest.approx(1.5**2 / (2 * 0.3 * friction * 9.81), rel=0.03)


def test_mass_matrix_and_weight():
    mujoco = pytest.importorskip("mujoco")

    def look(**kwargs):
        env = PerturbationWrapper(Scene(), **kwargs).unwrapped
        env.reset()
        matrix = np.zeros((env.model.nv, env.model.nv))
        mujoco.mj_fullM(env.model, env.data, matrix)
        return matrix, env.data.qfrc_bias[2], env.data.contact.friction.copy(), env.model

    matrix, weight, frictions, model = look()
    assert weight == pytest.approx(2 * 9.81)
    heavy_matrix, heavy_weight, _, heavy = look(mass=2.5)
    # Rotation, too; and what MuJoCo derives from the masses
    np.testing.assert_allclose(heavy_matrix, 2.5 * matrix, rtol=1e-9)
    assert heavy_weight == pytest.approx(2.5 * weight)
    for name, factor in (
        ("body_subtreemass", 2.5),
        ("dof_invweight0", 1 / 2.5),
        ("body_invweight0", 1 / 2.5),
        ("dof_M0", 2.5),
    ):
        np.testing.assert_allclose(getattr(heavy, name), factor * getattr(model, name), rtol=1e-9, err_msg=name)
        assert np.any(getattr(model, name))
    assert look(mass=2.5, gravity=0.2)[1] == pytest.approx(weight / 2)
    assert len(frictions)
    np.testing.assert_allclose(look(friction=3.0)[2], 3 * frictions)


def test_hopper_fields():
    env = make("Hopper-v5")
    before = copy.deepcopy(env.unwrapped.model)
    wrapped = PerturbationWrapper(env, mass=2.0, friction=0.5, gravity=0.25)
    model = wrapped.unwrapped.model
    np.testing.assert_array_equal(model.body_mass, 2 * before.body_mass)
    np.testing.assert_array_equal(model.body_inertia, 2 * before.body_inertia)
    np.testing.assert_array_equal(model.geom_friction, 0.5 * before.geom_friction)
    np.testing.assert_array_equal(model.opt.gravity, 0.25 * before.opt.gravity)
    wrapped.reset(seed=0)
    # The root's second joint carries it all
    assert wrapped.unwrapped.data.qfrc_bias[1] == pytest.approx(0.5 * 9.81 * before.body_mass.sum(), rel=1e-4)
    for _ in range(60):
        wrapped.step(np.zeros(3, np.float32))
        contacts = wrapped.unwrapped.data.contact
        if len(contacts.friction):
            break
    geoms = contacts.geom[0]
    assert contacts.friction[0, 0] == pytest.approx(0.5 * before.geom_friction[geoms, 0].max())
    wrapped.close()
    assert model_bytes(model) == model_bytes(before)


@pytest.mark.parametrize("name", ["mass", "friction", "gravity"])
def test_each_factor_changes_the_episode_and_only_it(name):
    factor: dict[str, Any] = {name: 1.5}
    plain, env = make("Hopper-v5"), PerturbationWrapper(make("Hopper-v5"), **factor)
    for parameter, field in {"mass": "body_mass", "friction": "geom_friction", "gravity": "opt.gravity"}.items():
        before, after = (attrgetter(field)(world.unwrapped.model) for world in (plain, env))
        assert np.array_equal(after, before) == (parameter != name)
    theirs, ours = episode(plain), episode(env)
    np.testing.assert_array_equal(ours[0][0], theirs[0][0])
    n_steps = min(len(ours), len(theirs))
    assert repr([said[0] for said in ours[:n_steps]]) != repr([said[0] for said in theirs[:n_steps]])


@pytest.mark.parametrize("scene", [lambda: make("Hopper-v5"), lambda: Scene(PAIR)], ids=["Hopper", "pairs"])
def test_factors_do_not_compound(scene):
    kwargs: dict[str, Any] = {"mass": 3.0, "friction": 0.7, "gravity": 0.3}
    env = scene()
    model, loaded = env.unwrapped.model, model_bytes(env.unwrapped.model)
    once = PerturbationWrapper(env, **kwargs)
    expected = model_bytes(model)
    assert expected != loaded
    # Around the first, beside the first, and after it has been closed
    twice = PerturbationWrapper(once, **kwargs)
    assert model_bytes(model) == expected
    PerturbationWrapper(env, **kwargs)
    assert model_bytes(model) == expected
    PerturbationWrapper(env, mass=9.0, gravity=2.0)
    assert model_bytes(model) != expected
    PerturbationWrapper(env)  # all factors are 1
    assert model_bytes(model) == loaded
    again = PerturbationWrapper(twice, **kwargs)
    assert model_bytes(model) == expected
    again.close()
    assert model_bytes(model) == loaded
    PerturbationWrapper(env, **kwargs)
    assert model_bytes(model) == expected
    # Another environment loads its own
    assert model_bytes(scene().unwrapped.model) == loaded
    np.testing.assert_array_equal(
        PerturbationWrapper(scene(), **kwargs).unwrapped.model.body_mass, env.unwrapped.model.body_mass
    )


def test_closed_twice():
    env = PerturbationWrapper(Scene(), mass=2.0)
    loaded = model_bytes(Scene().model)
    env.close()
    env.close()
    assert model_bytes(env.unwrapped.model) == loaded
    assert model_bytes(copy.deepcopy(env).unwrapped.model) == loaded


@pytest.mark.parametrize("scene", [lambda: make("Hopper-v5"), Scene], ids=["Hopper", "Scene"])
def test_copies_are_perturbed_as_well(scene):
    """Hopper's copies load their model anew, those of the scene copy it."""
    env = PerturbationWrapper(scene(), mass=2.0, gravity=0.5)
    expected, loaded = model_bytes(env.unwrapped.model), model_bytes(scene().unwrapped.model)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert model_bytes(twin.unwrapped.model) == expected != loaded
    twin = copy.deepcopy(env)
    env.close()
    assert model_bytes(twin.unwrapped.model) == expected  # a model of its own
    twin.close()
    assert model_bytes(twin.unwrapped.model) == loaded


def test_the_state_of_an_episode_under_way_stays():
    env = Scene()
    episode(env, n_steps=5)
    state = np.concatenate([env.data.qpos, env.data.qvel])
    PerturbationWrapper(env, mass=2.0)
    np.testing.assert_array_equal(np.concatenate([env.data.qpos, env.data.qvel]), state)
    assert env.data.qpos[2] < 9  # it isn't the first one


def test_episode_after_close_is_the_unperturbed_one():
    env = PerturbationWrapper(Scene(), mass=2.0, gravity=0.5)
    env.reset(seed=0)
    env.step(np.array([1.0]))
    env.close()
    assert repr(episode(env.env, n_steps=5)) == repr(episode(Scene(), n_steps=5))


def test_refused_arguments_leave_the_world_alone():
    env = Scene()
    before = model_bytes(env.model)
    bads: list[dict[str, Any]] = [{"gravity": -1.0}, {"obstacles": WALL}, {"observation_noise": -1.0}, {"action_delay": 0.5}]
    for bad in bads:
        with pytest.raises(ValueError):
            PerturbationWrapper(env, mass=2.0, **bad)
        assert model_bytes(env.model) == before


# ---------------------------------------------------------------------------------------------------- obstacles


def test_obstacles_block_the_step():
    def arrival(env):
        env.reset(seed=0, options={"position": [0.0, 0.0]})
        return env.step(np.array([0.25, 1.0], dtype=np.float32))[0].tolist()

    env = gym.make("MultiGoal-v0", obstacles=[[[5, -5], [5, 5]]])
    own = env.unwrapped.obstacles
    assert arrival(PerturbationWrapper(env)) == [0.25, 1]
    wrapped = PerturbationWrapper(env, obstacles=WALL)
    assert arrival(wrapped) == [0, 0]
    np.testing.assert_array_equal(env.unwrapped.obstacles, WALL)  # in place of its own
    for twin in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(PerturbationWrapper(MultiGoalEnv(), obstacles=WALL)))):
        assert arrival(twin) == [0, 0]
        twin.close()
        assert arrival(twin) == [0.25, 1]
    assert arrival(PerturbationWrapper(wrapped, obstacles=[])) == [0.25, 1]
    assert len(env.unwrapped.obstacles) == 0
    wrapped.close()
    np.testing.assert_array_equal(env.unwrapped.obstacles, own)
    assert len(gym.make("MultiGoal-v0").unwrapped.obstacles) == 0


def test_frames_show_the_obstacles():
    env = gym.make("MultiGoal-v0", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    wrapped = PerturbationWrapper(env, obstacles=WALL)
    wrapped.reset(seed=0)
    expected = gym.make("MultiGoal-v0", render_mode="rgb_array", obstacles=WALL)
    expected.reset(seed=0)
    assert (wrapped.render() != before).any()
    np.testing.assert_array_equal(wrapped.render(), expected.render())


# ---------------------------------------------------------------------------------------------------- company

NOISY: dict[str, Any] = {"observation_noise": 0.1, "action_noise": 0.1, "action_delay": 1}


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_checkers_are_silent(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Gymnasium's checker would have the environment alone, and the two have views on spaces with other bounds
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        warnings.filterwarnings("ignore", message=".*(infinity|symmetric and normalized)")
        check_env(PerturbationWrapper(make(env_id).unwrapped, **NOISY), skip_render_check=True)
        check_env_sb3(PerturbationWrapper(make(env_id), **NOISY))


@pytest.mark.parametrize("kwargs", [NOISY, {"obstacles": WALL}])
def test_spec_makes_it_again(kwargs):
    env = PerturbationWrapper(gym.make("MultiGoal-v0"), **kwargs)
    twin = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(twin, PerturbationWrapper)
    assert repr(episode(twin)) == repr(episode(env))


def test_spec_keeps_the_factors():
    env = PerturbationWrapper(make("Hopper-v5"), mass=2.0)
    assert env.spec is not None
    assert model_bytes(gym.make(env.spec).unwrapped.model) == model_bytes(env.unwrapped.model)


@pytest.mark.parametrize("outer", [True, False])
def test_monitor_and_time_limit(outer):
    env = gym.make("Pendulum-v1").unwrapped
    if outer:
        env = PerturbationWrapper(Monitor(TimeLimit(env, 10)), **NOISY)
    else:
        env = Monitor(TimeLimit(PerturbationWrapper(env, **NOISY), 10))
    for _ in range(2):  # the second is no repetition of the first, and as long
        said = episode(env)
        assert len(said) == 11 and said[-1][3]
        info = said[-1][4]["episode"]
        assert info["l"] == 10 and info["r"] == pytest.approx(sum(step[1] for step in said[1:]), abs=1e-5)


def test_vectorised():
    kwargs: dict[str, Any] = {"wrapper_class": PerturbationWrapper, "wrapper_kwargs": {**NOISY, "obstacles": WALL}}
    env = make_vec_env("MultiGoal-v0", n_envs=2, seed=0, **kwargs)
    assert env.env_is_wrapped(PerturbationWrapper) == [True, True]
    first = env.reset()
    assert isinstance(first, np.ndarray)
    assert np.abs(first[0] - first[1]).max() > 1e-3
    processes = make_vec_env("sb3_maxent:MultiGoal-v0", n_envs=1, seed=0, vec_env_cls=SubprocVecEnv, **kwargs)
    np.testing.assert_array_equal(processes.reset(), first[:1])
    assert (np.array(processes.get_attr("action_delay")), len(processes.get_attr("spec"))) == (1, 1)
    for _ in range(40):
        env.step(np.array([env.action_space.sample() for _ in range(2)]))
    for vec_env in (env, processes):
        vec_env.close()


def test_sac_is_evaluated_in_it():
    model = SAC("MlpPolicy", "Pendulum-v1", learning_starts=10, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    model.learn(total_timesteps=20)
    returns = []
    for kwargs in ({}, {}, NOISY, NOISY):
        env = Monitor(PerturbationWrapper(gym.make("Pendulum-v1"), **kwargs))
        env.reset(seed=1)
        returns.append(evaluate_policy(model, env, n_eval_episodes=1, warn=False)[0])
    assert returns[0] == returns[1] != returns[2] == returns[3]
    observation = PerturbationWrapper(gym.make("Pendulum-v1"), **NOISY).reset(seed=0)[0]
    assert model.action_space.contains(model.predict(observation)[0])
    # SB3's SAC also learns in it
    perturbed = PerturbationWrapper(gym.make("Pendulum-v1"), **NOISY)
    SAC("MlpPolicy", perturbed, learning_starts=10, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu").learn(20)


# ---------------------------------------------------------------------------------------------------- bad input


def pendulum():
    return gym.make("Pendulum-v1")


DICT = spaces.Dict({"x": spaces.Box(-1, 1, (3,))})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "0.5", "much", [[0.1], [0.1, 0.2]], 1j, {}])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_bad_values(name, value):
    envs = {"mass": Scene, "friction": Scene, "gravity": Scene, "obstacles": MultiGoalEnv}
    env = envs.get(name, Recorder)()
    with pytest.raises(ValueError, match=f"`{name}` must be .*, not "):
        PerturbationWrapper(env, **{name: value})


@pytest.mark.parametrize(
    "make_env, kwargs, message",
    [
        (
            pendulum,
            {"observation_noise": [0.1, 0.2]},
            r"`observation_noise` must be an array of shape \(3\) .* not \[0.1, 0.2\]",
        ),
        (
            pendulum,
            {"observation_noise": [0.1, 0.2, -1]},
            r"`observation_noise` must be an array of shape \(3\) .*in \[0, inf\]",
        ),
        (pendulum, {"observation_noise": [True, False, True]}, r"`observation_noise` must be an array of shape \(3\)"),
        (pendulum, {"action_noise": None}, "`action_noise` must be a finite number .* not None"),
        (pendulum, {"action_noise": [0.1]}, r"`action_noise` must be a finite number in \[0, inf\], not \[0.1\]"),
        (pendulum, {"action_delay": 1.5}, "`action_delay` must be a whole number of steps, not 1.5"),
        (Scene, {"mass": 0}, "`mass` must be a finite number in .* not 0"),
        (Scene, {"friction": 0.0}, "`friction` must be a finite number in .* not 0.0"),
        (Scene, {"gravity": [1, 1, 1]}, r"`gravity` must be a finite number in \[0, inf\], not \[1, 1, 1\]"),
        (pendulum, {"mass": 1.5}, "`mass` must be 1 outside MuJoCo environments .* not 1.5: <PendulumEnv<Pendulum-v1>>"),
        (pendulum, {"friction": 2}, "`friction` must be 1 outside MuJoCo environments .* not 2: <PendulumEnv"),
        (pendulum, {"gravity": 0}, "`gravity` must be 1 outside MuJoCo environments .* not 0: <PendulumEnv"),
        (pendulum, {"obstacles": WALL}, "`obstacles` must be None outside MultiGoalEnv, not .*: <PendulumEnv"),
        (MultiGoalEnv, {"obstacles": [[0, 1]]}, r"`obstacles` must be an array of shape \(any, 2, 2\) .*, not \[\[0, 1\]\]"),
        (
            lambda: Recorder(DICT),
            {"observation_noise": 0.1},
            "`observation_noise` must be 0 .* no Box of floats, not 0.1: Dict",
        ),
        (
            lambda: Recorder(spaces.Box(0, 255, (4, 4, 3), np.uint8)),
            {"observation_noise": 1.0},
            r"`observation_noise` must be 0 .* no Box of floats, not 1.0: Box\(0, 255",
        ),
        (lambda: gym.make("TabularMDP-v0"), {"observation_noise": 1.0}, r"`observation_noise` must be 0 .*: Discrete\(5\)"),
        (lambda: gym.make("CartPole-v1"), {"action_noise": 0.1}, r"`action_noise` must be 0 .* not 0.1: Discrete\(2\)"),
        (lambda: gym.make("CartPole-v1"), {"action_delay": 1}, r"`action_delay` must be 0 .* not 1: Discrete\(2\)"),
        (
            lambda: Recorder(action_space=spaces.Box(-np.inf, np.inf, (1,))),
            {"action_noise": 0.1},
            r"`action_noise` must be 0 where actions are no bounded Box of floats, not 0.1: Box\(-inf",
        ),
        (
            lambda: Recorder(action_space=spaces.Box(0, 9, (1,), int)),
            {"action_delay": 2},
            "`action_delay` must be 0 .* not 2: Box",
        ),
    ],
)
def test_errors_name_the_argument(make_env, kwargs, message):
    with pytest.raises(ValueError, match=message):
        PerturbationWrapper(make_env(), **kwargs)


def test_a_wrapper_around_it_may_assign_a_space():
    """As rl_zoo3's TimeFeatureWrapper does, which adds a feature to the space of the wrapper inside it."""
    env = PerturbationWrapper(Recorder(), observation_noise=0.5, action_noise=0.5, action_delay=1)
    env.observation_space = spaces.Box(-1, 1, (4,))
    env.action_space = spaces.Box(-1, 1, (3,))
    observation, _ = env.reset(seed=0)
    env.step(np.zeros(2))
    assert observation.shape == (3,) and env.unwrapped.actions[0].shape == (2,)
