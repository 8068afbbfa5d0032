"""DiscreteSAC's formulas against loops over actions, and its acting."""

import functools
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from toys import SMALL, BatchNormExtractor, Toy, soft_value, step_on

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.common.discrete import MASKED, CategoricalHeads
from sb3_maxent.functional import categorical_entropy

SPACES = [
    spaces.Discrete(3),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiDiscrete([2, 2, 3]),
    spaces.MultiBinary(3),
]


make_model = functools.partial(toys.make_model, DiscreteSAC)


def nvec_of(space):
    """How many actions each component has."""
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    return [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.tolist()


def start_of(space):
    """The first action of each component."""
    return getattr(space, "start", 0)


def joint_actions(space):
    """All actions of a space, each as an array of its components' indices."""
    return list(itertools.product(*map(range, nvec_of(space))))


def joint_tables(model, observations, critic):
    """(B, joint actions) probabilities and, for each critic, Q-values, by loops."""
    heads = model.actor.heads
    joint = joint_actions(model.action_space)
    with th.no_grad():
        probs = model.actor.action_log_probs(observations).exp().numpy()
        q_values = [q.numpy() for q in critic(observations)]
    columns = [[offset + index for offset, index in zip(heads.offsets.tolist(), action, strict=True)] for action in joint]
    probabilities = np.array([[np.prod([row[c] for c in chosen]) for chosen in columns] for row in probs])
    tables = [np.array([[sum(row[c] for c in chosen) for chosen in columns] for row in q]) for q in q_values]
    return probabilities, np.array(tables)


def expected_value(model, observations, critic, alpha):
    """(B,) E[min or mean of the critics] + alpha H, with joint probabilities."""
    probabilities, q_values = joint_tables(model, observations, critic)
    if model.q_reduction == "mean":
        q = (probabilities * q_values.mean(axis=0)).sum(axis=1)
    elif isinstance(model.action_space, spaces.Discrete):
        q = (probabilities * q_values.min(axis=0)).sum(axis=1)
    else:
        q = (probabilities * q_values).sum(axis=2).min(axis=0)
    return q - alpha * (probabilities * np.log(probabilities)).sum(axis=1)


@pytest.mark.parametrize("q_reduction", ["min", "mean"])
@pytest.mark.parametrize("action_space", SPACES, ids=str)
def test_formulas(action_space, q_reduction):
    model = make_model(action_space, q_reduction=q_reduction, policy_kwargs={"n_critics": 3})
    data = model.replay_buffer.sample(8)
    alpha = th.tensor([0.7])
    value = soft_value(model, data.observations, alpha)
    np.testing.assert_allclose(
        value.detach()[:, 0], expected_value(model, data.observations, model.critic_target, 0.7), rtol=1e-4, atol=1e-5
    )
    loss, entropy = model._actor_loss(step_on(data.observations, alpha))
    np.testing.assert_allclose(loss.item(), -expected_value(model, data.observations, model.critic, 0.7).mean(), rtol=1e-4)
    probabilities, tables = joint_tables(model, data.observations, model.critic)
    np.testing.assert_allclose(entropy.detach()[:, 0], -(probabilities * np.log(probabilities)).sum(axis=1), rtol=1e-4)

    start = start_of(action_space)
    chosen = [joint_actions(action_space).index(tuple(np.atleast_1d(action - start))) for action in data.actions.numpy()]
    step, target = step_on(None, alpha, data), th.linspace(-1, 1, 8).unsqueeze(1)
    expected = 0.5 * sum(((table[np.arange(8), chosen] - target[:, 0].numpy()) ** 2).mean() for table in tables)
    np.testing.assert_allclose(model._critic_loss(step, target).item(), expected, rtol=1e-4)
    np.testing.assert_allclose(
        step.metrics["q_mean"], np.mean([t[np.arange(8), chosen] for t in tables]), rtol=1e-3, atol=1e-6
    )

    # The critics are constants for the actor
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.actor.parameters())


