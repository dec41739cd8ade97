"""Elements: batches of transformations of one space, frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.precision import apply_matrix, full_precision, working_dtype

Index = int | slice | Tensor | list[int]
Kind = Literal["space", "nodes", "values"]
"""What is moved: the space that data lie in, the places of a set or sequence (axis 1 of its tensors), or the values."""


@dataclass(frozen=True, eq=False)
class Element(ABC):
    """A batch of B invertible transformations of a d-dimensional space, one a row.

    Laws: ``(g @ h)(p) == g(h(p))``, ``(~g)(g(p)) == p``, and ``push`` is the Jacobian of the call. A batch of one row
    moves every row of the data. A shipped contract, ``lightning_symmetry.testing.ElementContract``, checks them.
    """

    acts_on: ClassVar[Kind] = "space"

    def part(self, kind: Kind) -> Element | None:
        """Give the factor that moves one kind of thing; None where this element leaves it alone.

        Args:
            kind: "space" or "nodes".

        Returns:
            An element of as many rows.
        """
        return self if kind == self.acts_on else None

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension d of the space that is moved."""

    @property
    @abstractmethod
    def coordinates(self) -> Tensor | None:
        """(B, K), from ``Group.exp``; None when there are none, as after ``@``."""

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of transformations B."""

    @abstractmethod
    def __call__(self, p: Tensor) -> Tensor:
        """Move points.

        Args:
            p: (B, N, d).

        Returns:
            (B, N, d).
        """

    @abstractmethod
    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Carry vectors along by the Jacobian.

        Args:
            v: (B, N, d), each attached to a point.
            at: (B, N, d), the points; may be left out where the Jacobian is the same everywhere.

        Returns:
            (B, N, d).
        """

    @abstractmethod
    def __invert__(self) -> Element:
        """Undo every transformation; coordinates change sign."""

    @abstractmethod
    def __matmul__(self, other: Element) -> Element:
        """Compose row by row: the right one moves first."""

    @abstractmethod
    def __getitem__(self, index: Index) -> Element:
        """Select rows; a single number gives a batch of one."""


