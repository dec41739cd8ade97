"""`ConservationCheck`: what is conserved by Noether's theorem, followed along trajectories."""

from __future__ import annotations

import math
from typing import Any, final

import torch

from lightning_symmetry.callbacks.host import Callback
from lightning_symmetry.discovery import Discovery, charges_of, check_drift
from lightning_symmetry.exceptions import InvalidSetting


@final
class ConservationCheck(Callback):
    """Turns the generators that other callbacks have found into conserved quantities, and follows these in time.

    For a flow on phase space (q, p), such as a network that predicts the next state. Trajectories are asked of the data
    module, ``trajectories() -> (B, T, 2n)``, and if it has one, its ``energy(z)`` is a baseline. Stands in the list
    after the callback whose discoveries it reads. Publishes for each found symmetry ``symmetry/<name>/charges`` (how
    many generators have one) and ``.../drift`` (the worst charge's median drift, relative to what random quadratic
    functions drift by).

    Args:
        name: Of the one symmetry to check; None for all that were found.

    Raises:
        InvalidSetting: When a fit or test begins: the data module has no trajectories.

    Cost: one call of ``trajectories``.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Ask for trajectories before training time is spent."""
        if stage != "predict" and not callable(getattr(getattr(trainer, "datamodule", None), "trajectories", None)):
            raise InvalidSetting(
                got="a data module without trajectories()",
                expected="one that gives states in time, (B, T, 2n), as TwoBody does",
                remedy="Add the method, or call check_drift yourself.",
            )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Check what the fit has found."""
        self._check(trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Check what a validation by itself has found."""
        if not trainer.training and not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Check what the test has found."""
        self._check(trainer, pl_module)

    def _check(self, trainer: Any, pl_module: Any) -> None:
        found: list[Discovery] = [d for c in trainer.callbacks for d in getattr(c, "discoveries", [])]
        if self.name is not None and found and self.name not in {d.name for d in found}:
            known = ", ".join(sorted({d.name for d in found}))
            raise InvalidSetting(f"name={self.name!r}", f"one of {known}", "Correct the name, or leave it out.")
        chosen = [d for d in found if d.accepted and self.name in (None, d.name)]
        if not chosen:
            return
        data = trainer.datamodule
        with torch.inference_mode(False), torch.no_grad():
            states = data.trajectories()
            for discovery in chosen:
                charges = charges_of(discovery.symmetry, states.shape[-1])
                drifts = [check_drift(c, states, getattr(data, "energy", None)) for c in charges if c]
                # what nothing is conserved of drifts as far as can be
                worst = max((d.charge / max(d.random, 1e-300) for d in drifts), default=math.inf)
                metrics = {"charges": float(len(drifts)), "drift": worst}
                names = {f"symmetry/{discovery.name}/{key}": torch.tensor(value) for key, value in metrics.items()}
                trainer.callback_metrics.update(names)
                lines = iter(drifts)
                for charge in charges:
                    pl_module.print(f"{charge}" + (f"; {next(lines)}" if charge else ""))
