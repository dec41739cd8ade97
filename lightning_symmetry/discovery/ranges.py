"""The ranges of a law on images, in the quantities that augmentation libraries have words for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_symmetry.actions import Image
from lightning_symmetry.discovery.naming import name_generator
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import AffineMap, Group, Union
from lightning_symmetry.symmetry import Symmetry

NEGLIGIBLE = 1e-2
"""Half a pixel of an image of a hundred: a generator that moves nothing further is left out."""


@dataclass
class Ranges:
    """What augmentation libraries have words for; angles in degrees, shifts as shares of the sides."""

    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] | None = None
    stretch: tuple[tuple[float, float], tuple[float, float]] | None = None
    shear: tuple[float, float] = (0.0, 0.0)
    mirror: bool = False
    turns: tuple[float, ...] = (0.0,)
    alternatives: bool = False
    padding: str = "zeros"
    notes: list[str] = field(default_factory=list)

    def split(self) -> list[Ranges]:
        """List the affine movements that are drawn together: all, or each on its own."""
        parts = []
        if self.rotation:
            parts.append(Ranges(rotation=self.rotation))
        parts += [Ranges(shift=s) for s in ((self.shift[0], 0.0), (0.0, self.shift[1])) if any(s)]
        parts += [Ranges(scale=self.scale)] if self.scale else []
        parts += [Ranges(stretch=self.stretch)] if self.stretch else []
        parts += [Ranges(shear=s) for s in ((self.shear[0], 0.0), (0.0, self.shear[1])) if any(s)]
        if self.alternatives or not parts:
            return parts
        return [Ranges(self.rotation, self.shift, self.scale, self.stretch, self.shear)]


def read_ranges(symmetry: Symmetry, size: tuple[int, int] | None) -> Ranges:
    """Read the ranges of a law.

    Args:
        symmetry: A uniform or normal law of widths on a group of the plane, or a finite group.
        size: (height, width) of the images; None for square ones.

    Raises:
        InvalidSetting: Nothing of the law can be said in these quantities.
    """
    from lightning_symmetry.discovery.transform import copy_law

    law = copy_law(symmetry)
    group, name = law.group, type(law).__name__
    if isinstance(group, Union):
        raise InvalidSetting(
            got=f"the union {group.sentence}, of which every draw takes one member",
            expected="one group",
            remedy="Use to_torchvision, which draws from the law itself.",
        )
    if group is None or not group.linear:
        raise refuse(symmetry, "its generators are no affine maps")
    ranges = Ranges(alternatives=name == "OneHot" and group.count > 1)
    ranges.padding = next((a.padding for _, a in symmetry.input.parts if isinstance(a, Image)), "zeros")
    _read_finite(group, ranges)
    if name == "Haar" and group.count and not group.affine:
        ranges.rotation = 180.0
    elif group.count:
        widths = law.widths.double()
        if name == "Normal":
            widths = widths * math.sqrt(3)
            ranges.notes.append("the law is normal: these uniform ranges have the same standard deviation")
        _read_generators(group, widths, size, ranges)
    if not (ranges.split() or ranges.mirror or len(ranges.turns) > 1):
        raise refuse(symmetry, list_omissions(ranges))
    return ranges


def _read_generators(group: Group, widths: Tensor, size: tuple[int, int] | None, ranges: Ranges) -> None:
    height, width = size or (1, 1)
    fraction = (max(height, width) / (2 * width), max(height, width) / (2 * height))
    shift, shear, stretch = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    moves = 0
    for matrix, reach in zip(group.basis().double(), widths.tolist(), strict=True):
        # the largest displacement of a point of the image
        if reach * float(matrix.norm()) < NEGLIGIBLE:
            continue
        moves += 1
        naming = name_generator(matrix, 2, group.affine)
        what, linear, amount = naming.name, matrix[:2, :2], reach
        if what == "rotation":
            angle = math.degrees(amount * abs(float(linear[1, 0] - linear[0, 1])) / 2)
            ranges.rotation = min(ranges.rotation + angle, 180.0)
        elif what == "scaling":
            ranges.scale = _factors(amount * abs(float(linear.trace())) / 2)
        elif what in ("translation along x", "translation along y"):
            axis = "xy".index(what[-1])
            shift[axis] = min(shift[axis] + amount * abs(float(matrix[axis, 2])) * fraction[axis], 1.0)
        elif what in ("stretch along x", "stretch along y"):
            axis = "xy".index(what[-1])
            stretch[axis] += amount * abs(float(linear[axis, axis]))
        elif what in ("shear of x along y", "shear of y along x"):
            axis = "xy".index(what[9])
            shear[axis] = math.degrees(math.atan(amount * abs(float(linear[axis, 1 - axis]))))
        else:
            moves -= 1
            ranges.notes.append(
                f"no words for: {what}, by up to {amount:.3g}; to_torchvision(symmetry) moves by it too"
            )
            continue
        if naming.cosine < 0.999:
            ranges.notes.append(f"{what}: the learnt generator is that up to a cosine of {naming.cosine:.3f}")
    ranges.shift, ranges.shear = (shift[0], shift[1]), (shear[0], shear[1])
    if any(stretch):
        ranges.stretch = (_factors(stretch[0]), _factors(stretch[1]))
    if ranges.scale and ranges.stretch:
        ranges.notes.append(f"no words for stretches beside a scaling; left out: {write_factors(ranges.stretch)}")
        ranges.stretch = None
    if any(shift) and size is None:
        ranges.notes.append("shifts are for square images; pass size=(height, width) for others")
    if ranges.scale or ranges.stretch or any(shear):
        ranges.notes.append("the law is uniform in the logarithm of factors and in the tangent of shears, this is not")
    if moves > 1 and not ranges.alternatives:
        ranges.notes.append("these follow one another, while the law is the exponential of their sum")


def _read_finite(group: Group, ranges: Ranges) -> None:
    finite = group.discrete
    if finite is None:
        return
    if not isinstance(finite, AffineMap) or (finite.offset is not None and bool(finite.offset.any())):
        ranges.notes.append("no words for the finite part")
        return
    maps = finite.linear.double()
    proper = maps[torch.linalg.det(maps) > 0]
    degrees = torch.rad2deg(torch.atan2(proper[:, 1, 0], proper[:, 0, 0])).round(decimals=3) % 360
    angles = degrees.unique().tolist()
    mirror = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    mirrored = bool(((maps - mirror).abs().amax((1, 2)) < 1e-4).any())
    orthogonal = bool((maps.mT @ maps - torch.eye(2).double()).abs().max() < 1e-4)
    even = all(abs(a - 360 * i / len(angles)) < 1e-2 for i, a in enumerate(angles))
    if not (orthogonal and even and len(maps) == len(angles) * (1 + mirrored)):
        ranges.notes.append("no words for the finite part")
        return
    ranges.turns, ranges.mirror = tuple(angles), mirrored


def refuse(symmetry: Symmetry, reason: str) -> InvalidSetting:
    """Make the error for a law that has no words."""
    return InvalidSetting(
        f"{symmetry.sentence!r}: {reason}",
        "rotations, translations, scalings, shears, mirrors or turns",
        "Use to_torchvision(symmetry), which moves by any law.",
    )


def list_omissions(ranges: Ranges) -> str:
    """Say what a law does that the words leave out."""
    words = [note.partition("; to_torchvision")[0] for note in ranges.notes if "no words" in note or "left out" in note]
    return "; ".join(words) or "it moves nothing"


def _factors(reach: float) -> tuple[float, float]:
    return math.exp(-reach), math.exp(reach)


def write_numbers(values: tuple[float, ...]) -> str:
    """Write a tuple as code, in six digits."""
    return f"({', '.join(_number(v) for v in values)})"


def _number(value: float) -> str:
    return repr(float(f"{value:.6g}") + 0.0)


def write_factors(stretch: tuple[tuple[float, float], tuple[float, float]]) -> str:
    """Say factors along the axes."""
    return f"factors {write_numbers(stretch[0])} along x and {write_numbers(stretch[1])} along y"
