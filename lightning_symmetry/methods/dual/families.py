"""Families of transformations: what a group does, what happens to the values of images, and mixtures of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from lightning_symmetry.actions import Image
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.subclasses import dress, undress
from lightning_symmetry.groups import Element, Given
from lightning_symmetry.groups.naming import build_by_name
from lightning_symmetry.methods.dual.family import PLAIN, Family, Moves, Normalisation
from lightning_symmetry.methods.dual.photometric import LEVELS, OPERATIONS, Photometric, check_space
from lightning_symmetry.methods.dual.scoring import Batch, Group
from lightning_symmetry.paths import get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import Integers, Uniform
from lightning_symmetry.symmetry import Symmetry

__all__ = ["Family", "Geometric", "Mixture", "Mixed", "Moves", "Photometric", "by_name", "operation", "randaugment"]


@final
class Geometric(Family):
    """What the elements of a group do to the input, drawn from the symmetry's law, and undone on the output.

    Args:
        symmetry: Any statement of one, such as "SO(2) on image -> label".
        width: Coordinates are uniform in +- width: one number, or one a generator; radians for rotations. By default
            the symmetry's own law.
        name: In logs; the symmetry's by default.
        mean: That images, of values in [0, 1], were normalised with: what comes from outside is black then, that is
            -mean / std. By default it is 0, or what the symmetry's ``image(padding=...)`` says.
        std: Likewise.

    Raises:
        InvalidSetting: The group or its law is yet to be learnt.

    Moves are elements of the group.

    Example:
        >>> turns = Geometric("SO(2) on vector(2) -> label", width=3.1416)
        >>> moves = turns.draw(torch.ones(3, 2), Rng(0))
        >>> turns.move(moves, torch.ones(3, 2)).square().sum(1)
        tensor([2.0000, 2.0000, 2.0000])
    """

    def __init__(
        self,
        symmetry: str | Symmetry | Mapping[str, Any],
        width: float | Sequence[float] | None = None,
        name: str | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        stated = Symmetry.of(symmetry)
        if stated.learnable:
            raise InvalidSetting(
                got=f"{stated.sentence!r}, of which something is to be learnt",
                expected="known transformations, on which training is to be constrained",
                remedy="Name a group, such as 'SO(2)', or load a symmetry that was learnt and saved.",
            )
        if width is not None:
            stated = Symmetry(Uniform(stated.group, width), stated.input, stated.output, stated.name)
        super().__init__(name or stated.name)
        self.symmetry = stated
        self.normalisation = Normalisation(mean, std)

    @property
    def moves_output(self) -> bool:
        """Whether the symmetry moves any part of the output."""
        return self.symmetry.moves_output

    def bind(self, x: Any, y: Any = None) -> None:
        """Complete the symmetry."""
        self.symmetry.bind(x, y)

    def draw(self, x: Any, rng: Rng) -> Element:
        """Draw one element for every sample."""
        with torch.no_grad():
            return self.symmetry.sample(x, 1, rng)[0]

    def move(self, moves: Element, x: Any) -> Any:
        """Apply rho_in(g), sample by sample."""
        if self.normalisation == PLAIN:
            return self.symmetry.move_input(moves, x)
        self.bind(x)
        images = {p: get_leaf(x, p) for p, action in self.symmetry.input.moving if isinstance(action, Image)}
        pixels = {path: self.normalisation.undo(undress(image)) for path, image in images.items()}
        moved = self.symmetry.move_input(moves, replace_leaves(x, pixels))
        redone = {p: dress(self.normalisation.redo(get_leaf(moved, p)), image) for p, image in images.items()}
        return replace_leaves(moved, redone)

    def back(self, moves: Element, y: Any, rows: Rows) -> Any:
        """Apply rho_out(g^-1), sample by sample; the family must be bound to an output before."""
        return self.symmetry.move_output(~moves, y, rows) if self.moves_output else y


@final
@dataclass(frozen=True, eq=False)
class Mixed:
    """What a mixture draws: which family a sample is given to, and what every family would do to it.

    Args:
        chosen: (B,), whole numbers, in the memory of the host so that rows are sorted without waiting for a device.
        parts: Moves of B rows, one set a family.
    """

    chosen: Tensor
    parts: tuple[Any, ...]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Mixed:
        """Select rows."""
        near = index.to(self.chosen.device) if isinstance(index, Tensor) else index
        return Mixed(self.chosen[near], tuple(part[index] for part in self.parts))


@final
class Mixture(Family):
    """One family out of several, drawn anew for every sample: one constraint for all of them.

    Args:
        families: Everything that `by_name` reads.
        weights: How often each is drawn, up to a factor; equally often by default.
        name: In logs.

    Raises:
        InvalidSetting: There is no family, or not one positive weight each.

    Cost: every sample is moved by the family it is given to, and by no other, except in batches of graphs.

    Example:
        >>> Mixture(["brightness", "SO(2) on image -> label"], weights=[3, 1]).name
        'mixture'
    """

    def __init__(self, families: Sequence[Any], weights: Sequence[float] | None = None, name: str = "mixture") -> None:
        super().__init__(name)
        given = [1.0] * len(families) if weights is None else [float(weight) for weight in weights]
        if not families or len(given) != len(families) or min(given) <= 0:
            raise InvalidSetting(
                got=f"{len(families)} families with weights {weights}",
                expected="at least one family, and one positive weight each",
                remedy="Leave weights out where all are drawn equally often.",
            )
        self.families = nn.ModuleList(by_name(family) for family in families)
        self.weights = tuple(given)

    @property
    def members(self) -> list[Family]:
        """The families."""
        return cast("list[Family]", list(self.families))

    @property
    def moves_output(self) -> bool:
        """Whether any family moves the output."""
        return any(family.moves_output for family in self.members)

    def bind(self, x: Any, y: Any = None) -> None:
        """Complete every family."""
        for family in self.members:
            family.bind(x, y)

    def draw(self, x: Any, rng: Rng) -> Mixed:
        """Draw for every sample which family moves it, and how."""
        parts = tuple(family.draw(x, rng) for family in self.members)
        bounds = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)
        drawn = rng.uniform(len(parts[0]), dtype=torch.float64) * bounds[-1]
        # rounding must not lead beyond the last one
        return Mixed(torch.searchsorted(bounds, drawn, right=True).clamp(max=len(parts) - 1), parts)

    def move(self, moves: Mixed, x: Any) -> Any:
        """Give every sample to its family."""
        return Batch(x, len(moves), Rows.of(x)).move(self._split(moves))

    def back(self, moves: Mixed, y: Any, rows: Rows) -> Any:
        """Undo what the family of every sample did."""
        return Batch(None, len(moves), rows).move_back(self._split(moves), y)

    def _split(self, moves: Mixed) -> list[Group]:
        """Sort the samples by their family."""
        rows = [(moves.chosen == index).nonzero().squeeze(1) for index in range(len(moves.parts))]
        return [Group(*each) for each in zip(self.members, moves.parts, rows, strict=True)]


# Generators of the plane (x right, y down), and how far they go in the standard and in the wide space. Published shifts
# are in pixels of images with 32 of them a side, which are 2 units wide.
_GENERATORS: dict[str, tuple[list[list[float]], tuple[float, float]]] = {
    "rotate": ([[0, -1, 0], [1, 0, 0], [0, 0, 0]], (math.radians(30), math.radians(135))),
    "shear_x": ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], (0.3, 0.99)),
    "shear_y": ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], (0.3, 0.99)),
    "translate_x": ([[0, 0, 1], [0, 0, 0], [0, 0, 0]], (10 / 16, 32 / 16)),
    "translate_y": ([[0, 0, 0], [0, 0, 1], [0, 0, 0]], (10 / 16, 32 / 16)),
}


def operation(
    name: str,
    space: str = "standard",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    path: str | None = None,
) -> Family:
    """Make one of the operations on images that RandAugment and its kin draw from, with the published ranges.

    Rotations by up to 30 (wide: 135) degrees, shears by 0.3 (0.99) and shifts by 10/32 (32/32) of the longer side go
    both ways, in whole multiples of a 29th of that, 0 among them; all leave the centre where it is, while the original
    shears leave a corner. The others are those of `Photometric`.

    Args:
        name: rotate, shear_x, shear_y, translate_x, translate_y, brightness, contrast, color, sharpness, solarize,
            posterize, autocontrast, equalize, or invert.
        space: "standard" or "wide".
        mean: That the images, of values in [0, 1], were normalised with.
        std: Likewise.
        path: Where the images are, if the input has several tensors that could be.

    Raises:
        UnknownName, InvalidSetting: There is no such operation or space.

    Example:
        >>> operation("shear_x", "wide").draw(torch.zeros(2, 1, 8, 8), Rng(0)).linear[:, 0, 1].abs().amax() <= 0.99
        tensor(True)
    """
    check_space(space)
    if name not in _GENERATORS:
        return Photometric(name, space, mean, std, path)
    generator, reach = _GENERATORS[name]
    law = Integers(Given([generator], name, affine=True), reach[space == "wide"] / LEVELS, LEVELS)
    return Geometric(Symmetry(law, "image" if path is None else f"{path}=image", "label", name), mean=mean, std=std)


def randaugment(
    space: str = "standard",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    path: str | None = None,
    name: str = "randaugment",
) -> Mixture:
    """Mix the 13 operations of RandAugment, each as likely as the others, as one family.

    All of `operation` but ``invert``; the fourteenth, the identity, is not drawn.

    Args:
        space: "standard" or "wide".
        mean: That the images, of values in [0, 1], were normalised with.
        std: Likewise.
        path: Where the images are, if the input has several tensors that could be.
        name: In logs.

    References:
        RandAugment, arXiv 1909.13719; TrivialAugment, arXiv 2103.10158, for the ranges.

    Example:
        >>> len(randaugment("wide").members)
        13
    """
    names = [*_GENERATORS, *(photometric for photometric in OPERATIONS if photometric != "invert")]
    return Mixture([operation(each, space, mean, std, path) for each in names], name=name)


_TABLE: dict[str, Callable[..., Family]] = {
    **{name.replace("_", ""): partial(operation, name) for name in (*_GENERATORS, *OPERATIONS)},
    "randaugment": randaugment,
    "mixture": Mixture,
    "geometric": Geometric,
}


def by_name(description: Any, **settings: Any) -> Family:
    """Accept every way to state a family.

    Args:
        description: A family; a symmetry, its sentence, or where it is saved; the name of an `operation`,
            "randaugment" or "mixture", with or without (arguments); or a mapping: that of a symmetry, which has an
            input; or ``symmetry``, or ``name`` of one of those, beside further arguments.
        **settings: Further arguments.

    Returns:
        The family; itself where it is one.

    Raises:
        SymmetryError: One of its kinds, where it cannot be read; it says what exists.

    Example:
        >>> by_name("SO(2) on image -> label", width=3.14).name, by_name("brightness(space='wide')").name
        ('so_2_on_image_to_label', 'brightness')
        >>> by_name({"symmetry": "scale on vector -> label", "width": 1, "name": "scale"}).name
        'scale'
    """
    if isinstance(description, Family) and not settings:
        return description
    if isinstance(description, Mapping) and "input" not in description:
        given = {**description, **settings}
        name = "geometric" if "symmetry" in given else str(given.pop("name", ""))
        return build_by_name(name, _TABLE, Family, **given)
    if isinstance(description, str) and not any(sign in description for sign in ("->", "/", ".yaml", ".yml")):
        return build_by_name(description, _TABLE, Family, **settings)
    return build_by_name("geometric", _TABLE, Family, description, **settings)
