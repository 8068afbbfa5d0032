"""
Write the tables of measured numbers in docs/ from the CSV files of benchmarks/data, in place::

    python benchmarks/results.py
    python benchmarks/results.py --check

A page marks where a table belongs, and the text between the marks is replaced::

    <!-- results: NAME -->
    <!-- end -->

NAME is a function below. With ``--check`` nothing is written: pages that differ from their CSV files are named, and the exit
code is 1.
"""

import argparse
import functools
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sb3_maxent.reporting import formatting
from sb3_maxent.reporting.statistics import Estimate, mean_with_interval, summarise

ROOT = Path(__file__).resolve().parents[1]
DATA, DOCS = ROOT / "benchmarks" / "data", ROOT / "docs"
MARKED = re.compile(r"^<!-- results: (\w+) -->\n(.*?)^<!-- end -->", re.DOTALL | re.MULTILINE)

# Names of the algorithms by zoo key and label
SAC, DQN, S2AC, SACNF, SQL = ("sac", ""), ("dqn", ""), ("s2ac", ""), ("sacnf", ""), ("sql", "")
MIXTURE = ("mixturesac", "")
RADIAL, CONDITIONAL_RADIAL = ("sacnf", "radial"), ("sacnf", "conditional radial")
NAMES = {
    SAC: "SB3 SAC",
    DQN: "SB3 DQN",
    S2AC: "S2AC",
    SACNF: "SACNF, spline",
    MIXTURE: "MixtureSAC",
    SQL: "SoftQLearning",
    ("discretesac", ""): "DiscreteSAC",
    RADIAL: "SACNF, radial, not conditional (the paper's)",
    CONDITIONAL_RADIAL: "SACNF, radial",
}
ENVIRONMENTS = {"multigoal": "MultiGoal-v0", "multigoal-maxent": "MultiGoalMaxEnt-v0"}
MODES = {"bandit-3": "three modes", "bandit-4": "four modes"}
BASELINE = "SB3 SAC"

# A header, and lines of cells
Table = tuple[list[str], Iterable[Iterable[object]]]
TABLES: dict[str, Callable[[], str]] = {}


def table(function: Callable[[], Table]) -> Callable[[], str]:
    """Registers a function as the Markdown table of its name."""

    @functools.wraps(function)
    def markdown() -> str:
        header, lines = function()
        rows = [header, ["---"] * len(header), *lines]
        return "\n".join("|" + "".join(f" {cell} |" if cell != "" else " |" for cell in row) for row in rows)

    TABLES[function.__name__] = markdown
    return markdown


# ---------------------------------------------------------------------- reading


@functools.cache
def read_file(path: Path) -> pd.DataFrame:
    """A CSV file; empty cells are empty strings."""
    return pd.read_csv(path, keep_default_na=False)


def read(name: str, **equal: object) -> pd.DataFrame:
    """
    Rows of a CSV file.

    :param name: of the file, without ending
    :param equal: values that columns have in these rows
    :raises ValueError: if there is no such row, so that no table has an average of nothing
    """
    rows = read_file(DATA / f"{name}.csv")
    for column, value in equal.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise ValueError(f"{name}.csv has no row with {equal}")
    return rows


def final_returns(name: str, env: str, algo: str, **equal: object) -> np.ndarray:
    """Return at the last evaluation of each seed, in the order of the seeds."""
    rows = read(name, env=env, algo=algo, **equal)
    return rows.sort_values(["seed", "step"]).groupby("seed").mean_return.last().to_numpy()


def measures(name: str, task: str, key: tuple[str, str], **equal: object) -> pd.DataFrame:
    """What was measured of each seed: the JSON column of multimodal.csv and multigoal_probe.csv, as columns."""
    rows = read(name, task=task, algo=key[0], label=key[1].replace(" ", "-"), **equal).sort_values("seed")
    return pd.DataFrame([json.loads(text) for text in rows.measures], index=rows.seed)


# ---------------------------------------------------------------------- cells


def mean_and_range(values: Iterable[float], digits: int, unit: str = "") -> str:
    """``mean (lowest to highest)``."""
    values = np.asarray(list(values))
    mean, low, high = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return f"{mean}{unit} ({low} to {high})"


def mean_and_std(values: Iterable[float], digits: int) -> str:
    """``mean ± standard deviation`` (that of the population)."""
    values = np.asarray(list(values), dtype=float)
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def over_seeds(values: np.ndarray, digits: int = 1, with_range: bool = True) -> str:
    """``mean ± standard deviation (lowest to highest, n seeds)``."""
    spread = f"{values.min():.{digits}f} to {values.max():.{digits}f}, " if with_range else ""
    return f"{mean_and_std(values, digits)} ({spread}{len(values)} seeds)"


def iqm_of(returns: np.ndarray, more: str = "", digits: int = 0) -> str:
    """``interquartile mean (its 95% interval)`` over seeds (N,), and more within the brackets; one seed has no interval."""
    iqm = summarise(returns[:, None])["IQM"]
    if len(returns) == 1:
        return f"{iqm.value:.{digits}f}"
    value, low, high = (f"{each:.{digits}f}" for each in (iqm.value, iqm.low, iqm.high))
    return f"{value} ({low} to {high}{more})"


def percent_range(shares: Iterable[Iterable[float]]) -> str:
    """The lowest and the highest of all shares."""
    flat = 100 * np.array([list(row) for row in shares])
    return f"{flat.min():.1f}% to {flat.max():.1f}%"


def seed_by_seed(shares: Iterable[Iterable[float]]) -> str:
    """Shares in whole per cent, seeds apart by semicolons."""
    return "; ".join(" ".join(f"{100 * share:.0f}" for share in row) for row in shares)


# ---------------------------------------------------------------------- speed


SIZES = ("small", "usual")
COMPILED = ", compiled"


def times_of(what: str, size: str = "usual", threads: int = 1) -> np.ndarray:
    """Milliseconds of an algorithm's gradient step (or of acting, by name) in each round; of SB3's SAC in all processes."""
    return read("speed", what=what, size=size, threads=threads).value.to_numpy()


def ratios_of(what: str, size: str = "usual", threads: int = 1, file: str = "speed", **equal: object) -> np.ndarray:
    """
    Ratios to SB3's SAC in the same process, round by round; acting is compared with the same kind of action. Products alone
    have one time. sbx works in another process, beside which SAC was slower, so its ratios are to SAC's median elsewhere.
    """
    of, separator, action = what.partition(": ")
    rows = read(file, what=what, size=size, threads=threads, **equal)
    if of == BASELINE:
        return np.ones(len(rows))
    (beside,) = rows.beside.unique()
    baseline = read(file, what=BASELINE + separator + action, size=size, threads=threads, **equal)
    if what.startswith("sbx "):
        return rows.value.to_numpy() / np.median(baseline.value)
    baseline = baseline[baseline.beside == beside].value.to_numpy()
    return rows.value.to_numpy() / (baseline if len(rows) == len(baseline) else np.median(baseline))


def median_ratio(what: str, size: str = "usual", threads: int = 1, file: str = "speed", **equal: object) -> str:
    """Median ratio to SB3's SAC."""
    return f"{np.median(ratios_of(what, size, threads, file, **equal)):.2f}"


def acting(name: str, deterministic: bool) -> str:
    """Name of the rows on choosing an action for one observation."""
    return f"{name}: predict(deterministic={deterministic})"


def speed_lines(algorithms: list[str], threads: Iterable[int] = (1, 2)) -> Iterable[list[object]]:
    """Lines with median time, and median, lowest and highest ratio."""
    for n_threads, name in itertools.product(threads, algorithms):
        ratios = ratios_of(name, threads=n_threads)
        spread = f", {ratios.min():.2f} - {ratios.max():.2f}" if len(ratios) > 1 else ""
        yield [name, n_threads, f"{np.median(times_of(name, threads=n_threads)):.2f}", f"{np.median(ratios):.2f}{spread}"]


def step_ratio(name: str, size: str = "usual", compiled: bool = False) -> str:
    """Median ratio of a gradient step, or nothing for what is not compiled or has one size only."""
    if (compiled and (name in EAGER_ONLY or name.startswith(PRODUCTS))) or (size == "small" and name.startswith(USUAL_ONLY)):
        return ""
    return median_ratio(name + COMPILED * compiled, size)


def step_lines(names: dict[str, str]) -> Iterable[list[object]]:
    """A line for each name that is shown: ratios of a gradient step in both sizes, eager and compiled."""
    for shown, name in names.items():
        yield [shown, *(step_ratio(name, size, compiled) for size in SIZES for compiled in (False, True))]


