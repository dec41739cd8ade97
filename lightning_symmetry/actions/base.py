"""Actions: how an element moves one kind of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.functional.precision import full_precision, widen
from lightning_symmetry.groups import Element, Group, LateParameters, as_element


class Action(LateParameters, ABC):
    """A representation of every group on one kind of data.

    Laws: ``act(e, x) == x``, ``act(g @ h, x) == act(g, act(h, x))``, and ``lie`` is the derivative of ``act`` along the
    generators. The maths runs in at least float32 outside autocast; the result has the type of the data. A shipped
    contract, ``lightning_symmetry.testing.ActionContract``, checks them.
    """

    affine: ClassVar[bool] = False
    """Whether a learned group that moves this kind of data may translate, unless told otherwise."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The action as the grammar reads it back."""

    @abstractmethod
    def base_dim(self, x: Tensor) -> int | None:
        """Tell the dimension of the space that carries the data; None where the data leave it open.

        Args:
            x: (B, ...).

        Returns:
            The dimension d of the groups that fit.
        """

    def node_count(self, x: Tensor) -> int | None:
        """Tell how many nodes the data have along axis 1, which permutations reorder; None where there are none.

        Args:
            x: (B, ...).

        Returns:
            N or None.
        """
        return None

    @abstractmethod
    def _move(self, g: Element, x: Tensor) -> Tensor:
        """Move data of at least float32 by an element of the space, with autocast off."""

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        """Reorder the nodes of data by a permutation; data without nodes stay as they are."""
        return x if self.node_count(x) is None else g(x)

    @abstractmethod
    def _derive(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate the action on data of at least float32, with autocast off: (B, K, ...)."""

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Move data.

        Args:
            g: B elements or one for all; or raw matrices (B, d, d).
            x: (B, ...), floating point; it is not changed.

        Returns:
            (B, ...) of the type of ``x``.

        Raises:
            ActionMismatch: The tensor is not this kind of data.
            DimensionMismatch: The elements do not fit it.
        """
        self.check(x)
        element = as_element(g, self.base_dim(x))
        if len(element) not in (1, x.shape[0]):
            raise DimensionMismatch(
                f"{len(element)} elements for {x.shape[0]} samples",
                "one for each sample, or a single one",
                "Repeat the samples or select elements.",
            )
        space, nodes = element.part("space"), element.part("nodes")
        with full_precision(x.device):
            moved = x if space is None else self._move(space, widen(x)).to(x.dtype)
            moved = moved if nodes is None else self._permute(nodes, moved)
        return moved.contiguous()

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate the action along every generator, at the identity.

        ``lie_k(x) = d/dt act(exp(t e_k), x)`` at 0.

        Args:
            group: With K generators.
            x: (B, ...), floating point.

        Returns:
            (B, K, ...) of the type of ``x``.

        Raises:
            ActionMismatch: The tensor is not this kind of data.
            DimensionMismatch: The group does not fit it.
        """
        self.check(x)
        dim, space = self.base_dim(x), group.part("space")
        if space is None:
            return x.new_zeros(x.shape[0], 0, *x.shape[1:])
        if dim is not None and space.dim != dim:
            raise DimensionMismatch(
                f"a group of dimension {space.dim}", f"{dim}, the dimension of the data", "Bind the group to the data."
            )
        with full_precision(x.device):
            return self._derive(space, widen(x)).to(x.dtype).contiguous()

    def check(self, x: Tensor) -> None:
        """Refuse tensors that are not this kind of data.

        Args:
            x: Any tensor.

        Raises:
            ActionMismatch: The tensor is not this kind of data; it says why.
        """
        if not x.is_floating_point():
            raise ActionMismatch(
                f"{x.dtype} data for {self.sentence!r}",
                "floating point: whole numbers cannot be moved by small amounts",
                "Cast with x.float(), or declare the tensor as scalar.",
            )
        if x.ndim < 2:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}", "a batch, (B, ...)", "Add the missing axes."
            )

    def bind(self, x: Tensor, group: Group) -> None:
        """Complete what the data and the group decide; calling it again changes nothing.

        Args:
            x: (B, ...).
            group: Bound to its dimension, unless the data leave that open.

        Raises:
            ActionMismatch: The tensor is not this kind of data.
        """
        self.check(x)


class StillAction(Action, ABC):
    """The trivial representation: nothing moves, whatever the type of the data."""

    def base_dim(self, x: Tensor) -> int | None:
        """Leave the dimension open."""
        return None

    def check(self, x: Tensor) -> None:
        """Accept everything."""

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Return the data themselves."""
        return x

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Return zeros, (B, K, ...)."""
        dtype = x.dtype if x.is_floating_point() else torch.float32
        return torch.zeros(x.shape[0], group.count, *x.shape[1:], dtype=dtype, device=x.device)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return x

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return self.lie(group, x)
