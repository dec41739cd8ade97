"""Conjugation and the Lie derivative, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.symmetrization import conjugate, lie_derivative
from lightning_symmetry.symmetry import Symmetry


def equivariant(x: Tensor) -> Tensor:
    q, p = x[..., :2], x[..., 2:]
    return q.norm(dim=-1, keepdim=True) * p + (q * p).sum(-1, keepdim=True) * q


@pytest.fixture
def x(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_conjugating_an_equivariant_map_changes_nothing(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    g, _ = symmetry.sample(x, 1, Rng(0))
    torch.testing.assert_close(conjugate(equivariant, g, symmetry)(x), equivariant(x))


def test_conjugating_by_a_product_is_conjugating_twice(x: Tensor) -> None:
    symmetry = Symmetry.parse("GL(2) on vector(2) -> vector(2)")
    torch.manual_seed(0)
    net = nn.Linear(4, 2).double()
    g, _ = symmetry.sample(x, 1, Rng(0))
    h, _ = symmetry.sample(x, 1, Rng(1))
    twice = conjugate(conjugate(net, g, symmetry), h, symmetry)
    torch.testing.assert_close(twice(x), conjugate(net, g @ h, symmetry)(x))


def test_a_raw_tensor_is_an_element(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=x.dtype).repeat(len(x), 1, 1)
    torch.testing.assert_close(conjugate(equivariant, turn, symmetry)(x), equivariant(x))


@pytest.mark.parametrize("sentence", ["SO(2) on vector(2) -> vector(2)", "GL(2) on vector(2) -> scalar"])
def test_the_lie_derivative_is_the_slope_of_the_conjugate(x: Tensor, sentence: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    symmetry = Symmetry.parse(sentence)
    exact = lie_derivative(net, x, symmetry)
    step = 1e-5
    for k in range(symmetry.group.count):
        t = torch.zeros(len(x), symmetry.group.count, dtype=x.dtype)
        t[:, k] = step
        ahead = conjugate(net, symmetry.group.exp(t), symmetry)(x)
        behind = conjugate(net, symmetry.group.exp(-t), symmetry)(x)
        torch.testing.assert_close(exact[:, k], (ahead - behind) / (2 * step), atol=1e-8, rtol=1e-6)


def test_differences_agree_with_the_exact_derivative(x: Tensor) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    symmetry = Symmetry.parse("GL(2) on vector(2) -> vector(2)")
    exact = lie_derivative(net, x, symmetry)
    torch.testing.assert_close(lie_derivative(net, x, symmetry, "difference"), exact, atol=1e-5, rtol=1e-4)


def test_it_vanishes_on_an_equivariant_map_and_not_on_a_broken_one(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    assert lie_derivative(equivariant, x, symmetry).abs().max() < 1e-12
    assert lie_derivative(lambda v: equivariant(v) + v[..., :2] ** 2, x, symmetry).abs().max() > 0.1


def test_images_have_a_lie_derivative_too() -> None:
    symmetry = Symmetry.parse("SO(2) on image -> label")
    grid = torch.linspace(-1, 1, 33, dtype=torch.float64)
    blob = torch.exp(-8 * (grid[:, None] ** 2 + grid**2))[None, None]
    off_centre = torch.exp(-8 * (grid[:, None] ** 2 + (grid - 0.4) ** 2))[None, None]
    radius = (grid[:, None] ** 2 + grid**2)[None, None]

    def moment(image: Tensor) -> Tensor:
        return (image * radius).flatten(1).sum(1, keepdim=True)

    def height(image: Tensor) -> Tensor:
        return (image * grid[:, None]).flatten(1).sum(1, keepdim=True)

    turned = lie_derivative(height, off_centre, symmetry).abs().max()
    assert lie_derivative(moment, blob, symmetry).abs().max() < 1e-9 * turned
    # central differences leave an error of second order in the pixel spacing
    assert lie_derivative(moment, off_centre, symmetry).abs().max() < 0.02 * turned


def test_structures_keep_their_shape(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on a=vector(2) -> out.v=vector(2), out.s=scalar")

    def f(tree: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        return {"out": {"v": equivariant(tree["a"]) * tree["b"], "s": tree["a"].square().sum(1)}}

    out = lie_derivative(f, {"a": x, "b": torch.ones(len(x), 1, dtype=x.dtype)}, symmetry)["out"]
    assert out["v"].shape == (6, 1, 2) and out["s"].shape == (6, 1)
    assert max(out["v"].abs().max(), out["s"].abs().max()) < 1e-12


def test_an_unknown_method_is_refused(x: Tensor) -> None:
    with pytest.raises(ActionMismatch, match="vjp"):
        lie_derivative(equivariant, x, Symmetry.parse("SO(2) on vector(2) -> vector(2)"), "vjp")
