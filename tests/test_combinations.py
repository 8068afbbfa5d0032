"""Everything that SB3's SAC can be combined with, for every algorithm and every kind of action."""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.vec_env import VecNormalize
from toys import KINDS, SMALL, BatchNormExtractor, Toy, make_model

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning
from sb3_maxent.common.observations import preprocess, recipe_of

kinds = pytest.mark.parametrize(("algorithm", "action_space"), KINDS, ids=lambda value: getattr(value, "__name__", str(value)))


@pytest.mark.parametrize(
    ("observation_space", "policy"),
    [
        (spaces.Box(-1, 1, (3,)), "MlpPolicy"),
        (spaces.Discrete(5), "MlpPolicy"),
        (spaces.MultiDiscrete([3, 4]), "MlpPolicy"),
        (spaces.MultiBinary(4), "MlpPolicy"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}), "MultiInputPolicy"),
    ],
    ids=["box", "discrete", "multidiscrete", "multibinary", "dict"],
)
@pytest.mark.parametrize("n_envs", [1, 3])
@kinds
def test_observations(algorithm, action_space, observation_space, policy, n_envs):
    model = make_model(algorithm, action_space, observation_space, policy, n_envs=n_envs, steps=33)
    assert model._n_updates > 0
    observation = model.get_env().reset()
    for deterministic in (False, True):
        assert model.predict(observation, deterministic=deterministic)[0].shape == (n_envs, *action_space.shape)


PREPROCESSED: list[spaces.Space] = [
    spaces.Box(-1, 1, (2,)),
    spaces.Box(0, 255, (1, 3, 3), np.uint8),
    spaces.Box(0, 100, (1, 3, 3), np.uint8),
    spaces.Box(0, 255, (9,), np.uint8),
    spaces.Discrete(3),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(2),
]


@pytest.mark.parametrize("space", [*PREPROCESSED, spaces.Dict(dict(zip("abcdefg", PREPROCESSED, strict=True)))])
def test_preprocessing_is_that_of_sb3(space):
    """Ours can be traced into a compiled graph; what comes out is the same."""
    space.seed(0)
    samples = [space.sample() for _ in range(4)]
    if isinstance(space, spaces.Dict):
        batch: Any = {key: th.as_tensor(np.stack([sample[key] for sample in samples])) for key in space.spaces}
    else:
        batch = th.as_tensor(np.stack(samples))
    for normalize_images in (False, True):
        ours = preprocess(batch, recipe_of(space, normalize_images))
        th.testing.assert_close(ours, preprocess_obs(batch, space, normalize_images), rtol=0, atol=0)


def test_preprocessing_of_a_space_without_networks():
    with pytest.raises(NotImplementedError, match="Text"):
        recipe_of(spaces.Text(3), True)


@pytest.mark.parametrize(
    ("algorithm", "discrete", "share"),
    [(DiscreteSAC, True, False), (DiscreteSAC, True, True), (SoftQLearning, True, False)]
    + [(algorithm, False, share) for algorithm in (SoftQLearning, S2AC, SACNF, MixtureSAC) for share in (False, True)],
)
def test_images(algorithm, discrete, share):
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=discrete)
    policy_kwargs = {"features_extractor_kwargs": {"features_dim": 8}, "net_arch": [8], "share_features_extractor": share}
    model = algorithm("CnnPolicy", env, policy_kwargs=policy_kwargs, **SMALL).learn(30)
    for deterministic in (False, True):
        assert model.predict(env.observation_space.sample(), deterministic=deterministic)[0] in env.action_space
    if model.actor is not None:
        assert (model.actor.features_extractor is model.critic.features_extractor) == share


@kinds
def test_images_in_a_dictionary(algorithm, action_space):
    spaces_: dict[str, spaces.Space] = {"image": spaces.Box(0, 255, (36, 36, 1), np.uint8), "x": spaces.Box(-1, 1, (2,))}
    policy_kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
    make_model(algorithm, action_space, spaces.Dict(spaces_), "MultiInputPolicy", steps=30, policy_kwargs=policy_kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_steps": 3},
        {"train_freq": (1, "episode"), "gradient_steps": -1},
        {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}},
        {"tau": 1.0, "target_update_interval": 5},
        {"ent_coef": 0.0},
        {"ent_coef": "auto_0.1", "ent_coef_bounds": (0.05, 0.2)},
        {"policy_kwargs": {"n_critics": 1, "net_arch": {"pi": [8], "qf": [4, 4]}, "activation_fn": th.nn.Tanh}},
        {"policy_kwargs": {"n_critics": 3, "net_arch": [], "activation_fn": th.nn.ELU}},
        {"policy_kwargs": {"optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}},
        {"learning_rate": lambda progress: 1e-3 * progress},
    ],
    ids=lambda kwargs: "-".join(kwargs),
)
@kinds
def test_options(algorithm, action_space, kwargs):
    model = make_model(algorithm, action_space, **kwargs)
    assert model._n_updates > 0
    assert all(value.isfinite().all() for value in model.policy.state_dict().values())


