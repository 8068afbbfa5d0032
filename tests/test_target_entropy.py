"""Target entropies and learning rates of a learned temperature that change in the course of the training."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from toys import KINDS, SMALL, Toy, make_model

from sb3_maxent import SACNF, DiscreteSAC, MixtureSAC
from sb3_maxent.common import target_entropy as module
from sb3_maxent.common.target_entropy import TargetEntropy, largest_entropy
from sb3_maxent.measures import current_target_entropy

BOX, DISCRETE = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)
LOG_3 = 1.0986122886681098


def name_of(value):
    """For the name of a test; a function's own has an address."""
    return "function" if callable(value) else str(value)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (DISCRETE, np.log(3)),
        (spaces.MultiDiscrete([3, 2]), np.log(6)),
        (spaces.MultiBinary(4), np.log(16)),
        (BOX, np.log(4)),
        (spaces.Box(-3, 5, (2, 2)), np.log(16)),
    ],
    ids=name_of,
)
def test_largest_entropy(space, expected):
    assert largest_entropy(space) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("space", "setting", "expected"),
    [
        (DISCRETE, "lin_0.9_0.1", lambda progress: (0.1 + 0.8 * progress) * np.log(3)),
        (DISCRETE, "lin_0.5", lambda progress: 0.5 * progress * np.log(3)),
        (DISCRETE, "lin_0.9_0.1_0.25", lambda progress: (0.1 + 0.8 * max(4 * progress - 3, 0)) * np.log(3)),
        (DISCRETE, lambda progress: 0.3 * progress, lambda progress: 0.3 * progress),
        (BOX, "lin_0.5_-1", lambda progress: 2 * (-1 + 1.5 * progress)),
        (BOX, "-1.5", lambda progress: -1.5),
        (BOX, lambda progress: -progress, lambda progress: -progress),
    ],
    ids=name_of,
)
def test_schedules(space, setting, expected):
    target = TargetEntropy(setting, space, {}, "cpu")
    for progress in (1.0, 0.7, 0.0):
        target.follow(target.setting, progress)
        assert target.value.item() == pytest.approx(expected(progress))


@pytest.mark.parametrize(("algorithm", "action_space"), KINDS, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_learn_with_a_schedule(algorithm, action_space, compile):
    """What is logged, and the loss, are those of the moment; a compiled step is one graph for all targets."""
    is_box = isinstance(action_space, spaces.Box)
    model = make_model(
        algorithm,
        action_space,
        ent_coef="auto",
        target_entropy="lin_-1_-3" if is_box else "lin_0.9_0.3",
        ent_coef_learning_rate="lin_0.01",
        compile=compile,
        steps=60,
    )
    unit = int(np.prod(action_space.shape)) if is_box else largest_entropy(action_space)
    progress = model._current_progress_remaining
    target = unit * ((-3 + 2 * progress) if is_box else (0.3 + 0.6 * progress))
    logged = model.logger.name_to_value
    model.train(1, 16)
    assert logged["train/target_entropy"] == pytest.approx(target)
    surplus = logged["train/entropy"] - target
    assert logged["train/ent_coef_loss"] == pytest.approx(np.log(logged["train/ent_coef"]) * surplus, rel=1e-3, abs=1e-5)
    assert model.ent_coef_optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * progress)
    assert model.critic.optimizer.param_groups[0]["lr"] == pytest.approx(model.lr_schedule(progress))
    assert not compile or model._take_step.n_graphs == 1


