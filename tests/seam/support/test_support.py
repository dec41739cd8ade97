"""Every cell of the README's support table is a test here."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.seam.support.columns import COLUMNS, Column
from tests.seam.support.table import BEGIN, END, ROWS, Row, render

README = Path(__file__).parents[3] / "README.md"


def cells() -> list[Any]:
    return [
        pytest.param(row, column, id=f"{row.name}-{column.key}", marks=[pytest.mark.slow] if row.slow else [])
        for row in ROWS
        for column in COLUMNS
        if column.key not in row.blank
    ]


@pytest.mark.parametrize(("row", "column"), cells())
def test_support(row: Row, column: Column, monkeypatch: pytest.MonkeyPatch) -> None:
    if row.needs:
        pytest.skip(row.needs)
    patches = {"monkeypatch": monkeypatch} if "monkeypatch" in inspect.signature(row.run).parameters else {}
    said = row.run(column, **patches)
    if column.key in row.refused:
        assert row.refused[column.key] in said.lower()


def test_the_readme_shows_the_table() -> None:
    text = README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.split(BEGIN)[1].split(END)[0].strip() == render()
