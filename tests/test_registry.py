"""The registry of algorithms: what follows from it, and that an algorithm is added in this one place."""

import configparser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from test_extending import OriginalSAC
from toys import ACTION_SPACES, Toy

import sb3_maxent
from sb3_maxent import zoo
from sb3_maxent.compare.plan import parse, plan

ROOT = Path(sb3_maxent.__file__).parents[1]
EVERY_KIND = {**ACTION_SPACES, spaces.MultiBinary: spaces.MultiBinary(2)}
entries = pytest.mark.parametrize(("key", "entry"), zoo.ALGORITHMS.items(), ids=zoo.ALGORITHMS)


@entries
def test_what_an_algorithm_has(key, entry):
    name = entry.algorithm.__name__
    assert name in sb3_maxent.__all__ and getattr(sb3_maxent, name) is entry.algorithm
    assert "default" in yaml.safe_load((ROOT / "hyperparams" / f"{key}.yml").read_text())
    assert name in (ROOT / "docs" / "modules" / f"{entry.page}.md").read_text().splitlines()[0]
    assert f"modules/{entry.page}\n" in (ROOT / "docs" / "index.md").read_text()
    assert (entry.extra is None) == (entry.module is None)
    if entry.extra is not None:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        assert entry.module in config["options.extras_require"][entry.extra]
        assert importlib.util.find_spec(entry.module)


@entries
def test_action_spaces(key, entry):
    """Those of the registry are those that the class takes."""
    for kind, space in EVERY_KIND.items():
        env = make_vec_env(lambda space=space: Toy(action_space=space))
        if kind in entry.action_spaces:
            entry.algorithm("MlpPolicy", env, buffer_size=10, policy_kwargs={"net_arch": [4]})
        else:
            with pytest.raises(AssertionError, match="only supports"):
                entry.algorithm("MlpPolicy", env, buffer_size=10)


def rows_of_the_table(file):
    """{class: kinds of action with a tick} of the page's first table whose rows link to pages of algorithms."""
    rows = {}
    head = []
    for line in (ROOT / file).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| | Box actions"):
            head = cells
        elif head and (match := re.match(r"\[(\w+)\]\((?:docs/)?modules/(\w+)\.md\)", cells[0])):
            ticks = {name.removesuffix(" actions") for name, cell in zip(head, cells, strict=True) if cell.startswith("✓")}
            rows[match[1], match[2]] = ticks & {kind.__name__ for kind in EVERY_KIND}
    return rows


def test_table_of_the_readme():
    expected = {
        (entry.algorithm.__name__, entry.page): {kind.__name__ for kind in entry.action_spaces}
        for entry in zoo.ALGORITHMS.values()
    }
    assert rows_of_the_table("README.md") == expected


def test_commands_list_the_algorithms():
    names = subprocess.run([sys.executable, "-m", "sb3_maxent"], capture_output=True, text=True, check=True).stdout
    assert all(entry.algorithm.__name__ in names for entry in zoo.ALGORITHMS.values())
    assert all(f"python -m sb3_maxent.{command}" in names for command in ("zoo", "compare", "robustness"))
    for command in re.findall(r"python -m (sb3_maxent\.\w+)", names):
        assert importlib.util.find_spec(f"{command}.__main__"), command


def test_a_new_algorithm_is_added_in_one_place(monkeypatch, tmp_path):
    """An entry of the registry, and a hyperparameter file: the zoo and the comparison know it."""
    toy = zoo.Algorithm(OriginalSAC, (spaces.Box,), zoo.ALGORITHMS["s2ac"].sample_params, page="toy", summary="a toy")
    monkeypatch.setitem(zoo.ALGORITHMS, "toysac", toy)
    (tmp_path / "toysac.yml").write_text("default: {policy: MlpPolicy, n_timesteps: 100, learning_rate: 0.5}")
    monkeypatch.setattr(zoo.registry, "hyperparams_file", lambda algo: tmp_path / f"{algo}.yml")
    assert "toysac" in zoo.algorithms() and zoo.fitting_actions("toysac") == (spaces.Box,)
    assert zoo.read_hyperparams("toysac", "Pendulum-v1")["learning_rate"] == 0.5
    common = ["--seeds", "1", "-n", "100", "-f", str(tmp_path / "runs")]
    (run,), _ = plan(parse(["--algos", "toysac", "--envs", "Pendulum-v1", *common]))
    assert run.algo == "toysac" and run.hyperparams["learning_rate"] == 0.5
    with pytest.raises(ValueError, match=r"toysac on CartPole-v1: its actions are .*, but toysac needs Box"):
        plan(parse(["--algos", "toysac", "--envs", "CartPole-v1", *common]))

    from rl_zoo3 import ALGOS, hyperparams_opt

    assert ALGOS.pop("toysac") is OriginalSAC and hyperparams_opt.HYPERPARAMS_SAMPLER.pop("toysac") is toy.sample_params
    assert hyperparams_opt.HYPERPARAMS_CONVERTER.pop("toysac") is zoo.convert_params
