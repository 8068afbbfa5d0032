"""S2AC's values, losses and acting against loops over particles and autograd through the critics; what it says and keeps."""

import functools
import math
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stein_loops
import torch as th
import toys
from gymnasium import spaces
from scipy.special import softmax
from stable_baselines3.common.env_util import make_vec_env
from toys import soft_value, step_on

from sb3_maxent import S2AC, reference
from sb3_maxent.common.gradient_step import OptimizerUpdate
from sb3_maxent.common.particles import ParticleCritic
from sb3_maxent.s2ac import S2ACPolicy, SteinSampler

make_model = functools.partial(toys.make_model, S2AC)
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
TANH = {"activation_fn": th.nn.Tanh}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "fixed": {"learned_start": False, "start_std": 0.8, "scores_from": "first"},
    "plain": {"precondition": False, "kernel_bandwidth": "mean", "truncation": 1.5},
    "exact": {"entropy_estimator": "exact", "out_of_bounds": "free", "policy_kwargs": TANH},
    "second": {"second_order": True, "max_step_ratio": None, "svgd_step_size": 0.03, "policy_kwargs": TANH},
    "no-steps": {"n_svgd_steps": 0},
    "pathwise": {"likelihood_ratio": False},
    "closed": {"entropy_estimator": "closed_form", "scores_from": "first"},
    "amortized": {"amortized": True},
    "amortized-fixed": {"amortized": True, "learned_start": False, "out_of_bounds": "clip"},
}
variants = pytest.mark.parametrize("kwargs", VARIANTS.values(), ids=VARIANTS)
with_start = pytest.mark.parametrize(
    "kwargs", [value for value in VARIANTS.values() if value.get("learned_start", True)], ids=lambda kwargs: "-".join(kwargs)
)


def enlarge(module, factor, seed=1):
    """Multiply all weights and move them, so that no two networks agree."""
    generator = th.Generator().manual_seed(seed)
    with th.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor).add_(0.1 * th.randn(parameter.shape, generator=generator))


def different_model(n_particles=4, **kwargs):
    """A small model whose critics, targets and actor all say something else, and say it of each state."""
    model = make_model(BOX, n_particles=n_particles, **{"ent_coef": 0.4, **kwargs})
    enlarge(model.critic, 3, seed=1)
    enlarge(model.critic_target, 3, seed=2)
    if model.actor is not None:
        enlarge(model.actor, 2, seed=3)
    return model


def draw_observations(n, seed=0):
    return th.as_tensor(np.random.default_rng(seed).uniform(-1, 1, size=(n, 3)).astype(np.float32))


def q_of(critic, observation, actions):
    """(N,) smallest Q of actions (N, d) in [-1, 1], by the critics' own forward pass."""
    return th.cat(critic(observation.expand(len(actions), -1), actions), dim=1).amin(dim=1)


def start_of(model, observation):
    """(d,) mean and log_std, through the actor's layers."""
    if not model.learned_start:
        return th.zeros(2), th.full((2,), math.log(model.start_std))
    latent = model.actor.latent(observation)
    return model.actor.mean(latent), model.actor.log_std(latent).clamp(-20, 2)


def loops_of(model, observation, noise, alpha):
    """Loops of one state in double precision, about as the model has them in single precision."""
    observation = observation.double()
    mean, log_std = (each.detach().double() for each in start_of(model, observation.float()))
    nets = [
        [(layer.weight.double(), layer.bias.double()) for layer in q if hasattr(layer, "weight")]
        for q in model.critic.q_networks
    ]

    def q_function(action):
        values = []
        for layers in nets:
            hidden = th.cat([observation, action])
            for number, (weight, bias) in enumerate(layers):
                hidden = weight.detach() @ hidden + bias.detach()
                hidden = model.policy.activation_fn()(hidden) if number < len(layers) - 1 else hidden
            values.append(hidden.squeeze())
        stacked = th.stack(values)
        return {"first": stacked[0], "min": stacked.min(), "mean": stacked.mean()}[model.scores_from]

    log_p = stein_loops.log_density(q_function, alpha)
    return stein_loops.run(model.policy.sampler, mean, log_std, noise.double(), log_p)


def actor_loss(model, observations, alpha):
    """The actor's loss and the entropies at some observations, after the target that draws the particles."""
    step = step_on(observations, alpha)
    with th.no_grad():
        model._td_target(step)
    return model._actor_loss(step)


# ---------------------------------------------------------------------- formulas


@pytest.mark.parametrize("alpha", [0.4, 1.5])
@variants
def test_soft_value(kwargs, alpha):
    """
    Particles follow the critics, their values are the target critics' (the smallest of the two, at the squashed final
    positions), and alpha times the entropy is added.
    """
    model = different_model(**kwargs)
    observations = draw_observations(6)
    th.manual_seed(0)
    with th.no_grad():
        values = soft_value(model, observations, alpha)
    th.manual_seed(0)
    noise = model.policy.draw_noise(6)
    expected, others = [], []
    for observation, each in zip(observations, noise, strict=True):
        result = loops_of(model, observation, each, alpha)
        with th.no_grad():
            actions = th.tanh(result.u).float()
            q_target, q_current = (q_of(critic, observation, actions) for critic in (model.critic_target, model.critic))
        expected.append(float(q_target.mean() - alpha * result.log_prob.mean()))
        others.append(float(q_current.mean() - alpha * result.log_prob.mean()))
    assert values.shape == (6, 1)
    np.testing.assert_allclose(values[:, 0], expected, rtol=2e-3, atol=2e-3)
    assert np.abs(np.subtract(expected, others)).min() > 0.02, "the targets' values differ from the critics'"