def test_actor_gradient_is_exact():
    """dL/dlogits = pi (alpha log pi - Q - E[alpha log pi - Q]) / B, worked out by hand."""
    model = make_model()
    data = model.replay_buffer.sample(5)
    logits = model.actor.logits_net(data.observations).detach().requires_grad_()
    model.actor.action_log_probs = lambda obs: th.log_softmax(logits, dim=1)
    loss, _ = model._actor_loss(step_on(data.observations, 0.4))
    (gradient,) = th.autograd.grad(loss, logits)
    pi = th.softmax(logits, dim=1).detach()
    inner = 0.4 * pi.log() - th.stack(model.critic(data.observations)).amin(dim=0).detach()
    expected = pi * (inner - (pi * inner).sum(dim=1, keepdim=True)) / 5
    th.testing.assert_close(gradient, expected)


def test_critic_entropy_coefficient():
    model = make_model(critic_ent_coef=0.0)
    observations = model.replay_buffer.sample(8).observations
    value = soft_value(model, observations, 5.0).detach()[:, 0]
    np.testing.assert_allclose(value, expected_value(model, observations, model.critic_target, 0.0), rtol=1e-4, atol=1e-6)


def test_q_clip_by_hand():
    """Equation 16 of 2209.10081, sample by sample."""
    model = make_model(q_clip=0.1)
    data = model.replay_buffer.sample(3)
    model.critic_target.forward = lambda obs: (th.zeros(3, 3),) * 2
    model.critic.forward = lambda obs: (th.tensor([[0.05], [0.3], [-0.3]]).expand(3, 3),) * 2
    target = th.ones(3, 1)
    # inside the clip: (0.05 - 1)^2; beyond it towards the target: (0.1 - 1)^2; beyond it away from the target: (-0.3 - 1)^2
    expected = 2 * 0.5 * np.mean([0.95**2, 0.9**2, 1.3**2])
    assert model._critic_loss(step_on(None, 0.4, data), target).item() == pytest.approx(expected)


def test_entropy_penalty():
    model = make_model(entropy_penalty=0.5)
    observations = model.replay_buffer.sample(8).observations
    with th.no_grad():
        for parameter in model.actor_old.parameters():
            parameter.mul_(3.0)
        old = model.actor_old.action_log_probs(observations)
        old_entropy = -(old.exp() * old).sum(dim=1, keepdim=True)
    penalized, entropy = model._actor_loss(step_on(observations, 0.3))
    model.entropy_penalty = 0.0
    plain, _ = model._actor_loss(step_on(observations, 0.3))
    assert (penalized - plain).item() == pytest.approx(0.5 * ((entropy - old_entropy) ** 2).mean().item(), rel=1e-4)


@pytest.mark.parametrize("ratio", [0.2, 0.98])
def test_temperature_follows_the_exact_entropy(ratio):
    """It falls where the entropy is above the target and rises where it is below; its loss is log(alpha) (H - target)."""
    model = make_model(target_entropy_ratio=ratio, policy_kwargs={"net_arch": []}, steps=0, ent_coef="auto_0.5")
    assert model.target_entropy == pytest.approx(ratio * np.log(3))
    with th.no_grad():  # the same distribution in every state
        model.actor.logits_net[0].weight.zero_()
        model.actor.logits_net[0].bias.copy_(th.tensor([0.5, 0.25, 0.25]).log() + 7)
    model.learning_starts = 1000
    model.learn(20).train(1, 16)
    surplus = 1.5 * np.log(2) - ratio * np.log(3)
    assert model.logger.name_to_value["train/entropy"] == pytest.approx(1.5 * np.log(2), rel=1e-4)
    assert model.logger.name_to_value["train/ent_coef_loss"] == pytest.approx(np.log(0.5) * surplus, rel=1e-4)
    assert np.sign(model.log_ent_coef.item() - np.log(0.5)) == -np.sign(surplus)


