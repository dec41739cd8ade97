"""A spectrum in words and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning_symmetry.discovery.spectrum import Spectrum

_MOST_ROWS = 16
_MORE = 3
_MOST_NAMES = 6


def conclude(spectrum: Spectrum, verdict: str, names: Sequence[str]) -> str:
    """Put the result into one sentence.

    Args:
        spectrum: Of the candidates.
        verdict: "symmetric", "absent" or "undecided".
        names: Of the generators that were read.

    Returns:
        A sentence that begins with the verdict.
    """
    if spectrum.refused:
        return f"undecided: nothing can be read: {spectrum.refused}."
    total = len(spectrum.directions)
    if not spectrum.declared:
        best = spectrum.directions[0]
        if best.upper <= spectrum.delta:
            return (
                f"undecided: what looks symmetric on one half of the data (defect {best.defect:.2g}) does not on the "
                f"other: {spectrum.samples} samples are too few, or too much alike, for {total} directions."
            )
        near = f"the nearest, {names[0]}," if names else "the nearest"
        least = "" if not spectrum.null else f", derivatives paired at random reach {spectrum.null[0]:.2g}"
        return (
            f"{verdict}: none of {total} directions has a defect below {spectrum.delta:g}; {near} has "
            f"{best.defect:.2g} (95% interval {best.low:.2g} to {best.high:.2g}{least})."
        )
    worst = max(spectrum.directions[: spectrum.declared], key=lambda d: d.upper)
    told = ", ".join(f"{name}{f' ({n})' if n > 1 else ''}" for name, n in Counter(names).most_common(_MOST_NAMES))
    more = len(set(names)) - _MOST_NAMES
    gap = "" if spectrum.gap is None else f"; the next direction is {min(spectrum.gap, 9999):.3g} times less symmetric"
    verb = "holds" if spectrum.declared == 1 else "hold"
    also = f" and {more} more" if more > 0 else ""
    return (
        f"symmetric: {spectrum.declared} of {total} directions {verb}: {told}{also}; defects up to "
        f"{worst.defect:.2g} (95% bound {worst.upper:.2g}, asked {spectrum.delta:g}){gap}."
    )


def lay_out(spectrum: Spectrum, whole: bool = False) -> tuple[list[str], list[list[str]]]:
    """Lay a spectrum out as a table.

    Args:
        spectrum: Of the candidates.
        whole: Whether all directions are listed; otherwise those that were declared, and a few more.

    Returns:
        The header, and one row a direction.
    """
    header = ["direction", "kind", "defect", "95% interval", "upper bound", "two-term", "at random", "verdict"]
    rows = []
    total = len(spectrum.directions)
    shown = total if whole else min(spectrum.declared + _MORE, total, _MOST_ROWS)
    for i, one in enumerate(spectrum.directions[:shown]):
        holds = i < spectrum.declared
        null = f"{spectrum.null[i]:.3g}" if i < len(spectrum.null) else "-"
        verdict = "accepted" if holds else "violated" if one.low > spectrum.delta else "undecided"
        interval = f"{one.low:.3g} to {one.high:.3g}"
        kind = one.label if holds else "-"
        two = "-" if one.two_term is None else f"{one.two_term:.3g}"
        rows.append([str(i), kind, f"{one.defect:.3g}", interval, f"{one.upper:.3g}", two, null, verdict])
    return header, rows


def describe(spectrum: Spectrum, generators: Sequence[Any], algebra: Any, cosine: float | None) -> list[str]:
    """List what concerns all directions together, one line each.

    Args:
        spectrum: Of the candidates.
        generators: Evidence for the generators that were read.
        algebra: Of the generators, named, or None.
        cosine: To a known truth.
    """
    lines = [f"a defect of 1 is {spectrum.unit}; {spectrum.samples} samples, {spectrum.folds} folds"]
    for g in generators[:_MOST_ROWS]:
        if g.verdict == "accepted":
            kind = f" ({g.label})" if g.label not in ("", "equivariance", "invariance") else ""
            lines.append(f"generator {g.index}: {g.name}{kind}, finite error {max(g.violation, 0) ** 0.5:.2g}")
    if spectrum.pointwise_rank is not None:
        lines.append(
            f"pointwise rank {spectrum.pointwise_rank}; {spectrum.multiples} further null directions are functions "
            "times these and say nothing new"
        )
    if spectrum.unidentifiable or spectrum.dead_outputs:
        lines.append(
            f"left out: {spectrum.unidentifiable} directions that move nothing on these data, "
            f"{spectrum.dead_outputs} of the output that are never reached"
        )
    if algebra is not None and spectrum.declared > 1:
        lines.append(f"algebra: {algebra.name} ({algebra.closure:.1%} of the brackets leave the span)")
    if cosine is not None:
        lines.append(f"least principal cosine to the known truth: {cosine:.4f}")
    return lines