@kinds
def test_vec_normalize(algorithm, action_space):
    env = VecNormalize(make_vec_env(lambda: Toy(action_space=action_space), n_envs=2, seed=0))
    model = algorithm("MlpPolicy", env, n_steps=3, **SMALL).learn(60)
    assert model.get_vec_normalize_env() is env and model._n_updates > 0


@pytest.mark.parametrize(
    ("algorithm", "continuous"),
    [(DiscreteSAC, False), (SoftQLearning, False), (SoftQLearning, True), (S2AC, True), (SACNF, True), (MixtureSAC, True)],
)
def test_her(algorithm, continuous):
    env = BitFlippingEnv(n_bits=3, continuous=continuous)
    kwargs = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 2}}
    model = algorithm("MultiInputPolicy", env, **kwargs, **SMALL).learn(60)
    assert model._n_updates > 0


class NumberedEpisodes(gym.Env):
    """Episodes of ten steps; an episode's number is what is achieved in it, and its goal."""

    observation_space = spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), spaces.Box(0, 99, (1,))))
    action_space = spaces.Box(-1, 1, (1,))
    episode = 0

    def _observation(self):
        return {name: np.full(1, self.episode, np.float32) for name in self.observation_space.spaces}

    def reset(self, *, seed=None, options=None):
        self.episode, self.steps = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        return self._observation(), 0.0, False, self.steps == 10, {}

    def compute_reward(self, achieved_goal, desired_goal, info):
        return np.zeros(len(achieved_goal))


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("n_rows", [500, 50])
@pytest.mark.parametrize("reset", [True, False])
def test_her_does_not_relabel_across_a_reset(n_envs, n_rows, reset):
    """``learn()`` resets the environment in the middle of an episode; goals of the next one are none of this one's."""
    env = make_vec_env(NumberedEpisodes, n_envs=n_envs)
    kwargs = {**SMALL, "buffer_size": n_rows * n_envs, "learning_starts": 1000}
    model = S2AC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, **kwargs)
    for _ in range(3):
        model.learn(25 * n_envs, reset_num_timesteps=reset)
    samples = model.replay_buffer.sample(500)
    achieved, desired = samples.observations["achieved_goal"], samples.observations["desired_goal"]
    assert th.equal(achieved, desired), "the goal of a transition is of its own episode"
    lengths = np.unique(model.replay_buffer.ep_length)
    assert set(lengths) - {0} == ({5, 10} if reset else {10})


@pytest.mark.parametrize("activation_fn", [th.nn.ReLU, th.nn.Tanh])
@kinds
def test_predict_in_inference_mode(algorithm, action_space, activation_fn):
    model = make_model(algorithm, action_space, policy_kwargs={"activation_fn": activation_fn}, steps=0)
    observations = np.random.default_rng(0).uniform(-1, 1, (3, 3)).astype(np.float32)
    for deterministic in (True, False):
        th.manual_seed(0)
        expected, _ = model.predict(observations, deterministic=deterministic)
        th.manual_seed(0)
        with th.inference_mode():
            np.testing.assert_array_equal(model.predict(observations, deterministic=deterministic)[0], expected)


@kinds
def test_batch_norm(algorithm, action_space):
    """The targets take over the running statistics as they are, and stay in evaluation mode."""
    model = make_model(algorithm, action_space, policy_kwargs={"features_extractor_class": BatchNormExtractor})
    assert len(model.batch_norm_stats) == 2
    for value, target in zip(model.batch_norm_stats, model.batch_norm_stats_target, strict=True):
        assert value.abs().sum() > 0 and th.equal(value, target)
    assert not model.critic_target.training
    model.policy.set_training_mode(True)
    assert not model.critic_target.training and model.critic.training


