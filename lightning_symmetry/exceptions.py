"""Errors that say what was got, what was expected, and the remedy."""

from __future__ import annotations


class SymmetryError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        got: What was found, with its value or shape.
        expected: What would have been right.
        remedy: What to do about it.
    """

    def __init__(self, got: str, expected: str, remedy: str) -> None:
        self.got, self.expected, self.remedy = got, expected, remedy
        super().__init__(f"got {got}; expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[type[SymmetryError], tuple[str, str, str]]:
        """Keep all three parts when an error crosses a process border."""
        return type(self), (self.got, self.expected, self.remedy)


class SentenceError(SymmetryError):
    """A symmetry's sentence cannot be read."""


class UnknownName(SymmetryError):
    """A group, action, recipe or metric of that name does not exist."""


class DimensionMismatch(SymmetryError):
    """A group, element or action does not fit the space that it is asked to move."""


class ActionMismatch(SymmetryError):
    """A tensor is not the kind of data that an action moves."""


class AmbiguousPath(SymmetryError):
    """More than one part of a batch or an output fits, or none does."""


class AxiomViolation(SymmetryError):
    """A declared symmetry breaks the group axioms on real data."""


class TargetError(SymmetryError):
    """The network to work on cannot be found, is never called, or is not unique."""


class NoGradient(SymmetryError):
    """A penalty has nothing to flow into."""


class UnsupportedTrainer(SymmetryError):
    """The trainer runs in a way that cannot be served correctly."""


class InvalidSetting(SymmetryError):
    """An argument has a value that makes no sense."""


class InvalidFile(SymmetryError):
    """A file cannot be read as what it should be."""


class ClaimFailed(SymmetryError):
    """A recipe's claim does not hold."""
