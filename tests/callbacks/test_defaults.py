"""Names that callbacks make themselves."""

from __future__ import annotations

from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.callbacks.defaults import LONGEST_NAME
from lightning_symmetry.symmetry import Symmetry


def test_many_symmetries_make_a_name_that_a_folder_can_have() -> None:
    sentences = [f"C{n} on vector -> scalar" for n in range(2, 40)]
    name = EquivarianceRegularizer(sentences).name
    assert len(name) < LONGEST_NAME + 20 and name == "c2_on_vector_to_scalar_and_37_others"
    assert EquivarianceRegularizer(sentences[:2]).name == "c2_on_vector_to_scalar_and_c3_on_vector_to_scalar"


def test_a_sign_makes_another_name() -> None:
    names = {Symmetry.parse(f"about([1, {y}, 0]) on vector -> scalar").name for y in (1, -1)}
    assert names == {"about_1_1_0_on_vector_to_scalar", "about_1_minus_1_0_on_vector_to_scalar"}
