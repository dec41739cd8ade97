"""The invariants of a Lie algebra, taken at a level of noise at which they do not contradict one another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.lie_algebra import (
    centre,
    compress,
    derived_series,
    killing_cut,
    killing_form,
    lower_central_series,
    nilradical,
    radical,
)
from lightning_symmetry.functional.ranks import eigenvalues, inertia, null_of

# Directions of a learnt basis are not equally noisy: the worst carry about twice the mean. The rest is tried, in this
# order, where theorems say that the dimensions cannot be those of an algebra.
FACTORS = (2.0, 3.0, 1.4, 4.5, 1.0, 6.5, 0.7)
_EXACT = 1e-7
# Dimensions in which there is no semisimple algebra.
_NEVER_SEMISIMPLE = (1, 2, 4, 5, 7)
# Weights that differ less are the same.
WEIGHT_TOLERANCE = 0.1


@final
@dataclass(frozen=True, eq=False)
class Structure:
    """What is invariant about structure constants.

    Args:
        constants: (r, r, r).
        noise: Standard deviation that the constants were read with.
        derived: Dimensions of the derived series after the algebra itself, until they stay.
        lower_central: The same of the lower central series.
        centre: Dimension of the centre.
        radical: Dimension of the largest solvable ideal.
        nilradical: Dimension of the largest nilpotent ideal.
        inertia: How many eigenvalues of the Killing form are positive, negative, and zero.
        unimodular: Whether all adjoint matrices have trace zero.
        levi: Inertia of the Killing form of the algebra modulo its radical.
        weights: Eigenvalues on the nilradical of what lies outside it, the largest of size 1, up to a common sign;
            empty unless the algebra is solvable and one dimension lies outside.
    """

    constants: Tensor
    noise: float
    derived: tuple[int, ...]
    lower_central: tuple[int, ...]
    centre: int
    radical: int
    nilradical: int
    inertia: tuple[int, int, int]
    unimodular: bool
    levi: tuple[int, int]
    weights: tuple[complex, ...]

    @property
    def dim(self) -> int:
        """Dimension r."""
        return len(self.constants)

    @property
    def solvable(self) -> bool:
        """Whether the derived series ends in nothing."""
        return self.radical == self.dim

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that is a whole number."""
        return (
            self.dim,
            self.derived,
            self.lower_central,
            self.centre,
            self.radical,
            self.nilradical,
            self.inertia,
            self.unimodular,
            self.levi,
        )

    @property
    def contradiction(self) -> bool:
        """Whether theorems forbid these dimensions: they were misread then."""
        ends = self.derived[-1:] == (0,)
        nilpotent = self.lower_central[-1:] == (0,)
        return (
            ends != self.solvable
            or nilpotent != (self.nilradical == self.dim)
            or (self.dim - self.radical) in _NEVER_SEMISIMPLE
            or sum(self.levi) != self.dim - self.radical
            or not self.nilradical <= self.inertia[2] <= self.radical
            # the derived algebra of a solvable one is nilpotent, and brackets leave out two dimensions of such a one
            or (self.solvable and self.derived[0] > self.nilradical)
            or (
                self.solvable
                and any(b > max(a - 2, 0) for a, b in pairwise((self.dim, *self.derived)[not nilpotent :]))
            )
            or (self.solvable and self.radical > 0 and not self.nilradical)
            or not self.centre <= self.nilradical
            or (nilpotent and not self.centre)
        )

    def agrees(self, other: Structure) -> bool:
        """Tell whether nothing here separates two algebras."""
        return self.key == other.key and _same_weights(self.weights, other.weights)


def read_structure(c: Tensor, noise: float) -> Structure:
    """Take the invariants of structure constants.

    Args:
        c: (r, r, r), float64.
        noise: Standard deviation of a constant.

    Returns:
        The invariants, at the first multiple of the noise where no theorem is violated; the usual multiple if there is
        none.

    Example:
        >>> from lightning_symmetry.functional.brackets import commutators, structure_constants
        >>> from lightning_symmetry.functional.spans import orthonormal_span
        >>> from lightning_symmetry.groups import SE
        >>> span = orthonormal_span(SE(3).basis())
        >>> found = read_structure(structure_constants(span, commutators(span))[0], 0.0)
        >>> found.radical, found.inertia
        (3, (0, 3, 3))
    """
    first = _read(c, FACTORS[0] * noise)
    if noise < _EXACT or not first.contradiction:
        return first
    for factor in FACTORS[1:]:
        found = _read(c, factor * noise)
        if not found.contradiction:
            return found
    return first


def _read(c: Tensor, noise: float) -> Structure:
    solvable = radical(c, noise)
    nilpotent = nilradical(c, noise)
    quotient = compress(c, null_of(solvable)) if len(solvable) else c
    positive, negative = inertia(killing_form(quotient), killing_cut(quotient, noise))[:2] if len(quotient) else (0, 0)
    traces = torch.einsum("ikk->i", c)
    return Structure(
        constants=c,
        noise=noise,
        derived=_dimensions(derived_series(c, noise)),
        lower_central=_dimensions(lower_central_series(c, noise)),
        centre=len(centre(c, noise)),
        radical=len(solvable),
        nilradical=len(nilpotent),
        inertia=inertia(killing_form(c), killing_cut(c, noise)),
        unimodular=float(traces.norm()) <= max(2 * noise * len(c), 1e-8 * float(c.norm()), 1e-12),
        levi=(positive, negative),
        weights=_weights(c, nilpotent) if len(solvable) == len(c) == len(nilpotent) + 1 else (),
    )


def _dimensions(series: list[Tensor]) -> tuple[int, ...]:
    return tuple(len(space) for space in series[1:])


def _weights(c: Tensor, ideal: Tensor) -> tuple[complex, ...]:
    outside = null_of(ideal)[0]
    acting = torch.einsum("i,ijk,aj,bk->ba", outside, c, ideal, ideal)
    values = eigenvalues(acting)
    values = values / values.abs().max().clamp_min(1e-12)
    return tuple(complex(v) for v in values.tolist())


def _same_weights(a: tuple[complex, ...], b: tuple[complex, ...]) -> bool:
    """Compare two sets of weights, whatever their order and common sign."""
    if len(a) != len(b):
        return False
    for sign in (1, -1):
        rest = [sign * value for value in b]
        for value in a:
            nearest = min(rest, key=lambda other: abs(other - value), default=None)
            if nearest is None or abs(nearest - value) > WEIGHT_TOLERANCE:
                break
            rest.remove(nearest)
        if not rest:
            return True
    return not a
