"""What callbacks share that look at the network in evaluation and change nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_symmetry.callbacks.defaults import ask_module, build_symmetries, holds_object, join_names
from lightning_symmetry.callbacks.host import Callback
from lightning_symmetry.callbacks.refusals import refuse_same_key, refuse_slashes, refuse_unsupported
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.watch import NetworkWatch, evaluating
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.symmetry import Symmetry


class WatchingCallback(Callback, ABC):
    """Shows its finals every input that the network is given in a round of validation or testing.

    A round begins, takes inputs, and ends; the check before training is none. What a final computes goes through
    `evaluating`, which leaves no trace. Nothing is learnt, so nothing is saved.

    Args:
        symmetries: One symmetry or a list; None for those that the module states, see `SymmetryMixin`.
        module: Dotted name of the network; found by itself where one submodule is called on the batch.
        name: Name of files; by default the symmetries' names.
    """

    def __init__(self, symmetries: Any, module: str | None, name: str | None) -> None:
        super().__init__()
        refuse_slashes(name)
        self.symmetries: list[Symmetry] = []
        self.module = module
        self.site: Site | None = None
        self.stage = ""
        self._given_name, self._are_given = name, symmetries is not None
        self._watch = NetworkWatch(module)
        self._wanted = False
        self._root: Path | None = None
        if symmetries is not None:
            self.adopt(symmetries)

    def adopt(self, described: Any) -> None:
        """Take over the symmetries.

        Args:
            described: As the constructor takes them.
        """
        self.symmetries = build_symmetries(described)
        if self._given_name and len(self.symmetries) == 1 and not holds_object(described):
            self.symmetries[0].name = self._given_name

    @property
    def name(self) -> str:
        """Name of files."""
        return self._given_name or join_names(self.symmetries) or "of_the_data"

    # ---------------------------------------------------------------- what the finals decide

    @abstractmethod
    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Begin a round."""

    @abstractmethod
    def take(self, pl_module: Any, f: Callable[[Any], Any], x: Any) -> bool:
        """Take one input of the network, and say whether more are wanted."""

    @abstractmethod
    def end(self, trainer: Any, pl_module: Any) -> None:
        """End the round."""

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Check what can be checked before time is spent."""
        self.stage, self.site = stage, None
        if not self._are_given:
            self.symmetries, described = [], ask_module(pl_module)
            if described is not None:
                self.adopt(described)
        if stage == "predict":
            return
        refuse_same_key(self, trainer.callbacks)
        refuse_unsupported(trainer, pl_module)
        # log_dir is a broadcast: every rank has to ask
        self._root = Path(trainer.log_dir or trainer.default_root_dir) / "symmetry"

    def find_network(self, pl_module: Any) -> str | None:
        """Name the network where something else than the watch has found it."""
        return self.module

    def demand_network(self) -> None:
        """Refuse a round in which no network was called.

        Raises:
            TargetError: What the module has is listed.
        """
        self._watch.demand_found()

    def _begin(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        self._watch, self._wanted = NetworkWatch(self.find_network(pl_module)), True
        self.begin(trainer, pl_module)

    def _start(self, trainer: Any, pl_module: Any, batch: Any) -> None:
        if self._wanted:
            self._watch.start(trainer, pl_module, batch)

    def _stop(self, trainer: Any, pl_module: Any) -> None:
        self._watch.stop()
        calls, self._watch.calls = self._watch.calls, []
        if not self._wanted or not calls or self._watch.site is None:
            return
        self.site = self._watch.site
        with evaluating(self.site) as f:
            for x in calls:
                self._wanted = self._wanted and self.take(pl_module, f, x)

    def _end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        if self.site is None:
            self.demand_network()
        self._wanted = False
        self.end(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a round."""
        self._begin(trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """See what the network is given."""
        self._start(trainer, pl_module, batch)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take it."""
        self._stop(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End the round."""
        self._end(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a round."""
        self._begin(trainer, pl_module)

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """See what the network is given."""
        self._start(trainer, pl_module, batch)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take it."""
        self._stop(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End the round."""
        self._end(trainer, pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave no trace."""
        self.detach()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave no trace."""
        self.detach()

    def detach(self) -> None:
        """Put everything back; harmless when nothing was replaced."""
        self._watch.stop()
        # a watch knows its host, which may be pickled or deleted after the run
        self._watch, self._wanted, self.site = NetworkWatch(self.module), False, None

    # ---------------------------------------------------------------- output for people

    @property
    def state_key(self) -> str:
        """Class and name, by which two are told apart."""
        return f"{type(self).__qualname__}[{self.name}]"

    @property
    def report_folder(self) -> Path:
        """Where the report goes: beside the logs."""
        if self._root is None:
            raise InvalidSetting(
                got=f"no folder for {self.name!r}",
                expected="a callback that a trainer has run",
                remedy="Call Trainer.fit, validate or test.",
            )
        return self._root / self.name
