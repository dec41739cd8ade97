"""Groups side by side: what products and unions share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import matmul
from typing import Any, ClassVar, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.expm import expm, has_closed_form
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import AffineMap, Element, Index, Kind
from lightning_symmetry.groups.known import KnownGroup

_KINDS: tuple[Kind, ...] = ("space", "nodes")
SAME = 1e-5
"""Two matrices that differ by less are one: entries are of size 1, in float32."""


@final
@dataclass(frozen=True, eq=False)
class ProductElement(Element):
    """What moves the space, and what reorders the nodes; the two commute.

    Args:
        space: Moves positions.
        nodes: Reorders axis 1.

    Example:
        >>> from lightning_symmetry.groups import AffineMap, Permutation
        >>> g = ProductElement(AffineMap(2 * torch.eye(1)[None]), Permutation(torch.tensor([[1, 0]])))
        >>> g(torch.tensor([[[1.0], [5.0]]])).flatten()
        tensor([10.,  2.])
    """

    space: Element
    nodes: Element

    def part(self, kind: Kind) -> Element | None:
        """Give one of the two factors."""
        return self.space if kind == "space" else self.nodes

    @property
    def dim(self) -> int:
        """Dimension d of the space that is moved."""
        return self.space.dim

    @property
    def coordinates(self) -> Tensor | None:
        """(B, K) of what moves the space: reordering has none."""
        return self.space.coordinates

    def __len__(self) -> int:
        """Give the number of elements."""
        return max(len(self.space), len(self.nodes))

    def __call__(self, p: Tensor) -> Tensor:
        """Move points (B, N, d), then reorder them."""
        return self.nodes(self.space(p))

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Carry vectors along with the points that they are attached to."""
        return self.nodes.push(self.space.push(v, at))

    def __invert__(self) -> ProductElement:
        """Undo both."""
        return ProductElement(~self.space, ~self.nodes)

    def __matmul__(self, other: Element) -> ProductElement:
        """Compose factor by factor; what the other element leaves alone stays as it is."""
        space, nodes = other.part("space"), other.part("nodes")
        return ProductElement(
            self.space if space is None else self.space @ space, self.nodes if nodes is None else self.nodes @ nodes
        )

    def __getitem__(self, index: Index) -> ProductElement:
        """Select rows."""
        rows = len(self)
        return ProductElement(*(g if len(g) == 1 < rows else g[index] for g in (self.space, self.nodes)))


