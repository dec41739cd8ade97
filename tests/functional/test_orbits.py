"""Orbits of points: what takes one to another really does, and belongs to the group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.orbits import PointGroup
from lightning_symmetry.groups import SO, About, Cyclic, Dihedral, Group, O, Tilts

GROUPS: dict[str, Group] = {
    "C4": Cyclic(4),
    "D3": Dihedral(3),
    "SO(2)": SO(2),
    "O(2)": O(2),
    "SO(3)": SO(3),
    "O(3)": O(3),
    "about y": About("y"),
    "about a diagonal, mirrors": About([1, -1, 1], mirrors=True),
    "tilts": Tilts("z"),
}


def read(group: Group) -> PointGroup:
    return PointGroup.read(group.basis(), None if group.discrete is None else group.discrete.linear)  # type: ignore[attr-defined]


def grid(dim: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(-2.0, 3.0).double()] * dim)


@pytest.mark.parametrize("name", GROUPS)
def test_steps_take_the_first_point_to_each_and_the_fixed_keep_it(name: str) -> None:
    group = read(GROUPS[name])
    points, seen = grid(group.dim), []
    for orbit in group.part(points):
        first = points[orbit.points[0]]
        torch.testing.assert_close(orbit.steps @ first, points[orbit.points], atol=1e-6, rtol=0)
        torch.testing.assert_close(orbit.fixed @ first, first.expand(len(orbit.fixed), -1), atol=1e-6, rtol=0)
        assert (orbit.generators @ first).abs().max() < 1e-6 if len(orbit.generators) else True
        matrices = torch.cat((orbit.steps, orbit.fixed))
        torch.testing.assert_close(matrices @ matrices.mT, torch.eye(group.dim).to(matrices).expand_as(matrices))
        if name.startswith("SO") or name in ("C4", "about y", "tilts"):
            assert torch.linalg.det(matrices).min() > 0
        seen.append(orbit.points)
    assert torch.cat(seen).sort().values.equal(torch.arange(len(points)))


@pytest.mark.parametrize("name", GROUPS)
def test_no_element_leaves_an_orbit(name: str) -> None:
    group, kind = read(GROUPS[name]), GROUPS[name]
    points = grid(group.dim)
    number = torch.empty(len(points), dtype=torch.long)
    for k, orbit in enumerate(group.part(points)):
        number[orbit.points] = k
    # points of one orbit agree in every invariant of the connected part up to the finite part's choices
    t = torch.linspace(-3, 3, 40).unsqueeze(1).repeat(1, kind.count)
    elements = kind.exp(t).linear.double() if kind.count else torch.eye(group.dim).double()[None]
    finite = torch.eye(group.dim)[None] if kind.discrete is None else kind.discrete.linear  # type: ignore[attr-defined]
    for g in (elements[:, None] @ finite.double()).flatten(0, 1):
        apart = torch.cdist(points @ g.mT, points)
        here, there = (apart < 1e-3).nonzero(as_tuple=True)
        assert number[here].equal(number[there])


def test_two_axes_make_all_rotations() -> None:
    count = [len(list(read(GROUPS[name]).part(grid(3)))) for name in ("tilts", "SO(3)", "O(3)")]
    assert count == [10, 10, 10]  # radii of the 5 x 5 x 5 grid: 0, 1, 2, 3, 4, 5, 6, 8, 9, 12 are the squares
