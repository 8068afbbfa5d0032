"""With SAC's formulas in its hooks, MaxEntAlgorithm is stable_baselines3.SAC, bit for bit."""

import gymnasium as gym
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.sac.policies import Actor

from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.policies import MaxEntPolicy


class GaussianPolicy(MaxEntPolicy):
    """SB3's own networks, put together by MaxEntPolicy."""

    def make_actor(self, features_extractor=None):
        return Actor(**self._update_features_extractor(self.actor_kwargs, features_extractor))

    def make_critic(self, features_extractor=None):
        return ContinuousCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor))


class HookedSAC(MaxEntAlgorithm):
    """SAC's formulas in the hooks."""

    actor: Actor

    policy_aliases = {"MlpPolicy": GaussianPolicy}  # noqa: RUF012

    def __init__(self, *args, _init_setup_model=True, **kwargs):
        super().__init__(*args, supported_action_spaces=(spaces.Box,), **kwargs)
        if _init_setup_model:
            self._setup_model()

    def _default_target_entropy(self):
        return -float(get_action_dim(self.action_space))

    def _td_target(self, step):
        # SAC draws the noise of the actor's loss before the noise of the target, our loop needs it after:
        # skip it here and go back to it there
        step.memory["actor_noise_state"] = th.get_rng_state()
        self.actor.action_log_prob(step.batch.next_observations)
        actions, log_prob = self.actor.action_log_prob(step.batch.next_observations)
        q_values = th.cat(self.critic_target(step.batch.next_observations, actions), dim=1).amin(dim=1, keepdim=True)
        return step.soft_td_target(q_values - step.ent_coef * log_prob.reshape(-1, 1))

    def _actor_loss(self, step):
        state = th.get_rng_state()
        th.set_rng_state(step.memory["actor_noise_state"])
        actions, log_prob = self.actor.action_log_prob(step.batch.observations)
        th.set_rng_state(state)
        log_prob = log_prob.reshape(-1, 1)
        q_values = th.cat(self.critic(step.batch.observations, actions), dim=1).min(dim=1, keepdim=True).values
        return (step.ent_coef * log_prob - q_values).mean(), -log_prob


def train(cls, n_envs=1, normalize=False, **kwargs):
    env = make_vec_env("Pendulum-v1", n_envs=n_envs, seed=0)
    if normalize:
        env = VecNormalize(env)
    parameters = {"policy_kwargs": {"net_arch": [32, 32]}, "batch_size": 64, "gradient_steps": -1, "seed": 3, **kwargs}
    return cls("MlpPolicy", env, **parameters).learn(250)


def assert_same_weights(ours, theirs):
    weights, expected = ours.policy.state_dict(), theirs.policy.state_dict()
    assert list(weights) == list(expected)
    for name, value in expected.items():
        assert th.equal(weights[name], value), name
    if theirs.log_ent_coef is not None:
        assert th.equal(ours.log_ent_coef, theirs.log_ent_coef)
    for name in ("actor", "critic"):
        states = [getattr(model, name).optimizer.state_dict()["state"] for model in (ours, theirs)]
        for index, moments in states[1].items():
            assert all(th.equal(value, states[0][index][key]) for key, value in moments.items())


@pytest.mark.parametrize(
    ("n_steps", "n_envs"),
    [(1, 1), (3, 4), *(pytest.param(*both, marks=pytest.mark.slow) for both in ((1, 4), (3, 1)))],
)
@pytest.mark.parametrize("ent_coef", [0.2, "auto", pytest.param("auto_0.1", marks=pytest.mark.slow)])
def test_equals_sac(ent_coef, n_steps, n_envs):
    kwargs = {"ent_coef": ent_coef, "n_steps": n_steps, "n_envs": n_envs}
    ours, theirs = train(HookedSAC, **kwargs), train(SAC, **kwargs)
    assert theirs._n_updates >= 146 and ours._n_updates == theirs._n_updates
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"normalize": True},
        {"policy_kwargs": {"net_arch": {"pi": [16], "qf": [32]}, "n_critics": 3, "activation_fn": th.nn.Tanh}},
        {"policy_kwargs": {"net_arch": [32], "share_features_extractor": True}},
        {"learning_rate": lambda progress: 1e-3 * progress, "target_entropy": -0.5, "tau": 0.1},
    ],
    ids=["vec-normalize", "networks", "shared-features", "schedule"],
)
def test_equals_sac_with_other_settings(kwargs):
    assert_same_weights(train(HookedSAC, **kwargs), train(SAC, **kwargs))


def test_logs_what_sac_logs():
    ours, theirs = train(HookedSAC), train(SAC)
    ours.train(5, 64)
    names = set(ours.logger.name_to_value)
    theirs.train(5, 64)
    assert set(theirs.logger.name_to_value) <= names
    assert {"train/entropy", "train/q_mean"} <= names


@pytest.mark.parametrize("interval", [1, 3])
def test_target_update_interval_counts_gradient_steps(interval):
    """Unlike SAC, whose count begins anew in each train() and makes the interval useless with gradient_steps=1."""
    env = gym.make("Pendulum-v1")
    model = HookedSAC("MlpPolicy", env, target_update_interval=interval, tau=1.0, policy_kwargs={"net_arch": [8]}, seed=0)
    model.learn(101)  # fills the buffer and does one gradient step, whose update is number 0
    for update in range(1, 7):
        model.train(gradient_steps=1, batch_size=8)
        equal = all(map(th.equal, model.critic.parameters(), model.critic_target.parameters()))
        assert equal == (update % interval == 0), update
