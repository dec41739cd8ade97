"""The Lie derivative error against plain loops, finite differences and known numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn import functional as F

from lightning_symmetry.actions import Image
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Translation
from lightning_symmetry.metrics import LieDerivativeError
from lightning_symmetry.symmetry import Symmetry

PLANE = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return Rng(seed).normal(*shape, dtype=torch.float64)


def make_map(out: int, seed: int = 1, inputs: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, out)).double()


def by_loop(f: Any, x: Tensor, out_moves: bool) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Change, field and answer of a rotation, sample by sample."""
    found = []
    for row in x:
        answer, change = jvp(lambda v: f(v[None])[0], (row,), (PLANE @ row,))
        found.append(
            (change.detach(), PLANE @ answer.detach() if out_moves else torch.zeros_like(answer), answer.detach())
        )
    return found


def test_the_relative_error_of_vectors_is_that_of_a_plain_loop() -> None:
    f, x = make_map(2), draw(64, 2)
    metric = LieDerivativeError("SO(2) on vector(2) -> vector", names=["rotation"])
    for part in x.split(17):
        metric.update(f, part)
    rows = by_loop(f, x, True)
    error, change, field = (
        sum(float(v.square().sum()) for v in parts)
        for parts in ([a - w for a, w, _ in rows], [a for a, _, _ in rows], [w for _, w, _ in rows])
    )
    found = metric.compute()
    assert float(found["rotation"]) == pytest.approx((error / (change + field)) ** 0.5, rel=1e-10)
    assert float(found["overall"]) == float(found["rotation"])


def test_the_relative_error_of_an_invariance_is_that_of_a_plain_loop() -> None:
    f, x = make_map(3), draw(64, 2)
    metric = LieDerivativeError("SO(2) on vector(2) -> label", steps=0.2)
    for part in x.split(10):
        metric.update(f, part)
    rows = by_loop(f, x, False)
    answers = torch.stack([y for *_, y in rows])
    change = torch.stack([a for a, *_ in rows]).square().sum(1).mean()
    spread = (answers - answers.mean(0)).square().sum(1).mean()
    assert float(metric.compute()["generator_0"]) == pytest.approx(float(0.2 * (change / spread).sqrt()), rel=1e-10)


@pytest.mark.parametrize("reduction", ["abs", "sq"])
def test_the_plain_errors_are_those_of_a_plain_loop(reduction: str) -> None:
    f, x = make_map(2), draw(64, 2)
    metric = LieDerivativeError("SO(2) on vector(2) -> vector", reduction)
    metric.update(f, x)
    gaps = torch.stack([a - w for a, w, _ in by_loop(f, x, True)])
    expected = gaps.abs().mean() if reduction == "abs" else gaps.square().sum(1).mean()
    assert float(metric.compute()["generator_0"]) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("backend", ["vjp", "difference"])
def test_every_backend_measures_the_same(backend: str) -> None:
    f, x = make_map(2), draw(32, 2)
    values = []
    for name in ("jvp", backend):
        metric = LieDerivativeError("GL on vector(2) -> vector", "sq", backend=name)
        metric.update(f, x)
        values.append(torch.stack(list(metric.compute().values())))
    torch.testing.assert_close(*values, rtol=1e-7, atol=1e-10)


def test_an_equivariant_map_has_no_error_and_one_that_ignores_its_input_has_error_one() -> None:
    x = draw(64, 2)
    for f, expected in (
        (lambda x: x * x.norm(dim=1, keepdim=True), 0.0),
        (lambda x: torch.ones_like(x), 1.0),
        (lambda x: x.flip(1), 2**0.5),
    ):
        metric = LieDerivativeError("SO(2) on vector(2) -> vector")
        metric.update(f, x)
        assert float(metric.compute()["overall"]) == pytest.approx(expected, abs=1e-7)


def test_a_generator_that_leaves_the_answer_alone_is_judged_as_an_invariance() -> None:
    """Translations do not move vectors, so that |a| / |a| would be 1 however small the change is."""
    x = draw(64, 5, 2)
    metric = LieDerivativeError("SE(2) on points -> vector(2)", names=["rotation", "x", "y"])
    metric.update(lambda x: x[:, 0] - x.mean(1), x)
    assert all(float(value) < 1e-7 for key, value in metric.compute().items() if "_se" not in key)
    leaking = LieDerivativeError("SE(2) on points -> vector(2)", names=["rotation", "x", "y"])
    leaking.update(lambda x: x[:, 0] - x.mean(1) + 1e-3 * x[:, 0], x)
    found = leaking.compute()
    # the step of 0.1 moves the answer by 1e-4, and its spread is about 1.3
    assert 1e-5 < float(found["x"]) < 1e-3 and float(found["rotation"]) < 1e-7


