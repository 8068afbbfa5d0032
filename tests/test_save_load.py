"""SB3's promises about saving, loading and resuming."""

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.save_util import save_to_pkl
from toys import KINDS, Toy

from sb3_maxent import (
    S2AC,
    SACNF,
    DiscreteSAC,
    MixtureSAC,
    SoftQLearning,
    discrete_sac,
    mixture_sac,
    s2ac,
    sacnf,
    soft_q_learning,
)
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm

SMALL = {**toys.SMALL, "policy_kwargs": {"net_arch": [16]}}
BOX = spaces.Box(-2, 3, (2,))


def assert_equal_models(first, second):
    tensors, expected = first.policy.state_dict(), second.policy.state_dict()
    assert list(tensors) == list(expected)
    assert all(th.equal(tensors[name], value) for name, value in expected.items())
    for name in ("log_ent_coef", "ent_coef_tensor"):
        assert hasattr(first, name) == hasattr(second, name)
        if getattr(second, name, None) is not None:
            assert th.equal(getattr(first, name), getattr(second, name))
    parameters, expected = first.get_parameters(), second.get_parameters()
    assert parameters.keys() == expected.keys() >= {"critic.optimizer", *(["actor.optimizer"] if second.actor else [])}
    if "actor_old" in expected:
        assert all(map(th.equal, parameters["actor_old"].values(), expected["actor_old"].values()))
    for name in expected.keys() - {"policy", "actor_old"}:
        states = [each[name]["state"] for each in (parameters, expected)]
        assert states[1].keys() == states[0].keys() and states[1]
        for index, moments in states[1].items():
            assert all(th.equal(value, states[0][index][key]) for key, value in moments.items())


EVERYWHERE: list[dict[str, Any]] = [
    {"ent_coef": 0.3},
    {"ent_coef": "auto_0.1", "target_entropy": 0.4},
    {
        "learning_rate": lambda progress: 1e-3 * progress,
        "ent_coef": "auto",
        "ent_coef_bounds": (0.01, 1.0),
        "target_update_interval": 3,
    },
    {"ent_coef": lambda progress: 0.1 + progress},
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "DiscreteSAC": [{"q_reduction": "mean", "q_clip": 0.5, "entropy_penalty": 0.5, "critic_ent_coef": 0.0}],
    "SoftQLearning": [
        {"munchausen_coef": 0.9, "munchausen_clip": -2.0, "ent_coef": "lin_0.5"},
        {
            "behavior_policy": "greedy",
            "exploration_initial_eps": 0.5,
            "exploration_final_eps": 0.1,
            "exploration_max_duration": 7,
            "exploration_duration_exponent": 1.5,
        },
    ],
    "Box": [
        {"value_proposal": "mixture", "n_value_particles": 5, "ent_coef": "lin_0.5_0.1"},
        {"n_kernel_particles": 4, "kernel_update_ratio": 0.7, "kernel_bandwidth": 0.5},
    ],
    "S2AC": [
        {
            "n_particles": 5,
            "n_svgd_steps": 2,
            "svgd_step_size": 0.2,
            "max_step_ratio": None,
            "kernel_bandwidth": 0.5,
            "precondition": False,
            "truncation": None,
            "out_of_bounds": "free",
            "entropy_estimator": "closed_form",
            "scores_from": "first",
            "likelihood_ratio": False,
            "ent_coef": "lin_0.5_0.1",
        },
        {"learned_start": False, "start_std": 0.8, "entropy_estimator": "exact", "behavior_policy": "softmax"},
        {
            "amortized": True,
            "second_order": True,
            "scores_from": "mean",
            "out_of_bounds": "clip",
            "truncation": 2.0,
            "max_step_ratio": 0.3,
            "particle_batch_size": 4,
        },
    ],
    "MixtureSAC": [
        {
            "n_components": 3,
            "mean_spread": 0.5,
            "start_std": 0.3,
            "max_std": 0.6,
            "deterministic_action": "best",
        },
        {"n_components": 1},
    ],
    "SACNF": [
        {"flow": "planar", "n_flows": 2, "conditional_flow": False, "ent_coef": "lin_0.5_0.1"},
        {"flow": "radial"},
        {"n_flows": 1, "n_bins": 4},
        {"n_flows": 0},
    ],
}


