"""What the loss is multiplied by before it is differentiated, by Lightning's gradient scaler or the module's own."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakSet

import torch

_listeners: WeakSet[LossScale] = WeakSet()
_original: list[Any] = []


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
    if _listeners and not _original:
        original = torch.amp.GradScaler.scale
        _original.append(original)

        @functools.wraps(original)
        def scale(scaler: Any, outputs: Any) -> Any:
            for listener in list(_listeners):
                listener.meet(scaler)
            return original(scaler, outputs)

        torch.amp.GradScaler.scale = scale  # type: ignore[assignment]
    elif _original and not _listeners:
        torch.amp.GradScaler.scale = _original.pop()  # type: ignore[method-assign]
