"""What all contracts share."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import torch

from lightning_symmetry.functional.random import Rng


class Contract(ABC):
    """The laws of one noun, as tests that a subclass inherits.

    A subclass whose name begins with ``Test`` names the class under test and makes one; pytest does the rest.
    """

    subject: ClassVar[type]
    """The class under test."""

    def rng(self, counter: int = 0) -> Rng:
        """Give a fresh source of randomness.

        Args:
            counter: Different numbers, different draws.

        Returns:
            The same source whenever the number is the same.
        """
        return Rng(20, counter)


def require(holds: bool, law: str) -> None:
    """Fail a test where a law is broken.

    Args:
        holds: Whether the law holds.
        law: What should be, in words.

    Raises:
        AssertionError: The law is broken.
    """
    if not holds:
        raise AssertionError(law)


class UntouchedGenerator:
    """A ``with`` whose body must leave torch's global random numbers alone."""

    def __enter__(self) -> None:
        """Remember the state."""
        self._before = torch.random.get_rng_state()

    def __exit__(self, *failure: object) -> None:
        """Compare."""
        require(torch.equal(self._before, torch.random.get_rng_state()), "torch's global generator stays untouched")
