"""The command that reads generators out of a checkpoint of any LightningModule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

from lightning_symmetry.callbacks import GeneratorExtraction
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.lightning_cli import SymmetryCLI
from lightning_symmetry.recipe import RUNS

_LOADERS = {"test": "test_dataloader", "validate": "val_dataloader"}
_STEPS = {"test": "test_step", "validate": "validation_step"}


class Extractor(Trainer):
    """A trainer that can read the symmetry out of a module."""

    def extract(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
        symmetry: str | list[str] | None = None,
        on: Literal["test", "validate"] | None = None,
        module: str | None = None,
        delta: float = 0.1,
        backend: str = "auto",
    ) -> None:
        """Read generators out of a checkpoint.

        Args:
            model: The module.
            datamodule: Its data; None where the module has loaders of its own.
            ckpt_path: The trained weights.
            weights_only: Whether the checkpoint holds plain values only; false unpickles it, which can run any code.
            symmetry: What to look for, such as "affine on image -> label", or several; without it, what the kind of the
                data suggests.
            on: "test" or "validate"; by default the test data, where the module can be tested.
            module: Dotted name of the network, needed only where several are called in one step.
            delta: A direction is a generator when its defect is below; 1 is what a random direction has.
            backend: How the network is differentiated: "jvp", "vjp", "difference" or "auto".

        Raises:
            InvalidSetting: The module cannot be evaluated on such data.
            InvalidFile: The checkpoint is of something else.
        """
        stage = _choose_stage(model, datamodule, on)
        callback = GeneratorExtraction(symmetry, module, delta=delta, backend=backend)
        trainer: Any = self
        trainer.callbacks.insert(0, callback)
        run = self.test if stage == "test" else self.validate
        settings: dict[str, Any] = {} if weights_only is None else {"weights_only": weights_only}
        try:
            run(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, **settings)
        except (RuntimeError, KeyError) as error:
            raise _explain_loading(error, model, str(ckpt_path)) or error from error
        if not callback.discoveries:
            raise InvalidSetting(
                got=f"{stage} data without a single batch",
                expected="at least one",
                remedy="Look at the dataset, at --trainer.limit_test_batches and --trainer.limit_val_batches.",
            )


class ExtractCLI(SymmetryCLI):
    """The command line of `Extractor.extract`."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only one, with the arguments that the parser makes otherwise."""
        return {"extract": {"model", "datamodule"}}

    def before_instantiate_classes(self) -> None:
        """Refuse to read an untrained network; leave callbacks and loggers of a configuration out."""
        given = self.config["extract"]
        path = given.ckpt_path
        if path is None or path in ("best", "last", "hpc"):
            raise InvalidSetting(
                got="no checkpoint" if path is None else f"--ckpt_path {path}, outside of a training",
                expected="the trained weights: what random ones do is no finding",
                remedy="Give --ckpt_path the file that training left, such as lightning_logs/.../checkpoints/*.ckpt.",
            )
        given.trainer.callbacks, given.trainer.logger, given.trainer.enable_checkpointing = None, False, False
        given.trainer.default_root_dir = given.trainer.default_root_dir or str(RUNS / "extract" / Path(path).stem)


def _choose_stage(model: LightningModule, datamodule: LightningDataModule | None, wanted: str | None) -> str:
    """Choose the round that can be run, testing first."""
    steps = [stage for stage in _STEPS if is_overridden(_STEPS[stage], model)]
    owners = [owner for owner in (datamodule, model) if owner is not None]
    ready = [stage for stage in steps if any(is_overridden(_LOADERS[stage], owner) for owner in owners)]
    name = type(model).__name__
    for stage in [wanted] if wanted else list(_STEPS):
        if stage in ready:
            return stage
    other = f"Use --on {ready[0]}." if ready else None
    if not set(steps) & ({wanted} if wanted else set(_STEPS)):
        raise InvalidSetting(
            got=f"{name} without {_STEPS[wanted] if wanted else 'test_step and validation_step'}",
            expected="a step that calls the network on a batch",
            remedy=other or "Add validation_step(self, batch, batch_idx), which may return nothing.",
        )
    needed = " or ".join(_LOADERS[stage] for stage in ([wanted] if wanted else steps))
    raise InvalidSetting(
        got=f"no {needed} for {name}",
        expected="data on which its network is called",
        remedy=other or "Give --data a LightningDataModule that has one.",
    )


def _explain_loading(error: Exception, model: Any, path: str) -> InvalidFile | None:
    """Say in a sentence why weights do not fit; None for an error of something else."""
    name, text = type(model).__name__, str(error)
    if isinstance(error, KeyError) and text.strip("'") in ("state_dict", "pytorch-lightning_version"):
        return InvalidFile(
            got=f"{path}, which holds no {text.strip(chr(39))}",
            expected="a checkpoint of Lightning",
            remedy="Save the module by Trainer.save_checkpoint.",
        )
    if "Error(s) in loading state_dict" not in text:
        return None
    first = re.sub(r"\s+", " ", text.partition("\n")[2]).strip()
    return InvalidFile(
        got=f"{path}, whose weights are not those of {name} ({first[:160]})",
        expected="a checkpoint of that class, made with the same arguments",
        remedy="Give --model the class that was trained, and its arguments as in training, or its config.yaml.",
    )
