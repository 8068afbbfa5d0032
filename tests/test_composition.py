"""New models from trained ones: sums of Q-functions, and fine-tuning."""

import functools
from typing import Any

import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from toys import SMALL, Toy

from sb3_maxent import DiscreteSAC, SoftQLearning, reference
from sb3_maxent.envs import ActionMaskWrapper
from sb3_maxent.soft_q_learning import SoftQPolicy, compose, fine_tune

make_model = functools.partial(toys.make_model, SoftQLearning, policy_kwargs={"net_arch": [16], "n_critics": 2})

BOX = spaces.Box(-2, 3, (2,))
SPACES = [BOX, spaces.Discrete(4, start=-2), spaces.MultiDiscrete([3, 2], start=[1, -1])]
action_spaces = pytest.mark.parametrize("action_space", SPACES, ids=str)


def make_models(action_space, n=2, factor=2.0, **kwargs):
    """Models that differ in their weights, and whose critics differ in which of them is the smaller one."""
    models = [make_model(action_space, **{"seed": seed, "ent_coef": 0.3, **kwargs}) for seed in range(n)]
    with th.no_grad():
        for model in models:
            for parameter in [*model.critic.parameters(), *model.critic_target.parameters()]:
                parameter.mul_(factor)
    return models


def q_values(model, observations, actions):
    """(B, N) for Box, with N actions for each state, or (B, A): the minimum over the model's critics."""
    with th.no_grad():
        if isinstance(model.action_space, spaces.Box):
            columns = [th.cat(model.critic(observations, column), dim=1).amin(dim=1) for column in actions.unbind(dim=1)]
            return th.stack(columns, dim=1)
        return model.policy.soft_minimum(model.critic(observations), model.policy.ent_coef)