def test_td_target_and_logged_losses():
    """What one gradient step logs, from the values that it used."""
    model = different_model(n_steps=2, gamma=0.9, ent_coef="auto_0.4")
    data = model.replay_buffer.sample(16)
    data = data._replace(dones=(th.arange(16) % 4 == 0).float()[:, None])
    model.replay_buffer.sample = lambda *args, **kwargs: data
    alpha = model.log_ent_coef.detach().exp()
    state = th.get_rng_state()
    with th.no_grad():
        # Where an episode has ended the particles are those of the state itself, and their value does not count
        observations = th.where(data.dones > 0, data.observations, data.next_observations)
        values = soft_value(model, observations, alpha)
        targets = data.rewards + (1 - data.dones) * data.discounts * values
        q_values = model.critic(data.observations, data.actions)
    th.set_rng_state(state)
    model.train(1, 16)
    logged = model.logger.name_to_value
    expected = 0.5 * sum(float((q - targets).square().mean()) for q in q_values)
    assert logged["train/critic_loss"] == pytest.approx(expected, rel=1e-4)
    assert logged["train/ent_coef"] == pytest.approx(float(alpha))
    surplus = logged["train/entropy"] - model.target_entropy
    assert model.target_entropy == -2.0
    assert logged["train/ent_coef_loss"] == pytest.approx(float(alpha.log()) * surplus, rel=1e-3)


@pytest.mark.parametrize("alpha", [0.4, 1.5])
@with_start
def test_actor_loss(kwargs, alpha):
    """Its value, from the loops, and the entropy state by state."""
    model = different_model(**kwargs)
    observations = draw_observations(5)
    th.manual_seed(0)
    loss, entropy = actor_loss(model, observations, alpha)
    th.manual_seed(0)
    noise = model.policy.draw_noise(5)
    terms, entropies = [], []
    for observation, each in zip(observations, noise, strict=True):
        result = loops_of(model, observation, each, alpha)
        with th.no_grad():
            q_values = q_of(model.critic, observation, th.tanh(result.u).float())
            term = float((alpha * result.log_prob - q_values).mean())
            if model.amortized:
                inputs = th.cat([observation.expand(len(each), -1), each], dim=1)
                network = model.actor.sampling_network
                imitated = network.net(inputs) + each @ network.linear_path.weight.T
                term += 0.5 * float(((imitated - result.u) ** 2).sum(dim=1).mean())
        terms.append(term)
        entropies.append(-float(result.log_prob.mean()))
    assert loss.item() == pytest.approx(np.mean(terms), rel=2e-3, abs=2e-3)
    assert entropy.shape == (5, 1) and not entropy.requires_grad
    np.testing.assert_allclose(entropy[:, 0], entropies, rtol=2e-3, atol=2e-3)


def by_hand(model, observations, noise, alpha):
    """
    u and log_prob of the particles, as functions of the start: a constant path in its units, the std's share about the
    center of the other particles; otherwise what the sampler gives with its graph.
    """
    mean, log_std = start_of(model, observations)
    features = model.critic.particle_features(observations)
    particles = model.policy.particles(features, model.policy.actor_features(observations), alpha, noise)
    if not model.precondition or model.second_order:
        return particles.u, particles.log_prob
    std, n = log_std.exp().unsqueeze(1), model.n_particles
    with th.no_grad():
        path = (particles.u - mean.unsqueeze(1)) / std
        centers = th.stack([path[:, [j for j in range(n) if j != i]].mean(dim=1) for i in range(n)], dim=1)
        constant = particles.log_prob + th.log(1 - th.tanh(particles.u) ** 2).sum(dim=2) + log_std.sum(dim=1, keepdim=True)
    u = mean.unsqueeze(1) + std.detach() * path + (std - std.detach()) * (path - centers)
    return u, constant - log_std.sum(dim=1, keepdim=True) - th.log(1 - th.tanh(u) ** 2).sum(dim=2)


