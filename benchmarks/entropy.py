"""
The entropy evaluation of 2405.00987 (Section 5.1), with normalised densities: what do the estimates of a sampler's
entropy estimate, and what is the entropy that its particles really have?

SVGD with every estimate of ``sb3_maxent.functional.stein_entropy``, and beside it Langevin dynamics with and without
noise and Hamiltonian Monte Carlo, all from the same start: on the poster's Gaussian (entropy 3.4112), on mixtures of
four Gaussians in 2 to 100 dimensions, and with other bandwidths, step sizes, particles, steps and starts::

    python benchmarks/entropy.py --csv benchmarks/data/entropy.csv --figure docs/figures/entropy.svg
    python benchmarks/entropy.py --csv benchmarks/data/entropy.csv --report
"""

import argparse
from pathlib import Path

import torch as th
from entropies.experiment import COLUMNS, measure
from entropies.figure import draw
from entropies.report import report
from tables import DATA, read, write


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few repetitions of the first parts, for a test")
    parser.add_argument("--csv", type=Path, default=DATA / "entropy.csv")
    parser.add_argument("--figure", type=Path, help="draw what is in the CSV")
    parser.add_argument("--report", action="store_true", help="print tables of what is in the CSV, measure nothing")
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.report:
        report(read(args.csv))
    else:
        write(args.csv, COLUMNS, measure(args.quick))
    if args.figure is not None:
        draw(read(args.csv), args.figure)


if __name__ == "__main__":
    main()
