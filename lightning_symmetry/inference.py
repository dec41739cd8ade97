"""What ``auto`` stands for: an action for every tensor, told by its kind, its name and its shape, or a refusal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_symmetry.exceptions import AmbiguousPath
from lightning_symmetry.paths import describe_leaves, find_leaves
from lightning_symmetry.rows import is_structure

_TYPES = {"Image": "image", "Mask": "mask", "BoundingBoxes": "box", "KeyPoints": "keypoints"}
_POINTS = {"pos", "position", "positions", "coord", "coords", "coordinate", "coordinates", "xyz", "point", "points"}
_VECTORS = {"vel", "velocity", "velocities", "force", "forces", "dipole", "dipoles", "momentum", "momenta"}
_LATTICES = {"cell", "cells", "lattice", "lattices"}
_SCALARS = {"z", "charge", "charges", "mass", "masses", "energy", "energies"}


@dataclass(frozen=True)
class Choice:
    """An action that ``auto`` chose for one tensor, and why.

    Args:
        path: Where the tensor lies.
        words: The action as the grammar writes it.
        reason: What told.
    """

    path: str
    words: str
    reason: str

    def __str__(self) -> str:
        """Write it as the grammar does, with the reason."""
        return f"{_write(self.path, self.words)} ({self.reason})"


def choose_actions(tree: Any, side: str, written: Collection[str] = (), answers_images: bool = False) -> list[Choice]:
    """Choose an action for every tensor of a structure.

    By the class of a tensor (images, masks, boxes and key points of tv_tensors), by the name it goes by (``pos``,
    ``velocity``, ``cell``, ``charge``, ... and their like), by shape: four axes of an input are an image, (B,) and
    (B, 1) are scalars, (B, K) answered to an image tell a class; whole numbers are scalars, or labels on the output.
    What says which row belongs to which graph is no data. Anything else, above all a dense output, could move or stay
    with the input, and is refused.

    Args:
        tree: A structure with tensors.
        side: "input" or "output".
        written: Paths whose actions were written out.
        answers_images: Whether the input is an image.

    Returns:
        The choices, in the order of the structure.

    Raises:
        AmbiguousPath: Some tensors leave a choice; they are listed with what to write.
    """
    leaves = {path: leaf for path, leaf in find_leaves(tree).items() if path not in written}
    leaves = {path: leaf for path, leaf in leaves.items() if leaf.numel() and not is_structure(path, leaf)}
    chosen = {path: _choose(path, leaf, side, answers_images) for path, leaf in leaves.items()}
    open_ones = {path: leaf for path, leaf in leaves.items() if chosen[path] is None}
    if open_ones:
        moving, still = (
            ", ".join(_write(path, choice.words if choice else guess(leaves[path])) for path, choice in chosen.items())
            for guess in (lambda leaf: "image" if leaf.ndim == 4 else "vector", lambda leaf: "scalar")
        )
        raise AmbiguousPath(
            got=f"auto for the {side}, whose name and shape do not tell how it moves: {describe_leaves(open_ones)}",
            expected=f"an {side} whose every tensor is plain from its kind, name or shape",
            remedy=f"Write '{moving}' if it moves with the group, '{still}' if it stays as it is.",
        )
    return [choice for choice in chosen.values() if choice is not None]


def _choose(path: str, leaf: Tensor, side: str, answers_images: bool) -> Choice | None:
    name, kind = path.split(".")[-1].lower(), type(leaf)
    size, axes = leaf.shape[-1] if leaf.ndim else 0, leaf.ndim
    if kind.__name__ in _TYPES and "tv_tensors" in kind.__module__:
        return Choice(path, _TYPES[kind.__name__], f"a {kind.__name__} of tv_tensors")
    if leaf.is_complex():
        return None
    if not leaf.is_floating_point():
        return Choice(path, "scalar" if side == "input" else "label", "whole numbers")
    if name in _POINTS and size in (2, 3) and axes > 1:
        return Choice(path, "points", "its name")
    if name in _VECTORS and size in (2, 3, 4) and axes > 1:
        return Choice(path, "vector", "its name")
    if name in _LATTICES and axes > 2 and size == leaf.shape[-2]:
        return Choice(path, "lattice", "its name")
    if name in _SCALARS and (axes < 3 or size == 1) and (side, name) != ("output", "z"):
        return Choice(path, "scalar", "its name")
    if axes < 2 or (axes == 2 and size == 1):
        return Choice(path, "scalar", "one number a row")
    if side == "input" and axes == 4:
        return Choice(path, "image", "four axes, (B, C, H, W)")
    if side == "output" and axes == 2 and answers_images:
        return Choice(path, "label", "(B, K) answered to an image")
    return None


def _write(path: str, words: str) -> str:
    return f"{path}={words}" if path else words