@with_start
def test_gradient_of_the_actor_loss(kwargs):
    """
    By autograd through the critics, at the particles by hand. The likelihood ratio adds for each particle the gradient of
    its start's density, times how much worse it ends than the mean of the others.
    """
    alpha = th.tensor(0.4)
    model = different_model(**kwargs)
    observations = draw_observations(5)
    parameters = dict(model.actor.named_parameters())
    th.manual_seed(0)
    loss, _ = actor_loss(model, observations, alpha)
    ours = th.autograd.grad(loss, list(parameters.values()))

    th.manual_seed(0)
    noise = model.policy.draw_noise(5)
    u, log_prob = by_hand(model, observations, noise, alpha)
    q_values = th.stack([q_of(model.critic, *pair) for pair in zip(observations, th.tanh(u), strict=True)])
    naive = (alpha * log_prob - q_values).mean()
    if model.likelihood_ratio:
        mean, log_std = start_of(model, observations)
        costs = (alpha * log_prob - q_values).detach()
        for b in range(5):
            normal = th.distributions.Normal(mean[b], log_std[b].exp())
            for i in range(4):
                start = (mean[b] + log_std[b].exp() * noise[b, i]).detach()
                others = costs[b, [j for j in range(4) if j != i]].mean()
                naive = naive + (costs[b, i] - others) * normal.log_prob(start).sum() / 20
    if model.amortized:
        imitated = model.actor.sampling_network.unsquashed(observations, noise)
        naive = naive + 0.5 * ((imitated - u.detach()) ** 2).sum(dim=2).mean()
    theirs = th.autograd.grad(naive, list(parameters.values()))
    for name, our, their in zip(parameters, ours, theirs, strict=True):
        assert our.abs().sum() > 0, name
        th.testing.assert_close(our, their, rtol=2e-3, atol=1e-4, msg=partial("{}: {}".format, name))


def test_where_the_particles_are_drawn():
    """At the next state, where the target needs them; at the state itself where the episode has ended."""
    model, observations, alpha = different_model(), draw_observations(6), 0.4
    dones = th.tensor([0.0, 1.0] * 3)[:, None]
    step = step_on(observations, alpha)
    step.batch = step.batch._replace(next_observations=-observations, dones=dones)
    th.manual_seed(0)
    with th.no_grad():
        model._td_target(step)
    loss, entropy = model._actor_loss(step)
    th.manual_seed(0)
    expected_loss, expected = actor_loss(model, th.where(dones > 0, observations, -observations), alpha)
    th.testing.assert_close((loss, entropy), (expected_loss, expected))


@pytest.mark.parametrize(("kwargs", "runs"), [({}, 1), ({"amortized": True}, 1), ({"precondition": False}, 2)], ids=str)
def test_runs_of_the_sampler(kwargs, runs, monkeypatch):
    """One for critic and actor, unless the path depends on the start; both have the same noise."""
    model, noises, path = different_model(**kwargs), [], SteinSampler.path

    def counted(self, mean, log_std, noise, *args):
        noises.append(noise)
        return path(self, mean, log_std, noise, *args)

    monkeypatch.setattr(SteinSampler, "path", counted)
    model.train(1, 16)
    assert len(noises) == runs and all(th.equal(noise, noises[0]) for noise in noises)


@pytest.mark.parametrize("scores_from", ["first", "mean"])
def test_which_critic_the_particles_follow(scores_from):
    """What does not count may change: the other critic, or a shift of one of two whose mean counts."""
    model, observations = different_model(scores_from=scores_from), draw_observations(4)
    second, noise = model.critic.q_networks[1], model.policy.draw_noise(4)

    def particles():
        features = model.critic.particle_features(observations), model.policy.actor_features(observations)
        with th.no_grad():
            return model.policy.particles(*features, th.tensor(0.4), noise).u

    before = particles()
    with th.no_grad():
        # Now it is the smallest one everywhere
        second[-1].bias.sub_(100)
        if scores_from == "first":
            second[0].weight.mul_(-2)
    th.testing.assert_close(particles(), before, rtol=1e-4, atol=1e-5)
    model.policy.scores_from = "min"
    assert (particles() - before).abs().max() > 0.01


def test_scores_in_bfloat16(monkeypatch):
    """In gradient steps, and not for acting. Critics' losses and targets stay in float32."""
    asked, q_gradient = [], ParticleCritic.q_gradient

    def recorded(self, features, actions, of="min", precision="float32"):
        asked.append(precision)
        return q_gradient(self, features, actions, of, precision)

    monkeypatch.setattr(ParticleCritic, "q_gradient", recorded)
    model = different_model(scores_precision="bfloat16")
    entropies = []
    for precision in ("bfloat16", "float32"):
        model.scores_precision, step = precision, step_on(draw_observations(64), 0.5)
        asked.clear()
        th.manual_seed(0)
        with th.no_grad():
            target = model._td_target(step)
        assert target.dtype == th.float32 and set(asked) == {precision}
        entropies.append(step.memory["entropy"].mean())
    assert 1e-6 < abs(entropies[0] - entropies[1]) < 0.05
    model.scores_precision = "bfloat16"
    asked.clear()
    model.predict(model.observation_space.sample())
    assert set(asked) == {"float32"}


@variants
def test_the_actors_loss_moves_only_the_actor(kwargs):
    model = different_model(**kwargs)
    model.policy.zero_grad(set_to_none=True)
    observations = draw_observations(8)
    with th.no_grad():
        step = step_on(observations, 0.5)
        model._td_target(step)
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    loss, _ = model._actor_loss(step)
    if loss is None:
        assert model.actor is None
        return
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.actor.parameters())
    if not model.second_order:  # its optimizer's zero_grad() comes before the critics' next loss in any case
        for network in (model.critic, model.critic_target):
            assert all(parameter.grad is None for parameter in network.parameters())


