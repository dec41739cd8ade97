"""Products and unions of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import AffineMap, Element
from lightning_symmetry.groups.joined import SAME, Joined
from lightning_symmetry.groups.parts import ProductElement


@final
class Product(Joined):
    """The group that several groups generate: ``a * b``.

    On one space: the generators side by side, and all products of the finite parts, which must be a group again.
    ``SO(2) * translation`` is SE(2), ``SO(3) * scale`` the similarities without translations. With permutations:
    independent movements of space and nodes. With ``intensity``: of space and values.

    Args:
        factors: At least two.

    Raises:
        DimensionMismatch: They act on different spaces.
        InvalidSetting: They do not fit together; it says why.

    Example:
        >>> from lightning_symmetry.groups import O, Permutations, Translation
        >>> (O(3) * Translation() * Permutations()).sentence
        'O(3) * translation * permutations'
    """

    symbol = "*"

    @property
    def discrete(self) -> Element | None:
        """All products of the finite parts, each once, the identity first."""
        finite = _fold(_multiply, self._movers)
        nodes = self.part("nodes")
        return _pair(finite, None if nodes is None else nodes.discrete)

    def _check_finite(self) -> None:
        parts = [_as_map(finite) for m in self._movers if (finite := m.discrete) is not None]
        for i in range(1, len(parts)):
            before = reduce(_multiply, parts[:i])
            forth, back = _multiply(before, parts[i]), _multiply(parts[i], before)
            # A set of products is a group exactly if it does not depend on their order.
            if bool((_distances(back, forth).amin(1) > SAME).any()):
                raise InvalidSetting(
                    f"{self.sentence!r}, whose finite parts generate more than their {len(forth)} products",
                    "finite parts whose products are a group",
                    "Take a single group that holds all of them.",
                )

    def _take_turns(self, t: Tensor, rng: Rng, active: Tensor | None) -> list[Tensor | None]:
        return [active] * len(self._members)


@final
class Union(Joined):
    """The transformations of either group: ``a | b``. A draw takes one member, each as often as the others.

    It is no group unless one member holds the others: it states several symmetries at once. ``exp`` takes all
    coordinates as they are; draws leave those of one member, and its finite part.

    Args:
        factors: The members, at least two.

    Raises:
        DimensionMismatch: They act on different spaces.
        InvalidSetting: They do not fit together; it says why.

    Example:
        >>> from lightning_symmetry.groups import SO, Scale
        >>> either = SO(2) | Scale(2)
        >>> g = either.draw(torch.ones(4, 1, 2), Rng(0))
        >>> g.coordinates.sum(1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    symbol = "|"

    @property
    def closed(self) -> bool:
        """A union is no group."""
        return False

    @property
    def discrete(self) -> Element | None:
        """The finite parts of all members, each element once, the identity first."""
        finite = _fold(_unite, self._movers)
        nodes = self.part("nodes")
        if nodes is None:
            return finite
        if nodes not in self._members:
            raise DimensionMismatch(
                f"the finite part of {self.sentence!r}", "permutations as a member", "List the members one by one."
            )
        listed = nodes.discrete
        if finite is None or listed is None:
            return _pair(finite, listed)
        rest = torch.arange(1, len(listed))
        space = torch.cat((torch.arange(len(finite)), torch.zeros_like(rest)))
        return ProductElement(finite[space], listed[torch.cat((torch.zeros(len(finite), dtype=torch.long), rest))])

    def _take_turns(self, t: Tensor, rng: Rng, active: Tensor | None) -> list[Tensor | None]:
        choice = rng.integers(len(self._members), *t.shape[:2], device=t.device)
        turns = [choice == i for i in range(len(self._members))]
        return [turn if active is None else turn & active for turn in turns]


Group.makers["product"] = Product
Group.makers["union"] = Union


def _pair(space: Element | None, nodes: Element | None) -> Element | None:
    """List all pairs of two lists."""
    if space is None or nodes is None:
        return nodes if space is None else space
    i, j = _pairs(len(space), len(nodes))
    return ProductElement(space[i], nodes[j])


def _pairs(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)


def _fold(join: Callable[[AffineMap, AffineMap], AffineMap], movers: Sequence[Group]) -> Element | None:
    """Put the finite parts of several groups together; a single one stays as it is."""
    parts = [finite for m in movers if (finite := m.discrete) is not None]
    return reduce(join, map(_as_map, parts)) if len(parts) > 1 else parts[0] if parts else None


def _multiply(a: AffineMap, b: AffineMap) -> AffineMap:
    """List all products of two lists, each once."""
    i, j = _pairs(len(a), len(b))
    return _keep_first(a[i] @ b[j])


def _unite(a: AffineMap, b: AffineMap) -> AffineMap:
    """List the maps of two lists, each once."""
    linear = torch.cat((a.linear, b.linear.to(a.linear)))
    if a.offset is None and b.offset is None:
        return _keep_first(AffineMap(linear))
    shifts = [torch.zeros_like(g.linear[:, 0]) if g.offset is None else g.offset for g in (a, b)]
    return _keep_first(AffineMap(linear, torch.cat(shifts).to(linear)))


def _as_map(g: Element) -> AffineMap:
    if not isinstance(g, AffineMap):
        raise InvalidSetting(
            f"a finite part of type {type(g).__name__}", "affine maps, where several groups move one space", "Use one."
        )
    return g


def _keep_first(g: AffineMap) -> AffineMap:
    """Drop what was listed before."""
    earlier = torch.tril(_distances(g, g) <= SAME, -1).any(1)
    return g[~earlier]


def _distances(a: AffineMap, b: AffineMap) -> Tensor:
    return (a.matrix[:, None] - b.matrix).abs().amax((-2, -1))
