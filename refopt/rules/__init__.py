"""All rules, ordered from simple to complex. A new rule is one file here and its line in the list."""

from refopt.rules.adam import ADAM
from refopt.rules.ema import EMA
from refopt.rules.lamb import LAMB
from refopt.rules.lars import LARS
from refopt.rules.momentum import MOMENTUM
from refopt.rules.schedule_free import SCHEDULE_FREE
from refopt.rules.schedule_free_adamw import SCHEDULE_FREE_ADAMW
from refopt.rules.sgd import SGD
from refopt.spec.declare import Rule
from refopt.spec.errors import unknown

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        SGD,
        MOMENTUM,
        ADAM,
        SCHEDULE_FREE,
        SCHEDULE_FREE_ADAMW,
        LARS,
        LAMB,
        EMA,
    )
}


def get_rule(rule: str | Rule) -> Rule:
    """The rule of that name; a Rule is returned as it is. Raises RefoptError for an unknown name."""
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, str) or rule not in RULES:
        raise unknown("refopt", "rule", rule, RULES)
    return RULES[rule]
