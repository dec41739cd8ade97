"""From a symmetry to escnn: the space and the types of fields from which equivariant networks are built."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry import groups
from lightning_symmetry.actions import (
    Action,
    Field,
    Image,
    Mask,
    Points,
    Pseudoscalar,
    Pseudovector,
    Rep,
    StillAction,
    Vector,
)
from lightning_symmetry.actions.escnn import demand_escnn
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import AffineMap, Group
from lightning_symmetry.groups.compact import Compact, read_compact
from lightning_symmetry.sides import ActionMap
from lightning_symmetry.symmetry import Symmetry

_SAMPLES = 8
"""Elements in general position that fix a change of basis; finite groups take all of theirs."""


@final
@dataclass(frozen=True, eq=False)
class Steering:
    """What escnn needs in order to build a symmetry into a network.

    The representations of the types are those of the symmetry's own actions, in the data's own coordinates, whatever
    the basis in which its generators turn: nothing has to be moved first but the centre.

    Args:
        compact: Which group it is, in which basis and about which centre; its ``centre`` has to be subtracted from
            positions, and with ``translations`` the mean of the points.
        space: escnn's GSpace: of the plane where images are moved, else without a base space.
        input: escnn's FieldType of every part of the input, in the order of the sentence; empty for a bare group.
        output: Likewise of the output.
    """

    compact: Compact
    space: Any
    input: tuple[Any, ...] = ()
    output: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The group: "C4", "D4", "SO(2)", "O(2)", "SO(3)" or "O(3)"; "C1" is the trivial one."""
        return self.compact.name


def to_escnn(
    symmetry: Symmetry | Group | str | Path,
    inputs: int | Sequence[int] = 1,
    outputs: int | Sequence[int] = 1,
    frequency: int = 3,
    cosine: float = 0.99,
) -> Steering:
    """Translate a symmetry to escnn, so that it can be built in hard.

    The group is read off its generators and its finite part (see `read_compact`), so that learnt and discovered ones
    do as well as known ones, in any basis and, for points, about any centre. scalar, label, image and mask become
    trivial representations, vector, points and field standard ones, pseudoscalar and pseudovector those with the sign
    of the mirror. Vectors beside images are in the image's coordinates, y down, as everywhere here.

    escnn has compact groups: translations of images come free with convolutions, those of points with subtracting
    their mean; scalings, shears, boosts and permutations it has not.

    Args:
        symmetry: Of any description that `Symmetry.of` takes, as the folder of a discovery; or a group alone.
        inputs: Number of fields of every part of the input: channels of an image, vectors of a row.
        outputs: Likewise of the output: numbers of a scalar, classes of a label.
        frequency: The highest that kernels or features are going to have, for continuous groups.
        cosine: Least principal cosine between its generators and those that they are taken for.

    Returns:
        The space and the types.

    Raises:
        InvalidSetting: escnn is missing, or has no such group or action; it says why, and what to do instead.

    Example:
        >>> steering = to_escnn("O(3) on vector -> pseudovector")  # doctest: +SKIP
        >>> steering.name, [irrep for r in steering.output[0] for irrep in r.irreps]  # doctest: +SKIP
        ('O(3)', [(0, 1)])
    """
    what = f"to_escnn({str(getattr(symmetry, 'sentence', symmetry))[:80]!r})"
    escnn = demand_escnn(what)
    stated = symmetry if isinstance(symmetry, (Symmetry, Group)) else Symmetry.of(symmetry)
    if isinstance(stated, Group):
        compact = read_compact(stated, cosine)
        dim = len(compact.change)
        return Steering(compact, _find_space(escnn, compact, dim if dim in (2, 3) else 0, frequency))
    parts = [action for _, action in stated.input.parts]
    grid = any(isinstance(action, (Image, Mask, Field)) for action in parts)
    compact = read_compact(_give_dimension(stated, grid), cosine)
    if grid and not compact.is_plain:
        place = "about another point" if compact.centre is not None else "along ellipses or other mirrors"
        raise InvalidSetting(
            f"{stated.name}, which turns images {place}",
            "rotations about the middle of the image that keep lengths",
            "Crop or resample the images so that it is.",
        )
    space = _find_space(escnn, compact, 2 if grid else 0, frequency)
    types = [
        _type_side(escnn, space, compact, side, counts, grid)
        for side, counts in ((stated.input, inputs), (stated.output, outputs))
    ]
    return Steering(compact, space, *types)


def _give_dimension(symmetry: Symmetry, grid: bool) -> Group:
    """Find the group that moves the space, in the dimension that the sentence implies where it leaves it open."""
    group = symmetry.group
    if group.dim is None:
        dims = [getattr(action, "dim", None) for _, action in (*symmetry.input.parts, *symmetry.output.parts)]
        group = copy.deepcopy(group).bind(2 if grid else next((d for d in dims if d is not None), None))
    return group


def _find_space(escnn: Any, compact: Compact, dim: int, frequency: int) -> Any:
    """Make the GSpace of the plane (dim = 2), of space (3), or without a base (0)."""
    name, gspaces, own = compact.name, escnn.gspaces, escnn.group
    order = int(name[1:]) if name[1:].isdigit() else -1
    # products of irreps have up to twice their frequency, and escnn finds only those that exist
    frequency *= 2
    if dim == 2:
        turns = gspaces.flipRot2dOnR2 if name[0] in "DO" else gspaces.rot2dOnR2
        return turns(order) if order > 0 else turns(-1, maximum_frequency=frequency)
    if dim == 3 and order < 0 and name.endswith("(3)"):
        turns = gspaces.flipRot3dOnR3 if name[0] == "O" else gspaces.rot3dOnR3
        return turns(maximum_frequency=frequency)
    if order > 0:
        return gspaces.no_base_space((own.dihedral_group if name[0] == "D" else own.cyclic_group)(order))
    return gspaces.no_base_space(getattr(own, f"{name[:-3].lower()}{name[-2]}_group")(frequency))


