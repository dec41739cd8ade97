"""Actions: how elements move one kind of data, one file a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_symmetry.actions.base import Action, StillAction
from lightning_symmetry.actions.box import Box
from lightning_symmetry.actions.edges import Edges
from lightning_symmetry.actions.escnn import Rep
from lightning_symmetry.actions.field import Field
from lightning_symmetry.actions.image import Image
from lightning_symmetry.actions.index import Index
from lightning_symmetry.actions.jet import Jet
from lightning_symmetry.actions.keypoints import Keypoints
from lightning_symmetry.actions.label import Label
from lightning_symmetry.actions.lattice import Lattice
from lightning_symmetry.actions.mask import Mask
from lightning_symmetry.actions.nodes import Nodes
from lightning_symmetry.actions.points import Points
from lightning_symmetry.actions.pseudoscalar import Pseudoscalar
from lightning_symmetry.actions.pseudovector import Pseudovector
from lightning_symmetry.actions.representation import Representation
from lightning_symmetry.actions.scalar import Scalar
from lightning_symmetry.actions.tensors import Tensors
from lightning_symmetry.actions.tokens import Tokens
from lightning_symmetry.actions.vector import Vector
from lightning_symmetry.actions.velocity import Velocity
from lightning_symmetry.groups.naming import build_by_name

__all__ = [
    "Action",
    "Box",
    "Edges",
    "Field",
    "Image",
    "Index",
    "Jet",
    "Keypoints",
    "Label",
    "Lattice",
    "Mask",
    "Nodes",
    "Points",
    "Pseudoscalar",
    "Pseudovector",
    "Rep",
    "Representation",
    "Scalar",
    "StillAction",
    "Tensors",
    "Tokens",
    "Vector",
    "Velocity",
    "by_name",
]


def _field(fibre: str | Action | None = None, **settings: Any) -> Field:
    if isinstance(fibre, str):
        fibre = None if fibre == "vector" else by_name(fibre)
    return Field(fibre, **settings)


_TABLE: dict[str, Callable[..., Action]] = {
    "scalar": Scalar,
    "label": Label,
    "vector": Vector,
    "points": Points,
    "image": Image,
    "mask": Mask,
    "field": _field,
    "tokens": Tokens,
    "tensors": Tensors,
    "box": Box,
    "keypoints": Keypoints,
    "pseudovector": Pseudovector,
    "pseudoscalar": Pseudoscalar,
    "lattice": Lattice,
    "nodes": Nodes,
    "edges": Edges,
    "index": Index,
    "rep": Rep,
    "learned": Representation,
    "representation": Representation,
    "velocity": Velocity,
    "jet": Jet,
}


def by_name(name: str, *args: Any, **kwargs: Any) -> Action:
    """Make an action from its name, or from words such as ``"vector(3)"``.

    Args:
        name: "scalar", "label" (a class, told by logits), "vector", "pseudovector", "pseudoscalar", "tensors" (of
            several ranks), "points", "lattice", "velocity" (a vector at a point), "jet" (derivatives of a function); on
            images "image", "mask", "field", "tokens", "box", "keypoints"; on sets and graphs "nodes", "edges", "index";
            "rep" (of escnn), "learned"; case does not matter; a dotted name imports a class.
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
