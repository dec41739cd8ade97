"""How much of the training time a callback takes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from lightning_symmetry.callbacks.site import is_quiet


class Stopwatch:
    """Estimates the share of training that goes into draws, moves, second passes and penalties.

    In the forward it is what an answered call takes beyond the module's own forward; of the backward it is the same
    part as of the forward. Nothing waits for a device, so that on a GPU the launches are what is compared.
    """

    def __init__(self) -> None:
        self._calls = self._host = self._backward = self._total = 0.0
        self._started: float | None = None
        self._backward_started: float | None = None
        self._in_call = False

    def start(self) -> None:
        """Begin, from nothing."""
        self.__init__()  # type: ignore[misc]
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End; the share is that of the time until here."""
        if self._started is not None:
            self._total, self._started = time.perf_counter() - self._started, None

    @property
    def share(self) -> float | None:
        """The share, between 0 and 1; None before the end of a training that called the network."""
        if not self._total or not self._calls:
            return None
        own = max(self._calls - self._host, 0.0)
        return (own + self._backward * own / self._calls) / self._total

    def time_call(self, answer: Callable[[], Any]) -> Any:
        """Answer the network's call."""
        began, self._in_call = time.perf_counter(), True
        try:
            return answer()
        finally:
            self._calls += time.perf_counter() - began
            self._in_call = False

    def time_host(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the module's own forward."""

        @functools.wraps(forward)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._in_call or is_quiet():
                return forward(*args, **kwargs)
            began = time.perf_counter()
            try:
                return forward(*args, **kwargs)
            finally:
                self._host += time.perf_counter() - began

        return timed

    def begin_backward(self) -> None:
        """Called before a backward of the host."""
        self._backward_started = time.perf_counter()

    def end_backward(self) -> None:
        """Called after it."""
        if self._backward_started is not None:
            self._backward += time.perf_counter() - self._backward_started
            self._backward_started = None