def test_reference_steps_are_ten_degrees_and_a_tenth() -> None:
    f, x = make_map(1, inputs=10), draw(32, 5, 2)
    values = {}
    for steps in (None, [torch.pi / 18, 0.1, 0.1]):
        metric = LieDerivativeError("SE(2) on points -> scalar", steps=steps)
        metric.update(lambda x: f(x.flatten(1)), x)
        values[str(steps)] = metric.compute()
    first, second = values.values()
    assert all(torch.equal(first[key], second[key]) for key in first)
    product = LieDerivativeError("SO(3) * scale * permutations on points -> scalar")
    product.update(lambda x: x[..., 0].square().sum(1), draw(8, 5, 3))
    alone = LieDerivativeError("SO(3) * scale on points -> scalar", steps=[*[torch.pi / 18] * 3, 0.1])
    alone.update(lambda x: x[..., 0].square().sum(1), draw(8, 5, 3))
    assert all(torch.equal(value, product.compute()[key]) for key, value in alone.compute().items())


def test_several_outputs_are_told_apart_and_combined() -> None:
    symmetry = "SO(2) on pos=points -> energy=scalar, force=vector(2)"

    def f(x: dict[str, Tensor]) -> dict[str, Tensor]:
        p = x["pos"]
        return {"energy": p[..., 0].square().sum(1), "force": p.mean(1) * p[:, 0].norm(dim=1, keepdim=True)}

    metric = LieDerivativeError(symmetry, names=["rotation"])
    metric.update(f, {"pos": draw(64, 4, 2), "z": torch.ones(64)})
    found = metric.compute()
    assert float(found["rotation/force"]) < 1e-7 < 0.05 < float(found["rotation/energy"])
    assert float(found["rotation"]) == pytest.approx(float(found["rotation/energy"]) / 2**0.5)


def test_graphs_of_a_batch_weigh_alike_and_do_not_depend_on_their_batch() -> None:
    torch.manual_seed(0)
    net = make_map(2)

    def f(x: dict[str, Tensor]) -> Tensor:
        return net(x["pos"])

    sizes = [2, 5, 3, 4]
    clouds = [draw(size, 2, seed=i) for i, size in enumerate(sizes)]

    def join(some: list[Tensor]) -> dict[str, Tensor]:
        return {
            "pos": torch.cat(some),
            "batch": torch.arange(len(some)).repeat_interleave(torch.tensor([len(c) for c in some])),
        }

    whole, parts = (LieDerivativeError("SO(2) on pos=points -> vector(2)", "sq") for _ in range(2))
    whole.update(f, join(clouds))
    for some in (clouds[:3], clouds[3:]):
        parts.update(f, join(some))
    expected = torch.stack(
        [torch.stack([(a - w).square().sum() for a, w, _ in by_loop(net, cloud, True)]).mean() for cloud in clouds]
    ).mean()
    a, b = whole.compute(), parts.compute()
    assert float(a["generator_0"]) == pytest.approx(float(expected), rel=1e-10)
    assert all(torch.allclose(a[key], b[key], rtol=1e-9) for key in a)


def test_standard_errors_are_the_spread_over_fresh_samples() -> None:
    f = make_map(2)
    values, told = [], []
    for seed in range(40):
        metric = LieDerivativeError("SO(2) on vector(2) -> vector", folds=32)
        metric.update(f, draw(200, 2, seed=seed))
        found = metric.compute()
        values.append(found["generator_0"])
        told.append(found["generator_0_se"])
    # the spread of 40 is itself known to a ninth
    assert float(torch.stack(told).mean()) == pytest.approx(float(torch.stack(values).std()), rel=0.35)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="no generators"):
        LieDerivativeError("C4 on vector(2) -> vector").update(lambda x: x, draw(4, 2))
    with pytest.raises(InvalidSetting, match="one of relative"):
        LieDerivativeError("SO(2) on vector(2) -> vector", "squared")
    with pytest.raises(InvalidSetting, match="3 names"):
        LieDerivativeError("SO(2) on vector(2) -> vector", names=list("abc")).update(lambda x: x, draw(4, 2))
    metric = LieDerivativeError("SO(2) on vector(2) -> scalar")
    with pytest.raises(InvalidSetting, match="no sample"), pytest.warns(UserWarning, match="before"):
        metric.compute()
    metric.update(lambda x: x[:, :1], draw(4, 2))
    with pytest.raises(DimensionMismatch, match="as in the batches before"):
        metric.update(lambda x: x, draw(4, 2))


