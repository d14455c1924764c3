"""Optimizers that live in another Python interpreter, with other versions than ours and without refopt."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying import drivers
from refopt.verifying.subjects.child import Child

DEADLINE = 120.0  # seconds: importing a framework takes its time
# Gives the folder of drivers a name of its own: their imports are relative, and no refopt is there.
BOOT = """
import importlib.util, sys
if sys.version_info < (3, 10):
    sys.exit("it is Python %d.%d; one of 3.10 or later is needed" % sys.version_info[:2])
folder, target, what, device = sys.argv[1:]
try:
    import numpy
except ImportError as error:
    sys.exit("NumPy cannot be imported there (%s); install it: %s -m pip install numpy" % (error, sys.executable))
place = folder + "/__init__.py"
spec = importlib.util.spec_from_file_location("refopt_drivers", place, submodule_search_locations=[folder])
sys.modules["refopt_drivers"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from refopt_drivers.serve import main
main(target, average=what == "average", device=device or None)
"""


@dataclass(frozen=True)
class Interpreter:
    """A target in another interpreter: `refopt.verify(Interpreter("env/bin/python", "objax.optimizer:Adam"))`.

    The interpreter needs NumPy and the framework. refopt's drivers are started in it, and spoken to by the protocol of
    docs/protocol.md. One process makes all the optimizers that are asked for.

    Args:
        python: the interpreter.
        target: `module:name` or `file.py:name`.
        deadline: the seconds that it has for each answer.
        average: of an optimizer that keeps an average of the parameters, drive that.
        device: where a torch optimizer is driven, e.g. cuda.
    """

    python: str | Path
    target: str
    deadline: float = DEADLINE
    average: bool = False
    device: str | None = None

    restarts = True

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or ":" not in self.target:
            raise RefoptError(
                f"another interpreter needs a target to import, module:name or file.py:name; got {self.target!r}"
            )

        if not (self.deadline > 0 and math.isfinite(self.deadline)):
            raise RefoptError(f"a deadline is a number of seconds above 0; got {self.deadline!r}")

    def __str__(self) -> str:
        return self.target

    def __call__(self) -> Child:
        """Start it."""
        if shutil.which(str(self.python)) is None:
            raise Unsupported(
                f"{self.target}: there is no program {self.python} to run it in; "
                f"give the path of a Python interpreter, such as env/bin/python"
            )
        folder = str(Path(drivers.__file__).parent)
        what = "average" if self.average else "optimizer"
        words = (str(self.python), "-c", BOOT, folder, self.target, what, self.device or "")
        return Child(
            f"{self.target} in {self.python}",
            words,
            self.deadline,
            late="if it only needs longer, give it a longer deadline",
            doubt="is that a Python interpreter?",
        )
