"""Groups whose generators follow from the dimension."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups.base import Group, name_in_words


class KnownGroup(Group, ABC):
    """A group whose generators follow from the dimension.

    Args:
        dim: Dimension d of the space; None until ``bind``.

    Raises:
        DimensionMismatch: The group does not exist in that dimension.
    """

    translates = False

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim)
        self._basis: Tensor | None
        self.register_buffer("_basis", None, persistent=False)
        if dim is not None:
            self.bind(dim)

    @abstractmethod
    def generators(self, dim: int) -> Tensor:
        """Write the generators down.

        Args:
            dim: Dimension d.

        Returns:
            (K, n, n), n = d or d + 1, float32 (the entries are whole numbers, exact in every type).

        Raises:
            DimensionMismatch: The group does not exist in that dimension.
        """

    @property
    def affine(self) -> bool:
        """Whether it translates."""
        return self.translates

    @property
    def count(self) -> int:
        """Number K of generators."""
        return self.basis().shape[0]

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        name = name_in_words(type(self))
        return name if self._given_dim is None else f"{name}({self._given_dim})"

    def basis(self) -> Tensor:
        """Give the generators, (K, n, n)."""
        if self._basis is None:
            raise DimensionMismatch(
                f"{type(self).__name__} without a dimension",
                "the dimension of the space that it moves",
                f"Write {type(self).__name__}(dim), or call bind(dim).",
            )
        return self._basis

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete a dimension that was left open, or check the one that was given."""
        if dim is None or dim == self.dim:
            return self
        if self.dim is not None:
            raise DimensionMismatch(
                f"data in {dim} dimensions",
                f"{self.dim}, where {self.sentence} acts",
                f"Write {type(self).__name__}({dim}), or leave the dimension out.",
            )
        self._basis = self.generators(dim)
        self.dim = dim
        return self