def test_it_works_in_inference_mode_and_leaves_the_symmetry_trainable() -> None:
    symmetry = Symmetry.parse("learned(1) on vector -> vector")
    metric = LieDerivativeError(symmetry)
    with torch.inference_mode():
        metric.update(lambda x: x, torch.ones(4, 2))
        metric.compute()
    (parameter,) = (p for p in symmetry.group.parameters())
    parameter.square().sum().backward()
    assert parameter.grad is not None and not parameter.is_inference()


# ---------------------------------------------------------------- images


class Pooled(nn.Module):
    """Circular convolutions and a mean over pixels: shifts change nothing but what sampling does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.second(F.gelu(self.first(x)))).mean((2, 3)))


def blurred(sigma: float, count: int = 32, side: int = 32) -> Tensor:
    """Periodic noise, blurred, of unit size."""
    waves = torch.fft.fftfreq(side, dtype=torch.float64)
    weight = torch.exp(-2 * (torch.pi * sigma) ** 2 * (waves[:, None] ** 2 + waves**2))
    x = torch.fft.ifft2(torch.fft.fft2(draw(count, 1, side, side)) * weight).real
    return x / x.std()


def shift_defect(f: nn.Module, x: Tensor, derivative: str) -> float:
    metric = LieDerivativeError(Symmetry(Translation(), Image(), "label"), derivative=derivative, steps=1.0)
    metric.update(f.double().eval(), x)
    return float(metric.compute()["overall"])


def test_the_spectral_derivative_tells_an_invariant_network_from_another() -> None:
    torch.manual_seed(2)
    cnn = Pooled()
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64), nn.Tanh(), nn.Linear(64, 4))
    x = blurred(3.0)
    exact, broken = (shift_defect(f, x, "spectral") for f in (cnn, mlp))
    assert exact < 1e-4 and broken > 1 and broken / exact > 1e4
    # the published one-sided derivative has a floor of its own, thousands of times higher
    assert shift_defect(cnn, x, "bilinear") > 1e3 * exact
    assert shift_defect(cnn, x, "central") > 10 * exact
    # and on rough images it takes the invariant network for the worse one
    rough = blurred(1.0)
    assert shift_defect(cnn, rough, "spectral") < 0.01 * shift_defect(mlp, rough, "spectral")
    assert shift_defect(cnn, rough, "bilinear") > shift_defect(mlp, rough, "bilinear")


def test_the_derivative_of_an_image_is_that_of_its_exact_shift() -> None:
    x = blurred(3.0, count=4)
    metric = LieDerivativeError(
        Symmetry(Translation(), Image(), "label"), "sq", derivative="spectral", names=["x", "y"]
    )
    net = nn.Sequential(nn.Flatten(), make_map(3, inputs=1024))
    metric.update(net, x)

    def shift(t: float) -> Tensor:
        # content moves by t half widths along x
        waves = torch.fft.fftfreq(32, d=2 / 32, dtype=torch.float64)
        return torch.fft.ifft(torch.fft.fft(x, dim=3) * torch.exp(-2j * torch.pi * waves * t), dim=3).real

    h = 1e-4
    slope = (net(shift(h)) - net(shift(-h))) / (2 * h)
    expected = float(slope.detach().square().sum(1).mean())
    assert float(metric.compute()["x"]) == pytest.approx(expected, rel=1e-4)


def test_a_derivative_asked_for_is_not_left_behind() -> None:
    action = Image()
    metric = LieDerivativeError(Symmetry(SO(), action, "label"), derivative="spectral")
    metric.update(nn.Sequential(nn.Flatten(), make_map(2, inputs=64)), draw(4, 1, 8, 8))
    assert action.gradient == "central"
