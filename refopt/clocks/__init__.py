"""When is a value computed: once per step, once per tensor, once per element?

Every expression of a rule has a clock, found from its names: hyper-parameters and t belong to the step, whole-tensor
reductions such as norm(w) to the tensor, arrays to the element; an expression takes the fastest clock in it. The
clocks say how a rule runs fast (`plan`), and what a sharded run must exchange: for element work nothing, for tensor
values a reduction.
"""

from refopt.clocks.analysis import Clock, clock_of, clocks
from refopt.clocks.plan import Plan, Reduction, Stage, plan

__all__ = ["Clock", "Plan", "Reduction", "Stage", "clock_of", "clocks", "plan"]
