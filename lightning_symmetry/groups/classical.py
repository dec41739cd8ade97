"""The classical matrix groups. A rotation's coordinate is its angle in radians."""

from __future__ import annotations

from itertools import combinations
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups.element import AffineMap
from lightning_symmetry.groups.known import KnownGroup


def _elementary(dim: int, entries: list[list[tuple[int, int, float]]]) -> Tensor:
    """Write matrices by their non-zero entries (row, column, value)."""
    basis = torch.zeros(len(entries), dim, dim)
    for k, places in enumerate(entries):
        for row, column, value in places:
            basis[k, row, column] = value
    return basis


def _rotations(dim: int) -> Tensor:
    return _elementary(dim, [[(j, i, 1.0), (i, j, -1.0)] for i, j in combinations(range(dim), 2)])


def _shears(dim: int) -> Tensor:
    return _elementary(dim, [[(j, i, 1.0), (i, j, 1.0)] for i, j in combinations(range(dim), 2)])


def _stretches(dim: int) -> Tensor:
    return _elementary(dim, [[(i, i, 1.0), (i + 1, i + 1, -1.0)] for i in range(dim - 1)])


def _translations(dim: int) -> Tensor:
    return _elementary(dim + 1, [[(i, dim, 1.0)] for i in range(dim)])


def _with_translations(linear: Tensor) -> Tensor:
    return torch.cat((F.pad(linear, (0, 1, 0, 1)), _translations(linear.shape[-1])))


def _require(holds: bool, name: str, dim: int, expected: str) -> None:
    if not holds:
        raise DimensionMismatch(f"{name} in {dim} dimensions", expected, "Check the dimension of the data.")


def _reflection(like: Tensor, dim: int, affine: bool) -> AffineMap:
    """Pair the identity with the mirror that turns the first axis round."""
    linear = torch.eye(dim, dtype=like.dtype, device=like.device).repeat(2, 1, 1)
    linear[1, 0, 0] = -1
    return AffineMap(linear, linear.new_zeros(2, dim) if affine else None)


@final
class SO(KnownGroup):
    """Rotations: d(d-1)/2 generators, one a plane (i, j) with i < j, turning axis i towards axis j.

    Example:
        >>> SO(2).basis()
        tensor([[[ 0., -1.],
                 [ 1.,  0.]]])
    """

    structure = "skew"

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d-1)/2, d, d)."""
        _require(dim >= 2, "SO", dim, "at least 2")
        return _rotations(dim)


@final
class O(KnownGroup):  # noqa: E742
    """Rotations and reflections: SO and a mirror.

    Example:
        >>> len(O(3).discrete)
        2
    """

    structure = "skew"

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d-1)/2, d, d)."""
        _require(dim >= 2, "O", dim, "at least 2")
        return _rotations(dim)

    @property
    def discrete(self) -> AffineMap:
        """The identity and the mirror of the first axis."""
        like = self.basis()
        return _reflection(like, like.shape[-1], affine=False)


@final
class SE(KnownGroup):
    """Rigid motions: the rotations of SO, then d translations.

    Example:
        >>> SE(3).count
        6
    """

    structure = "rigid"
    translates = True

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d+1)/2, d+1, d+1)."""
        _require(dim >= 2, "SE", dim, "at least 2")
        return _with_translations(_rotations(dim))


@final
class E(KnownGroup):
    """Rigid motions and reflections: SE and a mirror.

    Example:
        >>> E(2).count
        3
    """

    structure = "rigid"
    translates = True

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d+1)/2, d+1, d+1)."""
        _require(dim >= 2, "E", dim, "at least 2")
        return _with_translations(_rotations(dim))

    @property
    def discrete(self) -> AffineMap:
        """The identity and the mirror of the first axis."""
        like = self.basis()
        return _reflection(like, like.shape[-1] - 1, affine=True)


