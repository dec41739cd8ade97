"""`SymmetryLevel`: how far a trained network has a symmetry, how hard it was pressed to, and what may be said of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch

from lightning_symmetry.archive import writing_into
from lightning_symmetry.exceptions import InvalidFile

LevelVerdict = Literal["exact", "approximate", "broken", "infeasible"]
LEVELS = "levels.json"
FORMAT = 1
# Answers that differ by no more from sample to sample are rounding.
PRECISION = 1e-6
# One-sided, 95 %.
_DEVIATIONS = 1.645


@final
@dataclass(frozen=True)
class SymmetryLevel:
    """What training left of one symmetry, and what that rests on.

    The verdict is on the network. What the data have is told by the notes: a network that is pressed hard towards a
    false symmetry has a small error too, and then the multiplier, the slack or the strength that fell shows it.

    Args:
        name: Of the symmetry.
        sentence: The symmetry as the grammar reads it.
        error: Distance of f(g x) to g f(x) on held-out inputs, between 0 and 1; see `ApproximateSymmetryLevel`.
        error_se: Its standard error; NaN where it could not be told.
        null: The same between samples that do not belong together; None where it could not be told.
        floor: What carrying samples there and back costs by itself.
        measured: Value of the loss at the end of training; None without one.
        strength: Of the loss at the end.
        first_strength: The first that was not 0.
        dual: Multiplier of the constraint; None where the balancer has none.
        slack: By how much the loss is above what is allowed; negative where it is below.
        relaxed: By how much what is allowed was raised.
        epsilon: What was allowed.
        verdict: "exact", "approximate", "broken" or "infeasible", see `judge_levels`.
        notes: Sentences on what the verdict rests on and what it does not say.

    Example:
        >>> SymmetryLevel("turns", "SO(2) on vector -> scalar", 0.03, 0.001, 0.5, "approximate").words
        'approximate (6%)'
    """

    name: str
    sentence: str
    error: float
    error_se: float
    null: float | None
    verdict: LevelVerdict
    floor: float = 0.0
    measured: float | None = None
    strength: float | None = None
    first_strength: float | None = None
    dual: float | None = None
    slack: float | None = None
    relaxed: float | None = None
    epsilon: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def level(self) -> float:
        """Error / null: 0 exact, 1 nothing in common; the error itself where there is no null."""
        return 0.0 if self.error == 0 else self.error / self._scale

    @property
    def level_se(self) -> float:
        """Standard error of the level, from that of the error."""
        return self.error_se / self._scale

    @property
    def level_floor(self) -> float:
        """The floor as a level."""
        return self.floor / self._scale

    @property
    def bound(self) -> float:
        """One-sided 95 % bound of the level; the level itself where there is no standard error."""
        return self.level + (_DEVIATIONS * self.level_se if math.isfinite(self.level_se) else 0.0)

    @property
    def is_constant(self) -> bool:
        """Whether the network's answers differ by no more than rounding from sample to sample."""
        return self.null is not None and self.null <= PRECISION

    @property
    def _scale(self) -> float:
        return 1.0 if self.null is None else max(self.null, 1e-300)

    @property
    def words(self) -> str:
        """The verdict with the level."""
        return self.verdict if self.verdict == "exact" else f"{self.verdict} ({write_percent(self.level)})"

    def metrics(self) -> dict[str, float]:
        """Give ``error`` and ``level``, and of ``strength``, ``dual``, ``slack`` and ``relaxed`` those that exist."""
        known = {key: getattr(self, key) for key in ("strength", "dual", "slack", "relaxed")}
        return {"error": self.error, "level": self.level, **{k: v for k, v in known.items() if v is not None}}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON has them: None for what is not finite."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SymmetryLevel:
        """Read what `to_dict` gave.

        Raises:
            InvalidFile: A value is missing, or there is one too many.
        """
        given = dict(values)
        try:
            for key in ("error", "error_se"):
                given[key] = math.nan if given[key] is None else float(given[key])
            return cls(**{**given, "notes": tuple(given.get("notes", ()))})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFile(
                got=f"a level of {', '.join(map(str, given)) or 'nothing'} ({error})",
                expected=f"{', '.join(field.name for field in dataclasses.fields(cls))}",
                remedy="Read a levels.json that this package wrote.",
            ) from error


