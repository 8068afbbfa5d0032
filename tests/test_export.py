"""Exported by ONNX, ``torch.export`` and TorchScript, a policy gives the actions of ``predict(obs, deterministic=True)``."""

import functools
import warnings

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import create_empty_array
from test_compiled_step import DICTIONARY, IMAGE
from toys import BatchNormExtractor, make_model

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning
from sb3_maxent.export import DeterministicPolicy

BOX = spaces.Box(np.array([[-1, -3]], np.float32), np.array([[2, 5]], np.float32))
DISCRETE, MULTI_DISCRETE = spaces.Discrete(3, start=4), spaces.MultiDiscrete([3, 2])
MASKED = spaces.Dict({"state": spaces.Box(-1, 1, (3,)), "mask": spaces.MultiBinary(3)})
CASES = {
    "discretesac": (DiscreteSAC, DISCRETE, {}),
    "discretesac-multi": (DiscreteSAC, MULTI_DISCRETE, {}),
    "discretesac-dict": (DiscreteSAC, DISCRETE, DICTIONARY),
    "discretesac-mask": (
        DiscreteSAC,
        DISCRETE,
        {"observation_space": MASKED, "policy": "MultiInputPolicy", "policy_kwargs": {"action_mask_key": "mask"}},
    ),
    "discretesac-batch-norm": (DiscreteSAC, DISCRETE, {"policy_kwargs": {"features_extractor_class": BatchNormExtractor}}),
    "sql-discrete": (SoftQLearning, DISCRETE, {"policy_kwargs": {"n_critics": 2}}),
    "sql-multi": (SoftQLearning, MULTI_DISCRETE, {"policy_kwargs": {"n_critics": 2}}),
    "sql": (SoftQLearning, BOX, {}),
    "sql-image": (SoftQLearning, BOX, {**IMAGE, "policy_kwargs": {**IMAGE["policy_kwargs"], "noise_dim": 3}}),
    "mixturesac": (MixtureSAC, BOX, {}),
    "mixturesac-best": (MixtureSAC, BOX, {"deterministic_action": "best"}),
    "mixturesac-one": (MixtureSAC, BOX, {"n_components": 1}),
    "sacnf": (SACNF, BOX, {}),
    "sacnf-no-flow": (SACNF, BOX, {"n_flows": 0}),
    "sacnf-radial": (SACNF, BOX, {"flow": "radial"}),
    "sacnf-planar": (SACNF, BOX, {"flow": "planar", "conditional_flow": False}),
    "s2ac": (S2AC, BOX, {}),
    "s2ac-fixed": (S2AC, BOX, {"learned_start": False}),
    "s2ac-amortized": (S2AC, BOX, {"amortized": True}),
    "s2ac-few": (S2AC, BOX, {"amortized": True, "particle_batch_size": 4}),
    "s2ac-tanh": (S2AC, BOX, {"policy_kwargs": {"activation_fn": th.nn.Tanh, "n_critics": 1}}),
    "s2ac-clip": (S2AC, BOX, {"precondition": False, "out_of_bounds": "clip", "n_svgd_steps": 1}),
    "s2ac-dict": (S2AC, BOX, {**DICTIONARY, "n_svgd_steps": 1}),
}
# The rest runs with `-m slow`: tracing takes up to twenty seconds a case
QUICK = {
    "torchscript": {
        "discretesac",
        "discretesac-mask",
        "discretesac-batch-norm",
        "sql",
        "sql-discrete",
        "mixturesac",
        "sacnf-no-flow",
        "sacnf-planar",
        "s2ac",
        "s2ac-amortized",
        "s2ac-tanh",
    },
    "torch.export": {"sql", "discretesac-mask", "mixturesac-best"},
    "onnx": {"discretesac-multi"},
}


def cases_of(name):
    return [pytest.param(case, marks=[] if case in QUICK[name] else pytest.mark.slow) for case in CASES]


@functools.cache
def model_of(case):
    """A model that has hardly learned. Larger weights make its actions differ between observations, unless they are images."""
    algorithm, action_space, kwargs = CASES[case]
    own = {name: dict(value) if isinstance(value, dict) else value for name, value in kwargs.items()}
    model = make_model(algorithm, action_space, **own)
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(1 if "policy" in kwargs else 2)
    return model


def observations_of(space, n, seed=0):
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


def as_tensors(obs):
    return {key: th.as_tensor(value) for key, value in obs.items()} if isinstance(obs, dict) else th.as_tensor(obs)