SPEED_HEADER = ["algorithm", "threads", "ms a step (median)", "ratio to SB3 SAC (median, lowest - highest)"]
STEP_HEADER = ["algorithm", *(f"{size}, {how}" for size in SIZES for how in ("eager", "compiled"))]
Q_CLIP = "DiscreteSAC, q_clip and entropy_penalty"
SQL_BOX = "SoftQLearning, continuous, 16 + 16 particles"
SQL_ONE = "SoftQLearning, continuous, 1 critic"
AUTHORS, PRODUCTS = "S2AC, the authors' code", "matrix products alone of "
USUAL_ONLY = (AUTHORS, PRODUCTS)


def products_of(algorithm: str) -> str:
    """Name of the row of the matrix products alone, which has their size in it."""
    rows = read_file(DATA / "speed.csv")
    return next(what for what in rows.what if what.startswith(f"{PRODUCTS}{algorithm} ("))


EAGER_ONLY = {"SB3 DQN", AUTHORS, "S2AC, fixed start", "S2AC, without our additions"}
EAGER_ONLY |= {"S2AC, general path", "S2AC, Hutchinson", "S2AC, second order"}


@table
def discretesac_speed() -> Table:
    return SPEED_HEADER, speed_lines([BASELINE, "DiscreteSAC", Q_CLIP, "SB3 DQN", "sb3_soft SDSAC"])


@table
def soft_q_learning_speed() -> Table:
    discrete = ["SoftQLearning, discrete", "SoftQLearning, discrete, 2 critics"]
    products = products_of(SQL_BOX)
    return SPEED_HEADER, speed_lines([BASELINE, *discrete, SQL_BOX, SQL_ONE, "SB3 DQN", "sb3_soft SQL", products])


@table
def s2ac_speed() -> Table:
    variants = ["S2AC", "S2AC, first critic", "S2AC, 6 particles", "S2AC, bfloat16", "S2AC, amortized"]
    variants += [f"S2AC, amortized, particles for {n} states" for n in (16, 32)]
    variants += ["S2AC, fixed start", "S2AC, without our additions", "S2AC, general path", "S2AC, Hutchinson"]
    variants += ["S2AC, second order", AUTHORS, products_of("S2AC")]
    return STEP_HEADER, step_lines({name: name for name in variants})


@table
def s2ac_published() -> Table:
    theirs = np.median(ratios_of(AUTHORS))
    lines = [[AUTHORS, f"{np.median(times_of(AUTHORS)):.0f}", "1"]]
    few = "S2AC, amortized, particles for 16 states, compiled"
    for name in ("S2AC", "S2AC, compiled", "S2AC, 6 particles, compiled", few):
        lines.append([name, f"{np.median(times_of(name)):.1f}", f"{theirs / np.median(ratios_of(name)):.0f}"])
    return ["one thread, usual size", "ms a step", "times as fast"], lines


@table
def s2ac_acting() -> Table:
    lines = []
    for name in (BASELINE, "S2AC", "S2AC, compiled", "S2AC, amortized", "S2AC, amortized, particles for 16 states"):
        kinds = [(acting(name, deterministic), size) for size in SIZES for deterministic in (True, False)]
        lines.append([name, *(f"{np.median(times_of(*kind)):.2f} ({median_ratio(*kind)})" for kind in kinds)])
    sizes_and_actions = itertools.product(SIZES, ("deterministic", "sampled"))
    return ["acting for one observation, ms (ratio to SB3's SAC)", *map(", ".join, sizes_and_actions)], lines


@table
def s2ac_deterministic() -> Table:
    rows = read("s2ac_deterministic").sort_values(["env", "seed", "steps"], ascending=[False, True, True], kind="stable")
    groups = rows.groupby(["env", "seed"], sort=False)
    sampled = rows[rows.choice == "sampled"].mean_return.to_numpy()
    lines = []
    for choice in read("s2ac_deterministic").choice.unique():
        returns = rows[rows.choice == choice].mean_return.to_numpy()
        cells = [", ".join(f"{value:.0f}" for value in of[of.choice == choice].mean_return) for _, of in groups]
        ahead = "" if choice == "sampled" else f"{(returns > sampled).sum()} of {len(returns)}"
        lines.append([choice, f"{(returns / sampled).mean():.2f}", ahead, *cells])
    agents = (
        f"{env}, seed {seed}: {', '.join(f'{step // 1000}k' for step in of.steps.unique())}" for (env, seed), of in groups
    )
    return ["action", "mean ratio to sampled", "ahead of sampled", *agents], lines


@table
def s2ac_cost() -> Table:
    rows = read("s2ac_cost")
    parts = rows[rows.what.str.startswith("part: ")]
    lines = ([row.what.removeprefix("part: "), f"{float(row.milliseconds):.1f}"] for row in parts.itertuples())
    return ["part", "ms"], lines


@table
def s2ac_memory() -> Table:
    rows = read("s2ac_cost", what="n_particles")
    return ["particles", *rows.value.astype(int)], [["memory added by gradient steps, MB", *rows.megabytes]]


@table
def s2ac_cost_grid() -> Table:
    rows = read("s2ac_cost")
    lines = []
    for what in ("n_particles", "n_svgd_steps", "batch_size", "action dimensions"):
        varied = rows[rows.what == what]
        lines.append(
            [
                what,
                ", ".join(varied.value.astype(int).astype(str)),
                ", ".join(f"{float(ms):.0f}" for ms in varied.milliseconds),
            ]
        )
    return ["varied", "values", "ms a gradient step"], lines


@table
def sacnf_cost() -> Table:
    names = {BASELINE: BASELINE, "SACNF": "SACNF, spline", "SACNF, radial": "SACNF, radial"}
    names |= {"SACNF, radial, not conditional": NAMES[RADIAL], "SACNF, planar": "SACNF, planar"}
    lines = []
    for name, shown in names.items():
        (number,) = times_of(f"{name}: parameters of the actor")
        lines.append(
            [shown, int(number), f"{np.median(times_of(name)):.2f}", median_ratio(name), median_ratio(acting(name, False))]
        )
    (critics,) = times_of("SACNF: parameters of the critic")
    header = ["", f"parameters of the actor (critics: {int(critics)})", "ms a gradient step", "ratio to SB3's SAC"]
    return [*header, "acting for one observation, ratio"], lines


@table
def speed_steps() -> Table:
    names = {"SAC's formulas (SACNF, `n_flows=0`)": "SACNF, n_flows=0", "MixtureSAC": "MixtureSAC"}
    names |= {"MixtureSAC, 1 component": "MixtureSAC, 1 component", "SACNF, spline flow": "SACNF", "S2AC": "S2AC"}
    names |= {name: name for name in ("S2AC, 6 particles", "S2AC, amortized, particles for 16 states")}
    names |= {name: name for name in (SQL_BOX, "SoftQLearning, discrete", "DiscreteSAC", "SB3 DQN")}
    baseline = itertools.chain(*([f"1 ({np.median(times_of(BASELINE, size)):.2f} ms)", ""] for size in SIZES))
    peers = ([name, *itertools.chain(*(["", median_ratio(name, size)] for size in SIZES))] for name in ("sbx SAC", "sbx DQN"))
    return STEP_HEADER, [[BASELINE, *baseline], *step_lines(names), *peers]


@table
def speed_elsewhere() -> Table:
    shown = {"SACNF, n_flows=0": "SAC's formulas (SACNF, `n_flows=0`)", "DiscreteSAC": "DiscreteSAC"}
    shown |= {"MixtureSAC": "MixtureSAC", "SACNF": "SACNF, spline flow", "S2AC": "S2AC"}
    lines = []
    for name, what in shown.items():
        processor = read("speed_elsewhere", what=name).processor.iloc[0]
        there = read("speed_elsewhere", processor=processor, size="usual")
        cells = []
        for step in (name, name + COMPILED):
            times, baseline = (there[there.what == of].value.to_numpy() for of in (step, BASELINE))
            cells.append(f"{np.median(times / baseline):.2f}" if len(times) else "-")
        lines.append([what, processor, *cells, *(step_ratio(name, compiled=compiled) for compiled in (False, True))])
    header = [f"{where}, {how}" for where in ("there", "in the table above") for how in ("eager", "compiled")]
    return ["usual networks", "processor", *header], lines


@table
def speed_adam() -> Table:
    shown = {
        "SACNF, n_flows=0": "SAC's formulas (SACNF, `n_flows=0`)",
        "MixtureSAC": "MixtureSAC",
        "DiscreteSAC": "DiscreteSAC",
    }
    columns = list(itertools.product(SIZES, ("before", "after")))
    lines = (
        [what, *(median_ratio(name + COMPILED, size, file="speed_adam", code=code) for size, code in columns)]
        for name, what in shown.items()
    )
    return ["compiled", *(f"{size}, {whose}" for size, whose in itertools.product(SIZES, ("torch's Adam", "ours")))], lines


@table
def choosing_costs() -> Table:
    names = {"MixtureSAC": "MixtureSAC", "S2AC": "S2AC", "SACNF": "SACNF", "SoftQLearning, `Box`": SQL_BOX}
    names |= {name: name for name in ("SoftQLearning, discrete", "DiscreteSAC", "SB3 DQN")}
    lines = []
    for compiled in (False, True):
        what = "`compile=True`" if compiled else "eager"
        lines.append([what, *(step_ratio(name, compiled=compiled) for name in names.values())])
    return ["a gradient step, SB3's SAC = 1", *names], lines