def test_temperature_bounds():
    model = make_model(ent_coef="auto_0.5", ent_coef_bounds=(0.4, 0.45), learning_rate=1.0, steps=0)
    assert model.log_ent_coef.exp().item() == pytest.approx(0.45)  # from the start
    for target_entropy, bound in [(0.0, 0.4), (float(np.log(3)), 0.45)]:
        model.target_entropy = target_entropy
        model.learn(30)
        assert model.log_ent_coef.exp().item() == pytest.approx(bound)


@pytest.mark.parametrize("action_space", SPACES, ids=str)
def test_predict(action_space):
    model = make_model(action_space)
    rng = np.random.default_rng(0)
    observations = rng.uniform(-1, 1, size=(64, 3)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    assert actions.dtype == action_space.dtype and actions.shape == (64, *action_space.shape)
    probabilities, _ = joint_tables(model, th.as_tensor(observations), model.critic)
    modes = np.array(joint_actions(action_space))[probabilities.argmax(axis=1)].reshape(actions.shape)
    np.testing.assert_array_equal(actions, modes + start_of(action_space))
    # One row at a time, and without the batch dimension
    for observation, action in zip(observations, actions, strict=True):
        np.testing.assert_array_equal(model.predict(observation, deterministic=True)[0], action)
    # One row never changes another's sample
    th.manual_seed(1)
    samples, _ = model.predict(observations)
    changed = observations.copy()
    changed[0] = -changed[0]
    th.manual_seed(1)
    np.testing.assert_array_equal(model.predict(changed)[0][1:], samples[1:])


def test_samples_have_the_policys_probabilities():
    model = make_model(spaces.MultiDiscrete([3, 2], start=[5, 0]))
    observation = np.array([0.1, -0.5, 0.9], dtype=np.float32)
    samples, _ = model.predict(np.tile(observation, (20_000, 1)))
    probabilities = model.actor.action_log_probs(th.as_tensor(observation[None])).exp().detach().numpy()[0]
    for component, (low, part) in enumerate(zip([5, 0], np.split(probabilities, [3]), strict=True)):
        frequencies = np.bincount(samples[:, component] - low, minlength=len(part)) / 20_000
        np.testing.assert_allclose(frequencies, part, atol=0.015)


def test_train_uses_the_options():
    """What one gradient step logs or moves is what the hooks say: with Q-clip, with masks, and for the lagged actor."""
    model = make_model(q_clip=1e-3, entropy_penalty=0.5, steps=21)
    model.replay_buffer.rewards[:] = 50.0
    with th.no_grad():  # on the way from the target critic to the targets, further than the clip allows
        model.critic.qf0[-1].bias.add_(10.0)
    data = model.replay_buffer.sample(16)
    model.replay_buffer.sample = lambda *args, **kwargs: data  # type: ignore[method-assign]
    values = soft_value(model, data.next_observations, model.log_ent_coef.exp())
    expected = model._critic_loss(step_on(None, 1.0, data), data.rewards + 0.99 * values).item()
    old = [parameter.clone() for parameter in model.actor_old.parameters()]
    model.train(1, 16)
    assert model.logger.name_to_value["train/critic_loss"] == pytest.approx(expected, rel=1e-4)
    for parameter, before, lagged in zip(model.actor.parameters(), old, model.actor_old.parameters(), strict=True):
        th.testing.assert_close(lagged, 0.995 * before + 0.005 * parameter)
        assert not th.equal(lagged, before)


# ---------------------------------------------------------------------- action masks


class Masked(Toy):
    """Action masks in the observation; an action that is not allowed is an error."""

    def __init__(self, action_space=None, none_allowed=False):
        super().__init__(None, action_space or spaces.Discrete(4, start=1))
        self.none_allowed = none_allowed
        self.nvec, self.start = nvec_of(self.action_space), start_of(self.action_space)
        self.observation_space = spaces.Dict({"x": spaces.Box(-1, 1, (3,)), "mask": spaces.MultiBinary(sum(self.nvec))})

    def observe(self, observation):
        masks = [self.np_random.permutation([1, *self.np_random.integers(2, size=n - 1)]) for n in self.nvec]
        self.mask = np.concatenate(masks).astype(np.int8)
        if self.none_allowed:  # that is: all
            self.mask[:] = 1
            return {**observation, "mask": np.zeros_like(self.mask)}
        return {**observation, "mask": self.mask.copy()}

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return self.observe(observation), info

    def step(self, action):
        indices = np.atleast_1d(np.asarray(action, int) - self.start) + np.cumsum([0, *self.nvec[:-1]])
        assert self.mask[indices].all(), f"{action} is not allowed by {self.mask}"
        observation, *rest = super().step(action)
        return self.observe(observation), *rest


@pytest.mark.parametrize(
    "action_space", [spaces.Discrete(4, start=1), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3)], ids=str
)
def test_action_masks(action_space, tmp_path):
    env = make_vec_env(lambda: Masked(action_space), n_envs=2, seed=0)
    kwargs = {"policy_kwargs": {"net_arch": [16], "action_mask_key": "mask"}, **SMALL}
    model = DiscreteSAC("MultiInputPolicy", env, **kwargs).learn(200)  # half of it at random
    data = model.replay_buffer.sample(64)
    masks = data.observations["mask"]
    log_probs = model.actor.action_log_probs(data.observations)
    assert log_probs.exp()[masks == 0].abs().max() == 0
    targets = model._target_entropy_of(step_on(None, 1.0, data))
    parts = masks.split(model.actor.heads.nvec, dim=1)
    expected = 0.5 * sum(part.sum(dim=1, keepdim=True).log() for part in parts)
    ratio = model.target_entropy_ratio / 0.5
    th.testing.assert_close(targets, (ratio * expected).to(targets.dtype))
    loss, entropy = model._actor_loss(step_on(None, 50.0, data))
    assert loss.isfinite() and (entropy <= expected / 0.5 + 1e-5).all()
    alpha = model.log_ent_coef.item()
    model.replay_buffer.sample = lambda *args, **kwargs: data  # type: ignore[method-assign]
    model.train(1, 16)  # the temperature's loss uses the targets of the states, before the actor moves
    surplus = (categorical_entropy(log_probs) - targets).mean().item()
    assert model.logger.name_to_value["train/ent_coef_loss"] == pytest.approx(alpha * surplus, rel=1e-3)
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model")
    observation: Any = env.reset()
    ours, theirs = (m.predict(observation, deterministic=True)[0] for m in (loaded, model))
    np.testing.assert_array_equal(ours, theirs)


