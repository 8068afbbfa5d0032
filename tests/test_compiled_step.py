"""``compile=True``: the same results as eager up to rounding, in one graph where the docs say so, and what it leaves alone."""

import copy
import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from test_save_load import Clockwork, assert_equal_models
from torch._inductor.utils import run_and_get_code
from toys import BatchNormExtractor, make_model

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning
from sb3_maxent.common import compiled_step, matmul
from sb3_maxent.common.compiled_step import EAGER, ONE_GRAPH, SEVERAL_GRAPHS
from sb3_maxent.s2ac import policies as s2ac_policies

BOX, DISCRETE, MULTI_DISCRETE = spaces.Box(-1, 1, (2,)), spaces.Discrete(3), spaces.MultiDiscrete([3, 2])
IMAGE: dict[str, Any] = {
    "observation_space": spaces.Box(0, 255, (1, 36, 36), np.uint8),
    "policy": "CnnPolicy",
    "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}},
}
DICTIONARY = {
    "observation_space": spaces.Dict(
        {
            "a": spaces.Box(-1, 1, (2,)),
            "b": spaces.Discrete(3),
            "c": spaces.MultiDiscrete([2, 3]),
            "d": spaces.MultiBinary(2),
            "e": IMAGE["observation_space"],
        }
    ),
    "policy": "MultiInputPolicy",
}


def two_models(algorithm, action_space, **kwargs):
    """An eager and a compiled model that have not trained, with equal weights and equal transitions in their buffers."""

    def make(compile):
        own = {name: dict(value) if isinstance(value, dict) else value for name, value in kwargs.items()}
        return make_model(algorithm, action_space, **{"steps": 39, "learning_starts": 40, **own}, compile=compile)

    return make(False), make(True)


def train(model, n_calls=3, gradient_steps=2):
    """Gradient steps from the same random numbers; the progress remaining falls."""
    th.manual_seed(1)
    np.random.seed(1)
    for call in range(n_calls):
        model._current_progress_remaining = 1 - call / n_calls
        model.train(gradient_steps, 16)


def assert_close_models(ours, theirs, atol=2e-5):
    for kind in ("policy", "critic.optimizer", "actor.optimizer", "ent_coef_optimizer"):
        states = [model.get_parameters().get(kind) for model in (ours, theirs)]
        if states[1] is not None and kind != "policy":
            states = [
                {f"{i}.{key}": th.as_tensor(v) for i, state in each["state"].items() for key, v in state.items()}
                for each in states
            ]
        if states[1] is not None:
            assert states[0].keys() == states[1].keys(), kind
            for name, value in states[1].items():
                th.testing.assert_close(states[0][name], value, atol=atol, rtol=2e-4, msg=partial("{}: {}".format, name))
    assert ours._n_updates == theirs._n_updates
    logged, expected = (
        {name: value for name, value in model.logger.name_to_value.items() if name.startswith("train/")}
        for model in (ours, theirs)
    )
    assert logged.keys() == expected.keys()
    assert logged == pytest.approx(expected, rel=1e-3, abs=1e-4)


