"""`LearntLaw`: how far each generator of a known group may go, as training found it; in units that people use."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.actions import Image
from lightning_symmetry.archive import writing_into
from lightning_symmetry.discovery.layout import align_columns
from lightning_symmetry.discovery.naming import name_in
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Group
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.samplers import width_bounds
from lightning_symmetry.symmetry import Symmetry

REPORT = "law.json"
# From nine tenths of half a turn on, all angles are drawn about equally often.
EVERY_ANGLE = 0.9 * math.pi
_SHORT = (
    (r"squeeze along the diagonals \(boost\)", "shear"),
    (r"boost in the plane \((\w+), (\w+)\)", r"shear \1\2"),
    (r"squeeze of x against y$", "stretch"),
    (r"squeeze of (\w+) against (\w+)", r"stretch \1\2"),
    (r" in the plane \((\w+), (\w+)\)", r" \1\2"),
    (r" along ", " "),
)


@final
@dataclass(frozen=True)
class GeneratorRange:
    """How far one generator may go.

    Args:
        name: In plain words, such as "rotation" or "translation x".
        width: Half-width w; coefficients are drawn around 0 (for a uniform law within [-w, w]).
        start: Half-width before training.
        words: The range in human units.
    """

    name: str
    width: float
    start: float
    words: str

    @property
    def key(self) -> str:
        """The name of its metric, for example ``width_translation_x``."""
        return width_key(self.name)


@final
@dataclass(frozen=True, eq=False)
class LearntLaw:
    """A law whose widths were learnt on a known group.

    Args:
        symmetry: With the widths fixed, ready to be used elsewhere.
        name: Of the symmetry that was learnt.
        generators: One range a generator.
        notes: Sentences on what the numbers do not say.
        history: Curves over training, name to values.
    """

    symmetry: Symmetry
    name: str
    generators: tuple[GeneratorRange, ...]
    notes: tuple[str, ...] = ()
    history: Mapping[str, list[float]] = dataclasses.field(default_factory=dict)

    @property
    def conclusion(self) -> str:
        """The result in one sentence."""
        return f"learnt ranges: {'; '.join(f'{g.name} {g.words}' for g in self.generators)}."

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay the ranges out as a table: the header, and one row a generator."""
        header = ["generator", "range", "half-width", "full width", "at the start"]
        return header, [
            [g.name, g.words, f"{g.width:.3g}", f"{2 * g.width:.3g}", f"{g.start:.3g}"] for g in self.generators
        ]

    def facts(self) -> list[str]:
        """List what concerns all generators together: nothing."""
        return []

    def metrics(self) -> dict[str, float]:
        """Give ``width_<generator>`` for each generator: half-widths, radians for rotations."""
        return {g.key: g.width for g in self.generators}

    def save(self, folder: str | Path) -> Path:
        """Write ``symmetry.yaml`` with its tensors, and ``law.json``.

        Args:
            folder: Made if missing.

        Returns:
            The folder.

        Raises:
            InvalidSetting: The folder cannot be written.
        """
        folder = Path(folder)
        self.symmetry.save(folder)
        document = {
            "name": self.name,
            "sentence": self.symmetry.sentence,
            "conclusion": self.conclusion,
            "generators": [dataclasses.asdict(g) for g in self.generators],
            "notes": self.notes,
            "metrics": self.metrics(),
            "history": {k: [v if math.isfinite(v) else None for v in values] for k, values in self.history.items()},
        }
        with writing_into(folder):
            text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
            (folder / REPORT).write_text(text + "\n", encoding="utf-8")
        return folder

    def __str__(self) -> str:
        """Show the table as plain text."""
        header, rows = self.rows()
        return "\n".join([self.name, align_columns([header, *rows]), *self.notes])


def describe_law(symmetry: Symmetry, x: Any, history: Mapping[str, list[float]] | None = None) -> LearntLaw:
    """Put learnt widths into words.

    Rotations are told in degrees, translations of images in pixels and as a share of the longer side, scalings,
    stretches and shears as factors exp(+-w) along their axes, anything else by its coefficient.

    Args:
        symmetry: A known group with learnt widths, bound to data.
        x: Input structure, whose images say how large a pixel is.
        history: Curves over training.

    Returns:
        The law.

    Raises:
        InvalidSetting: The group has no generators.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> from lightning_symmetry.samplers import Uniform
        >>> symmetry = Symmetry(Uniform(SO(2), 0.7854, learnable=True), "vector", "label")
        >>> describe_law(symmetry, torch.zeros(4, 2)).conclusion
        'learnt ranges: rotation ±45°.'
    """
    symmetry.bind(x)
    group = symmetry.group
    sampler: Any = symmetry.sampler
    if not group.count:
        raise InvalidSetting(f"{group.sentence}, which has no generators", "widths to tell", "Use a continuous group.")
    widths = sampler.widths.detach().to("cpu", torch.float64)
    starts = torch.as_tensor(sampler.width, dtype=torch.float64).expand(group.count)
    images = [get_leaf(x, path) for path, action in symmetry.input.moving if isinstance(action, Image)]
    side = max(images[0].shape[-2:]) if images else None
    bounds, spread = width_bounds(group).tolist(), type(sampler).__name__ == "Normal"
    ranges = tuple(
        GeneratorRange(name, width, start, ("deviation " if spread else "") + _word(matrix, width, bound, side))
        for name, width, start, bound, matrix in zip(
            label_generators(group),
            widths.tolist(),
            starts.tolist(),
            bounds,
            group.coefficients().detach().cpu(),
            strict=True,
        )
    )
    constant = type(sampler)(group, widths.tolist(), learnable=False)
    fixed = Symmetry(constant, symmetry.input, symmetry.output, symmetry.name)
    prefix = f"{symmetry.name}/"
    curves = {key.removeprefix(prefix): list(values) for key, values in (history or {}).items()}
    return LearntLaw(fixed, symmetry.name, ranges, history=curves)


def label_generators(group: Group) -> list[str]:
    """Name the generators of a group in few words, no two alike.

    Example:
        >>> from lightning_symmetry.groups import Affine
        >>> label_generators(Affine(2))
        ['rotation', 'shear', 'scaling', 'stretch', 'translation x', 'translation y']
    """
    names: list[str] = []
    for index, generator in enumerate(group.coefficients()):
        name = name_in(group, generator).name
        for pattern, short in _SHORT:
            name = re.sub(pattern, short, name)
        names.append(name if name not in names else f"{name} {index}")
    return names


def width_key(name: str) -> str:
    """Name the metric of a generator's width.

    Example:
        >>> width_key("translation x")
        'width_translation_x'
    """
    return "width_" + re.sub(r"\W+", "_", name).strip("_")


def _word(matrix: Tensor, width: float, bound: float, side: int | None) -> str:
    size = matrix.shape[-1]
    if size != len(matrix):
        return f"±{width:.3g}"
    shift = matrix[:-1, -1] if not bool(matrix[-1].any()) and size > 1 else matrix.new_zeros(1)
    if abs(bound - math.pi) < 1e-5:
        return "every angle" if width >= EVERY_ANGLE else f"±{math.degrees(width):.3g}°"
    if float(shift.abs().sum()) and not bool(matrix[:-1, :-1].any()):
        reach = width * float(shift.norm())
        return f"±{reach:.3g}" if side is None else f"±{reach * side / 2:.3g} px (±{reach / 2:.1%} of the side)"
    if bool(torch.equal(matrix, matrix.mT)):
        return f"factors {math.exp(-width):.3g} to {math.exp(width):.3g}"
    return f"±{width:.3g}"
