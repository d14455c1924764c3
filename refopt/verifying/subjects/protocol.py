"""The wire format of docs/protocol.md: one JSON object a line, arrays in them, and what a program says of itself.

What a program sends is a stranger's: everything is checked here, and refused as `Unsupported` with what was expected.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.errors import Unsupported, shown

VERSION = 1
ENCODINGS = {"base64": "data", "hex": "hex"}  # how a program wants its arrays, and the member that holds them
# "0.1" would be read as a sixteenth: the prefix is asked for.
HEX = r"^[+-]?(0[xX][0-9a-fA-F]+(\.[0-9a-fA-F]*)?([pP][+-]?[0-9]+)?|inf|nan)$"


def line(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse(answer: bytes, asked: str) -> dict[str, Any]:
    """A line that was received, as the answer to a message of this name."""
    try:
        found = json.loads(answer.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unsupported(f"an answer is a JSON object on one line ({error})") from error
    if not isinstance(found, dict) or found.get("message") not in (asked, "error"):
        raise Unsupported(f'an answer to {asked} is a JSON object with "message": "{asked}", or "error"')
    if found["message"] == "error" and not isinstance(found.get("reason"), str):
        raise Unsupported('an error has a "reason", which is a text')
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


@dataclass(frozen=True)
class Declaration:
    """What a program answers to `start`. `defaults` has None for a number that must be given."""

    name: str
    version: str
    arrays: str
    dtypes: tuple[str, ...]
    defaults: dict[str, float | None]
    per_step: frozenset[str]
    options: tuple[str, ...]
    slots: tuple[str, ...]
    average: bool
    stated: bool


def declaration(answer: dict[str, Any]) -> Declaration:
    """The answer to `start`, checked."""
    _demand("protocol", answer.get("protocol"), answer.get("protocol") == VERSION, f"{VERSION}, which refopt speaks")
    name, version = answer.get("name"), answer.get("version")
    _demand("name", name, isinstance(name, str) and name != "", "a text")
    _demand("version", version, isinstance(version, str) and version != "", "a text")
    arrays = answer.get("arrays", "base64")
    _demand("arrays", arrays, isinstance(arrays, str) and arrays in ENCODINGS, " or ".join(ENCODINGS))
    dtypes: Any = answer.get("dtypes")
    known = _is_texts(dtypes) and dtypes != [] and set(dtypes) <= set(PARAMETER_DTYPES)
    _demand("dtypes", dtypes, known, f"a list of some of {', '.join(PARAMETER_DTYPES)}")
    hyper: Any = answer.get("hyper")
    _demand("hyper", hyper, isinstance(hyper, dict), "an object of a program's hyper-parameters by name")
    for own, one in hyper.items():
        _demand(f"hyper.{own}", one, _is_hyper(one), 'an object such as {"default": 0.1, "per_step": true}')
    average = answer.get("average", False)
    _demand("average", average, isinstance(average, bool), "true for an average of parameters, or false")
    stated = answer.get("stated", False)
    _demand("stated", stated, isinstance(stated, bool), "true if the numbers can neither be set nor read, or false")
    options, slots = answer.get("options", []), answer.get("slots", [])
    _demand("options", options, _is_texts(options), "a list of names")
    _demand("slots", slots, _is_texts(slots), "a list of names")
    return Declaration(
        name=str(name),
        version=str(version),
        arrays=arrays,
        dtypes=tuple(dtypes),
        defaults={own: float(one["default"]) if "default" in one else None for own, one in hyper.items()},
        per_step=frozenset(own for own, one in hyper.items() if one.get("per_step", False)),
        options=tuple(options),
        slots=tuple(slots),
        average=average,
        stated=stated,
    )


def encode(array: np.ndarray, encoding: str) -> dict[str, Any]:
    """An array as it is sent: its dtype, its shape, and its elements in C order."""
    if encoding == "hex":
        elements: Any = [float(x).hex() for x in array.ravel()]
    else:
        little = array if sys.byteorder == "little" else array.byteswap()
        elements = base64.b64encode(little.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), ENCODINGS[encoding]: elements}


def decode_all(sent: Any, what: str, like: list[np.ndarray], *, same_shape: bool = True) -> list[np.ndarray]:
    """As many arrays as `like` has: of the same dtypes and, unless they are slots, of the same shapes."""
    _demand(what, sent, isinstance(sent, list) and len(sent) == len(like), f"a list of {len(like)} arrays")
    arrays = [decode(one, f"{what}[{i}]") for i, one in enumerate(sent)]
    for i, (array, other) in enumerate(zip(arrays, like, strict=True)):
        if same_shape and array.shape != other.shape:
            raise Unsupported(
                f"{what}[{i}] must have the shape {list(other.shape)} that was given; got {list(array.shape)}"
            )
        if same_shape and array.dtype != other.dtype:
            raise Unsupported(f"{what}[{i}] must have the dtype {other.dtype} that was given; got {array.dtype}")
    return arrays


def decode(sent: Any, what: str) -> np.ndarray:
    """An array that was received, in either encoding. Any value is legal, NaN too."""
    holders = [name for name in ENCODINGS.values() if isinstance(sent, dict) and name in sent]
    _demand(what, sent, len(holders) == 1, "an object with dtype, shape, and either data or hex")
    name, shape = sent.get("dtype"), sent.get("shape")
    _demand(f"{what}.dtype", name, isinstance(name, str) and name in PARAMETER_DTYPES, ", ".join(PARAMETER_DTYPES))
    sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    _demand(f"{what}.shape", shape, sizes, "a list of sizes")
    dtype, count = PARAMETER_DTYPES[name], math.prod(shape)
    flat = (_from_base64 if holders == ["data"] else _from_hex)(sent[holders[0]], what, dtype)
    if flat.size != count:
        raise Unsupported(f"{what} must have {count} elements, as its shape {shape} says; got {flat.size}")
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:  # more dimensions, or larger ones, than NumPy has
        raise Unsupported(f"{what}.shape must be one that an array can have; got {shown(shape)}: {error}") from error


def _from_base64(text: Any, what: str, dtype: np.dtype) -> np.ndarray:
    expected = f"base64 of little-endian {dtype.name}"
    _demand(f"{what}.data", text, isinstance(text, str), expected)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Unsupported(f"{what}.data must be {expected}; got {shown(text)}: {error}") from error
    if len(data) % dtype.itemsize:
        raise Unsupported(f"{what}.data must be {expected}, {dtype.itemsize} bytes each; got {len(data)} bytes")
    flat = np.frombuffer(data, dtype)
    return flat.copy() if sys.byteorder == "little" else flat.byteswap()


def _from_hex(texts: Any, what: str, dtype: np.dtype) -> np.ndarray:
    expected = "a list of C99 hex floats such as 0x1.8p+1, inf or nan"
    _demand(f"{what}.hex", texts, _is_texts(texts), expected)
    for text in texts:
        _demand(f"{what}.hex", text, re.fullmatch(HEX, text) is not None, expected)
    try:
        wide = np.array([float.fromhex(text) for text in texts], np.float64)
    except OverflowError as error:
        raise Unsupported(f"{what}.hex must be numbers that float64 has: {error}") from error
    with np.errstate(all="ignore"):
        flat = wide.astype(dtype)
        exact = np.array_equal(flat.astype(np.float64), wide, equal_nan=True)
    if not exact:
        raise Unsupported(f"{what}.hex must be numbers that {dtype.name} has, as its dtype says; got others")
    return flat


def _demand(what: str, value: Any, fine: bool, expected: str) -> None:
    if not fine:
        raise Unsupported(f"{what} must be {expected}; got {shown(value)}")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_hyper(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("per_step", False), bool):
        return False
    default = value.get("default", 0)
    return type(default) in (int, float) and abs(default) <= sys.float_info.max