@final
class GL(KnownGroup):
    """Invertible linear maps near the identity: rotations, shears, the scaling, stretches; d^2 generators.

    Example:
        >>> GL(2).count
        4
    """

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d^2, d, d)."""
        return torch.cat((_rotations(dim), _shears(dim), torch.eye(dim)[None], _stretches(dim)))


@final
class SL(KnownGroup):
    """Linear maps that keep volumes: rotations, shears, stretches; d^2 - 1 generators.

    Example:
        >>> SL(2).basis().diagonal(dim1=1, dim2=2).sum(1)
        tensor([0., 0., 0.])
    """

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d^2 - 1, d, d)."""
        _require(dim >= 2, "SL", dim, "at least 2")
        return torch.cat((_rotations(dim), _shears(dim), _stretches(dim)))


@final
class Scale(KnownGroup):
    """Uniform scaling about the origin; the coordinate is the logarithm of the factor.

    Example:
        >>> float(Scale(2).exp(torch.tensor([[2.0]]).log()).linear[0, 0, 0])
        2.0
    """

    structure = "diagonal"

    def generators(self, dim: int) -> Tensor:
        """Write the generator down, (1, d, d)."""
        return torch.eye(dim)[None]


@final
class AnisotropicScaling(KnownGroup):
    """A factor of its own for every axis; the coordinates are the logarithms.

    Example:
        >>> AnisotropicScaling(3).count
        3
    """

    structure = "diagonal"

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d, d, d)."""
        return torch.diag_embed(torch.eye(dim))


@final
class Translation(KnownGroup):
    """Translations, one generator an axis.

    Example:
        >>> Translation(2).exp(torch.tensor([[1.0, 2.0]])).offset
        tensor([[1., 2.]])
    """

    structure = "rigid"
    translates = True

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d, d+1, d+1)."""
        return _translations(dim)

    def _exponential(self, matrix: Tensor) -> Tensor:
        # The square of every generator vanishes: the series ends after its second term.
        return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


@final
class Affine(KnownGroup):
    """Affine maps near the identity: the generators of GL, then d translations.

    Example:
        >>> Affine(2).count
        6
    """

    structure = "affine"
    translates = True

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d^2 + d, d+1, d+1)."""
        return _with_translations(torch.cat((_rotations(dim), _shears(dim), torch.eye(dim)[None], _stretches(dim))))


@final
class Lorentz(KnownGroup):
    """Maps that keep t^2 - |x|^2, time first.

    The generators are d - 1 boosts (their coordinate is the rapidity), then the rotations of space.

    Example:
        >>> Lorentz(4).count
        6
    """

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d-1)/2, d, d)."""
        _require(dim >= 2, "Lorentz", dim, "at least 2")
        boosts = _elementary(dim, [[(0, i, 1.0), (i, 0, 1.0)] for i in range(1, dim)])
        return torch.cat((boosts, F.pad(_rotations(dim - 1), (1, 0, 1, 0))))


@final
class Symplectic(KnownGroup):
    """Linear canonical maps of phase space (q, p): ``L = J S`` with S symmetric; d(d+1)/2 generators.

    Example:
        >>> Symplectic(4).count
        10
    """

    def generators(self, dim: int) -> Tensor:
        """Write the generators down, (d(d+1)/2, d, d)."""
        _require(dim >= 2 and dim % 2 == 0, "Symplectic", dim, "an even number, half positions and half momenta")
        form = torch.zeros(dim, dim)
        form[: dim // 2, dim // 2 :] = torch.eye(dim // 2)
        form[dim // 2 :, : dim // 2] = -torch.eye(dim // 2)
        return form @ torch.cat((torch.diag_embed(torch.eye(dim)), _shears(dim)))


__all__ = [
    "GL",
    "SE",
    "SL",
    "SO",
    "Affine",
    "AnisotropicScaling",
    "E",
    "Lorentz",
    "O",
    "Scale",
    "Symplectic",
    "Translation",
]
