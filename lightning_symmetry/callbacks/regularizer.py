"""`EquivarianceRegularizer`: press a network, softly, towards symmetries that it is suspected to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.balancing import Balancer, Constraint, Dual
from lightning_symmetry.callbacks.engine import SymmetryCallback
from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.watch import evaluating
from lightning_symmetry.discovery import SymmetryLevel, judge_levels
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import holds_everywhere
from lightning_symmetry.losses import Equivariance, Loss
from lightning_symmetry.metrics import ApproximateSymmetryLevel
from lightning_symmetry.report import print_levels, write_levels


@final
class EquivarianceRegularizer(SymmetryCallback):
    """Penalises how far the network is from candidate symmetries, with strengths that tune themselves.

    loss = task + sum_k lambda_k R_k, where R_k measures symmetry k: by samples (`Equivariance`, finite, or
    `InfinitesimalEquivariance`; on the answers or on any named feature) or on the weights (`Projection`). The balancer
    changes lambda_k by what it measures, so that symmetries which the data support stay strong and others fade. At the
    end of training a table says for each how exactly the network has it, how strongly it was pressed, and whether it is
    exact, approximate, broken or infeasible; it is also written to ``<log dir>/symmetry/<name>/`` with the course of
    the strengths.

    Nothing of the module changes: its state_dict, optimizers and checkpoints are those of a run without the callback,
    and with ``balance=0.0`` so are its weights, bit for bit.

    Args:
        symmetries: Sentences such as "SO(2) on image -> label", saved symmetries, mappings or objects, one or a list;
            None for what the module states, see `SymmetryMixin`. Their groups are known; one that another callback
            learns can be given as the same object.
        module: Dotted name of the network, needed only where several are called in one step.
        losses: Measurements; `Equivariance` on the network's answers unless given.
        balance: "ratio" (`Ratio`), "dual" (`Dual`), "uncertainty" (`Uncertainty`), "gradnorm" (`GradNorm`), a Balancer,
            a number, or one number a loss.
        every_n_steps: On every n-th batch only, n times as strong.
        lr: Learning rate of what a law learns, such as its widths.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints; two callbacks on the same symmetries need different ones.
        together: Whether every batch measures all symmetries; else those measured by samples take turns, one a batch
            and K times as strong, which costs the same for any number of them.

    Raises:
        SymmetryError: One of its kinds, where an argument makes no sense.

    Cost: one extra forward (and backward) a view and batch for measurement by samples, none for the weights.

    References:
        Kim et al., Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.

    Example:
        >>> EquivarianceRegularizer(["SO(2) on image -> label", "D4 on image -> label"], balance="dual").name
        'so_2_on_image_to_label_and_d4_on_image_to_label'
    """

    example = "SO(2) on image -> label"

    def __init__(
        self,
        symmetries: Any = None,
        module: str | None = None,
        losses: Sequence[Loss] | None = None,
        balance: Balancer | float | Sequence[float] | str = "ratio",
        every_n_steps: int = 1,
        lr: float = 5e-3,
        seed: int = 0,
        name: str | None = None,
        together: bool = False,
    ) -> None:
        measures = [Equivariance()] if losses is None else losses
        super().__init__(symmetries, module, measures, balance, every_n_steps, lr, seed, name, turns=not together)
        if not len(self.losses):
            raise InvalidSetting("losses=[]", "a way to measure", "Leave losses out for Equivariance().")
        if isinstance(self.balance, Constraint) or (isinstance(self.balance, Dual) and self.balance.tolerated is None):
            raise InvalidSetting(
                got=f"{type(self.balance).__name__} on the task's loss for moved data, which is not measured here",
                expected="strengths that follow errors of equivariance",
                remedy="For example 'ratio', 'dual' or Dual(epsilon=0.02).",
            )
        self.levels: list[SymmetryLevel] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap the training step and check what can be checked before training time is spent."""
        super().setup(trainer, pl_module, stage)
        for symmetry, owned in zip(self.symmetries, self._owns, strict=True):
            if stage == "fit" and owned and symmetry.group.learnable:
                raise InvalidSetting(
                    got=f"{symmetry.sentence!r}, whose group nobody has learnt yet",
                    expected="a group that is known, or one that another callback before this one learns",
                    remedy="Name a group, as in 'SO(2) on ...', or find it with LearnableAugmentation.",
                )

    def describe(self) -> dict[str, Tensor]:
        """The balancer's readings under ``<symmetry>/<reading>``, with the loss behind where there are several."""
        count = len(self.losses)
        read: Mapping[str, list[float]] = self.balance.readings(len(self.symmetries) * count, self.step)
        return {
            f"{self.symmetries[k // count].name}/{word}{self._tell_loss(k)}": torch.tensor(value)
            for word, values in read.items()
            # where it began does not change
            if word != "first_strength"
            for k, value in enumerate(values)
        }

    def _tell_loss(self, term: int) -> str:
        """Name the loss of a term where there are several."""
        count = len(self.losses)
        return f"_{self.losses[term % count].key}" if count > 1 else ""

    def conclude(self, trainer: Any, pl_module: Any) -> None:
        """Measure every symmetry on kept inputs; print, write and publish what was found."""
        target, kept = self._tap.target, self._reservoir.kept
        # numbers are summed over ranks: where one has none, none may wait for it
        if target is None or not holds_everywhere(bool(kept), pl_module.device):
            return
        metrics = [ApproximateSymmetryLevel(s, seed=self.seed).to(pl_module.device) for s in self.symmetries]
        with evaluating(Site(self._tap.found or ".", target, target.forward)) as f:
            for x in kept:
                for metric in metrics:
                    metric.update(f, x)
        found = [metric.compute() for metric in metrics]
        readings = self.balance.readings(len(self.symmetries) * len(self.losses), self.step)
        self.levels = list(judge_levels(self.symmetries, found, readings, self.journal.curves, self.balance.ranks))
        for level in self.levels:
            numbers = {f"symmetry/{level.name}/{k}": torch.tensor(float(v)) for k, v in level.metrics().items()}
            trainer.callback_metrics.update(numbers)
        if trainer.is_global_zero:
            folder = None if trainer.fast_dev_run else self.report_folder
            if folder is not None:
                write_levels(self.levels, self.journal.curves, folder)
            with printing(pl_module):
                print_levels(self.levels, folder)
                if self.cost is not None:
                    print(f"cost: {self.cost:.0%} of training time")