@table
def speed_learn() -> Table:
    names = [BASELINE, "SAC's formulas", "SAC's formulas, compiled"]
    rates = {name: read("learn_speed", algorithm=name, what="steps a second").value.to_numpy() for name in names}
    ratios = [rates[name] / rates[BASELINE] for name in names[1:]]
    lines = [["steps a second", *(f"{np.median(rates[name]):.0f}" for name in names)]]
    lines.append(["ratio, round by round", "1", *(f"{np.median(of):.2f} ({of.min():.2f} to {of.max():.2f})" for of in ratios)])
    parts = {"environment": "microseconds: environment", "the rest (callbacks, logging)": "callbacks, logging"}
    for what in read("learn_speed", algorithm=BASELINE).what.unique()[1:]:
        part = what.removeprefix("microseconds: ")
        medians = [read("learn_speed", algorithm=name, what=what).value.median() for name in names]
        lines.append([parts.get(part, part), *(f"{median:.0f}" for median in medians)])
    return ["", *names], lines


@table
def speed_threads() -> Table:
    shown = {BASELINE: BASELINE, "DiscreteSAC": "DiscreteSAC", "SoftQLearning, discrete": "SoftQLearning, discrete"}
    shown |= {"SB3 DQN": "SB3 DQN", "MixtureSAC": "MixtureSAC", "SACNF": "SACNF, spline flow"}
    shown |= {SQL_BOX: SQL_BOX, "S2AC": "S2AC, 10 particles, 3 steps"}
    lines = []
    for name, what in shown.items():
        cells = [(f"{np.median(times_of(name, threads=n)):.2f}", median_ratio(name, threads=n)) for n in (1, 2)]
        lines.append([what, *itertools.chain(*cells)])
    return ["algorithm", "ms, one thread", "ratio to SB3's SAC", "ms, two threads", "ratio to SB3's SAC"], lines


@table
def speed_malloc() -> Table:
    lines = []
    settings = ("given back", "as it is", "all kept")
    for name in (BASELINE, "MixtureSAC", "SACNF", "S2AC"):
        medians = read("malloc", algorithm=name).groupby("memory").median(numeric_only=True)
        times = [f"{medians['milliseconds a gradient step'][memory]:.1f}" for memory in settings]
        faults = [f"{medians['page faults a step'][memory]:.0f}" for memory in settings]
        lines.append([name, *times, *faults])
    return ["algorithm", *(f"{what}, {memory}" for what in ("ms a step", "page faults") for memory in settings)], lines


@table
def speed_s2ac() -> Table:
    shown = {"S2AC": "S2AC", "S2AC, 6 particles": "6 particles", "S2AC, first critic": "scores from the first critic"}
    shown |= {"S2AC, fixed start": "`learned_start=False`"}
    shown |= {"S2AC, general path": "general path (a smooth activation in place of ReLU)"}
    shown |= {"S2AC, Hutchinson": "Hutchinson's entropy", "S2AC, second order": "second order"}
    lines = ([what, f"{np.median(times_of(of)):.2f}", median_ratio(of)] for of, what in shown.items())
    return ["what", "ms, one thread", "ratio to SB3's SAC"], lines


@table
def speed_acting() -> Table:
    names = [BASELINE, "MixtureSAC", "SACNF", "S2AC", "S2AC, amortized", "S2AC, amortized, particles for 16 states"]
    lines = []
    for name, deterministic in itertools.product(names, (True, False)):
        what = acting(name, deterministic)
        lines.append([f"{name}, `deterministic={deterministic}`", f"{np.median(times_of(what)):.2f}", median_ratio(what)])
    return ["", "ms", "ratio to SB3's SAC"], lines


# ---------------------------------------------------------------------- returns


def discrete_tasks() -> list[tuple[str, str]]:
    """Environments and steps that DiscreteSAC and DQN were compared on."""
    return [("CartPole-v1", "50k"), ("Acrobot-v1", "100k"), ("LunarLander-v3", "200k")]


@table
def discretesac_returns() -> Table:
    elsewhere = {
        "CartPole-v1": "500 (DQN, RL Zoo, 50k); 406 (discrete SAC, SLM-Lab, 200k)",
        "Acrobot-v1": "-76.6 (DQN, RL Zoo, 100k); -92.6 (discrete SAC, SLM-Lab, 300k)",
        "LunarLander-v3": "154 (DQN, RL Zoo, v2, 100k); 106 (discrete SAC, SLM-Lab, 300k)",
    }
    lines = [
        [env, steps, *(over_seeds(final_returns("discretesac", env, algo)) for algo in ("discretesac", "dqn")), elsewhere[env]]
        for env, steps in discrete_tasks()
    ]
    return ["environment", "steps", "DiscreteSAC", "SB3 DQN", "reported elsewhere"], lines


# Names in discrete.csv and minatar.csv
DISCRETE = {
    "discretesac-compiled": "DiscreteSAC",
    "discretesac-first": "DiscreteSAC, no bonus in the critic",
    "sql-compiled": "SoftQLearning",
    "discretesac-constant": "DiscreteSAC, constant target",
    "discretesac-free": "DiscreteSAC, constant target, no bound",
    "discretesac-adaptive": 'DiscreteSAC, `target_entropy="adaptive"`',
    "dqn": "SB3 DQN",
    "qrdqn": "QR-DQN (sb3_contrib)",
}


@table
def discrete_fresh() -> Table:
    present = read_file(DATA / "discrete.csv")
    lines = []
    for env, group in present.groupby("env", sort=False):
        steps = f"{int(group.step.max()) // 1000}k"
        for algo, name in DISCRETE.items():
            if algo not in set(group.algo):
                continue
            returns = final_returns("discrete", str(env), algo)
            lines.append([env, steps, name, over_seeds(returns), ", ".join(f"{value:.0f}" for value in returns)])
    return ["environment", "steps", "algorithm", "mean ± standard deviation (range)", "seeds 20, 21, 22, ..."], lines


def game(env: str) -> str:
    """Its name without MinAtar's."""
    return env.removeprefix("MinAtar/").removesuffix("-v1")


@table
def minatar() -> Table:
    present = read_file(DATA / "minatar.csv")
    lines = []
    for env, algo in itertools.product(present.env.unique(), DISCRETE):
        if not ((present.env == env) & (present.algo == algo)).any():
            continue
        half, end = (
            read("minatar", env=env, algo=algo, step=step).sort_values("seed").mean_return.to_numpy()
            for step in (250_000, 500_000)
        )
        seeds = ", ".join(f"{value:.1f}" for value in end)
        lines.append([game(env), DISCRETE[algo], iqm_of(half, digits=1), iqm_of(end, digits=1), seeds])
    return ["IQM", "", "250k", "500k", "500k, seeds 0, 1, ..."], lines


@table
def pixel_speed() -> Table:
    medians = read_file(DATA / "pixel_speed.csv").groupby(["algorithm", "env"], sort=False).steps_a_second.median()
    envs = list(dict.fromkeys(medians.index.get_level_values("env")))
    names = list(dict.fromkeys(medians.index.get_level_values("algorithm")))
    lines = [[name, *(f"{medians[name, env]:.0f}" for env in envs)] for name in names]
    return ["steps a second", *envs], lines


# Names in minatar_discretesac.csv
MINATAR_SETTINGS = {
    "zoo": "learned temperature, no bonus in the critic, exploration 0.1",
    "mean": "the same, mean of the critics",
    "adaptive": 'the same, `target_entropy="adaptive"`',
    "fixed": "temperature 0.02, no bonus, exploration from 1 to 0.01",
    "soft": "temperature 0.02, with its bonus, exploration from 1 to 0.01",
    "softmean": "the same, mean of the critics",
    "bonus": "learned temperature, bonus of 0.02 (`critic_ent_coef=0.02`), exploration 0.1",
}


@table
def minatar_discretesac() -> Table:
    """Mean of the last three evaluations."""
    rows = read_file(DATA / "minatar_discretesac.csv")
    ends = rows[rows.step > 140_000].groupby(["algo", "env"]).mean_return.mean()
    envs = list(rows.env.unique())
    lines = [
        [name, *(f"{ends[algo, env]:.1f}" if (algo, env) in ends else "" for env in envs)]
        for algo, name in MINATAR_SETTINGS.items()
        if algo in set(rows.algo)
    ]
    return ["DiscreteSAC, 200k steps, seed 100", *(game(env) for env in envs)], lines


