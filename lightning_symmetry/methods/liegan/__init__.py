"""LieGAN: learn generators that move pairs (x, y) so that a discriminator cannot tell them from data.

No predictor takes part, so it finds symmetries of the joint distribution: it needs inputs whose own law has the
symmetry, and where a network can be trained, reading the generators out of it is quicker and surer. What the published
code leaves open is settled here: the discriminator sees normalised copies, gradients of the two sides never mix,
generators are told on the span of the data alone, a network that is trained afresh says whether they hold, several
seeds say how far to trust them, and channels that others span are found by their rank.

References:
    Yang et al., Generative Adversarial Symmetry Discovery, ICML 2023, arXiv 2302.00236.
    Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017: the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import Group
from lightning_symmetry.methods.liegan.discriminator import Discriminator
from lightning_symmetry.methods.liegan.identify import measure_spread
from lightning_symmetry.methods.liegan.module import LieGAN
from lightning_symmetry.methods.liegan.objective import Objective
from lightning_symmetry.samplers import Integers, Normal, Sampler, Uniform
from lightning_symmetry.symmetry import Symmetry

__all__ = ["Discriminator", "LieGAN", "Objective", "liegan", "measure_spread"]

LAWS = ("normal", "uniform", "integers")


def liegan(
    symmetry: str | Symmetry,
    preset: str = "general",
    law: str | None = None,
    width: float = 1.0,
    identity: str = "cosine",
    identity_strength: float = 1.0,
    per_sample: bool = False,
    channels: str = "inner",
    channel_strength: float | None = None,
    sparsity: float = 0.0,
    hidden: Sequence[int] = (128, 128),
    spectral_norm: bool = False,
    r1: float = 0.0,
    lr: float = 5e-3,
    lr_discriminator: float | None = None,
    seeds: int = 3,
    early_stop: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> LieGAN:
    """Learn generators from pairs (x, y) alone, by the game of LieGAN.

    The sentence's input moves x, its output y: "learned(1, blocks=2) on vector -> vector". What trains is the returned
    module; there is no other.

    ``general`` draws all coefficients from a standard normal law. ``discrete`` looks for one element that generates a
    finite group: whole coefficients, first -1, 0 or 1 and later -4 to 4 (published are -10 to 9 throughout, which has
    many false minima), generators that begin large enough to reach the first turn, a discriminator that sees jumps, and
    an identity penalty that fades out, since it would bend the element.

    The rates and the discriminator's width differ from the published 1e-3, 2e-4 and 512: with these, two bodies take
    1000 batches of 64 instead of more than 4000 that are three times as dear.

    Args:
        symmetry: A sentence with a learned group, or an object.
        preset: "general" or "discrete".
        law: Of the coefficients: "normal", "uniform" or "integers"; by default that of the preset, or of the object.
        width: Standard deviation, half-width or spacing.
        identity: "cosine", "rel_diff" or "norm": what keeps generators from zero. The cosine is blind to scalings.
        identity_strength: lambda.
        per_sample: Take the size of every sample's cosine before the mean.
        channels: "inner" or "killing": what keeps several generators apart.
        channel_strength: eta; by default 1, and 0.1 from seven generators on, as published.
        sparsity: mu.
        hidden: Layers of the discriminator.
        spectral_norm: Bound the discriminator's slopes.
        r1: Strength of the gradient penalty at the data.
        lr: Learning rate of the generators.
        lr_discriminator: Of the discriminator, by default 1e-3, or 2e-3 for "discrete".
        seeds: How many games are played at once.
        early_stop: End when discriminators can tell nothing and generators have come to rest.
        seed: Of everything drawn.
        name: Name in logs and files.

    Returns:
        A LightningModule for the Trainer.

    Raises:
        InvalidSetting: The preset or a word does not exist, or there is nothing to learn.

    Example:
        >>> liegan("learned(1, blocks=2) on vector -> vector", name="nbody").name
        'nbody'
    """
    if preset not in ("general", "discrete"):
        raise InvalidSetting(f"preset={preset!r}", "'general' or 'discrete'", "Use 'general' when unsure.")
    if law is not None and law not in LAWS:
        raise InvalidSetting(f"law={law!r}", f"one of {', '.join(LAWS)}", "Use 'normal' when unsure.")
    discrete = preset == "discrete"
    sought = Symmetry.of(symmetry)
    if law is not None or not isinstance(symmetry, Symmetry):
        drawn = _make_law(law or ("integers" if discrete else "normal"), sought.group, width)
        sought = Symmetry(drawn, sought.input, sought.output, name or sought.name)
    objective = Objective(
        identity=identity,
        identity_strength=identity_strength,
        fade=discrete,
        per_sample=per_sample,
        channels=channels,
        channel_strength=channel_strength,
        sparsity=sparsity,
        r1=r1,
    )
    return LieGAN(
        sought,
        objective=objective,
        discriminator=Discriminator(hidden, frequencies=64 if discrete else 0, spectral_norm=spectral_norm),
        lr=lr,
        lr_discriminator=lr_discriminator or (2e-3 if discrete else 1e-3),
        scale=1.0 if discrete else 0.3,
        seeds=seeds,
        early_stop=early_stop,
        seed=seed,
        evidence_steps=400 if discrete else 300,
    )


def _make_law(law: str, group: Group, width: float) -> Sampler:
    if law == "integers":
        return Integers(group, width, largest=4)
    return Normal(group, width, learnable=False) if law == "normal" else Uniform(group, width)