def test_schedules_end_at_their_last_value():
    """The last rollout may go on beyond the end of the training: 3 environments and 8 steps each for 10 steps."""
    model = DiscreteSAC(
        "MlpPolicy",
        make_vec_env(lambda: Toy(action_space=DISCRETE), n_envs=3),
        learning_rate=lambda progress: 1e-3 * progress,
        ent_coef="auto",
        target_entropy="lin_0.5",
        ent_coef_learning_rate=lambda progress: 2e-3 * progress,
        **{**SMALL, "learning_starts": 0, "train_freq": 8},
    )
    model.learn(10)
    assert model.num_timesteps == 24 and model._n_updates > 0 and model._current_progress_remaining == 0
    assert current_target_entropy(model) == 0
    assert model.critic.optimizer.param_groups[0]["lr"] == model.ent_coef_optimizer.param_groups[0]["lr"] == 0


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (None, 3e-4),
        (0.02, 0.02),
        ("1e-2", 0.01),
        ("lin_0.02_0.01", 0.01),
        ("lin_0.02_0.01_0.5", 0.01),
        (lambda progress: 0.03 * (1 - progress), 0.03),
    ],
)
def test_learning_rate_of_the_temperature(rate, expected):
    """It is Adam's first step, at the end of the training."""
    model = MixtureSAC("MlpPolicy", Toy(action_space=BOX), ent_coef="auto", ent_coef_learning_rate=rate, **SMALL)
    model.learn(21)
    assert abs(model.log_ent_coef.item()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("space", "setting", "message"),
    [
        (DISCRETE, "lin_1.2", r"`target_entropy=lin_1.2` must be a number in \[0, 1\], not 1.2"),
        (DISCRETE, "lin_0.5_-0.1", r"must be a number in \[0, 1\], not -0.1"),
        (BOX, "lin_1_-1", r"must be a number in \[-inf, 0.693147\], not 1.0"),
        (DISCRETE, "lin_0.9_0.1_0", r"`target_entropy=lin_0.9_0.1_0` must be a number in \[1e-06, 1\], not 0.0"),
        (BOX, "lin_0_-1_1.5", r"must be a number in \[1e-06, 1\], not 1.5"),
        (DISCRETE, "lin_a", "`target_entropy` must be 'lin_X', 'lin_X_Y' or 'lin_X_Y_F' with numbers"),
        (DISCRETE, "linear_0.5", "`target_entropy` must be 'lin_X', 'lin_X_Y' or 'lin_X_Y_F' with numbers"),
        (DISCRETE, "adaptive_0", r"in \(0, 1\], not 'adaptive_0'"),
        (DISCRETE, "adaptive_0.5_0.8", r"must have Y <= X, since it only falls, not 'adaptive_0.5_0.8'"),
        (DISCRETE, "adaptive_a", r"in \(0, 1\], not 'adaptive_a'"),
        (DISCRETE, "adaptively", r"in \(0, 1\], not 'adaptively'"),
        (BOX, "adaptive", "`target_entropy` can be adaptive for discrete actions only, not 'adaptive' for a Box"),
        (DISCRETE, lambda progress: 2.0, r"`target_entropy` at `progress_remaining=1` must be a number in \[.*\], not 2.0"),
        (DISCRETE, "automatic", "`target_entropy` must be 'auto', a number of nats, .* not 'automatic'"),
        (DISCRETE, None, "not None"),
        (DISCRETE, True, "not True"),
    ],
    ids=name_of,
)
def test_bad_targets(space, setting, message):
    algorithm = DiscreteSAC if space is DISCRETE else SACNF
    with pytest.raises(ValueError, match=message):
        algorithm("MlpPolicy", Toy(action_space=space), target_entropy=setting, **SMALL)


@pytest.mark.parametrize("rate", [-1.0, "fast", "lin_-1", float("nan"), True])
def test_bad_learning_rates(rate):
    with pytest.raises(ValueError, match=r"`ent_coef_learning_rate.* must be a number"):
        DiscreteSAC("MlpPolicy", Toy(action_space=DISCRETE), ent_coef_learning_rate=rate, **SMALL)


def observe(target, shares, largest=LOG_3):
    """Let a target see entropies, given as shares of the largest one; with action masks that depends on the state."""
    target.observe(shares * largest, np.full(len(shares), target.state["ratio"] * largest))


def test_adaptive_target(monkeypatch):
    """It falls by a tenth after 1000 steps near it, not while the entropy is elsewhere or moves, and not below its end."""
    largest = np.log(3)
    target = TargetEntropy("adaptive_0.5_0.4", DISCRETE, {}, "cpu")
    assert target.value.item() == pytest.approx(0.5 * largest)
    observe(target, np.full(5000, 0.8))
    assert target.state["ratio"] == 0.5
    observe(target, np.full(10_000, 0.8))
    restless = np.where(np.arange(20_000) % 2, 0.3, 0.7)
    observe(target, restless)
    assert target.state["mean"] == pytest.approx(0.5, abs=0.01) and target.state["ratio"] == 0.5
    observe(target, np.full(4000, 0.5))
    assert target.state["ratio"] == pytest.approx(0.45) and target.value.item() == pytest.approx(0.45 * largest)
    for _ in range(5):
        observe(target, np.full(6000, target.state["ratio"]))
    assert target.value.item() == pytest.approx(0.4 * largest)

    monkeypatch.setattr(module, "WAIT", 3)
    target = TargetEntropy("adaptive_0.5_0.1", DISCRETE, {}, "cpu")
    observe(target, np.full(2, 0.5))
    assert target.state["n_steps"] == 2
    observe(target, np.full(1, 0.5))
    assert target.state["ratio"] == pytest.approx(0.45) and target.state["n_steps"] == 0


