"""
Search hyperparameters with the RL Zoo and Optuna, then print those of the best trial, as arguments for the constructor.

    python examples/optimise.py --algo sql --env CartPole-v1 --trials 20 --steps 10000

The trials are kept in optimise/study.log: started again, or on several machines that share the folder, they add up.
"""

import argparse
import subprocess
import sys
from pprint import pprint

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sb3_maxent.zoo import convert_params

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--algo", default="sql", choices=["sql", "discretesac", "s2ac"])
parser.add_argument("--env", default="CartPole-v1")
parser.add_argument("--trials", type=int, default=20)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps of a trial")
args = parser.parse_args()

name, storage = f"{args.algo}-{args.env}", "optimise/study.log"
command = [sys.executable, "-m", "sb3_maxent.zoo", "train", "--algo", args.algo, "--env", args.env, "-n", str(args.steps)]
command += ["-optimize", "--n-trials", str(args.trials), "--n-evaluations", "4", "--no-optim-plots", "-f", "optimise"]
subprocess.run([*command, "--storage", storage, "--study-name", name, "--device", "cpu"], check=True)

trial = optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(storage))).best_trial
print(f"\nBest of all trials: {trial.number}, with a mean return of {trial.value:.1f}")
pprint(convert_params(trial.params))