@kinds
def test_automatic_temperature_needs_an_entropy(algorithm, action_space):
    model = make_model(algorithm, action_space, ent_coef="auto")
    model._actor_loss = lambda step: (None, None)
    with pytest.raises(ValueError, match="`ent_coef='auto'` needs a policy whose entropy is known"):
        model.train(1, 16)


# ---------------------------------------------------------------------- logs


@pytest.mark.parametrize("ent_coef", ["auto", 0.3])
@kinds
def test_logs(algorithm, action_space, ent_coef):
    model = make_model(algorithm, action_space, ent_coef=ent_coef)
    model.train(3, 16)
    expected = {"n_updates", "ent_coef", "critic_loss", "entropy", "q_mean", "learning_rate"}
    expected |= {"actor_loss"} if model.actor is not None else set()
    expected |= {"ent_coef_loss"} if ent_coef == "auto" else set()
    if algorithm is S2AC:
        expected |= {f"svgd_{name}" for name in ("step_ratio", "step_size", "spread", "bandwidth", "neighbours", "truncated")}
    logged = {name.removeprefix("train/") for name in model.logger.name_to_value if name.startswith("train/")}
    assert logged == expected
    # log 4 for four actions, and 2 log 2 for the uniform density on [-1, 1]^2
    highest = np.log(6 if isinstance(action_space, spaces.MultiDiscrete) else 4)
    slack = 0.2 if algorithm in (S2AC, SACNF, MixtureSAC) else 1e-6  # estimates, which may exceed it a little
    assert 0 < model.logger.name_to_value["train/entropy"] <= highest + slack


@pytest.mark.parametrize(
    ("algorithm", "action_space", "kwargs"),
    [
        (DiscreteSAC, spaces.Discrete(3), {"q_clip": 0.5, "entropy_penalty": 0.5, "ent_coef_bounds": (1e-3, 1.0)}),
        (SoftQLearning, spaces.Box(-1, 1, (2,)), {"value_proposal": "mixture", "ent_coef": "auto"}),
        (SoftQLearning, spaces.MultiDiscrete([3, 2]), {"munchausen_coef": 0.9, "policy_kwargs": {"n_critics": 2}}),
        (S2AC, spaces.Box(-1, 1, (2,)), {"ent_coef": "auto"}),
        (S2AC, spaces.Box(-1, 1, (2,)), {"learned_start": False, "entropy_estimator": "exact", "truncation": None}),
        (S2AC, spaces.Box(-1, 1, (2,)), {"amortized": True, "second_order": True, "max_step_ratio": None}),
        (SACNF, spaces.Box(-1, 1, (2,)), {"flow": "radial"}),
        (SACNF, spaces.Box(-1, 1, (2,)), {"flow": "spline"}),
        (MixtureSAC, spaces.Box(-1, 1, (2,)), {}),
    ],
    ids=lambda value: (
        "-".join(map(str, value.values())) if isinstance(value, dict) else getattr(value, "__name__", str(value))
    ),
)
def test_no_host_synchronisation_per_gradient_step(algorithm, action_space, kwargs, monkeypatch):
    """As many tensors come to the host in a call of train() with 12 gradient steps as in one with 3."""
    model = make_model(algorithm, action_space, **kwargs)
    calls = []
    for name in ("item", "cpu", "tolist", "numpy", "__bool__", "__float__", "__int__", "__array__"):
        original = getattr(th.Tensor, name)

        def counted(self, *args, original=original, name=name, **kwargs):
            filename = sys._getframe(1).f_code.co_filename
            if "sb3_maxent" in filename or "stable_baselines3" in filename:  # torch's own Adam reads its step, on the host
                calls.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(th.Tensor, name, counted)
    counts = []
    for gradient_steps in (3, 12):
        calls.clear()
        model.train(gradient_steps, 16)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


@kinds
def test_tensorboard_and_callbacks(algorithm, action_space, tmp_path):
    pytest.importorskip("tensorboard")
    model = algorithm("MlpPolicy", Toy(action_space=action_space), tensorboard_log=str(tmp_path), **SMALL)
    model.learn(60, callback=lambda local, _: local["self"].num_timesteps < 50, log_interval=1)
    assert model.num_timesteps == 50
    assert [path.name for path in tmp_path.iterdir()] == [f"{algorithm.__name__}_1"]
