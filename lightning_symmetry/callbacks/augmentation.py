"""`LearnableAugmentation`: let training find out which transformations leave the task alone, and train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.balancing import Balancer, Ramp
from lightning_symmetry.callbacks.averaging import Averaging
from lightning_symmetry.callbacks.defaults import WARMUP
from lightning_symmetry.callbacks.engine import SymmetryCallback
from lightning_symmetry.callbacks.printing import printing
from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.discovery import Discovery, LearntLaw, assemble, describe_law
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import sum_over_ranks
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.losses import Equivariance, Loss, NormReward, Orthogonality, suggest_reward
from lightning_symmetry.report import print_discovery, write_report
from lightning_symmetry.samplers import CoordinateSampler, learns_widths
from lightning_symmetry.symmetry import Symmetry


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
            symmetry, a mapping with over, input and output, or a list of those; None for what the module states, see
            `SymmetryMixin`.
        module: Dotted name of the network, needed only where several are called in one step.
        losses: Penalties; an empty list learns through the task alone (then set ``probability``).
        balance: Strengths: a Balancer, a number, or one number a loss; with the default losses, by default 500 batches
            on the task alone, then 1 for the equivariance error, what `suggest_reward` says for the norm, and 0.1.
        every_n_steps: Penalties on every n-th batch only, n times as strong.
        lr: Learning rate of the generators.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints; two callbacks on the same symmetries need different ones.
        probability: Share of the samples whose task forward is moved.
        average: In validation, test and prediction the network answers with the mean of its conjugated answers over so
            many draws of the law, or over a whole finite group of at most so many elements; 0 leaves evaluation as it
            is. The mean of logits is, after softmax, the geometric mean of the class probabilities, renormalised.

    Raises:
        SymmetryError: One of its kinds, where an argument makes no sense.

    Cost: one extra forward (and backward) a view on batches with penalties that look at the network's answers; moving
    the task costs no extra forward. ``average`` forwards of the network for each symmetry in evaluation.

    References:
        SEMoLA, arXiv 2506.03914; Augerino, arXiv 2010.11882.

    Example:
        >>> LearnableAugmentation("image -> label").name
        'learned_on_image_to_label'
    """

    def __init__(
        self,
        symmetries: Any = None,
        module: str | None = None,
        losses: Sequence[Loss] | None = None,
        balance: Balancer | float | Sequence[float] | None = None,
        every_n_steps: int = 1,
        lr: float = 5e-3,
        seed: int = 0,
        name: str | None = None,
        probability: float = 0.0,
        average: int = 0,
    ) -> None:
        if not 0 <= probability <= 1:
            raise InvalidSetting(f"probability={probability}", "a number in [0, 1]", "Use 1 to move every sample.")
        if not isinstance(average, int) or average < 0:
            raise InvalidSetting(f"average={average}", "a number of draws, 0 or more", "Use 0 to evaluate as ever.")
        usual = [Equivariance(), NormReward(), Orthogonality()] if losses is None else losses
        self._usual = losses is None and balance is None
        super().__init__(symmetries, module, usual, 1.0 if balance is None else balance, every_n_steps, lr, seed, name)
        self.probability = probability
        self.average = average
        self.discoveries: list[Discovery] = []
        self.laws: list[LearntLaw] = []
        self._averaging = Averaging(average, seed)
        if self.balance.observes and (every_n_steps > 1 or not probability):
            raise InvalidSetting(
                got=f"{type(self.balance).__name__} with probability={probability}, every_n_steps={every_n_steps}",
                expected="probability > 0 and every_n_steps=1: it compares the task on moved and on unmoved data",
                remedy="Set probability=1.0, or choose fixed strengths.",
            )

    def adopt(self, described: Any) -> None:
        """Take over the symmetries; the usual strengths depend on them."""
        super().adopt(described)
        if self._usual:
            self.objective.balance = Ramp([1.0, suggest_reward(self.symmetries), 0.1], start=WARMUP)

    def moves_task(self) -> bool:
        """Whether the task's own forward is moved in this batch."""
        return self.probability > 0

    def choose_rows(self, x: Tensor, rng: Rng) -> Tensor | None:
        """A mask of the rows that are moved."""
        return None if self.probability == 1 else rng.uniform(len(x), device=x.device) < self.probability

    # ---------------------------------------------------------------- evaluation

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Average from here on, and keep what the network is given."""
        # before the first step of training there is neither a network nor a law
        if not trainer.sanity_checking:
            self._start_averaging(trainer, pl_module, batch_idx, dataloader_idx)
        super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Put the network back."""
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._averaging.stop()

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Average from here on."""
        self._start_averaging(trainer, pl_module, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Put the network back."""
        self._averaging.stop()

    def on_predict_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Average from here on."""
        self._start_averaging(trainer, pl_module, batch_idx, dataloader_idx)

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Put the network back."""
        self._averaging.stop()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave no trace."""
        self._averaging.stop()
        super().teardown(trainer, pl_module, stage)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave no trace, and keep what was learnt."""
        self._averaging.stop()
        super().on_exception(trainer, pl_module, exception)

    def _start_averaging(self, trainer: Any, pl_module: Any, batch: int, dataloader: int) -> None:
        if not self.average:
            return
        name = self.network_name
        if name is None:
            raise InvalidSetting(
                got=f"average={self.average} for a network that no training step has shown yet",
                expected="a callback that was fitted, or its checkpoint",
                remedy="Pass ckpt_path=, or name the network with module=.",
            )
        if not self.step and any(s.learnable for s in self.symmetries):
            raise InvalidSetting(
                got=f"average={self.average} over {self.name!r}, of which nothing was learnt yet",
                expected="a callback that was fitted, or its checkpoint",
                remedy="Pass ckpt_path= of a run with this callback, or average over a fixed law.",
            )
        network = pl_module if name == "." else pl_module.get_submodule(name)
        place, world = (batch, dataloader), (trainer.global_rank, trainer.world_size)
        self._averaging.start(name, network, self.symmetries, self.complete, place, *world)

    # ---------------------------------------------------------------- the end

    def conclude(self, trainer: Any, pl_module: Any) -> None:
        """Judge learnt generators on kept inputs, tell learnt widths; print, write and publish the result."""
        target, x = self._tap.target, self._reservoir.collect()
        # evidence is summed over ranks: where one has none, none may wait for it
        lacking = torch.tensor(float(target is None or x is None), device=pl_module.device)
        if sum_over_ranks(lacking) > 0:
            return
        # a finite group has neither generators to judge nor widths, a law such as Haar's no widths
        continuous = [s for s in self.symmetries if s.group.count and isinstance(s.sampler, CoordinateSampler)]
        laws = [s for s in continuous if learns_widths(s.sampler) and not s.group.learnable]
        judged = [s for s in continuous if s not in laws]
        self.laws = [describe_law(s, x, self.journal.curves) for s in laws]
        self.discoveries = self._judge(trainer, target, x, judged) if judged else []
        if not self._clock.steps and any(s.learnable for s in self.symmetries):
            idle = "Training ended before anything was learnt: it was shorter than the warm-up, or everything was off."
            self.discoveries = [replace(found, notes=(idle, *found.notes)) for found in self.discoveries]
            self.laws = [replace(law, notes=(idle, *law.notes)) for law in self.laws]
        results: list[Discovery | LearntLaw] = [*self.discoveries, *self.laws]
        for symmetry in [s for s in self.symmetries if s not in continuous]:
            why = "its law has no widths" if symmetry.group.count else "a finite group has no generators to judge"
            pl_module.print(f"{symmetry.sentence}: {why}")
            if trainer.is_global_zero and not trainer.fast_dev_run:
                symmetry.save(self.report_folder if len(self.symmetries) == 1 else self.report_folder / symmetry.name)
        for found in results:
            metrics = {f"symmetry/{found.name}/{k}": torch.tensor(float(v)) for k, v in found.metrics().items()}
            trainer.callback_metrics.update(metrics)
            if trainer.is_global_zero:
                folder = self.report_folder if len(results) == 1 else self.report_folder / found.name
                if not trainer.fast_dev_run:
                    write_report(found, folder, x)
                with printing(pl_module):
                    print_discovery(found, None if trainer.fast_dev_run else folder)
                    if self.cost is not None:
                        print(f"cost: {self.cost:.0%} of training time")

    def _judge(self, trainer: Any, target: Any, x: Any, symmetries: Sequence[Symmetry]) -> list[Discovery]:
        tell = getattr(getattr(trainer, "datamodule", None), "truth", None)
        truth = None if tell is None else tell()
        site = Site(self._tap.found or ".", target, target.forward)
        f = make_second_pass(site, RandomState(symmetries[0].leading(x).device))
        modes = {module: module.training for module in target.modules()}
        target.eval()
        try:
            with torch.no_grad():
                return [
                    assemble(
                        f,
                        x,
                        symmetry,
                        truth=truth,
                        history=self.journal.of(symmetry.name),
                        held_out=self._reservoir.held_out,
                    )
                    for symmetry in symmetries
                ]
        finally:
            for module, mode in modes.items():
                module.training = mode
