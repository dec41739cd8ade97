"""What is refused before training time is spent."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_symmetry.archive import writing_into
from lightning_symmetry.exceptions import InvalidSetting, UnsupportedTrainer

_SHARDING = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")


def refuse_unsupported(trainer: Any, host: Any) -> None:
    """Refuse trainers and steps that cannot be served correctly.

    Raises:
        UnsupportedTrainer: Parameters are sharded, or the step takes an iterator instead of a batch.
    """
    strategy = type(getattr(trainer, "strategy", None)).__name__
    # by name, since two Lightnings have two classes of each
    if any(kind.__name__ in _SHARDING for kind in type(getattr(trainer, "strategy", None)).__mro__):
        raise UnsupportedTrainer(
            got=f"the strategy {strategy}, which shards parameters",
            expected="a single device or DDP",
            remedy="A second forward through sharded parameters cannot be served correctly yet.",
        )
    if "dataloader_iter" in inspect.signature(inspect.unwrap(host.training_step)).parameters:
        raise UnsupportedTrainer(
            got="training_step(dataloader_iter)",
            expected="training_step(batch, ...)",
            remedy="Take the batch as an argument.",
        )


def refuse_non_finite(x: Tensor) -> None:
    """Refuse a first batch with NaN or infinite values.

    Raises:
        InvalidSetting: It says how many there are.
    """
    if not bool(x.isfinite().all()):
        raise InvalidSetting(
            got=f"{int((~x.isfinite()).sum())} values in the first batch's input that are NaN or infinite",
            expected="finite data",
            remedy="Clean the data; a symmetry cannot be learnt from it.",
        )


def refuse_unwritable(folder: Path) -> None:
    """Refuse a report folder that cannot be written; it is made when it can.

    Raises:
        InvalidSetting: It says why.
    """
    with writing_into(folder):
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
