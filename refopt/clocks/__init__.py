"""When is a value computed: once per step, per model, per tensor, per index along a dimension, or per element?

Every expression of a rule has a clock, found from its names: hyper-parameters and t belong to the step; sums over all
parameters such as total(g * g) to the model, which is once per step too, but not before its arrays are read;
reductions of one parameter such as norm(w) to the tensor, those of its rows and columns such as max_along(v) to the
set; arrays to the element. An expression takes the fastest clock in it. The clocks say how a rule runs fast (`plan`),
and what a sharded run must exchange: for element work nothing, for all others a reduction.
"""

from refopt.clocks.analysis import (
    Clock,
    clock_of,
    clocks,
    estimates,
    has_rows,
    looks_along,
    matrix_functions,
    of_elements,
    of_model,
)
from refopt.clocks.pieces import Cut, Piece, cut
from refopt.clocks.plan import Plan, Reduction, Stage, plan

__all__ = [
    "Clock",
    "Cut",
    "Piece",
    "Plan",
    "Reduction",
    "Stage",
    "clock_of",
    "clocks",
    "cut",
    "estimates",
    "has_rows",
    "looks_along",
    "matrix_functions",
    "of_elements",
    "of_model",
    "plan",
]