def lay_out_levels(levels: Sequence[SymmetryLevel]) -> tuple[list[str], list[list[str]]]:
    """Lay levels out as a table: the header, and one row a symmetry; columns that nobody fills are left out.

    Example:
        >>> header, rows = lay_out_levels([SymmetryLevel("turns", "", 0.03, 0.001, 0.5, "approximate", strength=1.0)])
        >>> from lightning_symmetry.discovery.layout import align_columns
        >>> print(align_columns([header, *rows]))
        symmetry  level  error  s.e.   null  strength  verdict
        --------  -----  -----  -----  ----  --------  -----------
        turns     6%     0.03   0.001  0.5   1         approximate
    """
    columns: dict[str, list[str]] = {
        "symmetry": [level.name for level in levels],
        "level": [write_percent(level.level) for level in levels],
        "error": [_write(level.error, 3) for level in levels],
        "s.e.": [_write(level.error_se, 1) for level in levels],
        "null": [_write(level.null, 3) for level in levels],
        "floor": [_write(level.floor or None, 2) for level in levels],
        "loss": [_write(level.measured, 3) for level in levels],
        "first strength": [_write(level.first_strength, 3) for level in levels],
        "strength": [_write(level.strength, 3) for level in levels],
        "multiplier": [_write(level.dual, 3) for level in levels],
        "slack": [_write(level.slack, 2) for level in levels],
        "relaxed": [_write(level.relaxed, 2) for level in levels],
        "verdict": [level.verdict for level in levels],
    }
    filled = {name: cells for name, cells in columns.items() if set(cells) != {"-"}}
    return list(filled), [list(row) for row in zip(*filled.values(), strict=True)]


def conclude_levels(levels: Sequence[SymmetryLevel]) -> str:
    """Say in one sentence what was found, the best first.

    Example:
        >>> levels = [SymmetryLevel("tilts", "", 0.3, 0.0, 0.5, "broken"), SymmetryLevel("z", "", 0.0, 0.0, 1, "exact")]
        >>> conclude_levels(levels)
        'exact: z; broken: tilts (60%).'
    """
    parts = []
    for verdict in ("exact", "approximate", "broken", "infeasible"):
        chosen = sorted((level for level in levels if level.verdict == verdict), key=lambda level: level.level)
        words = [f"{one.name}{one.words.removeprefix(verdict)}" for one in chosen]
        parts += [f"{verdict}: {', '.join(words)}"] if chosen else []
    return f"{'; '.join(parts)}."


def rank_correlation(levels: Sequence[SymmetryLevel]) -> float | None:
    """Correlate the ranks of levels and strengths (Spearman; ties share their mean rank).

    Near -1 for balancers that weaken what does not hold; near 1 for multipliers, which grow with what is hard to hold.

    Returns:
        Between -1 and 1; None for fewer than three symmetries with both, or where all of either are equal.

    Example:
        >>> triples = [("x", 0.5, 0.02), ("y", 0.4, 0.03), ("z", 0.01, 1.0)]
        >>> rank_correlation([SymmetryLevel(n, "", e, 0.0, 1.0, "broken", strength=s) for n, e, s in triples])
        -1.0
    """
    pairs = [(level.level, level.strength) for level in levels if level.strength is not None]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 3:
        return None
    values = torch.tensor(pairs, dtype=torch.float64).T
    # the mean rank counts what is smaller, and half of what is equal
    lower, equal = values[:, :, None] > values[:, None, :], values[:, :, None] == values[:, None, :]
    ranks = (lower.double() + 0.5 * equal.double()).sum(2)
    centred = ranks - ranks.mean(1, keepdim=True)
    sizes = centred.norm(dim=1)
    return None if not bool(sizes.all()) else round(float(centred[0] @ centred[1] / sizes.prod()), 12)


def save_levels(
    levels: Sequence[SymmetryLevel], folder: str | Path, curves: Mapping[str, Sequence[float]] | None = None
) -> Path:
    """Write ``levels.json``.

    Args:
        levels: One a symmetry.
        folder: Made if missing.
        curves: Over training, name to values, kept beside them.

    Returns:
        The file.

    Raises:
        InvalidSetting: It cannot be written.
    """
    document = {
        "format": FORMAT,
        "conclusion": conclude_levels(levels),
        "rank_correlation": rank_correlation(levels),
        "levels": [level.to_dict() for level in levels],
        "curves": {name: [_plain(float(v)) for v in values] for name, values in (curves or {}).items()},
    }
    with writing_into(folder) as place:
        (place / LEVELS).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return place / LEVELS


def load_levels(path: str | Path) -> tuple[SymmetryLevel, ...]:
    """Read a ``levels.json``.

    Args:
        path: The file or its folder.

    Raises:
        InvalidFile: It is missing, or not what it should be.
    """
    file = Path(path) / LEVELS if Path(path).is_dir() else Path(path)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        described = document["levels"] if document.get("format") == FORMAT else None
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise InvalidFile(
            f"{file} ({type(error).__name__})", f"a {LEVELS} of this package", "Check the path."
        ) from error
    if not isinstance(described, list):
        raise InvalidFile(f"{file} without 'format: {FORMAT}'", f"a {LEVELS} of this package", "Write it again.")
    return tuple(SymmetryLevel.from_dict(values) for values in described)


def write_percent(share: float) -> str:
    """Write a share in per cent.

    Example:
        >>> write_percent(0.5734), write_percent(0.0123), write_percent(2e-5), write_percent(0.0)
        ('57%', '1.2%', '<0.01%', '0%')
    """
    if not math.isfinite(share):
        return "-"
    if 0 < share < 1e-4:
        return "<0.01%"
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.2g}%"


def _write(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
