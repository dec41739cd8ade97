"""Which group of rotations is it: reading a name, a basis and a centre off generators and a finite part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.spans import orthonormal_span, principal_cosines
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import AffineMap

_LARGEST_SPEED = 6
"""Planes that turn at whole multiples of one speed are looked for up to this one."""
_LARGEST_CONDITION = 1e3
"""Of a change of basis: beyond it the generators are as good as shears, which turn nothing."""


@final
@dataclass(frozen=True, eq=False)
class Compact:
    """A group of rotations, perhaps with mirrors, in a basis and about a centre of its own.

    In the coordinates ``Q (p - c)`` it is the group that `name` says.

    Args:
        name: "C4", "D4", "SO(2)", "O(2)", "SO(3)" or "O(3)"; "C1" is the trivial group.
        change: (d, d), Q; the identity where the group is its textbook form.
        centre: (d,), c, in the units of the points; None for the origin, or where translations make every point one.
        speeds: Of SO(2): how often each plane of coordinates turns while the angle goes round once; what is left of the
            d coordinates stays.
        translations: Number of independent translations that the group has beside.
    """

    name: str
    change: Tensor
    centre: Tensor | None = None
    speeds: tuple[int, ...] = ()
    translations: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the data's own coordinates and origin are those of the textbook form."""
        return self.centre is None and bool((self.change - torch.eye(len(self.change)).double()).abs().max() < 1e-6)

    def represent(self, h: Tensor) -> Tensor:
        """Give what elements of the named group do to the data's space.

        Args:
            h: (m, n, n), n = 2 or 3, elements of the named group.

        Returns:
            (m, d, d), ``Q^-1 h Q``, float64.
        """
        h, d = h.detach().to("cpu", torch.float64), len(self.change)
        if self.speeds and d > 2:
            angle = torch.atan2(h[:, 1, 0], h[:, 0, 0])
            h = torch.eye(d, dtype=torch.float64).repeat(len(angle), 1, 1)
            for place, speed in enumerate(self.speeds):
                cos, sin = (speed * angle).cos(), (speed * angle).sin()
                rows = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
                h[:, 2 * place : 2 * place + 2, 2 * place : 2 * place + 2] = rows
        elif h.shape[-1] != d:
            h = torch.eye(d, dtype=torch.float64).repeat(len(h), 1, 1)
        return torch.linalg.inv(self.change) @ h @ self.change


def read_compact(group: Group, cosine: float = 0.99) -> Compact:
    """Tell which of C_n, D_n, SO(2), O(2), SO(3) and O(3) a group is, up to a change of basis and a centre.

    The generators are compared by their span: their number, order, mixture and scale do not matter. A textbook form to
    which the cosine is large enough is taken as meant; else a positive form that the group keeps gives the basis in
    which it turns: ``X`` with ``L^T X + X L = 0``, ``Q = X^(1/2)``.

    Args:
        group: Known, given, learnt or discovered, bound to a space.
        cosine: Least principal cosine between its generators and those that they are taken for.

    Returns:
        Name, basis, centre, and how many translations there are beside.

    Raises:
        InvalidSetting: It is none of them; it says why.

    Example:
        >>> from lightning_symmetry.groups import SE, Given
        >>> found = read_compact(Given([[[0.01, -2.0], [2.02, 0.0]]], affine=False))
        >>> found.name, found.is_plain, read_compact(SE(3)).translations
        ('SO(2)', True, 3)
        >>> read_compact(Given([[[0.0, -0.5], [2.0, 0.0]]], affine=False)).change.diagonal()
        tensor([1.4142, 0.7071], dtype=torch.float64)
    """
    slack = math.sqrt(1 - cosine**2)
    matrices, dim = _read_matrices(group, slack)
    turning, offsets, translations = _part_translations(group, orthonormal_span(matrices, slack), dim, slack)
    count = len(turning)
    speeds: tuple[int, ...] = ()
    if count == 1:
        root, speeds = _read_turn(group, turning[0], cosine)
    elif count == 3 and dim == 3:
        root = _read_rotations(group, turning, cosine)
    elif count:
        raise _refuse(group, f"whose {count} generators in {dim} dimensions do more than turn")
    else:
        root = torch.eye(dim, dtype=torch.float64)
    centre = None if translations == dim or not count else _read_centre(group, turning, offsets, slack)
    name, root = _name(group, count, root, centre, translations, slack)
    return Compact(name, root, centre, speeds, translations)


