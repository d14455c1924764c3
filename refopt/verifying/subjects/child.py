"""A stranger's program as a child process: a line for a line, before a deadline; and nothing of it stays behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from refopt.spec.errors import Broken, Unsupported, shown
from refopt.verifying.subjects.protocol import line, parse

CHUNK = 65536
LOOK = 0.1  # seconds without a word after which it is asked whether the program still runs
SHORTEST_LIMIT = 2**20  # what an answer may always have, in bytes
TIMES_SENT = 16  # and so many times the longest line that was sent: hex is long, and a state has several slots
TAIL = 2000  # the last bytes of stderr that are kept
LINES = 3  # and the lines of them that are shown

T = TypeVar("T")


class Child:
    """A running program. Use it in a `with`: however that is left, the process and its whole group have ended.

    It has a group of its own, so that what it starts itself ends with it. Its stderr is read all the time, so that it
    cannot block, and the end is kept for the messages. What these say of one that is `late`, and of one that has not
    answered yet (`doubt`), is up to who starts it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        deadline: float,
        *,
        late: str = "it must answer with a line, and flush it",
        doubt: str = "",
    ) -> None:
        if os.name != "posix":
            raise Unsupported(f"{name}: programs are driven on POSIX systems only; use Linux, macOS or WSL")
        self.name, self.deadline, self.late, self.doubt = name, deadline, late, doubt
        self.longest, self.errors = 0, b""
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the command
            raise Unsupported(
                f"{name} cannot be started: {error}; give a command that runs here, "
                f"such as ./my_optimizer or 'python3 my_optimizer.py'"
            ) from error
        self.stdin, self.stdout, self.stderr = (
            pipe.fileno()  # type: ignore[union-attr]  # all three are pipes
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr)
        )
        for end in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(end, False)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()  # type: ignore[union-attr]

    def ask(self, request: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        """Send a message, and make of the answer what `read` makes of it.

        Raises Unsupported if the program refuses, Broken if it does not answer, or nonsense.
        """
        asked = f"{request['message']} {request['t']}" if "t" in request else str(request["message"])
        answer = self._exchange(line(request), asked)
        try:
            found = parse(answer, request["message"])
            self.doubt = ""
            if found["message"] != "error":
                return read(found)
        except Unsupported as problem:
            raise self._broken(f"answered {asked} with {_text(answer)}: {problem}") from problem
        raise self._broken(f"refuses {asked}: {' '.join(found['reason'].split())[:500]}", Unsupported)

    def stop(self) -> None:
        """Tell it to stop. It must end, with status 0 and without another word."""
        self._exchange(line({"message": "stop"}), "stop", last=True)

    def kill(self) -> None:
        """End it and all that it has started, if they still run."""
        with suppress(ProcessLookupError, PermissionError):  # macOS: not permitted if all of them have ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _exchange(self, sent: bytes, asked: str, *, last: bool = False) -> bytes:
        """Send a line and receive one. After the `last`, stdin is closed, and the process must end."""
        end = time.monotonic() + self.deadline
        self.longest = max(self.longest, len(sent))
        limit = SHORTEST_LIMIT + TIMES_SENT * self.longest
        got, pending = bytearray(), memoryview(sent)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.stdin, selectors.EVENT_WRITE)
            waiting.register(self.stdout, selectors.EVENT_READ)
            waiting.register(self.stderr, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in waiting.select(max(0.0, min(LOOK, end - time.monotonic())))}
                if time.monotonic() >= end:
                    raise self._late(asked, bytes(got), last=last)
                if self.stderr in ready and not self._keep_errors():
                    waiting.unregister(self.stderr)
                if self.stdin in ready:
                    pending = self._write(pending)
                    if not pending:
                        waiting.unregister(self.stdin)
                        if last:
                            self.process.stdin.close()  # type: ignore[union-attr]
                if not ready and not last and self.process.poll() is not None:  # what it started may hold its stdout
                    raise self._broken(f"{self._how_it_ended()} before it answered {asked}{_after(got)}")
                if self.stdout in ready:
                    chunk = os.read(self.stdout, CHUNK)
                    got += chunk
                    if last and got:
                        raise self._broken(f"wrote {_text(got)}, which nobody asked for: stdout is for one answer each")
                    if last and not chunk:
                        return self._ended(end)
                    if not chunk:
                        raise self._broken(f"{self._how_it_ended()} before it answered {asked}{_after(got)}")
                    answer, newline, more = bytes(got).partition(b"\n")
                    if more:
                        raise self._broken(
                            f"answered {asked} with {_text(answer)} and then {_text(more)}: "
                            f"an answer is one line, and stdout is for answers alone"
                        )
                    if newline:
                        return answer
                    if len(got) > limit:
                        raise self._broken(
                            f"answered {asked} with {_text(got)}, {len(got)} bytes without an end of line: "
                            f"an answer here has at most {limit}"
                        )

    def _write(self, pending: memoryview) -> memoryview:
        """Write what can be written; what is left."""
        try:
            return pending[os.write(self.stdin, pending) :]
        except BlockingIOError:
            return pending
        except BrokenPipeError:  # it has ended, or reads no more: its stdout will tell
            return pending[:0]

    def _keep_errors(self) -> bool:
        """Read from stderr, and keep the end. False at its end."""
        try:
            chunk = os.read(self.stderr, CHUNK)
        except BlockingIOError:
            return False
        self.errors = (self.errors + chunk)[-TAIL:]
        return bool(chunk)

    def _ended(self, end: float) -> bytes:
        """It has closed its stdout after the last message: it must end well."""
        try:
            self.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._late("stop", b"", last=True) from None
        if self.process.returncode != 0:
            raise self._broken(f"{self._how_it_ended()} after stop; it must end with status 0")
        return b""

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)  # a program that ends closes its pipes a little earlier
            code = self.process.returncode
            return (
                f"ended with status {code}" if code >= 0 else f"was ended by signal {-code}, {signal.strsignal(-code)},"
            )
        return "closed its stdout"

    def _late(self, asked: str, got: bytes, *, last: bool) -> Unsupported:
        if last:
            return self._broken(f"had not ended {self.deadline:g} s after stop; it must, and all that it started", Late)
        return self._broken(
            f"gave no answer to {asked} within {self.deadline:g} s{_after(got)}; {self.late}",
            Late,
        )

    def _broken(self, what: str, kind: type[Unsupported] = Broken) -> Unsupported:
        """The sentence for what it did, with the end of its stderr. It has been killed by then."""
        self.kill()
        for _ in range(2**20 // CHUNK):  # what a pipe holds; a process that has escaped may go on for ever
            if not self._keep_errors():
                break
        lines = [text for text in self.errors.decode(errors="replace").splitlines() if text.strip()]
        said = f"; its stderr ends with {' | '.join(lines[-LINES:])[-300:]!r}" if lines else "; its stderr is empty"
        if kind is Unsupported and not lines:  # it has given its reason
            said = ""
        return kind(f"{self.name} {what}{said}{f'; {self.doubt}' if self.doubt and not lines else ''}")


class Late(Broken):
    """A program did not answer, or end, in time."""


def _text(sent: bytes | bytearray) -> str:
    return shown(bytes(sent[:CHUNK]).decode(errors="replace"))


def _after(got: bytes | bytearray) -> str:
    return f", but wrote {_text(got)} without an end of line" if got else ""
