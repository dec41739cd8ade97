"""What may be said of symmetries that a network was pressed to: from their levels, strengths and multipliers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_symmetry.discovery.level import PRECISION, LevelVerdict, SymmetryLevel, write_percent
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.symmetry import Symmetry

# Training by gradients leaves a thousandth to a hundredth where a symmetry holds; unrelated answers are at 1.
EXACT = 0.01
# Measured: networks that learnt a function without the symmetry are at 0.52 to 0.98, random ones at 0.33 to 0.98.
BROKEN = 0.5
# A strength that fell by an order of magnitude against the best kept one was given up: true candidates stay within a
# factor of two of each other (measured: 0.88 to 1), false ones fall to 0.0004 to 0.02.
DROPPED = 0.1
# A symmetry that was given up and holds all the same, to this level, needs no pressure.
UNPRESSED = 0.1
# A multiplier below this share of the largest costs the task nothing that could be told.
FREE = 0.05
# What carrying samples there and back costs excuses so much and not more: above, nothing can be told.
LARGEST_FLOOR = 0.1
# Of training, over which a slack has to be positive to count; and over which the final loss is averaged.
_LAST, _END = 0.25, 0.1
_LEAST_READINGS = 4
_READINGS = ("strength", "first_strength", "dual", "slack", "relaxed", "infeasible")
_OF_GENERATORS = re.compile(r"(norm|width)_")


def judge_levels(
    symmetries: Sequence[Symmetry],
    found: Sequence[Mapping[str, Any]],
    readings: Mapping[str, Sequence[float]] | None = None,
    curves: Mapping[str, Sequence[float]] | None = None,
    ranked: bool = True,
) -> tuple[SymmetryLevel, ...]:
    """Judge the symmetries of one training, each in comparison with the others; see `judge_level`.

    Args:
        symmetries: K of them.
        found: What `ApproximateSymmetryLevel` computed of each on held-out inputs.
        readings: Of the balancer at the end, see `Balancer.readings`: "strength" and, where it has them, "dual",
            "slack", "relaxed", "infeasible" and "first_strength"; K numbers each or L K, the L losses of the first
            symmetry before those of the second. Of several losses that of the largest strength counts.
        curves: Over training, under "<symmetry>/<reading>" and "<symmetry>/<loss>", of several losses also
            "<symmetry>/<reading>_<loss>"; NaN where nothing was measured. The loss at the end, the slack throughout the
            last quarter and, where the balancer does not tell it, the first strength are read from them.
        ranked: Whether strengths were set by how well the symmetries hold, see `Balancer.ranks`; others, such as those
            that make gradients equally large, are no evidence.

    Returns:
        A level each.

    Raises:
        InvalidSetting: The numbers do not fit the symmetries.
    """
    if len(found) != len(symmetries):
        raise InvalidSetting(
            f"{len(found)} measurements of {len(symmetries)} symmetries", "one each", "Measure every symmetry."
        )
    given = [
        _read_end(symmetry.name, k, len(symmetries), readings or {}, curves or {})
        for k, symmetry in enumerate(symmetries)
    ]
    peers = [end["dual"] for end in given if end["dual"] is not None]
    if not ranked:
        given = [{**end, "first_strength": None} for end in given]
    elif not peers:
        peers = [end["strength"] / end["first_strength"] for end in given if end["first_strength"]]
        # where one began is not known, they cannot be compared
        peers = peers if len(peers) == len(given) else []
    return tuple(
        judge_level(symmetry.name, symmetry.sentence, measured, peers=peers, **end)
        for symmetry, measured, end in zip(symmetries, found, given, strict=True)
    )


def judge_level(
    name: str,
    sentence: str,
    found: Mapping[str, Any],
    *,
    measured: float | None = None,
    strength: float | None = None,
    first_strength: float | None = None,
    dual: float | None = None,
    slack: float | None = None,
    relaxed: float | None = None,
    epsilon: float | None = None,
    infeasible: bool | None = None,
    lasting: bool = False,
    peers: Sequence[float] = (),
) -> SymmetryLevel:
    """Judge one symmetry.

    - "infeasible": its constraint is violated at the end: the balancer says so, because it had to be relaxed by more
      than epsilon or its multiplier is at the limit; or, where nothing is relaxed, the slack was positive throughout
      the last part of training.
    - "exact": the one-sided 95 % bound of the level lies below a hundredth, or below what carrying samples there and
      back costs (at most a tenth).
    - "broken": the level is above a half; or the strength fell below a tenth of where it began, or of the best kept
      one relative to where that began, and the level is above a tenth.
    - "approximate": anything between.

    Strengths that were said beforehand, or that training did not set apart, are no evidence on the data; multipliers
    are never compared with strengths; and no symmetry is called present. The notes say which of this applies.

    Args:
        name: Of the symmetry.
        sentence: Of the symmetry.
        found: "error", "error_se", "null" and, if any, "floor", of `ApproximateSymmetryLevel`.
        measured: Value of the loss at the end.
        strength: Of the loss at the end.
        first_strength: The first that was not 0.
        dual: Multiplier of its constraint.
        slack: By how much the loss is above epsilon.
        relaxed: By how much epsilon was raised; None where it never is.
        epsilon: What is allowed; by default what ``measured`` and ``slack`` leave.
        infeasible: Whether the balancer takes the constraint for one that cannot be met; None where it does not say,
            which is told by ``relaxed`` and ``epsilon``.
        lasting: Whether the slack was positive throughout the last part of training.
        peers: Of all symmetries, this one among them: the strength relative to the first, or the multiplier.

    Returns:
        The level.
    """
    if epsilon is None and measured is not None and slack is not None:
        epsilon = measured - slack
    null, floor = (float(found.get(key, math.nan)) for key in ("null", "floor"))
    level = SymmetryLevel(
        name=name,
        sentence=sentence,
        error=float(found["error"]),
        error_se=float(found.get("error_se", math.nan)),
        null=null if math.isfinite(null) else None,
        verdict="approximate",
        floor=floor if math.isfinite(floor) else 0.0,
        measured=measured,
        strength=strength,
        first_strength=first_strength,
        dual=dual,
        slack=slack,
        relaxed=relaxed,
        epsilon=epsilon,
    )
    if not math.isfinite(level.error):
        note = "the network's answers are not finite, so that nothing can be told"
        return dataclasses.replace(level, verdict="broken", notes=(note,))
    violation, kept = _find_violation(level, infeasible, lasting), _measure_kept(level, peers)
    judged = dataclasses.replace(level, verdict="infeasible" if violation else _choose(level, kept))
    notes = [*violation, *_tell_pressure(judged, kept, peers), *_tell_measurement(judged)]
    return dataclasses.replace(judged, notes=tuple(notes))


def find_losses(curves: Mapping[str, Sequence[float]], name: str) -> list[str]:
    """List the curves of a symmetry that are of losses.

    Example:
        >>> find_losses({"step": [], "z/strength": [], "z/norm_0": [], "z/equivariance": [], "x/equivariance": []}, "z")
        ['z/equivariance']
    """
    readings = {key for word in _READINGS for key in find_curves(curves, name, word)}
    own = [key for key in curves if key.startswith(f"{name}/") and key not in readings]
    return [key for key in own if not _OF_GENERATORS.match(key.removeprefix(f"{name}/"))]


def find_curves(curves: Mapping[str, Sequence[float]], name: str, reading: str) -> list[str]:
    """List the curves of a symmetry that are of one reading: one, or one a loss."""
    whole = f"{name}/{reading}"
    return [key for key in curves if key == whole or key.startswith(f"{whole}_")]


def _choose(level: SymmetryLevel, kept: float | None) -> LevelVerdict:
    if level.is_constant:
        exact = level.error <= PRECISION
    else:
        exact = level.bound <= max(EXACT, min(level.level_floor, LARGEST_FLOOR))
    if exact:
        return "exact"
    given_up = kept is not None and kept < DROPPED
    return "broken" if level.level > BROKEN or given_up and level.level > UNPRESSED else "approximate"


def _measure_kept(level: SymmetryLevel, peers: Sequence[float]) -> float | None:
    """The share of its first strength that is left, relative to the largest such share of all, if above 1."""
    if level.dual is not None or not level.first_strength or level.strength is None:
        return None
    return level.strength / level.first_strength / max([1.0, *peers])


def _find_violation(level: SymmetryLevel, infeasible: bool | None, lasting: bool) -> list[str]:
    """Say how a constraint is violated at the end, if it is."""
    if level.dual is None:
        return []
    needed = level.relaxed or 0.0
    if infeasible is None:
        infeasible = level.epsilon is not None and needed > max(level.epsilon, 0.0)
    if infeasible and needed:
        return [f"its constraint is violated: {needed:.3g} more than what is allowed was needed"]
    if infeasible:
        return [f"its constraint is violated: the multiplier of {level.dual:.3g} is as large as it may become"]
    if lasting and not needed and level.slack is not None and level.slack > 0:
        return [
            f"its constraint is violated: the loss stayed {level.slack:.3g} above what is allowed, at a multiplier of "
            f"{level.dual:.3g}"
        ]
    return []


def _tell_pressure(level: SymmetryLevel, kept: float | None, peers: Sequence[float]) -> list[str]:
    """Say what strengths and multipliers tell of the data, and what they do not."""
    if level.verdict == "infeasible":
        if level.level <= UNPRESSED:
            return ["the network has it nevertheless, because it was pressed to: that says nothing of the data"]
        return ["the data break it, or this network cannot have it"]
    small = level.verdict != "broken"
    if level.dual is not None:
        if level.dual <= FREE * max(peers, default=0.0) or level.dual == 0:
            return ["its constraint costs the task nothing"] if (level.slack or 0.0) <= 0 else []
        slope = level.dual if level.strength is None else level.strength
        price = f"loosening its constraint by 0.01 would lower the task's loss by about {0.01 * slope:.2g}"
        return [f"it has a price: {price}" + (", so that its level may be the multiplier's doing" if small else "")]
    if kept is not None and kept < DROPPED:
        first, last = level.first_strength or 0.0, level.strength or 0.0
        fell = f"its strength went from {first:.3g} to {last:.2g}, less than a tenth of the best kept one's way"
        if last < DROPPED * first:
            fell = f"its strength fell from {first:.3g} to {last:.2g}"
        return [f"{fell}, and it holds without being pressed" if small else f"{fell}: training gave it up"]
    apart = min(peers, default=1.0) < DROPPED * max([1.0, *peers])
    if kept is not None and apart:
        if small:
            return ["it kept its strength while others lost theirs: the data support it better than those"]
        return ["it kept its strength only because the others fare worse"]
    if not small or not level.strength:
        return []
    return ["training set no strengths apart: its level is what the network was made to have, not what the data have"]


def _tell_measurement(level: SymmetryLevel) -> list[str]:
    """Say what limits the measurement."""
    if level.is_constant:
        return ["the network gives every sample the same answer, which says nothing of the data"]
    notes = []
    if level.null is None:
        notes.append("its error stands alone, since no two samples could be paired: its level may be larger")
    if level.level_floor > EXACT:
        floor = write_percent(level.level_floor)
        notes.append(f"carrying samples there and back costs {floor} by itself, and less cannot be told")
    if level.verdict == "approximate" and level.level <= EXACT:
        notes.append(f"too few samples to call it exact: with 95 % it is below {write_percent(level.bound)}")
    return notes


def _read_end(
    name: str,
    place: int,
    count: int,
    readings: Mapping[str, Sequence[float]],
    curves: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Collect what is known of a symmetry at the end, from that of its losses which has the largest strength."""
    own: dict[str, list[float]] = {}
    for word in _READINGS:
        values = [float(v) for v in readings.get(word, ())]
        if len(values) % count:
            raise InvalidSetting(
                f"{len(values)} values of {word!r} for {count} symmetries", "as many of each", "Give one a loss."
            )
        losses = len(values) // count
        own[word] = values[place * losses : (place + 1) * losses]
    strongest = max(range(len(own["strength"])), key=own["strength"].__getitem__, default=0)

    def read(word: str) -> float | None:
        return next((v for v in own[word][strongest : strongest + 1] if math.isfinite(v)), None)

    def follow(keys: Sequence[str]) -> list[float]:
        return [float(v) for v in curves[keys[min(strongest, len(keys) - 1)]]] if keys else []

    slack = follow(find_curves(curves, name, "slack"))
    last = [v for v in slack[-max(1, round(_LAST * len(slack))) :] if math.isfinite(v)]
    loss = [v for v in follow(find_losses(curves, name)) if math.isfinite(v)]
    end = loss[-max(1, round(_END * len(loss))) :]
    # multipliers begin at 0, and where they went first says nothing
    first = read("first_strength") or next((v for v in follow(find_curves(curves, name, "strength")) if v > 0), None)
    return {
        **{word: read(word) for word in _READINGS},
        "infeasible": any(own["infeasible"]) if own["infeasible"] else None,
        "first_strength": first if read("dual") is None else None,
        "measured": sum(end) / len(end) if end else None,
        "lasting": len(last) >= _LEAST_READINGS and min(last) > 0,
    }