@pytest.mark.parametrize(
    ("algorithm", "action_space", "kwargs"),
    [
        (algorithm, space, kwargs)
        for algorithm in (DiscreteSAC, SoftQLearning)
        for space in (spaces.Discrete(3, start=2), spaces.MultiDiscrete([2, 3]))
        for kwargs in [*EVERYWHERE, *OPTIONS[algorithm.__name__]]
    ]
    + [(SoftQLearning, BOX, kwargs) for kwargs in [*EVERYWHERE, *OPTIONS["Box"]]]
    + [(cls, BOX, kwargs) for cls in (S2AC, SACNF, MixtureSAC) for kwargs in [*EVERYWHERE, *OPTIONS[cls.__name__]]],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else getattr(value, "__name__", str(value)),
)
def test_save_and_load(algorithm, action_space, kwargs, tmp_path):
    env = make_vec_env(lambda: Toy(action_space=action_space), n_envs=2, seed=0)
    model = algorithm("MlpPolicy", env, **SMALL, **kwargs).learn(60)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = algorithm.load(tmp_path / "model")  # without an environment
    assert vars(loaded).keys() - vars(algorithm("MlpPolicy", env, **SMALL, **kwargs)).keys() <= {"_last_dones"}, "of a step"
    assert_equal_models(loaded, model)
    for name, value in kwargs.items():
        assert callable(value) or getattr(loaded, name) == value, name
    assert loaded.target_entropy == model.target_entropy
    observations = env.reset()
    np.testing.assert_array_equal(*(m.predict(observations, deterministic=True)[0] for m in (loaded, model)))

    loaded = algorithm.load(tmp_path / "model", env=env)
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.pos == model.replay_buffer.pos
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.num_timesteps == 80 and loaded._n_updates == model._n_updates + 10

    loaded.set_parameters(model.get_parameters())
    weights = loaded.policy.state_dict()
    assert all(th.equal(weights[name], value) for name, value in model.policy.state_dict().items())


@pytest.mark.parametrize(
    ("name", "algorithm", "action_space", "actions", "ent_coef"),
    [
        ("discretesac", DiscreteSAC, spaces.Discrete(3), [1, 1, 1], 0.298205),
        (
            "sql",
            SoftQLearning,
            spaces.Box(-1, 1, (2,)),
            [[-0.7453338, 0.9185709], [0.8749862, 0.6652980], [0.8758053, 0.6482544]],
            0.1,
        ),
    ],
)
def test_models_saved_before(name, algorithm, action_space, actions, ent_coef):
    """Models that were saved before the temperature had a class of its own act as they did, and train on."""
    path = Path(__file__).parent / "saved_before_compile" / name
    model = algorithm.load(path, env=Toy(None, action_space), device="cpu")
    observations = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)[::2]
    assert model.predict(observations, deterministic=True)[0] == pytest.approx(np.array(actions), abs=1e-5)
    temperature = model.log_ent_coef.exp().item() if model.log_ent_coef is not None else model.ent_coef_tensor.item()
    assert temperature == pytest.approx(ent_coef, rel=1e-4)
    assert (model.compile, model.matmul, model._n_updates) == (False, None, 20)
    assert model.critic.optimizer.state_dict()["state"][0]["step"] == 20
    model.learn(30, reset_num_timesteps=False)
    assert model._n_updates == 50


