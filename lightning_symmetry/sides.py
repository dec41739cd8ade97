"""One side of a symmetry: which parts of a structure are moved, and how."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast, final

from torch import Tensor, nn

from lightning_symmetry import actions as kinds
from lightning_symmetry.actions import Action, StillAction
from lightning_symmetry.exceptions import ActionMismatch, AmbiguousPath
from lightning_symmetry.groups import Element
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves
from lightning_symmetry.sentence import read_side


@final
class ActionMap(nn.Module):
    """A map from paths to actions.

    Args:
        actions: Pairs of path and action; a path of ``None`` is inferred from the first structure that is seen.
    """

    def __init__(self, actions: Sequence[tuple[str | None, Action]]) -> None:
        super().__init__()
        self.paths: list[str | None] = [path for path, _ in actions]
        self.actions = nn.ModuleList(action for _, action in actions)

    @property
    def parts(self) -> list[tuple[str | None, Action]]:
        """Every path with its action."""
        return list(zip(self.paths, cast("list[Action]", list(self.actions)), strict=True))

    @property
    def moving(self) -> list[tuple[str, Action]]:
        """The parts that really move: scalars and labels stay as they are, wherever they lie."""
        return [(path or "", action) for path, action in self.parts if not isinstance(action, StillAction)]

    @property
    def sentence(self) -> str:
        """This side as the grammar writes it."""
        return ", ".join(f"{path}={action.sentence}" if path else action.sentence for path, action in self.parts)

    def infer(self, tree: Any, side: str) -> None:
        """Find the path of every moving action that has none yet.

        Args:
            tree: A structure with tensors.
            side: "input" or "output", for messages.

        Raises:
            AmbiguousPath: No tensor fits, or several do; what exists is listed.
            ActionMismatch: The tensor at a given path is not what its action moves.
        """
        taken = {path for path in self.paths if path is not None}
        for index, (path, action) in enumerate(self.parts):
            if isinstance(action, StillAction):
                continue
            if path is not None:
                action.check(get_leaf(tree, path))
                continue
            leaves = find_leaves(tree)
            fitting = [p for p, leaf in leaves.items() if p not in taken and _fits(action, leaf)]
            if len(fitting) != 1:
                if len(leaves) == 1:
                    action.check(next(iter(leaves.values())))
                what = f"the {side}'s {action.sentence!r}"
                raise AmbiguousPath(
                    got=f"{len(fitting)} tensors that could be {what} ({describe_leaves(tree)})",
                    expected="exactly one",
                    remedy=f"Name it, for example '{fitting[0] if fitting else 'x'}={action.sentence}'.",
                )
            self.paths[index] = fitting[0]
            taken.add(fitting[0])

    def move(self, g: Element, tree: Any) -> Any:
        """Move every part by its action; the rest is passed on untouched."""
        return replace_leaves(tree, {path: action.act(g, get_leaf(tree, path)) for path, action in self.moving})

    def repeat(self) -> ActionMap:
        """Make the map that ``same`` stands for on the output.

        Raises:
            AmbiguousPath: Not exactly one part moves.
        """
        if len(self.moving) != 1:
            raise AmbiguousPath(
                got=f"'same' for an input with {len(self.moving)} moving parts",
                expected="exactly one",
                remedy="Write the output's action out.",
            )
        return ActionMap([(None, copy.deepcopy(self.moving[0][1]))])


Side = str | Action | ActionMap | Mapping[str, "str | Action"]


def build_side(side: Any) -> ActionMap:
    """Read one side from words, an action, or a mapping from paths to either.

    Raises:
        SentenceError, UnknownName: A part cannot be read; what exists is listed.

    Example:
        >>> build_side("pos=points, z=scalar").sentence, build_side({"v": "vector(2)"}).sentence
        ('pos=points, z=scalar', 'v=vector(2)')
    """
    if isinstance(side, ActionMap):
        return side
    if isinstance(side, str):
        side = read_side(side)
    elif isinstance(side, Action):
        side = [(None, side)]
    elif isinstance(side, Mapping):
        side = side.items()
    return ActionMap([(path, kinds.by_name(item) if isinstance(item, str) else item) for path, item in side])


def _fits(action: Action, leaf: Tensor) -> bool:
    try:
        action.check(leaf)
    except ActionMismatch:
        return False
    return True
