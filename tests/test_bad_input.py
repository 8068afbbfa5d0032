"""Bad parameters end in an error before training, bad numbers during training in one that leaves the model saveable."""

import re

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from toys import Toy

from sb3_maxent import DiscreteSAC

SMALL = {"batch_size": 16, "learning_starts": 20, "buffer_size": 500, "seed": 0, "policy_kwargs": {"net_arch": [16]}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_steps", 0),
        ("n_steps", 1.5),
        ("target_entropy", 1.2),  # log 3 = 1.0986
        ("target_entropy", -1.0),
        ("target_entropy", "automatic"),
        ("target_entropy", float("nan")),
        ("target_entropy_ratio", 1.1),
        ("target_entropy_ratio", -0.1),
        ("ent_coef", -0.1),
        ("ent_coef", "automatic"),
        ("ent_coef", "auto_x"),
        ("ent_coef", "auto_-1"),
        ("ent_coef", "auto_0"),
        ("ent_coef", None),
        ("ent_coef_bounds", (0.5, 0.1)),
        ("ent_coef_bounds", (-1, 1)),
        ("ent_coef_bounds", 1.0),
        ("critic_ent_coef", -1),
        ("q_reduction", "max"),
        ("q_clip", 0.0),
        ("q_clip", float("inf")),
        ("entropy_penalty", -0.5),
        ("entropy_penalty", "much"),
        ("gamma", 1.5),
        ("tau", -0.1),
        ("batch_size", 0),
        ("buffer_size", -5),
        ("learning_starts", -1),
        ("learning_rate", -1e-3),
        ("gradient_steps", -2),
        ("target_update_interval", 0),
        ("tau", None),
        ("tau", True),
    ],
)
def test_parameters(name, value):
    with pytest.raises(ValueError, match=f"`{name}") as error:
        DiscreteSAC("MlpPolicy", Toy(), **{name: value})
    assert " must be " in str(error.value) or " needs " in str(error.value)
    shown = value[0] if name == "ent_coef_bounds" and value == (-1, 1) else value
    assert repr(shown) in str(error.value) or repr(np.atleast_1d(value)[-1].item()) in str(error.value)


@pytest.mark.parametrize("action_space", [spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3)], ids=str)
def test_action_space(action_space):
    with pytest.raises(AssertionError, match=r"only supports .*Discrete.*MultiDiscrete.*was provided"):
        DiscreteSAC("MlpPolicy", Toy(action_space=action_space))


def test_multi_discrete_of_two_dimensions():
    with pytest.raises(ValueError, match="flat nvec"):
        DiscreteSAC("MlpPolicy", Toy(action_space=spaces.MultiDiscrete([[2, 3], [2, 2]])))


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (3,)), spaces.Dict({"mask": spaces.MultiBinary(2)}), spaces.Dict({"x": spaces.MultiBinary(3)})],
    ids=["box", "too-short", "missing"],
)
def test_action_mask_key(space):
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    with pytest.raises(ValueError, match=r"`action_mask_key` must name a MultiBinary\(3\)"):
        DiscreteSAC(policy, Toy(space), policy_kwargs={"action_mask_key": "mask"})


def test_unknown_policy_argument():
    with pytest.raises(TypeError, match="n_critic"):
        DiscreteSAC("MlpPolicy", Toy(), policy_kwargs={"n_critic": 2})


def assert_saveable(model, path):
    model.save(path)
    loaded = DiscreteSAC.load(path)
    assert all(value.isfinite().all() for value in loaded.policy.state_dict().values())
    assert loaded.num_timesteps > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [7, 30, 40], ids=["warm-up", "training", "end-of-episode"])
@pytest.mark.parametrize("what", ["observations", "rewards"])
@pytest.mark.parametrize("normalize", [False, True])
def test_bad_observation_or_reward(what, step, bad, normalize, tmp_path):
    def fault(at, observation, reward):
        if at == step:
            reward = bad if what == "rewards" else reward
            observation = np.full_like(observation, bad) if what == "observations" else observation
        return observation, reward

    env = make_vec_env(lambda: Toy(fault=fault), seed=0)
    model = DiscreteSAC("MlpPolicy", VecNormalize(env) if normalize else env, **SMALL)
    name = "observation" if what == "observations" else "rewards"
    with pytest.raises(ValueError, match=rf"NaN or infinity in the .*{name}.* at time step {step}\b"):
        model.learn(100)
    assert model.num_timesteps == step
    assert_saveable(model, tmp_path / "model")


def test_bad_observation_of_reset_and_in_a_dictionary(tmp_path):
    space = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "n": spaces.Discrete(3)})
    env = Toy(space, fault=lambda step, observation, reward: ({**observation, "x": np.array([0, np.nan])}, reward))
    model = DiscreteSAC("MultiInputPolicy", env, **SMALL)
    with pytest.raises(
        ValueError, match=r"observations\['x'\] that the environment's reset\(\) returned: nan at index \(0, 1\)"
    ):
        model.learn(100)


@pytest.mark.parametrize("interval", [5, 1000])
def test_bad_loss(interval, tmp_path):
    """Training that diverges ends with the weights of the last copy, by an error that names the loss and the step."""
    rewards = iter([1.0] * 60 + [1e30] * 100)
    env = Toy(fault=lambda step, observation, reward: (observation, next(rewards)))
    model = DiscreteSAC("MlpPolicy", env, **SMALL)
    model.finite_state_interval = interval
    model.learn(50)
    assert model._n_updates == 30
    pattern = r"critic_loss=inf in gradient step (\d+)\. The model is back at gradient step (\d+) and can be saved"
    with pytest.raises(ValueError, match=pattern) as error:
        model.learn(100, reset_num_timesteps=False)
    bad, back = map(int, re.search(pattern, str(error.value)).groups())
    assert 30 < bad and 0 < bad - back <= interval and back % interval == 0
    assert model._n_updates == back
    assert_saveable(model, tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")


def test_bad_weight(tmp_path):
    """A weight that is lost while all losses stay finite is found when the next copy is made."""
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    model.finite_state_interval = 10
    model.learn(40)
    with th.no_grad():
        model.critic_target.qf0[-1].bias[0] = th.inf
    model._n_updates += 10
    with pytest.raises(ValueError, match="A weight is NaN or infinite before gradient step"):
        model.train(1, 16)
    assert_saveable(model, tmp_path / "model")


def test_n_step_returns_do_not_reach_into_the_next_episode():
    """An episode that learn() cuts off by resetting the environment counts as truncated."""
    env = make_vec_env(Toy, n_envs=2, seed=0)
    model = DiscreteSAC("MlpPolicy", env, n_steps=3, **SMALL)
    model.learn(26)  # 13 steps in each environment, whose episodes have 10
    model.learn(26)
    buffer = model.replay_buffer
    assert buffer.dones[:, 0].nonzero()[0].tolist() == [9, 12, 22]
    assert buffer.timeouts[:, 0].nonzero()[0].tolist() == [9, 12, 22]
    samples = buffer._get_samples(np.array([11, 11]))
    assert samples.discounts.numpy() == pytest.approx(0.99**2) and samples.dones.sum() == 0
