"""`Discovery`: what was found, with its evidence; a frozen result that can be saved, loaded and printed."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.archive import writing_into
from lightning_symmetry.discovery.algebra import name_algebra
from lightning_symmetry.discovery.evidence import LARGEST_CONTROL, SPARE_NORM, GeneratorVerdict, Verdict
from lightning_symmetry.discovery.layout import align_columns
from lightning_symmetry.discovery.nature import Algebra
from lightning_symmetry.discovery.reading import conclude, describe, lay_out
from lightning_symmetry.discovery.spectrum import Spectrum
from lightning_symmetry.exceptions import InvalidFile, SymmetryError
from lightning_symmetry.symmetry import Symmetry

MOST_ROWS = 12
REPORT = "report.json"
FORMAT = 1


@final
@dataclass(frozen=True)
class GeneratorEvidence:
    """What speaks for and against one generator.

    Args:
        index: Its place in the group.
        norm: Frobenius norm.
        violation: Relative violation at unit angle, in output variances.
        random_violation: The same for a typical random direction; None where there is no such control.
        verdict: "accepted", "spare", "violated" or "undecided".
        name: In plain words.
        cosine_to_name: How well the name fits.
        matrix: The generator itself, rows of numbers: a matrix, or the coefficients of a field.
        label: What kind of symmetry was read out of the network: "invariance", "equivariance", "homogeneity of degree
            p" or "the flow itself"; "" where none was.
    """

    index: int
    norm: float
    violation: float
    random_violation: float | None
    verdict: GeneratorVerdict
    name: str
    cosine_to_name: float
    matrix: tuple[tuple[float, ...], ...]
    label: str = ""


@final
@dataclass(frozen=True, eq=False)
class Discovery:
    """A symmetry that was looked for, the verdict, and the evidence.

    Args:
        symmetry: Ready to be used elsewhere: fixed generators, the canonical basis of the accepted ones, or the learnt
            ones as they are if none was accepted.
        name: Of the symmetry that was learnt.
        verdict: "symmetric", "absent" or "undecided".
        generators: Evidence for each learnt generator.
        canonical: (r, ...) sparse basis of the span of the accepted generators at unit speed; r = 0 if there is none.
        canonical_names: Their names.
        canonical_cosines: How well the names fit.
        coverage: Share of moved samples that land where there are data; NaN where it was not measured.
        closure: Share of the accepted generators' brackets that their span lacks; None if none was accepted.
        cosine: Least principal cosine to a known truth, over the dimension of the smaller span; None without a truth.
        cap: Norm that the verdict measured against; None for generators that were given.
        held_out: "validation", "training", "test" or "given": what the evidence was measured on.
        notes: Sentences on what the numbers do not say.
        history: Curves over training, name to values.
        spectrum: Of the candidates, where generators were read out of a network (`discover`); None where they were
            learnt or given.

    Example:
        >>> from lightning_symmetry.discovery import assemble
        >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        >>> found = assemble(lambda x: x.norm(dim=1), x, Symmetry.parse("SO(2) on vector -> scalar"))
        >>> found.verdict, found.canonical_names
        ('symmetric', ('rotation',))
    """

    symmetry: Symmetry
    name: str
    verdict: Verdict
    generators: tuple[GeneratorEvidence, ...]
    canonical: Tensor
    canonical_names: tuple[str, ...]
    canonical_cosines: tuple[float, ...]
    coverage: float
    closure: float | None = None
    cosine: float | None = None
    cap: float | None = None
    held_out: str = "validation"
    notes: tuple[str, ...] = ()
    history: Mapping[str, list[float]] = dataclasses.field(default_factory=dict)
    spectrum: Spectrum | None = None

    @property
    def accepted(self) -> tuple[GeneratorEvidence, ...]:
        """The generators that hold."""
        return tuple(g for g in self.generators if g.verdict == "accepted")

    @functools.cached_property
    def algebra(self) -> Algebra | None:
        """The Lie algebra of the generators that hold, named; None where none does, or where it cannot be told."""
        if not len(self.canonical):
            return None
        try:
            return name_algebra(self.symmetry.group)
        except SymmetryError:
            # the rest of the result is worth having all the same
            return None

    @property
    def conclusion(self) -> str:
        """The result in one sentence."""
        if self.spectrum is not None:
            return conclude(self.spectrum, self.verdict, [g.name for g in self.generators])
        total = len(self.generators)
        things = f"{total} generator{'s' * (total != 1)}"
        if self.verdict == "symmetric":
            named = ", ".join(
                f"{name} (cosine {cosine:.3f})"
                for name, cosine in zip(self.canonical_names, self.canonical_cosines, strict=True)
            )
            holds = f"{len(self.accepted)} of {things} {'holds' if len(self.accepted) == 1 else 'hold'}"
            if len(self.canonical) < len(self.accepted):
                holds += f" and span {len(self.canonical)} dimension{'s' * (len(self.canonical) != 1)}"
            return f"symmetric: {holds}; {named}; {describe_violation(max(self.accepted, key=_by_violation))}."
        if self.verdict == "absent":
            if self.cap is None:
                return f"absent: none of {things} holds; {describe_violation(min(self.generators, key=_by_violation))}."
            largest = max(g.norm for g in self.generators)
            return (
                f"absent: training shrank {'the generator' if total == 1 else f'all {things}'} below a quarter of the "
                f"cap (largest norm {largest:.2g}, cap {self.cap:.3g})."
            )
        if self.accepted:
            return (
                f"undecided: {len(self.accepted)} of {things} would hold, but only {self.coverage:.0%} of the moved "
                "samples land where there are data; elsewhere the network is free."
            )
        best = min(self.generators, key=_by_violation)
        large = "" if self.cap is None else f"norm {best.norm:.2g} (cap {self.cap:.3g}), "
        small = self.cap is not None and best.norm < SPARE_NORM * self.cap
        hint = "; it may still be growing: train longer, or reward norms more" if small else ""
        return f"undecided: the best of {things} reads as {best.name}; {large}{describe_violation(best)}{hint}."

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay the evidence out as a table: the header, and one row a generator, the best ones where there are many.

        Where a spectrum was measured, one row a direction.
        """
        if self.spectrum is not None:
            return lay_out(self.spectrum)
        header = ["generator", "reads as", "cosine", "norm", "violation", "random direction", "verdict"]
        rows = [
            [
                str(g.index),
                g.name,
                f"{g.cosine_to_name:.3f}",
                f"{g.norm:.3g}",
                f"{g.violation:.2g}",
                "-" if g.random_violation is None else f"{g.random_violation:.2g}",
                g.verdict,
            ]
            for g in sorted(sorted(self.generators, key=_by_violation)[:MOST_ROWS], key=lambda g: g.index)
        ]
        return header, rows

    def facts(self) -> list[str]:
        """List what concerns all generators together, one line each."""
        if self.spectrum is not None:
            return describe(self.spectrum, self.generators, self.algebra, self.cosine)
        hidden = len(self.generators) - MOST_ROWS
        lines = [f"{hidden} further generators are in report.json"] if hidden > 0 else []
        lines += [f"support: {self.coverage:.0%} of the moved samples land where there are data"]
        if self.closure is not None and len(self.canonical) > 1:
            lines.append(f"closure: {self.closure:.1%} of the brackets leave the span (below 5% is an algebra)")
        if self.cosine is not None:
            lines.append(f"least principal cosine to the known truth: {self.cosine:.4f}")
        return lines

    def metrics(self) -> dict[str, float]:
        """Give the numbers that a logger or a test wants.

        Returns:
            ``symmetric``, ``absent``, ``undecided`` (0 or 1), ``accepted`` (how many), ``coverage``, ``norm_k`` and
            ``violation_k`` for each generator; ``random_violation``, ``closure`` and ``cosine`` where they exist.
        """
        values = {word: float(self.verdict == word) for word in ("symmetric", "absent", "undecided")}
        values["accepted"] = float(len(self.accepted))
        if not math.isnan(self.coverage):
            values["coverage"] = self.coverage
        if self.spectrum is not None:
            values |= self.spectrum.metrics()
        for g in self.generators:
            values |= {f"norm_{g.index}": g.norm, f"violation_{g.index}": g.violation}
        optional = {
            "random_violation": self.generators[0].random_violation if self.generators else None,
            "closure": self.closure,
            "cosine": self.cosine,
        }
        return values | {key: value for key, value in optional.items() if value is not None}

    def save(self, folder: str | Path) -> Path:
        """Write ``symmetry.yaml``, ``symmetry.safetensors`` and ``report.json``; nothing is pickled.

        Args:
            folder: Made if missing.

        Returns:
            The folder.

        Raises:
            InvalidSetting: It cannot be written.
        """
        folder = Path(folder)
        self.symmetry.save(folder)
        document = {
            "format": FORMAT,
            "name": self.name,
            "sentence": self.symmetry.sentence,
            "verdict": self.verdict,
            "conclusion": self.conclusion,
            "generators": [dataclasses.asdict(g) for g in self.generators],
            "canonical": self.canonical.tolist(),
            "canonical_names": self.canonical_names,
            "canonical_cosines": self.canonical_cosines,
            "coverage": self.coverage,
            "closure": self.closure,
            "cosine": self.cosine,
            "cap": self.cap,
            "held_out": self.held_out,
            "notes": self.notes,
            "metrics": self.metrics(),
            "history": self.history,
            "spectrum": None if self.spectrum is None else self.spectrum.to_dict(),
        }
        text = json.dumps(_finite(document), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        with writing_into(folder):
            (folder / REPORT).write_text(text + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Discovery:
        """Read what `save` wrote.

        Args:
            folder: With symmetry.yaml, symmetry.safetensors and report.json.

        Returns:
            The discovery; numbers that were not finite come back as NaN.

        Raises:
            InvalidFile: A file is missing, truncated, or not what it should be.
        """
        file = Path(folder) / REPORT
        remedy = "Give the folder of a finished run, or save the discovery again."
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidFile(f"{file} ({type(error).__name__})", "a readable report.json", remedy) from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidFile(f"{file} without 'format: {FORMAT}'", "a report.json written by this package", remedy)
        symmetry = Symmetry.load(folder)
        shape = symmetry.group.coefficients().shape[1:]
        try:
            return cls(
                symmetry=symmetry,
                name=document["name"],
                verdict=document["verdict"],
                generators=tuple(_read_evidence(g) for g in document["generators"]),
                canonical=torch.tensor(document["canonical"], dtype=torch.float64).reshape(-1, *shape),
                canonical_names=tuple(document["canonical_names"]),
                canonical_cosines=tuple(document["canonical_cosines"]),
                coverage=_number(document["coverage"]),
                closure=document["closure"],
                cosine=document["cosine"],
                cap=document["cap"],
                held_out=document["held_out"],
                notes=tuple(document["notes"]),
                history={key: [_number(v) for v in values] for key, values in document["history"].items()},
                spectrum=None if document.get("spectrum") is None else Spectrum.from_dict(document["spectrum"]),
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InvalidFile(f"{file}, which lacks or garbles {error}", "all parts of a discovery", remedy) from error

    def __str__(self) -> str:
        """Show the table as plain text."""
        header, rows = self.rows()
        lines = [f"{self.name} ({self.held_out} data)", align_columns([header, *rows]), *self.facts(), self.conclusion]
        return "\n".join([*lines, *self.notes])


def describe_violation(evidence: GeneratorEvidence) -> str:
    """Put a violation into words, in the units that it was judged in."""
    if evidence.random_violation and evidence.random_violation <= LARGEST_CONTROL:
        share = evidence.violation / evidence.random_violation
        return f"violation {f'{share:.1%}' if share >= 1e-3 else 'below 0.1%'} of a random direction's"
    return f"violation {evidence.violation:.2g} of the output's variance"


def _by_violation(evidence: GeneratorEvidence) -> float:
    return evidence.violation if math.isfinite(evidence.violation) else math.inf


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for by null."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _read_evidence(item: dict[str, Any]) -> GeneratorEvidence:
    numbers = {key: _number(item[key]) for key in ("norm", "violation", "cosine_to_name")}
    return GeneratorEvidence(**{**item, **numbers, "matrix": tuple(tuple(row) for row in item["matrix"])})
