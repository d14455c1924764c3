"""Programs as subjects: the examples conform; whatever a program does wrong is said, and nothing of it stays behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jsonschema
import ml_dtypes
import numpy as np
import pytest
from languages import command
from typer.testing import CliRunner

import refopt
from refopt.cli import app
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying import Command
from refopt.verifying.subjects.process import ProcessSubject
from refopt.verifying.subjects.protocol import VERSION, decode, encode

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples" / "protocol"
SCHEMA = json.loads((ROOT / "docs" / "protocol.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session", params=["adam.py", "adam.c", "adam.mjs"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The name of an example, and the command that runs it."""
    path = EXAMPLES / request.param
    return path.name, shlex.join(command(path, tmp_path_factory.mktemp("built")))


def test_an_example_is_identified(example: tuple[str, str]) -> None:
    name, command = example
    verdict = refopt.verify(f"exec:{command}")
    assert (verdict.rule, verdict.dialect, verdict.conforms) == ("adam", "paper", True)
    assert verdict.versions == {name: "1"}
    assert verdict.defaults == {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def test_an_example_goes_through_the_suite(example: tuple[str, str]) -> None:
    name, command = example
    run = [sys.executable, "-m", "refopt", "conform", "--exec", command, "--rule", "adam"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"({name} 1) on cpu conforms" in done.stdout


def test_what_is_exchanged_follows_the_schema(tmp_path: Path) -> None:
    """A program between the two, which keeps every line."""
    log = tmp_path / "lines"
    between = program(
        tmp_path,
        f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, {str(EXAMPLES / "adam.py")!r}],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with open({str(log)!r}, "a") as log:
            for line in sys.stdin:
                log.write(line)
                child.stdin.write(line)
                child.stdin.flush()
                if '"stop"' in line:
                    break
                answer = child.stdout.readline()
                log.write(answer)
                print(answer, end="", flush=True)
        child.wait()
        """,
    )
    subject = ProcessSubject("adam", between, {})
    zero = np.zeros((2, 3))
    (step,) = subject.follow([zero, np.float64(1.0).reshape(())], [[zero, zero.sum()]], [{"lr": 0.1}], state=True)
    assert set(step.slots) == {"m", "v"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["message"] for line in lines} == {"start", "init", "step", "state", "stop"}
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"message": "step", "params": [{"dtype": "float64", "shape": [1]}]}, SCHEMA)


PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page_line", re.findall(r"`(\{.*?\})` \|", PAGE))
def test_the_page_shows_messages_of_the_schema(page_line: str) -> None:
    array = '{"dtype":"float64","shape":[1],"hex":["0x1p+0"]}'
    text = page_line.replace("ARRAY, ...", array)
    jsonschema.validate(json.loads(text), SCHEMA)


ARRAYS = [np.array([1.5, -0.0, np.inf, np.nan]), np.float64(0.1).reshape(()), np.zeros((0, 3)), np.eye(3)[:, ::2]]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("encoding", ["base64", "hex"])
@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_keep_their_bits(array: np.ndarray, encoding: str, dtype: str) -> None:
    given = array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    sent = encode(given, encoding)
    jsonschema.validate({"message": "step", "params": [sent]}, SCHEMA)
    found = decode(json.loads(json.dumps(sent)), "params[0]")
    assert found.dtype == given.dtype
    assert found.tobytes() == given.tobytes() or np.isnan(given.astype(float)).any()
    np.testing.assert_array_equal(found.astype(float), given.astype(float))


def program(folder: Path, source: str) -> Command:
    """A Python program, with a second for each answer."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return Command([sys.executable, str(path)], deadline=1.5)


def answers(step: str, start: str = "", hyper: object = None) -> str:
    """A program that says what it is, and does as told at a step; `grads` and `w` are there."""
    declared = {"message": "start", "protocol": VERSION, "name": "p", "version": "1", "dtypes": ["float64"],
                "hyper": hyper or {"lr": {"default": 0.1, "per_step": True}}}  # fmt: skip
    return (
        "import base64, json, os, subprocess, sys, time\n"
        "def say(**answer): print(json.dumps(answer), flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if asked['message'] == 'stop': break\n"
        f"    if asked['message'] == 'start': {start or f'say(**{declared!r})'}\n"
        "    if asked['message'] == 'init': w = asked['params']; say(message='init')\n"
        f"    if asked['message'] == 'step': {step}\n"
    )


WRONG = {
    "hangs": ("time.sleep(600)", "gave no answer to step 1 within 1.5 s; it must answer with a line, and flush it"),
    "dies": ("sys.exit('no luck')", "ended with status 1 before it answered step 1; its stderr ends with 'no luck'"),
    "is killed": ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
    "garbage": ("print('hello', flush=True)", "an answer is a JSON object on one line"),
    "two lines": ("print('{}\\n{}', flush=True)", "an answer is one line, and stdout is for answers alone"),
    "half a line": ("print('{', end='', flush=True); time.sleep(600)", "without an end of line"),
    "a flood": ("[print('x' * 4096, end='') for _ in range(10**5)]", "bytes without an end of line: an answer here"),
    "a flood of errors": ("[print('x' * 4096, file=sys.stderr) for _ in range(10**4)]; sys.exit(2)", "ended with st"),
    "no parameters": ("say(message='step')", "params must be a list of"),
    "another shape": ("w[0]['shape'] = [1, 1]; say(message='step', params=w)", "params[0]"),
    "another dtype": (
        "w = [{'dtype': 'float32', 'shape': x['shape'], 'hex': []} for x in w]; say(message='step', params=w)",
        "params[0] must have",
    ),
    "a refusal": ("say(message='error', reason='no such rule')", "refuses step 1: no such rule"),
    "another answer": ("say(message='init')", 'an answer to step is a JSON object with "message": "step", or "error"'),
    "does not end": (
        "say(message='step', params=w) or (asked['t'] == 1 and sys.stdin.readline() and time.sleep(600))",
        "",
    ),
}
GRANDCHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


@pytest.mark.parametrize("how", WRONG)
def test_what_goes_wrong_is_said_and_nothing_stays_behind(how: str, tmp_path: Path) -> None:
    does, said = WRONG[how]
    note = f"open({str(tmp_path / 'group')!r}, 'a').write(f'{{os.getpgid(0)}} '); "
    command = program(tmp_path, answers(note + GRANDCHILD + does))
    subject = ProcessSubject("p", command, {})
    started = time.monotonic()
    with pytest.raises(Unsupported) as caught:
        subject.drive([np.ones(2), np.ones(3)], [[np.ones(2), np.ones(3)]], [{"lr": 0.1}])
    assert time.monotonic() - started < 15
    assert said in str(caught.value)
    for group in (tmp_path / "group").read_text().split():
        assert is_gone(int(group)), "the program and what it started have ended"


def is_gone(group: int) -> bool:
    """Whether no process of a group runs; those that were killed a moment ago may still be listed."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        if all(state == "Z" for state in states(group)):
            return True
        time.sleep(0.05)
    return False


def states(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (row.split() for row in listed.splitlines())
    return [stat[0] for number, stat in rows if int(number) == group]


def test_nan_is_an_answer(tmp_path: Path) -> None:
    nan = {"dtype": "float64", "shape": [2], "hex": ["nan", "nan"]}
    subject = ProcessSubject("p", program(tmp_path, answers(f"say(message='step', params=[{nan!r}])")), {})
    ((found,),) = subject.drive([np.ones(2)], [[np.ones(2)]], [{"lr": 0.1}])
    assert np.isnan(found).all()


NANS = "[x.update(hex=['nan'] * (len(base64.b64decode(x.pop('data'))) // 8)) for x in w if 'data' in x]"
ADAM = {name: {"default": 0.5, "per_step": True} for name in ("lr", "beta1", "beta2", "eps")}


def test_a_program_of_nans_conforms_to_nothing(tmp_path: Path) -> None:
    command = program(tmp_path, answers(f"{NANS}; say(message='step', params=w)", hyper=ADAM))
    verdict = refopt.verify(command)
    assert verdict.status == "deviates"
    assert "none of its results is finite" in str(verdict)


DEFECTS = {
    "crashes": ("sys.exit('out of luck')", "ended with status 1 before it answered step 100"),
    "hangs": ("time.sleep(600)", "gave no answer to step 100 within 10 s"),
    "refuses": ("print(json.dumps({'message': 'error', 'reason': 'not so long'}), flush=True)", "was not tested"),
}


@pytest.mark.parametrize("how", DEFECTS)
def test_a_program_that_fails_in_the_suite_does_not_conform(how: str, tmp_path: Path) -> None:
    """It answers the probes, which are short."""
    does, said = DEFECTS[how]
    source = (EXAMPLES / "adam.py").read_text(encoding="utf-8")
    place = "    elif asked["
    broken = source.replace(
        place, f"    elif asked.get('t') == 100:\n        import time; {does}\n        continue\n{place}", 1
    )
    (tmp_path / "broken.py").write_text(broken, encoding="utf-8")
    words = ["conform", "--exec", shlex.join([sys.executable, str(tmp_path / "broken.py")]), "--rule", "adam"]
    run = [sys.executable, "-m", "refopt", *words, "-k", "long_chain"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == (2 if how == "refuses" else 1), done.stdout
    assert "conforms" not in done.stdout


STARTS = {
    "say(message='start')": "protocol must be 1",
    "say(message='start', protocol=2)": "protocol must be 1",
    "say(message='start', protocol=1, name='p', version='1', dtypes=['int8'], hyper={})": "dtypes must be a list",
    "say(message='start', protocol=1, name='p', version='1', dtypes=['float64'], hyper=[])": "hyper must be an object",
}


@pytest.mark.parametrize("start", STARTS)
def test_what_a_program_says_of_itself_is_checked(start: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=re.escape(STARTS[start])):
        ProcessSubject("p", program(tmp_path, answers("pass", start)), {})


COMMANDS = [
    (["verify"], "verify takes a target such as torch.optim:Adam, or a program as --exec COMMAND; give one"),
    (["verify", "torch.optim:Adam", "--exec", "./adam"], "give one"),
    (["conform"], "conform takes a backend such as torch, or a program as --exec COMMAND; give one"),
    (
        ["verify", "--exec", "./no-such-program"],
        "cannot be started: [Errno 2] No such file or directory: './no-such-program'; give a command",
    ),
    (["verify", "--exec", "'open"], "is no command"),
    (["verify", "--exec", "true", "--deadline", "0"], "a deadline is a number of seconds above 0; got 0.0"),
]


@pytest.mark.parametrize(("words", "said"), COMMANDS, ids=str)
def test_what_cannot_be_run_is_refused(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0
    text = f"{result.output} {result.exception}"
    assert said in " ".join(text.split())


def test_a_command_is_a_list_of_words() -> None:
    assert str(Command(["./a b", "-x"])) == "exec:'./a b' -x"
    assert Command.parse("exec:./adam --fast").words == ("./adam", "--fast")
    with pytest.raises(RefoptError, match="takes a list of words"):
        Command("./adam")