def example_of(model):
    """Two observations, and which sizes of them are those of a batch."""
    obs, _ = model.policy.obs_to_tensor(create_empty_array(model.observation_space, 2))
    sizes = {0: th.export.Dim("batch")}
    return obs, {"obs": {key: sizes for key in obs} if isinstance(obs, dict) else sizes}


def torchscript(model, folder):
    obs, _ = example_of(model)
    traced = th.jit.trace(DeterministicPolicy(model.policy), example_kwarg_inputs={"obs": obs})
    th.jit.freeze(traced).save(folder / "policy.pt")
    loaded = th.jit.load(folder / "policy.pt")
    return lambda obs: loaded(obs=as_tensors(obs)).numpy()


def exported_program(model, folder):
    obs, sizes = example_of(model)
    program = th.export.export(DeterministicPolicy(model.policy), (), {"obs": obs}, dynamic_shapes=sizes)
    th.export.save(program, folder / "policy.pt2")
    loaded = th.export.load(folder / "policy.pt2").module()
    return lambda obs: loaded(obs=as_tensors(obs)).detach().numpy()


def onnx(model, folder):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    obs, sizes = example_of(model)
    path = str(folder / "policy.onnx")
    policy = DeterministicPolicy(model.policy)
    th.onnx.export(policy, kwargs={"obs": obs}, f=path, dynamo=True, dynamic_shapes=sizes, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(obs):
        inputs = {f"obs_{key}": value for key, value in obs.items()} if isinstance(obs, dict) else {"obs": obs}
        return session.run(None, inputs)[0]

    return run


FORMATS = {"torchscript": torchscript, "torch.export": exported_program, "onnx": onnx}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("format", "case"),
    [
        pytest.param(name, *case.values, marks=case.marks, id=f"{name}-{case.values[0]}")
        for name in FORMATS
        for case in cases_of(name)
    ],
)
def test_same_actions(format, case, tmp_path):
    model = model_of(case)
    model.policy.set_training_mode(True)
    run = FORMATS[format](model, tmp_path)
    everything = []
    for n in (1, 2, 5, 64):
        obs = observations_of(model.observation_space, n, seed=n)
        actions, expected = run(obs), model.predict(obs, deterministic=True)[0]
        assert actions.shape == expected.shape and actions.dtype == expected.dtype
        np.testing.assert_allclose(actions, expected, rtol=0, atol=2e-5)
        everything += list(actions)
    assert len(np.unique(everything, axis=0)) > 1, "the same action everywhere"


@pytest.mark.parametrize("case", ["sql", "discretesac"])
def test_the_policy_itself_can_be_exported(case):
    """Its actions lie in [-1, 1], or are those of the discrete action space."""
    model = model_of(case)
    model.policy.set_training_mode(False)
    obs, sizes = example_of(model)
    program = th.export.export(
        model.policy, (), {"obs": obs, "deterministic": True}, dynamic_shapes={**sizes, "deterministic": None}
    )
    obs = observations_of(model.observation_space, 5)
    actions = program.module()(obs=as_tensors(obs), deterministic=True).detach().numpy()
    if case == "sql":
        actions = model.policy.unscale_action(actions.reshape(-1, *BOX.shape))
    np.testing.assert_allclose(actions, model.predict(obs, deterministic=True)[0], atol=1e-6)


@pytest.mark.parametrize("case", cases_of("torchscript"))
def test_predict_in_inference_mode(case):
    model = model_of(case)
    obs = observations_of(model.observation_space, 3)
    expected, _ = model.predict(obs, deterministic=True)
    with th.inference_mode():
        actions, _ = model.predict(obs, deterministic=True)
        drawn, _ = model.predict(obs)
    np.testing.assert_array_equal(actions, expected)
    assert drawn.shape == expected.shape


def test_unknown_activation():
    model = make_model(S2AC, BOX, policy_kwargs={"activation_fn": th.nn.Hardswish})
    obs, _ = example_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"`activation_fn` must be one of ReLU, .*GELU to export .*, not Hardswish"):
            th.jit.trace(DeterministicPolicy(model.policy), example_kwarg_inputs={"obs": obs})


def test_the_actor_of_s2ac_sends_to_the_policy():
    with pytest.raises(NotImplementedError, match=r"`model\.policy`"):
        model_of("s2ac").actor(th.zeros(2, 3))
