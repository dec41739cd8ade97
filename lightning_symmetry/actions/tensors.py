"""Tensors of several ranks side by side: the features of networks that know about geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, orientation, write_words
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.functional.tensor_types import count_numbers, read_types, solve_dimension
from lightning_symmetry.groups import Element, Group


@final
class Tensors(Action):
    r"""The last axis is tensors of the space, each index of which turns like a vector, without translation.

    With the linear part J of g, ``(J x ... x J) vec T``: a tensor of rank r is moved by the r-fold Kronecker power, and
    a pseudo-tensor also by sign(det J). Copies lie one after the other, each row-major. Permutations of n nodes are the
    matrices that permute the axes of R^n.

    Args:
        types: Copies x rank, such as "5x0 + 5x1 + 2x2"; a suffix p as in "1x1p" makes pseudo-tensors.
        dim: Dimension of the space; None follows from the length of the axis, unless all ranks are 0.

    Raises:
        SentenceError: The types cannot be read.

    Example:
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> Tensors("1x0 + 1x1 + 1x2").act(quarter, torch.tensor([[7.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0]]))
        tensor([[ 7.,  0.,  1.,  4., -3., -2.,  1.]])
    """

    def __init__(self, types: str, dim: int | None = None) -> None:
        super().__init__()
        self.types, self.dim = read_types(types), dim

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        types = " + ".join(map(str, self.types))
        return write_words("tensors", types) if self.dim is None else write_words("tensors", types, dim=self.dim)

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the dimension in which the types are as long as the axis."""
        return self.dim or solve_dimension(self.types, x.shape[-1])

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of axes, which permutations exchange."""
        return self.base_dim(x)

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, and axes of another length."""
        super().check(x)
        dim = self.base_dim(x)
        if count_numbers(self.types, dim or 1) != x.shape[-1]:
            lengths = ", ".join(f"{count_numbers(self.types, d)} in {d}" for d in ([dim] if dim else (2, 3, 4)))
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"the length of these types ({lengths} dimensions)",
                "Correct the number of copies, or name the tensor that holds them.",
            )

    def bind(self, x: Tensor, group: Group) -> None:
        """Refuse groups that would move every index twice."""
        super().bind(x, group)
        if group.part("space") is not None and group.part("nodes") is not None:
            raise DimensionMismatch(
                f"{group.sentence} for {self.sentence!r}",
                "a group of the space, or permutations of its axes",
                "State two symmetries.",
            )

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return self._turn(x, g.dim, g.push, orientation(g, x) if any(t.pseudo for t in self.types) else None)

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        axes = g(torch.eye(g.dim, dtype=x.dtype, device=x.device).expand(len(g), -1, -1))
        return self._turn(x, g.dim, lambda v: g(v.mT).mT, torch.linalg.det(axes).sign())

    def _turn(self, x: Tensor, dim: int, turn: Callable[[Tensor], Tensor], sign: Tensor | None) -> Tensor:
        """Apply a matrix, given by what it does to (B, N, d), to every index."""
        parts = []
        for kind, part in zip(self.types, self._split(x, dim), strict=True):
            moved = part.reshape(len(x), -1, dim**kind.rank)
            for _ in range(kind.rank):
                # the last index is turned and becomes the first
                turned = turn(moved.reshape(len(x), -1, dim)).reshape(*moved.shape[:2], -1, dim)
                moved = turned.transpose(-1, -2).reshape(moved.shape)
            moved = moved * sign.reshape(-1, 1, 1) if kind.pseudo and sign is not None else moved
            parts.append(moved.reshape(part.shape))
        return torch.cat(parts, -1)

    def _split(self, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        return x.split([kind.size(dim) for kind in self.types], -1)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        dim = group.dim or self.base_dim(x) or 1
        if not group.linear:
            raise DimensionMismatch(
                f"{group.sentence} for {self.sentence!r}",
                "a linear group: others turn vectors differently at every point",
                "Declare positions as points, and fields on a grid as field.",
            )
        shift = group.field(x.new_zeros(1, 1, dim)) if group.affine else 0.0
        parts = []
        for kind, part in zip(self.types, self._split(x, dim), strict=True):
            slope = x.new_zeros(len(x), group.count, part[0].numel())
            for index in range(kind.rank):
                # bring one index to the end, and back
                near = part.reshape(len(x), -1, dim, dim ** (kind.rank - 1 - index)).transpose(-1, -2)
                velocity = group.field(near.reshape(len(x), -1, dim)) - shift
                moved = velocity.movedim(2, 1).reshape(len(x), group.count, *near.shape[1:])
                slope = slope + moved.transpose(-1, -2).reshape(slope.shape)
            parts.append(slope.reshape(len(x), group.count, *part.shape[1:]))
        return torch.cat(parts, -1)
