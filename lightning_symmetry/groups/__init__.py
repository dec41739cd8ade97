"""Groups: what may happen to a space. Elements move points; groups make elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_symmetry.exceptions import SentenceError
from lightning_symmetry.groups.axial import About, Tilts
from lightning_symmetry.groups.base import Group, LateParameters
from lightning_symmetry.groups.classical import (
    GL,
    SE,
    SL,
    SO,
    Affine,
    AnisotropicScaling,
    E,
    Lorentz,
    O,
    Scale,
    Symplectic,
    Translation,
)
from lightning_symmetry.groups.discrete import Cyclic, Dihedral
from lightning_symmetry.groups.element import AffineMap, Element, as_element
from lightning_symmetry.groups.flow import Flow, Velocity
from lightning_symmetry.groups.given import Given
from lightning_symmetry.groups.intensity import Intensity
from lightning_symmetry.groups.known import KnownGroup
from lightning_symmetry.groups.learned import Learned
from lightning_symmetry.groups.naming import build_by_name, split_outside_brackets
from lightning_symmetry.groups.parts import ProductElement, ValueMap
from lightning_symmetry.groups.permutations import Permutation, Permutations
from lightning_symmetry.groups.polynomial import PolynomialField
from lightning_symmetry.groups.product import Product, Union

__all__ = [
    "GL",
    "SE",
    "SL",
    "SO",
    "About",
    "Affine",
    "AffineMap",
    "AnisotropicScaling",
    "Cyclic",
    "Dihedral",
    "E",
    "Element",
    "Flow",
    "Given",
    "Group",
    "Intensity",
    "KnownGroup",
    "LateParameters",
    "Learned",
    "Lorentz",
    "O",
    "Permutation",
    "Permutations",
    "PolynomialField",
    "Product",
    "ProductElement",
    "Scale",
    "Symplectic",
    "Tilts",
    "Translation",
    "Union",
    "ValueMap",
    "Velocity",
    "as_element",
    "by_name",
    "restore",
]


def _learned(count: int | None = None, dim: int | None = None, **settings: Any) -> Learned:
    return Learned(dim, count, **settings)


def _polynomials(
    degree: int = 2, dim: int | None = None, affine: bool | None = None, radius: float | None = None
) -> PolynomialField:
    return PolynomialField(degree, dim, count="all", affine=affine, radius=radius)


_TABLE: dict[str, Callable[..., Group]] = {
    "so": SO,
    "o": O,
    "about": About,
    "tilts": Tilts,
    "se": SE,
    "e": E,
    "gl": GL,
    "sl": SL,
    "scale": Scale,
    "translation": Translation,
    "affine": Affine,
    "anisotropicscaling": AnisotropicScaling,
    "lorentz": Lorentz,
    "symplectic": Symplectic,
    "sp": Symplectic,
    "c": Cyclic,
    "cyclic": Cyclic,
    "d": Dihedral,
    "dihedral": Dihedral,
    "learned": _learned,
    "given": Given,
    "permutations": Permutations,
    "s": Permutations,
    "intensity": Intensity,
    "polynomialfield": PolynomialField,
    "polynomials": _polynomials,
}
_JOINS: dict[str, Callable[..., Group]] = {"|": Union, "*": Product}


def by_name(name: str, *args: Any, **kwargs: Any) -> Group:
    """Make a group from its name, or from a sentence such as ``"SO(2) * scale"``.

    Names, d being the dimension, which may be left out: ``SO(d)`` rotations, ``O(d)`` with mirrors; ``about(z)``
    rotations of space about an axis, ``about(z, mirrors=True)`` with the mirrors that contain it, ``tilts(z)`` the
    rotations about the axes across it, for x, y, z or a vector such as ``[0, 1, 0]``; ``SE(d)`` rigid motions, ``E(d)``
    with mirrors; ``GL(d)``, ``SL(d)``, ``affine(d)``; ``scale(d)``, ``anisotropic_scaling(d)``;
    ``translation(d)``; ``lorentz(d)``; ``symplectic(d)`` or ``sp(d)``; ``C4`` or ``cyclic(4)``, ``D4`` or
    ``dihedral(4)`` in the plane; ``permutations(N)`` or ``s(N)`` of N nodes; ``intensity``, contrast and brightness of
    images; ``learned(K)`` with K generators to be learnt; ``given(basis or file)``; ``polynomial_field(degree)``,
    vector fields to be learnt; ``polynomials(degree)``, all monomial vector fields. Operators: ``a * b`` is the
    product, ``a | b`` the union, from which a draw takes one member; ``*`` binds tighter, brackets group.

    Args:
        name: Case, ``_`` and ``-`` do not matter; a dotted name imports a class.
        *args: For its constructor.
        **kwargs: For its constructor.

    Returns:
        The group.

    Raises:
        UnknownName: Nothing has that name; close matches are listed.
        SentenceError: The arguments cannot be read or do not fit.

    Example:
        >>> by_name("so", 3).count, by_name("D4").sentence, by_name("learned(3, blocks=2)").sentence
        (3, 'D4', 'learned(3, blocks=2)')
        >>> by_name("(SO(2) | scale) * translation").count
        4
    """
    for symbol, join in _JOINS.items():
        parts = split_outside_brackets(name, symbol)
        if len(parts) > 1:
            if args or kwargs:
                raise SentenceError(f"arguments for {name!r}", "none", "Give every factor its own, in brackets.")
            return join([by_name(part) for part in parts])
    words = name.strip()
    if words.startswith("(") and words.endswith(")"):
        return by_name(words[1:-1], *args, **kwargs)
    return build_by_name(name, _TABLE, Group, *args, symbols=("x", "y", "z"), **kwargs)


def restore(saved: Mapping[str, Any]) -> Group:
    """Make a group from what ``Group.dump`` wrote.

    Args:
        saved: Plain values and tensors.

    Returns:
        The group, its generators fixed.

    Raises:
        KeyError: A part is missing.

    Example:
        >>> restore(by_name("learned(1, dim=2, affine=False) * scale").dump()).sentence.endswith("* scale")
        True
    """
    if "factors" in saved:
        return _JOINS[saved["symbol"]]([restore(part) for part in saved["factors"]])
    if saved["sentence"] == "given":
        return Given(saved["basis"], affine=bool(saved["affine"]), values=bool(saved.get("values")))
    if "coefficients" in saved:
        settings = {key: saved[key] for key in ("degree", "radius", "coefficients")}
        return PolynomialField(**settings)
    return by_name(saved["sentence"])
