"""Samplers, densities and entropies against their exact values; memory."""

import itertools
import json

import pandas as pd

from result_tables.common import MODES, NAMES, Table, final_returns, mean_and_range, measures, read, seed_by_seed, table


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