def test_the_critics_loss_moves_only_the_critics():
    model = different_model()
    actor, critic = ([parameter.clone() for parameter in net.parameters()] for net in (model.actor, model.critic))
    model._actor_loss = lambda step: (None, None)
    model.train(2, 16)
    assert all(map(th.equal, actor, model.actor.parameters()))
    assert not any(map(th.equal, critic, model.critic.parameters()))


# ---------------------------------------------------------------------- the variants


@pytest.mark.parametrize("ent_coef", ["auto", 0.3])
def test_without_an_actor(ent_coef, tmp_path):
    """S2AC(phi): the policy is the critics' alone."""
    model = make_model(BOX, learned_start=False, start_std=0.7, ent_coef=ent_coef, steps=60)
    assert model.actor is None and model.policy.actor is None
    logged = model.logger.name_to_value
    model.train(2, 16)
    assert "train/actor_loss" not in logged and {"train/entropy", "train/svgd_spread"} <= logged.keys()
    model.save(tmp_path / "model")
    loaded = S2AC.load(tmp_path / "model")
    assert loaded.actor is None and "actor.optimizer" not in loaded.get_parameters()
    observations = draw_observations(5).numpy()
    ours, theirs = (each.predict(observations, deterministic=True)[0] for each in (model, loaded))
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="`share_features_extractor` must be False, not True, for a policy without an actor"):
        make_model(BOX, learned_start=False, policy_kwargs={"share_features_extractor": True}, steps=0)


def test_start_std():
    """Of the learned start at first, up to what a fresh network adds; and of the fixed one."""
    for start_std in (0.1, 0.5, 2.0):
        model = make_model(BOX, start_std=start_std, steps=0, policy_kwargs={"net_arch": [64, 64]})
        with th.no_grad():
            _, log_std = model.actor.start(model.policy.actor_features(draw_observations(50)))
        np.testing.assert_allclose(log_std.exp().mean(), start_std, rtol=0.2)
        fixed = make_model(BOX, start_std=start_std, learned_start=False, n_svgd_steps=1, truncation=None, steps=0)
        fixed.policy.sampler.__dict__["n_svgd_steps"] = 0
        with th.no_grad():
            u = fixed.policy.particles(th.zeros(500, 3), None, th.tensor(1.0), fixed.policy.draw_noise(500)).u
        assert float(u.mean()) == pytest.approx(0, abs=0.1 * start_std)
        assert float(u.std()) == pytest.approx(start_std, rel=0.05)


