"""Showing what was found: tables for terminals, one picture, one folder."""

from __future__ import annotations

from lightning_symmetry.report.folder import write_report
from lightning_symmetry.report.levels import print_levels, write_levels
from lightning_symmetry.report.plots import draw_discovery
from lightning_symmetry.report.strengths import draw_levels
from lightning_symmetry.report.tables import format_table, print_discovery

__all__ = [
    "draw_discovery",
    "draw_levels",
    "format_table",
    "print_discovery",
    "print_levels",
    "write_levels",
    "write_report",
]