def with_data(source, target, change):
    """A copy of a saved model with other values of its attributes."""
    with zipfile.ZipFile(source) as new, zipfile.ZipFile(target, "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "data":
                data = json.loads(content)
                change(data)
                content = json.dumps(data).encode()
            old.writestr(name, content)


def test_defaults_of_an_earlier_version(tmp_path):
    """Where a parameter means nothing, a file may have what was its default; a caller may not give it."""
    toys.make_model(SoftQLearning, spaces.Discrete(3)).save(tmp_path / "new")
    before = {"n_kernel_particles": 16, "kernel_bandwidth": "median"}
    with_data(tmp_path / "new.zip", tmp_path / "old.zip", lambda data: data.update(before))
    temperatures: list[dict[str, Any]] = [{}, {"ent_coef": 0.3}]
    for kwargs in temperatures:
        model = SoftQLearning.load(tmp_path / "old", env=Toy(None, spaces.Discrete(3)), **kwargs)
        assert (model.n_kernel_particles, model.kernel_bandwidth) == (32, "score")
        model.learn(10, reset_num_timesteps=False)
        with pytest.raises(ValueError, match=r"`kernel_bandwidth` must be 'score' for Discrete\(3\), not 'median'"):
            SoftQLearning.load(tmp_path / "old", **kwargs, kernel_bandwidth="median")


def test_a_parameter_that_the_file_does_not_know(tmp_path):
    """It is what it was before it existed, unless the caller says something else."""
    model = toys.make_model(S2AC, BOX, scores_from="mean")
    model.save(tmp_path / "new")
    with_data(tmp_path / "new.zip", tmp_path / "old.zip", lambda data: data.pop("scores_from"))
    assert S2AC.load(tmp_path / "new").scores_from == "mean"
    for kwargs, expected in (({}, "min"), ({"scores_from": "first"}, "first"), ({"ent_coef": 0.3}, "min")):
        with open(tmp_path / "old.zip", "rb") as file:
            for path in (tmp_path / "old", file):
                loaded = S2AC.load(path, **kwargs)
                assert loaded.scores_from == loaded.policy.scores_from == expected


def test_other_ways_to_save_and_load(tmp_path):
    env = make_vec_env(Toy, n_envs=2, seed=0)
    model = DiscreteSAC("MlpPolicy", env, **SMALL).learn(60)
    file = io.BytesIO()
    model.save(file, exclude=["ep_info_buffer"])
    file.seek(0)
    loaded = DiscreteSAC.load(file, env=make_vec_env(Toy, n_envs=3), custom_objects={"learning_rate": 0.0})
    assert_equal_models(loaded, model)
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded.n_envs == 3
    model.save(tmp_path / "model", include=["env"])
    loaded.set_parameters(tmp_path / "model.zip")
    assert_equal_models(loaded, model)


def test_target_entropy_on_loading(tmp_path):
    """ "auto" stays automatic, a number stays that number."""
    DiscreteSAC("MlpPolicy", Toy(), **SMALL).save(tmp_path / "auto")
    assert DiscreteSAC.load(tmp_path / "auto").target_entropy == pytest.approx(0.5 * np.log(3))
    assert DiscreteSAC.load(tmp_path / "auto", target_entropy_ratio=0.9).target_entropy == pytest.approx(0.9 * np.log(3))
    assert DiscreteSAC.load(tmp_path / "auto", target_entropy=0.4).target_entropy == 0.4
    DiscreteSAC("MlpPolicy", Toy(), target_entropy=0.4, **SMALL).save(tmp_path / "fixed")
    assert DiscreteSAC.load(tmp_path / "fixed", target_entropy_ratio=0.9).target_entropy == 0.4


def test_entropy_penalty_can_be_switched_on_later(tmp_path):
    """The actor that it compares with follows the actor in any case."""
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL, learning_rate=1e-2).learn(300)
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model", entropy_penalty=0.5)
    fresh = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    current, old, initial = (
        th.nn.utils.parameters_to_vector(actor.parameters()) for actor in (loaded.actor, loaded.actor_old, fresh.actor)
    )
    assert (current - old).norm() < (current - initial).norm()


def test_changed_parameters_on_loading_are_checked(tmp_path):
    DiscreteSAC("MlpPolicy", Toy(), **SMALL).save(tmp_path / "model")
    assert DiscreteSAC.load(tmp_path / "model", tau=0.5).tau == 0.5
    with pytest.raises(ValueError, match="`tau` must be a number in"):
        DiscreteSAC.load(tmp_path / "model", tau=-1)


IMAGE, DICT = spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.Dict({"x": BOX, "mask": spaces.MultiBinary(3)})
NETWORKS = {"net_arch": {"pi": [4], "qf": [5]}, "n_critics": 3, "activation_fn": th.nn.Tanh}
CNN = {"features_extractor_kwargs": {"features_dim": 8}}


