"""What holds for every backend without a budget of its own, by idea: memory, invariance, arrangement, compilation.

Each law is a function of a case and a driver, and raises Deviation where it is broken, Inapplicable where it says
nothing about the backend or the rule.
"""

from __future__ import annotations

from refopt_conformance.laws import arrangement, compiled, invariance, memory
from refopt_conformance.laws.common import Inapplicable, Law

__all__ = ["LAWS", "OF_THE_LOOP", "Inapplicable", "Law"]

# Laws of the loop around the rules: one dialect of a rule shows what the others would. Hundreds of tensors take long.
OF_THE_LOOP = frozenset({arrangement.number_of_tensors_does_not_matter.__name__})

LAWS: dict[str, Law] = {
    law.__name__: law
    for law in (
        memory.inputs_are_not_written,
        memory.in_place_keeps_the_arrays,
        invariance.no_parameters,
        invariance.dtypes_may_be_mixed,
        invariance.restart_changes_nothing,
        invariance.tensors_do_not_mix,
        invariance.order_of_elements_does_not_matter,
        arrangement.layout_does_not_matter,
        arrangement.layout_in_place_does_not_matter,
        arrangement.size_does_not_matter,
        arrangement.number_of_tensors_does_not_matter,
        invariance.powers_of_two_scale,
        invariance.without_rate_nothing_moves,
        memory.gradients_are_not_kept,
        memory.nothing_shares_memory,
        memory.old_arrays_are_not_kept,
        compiled.numbers_compile_nothing,
        compiled.eager_is_compiled,
        compiled.memory_may_be_donated,
    )
}
