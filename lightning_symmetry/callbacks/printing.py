"""Printing beside a live progress bar."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any


@contextmanager
def printing(pl_module: Any) -> Iterator[None]:
    """Hand what is printed to Lightning, which keeps a live progress bar in one piece.

    Args:
        pl_module: Prints it, on the first process.
    """

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    terminal, screen = sys.stdout.isatty(), Screen()
    with redirect_stdout(screen):
        yield
    pl_module.print(screen.getvalue(), end="")
