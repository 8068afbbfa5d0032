"""What a step, acting, and a training cost."""

import itertools
from collections.abc import Iterable

import numpy as np

from result_tables.common import BASELINE, NAMES, RADIAL, Table, read, read_file, table

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
    rows = read_file("speed")
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