def _refuse(group: Group, why: str) -> InvalidSetting:
    words = group.sentence if len(group.sentence) <= 80 else type(group).__name__
    return InvalidSetting(
        f"{words}, {why}",
        "C_n, D_n, SO(2), O(2), SO(3) or O(3), in any basis and about any centre, and translations",
        "Average over other groups (average, symmetrize) or augment with them (to_torchvision).",
    )


def _read_matrices(group: Group, slack: float) -> tuple[Tensor, int]:
    """Collect the generators as homogeneous matrices of norm 1, (K, d+1, d+1)."""
    if group.part("nodes") is not None:
        raise _refuse(group, "which reorders nodes")
    if not group.closed:
        raise _refuse(group, "a union, of which every draw takes one member")
    if group.dim is None:
        raise DimensionMismatch(
            f"{group.sentence} without a dimension", "the dimension of the data", "Write for example SO(2), or bind it."
        )
    values, dim = group.coefficients().detach().to("cpu", torch.float64), group.dim
    if not group.linear:
        # the first columns of a polynomial field are those of an affine map
        if float(values[..., dim + 1 :].norm()) > slack * float(values.norm()):
            raise _refuse(group, "whose fields are no affine maps")
        matrices = F.pad(values[..., : dim + 1], (0, 0, 0, 1))
    else:
        matrices = values if group.affine else F.pad(values, (0, 1, 0, 1))
    sizes = torch.linalg.matrix_norm(matrices)
    if not group.learnable:
        matrices, sizes = matrices[sizes > 0] / sizes[sizes > 0, None, None], sizes[sizes > 0]
    return matrices, dim


def _part_translations(group: Group, span: Tensor, dim: int, slack: float) -> tuple[Tensor, Tensor, int]:
    """Part a span into what turns, (r, d, d) with offsets (r, d), and the number of pure translations."""
    linear, offset = span[:, :dim, :dim], span[:, :dim, dim]
    if not len(span):
        return linear, offset, 0
    mixing, sizes, _ = torch.linalg.svd(linear.flatten(1), full_matrices=True)
    turns = torch.zeros(len(span), dtype=torch.bool)
    turns[: len(sizes)] = sizes > slack
    translations = int((~turns).sum())
    if bool(turns.any()) and translations not in (0, dim):
        raise _refuse(group, f"which translates along {translations} of {dim} directions only")
    mixing = mixing.mT[turns]
    return torch.einsum("rk,kij->rij", mixing, linear), mixing @ offset, translations


def _read_turn(group: Group, generator: Tensor, cosine: float) -> tuple[Tensor, tuple[int, ...]]:
    """Find the basis in which a single generator turns planes, and their speeds."""
    dim, slack = len(generator), math.sqrt(1 - cosine**2)
    root, skew = torch.eye(dim, dtype=torch.float64), (generator - generator.mT) / 2
    if float(skew.norm()) < cosine * float(generator.norm()):
        values, vectors = torch.linalg.eig(generator)
        if float(values.real.abs().max()) > slack * float(values.abs().max()):
            raise _refuse(group, "which stretches what it moves")
        if float(torch.linalg.cond(vectors)) > _LARGEST_CONDITION:
            raise _refuse(group, "which shears what it moves")
        root = _square_root(torch.linalg.inv(vectors @ vectors.mH).real)
        generator = root @ generator @ torch.linalg.inv(root)
        skew = (generator - generator.mT) / 2
    if dim == 2:
        return root, (1,)
    values, vectors = torch.linalg.eigh(1j * skew.to(torch.complex128))
    moving = values > slack * float(values.abs().max())
    speeds = _count_turns(group, values[moving])
    # of an eigenvector a + ib, a turns towards b
    pairs = math.sqrt(2) * torch.view_as_real(vectors[:, moving]).flatten(1)
    rest = torch.linalg.svd(pairs, full_matrices=True).U[:, pairs.shape[1] :]
    return torch.cat((pairs, rest), 1).mT @ root, speeds


def _count_turns(group: Group, speeds: Tensor) -> tuple[int, ...]:
    """Write speeds as whole multiples of one."""
    for slowest in range(1, _LARGEST_SPEED + 1):
        multiples = speeds * slowest / speeds.min()
        if float((multiples - multiples.round()).abs().max()) < 0.05 and float(multiples.max()) < _LARGEST_SPEED + 0.5:
            return tuple(int(m) for m in multiples.round())
    raise _refuse(group, "whose planes turn at speeds that are no whole multiples of one")