@pytest.mark.parametrize(
    ("algorithm", "action_space", "policy", "observation_space", "policy_kwargs"),
    [
        (DiscreteSAC, None, "MlpPolicy", None, NETWORKS),
        (DiscreteSAC, None, discrete_sac.CnnPolicy, IMAGE, CNN),
        (
            DiscreteSAC,
            None,
            discrete_sac.MultiInputPolicy,
            DICT,
            {"action_mask_key": "mask", "share_features_extractor": True},
        ),
        (SoftQLearning, None, "MlpPolicy", None, NETWORKS),
        (SoftQLearning, None, soft_q_learning.CnnPolicy, IMAGE, CNN),
        (SoftQLearning, None, soft_q_learning.MultiInputPolicy, DICT, {"net_arch": []}),
        (SoftQLearning, BOX, "MlpPolicy", None, {**NETWORKS, "noise_dim": 3, "n_particles": 7}),
        (SoftQLearning, BOX, soft_q_learning.CnnPolicy, IMAGE, CNN),
        (SoftQLearning, BOX, soft_q_learning.MultiInputPolicy, DICT, {"share_features_extractor": True}),
        (S2AC, BOX, "MlpPolicy", None, NETWORKS),
        (S2AC, BOX, s2ac.CnnPolicy, IMAGE, CNN),
        (S2AC, BOX, s2ac.MultiInputPolicy, DICT, {"share_features_extractor": True}),
        (MixtureSAC, BOX, "MlpPolicy", None, NETWORKS),
        (MixtureSAC, BOX, mixture_sac.CnnPolicy, IMAGE, CNN),
        (MixtureSAC, BOX, mixture_sac.MultiInputPolicy, DICT, {"net_arch": []}),
        (SACNF, BOX, "MlpPolicy", None, NETWORKS),
        (SACNF, BOX, sacnf.CnnPolicy, IMAGE, CNN),
        (SACNF, BOX, sacnf.MultiInputPolicy, DICT, {"net_arch": []}),
    ],
    ids=lambda value: getattr(value, "__name__", value) if isinstance(value, type | str) else "",
)
def test_policy_round_trip(algorithm, action_space, policy, observation_space, policy_kwargs, tmp_path):
    """A policy saved alone keeps every constructor argument, and its class can be passed as ``policy``."""
    env = Toy(observation_space, action_space)
    model = algorithm(policy, env, policy_kwargs=policy_kwargs, ent_coef=0.07)
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    for name, value in policy_kwargs.items():
        assert getattr(loaded, name) == value, name
    if model.actor is not None:
        model.actor.save(tmp_path / "actor")
        type(model.actor).load(tmp_path / "actor")
    state = loaded.state_dict()
    assert all(th.equal(state[name], value) for name, value in model.policy.state_dict().items())
    observation = env.observation_space.sample()
    for deterministic in (False, True):
        actions = []
        for each in (loaded, model):
            th.manual_seed(0)
            actions.append(each.predict(observation, deterministic=deterministic)[0])
        np.testing.assert_array_equal(*actions)
    assert type(algorithm(type(model.policy), env, policy_kwargs=policy_kwargs).policy) is type(model.policy)


# ---------------------------------------------------------------------- another temperature, another class, another buffer


NEW_TEMPERATURES = {0.05: 0.05, "auto_0.3": 0.3, "lin_0.4": 0.4 * 0.5, "auto": 1.0}


