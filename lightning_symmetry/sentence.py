"""The grammar of a symmetry's sentence: ``[group on] input -> output``, a side being a list of ``[path=]action``."""

from __future__ import annotations

import re

from lightning_symmetry.exceptions import SentenceError

Items = list[tuple[str | None, str]]

_EXAMPLE = 'For example "SO(2) on image -> label" or "pos=points, z=scalar -> forces=vector".'
_ITEM = re.compile(r"^(?:(?P<path>\w+(?:\.\w+)*)\s*=\s*)?(?P<words>[A-Za-z_][\w.]*\s*(?:\(.*\))?)$", re.DOTALL)


def read_sentence(sentence: str) -> tuple[str | None, Items, Items]:
    """Split a sentence into group, input and output; names and arguments are left to those who know them.

    Args:
        sentence: For example ``"D4 on image -> mask"``; the group may be left out.

    Returns:
        The group's words (or None), the input's (path, words) and the output's.

    Raises:
        SentenceError: It cannot be read.

    Example:
        >>> read_sentence("SO(3) on pos=points, z=scalar -> forces=vector")
        ('SO(3)', [('pos', 'points'), ('z', 'scalar')], [('forces', 'vector')])
    """
    halves = sentence.split("->")
    if len(halves) != 2:
        raise SentenceError(got=f"{sentence!r}", expected="one '->' between input and output", remedy=_EXAMPLE)
    group, _, input = halves[0].rpartition(" on ")
    return group.strip() or None, read_side(input), read_side(halves[1])


def read_side(text: str) -> Items:
    """Read a comma-separated list of ``[path=]action[(arguments)]``.

    Raises:
        SentenceError: An item cannot be read.
    """
    items: Items = []
    for part in _split_outside_brackets(text):
        match = _ITEM.match(part.strip())
        if match is None:
            raise SentenceError(
                got=f"{part.strip()!r}", expected="[path=]action or [path=]action(arguments)", remedy=_EXAMPLE
            )
        items.append((match["path"], match["words"]))
    return items


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts
