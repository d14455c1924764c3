"""All rules, ordered from simple to complex. A new rule is one file here and its line in the list.

`VIEWS` are rules by other names: AdamW is an Adam.
"""

from refopt.rules.adabelief import ADABELIEF
from refopt.rules.adadelta import ADADELTA
from refopt.rules.adafactor import ADAFACTOR
from refopt.rules.adagrad import ADAGRAD
from refopt.rules.adam import ADAM, ADAMW, AMSGRAD
from refopt.rules.adamax import ADAMAX
from refopt.rules.adan import ADAN
from refopt.rules.asgd import ASGD
from refopt.rules.ema import EMA
from refopt.rules.lamb import LAMB
from refopt.rules.lars import LARS
from refopt.rules.lion import LION
from refopt.rules.momentum import MOMENTUM
from refopt.rules.muon import MUON
from refopt.rules.nadam import NADAM
from refopt.rules.novograd import NOVOGRAD
from refopt.rules.prodigy import PRODIGY
from refopt.rules.radam import RADAM
from refopt.rules.rmsprop import RMSPROP
from refopt.rules.rprop import RPROP
from refopt.rules.schedule_free import SCHEDULE_FREE
from refopt.rules.schedule_free_adamw import SCHEDULE_FREE_ADAMW
from refopt.rules.sgd import SGD
from refopt.rules.sm3 import SM3
from refopt.rules.yogi import YOGI
from refopt.spec.declare import Rule
from refopt.spec.errors import unknown

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        SGD,
        MOMENTUM,
        RPROP,
        ASGD,
        ADAGRAD,
        RMSPROP,
        ADADELTA,
        LION,
        ADAM,
        ADAMAX,
        NADAM,
        RADAM,
        ADABELIEF,
        YOGI,
        ADAN,
        SCHEDULE_FREE,
        SCHEDULE_FREE_ADAMW,
        LARS,
        LAMB,
        NOVOGRAD,
        PRODIGY,
        SM3,
        ADAFACTOR,
        MUON,
        EMA,
    )
}
VIEWS: dict[str, Rule] = {rule.name: rule for rule in (ADAMW, AMSGRAD)}


def get_rule(rule: str | Rule) -> Rule:
    """The rule, or view of one, of that name; a Rule is returned as it is. Raises RefoptError for an unknown name."""
    if isinstance(rule, Rule):
        return rule
    known = RULES | VIEWS
    if not isinstance(rule, str) or rule not in known:
        raise unknown("refopt", "rule", rule, known)
    return known[rule]
