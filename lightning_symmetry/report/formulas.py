"""What was found, in words and formulas: for figures and for the page."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from lightning_symmetry.discovery import Discovery
from lightning_symmetry.discovery.printing import describe_flow, write_generator

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


def algebra_of(discovery: Discovery) -> Any:
    """Give the algebra of what was found; None where nothing was, or nothing can be said of it."""
    return getattr(discovery, "algebra", None) if len(discovery.canonical_names) else None


def write_formulas(discovery: Discovery) -> list[str]:
    """Write each canonical generator as a vector field, such as "x d/dy - y d/dx".

    Args:
        discovery: What was found.

    Returns:
        One formula a generator; empty where there is none, as for what changes the values of images.
    """
    group = discovery.symmetry.group
    return [write_generator(g, _SMALL * float(g.abs().max()) / 2, affine=group.affine) for g in _moving(discovery)]


def describe_flows(discovery: Discovery) -> list[str]:
    """Say in words what the flow of each canonical generator does, such as "rotation, period 2 pi"."""
    return [describe_flow(g, discovery.symmetry.group.affine) for g in _moving(discovery)]


def _moving(discovery: Discovery) -> list[Tensor]:
    """The canonical generators as far as they move points."""
    group = discovery.symmetry.group
    if not group.linear:
        return list(discovery.canonical)
    size = (group.dim or discovery.canonical.shape[-1] - group.affine) + group.affine
    return list(discovery.canonical[:, :size, :size])


def to_mathtext(formula: str) -> str:
    r"""Set a formula as matplotlib does.

    Example:
        >>> to_mathtext("x^2 d/dx - 0.5 x y d/dy")
        '$x^2\\\\,\\\\partial_{x}-0.5\\\\,x\\\\,y\\\\,\\\\partial_{y}$'
    """
    text = re.sub(r"d/d(\w+)", r"\\partial_{\1}", formula)
    text = re.sub(r"\b([a-z])(\d+)\b", r"\1_{\2}", text)
    return "$" + re.sub(r"\s*([+-])\s*", r"\1", text).replace(" ", r"\,") + "$"
