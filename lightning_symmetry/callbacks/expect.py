"""A claim about a metric, checked where the metric is measured."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, final

from lightning_symmetry.callbacks.host import Callback
from lightning_symmetry.exceptions import ClaimFailed, InvalidSetting


@final
class Expect(Callback):
    """Fail a run whose metric misses its bounds.

    The metric is read from ``trainer.callback_metrics`` when training ends and when testing ends, after the callbacks
    that are listed before this one. A run in which it was measured and misses its bounds ends in an error; NaN misses
    every bound. On several devices the value of the first process counts, so that all agree.

    Args:
        metric: Its name, for example ``"test/accuracy"`` or ``"symmetry/image/cosine"``.
        at_least: Lower bound, itself allowed.
        at_most: Upper bound, itself allowed.

    Raises:
        InvalidSetting: There is no bound, or none can be met.

    Example:
        >>> Expect("test/accuracy", at_least=0.9).bound
        '>= 0.9'
    """

    def __init__(self, metric: str, at_least: float | None = None, at_most: float | None = None) -> None:
        if at_least is None and at_most is None:
            raise InvalidSetting(
                got=f"no bound for {metric!r}", expected="at_least, at_most or both", remedy="Give Expect a bound."
            )
        if at_least is not None and at_most is not None and at_least > at_most:
            raise InvalidSetting(
                got=f"at_least={at_least:g} above at_most={at_most:g} for {metric!r}",
                expected="at_least <= at_most",
                remedy="Exchange them.",
            )
        self.metric, self.at_least, self.at_most = metric, at_least, at_most
        self.measured: float | None = None
        self.deferred = False
        self._measured_in: str | None = None
        self._seen: set[str] = set()

    @property
    def bound(self) -> str:
        """The bounds as text."""
        if self.at_least is None:
            return f"<= {self.at_most:g}"
        if self.at_most is None:
            return f">= {self.at_least:g}"
        return f"in [{self.at_least:g}, {self.at_most:g}]"

    @property
    def holds(self) -> bool:
        """Whether the metric was measured and lies within its bounds."""
        value = self.measured
        # written so that a NaN fails
        return (
            value is not None
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    def defer(self) -> Expect:
        """Leave the judgement to `verify`, so that several claims can be told together."""
        self.deferred = True
        return self

    def verify(self) -> None:
        """Check the claim.

        Raises:
            ClaimFailed: The metric misses its bounds, or was never measured; then the nearest that exist are listed.
        """
        if self.measured is None:
            nearest = difflib.get_close_matches(self.metric, sorted(self._seen), n=5, cutoff=0)
            raise ClaimFailed(
                got=f"no metric {self.metric!r}",
                expected=f"one that is {self.bound}",
                remedy=f"Did you mean one of: {', '.join(nearest)}?" if nearest else "Nothing at all was measured.",
            )
        if not self.holds:
            raise ClaimFailed(
                got=f"{self.metric} = {self.measured:.4g}",
                expected=f"{self.bound}",
                remedy="The claim does not hold in this run: look at the data, the seed or the training length.",
            )

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget what an earlier training measured."""
        self._measured_in = None
        if stage == "fit":
            self.measured = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Read what training and validation measured."""
        self._read(trainer, "fit")

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Read what the test measured."""
        self._read(trainer, "test")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Judge what this stage measured.

        Raises:
            ClaimFailed: The metric misses its bounds.
        """
        if self._measured_in == stage and not self.deferred:
            self.verify()

    def tell(self, metrics: Mapping[str, float]) -> None:
        """Say what was measured, where no trainer does."""
        self._seen.update(metrics)
        self.measured = metrics.get(self.metric)

    def _read(self, trainer: Any, stage: str) -> None:
        metrics = trainer.callback_metrics
        self._seen.update(metrics)
        value = float(metrics[self.metric]) if self.metric in metrics else None
        # one verdict for all processes: if only some raised, the others would wait for them for ever
        value = trainer.strategy.broadcast(value)
        if value is not None:
            self.measured, self._measured_in = value, stage
