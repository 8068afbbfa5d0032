"""Bad parameters end in an error before training, bad numbers during training in one that leaves the model saveable."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from toys import BatchNormExtractor, Toy

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning
from sb3_maxent.common.finite_guard import FiniteGuard

SMALL = {**toys.SMALL, "policy_kwargs": {"net_arch": [16]}}


BOX, DISCRETE = spaces.Box(-2, 3, (2,)), spaces.Discrete(3)
KINDS = {
    "DiscreteSAC": (DiscreteSAC, DISCRETE),
    "Discrete": (SoftQLearning, DISCRETE),
    "Box": (SoftQLearning, BOX),
    "S2AC": (S2AC, BOX),
    "SACNF": (SACNF, BOX),
    "MixtureSAC": (MixtureSAC, BOX),
}
kinds = pytest.mark.parametrize(("algorithm", "action_space"), KINDS.values(), ids=KINDS)
ACTORS = ["DiscreteSAC", "Box", "S2AC", "SACNF", "MixtureSAC"]

EVERYWHERE: list[tuple[str, Any]] = [
    ("n_steps", 0),
    ("n_steps", 1.5),
    ("target_entropy", "automatic"),
    ("target_entropy", float("nan")),
    ("ent_coef", -0.1),
    ("ent_coef", "automatic"),
    ("ent_coef", "auto_x"),
    ("ent_coef", "auto_-1"),
    ("ent_coef", "auto_0"),
    ("ent_coef", "auto_1_2"),
    ("ent_coef", None),
    ("ent_coef", "lin"),
    ("ent_coef", "lin_"),
    ("ent_coef", "lin_x"),
    ("ent_coef", "lin_1_x"),
    ("ent_coef", "lin_1_0.5_0.2_1"),
    ("ent_coef", "linear_1"),
    ("ent_coef", "fixed"),
    ("ent_coef", "fixed_0.3"),
    ("ent_coef", float("nan")),
    ("ent_coef_bounds", (0.5, 0.1)),
    ("ent_coef_bounds", (-1, 1)),
    ("ent_coef_bounds", 1.0),
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
    ("compile", "yes"),
    ("compile", None),
    ("matmul", "mkl"),
]
DISCRETE_ENTROPY = [("target_entropy", 1.2), ("target_entropy", -1.0)]  # log 3 = 1.0986
OWN: dict[str, list[tuple[str, Any]]] = {
    "DiscreteSAC": [
        *DISCRETE_ENTROPY,
        ("target_entropy_ratio", 1.1),
        ("target_entropy_ratio", -0.1),
        ("critic_ent_coef", -1),
        ("q_reduction", "max"),
        ("q_clip", 0.0),
        ("q_clip", float("inf")),
        ("entropy_penalty", -0.5),
        ("entropy_penalty", "much"),
    ],
    "Discrete": [
        *DISCRETE_ENTROPY,
        ("munchausen_coef", -0.1),
        ("munchausen_coef", 1.0),
        ("munchausen_clip", 0.1),
        ("munchausen_clip", float("-inf")),
        ("behavior_policy", "random"),
        ("exploration_fraction", 0.0),
        ("exploration_fraction", 1.5),
        ("exploration_initial_eps", -0.1),
        ("exploration_initial_eps", 1.1),
        ("exploration_final_eps", -0.1),
        ("exploration_final_eps", "low"),
        ("exploration_final_eps", "5e-2"),  # a YAML file makes a text of it
        ("exploration_max_duration", 0),
        ("exploration_max_duration", 2.5),
        ("exploration_max_duration", 10_001),
        ("exploration_duration_exponent", -1),
        ("exploration_duration_exponent", float("nan")),
        # what has no meaning for discrete actions
        ("n_value_particles", 4),
        ("value_proposal", "sampler"),
        ("value_proposal", "mixture"),
        ("n_kernel_particles", 4),
        ("kernel_update_ratio", 0.25),
        ("kernel_bandwidth", 0.1),
        ("action_noise", NormalActionNoise(np.zeros(2), np.ones(2))),
    ],
    "Box": [
        ("target_entropy", 1.4),  # 2 log 2 = 1.3863
        ("n_value_particles", 0),
        ("n_value_particles", 2.0),
        ("value_proposal", "normal"),
        ("n_kernel_particles", 1),
        ("n_kernel_particles", 16.0),
        ("kernel_update_ratio", 0.0),
        ("kernel_update_ratio", 1.0),
        ("kernel_bandwidth", 0.0),
        ("kernel_bandwidth", -1),
        ("kernel_bandwidth", float("inf")),
        ("kernel_bandwidth", "silverman"),
        ("kernel_bandwidth", None),
        # what has no meaning for Box actions
        ("munchausen_coef", 0.9),
        ("munchausen_clip", -0.5),
        ("exploration_fraction", 0.5),
        ("behavior_policy", "greedy"),
        ("exploration_initial_eps", 0.5),
        ("exploration_final_eps", 0.5),
        ("exploration_max_duration", 50),
        ("exploration_duration_exponent", 1.0),
    ],
    "S2AC": [
        ("target_entropy", 1.4),  # 2 log 2 = 1.3863
        ("n_particles", 1),
        ("n_particles", 2.5),
        ("n_particles", None),
        ("n_svgd_steps", -1),
        ("n_svgd_steps", 3.0),
        ("svgd_step_size", 0),
        ("svgd_step_size", -1),
        ("svgd_step_size", float("inf")),
        ("svgd_step_size", float("nan")),
        ("max_step_ratio", 0),
        ("max_step_ratio", 1),
        ("max_step_ratio", 1.5),
        ("max_step_ratio", float("nan")),
        ("kernel_bandwidth", 0),
        ("kernel_bandwidth", -1),
        ("kernel_bandwidth", 1e-7),
        ("kernel_bandwidth", 1e7),
        ("kernel_bandwidth", float("nan")),
        ("kernel_bandwidth", "silverman"),
        ("kernel_bandwidth", None),
        ("precondition", "yes"),
        ("precondition", None),
        ("learned_start", "no"),
        ("start_std", 0),
        ("start_std", 6),
        ("start_std", None),
        ("truncation", 0),
        ("truncation", 9),
        ("truncation", float("inf")),
        ("truncation", "none"),
        ("out_of_bounds", "drop"),
        ("out_of_bounds", None),
        ("entropy_estimator", "knn"),
        ("second_order", 2),
        ("likelihood_ratio", "no"),
        ("amortized", 1.5),
        ("behavior_policy", "greedy"),
        ("scores_from", "second"),
        ("scores_precision", "float16"),
    ],
    "MixtureSAC": [
        ("target_entropy", 1.4),  # 2 log 2 = 1.3863
        ("n_components", 0),
        ("n_components", 2.0),
        ("n_components", None),
        ("mean_spread", 1.0),
        ("mean_spread", -0.1),
        ("start_std", 0),
        ("start_std", 0.5),  # the largest one by default
        ("max_std", 8),
        ("max_std", 0),
        ("max_std", None),
        ("deterministic_action", "mean"),
        ("deterministic_action", None),
    ],
    "SACNF": [
        ("target_entropy", 1.4),  # 2 log 2 = 1.3863
        ("flow", "Radial"),
        ("flow", None),
        ("n_flows", -1),
        ("n_flows", 101),
        ("n_flows", 2.0),
        ("n_flows", True),
        ("conditional_flow", "no"),
        ("conditional_flow", None),
        ("n_bins", 1),
        ("n_bins", 8.0),
    ],
}


@pytest.mark.parametrize(
    ("kind", "name", "value"), [(kind, *row) for kind in KINDS for row in [*EVERYWHERE, *OWN[kind]]], ids=str
)
def test_parameters(kind, name, value):
    algorithm, action_space = KINDS[kind]
    kwargs = {name: value} if name != "ent_coef_bounds" else {name: value, "ent_coef": "auto"}
    with pytest.raises(ValueError, match=f"`{name}") as error:
        algorithm("MlpPolicy", Toy(action_space=action_space), **kwargs)
    assert " must be " in str(error.value) or " needs " in str(error.value)
    shown = value[0] if name == "ent_coef_bounds" and value == (-1, 1) else value
    assert repr(shown) in str(error.value) or repr(np.atleast_1d(value)[-1].item()) in str(error.value)


@pytest.mark.parametrize(
    ("action_space", "name", "value"),
    [
        (BOX, "noise_dim", 0),
        (BOX, "noise_dim", 2.0),
        (BOX, "n_particles", 0),
        (BOX, "n_particles", 1.5),
        (BOX, "n_critics", 0),
        (DISCRETE, "n_critics", 0),
        (DISCRETE, "noise_dim", 2),
        (DISCRETE, "share_features_extractor", True),
    ],
    ids=str,
)
def test_parameters_of_the_soft_q_policy(action_space, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* not {value!r}"):
        SoftQLearning("MlpPolicy", Toy(action_space=action_space), policy_kwargs={name: value})


@pytest.mark.parametrize("noise_dim", [1, 3])
@pytest.mark.parametrize(
    ("name", "value"), [("value_proposal", "sampler"), ("value_proposal", "mixture"), ("ent_coef", "auto_0.1")]
)
def test_what_needs_the_samplers_density(name, value, noise_dim):
    """A noise with the action's dimension."""
    env = Toy(action_space=BOX)
    with pytest.raises(ValueError, match=f"`{name}='{value}'` needs .* not for noise_dim={noise_dim} and 2 action dim"):
        SoftQLearning("MlpPolicy", env, **{name: value}, policy_kwargs={"noise_dim": noise_dim})
    SoftQLearning("MlpPolicy", env, **{name: value}, policy_kwargs={"noise_dim": 2})