@table
def discretesac_hover() -> Table:
    rows = read_file(DATA / "lander_hover.csv").sort_values(["seed", "step"])
    lines = []
    for (setting, seed), run in rows.groupby(["setting", "seed"], sort=False):
        last, early = run.iloc[-1], run[run.step == 40_000].iloc[0]
        stopped = "" if last.step == 200_000 else f" (stopped at {last.step // 1000}k)"
        ends = [f"{last['return']:.0f}{stopped}", last.landed, last.timed_out, run.trained_landed.sum()]
        noop = [f"{float(row.noop_ground):.2f}" if row.noop_ground != "" else "no state" for row in (early, last)]
        lines.append([setting, seed, *ends, *noop])
    order = list(rows.sort_index().setting.unique())
    lines.sort(key=lambda line: (order.index(line[0]), line[1]))
    header = ["target entropy, exploration", "seed", "return", "of 20: landed", "timed out", "landings in training"]
    return [*header, "no engine on the ground: at 40k", "at the end"], lines


@table
def discretesac_hover_values() -> Table:
    columns = ["step", "q", "hovering", "time_limit", "landing", "q_at_rest", "at_rest"]
    lines = read("lander_values")[columns].round(0).astype(int).to_numpy().tolist()
    header = ["step", "its own Q", "rewards that follow", "added by the time limit", "rewards after a landing instead"]
    return [*header, "its Q at rest on the ground", "rewards that follow there"], lines


@table
def random_actions() -> Table:
    lines = (
        [
            row.max_duration,
            f"{row.exponent:g}" if row.max_duration > 1 else "",
            f"{row.reached} of {row.episodes}",
            row.highest_position,
        ]
        for row in read("random_actions").itertuples()
    )
    return [
        "kept for at most",
        "exponent",
        "episodes that reach the goal",
        "median of the highest position (goal: 0.5)",
    ], lines


@table
def choosing_discrete() -> Table:
    algos = ("discretesac-compiled", "sql-compiled", "dqn")
    lines = [
        [env, steps, *(over_seeds(final_returns("discrete", env, algo), with_range=False) for algo in algos)]
        for env, steps in [*discrete_tasks(), ("MountainCar-v0", "120k")]
    ]
    return ["environment", "steps", "DiscreteSAC", "SoftQLearning", "SB3 DQN"], lines


@table
def discretesac_fresh_seeds() -> Table:
    env = "LunarLander-v3"
    tuned = final_returns("discretesac", env, "discretesac")
    fresh = final_returns("fresh_seeds", env, "discretesac")
    groups = {"0 and 1, which chose the setting": tuned[:2], "2 to 4": tuned[2:], "5 and 6, run afterwards": fresh}
    groups |= {"2 to 6, which no tuning saw": np.r_[tuned[2:], fresh], "all seven": np.r_[tuned, fresh]}
    lines = ([of, ", ".join(f"{value:.1f}" for value in column), mean_and_std(column, 1)] for of, column in groups.items())
    return ["seeds", "final returns", "mean ± standard deviation"], lines


def target_entropy_lines(ratios: Iterable[str]) -> Iterable[list[str]]:
    """Final returns and temperatures of all seeds, with and without the entropy bonus in the critic."""
    for ratio in ratios:
        cells = []
        for bonus in ("with bonus", "without"):
            rows = read("target_entropy", label=f"ratio {ratio}, critic {bonus}")
            last = rows.sort_values(["seed", "step"]).groupby("seed").last()
            cells += [", ".join(f"{value:.0f}" for value in last.mean_return)]
            cells += [", ".join(f"{value:.2g}" if value < 100 else f"{value:.0f}" for value in last.ent_coef.astype(float))]
        yield [ratio, *cells]


@table
def discretesac_target_entropy() -> Table:
    columns = ["bonus: final returns", "bonus: temperature", "no bonus: final returns", "no bonus: temperature"]
    return ["ratio", *columns], target_entropy_lines(("0.05", "0.3", "0.5", "0.7", "0.98"))


@table
def discretesac_adaptive() -> Table:
    # "zoo" is what the zoo file had when it was measured
    targets = {"lin-half": "`lin_0.5_0.1`", "adaptive-half": "`adaptive_0.5_0.1`", "adaptive": "`adaptive`"}
    of_zoo = {"CartPole-v1": "constant, 0.3", "LunarLander-v3": "`lin_0.5_0.1`"}
    lines = []
    for env, group in read_file(DATA / "adaptive_target.csv").groupby("env"):
        for algo, target in {"zoo": of_zoo[str(env)], **targets}.items():
            if algo not in set(group.algo):
                continue
            ends = final_returns("adaptive_target", str(env), algo)
            means = group[group.algo == algo].groupby("seed").mean_return.mean()
            lines.append([env, target, *(", ".join(f"{value:.0f}" for value in values) for values in (ends, means))])
    return ["", "target entropy", "at the end, seeds from 100 on", "mean of the ten evaluations"], lines


@table
def temperature_target_entropy() -> Table:
    chosen = [[line[0], line[2], line[4]] for line in target_entropy_lines(("0.05", "0.5", "0.98"))]
    return ["ratio", "temperature, critic with entropy bonus", "without bonus (`critic_ent_coef=0`)"], chosen


@table
def discretesac_lunarlander() -> Table:
    lines = []
    for critics, ratio in (("minimum", "0.3"), ("mean", "0.3"), ("minimum", "0.5"), ("mean", "0.5")):
        returns = final_returns("lunarlander", "LunarLander-v3", "discretesac", label=f"{critics}, ratio {ratio}")
        cells = [f"{value:.1f}" for value in returns]
        lines.append([critics, ratio, *cells, *[""] * (2 - len(cells))])
    return ["critics", "ratio", "seed 0", "seed 1"], lines


@table
def soft_q_learning_returns() -> Table:
    cartpole, dqn = final_returns("sql", "CartPole-v1", "sql"), final_returns("discretesac", "CartPole-v1", "dqn")
    pendulum, sac = final_returns("mujoco", "Pendulum-v1", "sql-compiled"), final_returns("sql", "Pendulum-v1", "sac")

    def solved(returns: np.ndarray) -> str:
        return f"{(returns >= 475).sum()} of {len(returns)} at 475 or more"

    lines = [
        ["CartPole-v1", "50k", f"{over_seeds(cartpole)}; {solved(cartpole)}", f"SB3 DQN: {over_seeds(dqn)}; {solved(dqn)}"],
        ["Pendulum-v1", "20k", over_seeds(pendulum), f"SB3 SAC: {over_seeds(sac)}"],
    ]
    return ["environment", "steps", "SoftQLearning", "baseline"], lines


@table
def soft_q_learning_mujoco() -> Table:
    lines = []
    for env, (algo, name) in itertools.product(MUJOCO[:2], (("sql-compiled", "SoftQLearning"), ("sac", "SB3 SAC"))):
        rows = read("mujoco", env=env, algo=algo)
        rows = rows[rows.seed < 3].sort_values("seed")
        ends = [rows[rows.step == step].mean_return.to_numpy() for step in (50_000, 100_000)]
        lines.append([env, name, *(f"{mean_and_std(end, 0)} ({', '.join(f'{value:.0f}' for value in end)})" for end in ends)])
    return ["seeds 0, 1, 2", "", "50k", "100k"], lines


@table
def s2ac_returns() -> Table:
    today, sac = final_returns("mujoco", "Pendulum-v1", "s2ac-compiled"), final_returns("sql", "Pendulum-v1", "sac")
    lines = [
        ["Pendulum-v1, today's defaults", "20k", over_seeds(today), over_seeds(sac)],
        ["Pendulum-v1", "20k", *(over_seeds(final_returns(name, "Pendulum-v1", algo)) for name, algo in PENDULUM)],
        *(
            [env, "50k", *(over_seeds(final_returns("s2ac", env, algo), 0) for algo in ("s2ac", "sac"))]
            for env in ("HalfCheetah-v5", "Hopper-v5")
        ),
    ]
    return ["environment", "steps", "S2AC", "SB3 SAC"], lines


PENDULUM = [("s2ac", "s2ac"), ("sql", "sac")]


MUJOCO = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")
# Names in mujoco.csv
ON_MUJOCO = {"mixturesac-compiled": "MixtureSAC", "s2ac-compiled": "S2AC", "sac": "SB3 SAC"}


@table
def mujoco() -> Table:
    """Interquartile means with intervals, in the middle and at the end of the training."""
    lines = []
    for env, step in itertools.product(MUJOCO, (50_000, 100_000)):
        cells = []
        for algo in ON_MUJOCO:
            returns = read("mujoco", env=env, algo=algo, step=step).mean_return.to_numpy()
            cells.append(iqm_of(returns, f", {len(returns)} seeds"))
        lines.append([f"{env}, {step // 1000}k", *cells])
    return ["IQM", *ON_MUJOCO.values()], lines


