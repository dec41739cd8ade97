"""What is refused before training time is spent."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
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


def refuse_same_key(callback: Any, callbacks: Sequence[Any]) -> None:
    """Refuse two callbacks whose states would be one in a checkpoint.

    Args:
        callback: One of them.
        callbacks: All of the trainer.

    Raises:
        InvalidSetting: Another one has its key.
    """
    if sum(getattr(other, "state_key", None) == callback.state_key for other in callbacks) > 1:
        raise InvalidSetting(
            got=f"two callbacks {callback.state_key}",
            expected="a name for each, under which logs, files and checkpoints keep them apart",
            remedy="Give one of them another name=, or share one Symmetry object between different callbacks.",
        )


def refuse_slashes(name: str | None) -> None:
    """Refuse a name that cannot be a folder's.

    Raises:
        InvalidSetting: It holds a slash.
    """
    if name and set(name) & set("/\\"):
        raise InvalidSetting(f"name={name!r}", "a name that can be a folder's", "Leave slashes out.")


def refuse_same_folder(callback: Any, callbacks: Sequence[Any]) -> None:
    """Refuse callbacks of any kind that would write their reports to one folder.

    Args:
        callback: One of them.
        callbacks: All of the trainer.

    Raises:
        InvalidSetting: Another one has its name.
    """
    for other in callbacks:
        if other is not callback and hasattr(type(other), "report_folder") and other.name == callback.name:
            raise InvalidSetting(
                got=f"{type(other).__name__} and {type(callback).__name__}, both of the name {callback.name!r}",
                expected="a name for each, under which files and metrics keep them apart",
                remedy="Give one of them another name=.",
            )


def refuse_empty(trainer: Any, began: bool) -> None:
    """Refuse a training that was given nothing to train on.

    Args:
        trainer: At the end of the fit.
        began: Whether training began and saw no batch, which is all that a stream without length can tell.

    Raises:
        InvalidSetting: The loader is empty, and not because it was limited to nothing.
    """
    if trainer.limit_train_batches != 0 and (began or trainer.num_training_batches == 0):
        raise InvalidSetting(
            got="a training loader without a single batch",
            expected="at least one batch",
            remedy="Look at the dataset's length, at drop_last with a batch size above it, and at the sampler.",
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


def refuse_nameless(callback: Any, host: Any) -> None:
    """Refuse a callback without symmetries.

    Args:
        callback: It may have been given some, or have taken those that the module states.
        host: The module.

    Raises:
        InvalidSetting: There is none.
    """
    if not callback.symmetries:
        kind = type(callback).__name__
        raise InvalidSetting(
            got=f"{kind}() without symmetries, for a {type(host).__name__} that states none",
            expected="symmetries from one of the two",
            remedy=f'Write {kind}("SO(2) on image -> label"), or give the module a method symmetries().',
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


def refuse_balance(callback: Any, host: Any, callbacks: Sequence[Any]) -> None:
    """Refuse a balancer that learns for two callbacks, or compares gradients where the step optimizes by hand.

    Args:
        callback: Whose balancer; it says what it does.
        host: The module.
        callbacks: All of the trainer.

    Raises:
        InvalidSetting: Another one has it, or the task's loss has been differentiated before anybody could compare.
    """
    balance = callback.balance
    learns = balance.tracks or balance.observes
    if learns and any(getattr(c, "balance", None) is balance for c in callbacks if c is not callback):
        raise InvalidSetting(
            got=f"one {type(balance).__name__} object in two callbacks",
            expected="a balancer for each: it learns from the values of its callback",
            remedy="Make two of them.",
        )
    if balance.differentiates and not host.automatic_optimization:
        raise InvalidSetting(
            got=f"{type(balance).__name__} for a {type(host).__name__} that optimizes by hand",
            expected="automatic optimization, where the task's loss can be differentiated before the step does",
            remedy="Use 'ratio', 'dual' or 'uncertainty' here.",
        )
