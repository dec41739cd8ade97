"""What was found, in words and formulas: for figures and for the page."""

from __future__ import annotations

import re

from torch import Tensor

from lightning_symmetry.actions.jet import Jet
from lightning_symmetry.discovery import Discovery
from lightning_symmetry.discovery.algebra import name_algebra
from lightning_symmetry.discovery.naming import MIXED
from lightning_symmetry.discovery.nature import Algebra
from lightning_symmetry.discovery.printing import describe_flow, write_generator
from lightning_symmetry.exceptions import SymmetryError
from lightning_symmetry.symmetry import Symmetry

# Terms that are smaller, relative to the largest, are errors of the fit.
_SMALL = 0.02


def name_found(discovery: Discovery) -> str:
    """Name what was declared: the algebra, or the single generator; empty where nothing was.

    Args:
        discovery: What was found.

    Returns:
        For example "6 generators: so(1,3)".
    """
    count = len(discovery.canonical_names)
    if count <= 1:
        return "".join(discovery.canonical_names)
    algebra = algebra_of(discovery)
    return f"{count} generators" + (f": {algebra.name}" if algebra is not None else "")


def algebra_of(discovery: Discovery) -> Algebra | None:
    """Give the algebra of what was found; None where nothing was, or where it cannot be told."""
    if not discovery.canonical_names:
        return None
    try:
        known: Algebra | None = getattr(discovery, "algebra", None)
        return known or name_algebra(discovery.symmetry.group)
    except SymmetryError:
        # the rest of the report is worth having all the same
        return None


def name_coordinates(symmetry: Symmetry) -> list[str] | None:
    """Name the coordinates of the space that the group acts on, where the input tells; None for x, y, z and so on."""
    for _, action in symmetry.input.moving:
        if isinstance(action, Jet):
            return [*action.independent, *action.dependent]
    return None


def label_axes(dim: int) -> list[str]:
    """Label the axes of pictures as formulas name them.

    Example:
        >>> label_axes(2), label_axes(4)
        (['x', 'y'], ['$x_{0}$', '$x_{1}$', '$x_{2}$', '$x_{3}$'])
    """
    return list("xyz"[:dim]) if dim <= 3 else [to_mathtext(f"x{i}") for i in range(dim)]


def title_of(discovery: Discovery, index: int) -> str:
    """Give a generator's name as a title; its formula where it has none, or where x, y and z would mislead."""
    name = discovery.canonical_names[index]
    misleading = name == MIXED or name_coordinates(discovery.symmetry) is not None
    return write_formulas(discovery)[index] if misleading else name


def write_formulas(discovery: Discovery) -> list[str]:
    """Write each canonical generator as a vector field, such as "x d/dy - y d/dx".

    Args:
        discovery: What was found.

    Returns:
        One formula a generator; v stands for the values of images.
    """
    symmetry = discovery.symmetry
    return [write_field(g, symmetry, _SMALL / 2 * float(g.abs().max())) for g in discovery.canonical]


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
    moving = _moving(generator, symmetry)
    formula = write_generator(moving, error, axes, affine)
    if moving.shape == generator.shape:
        return formula
    size = len(moving)
    values = write_generator(generator[size:, size:], error, ["v"], affine=True)
    parts = [part for part in (formula, values) if part != "0"]
    return " + ".join(parts).replace("+ -", "- ") or "0"


def describe_flows(discovery: Discovery) -> list[str]:
    """Say in words what the flow of each canonical generator does to points, such as "rotation, period 2 pi"."""
    affine = discovery.symmetry.group.affine
    return [describe_flow(_moving(g, discovery.symmetry), affine) for g in discovery.canonical]


def _moving(generator: Tensor, symmetry: Symmetry) -> Tensor:
    """A generator as far as it moves points; what follows changes the values of images."""
    group = symmetry.group
    if not group.linear:
        return generator
    size = (group.dim or len(generator) - group.affine) + group.affine
    return generator[:size, :size]


def to_mathtext(formula: str) -> str:
    r"""Set a formula as matplotlib does.

    Example:
        >>> print(to_mathtext("x0^2 d/dx1 - 1/2 x y d/dy"))
        $x_{0}^{2}\,\partial_{x_{1}} - \frac{1}{2}\,x\,y\,\partial_{y}$
    """
    text = re.sub(r"\^(\w+)", r"^{\1}", formula)
    text = re.sub(r"d/d(\w+)", r"\\partial_{\1}", text)
    text = re.sub(r"\b([A-Za-z])(\d+)", r"\1_{\2}", text)
    text = re.sub(r"\b(\d+)/(\d+)\b", r"\\frac{\1}{\2}", re.sub(r"sqrt\((\d)\)", r"\\sqrt{\1}", text))
    return "$" + re.sub(r"(?<=[\w}]) (?=[\w\\])", r"\\,", text) + "$"