MASKED_SPACES = [
    spaces.MultiDiscrete([4]),
    spaces.MultiDiscrete([3, 2], dtype=np.int32),
    spaces.MultiDiscrete([3, 2], start=[-1, 5]),
    spaces.MultiBinary(3),
    spaces.Discrete(3, start=-7),
    spaces.Discrete(2000),
]
MASK = {"policy_kwargs": {"net_arch": [8], "action_mask_key": "mask"}, **SMALL}


def test_allowed_actions():
    """By hand: a start for each component, and a component of which none is allowed, so that all are."""
    heads = CategoricalHeads(spaces.MultiDiscrete([3, 2], start=[-1, 5]))
    mask = np.array([1, 0, 1, 0, 1])
    allowed = [[first, second] for first in (-1, 0, 1) for second in (5, 6) if heads.allows(mask, np.array([first, second]))]
    assert allowed == [[-1, 6], [1, 6]]
    assert heads.allows(np.array([0, 1, 0, 0, 0]), np.array([0, 5])) and not heads.allows(mask, np.array([0, 6]))
    one = CategoricalHeads(spaces.Discrete(3, start=-7))
    assert [one.allows(np.array([0, 1, 1]), np.array(action)) for action in (-7, -6, -5)] == [False, True, True]


@pytest.mark.parametrize(("n_envs", "max_duration"), [(1, 20), pytest.param(3, 1, marks=pytest.mark.slow), (3, 20)])
@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
@pytest.mark.parametrize("action_space", MASKED_SPACES, ids=str)
def test_random_actions_follow_the_mask(action_space, algorithm, n_envs, max_duration):
    """In the random phase, and after it, in all of the allowed actions and in none else, which the environment checks."""
    env = make_vec_env(lambda: Masked(action_space), n_envs=n_envs, seed=0)
    exploration = {"exploration_final_eps": 0.5, "exploration_fraction": 1e-6, "exploration_max_duration": max_duration}
    model = algorithm("MultiInputPolicy", env, **exploration, **MASK)
    model.learn(130)  # the last 30 by the policy, half of them at random
    stored = model.replay_buffer.actions[: model.replay_buffer.pos]
    assert stored.dtype == action_space.dtype and len(np.unique(stored.reshape(len(stored) * n_envs, -1), axis=0)) > 1


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
@pytest.mark.parametrize(
    "action_space",
    [spaces.Discrete(3, start=2), spaces.MultiDiscrete([3]), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)],
    ids=str,
)
def test_a_mask_that_allows_nothing_allows_all(action_space, algorithm):
    env = make_vec_env(lambda: Masked(action_space, none_allowed=True), n_envs=2, seed=0)
    model = algorithm("MultiInputPolicy", env, **{**MASK, "learning_starts": 100}).learn(100)  # all of it at random
    stored = model.replay_buffer.actions[: model.replay_buffer.pos]
    actions, counts = np.unique(stored.reshape(100, -1), axis=0, return_counts=True)
    n_actions = int(np.prod(nvec_of(action_space)))
    assert len(actions) == n_actions and counts.min() > 100 / n_actions / 2
    model.learn(40, reset_num_timesteps=False)
    data = model.replay_buffer.sample(32)
    th.testing.assert_close(
        model._target_entropy_of(step_on(None, 1.0, data)), model.entropy_target.value.expand(32, 1), rtol=1e-5, atol=1e-6
    )
    assert model._td_target(step_on(None, th.tensor(1.0), data)).abs().max() < 100  # no value of a forbidden action


