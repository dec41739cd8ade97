from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional import expm as forms


def general(n: int) -> Tensor:
    return torch.randn(60, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


def skew(n: int) -> Tensor:
    return general(n) - general(n).mT


def affine(linear: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(linear, (0, 1, 0, 1))
    padded[:, :-1, -1] = general(linear.shape[-1])[:, 0]
    return padded


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "expm2": (forms.expm2, general(2)),
    "nilpotent": (forms.expm2, torch.tensor([[[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)),
    "so2": (forms.expm_so2, skew(2)),
    "so3": (forms.expm_so3, skew(3)),
    "affine2": (forms.expm_affine2, affine(general(2))),
    "affine2 of translations": (forms.expm_affine2, affine(0 * general(2))),
    "se2": (forms.expm_se2, affine(skew(2))),
    "se3": (forms.expm_se3, affine(skew(3))),
    "diagonal": (forms.expm_diagonal, torch.diag_embed(general(3)[:, 0])),
    "blocks": (
        lambda a: forms.expm_blocks(a, [2, 2, 1, 3]),
        torch.block_diag(*map(torch.ones, [(2, 2)] * 2 + [(1, 1), (3, 3)])) * general(8),
    ),
}


def tangent(name: str, a: Tensor) -> Tensor:
    """Project a gradient onto the matrices that a form is for."""
    rest = torch.zeros_like(a)
    if name.startswith(("affine", "se")):
        rest[:, :-1] = a[:, :-1]
        a = rest
    if name.startswith("so"):
        return a - a.mT
    if name.startswith("se"):
        linear = a[:, :-1, :-1]
        return torch.cat((torch.cat((linear - linear.mT, a[:, :-1, -1:]), -1), a[:, -1:]), -2)
    if name == "diagonal":
        return torch.diag_embed(a.diagonal(dim1=1, dim2=2))
    if name == "blocks":
        return a * torch.block_diag(*map(torch.ones, [(2, 2)] * 2 + [(1, 1), (3, 3)]))
    return a


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.5, 1.0, 3.0, 10.0])
def test_closed_form_and_its_gradient_are_those_of_the_series(name: str, size: float) -> None:
    form, a = CASES[name]
    norm = torch.linalg.matrix_norm(a).clamp_min(1e-9)[:, None, None]
    a = (a / norm * size).requires_grad_()
    got, expected = form(a), torch.matrix_exp(a)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(got, expected, atol=1e-10 * scale, rtol=0)
    weight = torch.randn(got.shape, dtype=got.dtype, generator=torch.Generator().manual_seed(5))
    slope, oracle = (tangent(name, torch.autograd.grad((weight * value).sum(), a)[0]) for value in (got, expected))
    torch.testing.assert_close(slope, oracle, atol=1e-9 * max(scale, float(oracle.abs().max())), rtol=0)


@pytest.mark.parametrize("q", [-30.0, -1.0, -0.3, 0.0, 1e-8, 0.7, 1.0, 25.0])
def test_derivatives_of_every_kind_agree(q: float) -> None:
    x = torch.tensor([q], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forms.cosh_sinhc, x)
    assert torch.autograd.gradgradcheck(forms.cosh_sinhc, x, atol=1e-4)

    def sinhc(value: Tensor) -> Tensor:
        return forms.cosh_sinhc(value)[1].sum()

    reverse = torch.func.grad(sinhc)
    forward = torch.func.jvp(sinhc, (x.detach(),), (torch.ones_like(x),))[1]
    torch.testing.assert_close(forward, reverse(x.detach()).sum())
    second = torch.func.jvp(reverse, (x.detach(),), (torch.ones_like(x),))[1]
    torch.testing.assert_close(second, torch.func.grad(lambda v: reverse(v).sum())(x.detach()))
    torch.testing.assert_close(torch.func.vmap(reverse)(x.detach()[:, None])[:, 0], reverse(x.detach()))


def test_second_derivative_of_expm2() -> None:
    a = torch.cat((general(2)[:3], torch.zeros(1, 2, 2, dtype=torch.float64))).requires_grad_()
    assert torch.autograd.gradgradcheck(forms.expm2, a, atol=1e-4)


def test_single_precision_is_accurate_at_the_seams() -> None:
    q = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    for index in range(2):
        exact, short = (
            torch.func.vmap(torch.func.grad(lambda v, index=index: forms.cosh_sinhc(v)[index]))(values)
            for values in (q, q.float())
        )
        torch.testing.assert_close(short.double(), exact, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("n", "structure", "matrix"),
    [(1, "general", general(1)), (2, "general", general(2)), (3, "general", general(3)), (3, "skew", skew(3))]
    + [(2, "skew", skew(2)), (4, "skew", skew(4)), (3, "affine", affine(general(2))), (4, "affine", affine(general(3)))]
    + [(3, "rigid", affine(skew(2))), (4, "rigid", affine(skew(3))), (5, "rigid", affine(skew(4)))]
    + [(2, "diagonal", torch.diag_embed(general(2)[:, 0]))],
)
def test_every_structure_is_dispatched_right(n: int, structure: forms.Structure, matrix: Tensor) -> None:
    assert matrix.shape[-1] == n
    torch.testing.assert_close(forms.expm(matrix, structure), torch.matrix_exp(matrix))


def test_short_types_and_autocast_are_computed_in_single_precision() -> None:
    a = general(3).bfloat16()
    expected = torch.matrix_exp(a.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(forms.expm(a), expected)


def test_leading_axes_are_free() -> None:
    a = general(2).reshape(3, 4, 5, 2, 2)
    torch.testing.assert_close(forms.expm2(a), torch.matrix_exp(a))
    a = affine(general(2)).reshape(3, 20, 3, 3)
    torch.testing.assert_close(forms.expm_affine2(a), torch.matrix_exp(a))


@pytest.mark.parametrize("size", [2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_every_size_are_those_of_the_whole(size: int, dtype: torch.dtype) -> None:
    blocks = 0.5 * torch.randn(5, 2, size, size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    whole = torch.stack([torch.block_diag(*pair) for pair in blocks])
    # single precision in another order
    torch.testing.assert_close(forms.expm_blocks(whole, [size, size]), torch.matrix_exp(whole), atol=1e-5, rtol=1e-5)


def test_blocks_must_fill_the_matrix() -> None:
    with pytest.raises(InvalidSetting):
        forms.expm_blocks(torch.zeros(4, 4), [2, 1])
