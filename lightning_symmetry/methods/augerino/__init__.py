"""Augerino: learn how far augmentations may go, by training through them.

The task is trained on transformed inputs, one draw a sample, with coefficients uniform in [-w_k, w_k] for each
generator k of a known group. Gradients of the task's own loss reach the widths through the moved inputs and shrink what
hurts; a reward widens everything else. By default the reward has no constant to tune: it is as strong as the task can
afford.

References:
    Benton et al., Learning Invariances in Neural Networks from Training Data, NeurIPS 2020, arXiv 2010.11882.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_symmetry.actions import Image
from lightning_symmetry.balancing import Balancer, Constraint, Fixed
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Affine
from lightning_symmetry.losses import WidthReward
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry

__all__ = ["augerino"]


def augerino(
    symmetry: str | Symmetry,
    reward: float | None = None,
    width: float | Sequence[float] = 0.3,
    average: int = 4,
    module: str | None = None,
    lr: float | None = None,
    seed: int = 0,
    name: str | None = None,
) -> LearnableAugmentation:
    """Learn the range of each generator of a known group with the task, in one forward a batch.

    With a number it is the published objective, task - reward || s ||_2 over the full widths s = 2 w, except that every
    width stops counting on its own (see `width_bounds`) instead of all of them at once.
    By default it is the constrained form: maximise the mean of log w_k subject to a task loss on moved data that is
    close to that on unmoved data, in proportions that do not depend on the task's units; see `Constraint`. Every fourth
    batch stays unmoved (resampled alike) for that comparison. Under manual optimization the training step has to return
    its loss then.

    Images are resampled with reflected edges, so that the network cannot read the padding, unless the sentence says
    otherwise: "image(padding='zeros')". Outputs that move, move back. In evaluation the answer is the mean over draws;
    for logits that is, after softmax, the renormalised geometric mean of the probabilities, as published.

    Args:
        symmetry: A sentence such as "image -> label", where the group is Affine (rotation, shear, scaling, stretch,
            translations), "SO(2) on image -> label" or "SE(3) on pos=points, z=scalar -> forces=vector"; or a symmetry
            whose law has learnable widths.
        reward: A constant, as published (0.01 to 0.1); by default none is needed.
        width: Half-widths at the start: one number, or one a generator.
        average: Draws over which validation, test and prediction average; 0 leaves evaluation as it is.
        module: Dotted name of the network, where several are called.
        lr: Learning rate of the widths; by default 0.01 beside a number, as published, else 0.1, which falls by itself.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints.

    Returns:
        A callback for the Trainer.

    Raises:
        InvalidSetting: There is no group whose widths could be learnt, or it has generators to be learnt as well.

    Example:
        >>> augerino("image -> label").symmetries[0].sentence
        "affine on image(padding='reflection') -> label"
    """
    sought = _find_law(symmetry, width)
    # a saved symmetry says itself how it reads
    if isinstance(symmetry, str) and "->" in symmetry and "padding" not in symmetry:
        for side in (sought.input, sought.output):
            for _, action in side.moving:
                if isinstance(action, Image):
                    action.padding = "reflection"
    if name and sought is not symmetry:
        sought.name = name
    balance: Balancer = Constraint() if reward is None else Fixed(reward)
    return LearnableAugmentation(
        sought,
        module=module,
        losses=[WidthReward("log" if reward is None else "norm")],
        balance=balance,
        lr=lr if lr is not None else 0.1 if reward is None else 0.01,
        seed=seed,
        name=name,
        probability=1.0,
        average=average,
    )


def _find_law(symmetry: str | Symmetry, width: float | Sequence[float]) -> Symmetry:
    """Put a law of learnable widths on the group that was named, or on the affine group of images."""
    affine = Uniform(Affine(), width, learnable=True)
    sought = Symmetry.of(symmetry, over=affine)
    if sought.sampler is affine and not any(isinstance(action, Image) for _, action in sought.input.moving):
        raise InvalidSetting(
            got=f"{str(symmetry)!r}, which names no group",
            expected="a group, unless an image is moved",
            remedy='For example "SE(3) on pos=points -> energy=scalar".',
        )
    if sought.group.learnable:
        raise InvalidSetting(
            got=f"{sought.group.sentence!r}, whose generators are to be learnt",
            expected="a known group, whose widths are learnt",
            remedy="Name one, such as 'affine' or 'SO(2)'; methods.semola learns generators.",
        )
    if getattr(sought.sampler, "learnable", False):
        return sought
    return Symmetry(Uniform(sought.group, width, learnable=True), sought.input, sought.output, sought.name)