@table
def mujoco_seeds() -> Table:
    lines = []
    for env, (algo, name) in itertools.product(MUJOCO, ON_MUJOCO.items()):
        rows = [read("mujoco", env=env, algo=algo, step=step).sort_values("seed") for step in (50_000, 100_000)]
        lines.append([env, name, *(", ".join(f"{value:.0f}" for value in at.mean_return) for at in rows)])
    return ["seeds 0 to 4", "", "50k", "100k"], lines


ON_TWO_WAYS = {"mixturesac": "MixtureSAC", "s2ac": "S2AC", "sacnf": "SACNF", "sac": "SB3 SAC"}


def two_ways_of(algo: str) -> tuple[pd.DataFrame, ...]:
    """An algorithm's rows, seed by seed: both ways open, the upper one closed, the lower one closed."""
    return tuple(read("two_ways", algo=algo, closed=closed).sort_values("seed") for closed in ("", "up", "down"))


@table
def two_ways() -> Table:
    lines = []
    for algo, name in ON_TWO_WAYS.items():
        open_, up, down = two_ways_of(algo)
        lesser = 100 * np.minimum(open_.up, open_.down)
        worse = {
            column: 100 * np.minimum(up[column].to_numpy(), down[column].to_numpy()) for column in ("success", "within_5")
        }
        lines.append(
            [
                name,
                f"{100 * open_.success.mean():.1f}%",
                f"{open_.length.astype(float).mean():.1f}",
                mean_and_range(lesser, 0, "%"),
                mean_and_range(100 * open_.both_from_a_start, 0, "%"),
                mean_and_range(worse["success"], 0, "%"),
                mean_and_range(worse["within_5"], 0, "%"),
            ]
        )
    ends = ["its worse way closed: success", "within 5 attempts"]
    return ["", "success, both open", "actions", "takes its rarer way", "both ways from one start", *ends], lines


@table
def two_ways_seeds() -> Table:
    lines = []
    for algo, name in ON_TWO_WAYS.items():
        open_, up, down = two_ways_of(algo)
        lines.append(
            [name, *(", ".join(f"{100 * value:.0f}" for value in each) for each in (open_.up, up.success, down.success))]
        )
    return ["%, seeds 0 to 4", "goes up, both open", "success, up closed", "success, down closed"], lines


@table
def sacnf_returns() -> Table:
    lines = [
        [env, *(mean_and_range(final_returns("sacnf", env, algo), digits) for algo in ("sacnf", "s2ac", "sac"))]
        for env, digits in (("Pendulum-v1", 1), ("Hopper-v5", 0))
    ]
    return ["", "SACNF", "S2AC", "SB3 SAC"], lines


@table
def q_bound() -> Table:
    shown = {
        "plain": "(2) alpha 0.1, two critics",
        "plain, bounded": "(2), bounded",
        "plain, bounded, 1 critic": "(2), bounded, one critic",
        "plain, tau 0.01, lr 1e-3": "(2) with tau 0.01, learning rate 1e-3",
    }
    shown |= {
        "munchausen, 1 critic": "Munchausen, alpha 0.03, one critic",
        "munchausen": "(3) Munchausen, alpha 0.03, two critics",
    }
    lines = []
    for setting, name in shown.items():
        for index, seed in enumerate(sorted(read("q_bound", setting=setting).seed.unique())):
            rows = read("q_bound", setting=setting, seed=seed).sort_values("step")
            returns = " ".join(f"{value:.0f}" for value in rows["return"])
            largest, bound = f"{rows.largest_q.max():,.0f}", f"{rows.bound.max():.0f}"
            lines.append(["" if index else name, seed, largest, bound, returns])
    return ["setting", "seed", "largest Q of 10 measurements", "bound", "returns at these (5 episodes)"], lines


# ---------------------------------------------------------------------- policies with several modes


def bandit_lines(columns: list[tuple[str, str]], required: dict[str, str]) -> Iterable[list[str]]:
    """KL divergences and worst factors of algorithms, with what is required of the first."""
    for task, modes in MODES.items():
        found = [measures("multimodal", task, key) for key in columns]
        yield [f"{modes}: KL", *(mean_and_range(of.kl, 3) for of in found), *filter(None, [required.get("KL")])]
        factors = [of.worst_factor.max() for of in found]
        shown = [f"{factor:.2f}" if factor < 100 else f"{factor:.0f}" for factor in factors]
        yield [f"{modes}: worst factor", *shown, *filter(None, [required.get("worst factor")])]


@table
def s2ac_bandits() -> Table:
    required = {"KL": "at most 0.3, aim 0.2", "worst factor": "at most 1.6"}
    return ["", "S2AC", "SoftQLearning", "SB3 SAC", "required of S2AC"], bandit_lines([S2AC, SQL, SAC], required)


@table
def soft_q_learning_bandits() -> Table:
    required = {"KL": "at most 0.35", "worst factor": "at most 2"}
    return ["", "SoftQLearning", "SB3 SAC", "required of SoftQLearning"], bandit_lines([SQL, SAC], required)


@table
def choosing_bandits() -> Table:
    lines = bandit_lines([MIXTURE, S2AC, SACNF, SQL, SAC], {})
    return ["", "MixtureSAC", "S2AC", "SACNF (spline flow)", "SoftQLearning", "SB3 SAC"], (
        line for line in lines if "KL" in line[0]
    )


@table
def mixturesac_bandits() -> Table:
    return bandits_by_algorithm([MIXTURE, SACNF, S2AC, SQL, SAC])


@table
def sacnf_bandits() -> Table:
    return bandits_by_algorithm([SACNF, CONDITIONAL_RADIAL, RADIAL, S2AC, SQL, SAC])


def bandits_by_algorithm(keys: list[tuple[str, str]]) -> Table:
    """KL divergences and worst factors, a line for each algorithm."""
    columns = zip(*bandit_lines(keys, {}), strict=True)
    next(columns)
    lines = ([NAMES[key], *cells] for key, cells in zip(keys, columns, strict=True))
    return ["", "three modes (50, 30, 20%): KL", "worst factor", "four modes: KL", "worst factor"], lines


@table
def sacnf_multigoal() -> Table:
    rows = [
        (SACNF, 2, ""),
        (SACNF, 1, "1 critic"),
        (RADIAL, 2, ""),
        (RADIAL, 1, "1 critic"),
        (SAC, 2, ""),
        (SAC, 1, "1 critic"),
    ]
    lines = []
    for key, critics, label in [*rows, (S2AC, 1, ""), (SQL, 1, "")]:
        found = measures("multimodal", "multigoal", (key[0], f"{key[1]} {label}".strip()))
        cells = [f"{100 * found.success.mean():.1f}%", percent_range(found.shares), f"{found['return'].mean():.1f}"]
        lines.append([NAMES[key], critics, *cells])
    return ["", "critics", "episodes that reach a goal", "share of each goal", "return"], lines


def goals_by_algorithm(keys: list[tuple[str, str]], cases: Iterable[tuple[str, str]]) -> Table:
    """Success and shares of the goals, a line for each case (task and label) and algorithm."""
    lines = []
    for (task, label), key in itertools.product(cases, keys):
        found = measures("multimodal", task, (key[0], label))
        success = mean_and_range(100 * found.success, 1, "%")
        name = f"{ENVIRONMENTS[task]}, {label or 'temperature 1'}"
        lines.append([name, NAMES[key], success, percent_range(found.shares), seed_by_seed(found.shares)])
    header = ["task", "algorithm", "episodes that reach a goal", "share of each goal, over seeds and goals"]
    return [*header, "shares in %, seed by seed"], lines


@table
def s2ac_goals() -> Table:
    cases = [*((task, "") for task in ENVIRONMENTS), ("multigoal-maxent", "temperature 0.7")]
    return goals_by_algorithm([S2AC, SQL, SAC], cases)


@table
def mixturesac_goals() -> Table:
    return goals_by_algorithm([MIXTURE, S2AC, SQL, SAC], [(task, "") for task in ENVIRONMENTS])


@table
def mixturesac_choices() -> Table:
    rows = read("mixture_choices", step=40000)
    lines = []
    for setting, of in rows.groupby("setting", sort=False):
        columns = ["return, heaviest", "return, best by Q", "return, sampled"]
        seeds = ", ".join(f"{value:.0f}" for value in of["return, heaviest"])
        lines.append([setting, *(f"{of[column].mean():.0f}" for column in columns), f"{seeds} ({len(of)} seeds)"])
    lines.sort(key=lambda line: -int(line[1]))
    return ["HalfCheetah-v5, 40,000 steps", "heaviest", "best by Q", "sampled", "heaviest, seed by seed from 100 on"], lines


COMPONENTS = (1, 2, 4, 6, 8, 16)


def mixture_row(n_components: int) -> str:
    """Name of MixtureSAC's rows in speed.csv; four components are its default."""
    return "MixtureSAC" if n_components == 4 else f"MixtureSAC, {n_components} component{'s' * (n_components > 1)}"


