from __future__ import annotations

import pytest

from lightning_symmetry.exceptions import SentenceError, UnknownName
from lightning_symmetry.groups import SE, SO, AnisotropicScaling, Cyclic, Dihedral, Learned, Lorentz, by_name


def test_names_are_read_in_any_case_and_with_arguments() -> None:
    assert isinstance(by_name("so", 3), SO)
    assert isinstance(by_name("SE(3)"), SE)
    assert isinstance(by_name("anisotropic_scaling"), AnisotropicScaling)
    assert isinstance(by_name("Lorentz", dim=4), Lorentz)
    assert isinstance(by_name("C", 4), Cyclic)
    dihedral = by_name("D4")
    assert isinstance(dihedral, Dihedral) and dihedral.order == 4


def test_first_number_of_learned_is_the_count() -> None:
    group = by_name("learned(3, blocks=[2, 1])")
    assert isinstance(group, Learned) and group.count == 3 and group.blocks == (2, 1)
    assert by_name("learned", 2, affine=True).count == 2


def test_dotted_names_import() -> None:
    assert by_name("lightning_symmetry.groups.SO(3)").count == 3


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lorenz", "lorentz"),
        ("no.such.Group", "importable"),
        ("collections.OrderedDict", "derive it"),
        ("zzz", "dotted"),
    ],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"(?i){hint}"):
        by_name(name)


@pytest.mark.parametrize("words", ["SO(", "SO(x)", "4", "SO(colour=3)", ""])
def test_unreadable_words_are_refused(words: str) -> None:
    with pytest.raises(SentenceError):
        by_name(words)
