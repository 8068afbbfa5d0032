"""benchmarks/entropy.py: its targets, samplers and estimates against formulas, quadrature and autograd; a quick run."""

import csv
import math
import sys

import entropy
import numpy as np
import pytest
import torch as th
from entropies.experiment import COLUMNS, Experiment
from entropies.own_entropy import fitted_entropy, nearest_neighbour_entropy
from entropies.samplers import SAMPLERS, Effort, Setting, joint_change, kernel_width, leapfrog, stein_changes, stein_step
from entropies.targets import Mixture, circle_mixture, gaussian_entropy, poster_gaussian
from tensors import draw

from sb3_maxent import reference
from sb3_maxent.functional.kernels import bandwidth, squared_distances
from sb3_maxent.functional.svgd import svgd_step

QUICK = {"repetitions": 150, "detailed": 100, "joint": 20, "queries": 1000}


@pytest.fixture(scope="module")
def estimates():
    """Entropies on the poster's Gaussian, by sampler and estimate."""
    target = poster_gaussian()
    experiment = Experiment("test", target, *target.entropy(0, th.Generator()))
    for sampler in SAMPLERS:
        experiment.run(sampler, Setting(), Effort(**QUICK))
    return {(row["sampler"], row["estimator"]): float(row["entropy"]) for row in experiment.rows}


def generator():
    return th.Generator().manual_seed(3)


# ---- targets


def test_entropy_of_the_poster():
    target = poster_gaussian()
    truth, error = target.entropy(0, generator())
    assert truth == pytest.approx(3.4112, abs=1e-4) and error == 0
    assert truth == pytest.approx(reference.gaussian_entropy(target.covariance.numpy()), abs=1e-12)


@pytest.mark.parametrize("dim", [2, 7])
def test_mixture_against_the_oracle(dim):
    covariance = th.eye(dim).double() + 0.3
    mixture = Mixture("test", th.tensor([0.2, 0.5, 0.3], dtype=th.float64), 2 * draw(3, dim), covariance)
    x = 2 * draw(11, dim, seed=1)
    arguments = (x.numpy(), mixture.weights.numpy(), mixture.means.numpy(), covariance.expand(3, dim, dim).numpy())
    np.testing.assert_allclose(mixture.log_density(x), reference.gaussian_mixture_log_density(*arguments))
    np.testing.assert_allclose(mixture.score(x), reference.gaussian_mixture_score(*arguments))
    hessians = th.stack([th.autograd.functional.hessian(mixture.log_density, point) for point in x])
    th.testing.assert_close(mixture.hessian(x), hessians)


@pytest.mark.parametrize("dim", [2, 50])
def test_entropy_of_a_mixture_of_equals(dim):
    """By Monte Carlo, with the normaliser of all dimensions."""
    covariance = 2 * th.eye(dim).double()
    mixture = Mixture("test", th.tensor([0.4, 0.6]).double(), th.ones(2, dim).double(), covariance)
    value, error = mixture.entropy(20_000, generator())
    assert 0 < error < 0.05 * dim**0.5
    assert value == pytest.approx(gaussian_entropy(covariance), abs=4 * error)


def test_entropy_of_the_mixture_by_quadrature():
    target = circle_mixture(2)
    line = th.linspace(-12, 12, 601, dtype=th.float64)
    logs = target.log_density(th.cartesian_prod(line, line))
    cell = (line[1] - line[0]) ** 2
    assert float(logs.exp().sum() * cell) == pytest.approx(1, abs=1e-6)
    value, error = target.entropy(20_000, generator())
    assert value == pytest.approx(-float((logs.exp() * logs).sum() * cell), abs=4 * error)


# ---- steps and their Jacobians


@pytest.mark.parametrize("rule", ["median", "mean", 0.7])
def test_step_is_the_library_s(rule):
    u, scores = draw(3, 6, 2), draw(3, 6, 2, seed=1)
    h = kernel_width(squared_distances(u, u), rule)
    th.testing.assert_close(stein_step(u, scores, h, 0.5), svgd_step(u, scores, 0.5, rule))


@pytest.mark.parametrize("rule", ["median", "mean", "authors"])
def test_moving_bandwidth(rule):
    """Same value; its derivative against differences, where the constant one has none."""

    def width(u, moving):
        return kernel_width(squared_distances(u, u), rule, moving).squeeze()

    u, direction = draw(1, 6, 2), draw(1, 6, 2, seed=1)
    assert width(u, True) == width(u, False)
    slope = th.func.jvp(lambda x: width(x, True), (u,), (direction,))[1]
    differences = (width(u + 1e-6 * direction, False) - width(u - 1e-6 * direction, False)) / 2e-6
    th.testing.assert_close(slope, differences, rtol=1e-6, atol=0)
    if rule == "authors":
        distances = squared_distances(u, u)
        assert width(u, False) == pytest.approx(float(distances.mean()) / 2 / (2 * math.log(7)))


def test_joint_map_is_that_of_the_hessian_estimate_to_first_order():
    """The trace of the joint Jacobian is the sum of the traces of the particles' own ones."""
    target, u = circle_mixture(3), 2 * draw(2, 5, 3)
    h = bandwidth(squared_distances(u, u), paired=True)
    eps = 1e-5
    changes, _ = stein_changes(target, u, target.score(u), h, eps, generator())
    joint = joint_change(target, u, Setting(step_size=eps), moving=False)
    th.testing.assert_close(joint, changes["with Hessian"].mean(dim=1, keepdim=True), rtol=1e-3, atol=0)
    moving = joint_change(target, u, Setting(step_size=eps), moving=True)
    assert ((moving - joint).abs() > 1e-3 * joint.abs()).all()