def cheetah_returns(n_components: int) -> np.ndarray:
    """MixtureSAC's returns on HalfCheetah-v5 after 50,000 steps, in the order of the seeds from 100 on."""
    rows = read("mixture_components_mujoco", algo=f"k{n_components}", step=50_000)
    return rows.sort_values("seed").mean_return.to_numpy()


@table
def mixturesac_components() -> Table:
    lines = []
    for n in COMPONENTS:
        found = [measures("mixture_components", task, ("mixturesac", f"k{n}")) for task in MODES]
        cells = [(f"{of.kl.mean():.3f}", f"{of.worst_factor.max():.2f}") for of in found]
        steps = [median_ratio(mixture_row(n) + ending) for ending in ("", COMPILED)]
        returns = cheetah_returns(n)
        on_cheetah = f"{returns.mean():.0f} ({', '.join(f'{value:.0f}' for value in returns)})"
        lines.append([n, *itertools.chain(*cells), *steps, on_cheetah])
    header = [f"{modes}: {what}" for modes in MODES.values() for what in ("KL", "worst factor")]
    return ["components", *header, "step, eager", "step, compiled", "HalfCheetah-v5, 50k: mean (seed by seed)"], lines


@table
def mixturesac_bounds() -> Table:
    lines = []
    for bound in ("0.35", "0.5", "0.7", "7"):
        found = [measures("mixture_deviations", task, ("mixturesac", f"bound-{bound}")).kl for task in MODES]
        cells = ([f"{kl.mean():.3f}", ", ".join(f"{value:.2f}" for value in kl)] for kl in found)
        start = ", start_std=0.5" if bound == "7" else ""
        lines.append([f"`max_std={bound}{start}`", *itertools.chain(*cells)])
    header = [f"{modes}: {what}" for modes in MODES.values() for what in ("mean KL", "seed by seed from 100 on")]
    return ["", *header], lines


@table
def mixturesac_hopper() -> Table:
    names = {
        "four": "4 components",
        "wide": "4 components, nearly no bound on the deviations (`max_std=7, start_std=0.5`)",
        "one": "1 component",
        "sac": "SB3 SAC",
    }
    lines = []
    for algo, name in names.items():
        returns = read("mixture_hopper", env="Hopper-v5", algo=algo, step=50_000).sort_values("seed").mean_return.to_numpy()
        each = ", ".join(f"{value:.0f}" for value in returns)
        lines.append([name, iqm_of(returns), f"{returns.mean():.0f}", each])
    return ["Hopper-v5, 50k, seeds from 100 on", "IQM", "mean", "seed by seed"], lines


@table
def q_against_returns() -> Table:
    lines = []
    for env, (algo, name) in itertools.product(MUJOCO, ON_MUJOCO.items()):
        rows = read("q_against_returns", env=env, algo=algo.removesuffix("-compiled")).sort_values("seed")
        pairs = [f"{q:.0f} / {value:.0f}" for q, value in zip(rows.q, rows.discounted_return, strict=True)]
        returns = [f"{value:.0f}" for value in rows["return"]]
        lines.append([env, name, ", ".join(pairs), ", ".join(returns), ", ".join(f"{value:.2f}" for value in rows.ent_coef)])
    return ["seeds 0 to 4", "", "Q / discounted return", "return, sampled actions", "temperature"], lines


@table
def mixturesac_use() -> Table:
    shown = {
        "entropy": "entropy of the policy (target -6), nats",
        "weights_entropy": "entropy of the weights (at most 1.39), nats",
        "used": "components that hold 95% of the weight",
        "heaviest": "weight of the heaviest",
        "lowest_mean_weight": "lowest mean weight of a component",
        "distance": "distance between two components' actions, a dimension",
        "std": "deviation within a component, a dimension",
        "q_range": "range of Q over the components' means",
        "heaviest_is_best": "share of states where the heaviest is the best by Q",
    }
    rows = read("mixture_use", env="HalfCheetah-v5").sort_values("seed")
    lines = ([what, *(f"{float(value):.2f}" for value in rows[name])] for name, what in shown.items())
    return ["HalfCheetah-v5, mean over states", *(f"seed {seed}" for seed in rows.seed)], lines


@table
def mixturesac_cost() -> Table:
    lines = []
    for n in (1, 2, 4, 8, 16):
        row = mixture_row(n)
        what = [row, row + COMPILED, acting(row, True), acting(row, False)]
        lines.append([f"{n} component{'s' * (n > 1)}", *map(median_ratio, what)])
    return ["ratio to SB3's SAC", "step, eager", "compiled", "acting, deterministic", "acting, sampled"], lines


@table
def choosing_goals() -> Table:
    goals = {"multigoal": "MultiGoal-v0, four goals", "multigoal-maxent": "MultiGoalMaxEnt-v0, three goals"}
    lines = []
    for task, name in goals.items():
        keys = [MIXTURE, S2AC, SACNF, SQL, SAC]
        found = [None if task != "multigoal" and key == SACNF else measures("multimodal", task, key) for key in keys]
        success = ["not measured" if of is None else f"{100 * of.success.mean():.1f}%" for of in found]
        lines.append([f"{name}: episodes that reach one", *success])
        lines.append(["share of each goal", *("not measured" if of is None else percent_range(of.shares) for of in found)])
    return ["task, temperature 1", "MixtureSAC", "S2AC", "SACNF", "SoftQLearning", "SB3 SAC"], lines


@table
def soft_q_learning_goals() -> Table:
    found = [measures("multimodal", "multigoal", key) for key in (SQL, SAC, ("sac", "1 critic"))]
    lines = [
        ["episodes that reach a goal", *(mean_and_range(100 * of.success, 1, "%") for of in found)],
        ["share of each goal, over seeds and goals", *(percent_range(of.shares) for of in found)],
        ["return", *(f"{of['return'].mean():.2f}" for of in found)],
    ]
    return ["", "SoftQLearning (one critic)", "SB3 SAC (two critics)", "SB3 SAC with one critic"], lines


@table
def soft_q_learning_temperatures() -> Table:
    lines = []
    for alpha in ("0.0", "0.1", "0.5"):
        cells = []
        for key in (SQL, SAC):
            found = measures("multimodal", "multigoal", (key[0], f"alpha {alpha}"))
            cells += [seed_by_seed(found.shares), f"{found['return'].mean():.1f}"]
        lines.append([alpha, *cells])
    return ["temperature", "SoftQLearning: shares in %", "return", "SB3 SAC: shares in %", "return"], lines


@table
def temperature_falling() -> Table:
    labels = [(key, kind, "0.1") for key in (SQL, S2AC, MIXTURE) for kind in ("alpha", "falling")]
    labels += [(MIXTURE, "one falling", "0.1"), (SAC, "alpha", "0.1")]
    labels += [(SQL, "alpha", "0.5"), (SQL, "falling", "0.5"), (SAC, "alpha", "0.5")]
    lines = []
    for key, kind, alpha in labels:
        found = measures("multimodal", "multigoal", (key[0], f"{kind} {alpha}"))
        kept = sum(share >= 0.05 for shares in found.shares for share in shares)
        lines.append(
            [
                alpha if kind == "alpha" else f"1 to {alpha} in the first half",
                NAMES[key] + (", one component" if kind == "one falling" else ""),
                f"{kept} of {4 * len(found)}",
                seed_by_seed(found.shares),
                f"{found['return'].mean():.1f}",
            ]
        )
    return ["temperature", "", "goals with a share of 5% or more", "shares in %, seed by seed", "return"], lines


def probed() -> Iterable[tuple[str, str, tuple[str, str]]]:
    """Tasks, what was looked at, and algorithms, at temperature 1."""
    for task in ENVIRONMENTS:
        for what in sorted(read("multigoal_probe", task=task, label="").what.unique()):
            yield from ((task, what, key) for key in (S2AC, SAC, SQL))


@table
def s2ac_probe_entropies() -> Table:
    lines = []
    for task, what, key in probed():
        if what.startswith("entropy"):
            found = measures("multigoal_probe", task, key, what=what)
            cells = [mean_and_std(found[column], 2) for column in ("estimated", "actions", "quadrature")]
            lines.append([ENVIRONMENTS[task], what.removeprefix("entropy at "), NAMES[key], len(found), *cells])
    header = ["task", "state", "algorithm", "seeds", "estimated", "of the actions", "quadrature of the learned Q"]
    return header, lines


def obstacle_line(task: str, what: str, key: tuple[str, str]) -> list[object]:
    """An algorithm's success in a world, and its encounters with the obstacle."""
    found = measures("multigoal_probe", task, key, what=what)
    shares = "/".join(f"{100 * share:.0f}" for share in np.mean(found.shares.tolist(), axis=0))
    escaped = found.escaped.dropna()
    cells = [f"{mean_and_std(100 * found.success, 1)}%", f"{shares}%", f"{100 * found.blocked.mean():.0f}%"]
    return [NAMES[key], len(found), *cells, f"{100 * escaped.mean():.0f}%" if len(escaped) else ""]


