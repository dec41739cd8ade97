"""Permutations of the nodes of a set."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import Element, Index, Kind

LARGEST_LIST = 5040
"""Most permutations that are listed one by one, 7!."""


@final
@dataclass(frozen=True, eq=False)
class Permutation(Element):
    """A reordering of N nodes, one a row: ``g(p)[i] = p[order[i]]`` along axis 1.

    Args:
        order: (B, N) whole numbers, each row a permutation of 0 ... N - 1.
        coordinates: (B, 0) from ``Group.exp``, if any.

    Example:
        >>> swap = Permutation(torch.tensor([[1, 0]]))
        >>> swap(torch.tensor([[[1.0], [2.0]]])).flatten()
        tensor([2., 1.])
    """

    order: Tensor
    coordinates: Tensor | None = None

    acts_on: ClassVar[Kind] = "nodes"

    @property
    def dim(self) -> int:
        """Number N of nodes."""
        return self.order.shape[-1]

    @property
    def matrix(self) -> Tensor:
        """(B, N, N): the matrices that reorder columns of node features."""
        return F.one_hot(self.order, self.dim).double()

    def __len__(self) -> int:
        """Give the number of permutations."""
        return self.order.shape[0]

    def __call__(self, p: Tensor) -> Tensor:
        """Reorder axis 1 of (B, N, ...)."""
        if p.shape[1] != self.dim:
            raise DimensionMismatch(
                f"{p.shape[1]} nodes for permutations of {self.dim}",
                f"shape (B, {self.dim}, ...)",
                "Let the group's size follow the data, or give it the number of nodes.",
            )
        rows = torch.arange(p.shape[0], device=p.device).unsqueeze(1)
        return p[rows, self.order.to(p.device).expand(p.shape[0], -1)]

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Reorder vectors with the nodes that they are attached to."""
        return self(v)

    def __invert__(self) -> Permutation:
        """Undo every reordering."""
        return Permutation(self.order.argsort(-1), None if self.coordinates is None else -self.coordinates)

    def __matmul__(self, other: Element) -> Permutation:
        """Compose: the right one moves first."""
        if not isinstance(other, Permutation) or other.dim != self.dim:
            raise DimensionMismatch(
                f"{type(other).__name__} of dimension {other.dim}",
                f"a Permutation of {self.dim} nodes",
                "Compose elements of one set only.",
            )
        rows = max(len(self), len(other))
        return Permutation(other.order.expand(rows, -1).gather(1, self.order.expand(rows, -1)))

    def __getitem__(self, index: Index) -> Permutation:
        """Select rows."""
        if isinstance(index, int):
            index = [index]
        return Permutation(self.order[index], None if self.coordinates is None else self.coordinates[index])


@final
class Permutations(Group):
    """All reorderings of N nodes, a group without generators.

    Args:
        dim: Number N of nodes; None follows the data, batch by batch.

    Example:
        >>> len(Permutations(3).discrete)
        6
    """

    acts_on: ClassVar[Kind] = "nodes"

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim)
        if dim is not None and (not isinstance(dim, int) or dim < 1):
            raise InvalidSetting(f"permutations of {dim!r} nodes", "a positive whole number", "Give their number.")
        self.dim = dim
        self._like: Tensor
        self.register_buffer("_like", torch.zeros(0), persistent=False)

    @property
    def count(self) -> int:
        """Zero: nothing is continuous here."""
        return 0

    @property
    def affine(self) -> bool:
        """Nothing is translated."""
        return False

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        return "permutations" if self._given_dim is None else f"permutations({self._given_dim})"

    def basis(self) -> Tensor:
        """Give no generators, (0, N, N)."""
        return self._like.new_zeros(0, self._size, self._size)

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Follow the number of nodes of the data, or check it against the one that was given."""
        if dim is not None and self._given_dim not in (None, dim):
            raise DimensionMismatch(
                f"data of {dim} nodes", f"{self._given_dim}", "Leave the number out: it then follows the data."
            )
        self.dim = self.dim if dim is None else dim
        return self

    @property
    def discrete(self) -> Element:
        """All N! permutations, the identity first; for at most 7 nodes."""
        if factorial(self._size) > LARGEST_LIST:
            raise DimensionMismatch(
                f"all permutations of {self._size} nodes", "at most 7 nodes", "Draw some with draw_finite or sample."
            )
        return Permutation(torch.tensor(list(permutations(range(self._size))), device=self._like.device))

    def select(self, t: Tensor, rng: Rng, active: Tensor | None = None) -> tuple[Tensor, Permutation]:
        """Draw uniform permutations, one a row, without listing them."""
        keys = rng.uniform(*t.shape[:2], self._size, device=t.device, dtype=torch.float64)
        if active is not None:
            # keys that grow leave the nodes in their places
            keys = torch.where(active.unsqueeze(-1), keys, torch.arange(self._size, device=t.device).double())
        return t, Permutation(keys.flatten(0, 1).argsort(-1))

    def exp(self, t: Tensor) -> Permutation:
        """Give identities: (B, 0) coordinates to B of them."""
        self._check_coordinates(t)
        return Permutation(torch.arange(self._size, device=t.device).repeat(t.shape[0], 1), t)

    def field(self, p: Tensor) -> Tensor:
        """Give no velocity, (B, N, 0, d)."""
        return p.new_zeros(*p.shape[:-1], 0, p.shape[-1])

    @property
    def _size(self) -> int:
        if self.dim is None:
            raise DimensionMismatch(
                "permutations without a number of nodes", "data, or a number", "Write permutations(N), or call bind(N)."
            )
        return self.dim
