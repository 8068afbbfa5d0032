"""benchmarks/keep_agents.py and film.py: the best agent of each algorithm, small, playable by the zoo, and filmed."""

import sys

import film
import keep_agents
import numpy as np
import pytest
import yaml
from PIL import Image
from stable_baselines3 import SAC

from sb3_maxent import S2AC
from sb3_maxent.zoo import trained_agents

RETURNS = {0: -900.0, 1: -300.0, 2: -600.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What trainings of three seeds leave behind, of two algorithms, and what was kept of them"""
    root = tmp_path_factory.mktemp("keep")
    for algo, algorithm in (("sac", SAC), ("s2ac", S2AC)):
        for seed, last in RETURNS.items():
            place = root / "runs" / algo / f"Pendulum-v1_{seed + 1}"
            settings = place / "Pendulum-v1"
            settings.mkdir(parents=True)
            model = algorithm("MlpPolicy", "Pendulum-v1", learning_starts=20, seed=seed, policy_kwargs={"net_arch": [16]})
            model.learn(25).save(place / "Pendulum-v1.zip")
            arguments = {"algo": algo, "env": "Pendulum-v1", "seed": seed, "log_folder": str(root), "env_kwargs": None}
            (settings / "args.yml").write_text(yaml.safe_dump(arguments))
            (settings / "config.yml").write_text(yaml.safe_dump({"policy": "MlpPolicy"}))
            # The first evaluation of the worst one is the best of all
            returns = np.array([[-100.0 * seed] * 2, [last + 10, last - 10]])
            np.savez(place / "evaluations.npz", timesteps=np.array([10, 20]), results=returns)
    command = ["keep_agents.py", "-f", str(root / "runs"), "-o", str(root / "agents"), "--csv", str(root / "agents.csv")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        keep_agents.main()
        keep_agents.main()  # again, in place of what is there
    return root


def test_the_best_of_the_last_evaluations_is_kept(folders):
    agents = trained_agents(folders / "agents")
    assert [(agent.algo, agent.env, agent.exp_id, agent.seed) for agent in agents] == [
        ("s2ac", "Pendulum-v1", "1", 1),
        ("sac", "Pendulum-v1", "1", 1),
    ]
    rows = keep_agents.read(folders / "agents.csv")
    assert [(row["algo"], row["seed"], row["steps"], row["return"]) for row in rows] == [
        ("s2ac", "1", "25", "-300.0"),
        ("sac", "1", "25", "-300.0"),
    ]


def test_it_acts_as_before_and_is_small(folders):
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    originals = {agent.algo: agent for agent in trained_agents(folders / "runs") if agent.seed == 1}
    for agent in trained_agents(folders / "agents"):
        kept, original = agent.load("cpu"), originals[agent.algo].load("cpu")
        for before, after in zip(
            original.predict(observations, deterministic=True), kept.predict(observations, deterministic=True), strict=True
        ):
            assert before is after is None or (before == after).all()
        optimizers = [name for name, saved in original.get_parameters().items() if "param_groups" in saved]
        assert optimizers == ["actor.optimizer", "critic.optimizer", "ent_coef_optimizer"]
        assert all(original.get_parameters()[name]["state"] for name in optimizers)
        assert not any(kept.get_parameters()[name]["state"] for name in optimizers)
        assert agent.file.stat().st_size < originals[agent.algo].file.stat().st_size
        assert str(folders) not in (agent.file.parent / "Pendulum-v1" / "args.yml").read_text()
        kept.set_env(agent.environment())
        kept.learn(30)  # the zoo's --trained-agent can go on from it


def test_film(folders, monkeypatch):
    """Six steps of two agents in three pictures, of which the last differs from the first"""
    output = folders / "film.webp"
    options = ["--envs", "Pendulum-v1", "--steps", "6", "--every", "2", "--side", "48", "--quality", "90"]
    monkeypatch.setattr(sys, "argv", ["film.py", "-f", str(folders / "agents"), *options, "-o", str(output)])
    film.main()
    with Image.open(output) as pictures:
        assert pictures.n_frames == 3 and pictures.size == (2 * 48, 48 + film.LABEL_HEIGHT)
        pictures.seek(0)
        first = np.asarray(pictures.convert("RGB"))
        pictures.seek(2)
        last = np.asarray(pictures.convert("RGB"))
    assert (first != last).any()
    monkeypatch.setattr(sys, "argv", ["film.py", "-f", str(folders / "agents"), "--envs", "Hopper-v5", "-o", str(output)])
    with pytest.raises(SystemExit):
        film.main()
