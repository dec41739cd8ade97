"""Which transformations are looked at where nobody named them: all of a kind that the data can be moved by."""

from __future__ import annotations

from typing import Any

from lightning_symmetry.actions import Action, Image
from lightning_symmetry.exceptions import AmbiguousPath, InvalidSetting
from lightning_symmetry.groups import Learned, PolynomialField
from lightning_symmetry.inference import choose_actions
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.sides import build_side
from lightning_symmetry.symmetry import Symmetry

# A vector of n numbers has n^2 candidates, and an unknown matrix on the output for each.
LONGEST_VECTOR = 12


def widen_group(symmetry: Symmetry) -> Symmetry:
    """Put everything that a learnt group could become in its place: fixed generators, all of them.

    Args:
        symmetry: Known ones are returned as they are.

    Returns:
        A symmetry with the affine group, GL where nothing is translated, or all monomial fields of the learnt degree.

    Raises:
        InvalidSetting: The group has no generators, or is a product with a learnt factor.

    Example:
        >>> widen_group(Symmetry.parse("image -> label")).sentence
        'affine on image -> label'
    """
    group = symmetry.group
    if not group.learnable:
        return symmetry
    if isinstance(group, PolynomialField):
        over = f"polynomials({group.degree})"
    elif isinstance(group, Learned):
        over = _name_group([action for _, action in symmetry.input.moving])
    else:
        raise InvalidSetting(
            got=f"{group.sentence}, of which a part is learnt",
            expected="fixed generators to choose from",
            remedy="Name the group, for example 'affine' or 'GL'.",
        )
    name = None if symmetry.name == Symmetry.parse(symmetry.sentence).name else symmetry.name
    return Symmetry(over, symmetry.input.written, symmetry.output.written, name)


def suggest_symmetry(x: Any, y: Any) -> Symmetry:
    """Choose what to look for in a network by the kind of its data, where nothing was said.

    Images and points are moved by the affine group, short vectors by GL. What is said of the output is
    `choose_actions`' choice; an answer that is a vector may change by any matrix, which is found with each generator.

    Args:
        x: Input structure.
        y: What the network answers.

    Returns:
        The symmetry, not bound yet.

    Raises:
        AmbiguousPath: The data leave a choice.

    Example:
        >>> import torch
        >>> suggest_symmetry({"x": torch.zeros(5, 2)}, torch.zeros(5, 3)).sentence
        'GL on vector -> learned'
    """
    input = _choose(x, "input", "vector", LONGEST_VECTOR)
    moving = [action for _, action in build_side(input).moving]
    if not moving:
        raise AmbiguousPath(
            got=f"an input in which nothing moves ({input})",
            expected="an image, points or a vector",
            remedy='Say what moves, for example "GL on x=vector -> scalar".',
        )
    output = _choose(y, "output", "learned", None, any(isinstance(action, Image) for action in moving))
    return Symmetry(_name_group(moving), input, output)


def _name_group(moving: list[Action]) -> str:
    return "affine" if any(action.affine for action in moving) else "GL"


def _choose(tree: Any, side: str, dense: str, longest: int | None, answers_images: bool = False) -> str:
    """Write one side; of a single tensor of numbers (B, n), ``dense``."""
    try:
        choices = choose_actions(tree, side, (), answers_images)
    except AmbiguousPath:
        ((path, leaf), *others) = find_leaves(tree).items()
        if others or leaf.ndim != 2 or not leaf.is_floating_point() or leaf.shape[1] > (longest or leaf.shape[1]):
            raise
        return dense
    if len(choices) == 1:
        return choices[0].words
    return ", ".join(f"{choice.path}={choice.words}" for choice in choices)
