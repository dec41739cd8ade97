"""`LearnableAugmentation`: let training find out which transformations leave the task alone, and train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.balancing import Balancer, Ramp
from lightning_symmetry.callbacks.engine import SymmetryCallback
from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.discovery import Discovery, assemble
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Equivariance, Loss, NormReward, Orthogonality, suggest_reward
from lightning_symmetry.report import print_discovery, write_report

# Batches: an untrained network answers everything alike, so that anything would pass for a symmetry.
WARMUP = 500


@final
class LearnableAugmentation(SymmetryCallback):
    """Learns a group of transformations with the task, and trains the network on what they make of the data.

    The host's loss gets strength-weighted penalties, by default the equivariance error, the capped norm reward and
    orthogonality of generators (see `lightning_symmetry.losses`); with ``probability`` > 0 the task itself is also
    trained on moved inputs, with the output moved back: conjugate(f, g). Targets are never transformed. A generator
    that the task tolerates grows, one that it does not shrinks; at the end of training the verdict *symmetric*,
    *absent* or *undecided* is printed with its evidence and written to ``<log dir>/symmetry/<name>/``.

    The learnable parts live in this callback and have their own Adam, which steps when the host's optimizer does; the
    module's state_dict, optimizers and checkpoints are those of a run without the callback.

    Args:
        symmetries: A sentence such as "image -> label" (group to be learnt) or "SO(2) on image -> label", a saved
            symmetry, or a list of those.
        module: Dotted name of the network, needed only where several are called in one step.
        losses: Penalties; an empty list learns through the task alone (then set ``probability``).
        balance: Strengths: a Balancer, a number, or one number a loss; with the default losses, by default 500 batches
            on the task alone, then 1 for the equivariance error, what `suggest_reward` says for the norm, and 0.1.
        every_n_steps: Penalties on every n-th batch only, n times as strong.
        lr: Learning rate of the generators.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints; two callbacks on the same symmetries need different ones.
        probability: Share of the samples whose task forward is moved.

    Raises:
        SymmetryError: One of its kinds, where an argument makes no sense.

    Cost: one extra forward (and backward) a view on batches with penalties; moving the task costs no extra forward.

    References:
        SEMoLA, arXiv 2506.03914; Augerino, arXiv 2010.11882.

    Example:
        >>> LearnableAugmentation("image -> label").name
        'learned_on_image_to_label'
    """

    def __init__(
        self,
        symmetries: Any,
        module: str | None = None,
        losses: Sequence[Loss] | None = None,
        balance: Balancer | float | Sequence[float] | None = None,
        every_n_steps: int = 1,
        lr: float = 5e-3,
        seed: int = 0,
        name: str | None = None,
        probability: float = 0.0,
    ) -> None:
        if not 0 <= probability <= 1:
            raise InvalidSetting(f"probability={probability}", "a number in [0, 1]", "Use 1 to move every sample.")
        usual = [Equivariance(), NormReward(), Orthogonality()] if losses is None else losses
        super().__init__(symmetries, module, usual, 1.0 if balance is None else balance, every_n_steps, lr, seed, name)
        if losses is None and balance is None:
            self.balance = Ramp([1.0, suggest_reward(self.symmetries), 0.1], start=WARMUP)
        self.probability = probability
        self.discoveries: list[Discovery] = []

    def moves_task(self) -> bool:
        """Whether the task's own forward is moved in this batch."""
        return self.probability > 0

    def choose_rows(self, x: Tensor, rng: Rng) -> Tensor | None:
        """A mask of the rows that are moved."""
        return None if self.probability == 1 else rng.uniform(len(x), device=x.device) < self.probability

    def conclude(self, trainer: Any, pl_module: Any) -> None:
        """Judge every continuous symmetry on kept inputs; print, write and publish the result."""
        target, x = self._tap.target, self._reservoir.collect()
        if target is None or x is None:
            return
        tell = getattr(getattr(trainer, "datamodule", None), "truth", None)
        truth = None if tell is None else tell()
        site = Site(self._tap.found or ".", target, target.forward)
        f = make_second_pass(site, RandomState(self.symmetries[0].leading(x).device))
        self.discoveries = []
        modes = {module: module.training for module in target.modules()}
        target.eval()
        try:
            with torch.no_grad():
                for symmetry in self.symmetries:
                    # a finite group has no generators to judge
                    if symmetry.group.count:
                        self.discoveries.append(
                            assemble(
                                f,
                                x,
                                symmetry,
                                truth=truth,
                                history=self.journal.of(symmetry.name),
                                held_out=self._reservoir.held_out,
                            )
                        )
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not self._clock.steps and any(s.learnable for s in self.symmetries):
            idle = "Training ended before anything was learnt: it was shorter than the warm-up, or everything was off."
            self.discoveries = [replace(found, notes=(idle, *found.notes)) for found in self.discoveries]
        for found in self.discoveries:
            metrics = {f"symmetry/{found.name}/{k}": torch.tensor(float(v)) for k, v in found.metrics().items()}
            trainer.callback_metrics.update(metrics)
            if trainer.is_global_zero:
                folder = self.report_folder if len(self.discoveries) == 1 else self.report_folder / found.name
                if not trainer.fast_dev_run:
                    write_report(found, folder, x)
                print_discovery(found, None if trainer.fast_dev_run else folder)
