"""Representations of escnn's groups. Only this file imports escnn: others ask it for the module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, write_words
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.harmonics import circular_functions, find_couplings, wigner_functions
from lightning_symmetry.functional.precision import apply_matrix
from lightning_symmetry.groups import SO, Element, Group

_NAME = re.compile(r"^(?:(?P<kind>[CD])(?P<order>[1-9]\d*)|(?P<whole>S?O)\((?P<dim>[23])\))$")
_SLACK = 1e-3
"""How far a matrix may lie from the group: elements are float32, and angles from data are rounded."""


@final
class Rep(Action):
    """The last axis is a vector of a representation of C_n, D_n, SO(2), O(2), SO(3) or O(3): ``act(g, x) = rho(J) x``.

    escnn is asked for the matrices when the action is made; acting is plain batched torch. Translations leave the data
    alone. Elements of a smaller group act as well, others are refused.

    The basis is escnn's; that of SO(3)'s irreps of degree 1 is (y, z, x). Angles turn x towards y, as everywhere here,
    and the mirror is y -> -y, so that the irreps of frequency 1 of SO(2) and O(2) are ``vector``. (The mirrors of D_n
    with n odd are those of ``Dihedral``, x -> -x.) The features of escnn's own layers live in other axes: y points up,
    so that the same rotation has the opposite angle, and the mirror is x -> -x. Say ``axes="escnn"`` for them.

    Args:
        group: For example "C4", "D4", "SO(2)", "O(3)"; or a Representation object of escnn, which says the rest.
        irreps: "regular", for finite groups; or a list of irreps by escnn's ids (a number for C_n and SO; a pair for
            D_n and O: the parity, then the frequency) and of "regular".
        copies: How often the list is repeated.
        axes: Of the plane: "image", or "escnn" for what escnn's layers give (with the usual mirror axis, pi / 2).

    Raises:
        InvalidSetting: escnn is not installed, or does not know the group or the representation.

    References:
        Cesa, Lang, Weiler, A program to build E(n)-equivariant steerable CNNs, ICLR 2022.
    """

    def __init__(
        self, group: Any, irreps: str | Sequence[Any] = "regular", copies: int = 1, axes: str = "image"
    ) -> None:
        super().__init__()
        if isinstance(group, str):
            own = _find_group(group)
            listed = [irreps] if isinstance(irreps, (str, int)) else list(irreps)
            pieces = [_find_piece(own, word) for word in listed] * copies
            plain: Any = irreps if isinstance(irreps, str) else listed
            settings = {"copies": (copies, 1), "axes": (axes, "image")}
            self.words = write_words("rep", own.name, plain, **{k: v for k, (v, u) in settings.items() if v != u})
        else:
            own, pieces = group.group, [group] * copies
            self.words = f"rep({own.name!r}, {[_shorten(i) for i in group.irreps]}, basis='own')"
        match = _NAME.match(own.name)
        if match is None or not pieces or axes not in ("image", "escnn"):
            raise InvalidSetting(
                f"rep({own.name!r}, {irreps!r}, axes={axes!r})",
                "C4, D4, SO(2), O(2), SO(3) or O(3), something to act on, and axes 'image' or 'escnn'",
                "For example rep('SO(2)', [0, 1, 1]).",
            )
        self.axes = axes
        self.mirrors = match["kind"] == "D" or match["whole"] == "O"
        self.order = int(match["order"] or 0)
        self.dim = int(match["dim"] or 2)
        kinds = {piece.name: piece for piece in pieces}
        places = {name: place for place, name in enumerate(kinds)}
        # Equal neighbours are moved together.
        runs = [(name, len(list(run))) for name, run in groupby(piece.name for piece in pieces)]
        self.runs = [(places[name], kinds[name].size, count) for name, count in runs]
        self.size = sum(size * count for _, size, count in self.runs)
        self.degree = max(_degree(piece) for piece in pieces)
        for level, coupling in enumerate(find_couplings(self.degree) if self.dim == 3 else ()):
            self.register_buffer(f"coupling{level}", coupling, persistent=False)
        for name, piece in kinds.items():
            table = _list_elements(self, piece) if self.order else _fit(self, piece)
            self.register_buffer(f"table{places[name]}", table, persistent=False)
            self.register_buffer(f"slope{places[name]}", _derive_table(self, table), persistent=False)

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back; a basis of one's own cannot be written in words."""
        return self.words

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the dimension of the space that the group turns."""
        return self.dim

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of nodes that carry vectors."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and axes of another length."""
        super().check(x)
        if x.shape[-1] != self.size:
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"length {self.size}",
                "Correct the irreps or the copies.",
            )

    def matrices(self, linear: Tensor) -> dict[int, Tensor]:
        """Evaluate the pieces at rotations and reflections.

        Args:
            linear: (B, d, d), elements of the group.

        Returns:
            Number of a piece to its matrices (B, D, D).

        Raises:
            DimensionMismatch: They are not elements of the group.
        """
        linear, mirrored = self._part(linear)
        if self.order:
            angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]).detach() * (self.order / (2 * torch.pi))
            self._require(bool((angle - angle.round()).abs().max() * (2 * torch.pi / self.order) < _SLACK))
            place = angle.round().long() % self.order + self.order * mirrored.long()
            return {piece: self._table(piece, linear)[place] for piece, _, _ in self.runs}
        features, found = self.features(linear), {}
        for piece, size, _ in self.runs:
            table = self._table(piece, linear)
            kept = (features[:, : table.shape[1]] @ table[0]).unflatten(-1, (size, size))
            if self.mirrors:
                turned = (features[:, : table.shape[1]] @ table[1]).unflatten(-1, (size, size))
                kept = turned.where(mirrored[:, None, None], kept)
            found[piece] = kept
        return found

    def features(self, rotation: Tensor) -> Tensor:
        """Evaluate the functions that tables of continuous groups combine, (B, P)."""
        if self.dim == 2:
            return circular_functions(rotation, self.degree)
        levels = [getattr(self, f"coupling{level}").to(rotation) for level in range(self.degree)]
        return wigner_functions(rotation, levels)

    def _part(self, linear: Tensor) -> tuple[Tensor, Tensor]:
        """Part elements into a rotation after a mirror: of y in the plane, of everything in space."""
        fixed, d = linear.detach(), self.dim
        eye = torch.eye(d, dtype=linear.dtype, device=linear.device)
        self._require(bool((fixed.mT @ fixed - eye).abs().max() < _SLACK) if len(fixed) else True)
        mirrored = torch.linalg.det(fixed) < 0
        self._require(self.mirrors or not bool(mirrored.any()))
        if d == 2 and self.axes == "escnn":
            # A mirror before and after turns angles round; it commutes with the mirrors of both axes.
            linear = linear * linear.new_tensor(((1.0, -1.0), (-1.0, 1.0)))
        sideways = self.axes == "escnn" or self.order % 2 == 1
        mirror = -eye if d == 3 else eye * eye.new_tensor((-1.0, 1.0) if sideways else (1.0, -1.0))
        return torch.where(mirrored[:, None, None], linear @ mirror, linear), mirrored

    def _require(self, fits: bool) -> None:
        if not fits:
            raise DimensionMismatch(
                f"an element outside the group of {self.sentence!r}",
                "rotations and reflections that the representation knows",
                "Choose the representation of a larger group, such as O(2), or draw from the group itself.",
            )

    def _table(self, piece: int, like: Tensor, kind: str = "table") -> Tensor:
        table: Tensor = getattr(self, f"{kind}{piece}")
        return table.to(like)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        axes = torch.eye(self.dim, dtype=x.dtype, device=x.device).unsqueeze(0)
        linear = g.push(axes).mT
        matrices, x = self.matrices(linear), x.to(linear.dtype)
        vectors, moved, start = x.reshape(x.shape[0], -1, self.size), [], 0
        for piece, size, count in self.runs:
            block = vectors[..., start : start + size * count].reshape(x.shape[0], -1, size)
            moved.append(apply_matrix(matrices[piece], block).reshape(*vectors.shape[:2], size * count))
            start += size * count
        return torch.cat(moved, -1).reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        self._require(group.linear)
        linear = group.basis()[:, : self.dim, : self.dim].to(x)
        fixed = linear.detach()
        skewed = (fixed + fixed.mT).abs() <= _SLACK * fixed.abs().amax((1, 2), keepdim=True)
        self._require(bool(skewed.all()) and not (self.order and bool(fixed.any())))
        turns = torch.stack([linear[:, j, i] for i, j in combinations(range(self.dim), 2)], -1)
        turns = -turns if self.dim == 2 and self.axes == "escnn" else turns
        vectors, changes, start = x.reshape(x.shape[0], 1, -1, self.size), [], 0
        for piece, size, count in self.runs:
            slope = torch.einsum("kr,rij->kij", turns, self._table(piece, x, "slope"))
            block = vectors[..., start : start + size * count].reshape(x.shape[0], 1, -1, size)
            changes.append((block @ slope.mT).reshape(x.shape[0], len(turns), vectors.shape[2], size * count))
            start += size * count
        return torch.cat(changes, -1).reshape(x.shape[0], len(turns), *x.shape[1:])