@final
@dataclass(frozen=True, eq=False)
class AffineMap(Element):
    """``p -> linear p + offset``, one map a row.

    Args:
        linear: (B, d, d), invertible.
        offset: (B, d), in the units of the points; None where nothing is translated.
        coordinates: (B, K), the algebra coordinates that made the maps, if any.

    Example:
        >>> quarter = AffineMap(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]))
        >>> quarter(torch.tensor([[[1.0, 0.0]]]))
        tensor([[[0., 1.]]])
        >>> bool((quarter @ ~quarter).linear.eq(torch.eye(2)).all())
        True
    """

    linear: Tensor
    offset: Tensor | None = None
    coordinates: Tensor | None = None

    @classmethod
    def identity(
        cls,
        batch: int,
        dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> AffineMap:
        """Make maps that move nothing.

        Args:
            batch: Number of rows.
            dim: Of the space.
            device: Where the matrices lie.
            dtype: Of the matrices.

        Returns:
            ``batch`` identities.
        """
        return cls(torch.eye(dim, device=device, dtype=dtype).repeat(batch, 1, 1))

    @classmethod
    def from_matrix(cls, matrix: Tensor, coordinates: Tensor | None = None) -> AffineMap:
        """Read homogeneous matrices.

        Args:
            matrix: (B, d+1, d+1) with last row (0, ..., 0, 1).
            coordinates: (B, K), if any.

        Returns:
            The maps of the d-dimensional space.
        """
        return cls(matrix[:, :-1, :-1], matrix[:, :-1, -1], coordinates)

    @property
    def dim(self) -> int:
        """Dimension d of the space that is moved."""
        return self.linear.shape[-1]

    @property
    def matrix(self) -> Tensor:
        """(B, d, d), or homogeneous (B, d+1, d+1) when there is an offset."""
        if self.offset is None:
            return self.linear
        top = torch.cat((self.linear, self.offset.unsqueeze(-1)), -1)
        bottom = F.pad(torch.zeros_like(self.offset), (0, 1), value=1.0)
        return torch.cat((top, bottom.unsqueeze(-2)), -2)

    def __len__(self) -> int:
        """Give the number of maps."""
        return self.linear.shape[0]

    def __call__(self, p: Tensor) -> Tensor:
        """Move points (B, N, d)."""
        moved = self.push(p)
        return moved if self.offset is None else moved + self.offset.unsqueeze(1)

    def push(self, v: Tensor, at: Tensor | None = None) -> Tensor:
        """Multiply vectors (B, N, d) by the linear part, which is the Jacobian everywhere."""
        if v.shape[-1] != self.dim:
            raise DimensionMismatch(
                f"vectors of length {v.shape[-1]} for a map of dimension {self.dim}",
                f"shape (B, N, {self.dim})",
                "Give the group or the action the dimension of the data.",
            )
        with full_precision(v.device):
            dtype = torch.promote_types(self.linear.dtype, working_dtype(v.dtype))
            return apply_matrix(self.linear.to(dtype), v.to(dtype))

    def __invert__(self) -> AffineMap:
        """Undo every map; coordinates change sign."""
        with full_precision(self.linear.device):
            linear = _invert2(self.linear) if self.dim == 2 else torch.linalg.inv(self.linear)
            offset = None if self.offset is None else -apply_matrix(linear, self.offset.unsqueeze(1)).squeeze(1)
        return AffineMap(linear, offset, None if self.coordinates is None else -self.coordinates)

    def __matmul__(self, other: Element) -> AffineMap:
        """Compose: the right one moves first."""
        if not isinstance(other, AffineMap) or other.dim != self.dim:
            raise DimensionMismatch(
                f"{type(other).__name__} of dimension {getattr(other, 'dim', '?')}",
                f"an AffineMap of dimension {self.dim}",
                "Compose elements of one space only.",
            )
        # The rows of h's transpose are the images of the basis vectors: moving them by g gives the product's columns.
        linear = self.push(other.linear.mT).mT
        if other.offset is not None:
            return AffineMap(linear, self(other.offset.unsqueeze(1)).squeeze(1))
        return AffineMap(linear, None if self.offset is None else self.offset.expand(linear.shape[0], -1))

    def __getitem__(self, index: Index) -> AffineMap:
        """Select rows."""
        if isinstance(index, int):
            index = [index]
        offset = None if self.offset is None else self.offset[index]
        return AffineMap(self.linear[index], offset, None if self.coordinates is None else self.coordinates[index])


def as_element(g: Element | Tensor, dim: int | None = None) -> Element:
    """Accept raw matrices wherever an element is expected.

    Args:
        g: An element, which passes through; (B, d, d), read as linear maps; or (B, d+1, d+1) with last row (0, ..., 0,
            1), read as affine maps.
        dim: Dimension d of the space; without it, matrices are read as linear.

    Returns:
        An element of dimension d.

    Raises:
        DimensionMismatch: It does not move a space of that dimension.

    Example:
        >>> as_element(torch.eye(3)[None], dim=2).dim
        2
    """
    if isinstance(g, Element):
        space = g.part("space")
        if dim is not None and space is not None and space.dim != dim:
            raise DimensionMismatch(
                f"an element of dimension {space.dim}",
                f"dimension {dim}",
                "Bind the group to the dimension of the data, or give the action its dim.",
            )
        return g
    shape = f"a tensor of shape {tuple(g.shape)}"
    if g.ndim != 3 or g.shape[1] != g.shape[2] or not g.is_floating_point():
        raise DimensionMismatch(
            f"{shape}, {g.dtype}", "floating-point matrices (B, d, d) or (B, d+1, d+1)", "Stack them."
        )
    size = g.shape[-1]
    if dim is None or size == dim:
        return AffineMap(g)
    if size != dim + 1:
        raise DimensionMismatch(shape, f"matrices of size {dim} or {dim + 1}", "Pass maps of the space of the data.")
    if bool((g[:, -1, :-1] != 0).any() | (g[:, -1, -1] != 1).any()):
        raise DimensionMismatch(
            f"{shape} with another last row", "last row (0, ..., 0, 1)", "Only affine maps fit here."
        )
    return AffineMap.from_matrix(g)


def _invert2(a: Tensor) -> Tensor:
    a00, a01, a10, a11 = a.flatten(-2).unbind(-1)
    determinant = torch.addcmul(a00 * a11, a01, a10, value=-1)
    adjugate = torch.stack((a11, -a01, -a10, a00), -1)
    return (adjugate / determinant.unsqueeze(-1)).unflatten(-1, (2, 2))
