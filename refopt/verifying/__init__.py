"""Which rule, and which conventions, does an implementation follow? `verify` drives it; `identify` reads a trace."""

from refopt.verifying.drive import drive
from refopt.verifying.identify import identify
from refopt.verifying.recording import Recorder, record
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.process import Command
from refopt.verifying.trace import Trace
from refopt.verifying.verdict import AxisVerdict, Verdict
from refopt.verifying.verify import verify

__all__ = [
    "AxisVerdict",
    "Command",
    "Interpreter",
    "Recorder",
    "Trace",
    "Verdict",
    "drive",
    "identify",
    "record",
    "verify",
]
