"""Which Lightning the callbacks belong to: `lightning.pytorch`, or `pytorch_lightning` where only that is installed."""

from __future__ import annotations

try:
    from lightning.pytorch import Callback
except ModuleNotFoundError:
    from pytorch_lightning import Callback  # type: ignore[assignment]

__all__ = ["Callback"]