def tensors_of(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def assert_same_tensors(model, expected):
    assert all(th.equal(value, expected[name]) for name, value in model.policy.state_dict().items())


# ---------------------------------------------------------------------- composition


@pytest.mark.parametrize("weights", [None, [0.7, -0.2, 1.5]], ids=["equal", "weights"])
@action_spaces
def test_q_is_the_weighted_sum(action_space, weights):
    models = make_models(action_space, 3)
    before = [tensors_of(model) for model in models]
    composed = compose(models, weights, gradient_steps=3)
    observations, actions = th.rand(200, 3) * 2 - 1, th.rand(200, 5, 2) * 2 - 1
    expected = sum(
        weight * q_values(model, observations, actions) for weight, model in zip(weights or [1 / 3] * 3, models, strict=True)
    )
    np.testing.assert_allclose(q_values(composed, observations, actions), expected, rtol=1e-4, atol=1e-5)
    if action_space is BOX:
        for critic in (composed.critic, composed.critic_target):
            with th.no_grad():
                features = critic.particle_features(observations)
                particles = critic.q_particles(features, actions)
            np.testing.assert_allclose(particles, expected, rtol=1e-4, atol=1e-5)
            variables = actions.clone().requires_grad_()
            (gradient,) = th.autograd.grad(critic.q_particles(features, variables).sum(), variables)
            th.testing.assert_close(critic.q_gradient(features, actions), gradient)
    for model, tensors in zip(models, before, strict=True):
        assert_same_tensors(model, tensors)


@action_spaces
def test_a_composition_is_a_model_like_any_other(action_space, tmp_path):
    """It predicts, saves, loads, learns on, leaves its components alone, and can be composed again."""
    models = make_models(action_space, n_envs=2)
    before = [tensors_of(model) for model in models]
    composed = compose(models, [2.0, 1.0], gradient_steps=3, gamma=0.7)
    assert isinstance(composed, SoftQLearning) and composed.gamma == 0.7 and composed.ent_coef == pytest.approx(0.3)
    assert composed.policy.ent_coef.item() == pytest.approx(0.3)
    assert composed.replay_buffer.size() == 0 and composed._n_updates == 0
    composed.save(tmp_path / "model")
    composed.policy.save(tmp_path / "policy")
    loaded = SoftQLearning.load(tmp_path / "model", env=composed.get_env())
    observations = np.random.default_rng(0).uniform(-1, 1, size=(20, 3)).astype(np.float32)
    for model in (loaded, type(composed.policy).load(tmp_path / "policy")):
        ours, theirs = (m.predict(observations, deterministic=True)[0] for m in (model, composed))
        np.testing.assert_array_equal(ours, theirs)
    for model in (composed, loaded):
        critic = [parameter.clone() for parameter in model.critic.parameters()]
        assert model.learn(40, reset_num_timesteps=False)._n_updates > 0
        assert not all(map(th.equal, critic, model.critic.parameters()))
    for model, tensors in zip(models, before, strict=True):
        assert_same_tensors(model, tensors)
    again = compose([composed, models[0]], gradient_steps=3)
    obs, actions = th.as_tensor(observations), th.rand(20, 3, 2)
    expected = (q_values(composed, obs, actions) + q_values(models[0], obs, actions)) / 2
    np.testing.assert_allclose(q_values(again, obs, actions), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("action_space", SPACES[1:], ids=str)
def test_composition_of_one_model_is_that_model(action_space):
    (model,) = make_models(action_space, 1, factor=3.0, ent_coef=1.0)
    observations = np.random.default_rng(0).uniform(-1, 1, size=(500, 3)).astype(np.float32)
    composed = compose([model])
    for deterministic in (True, False):
        actions = []
        for each in (model, composed):
            th.manual_seed(0)
            actions.append(each.predict(observations, deterministic=deterministic)[0])
        np.testing.assert_array_equal(actions[0], actions[1])


@pytest.mark.parametrize(
    ("observation_space", "policy"),
    [
        (spaces.Discrete(5), "MlpPolicy"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}), "MultiInputPolicy"),
        (spaces.Box(0, 255, (1, 36, 36), np.uint8), "CnnPolicy"),
    ],
    ids=["discrete", "dict", "image"],
)
@pytest.mark.parametrize("action_space", SPACES[:2], ids=str)
def test_composition_with_other_observations(action_space, observation_space, policy, tmp_path):
    policy_kwargs: dict[str, Any] = {"net_arch": [8]}
    if policy == "CnnPolicy":
        policy_kwargs["features_extractor_kwargs"] = {"features_dim": 8}
    models = make_models(action_space, observation_space=observation_space, policy=policy, policy_kwargs=policy_kwargs)
    composed = compose(models, gradient_steps=3)
    if action_space is BOX:
        assert type(composed.actor.features_extractor) is type(models[0].actor.features_extractor)
    composed.learn(30).save(tmp_path / "model")
    observation: Any = composed.get_env().reset()
    loaded = SoftQLearning.load(tmp_path / "model")
    ours, theirs = (m.predict(observation, deterministic=True)[0] for m in (loaded, composed))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.slow
def test_the_sampler_learns_without_interaction(given):
    """From the models' states, or from given ones, its samples come to follow exp(Q / alpha)."""
    space = spaces.Box(-1, 1, (1,))
    models = make_models(
        space, factor=3.5, steps=120, ent_coef=0.3, policy_kwargs={"net_arch": [16], "activation_fn": th.nn.Tanh}
    )
    states = models[0].replay_buffer.observations[:100, 0] if given else None
    divergences, losses = [], []
    for gradient_steps in (0, 600):
        composed = compose(models, [3.0, 3.0], None, states, gradient_steps, learning_rate=3e-3, batch_size=64)
        assert composed.num_timesteps == 0 and composed.replay_buffer.size() == 0
        batch = models[0].replay_buffer.sample(64).observations
        with th.no_grad():
            losses.append(np.mean([composed._stein_loss(batch, th.tensor(0.3))[0].item() for _ in range(20)]))
        divergence = []
        for observation in batch[:8]:

            def q_function(actions, observation=observation, composed=composed):
                return q_values(composed, observation[None], th.as_tensor(actions, dtype=th.float32)[None])[0].numpy()

            log_density = reference.optimal_log_density(q_function, 0.3, 1, 100)
            samples = composed.predict(observation.expand(4000, -1).numpy())[0]
            divergence.append(reference.histogram_kl(samples.astype(np.float64), log_density, bins=20))
        divergences.append(np.mean(divergence))
    assert losses[1] < 0.5 * losses[0]
    assert divergences[1] < 0.5 * divergences[0]


