"""The page of a report: one HTML file that needs nothing else, no script, and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_symmetry.discovery import Discovery, LearntLaw
from lightning_symmetry.discovery.reading import lay_out
from lightning_symmetry.discovery.spectrum import Spectrum
from lightning_symmetry.report.algebras import write_basis, write_brackets
from lightning_symmetry.report.formulas import algebra_of, describe_flows, write_formulas
from lightning_symmetry.report.markup import (
    escape,
    write_definitions,
    write_figure,
    write_list,
    write_section,
    write_table,
)
from lightning_symmetry.report.pictures import Picture
from lightning_symmetry.report.sheets import sentence_case

_STYLE = Path(__file__).with_name("page.css")
_MOST_BRACKETS = 12
# What a browser may load: nothing but what is in the file.
_POLICY = "default-src &#x27;none&#x27;; img-src data:; style-src &#x27;unsafe-inline&#x27;"
_REUSE = """\
from lightning_symmetry import LearnableAugmentation, Symmetry, average

symmetry = Symmetry.load("symmetry.yaml")  # lies beside this page
average(network, symmetry, n=8)(x)  # answers of any network, made symmetric
L.Trainer(callbacks=[LearnableAugmentation(symmetry, losses=[], probability=1.0)])  # or train on it
"""


def write_page(discovery: Discovery | LearntLaw, pictures: Sequence[Picture] = ()) -> str:
    """Write a report as one HTML document.

    The conclusion comes first, then tables, pictures (embedded), notes, how it was measured, and how to use it again.
    Everything is escaped, and nothing is loaded from anywhere.

    Args:
        discovery: What was found, or a learnt law.
        pictures: Those of `draw_pictures`; without them, the tables say it.

    Returns:
        The document.
    """
    figures = {picture.file: write_figure(picture) for picture in pictures if picture.on_page}
    if isinstance(discovery, LearntLaw):
        verdict, numbers, parts = "learnt ranges", "law.json", _describe_law(discovery, figures)
    else:
        verdict, numbers, parts = discovery.verdict, "report.json", _describe_discovery(discovery, figures)
    footer = (
        f"Beside this page, <code>{numbers}</code> has the numbers for machines and <code>symmetry.yaml</code> with "
        "<code>symmetry.safetensors</code> what was found."
    )
    return write_document(discovery.name, discovery.conclusion, [(verdict.split()[0], verdict)], parts, footer)


def write_document(
    name: str, conclusion: str, verdicts: Sequence[tuple[str, str]], parts: Sequence[str], footer: str
) -> str:
    """Write the frame of a page: name, conclusion and verdicts above, the parts, a line below.

    Args:
        name: What the page is on.
        conclusion: In one sentence.
        verdicts: Pairs of a class and words; each stands in a frame of its own.
        parts: Sections as HTML; empty ones are left out.
        footer: HTML, what lies beside the page.

    Returns:
        The document.
    """
    body = "\n".join(part for part in parts if part)
    marks = " ".join(f'<span class="verdict {escape(kind)}">{escape(words)}</span>' for kind, words in verdicts)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(f"{name}: {', '.join(words for _, words in verdicts)}")}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<p class="kind">{escape(name)}</p>
<h1>{escape(sentence_case(conclusion))}</h1>
<p>{marks}</p>
</header>
<main>
{body}
</main>
<footer><p>Written by lightning_symmetry. {footer}</p></footer>
</body>
</html>
"""


def _describe_law(law: LearntLaw, figures: dict[str, str]) -> list[str]:
    header, rows = law.rows()
    return [
        write_section("Learnt ranges", write_table("How far each generator may go.", header, rows)),
        *figures.values(),
        _list_notes(law.notes),
        write_section("Use it again", f"<pre><code>{escape(_REUSE)}</code></pre>"),
    ]


def _describe_discovery(discovery: Discovery, figures: dict[str, str]) -> list[str]:
    spectrum = discovery.spectrum
    parts = [_list_found(discovery), _list_notes(discovery.notes)]
    if spectrum is None:
        parts += [write_section("Evidence", figures.get("symmetry.png", ""), _list_evidence(discovery))]
    else:
        numbers = _list_directions(spectrum) + write_list(discovery.facts())
        parts += [write_section("Spectrum", figures.get("spectrum.png", ""), numbers)]
    parts += [
        write_section("Fields", figures["fields.png"]) if "fields.png" in figures else "",
        write_section("Orbits", figures["orbits.png"]) if "orbits.png" in figures else "",
        _describe_algebra(discovery, figures),
        write_section("How it was measured", write_definitions(_measured(discovery))),
    ]
    if discovery.canonical_names:
        return [*parts, write_section("Use it again", f"<pre><code>{escape(_REUSE)}</code></pre>")]
    return [
        *parts,
        write_section("Use it again", "<p>There is nothing to use: what symmetry.yaml holds was not accepted.</p>"),
    ]


