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
from sb3_maxent.common.finite_guard import FiniteGuard

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
        ("buffer_size", 1e4),
        ("batch_size", 64.0),
        ("train_freq", 0),
        ("train_freq", 1.5),
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


def test_bounds_need_a_learned_temperature():
    with pytest.raises(ValueError, match="`ent_coef_bounds` must be None with a fixed temperature"):
        DiscreteSAC("MlpPolicy", Toy(), ent_coef=0.1, ent_coef_bounds=(0.01, 1.0))


def test_number_of_critics():
    with pytest.raises(ValueError, match="`n_critics` must be an integer in"):
        DiscreteSAC("MlpPolicy", Toy(), policy_kwargs={"n_critics": 0})


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
    assert np.isfinite(model.replay_buffer.rewards[: model.replay_buffer.pos]).all()
    assert np.isfinite(model.replay_buffer.next_observations[: model.replay_buffer.pos]).all()
    if normalize:
        statistics = model.get_vec_normalize_env()
        for array in (statistics.obs_rms.mean, statistics.obs_rms.var, statistics.ret_rms.var, statistics.returns):
            assert np.isfinite(array).all()


def test_bad_observation_of_reset_and_in_a_dictionary(tmp_path):
    space = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "n": spaces.Discrete(3)})
    env = Toy(space, fault=lambda step, observation, reward: ({**observation, "x": np.array([0, np.nan])}, reward))
    model = DiscreteSAC("MultiInputPolicy", env, **SMALL)
    with pytest.raises(
        ValueError, match=r"observations\['x'\] that the environment's reset\(\) returned: nan at index \(0, 1\)"
    ):
        model.learn(100)


@pytest.mark.parametrize("interval", [5, 1000])
def test_bad_loss(interval, monkeypatch, tmp_path):
    """Training that diverges ends with the weights of the last copy, by an error that names the loss and the step."""
    rewards = [1.0]
    env = Toy(fault=lambda step, observation, reward: (observation, rewards[-1]))
    model = DiscreteSAC("MlpPolicy", env, **SMALL)
    monkeypatch.setattr(FiniteGuard, "update_interval", interval)
    model.learn(50)
    assert model._n_updates == 30
    rewards.append(1e30)
    pattern = r"critic_loss=inf in gradient step (\d+)\. The model is back at gradient step (\d+) and can be saved"
    with pytest.raises(ValueError, match=pattern) as error:
        model.learn(100, reset_num_timesteps=False)
    bad, back = map(int, re.search(pattern, str(error.value)).groups())
    assert 30 <= back < bad <= back + interval and (back - 30) % interval == 0
    assert model._n_updates == back
    for _ in range(2):  # the bad rewards are still in the buffer: the same error again, from the same weights
        moments = model.critic.optimizer.state_dict()["state"].values()
        assert all(value["exp_avg_sq"].isfinite().all() for value in moments)
        with pytest.raises(ValueError, match=r"back at gradient step \d+ and .* still in the replay buffer"):
            model.learn(10, reset_num_timesteps=False)
    model.replay_buffer.rewards[:] = 1e30
    for _ in range(2):  # and again, when train() is called directly
        with pytest.raises(ValueError, match="critic_loss=inf"):
            model.train(1, 16)
        moments = model.critic.optimizer.state_dict()["state"].values()
        assert all(value["exp_avg_sq"].isfinite().all() for value in moments)
    rewards.append(1.0)
    model.replay_buffer.reset()
    model.learn(30, reset_num_timesteps=False)
    assert_saveable(model, tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")


def test_bad_number_that_normalization_or_rounding_hides():
    """VecNormalize clips infinity, and the buffer holds rewards in float32."""

    def fault(at, observation, reward):
        return (np.full_like(observation, np.inf) if at == 30 else observation), reward

    env = VecNormalize(make_vec_env(lambda: Toy(fault=fault), seed=0), training=False)
    with pytest.raises(
        ValueError, match="in the observations before normalization that the environment returned at time step 30"
    ):
        DiscreteSAC("MlpPolicy", env, **SMALL).learn(50)
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL).learn(20)
    with pytest.raises(ValueError, match="NaN or infinity in the rewards"):
        model._finite_guard.check_transition(np.zeros((1, 3)), np.array([1e39]), np.array([False]), [{}])


def test_gradient_that_is_not_finite(tmp_path):
    """The loss is finite and its gradient is not: found before the next action is drawn."""
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL).learn(30)
    actor_loss = model._actor_loss

    def spoilt(observations, ent_coef):
        loss, entropy = actor_loss(observations, ent_coef)
        return loss + (model.actor.logits_net[0].weight * 0).abs().sqrt().sum(), entropy  # 0 with gradient NaN

    model._actor_loss = spoilt
    with pytest.raises(ValueError, match="A weight of the actor is NaN or infinite after gradient step 11"):
        model.learn(30, reset_num_timesteps=False)
    del model._actor_loss
    assert_saveable(model, tmp_path / "model")


def test_weights_that_were_set_are_the_ones_to_go_back_to(tmp_path):
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL).learn(40)
    other = DiscreteSAC("MlpPolicy", Toy(), **{**SMALL, "seed": 1}).learn(40)
    model.set_parameters(other.get_parameters())
    model.replay_buffer.rewards[:] = 1e30
    with pytest.raises(ValueError, match="back at gradient step 20"):
        model.learn(30, reset_num_timesteps=False)
    assert all(map(th.equal, model.policy.state_dict().values(), other.policy.state_dict().values()))


def test_bad_weight(monkeypatch, tmp_path):
    """A weight that is lost while all losses stay finite is found when the next copy is made."""
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    monkeypatch.setattr(FiniteGuard, "update_interval", 10)
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


def test_statistics_survive_a_bad_reset():
    env = VecNormalize(make_vec_env(lambda: Toy(fault=lambda step, observation, reward: (observation * np.nan, reward))))
    with pytest.raises(ValueError, match=r"observations that the environment's reset\(\) returned: nan at index \(0, 0\)"):
        DiscreteSAC("MlpPolicy", env, **SMALL).learn(100)
    assert np.isfinite(env.obs_rms.mean).all()
