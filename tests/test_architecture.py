"""Imports go one way: functional -> common -> algorithms -> package -> zoo -> reporting -> its users (DESIGN.md)."""

import ast
import configparser
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import sb3_maxent
from sb3_maxent import zoo

ROOT = Path(sb3_maxent.__file__).parent
ALGORITHMS = {entry.algorithm.__module__.split(".")[1] for entry in zoo.ALGORITHMS.values()}
# What each room may import of ours; a room may always import itself
ALLOWED = {
    "functional": set(),
    "common": {"functional"},
    **{algorithm: {"functional", "common"} for algorithm in ALGORITHMS},
    "envs": set(),
    "export": {"common"},
    "minatar": set(),
    "reference": set(),
    "__init__": {*ALGORITHMS, "envs"},
    "__main__": {"__init__"},
    "measures": {"reference"},
    "figures": {"measures", "reference", "reporting"},
    "zoo": {"__init__", *ALGORITHMS},
    "reporting": set(),
    "compare": {"__init__", "zoo", "reporting"},
    "robustness": {"__init__", "envs", "zoo", "reporting"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imported_modules(path):
    """Absolute names of everything that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    parts = module.split(".")
    if parts[0] != "sb3_maxent":
        return None
    return parts[1] if len(parts) > 1 and ((ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file()) else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert room in ALLOWED, f"{path} stands in no room of the layout"
    for module in imported_modules(path):
        imported = room_of(module)
        assert imported is None or imported == room or imported in ALLOWED[room], f"{room} imports {module}"
        if room in ("functional", "reference"):
            assert not module.startswith(("stable_baselines3", "torch.nn.modules", "gymnasium")), f"{room} imports {module}"
        if room == "reference":
            assert not module.startswith("torch"), f"{room} imports {module}"
        if room != "zoo":
            assert not module.startswith("rl_zoo3"), f"only zoo imports rl_zoo3, not {path}"


def test_the_test_sees_imports():
    """The check itself: the package's own __init__ imports an algorithm, and that is seen."""
    assert "discrete_sac" in {room_of(module) for module in imported_modules(ROOT / "__init__.py")}


def file_of(module):
    """The file of one of our modules; that of the package or module around it for a name that is no module."""
    parts = module.split(".")
    if parts[0] != "sb3_maxent":
        return None
    path = ROOT.joinpath(*parts[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return file_of(".".join(parts[:-1]))


def imported_files(path):
    """Files of ours that a file imports, at any depth of its code and also for the type checker only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from filter(None, map(file_of, modules))


def circle_in(graph):
    """The nodes of a circle of a graph {node: those that it leads to}; empty where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_circles_between_files():
    names = {path: str(path.relative_to(ROOT)) for path in FILES}
    graph = {name: {names[file] for file in imported_files(path)} for path, name in names.items()}
    # The graph has edges to files, to a package's __init__, and of an __init__ to the package's own files
    assert {"common/policies.py", "functional/__init__.py"} <= graph["common/gradient_step.py"]
    assert "soft_q_learning/soft_q_learning.py" in graph["soft_q_learning/__init__.py"]
    circle = circle_in(graph)
    assert not circle, " imports ".join(reversed(circle))


def test_the_test_sees_circles():
    assert not circle_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()})
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()})) == {"b", "c"}
    assert set(circle_in({"room/__init__": {"room/file"}, "room/file": {"room/__init__"}})) == {"room/__init__", "room/file"}
    assert circle_in({"a": {"a"}})


def test_packages_of_the_wheel():
    """setup.cfg lists every package; a new folder that is not there would be missing from the wheel only."""
    config = configparser.ConfigParser()
    config.read(ROOT.parent / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {".".join(path.parent.relative_to(ROOT.parent).parts) for path in ROOT.rglob("__init__.py")}
    assert listed == folders | {"sb3_maxent.hyperparams"}


def test_importing_does_not_wait_for_the_compiler():
    """Torch's compiler takes as long to import as all the rest; the first model does it, as with Stable-Baselines3."""
    code = "import sys, sb3_maxent; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