@pytest.mark.parametrize("before", [0.7, "auto_0.6", pytest.param("lin_0.5", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("algorithm", "action_space"), KINDS, ids=str)
def test_another_kind_of_temperature_on_loading(algorithm, action_space, before, tmp_path):
    """What is missing starts anew; what was learned of the networks stays."""
    model = toys.make_model(algorithm, action_space, ent_coef=before)
    model._current_progress_remaining = 0.5
    model.save(tmp_path / "model")
    for after, value in NEW_TEMPERATURES.items():
        if str(before).startswith("auto") and str(after).startswith("auto"):
            value = float(model.log_ent_coef.detach().exp())  # what was learned, as with SB3's SAC
        loaded = algorithm.load(tmp_path / "model", env=model.get_env(), ent_coef=after)
        assert float(loaded.temperature.value) == pytest.approx(value, rel=1e-5)
        if loaded.policy.acts_by_ent_coef:
            assert float(loaded.policy.ent_coef) == pytest.approx(value, rel=1e-5)
        assert all(map(th.equal, loaded.critic.state_dict().values(), model.critic.state_dict().values()))
        assert (loaded.log_ent_coef is not None) == str(after).startswith("auto")
        loaded.set_logger(model.logger)
        loaded.replay_buffer = model.replay_buffer
        loaded.train(2, 8)
        loaded.save(tmp_path / "again")
        assert float(algorithm.load(tmp_path / "again").temperature.value) == float(loaded.temperature.value)


def test_another_kind_of_temperature_from_a_file_object(tmp_path):
    model = toys.make_model(DiscreteSAC, spaces.Discrete(3), ent_coef="auto_0.6")
    model.save(tmp_path / "model.zip")
    with (tmp_path / "model.zip").open("rb") as file:
        assert DiscreteSAC.load(file, ent_coef=0.1).ent_coef_tensor == pytest.approx(0.1)
        assert DiscreteSAC.load(file).log_ent_coef == model.log_ent_coef
    model.set_parameters(toys.make_model(DiscreteSAC, spaces.Discrete(3), ent_coef=0.2).get_parameters())


@pytest.mark.parametrize(("before", "after"), [("auto_0.6", 0.02), (0.5, "auto_0.2"), ("lin_0.5", 0.1), (0.1, lambda _: 0.7)])
def test_ent_coef_can_be_set(before, after):
    """Also to another kind; the next gradient step does it."""
    model = toys.make_model(DiscreteSAC, spaces.Discrete(3), ent_coef=before)
    model.ent_coef = after
    model.train(1, 8)
    expected = 0.7 if callable(after) else float(str(after).removeprefix("auto_"))
    assert float(model.temperature.value) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("before", "after", "value"), [("auto_0.6", 0.02, 0.02), (0.5, "auto_0.2", 0.2), (0.5, "lin_0.1", 0.1)]
)
def test_ent_coef_can_be_set_and_saved_at_once(before, after, value, tmp_path):
    """The file holds the new kind of temperature, also without a gradient step in between."""
    model = toys.make_model(DiscreteSAC, spaces.Discrete(3), ent_coef=before)
    model._current_progress_remaining = 1.0
    model.ent_coef = after
    model.save(tmp_path / "model")
    assert float(DiscreteSAC.load(tmp_path / "model").temperature.value) == pytest.approx(value)


def test_bounds_go_with_the_learned_temperature(tmp_path):
    """They are dropped with it; bounds that are given beside another kind of temperature are still refused."""
    model = toys.make_model(DiscreteSAC, spaces.Discrete(3), ent_coef="auto_0.1", ent_coef_bounds=(0.01, 1.0))
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model", ent_coef=0.05)
    assert loaded.ent_coef_bounds is None and float(loaded.temperature.value) == pytest.approx(0.05)
    assert DiscreteSAC.load(tmp_path / "model", ent_coef="auto_0.3").ent_coef_bounds == (0.01, 1.0)
    with pytest.raises(ValueError, match="`ent_coef_bounds` must be None unless the temperature is learned"):
        DiscreteSAC.load(tmp_path / "model", ent_coef=0.05, ent_coef_bounds=(0.01, 1.0))
    model.ent_coef = 0.05
    model.train(1, 8)
    assert model.ent_coef_bounds is None and float(model.temperature.value) == pytest.approx(0.05)


def test_another_class_is_refused(tmp_path):
    sac = SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"net_arch": [4]})
    models = {"SAC": sac, **{cls.__name__: toys.make_model(cls, space, steps=0) for cls, space in KINDS}}
    for name, model in models.items():
        model.save(tmp_path / name)
    for algorithm, _ in KINDS:
        for name in models.keys() - {algorithm.__name__}:
            with pytest.raises(ValueError, match=f"{algorithm.__name__} can't have the policy of {name}, "):
                algorithm.load(tmp_path / name)
        algorithm.load(tmp_path / algorithm.__name__)

    class Own(S2AC):
        """A user's own class loads the files of the class that it is made from."""

        policy_aliases = {"MlpPolicy": type("OwnPolicy", (s2ac.S2ACPolicy,), {})}  # noqa: RUF012

    Own.load(tmp_path / "S2AC")


