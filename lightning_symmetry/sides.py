"""One side of a symmetry: which parts of a structure are moved, and how."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from lightning_symmetry import actions as kinds
from lightning_symmetry.actions import Action, StillAction
from lightning_symmetry.exceptions import ActionMismatch, AmbiguousPath, SentenceError
from lightning_symmetry.groups import Element
from lightning_symmetry.inference import Choice, choose_actions
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.sentence import read_side

AUTO = "auto"
"""The word for a side whose actions, or further actions, are chosen by `choose_actions`."""


@final
class ActionMap(nn.Module):
    """A map from paths to actions.

    Args:
        actions: Pairs of path and action; a path of ``None`` is inferred from the first structure that is seen.
        auto: Whether the tensors that are not named are given actions too.
    """

    def __init__(self, actions: Sequence[tuple[str | None, Action]], auto: bool = False) -> None:
        super().__init__()
        self.paths: list[str | None] = [path for path, _ in actions]
        self.actions = nn.ModuleList(action for _, action in actions)
        self.auto = auto
        self.choices: list[Choice] = []
        self._inferred: set[int] = set()

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
        words = [f"{path}={action.sentence}" if path else action.sentence for path, action in self.parts]
        return ", ".join([*words, AUTO] if self.auto else words)

    @property
    def words(self) -> str | dict[str, str]:
        """This side as plain values that can be edited: paths to actions, or a sentence where a part has no path."""
        if self.auto or not all(self.paths):
            return self.sentence
        return {str(path): action.sentence for path, action in self.parts}

    @property
    def written(self) -> str:
        """This side as it was written: paths that were left out stay out, for data of another form."""
        words = [
            f"{path}={action.sentence}" if path and index not in self._inferred else action.sentence
            for index, (path, action) in enumerate(self.parts)
        ]
        return ", ".join([*words, AUTO] if self.auto else words)

    def reopen(self, tree: Any) -> bool:
        """Forget the paths that were inferred, where a structure of another form lacks one of them.

        Args:
            tree: A structure with tensors.

        Returns:
            Whether there is something to infer again.
        """
        if all(_has(tree, str(self.paths[index])) for index in self._inferred):
            return False
        for index in self._inferred:
            self.paths[index] = None
        self._inferred = set()
        return True

    def infer(self, tree: Any, side: str, answers_images: bool = False) -> None:
        """Find the path of every moving action that has none yet, and the actions that ``auto`` stands for.

        Args:
            tree: A structure with tensors.
            side: "input" or "output".
            answers_images: Whether this is the output for an input of images.

        Raises:
            AmbiguousPath: No tensor fits, or several do; what exists is listed.
            ActionMismatch: The tensor at a given path is not what its action moves.
        """
        taken = {path for path in self.paths if path is not None}
        for index, (path, action) in enumerate(self.parts):
            if path is not None:
                _check(action, path, get_leaf(tree, path))
                continue
            if isinstance(action, StillAction):
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
            self._inferred.add(index)
            taken.add(fitting[0])
        if self.auto:
            self.choices = choose_actions(tree, side, taken, answers_images)
            self.paths += [choice.path for choice in self.choices]
            self.actions.extend(kinds.by_name(choice.words) for choice in self.choices)
            self.auto = False

    def move(self, g: Element, tree: Any, rows: Rows) -> Any:
        """Move every part by its action; the rest is passed on untouched.

        Args:
            g: B elements, or one for all.
            tree: A structure with tensors.
            rows: Which of the B samples their rows belong to.
        """
        moved = {}
        for path, action in self.moving:
            leaf = get_leaf(tree, path)
            # in a batch of graphs whole numbers name nodes, which are not reordered
            if leaf.is_floating_point() or not rows.are_ragged:
                moved[path] = action.act(rows.spread(g, len(leaf), path), leaf)
        return replace_leaves(tree, moved)

    @property
    def attached(self) -> bool:
        """Whether any part is of vectors attached to points of the input."""
        return any(action.attached for _, action in self.moving)

    def attach(self, points: Tensor, tree: Any) -> Any:
        """Stack the points under the vectors of an output that are attached to them.

        Args:
            points: (B, ..., d), of the input.
            tree: A structure with tensors, the vectors among them, each of the shape of the points.

        Returns:
            The structure, with (B, 2, ..., d) in the place of vectors.

        Raises:
            AmbiguousPath: It is not clear which tensor holds the vectors.
        """
        leaves, stacked = find_leaves(tree), {}
        for path, action in self.parts:
            if action.attached:
                fitting = [p for p, leaf in leaves.items() if path in (None, p) and leaf.shape == points.shape]
                if len(fitting) != 1:
                    raise AmbiguousPath(
                        got=f"{len(fitting)} tensors of the shape {tuple(points.shape)} ({describe_leaves(tree)})",
                        expected=f"one, which is the output's {action.sentence!r}",
                        remedy=f"Return a vector for each point; name it, for example 'x={action.sentence}'.",
                    )
                stacked[fitting[0]] = torch.stack((points, leaves[fitting[0]].to(points)), 1)
        return replace_leaves(tree, stacked)

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
    """Read one side from words, an action, a mapping from paths to either, or a list of words.

    Args:
        side: ``"pos=points, auto"`` chooses actions for what is not named, see `choose_actions`.

    Raises:
        SentenceError, UnknownName: A part cannot be read; what exists is listed.

    Example:
        >>> build_side("pos=points, z=scalar").sentence, build_side({"v": "vector(2)"}).sentence
        ('pos=points, z=scalar', 'v=vector(2)')
    """
    if isinstance(side, ActionMap):
        return side
    items: list[tuple[str | None, Any]]
    if isinstance(side, Mapping):
        items = [(str(path), item) for path, item in side.items()]
    elif isinstance(side, Sequence) and not isinstance(side, str):
        items = [pair for item in side for pair in (read_side(item) if isinstance(item, str) else [item])]
    else:
        items = read_side(side) if isinstance(side, str) else [(None, side)]
    parts = [
        (path, kinds.by_name(item) if isinstance(item, str) else item)
        for path, item in items
        if (path, item) != (None, AUTO)
    ]
    for path, part in parts:
        if not isinstance(part, Action):
            raise SentenceError(
                got=f"{part!r} for {path!r}" if path else f"{part!r} for a side",
                expected="the words of an action such as 'vector(3)', or a mapping from paths to such words",
                remedy="For example 'pos=points, z=scalar', or {'pos': 'points', 'z': 'scalar'}.",
            )
    return ActionMap(parts, auto=(None, AUTO) in items)


def _has(tree: Any, path: str) -> bool:
    try:
        return isinstance(get_leaf(tree, path), Tensor)
    except AmbiguousPath:
        return False


def _check(action: Action, path: str, leaf: Any) -> None:
    if isinstance(leaf, Tensor):
        action.check(leaf)
    elif not isinstance(action, StillAction):
        raise ActionMismatch(
            got=f"{leaf!r} at {path!r} for {action.sentence!r}",
            expected="a tensor",
            remedy="Name one, or leave this part out.",
        )


def _fits(action: Action, leaf: Tensor) -> bool:
    try:
        action.check(leaf)
    except ActionMismatch:
        return False
    return True
