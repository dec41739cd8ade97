"""A learnt law in the words of augmentation libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_symmetry.discovery.ranges import (
    Ranges,
    list_omissions,
    read_ranges,
    refuse,
    write_factors,
    write_numbers,
)
from lightning_symmetry.symmetry import Symmetry

if TYPE_CHECKING:
    from lightning_symmetry.discovery.transform import SymmetryTransform


def to_torchvision(symmetry: Symmetry) -> SymmetryTransform:
    """Make a transform of ``torchvision.transforms.v2`` that draws from the law itself, whatever it is.

    One element a call moves images (tensors, tv_tensors or PIL, single or in batches), masks, boxes and keypoints.

    Args:
        symmetry: A law on the plane that moves images, learnt or not; it is copied as it stands.

    Returns:
        A transform that can be pickled, composed, and used in DataLoader workers.

    Raises:
        InvalidSetting: It moves something else, or its law depends on the data.

    Example:
        >>> import torch
        >>> augment = to_torchvision(Symmetry.parse("C4 on image -> label"))
        >>> augment(torch.zeros(3, 8, 8)).shape, augment
        (torch.Size([3, 8, 8]), SymmetryTransform('C4 on image -> label', Uniform))
    """
    from lightning_symmetry.discovery.transform import SymmetryTransform

    return SymmetryTransform(symmetry)


def to_torchvision_snippet(symmetry: Symmetry, size: tuple[int, int] | None = None) -> str:
    """Write the law's ranges as code for ``torchvision.transforms.v2``, without this package.

    There a positive angle of ``RandomAffine`` turns from x to y (y down), as here, and one of ``RandomRotation``
    counter-clockwise.

    Args:
        symmetry: A uniform or normal law of widths on a group of the plane, or a finite group.
        size: (height, width) of the images; None for square ones.

    Returns:
        Python code that defines ``augment``. Comments say what torchvision draws differently or cannot draw.

    Raises:
        InvalidSetting: Nothing of the law can be said in torchvision's terms: `to_torchvision` makes it.

    Example:
        >>> print(to_torchvision_snippet(Symmetry.parse("O(2) on image -> label")))
        # O(2) on image -> label
        from torchvision.transforms import v2
        <BLANKLINE>
        augment = v2.Compose(
            [
                v2.RandomHorizontalFlip(p=0.5),
                v2.RandomAffine(degrees=(-57.2958, 57.2958), interpolation=v2.InterpolationMode.BILINEAR),
            ]
        )
    """
    ranges = read_ranges(symmetry, size)
    bilinear = "interpolation=v2.InterpolationMode.BILINEAR"
    if any(ranges.shift):
        ranges.notes.append("torchvision shifts by whole pixels")
    if ranges.stretch is not None:
        ranges.notes.append(f"torchvision scales both axes alike; left out: {write_factors(ranges.stretch)}")
        ranges.stretch = None
    if ranges.padding != "zeros":
        ranges.notes.append(f"torchvision fills with a constant, not by {ranges.padding}")
    calls = []
    if ranges.mirror:
        calls.append("v2.RandomHorizontalFlip(p=0.5)")
    if len(ranges.turns) > 1:
        turns = ", ".join(f"v2.RandomRotation({write_numbers((-a, -a))}, {bilinear})" for a in ranges.turns)
        calls.append(f"v2.RandomChoice([{turns}])")
    affine = []
    for part in ranges.split():
        words = [f"degrees={_pair(part.rotation)}"]
        words += [f"translate={write_numbers(part.shift)}"] if any(part.shift) else []
        words += [f"scale={write_numbers(part.scale)}"] if part.scale else []
        words += [f"shear={write_numbers((-part.shear[0], part.shear[0], -part.shear[1], part.shear[1]))}"] * any(
            part.shear
        )
        affine.append(f"v2.RandomAffine({', '.join(words)}, {bilinear})")
    calls += [f"v2.RandomChoice([{', '.join(affine)}])"] if len(affine) > 1 else affine
    return _write(symmetry, ranges, "from torchvision.transforms import v2", "v2.Compose", calls)


def to_kornia(symmetry: Symmetry, size: tuple[int, int] | None = None) -> str:
    """Write the law's ranges as code for kornia.

    In kornia a positive angle turns counter-clockwise, except in its *Affine* family, which is used here and turns as
    this package does, from x to y (y down).

    Args:
        symmetry: A uniform or normal law of widths on a group of the plane, or a finite group.
        size: (height, width) of the images; None for square ones.

    Returns:
        Python code that defines ``augment``. Comments say what kornia draws differently or cannot draw.

    Raises:
        InvalidSetting: Nothing of the law can be said in kornia's terms: `to_torchvision` makes it.

    Example:
        >>> print(to_kornia(Symmetry.parse("O(2) on image -> label")))
        # O(2) on image -> label
        import kornia.augmentation as K
        <BLANKLINE>
        augment = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(degrees=(-57.2958, 57.2958), p=1.0),
        )
    """
    ranges = read_ranges(symmetry, size)
    padding = "" if ranges.padding == "zeros" else f', padding_mode="{ranges.padding}"'
    calls = []
    if ranges.mirror:
        calls.append("K.RandomHorizontalFlip(p=0.5)")
    if len(ranges.turns) == 2:
        calls.append(f"K.RandomAffine(degrees=(180.0, 180.0){padding}, p=0.5)")
    elif len(ranges.turns) == 4:
        calls.append("K.RandomRotation90(times=(0, 3), p=1.0)")
    elif len(ranges.turns) > 1:
        turns = [f"K.RandomAffine(degrees={write_numbers((a, a))}{padding}, p=1.0)" for a in ranges.turns]
        calls.append(f"K.ImageSequential({', '.join(turns)}, random_apply=1)")
        ranges.notes.append("kornia chooses one turn for a whole batch")
    affine = []
    for part in ranges.split():
        words = [f"degrees={_pair(part.rotation)}"]
        words += [f"translate={write_numbers(part.shift)}"] if any(part.shift) else []
        words += [f"scale={write_numbers(part.scale)}"] if part.scale else []
        words += [f"scale={write_numbers((*part.stretch[0], *part.stretch[1]))}"] if part.stretch else []
        words += [f"shear={write_numbers((-part.shear[0], part.shear[0], -part.shear[1], part.shear[1]))}"] * any(
            part.shear
        )
        affine.append(f"K.RandomAffine({', '.join(words)}{padding}, p=1.0)")
    if len(affine) > 1:
        ranges.notes.append("kornia chooses one of the movements for a whole batch")
        affine = [f"K.ImageSequential({', '.join(affine)}, random_apply=1)"]
    return _write(symmetry, ranges, "import kornia.augmentation as K", "K.AugmentationSequential", calls + affine)


def to_albumentations(symmetry: Symmetry, size: tuple[int, int] | None = None) -> str:
    """Write the law's ranges as code for albumentations.

    In albumentations a positive angle turns counter-clockwise.

    Args:
        symmetry: A uniform or normal law of widths on a group of the plane, or a finite group.
        size: (height, width) of the images; None for square ones.

    Returns:
        Python code that defines ``augment``. Comments say what albumentations draws differently or cannot draw.

    Raises:
        InvalidSetting: Nothing of the law can be said in albumentations' terms: `to_torchvision` makes it.

    Example:
        >>> print(to_albumentations(Symmetry.parse("D4 on image -> label")))
        # D4 on image -> label
        import albumentations as A
        <BLANKLINE>
        augment = A.Compose(
            [
                A.D4(p=1.0),
            ]
        )
    """
    ranges = read_ranges(symmetry, size)
    border = {
        "zeros": "",
        "border": ", border_mode=cv2.BORDER_REPLICATE",
        "reflection": ", border_mode=cv2.BORDER_REFLECT",
    }
    padding = border[ranges.padding]
    if any(ranges.shift):
        ranges.notes.append("albumentations shifts by whole pixels, the rest being cut")
    calls = []
    if ranges.mirror and len(ranges.turns) == 4:
        calls.append("A.D4(p=1.0)")
    else:
        calls += ["A.HorizontalFlip(p=0.5)"] if ranges.mirror else []
        if len(ranges.turns) == 4:
            calls.append("A.RandomRotate90(p=1.0)")
        elif len(ranges.turns) > 1:
            turns = ", ".join(f"A.Affine(rotate={write_numbers((-a, -a))}{padding}, p=1.0)" for a in ranges.turns)
            calls.append(f"A.OneOf([{turns}], p=1.0)")
    affine = []
    for part in ranges.split():
        words = [f"rotate={_pair(part.rotation)}"]
        if any(part.shift):
            words.append(f'translate_percent={{"x": {_pair(part.shift[0])}, "y": {_pair(part.shift[1])}}}')
        words += [f"scale={write_numbers(part.scale)}, keep_ratio=True"] if part.scale else []
        words += (
            [f'scale={{"x": {write_numbers(part.stretch[0])}, "y": {write_numbers(part.stretch[1])}}}']
            if part.stretch
            else []
        )
        if any(part.shear):
            words.append(f'shear={{"x": {_pair(part.shear[0])}, "y": {_pair(part.shear[1])}}}')
        affine.append(f"A.Affine({', '.join(words)}{padding}, p=1.0)")
    calls += [f"A.OneOf([{', '.join(affine)}], p=1.0)"] if len(affine) > 1 else affine
    head = "import albumentations as A" + ("\nimport cv2" if padding and ("border_mode" in str(calls)) else "")
    return _write(symmetry, ranges, head, "A.Compose", calls)


def _pair(value: float) -> str:
    return write_numbers((-value, value))


def _write(symmetry: Symmetry, ranges: Ranges, head: str, container: str, calls: list[str]) -> str:
    if not calls:
        raise refuse(symmetry, list_omissions(ranges))
    listed = container != "K.AugmentationSequential"
    indent = "        " if listed else "    "
    body = "".join(f"{indent}{call},\n" for call in calls)
    body = f"    [\n{body}    ]\n" if listed else body
    # learnt generators are long to read
    title = symmetry.sentence if len(symmetry.sentence) <= 100 else symmetry.name
    comments = "".join(f"# {line}\n" for line in (title, *ranges.notes))
    return f"{comments}{head}\n\naugment = {container}(\n{body})"