def _shorten(irrep: tuple[int, ...]) -> Any:
    return irrep[0] if len(irrep) == 1 else irrep


def _degree(representation: Any) -> int:
    return max(int(irrep[-1]) for irrep in representation.irreps)


def demand_escnn(what: str) -> Any:
    """Import escnn.

    Args:
        what: That needs it, for the message.

    Returns:
        The module, with ``group``, ``gspaces`` and ``nn``.

    Raises:
        InvalidSetting: It is not installed, or does not import.
    """
    try:
        import escnn
        import escnn.nn
    except ImportError as error:
        raise InvalidSetting(
            f"{what} without escnn ({error})",
            "escnn, an extra of this package",
            "With uv: uv run --no-group numpy2 --extra escnn ...; with pip: pip install --no-deps escnn, then "
            "pip install 'numpy<2' 'lie_learn>=0.0.2' pymanopt autograd joblib.",
        ) from error
    # escnn's own branch for when scikit-learn is missing: today's refuses the matrices that it would be handed
    escnn.group._numerical.randomized_svd = None
    return escnn


def _find_group(name: str) -> Any:
    escnn_group = demand_escnn(f"rep({name!r}, ...)").group
    match = _NAME.match(name.upper().replace(" ", "").replace("_", ""))
    if match is None:
        raise InvalidSetting(f"rep of {name!r}", "C_n, D_n, SO(2), O(2), SO(3) or O(3)", "For example rep('C4').")
    if match["kind"]:
        build = escnn_group.cyclic_group if match["kind"] == "C" else escnn_group.dihedral_group
        return build(int(match["order"]))
    return getattr(escnn_group, f"{match['whole'].lower()}{match['dim']}_group")()


