"""What the loss is multiplied by before it is differentiated, by Lightning's gradient scaler or the module's own."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakSet

import torch

_listeners: WeakSet[LossScale] = WeakSet()
# the method that stood there, and ours
_replaced: list[tuple[Any, Any]] = []


class LossScale:
    """The factor between the gradients that arrive and those of the loss.

    Lightning's precision plugin tells its scaler. A scaler that the module uses by itself, as under manual
    optimization, is met when it scales a loss: while anybody listens, `torch.amp.GradScaler.scale` is watched.
    """

    def __init__(self) -> None:
        self._scaler: Any = None
        self._began: float | None = None

    def __call__(self) -> float:
        """Get the factor; 1 where nothing is scaled."""
        return 1.0 if self._scaler is None else float(self._scaler.get_scale())

    def start(self, scaler: Any) -> None:
        """Listen, beginning with the plugin's scaler or None."""
        self._scaler, self._began = scaler, None
        _listeners.add(self)
        _watch()

    def stop(self) -> None:
        """Listen no more; harmless when not listening."""
        self._scaler = self._began = None
        _listeners.discard(self)
        _watch()

    @property
    def is_used(self) -> bool:
        """Whether there is a scaler."""
        return self._scaler is not None

    def begin_batch(self) -> None:
        """Forget what scaled between two batches, such as a learning-rate search."""
        self._began = None

    def meet(self, scaler: Any) -> None:
        """Note which scaler scales the loss of this batch."""
        self._scaler = scaler
        if self._began is None:
            self._began = self()

    def end_batch(self) -> bool:
        """Forget this batch, and tell whether its step was skipped: a scaler that met an overflow has shrunk."""
        began, self._began = self._began, None
        return began is not None and self() < began


def _watch() -> None:
    """Put the watching method in place, or the original back."""
    if _listeners and not _replaced:
        original = torch.amp.GradScaler.scale

        @functools.wraps(original)
        def scale(scaler: Any, outputs: Any) -> Any:
            for listener in list(_listeners):
                listener.meet(scaler)
            return original(scaler, outputs)

        _replaced.append((original, scale))
        torch.amp.GradScaler.scale = scale  # type: ignore[assignment]
    elif _replaced and not _listeners:
        original, ours = _replaced.pop()
        # a method that somebody put on top of ours is not ours to take away; without listeners ours is idle
        if torch.amp.GradScaler.scale is ours:
            torch.amp.GradScaler.scale = original  # type: ignore[method-assign]