def test_states_of_a_dictionary():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    models = make_models(BOX, observation_space=space, policy="MultiInputPolicy")
    batch = models[0].replay_buffer.sample(10).observations
    states = {key: value.numpy() for key, value in batch.items()}
    weights = compose(models, observations=states, gradient_steps=0).actor.net[0].weight
    assert not th.equal(compose(models, observations=states, gradient_steps=2).actor.net[0].weight, weights)


@pytest.mark.parametrize(
    "ent_coef", ["auto_0.5", "lin_0.5_0.2", lambda progress: 0.2 + 0.3 * progress], ids=["auto", "lin", "schedule"]
)
@action_spaces
def test_temperature_of_models_that_changed_it(action_space, ent_coef):
    """It is the one at the end of their training, and they must agree."""
    models = make_models(action_space, 1, ent_coef=ent_coef, learning_rate=1e-2)
    expected = models[0].policy.ent_coef.item()
    final = models[0].ent_coef_tensor if models[0].log_ent_coef is None else models[0].log_ent_coef.exp()
    assert abs(expected - 0.5) > 0.02 and expected == pytest.approx(final.item(), rel=0.02)
    composed = compose(models, gradient_steps=2)
    assert composed.ent_coef == composed.policy.ent_coef.item() == pytest.approx(expected)
    models += make_models(action_space, 1, ent_coef=0.9)
    with pytest.raises(ValueError, match="`ent_coef` must be given for models whose temperatures differ"):
        compose(models, gradient_steps=2)
    assert compose(models, gradient_steps=2, ent_coef=0.4).policy.ent_coef.item() == pytest.approx(0.4)


def test_other_parameters_of_a_composition():
    models = make_models(BOX)
    composed = compose(models, gradient_steps=2, policy_kwargs={"n_particles": 5, "net_arch": [7]}, learning_rate=0.5)
    assert composed.policy.n_particles == 5 and composed.actor.net_arch == [7]
    assert composed.actor.optimizer.param_groups[0]["lr"] == 0.5


