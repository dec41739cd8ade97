"""What was found, in words and formulas: for figures and for the page."""

from __future__ import annotations

import re

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.discovery.formulas import SMALL, moving_block, name_coordinates, write_field
from lightning_symmetry.discovery.naming import MIXED
from lightning_symmetry.discovery.nature import Algebra
from lightning_symmetry.discovery.printing import describe_flow


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
    return discovery.algebra


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
    return [write_field(g, symmetry, SMALL / 2 * float(g.abs().max())) for g in discovery.canonical]


def describe_flows(discovery: Discovery) -> list[str]:
    """Say in words what the flow of each canonical generator does to points, such as "rotation, period 2 pi"."""
    affine = discovery.symmetry.group.affine
    return [describe_flow(moving_block(g, discovery.symmetry), affine) for g in discovery.canonical]


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