@table
def s2ac_obstacle() -> Table:
    lines = ([ENVIRONMENTS[task], what, *obstacle_line(task, what, key)] for task, what, key in probed() if "obs" in what)
    header = ["task", "world", "algorithm", "seeds", "success", "shares of the goals", "touch the obstacle"]
    return [*header, "of these reach a goal"], lines


@table
def composition() -> Table:
    agents = {"goals 0 and 1": "paid for goals 0 and 1", "goals 2 and 3": "paid for goals 2 and 3"}
    lines = []
    for agent, name in (agents | {"composed": "composed, without interaction"}).items():
        shares = read("composition", agent=agent).set_index("goal").share
        ends = ["0", "1", "2", "3", "none"]
        lines.append([name, *(f"{100 * shares[end]:.1f}%" if end in shares.index else "" for end in ends)])
    return ["", "goal 0", "goal 1", "goal 2", "goal 3", "none"], lines


# ---------------------------------------------------------------------- robustness


def in_worlds(name: str, column: str) -> pd.DataFrame:
    """A column of a table of robustness: a row for each agent, by algorithm and seed, and a column for each world."""
    rows = read(f"robustness_{name}")
    worlds = list(dict.fromkeys(zip(rows.perturbation, rows.value, strict=True)))
    return rows.pivot(index=["algo", "seed"], columns=["perturbation", "value"], values=column)[worlds]


def world_name(perturbation: str, value: str) -> str:
    """What was perturbed, in words."""
    if perturbation == "obstacles":
        return formatting.count(len(json.loads(value)), "wall")
    if perturbation == "action_delay":
        return f"actions {formatting.count(int(value), 'step')} late"
    return f"{perturbation.replace('_', ' ')} {value}"


def over_agents(values: pd.Series, digits: int, unit: str = "") -> Iterable[str]:
    """``mean [95% interval]`` of each algorithm, as the report of robustness has it."""
    for algo in ("s2ac", "sac", "sacnf"):
        estimate = mean_with_interval(values[algo].to_numpy())
        rounded = Estimate(*(round(number, digits) + 0.0 for number in estimate))  # no -0
        yield formatting.interval(rounded, digits).replace(" [", f"{unit} [")


def robustness_changes(name: str, digits: int) -> Table:
    """Changes of the return from the unperturbed world, below the return there."""
    returns = in_worlds(name, "mean_return")
    unperturbed = returns["", ""]
    lines = [["unperturbed: the return itself", *over_agents(unperturbed, digits)]]
    for world in returns.columns[1:]:
        lines.append([world_name(*world), *over_agents(returns[world] - unperturbed, digits)])
    return ["change of the return", "S2AC", "SAC", "SACNF"], lines


@table
def robustness_multigoal() -> Table:
    return robustness_changes("multigoal", 1)


@table
def robustness_pendulum() -> Table:
    return robustness_changes("pendulum", 0)


@table
def robustness_hopper() -> Table:
    return robustness_changes("hopper", 0)


@table
def robustness_success() -> Table:
    shares = 100 * in_worlds("multigoal", "success_rate")
    worlds = {world: world_name(*world) for world in shares.columns if world[0] == "obstacles"}
    lines = ([name, *over_agents(shares[world], 1, "%")] for world, name in {("", ""): "unperturbed", **worlds}.items())
    return ["episodes that reach a goal", "S2AC", "SAC", "SACNF"], lines


# ---------------------------------------------------------------------- samplers and densities


@table
def sampler() -> Table:
    lines = []
    settings = read("sampler")[["linear_path", "bandwidth", "particles"]].drop_duplicates()
    for path, bandwidth, particles in settings.itertuples(index=False):
        cells = []
        for task in MODES:
            rows = read("sampler", task=task, linear_path=path, bandwidth=bandwidth, particles=particles).sort_values("seed")
            cells.append(", ".join(f"{kl:.2f}" for kl in rows.kl))
        lines.append(["yes" if path else "no", bandwidth, particles, *cells])
    return ["linear path", "bandwidth", "particles", *MODES.values()], lines


# Of the temperature
FALLS = {"1.0": "1", "lin_10_1_0.5": "10 to 1 in the first half"}


@table
def bandit_widths() -> Table:
    key = ["bandwidth", "gradient_steps", "ent_coef", "width"]
    lines = []
    for values, rows in read("bandit_widths").groupby(key):
        bandwidth, steps, temperature, width = values
        found = [rows[rows.task == task] for task in MODES]
        factor = max(of.worst_factor.max() for of in found)
        cells = (f"{mean_and_range(of.kl, 3)}, {len(of)} seed{'s' * (len(of) > 1)}" for of in found)
        name = "the default" if bandwidth == "default" else bandwidth
        lines.append(
            [name, steps, FALLS[str(temperature)], width, *cells, f"{factor:.2f}" if factor < 100 else "a mode is lost"]
        )
    return [
        "bandwidth",
        "gradient steps for 8 environment steps",
        "temperature",
        "width",
        *(f"{modes}: KL" for modes in MODES.values()),
        "worst factor",
    ], lines


@table
def bandit_course() -> Table:
    lines = []
    rows = read("bandit_course", seed=0, task="bandit-3")
    for (steps, temperature), run in rows.groupby(["gradient_steps", "ent_coef"]):
        for row in run.sort_values("step").itertuples():
            of_q, of_policy = (seed_by_seed([json.loads(text)]) for text in (row.shares_of_q, row.shares))
            lines.append([steps, FALLS[str(temperature)], row.step, f"{row.kl_of_q:.2f}", of_q, f"{row.kl:.2f}", of_policy])
    columns = ["exp(Q): KL", "exp(Q): shares in %", "policy: KL", "policy: shares in %"]
    return ["gradient steps for 8 environment steps", "temperature", "environment steps", *columns], lines


@table
def exact_vs_learned() -> Table:
    rows = read("exact_vs_learned")
    return ["state", "total variation", "learned", "exact"], (
        [row.state, f"{row.total_variation:.3f}", row.learned, row.exact] for row in rows.itertuples()
    )


@table
def s2ac_sampler() -> Table:
    shown = {"entropy: hutchinson": "entropy: Hutchinson"}
    lines = []
    for setting in read("s2ac_sampler").setting.unique():
        cells = []
        for task in MODES:
            rows = read("s2ac_sampler", task=task, setting=setting)
            entropies = f"{rows.estimated.mean():.2f} / {rows.actions.mean():.2f}"
            cells += [f"{rows.kl.mean():.3f}", f"{rows.worst_factor.max():.2f}", entropies]
        lines.append([shown.get(setting, setting), *cells])
    entropies = "entropy, estimated / of the actions"
    columns = [cell for modes in MODES.values() for cell in (f"{modes}: KL", "worst factor", entropies)]
    return ["setting", *columns], lines


@table
def s2ac_variants() -> Table:
    names = {"ten": "10 particles", "tenfirst": "10, first critic", "six": "6 particles", "sixfirst": "6, first critic"}
    lines = []
    for label, name in names.items():
        found = [measures("s2ac_variants", task, ("s2ac", label)) for task in MODES]
        cells = [(f"{of.kl.mean():.3f}", f"{of.worst_factor.max():.2f}") for of in found]
        lines.append([name, *itertools.chain(*cells)])
    return ["particles", *(f"{modes}: {what}" for modes in MODES.values() for what in ("KL", "worst factor"))], lines


@table
def s2ac_choices() -> Table:
    names = {"ten3": "10 particles, smallest critic", "first3": "first critic", "mean": "mean of the critics"}
    names |= {"six": "6 particles, first critic", "delayed": "first critic, actor every second step"}
    names |= {"bf163": "10 particles, smallest critic, scores in bfloat16"}
    lines = []
    for label, name in names.items():
        found = [measures("s2ac_choices_modes", task, ("s2ac", label)).kl for task in MODES]
        lines.append([name, *(f"{kl.mean():.3f}" for kl in found)])
    return ["learning rate 3e-3, seeds 100 and 101", *(f"{modes}: KL" for modes in MODES.values())], lines


@table
def s2ac_halfcheetah_choices() -> Table:
    names = {"sac": "SB3 SAC", "ten": "10 particles, smallest critic", "first": "first critic"}
    names |= {
        "mean": "mean of the critics",
        "six": "6 particles, smallest critic",
        "bf16": "10 particles, smallest critic, scores in bfloat16",
    }
    lines = []
    for label, name in names.items():
        returns = final_returns("s2ac_choices", "HalfCheetah-v5", label)
        lines.append([name, f"{returns.mean():.0f}", ", ".join(f"{value:.0f}" for value in returns)])
    return ["HalfCheetah-v5, 50,000 steps", "mean return", "seeds 100, 101, 102"], lines