def _list_found(discovery: Discovery) -> str:
    """The generators found, or a plain statement that there are none."""
    if not discovery.canonical_names:
        return write_section("Generators", f"<p>{escape(_say_nothing(discovery))}</p>")
    header = ["generator", "reads as", "vector field", "flow", "cosine to the name"]
    columns = zip(
        discovery.canonical_names,
        write_formulas(discovery),
        describe_flows(discovery),
        discovery.canonical_cosines,
        strict=True,
    )
    rows = [[str(index), *words, f"{cosine:.3f}"] for index, (*words, cosine) in enumerate(columns)]
    if discovery.spectrum is not None:
        header += ["kind", "finite error"]
        rows = [
            [*row, g.label or "-", f"{max(g.violation, 0) ** 0.5:.2g}"]
            for row, g in zip(rows, discovery.accepted, strict=True)
        ]
    caption = "A readable basis of what was found; symmetry.yaml holds it."
    return write_section("Generators", write_table(caption, header, rows, ["vector field"]))


def _say_nothing(discovery: Discovery) -> str:
    spectrum = discovery.spectrum
    if spectrum is None:
        return "No generator was accepted."
    if spectrum.refused:
        return f"No symmetry was declared: {spectrum.refused}."
    if not spectrum.directions:
        return "No symmetry was declared: there was no candidate direction."
    best = spectrum.directions[0]
    return (
        f"No symmetry was declared: the best of {len(spectrum.directions)} directions has a defect of "
        f"{best.defect:.3g} with a one-sided 95 % bound of {best.upper:.3g}, which is not below {spectrum.delta:g}."
    )


def _list_evidence(discovery: Discovery) -> str:
    header, rows = discovery.rows()
    return write_table("Evidence for each generator.", header, rows) + write_list(discovery.facts())


def _list_directions(spectrum: Spectrum) -> str:
    if not spectrum.directions:
        return f"<p>{escape(spectrum.refused)}</p>"
    header, rows = lay_out(spectrum, whole=True)
    return write_table("The numbers of the picture.", header, rows)


def _describe_algebra(discovery: Discovery, figures: dict[str, str]) -> str:
    """The card: name, basis, brackets, and what else tells the algebra from others."""
    algebra = algebra_of(discovery)
    if algebra is None:
        return ""
    formulas = write_basis(algebra, discovery.symmetry)
    header, rows = algebra.rows()
    rows = [[f"X{i + 1}", formula, *row[1:]] for i, (formula, row) in enumerate(zip(formulas, rows, strict=True))]
    parts = [f"<p><strong>{escape(algebra.conclusion)}</strong></p>"]
    if algebra.dim > 1:
        header = ["", "vector field", *header[1:]]
        parts.append(write_table("A readable basis, ideal by ideal.", header, rows, ["", "vector field"]))
    if 1 < algebra.dim <= _MOST_BRACKETS:
        names = [f"X{i + 1}" for i in range(algebra.dim)]
        brackets = [[name, *row] for name, row in zip(names, write_brackets(algebra), strict=True)]
        caption = "Brackets of vector fields, [row, column]."
        parts.append(write_table(caption, ["", *names], brackets, ["", *names], "brackets"))
    parts += [write_list((*algebra.facts(), *algebra.notes)), figures.get("algebra.png", "")]
    return write_section("Algebra", *parts)


def _measured(discovery: Discovery) -> list[tuple[str, str]]:
    """What the numbers rest on."""
    symmetry, spectrum = discovery.symmetry, discovery.spectrum
    pairs = [("acts on", f"{symmetry.input.sentence} \u2192 {symmetry.output.sentence}"), ("data", discovery.held_out)]
    if spectrum is not None:
        null = "not asked for"
        if spectrum.null:
            null = f"derivatives and points paired at random give {spectrum.null[0]:.3g} and more"
        pairs += [
            ("samples", str(spectrum.samples)),
            ("intervals", f"95 %, jackknife over {spectrum.folds} folds"),
            ("bound", f"declared where the one-sided 95 % bound is below {spectrum.delta:g}"),
            ("null", null),
        ]
    elif discovery.cap is not None:
        pairs.append(("norms", f"measured against {discovery.cap:.3g}, from which on training rewards no growth"))
    return pairs


def _list_notes(notes: Sequence[str]) -> str:
    return f'<div class="notes">{write_list(notes)}</div>' if notes else ""
