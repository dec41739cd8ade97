"""Orbits of points under rotations and mirrors, with the elements that take one point to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting

SAME = 1e-4
"""Points and matrices closer than this are one; distances of points are of order 1."""


@final
@dataclass(frozen=True)
class Orbit:
    """Points that a group takes to each other.

    Args:
        points: (n,), their numbers.
        steps: (n, d, d), elements that take the first to each.
        fixed: (m, d, d), elements that keep the first in place; with what their generators make they are all.
        generators: (k, d, d), skew, of the rotations that keep the first in place.
    """

    points: Tensor
    steps: Tensor
    fixed: Tensor
    generators: Tensor


@final
@dataclass(frozen=True)
class PointGroup:
    """A closed group of rotations and mirrors of a line, the plane or space, all of which are seen as lying in space.

    Args:
        dim: Dimension d, 1, 2 or 3.
        finite: (n, 3, 3), float64: with the connected part they are all elements.
        axes: Of the connected part: (0, 3) without one; (1, 3), a unit vector, for the rotations about it; (3, 3) for
            all rotations.
    """

    dim: int
    finite: Tensor
    axes: Tensor

    @classmethod
    def read(cls, generators: Tensor, elements: Tensor | None = None, cosine: float = 0.99) -> PointGroup:
        """Read a group off its matrices.

        Args:
            generators: (K, d, d); together with what their brackets make.
            elements: (n, d, d): all of the finite part, the identity included; None where there is none.
            cosine: From which on generators that were learnt are taken for rotations, and their axis for one of the
                grid or a diagonal of it.

        Returns:
            The group.

        Raises:
            DimensionMismatch: They are no matrices of 1 to 3 dimensions.
            InvalidSetting: They do more than turn and mirror.

        Example:
            >>> turns = torch.tensor([[[0.0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]])
            >>> [len(PointGroup.read(turns[:n]).axes) for n in (0, 1, 2)]
            [0, 1, 3]
        """
        moving, dim = generators.detach().to("cpu", torch.float64), generators.shape[-1]
        finite = torch.eye(dim)[None] if elements is None else elements
        finite = finite.detach().to("cpu", torch.float64)
        if dim not in (1, 2, 3) or {tuple(t.shape[1:]) for t in (moving, finite)} != {(dim, dim)}:
            raise DimensionMismatch(
                f"generators {tuple(moving.shape)} and elements {tuple(finite.shape)}",
                "matrices (d, d) of a line, the plane or space",
                "Name a group of the space of the grid.",
            )
        remedy = "Measure this symmetry by samples, with Equivariance()."
        slack, size, stretch = (1 - cosine**2) ** 0.5, float(moving.norm()), float((moving + moving.mT).norm()) / 2
        if stretch > slack * size:
            raise InvalidSetting(
                f"generators of which a share of {stretch / size:.2f} stretches or shears",
                "rotations and mirrors, which take points of a grid to points as far from the centre",
                remedy,
            )
        left, _, right = torch.linalg.svd(finite)
        if float((finite - left @ right).abs().max()) > 10 * SAME:
            raise InvalidSetting("elements that stretch or shear", "rotations and mirrors", remedy)
        return cls(dim, _widen(left @ right, 1.0), _read_axes(_widen(moving, 0.0), slack))

    def part(self, points: Tensor) -> Iterator[Orbit]:
        """Part points into orbits.

        Args:
            points: (T, d), float64.

        Returns:
            Every orbit, each point in one.
        """
        points = F.pad(points, (0, 3 - self.dim))
        left = torch.ones(len(points), dtype=torch.bool)
        while bool(left.any()):
            first = points[left][0]
            images = self.finite @ first
            reached = self._reaches(images[:, None], points) & left
            orbit = reached.any(0).nonzero()[:, 0]
            through = reached[:, orbit].double().argmax(0)
            steps = self._turn(images[through], points[orbit]) @ self.finite[through]
            back = self._reaches(images, first)
            fixed = self._turn(images[back], first.expand(int(back.sum()), 3)) @ self.finite[back]
            left[orbit] = False
            yield Orbit(orbit, *(m[:, : self.dim, : self.dim] for m in (steps, fixed, _cross(self._keepers(first)))))

    def moves(self, points: Tensor) -> bool:
        """Tell whether any element takes any of the points (T, d) elsewhere."""
        points = F.pad(points, (0, 3 - self.dim))
        stays = all(len(self._keepers(point)) == len(self.axes) for point in points)
        return not stays or float((points @ self.finite.mT - points).abs().max()) > SAME

    def mixed(self) -> Tensor:
        """Tell which axes (d, d) elements take to each other, at least in part."""
        sizes = _cross(self.axes).abs().sum(0) + self.finite.abs().sum(0)
        return ((sizes + sizes.mT) > 10 * SAME)[: self.dim, : self.dim]

    def _reaches(self, a: Tensor, b: Tensor) -> Tensor:
        """Tell whether the connected part takes points (..., 3) to others."""
        if not len(self.axes):
            return (a - b).abs().amax(-1) < SAME
        if len(self.axes) == 3:
            return (a.norm(dim=-1) - b.norm(dim=-1)).abs() < SAME
        (height, across), (other, wide) = (self._split(p) for p in (a, b))
        return ((height - other).abs() < SAME) & ((across.norm(dim=-1) - wide.norm(dim=-1)).abs() < SAME)

    def _turn(self, a: Tensor, b: Tensor) -> Tensor:
        """Give rotations of the connected part that take points (m, 3) to others that it reaches."""
        eye = torch.eye(3).to(a)
        if not len(self.axes):
            return eye.expand(len(a), 3, 3)
        if len(self.axes) == 1:
            (_, across), (_, wide) = self._split(a), self._split(b)
            angle = torch.atan2((torch.linalg.cross(across, wide) * self.axes).sum(-1), (across * wide).sum(-1))
            generator = _cross(self.axes)
            sine, rest = angle.sin()[:, None, None], 1 - angle.cos()[:, None, None]
            return eye + sine * generator + rest * generator @ generator
        # half a turn about what lies midway, or about anything orthogonal where the two are opposite
        start, end = (torch.where(p.norm(dim=-1, keepdim=True) > SAME, p, eye[0]) for p in (a, b))
        start, end = F.normalize(start, dim=-1), F.normalize(end, dim=-1)
        opposite = (start + end).norm(dim=-1, keepdim=True) < SAME
        aside = torch.linalg.cross(start, eye[start.abs().argmin(-1)])
        midway = F.normalize(torch.where(opposite, aside, start + end), dim=-1)
        return 2 * midway.unsqueeze(-1) * midway.unsqueeze(-2) - eye

    def _keepers(self, point: Tensor) -> Tensor:
        """Give the axes (m, 3) of the rotations of the connected part that keep a point (3,) in place."""
        if not len(self.axes) or float(point.norm()) < SAME:
            return self.axes
        along = F.normalize(point, dim=0)[None]
        return along if len(self.axes) == 3 or float(self._split(along)[1].norm()) < SAME else self.axes[:0]

    def _split(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Split points into heights (...,) along the single axis and what lies across (..., 3)."""
        height = points @ self.axes[0]
        return height, points - height.unsqueeze(-1) * self.axes[0]


def _read_axes(generators: Tensor, slack: float) -> Tensor:
    """Find what generators (K, 3, 3) turn about: nothing, one axis, or by what they generate together, all."""
    axial = torch.stack([generators[:, j, i] - generators[:, i, j] for i, j in ((1, 2), (2, 0), (0, 1))], -1) / 2
    if not bool(axial.any()):
        return axial[:0]
    _, sizes, rows = torch.linalg.svd(axial, full_matrices=False)
    if int((sizes > max(slack * float(sizes[0]), 1e-12)).sum()) > 1:
        return torch.eye(3, dtype=torch.float64)
    straight = F.normalize(torch.tensor(list(product((0.0, 1.0, -1.0), repeat=3))[1:], dtype=torch.float64), dim=-1)
    nearest = straight[(straight @ rows[0]).argmax()]
    return nearest[None] if float(nearest @ rows[0]) ** 2 >= 1 - slack**2 else rows[:1]


def _widen(matrices: Tensor, corner: float) -> Tensor:
    """Let matrices (m, d, d) move space, of which they leave the rest alone: (m, 3, 3)."""
    d = matrices.shape[-1]
    wide = corner * torch.eye(3, dtype=matrices.dtype).repeat(len(matrices), 1, 1)
    wide[:, :d, :d] = matrices
    return wide


def _cross(axes: Tensor) -> Tensor:
    """Give the matrices (m, 3, 3) of cross products with axes (m, 3)."""
    x, y, z = axes.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
