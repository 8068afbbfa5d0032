"""The project's own files say the same as one another."""

import re
from pathlib import Path

import yaml

import sb3_maxent

ROOT = Path(sb3_maxent.__file__).parents[1]
PINNED = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def load(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_citation():
    citation = load("CITATION.cff")
    assert citation["version"] == sb3_maxent.__version__ and citation["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_pre_commit_has_the_pinned_versions():
    revisions = {
        hook["id"]: repo["rev"].removeprefix("v")
        for repo in load(".pre-commit-config.yaml")["repos"]
        for hook in repo["hooks"]
    }
    assert revisions == {"ruff-check": PINNED["ruff"], "black": PINNED["black"]}


def test_workflow_runs_ci():
    (job,) = load(".github/workflows/ci.yml")["jobs"].values()
    assert any(step.get("run") == ".ci/run" for step in job["steps"])
    oldest = re.search(r"python_requires = >=(\S+)", (ROOT / "setup.cfg").read_text())[1]
    assert oldest in job["strategy"]["matrix"]["python"]
    for template in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(template.read_text()), template


def test_read_the_docs_builds_the_site():
    settings = load(".readthedocs.yaml")
    assert (ROOT / settings["sphinx"]["configuration"]).is_file() and settings["sphinx"]["fail_on_warning"]
    (install,) = settings["build"]["jobs"]["install"]
    extras = re.search(r'"\.\[(.*)\]"', install)[1].split(",")
    text = (ROOT / "setup.cfg").read_text()
    assert all(re.search(rf"^{extra} =$", text, re.MULTILINE) for extra in extras) and "docs" in extras


def test_contributing_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in re.findall(r"^make (\S+)", text, re.MULTILINE))
    for path in re.findall(r"`((?:sb3_maxent|tests|docs|hyperparams|benchmarks)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