@pytest.mark.parametrize("action_space", MASKED_SPACES[:-1], ids=str)
def test_masked_heads(action_space):
    """Against loops over the components, one of which has no allowed action in one row."""
    heads, nvec = CategoricalHeads(action_space), nvec_of(action_space)
    generator = np.random.default_rng(0)
    masks = generator.integers(2, size=(6, sum(nvec)))
    masks[0, : nvec[0]] = 0
    values, ends = generator.normal(size=masks.shape), np.cumsum(nvec)
    for mask, value, masked, entropy in zip(
        masks,
        values,
        heads.masked(th.as_tensor(values), th.as_tensor(masks)),
        heads.largest_entropies(th.as_tensor(masks)),
        strict=True,
    ):
        expected, largest = value.copy(), 0.0
        for end, n in zip(ends, nvec, strict=True):
            part = slice(end - n, end)
            if mask[part].any():
                expected[part][mask[part] == 0] = MASKED
            largest += np.log(mask[part].sum() or n)
        np.testing.assert_array_equal(masked.numpy(), expected)
        assert entropy.item() == pytest.approx(largest, abs=1e-6)
        actions = {tuple(np.atleast_1d(heads.random_action(mask, generator)).tolist()) for _ in range(300)}
        allowed = [
            np.flatnonzero(mask[end - n : end]) if mask[end - n : end].any() else np.arange(n)
            for end, n in zip(ends, nvec, strict=True)
        ]
        starts = np.broadcast_to(start_of(action_space), len(nvec))
        assert actions == {tuple((np.array(each) + starts).tolist()) for each in itertools.product(*allowed)}


