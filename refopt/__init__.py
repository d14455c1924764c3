"""refopt: the executable specification of optimizers.

    verify     refopt.verify("torch.optim:Adam") names the rule and the conventions that an implementation follows
    translate  refopt.translate("keras:SGD(momentum=0.9)", to="torch") names its equivalent elsewhere
    learn      refopt.explain("adam") shows the tested source with the numbers in it
    train      opt = refopt.Optimizer("adamw", params, backend="numba"); opt(lr, grads)

`refopt.rules.RULES` holds the rules; `refopt.init` and `refopt.update` run them without side effects. Names are
imported when they are first used: `import refopt` loads no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refopt.explaining import explain, show
    from refopt.rules import RULES, get_rule
    from refopt.running.average import ExponentialMovingAverage
    from refopt.running.optimizers import LARS, SGD, Adam, Momentum, Optimizer
    from refopt.running.pure import State, average, init, update
    from refopt.selection import get_backend, use
    from refopt.spec.errors import RefoptError, Unsupported
    from refopt.spec.hyper import Hyper
    from refopt.translating import Translation, translate
    from refopt.verifying import Recorder, Trace, Verdict, drive, identify, record, verify

__version__ = "0.1.0"

_HOME = {
    "refopt.explaining": ("explain", "show"),
    "refopt.rules": ("RULES", "get_rule"),
    "refopt.running.average": ("ExponentialMovingAverage",),
    "refopt.running.optimizers": ("LARS", "SGD", "Adam", "Momentum", "Optimizer"),
    "refopt.running.pure": ("State", "average", "init", "update"),
    "refopt.selection": ("get_backend", "use"),
    "refopt.spec.errors": ("RefoptError", "Unsupported"),
    "refopt.spec.hyper": ("Hyper",),
    "refopt.translating": ("Translation", "translate"),
    "refopt.verifying": ("Recorder", "Trace", "Verdict", "drive", "identify", "record", "verify"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "LARS",
    "RULES",
    "SGD",
    "Adam",
    "ExponentialMovingAverage",
    "Hyper",
    "Momentum",
    "Optimizer",
    "Recorder",
    "RefoptError",
    "State",
    "Trace",
    "Translation",
    "Unsupported",
    "Verdict",
    "average",
    "drive",
    "explain",
    "get_backend",
    "get_rule",
    "identify",
    "init",
    "record",
    "show",
    "translate",
    "update",
    "use",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'refopt' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
