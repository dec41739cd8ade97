"""The folder that a finished run leaves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightning_symmetry.archive import writing_into
from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.report.page import write_page
from lightning_symmetry.report.pictures import FILES, draw_pictures

PAGE = "report.html"
_log = logging.getLogger(__name__)


def write_report(discovery: Discovery | LearntLaw, folder: str | Path, samples: Any = None) -> Path:
    """Write what was found, ``report.html`` and, with matplotlib, the pictures that apply.

    ``symmetry.yaml``, ``symmetry.safetensors`` and ``report.json`` (``law.json`` of a learnt law) are what every
    callback accepts in place of a sentence; nothing is pickled. ``report.html`` is one file that needs no other.
    ``symmetry.png`` shows all on one slide; ``spectrum.png``, ``fields.png``, ``orbits.png`` and ``algebra.png`` one
    thing each. Those of an earlier report in the same folder are replaced or, where they no longer apply, removed.

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
    pictures = draw_pictures(discovery, samples)
    if not pictures:
        _log.info("No pictures in %s: matplotlib is not installed (pip install 'lightning-symmetry[recipes]').", folder)
    with writing_into(folder):
        for file in set(FILES) - {picture.file for picture in pictures}:
            (folder / file).unlink(missing_ok=True)
        for picture in pictures:
            (folder / picture.file).write_bytes(picture.png)
        (folder / PAGE).write_text(write_page(discovery, pictures), encoding="utf-8")
    return folder