def _find_piece(group: Any, word: Any) -> Any:
    try:
        if word == "regular":
            return group.regular_representation
        return group.irrep(*(word if isinstance(word, (tuple, list)) else (word,)))
    except (AssertionError, TypeError, ValueError, KeyError) as error:
        finite = "'regular' or " if not group.continuous else ""
        raise InvalidSetting(
            f"{word!r} of {group.name} ({type(error).__name__} {error})".replace(" )", ")"),
            f"{finite}the id of an irrep, such as {_shorten(group.irreps()[-1].id)}",
            "Ids are (parity, frequency) for D_n and O, and the frequency for C_n and SO.",
        ) from error


def _list_elements(action: Rep, representation: Any) -> Tensor:
    """Tabulate a finite group: rotations by growing angle, then the same after the mirror, (|G|, D, D)."""
    group, turns = representation.group, range(action.order)
    ids = [(j, k) for j in (0, 1) for k in turns] if action.mirrors else list(turns)
    table = torch.stack([torch.as_tensor(representation(group.element(i))).double() for i in ids])
    # Permutations, signs and zeros are meant exactly.
    return torch.where((table - table.round()).abs() < 1e-12, table.round(), table)


def _fit(action: Rep, representation: Any) -> Tensor:
    """Write the matrices of a continuous group in the functions of ``features``, (1 or 2, P, D^2)."""
    group, degree = representation.group, _degree(representation)
    spans = 2 * degree + 1 if action.dim == 2 else sum((2 * level + 1) ** 2 for level in range(degree + 1))
    # Any rotations in general position do; twice as many as there are functions keep the fit well conditioned.
    normal = torch.randn(2 * spans + 4, action.dim, action.dim, generator=torch.Generator().manual_seed(0)).double()
    turns = torch.linalg.qr(normal).Q
    turns[..., 0] *= torch.linalg.det(turns).sign().unsqueeze(-1)
    features, tables = action.features(turns)[:, :spans], []
    for j in (0, 1) if action.mirrors else (0,):
        values = []
        for turn in turns:
            place = turn.numpy() if action.dim == 3 else float(torch.atan2(turn[1, 0], turn[0, 0]))
            element = group.element((j, place) if action.mirrors else place, "MAT" if action.dim == 3 else "radians")
            values.append(torch.as_tensor(representation(element)).double().flatten())
        table = torch.linalg.lstsq(features, torch.stack(values)).solution
        if float((features @ table - torch.stack(values)).abs().max()) > 1e-8:
            raise InvalidSetting(
                f"the representation {representation.name!r} of {group.name}",
                "one that is made of the irreps that it names",
                "Its matrices differ from those of its irreps.",
            )
        tables.append(table)
    return torch.stack(tables)


def _derive_table(action: Rep, table: Tensor) -> Tensor:
    """Differentiate along the rotations of every plane, (d(d-1)/2, D, D)."""
    if action.order:
        return table.new_zeros(1, *table.shape[1:])
    basis = SO(action.dim).basis().double()
    identity = torch.eye(action.dim, dtype=torch.float64).repeat(len(basis), 1, 1)
    slope = torch.func.jvp(action.features, (identity,), (basis,))[1][:, : table.shape[1]] @ table[0]
    size = round(table.shape[2] ** 0.5)
    return slope.unflatten(-1, (size, size))