def check_equal(algorithm, action_space, mode=ONE_GRAPH, **kwargs):
    eager, compiled = two_models(algorithm, action_space, **kwargs)
    before = {name: value.clone() for name, value in eager.policy.state_dict().items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`compile=True`: the gradient step is compiled as several")
        train(compiled)
    train(eager)
    assert compiled._take_step.mode == mode
    assert any(not th.equal(value, before[name]) for name, value in eager.policy.state_dict().items())
    assert_close_models(compiled, eager)


# ---------------------------------------------------------------------- the same results


QUICK = [
    (DiscreteSAC, DISCRETE, {"ent_coef": "auto_0.1", "ent_coef_bounds": (0.05, 0.2), "n_steps": 3}),
    (
        SoftQLearning,
        MULTI_DISCRETE,
        {
            "ent_coef": "lin_0.5_0.1",
            "learning_rate": lambda progress: 1e-3 * progress,
            "target_update_interval": 2,
            "tau": 1.0,
        },
    ),
    (MixtureSAC, BOX, {"n_components": 3, "n_steps": 3}),
    (SACNF, BOX, {"n_flows": 0, "ent_coef": 0.3, "policy_kwargs": {"features_extractor_class": BatchNormExtractor}}),
]
SLOW = [
    (DiscreteSAC, MULTI_DISCRETE, {"q_clip": 0.5, "entropy_penalty": 0.5, "q_reduction": "mean"}),
    (DiscreteSAC, DISCRETE, {**IMAGE}),
    (DiscreteSAC, DISCRETE, {**DICTIONARY}),
    (DiscreteSAC, DISCRETE, {"policy_kwargs": {"optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}}),
    (DiscreteSAC, DISCRETE, {"policy_kwargs": {"optimizer_kwargs": {"amsgrad": True}, "share_features_extractor": True}}),
    (SoftQLearning, DISCRETE, {"munchausen_coef": 0.9, "ent_coef": "auto", "policy_kwargs": {"n_critics": 2}}),
    (SoftQLearning, BOX, {}),
    (SoftQLearning, BOX, {"value_proposal": "mixture", "ent_coef": "auto"}),
    (SoftQLearning, BOX, {"policy_kwargs": {"noise_dim": 3, "activation_fn": th.nn.Tanh}}),
    (S2AC, BOX, {}),
    (S2AC, BOX, {"learned_start": False}),
    (S2AC, BOX, {"scores_from": "first", "scores_precision": "bfloat16"}),
    (S2AC, BOX, {"amortized": True, "policy_kwargs": {"activation_fn": th.nn.Tanh}}),
    (S2AC, BOX, {"amortized": True, "particle_batch_size": 4}),
    (S2AC, BOX, {"entropy_estimator": "hutchinson"}),
    (S2AC, BOX, {"entropy_estimator": "exact", "second_order": True}),
    (MixtureSAC, BOX, {"n_components": 1, "ent_coef": 0.3, "policy_kwargs": {"n_critics": 1}}),
    (MixtureSAC, BOX, {"n_components": 5, "policy_kwargs": {"n_critics": 2}}),
    (MixtureSAC, BOX, {"n_components": 2, "policy_kwargs": {"activation_fn": th.nn.Tanh}}),
    (SACNF, BOX, {"flow": "spline"}),
    (SACNF, BOX, {"flow": "radial"}),
    (SACNF, BOX, {"flow": "planar", "conditional_flow": False}),
    (SACNF, BOX, {"n_flows": 0, **IMAGE, "policy_kwargs": {**IMAGE["policy_kwargs"], "share_features_extractor": True}}),
    (SACNF, BOX, {"n_flows": 0, "n_steps": 3, "n_envs": 2, **{"policy_kwargs": {"n_critics": 3}}}),
]


def name_of(value):
    return "-".join(value) if isinstance(value, dict) else getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(
    ("algorithm", "action_space", "kwargs"),
    [*QUICK, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW)],
    ids=name_of,
)
def test_compiled_equals_eager(algorithm, action_space, kwargs):
    """Weights, moments of the optimizers and what is logged, after six gradient steps with the same random numbers."""
    check_equal(algorithm, action_space, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [th.optim.RMSprop, th.optim.SGD])
def test_other_optimizers_stand_between_graphs(optimizer):
    kwargs = {"policy_kwargs": {"optimizer_class": optimizer}, "ent_coef": 0.1, "learning_rate": 1e-3}
    with pytest.warns(UserWarning, match="compiled as several graphs, not as one.*Unsupported"):
        model = make_model(SoftQLearning, DISCRETE, compile=True, **kwargs)
    assert model._take_step.mode == SEVERAL_GRAPHS
    check_equal(SoftQLearning, DISCRETE, mode=SEVERAL_GRAPHS, **kwargs)


@pytest.mark.parametrize(
    ("optimizer_class", "settings"),
    [
        (th.optim.Adam, {}),
        (th.optim.Adam, {"betas": (0.0, 0.9), "eps": 1e-3, "maximize": True}),
        (th.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
        (th.optim.AdamW, {"weight_decay": 0.1}),
        (th.optim.AdamW, {"amsgrad": True, "maximize": True}),
    ],
)
def test_step_of_adam(optimizer_class, settings):
    """Beside torch's own, with gradients that fall, so that AMSGrad's largest moment is not the last one"""
    parameters = [th.linspace(-1, 1, 6).reshape(2, 3), th.ones(4)]
    theirs = [parameter.clone().requires_grad_() for parameter in parameters]
    ours = [parameter.clone().requires_grad_() for parameter in parameters]
    optimizer, kept = (optimizer_class(each, lr=0.01, **settings) for each in (theirs, ours))
    update = compiled_step.AdamUpdate(kept)
    for step in range(20):
        gradients: list[th.Tensor | None] = [th.sin(parameter + step) * 0.8**step for parameter in parameters]
        if step == 7:
            gradients[1] = None
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        with th.no_grad():
            update.take_learning_rates()
            update.apply(gradients)
        for expected, actual in zip(theirs, ours, strict=True):
            th.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
            for name, value in optimizer.state[expected].items():
                th.testing.assert_close(kept.state[actual][name], value, rtol=1e-5, atol=1e-9)


# ---------------------------------------------------------------------- the graphs


def test_bias_corrections_are_computed_once():
    """In a CPU's graph, and not for each few entries of a parameter: they stand in no loop"""
    parameter, rate = th.ones(64, 64), th.tensor(0.01)
    state = {"step": th.tensor(0.0), "exp_avg": th.zeros(64, 64), "exp_avg_sq": th.zeros(64, 64)}
    settings: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    settings |= {"maximize": False, "amsgrad": False, "decoupled_weight_decay": False}
    compiled = th.compile(partial(compiled_step.adam_step, **settings), fullgraph=True)
    _, (code,) = run_and_get_code(compiled, parameter, th.ones(64, 64), state, rate)
    assert code.count("expm1(") >= 2
    depth, loops = 0, []  # of braces, and those that loops have opened
    for line in code.splitlines():
        if "for(int64_t" in line:
            loops.append(depth)
        assert not (loops and "expm1(" in line), line
        depth += line.count("{") - line.count("}")
        if loops and depth == loops[-1] and "}" in line:
            loops.pop()


def test_what_recompiles():
    """Neither a second model of the same shapes, nor a changed learning rate, temperature or loaded state does."""
    compiles = th._dynamo.utils.counters["stats"]
    kwargs = {
        "ent_coef": "lin_0.4_0.2",
        "learning_rate": lambda progress: 1e-3 * progress,
        "policy_kwargs": {"net_arch": [24]},
    }
    eager, compiled = two_models(SoftQLearning, DISCRETE, **kwargs)
    before = compiles["unique_graphs"]
    train(compiled, n_calls=1)
    assert compiles["unique_graphs"] == before + 1
    train(compiled)
    _, second = two_models(SoftQLearning, DISCRETE, **kwargs)
    train(second)
    for model in (second, eager):
        model.set_parameters(copy.deepcopy(compiled.get_parameters()))  # optimizers take states without a copy
        train(model)
    assert compiles["unique_graphs"] == before + 1
    for name, value in eager.policy.state_dict().items():
        th.testing.assert_close(second.policy.state_dict()[name], value, atol=1e-5, rtol=1e-4)

    for model in (second, eager):  # settings that a callback changes count from then on, at the price of a new graph
        model.gamma = 0.5
        train(model)
    assert compiles["unique_graphs"] == before + 2
    for name, value in eager.policy.state_dict().items():
        th.testing.assert_close(second.policy.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_settings_of_torch_stay_as_they_were():
    config = th._dynamo.config
    before = (
        config.trace_autograd_ops,
        config.recompile_limit,
        config.suppress_errors,
        th.backends.mkldnn.matmul.fp32_precision,
    )
    make_model(SoftQLearning, DISCRETE, compile=True, matmul="onednn")
    after = config.trace_autograd_ops, config.recompile_limit, config.suppress_errors, th.backends.mkldnn.matmul.fp32_precision
    assert after == before


# ---------------------------------------------------------------------- what is as without it


def test_guard_against_nan(tmp_path):
    model = make_model(SoftQLearning, DISCRETE, compile=True)
    before = model._n_updates
    model.replay_buffer.rewards[:] = 1e30
    for _ in range(2):
        with pytest.raises(ValueError, match=r"critic_loss=inf in gradient step \d+\. The model is back at gradient step"):
            model.learn(20, reset_num_timesteps=False)
        assert all(value.isfinite().all() for value in model.policy.state_dict().values())
    assert model._n_updates == before
    model.save(tmp_path / "model")
    model.replay_buffer.reset()
    model.learn(40, reset_num_timesteps=False)
    assert model._n_updates > before


ALGORITHMS = {"DiscreteSAC": (DiscreteSAC, spaces.Discrete(3)), "S2AC": (S2AC, BOX)}


def resume(kind, folder, name, n=60):
    """``straight`` learns 2n, ``first`` n, ``second`` goes on from there, all of them compiled."""
    kwargs: dict[str, Any] = {
        "ent_coef": "auto_0.3",
        "learning_starts": 30,
        "batch_size": 16,
        "policy_kwargs": {"net_arch": [16]},
        "seed": 7,
    }
    algorithm, action_space = ALGORITHMS[name]
    env = make_vec_env(Clockwork, n_envs=1, env_kwargs={"action_space": action_space})
    if kind == "second":
        model = algorithm.load(folder / "first", env=env)
        model.load_replay_buffer(folder / "buffer")
        model.learn(n, reset_num_timesteps=False)
    else:
        model = algorithm("MlpPolicy", env, compile=True, **kwargs).learn(2 * n if kind == "straight" else n)
        model.save_replay_buffer(folder / "buffer")
    assert model._take_step.mode == ONE_GRAPH
    model.save(folder / kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_resume_in_a_new_process(name, tmp_path):
    """Bit for bit between compiled runs."""
    algorithm = ALGORITHMS[name][0]
    resume("straight", tmp_path, name)
    resume("first", tmp_path, name)
    code = f"from test_compiled_step import *; resume('second', Path({str(tmp_path)!r}), {name!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    straight, second = (algorithm.load(tmp_path / kind) for kind in ("straight", "second"))
    assert straight.compile and second._n_updates == straight._n_updates > 0
    assert_equal_models(second, straight)
    assert not algorithm.load(tmp_path / "straight", compile=False).compile


def count_compiled(monkeypatch):
    calls, act_compiled = [], s2ac_policies.act_compiled

    def counted(policy, observation, deterministic):
        calls.append(deterministic)
        return act_compiled(policy, observation, deterministic)

    monkeypatch.setattr(s2ac_policies, "act_compiled", counted)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize(
    "kwargs", [{}, {"behavior_policy": "softmax"}, {"policy_kwargs": {"activation_fn": th.nn.Tanh}}], ids=str
)
def test_compiled_acting(kwargs, monkeypatch):
    """From the first gradient step on, for as many states as there are environments; the actions are eager acting's."""
    calls = count_compiled(monkeypatch)
    eager, compiled = two_models(S2AC, BOX, n_envs=2, **kwargs)
    observations = np.random.default_rng(0).uniform(-1, 1, (2, *eager.observation_space.shape)).astype(np.float32)
    compiled.predict(observations)
    assert not calls
    train(compiled)
    eager.set_parameters(compiled.get_parameters())
    eager.temperature.tell(eager.policy)
    for deterministic in (True, False):
        actions = []
        for model in (eager, compiled):
            th.manual_seed(0)
            actions.append(model.predict(observations, deterministic=deterministic)[0])
        np.testing.assert_allclose(actions[1], actions[0], atol=1e-4)
    assert calls == [True, False] and compiled.policy.acting_compiles
    compiled.predict(observations[0])
    with th.inference_mode():
        compiled.predict(observations)
    assert len(calls) == 2


def test_acting_that_does_not_compile(monkeypatch):
    """It is tried once."""
    calls, policy = count_compiled(monkeypatch), make_model(S2AC, BOX).policy
    policy.compiled_for = 1
    monkeypatch.setattr(compiled_step, "_compiled_acting", lambda device: raise_unsupported)
    observation, actions = policy.observation_space.sample(), []
    for _ in range(2):
        th.manual_seed(0)
        actions.append(policy.predict(observation)[0])
    policy.compiled_for = 0
    th.manual_seed(0)
    actions.append(policy.predict(observation)[0])
    assert len(calls) == 1 and not policy.acting_compiles
    assert all((action == actions[0]).all() for action in actions)


def raise_unsupported(*_):
    raise th._dynamo.exc.InternalTorchDynamoError("of no use")


# ---------------------------------------------------------------------- where it can't be done


WITHOUT_COMPILER = """
import warnings
from gymnasium import spaces
from toys import make_model
from sb3_maxent import SoftQLearning

with warnings.catch_warnings(record=True) as records:
    warnings.simplefilter("always")
    model = make_model(SoftQLearning, spaces.Discrete(3), compile=True)
eager = make_model(SoftQLearning, spaces.Discrete(3))
(message,) = [str(record.message) for record in records if "`compile=True`" in str(record.message)]
assert "training goes on without it" in message and "install g++" in message, message
assert model._n_updates == eager._n_updates > 0
for ours, theirs in zip(model.policy.state_dict().values(), eager.policy.state_dict().values()):
    assert ours.equal(theirs)
"""


@pytest.mark.slow
def test_without_a_compiler(tmp_path):
    """One warning that says what to install, and the results of eager training, bit for bit."""
    environment = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    folder = Path(__file__).parent
    subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], cwd=folder, env=environment, check=True)


def test_where_compiling_fails(monkeypatch):
    """A hook that torch can't trace: the result is eager's, and the warning says why."""

    class Unusual(SoftQLearning):
        def _actor_loss(self, step):
            loss, entropy = super()._actor_loss(step)
            assert entropy is not None
            return loss, entropy + np.random.rand() * float(entropy.mean().item() > 100)

    eager, compiled = two_models(Unusual, DISCRETE, ent_coef=0.1)
    with pytest.warns(UserWarning, match="`compile=True`"):
        train(compiled)
    train(eager)
    assert compiled._take_step.mode in (SEVERAL_GRAPHS, EAGER)
    assert_close_models(compiled, eager)


@pytest.mark.slow
def test_a_number_that_changes_all_the_time(monkeypatch):
    """It is a constant of the graph: after so many graphs training goes on without them."""

    class Counting(SoftQLearning):
        factor = 1.0

        def _critic_loss(self, step, target):
            self.factor += 0.5
            return super()._critic_loss(step, target * self.factor)

    monkeypatch.setattr(compiled_step, "MAX_GRAPHS_OF_A_MODEL", 2)
    eager, compiled = two_models(Counting, DISCRETE, ent_coef=0.1)
    with pytest.warns(UserWarning, match="was compiled 16 times, so training goes on without it.*Keep one that changes"):
        train(compiled)
    train(eager)
    assert (compiled._take_step.mode, compiled._take_step.n_graphs) == (EAGER, 2)
    assert_close_models(compiled, eager)


# ---------------------------------------------------------------------- matrix products


def test_sizes_of_products():
    sizes = matmul.product_sizes(
        [th.nn.Sequential(th.nn.Linear(3, 4), th.nn.ReLU(), th.nn.Linear(4, 2)), th.nn.Linear(3, 4)], 8
    )
    assert set(sizes) == {(8, 3, 4), (8, 4, 3), (3, 8, 4), (8, 4, 2), (8, 2, 4), (4, 8, 2)}
    assert sizes[-1] in {(8, 3, 4), (8, 4, 3), (3, 8, 4)}


@pytest.mark.parametrize(
    ("seconds", "errors", "expected"),
    [
        ((1.0, 0.5), (1e-6, 2e-6), "onednn"),  # half the time, as accurate
        ((1.0, 0.95), (1e-6, 2e-6), "torch"),  # not worth it
        ((1.0, 0.5), (1e-6, 1e-3), "torch"),  # bfloat16's precision: only where it is asked for
    ],
)
def test_fastest_matmul(seconds, errors, expected, monkeypatch):
    """By measured time and accuracy, with clocks and errors of our own."""
    now, library = [0.0], ["torch"]

    def mm(*args, **kwargs):
        now[0] += seconds[library[0] == "onednn"]

    class By:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            library.append(library[0])
            library[0] = self.name

        def __exit__(self, *args):
            library[0] = library.pop()

    monkeypatch.setattr(matmul, "matmul_by", By)
    monkeypatch.setattr(matmul, "_error", lambda name, *args: errors[name == "onednn"])
    monkeypatch.setattr(matmul.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(th, "mm", mm)
    for cache in (matmul._fastest, matmul.keeps_precision):
        cache.cache_clear()
    assert matmul.fastest_matmul(((4, 4, 4),)) == expected
    for cache in (matmul._fastest, matmul.keeps_precision):
        cache.cache_clear()


def test_matmul_is_measured_once_and_saved(monkeypatch, tmp_path):
    asked, accurate = [], [True]
    monkeypatch.setattr("sb3_maxent.common.max_ent_algorithm.keeps_precision", lambda: accurate[0])
    monkeypatch.setattr("sb3_maxent.common.max_ent_algorithm.fastest_matmul", lambda sizes: asked.append(sizes) or "onednn")
    inside = []
    original = SoftQLearning._td_target

    def td_target(self, step):
        inside.append(th.backends.mkldnn.matmul.fp32_precision)
        return original(self, step)

    monkeypatch.setattr(SoftQLearning, "_td_target", td_target)
    model = make_model(SoftQLearning, DISCRETE, matmul="fastest")
    assert len(asked) == 1 and set(inside) == {"bf16"}
    model.save(tmp_path / "model")
    loaded = SoftQLearning.load(tmp_path / "model")
    assert loaded._fastest_matmul == loaded._matmul_library(16) == "onednn" and len(asked) == 1
    # On a processor where the switch lowers precision, a saved choice does not count
    accurate[0] = False
    assert loaded._matmul_library(16) == "torch" and len(asked) == 1
    inside.clear()
    make_model(SoftQLearning, DISCRETE)
    assert len(asked) == 1 and set(inside) == {"none"}, "eager training leaves torch's products alone"


def test_no_compiling_is_the_default():
    assert type(make_model(SoftQLearning, DISCRETE)._take_step) is compiled_step.EagerStep
