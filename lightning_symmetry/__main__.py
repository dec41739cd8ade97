"""`python -m lightning_symmetry` is `lightning-symmetry`."""

from __future__ import annotations

import sys

from lightning_symmetry.cli import main

if __name__ == "__main__":
    sys.exit(main())
