"""``python -m sb3_maxent``: what commands there are."""

import sb3_maxent
from sb3_maxent import __version__

COMMANDS = {
    "zoo": "train, watch, tune, plot: every command of the RL Zoo, with this package's algorithms",
    "compare": "which algorithm is better on a task, over seeds, with intervals",
    "robustness": "what is left of trained agents' returns in perturbed worlds",
}


def main() -> None:
    """Print the commands."""
    print(f"sb3_maxent {__version__}: maximum-entropy reinforcement learning for Stable-Baselines3\n")
    for name, purpose in COMMANDS.items():
        print(f"python -m sb3_maxent.{name:12s} {purpose}")
    algorithms = ", ".join(name for name in sb3_maxent.__all__ if isinstance(getattr(sb3_maxent, name), type))
    print(f"\nEach shows its arguments with --help. From Python: from sb3_maxent import {algorithms}")


if __name__ == "__main__":
    main()
