"""Returns on tasks."""

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from result_tables.common import Table, final_returns, iqm_of, mean_and_range, mean_and_std, over_seeds, read, read_file, table


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
    present = read_file("discrete")
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
    present = read_file("minatar")
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
def pong() -> Table:
    steps = range(100_000, 700_001, 100_000)
    lines = [
        [name, *(f"{read('pong', algo=algo, step=step).mean_return.item():.1f}" for step in steps)]
        for algo, name in (("discretesac", "DiscreteSAC"), ("dqn", "SB3 DQN"))
    ]
    return ["Pong, 5 games, seed 0", *(f"{step // 1000}k" for step in steps)], lines


@table
def pixel_speed() -> Table:
    medians = read_file("pixel_speed").groupby(["algorithm", "env"], sort=False).steps_a_second.median()
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
    rows = read_file("minatar_discretesac")
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
    rows = read_file("lander_hover").sort_values(["seed", "step"])
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
    for env, group in read_file("adaptive_target").groupby("env"):
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
