"""Groups side by side: what products and unions share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, combinations
from operator import matmul
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.expm import expm, has_closed_form
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import AffineMap, Element, Kind
from lightning_symmetry.groups.known import KnownGroup
from lightning_symmetry.groups.parts import ProductElement

_KINDS: tuple[Kind, ...] = ("space", "nodes", "values")
SAME = 1e-5
"""Two matrices that differ by less are one: entries are of size 1, in float32."""


class Joined(Group, ABC):
    """Groups side by side: their generators make one matrix algebra, homogeneous where any of them translates.

    Coordinates come one factor after the other, and ``exp`` is that of the combination. A factor that reorders nodes
    stays apart, and so does any group of space that is not linear: it must be the only one of its space. Beside one
    that changes values the generators are block-diagonal, (K, n + 2, n + 2): those of the space, then those of the
    values.

    Args:
        factors: At least two; a factor of the same class is replaced by its own factors.

    Raises:
        DimensionMismatch: They act on different spaces.
        InvalidSetting: There are fewer than two, several reorder nodes or change values, or one that is not linear has
            company.
    """

    symbol: ClassVar[str]

    def __init__(self, factors: Sequence[Group]) -> None:
        super().__init__(None)
        flat: list[Group] = []
        for factor in factors:
            flat += factor._members if isinstance(factor, Joined) and type(factor) is type(self) else [factor]
        self.factors = nn.ModuleList(flat)
        movers = self._movers
        nodes, values = ([part for f in flat if (part := f.part(kind)) is not None] for kind in ("nodes", "values"))
        if len(flat) < 2 or max(len(nodes), len(values)) > 1 or not movers:
            raise InvalidSetting(
                f"{self.symbol.join(f' {f.sentence} ' for f in flat).strip() or 'nothing'!r}",
                "two or more groups, one of the space among them, at most one that reorders nodes or changes values",
                "Write for example SO(3) * permutations, or (SO(2) | D4) * permutations.",
            )
        if len(movers) + len(values) > 1 and not all(m.linear for m in movers):
            raise InvalidSetting(
                f"{next(m.sentence for m in movers if not m.linear)!r} beside another group of the space or of values",
                "matrix groups, or a single group of vector fields",
                "Raise the degree of a polynomial field instead: degree 1 holds all affine maps.",
            )
        kinds = {m.structure for m in movers}
        if kinds <= {"skew", "rigid"}:
            self.structure = "rigid" if any(m.affine for m in movers) else "skew"
        elif kinds == {"diagonal"}:
            self.structure = "diagonal"
        # The parts are kept in a dictionary: as modules they would be registered twice.
        self._parts: dict[Kind, Group | None] = {
            "nodes": nodes[0] if nodes else None,
            "values": values[0] if values else None,
        }
        if nodes or values:
            self._parts["space"] = movers[0] if len(movers) == 1 else type(self)(movers)
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
        """Give what moves the space, what reorders the nodes, or what changes the values."""
        return self._parts.get(kind, self)

    def columns(self, kind: Kind) -> list[int]:
        """Tell which generators are those of one part."""
        starts = accumulate((f.count for f in self._members), initial=0)
        return [start + i for f, start in zip(self._members, starts, strict=False) for i in f.columns(kind)]

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
        space = self.part("space")
        if space is not None and space is not self:
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
        movers, values = self._movers, self.part("values")
        if values is not None:
            space = (self.part("space") or self).basis()
            size, dtype = space.shape[-1], torch.promote_types(space.dtype, values.basis().dtype)
            total = space.new_zeros(self.count, size + 2, size + 2, dtype=dtype)
            blocks: dict[Kind, Tensor] = {
                "space": F.pad(space, (0, 2, 0, 2)),
                "values": F.pad(values.basis(), (size, 0, size, 0)),
            }
            for kind, block in blocks.items():
                place = torch.tensor(self.columns(kind), dtype=torch.long, device=space.device)
                total = total.index_add(0, place, block.to(total))
            return total
        if len(movers) == 1:
            return movers[0].basis()
        dtype = reduce(torch.promote_types, (m.basis().dtype for m in movers))
        return torch.cat([self._widen(m).to(dtype) for m in movers])

    def coefficients(self) -> Tensor:
        """Give the numbers that make each generator."""
        return self.basis() if self.linear else self._movers[0].coefficients()

    def pattern(self) -> Tensor:
        """Tell which numbers the generators of any factor may use."""
        movers, values = self._movers, self.part("values")
        if values is not None:
            return torch.block_diag((self.part("space") or self).pattern(), values.pattern())
        if len(movers) == 1:
            return movers[0].pattern()
        size = self.basis().shape[-1]
        return torch.stack([F.pad(p, (0, size - len(p)) * 2) for p in (m.pattern() for m in movers)]).amax(0)

    def fix(self, coefficients: Tensor | None = None) -> Group:
        """Make the group of fixed generators; what reorders the nodes stays."""
        space, nodes = self._movers[0] if not self.linear else self, self.part("nodes")
        if space is not self:
            fixed = space.fix(coefficients)
        else:
            basis = (self.basis() if coefficients is None else coefficients).detach()
            fixed = self.makers["given"](basis, affine=self.affine, values=self.part("values") is not None)
        return fixed if nodes is None else fixed * nodes

    def exp(self, t: Tensor) -> Element:
        """Make elements from the coordinates of all factors together."""
        self._check_coordinates(t)
        if self.part("space") is not self:
            found = {kind: m.exp(t[:, self.columns(kind)]) for kind in _KINDS if (m := self.part(kind)) is not None}
            t = t.to(working_dtype(t.dtype))
            return ProductElement(found["space"], found.get("nodes"), found.get("values"), t)
        if not self._commute:
            return super().exp(t)
        movers = self._movers
        t = t.to(working_dtype(t.dtype))
        shares = t.split([m.count for m in movers], 1)
        moved = reduce(matmul, [m.exp(share) for m, share in zip(movers, shares, strict=True) if m.count])
        if not isinstance(moved, AffineMap):
            raise DimensionMismatch(f"a {type(moved).__name__}", "an AffineMap", "Linear groups make affine maps.")
        return AffineMap(moved.linear, moved.offset, t)

    def field(self, p: Tensor) -> Tensor:
        """Give the velocity of points under each generator, (B, N, K, d)."""
        space = self.part("space")
        if space is None or space is self:
            return super().field(p)
        velocity = space.field(p)
        if space.count == self.count:
            return velocity
        place = torch.tensor(self.columns("space"), dtype=torch.long, device=p.device)
        return velocity.new_zeros(*p.shape[:-1], self.count, p.shape[-1]).index_add(-2, place, velocity)

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
    spaces = [part for g in found if (part := g.part("space")) is not None]
    orders = [part for g in found if (part := g.part("nodes")) is not None]
    nodes = reduce(matmul, orders) if orders else None
    if not spaces:
        return nodes
    space = reduce(matmul, spaces)
    return space if nodes is None else ProductElement(space, nodes)