def _read_rotations(group: Group, generators: Tensor, cosine: float) -> Tensor:
    """Find the basis in which three generators are the rotations of space."""
    skew = torch.zeros(3, 3, 3, dtype=torch.float64)
    for k, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        skew[k, j, i], skew[k, i, j] = 1.0, -1.0
    eye = torch.eye(3, dtype=torch.float64)
    if float(principal_cosines(generators, skew)[-1]) >= cosine:
        return eye
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    forms = torch.stack([(torch.outer(eye[i], eye[j]) + torch.outer(eye[j], eye[i])) / 2 for i, j in pairs])
    changes = generators.mT[:, None] @ forms + forms @ generators[:, None]
    weights = torch.linalg.svd(changes.transpose(0, 1).flatten(1).mT).Vh[-1]
    form = torch.einsum("m,mij->ij", weights, forms)
    form = form * form.trace().sign()
    sizes = torch.linalg.eigvalsh(form)
    if float(sizes[0]) * _LARGEST_CONDITION < float(sizes[-1]):
        raise _refuse(group, "whose three generators keep no lengths in any basis")
    root = _square_root(form)
    if float(principal_cosines(root @ generators @ torch.linalg.inv(root), skew)[-1]) < cosine:
        raise _refuse(group, "whose three generators are not the rotations of space in any basis")
    return root


def _square_root(form: Tensor) -> Tensor:
    """Take the root of a positive form, scaled to determinant 1."""
    sizes, axes = torch.linalg.eigh((form + form.mT) / 2)
    sizes = sizes / sizes.log().mean().exp()
    return (axes * sizes.sqrt()) @ axes.mT


def _read_centre(group: Group, linear: Tensor, offsets: Tensor, slack: float) -> Tensor | None:
    """Find the point that stays; None for the origin."""
    if float(offsets.norm()) <= slack * math.hypot(float(offsets.norm()), float(linear.norm())):
        return None
    centre = torch.linalg.lstsq(linear.flatten(0, 1), -offsets.flatten()[:, None], driver="gelsd").solution[:, 0]
    if float((linear @ centre + offsets).norm()) > slack * float(linear.norm()):
        raise _refuse(group, "which leaves no point where it is")
    return centre


def _name(
    group: Group, count: int, root: Tensor, centre: Tensor | None, translations: int, slack: float
) -> tuple[str, Tensor]:
    """Name the group by the number of its generators and its finite part; the mirrors may turn the basis."""
    dim, finite = len(root), group.discrete
    maps = torch.eye(dim, dtype=torch.float64)[None]
    if isinstance(finite, AffineMap):
        maps = finite.linear.detach().to("cpu", torch.float64)
        fixed = finite.offset is None or translations == dim
        if not fixed or (centre is not None and len(maps) > 1):
            place = torch.zeros(dim).double() if centre is None else centre
            moved = finite(place.to(finite.linear).expand(len(finite), 1, -1)).double()[:, 0]
            if float((moved - place).abs().max()) > slack:
                raise _refuse(group, "whose finite part has another centre")
    if len(maps) == 1:
        return (f"SO({3 if count == 3 else 2})" if count else "C1"), root
    if not count:
        form = (maps.mT @ maps).mean(0)
        root = _square_root(form) if float((form - form.trace() / dim * torch.eye(dim)).norm()) > slack else root
    maps = root @ maps @ torch.linalg.inv(root)
    if float((maps.mT @ maps - torch.eye(dim)).abs().max()) > slack:
        raise _refuse(group, "whose finite part keeps no lengths in the basis in which it turns")
    mirrors = torch.linalg.det(maps) < 0
    if count == 3 or (count == 1 and dim == 2):
        return f"{'O' if bool(mirrors.any()) else 'SO'}({dim})", root
    if count or dim != 2:
        raise _refuse(group, f"a finite group of {dim} dimensions" if not count else "rotations beside a finite group")
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    order = int((~mirrors).sum())
    places = angles[~mirrors] * order / (2 * math.pi)
    even = len((places.round().long() % order).unique()) == order and float((places - places.round()).abs().max()) < 0.1
    if not even or len(maps) not in (order, 2 * order):
        raise _refuse(group, "whose turns are not those of a regular polygon")
    if not bool(mirrors.any()):
        return f"C{order}", root
    # the mirror of x has this angle at pi: turn the basis until one mirror has it
    away = torch.remainder(math.pi - angles[mirrors] + math.pi, 2 * math.pi) - math.pi
    turn = float(away[away.abs().argmin()]) / 2
    if abs(turn) > 1e-3:
        cos, sin = math.cos(turn), math.sin(turn)
        root = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64) @ root
    return f"D{order}", root
