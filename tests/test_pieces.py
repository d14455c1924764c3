"""What looks along dimensions is cut out of a program; what adds over the model is a stage of its plan."""

from __future__ import annotations

import pytest

from refopt.clocks import cut, plan
from refopt.rules import RULES
from refopt.spec.lines import Line, parse
from refopt.spec.program import Program

# Lines of each piece: a fused one begins with +, one that runs as it is written with -.
PIECES = {
    "v = min_along(b, g) + g * g\nb = max_along(v)\nw = w - lr * g / sqrt(v)": [
        "- v_0 = min_along(b, g)",
        "+ v = v_0 + g * g; w = w - lr * g / sqrt(v)",
        "- b = max_along(v)",
    ],
    # What a function is given is made first; decay waits for the last piece, the norm that it must not change for it.
    "o = newton_schulz(g / norm(w))\nw = w - lr * w\nw = w - lr * o": [
        "+ o_0 = g / norm(w)",
        "- o = newton_schulz(o_0)",
        "+ w = w - lr * w; w = w - lr * o",
    ],
    # A piece that needs the decayed parameter has the decay in it.
    "w = w - lr * w\no = newton_schulz(w)\nw = w - lr * o": [
        "+ w = w - lr * w",
        "- o = newton_schulz(w)",
        "+ w = w - lr * o",
    ],
    # What is of rows, or chooses by the shape, runs as it is written, and so does what only NumPy knows of a shape.
    "b = 0.5 * b + max_along(g * g)\nscale = rows(g)\nu = outer(b, b) / b\nw = w - scale * u": [
        "+ b_0 = g * g",
        "- b = 0.5 * b + max_along(b_0); scale = rows(g); u = outer(b, b) / b",
        "+ w = w - scale * u",
    ],
    # The step comes first, whatever stands between its lines.
    "o = newton_schulz(g)\nc = 1 - lr\nc = c * c\nw = w - c * o": ["- o = newton_schulz(g)", "+ w = w - c * o"],
}


def written(source: str, **more: object) -> Program:
    """A program with these lines, that has w, g, a slot b with a number for each row and column, and lr."""
    lines = tuple(Line(target, value) for target, value in parse(source))
    known = RULES["sm3"].hyper().program
    slots = tuple(slot for slot in known.slots if slot.name == "b")
    return Program("drawn", ("w", "g", "b"), (), (), ("lr",), slots, lines, ("w", "b"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", PIECES)
def test_pieces(source: str) -> None:
    found = [
        f"{'+' if piece.fused else '-'} {'; '.join(line.text for line in piece.program.lines)}"
        for piece in cut(written(source)).pieces
    ]
    assert found == PIECES[source]


REFUSED = [
    ("lr_now = lr\nb = max_along(g)\nlr_now = norm(g)\nw = w - lr_now * g", "'lr_now' has been of the step before"),
    ("c = lr\nb = c * max_along(g)\nc = c * c\nw = w - c * g", "'c' has been of the step before"),
]


@pytest.mark.parametrize(("source", "why"), REFUSED)
def test_a_name_of_two_clocks_is_refused(source: str, why: str) -> None:
    with pytest.raises(SyntaxError, match=f"{why}, and drawn looks along dimensions; give it another name"):
        cut(written(source))


def test_totals_are_stages() -> None:
    """One that waits for no other is added in the same pass; what follows from it waits for the next."""
    source = """
c = norm(g)
a = total(g * g)
n = total(c)
e = sqrt(a) + n
z = c / e
f = total(g * z)
w = w - f * g
"""
    stages = plan(written(source)).stages
    assert [[(r.name, r.function) for r in stage.reductions] for stage in stages] == [
        [("r0", "norm"), ("r1", "total")],
        [],
        [("r2", "total")],
    ]
    assert [[line.text for line in stage.lines] for stage in stages] == [
        ["c = r0", "part0 = r1", "part1 = c"],
        ["z = c / e"],
        ["part2 = r2"],
    ]
    assert [stage.totals for stage in stages] == [(("a", "part0"), ("n", "part1")), (), (("f", "part2"),)]
    assert [[line.text for line in stage.host] for stage in stages] == [["e = sqrt(a) + n"], [], []]


TOO_LATE = [
    ("a = total(g)\ne = total(a * g)\nc = lr * e\nlr = 1 - lr\nw = w - c * g", "'lr' is in use until 'c = lr \\* e'"),
    ("a = total(g)\ne = total(a * g)\nc = e * e\nc = a\nw = w - c * g", "'c' is in use until 'c = e \\* e'"),
]


@pytest.mark.parametrize(("source", "why"), TOO_LATE)
def test_a_name_that_changes_too_early_is_refused(source: str, why: str) -> None:
    with pytest.raises(SyntaxError, match=f"{why} is computed, which needs a total; give one of the two another name"):
        plan(written(source))
