"""A person who runs, recorded by cameras: where the joints will be a quarter of a second later."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_symmetry.data.base import SPLITS, KnownSymmetry, Pairs
from lightning_symmetry.exceptions import InvalidFile, InvalidSetting
from lightning_symmetry.symmetry import Symmetry

JOINTS, HORIZON = 31, 30
_FORM = "an .npz file with trial_<k>, (frames, 31, 3), and <part>_start_<k> of train, val and test"


@final
class MotionCapture(KnownSymmetry):
    r"""Positions and velocities of 31 joints of a runner, and their positions 30 frames later.

    Input (B, 186) is the 31 positions, then the 31 velocities, the difference to the next frame times 30, so that both
    are in the units of the recording; target (B, 93) is the positions 30 frames later: ``vector(3) -> vector(3)``. The
    axis y points up: where the runner heads does not matter to the laws of motion, so that rotations about y are what
    gravity leaves; but all runs of the published recording head along z.

    The file is made from subject 9 of the motion-capture database of CMU (mocap.cs.cmu.edu), whose use is free. It
    holds trials ``trial_<k>`` (frames, 31, 3), and for every trial of a part the frames that samples start from,
    ``train_start_<k>``, ``val_start_<k>`` or ``test_start_<k>``: the trials of the parts differ. Nothing is downloaded.

    Args:
        path: The file.
        starts: Start frames of each training trial that are used, the first in the order of the file; None for all.
            Published comparisons train on 200 samples, which are 40 of each of five trials, and validate and test on
            all that there are.
        centred: Count positions, now and later, from where the middle of the joints is now: where a person runs does
            not matter, and rotations then turn the person, not the track.
        batch_size: Samples a step.
        seed: Of the order; the data themselves are not random.

    Raises:
        InvalidSetting: There is nothing to train on.
        InvalidFile: Before training, where the file is missing or not what it should be.

    References:
        Huang et al., Equivariant Graph Mechanics Networks with Constraints, ICLR 2022 (task and split).

    Example:
        >>> MotionCapture("motion.npz").truth().sentence
        'about(y) on vector(3) -> vector(3)'
    """

    def __init__(
        self,
        path: str = "motion.npz",
        starts: int | None = 40,
        centred: bool = False,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if starts is not None and starts < 1:
            raise InvalidSetting(got=f"starts={starts}", expected="at least 1, or None", remedy="The default is 40.")
        self.path, self.starts, self.centred = Path(path), starts, centred

    def truth(self) -> Symmetry:
        """Give the rotations about y."""
        return Symmetry.parse("about(y) on vector(3) -> vector(3)", name="motion")

    def prepare_data(self) -> None:
        """Read the file, so that what is wrong with it is told before training."""
        self.make()

    def make(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:
        """Cut the trials into samples."""
        tables = _read(self.path)
        parts: dict[str, Dataset[tuple[Tensor, Tensor]]] = {}
        for split in SPLITS:
            prefix = f"{split}_start_"
            chosen = sorted((k.removeprefix(prefix) for k in tables if k.startswith(prefix)), key=lambda k: (len(k), k))
            if not chosen:
                raise InvalidFile(f"{self.path} without any {prefix}<k>", _FORM, "Write the file again.")
            count = self.starts if split == "train" else None
            samples = [self._cut(tables, k, prefix + k, count) for k in chosen]
            x, y = (torch.cat(tensors) for tensors in zip(*samples, strict=True))
            parts[split] = Pairs(x, y)
        return parts

    def _cut(self, tables: dict[str, Tensor], trial: str, key: str, count: int | None) -> tuple[Tensor, Tensor]:
        """Cut one trial: inputs (n, 186) and targets (n, 93)."""
        frames, starts = tables.get(f"trial_{trial}"), tables[key]
        if frames is None or frames.shape[1:] != (JOINTS, 3) or not bool(frames.isfinite().all()):
            got = "no such table" if frames is None else f"shape {tuple(frames.shape)}"
            raise InvalidFile(f"trial_{trial} in {self.path}: {got}", f"finite numbers, {_FORM}", "Write it again.")
        whole = starts.ndim == 1 and not starts.is_floating_point() and len(starts) >= max(count or 1, 1)
        if not whole or int(starts.min()) < 0 or int(starts.max()) + HORIZON >= len(frames):
            raise InvalidFile(
                got=f"{key} in {self.path}: shape {tuple(starts.shape)}, {starts.dtype}, of {len(frames)} frames",
                expected=f"at least {count or 1} whole numbers from 0, each {HORIZON} frames or more before the last",
                remedy="Ask for fewer starts, or write the file again.",
            )
        frames, at = frames.float(), starts.long()[:count]
        velocity = HORIZON * (frames[at + 1] - frames[at])
        middle = frames[at].mean(1, keepdim=True) * float(self.centred)
        return torch.cat((frames[at] - middle, velocity), 1).flatten(1), (frames[at + HORIZON] - middle).flatten(1)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except FileNotFoundError as error:
        raise InvalidFile(
            got=f"no file {str(path)!r}",
            expected=f"{_FORM}; nothing is downloaded",
            remedy="Name it by --data.init_args.path.",
        ) from error
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidFile(f"{path} ({type(error).__name__})", _FORM, "Write the file again.") from error
