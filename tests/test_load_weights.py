"""Weights of a file that someone else wrote: nothing of the file is executed, and what does not fit is refused."""

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from toys import Toy, make_model

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning

BOX = spaces.Box(-2, 3, (2,))
SMALL = {**toys.SMALL, "policy_kwargs": {"net_arch": [16]}}
OBSERVATIONS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Touch:
    """Creates a file when it is unpickled"""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def change(path, **entries):
    """A copy of a saved model with other entries, by their names without .pth; None leaves one out"""
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = entries.get(name.removesuffix(".pth"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return changed


def tensors_of(path, name="policy"):
    with zipfile.ZipFile(path) as file:
        return th.load(io.BytesIO(file.read(f"{name}.pth")), weights_only=True)


def saved(tensors, **kwargs):
    file = io.BytesIO()
    th.save(tensors, file, **kwargs)
    return file.getvalue()


def actions_of(model, deterministic):
    th.manual_seed(0)
    return model.predict(OBSERVATIONS, deterministic=deterministic)[0]


@pytest.fixture
def discrete(tmp_path):
    """A trained model's file"""
    make_model(DiscreteSAC).save(tmp_path / "model.zip")
    return tmp_path / "model.zip"


# ---------------------------------------------------------------------- what is loaded


@pytest.mark.parametrize(
    ("algorithm", "action_space", "ent_coef"),
    [
        (DiscreteSAC, spaces.Discrete(3), "auto"),
        (SoftQLearning, spaces.Discrete(3), "lin_0.5"),
        (SoftQLearning, BOX, 0.07),
        (S2AC, BOX, 0.07),
        (S2AC, BOX, "auto"),
        (S2AC, BOX, "lin_0.5"),
        (SACNF, BOX, "auto"),
        (MixtureSAC, BOX, "auto"),
    ],
)
def test_acts_as_a_model_that_was_loaded_as_a_whole(algorithm, action_space, ent_coef, tmp_path):
    make_model(algorithm, action_space, ent_coef=ent_coef).save(tmp_path / "model")
    expected = algorithm.load(tmp_path / "model")
    model = algorithm("MlpPolicy", Toy(action_space=action_space), ent_coef=ent_coef, **{**SMALL, "seed": 1})
    assert not np.array_equal(actions_of(model, False), actions_of(expected, False))
    model.load_weights(tmp_path / "model")
    for deterministic in (False, True):
        np.testing.assert_array_equal(actions_of(model, deterministic), actions_of(expected, deterministic))
    if ent_coef == "auto":
        assert th.equal(model.log_ent_coef, expected.log_ent_coef)
    model.learn(40)
    assert model._n_updates > 0


def test_a_fixed_temperature_stays_the_models_own(tmp_path):
    make_model(S2AC, BOX, ent_coef=0.07).save(tmp_path / "model")
    model = S2AC("MlpPolicy", Toy(action_space=BOX), ent_coef=0.5, **SMALL)
    model.load_weights(tmp_path / "model")
    assert model.policy.ent_coef.item() == model.ent_coef_tensor.item() == 0.5


def test_tensors_stay_where_they_are(discrete):
    """Graphs and optimizers keep the tensors that they have."""
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    before = {name: tensor.data_ptr() for name, tensor in model.policy.state_dict().items()}
    with discrete.open("rb") as file:
        model.load_weights(file)
    assert {name: tensor.data_ptr() for name, tensor in model.policy.state_dict().items()} == before


@pytest.mark.parametrize(
    ("name", "algorithm", "action_space"), [("discretesac", DiscreteSAC, spaces.Discrete(3)), ("sql", SoftQLearning, None)]
)
def test_old_files(name, algorithm, action_space):
    path = Path(__file__).parent / "saved_before_compile" / name
    expected = algorithm.load(path, device="cpu")
    env = Toy(None, action_space or spaces.Box(-1, 1, (2,)))
    ours = {"ent_coef": expected.ent_coef, "policy_kwargs": expected.policy_kwargs, "device": "cpu", "seed": 1}
    model = algorithm("MlpPolicy", env, **ours)
    model.load_weights(path)
    for deterministic in (False, True):
        np.testing.assert_array_equal(actions_of(model, deterministic), actions_of(expected, deterministic))


# ---------------------------------------------------------------------- what is not executed


def test_the_pickles_of_the_parameters_are_not_executed(discrete, tmp_path):
    with zipfile.ZipFile(discrete) as file:
        data = json.loads(file.read("data"))
    evil = base64.b64encode(pickle.dumps(Touch(tmp_path / "executed"))).decode()
    data["learning_rate"] = {":type:": "function", ":serialized:": evil}
    optimizer = pickle.dumps(Touch(tmp_path / "executed"), protocol=2)
    path = change(discrete, **{"data": json.dumps(data), "critic.optimizer": optimizer})
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    model.load_weights(path)
    assert not (tmp_path / "executed").exists()
    np.testing.assert_array_equal(actions_of(model, True), actions_of(DiscreteSAC.load(discrete), True))
    with pytest.raises(pickle.UnpicklingError):  # the optimizer; what stands before it has been executed
        DiscreteSAC.load(path)
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("entry", ["policy", "actor_old", "pytorch_variables"])
@pytest.mark.parametrize("form", ["torch", "torch before 1.6", "pickle"])
def test_a_pickle_in_place_of_weights_is_not_executed(entry, form, discrete, tmp_path):
    content = {**tensors_of(discrete, entry), "more": Touch(tmp_path / "executed")}
    new = form == "torch"
    evil = pickle.dumps(content, protocol=2) if form == "pickle" else saved(content, _use_new_zipfile_serialization=new)
    path = change(discrete, **{entry: evil})
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    before = model.get_parameters()
    with pytest.raises(ValueError, match=rf"{entry}\.pth of .*changed\.zip can't be read as tensors"):
        model.load_weights(path)
    assert not (tmp_path / "executed").exists()
    assert all(th.equal(value, before["policy"][name]) for name, value in model.policy.state_dict().items())
    # That it would be
    pickle.loads(evil) if form == "pickle" else th.load(io.BytesIO(evil), weights_only=False)
    assert (tmp_path / "executed").exists()


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"policy_kwargs": {"net_arch": [8]}}, r"policy\.pth of .* other shapes or types: .* is \(16, 3\) .*, not \(8, 3\)"),
        ({"policy_kwargs": {"net_arch": [16, 16]}}, r"policy\.pth of .* lacks .*Make the model with the arguments"),
        ({"policy_kwargs": {"net_arch": []}}, r"policy\.pth of .* has .*, which this model lacks"),
    ],
)
def test_other_networks(kwargs, message, discrete):
    model = DiscreteSAC("MlpPolicy", Toy(), **{**SMALL, **kwargs})
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    log_ent_coef = model.log_ent_coef.item()
    with pytest.raises(ValueError, match=message):
        model.load_weights(discrete)
    assert all(th.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    assert model.log_ent_coef.item() == log_ent_coef


def test_other_contents(discrete, tmp_path):
    model = DiscreteSAC("MlpPolicy", Toy(), **SMALL)
    policy = tensors_of(discrete)
    first = next(iter(policy))
    for entries, message in (
        ({"policy": None}, r"has no policy\.pth, only "),
        ({"policy": b"no weights"}, r"policy\.pth of .* can't be read as tensors"),
        ({"policy": saved([1, 2])}, "must hold tensors by their names"),
        ({"policy": saved({**policy, first: 1.0})}, "must hold tensors by their names"),
        ({"policy": saved({**policy, first: policy[first] * np.nan})}, f"NaN or infinite values in {first}"),
        ({"policy": saved({**policy, first: policy[first].double()})}, rf"{first} is .*float64, not .*float32"),
        ({"pytorch_variables": saved({"log_ent_coef": th.zeros(7)})}, r"pytorch_variables\.pth of .*\(7,\)"),
        ({"pytorch_variables": saved({"ent_coef_tensor": th.zeros(())})}, "no learned temperature: make the model"),
    ):
        with pytest.raises(ValueError, match=message):
            model.load_weights(change(discrete, **entries))
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(ValueError, match=r"text\.zip is no zip file"):
        model.load_weights(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "nothing")