def test_leapfrog_preserves_volume():
    target = circle_mixture(3)

    def step(both):
        return th.cat(leapfrog(target, both[:3], both[3:], 0.5))

    for both in draw(4, 6):
        jacobian = th.autograd.functional.jacobian(step, both)
        assert float(th.linalg.det(jacobian)) == pytest.approx(1, abs=1e-12)
        assert not th.allclose(jacobian, th.eye(6).double())


# ---- pooled estimates


def test_neighbours_and_fits_find_the_entropy_of_exact_samples():
    particles = 3 * draw(200, 20, 2) @ th.tensor([[1.0, 0.999], [0.0, 0.01]]).double()
    truth = 2 * math.log(3) + math.log(0.01) + math.log(2 * math.pi * math.e)
    for value, error in (nearest_neighbour_entropy(particles, 2000), fitted_entropy(particles)):
        assert 0.005 < error < 0.04
        assert value == pytest.approx(truth, abs=4 * error)
    # A uniform square has less entropy than the Gaussian of its covariance
    square = th.special.ndtr(draw(200, 20, 2))
    value, error = nearest_neighbour_entropy(square, 2000)
    assert value == pytest.approx(0, abs=4 * error + 0.02)
    assert fitted_entropy(square)[0] == pytest.approx(math.log(2 * math.pi * math.e / 12), abs=0.02)


# ---- what the page says


def test_svgd(estimates):
    expected = {"closed form": 3.44, "with Hessian": 2.43, "Hutchinson": 2.43, "own determinant": 2.36}
    expected |= {"joint determinant": 2.30, "joint, moving bandwidth": 2.29, "fitted Gaussian": 3.55}
    for name, value in expected.items():
        # Three standard errors; 0.07 for the 20 repetitions of the joint ones
        assert estimates["SVGD", name] == pytest.approx(value, abs=0.2 if "joint" in name else 0.1), name
    assert estimates["SVGD", "closed form"] == pytest.approx(3.4112, abs=0.25)
    assert estimates["SVGD", "nearest neighbours"] == pytest.approx(3.55, abs=0.15)


def test_langevin(estimates):
    """On a Gaussian, everything is linear: the entropies that the particles must have are known."""
    covariance = poster_gaussian().covariance
    eigenvalues = th.linalg.eigvalsh(covariance)
    start = math.log(2 * math.pi * math.e * 6)
    collapsed = start + 30 * float(th.log(1 - 0.25 / eigenvalues).sum())
    for name in ("change of variables", "fitted Gaussian", "nearest neighbours"):
        assert estimates["gradient flow", name] == pytest.approx(collapsed, abs=0.15), name
    # With the noise held fixed, the same: the estimate doesn't see what the noise adds
    assert estimates["SGLD", "change of variables"] == pytest.approx(collapsed, abs=0.15)
    factors = (1 - 0.25 / eigenvalues) ** 2
    variances = factors**30 * 6 + 0.5 * (1 - factors**30) / (1 - factors)
    truth = math.log(2 * math.pi * math.e) + 0.5 * float(variances.log().sum())
    assert truth == pytest.approx(3.51, abs=0.005)
    for name in ("fitted Gaussian", "nearest neighbours"):
        assert estimates["SGLD", name] == pytest.approx(truth, abs=0.15), name


def test_hmc(estimates):
    """The unchanged joint density gives the start's entropy; with the velocity, short by KL(start, target)."""
    target = poster_gaussian()
    start = math.log(2 * math.pi * math.e * 6)
    for sampler in ("HMC, one trajectory", "HMC, new velocities"):
        assert estimates[sampler, "unchanged joint"] == pytest.approx(start, abs=0.1)
    assert estimates["HMC, new velocities", "nearest neighbours"] == pytest.approx(3.4112, abs=0.2)
    moments = 6 * target.precision.trace() + target.means @ target.precision @ target.means.T
    divergence = float(target.half_log_det + 0.5 * moments) - start
    # Leapfrog steps of 0.5 change the energy
    assert estimates["HMC, new velocities", "divided by N(v)"] == pytest.approx(3.4112 - divergence, abs=0.5)


def test_closed_form_goes_on_falling():
    """The particles have converged, their estimate has not."""
    target = poster_gaussian()
    experiment = Experiment("test", target, *target.entropy(0, generator()))
    effort = Effort(repetitions=100, detailed=0, joint=0, queries=500)
    rows = experiment.run("SVGD", Setting(steps=100), effort, checkpoints=(50, 100))
    values = {(row["steps"], row["estimator"]): float(row["entropy"]) for row in rows}
    assert values[50, "closed form"] - values[100, "closed form"] > 2
    assert abs(values[50, "fitted Gaussian"] - values[100, "fitted Gaussian"]) < 0.25


@pytest.mark.slow
def test_quick_run(tmp_path, monkeypatch, capsys):
    path, figure = tmp_path / "out.csv", tmp_path / "out.svg"
    for arguments in (["--quick", "--figure", str(figure)], ["--report"]):
        monkeypatch.setattr(sys, "argv", ["entropy.py", "--csv", str(path), *arguments])
        entropy.main()
    rows = list(csv.DictReader(path.open()))
    assert {row["sampler"] for row in rows} == set(SAMPLERS) and list(rows[0]) == COLUMNS
    assert all(math.isfinite(float(row["entropy"])) for row in rows)
    assert figure.stat().st_size > 10_000
    assert "| SVGD | closed form | 3." in capsys.readouterr().out
