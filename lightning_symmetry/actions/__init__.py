"""Actions: how elements move one kind of data, one file a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_symmetry.actions.base import Action, StillAction
from lightning_symmetry.actions.image import Image
from lightning_symmetry.actions.label import Label
from lightning_symmetry.actions.points import Points
from lightning_symmetry.actions.representation import Representation
from lightning_symmetry.actions.scalar import Scalar
from lightning_symmetry.actions.vector import Vector
from lightning_symmetry.groups.naming import build_by_name

__all__ = ["Action", "Image", "Label", "Points", "Representation", "Scalar", "StillAction", "Vector", "by_name"]

_TABLE: dict[str, Callable[..., Action]] = {
    "scalar": Scalar,
    "label": Label,
    "vector": Vector,
    "points": Points,
    "image": Image,
    "mask": Image,
    "learned": Representation,
    "representation": Representation,
}


def by_name(name: str, *args: Any, **kwargs: Any) -> Action:
    """Make an action from its name, or from words such as ``"vector(3)"``.

    Args:
        name: "scalar", "label" (a class, told by logits), "vector", "points", "image" or "mask" (values on the pixels),
            "learned"; case does not matter; a dotted name imports a class.
        *args: For its constructor.
        **kwargs: For its constructor.

    Returns:
        The action.

    Raises:
        UnknownName: Nothing has that name; close matches are listed.
        SentenceError: The arguments cannot be read or do not fit.

    Example:
        >>> by_name("label").sentence, by_name("vector", 3).sentence
        ('label', 'vector(3)')
    """
    return build_by_name(name, _TABLE, Action, *args, **kwargs)