def test_another_replay_buffer_is_refused(tmp_path):
    def make(observation_space=None, action_space=BOX, n_envs=1):
        return toys.make_model(S2AC, action_space, observation_space, n_envs=n_envs)

    model = make()
    own = model.replay_buffer
    for name, other in {
        "observation_space": make(spaces.Box(-1, 1, (5,))),
        "action_space": make(action_space=spaces.Box(-2, 3, (1,))),
        "n_envs": make(n_envs=2),
    }.items():
        other.save_replay_buffer(tmp_path / "buffer")
        with pytest.raises(ValueError, match=f"`{name}`") as error:
            model.load_replay_buffer(tmp_path / "buffer")
        assert str(getattr(other, name)) in str(error.value) and str(getattr(model, name)) in str(error.value)
        assert model.replay_buffer is own
    save_to_pkl(tmp_path / "other.pkl", {"no": "buffer"})
    with pytest.raises(AssertionError, match="must inherit from ReplayBuffer"):
        model.load_replay_buffer(tmp_path / "other.pkl")
    assert model.replay_buffer is own
    make().save_replay_buffer(tmp_path / "buffer")
    model.load_replay_buffer(tmp_path / "buffer")
    assert model.replay_buffer is not own


def test_use_sde_in_policy_kwargs():
    """SB3's SAC writes it into the dictionary that it is given."""
    policy_kwargs = {"net_arch": [4]}
    SAC("MlpPolicy", "Pendulum-v1", policy_kwargs=policy_kwargs, buffer_size=10)
    assert policy_kwargs == {"net_arch": [4], "use_sde": False}
    for algorithm, action_space in KINDS:
        model = toys.make_model(algorithm, action_space, steps=0, policy_kwargs=policy_kwargs)
        assert model.policy_kwargs["use_sde"] is False and len(model.policy.net_arch) == 1
        with pytest.raises(ValueError, match=f"use_sde.* must be False, not True: {algorithm.__name__}"):
            toys.make_model(algorithm, action_space, steps=0, policy_kwargs={"use_sde": True})


# ---------------------------------------------------------------------- resuming


class Clockwork(gym.Env):
    """Deterministic, reset included: what SB3 does not save (the environment and its generator) makes no difference."""

    observation_space = spaces.Box(-10, 10, (2,))

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        self.time, self.position = 0, 0.0
        return self.observe(), {}

    def observe(self):
        return np.array([self.position, self.time / 10], dtype=np.float32)

    def step(self, action):
        self.position = float(np.clip(0.9 * self.position + np.sum(action) - 1, -10, 10))
        self.time += 1
        return self.observe(), -abs(self.position - 1), False, self.time == 10, {}


