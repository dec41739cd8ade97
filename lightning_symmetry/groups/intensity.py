"""Brightness and contrast: a group that moves values and leaves their places alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import Kind
from lightning_symmetry.groups.parts import ValueMap

_CONTRAST, _BRIGHTNESS = [[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]


@final
class Intensity(Group):
    """Contrast ``v -> e^a v`` and brightness ``v -> v + b`` of the values of images: the affine maps of the line.

    The space stays; ``affine(2) * intensity`` moves both. The values of all channels and pixels of a sample change
    alike, and a spatial action that reads 0 outside of an image reads a value there that does not change with them: use
    ``padding='border'`` where the border matters.

    Args:
        basis: (K, 2, 2) homogeneous generators, as nested lists or a tensor; None for contrast and brightness.

    Raises:
        InvalidSetting: These are no homogeneous generators of the line.

    Example:
        >>> g = Intensity().exp(torch.tensor([[0.0, 0.5]]))
        >>> g(torch.tensor([[1.0, 2.0]]))
        tensor([[1.5000, 2.5000]])
    """

    acts_on: ClassVar[Kind] = "values"

    def __init__(self, basis: Sequence[Any] | Tensor | None = None) -> None:
        super().__init__(None)
        matrices = torch.as_tensor([_CONTRAST, _BRIGHTNESS] if basis is None else basis)
        matrices = matrices.detach().clone() if matrices.is_floating_point() else matrices.float()
        fits = matrices.ndim == 3 and matrices.shape[1:] == (2, 2) and not bool(matrices[:, 1].any())
        if not fits or not bool(matrices.isfinite().all()):
            raise InvalidSetting(
                f"generators of shape {tuple(matrices.shape)}",
                "finite ones of the line, (K, 2, 2) with last row zero",
                "Contrast is [[1, 0], [0, 0]], brightness [[0, 1], [0, 0]].",
            )
        self.dim, self._given_basis = 1, basis is not None
        self._basis: Tensor
        self.register_buffer("_basis", matrices, persistent=self._given_basis)

    @property
    def count(self) -> int:
        """Number K of generators."""
        return self._basis.shape[0]

    @property
    def affine(self) -> bool:
        """Brightness translates values."""
        return True

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        return f"intensity({self._basis.tolist()})" if self._given_basis else "intensity"

    def basis(self) -> Tensor:
        """Give the generators, (K, 2, 2), homogeneous."""
        return self._basis

    def fix(self, coefficients: Tensor | None = None) -> Intensity:
        """Make the group of fixed changes of values."""
        return Intensity(self._basis if coefficients is None else coefficients)

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Refuse every dimension but 1: values are numbers."""
        if dim not in (None, 1):
            raise DimensionMismatch(
                f"values in {dim} dimensions", "single numbers", "Multiply it with a group of the space."
            )
        return self

    def exp(self, t: Tensor) -> ValueMap:
        """Make elements from coordinates (B, K)."""
        self._check_coordinates(t)
        t = t.to(working_dtype(t.dtype))
        matrix = self._exponential((t[:, :, None, None] * self._basis.to(t.dtype)).sum(1))
        return ValueMap(matrix[:, 0, 0], matrix[:, 0, 1], t)


Group.makers["intensity"] = Intensity
