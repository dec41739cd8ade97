"""Consistency, orbit variance and error curves against plain loops and known values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.metrics import EquivarianceCurve, LieDerivativeError, OrbitConsistency
from tests.metrics.test_lie_derivative_error import PLANE, draw, make_map


def test_consistency_and_variance_of_a_finite_group_are_those_of_a_plain_loop() -> None:
    f, x = make_map(3), draw(40, 2)
    metric = OrbitConsistency("C4 on vector(2) -> label", None)
    for part in x.split(15):
        metric.update(f, part)
    orbit = torch.stack([f(x @ torch.linalg.matrix_power(PLANE, k).mT).detach() for k in range(4)])
    agree = (orbit.argmax(2) == f(x).argmax(1)).double().mean()
    means = orbit.mean(0)
    variance = (orbit - means).square().mean() / (means - means.mean(0)).square().mean()
    found = metric.compute()
    assert float(found["consistency"]) == pytest.approx(float(agree), rel=1e-10)
    assert float(found["variance"]) == pytest.approx(float(variance), rel=1e-6)


def test_few_draws_estimate_the_variance_of_the_whole_orbit() -> None:
    f, x = make_map(3), draw(2000, 2)
    exact, few = OrbitConsistency("C8 on vector(2) -> scalar", None), OrbitConsistency("C8 on vector(2) -> scalar", 2)
    exact.update(f, x)
    few.update(f, x)
    a, b = exact.compute(), few.compute()
    assert "consistency" not in a
    assert abs(float(a["variance"] - b["variance"])) < 3 * float(b["variance_se"])


def test_an_invariant_map_agrees_with_itself() -> None:
    metric = OrbitConsistency("SO(2) on vector(2) -> label", 3)
    metric.update(lambda x: torch.stack((x.norm(dim=1), torch.ones_like(x[:, 0])), 1), draw(50, 2))
    found = metric.compute()
    assert float(found["consistency"]) == 1.0 and float(found["variance"]) < 1e-10


def test_masks_are_moved_back_before_they_are_compared() -> None:
    metric = OrbitConsistency("C4 on image -> mask", None)
    metric.update(lambda x: torch.cat((x, -x), 1), draw(4, 1, 8, 8))
    assert float(metric.compute()["consistency"]) == 1.0


def test_graphs_weigh_alike() -> None:
    x = {"pos": draw(6, 2), "batch": torch.tensor([0, 0, 0, 1, 1, 2])}
    f = lambda x: x["pos"][:, :1]  # noqa: E731
    metric = OrbitConsistency("C4 on pos=points -> label", None)
    metric.update(f, x)
    orbit = torch.stack([x["pos"] @ torch.linalg.matrix_power(PLANE, k).mT for k in range(4)])[..., 0]
    agree = (orbit > 0).eq(orbit[0] > 0).double().mean(0)
    expected = torch.stack([agree[:3].mean(), agree[3:5].mean(), agree[5:].mean()]).mean()
    assert float(metric.compute()["consistency"]) == pytest.approx(float(expected))


def test_the_curve_is_that_of_a_plain_loop() -> None:
    f, x, ts = make_map(2), draw(40, 2), [0.2, 1.0]
    metric = EquivarianceCurve("SO(2) on vector(2) -> vector", ts, names=["rotation"])
    for part in x.split(15):
        metric.update(f, part)
    found = metric.compute()
    for t in ts:
        g = torch.linalg.matrix_exp(t * PLANE)
        gap = (f(x @ g.mT) - f(x) @ g.mT).detach()
        assert float(found[f"rotation/{t:g}"]) == pytest.approx(float(gap.norm(dim=1).mean()), rel=1e-6)


def test_the_slope_at_the_identity_is_the_lie_derivative() -> None:
    f, x, t = make_map(2), draw(40, 2), 1e-5
    curve = EquivarianceCurve("GL on vector(2) -> vector", [t])
    curve.update(f, x)
    found = curve.compute()
    for k in range(4):
        slope = float(found[f"generator_{k}/slope"])
        assert float(found[f"generator_{k}/{t:g}"]) / t == pytest.approx(slope, rel=1e-3)
    error = LieDerivativeError("GL on vector(2) -> vector", "sq")
    error.update(f, x)
    # a mean of norms is at most the root of the mean square
    assert all(
        float(found[f"generator_{k}/slope"]) <= float(error.compute()[f"generator_{k}"]) ** 0.5 for k in range(4)
    )


def test_curves_of_graphs() -> None:
    def f(x: dict[str, Tensor]) -> Tensor:
        return x["pos"] * x["pos"].norm(dim=1, keepdim=True)

    metric = EquivarianceCurve("SO(3) on pos=points -> vector(3)", [0.5])
    metric.update(f, {"pos": draw(6, 3), "batch": torch.tensor([0, 0, 0, 1, 1, 2])})
    assert all(float(value) < 1e-6 for value in metric.compute().values())