def test_masked_soft_q_values():
    """The policy and the value of SoftQLearning count allowed actions only: V = alpha log sum over them of exp(Q / alpha)."""
    model = SoftQLearning("MultiInputPolicy", Masked(spaces.Discrete(4)), ent_coef=0.5, **MASK).learn(40)
    data = model.replay_buffer.sample(32)
    masks = data.next_observations["mask"].numpy().astype(bool)
    network = model.critic_target.q_networks[0]
    with th.no_grad():
        features = model.critic_target.extract_features(data.next_observations, model.critic_target.features_extractor)
        q_values = network(features).numpy().astype(np.float64)
    values = [0.5 * np.log(np.exp(q[mask] / 0.5).sum()) for q, mask in zip(q_values, masks, strict=True)]
    step = step_on(None, th.tensor(0.5), data)
    expected = data.rewards.numpy()[:, 0] + (1 - data.dones.numpy()[:, 0]) * step.discounts * np.array(values)
    np.testing.assert_allclose(model._td_target(step).detach()[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_exploration(algorithm):
    """A policy that always takes action 0 takes the others as often as the exploration rate, which falls, says."""
    env = make_vec_env(lambda: Toy(action_space=spaces.Discrete(4)), n_envs=4)
    arguments = {"exploration_initial_eps": 1.0, "exploration_final_eps": 0.2, "exploration_fraction": 0.5}
    model = algorithm(
        "MlpPolicy",
        env,
        **{**SMALL, "buffer_size": 8000, "learning_starts": 0, "gradient_steps": 1},
        train_freq=2000,
        **arguments,
    )
    output = model.critic.q_networks[0][-1] if algorithm is SoftQLearning else model.actor.logits_net[-1]
    with th.no_grad():
        output.weight.zero_()
        output.bias.copy_(th.tensor([100.0, 0, 0, 0]))
    model.learn(8000, log_interval=10**6)
    others = (model.replay_buffer.actions != 0).reshape(2000, 4).mean(axis=1)
    for part, rate in ((slice(0, 100), 0.96), (slice(450, 550), 0.6), (slice(1000, 2000), 0.2)):
        assert others[part].mean() == pytest.approx(0.75 * rate, abs=0.06), part
    assert model.logger.name_to_value["rollout/exploration_rate"] == pytest.approx(0.2)
    actions, _ = model.predict(np.zeros((50, 3), np.float32))
    assert (actions == 0).all()  # predict() does not explore


@pytest.mark.parametrize(
    "kwargs",
    [
        {"q_clip": 0.5, "entropy_penalty": 0.5, "q_reduction": "mean"},
        {"ent_coef": 0.0, "critic_ent_coef": 0.1},
        {"policy_kwargs": {"features_extractor_class": BatchNormExtractor}, "entropy_penalty": 0.1},
    ],
    ids=lambda kwargs: "-".join(kwargs),
)
@pytest.mark.parametrize("action_space", SPACES[1:3], ids=str)
def test_options(kwargs, action_space):
    model = make_model(action_space, **kwargs)
    assert model._n_updates > 0
    for value, old in zip(model.actor.buffers(), model.actor_old.buffers(), strict=True):
        assert th.equal(value, old)


def test_separate_networks():
    model = make_model(policy_kwargs={"net_arch": {"pi": [7], "qf": [5, 4]}})
    assert model.actor.logits_net[0].out_features == 7
    assert [layer.out_features for layer in model.critic.qf0 if isinstance(layer, th.nn.Linear)] == [5, 4, 3]


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_what_would_do_something_else_or_nothing_is_said(algorithm):
    """DQN's arguments without its default, and a target that nothing follows."""
    with pytest.warns(UserWarning, match=r"rate rises, from `exploration_initial_eps=0.0` to `exploration_final_eps=0.05`"):
        algorithm("MlpPolicy", "CartPole-v1", exploration_final_eps=0.05, **SMALL)
    with pytest.warns(UserWarning, match=r"`target_entropy='lin_0.5_0.1'` does nothing, since `ent_coef=0.1` is not learned"):
        algorithm("MlpPolicy", "CartPole-v1", ent_coef=0.1, target_entropy="lin_0.5_0.1", **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algorithm("MlpPolicy", "CartPole-v1", exploration_initial_eps=0.05, exploration_final_eps=0.05, **SMALL)
        algorithm("MlpPolicy", "CartPole-v1", ent_coef=0.1, **SMALL)
        algorithm("MlpPolicy", "CartPole-v1", ent_coef="auto", target_entropy="lin_0.5_0.1", **SMALL)
