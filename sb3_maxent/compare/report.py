"""The report of a comparison: one Markdown text, the same as a page that needs nothing else, figures, and raw numbers."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from sb3_maxent.compare.results import Result, write_csv
from sb3_maxent.compare.scores import (
    CURVE_REPETITIONS,
    Curve,
    counted,
    counts,
    evaluation_scores,
    final_score,
    learning_curve,
    milestones,
    scores_at,
)
from sb3_maxent.reporting import formatting as fmt
from sb3_maxent.reporting.page import FOLDED, write_page
from sb3_maxent.reporting.statistics import (
    REPETITIONS,
    Estimate,
    normalise,
    performance_profile,
    probability_of_improvement,
    summarise,
)

# Where performance profiles are drawn, and from how many environments on
PROFILE_SCORES = np.linspace(0, 1, 101)
PROFILE_ENVIRONMENTS = 3


# ---------------------------------------------------------------------- figures


def draw_learning_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """
    Draw an IQM with its interval as a band for each algorithm, and, as thin lines, the runs that are not in it: they end
    with a circle where they are not finished, with a cross where they failed. No legend: ``axes.figure.legend()``.

    An algorithm's colour and line style are those of its place in ``curves``: pass the same algorithms in the same order
    for each environment (an empty curve is not drawn).

    :param axes: where to draw
    :param curves: the curves of the algorithms on one environment, see ``learning_curve``
    """
    for index, curve in enumerate(curves):
        look = fmt.look(index)
        label = curve.algo
        if curve.n_counted < curve.n_runs:
            label += f" ({curve.n_counted or 'none'} of {fmt.count(curve.n_runs, 'run')})"
        if len(curve.steps):
            single = len(curve.steps) == 1
            axes.plot(curve.steps, curve.iqm, label=label, linewidth=1.8, marker="o" if single else None, **look)
            if single:
                axes.vlines(curve.steps, curve.low, curve.high, color=look["color"])
            else:
                axes.fill_between(curve.steps, curve.low, curve.high, color=look["color"], alpha=0.18, linewidth=0)
        for number, run in enumerate(curve.others):
            scores = evaluation_scores(run)
            thin = {"linewidth": 0.9, **look}
            axes.plot(run.steps, scores, label=None if number or len(curve.steps) else label, **thin)
            if run.status != "finished" or not np.isfinite(scores[-1]):
                finite = np.flatnonzero(np.isfinite(scores))[-1:]
                marker = {"unfinished": "o"}.get(run.status, "x")
                axes.plot(run.steps[finite], scores[finite], marker, color=look["color"], markersize=4, markerfacecolor="none")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set(xlabel="environment steps", ylabel="return")


def _curves_figure(env: str, curves: Sequence[Curve]) -> Figure:
    figure = Figure(figsize=(6, 3.7), layout="constrained")
    axes = figure.subplots()
    axes.set_title(fmt.shorten(env, 52), loc="left", fontsize=11)
    draw_learning_curves(axes, curves)
    labels = axes.get_legend_handles_labels()[1]
    columns = max(1, int(430 / (60 + 6.5 * max(map(len, labels)))))  # of 432 points
    figure.set_figheight(3.4 + 0.2 * math.ceil(len(labels) / columns))
    figure.legend(loc="outside lower left", ncols=columns)
    return figure


def _aggregate_figure(algos: Sequence[str], estimates: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """Point estimates and intervals, best at the top; the colours are those of the curves"""
    figure = Figure(figsize=(6, 1.1 + 0.32 * len(estimates)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, name in zip(panels, ("IQM", "mean", "median"), strict=True):
        for row, (algo, of_algo) in enumerate(estimates.items()):
            value, low, high = of_algo[name]
            colour = fmt.look(algos.index(algo))["color"]
            axes.plot([low, high], [row, row], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
            axes.plot([value], [row], "|", color=colour, markersize=13, markeredgewidth=2.5)
        axes.set_title(name, fontsize=10)
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=5, min_n_ticks=3)
    panels[0].set_yticks(range(len(estimates)), [fmt.shorten(algo, 24) for algo in estimates])
    panels[0].set_ylim(len(estimates) - 0.5, -0.5)
    panels[1].set_xlabel("normalised score")
    return figure


def _profiles_figure(algos: Sequence[str], profiles: Mapping[str, np.ndarray]) -> Figure:
    """Share of the runs above each score, with its interval as a band; the colours are those of the curves"""
    figure = Figure(figsize=(6, 3.7), layout="constrained")
    axes = figure.subplots()
    for algo, (share, low, high) in profiles.items():
        look = fmt.look(algos.index(algo))
        axes.plot(PROFILE_SCORES, share, label=fmt.shorten(algo, 24), linewidth=1.8, **look)
        axes.fill_between(PROFILE_SCORES, low, high, color=look["color"], alpha=0.18, linewidth=0)
    axes.set(xlabel="normalised score", ylabel="share of the runs above it", ylim=(-0.02, 1.02))
    figure.legend(loc="outside lower left", ncols=3)
    return figure


# ---------------------------------------------------------------------- Markdown


def _settings_rows(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """One row for each value; a mapping of short values is one row, too"""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and any(len(str(inner)) > 60 for inner in value.values()):
            yield from _settings_rows(value, f"{name}, ")
        elif isinstance(value, Mapping):
            yield fmt.code(name), fmt.codes(f"{inner}: {text}" for inner, text in value.items()) or fmt.NONE
        elif isinstance(value, (list, tuple, set)):
            yield fmt.code(name), fmt.code(", ".join(map(str, value)))
        else:
            yield fmt.code(name), fmt.NONE if value is None else fmt.code(value)


# ---------------------------------------------------------------------- sections


class _Comparison:
    """
    What the sections share.

    :param results: all runs, at least one
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        self.algos = list(dict.fromkeys(result.algo for result in results))
        self.envs = list(dict.fromkeys(result.env for result in results))
        self.runs = {
            env: {algo: [run for run in results if (run.env, run.algo) == (env, algo)] for algo in self.algos}
            for env in self.envs
        }
        # Final scores of the runs that count, of the algorithms that have one
        self.scores = {
            env: {
                algo: np.array([final_score(run) for run in counted(runs)]) for algo, runs in of_env.items() if counted(runs)
            }
            for env, of_env in self.runs.items()
        }
        # All environments on which all algorithms have a score, but for algorithms that have one nowhere
        self.scored = [algo for algo in self.algos if any(algo in of_env for of_env in self.scores.values())]
        self.common = [env for env in self.envs if self.scored and self.scores[env].keys() == set(self.scored)]

    def by_iqm(self, estimates: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
        return sorted(estimates, key=lambda algo: -estimates[algo]["IQM"].value)


def _what(comparison: _Comparison) -> Iterable[str]:
    results = comparison.results
    algos, envs = (
        fmt.count(len(names), noun) for names, noun in ((comparison.algos, "algorithm"), (comparison.envs, "environment"))
    )
    seeds = {result.seed for result in results}
    finished = sum(result.status == "finished" for result in results)
    text = (
        f"{algos} ({fmt.codes(comparison.algos)}) on {envs} ({fmt.codes(comparison.envs)})"
        f" with {fmt.count(len(seeds), 'seed')} ({fmt.ranges(seeds)}),"
        f" {fmt.span(result.n_timesteps for result in results)} environment steps a run."
    )
    evaluated = [result for result in results if result.status == "finished" and len(result.steps)]
    if evaluated:
        text += (
            f" Evaluations of a run: {fmt.span(len(result.steps) for result in evaluated)};"
            f" episodes of each: {fmt.span(int(number) for result in evaluated for number in result.summary[2])}."
        )
    yield f"{text} {finished} of {fmt.count(len(results), 'run')} finished."


def _verdict(comparison: _Comparison) -> Iterable[str]:
    """For each environment the best algorithm, and whether the runs tell it from the next one"""
    rows = []
    for env in comparison.envs:
        scores = comparison.scores[env]
        estimates = {algo: summarise(values[:, None]) for algo, values in scores.items()}
        if len(scores) < 2:
            continue
        best, second, *_ = comparison.by_iqm(estimates)
        probability = probability_of_improvement([(scores[best], scores[second])])[0]
        told_apart = "better" if probability.low > 0.5 else "not told apart"
        iqm = fmt.interval(estimates[best]["IQM"], fmt.decimals(np.concatenate(list(scores.values()))))
        rows.append([fmt.code(env), fmt.code(best), iqm, fmt.code(second), fmt.interval(probability, 2), told_apart])
    if not rows:
        return
    yield "## Verdict"
    yield fmt.table(("environment", "highest IQM", "IQM", "next", "probability of improvement", "verdict"), rows)
    yield (
        "“Better” is said where the interval of the probability that a run of the first scores higher than one of the next"
        " lies above 0.5. Else these runs don't tell the two apart, which does not show that they are equally good."
    )


def _guide(comparison: _Comparison) -> Iterable[str]:
    yield "## How to read it"
    lines = [
        "**Score of a run:** the mean return (sum of rewards, not discounted) over the episodes of its last evaluation, not of"
        " its best one. Only finished runs count.",
        "**Mean, median, IQM** are over the scores of an algorithm's runs. The interquartile mean (IQM) leaves out the lowest"
        " and the highest quarter of the runs: like the median it does not hang on a single run, and it uses more of the data."
        " Tables are in the order of the IQM, best first.",
        "**IQM on the way:** the same number at a quarter and at half of the steps, and at the last step that all runs of all"
        " algorithms reached. Between two evaluations of a run its score is interpolated. No number means that a score is not"
        " finite.",
        f"**[Intervals]** are 95% percentile intervals of a stratified bootstrap over runs ({REPETITIONS:,} resamples, by"
        " rliable): how far the number would move if the experiment were repeated with other seeds. That two intervals"
        " overlap does not show that two algorithms are equally good.",
        "**Probability of improvement**, X over Y: how probable it is that a run of X scores higher than a run of Y, ties"
        " counted half. 0.5 says that neither is better. It tells how often X wins, not by how much;"
        " 1.00 [1.00, 1.00] says no more than that all of X's runs are above all of Y's.",
        "**Wall-clock** is the median time of a finished run, with its evaluations. Runs that went side by side slowed each"
        " other: compare times within this report only, and with care.",
    ]
    fewest = min((len(scores) for of_env in comparison.scores.values() for scores in of_env.values()), default=5)
    if fewest < 5:
        lines.insert(
            3, f"**Few runs:** an interval over fewer than five (here {fewest}) is usually too narrow. Better take ten."
        )
    yield "\n".join(f"- {line}" for line in lines)


def _environment(comparison: _Comparison, env: str, folder: Path) -> Iterable[str]:
    runs, scores = comparison.runs[env], comparison.scores[env]
    asked = {algo: of_algo for algo, of_algo in runs.items() if of_algo}
    incomplete = any(len(scores.get(algo, ())) < len(of_algo) for algo, of_algo in asked.items())
    yield f"## {fmt.code(env)}{' (incomplete)' if incomplete else ''}"

    estimates = {algo: summarise(values[:, None]) for algo, values in scores.items()}
    decimals = fmt.decimals(np.concatenate(list(scores.values()))) if scores else 0
    rows = []
    for algo in [*comparison.by_iqm(estimates), *(algo for algo in asked if algo not in scores)]:
        row = [fmt.code(algo), f"{len(scores.get(algo, ()))} of {len(asked[algo])}"]
        row += [
            fmt.interval(estimates[algo][name], decimals) if algo in scores else fmt.NONE for name in ("IQM", "mean", "median")
        ]
        timed = [run for run in asked[algo] if run.status == "finished" and run.seconds]
        if timed:
            row.append(fmt.duration(float(np.median([run.seconds for run in timed if run.seconds]))))
            row.append(
                f"{np.median([(run.num_timesteps or run.n_timesteps) / run.seconds for run in timed if run.seconds]):,.0f}"
            )
        else:
            row += [fmt.NONE, fmt.NONE]
        rows.append(row)
    yield fmt.table(("algorithm", "runs", "IQM", "mean", "median", "wall-clock", "steps/s"), rows)

    single = [algo for algo, values in scores.items() if len(values) == 1]
    if single:
        yield f"No interval for {fmt.codes(single)}: it takes at least two finished runs."
    equal = [algo for algo, values in scores.items() if len(values) > 1 and values.min() == values.max()]
    if equal:
        yield f"The runs of {fmt.codes(equal)} all have the same score, so that its interval has no width."
    without = [algo for algo in asked if algo not in scores]
    if without:
        yield f"No finished run with a score: {fmt.codes(without)}."
    for noun, numbers in (
        ("Steps that a run was to take", {algo: {run.n_timesteps for run in of_algo} for algo, of_algo in asked.items()}),
        (
            "Steps at the last evaluation",
            {algo: {int(run.steps[-1]) for run in counted(of_algo)} for algo, of_algo in asked.items() if algo in scores},
        ),
    ):
        if len(set().union(*numbers.values())) > 1:
            each = "; ".join(f"{fmt.code(algo)} {fmt.span(of_algo)}" for algo, of_algo in numbers.items())
            yield f"{noun} are not the same for all, which a comparison should be aware of: {each}."

    curves = [learning_curve(of_algo) if of_algo else _no_curve(algo) for algo, of_algo in runs.items()]
    if not any(len(curve.steps) or curve.others for curve in curves):
        yield "No run has been evaluated so far: there is no curve to draw."
        return
    ends = ", ".join(
        f"{curve.iqm[-1]:.{decimals}f} for {curve.algo}" for curve in curves if len(curve.steps) and np.isfinite(curve.iqm[-1])
    )
    title = f"Learning curves on {env}" + (f"; IQM at the end {ends}" if ends else "")
    yield _image(folder, f"curves_{env}", title, _curves_figure(env, curves))
    caption = (
        f"IQM over the runs at common steps, with a pointwise 95% interval ({CURVE_REPETITIONS:,} resamples). A curve ends"
        " where the first of its runs ends; between a run's evaluations its score is interpolated."
    )
    if any(curve.others for curve in curves):
        caption += (
            " Thin lines are single runs that are not in the curves: they end with a circle if not finished, with a cross if"
            " failed or not finite."
        )
    yield caption
    yield from _on_the_way(env, {algo: counted(asked[algo]) for algo in comparison.by_iqm(estimates)}, decimals)


def _on_the_way(env: str, runs: Mapping[str, Sequence[Result]], decimals: int) -> Iterable[str]:
    """IQM and interval of each algorithm at a quarter and at half of the steps, and at the last one that all runs share"""
    steps = milestones([run for of_algo in runs.values() for run in of_algo])
    if not steps and any(runs.values()):
        yield f"{fmt.code(env)} has no step that all runs reached, so their IQM on the way is not compared."
    if len(steps) < 2:
        return
    yield f"### {fmt.code(env)}: IQM on the way"
    rows = []
    for algo, of_algo in runs.items():
        cells = []
        for scores in scores_at(of_algo, steps).T if of_algo else [np.array([np.nan])] * len(steps):
            finite = np.isfinite(scores).all()
            cells.append(fmt.interval(summarise(scores[:, None])["IQM"], decimals) if finite else fmt.NONE)
        rows.append([fmt.code(algo), *cells])
    yield fmt.table(("algorithm", *(f"{step:,} steps" for step in steps)), rows)


def _improvement(comparison: _Comparison) -> Iterable[str]:
    if len(comparison.scored) < 2:
        return
    scores, common = comparison.scores, comparison.common
    over_all = len(common) > 1
    rows = []
    for x, y in combinations(comparison.scored, 2):
        both = [env for env in comparison.envs if x in scores[env] and y in scores[env]]
        cells = dict.fromkeys(comparison.envs, fmt.NONE)
        if both:
            estimates = probability_of_improvement([(scores[env][x], scores[env][y]) for env in both])
            cells.update(zip(both, (fmt.interval(estimate, 2) for estimate in estimates), strict=False))
        row = [f"{fmt.code(x)} over {fmt.code(y)}", *cells.values()]
        if over_all:
            if both != common:
                estimates = probability_of_improvement([(scores[env][x], scores[env][y]) for env in common])
            row.append(fmt.interval(estimates[-1], 2))
        rows.append(row)
    yield "## Probability of improvement"
    yield fmt.table(("X over Y", *map(fmt.code, comparison.envs), *(["mean"] if over_all else [])), rows)
    if over_all and len(common) < len(comparison.envs):
        yield f"The mean is over the environments on which all algorithms have a score: {fmt.codes(common)}."


def _aggregate(comparison: _Comparison, folder: Path) -> Iterable[str]:
    common, scored = comparison.common, comparison.scored
    if len(comparison.envs) < 2:
        return
    yield "## Over the environments"
    if len(common) < 2:
        yield (
            "There is no aggregate: it takes two environments on which all algorithms have a finished run (but for algorithms"
            " that have one nowhere)."
        )
        return
    normalised = {env: normalise(comparison.scores[env]) for env in common}
    # As many runs of each environment, so that these weigh the same; chosen by seed, not by score
    fewest = {algo: min(len(normalised[env][algo]) for env in common) for algo in scored}
    estimates = {
        algo: summarise(np.stack([normalised[env][algo][: fewest[algo]] for env in common], axis=1)) for algo in scored
    }
    order = comparison.by_iqm(estimates)
    yield (
        "A normalised score is 0 for the lowest and 1 for the highest final score on an environment, of all finished runs of"
        " all algorithms in this report. So these numbers depend on the algorithms that are compared, and on their luckiest"
        " and unluckiest runs: **do not compare them with other reports.** The IQM is over all runs on all environments; mean"
        " and median are over the environments' means."
    )
    if len(common) < len(comparison.envs):
        yield f"Only the environments on which all algorithms have a score: {fmt.codes(common)}."
    if set(scored) != set(comparison.algos):
        yield f"Without a finished run anywhere: {fmt.codes(algo for algo in comparison.algos if algo not in scored)}."
    flat = [env for env in common if np.ptp(np.concatenate(list(comparison.scores[env].values()))) == 0]
    if flat:
        yield f"All scores are the same on {fmt.codes(flat)}: 0.5 for each."
    yield fmt.table(
        ("algorithm", "runs each", "IQM", "mean", "median"),
        (
            [
                fmt.code(algo),
                str(fewest[algo]),
                *(fmt.interval(estimates[algo][name], 3) for name in ("IQM", "mean", "median")),
            ]
            for algo in order
        ),
    )
    if any(len(normalised[env][algo]) > fewest[algo] for env in common for algo in scored):
        yield (
            "“Runs each” is the number of runs of each environment that are used, so that all environments weigh the same: the"
            " fewest that finished on one of them, taken by seed."
        )
    title = "Normalised scores over the environments, with 95% intervals; IQM "
    title += ", ".join(f"{estimates[algo]['IQM'].value:.3f} for {algo}" for algo in order)
    yield _image(folder, "aggregate", title, _aggregate_figure(comparison.algos, {algo: estimates[algo] for algo in order}))

    if len(common) < PROFILE_ENVIRONMENTS:
        return
    yield "### Performance profiles"
    profiles = {
        algo: performance_profile(np.stack([normalised[env][algo][: fewest[algo]] for env in common], axis=1), PROFILE_SCORES)
        for algo in order
    }
    middle = len(PROFILE_SCORES) // 2
    title = "Performance profiles; share of the runs with a normalised score above 0.5: "
    title += ", ".join(f"{profiles[algo][0, middle]:.2f} for {algo}" for algo in order)
    yield _image(folder, "profiles", title, _profiles_figure(comparison.algos, profiles))
    yield (
        "Share of the runs, over all environments, with a normalised score above that of the axis, and its pointwise 95%"
        " interval. An algorithm whose line is above another's everywhere is better at every level; where lines cross, one has"
        " more good runs and the other fewer bad ones."
    )


def _missing(comparison: _Comparison) -> Iterable[str]:
    yield "## What is missing"
    rows = []
    for env, of_env in comparison.runs.items():
        for algo, runs in of_env.items():
            kinds: dict[str, list[Result]] = {}
            for run in runs:
                if not counts(run):
                    kinds.setdefault(_state(run), []).append(run)
            for kind, of_kind in kinds.items():
                reached = fmt.span(int(run.steps[-1]) if len(run.steps) else 0 for run in of_kind)
                steps = f"{reached} of {fmt.span(run.n_timesteps for run in of_kind)}"
                rows.append([fmt.code(env), fmt.code(algo), kind, fmt.ranges(run.seed for run in of_kind), steps])
    if rows:
        yield "These runs are not in the statistics."
        yield fmt.table(("environment", "algorithm", "state", "seeds", "evaluated up to step"), rows)
    else:
        yield "Nothing: all runs finished and have a score."


def _state(run: Result) -> str:
    if run.status == "missing":
        return "not begun"
    if run.status != "finished":
        return run.status
    return "finished, score not finite" if len(run.steps) else "finished, never evaluated"


def _no_curve(algo: str) -> Curve:
    return Curve(algo, *(np.empty(0),) * 4, 0, 0, ())


def _image(folder: Path, name: str, title: str, figure: Figure) -> str:
    """Save a figure under a file name of its own that is safe everywhere, and refer to it."""
    stem = unique = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:80].rstrip("._")
    taken = {path.stem.lower() for path in (folder / "figures").iterdir()}
    number = 2
    while unique.lower() in taken:
        unique, number = f"{stem}_{number}", number + 1
    fmt.save_figure(figure, folder / "figures" / unique, title)
    return f"![{fmt.plain(title)}](figures/{unique}.svg)"


