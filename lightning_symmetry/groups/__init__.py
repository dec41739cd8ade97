"""Groups: what may happen to a space. Elements move points; groups make elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_symmetry.groups.base import Group, KnownGroup, LateParameters
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
from lightning_symmetry.groups.given import Given
from lightning_symmetry.groups.learned import Learned
from lightning_symmetry.groups.naming import build_by_name
from lightning_symmetry.groups.permutations import Permutation, Permutations

__all__ = [
    "GL",
    "SE",
    "SL",
    "SO",
    "Affine",
    "AffineMap",
    "AnisotropicScaling",
    "Cyclic",
    "Dihedral",
    "E",
    "Element",
    "Given",
    "Group",
    "KnownGroup",
    "LateParameters",
    "Learned",
    "Lorentz",
    "O",
    "Permutation",
    "Permutations",
    "Scale",
    "Symplectic",
    "Translation",
    "as_element",
    "by_name",
]


def _learned(count: int | None = None, dim: int | None = None, **settings: Any) -> Learned:
    return Learned(dim, count, **settings)


_TABLE: dict[str, Callable[..., Group]] = {
    "so": SO,
    "o": O,
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
}


def by_name(name: str, *args: Any, **kwargs: Any) -> Group:
    """Make a group from its name, or from a sentence such as ``"SO(2)"``.

    Args:
        name: Case does not matter; ``D4`` is Dihedral(4), ``C4`` Cyclic(4); the first number of ``learned`` is its
            count of generators; a dotted name imports a class.
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
    """
    return build_by_name(name, _TABLE, Group, *args, **kwargs)
