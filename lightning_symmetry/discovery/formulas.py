"""Generators of a symmetry as formulas, in the coordinates that its data have."""

from __future__ import annotations

from torch import Tensor

from lightning_symmetry.actions import Jet
from lightning_symmetry.discovery.naming import MIXED, Naming, name_in
from lightning_symmetry.discovery.printing import write_generator
from lightning_symmetry.symmetry import Symmetry

# Terms that are smaller, relative to the largest, are errors of the fit.
SMALL = 0.02
_MOST_TERMS = 4
# A name that leaves more out would hide, for example, along which ellipses something turns.
_NAMED = 0.998


def name_found_one(generator: Tensor, symmetry: Symmetry) -> Naming:
    """Name a generator that was read out; by its formula where no name fits, or where x, y, z would mislead.

    Args:
        generator: Shaped as those of the symmetry's group.
        symmetry: Whose group it is of.

    Returns:
        The name, and how well it fits.
    """
    naming = name_in(symmetry.group, generator)
    if naming.name != MIXED and naming.cosine >= _NAMED and name_coordinates(symmetry) is None:
        return naming
    largest = float(generator.abs().max())
    for share in (SMALL, 0.05, 0.1, 0.2):
        formula = write_field(generator, symmetry, share / 2 * largest)
        if formula.count("d/d") <= _MOST_TERMS:
            return Naming(formula, naming.cosine)
    return naming


def name_coordinates(symmetry: Symmetry) -> list[str] | None:
    """Name the coordinates of the space that the group acts on, where the input tells; None for x, y, z and so on."""
    for _, action in symmetry.input.moving:
        if isinstance(action, Jet):
            return [*action.independent, *action.dependent]
    return None


def write_field(generator: Tensor, symmetry: Symmetry, error: float) -> str:
    """Write a generator of a symmetry's group as a vector field.

    Args:
        generator: Shaped as those of the group.
        symmetry: Whose group it is of.
        error: Standard error of its numbers.

    Returns:
        A formula.

    Example:
        >>> import torch
        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> write_field(quarter, Symmetry.parse("SO(2) on vector -> scalar").bind(torch.ones(1, 2)), 0.01)
        'x d/dy - y d/dx'
    """
    affine, axes = symmetry.group.affine, name_coordinates(symmetry)
    moving = moving_block(generator, symmetry)
    formula = write_generator(moving, error, axes, affine)
    if moving.shape == generator.shape:
        return formula
    size = len(moving)
    values = write_generator(generator[size:, size:], error, ["v"], affine=True)
    parts = [part for part in (formula, values) if part != "0"]
    return " + ".join(parts).replace("+ -", "- ") or "0"


def moving_block(generator: Tensor, symmetry: Symmetry) -> Tensor:
    """Give a generator as far as it moves points; what follows changes the values of images.

    Args:
        generator: Shaped as those of the symmetry's group.
        symmetry: Whose group it is of.
    """
    group = symmetry.group
    if not group.linear:
        return generator
    size = (group.dim or len(generator) - group.affine) + group.affine
    return generator[:size, :size]
