"""Kernels of convolutions that commute with rotations and mirrors: orthonormal bases, orbit by orbit of the taps.

A tap of a kernel is a point x of space: pixels from the kernel's centre, times the dilation, in the coordinates
(x right, y down, z), so that the axes of the tensor come in reverse. A map ``sum_x K(x) f(p + x)`` commutes with g
exactly if ``K(g x) = rho_out(g) K(x) rho_in(g)^-1``. So one tap decides the others of its orbit, and itself commutes
with what keeps it in place: small null spaces, no interpolation. Rotations by any angle relate the taps of one radius
only, as samples of steerable kernels do; for maps of the grid onto itself the projection is the average over the group.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.equivariant_maps import tensor_derivative, tensor_power
from lightning_symmetry.functional.orbits import SAME, Orbit, PointGroup
from lightning_symmetry.functional.tensor_types import TensorType, read_types

_REGULAR = re.compile(r"^(?P<copies>[1-9]\d*)\s*x\s*reg$")
_LARGEST_BLOCK = 64
"""Of so many numbers at most the orbits share a basis; beyond, its zeros would be most of the work."""


@final
@dataclass(frozen=True)
class RegularType:
    """Channels of a finite group, one for each element, in the order of its elements: g takes that of h to that of gh.

    Args:
        copies: How many times over.
    """

    copies: int

    def __str__(self) -> str:
        """Write it as `read_channels` reads it."""
        return f"{self.copies}xreg"


ChannelType = TensorType | RegularType


def read_channels(text: str) -> tuple[ChannelType, ...]:
    """Read types of channels: those of `read_types`, and ``"4xreg"`` for regular channels of a finite group.

    Args:
        text: For example "16x0 + 4x1", in the order of the channels.

    Returns:
        One entry a term.

    Raises:
        SentenceError: A term cannot be read.

    Example:
        >>> [str(term) for term in read_channels("8x0 + 4xreg")]
        ['8x0', '4xreg']
    """
    terms = [term.strip() for term in text.split("+")]
    regular = [_REGULAR.match(term) for term in terms]
    return tuple(
        RegularType(int(m["copies"])) if m else read_types(term)[0] for m, term in zip(regular, terms, strict=True)
    )


@final
@dataclass(frozen=True)
class KernelMaps:
    """Where the blocks of one pair of types lie in a weight, and an orthonormal basis of the blocks that commute.

    Args:
        index: (n, m), places in the flattened weight of the m numbers of n blocks.
        basis: (m, r), orthonormal columns: the projection of the blocks is ``weight[index] @ basis @ basis.T``.
    """

    index: Tensor
    basis: Tensor


def kernel_maps(
    shape: Sequence[int],
    outputs: Sequence[ChannelType] | None,
    inputs: Sequence[ChannelType] | None,
    generators: Tensor,
    elements: Tensor | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    cosine: float = 0.99,
) -> list[KernelMaps]:
    """Find the kernels that commute with a group of rotations and mirrors.

    A group of another dimension than the kernel leaves the taps where they are, as rotations of vectors do that a
    convolution over time is given.

    Args:
        shape: Of the weight, (C_out, C_in / groups, *k).
        outputs: What the C_out channels are; None for scalars.
        inputs: What the C_in channels are; None for scalars.
        generators: (K, d, d), d = 1, 2 or 3, of the rotations by any angle; K = 0 for a finite group.
        elements: (n, d, d): all of the finite part, the identity included; None where there is none.
        dilation: Of the convolution.
        groups: Of the convolution.
        cosine: From which on generators that were learnt are taken for rotations, see `PointGroup.read`.

    Returns:
        The blocks; together they cover the weight once.

    Raises:
        DimensionMismatch: The channels, the kernel and the group do not fit together.
        InvalidSetting: The group does more than turn and mirror, exchanges unequal sides of the kernel, or takes no tap
            to another.

    Cost: a null space of d^(ranks) unknowns for each orbit of taps and each pair of types.

    References:
        Weiler and Cesa, General E(2)-equivariant steerable CNNs, NeurIPS 2019.

    Example:
        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> (found,) = kernel_maps((8, 4, 3, 3), None, None, quarter[None])
        >>> found.index.shape, found.basis.shape
        (torch.Size([32, 9]), torch.Size([9, 3]))
    """
    sides = tuple(shape[2:])
    group = PointGroup.read(generators, elements, cosine)
    spread = (dilation,) * len(sides) if isinstance(dilation, int) else tuple(dilation)
    turns = group.dim == len(sides)
    if turns:
        _check_sides(sides, spread, group)
    # a grid of another space, such as time, stays where it is: every tap is a linear map of its own
    taps, alone = (_taps(sides, spread), 1) if turns else (torch.zeros(1, group.dim).double(), math.prod(sides))
    outs, ins = _places(outputs, shape[0], group), _places(inputs, shape[1] * groups, group)
    orbits = list(group.part(taps))
    if len(orbits) == len(taps) and group.moves(taps):
        raise InvalidSetting(
            f"a kernel of sides {sides}, no tap of which the group takes to another",
            "a group that the grid can tell from none, such as C4, D4 or SO(2) instead of C3",
            "Name another group, or measure this one by samples, with Equivariance().",
        )
    found = []
    for (out, left), (into, right) in product(outs.items(), ins.items()):
        index = _blocks(left, right, shape, groups, _size(out, group), _size(into, group)) * len(taps) * alone
        index = (index.unsqueeze(1) + torch.arange(alone).unsqueeze(-1)).flatten(0, 1).unsqueeze(-1)
        where, bases = [orbit.points for orbit in orbits], [_steer(orbit, out, into, group) for orbit in orbits]
        if index.shape[1] * len(taps) <= _LARGEST_BLOCK:
            where, bases = [torch.arange(len(taps))], [_join(where, bases, len(taps))]
        for points, basis in zip(where, bases, strict=True):
            found.append(KernelMaps((index + points).flatten(1), basis.flatten(0, 1)))
    return found


def bias_maps(
    channels: int,
    outputs: Sequence[ChannelType] | None,
    generators: Tensor,
    elements: Tensor | None = None,
    cosine: float = 0.99,
) -> list[KernelMaps]:
    """Find the biases of a convolution that a group of rotations and mirrors leaves alone.

    They are kernels of a single tap from one scalar.

    Args:
        channels: Number C_out.
        outputs: What they are; None for scalars.
        generators: (K, d, d), d = 1, 2 or 3.
        elements: (n, d, d), or None.
        cosine: See `kernel_maps`.

    Returns:
        The blocks of the bias.

    Example:
        >>> turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> [found.basis.shape[1] for found in bias_maps(9, read_channels("3x0 + 1x1 + 1x2"), turn)]
        [1, 0, 2]
    """
    return kernel_maps((channels, 1, *[1] * generators.shape[-1]), outputs, None, generators, elements, cosine=cosine)


def _check_sides(sides: Sequence[int], dilation: Sequence[int], group: PointGroup) -> None:
    """Refuse groups that take a side of the kernel to another that is longer or more dilated."""
    named, mixed = list(zip(sides, dilation, strict=True))[::-1], group.mixed()
    if any(named[i] != named[j] and bool(mixed[i, j]) for i, j in combinations(range(len(sides)), 2)):
        raise InvalidSetting(
            f"a kernel of sides {tuple(sides)} with dilation {tuple(dilation)}, of which the group exchanges two",
            "sides as long and as dilated as those that they are taken to",
            "Use a square kernel, or a group that keeps its sides, such as C2 or D1.",
        )


def _taps(sides: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """List the taps of a kernel as points (T, d), in the order of the weight."""
    axes = [(torch.arange(n).double() - (n - 1) / 2) * step for n, step in zip(sides, dilation, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).flatten(0, -2)


def _size(kind: ChannelType, group: PointGroup) -> int:
    """Count the channels of one copy."""
    return len(group.finite) if isinstance(kind, RegularType) else group.dim**kind.rank


def _represent(g: Tensor, kind: ChannelType, group: PointGroup) -> Tensor:
    """Give the matrices (m, n, n) by which elements (m, d, d) move one copy."""
    if isinstance(kind, TensorType):
        moved = tensor_power(g, kind.rank)
        return moved * torch.linalg.det(g).sign()[:, None, None] if kind.pseudo else moved
    finite = group.finite[:, : group.dim, : group.dim]
    apart = (g[:, None] @ finite).unsqueeze(1) - finite[None, :, None]
    return (apart.abs().amax((-2, -1)) < 10 * SAME).to(g)


def _steer(orbit: Orbit, out: ChannelType, into: ChannelType, group: PointGroup) -> Tensor:
    """Give an orthonormal basis of the kernels on one orbit: (numbers of a block, taps, r)."""
    left, right = (_represent(orbit.fixed, kind, group) for kind in (out, into))
    a, b = left.shape[-1], right.shape[-1]
    moved = _kronecker(left, right)
    # squares of what has to vanish, summed: the matrices are orthogonal, those of generators skew
    defects = (2 * torch.eye(a * b).to(moved) - moved - moved.mT).sum(0)
    if len(orbit.generators) and isinstance(out, TensorType) and isinstance(into, TensorType):
        slope = tensor_derivative(orbit.generators, out.rank + into.rank)
        defects = defects - (slope @ slope).sum(0)
    sizes, vectors = torch.linalg.eigh(defects)
    kept = vectors[:, sizes < SAME].unflatten(0, (a, b))
    left, right = (_represent(orbit.steps, kind, group) for kind in (out, into))
    return torch.einsum("tab,tcd,bdr->actr", left, right, kept).flatten(0, 1) / len(orbit.points) ** 0.5


def _join(where: Sequence[Tensor], bases: Sequence[Tensor], taps: int) -> Tensor:
    """Make one basis on all taps of those on orbits."""
    total, start = bases[0].new_zeros(len(bases[0]), taps, sum(basis.shape[-1] for basis in bases)), 0
    for points, basis in zip(where, bases, strict=True):
        total[:, points, start : start + basis.shape[-1]] = basis
        start += basis.shape[-1]
    return total


def _places(types: Sequence[ChannelType] | None, channels: int, group: PointGroup) -> dict[ChannelType, Tensor]:
    """Tell for every type, by a single copy of it, where its copies begin among the channels."""
    places: dict[ChannelType, list[int]] = {}
    start = 0
    for kind in types or [TensorType(channels, 0)]:
        if isinstance(kind, RegularType) and len(group.axes):
            raise InvalidSetting(
                "regular channels for a group that turns by any angle",
                "a finite group, which has one channel for each element",
                "Use tensors such as 16x0 + 8x1, or a finite group such as C8.",
            )
        size = _size(kind, group)
        places.setdefault(replace(kind, copies=1), []).extend(range(start, start + kind.copies * size, size))
        start += kind.copies * size
    if start != channels:
        raise DimensionMismatch(
            f"types of {start} channels for {channels}", "one type for every channel", "Correct the types."
        )
    return {kind: torch.tensor(found, dtype=torch.long) for kind, found in places.items()}


def _blocks(left: Tensor, right: Tensor, shape: Sequence[int], groups: int, a: int, b: int) -> Tensor:
    """Give the places (n, a b) of all blocks between copies of one group of channels, without their taps."""
    each_out, each_in = shape[0] // groups, shape[1]
    for starts, size, each in ((left, a, each_out), (right, b, each_in)):
        if bool((starts % each + size > each).any()):
            raise DimensionMismatch(
                f"{groups} groups of {each} channels for copies of {size}", "whole copies", "Use fewer groups."
            )
    out, into = ((left // each_out)[:, None] == right // each_in).nonzero(as_tuple=True)
    rows = left[out, None] + torch.arange(a)
    columns = right[into, None] % each_in + torch.arange(b)
    return (rows.unsqueeze(-1) * each_in + columns.unsqueeze(-2)).flatten(1)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    """Give Kronecker products, row by row: (m, p, p) and (m, q, q) to (m, pq, pq)."""
    return torch.einsum("mij,mkl->mikjl", a, b).flatten(3).flatten(1, 2)