def test_what_does_not_fit_together():
    models = make_models(BOX)

    def check(message, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            compose(*args, **{"gradient_steps": 2, **kwargs})

    check("`models` must be SoftQLearning models, at least one", [])
    check("`models` must be SoftQLearning models", [models[0], toys.make_model(DiscreteSAC, spaces.Discrete(3))])
    for other in (make_model(SPACES[1]), make_model(spaces.Box(-2, 4, (2,))), make_model(BOX, spaces.Box(-1, 1, (4,)))):
        check("`models` must have the same spaces", [models[0], other])
    for weights in ([1.0], [0.2, 0.3, 0.5], []):
        check("`weights` must be 2 numbers", models, weights)
    check(r"`weights\[1\]` must be a number", models, [1.0, float("nan")])
    for steps in (-1, 1.5):
        check("`gradient_steps` must be an integer", models, gradient_steps=steps)
    check("`env` must have the models' action_space", models, env=Toy(action_space=spaces.Box(-2, 4, (2,))))
    check("`env` must have the models' observation_space", models, env=Toy(spaces.Box(-1, 1, (4,)), BOX))
    normalized = SoftQLearning("MlpPolicy", VecNormalize(make_vec_env(lambda: Toy(action_space=BOX))), **SMALL)
    check("`models` must share one VecNormalize", [models[0], normalized], ent_coef=0.3)


def test_models_that_were_loaded(tmp_path):
    """They have no environment and no states."""
    models = make_models(BOX)
    models[1].save(tmp_path / "model")
    states = models[0].replay_buffer.observations[:50, 0]
    models[1] = SoftQLearning.load(tmp_path / "model")
    with pytest.raises(ValueError, match="`observations` must be states to train on, not None, for models with an empty"):
        compose(models, gradient_steps=2)
    assert compose(models, observations=states, gradient_steps=2).get_env() is models[0].get_env()
    with pytest.raises(ValueError, match="`env` must be an environment, not None"):
        compose(models[1:], observations=states, gradient_steps=2)
    compose(models[1:], observations=states, gradient_steps=2, env=Toy(action_space=BOX)).learn(30)


def test_composition_shares_a_normalization():
    env = VecNormalize(make_vec_env(lambda: Toy(action_space=BOX), n_envs=2, seed=0))
    models = [SoftQLearning("MlpPolicy", env, **{**SMALL, "seed": seed}).learn(60) for seed in (0, 1)]
    composed = compose(models, gradient_steps=3)
    assert composed.get_vec_normalize_env() is env


# ---------------------------------------------------------------------- fine-tuning


@pytest.mark.parametrize("kwargs", [{}, {"ent_coef": 0.1, "learning_rate": 0.5}], ids=["same", "other"])
@action_spaces
def test_fine_tune(action_space, kwargs):
    """The networks of the model, and nothing else of it."""
    model = make_model(action_space, ent_coef="lin_0.4", train_freq=(2, "step"))
    before, n_stored = tensors_of(model), model.replay_buffer.pos
    env = make_vec_env(lambda: Toy(action_space=action_space), n_envs=2, seed=1)
    tuned = fine_tune(model, env, **kwargs)
    for name, value in tuned.policy.state_dict().items():
        if name == "ent_coef":  # starts anew
            assert value.item() == pytest.approx(kwargs.get("ent_coef", 0.4))
        else:
            assert th.equal(value, before[name]), name
    assert tuned.get_env() is env and tuned.num_timesteps == tuned._n_updates == tuned.replay_buffer.size() == 0
    assert not tuned.critic.optimizer.state_dict()["state"]
    assert tuned.actor is None or not tuned.actor.optimizer.state_dict()["state"]
    assert tuned.train_freq == model.train_freq
    for name, value in kwargs.items():
        assert getattr(tuned, name) == value
    tuned.learn(60)
    assert tuned._n_updates > 0 and model.replay_buffer.pos == n_stored
    assert_same_tensors(model, before)


@pytest.mark.filterwarnings("error:`n_steps")
@pytest.mark.parametrize("n_steps", [1, 2])
def test_n_steps_and_discount_of_the_new_model(n_steps):
    """SB3 chooses the replay buffer by them."""
    model = make_model(SPACES[1], n_steps=n_steps)
    for kwargs in ({}, {"gamma": 0.5}, {"n_steps": 1}, {"n_steps": 3, "gamma": 0.5}):
        expected = {"n_steps": n_steps, "gamma": 0.99, **kwargs}
        for new in (fine_tune(model, Toy(action_space=SPACES[1]), **kwargs), compose([model], **kwargs)):
            buffer = new.replay_buffer
            assert type(buffer) is (NStepReplayBuffer if expected["n_steps"] > 1 else ReplayBuffer)
            for name in expected:
                assert getattr(new, name) == getattr(buffer, name, expected[name]) == expected[name]
            assert getattr(model.replay_buffer, "n_steps", 1) == model.replay_buffer_kwargs.get("n_steps", 1) == n_steps


def test_fine_tuned_model_keeps_an_automatic_target():
    model = make_model(BOX, ent_coef="auto", target_entropy=-1.0)
    assert fine_tune(model, Toy(action_space=BOX)).target_entropy == -1.0
    tuned = fine_tune(make_model(SPACES[1], ent_coef="auto"), Toy(action_space=SPACES[1]))
    assert tuned.target_entropy == tuned._auto_target_entropy == pytest.approx(0.5 * np.log(4))


def test_fine_tuning_of_a_composition_and_of_a_loaded_model(tmp_path):
    composed = compose(make_models(BOX), gradient_steps=2)
    composed.save(tmp_path / "model")
    tuned = fine_tune(SoftQLearning.load(tmp_path / "model"), Toy(action_space=BOX))
    assert_same_tensors(tuned.learn(10), tensors_of(composed))
    assert isinstance(tuned.policy, SoftQPolicy)


@pytest.mark.parametrize("env", [Toy(action_space=spaces.Discrete(3)), Toy(spaces.Box(-1, 1, (4,)), BOX)], ids=["act", "obs"])
def test_fine_tuning_with_other_spaces(env):
    with pytest.raises(ValueError, match=r"`env` must have the models' (action|observation)_space"):
        fine_tune(make_model(BOX, steps=0), env)


def test_batch_norm_of_the_critics_stays_as_it_is():
    """Training the sampler neither uses nor gathers statistics of its batches in the critics."""
    model = make_model(BOX, policy_kwargs={"net_arch": [16], "features_extractor_class": toys.BatchNormExtractor})
    expected = model.critic.state_dict()
    composed = compose([model], gradient_steps=5)
    state = composed.critic.critics[0].state_dict()
    assert all(th.equal(value, expected[name]) for name, value in state.items())
    assert any("running_mean" in name for name in state)
    assert not composed.critic.training and not composed.actor.training


@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (3,), ()], ids=str)
def test_observations_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"`observations` must have the shape \(S, \*\(3,\)\) with S > 0, not \("):
        compose([make_model(BOX)], observations=np.zeros(shape, dtype=np.float32))


