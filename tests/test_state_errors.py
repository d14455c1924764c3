"""States and state files that are damaged, foreign or another optimizer's: a sentence each, and nothing is restored."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running_cases import make, native, state_of, take, tree
from test_errors import refused

import refopt
from refopt.running import saving

CASE = "adam-product-amsgrad"


def trained() -> Any:
    opt = make(CASE, native("numpy", tree(0)))
    take(opt, tree(1))
    return opt


def meta(**changes: Any) -> Callable[[dict[str, np.ndarray]], Any]:
    """A state whose description is changed."""

    def change(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return state | {"refopt": np.array(json.dumps(json.loads(str(state["refopt"])) | changes))}

    return change


def of(optimizer: Any, params: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda _: optimizer(params, **options).state_dict()


M = "slots[m]params['layer']['w']"
SAME = {"power": "product", "amsgrad": "raw"}

# A state to load: (made from the right one, what the message says).
STATES: dict[str, tuple[Callable[[dict[str, np.ndarray]], Any], tuple[str, ...]]] = {
    "another rule": (of(refopt.LARS, tree(0)), ("'lars'", "'adam'", "its own rule")),
    "other axes": (of(refopt.Adam, tree(0), power="product"), ("amsgrad='no'", "amsgrad='raw'", "the same axes")),
    "axes with the same slots": (of(refopt.Adam, tree(0), eps_at="inside_raw", **SAME),
                                 ("eps_at='inside_raw'", "eps_at='outside_hat'", "the same axes")),
    "an axis that is unknown": (meta(axes={"colour": "red"}), ("colour='red'", "the same axes")),
    "another tree": (of(refopt.Adam, [np.ones(3)], **SAME), ("m", "for 5 parameters", "same tree")),
    "a place more": (lambda s: s | {"slots[m]params['x']": np.ones(3)}, ("has \"slots[m]params['x']\"", "same tree")),
    "a place less": (lambda s: {k: v for k, v in s.items() if k != M}, (f'lacks "{M}"', "same tree")),
    "another shape": (lambda s: s | {M: np.ones((4, 3))}, ("'m' of params['layer']['w']", "(3, 4)", "(4, 3)")),
    "another dtype": (lambda s: s | {M: np.ones((3, 4), "f4")}, ("float64 of shape (3, 4)", "float32 of shape (3, 4)")),
    "a number that is an array": (lambda s: s | {"slots[p1]": np.ones(2)}, ("slot 'p1'", "()", "(2,)")),
    "a step before the first": (meta(step=-1), ("'refopt' entry is missing or damaged", "state_dict()")),
    "a step that is no number": (meta(step="1"), ("'refopt' entry is missing or damaged", "save()")),
    "a later format": (meta(format=2), ("format 2", "reads 1", "update refopt")),
    "axes that are no mapping": (meta(axes=3), ("missing or damaged",)),
    "no description": (lambda s: {k: v for k, v in s.items() if k != "refopt"}, ("missing or damaged",)),
    "a description of something else": (lambda s: s | {"refopt": np.array("[]")}, ("missing or damaged",)),
    "nothing": (lambda _: {}, ("missing or damaged",)),
    "None": (lambda _: None, ("missing or damaged",)),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_state_of_something_else(name: str, backend: str, tmp_path: Path) -> None:
    change, fragments = STATES[name]
    state = change(trained().state_dict())
    opt = make(CASE, native(backend, tree(0)))
    take(opt, native(backend, tree(2)))
    before = state_of(opt)
    refused(lambda: opt.load_state_dict(state), *fragments)
    if state:  # the same from a file
        saving.write(tmp_path / "state.npz", state)
        refused(lambda: opt.load(tmp_path / "state.npz"), *fragments)
    assert state_of(opt) == before


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def npz(path: Path, **arrays: Any) -> None:
    np.savez(path.with_suffix(".npz"), **arrays)
    path.with_suffix(".npz").replace(path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("slots[m].npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (10**15,)}")


# A file that is no state: (what is done to a good one, what the message says besides its name).
FILES: dict[str, tuple[str, Callable[[Path], Any], tuple[str, ...]]] = {
    "npz, cut in half": (".npz", lambda p: rewritten(p, lambda b: b[: len(b) // 2]), ("damaged", "copy")),
    "npz, without its end": (".npz", lambda p: rewritten(p, lambda b: b[:-1]), ("damaged", "copy")),
    "npz, a byte of data": (
        ".npz",
        lambda p: rewritten(p, lambda b: b.replace(np.float64(0.8), b"12345678")),
        ("CRC",),
    ),
    "npz, empty": (".npz", lambda p: p.write_bytes(b""), ("no .npz file", "no zip archive")),
    "npz, of text": (".npz", lambda p: p.write_text("m,v\n1,2\n"), ("no .npz file", "no zip archive")),
    "npz, a pickle": (".npz", lambda p: p.write_bytes(pickle.dumps({"refopt": 1})), ("no zip archive",)),
    "npz, an .npy": (".npz", lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), ("no zip archive",)),
    "npz, of objects": (".npz", lambda p: npz(p, refopt=np.array([None])), ("Object arrays cannot be loaded",)),
    "npz, foreign": (".npz", lambda p: npz(p, weights=np.ones(3)), ("'refopt' entry is missing",)),
    "npz, a zip of anything": (".npz", zipped, ("damaged", "copy")),
    "npz, a folder": (".npz", lambda p: (p.unlink(), p.mkdir()), ("damaged or no .npz file", "directory")),
    "npz, gone": (".npz", lambda p: p.unlink(), ("there is no file", "save()")),
    "safetensors, cut in half": (
        ".safetensors",
        lambda p: rewritten(p, lambda b: b[: len(b) // 2]),
        ("damaged", "copy"),
    ),
    "safetensors, its header": (".safetensors", lambda p: rewritten(p, lambda b: b[:8] + b"x" + b[9:]), ("damaged",)),
    "safetensors, empty": (".safetensors", lambda p: p.write_bytes(b""), ("no .safetensors file",)),
    "safetensors, an .npz": (".safetensors", lambda p: npz(p, refopt=np.ones(1)), ("no .safetensors file",)),
    "safetensors, gone": (".safetensors", lambda p: p.unlink(), ("there is no file", "save()")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_state(name: str, tmp_path: Path) -> None:
    suffix, damage, fragments = FILES[name]
    opt, path = trained(), tmp_path / f"state{suffix}"
    opt.save(path)
    before = state_of(opt)
    damage(path)
    refused(lambda: opt.load(path), *fragments)
    assert state_of(opt) == before


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_that_is_cut_anywhere(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"state{suffix}"
    refopt.Momentum([np.ones(2)]).save(path)
    whole, opt = path.read_bytes(), refopt.Momentum([np.ones(2)])
    for length in range(0, len(whole), max(1, len(whole) // 100)):
        path.write_bytes(whole[:length])
        refused(lambda: opt.load(path), path.name)


def test_another_files_tensors_are_no_state(tmp_path: Path) -> None:
    numpy_file = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed, which writes this file")
    numpy_file.save_file({"weights": np.ones(3)}, tmp_path / "model.safetensors")
    refused(lambda: trained().load(tmp_path / "model.safetensors"), "'refopt' entry is missing")


WRITING: dict[str, tuple[str, tuple[str, ...]]] = {
    "another suffix": ("state.pkl", (".npz or .safetensors", "'state.pkl'")),
    "no suffix": ("state", (".npz or .safetensors", "'state'")),
    "no folder": ("nowhere/state.npz", ("there is no folder", "nowhere", "make it first")),
}


@pytest.mark.parametrize("name", WRITING)
def test_where_a_state_cannot_be_written(name: str, tmp_path: Path) -> None:
    place, fragments = WRITING[name]
    refused(lambda: trained().save(tmp_path / place), *fragments)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opt, path = trained(), tmp_path / "state.npz"
    opt.save(path)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        opt.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)  # what makes its import fail
    refused(lambda: trained().save(tmp_path / "state.safetensors"), "pip install safetensors", "or use .npz")
    assert list(tmp_path.iterdir()) == []
