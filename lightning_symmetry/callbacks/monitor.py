"""`SymmetryMonitor`: how far the network is from its symmetries, measured in validation and test."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from lightning_symmetry.archive import writing_into
from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.refusals import refuse_nameless, refuse_unwritable
from lightning_symmetry.callbacks.watching import WatchingCallback
from lightning_symmetry.discovery import label_generators
from lightning_symmetry.exceptions import InvalidSetting, UnknownName
from lightning_symmetry.functional.distributed import holds_everywhere, is_distributed
from lightning_symmetry.metrics import (
    ApproximateSymmetryLevel,
    EquivarianceCurve,
    EquivarianceError,
    LieDerivativeError,
    OrbitConsistency,
    SymmetryMetric,
)
from lightning_symmetry.report import format_table
from lightning_symmetry.symmetry import Symmetry

METRICS: dict[str, Callable[..., SymmetryMetric]] = {
    "lie_derivative": LieDerivativeError,
    "equivariance": EquivarianceError,
    "orbit": OrbitConsistency,
    "curve": EquivarianceCurve,
    "level": ApproximateSymmetryLevel,
}
"""What may be measured, by the name that its numbers begin with."""
_OF_GENERATORS = ("lie_derivative", "curve")
_OF_DRAWS = ("equivariance", "orbit", "level")


@final
class SymmetryMonitor(WatchingCallback):
    """Measures how far the network is from symmetries, in every n-th validation of a fit and in every test.

    Nothing is trained, and a run with the monitor is bit for bit the run without it. Logged are
    ``symmetry/<name>/<metric>_<key>`` and, with ``_se`` behind, its standard error; for example
    ``symmetry/image/lie_derivative_rotation``. A key that begins as the metric is called stands alone: ``level``,
    ``level_error``, ``level_null``. The numbers are exact on any number of devices.

    Args:
        symmetries: One symmetry or a list: sentences, saved files, mappings or objects; None for those that the module
            states, see `SymmetryMixin`. An object that another callback learns is measured as it stands.
        module: Dotted name of the network, needed only where several are called in one step.
        metrics: Names out of "lie_derivative" (`LieDerivativeError`), "equivariance" (`EquivarianceError`), "orbit"
            (`OrbitConsistency`), "curve" (`EquivarianceCurve`) and "level" (`ApproximateSymmetryLevel`), or a mapping
            from these to settings, such as ``{"equivariance": {"n": 8, "normalise": "variance"}}``; finite groups lack
            what needs generators.
        every_n: Every n-th validation of a fit.
        samples: Inputs that are looked at, on each process; rounded up to whole batches.
        report: Whether the numbers are printed at the end and written to ``<log dir>/symmetry/<name>/monitor.csv``.
        seed: Of the draws, which are the same in every round.
        name: Name of the folder; by default the symmetries' names.

    Raises:
        UnknownName: There is no such metric.
        InvalidSetting: A number is not positive.

    Cost: on these inputs K forwards with their tangents and n + 1 forwards, by default n = 4.

    Example:
        >>> SymmetryMonitor(["SO(2) on image -> label", "D4 on image -> label"]).name
        'so_2_on_image_to_label_and_d4_on_image_to_label'
    """

    def __init__(
        self,
        symmetries: Any = None,
        module: str | None = None,
        metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("lie_derivative", "equivariance"),
        every_n: int = 1,
        samples: int = 512,
        report: bool = False,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        chosen = [metrics] if isinstance(metrics, str) else metrics
        settings = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, {})
        for wanted in settings:
            if wanted not in METRICS:
                raise UnknownName(f"the metric {wanted!r}", f"one of {', '.join(METRICS)}", "Choose among these.")
        if min(every_n, samples, len(settings)) < 1:
            raise InvalidSetting(
                f"every_n={every_n}, samples={samples}, {len(settings)} metrics",
                "at least one of each",
                "Try 1 and 512.",
            )
        super().__init__(symmetries, module, name)
        self.settings = {wanted: dict(given or {}) for wanted, given in settings.items()}
        self.every_n, self.samples, self.report, self.seed = every_n, samples, report, seed
        self.values: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self._metrics: list[dict[str, SymmetryMetric]] = []
        self._rounds = 0
        self._due = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Check what can be checked before time is spent."""
        super().setup(trainer, pl_module, stage)
        self._rounds = 0
        if stage == "predict":
            return
        refuse_nameless(self, pl_module)
        if self.report and trainer.is_global_zero and not trainer.fast_dev_run:
            refuse_unwritable(self.report_folder)

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Forget the last round where this one counts."""
        self._due = self.stage != "fit" or self._rounds % self.every_n == 0
        self._rounds += 1
        self._metrics = []

    def take(self, pl_module: Any, f: Callable[[Any], Any], x: Any) -> bool:
        """Measure on an input."""
        if not self._due:
            return False
        if not self._metrics:
            # a group knows its generators when it has seen data
            self._metrics = [self._build(symmetry.bind(x), pl_module.device) for symmetry in self.symmetries]
        every = [metric for metrics in self._metrics for metric in metrics.values()]
        for metric in every:
            metric.update(f, x)
        return any(metric.samples < self.samples for metric in every)

    def _build(self, symmetry: Symmetry, device: Any) -> dict[str, SymmetryMetric]:
        built: dict[str, SymmetryMetric] = {}
        for wanted, given in self.settings.items():
            settings: dict[str, Any] = {}
            if wanted in _OF_GENERATORS:
                if symmetry.group.count == 0:
                    continue
                # a learnt generator changes its name as it changes
                settings["names"] = (
                    None if symmetry.group.learnable else list(map(_word, label_generators(symmetry.group)))
                )
            if wanted in _OF_DRAWS:
                settings["seed"] = self.seed
            built[wanted] = METRICS[wanted](symmetry, **{**settings, **given}).to(device)
        if not built:
            raise InvalidSetting(
                got=f"{', '.join(self.settings)} for {symmetry.group.sentence}, which has no generators",
                expected="a metric of elements",
                remedy="Add 'equivariance' or 'orbit' to metrics.",
            )
        return built

    def end(self, trainer: Any, pl_module: Any) -> None:
        """Add over processes, log, and write."""
        # where a process saw nothing, the others do not wait for it
        if not self._due or not holds_everywhere(bool(self._metrics), pl_module.device):
            return
        self.values = {
            f"symmetry/{symmetry.name}/{key if key.startswith(wanted) else f'{wanted}_{key}'}": float(value)
            for symmetry, metrics in zip(self.symmetries, self._metrics, strict=True)
            for wanted, metric in metrics.items()
            for key, value in metric.compute().items()
        }
        self._metrics = []
        self.history.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **self.values})
        if not getattr(trainer, "barebones", False):
            pl_module.log_dict(self.values, batch_size=1, sync_dist=is_distributed())
        if self.report and trainer.is_global_zero and not trainer.fast_dev_run:
            self._write()
            if self.stage != "fit":
                self._print(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Print what the last round found."""
        if self.report and self.values:
            self._print(pl_module)

    def _write(self) -> None:
        keys = list(dict.fromkeys(key for row in self.history for key in row))
        with writing_into(self.report_folder):
            self.report_folder.mkdir(parents=True, exist_ok=True)
            with (self.report_folder / "monitor.csv").open("w", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, keys).writerows([dict(zip(keys, keys, strict=True)), *self.history])

    def _print(self, pl_module: Any) -> None:
        rows = [
            [*key.removeprefix("symmetry/").split("/", 1), f"{value:.4g}", f"{self.values.get(f'{key}_se', 0.0):.1g}"]
            for key, value in self.values.items()
            if not key.endswith("_se")
        ]
        with printing(pl_module):
            print(format_table(["symmetry", "metric", "value", "standard error"], rows), end="")


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_")