def test_amortized_fit():
    """With constant critics and start the network learns where the particles end, noise by noise."""
    model = make_model(BOX, amortized=True, learned_start=False, ent_coef=0.5, learning_rate=3e-3, n_particles=16)
    enlarge(model.critic, 2)
    observations = draw_observations(32)
    network, errors = model.actor.sampling_network, []
    update = OptimizerUpdate(model.actor.optimizer)
    for number in range(301):
        loss, _ = actor_loss(model, observations, 0.5)
        errors += [loss.item()] if number % 100 == 0 else []
        update.apply(th.autograd.grad(loss, update.parameters, allow_unused=True))
    assert errors[-1] < 0.25 * errors[0]
    with th.no_grad():
        noise = model.policy.draw_noise(32)
        particles = model.policy.particles(model.critic.particle_features(observations), None, th.tensor(0.5), noise)
        imitated = network.unsquashed(observations, noise)
    for ours, theirs in zip(imitated.flatten(0, 1).T, particles.u.flatten(0, 1).T, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def test_amortized_network_acts_by_the_noise_it_learned_from():
    """With the identity for a network the actions are the noise: that of the particles' start, truncated as it is."""
    model = make_model(BOX, amortized=True, truncation=0.5, steps=0)
    with th.no_grad():
        for parameter in model.actor.sampling_network.net.parameters():
            parameter.zero_()
    actions, _ = model.predict(np.zeros((2000, 3), np.float32))
    noise = np.arctanh((2 * (actions - BOX.low) / (BOX.high - BOX.low) - 1).clip(-0.9999, 0.9999))
    assert model.policy.draw_noise(2000).abs().max() <= 0.5
    assert np.abs(noise).max() <= 0.5 + 1e-3


def few_particles(**kwargs):
    return different_model(amortized=True, particle_batch_size=3, batch_size=8, **kwargs)


def samples_of(model, observations, noise):
    """(B, N, 2) actions of the amortized network, through its layers."""
    network = model.actor.sampling_network
    inputs = th.cat([observations.unsqueeze(1).expand(-1, noise.shape[1], -1), noise], dim=2)
    return th.tanh(network.net(inputs) + noise @ network.linear_path.weight.T)


@pytest.mark.parametrize("kwargs", [{}, {"learned_start": False}], ids=str)
def test_targets_with_few_particles(kwargs):
    """The network's sample for each next state, and the entropy that it expects there."""
    model, step, alpha = few_particles(**kwargs), step_on(draw_observations(8), 0.4), 0.4
    th.manual_seed(0)
    with th.no_grad():
        target = model._td_target(step)
    assert step.memory["entropy"].shape == (3, 1) and step.memory["path"].x.shape == (3, 4, 2)
    th.manual_seed(0)
    model.policy.draw_noise(3)  # of the particles
    noise, observations = model.policy.draw_noise(8)[:, :1], step.batch.next_observations
    with th.no_grad():
        actions = samples_of(model, observations, noise)
        entropies = model.actor.summary_network(observations)[:, :1]
        q_values = [q_of(model.critic_target, *pair) for pair in zip(observations, actions, strict=True)]
        values = th.stack(q_values) + alpha * entropies
    th.testing.assert_close(target, step.soft_td_target(values))
    assert entropies.std() > 0.01


def test_loss_with_few_particles():
    """That of the states which have particles, and what the summary learns from them."""
    model, observations = few_particles(), draw_observations(8)
    th.manual_seed(0)
    loss, entropy = actor_loss(model, observations, 0.4)
    model.particle_batch_size = None
    th.manual_seed(0)
    without, same = actor_loss(model, observations[:3], 0.4)
    th.testing.assert_close(entropy, same)
    terms = []
    with th.no_grad():
        noise = model.policy.predict_noise
        for observation, known in zip(observations[:3], entropy, strict=True):
            expected, *logits = model.actor.summary_network(observation)
            best = q_of(model.critic, observation, samples_of(model, observation[None], noise[None])[0]).argmax()
            terms.append(0.5 * (expected - known) ** 2 + th.stack(logits).logsumexp(0) - logits[best])
    th.testing.assert_close(loss - without, th.stack(terms).mean(), rtol=1e-4, atol=1e-4)


def test_the_summary_learns():
    """The entropy state by state, and which fixed noise gives the best sample: what deterministic actions then are."""
    model = make_model(BOX, amortized=True, particle_batch_size=32, batch_size=32, ent_coef=0.5, learning_rate=3e-3)
    enlarge(model.critic, 3)
    observations = draw_observations(32)
    update = OptimizerUpdate(model.actor.optimizer)
    for _ in range(300):
        loss, entropy = actor_loss(model, observations, 0.5)
        update.apply(th.autograd.grad(loss, update.parameters, allow_unused=True))
    with th.no_grad():
        expected, logits = model.actor.summary(observations)
        noise = model.policy.predict_noise.expand(32, -1, -1)
        samples = samples_of(model, observations, noise)
        q_values = th.stack([q_of(model.critic, *pair) for pair in zip(observations, samples, strict=True)])
    assert (expected - entropy).abs().mean() < 0.5 * (entropy - entropy.mean()).abs().mean() + 0.1
    best = q_values.argmax(dim=1)
    assert len(best.unique()) > 1 and (logits.argmax(dim=1) == best).float().mean() > 0.8
    actions, _ = model.predict(observations.numpy(), deterministic=True)
    chosen = samples[th.arange(32), logits.argmax(dim=1)]
    np.testing.assert_allclose(actions, to_env(chosen), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- acting


def to_env(actions):
    return BOX.low + 0.5 * (np.asarray(actions) + 1) * (BOX.high - BOX.low)


@pytest.mark.parametrize("n_critics", [1, 2])
@variants
def test_deterministic_action_is_the_best_particle(kwargs, n_critics):
    """The one with the highest Q of the critics where it ends, from the same noise in each state and call."""
    kwargs = {**kwargs, "policy_kwargs": {**kwargs.get("policy_kwargs", {}), "n_critics": n_critics}}
    model = different_model(**kwargs)
    observations = draw_observations(12)
    noise = model.policy.predict_noise
    assert noise.shape == (4, 2) and noise.abs().max() <= model.policy.sampler.bound
    actions, _ = model.predict(observations.numpy(), deterministic=True)
    indices = set()
    for observation, action in zip(observations, actions, strict=True):
        with th.no_grad():
            if model.amortized:
                inputs = th.cat([observation.expand(4, -1), noise], dim=1)
                network = model.actor.sampling_network
                candidates = th.tanh(network.net(inputs) + noise @ network.linear_path.weight.T)
            else:
                candidates = th.tanh(loops_of(model, observation, noise, 0.4).u).float()
            best = int(q_of(model.critic, observation, candidates).argmax())
        indices.add(best)
        np.testing.assert_allclose(action, to_env(candidates[best]), rtol=2e-3, atol=2e-3)
    assert len(indices) > 1 or model.amortized


@pytest.mark.parametrize("behavior_policy", ["random", "softmax"])
@variants
def test_predict(kwargs, behavior_policy):
    """Shapes, bounds, types; the same in each call; no row depends on another one or on their number."""
    model = different_model(behavior_policy=behavior_policy, **kwargs)
    observations = draw_observations(20).numpy()
    actions, _ = model.predict(observations, deterministic=True)
    assert actions.dtype == np.float32 and actions.shape == (20, 2)
    np.testing.assert_array_equal(model.predict(observations, deterministic=True)[0], actions)
    for observation, action in zip(observations, actions, strict=True):
        alone, _ = model.predict(observation, deterministic=True)
        assert alone.shape == (2,)
        np.testing.assert_allclose(alone, action, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(observations[::-1], deterministic=True)[0][::-1], actions, rtol=1e-4, atol=1e-5)
    changed = observations.copy()
    changed[0] = -changed[0]
    samples = []
    for seed, batch in [(1, observations), (1, observations), (1, changed), (2, observations)]:
        th.manual_seed(seed)
        samples.append(model.predict(batch)[0])
        assert all(sample in BOX for sample in samples[-1])
    np.testing.assert_array_equal(samples[0], samples[1])
    np.testing.assert_allclose(samples[0][1:], samples[2][1:], rtol=1e-4, atol=1e-5)
    assert (samples[0] != samples[3]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("amortized", [False, True])
def test_softmax_behavior_follows_q(amortized, monkeypatch):
    """Frequencies of the particles, from the same noise in each row; those of Q / alpha, by their chi-squared."""
    model = different_model(n_particles=5, behavior_policy="softmax", amortized=amortized)
    n, observation = 20_000, draw_observations(1)
    noise = model.policy.draw_noise(1)
    monkeypatch.setattr(model.policy, "draw_noise", lambda n_states: noise.expand(n_states, -1, -1))
    with th.no_grad():
        if amortized:
            candidates = th.tanh(model.actor.sampling_network.unsquashed(observation, noise))[0]
        else:
            candidates = th.tanh(loops_of(model, observation[0], noise[0], 0.4).u).float()
        q_values = q_of(model.critic, observation[0], candidates).numpy()
    for alpha in (0.4, 2.0):
        model.policy.ent_coef.fill_(0.4)
        expected = softmax(q_values / 0.4)
        if alpha != 0.4 and amortized:  # elsewhere the particles move with the temperature, too
            model.policy.ent_coef.fill_(alpha)
            expected = softmax(q_values / alpha)
        actions, _ = model.predict(observation.expand(n, -1).numpy())
        distances = np.abs(actions[:, None] - to_env(candidates)[None]).sum(axis=2)
        assert distances.min(axis=1).max() < 5e-3
        counts = np.bincount(distances.argmin(axis=1), minlength=5)
        assert ((counts - n * expected) ** 2 / (n * expected)).sum() < 4 + 5 * 8**0.5 + 5
    assert np.ptp(expected) > 0.05


def test_random_behavior_is_a_sample_of_the_policy():
    """Rows are independent, and distributed as all the particles are."""
    model = different_model(n_particles=6)
    observation = draw_observations(1)
    n = 8000
    actions, _ = model.predict(observation.expand(n, -1).numpy())
    with th.no_grad():
        features = (
            module.expand(n, -1)
            for module in (model.critic.particle_features(observation), model.policy.actor_features(observation))
        )
        particles = model.policy.particles(*features, th.tensor(0.4), model.policy.draw_noise(n))
    pooled = to_env(th.tanh(particles.u).flatten(0, 1))
    assert len(np.unique(actions, axis=0)) > 0.99 * n
    for column, others in zip(actions.T, pooled.T, strict=True):
        quantiles = np.linspace(0.05, 0.95, 10)
        np.testing.assert_allclose(np.quantile(column, quantiles), np.quantile(others, quantiles), atol=0.05 * np.ptp(others))
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.05


def test_deterministic_noise_is_evenly_spread():
    model = make_model(BOX, n_particles=256, truncation=None, steps=0)
    noise = model.policy.predict_noise.numpy()
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(2), atol=0.1)
    assert len(np.unique(noise, axis=0)) == 256


def test_box_of_two_dimensions():
    model = make_model(spaces.Box(-3, 1, (2, 2)))
    assert model.target_entropy == -4 and model.policy.predict_noise.shape == (10, 4)
    for deterministic in (False, True):
        actions, _ = model.predict(draw_observations(5).numpy(), deterministic=deterministic)
        assert actions.shape == (5, 2, 2) and (actions >= -3).all() and (actions <= 1).all()


@pytest.mark.parametrize("n_envs", [1, 2, 5])
@pytest.mark.parametrize("kwargs", [VARIANTS["defaults"], VARIANTS["fixed"], VARIANTS["amortized"]], ids=str)
def test_number_of_environments(kwargs, n_envs):
    model = make_model(BOX, n_envs=n_envs, steps=60, behavior_policy="softmax", **kwargs)
    assert model._n_updates > 0 and model.num_timesteps == 60
    assert all(value.isfinite().all() for value in model.policy.state_dict().values())


@pytest.mark.parametrize("n_particles", [2, 3])
@variants
def test_few_particles(kwargs, n_particles):
    model = make_model(BOX, n_particles=n_particles, **kwargs)
    assert all(value.isfinite().all() for value in model.policy.state_dict().values())


# ---------------------------------------------------------------------- temperature


def follow(model, steps):
    """The temperature that is logged after each step of learn(), and the policy's."""
    values = {}

    def callback(local, _):
        if "train/ent_coef" in model.logger.name_to_value:
            values[model.num_timesteps] = model.logger.name_to_value["train/ent_coef"], model.policy.ent_coef.item()
        return True

    model.learn(steps, callback=callback, log_interval=10**6)
    return values


@pytest.mark.parametrize(
    ("ent_coef", "schedule"),
    [
        (0.7, lambda progress: 0.7),
        (0.0, lambda progress: 0.0),
        ("lin_1_0.1", lambda progress: 0.1 + 0.9 * progress),
        (lambda progress: 0.5 * progress**2, lambda progress: 0.5 * progress**2),
    ],
)
def test_scheduled_temperature(ent_coef, schedule):
    """The one of a gradient step is logged, and it is what the policy acts with, from the start on."""
    model = make_model(BOX, ent_coef=ent_coef, steps=0)
    assert model.policy.ent_coef.item() == pytest.approx(schedule(1.0))
    values = follow(model, 50)
    assert len(values) == 29
    for step, logged in values.items():  # of the gradient step that followed the step before
        assert logged == pytest.approx((schedule(1 - (step - 1) / 50),) * 2, abs=1e-6), step
    assert all(value.isfinite().all() for value in model.policy.state_dict().values())


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("target_entropy", ["auto", 1.3])
def test_learned_temperature(target_entropy, learned_start):
    """It falls where the entropy is above the target, -d, and rises where it is below."""
    model = make_model(
        BOX, ent_coef="auto_0.5", target_entropy=target_entropy, steps=30, learned_start=learned_start, start_std=0.4
    )
    assert model.target_entropy == (-2.0 if target_entropy == "auto" else 1.3)
    assert model.policy.ent_coef.item() != 0
    logged = model.logger.name_to_value
    model.train(1, 16)
    assert -2 < logged["train/entropy"] < 1.3
    assert (logged["train/ent_coef"] < 0.5) == (target_entropy == "auto")
    assert model.policy.ent_coef.item() == pytest.approx(logged["train/ent_coef"])


@pytest.mark.parametrize("path", [False, True])
def test_temperature_given_on_loading(path, tmp_path):
    """A fixed one is the one that the model acts with; a learned one goes on from what it was."""
    model = different_model(ent_coef=5.0)
    model.save(tmp_path / "model")
    assert S2AC.load(tmp_path / "model").policy.ent_coef.item() == 5.0
    loaded = S2AC.load(tmp_path / "model", ent_coef=0.2)
    if path:
        loaded.set_parameters(tmp_path / "model.zip")
    else:
        loaded.set_parameters(model.get_parameters())
    assert loaded.policy.ent_coef.item() == pytest.approx(0.2)
    observations = draw_observations(20).numpy()
    cold, hot = (each.predict(observations, deterministic=True)[0] for each in (loaded, model))
    assert np.abs(cold - hot).max() > 0.01
    learned = make_model(BOX, ent_coef="auto_0.5", steps=40)
    learned.save(tmp_path / "learned")
    assert S2AC.load(tmp_path / "learned").policy.ent_coef.item() == learned.policy.ent_coef.item() != 0.5


# ---------------------------------------------------------------------- logs and warnings

DIAGNOSTICS = {f"train/svgd_{name}" for name in ("step_ratio", "step_size", "spread", "bandwidth", "neighbours", "truncated")}


@variants
def test_diagnostics_are_logged(kwargs):
    model = make_model(BOX, **kwargs)
    model.train(3, 16)
    logged = model.logger.name_to_value
    svgd = {name for name in logged if "svgd" in name}
    assert svgd == (DIAGNOSTICS if model.n_svgd_steps else set())
    assert ("train/actor_loss" in logged) == (model.actor is not None)
    if model.n_svgd_steps:
        assert 0 < logged["train/svgd_step_ratio"] <= (model.max_step_ratio or math.inf) * (1 + 1e-5)
        assert 0 < logged["train/svgd_step_size"] <= model.svgd_step_size * (1 + 1e-5)
        assert 0 <= logged["train/svgd_truncated"] <= 1
        assert min(logged["train/svgd_spread"], logged["train/svgd_bandwidth"]) > 0


FOLDING = {"max_step_ratio": None, "svgd_step_size": 50.0, "precondition": False, "kernel_bandwidth": 0.05}


def step_warnings(records):
    return [record for record in records if "svgd_step_ratio" in str(record.message)]


def test_warning_of_steps_that_fold():
    """Once in each learn()."""
    model = make_model(BOX, steps=0, **FOLDING)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as records:
            warnings.simplefilter("always")
            model.learn(60, reset_num_timesteps=False)
        (record,) = step_warnings(records)
        assert issubclass(record.category, UserWarning)
        assert "max_step_ratio" in str(record.message) and "svgd_step_size" in str(record.message)
    assert model.logger.name_to_value.get("train/svgd_step_ratio", 1.0) >= 1


def test_warning_of_a_kernel_without_neighbours():
    """With such a bandwidth the density would be the start's, wherever the particles go."""
    with pytest.warns(UserWarning, match="hardly sees neighbours.*kernel_bandwidth"):
        model = make_model(BOX, steps=60, kernel_bandwidth=1e-4, n_particles=4)
    assert model.logger.name_to_value.get("train/svgd_neighbours", 0) < 0.01


def test_fixed_start_reaches_the_bounds():
    """Particles from N(0, 0.5^2) within 3 standard deviations would otherwise never leave tanh(1.5) = 0.905."""
    model = make_model(BOX, learned_start=False, n_svgd_steps=30)
    target = model.critic.q_and_gradient

    def rising(features, actions, of):
        return actions.sum(dim=2), th.ones_like(actions)

    model.critic.q_and_gradient = rising
    model.policy.ent_coef.fill_(0.01)
    highest = model.predict(draw_observations(20).numpy(), deterministic=True)[0].max()
    model.critic.q_and_gradient = target
    assert (highest + 2) / 5 * 2 - 1 > 0.97  # BOX is [-2, 3]


@pytest.mark.parametrize("kwargs", [{}, {"svgd_step_size": 50.0, "kernel_bandwidth": 0.05}, {"n_svgd_steps": 0}], ids=str)
def test_no_warning_where_steps_are_bounded(kwargs):
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        make_model(BOX, steps=60, **kwargs)
    assert not step_warnings(records)


# ---------------------------------------------------------------------- saving, arguments


@variants
def test_policy_alone(kwargs, tmp_path):
    """It acts as the model does, and has everything that it needs: sampler, temperature, start."""
    model = different_model(**kwargs)
    model.policy.save(tmp_path / "policy")
    loaded = S2ACPolicy.load(tmp_path / "policy")
    assert loaded.sampler == model.policy.sampler
    for name in ("learned_start", "start_std", "amortized", "behavior_policy", "scores_from"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.ent_coef.item() == pytest.approx(0.4)
    observations = draw_observations(7).numpy()
    for deterministic in (False, True):
        actions = []
        for each in (model, loaded):
            th.manual_seed(3)
            actions.append(each.predict(observations, deterministic=deterministic)[0])
        np.testing.assert_array_equal(actions[0], actions[1])


def test_parameters_can_change_on_loading(tmp_path):
    """Those of the sampler take effect, too, and are checked."""
    make_model(BOX, n_particles=4).save(tmp_path / "model")
    loaded = S2AC.load(tmp_path / "model", n_particles=7, behavior_policy="softmax", entropy_estimator="exact")
    assert loaded.policy.sampler.n_particles == 7 and loaded.policy.predict_noise.shape == (7, 2)
    assert loaded.policy.behavior_policy == "softmax" and loaded.policy.sampler.entropy_estimator == "exact"
    with pytest.raises(ValueError, match="`n_particles` must be an integer in"):
        S2AC.load(tmp_path / "model", n_particles=1)


def test_policy_kwargs_stay_the_users():
    """The dictionary that was passed can be passed again, also to another algorithm; and on loading."""
    policy_kwargs = {"net_arch": [8]}
    S2AC("MlpPolicy", toys.Toy(action_space=BOX), policy_kwargs=policy_kwargs)
    assert policy_kwargs == {"net_arch": [8]}


def test_the_sampler_gets_every_parameter():
    own = {
        "n_particles": 3,
        "n_svgd_steps": 2,
        "svgd_step_size": 0.3,
        "max_step_ratio": 0.7,
        "kernel_bandwidth": 0.9,
        "precondition": False,
        "truncation": 2.0,
        "out_of_bounds": "free",
        "entropy_estimator": "exact",
        "second_order": True,
    }
    sampler = make_model(BOX, steps=0, **own).policy.sampler
    assert vars(sampler) == own
    assert vars(make_model(BOX, steps=0).policy.sampler) == vars(type(sampler)())


class Subclass(S2AC):
    """With a signature of its own, as users write them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def test_subclass(tmp_path):
    toys.make_model(Subclass, BOX).save(tmp_path / "model")
    assert type(Subclass.load(tmp_path / "model")) is Subclass


# ---------------------------------------------------------------------- learning


@pytest.mark.slow
def test_learns_two_wide_modes():
    """A one-step problem whose optimum is known: the KL divergence of the policy to it, and the share of each mode."""
    env_kwargs: dict[str, Any] = {"means": [[0.5], [-0.5]], "weights": [0.6, 0.4], "widths": 0.2}
    env = make_vec_env("sb3_maxent:MixtureBandit-v0", n_envs=8, seed=0, env_kwargs=env_kwargs)
    kwargs: dict[str, Any] = {"ent_coef": 1.0, "learning_rate": 2e-3, "batch_size": 64, "learning_starts": 200, "seed": 0}
    model = S2AC("MlpPolicy", env, policy_kwargs={"net_arch": [64, 64]}, **kwargs)
    bandit = gym.make("sb3_maxent:MixtureBandit-v0", **env_kwargs).unwrapped

    def measure():
        actions, _ = model.predict(np.zeros((5000, 1), np.float32))
        return reference.histogram_kl(actions, bandit.log_prob), (actions > 0).mean()

    before, _ = measure()
    model.learn(4000)
    after, share = measure()
    assert after < 0.3 < before and 0.4 < share < 0.8
