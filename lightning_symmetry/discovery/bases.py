"""A basis of generators made ready for algebra: orthonormal, with its brackets, their closure, and their noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.brackets import bracket_fields, commutators, structure_constants
from lightning_symmetry.functional.polynomials import degree_of, list_monomials
from lightning_symmetry.functional.spans import RANK_TOLERANCE, orthonormal_span
from lightning_symmetry.groups import Group

Tolerance = float | Literal["auto"]
# Brackets of unit generators shorter than this may be noise of none at all.
_SHORT_BRACKET = 0.1
# A bracket inside the span this many times stronger, per dimension, than outside is no noise.
_STRONGER = 3.0


@final
@dataclass(frozen=True, eq=False)
class Basis:
    """An orthonormal basis of a span of generators, and what its brackets do.

    Args:
        span: (r, n, n) matrices, or (r, d, M') coefficients of fields.
        affine: Whether the matrices are homogeneous.
        degree: Of the fields; 0 for matrices.
        constants: (r, r, r).
        outside: (r, r, ...), what the brackets have outside the span.
        closure: Share of the brackets outside; 0 where all commute.
        noise: Standard deviation of one of the constants.
        entry_noise: Standard deviation of one number of ``span``.
    """

    span: Tensor
    affine: bool
    degree: int
    constants: Tensor
    outside: Tensor
    closure: float
    noise: float
    entry_noise: float

    @property
    def matrices(self) -> Tensor | None:
        """The span, where it consists of matrices."""
        return None if self.degree else self.span


def read_basis(
    group_or_basis: Group | Tensor,
    errors: Tensor | float | None = None,
    tol: Tolerance = "auto",
    affine: bool | None = None,
) -> Basis:
    """Read generators.

    Args:
        group_or_basis: A bound group, (K, n, n) matrices, or (K, d, M) coefficients of polynomial fields.
        errors: Standard errors of the numbers, one for all or shaped alike.
        tol: Relative size of the noise in the numbers, instead of errors; "auto" reads it off the closure.
        affine: Whether matrices are homogeneous; None for what the group says, or a last row of zeros.

    Returns:
        The basis.

    Raises:
        InvalidSetting: There are no finite generators.
        DimensionMismatch: They are neither matrices nor coefficients of all monomials up to a degree.
    """
    numbers, affine, degree = _read_numbers(group_or_basis, affine)
    flat = numbers.flatten(1)
    scale = float(flat.square().mean().sqrt())
    error = 0.0 if tol == "auto" else float(tol) * scale
    if errors is not None:
        error = max(error, float(torch.as_tensor(errors, dtype=torch.float64).square().mean().sqrt()))
    sizes = torch.linalg.svdvals(flat)
    spread = error * (math.sqrt(flat.shape[0]) + math.sqrt(flat.shape[1]))
    span = orthonormal_span(numbers, max(RANK_TOLERANCE, 2 * spread / float(sizes[0])))
    if not len(span):
        raise InvalidSetting(
            f"{len(numbers)} generators within their errors of nothing", "a generator", "Learn them longer."
        )
    entry_noise = error * float(sizes[: len(span)].reciprocal().square().mean().sqrt())
    if degree:
        most = max(2 * degree - 1, 1)
        monomials, products = list_monomials(span.shape[1], degree), list_monomials(span.shape[1], most)
        brackets = bracket_fields(span, monomials, products)
        span = F.pad(span, (0, len(products) - len(monomials)))
    else:
        brackets = commutators(span)
    c, outside = structure_constants(span, brackets)
    return _measure(span, affine, degree, c, outside, entry_noise)


def _read_numbers(source: Group | Tensor, affine: bool | None) -> tuple[Tensor, bool, int]:
    if isinstance(source, Group):
        affine = source.affine if source.linear else False
        numbers = source.coefficients()
    else:
        numbers = source
    numbers = numbers.detach().to("cpu", torch.float64)
    if numbers.ndim != 3 or not len(numbers) or not bool(numbers.isfinite().all()) or not bool(numbers.any()):
        raise InvalidSetting(
            f"generators of shape {tuple(numbers.shape)}",
            "finite (K, n, n) matrices or (K, d, M) coefficients, K > 0, not all zero",
            "Pass a bound group with generators, or a tensor of them.",
        )
    rows, columns = numbers.shape[1:]
    degree = 0 if rows == columns else degree_of(rows, columns)
    if rows != columns and not degree:
        raise DimensionMismatch(
            f"generators of shape {(rows, columns)}",
            "square ones, or one number for each monomial up to a degree",
            "Order coefficients as list_monomials does.",
        )
    if degree == 1:
        return F.pad(numbers, (0, 0, 0, 1)), True, 0
    if affine is None:
        affine = not degree and not bool(numbers[:, -1].any()) and bool(numbers[:, :-1, -1].any())
    return numbers, affine, degree


def _measure(span: Tensor, affine: bool, degree: int, c: Tensor, outside: Tensor, entry_noise: float) -> Basis:
    count = len(span)
    i, j = torch.triu_indices(count, count, 1)
    inner, outer = c[i, j], outside[i, j].flatten(1)
    inside, rest = float(inner.norm()), float(outer.norm())
    pairs, size = max(len(i), 1), math.hypot(inside, rest)
    touched = (outside.flatten(0, 1).flatten(1).abs().amax(0) > 1e-12) | (span.flatten(1).abs().amax(0) > 1e-12)
    freedom = pairs * max(int(touched.sum()) - count, 0)
    # of few numbers the root mean square is more often too small than too large: Wilson and Hilferty's median
    measured = rest / math.sqrt(freedom) * (1 - 2 / (9 * freedom)) ** -1.5 if freedom and rest > 1e-13 else 0.0
    # in the worst case every number of both factors and of the span that the bracket is compared with is off
    told = entry_noise * (2 / math.sqrt(span.shape[1]) + inside / math.sqrt(pairs))
    per_dimension = inside / math.sqrt(pairs * count)
    commutes = size <= 1e-9 or (
        size / math.sqrt(pairs) < _SHORT_BRACKET and per_dimension <= _STRONGER * max(measured, told)
    )
    noise = max(measured, told)
    return Basis(
        span=span,
        affine=affine,
        degree=degree,
        constants=torch.zeros_like(c) if commutes else c,
        outside=torch.zeros_like(outside) if commutes else outside,
        closure=0.0 if commutes else rest / size,
        noise=noise,
        entry_noise=max(entry_noise, measured * math.sqrt(span.shape[1]) / 2),
    )