def _type_side(
    escnn: Any, space: Any, compact: Compact, side: ActionMap, counts: int | Sequence[int], grid: bool
) -> tuple[Any, ...]:
    actions = [action for _, action in side.parts]
    numbers = [counts] * len(actions) if isinstance(counts, int) else list(counts)
    if len(numbers) != len(actions) or any(n < 1 for n in numbers):
        raise InvalidSetting(
            f"{numbers} for the {len(actions)} parts of {side.sentence!r}",
            "a positive number of fields for every part",
            "An image has as many as channels, a row of n vectors has n.",
        )
    kinds = [_represent(escnn, space.fibergroup, compact, action, grid) for action in actions]
    return tuple(escnn.nn.FieldType(space, [kind] * n) for kind, n in zip(kinds, numbers, strict=True))


def _represent(escnn: Any, group: Any, compact: Compact, action: Action, grid: bool) -> Any:
    """Find escnn's representation with the matrices of an action, in the data's coordinates."""
    if isinstance(action, Field) and action.fibre is not None:
        return _represent(escnn, group, compact, action.fibre, grid)
    if isinstance(action, (StillAction, Image, Mask)):
        return group.trivial_representation
    name, ids = compact.name, _list_irreps(compact)
    known = groups.by_name(name if name[0] in "CD" else f"{name[:-3]}({name[-2]})").double()
    finite, rng = known.discrete, Rng(0)
    if known.count:
        drawn = known.draw(3 * rng.normal(_SAMPLES, 1, known.count, dtype=torch.float64), rng)
    else:
        drawn = finite if finite is not None else AffineMap.identity(1, 2, dtype=torch.float64)
    h = drawn.linear  # type: ignore[attr-defined]
    matrices, sign = compact.represent(h), torch.linalg.det(h).sign()[:, None, None]
    mirrored = name[0] in "DO"
    if isinstance(action, Pseudoscalar):
        return _find_irrep(group, (1, 0)) if mirrored else group.trivial_representation
    if isinstance(action, Pseudovector) and mirrored:
        matrices, ids = sign * matrices, [(0, 1)]
    elif not isinstance(action, (Vector, Points, Field, Pseudovector)):
        raise InvalidSetting(
            f"{action.sentence!r}, which has no words here for escnn",
            "scalar, label, vector, points, pseudoscalar, pseudovector, image, mask or field",
            "Build its representation with escnn.group.",
        )
    axes = "escnn" if grid else "image"
    action_of_irreps = Rep(name, ids, axes=axes).double()
    eye = torch.eye(action_of_irreps.size, dtype=torch.float64).expand(len(h), -1, -1)
    basis = _intertwine(matrices, action_of_irreps.act(h, eye).mT)
    pieces = [_find_irrep(group, i) for i in ids]
    plain = f"{action.sentence.partition('(')[0]} of {name}"
    words = plain if compact.is_plain else f"{plain}, basis {compact.change.round(decimals=6).tolist()}"
    return escnn.group.directsum(pieces, change_of_basis=basis.numpy(), name=words)


def _find_irrep(group: Any, word: Any) -> Any:
    """Find an irrep by the id of `Rep`; on the plane escnn has the group of a single mirror as a cyclic one."""
    words = word if isinstance(word, tuple) else (word,)
    return group.irrep(*words) if len(group.irreps()[0].id) == len(words) else group.irrep(words[0])


def _list_irreps(compact: Compact) -> list[Any]:
    """List the irreps of escnn that make up the data's own space."""
    name, dim = compact.name, len(compact.change)
    if name == "SO(2)":
        return [*compact.speeds, *[0] * (dim - 2 * len(compact.speeds))]
    few: dict[str, list[Any]] = {"C1": [0] * dim, "C2": [1, 1], "D1": [(0, 0), (1, 0)], "D2": [(0, 1), (1, 1)]}
    return few.get(name, [(1, 1)] if name[0] in "DO" else [1])


def _intertwine(matrices: Tensor, own: Tensor) -> Tensor:
    """Find the basis B with ``matrices B = B own``, orthogonal where both are: (m, D, D) to (D, D)."""
    size = own.shape[-1]
    eye = torch.eye(size, dtype=own.dtype)
    pairs = zip(matrices, own.mT.contiguous(), strict=True)
    equations = torch.cat([torch.kron(a, eye) - torch.kron(eye, b) for a, b in pairs])
    _, values, rows = torch.linalg.svd(equations, full_matrices=True)
    kept = rows[int((values > 1e-6).sum()) :]
    # the nearest to the identity where that is invertible, else any in general position
    basis = (eye.flatten() @ kept.mT @ kept).reshape(size, size)
    if float(torch.linalg.svdvals(basis)[-1]) < 0.1:
        basis = (Rng(1).normal(len(kept), dtype=own.dtype) @ kept).reshape(size, size)
    left, sizes, right = torch.linalg.svd(basis)
    orthogonal = float((matrices.mT @ matrices - eye).abs().max()) < 1e-6
    return left @ right if orthogonal else basis / sizes.log().mean().exp()
