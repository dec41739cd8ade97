"""Outputs that move in a way that is learnt."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from lightning_symmetry.actions.base import Action
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.expm import expm
from lightning_symmetry.functional.precision import apply_matrix
from lightning_symmetry.groups import Element, Group


@final
class Representation(Action):
    """A linear action whose generators are learnt along with the group's.

    ``act(g, y) = exp(sum_k t_k M_k) y`` with the coordinates ``t`` of ``g``. It is a homomorphism along every
    one-parameter group; for several generators only if training makes the M_k obey the group's brackets.

    Args:
        dim: Size D of one vector of the last axis; None takes the whole axis.
        affine: Whether it may also translate: the generators are then homogeneous, (D+1, D+1) with last row zero.
        scale: Standard deviation of the initial entries.
        seed: Of the initial entries, which do not depend on torch's global generator.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> action = Representation()
        >>> action.bind(torch.ones(2, 5), SO(2))
        >>> action.generators().shape
        torch.Size([1, 5, 5])
    """

    def __init__(self, dim: int | None = None, affine: bool = False, scale: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        self.dim, self.translates, self.scale, self.seed = dim, affine, scale, seed
        self.weight: nn.Parameter | None
        self.register_parameter("weight", None)

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        words = [] if self.dim is None else [str(self.dim)]
        words += ["affine=True"] if self.translates else []
        words += [] if self.scale == 0.3 else [f"scale={self.scale}"]
        words += [] if self.seed == 0 else [f"seed={self.seed}"]
        return f"learned({', '.join(words)})" if words else "learned"

    def base_dim(self, x: Tensor) -> int | None:
        """Leave the dimension open."""
        return None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and axes of another length."""
        super().check(x)
        size = self.dim if self.weight is None else self._size
        if size is not None and x.shape[-1] % size:
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"a multiple of {size}, the size of the representation",
                "Name the tensor that it moves, or correct the dimension.",
            )

    def bind(self, x: Tensor, group: Group) -> None:
        """Make the generators, one for each of the group's."""
        self.check(x)
        if self.weight is not None:
            self._match(group)
            return
        size = (self.dim or x.shape[-1]) + self.translates
        generator = torch.Generator().manual_seed(self.seed)
        weight = torch.randn(group.count, size, size, generator=generator) * self.scale
        if self.translates:
            weight[:, -1] = 0
        self.weight = nn.Parameter(weight.to(x.device))

    def generators(self) -> Tensor:
        """Give the generators.

        Returns:
            (K, D, D), homogeneous ones (K, D+1, D+1).

        Raises:
            InvalidSetting: No data have been seen.
        """
        if self.weight is None:
            raise InvalidSetting(
                "a learned action without size", "one that has seen data", "Call bind(x, group) first."
            )
        return self.weight

    def restore(self, generators: Tensor) -> None:
        """Take over saved generators.

        Args:
            generators: (K, D, D).

        Raises:
            InvalidSetting: They are not square matrices.
        """
        if generators.ndim != 3 or generators.shape[1] != generators.shape[2]:
            raise InvalidSetting(
                f"generators of shape {tuple(generators.shape)}", "(K, D, D)", "Stack square matrices."
            )
        self.weight = nn.Parameter(generators.detach().clone())

    @property
    def _size(self) -> int:
        """Length D of one vector."""
        return self.generators().shape[-1] - self.translates

    def apply_generators(self, generators: Tensor, x: Tensor) -> Tensor:
        """Move vectors infinitesimally by generators of this kind.

        Args:
            generators: (R, D, D), homogeneous ones (R, D+1, D+1).
            x: (B, ..., n D).

        Returns:
            (B, R, ..., n D).
        """
        size = generators.shape[-1] - self.translates
        vectors = x.reshape(x.shape[0], 1, -1, size)
        moved = vectors @ generators[:, :size, :size].mT
        if self.translates:
            moved = moved + generators[:, :size, size].unsqueeze(1)
        return moved.reshape(x.shape[0], -1, *x.shape[1:])

    def _match(self, group: Group) -> None:
        count = self.generators().shape[0]
        if count != group.count:
            raise DimensionMismatch(
                f"a group of {group.count} generators",
                f"{count}, one for each generator of this action",
                "Bind the action to the group that it was learnt with.",
            )

    def _move_parts(self, element: Element, x: Tensor) -> Tensor:
        # the coordinates of all parts together
        return self._move(element, x)

    def _derive_parts(self, group: Group, x: Tensor) -> Tensor:
        return self._derive(group, x)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        weight, t = self.generators(), g.coordinates
        if t is None or t.shape[-1] != weight.shape[0]:
            raise DimensionMismatch(
                "an element without coordinates" if t is None else f"{t.shape[-1]} coordinates",
                f"{weight.shape[0]} coordinates, which say how a learned action moves",
                "Use elements made by Group.exp; products, reflections and raw matrices have none.",
            )
        dtype = torch.promote_types(t.dtype, x.dtype)
        matrix = expm((t.to(dtype)[:, :, None, None] * weight.to(dtype)).sum(1))
        size = self._size
        moved = apply_matrix(matrix[:, :size, :size], x.to(dtype).reshape(x.shape[0], -1, size))
        if self.translates:
            moved = moved + matrix[:, None, :size, size]
        return moved.reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        self._match(group)
        return self.apply_generators(self.generators().to(x.dtype), x)
