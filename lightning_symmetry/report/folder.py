"""The folder that a finished run leaves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightning_symmetry.archive import writing_into
from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.report.laws import draw_law
from lightning_symmetry.report.plots import draw_discovery

PICTURE = "symmetry.png"
_log = logging.getLogger(__name__)


def write_report(discovery: Discovery | LearntLaw, folder: str | Path, samples: Any = None) -> Path:
    """Write ``symmetry.yaml``, ``symmetry.safetensors``, ``report.json`` and, with matplotlib, ``symmetry.png``.

    A learnt law leaves ``law.json`` instead of ``report.json``.

    Every callback accepts the folder in place of a sentence. Nothing is pickled.

    Args:
        discovery: What was found, or a learnt law.
        folder: Made if missing.
        samples: Input structure; its first three rows show what the generators do. Without it, no orbits are drawn.

    Returns:
        The folder.

    Raises:
        InvalidSetting: It cannot be written.
    """
    folder = discovery.save(folder)
    figure = draw_law(discovery, samples) if isinstance(discovery, LearntLaw) else draw_discovery(discovery, samples)
    if figure is None:
        _log.info("No picture in %s: matplotlib is not installed (pip install 'lightning-symmetry[recipes]').", folder)
        return folder
    with writing_into(folder):
        figure.savefig(folder / PICTURE, dpi=130)
    return folder
