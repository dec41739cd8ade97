"""SEMoLA: learn a Lie algebra basis while training any predictor, tied together by an equivariance loss.

Group elements g = exp(sum_k w_k L_k) are drawn for every batch, the prediction for the moved input is compared with
the moved prediction, and four small terms keep the basis from collapsing, from repeating itself and from filling up.
What survives training is the symmetry; what shrinks is not one.

References:
    Symmetry-aware learning with learnable Lie algebra augmentation (SEMoLA), arXiv 2506.03914.
"""

from __future__ import annotations

from lightning_symmetry.balancing import Ramp
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Learned
from lightning_symmetry.losses import Equivariance, NormReward, OrbitCosine, Orthogonality, Sparsity, suggest_reward
from lightning_symmetry.samplers import OneHot, Uniform
from lightning_symmetry.symmetry import Symmetry

__all__ = ["semola"]


def semola(
    symmetry: str,
    preset: str = "general",
    generators: int | None = None,
    module: str | None = None,
    views: int = 1,
    every_n_steps: int = 1,
    warmup: int | None = None,
    reward: float | None = None,
    sparsity: float = 0.0,
    distance: str = "mse",
    lr: float = 5e-3,
    seed: int = 0,
    name: str | None = None,
    probability: float = 0.0,
    rise: int = 0,
    cap: float | None = None,
) -> LearnableAugmentation:
    """Learn a Lie algebra with the task, with the complete objective of SEMoLA.

    loss = task + equivariance - a mean_k min(||L_k||, cap) + b mean_k |mean cos(gx, x)| + 0.1 sum_{j<k} cos^2(L_j, L_k)
    + sparsity sum_k ||L_k||_1.

    ``general`` (a = 0.05, or 0.2 for images, b = 0.3; one active generator a draw; 500 batches on the task alone)
    prunes what is too much, so ask for more generators than are expected. ``compact`` (a = 0, b = 1; no warm-up) is for
    one generator of a compact group, a rotation of some sort, and drives its angles to a uniform law.

    Args:
        symmetry: A sentence such as "image -> label", where one is learnt, or "learned(3, blocks=2) on vector -> same".
        preset: "general" or "compact".
        generators: How many to learn; by default one for "compact" and one more than so(d) has for "general".
        module: Dotted name of the network, where several are called.
        views: Group elements a sample, each one forward.
        every_n_steps: Penalties on every n-th batch only.
        warmup: Batches on the task alone.
        reward: Strength of the norm reward, where the preset's (see `suggest_reward`) does not fit: more finds weaker
            symmetries and gives up false ones later.
        sparsity: Strength of the sparsity term, best left off until the span is found.
        distance: "mse" or "kl" (logits), see `Equivariance`.
        lr: Learning rate of the generators.
        seed: Seed of the initial generators and of all draws.
        name: Name in logs, files and checkpoints.
        probability: Share of the samples that the task itself is trained on moved, see `LearnableAugmentation`.
        rise: Batches after the warm-up over which all terms grow to full strength.
        cap: Norm from which on the norm reward gives nothing more, by default a quarter turn, see `NormReward`.

    Returns:
        A callback for the Trainer.

    Raises:
        InvalidSetting: The preset does not exist, or the number of generators is said twice.

    Example:
        >>> semola("vector(2) -> vector(2)", generators=3).symmetries[0].sentence
        'learned(3) on vector(2) -> vector(2)'
    """
    if preset not in ("general", "compact"):
        raise InvalidSetting(f"preset={preset!r}", "'general' or 'compact'", "Use 'general' when unsure.")
    general = preset == "general"
    count = generators if generators or general else 1
    group = Learned(count=count, scale=0.3 if general else 0.5, seed=seed)
    start = warmup if warmup is not None else 500 if general else 0
    sought = Symmetry.of(symmetry, over=OneHot(group) if general else Uniform(group))
    if generators is not None and sought.group is not group:
        raise InvalidSetting(
            got=f"generators={generators} beside {sought.group.sentence!r}, which says itself how many it has",
            expected="one of the two",
            remedy=f"Write 'learned({generators}) on ...' in the sentence, or leave the group out of it.",
        )
    sought.name = name or sought.name
    if reward is None:
        reward = suggest_reward([sought]) if general else 0.0
    strengths = [1.0, reward, 0.3, 0.1, sparsity] if general else [1.0, reward, 1.0, 1.0, sparsity]
    return LearnableAugmentation(
        sought,
        module=module,
        losses=[Equivariance(distance, views), NormReward(cap), OrbitCosine(), Orthogonality(), Sparsity()],
        balance=Ramp(strengths, start, rise),
        every_n_steps=every_n_steps,
        lr=lr,
        seed=seed,
        name=name,
        probability=probability,
    )
