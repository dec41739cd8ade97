from __future__ import annotations

import torch
from torch import Tensor

from lightning_symmetry.functional.harmonics import circular_functions, find_couplings, wigner_functions


def draw_rotations(rows: int, dim: int) -> Tensor:
    normal = torch.randn(rows, dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turns = torch.linalg.qr(normal).Q
    turns[..., 0] *= torch.linalg.det(turns).sign().unsqueeze(-1)
    return turns


def split(entries: Tensor) -> list[Tensor]:
    """The representations of degree 0, 1, 2, ..., (B, 2 l + 1, 2 l + 1) each."""
    found, start = [], 0
    while start < entries.shape[1]:
        size = 2 * len(found) + 1
        found.append(entries[:, start : start + size**2].unflatten(-1, (size, size)))
        start += size**2
    return found


def test_circular_functions_are_cosines_and_sines_of_multiples() -> None:
    angle = torch.linspace(-3, 3, 13, dtype=torch.float64)
    turns = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1).unflatten(-1, (2, 2))
    values = circular_functions(turns, 5)
    for k in range(1, 6):
        torch.testing.assert_close(values[:, 2 * k - 1], (k * angle).cos())
        torch.testing.assert_close(values[:, 2 * k], (k * angle).sin())


def test_wigner_functions_are_orthogonal_representations() -> None:
    g, h = draw_rotations(10, 3).split(5)
    couplings = find_couplings(5)
    for a, b, ab in zip(*(split(wigner_functions(r, couplings)) for r in (g, h, g @ h)), strict=True):
        torch.testing.assert_close(a @ b, ab, atol=1e-10, rtol=0)
        torch.testing.assert_close(a @ a.mT, torch.eye(a.shape[-1]).to(a).expand_as(a), atol=1e-10, rtol=0)


def test_their_characters_are_those_of_the_irreducible_representations() -> None:
    """The trace of degree l at angle t is sin((2 l + 1) t / 2) / sin(t / 2)."""
    turns = draw_rotations(6, 3)
    angle = ((turns.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).arccos()
    for degree, matrix in enumerate(split(wigner_functions(turns, find_couplings(6)))):
        expected = ((2 * degree + 1) * angle / 2).sin() / (angle / 2).sin()
        torch.testing.assert_close(matrix.diagonal(dim1=1, dim2=2).sum(-1), expected, atol=1e-9, rtol=0)
