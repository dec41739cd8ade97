"""Measuring several things in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import ctypes
import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

Batch = tuple[Tensor, ...]

# parameters of glibc's mallopt
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


class Enough(Exception):
    """Ends a fit between two batches, so that no verdict follows."""


class Loader:
    """Gives one batch again and again, in fresh tensors, and asks before each."""

    def __init__(self, batch: Batch, ask: Callable[[], None]) -> None:
        self.batch, self.ask = batch, ask

    def __len__(self) -> int:
        # a loader without length is read one batch ahead
        return 10**9

    def __iter__(self) -> Iterator[Batch]:
        while True:
            self.ask()
            yield tuple(t.clone() for t in self.batch)


class Run:
    """A `Trainer.fit` in a thread of its own, which trains while it is asked to and waits otherwise.

    Its steps are the trainer's: loading, all hooks, the step, backward, all optimizers and logging are in the time.

    Args:
        host: What is trained.
        callbacks: The plugin's, or none.
        batch: What it is trained on.
        folder: Of the logs.
        clock: Tells the seconds; that of the processor, as long as all other threads wait, on a machine that is shared.
    """

    def __init__(
        self,
        host: L.LightningModule,
        callbacks: Sequence[Any],
        batch: Batch,
        folder: Path,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._orders: SimpleQueue[int] = SimpleQueue()
        self._reports: SimpleQueue[float | BaseException] = SimpleQueue()
        self._started, self._left = 0.0, 0
        trainer = make_trainer(callbacks, folder)
        self._thread = threading.Thread(target=self._fit, args=(trainer, host, Loader(batch, self._wait)), daemon=True)
        self._thread.start()
        self._receive()

    def take(self, steps: int) -> float:
        """Train on some batches; returns the seconds that one took."""
        self._orders.put(steps)
        return self._receive() / steps

    def stop(self) -> None:
        """Leave the fit."""
        self._orders.put(0)
        self._thread.join()

    def _receive(self) -> float:
        report = self._reports.get()
        if isinstance(report, BaseException):
            raise report
        return report

    def _wait(self) -> None:
        if not self._left:
            self._reports.put(self._clock() - self._started)
            self._left = self._orders.get()
            self._started = self._clock()
        if not self._left:
            raise Enough
        self._left -= 1

    def _fit(self, trainer: L.Trainer, host: L.LightningModule, loader: Loader) -> None:
        torch.set_num_threads(1)
        try:
            trainer.fit(host, loader)
        except Enough:
            pass
        except BaseException as error:
            self._reports.put(error)


def keep_freed_memory() -> None:
    """Keep the C library from giving freed memory back to the system, as torch does on accelerators.

    Otherwise the page faults of a step, up to a third of its time, depend on what else happens to lie in the heap.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(parameter, value)


def make_trainer(callbacks: Sequence[Any], folder: Path) -> L.Trainer:
    """A trainer as users have it, logging to a file, without what is only printed."""
    return L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=list(callbacks),
        logger=CSVLogger(folder),
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def profile_steps(
    host: L.LightningModule, callbacks: Sequence[Any], batch: Batch, folder: Path, skipped: int, steps: int
) -> torch.profiler.profile:
    """Record operators and memory of some steps of a fit, after some that are only run.

    With ``skipped=0`` everything from the start of the fit is recorded.
    """
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    asked = itertools.count()

    def ask() -> None:
        step = next(asked)
        if step == skipped and skipped:
            profile.start()
        if step == skipped + steps:
            profile.stop()
            raise Enough

    trainer = make_trainer(callbacks, folder)
    if not skipped:
        profile.start()
    try:
        trainer.fit(host, Loader(batch, ask))
    except Enough:
        pass
    return profile


def measure_peak(host: L.LightningModule, callbacks: Sequence[Any], batch: Batch, folder: Path, steps: int) -> int:
    """The most bytes that tensors hold at once during a fit: weights, optimizer states, activations, kept inputs."""
    weights = sum(t.numel() * t.element_size() for t in (*host.parameters(), *host.buffers()))
    # what earlier fits left behind must not be freed in this one
    gc.collect()
    recorded: Any = profile_steps(host, callbacks, batch, folder, skipped=0, steps=steps).profiler
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    return weights + max(itertools.accumulate(event.nbytes() for event in events))


def measure_operators(profile: torch.profiler.profile, steps: int) -> dict[str, float]:
    """Milliseconds a step that every operator spends itself."""
    return {event.key: event.self_cpu_time_total / 1e3 / steps for event in profile.key_averages()}


class Turns:
    """Things that take turns; `round` lets each have one.

    Args:
        things: Name to a function that does its work once and returns the seconds it took; the first is the baseline.
    """

    def __init__(self, things: Mapping[str, Callable[[], float]]) -> None:
        self.things = dict(things)
        self.seconds: dict[str, list[float]] = {name: [] for name in things}

    def round(self) -> None:
        """One turn each."""
        for name, thing in self.things.items():
            self.seconds[name].append(thing())

    def ratio(self, name: str, baseline: str | None = None) -> float:
        """Median over the rounds of a thing's time to that of the baseline in the same round."""
        base = self.seconds[baseline or next(iter(self.things))]
        return median(s / b for s, b in zip(self.seconds[name], base, strict=True))

    def median(self, name: str) -> float:
        """Median seconds of a thing."""
        return median(self.seconds[name])


def stopwatch(work: Callable[[], Any], repeats: int) -> Callable[[], float]:
    """Time a function: seconds of one call among some."""

    def run() -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - started) / repeats

    return run
