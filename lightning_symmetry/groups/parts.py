"""Elements that move something beside the space: the values of data, or several things at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.groups.element import Element, Index, Kind


@final
@dataclass(frozen=True, eq=False)
class ValueMap(Element):
    """A change of all values of a sample, wherever they lie: ``v -> scale v + shift``, one a row.

    Args:
        scale: (B,), not zero.
        shift: (B,), in the units of the values.
        coordinates: (B, K), the algebra coordinates that made the maps, if any.

    Example:
        >>> brighter = ValueMap(torch.tensor([2.0]), torch.tensor([0.5]))
        >>> brighter(torch.tensor([[1.0, 3.0]]))
        tensor([[2.5000, 6.5000]])
    """

    scale: Tensor
    shift: Tensor
    coordinates: Tensor | None = None

    acts_on: ClassVar[Kind] = "values"

    @property
    def dim(self) -> int:
        """One: values are numbers."""
        return 1

    @property
    def matrix(self) -> Tensor:
        """(B, 2, 2), homogeneous."""
        top = torch.stack((self.scale, self.shift), -1)
        return torch.stack((top, top.new_tensor((0.0, 1.0)).expand_as(top)), -2)

    def __len__(self) -> int:
        """Give the number of maps."""
        return self.scale.shape[0]

    def __call__(self, p: Tensor) -> Tensor:
        """Change values (B, ...)."""
        shift = self.shift.reshape(-1, *[1] * (p.ndim - 1))
        return self.push(p) + shift.to(torch.promote_types(shift.dtype, working_dtype(p.dtype)))

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Scale differences of values (B, ...)."""
        dtype = torch.promote_types(self.scale.dtype, working_dtype(v.dtype))
        return self.scale.reshape(-1, *[1] * (v.ndim - 1)).to(dtype) * v.to(dtype)

    def __invert__(self) -> ValueMap:
        """Undo every change."""
        t = None if self.coordinates is None else -self.coordinates
        return ValueMap(1 / self.scale, -self.shift / self.scale, t)

    def __matmul__(self, other: Element) -> ValueMap:
        """Compose: the right one comes first."""
        if not isinstance(other, ValueMap):
            raise DimensionMismatch(
                f"a {type(other).__name__} beside a change of values", "a ValueMap", "Compose elements of one group."
            )
        return ValueMap(self.scale * other.scale, self.scale * other.shift + self.shift)

    def __getitem__(self, index: Index) -> ValueMap:
        """Select rows."""
        if isinstance(index, int):
            index = [index]
        return ValueMap(
            self.scale[index], self.shift[index], None if self.coordinates is None else self.coordinates[index]
        )


@final
@dataclass(frozen=True, eq=False)
class ProductElement(Element):
    """What moves the space, what reorders the nodes, and what changes the values; the three commute.

    Args:
        space: Moves positions.
        nodes: Reorders axis 1; None where the order stays.
        values: Changes the values of images; None where they stay.
        coordinates: (B, K), the algebra coordinates of the whole, if any.

    Example:
        >>> from lightning_symmetry.groups import AffineMap, Permutation
        >>> g = ProductElement(AffineMap(2 * torch.eye(1)[None]), Permutation(torch.tensor([[1, 0]])))
        >>> g(torch.tensor([[[1.0], [5.0]]])).flatten()
        tensor([10.,  2.])
    """

    space: Element
    nodes: Element | None = None
    values: Element | None = None
    coordinates: Tensor | None = None

    def part(self, kind: Kind) -> Element | None:
        """Give one of the factors."""
        return {"space": self.space, "nodes": self.nodes, "values": self.values}[kind]

    @property
    def dim(self) -> int:
        """Dimension d of the space that is moved."""
        return self.space.dim

    def __len__(self) -> int:
        """Give the number of elements."""
        return max(len(g) for g in (self.space, self.nodes, self.values) if g is not None)

    def __call__(self, p: Tensor) -> Tensor:
        """Move points (B, N, d), then reorder them."""
        return self.space(p) if self.nodes is None else self.nodes(self.space(p))

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Carry vectors along with the points that they are attached to."""
        pushed = self.space.push(v, at)
        return pushed if self.nodes is None else self.nodes.push(pushed)

    def __invert__(self) -> ProductElement:
        """Undo all factors."""
        nodes, values = (None if g is None else ~g for g in (self.nodes, self.values))
        return ProductElement(~self.space, nodes, values, None if self.coordinates is None else -self.coordinates)

    def __matmul__(self, other: Element) -> ProductElement:
        """Compose factor by factor; what the other element leaves alone stays as it is."""
        space, nodes, values = other.part("space"), other.part("nodes"), other.part("values")
        return ProductElement(
            self.space if space is None else self.space @ space,
            _compose(self.nodes, nodes),
            _compose(self.values, values),
            # reordering has no coordinates that it could add
            self.coordinates if space is None and values is None else None,
        )

    def __getitem__(self, index: Index) -> ProductElement:
        """Select rows."""
        rows = len(self)
        space, nodes, values = (
            g if g is None or len(g) == 1 < rows else g[index] for g in (self.space, self.nodes, self.values)
        )
        t = self.coordinates
        chosen = t if t is None or len(t) == 1 < rows else t[[index] if isinstance(index, int) else index]
        return ProductElement(space or self.space, nodes, values, chosen)


def _compose(left: Element | None, right: Element | None) -> Element | None:
    return right if left is None else left if right is None else left @ right
