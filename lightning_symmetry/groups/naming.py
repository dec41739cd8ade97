"""From words to parts: names with arguments, close matches, and classes by their dotted path."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from lightning_symmetry.exceptions import SentenceError, UnknownName

T = TypeVar("T")
_WORDS = re.compile(r"^(?P<name>[A-Za-z_][\w.]*?)(?P<order>\d+)?(?:\((?P<args>.*)\))?$", re.DOTALL)


def build_by_name(
    words: str,
    table: Mapping[str, Callable[..., T]],
    kind: Any,
    *args: Any,
    symbols: Sequence[str] = (),
    **kwargs: Any,
) -> T:
    """Build a part from its name, or from a name with its arguments as sentences write it.

    Args:
        words: ``"SO"``, ``"SO(2)"``, ``"D4"`` or ``"my_package.MyGroup(3)"``; upper and lower case, ``_`` and ``-`` do
        not matter.
        table: Lower-case name to class or function.
        kind: The abstract class of what must come out.
        *args: Further arguments.
        symbols: Words that may stand as arguments without quotes.
        **kwargs: Further arguments.

    Returns:
        The part.

    Raises:
        SentenceError: The words cannot be read.
        UnknownName: Nothing has that name; close matches are listed.
    """
    match = _WORDS.match(words.strip())
    noun = kind.__name__.lower()
    if match is None:
        known = f"Known are {', '.join(sorted(table))}."
        raise SentenceError(f"{words!r}", f"the name of a {noun}, with or without (arguments)", known)
    positional, settings = _read_arguments(words, match["args"] or "", symbols)
    name, order = match["name"], match["order"]
    if order and "." in name:
        name += order
    elif order:
        positional.insert(0, int(order))
    build = _find(name, table, kind)
    try:
        return build(*positional, *args, **{**settings, **kwargs})
    except TypeError as error:
        got = f"{words!r} with {args} and {kwargs} ({error})"
        raise SentenceError(got, "arguments that it takes", f"See the {noun}'s docstring.") from error


def split_outside_brackets(text: str, symbol: str) -> list[str]:
    """Split words at a symbol, but not within brackets.

    Args:
        text: Any words.
        symbol: A single character.

    Returns:
        The parts, without blanks around them; one part where the symbol does not occur.

    Example:
        >>> split_outside_brackets("(SO(2) | scale) * translation", "*")
        ['(SO(2) | scale)', 'translation']
    """
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == symbol and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts]


def _read_arguments(words: str, text: str, symbols: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    def read(value: ast.expr) -> Any:
        return value.id if isinstance(value, ast.Name) and value.id in symbols else ast.literal_eval(value)

    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call):
            raise SyntaxError
        settings = {str(word.arg): read(word.value) for word in call.keywords}
        return [read(value) for value in call.args], settings
    except (SyntaxError, ValueError) as error:
        raise SentenceError(f"{words!r}", "plain values as arguments", "Put text in quotes.") from error


def _find(name: str, table: Mapping[str, Callable[..., T]], kind: Any) -> Callable[..., T]:
    short = name.lower().replace("_", "").replace("-", "")
    if short in table:
        return table[short]
    noun = kind.__name__.lower()
    if "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UnknownName(f"{name!r}", f"an importable {noun}", f"It says: {error}.") from error
        if isinstance(found, type) and issubclass(found, kind):
            return found
        raise UnknownName(f"{name!r}, a {type(found).__name__}", f"a {noun}", f"Derive it from {kind.__name__}.")
    close = get_close_matches(short, table, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}?" if close else "A dotted path imports a class of your own."
    raise UnknownName(f"the {noun} {name!r}", f"one of {', '.join(sorted(table))}", hint)