def test_adaptive_target_in_training(monkeypatch, tmp_path):
    """In a bandit with a fixed Q the entropy follows it down; a loaded model goes on where it was."""
    monkeypatch.setattr(module, "WAIT", 50)
    monkeypatch.setattr(module, "AVERAGE_RATE", 0.05)
    model = make_model(
        DiscreteSAC,
        DISCRETE,
        ent_coef="auto",
        target_entropy="adaptive_0.9_0.5",
        ent_coef_learning_rate=0.02,
        learning_rate=3e-3,
        gamma=0.0,
    )
    model.train(1500, 64)
    state = dict(model._adaptive_target)
    assert 0.5 <= state["ratio"] <= 0.9 * 0.9
    logged = model.logger.name_to_value
    assert logged["train/target_entropy"] >= state["ratio"] * np.log(3)  # that of before the falls of this call
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model", env=model.get_env())
    assert loaded._adaptive_target == state and loaded.target_entropy == "adaptive_0.9_0.5"
    assert loaded.entropy_target.value.item() == pytest.approx(state["ratio"] * np.log(3))
    assert DiscreteSAC.load(tmp_path / "model", target_entropy="adaptive_0.8")._adaptive_target["ratio"] == 0.8
    other = DiscreteSAC.load(tmp_path / "model", target_entropy=0.3)
    assert other._adaptive_target == {} and other.entropy_target.value.item() == pytest.approx(0.3)


def test_target_set_while_training():
    """By a callback, say; a compiled step would not have to be compiled anew."""
    model = make_model(DiscreteSAC, DISCRETE)
    for target in (0.2, "lin_0.5_0.5", lambda progress: 0.4):
        model.target_entropy = target
        model.train(1, 16)
        expected = {0.2: 0.2, "lin_0.5_0.5": 0.5 * np.log(3)}.get(target, 0.4)
        assert th.allclose(model.entropy_target.value, th.tensor(float(expected)))
    model.target_entropy = 7.0
    with pytest.raises(ValueError, match="`target_entropy` must be a number in"):
        model.train(1, 16)


def test_adaptive_target_with_masks():
    """Entropies are judged beside the targets of the states, here those of two allowed actions of twenty."""
    target = TargetEntropy("adaptive", spaces.Discrete(20), {}, "cpu")
    observe(target, np.full(2000, 0.98), largest=np.log(2))
    assert target.state["ratio"] == pytest.approx(0.98 * 0.9)


def test_one_action():
    model = DiscreteSAC("MlpPolicy", Toy(action_space=spaces.Discrete(1)), target_entropy="lin_0.5_0.1", **SMALL).learn(25)
    assert model.entropy_target.value.item() == 0


def test_auto_set_while_training():
    model = make_model(DiscreteSAC, DISCRETE, target_entropy=0.2)
    model.target_entropy = "auto"
    model.train(1, 16)
    assert model.target_entropy == pytest.approx(0.5 * np.log(3))
    assert model.entropy_target.value.item() == pytest.approx(0.5 * np.log(3))


def test_a_refused_target_changes_nothing():
    target = TargetEntropy("adaptive_0.5", DISCRETE, {}, "cpu")
    before = dict(target.state)
    with pytest.raises(ValueError, match=r"`target_entropy` at `progress_remaining=0.3` must be"):
        target.follow(lambda left: 9.0, 0.3)
    assert target.setting == "adaptive_0.5" and target.state == before
    target.follow(lambda left: 9.0 if left > 0.5 else 0.2, 0.3)
    assert target.value.item() == pytest.approx(0.2)


@pytest.mark.parametrize("ent_coef", [0.1, "lin_0.1"])
def test_learning_rate_of_a_temperature_that_is_not_learned(ent_coef, tmp_path):
    with pytest.raises(ValueError, match=r"`ent_coef_learning_rate` must be None unless the temperature is learned, not 0.01"):
        DiscreteSAC("MlpPolicy", Toy(action_space=DISCRETE), ent_coef=ent_coef, ent_coef_learning_rate=0.01, **SMALL)
    model = DiscreteSAC("MlpPolicy", Toy(action_space=DISCRETE), ent_coef_learning_rate=0.01, **SMALL)
    model.save(tmp_path / "model")
    assert DiscreteSAC.load(tmp_path / "model", ent_coef=ent_coef).ent_coef_learning_rate is None
    model.ent_coef = ent_coef
    assert model.learn(30).ent_coef_learning_rate is None


def test_learning_rate_that_goes_bad():
    model = DiscreteSAC("MlpPolicy", Toy(action_space=DISCRETE), ent_coef_learning_rate=lambda left: left - 0.5, **SMALL)
    with pytest.raises(
        ValueError, match=r"`ent_coef_learning_rate` at `progress_remaining=0.49` must be a number in \[0, inf\]"
    ):
        model.learn(100)
