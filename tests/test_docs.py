"""
Every code block of the README and of the documentation is run, in the order of its page, with small numbers; links lead
somewhere.

Training is cut short by docs_shell/sitecustomize.py, commands get the arguments of ``SMALL``. They run in a copy of the
folders that they use, never in the checkout.
"""

import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHELL = Path(__file__).with_name("docs_shell")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if "_build" not in path.parts
}
FOLDERS = ("examples", "benchmarks", "hyperparams")
# Columns of code that the site shows without scrolling in a window of 1280 pixels
WIDTH = 110

# Blocks that are run, those that are no commands, and directives that don't hold code
RUN = {"python", "bash"}
NO_COMMANDS = {"text", "none", "yaml"}
DIRECTIVES = {"{toctree}", "{eval-rst}", "{include}", "{literalinclude}"}

# Commands that can't be run here, why, and where they are
NOT_RUN = {
    "make demo": "sets up an environment of its own; its script is run by tests/test_examples.py",
    "make test": "runs this; .ci/run runs it in a fresh clone",
    'pip install -c constraints.txt ".[zoo]"': "downloads; .ci/run installs the wheel with this extra in an empty environment",
    "tensorboard --logdir tensorboard": "a server that does not end",
    "dask scheduler --scheduler-file runs/scheduler.json": "likewise; tests/test_compare.py starts one",
    "dask worker --scheduler-file runs/scheduler.json --nthreads 4": "likewise",
    "python -m sb3_maxent.compare --algos s2ac sac --envs MultiGoal-v0 Pendulum-v1 --seeds 5 -n 20000 -f runs/goals "
    "--dask runs/scheduler.json": "needs these two; tests/test_compare.py runs such a command",
}
# Arguments that are placeholders for something that is not here
PLACEHOLDERS = {
    " --published PATH": "a checkout of the code of S2AC's authors, which has no licence; the rest of the command is run",
    " --sbx PYTHON": "an environment with sbx-rl; the rest of the command is run",
}
# What the commands get beside their own arguments, the last of which count
TRAIN = "-n 100 --eval-freq 50 --eval-episodes 2 --n-eval-envs 1 --device cpu --num-threads 1"
SMALL = {
    "-m sb3_maxent.zoo train": TRAIN,
    "-m rl_zoo3.train": TRAIN,
    "-m sb3_maxent.zoo enjoy": "-n 60 --device cpu --num-threads 1",
    "-m sb3_maxent.zoo record_video": "-n 20",
    "-m sb3_maxent.compare --algos": "-n 100 --eval-freq 50 --eval-episodes 2 --seeds 1 --n-jobs 1",
    "-m sb3_maxent.robustness -f": "--episodes 2 --n-jobs 1 --device cpu",
    "-m sb3_maxent.compare --variant": "-n 100 --eval-freq 50 --eval-episodes 2 --seeds 1 --n-jobs 1",
    "-m sb3_maxent.compare --envs": "-n 100 --eval-freq 50 --eval-episodes 2 --seeds 1 --n-jobs 1",
    "benchmarks/multimodal.py": "--episodes 20",
    "benchmarks/mixture_use.py": "--states 2 --csv use.csv",
    "benchmarks/q_against_returns.py": "--episodes 1 --csv q.csv",
    "benchmarks/two_ways.py": "--starts 2 --csv ways.csv",
    "benchmarks/sampler.py": "--steps 2 --seeds 1",
    "benchmarks/s2ac_sampler.py": "--steps 2 --seeds 1",
    "benchmarks/q_bound.py": "--seeds 6",
    "benchmarks/entropy.py": "--quick",
    "benchmarks/speed.py": "--rounds 1 --gradient-steps 1 --threads 1 --sizes small --compiled DiscreteSAC",
    "benchmarks/malloc.py": "--processes 1 --gradient-steps 1 --csv malloc.csv",
    "benchmarks/s2ac_deterministic.py": "--episodes 1 --csv deterministic.csv",
    "benchmarks/s2ac_cost.py": "--rounds 1",
    "benchmarks/soak.py": "--only DiscreteSAC --modes eager --steps 400",
}
SMALL_SEARCH = "--n-trials 1 --n-startup-trials 0 --n-evaluations 1 --n-jobs 1"
# What they get in the default tests, too: each run of a comparison is a process that imports everything
SMALLER = {
    "-m sb3_maxent.compare --algos s2ac sac": "--envs MultiGoal-v0",
    "-m sb3_maxent.compare --algos s2ac sql sac tqc": "--algos s2ac --envs MultiGoal-v0",
}
# Blocks under these headings take long, and run with `-m slow`, together with the others of their page
SLOW = {
    ("README.md", "Compare"),
    ("README.md", "Robustness"),
    ("docs/guide/compare.md", "Going on"),
    ("docs/guide/compare.md", "Hyperparameters"),
    ("docs/guide/compare.md", "What is in the folder"),
    ("docs/guide/export.md", "ONNX"),
    ("docs/guide/export.md", "VecNormalize"),
    ("docs/guide/extending.md", "Compiling it"),
    ("docs/guide/extending.md", "In the RL Zoo and in comparisons"),
    ("docs/guide/robustness.md", "Perturbations"),
    ("docs/guide/speed.md", "Compiling"),
    ("docs/guide/speed.md", "The whole of `learn()`"),
    ("docs/guide/speed.md", "Measuring it yourself"),
    ("docs/guide/temperature.md", "Low temperatures and several modes"),
    ("docs/guide/zoo.md", "Benchmark"),
    ("docs/guide/zoo.md", "Hyperparameter files"),
    ("docs/guide/zoo.md", "Hyperparameter search"),
    ("docs/guide/zoo.md", "On several machines"),
    ("docs/guide/zoo.md", "Plots"),
    ("docs/guide/zoo.md", "The unmodified commands"),
    ("docs/results/discretesac.md", "Every seed"),
    ("docs/results/discretesac.md", "How to replicate"),
    ("docs/results/discretesac.md", "LunarLander-v3 on fresh seeds"),
    ("docs/results/discretesac.md", "Pong"),
    ("docs/results/discretesac.md", "The bonus in the critic decides on Asterix"),
    ("docs/results/discretesac.md", "Which target entropy?"),
    ("docs/results/mixturesac.md", "How to replicate"),
    ("docs/results/robustness.md", "How to replicate"),
    ("docs/results/two_ways.md", "How to replicate"),
    ("docs/results/s2ac.md", "How to replicate"),
    ("docs/results/sacnf.md", "How to replicate"),
    ("docs/results/soft_q_learning.md", "How to replicate"),
    ("docs/results/soft_q_learning.md", "Modes of other widths"),
}
# Pages whose commands take long: the same commands are tested in files of their own
SLOW_PAGES = tuple(f"docs/guide/{name}.md" for name in ("compare", "environments", "keeps_running", "robustness", "zoo"))
# What environments need
NEEDS = {"LunarLander": "Box2D", "HalfCheetah": "mujoco", "Hopper": "mujoco", "MinAtar": "minatar", "NoFrameskip": "ale_py"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language as it stands, the last heading above it, and its text."""

    page: str
    line: int
    heading: str
    language: str
    text: str


def blocks_of(page, text):
    """Fenced blocks, also those of lists; a fence may have more backticks than three, or colons."""
    blocks, heading, fence = [], "", None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"( *)(`{3,}|:{3,}|~{3,}) *(.*)", line)
        if fence is None and match:
            fence, indent, language, start, lines = match[2], match[1], match[3], number, []
        elif fence is not None and line.strip() == fence:
            blocks.append(Block(page, start, heading, language.split(" ")[0], "\n".join(lines)))
            fence = None
        elif fence is not None:
            lines.append(line.removeprefix(indent))
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert fence is None, f"{page}: the block in line {start} has no end"
    return blocks


def commands_of(block):
    """The commands of a bash block, one a line, without comments."""
    lines = re.sub(r" *\\\n *", " ", block.text).splitlines()
    return [
        shlex.join(words) if "#" in line else line.strip() for line in lines if (words := shlex.split(line, comments=True))
    ]


BLOCKS = [block for page, text in PAGES.items() for block in blocks_of(page, text)]
TO_RUN = [block for block in BLOCKS if block.language in RUN]
COMMANDS = [command for block in TO_RUN if block.language == "bash" for command in commands_of(block)]


def small(command, smaller):
    """A command with small numbers, or with even smaller ones."""
    for placeholder in PLACEHOLDERS:
        command = command.replace(placeholder, "")
    # Compiling takes a minute for each run, and has tests of its own
    command = command.replace("compile:True", "compile:False")
    words = re.split(r"(?:^|\s)python\s+", command, maxsplit=1)
    tables = [*SMALL.items(), *(SMALLER.items() if smaller else ())]
    more = [arguments for program, arguments in tables if f"{words[-1]} ".startswith(f"{program} ")]
    if "-optimize" in command or "--optimize-hyperparameters" in command:
        more.append(SMALL_SEARCH)
    return " ".join([command, *more])


def missing_for(text):
    """Modules that are not there, of those that the environments in a text need."""
    return [module for name, module in NEEDS.items() if name in text and not importlib.util.find_spec(module)]


def steps_of(blocks, smaller=False):
    """What to run: (language, code)."""
    steps = []
    for block in blocks:
        if block.language == "python":
            if not missing_for(block.text):
                # With the page's line numbers in tracebacks
                steps.append(("python", "\n" * block.line + block.text))
            continue
        for command in commands_of(block):
            if command not in NOT_RUN and not missing_for(command):
                steps.append(("bash", small(command, smaller)))
    return steps


# ---------------------------------------------------------------------- running


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """Runs the steps of a page in a folder of its own, and returns how many have succeeded and what they printed."""
    if importlib.util.find_spec("rl_zoo3") is None:
        pytest.skip("needs rl_zoo3")
    path = os.pathsep.join([str(SHELL), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "SDL_VIDEODRIVER": "dummy"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, str(SHELL / "shell.py")]
    shell = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(steps):
        folder = tmp_path_factory.mktemp("page")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.csv", "__pycache__"))
        (folder / "docs" / "figures").mkdir(parents=True)
        log = folder / "log.txt"
        shell.stdin.write(json.dumps({"steps": steps, "folder": str(folder), "log": str(log)}) + "\n")
        shell.stdin.flush()
        return int(shell.stdout.readline()), log.read_text() if log.exists() else ""

    yield run
    shell.stdin.close()
    shell.wait(timeout=60)


def check(run_page, steps):
    done, log = run_page(steps)
    assert done == len(steps), f"failed:\n{steps[done][1].strip()}\n\n{log[-5000:]}"


PAGES_TO_RUN = sorted({block.page for block in TO_RUN if (block.page, block.heading) not in SLOW})


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW_PAGES else []) for page in PAGES_TO_RUN]
)
def test_blocks(page, run_page):
    blocks = [block for block in TO_RUN if block.page == page and (page, block.heading) not in SLOW]
    check(run_page, steps_of(blocks, smaller=True))


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, _ in SLOW}))
def test_all_blocks(page, run_page):
    check(run_page, steps_of([block for block in TO_RUN if block.page == page]))


# ---------------------------------------------------------------------- that nothing is left out


def test_every_block_is_run_or_no_command():
    allowed = RUN | NO_COMMANDS | DIRECTIVES
    unknown = [f"{block.page}:{block.line} {block.language!r}" for block in BLOCKS if block.language not in allowed]
    assert not unknown, f"{unknown} are neither of {sorted(allowed)}"
    # That the parser sees them: as many openings as lines that look like one
    looks = sum(len(re.findall(r"^ *```(?:python|bash)\b", text, re.MULTILINE)) for text in PAGES.values())
    assert looks == len(TO_RUN) and len(TO_RUN) > 20


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_the_page(page):
    lines = [line for block in BLOCKS if block.page == page for line in block.text.splitlines()]
    wide = [line for line in lines if len(line) > WIDTH]
    assert not wide, f"{page} has code of more than {WIDTH} columns: {wide}"


def test_nothing_in_the_tables_is_stale():
    assert set(NOT_RUN) <= set(COMMANDS), set(NOT_RUN) - set(COMMANDS)
    for placeholder in PLACEHOLDERS:
        assert any(placeholder in command for command in COMMANDS), placeholder
    only_slow = {block.page for block in TO_RUN} - set(PAGES_TO_RUN)
    assert all(page.startswith("docs/results/") for page in only_slow), "other pages have a block that the default tests run"
    assert SLOW <= {(block.page, block.heading) for block in TO_RUN}, SLOW - {(block.page, block.heading) for block in TO_RUN}
    for program in SMALL | SMALLER:
        assert any(program in command for command in COMMANDS), program
    for command in COMMANDS:
        trains = re.search(r"-m (sb3_maxent\.zoo train|rl_zoo3\.train|sb3_maxent\.compare (?!--report-only))", command)
        assert not trains or small(command, False) != command, f"would train in full: {command}"
    for name in NEEDS:
        assert any(name in block.text for block in TO_RUN), name
    assert "make demo" in COMMANDS, "a command with a comment behind it is read without it"


# ---------------------------------------------------------------------- links


def without_fences(text):
    return re.sub(r"^( *)(`{3,}|:{3,}).*?^\1\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(path):
    """The anchors of a page's headings, as MyST and GitHub make them."""
    headings = re.findall(r"^#+ +(.*)", without_fences(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    text = re.sub(r"`[^`\n]*`", "", without_fences(PAGES[page]))  # nor inline code
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists() and path.is_relative_to(ROOT), f"{page}: {link} leads nowhere"
        assert path.is_file() or page == "README.md", f"{page}: {link} is a folder, which the site can't show"
        assert not anchor or anchor in anchors_of(path), f"{page}: {link} has no heading"


def test_every_page_is_in_a_toctree():
    reached, pages = set(), [DOCS / "index.md"]
    while pages:
        page = pages.pop()
        assert page.is_file(), f"{page} is in a toctree, and not there"
        reached.add(str(page.relative_to(ROOT)))
        toctrees = [block for block in blocks_of(str(page), page.read_text()) if block.language == "{toctree}"]
        entries = itertools.chain.from_iterable(block.text.splitlines() for block in toctrees)
        children = [page.parent / f"{entry.strip()}.md" for entry in entries if entry.strip() and not entry.startswith(":")]
        pages += [child for child in children if str(child.relative_to(ROOT)) not in reached]
    assert reached == {page for page in PAGES if page != "README.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/modules/")])
def test_pages_on_algorithms_are_short(page):
    assert len(PAGES[page].splitlines()) <= 150, "what was measured belongs in docs/results"
    assert f"](../results/{Path(page).name})" in PAGES[page]


def test_results_lists_every_file():
    listed = set(re.findall(r"\]\(\.\./\.\./benchmarks/data/(\w+\.csv)\)", PAGES["docs/results/index.md"]))
    assert listed == {path.name for path in (ROOT / "benchmarks" / "data").glob("*.csv")}


def tables_of(text):
    """Lines of the tables that benchmarks/results.py writes, and of the others."""
    generated = "".join(re.findall(r"<!-- results: .*?<!-- end -->", text, re.DOTALL))
    others = re.sub(r"<!-- results: .*?<!-- end -->", "", text, flags=re.DOTALL)
    return ["\n".join(re.findall(r"^\|.*", lines, re.MULTILINE)) for lines in (generated, others)]


@pytest.mark.parametrize("page", ["docs/index.md", "docs/guide/choosing.md"])
def test_tables_of_words_have_no_figures(page):
    """Figures stand in tables that are generated, so that a new measurement leaves no old one behind."""
    assert tables_of(PAGES[page])[1].count("|") > 20 and not re.findall(r"\d+\.\d+", tables_of(PAGES[page])[1])


TIMES = r"\b(half|twice|thrice|a (third|quarter|fifth)|(two|three|four|five|six|seven|eight|nine|ten|\d[\d.]*) times)\b"
COSTS = r"\b(costs?|cheap|cheaper|as fast|faster|as slow|slower)\b"


def multiples_of_cost(text):
    """Sentences that say in words how many times as much something costs."""
    text = re.sub(r"<!-- results: .*?<!-- end -->", "", without_fences(text), flags=re.DOTALL)
    return [each for each in re.split(r"[.;|\n]\s", text) if re.search(TIMES, each) and re.search(COSTS, each)]


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page.startswith("docs/modules/")
        or page in ("README.md", "docs/index.md", "docs/getting_started.md", "docs/guide/choosing.md")
    ],
)
def test_costs_stand_in_one_place(page):
    """Pages for users have the generated table of costs, or a link to it, so that no old multiple is left in their words."""
    assert multiples_of_cost("A step costs three to six times SAC's.") and multiples_of_cost("It has half the cost.")
    assert not multiples_of_cost(PAGES[page])