def write_report(folder: Path, results: Sequence[Result], settings: Mapping[str, Any]) -> Path:
    """
    Write ``report.md``, ``report.html`` (the same in a single file), ``results.csv`` and ``figures/*.png`` and ``*.svg``.
    The same runs give the same files.

    :param folder: where to, is made if need be; what an earlier report left there is replaced
    :param results: all runs that were asked for, at least one, whatever became of them; their order is the order of
        environments and algorithms
    :param settings: how they were made; printed as it stands, mappings within it as well
    :return: path of the HTML page
    :raises ValueError: if ``results`` is empty
    """
    if not results:
        raise ValueError("results is empty: a report needs at least one run, be it an unfinished one")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for old in (folder / "figures").iterdir():
        if re.fullmatch(r"(curves_.*|aggregate|profiles)\.(png|svg)", old.name):
            old.unlink()
    write_csv(folder / "results.csv", results)

    comparison = _Comparison(results)
    title = fmt.shorten(f"Comparison of {', '.join(comparison.algos)} on {', '.join(comparison.envs)}", 120)
    blocks = [f"# {fmt.plain(title)}"]
    missing = sum(not counts(result) for result in results)
    if missing:
        blocks.append(
            f"> **Incomplete:** {missing} of {fmt.count(len(results), 'run')} have no final score; see “What is missing”."
        )
    blocks += _what(comparison)
    blocks += _verdict(comparison)
    with mpl.rc_context(fmt.STYLE):
        for env in comparison.envs:
            blocks += _environment(comparison, env, folder)
        blocks += _improvement(comparison)
        blocks += _aggregate(comparison, folder)
    blocks += _missing(comparison)
    blocks += _guide(comparison)
    if settings:
        blocks += [f"## {FOLDED}", fmt.table(("setting", "value"), _settings_rows(settings))]
    blocks.append("The raw numbers are in `results.csv`, the figures as PNG and SVG files in `figures`, beside this page.")
    return write_page(folder, "report", title, blocks)