@kinds
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_schedule_of_the_temperature(algorithm, action_space, value, tmp_path):
    """One that is bad from the start, and one that goes bad while training: the model can be loaded with another one."""
    env = Toy(action_space=action_space)
    with pytest.raises(ValueError, match=rf"`ent_coef` at `progress_remaining=1` must be a number in .* not {value}"):
        algorithm("MlpPolicy", env, ent_coef=lambda progress: value)
    model = algorithm("MlpPolicy", env, ent_coef=lambda progress: value if progress < 0.5 else 1.0, **SMALL)
    with pytest.raises(ValueError, match=rf"`ent_coef` at `progress_remaining=0.49` must be a number in .* not {value}"):
        model.learn(100)
    assert_saveable(model, tmp_path / "model", ent_coef="lin_1")


@pytest.mark.parametrize(
    ("algorithm", "action_space"),
    [(DiscreteSAC, BOX), (DiscreteSAC, spaces.Dict({"a": DISCRETE}))]
    + [(SoftQLearning, space) for space in (spaces.Dict({"a": BOX}), spaces.Tuple([DISCRETE]))]
    + [
        (algorithm, space)
        for algorithm in (S2AC, SACNF, MixtureSAC)
        for space in (DISCRETE, spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3), spaces.Dict({"a": BOX}))
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_action_space(algorithm, action_space):
    kinds = {DiscreteSAC: r"Discrete.*MultiDiscrete", SoftQLearning: r"Box.*Discrete.*MultiDiscrete"}.get(algorithm, "Box")
    with pytest.raises(AssertionError, match=rf"only supports .*{kinds}.*was provided"):
        algorithm("MlpPolicy", Toy(action_space=action_space))


def test_a_mixture_has_particles_of_both_kinds():
    with pytest.raises(ValueError, match=r"`n_value_particles` must be an integer in \[2, inf\], not 1"):
        SoftQLearning("MlpPolicy", Toy(action_space=BOX), value_proposal="mixture", n_value_particles=1)


@pytest.mark.parametrize(
    ("name", "value", "kwargs"),
    [
        ("n_svgd_steps", 0, {"n_svgd_steps": 0, "learned_start": False}),  # the start would be the policy
        ("second_order", True, {"second_order": True, "learned_start": False}),
        ("scores_precision", "bfloat16", {"second_order": True, "scores_precision": "bfloat16"}),
        ("particle_batch_size", 8, {"particle_batch_size": 8}),
        ("particle_batch_size", 65, {"particle_batch_size": 65, "batch_size": 64, "amortized": True}),
        ("out_of_bounds", "clip", {"out_of_bounds": "clip", "truncation": None}),
        ("share_features_extractor", True, {"learned_start": False, "policy_kwargs": {"share_features_extractor": True}}),
        ("n_critics", 0, {"policy_kwargs": {"n_critics": 0}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_of_s2ac_that_do_not_go_together(name, value, kwargs):
    with pytest.raises(ValueError, match=f"`{name}` must be .* not {value!r}"):
        S2AC("MlpPolicy", Toy(action_space=BOX), **kwargs)


@pytest.mark.parametrize(
    ("algorithm", "name", "value"), [(S2AC, "start_std", 0.3), (SACNF, "flow", "radial"), (MixtureSAC, "n_components", 3)]
)
def test_parameters_of_the_algorithm_among_those_of_the_policy(algorithm, name, value):
    with pytest.raises(ValueError, match=f"`policy_kwargs` must not have `{name}`: give it to {algorithm.__name__} itself"):
        algorithm("MlpPolicy", Toy(action_space=BOX), policy_kwargs={name: value})


@pytest.mark.parametrize("algorithm", [SoftQLearning, S2AC, SACNF, MixtureSAC])
def test_unbounded_actions(algorithm):
    with pytest.raises(AssertionError, match="finite lower and upper bound"):
        algorithm("MlpPolicy", Toy(action_space=spaces.Box(-np.inf, np.inf, (2,))))


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
@pytest.mark.parametrize(
    "action_space", [spaces.MultiDiscrete(np.array([[2, 3], [2, 2]])), spaces.MultiBinary((2, 3))], ids=str
)
def test_multi_discrete_of_two_dimensions(algorithm, action_space):
    with pytest.raises((ValueError, AssertionError), match=r"flat nvec|flatten it"):
        algorithm("MlpPolicy", Toy(action_space=action_space))


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (3,)), spaces.Dict({"mask": spaces.MultiBinary(2)}), spaces.Dict({"x": spaces.MultiBinary(3)})],
    ids=["box", "too-short", "missing"],
)
@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_action_mask_key(space, algorithm):
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    with pytest.raises(ValueError, match=r"`action_mask_key` must name a MultiBinary\(3\)"):
        algorithm(policy, Toy(space), policy_kwargs={"action_mask_key": "mask"})


def test_action_mask_of_a_box():
    space = spaces.Dict({"x": BOX, "mask": spaces.MultiBinary(2)})
    with pytest.raises(ValueError, match=r"`action_mask_key` must be None for Box.*, not 'mask'"):
        SoftQLearning("MultiInputPolicy", Toy(space, BOX), policy_kwargs={"action_mask_key": "mask"})


@pytest.mark.parametrize("ent_coef", [0.1, "lin_0.1", lambda progress: 0.1])
@kinds
def test_bounds_need_a_learned_temperature(algorithm, action_space, ent_coef):
    with pytest.raises(ValueError, match="`ent_coef_bounds` must be None unless the temperature is learned"):
        algorithm("MlpPolicy", Toy(action_space=action_space), ent_coef=ent_coef, ent_coef_bounds=(0.01, 1.0))


def test_number_of_critics():
    with pytest.raises(ValueError, match="`n_critics` must be an integer in"):
        DiscreteSAC("MlpPolicy", Toy(), policy_kwargs={"n_critics": 0})


def test_unknown_policy_argument():
    with pytest.raises(TypeError, match="n_critic"):
        DiscreteSAC("MlpPolicy", Toy(), policy_kwargs={"n_critic": 2})


def assert_saveable(model, path, **kwargs):
    model.save(path)
    loaded = type(model).load(path, **kwargs)
    assert all(value.isfinite().all() for value in loaded.policy.state_dict().values())
    assert loaded.num_timesteps > 0


WARM_UP, TRAINING, END_OF_EPISODE = 7, 30, 40
# All cases for one algorithm, as the check stands in the loop that all share; each of the others meets it once
CASES = [
    *itertools.product(["DiscreteSAC"], [WARM_UP, TRAINING, END_OF_EPISODE], [np.nan, np.inf, -np.inf], [False, True]),
    *((kind, TRAINING, np.nan, True) for kind in KINDS if kind != "DiscreteSAC"),
]


@pytest.mark.parametrize("what", ["observations", "rewards"])
@pytest.mark.parametrize(("kind", "step", "bad", "normalize"), CASES)
def test_bad_observation_or_reward(kind, what, step, bad, normalize, tmp_path):
    algorithm, action_space = KINDS[kind]

    def fault(at, observation, reward):
        if at == step:
            reward = bad if what == "rewards" else reward
            observation = np.full_like(observation, bad) if what == "observations" else observation
        return observation, reward

    env = make_vec_env(lambda: Toy(action_space=action_space, fault=fault), seed=0)
    model = algorithm("MlpPolicy", VecNormalize(env) if normalize else env, **SMALL)
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
@kinds
def test_bad_loss(algorithm, action_space, interval, monkeypatch, tmp_path):
    """Training that diverges ends with the weights of the last copy, by an error that names the loss and the step."""
    rewards = [1.0]
    env = Toy(action_space=action_space, fault=lambda step, observation, reward: (observation, rewards[-1]))
    model = algorithm("MlpPolicy", env, **SMALL)
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
    with pytest.raises(ValueError, match="A number that is infinite in float32 in the rewards"):
        model._finite_guard.check_transition(np.zeros((1, 3)), np.array([1e39]), np.array([False]), [{}])


@pytest.mark.parametrize(("before", "after"), [("auto", 0.1), (0.1, "auto_0.2")])
def test_bad_loss_after_the_temperature_was_set_to_another_kind(before, after, tmp_path):
    """A callback sets it during learn(); the model goes back to a copy that has the new kind."""
    rewards = [1.0]
    env = Toy(fault=lambda step, observation, reward: (observation, rewards[-1]))
    model = DiscreteSAC("MlpPolicy", env, ent_coef=before, **SMALL)

    def callback(local, _):
        if model.num_timesteps == 40:
            model.ent_coef = after
        if model.num_timesteps == 50:
            rewards.append(1e30)
        return True

    with pytest.raises(ValueError, match=r"critic_loss=inf in gradient step \d+\. The model is back at gradient step 19 and"):
        model.learn(100, callback=callback)
    assert model.temperature.is_learned == isinstance(after, str)
    assert_saveable(model, tmp_path / "model")


@pytest.mark.parametrize(("algorithm", "action_space"), [KINDS[kind] for kind in ACTORS], ids=ACTORS)
def test_gradient_that_is_not_finite(algorithm, action_space, tmp_path):
    """The loss is finite and its gradient is not: found before the next action is drawn."""
    model = algorithm("MlpPolicy", Toy(action_space=action_space), **SMALL).learn(30)
    actor_loss = model._actor_loss

    def spoilt(step):
        loss, entropy = actor_loss(step)
        return loss + (next(model.actor.parameters()) * 0).abs().sqrt().sum(), entropy  # 0 with gradient NaN

    model._actor_loss = spoilt
    with pytest.raises(ValueError, match=r"`actor\.\S+` is NaN or infinite after gradient step 11"):
        model.learn(30, reset_num_timesteps=False)
    del model._actor_loss
    assert_saveable(model, tmp_path / "model")


@kinds
def test_weights_that_were_set_are_the_ones_to_go_back_to(algorithm, action_space):
    env = Toy(action_space=action_space)
    model = algorithm("MlpPolicy", env, **SMALL).learn(40)
    other = algorithm("MlpPolicy", env, **{**SMALL, "seed": 1}).learn(40)
    model.set_parameters(other.get_parameters())
    model.replay_buffer.rewards[:] = 1e30
    with pytest.raises(ValueError, match="back at gradient step 20"):
        model.learn(30, reset_num_timesteps=False)
    assert all(map(th.equal, model.policy.state_dict().values(), other.policy.state_dict().values()))


@kinds
def test_bad_weight(algorithm, action_space, monkeypatch, tmp_path):
    """A weight that is lost while all losses stay finite is found when the next copy is made."""
    model = algorithm("MlpPolicy", Toy(action_space=action_space), **SMALL)
    monkeypatch.setattr(FiniteGuard, "update_interval", 10)
    model.learn(40)
    with th.no_grad():
        model.critic_target.qf0[-1].bias[0] = th.inf
    model._n_updates += 10
    with pytest.raises(ValueError, match=r"`critic_target\.qf0\.\d\.bias` is NaN or infinite before gradient step"):
        model.train(1, 16)
    assert_saveable(model, tmp_path / "model")


class MaskExtractor(FlattenExtractor):
    """An infinity that is meant, as in a causal attention mask: in a buffer, and in a parameter that is not learned."""

    mask: th.Tensor

    def __init__(self, observation_space):
        super().__init__(observation_space)
        mask = th.zeros(self.features_dim).index_fill(0, th.tensor(0), -th.inf)
        self.register_buffer("mask", mask)
        self.frozen = th.nn.Parameter(mask.clone(), requires_grad=False)
        self.scale = th.nn.Parameter(th.ones(self.features_dim))

    def forward(self, observations):
        return super().forward(observations) * self.scale * (self.mask + self.frozen).exp()


@pytest.mark.parametrize("tau", [0.005, 1.0])
@kinds
def test_infinities_that_training_does_not_change(algorithm, action_space, tau, monkeypatch):
    """They are allowed, and stay what they are in the target critics; a lost parameter is named."""
    monkeypatch.setattr(FiniteGuard, "update_interval", 10)
    kwargs = {**SMALL, "tau": tau, "policy_kwargs": {"net_arch": [16], "features_extractor_class": MaskExtractor}}
    model = algorithm("MlpPolicy", Toy(action_space=action_space), **kwargs).learn(50)
    assert model._n_updates == 30
    for network in (model.critic, model.critic_target):
        assert th.isneginf(network.features_extractor.frozen[0]) and th.isneginf(network.features_extractor.mask[0])
    with th.no_grad():
        model.critic.features_extractor.scale[1] = th.inf
    model._n_updates += 10
    with pytest.raises(ValueError, match=r"`critic\.features_extractor\.scale` is NaN or infinite before gradient step"):
        model.train(1, 16)


@kinds
def test_statistics_of_batch_norm_must_stay_finite(algorithm, action_space, monkeypatch):
    monkeypatch.setattr(FiniteGuard, "update_interval", 10)
    kwargs = {**SMALL, "policy_kwargs": {"net_arch": [16], "features_extractor_class": BatchNormExtractor}}
    model = algorithm("MlpPolicy", Toy(action_space=action_space), **kwargs).learn(40)
    model.critic.features_extractor.norm.running_var[0] = th.nan
    model._n_updates += 10
    with pytest.raises(ValueError, match=r"`critic\.features_extractor\.norm\.running_var` is NaN or infinite before"):
        model.train(1, 16)


class Double(Toy):
    """Observations in float64, ``large`` from step 30 on; an action that is not finite is an error."""

    def __init__(self, action_space, large):
        def fault(at, observation, reward):
            return (np.full_like(observation, large) if at >= 30 else observation), reward

        super().__init__(spaces.Box(-np.inf, np.inf, (3,), np.float64), action_space, fault)

    def step(self, action):
        assert np.isfinite(action).all(), "the environment gets the blame"
        return super().step(action)


@kinds
def test_observations_that_are_infinite_in_float32(algorithm, action_space, tmp_path):
    model = algorithm("MlpPolicy", Double(action_space, 1e39), **SMALL)
    with pytest.raises(ValueError, match=r"infinite in float32 in the observations .* time step 30: 1e\+39 at index \(0, 0\)"):
        model.learn(100)
    assert_saveable(model, tmp_path / "model")


def test_normalized_observations_may_be_large_before():
    """Networks see the normalized ones, and the buffer holds the others in their own type."""
    env = VecNormalize(make_vec_env(lambda: Double(spaces.Discrete(3), 1e39), seed=0))
    assert DiscreteSAC("MlpPolicy", env, **SMALL).learn(100).num_timesteps == 100


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
@kinds
def test_predict_refuses_observations_that_are_not_finite(algorithm, action_space, bad):
    model = algorithm("MlpPolicy", Toy(action_space=action_space), **SMALL)
    observations = np.zeros((2, 3))
    observations[1, 2] = bad
    for predict in (model.predict, model.policy.predict):
        with pytest.raises(ValueError, match=rf"in the observation to act on: {re.escape(str(bad))} at index \(1, 2\)"):
            predict(observations)
    space = spaces.Dict({"x": spaces.Box(-1, 1, (3,)), "n": spaces.Discrete(3)})
    model = algorithm("MultiInputPolicy", Toy(space, action_space), **SMALL)
    with pytest.raises(ValueError, match=r"in the observation\['x'\] to act on: .* at index \(1, 2\)"):
        model.predict({"x": observations, "n": np.zeros(2, dtype=np.int64)})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(np.array([0, 1, 0], np.float32), np.array([1, 1, 1], np.float32)), "low=1.0 and high=1.0 in dimension 1"),
        (spaces.Box(-3e38, 3e38, (2,)), "in dimension 0"),
        (spaces.Box(np.float64(1.0), np.float64(1.0 + 1e-12), (2,), np.float64), "in dimension 0"),
        (spaces.Box(0, 5, (2,), np.int64), "floating-point numbers, not of int64"),
        (spaces.Box(0, 1, (0,)), "at least one dimension"),
    ],
    ids=["equal", "overflow", "rounding", "integers", "empty"],
)
@pytest.mark.parametrize("algorithm", [SoftQLearning, S2AC, SACNF, MixtureSAC])
def test_action_spaces_without_a_scale(algorithm, space, message):
    with pytest.raises(ValueError, match=f"`action_space` must .*{message}"):
        algorithm("MlpPolicy", Toy(action_space=space))


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


def test_a_number_that_yaml_reads_as_a_text():
    with pytest.raises(
        ValueError, match=r"not '2e-2', which is a text: YAML reads 2e-3 as one, and 2.0e-3 or 0.002 as a number"
    ):
        text: Any = "2e-2"
        DiscreteSAC("MlpPolicy", "CartPole-v1", critic_ent_coef=text)
