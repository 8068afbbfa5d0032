"""
Train on a small MDP whose soft-optimal policy is known exactly, and draw learned against exact action probabilities.

    python examples/exact_vs_learned.py --algo discretesac --steps 20000
"""

import argparse

import gymnasium as gym
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.reference import soft_value_iteration, total_variation
from sb3_maxent.reporting.formatting import STYLE, save
from sb3_maxent.reporting.looks import BLUE, ORANGE, legend_of_panels, rows_and_columns

ALGORITHMS = {"discretesac": DiscreteSAC, "sql": SoftQLearning}
N_STATES, N_ACTIONS, GAMMA, ENT_COEF = 5, 3, 0.9, 0.3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--algo", choices=ALGORITHMS, default="discretesac")
parser.add_argument("--steps", type=int, default=20_000, help="environment steps; there is one gradient step for every two")
parser.add_argument("--seed", type=int, default=0, help="of the MDP and of the training")
parser.add_argument("--output", default="exact_vs_learned.png", help="file for the figure, .png or .svg")
args = parser.parse_args()

rng = np.random.default_rng(args.seed)
transitions = rng.dirichlet(np.full(N_STATES, 0.3), size=(N_STATES, N_ACTIONS))
rewards = rng.uniform(size=(N_STATES, N_ACTIONS))
exact = soft_value_iteration(transitions, rewards, GAMMA, ENT_COEF)[2]

env = gym.make("TabularMDP-v0", transitions=transitions, rewards=rewards)
parameters = {"learning_rate": lambda left: 3e-3 * left + 1e-5, "train_freq": 64, "gradient_steps": 32, "tau": 0.05}
parameters |= {"policy_kwargs": {"net_arch": [32]}, "gamma": GAMMA, "ent_coef": ENT_COEF, "seed": args.seed, "device": "cpu"}
model = ALGORITHMS[args.algo]("MlpPolicy", env, **parameters).learn(args.steps)

# The frequencies of 10000 sampled actions per state: works for any policy, to about 0.01
samples = np.stack([model.predict(np.full(10_000, state), deterministic=False)[0] for state in range(N_STATES)])
learned = np.stack([(samples == action).mean(axis=1) for action in range(N_ACTIONS)], axis=1)

print("state  total variation  learned -> exact probabilities")
for state, distance in enumerate(total_variation(learned, exact)):
    print(f"{state:5d}  {distance:15.3f}  {learned[state].round(3)} -> {exact[state].round(3)}")

with rc_context(STYLE):
    n_rows, n_columns = rows_and_columns(N_STATES)
    figure = Figure(figsize=(2.6 * n_columns, 2.2 * n_rows + 0.5), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True).ravel()
    for state, axes in enumerate(panels[:N_STATES]):
        axes.bar(np.arange(N_ACTIONS) - 0.2, exact[state], 0.4, color=BLUE, label="exact")
        axes.bar(np.arange(N_ACTIONS) + 0.2, learned[state], 0.4, color=ORANGE, label=f"learned ({args.algo})")
        axes.set(title=f"state {state}", xlabel="action", xticks=range(N_ACTIONS), axisbelow=True)
    for axes in panels[::n_columns]:
        axes.set_ylabel("probability")
    for axes in panels[N_STATES:]:
        axes.remove()
    bars = legend_of_panels(figure)
    figure.legend(bars.values(), bars.keys(), loc="outside lower center", ncols=2)
    save(figure, args.output, "Learned beside exact action probabilities, state by state")
print(f"Saved {args.output}")
