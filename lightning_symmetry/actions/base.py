"""Actions: how an element moves one kind of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.functional.precision import full_precision, widen
from lightning_symmetry.functional.subclasses import dress, undress
from lightning_symmetry.groups import Element, Group, LateParameters, as_element
from lightning_symmetry.groups.element import Kind

_KINDS: tuple[Kind, ...] = ("space", "nodes", "values")


class Action(LateParameters, ABC):
    """A representation of every group on one kind of data.

    Laws: ``act(e, x) == x``, ``act(g @ h, x) == act(g, act(h, x))``, and ``lie`` is the derivative of ``act`` along the
    generators. The maths runs in at least float32 outside autocast; the result has the type of the data, and if they
    are of a tensor subclass (tv_tensors and the like) its class and attributes too. A shipped contract,
    ``lightning_symmetry.testing.ActionContract``, checks them.
    """

    affine: ClassVar[bool] = False
    """Whether a learned group that moves this kind of data may translate, unless told otherwise."""
    exact: ClassVar[bool] = True
    """Whether the group laws hold up to rounding: not where pixels are read between, nor for hulls of turned boxes."""
    carries_values: ClassVar[bool] = False
    """Whether the data are values, which ``intensity`` changes wherever they lie."""
    mixes_units: ClassVar[bool] = False
    """Whether the last axis holds quantities of different units, which have no common length."""
    attached: ClassVar[bool] = False
    """Whether it moves vectors together with the points of the input that they are attached to (`Symmetry.lift`)."""

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
        """Move data of at least float32 (or of whole numbers) by an element of the space, with autocast off."""

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        """Reorder the nodes of data by a permutation; data without nodes stay as they are."""
        return x if self.node_count(x) is None else g(x)

    @abstractmethod
    def _derive(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate the action on data of at least float32, with autocast off: (B, K, ...)."""

    def compared(self, y: Tensor) -> Tensor:
        """Give the part of the data that a map decides: all of them, but for vectors not the points under them.

        Args:
            y: (B, ...), or their derivative along something.

        Returns:
            (B, ...).
        """
        return y

    def _move_parts(self, element: Element, x: Tensor) -> Tensor:
        """Move data by everything that an element moves: the space, then the nodes, then the values."""
        space, nodes, values = (element.part(kind) for kind in _KINDS)
        x = x if space is None else self._move(space, x)
        x = x if nodes is None else self._permute(nodes, x)
        return values(x) if values is not None and self.carries_values else x

    def _derive_parts(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate along every generator, whatever it moves."""
        changes: dict[tuple[int, ...], Tensor] = {}
        if (space := group.part("space")) is not None:
            changes[tuple(group.columns("space"))] = self._derive(space, x)
        if (values := group.part("values")) is not None and self.carries_values:
            slopes = values.field(x.reshape(x.shape[0], -1, 1)).movedim(2, 1)
            place = tuple(group.columns("values"))
            change = slopes.reshape(x.shape[0], -1, *x.shape[1:])
            changes[place] = changes[place] + change if place in changes else change
        if list(changes) == [tuple(range(group.count))]:
            return next(iter(changes.values()))
        total = x.new_zeros(x.shape[0], group.count, *x.shape[1:])
        for place, change in changes.items():
            total = total.index_add(1, torch.tensor(place, dtype=torch.long, device=x.device), change.to(total))
        return total

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Move data.

        Args:
            g: B elements or one for all; or raw matrices (B, d, d).
            x: (B, ...), floating point unless the action says otherwise; it is not changed.

        Returns:
            (B, ...) of the type of ``x``.

        Raises:
            ActionMismatch: The tensor is not this kind of data.
            DimensionMismatch: The elements do not fit it.
        """
        self.check(x)
        if not x.numel():
            return x
        given, x = x, undress(x)
        element = as_element(g, self.base_dim(x))
        if len(element) not in (1, x.shape[0]):
            raise DimensionMismatch(
                f"{len(element)} elements for {x.shape[0]} samples",
                "one for each sample, or a single one",
                "Repeat the samples or select elements.",
            )
        with full_precision(x.device):
            moved = self._move_parts(element, widen(x) if x.is_floating_point() else x).to(x.dtype)
        return dress(moved.contiguous(), given)

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Differentiate the action along every generator, at the identity.

        ``lie_k(x) = d/dt act(exp(t e_k), x)`` at 0.

        Args:
            group: With K generators.
            x: (B, ...), floating point.

        Returns:
            (B, K, ...) of the type of ``x``, a plain tensor; zero along generators that leave the data alone.

        Raises:
            ActionMismatch: The tensor is not this kind of data, or holds whole numbers.
            DimensionMismatch: The group does not fit it.
        """
        self.check(x)
        x = undress(x)
        if not x.is_floating_point():
            raise _refuse_whole_numbers(self, x)
        dim, space = self.base_dim(x), group.part("space")
        if space is not None and dim is not None and space.dim != dim:
            raise DimensionMismatch(
                f"a group of dimension {space.dim}", f"{dim}, the dimension of the data", "Bind the group to the data."
            )
        if not x.numel():
            return x.new_zeros(x.shape[0], group.count, *x.shape[1:])
        with full_precision(x.device):
            return self._derive_parts(group, widen(x)).to(x.dtype).contiguous()

    def check(self, x: Tensor) -> None:
        """Refuse tensors that are not this kind of data.

        Args:
            x: Any tensor.

        Raises:
            ActionMismatch: The tensor is not this kind of data; it says why.
        """
        if not x.is_floating_point():
            raise _refuse_whole_numbers(self, x)
        self._require_axes(x, 2)

    def _require_axes(self, x: Tensor, least: int) -> None:
        if x.ndim < least:
            expected = "a batch, (B, ...)" if least < 3 else f"a batch of at least {least} axes, (B, N, ...)"
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}", expected, "Add the missing axes."
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


class TangentAction(Action, ABC):
    """Data whose last axis is n vectors of length d, one after the other; they turn but are not translated."""

    def _split(self, x: Tensor, dim: int) -> Tensor:
        """View the data as vectors, (B, N, d)."""
        if x.shape[-1] % dim:
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"a multiple of {dim}, the length of one vector",
                "Give the dimension, as in vector(3), or name the tensor that holds vectors.",
            )
        # told in full, since -1 says nothing where there are no rows
        return x.unflatten(-1, (x.shape[-1] // dim, dim)).flatten(1, -2)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return g.push(self._split(x, g.dim)).reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        vectors = self._split(x, group.dim or x.shape[-1])
        if not group.linear:
            raise DimensionMismatch(
                f"{group.sentence} for {self.sentence!r}",
                "a linear group: others turn vectors differently at every point",
                "Declare positions as points, and fields on a grid as field.",
            )
        velocity = group.field(vectors)
        if group.affine:
            velocity = velocity - group.field(vectors.new_zeros(1, 1, vectors.shape[-1]))
        return velocity.movedim(2, 1).reshape(x.shape[0], -1, *x.shape[1:])


class NodeAction(Action, ABC):
    """Data of nodes that do not move in space: only permutations do something, whatever the type of the data."""

    def base_dim(self, x: Tensor) -> int | None:
        """Leave the dimension open."""
        return None

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Return zeros, (B, K, ...): permutations have no generators."""
        self.check(x)
        dtype = x.dtype if x.is_floating_point() else torch.float32
        return torch.zeros(x.shape[0], group.count, *x.shape[1:], dtype=dtype, device=x.device)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return x

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return self.lie(group, x)


def write_words(name: str, *values: object, **settings: object) -> str:
    """Write a name with its arguments as sentences do.

    Args:
        name: Of the action.
        *values: Arguments by their place.
        **settings: Arguments by name.

    Returns:
        Words that ``by_name`` reads back.

    Example:
        >>> write_words("image"), write_words("image", padding="border")
        ('image', "image(padding='border')")
    """
    words = [repr(value) for value in values] + [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join(words)})" if words else name


def jacobian(g: Element, at: Tensor) -> Tensor:
    """Differentiate a map at given points.

    Args:
        g: B elements.
        at: (B, N, d), or (1, N, d) for the same points in every row.

    Returns:
        (B, N, d, d).
    """
    axes = torch.eye(g.dim, dtype=at.dtype, device=at.device)
    return torch.stack([g.push(axis.expand_as(at), at) for axis in axes], -1)


def orientation(g: Element, like: Tensor) -> Tensor:
    """Tell whether maps keep right hands right: the sign of the Jacobian at the origin, which is that of all points.

    Args:
        g: B elements.
        like: Any tensor of the type and device of the result.

    Returns:
        (B,), each 1 or -1.
    """
    return torch.linalg.det(jacobian(g, like.new_zeros(len(g), 1, g.dim))).squeeze(1).sign().to(like.dtype)


def _refuse_whole_numbers(action: Action, x: Tensor) -> ActionMismatch:
    return ActionMismatch(
        f"{x.dtype} data for {action.sentence!r}",
        "floating point: whole numbers cannot be moved by small amounts",
        "Cast with x.float(), or declare the tensor as scalar, or as mask if it is a map of classes.",
    )