class Joined(Group, ABC):
    """Groups side by side: their generators make one matrix algebra, homogeneous where any of them translates.

    Coordinates come one factor after the other, and ``exp`` is that of the combination. A factor that reorders nodes
    stays apart, and so does any group of space that is not linear: it must be the only one of its space.

    Args:
        factors: At least two; a factor of the same class is replaced by its own factors.

    Raises:
        DimensionMismatch: They act on different spaces.
        InvalidSetting: There are fewer than two, several reorder nodes, or one that is not linear has company.
    """

    symbol: ClassVar[str]

    def __init__(self, factors: Sequence[Group]) -> None:
        super().__init__(None)
        flat: list[Group] = []
        for factor in factors:
            flat += factor._members if isinstance(factor, Joined) and type(factor) is type(self) else [factor]
        self.factors = nn.ModuleList(flat)
        movers = self._movers
        nodes = [part for f in flat if (part := f.part("nodes")) is not None]
        if len(flat) < 2 or len(nodes) > 1 or not movers:
            raise InvalidSetting(
                f"{self.symbol.join(f' {f.sentence} ' for f in flat).strip() or 'nothing'!r}",
                "two or more groups, at most one of which reorders nodes",
                "Write for example SO(3) * permutations, or (SO(2) | D4) * permutations.",
            )
        if len(movers) > 1 and not all(m.linear for m in movers):
            raise InvalidSetting(
                f"{next(m.sentence for m in movers if not m.linear)!r} beside another group of the same space",
                "matrix groups, or a single group of vector fields",
                "Raise the degree of a polynomial field instead: degree 1 holds all affine maps.",
            )
        kinds = {m.structure for m in movers}
        if kinds <= {"skew", "rigid"}:
            self.structure = "rigid" if any(m.affine for m in movers) else "skew"
        elif kinds == {"diagonal"}:
            self.structure = "diagonal"
        # The parts are kept in a tuple: as modules they would be registered twice.
        space = self if not nodes else movers[0] if len(movers) == 1 else type(self)(movers)
        self._parts: tuple[Group | None, ...] = (None if space is self else space, *nodes)
        self._commute, self._checked = False, False
        self._given_dim = next((dim for m in movers if (dim := m.dim or m._given_dim) is not None), None)
        for mover in movers:
            self._check_dim(mover, self._given_dim)
            # One that is learnt waits for the data, which tell whether it may translate.
            if isinstance(mover, KnownGroup):
                mover.bind(self._given_dim)
        if self._given_dim is not None and all(m.dim is not None for m in movers):
            self.bind(self._given_dim)

    @property
    def _members(self) -> list[Group]:
        return cast("list[Group]", list(self.factors))

    @property
    def _movers(self) -> list[Group]:
        """The parts that move the space, in the order of their coordinates."""
        return [part for f in self._members if (part := f.part("space")) is not None]

    @property
    def dim(self) -> int | None:
        """Dimension d of the space, as soon as all factors know it."""
        dims = [m.dim for m in self._movers]
        return None if None in dims else dims[0]

    @dim.setter
    def dim(self, value: int | None) -> None:
        """Leave it to the factors."""

    def part(self, kind: Kind) -> Group | None:
        """Give what moves the space, or what reorders the nodes."""
        space, *nodes = self._parts
        return (self if space is None else space) if kind == "space" else nodes[0] if nodes else None

    @property
    def count(self) -> int:
        """Number K of generators, of all factors."""
        return sum(f.count for f in self._members)

    @property
    def affine(self) -> bool:
        """Whether any factor translates."""
        return any(m.affine for m in self._movers)

    @property
    def linear(self) -> bool:
        """Whether the generators are matrices."""
        return all(m.linear for m in self._movers)

    @property
    def learnable(self) -> bool:
        """Whether training can change any factor."""
        return any(f.learnable for f in self._members)

    @property
    def closed(self) -> bool:
        """Whether products of elements belong to it."""
        return all(f.closed for f in self._members)

    def learnt(self) -> list[bool]:
        """Tell for each generator whether training can change it."""
        return [flag for f in self._members for flag in f.learnt()]

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back; a union within a product stands in brackets."""
        return self._join([f.sentence for f in self._members])

    def _join(self, words: Sequence[str]) -> str:
        loose = [isinstance(f, Joined) and (self.symbol, f.symbol) == ("*", "|") for f in self._members]
        return f" {self.symbol} ".join(f"({w})" if weak else w for w, weak in zip(words, loose, strict=True))

    def dump(self) -> dict[str, Any]:
        """Describe the factors, one by one where the sentence does not tell."""
        parts = [f.dump() for f in self._members]
        document = {"sentence": self._join([part["sentence"] for part in parts])}
        if all(list(part) == ["sentence"] for part in parts):
            return document
        return document | {"symbol": self.symbol, "factors": parts}

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Bind all factors to one space, or check that they have it."""
        dim = self._given_dim if dim is None else dim
        if dim is None or (self._checked and dim == self.dim):
            return self
        for mover in self._movers:
            self._check_dim(mover, dim)
        for mover in self._movers:
            mover.bind(dim, affine)
        space = self._parts[0]
        if space is not None:
            space.bind(dim, affine)
        self._check_finite()
        self._checked = True
        size = dim + self.affine
        self._commute = self.linear and not has_closed_form(self._form, size) and self._commutes()
        return self

    def _check_dim(self, mover: Group, dim: int | None) -> None:
        known = mover.dim or mover._given_dim
        if None not in (known, dim) and known != dim:
            raise DimensionMismatch(
                f"{mover.sentence}, which acts in {known} dimensions, for {dim}",
                "one space for data and all factors",
                "Correct the dimensions, or leave them out.",
            )

    def _check_finite(self) -> None:
        """Refuse finite parts that do not fit together."""

    def _commutes(self) -> bool:
        """Whether generators of different factors commute, as long as nothing is learnt."""
        if self.learnable:
            return False
        bases = [self._widen(m) for m in self._movers]
        pairs = combinations([b for b in bases if len(b)], 2)
        return not any(bool((a[:, None] @ b - b @ a[:, None]).abs().max() > SAME) for a, b in pairs)

    def _widen(self, mover: Group) -> Tensor:
        basis = mover.basis()
        return F.pad(basis, (0, 1, 0, 1)) if self.affine and not mover.affine else basis

    def basis(self) -> Tensor:
        """Give the generators of all factors, one after the other."""
        movers = self._movers
        if len(movers) == 1:
            return movers[0].basis()
        dtype = reduce(torch.promote_types, (m.basis().dtype for m in movers))
        return torch.cat([self._widen(m).to(dtype) for m in movers])

    def coefficients(self) -> Tensor:
        """Give the numbers that make each generator."""
        return self.basis() if self.linear else self._movers[0].coefficients()

    def pattern(self) -> Tensor:
        """Tell which numbers the generators of any factor may use."""
        movers = self._movers
        if len(movers) == 1:
            return movers[0].pattern()
        size = self.basis().shape[-1]
        return torch.stack([F.pad(p, (0, size - len(p)) * 2) for p in (m.pattern() for m in movers)]).amax(0)

    def fix(self, coefficients: Tensor | None = None) -> Group:
        """Make the group of fixed generators; what reorders the nodes stays."""
        space, nodes = self._movers[0] if not self.linear else self, self.part("nodes")
        fixed = Group.fix(space, coefficients) if space is self else space.fix(coefficients)
        return fixed if nodes is None else fixed * nodes

    def exp(self, t: Tensor) -> Element:
        """Make elements from the coordinates of all factors together."""
        self._check_coordinates(t)
        nodes = self.part("nodes")
        if nodes is not None:
            space = self.part("space") or self
            return ProductElement(space.exp(t), nodes.exp(t[:, :0]))
        if not self._commute:
            return super().exp(t)
        movers = self._movers
        t = t.to(working_dtype(t.dtype))
        shares = t.split([m.count for m in movers], 1)
        g = reduce(matmul, [m.exp(share) for m, share in zip(movers, shares, strict=True) if m.count])
        if not isinstance(g, AffineMap):
            raise DimensionMismatch(f"a {type(g).__name__}", "an AffineMap", "Linear groups make affine maps.")
        return AffineMap(g.linear, g.offset, t)

    def field(self, p: Tensor) -> Tensor:
        """Give the velocity of points under each generator, (B, N, K, d)."""
        movers = self._movers
        return movers[0].field(p) if len(movers) == 1 else super().field(p)

    @property
    def _form(self) -> Any:
        return "affine" if self.structure == "general" and self.affine else self.structure

    def _exponential(self, matrix: Tensor) -> Tensor:
        return expm(matrix, self._form)

    def select(self, t: Tensor, rng: Rng, active: Tensor | None = None) -> tuple[Tensor, Element | None]:
        """Draw the finite parts of the factors that take part, and their coordinates."""
        turns = self._take_turns(t, rng, active)
        shares = t.split([f.count for f in self._members], -1)
        drawn = [f.select(share, rng, on) for f, share, on in zip(self._members, shares, turns, strict=True)]
        return torch.cat([share for share, _ in drawn], -1), _compose([finite for _, finite in drawn])

    @abstractmethod
    def _take_turns(self, t: Tensor, rng: Rng, active: Tensor | None) -> list[Tensor | None]:
        """Tell for each factor in which draws, (B, n), it takes part; None is always."""


def _compose(elements: Sequence[Element | None]) -> Element | None:
    """Multiply what moves the space from left to right, and keep what reorders nodes beside it."""
    found = [g for g in elements if g is not None]
    space, nodes = (
        reduce(matmul, parts) if (parts := [part for g in found if (part := g.part(kind)) is not None]) else None
        for kind in _KINDS
    )
    return nodes if space is None else space if nodes is None else ProductElement(space, nodes)
