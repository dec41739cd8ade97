from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch

from tests.benchmarks.turns import keep_freed_memory

_tables = pytest.StashKey[dict[str, list[Mapping[str, str]]]]()


@pytest.fixture(scope="session", autouse=True)
def steady() -> None:
    """One core, and a heap that keeps what it has."""
    torch.set_num_threads(1)
    keep_freed_memory()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str, Mapping[str, str]], None]:
    """Add a row, by column, to the table of a title, which is printed at the end of the session."""
    tables = request.config.stash.setdefault(_tables, {})
    return lambda title, row: tables.setdefault(title, []).append(row)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, rows in terminalreporter.config.stash.get(_tables, {}).items():
        terminalreporter.section(title)
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            terminalreporter.write_line("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