@table
def s2ac_higher_rate() -> Table:
    names = {"first-3e-3": "particles for all 64 states", "few-3e-3": "amortized, particles for 16 of 64 states"}
    lines = []
    for label, name in names.items():
        found = [measures("multimodal", task, ("s2ac", label)) for task in MODES]
        cells = [(mean_and_range(of.kl, 3), f"{of.worst_factor.max():.2f}") for of in found]
        lines.append([name, *itertools.chain(*cells)])
    return ["", *(f"{modes}: {what}" for modes in MODES.values() for what in ("KL", "worst factor"))], lines


@table
def s2ac_trained_entropy() -> Table:
    best = ", best evaluation"
    labels = [(env, "s2ac", f"100k, seed {seed}") for env in ("HalfCheetah-v5", "Hopper-v5") for seed in range(3)]
    labels += [("HalfCheetah-v5", "s2ac", f"secants, seed 100{best}"), ("HalfCheetah-v5", "sac", f"seed 1{best}")]
    labels += [("HalfCheetah-v5", "s2ac", f"{of}{best}") for of in ("seed 2", "target entropy -4.3, seed 0")]
    labels += [("Pendulum-v1", "s2ac", "20k, seed 0")]
    labels += [("Hopper-v5", "s2ac", f"seed 1{best}"), ("Hopper-v5", "sac", f"seed 1{best}")]
    lines = []
    for env, algo, label in labels:
        rows = read("trained_entropy", env=env, algo=algo, label=label)
        means = [
            "" if rows[of].eq("").all() else f"{rows[of].astype(float).mean():.2f}"
            for of in ("secant", "closed_form", "exact", "own")
        ]
        target = f"{float(rows.target_entropy.iloc[0]):g}"
        lines.append([f"{NAMES[algo, '']}, {env}, {label.removesuffix(best)}".replace("SB3 ", ""), *means, target])
    return ["agent", "entropy by secants", "closed form", "exact", "the actions' own", "target entropy"], lines


def entropy_errors(rows: pd.DataFrame, *estimators: str) -> str:
    """Of one row, what estimates miss the particles' own entropy by."""
    (row,) = rows.itertuples()
    return " / ".join(f"{float(getattr(row, name)) - float(row.own):+.2f}" for name in estimators)


@table
def s2ac_entropy() -> Table:
    every = read("s2ac_entropy", particles=10, steps=3, precondition=True)
    dimensions = every.dimensions.unique()
    lines = []
    for energy in every.energy.unique():
        rows = every[every.energy == energy]
        lines.append([energy, *(entropy_errors(rows[rows.dimensions == dim], "secant", "closed_form") for dim in dimensions)])
    return ["energy", *(f"d = {dim}" for dim in dimensions)], lines


@table
def s2ac_entropy_alternatives() -> Table:
    rows = read("s2ac_entropy", particles=10, steps=3, precondition=True, energy="Gaussian, width 0.3")
    estimators = ["secant", "closed_form", "hutchinson", "exact", "own", "optimum"]
    lines = [[row.dimensions, *(f"{float(getattr(row, name)):.2f}" for name in estimators)] for row in rows.itertuples()]
    return ["d", "secant", "closed form", "Hutchinson", "exact", "the particles' own", "optimum"], lines


@table
def s2ac_entropy_settings() -> Table:
    every = read("s2ac_entropy")
    varied = every[(every.particles != 10) | (every.steps != 3) | ~every.precondition.astype(bool)]
    energies, dimensions = varied.energy.unique(), varied.dimensions.unique()
    lines = []
    for (particles, steps, precondition), rows in varied.groupby(["particles", "steps", "precondition"]):
        setting = f"{particles} particles, {steps} step{'s' if steps > 1 else ''}" + ("" if precondition else ", in u")
        cells = (
            ", ".join(
                entropy_errors(rows[(rows.energy == energy) & (rows.dimensions == dim)], "secant") for energy in energies
            )
            for dim in dimensions
        )
        lines.append([setting, *cells])
    return ["setting", *(f"d = {dim}" for dim in dimensions)], lines


# What entropy.csv calls the estimates, and what the pages do
ESTIMATES = {"own determinant": "exact", "joint determinant": "determinant of the map of all, / N"}
NEIGHBOURS = "nearest neighbours"
# Samplers and estimates of the two tables of known densities
IN_GAUSSIAN = {
    "SVGD": ["closed form", "with Hessian", "Hutchinson", *ESTIMATES, "fitted Gaussian", NEIGHBOURS],
    "SGLD": ["change of variables", NEIGHBOURS],
    "gradient flow": ["change of variables", NEIGHBOURS],
    "HMC, one trajectory": ["unchanged joint", NEIGHBOURS],
    "HMC, new velocities": ["unchanged joint", NEIGHBOURS],
    "exact": ["log-density", NEIGHBOURS],
}
IN_MIXTURES = {
    "SVGD": ["closed form", "with Hessian", "Hutchinson", "own determinant", "fitted Gaussian", NEIGHBOURS],
    "SGLD": ["change of variables", NEIGHBOURS],
    "gradient flow": ["change of variables"],
    "HMC, one trajectory": ["unchanged joint"],
    "HMC, new velocities": ["unchanged joint", NEIGHBOURS],
    "exact": [NEIGHBOURS],
}


@table
def entropy_gaussian() -> Table:
    shown = ESTIMATES | {"own determinant": "exact (determinant of the map of one)", NEIGHBOURS: f"({NEIGHBOURS})"}
    lines = []
    for of_sampler, estimators in IN_GAUSSIAN.items():
        for estimator in estimators:
            row = (
                read("entropy", part="gaussian", sampler=of_sampler, estimator=estimator)
                .astype({"standard_error": float})
                .iloc[0]
            )
            value = f"{float(row.entropy):.2f} ± {row.standard_error:.2f}"
            errors = [f"{float(row[column]):.2f}" for column in ("error", "error_to_own")]
            lines.append([of_sampler, shown.get(estimator, estimator), value, *errors])
    return ["sampler", "estimator", "entropy", "error to the target's", "error to its own particles'"], lines


@table
def entropy_mixtures() -> Table:
    dimensions = [2, 5, 10, 20, 50, 100]
    first = [read("entropy", part="mixture", dim=dim).iloc[0] for dim in dimensions]
    lines = [["target", "entropy", *(f"{float(row.truth):.3f} ± {float(row.truth_error):.3f}" for row in first)]]
    for of_sampler, estimators in IN_MIXTURES.items():
        for estimator in estimators:
            rows = read("entropy", part="mixture", sampler=of_sampler, estimator=estimator, steps=30).set_index("dim")
            lines.append(
                [of_sampler, ESTIMATES.get(estimator, estimator), *(f"{float(rows.error[dim]):.2f}" for dim in dimensions)]
            )
    return ["sampler", "estimate", *(f"d = {dim}" for dim in dimensions)], lines


@table
def soak() -> Table:
    lines = []
    for (name, mode), rows in read("soak").groupby(["configuration", "mode"], sort=False):
        total = rows["gradient steps in all"].iloc[-1]
        late = rows[rows["gradient steps"] >= 0.2 * total]  # after the warm-up of soak.py
        memory, objects = (late[of].max() / late[of].iloc[0] - 1 for of in ("resident bytes", "Python objects"))
        files = ", ".join(map(str, sorted(late["open files"].unique())))
        end = rows.iloc[-1]
        cells = [name, mode, f"{total:,}", f"{end.seconds:.0f}", f"{end['resident bytes'] / 1e6:.0f}"]
        lines.append([*cells, f"{memory:.2%}", f"{objects:.2%}", files])
    header = ["algorithm", "step", "gradient steps", "seconds", "MB at the end", "MB grew by", "Python objects grew by"]
    return [*header, "open files"], lines


# ---------------------------------------------------------------------- pages


def regenerate(text: str) -> tuple[str, list[str]]:
    """
    A page with its tables as the CSV files have them.

    :param text: of the page
    :return: the page, and the names of the tables that have changed
    :raises ValueError: if the page names a table that is not here, or a block has no end
    """
    changed = []

    def replace(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            raise ValueError(f"there is no table {match[1]!r}; there are {', '.join(sorted(TABLES))}")
        content = f"\n{TABLES[match[1]]()}\n\n"
        if content != match[2]:
            changed.append(match[1])
        return f"<!-- results: {match[1]} -->\n{content}<!-- end -->"

    new, blocks = MARKED.subn(replace, text)
    if blocks != len(re.findall("^<!-- results:", text, re.MULTILINE)):
        raise ValueError("a block of results has no end, or its first line is not '<!-- results: NAME -->'")
    return new, changed


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name the tables that differ")
    check = parser.parse_args(arguments).check
    stale = False
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        try:
            new, changed = regenerate(text)
        except ValueError as error:
            raise ValueError(f"{page.relative_to(DOCS)}: {error}") from error
        for name in changed:
            print(f"{page.relative_to(DOCS.parent)}: {name} {'differs from its CSV file' if check else 'written'}")
        stale |= bool(changed)
        if not check and changed:
            page.write_text(new)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
