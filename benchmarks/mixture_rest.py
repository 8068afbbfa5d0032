"""
Where the components of a mixture can come to rest: four of them on MixtureBandit-v0, each between two of the four modes and
broad enough for both, descend the objective with the exact Q. The KL divergence to the optimum shows whether they leave::

    python benchmarks/mixture_rest.py
    python benchmarks/mixture_rest.py --repulsion 2
"""

import argparse

import torch as th
from torch.nn import functional as F

from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.functional import gaussian_log_probs, log_det_tanh
from sb3_maxent.reference import histogram_kl

# Actions between neighbouring modes, and deviations before tanh along and across the line between them
MEANS = [[0.52, 0.0], [-0.52, 0.0], [0.0, -0.52], [0.0, 0.52]]
STDS = [[0.16, 0.7], [0.16, 0.7], [0.7, 0.16], [0.7, 0.16]]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--repulsion", type=float, default=1.0, help="factor of what drives components apart")
    parser.add_argument("--max-std", type=float, default=7.0, help="the soft bound")
    args = parser.parse_args()
    th.set_num_threads(1)
    th.manual_seed(0)
    env = MixtureBanditEnv()
    modes, bound = th.as_tensor(env.means, dtype=th.float32), th.tensor(args.max_std).log()
    means = (th.tensor(MEANS).atanh() + 0.02 * th.randn(4, 2)).requires_grad_()
    raw_stds, logits = th.tensor(STDS).log().requires_grad_(), th.zeros(4, requires_grad=True)
    optimizer = th.optim.Adam([means, raw_stds, logits], args.learning_rate)
    for step in range(args.steps + 1):
        log_stds = bound - F.softplus(bound - raw_stds)
        if step % (args.steps // 5) == 0:
            with th.no_grad():
                drawn = th.multinomial(logits.softmax(dim=0), 20_000, replacement=True)
                actions = (means[drawn] + log_stds[drawn].exp() * th.randn(20_000, 2)).tanh()
            print(f"step {step}: KL {histogram_kl(actions.numpy(), env.log_prob):.3f}")
        u = means + log_stds.exp() * th.randn(64, 4, 2)
        joint = gaussian_log_probs(u, means.expand_as(u), log_stds.expand_as(u)) + logits.log_softmax(dim=0)
        log_prob = joint.logsumexp(dim=2) - log_det_tanh(u)
        posterior = joint.diagonal(dim1=1, dim2=2) - joint.logsumexp(dim=2)  # of a component, given its own action
        squares = ((u.tanh().unsqueeze(2) - modes) ** 2).sum(dim=3)
        q_values = th.logsumexp(-squares / (2 * env.widths[0] ** 2), dim=2)
        costs = log_prob - (args.repulsion - 1) * posterior - q_values
        optimizer.zero_grad()
        (logits.softmax(dim=0) * costs).sum(dim=1).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


if __name__ == "__main__":
    main()
