"""Policies with several modes: bandits, MultiGoal, composition."""

import itertools
from collections.abc import Iterable

import numpy as np

from result_tables.common import (
    CONDITIONAL_RADIAL,
    ENVIRONMENTS,
    MIXTURE,
    MODES,
    NAMES,
    RADIAL,
    S2AC,
    SAC,
    SACNF,
    SQL,
    Table,
    iqm_of,
    mean_and_range,
    mean_and_std,
    measures,
    percent_range,
    read,
    seed_by_seed,
    table,
)
from result_tables.returns import MUJOCO, ON_MUJOCO
from result_tables.speed import COMPILED, acting, median_ratio


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