def test_observations_of_a_wrong_kind():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    model = make_model(BOX, space, "MultiInputPolicy")
    good: dict[str, np.ndarray] = {"a": np.zeros((4, 2), dtype=np.float32), "b": np.zeros(4, dtype=np.int64)}
    compose([model], observations=good, gradient_steps=2)
    bads: list[Any] = [good["a"], {"a": good["a"]}]
    for bad in bads:
        with pytest.raises(ValueError, match="`observations` must be states of Dict"):
            compose([model], observations=bad)
    with pytest.raises(ValueError, match=r"`observations\['b'\]` must have the shape"):
        compose([model], observations={**good, "b": np.zeros((4, 2), dtype=np.int64)})


def test_a_temperature_that_has_fallen_to_0_is_not_taken_over():
    model = make_model(BOX, ent_coef="lin_0.5", steps=40)
    model.policy.ent_coef.zero_()
    with pytest.raises(ValueError, match="`ent_coef` must be given for models whose temperature has fallen to 0"):
        compose([model])
    assert compose([model], ent_coef=0.2, gradient_steps=2).policy.ent_coef.item() == pytest.approx(0.2)


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.0, -1.0], [1.0, -2.0]])
def test_composition_of_masked_actions(weights):
    """No weights let an action through that is not allowed."""
    env = ActionMaskWrapper(InvalidActionEnvDiscrete(dim=20, n_invalid_actions=18))
    kwargs = {"policy_kwargs": {"net_arch": [8], "action_mask_key": "action_mask"}, **SMALL}
    models = [SoftQLearning("MultiInputPolicy", env, **kwargs).learn(30) for _ in range(2)]
    both = compose(models, weights=weights)
    observation, _ = env.reset()
    for deterministic in (False, True):
        for _ in range(10):
            action, _ = both.predict(observation, deterministic=deterministic)
            assert observation["action_mask"][action]


@pytest.mark.parametrize("bound_values", [False, True])
def test_values_of_weights_from_elsewhere_have_no_bound(bound_values, tmp_path):
    """What rewards they were learned from is not known; in a saved model it is."""
    model = make_model(spaces.Discrete(4), bound_values=bound_values)
    assert model.highest_return.item() > 0
    model.save(tmp_path / "model")
    loaded = SoftQLearning.load(tmp_path / "model", bound_values=True)
    assert loaded.highest_return.item() == model.highest_return.item()
    other = make_model(spaces.Discrete(4), steps=0)
    assert other.highest_return.item() == 0
    other.load_weights(tmp_path / "model")
    assert other.highest_return.item() == np.inf
