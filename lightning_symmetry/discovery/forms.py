"""Bilinear forms that a group leaves alone: the metric that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.discovery.bases import Basis, Tolerance, read_basis
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.forms import preserved_forms
from lightning_symmetry.functional.ranks import inertia
from lightning_symmetry.functional.spans import canonical_basis
from lightning_symmetry.groups import Group

# Eigenvalues of a form below this share of the largest are taken for zero where noise is no larger.
_FLAT = 1e-6


@final
@dataclass(frozen=True, eq=False)
class InvariantForms:
    """All forms M with ``g^T M g = M``, for linear parts of the elements g of a group.

    Args:
        symmetric: (s, n, n), sparse, the largest entry of each of size 1.
        skew: (k, n, n), alike.
        signatures: For each symmetric form, how many eigenvalues are positive, negative, and zero. An indefinite form
            has at most as many positive ones as negative.
        ranks: Of each skew form.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> print(invariant_forms(SO(3)))
        1 symmetric form, signature (3,0)
    """

    symmetric: Tensor
    skew: Tensor
    signatures: tuple[tuple[int, int, int], ...]
    ranks: tuple[int, ...]

    @property
    def metric(self) -> Tensor | None:
        """The symmetric form, (n, n), where there is exactly one and it has no kernel."""
        return self.symmetric[0] if len(self.symmetric) == 1 and not self.signatures[0][2] else None

    @property
    def symplectic(self) -> Tensor | None:
        """The skew form, (n, n), where there is exactly one and it has no kernel."""
        return self.skew[0] if len(self.skew) == 1 and self.ranks[0] == self.skew.shape[-1] else None

    def __str__(self) -> str:
        """Count the forms in one line."""
        kinds = []
        if self.signatures:
            written = ", ".join(_write_signature(one) for one in self.signatures)
            kinds.append(f"{_count(len(self.signatures), 'symmetric form')}, signature {written}")
        if self.ranks:
            kinds.append(f"{_count(len(self.ranks), 'skew form')}, rank {', '.join(map(str, self.ranks))}")
        return "; ".join(kinds) or "no invariant form"


def invariant_forms(
    group_or_basis: Group | Tensor, errors: Tensor | float | None = None, tol: Tolerance = "auto"
) -> InvariantForms:
    """Find the forms that a linear group keeps: null space of ``L^T M + M L`` over its generators.

    Args:
        group_or_basis: A bound linear group, or (K, n, n) matrices. Of one that translates the linear parts count.
        errors: Standard errors of the numbers, one for all or shaped alike.
        tol: Relative size of their noise instead; "auto" reads it off the closure.

    Returns:
        Symmetric and skew forms.

    Raises:
        InvalidSetting: The generators are no matrices.

    Example:
        >>> from lightning_symmetry.groups import Lorentz
        >>> found = invariant_forms(Lorentz(4))
        >>> found.metric.diagonal().round(decimals=6), found.signatures
        (tensor([ 1., -1., -1., -1.], dtype=torch.float64), ((1, 3, 0),))
    """
    basis = read_basis(group_or_basis, errors, tol)
    if basis.matrices is None:
        raise InvalidSetting("polynomial fields", "linear or affine generators", "Forms are kept by linear maps.")
    return forms_of(basis)


def forms_of(basis: Basis) -> InvariantForms:
    """Find the forms that a basis of matrices keeps."""
    linear = basis.span[:, :-1, :-1] if basis.affine else basis.span
    symmetric, skew = (canonical_basis(found) for found in preserved_forms(linear, basis.entry_noise))
    flat = max(_FLAT, 4 * linear.shape[-1] * basis.entry_noise)
    forms, signatures = [], []
    for form in symmetric:
        form = form / form.abs().max()
        positive, negative, zero = inertia(form, flat)
        if positive > negative > 0 or not positive:
            form, positive, negative = -form, negative, positive
        forms.append(form + 0.0)
        signatures.append((positive, negative, zero))
    ranks = [int((torch.linalg.svdvals(form) > flat * float(form.norm())).sum()) for form in skew]
    return InvariantForms(
        symmetric=torch.stack(forms) if forms else symmetric,
        skew=torch.stack([form / form.abs().max() for form in skew]) if len(skew) else skew,
        signatures=tuple(signatures),
        ranks=tuple(ranks),
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number > 1)}"


def _write_signature(signature: tuple[int, int, int]) -> str:
    positive, negative, zero = signature
    return f"({positive},{negative}{f',{zero} zero' if zero else ''})"