class UsesPython(Clockwork):
    """Draws from Python's generator, as some environments do."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + 0.1 * random.random(), *rest


RESUMED: dict[str, tuple[type[MaxEntAlgorithm], spaces.Space, dict[str, Any]]] = {
    "DiscreteSAC": (DiscreteSAC, spaces.Discrete(3), {"q_clip": 1.0, "entropy_penalty": 0.1}),
    "SoftQLearning-Box": (SoftQLearning, spaces.Box(0, 2, (2,)), {"ent_coef": "auto_0.3", "value_proposal": "mixture"}),
    "SoftQLearning-Discrete": (
        SoftQLearning,
        spaces.Discrete(3),
        {"ent_coef": "auto_0.3", "munchausen_coef": 0.5, "exploration_final_eps": 0.1, "exploration_max_duration": 5},
    ),
    "S2AC": (
        S2AC,
        spaces.Box(0, 2, (2,)),
        {"ent_coef": "auto_0.3", "n_particles": 4, "entropy_estimator": "hutchinson", "behavior_policy": "softmax"},
    ),
    "MixtureSAC": (MixtureSAC, spaces.Box(0, 2, (2,)), {"n_components": 3}),
    "SACNF": (SACNF, spaces.Box(0, 2, (2,)), {"flow": "spline", "n_flows": 2}),
}


def run(name, kind, folder, n):
    """One part of the resume test: ``straight`` learns 2n, ``first`` n, and ``second`` goes on from there."""
    algorithm, action_space, options = RESUMED[name]
    kwargs: dict[str, Any] = {"n_steps": 3, "learning_starts": 130, "batch_size": 32, "buffer_size": 250}
    kwargs["policy_kwargs"] = {"net_arch": [16]}
    env = make_vec_env(UsesPython if n > 200 else Clockwork, n_envs=2, env_kwargs={"action_space": action_space})
    if kind == "second":
        model = algorithm.load(folder / "first", env=env)
        model.load_replay_buffer(folder / "buffer")
        model.learn(n, reset_num_timesteps=False)
    else:
        model = algorithm("MlpPolicy", env, seed=7, **options, **kwargs)
        model.learn(2 * n if kind == "straight" else n)
        model.save_replay_buffer(folder / "buffer")
    model.save(folder / kind)


@pytest.mark.parametrize(
    ("name", "n"), [("DiscreteSAC", 100), *(pytest.param(name, 300, marks=pytest.mark.slow) for name in RESUMED)]
)
def test_resume_in_a_new_process(name, n, tmp_path):
    """learn(2n) equals learn(n), save, load in a new process, learn(n), bit for bit."""
    for kind in ("straight", "first"):
        run(name, kind, tmp_path, n)
    code = f"from test_save_load import *; run({name!r}, 'second', Path({str(tmp_path)!r}), {n})"
    environment = {**os.environ, "OMP_NUM_THREADS": str(th.get_num_threads())}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, check=True)
    straight, second = (RESUMED[name][0].load(tmp_path / kind) for kind in ("straight", "second"))
    assert second.num_timesteps == straight.num_timesteps == 2 * n
    assert second._n_updates == straight._n_updates > 0
    assert_equal_models(second, straight)


def test_a_loaded_model_leaves_the_random_generators_alone_until_it_resumes(tmp_path):
    """Models without a seed store none, so that several processes that load one do not draw the same actions."""
    env = make_vec_env(Toy)
    kwargs = {**SMALL, "seed": None}
    DiscreteSAC("MlpPolicy", env, **kwargs).learn(30).save(tmp_path / "model")
    th.manual_seed(5)
    expected = th.rand(3)
    th.manual_seed(5)
    DiscreteSAC.load(tmp_path / "model", env=env)
    assert DiscreteSAC.load(tmp_path / "model")._rng_state is None
    th.manual_seed(5)
    assert th.equal(th.rand(3), expected)


def test_another_seed_starts_other_random_streams(tmp_path):
    """Branches of one checkpoint differ if their seeds do; loading and saving again keeps the streams."""
    env = make_vec_env(Toy)
    kwargs = {**SMALL, "learning_starts": 0, "gradient_steps": 0}
    DiscreteSAC("MlpPolicy", env, **kwargs).learn(30).save(tmp_path / "model")
    DiscreteSAC.load(tmp_path / "model").save(tmp_path / "again")

    def draws(path="model", seed=None, **kwargs):
        model = DiscreteSAC.load(tmp_path / path, env=env, **kwargs)
        if seed is not None:
            model.set_random_seed(seed)
        model.learn(30, reset_num_timesteps=False)
        return th.rand(1).item()

    assert draws() == draws() == draws("again")
    assert len({draws(), draws(seed=5), draws(seed=6), draws(**{"seed": None})}) == 4 - 1
    first, second = (DiscreteSAC.load(tmp_path / "model", env=env, seed=seed) for seed in (8, 9))
    assert first._rng_state is not None  # kept, for saving again, but not used
    values = []
    for model in (first, second):
        model.set_random_seed(model.seed)
        model.learn(30, reset_num_timesteps=False)
        values.append(th.rand(1).item())
    assert values[0] != values[1]


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_no_transition_across_a_reset_in_the_small_buffer(algorithm, tmp_path):
    """The buffer without next observations has the first one of the next episode in the place of the last one's next."""
    small = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}, "buffer_size": 100}
    model = algorithm("MlpPolicy", Clockwork(action_space=spaces.Discrete(3)), learning_starts=50, seed=0, **small)
    model.learn(13)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = algorithm.load(tmp_path / "model", env=Clockwork(action_space=spaces.Discrete(3)))
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert not loaded.replay_buffer.dones[12]
    loaded.learn(4, reset_num_timesteps=False)  # which resets the environment
    assert loaded.replay_buffer.dones[12] == 1 and not loaded.replay_buffer.dones[13]
