"""`translate`: the recipes of real frameworks, run; the table of moves, which must hold; and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import refopt
from refopt.cli import app
from refopt.engines.numpy_engine import BACKEND
from refopt.rules import RULES
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import conflict
from refopt.translating import formulas
from refopt.translating.moves import MOVES, Move
from refopt.translating.running import SCHEDULE, STILL, difference, example, short
from refopt.translating.search import CONSTANT_LR, Way, start, ways
from refopt.translating.sources import parse
from refopt.translating.targets import TARGETS, targets

# source, framework, status, recipe, where the two disagree, state, lines before each step
ROWS = [
    ("keras:SGD(momentum=0.9, learning_rate=0.1)", "torch", "constant_lr",
     "torch.optim.SGD(params, lr=0.1, momentum=0.9)", {"lr_at": ("inside", "outside")},
     ["momentum_buffer = -momentums / lr"], ['group["momentum"] = 0.9 * lr_before / lr']),
    ("keras:SGD(momentum=0.9, nesterov=True)", "torch", "constant_lr",
     "torch.optim.SGD(params, lr=0.01, momentum=0.9, nesterov=True)", {"lr_at": ("inside", "outside")},
     ["momentum_buffer = -momentums / lr"], []),
    ("keras:SGD(momentum=0.9, learning_rate=0.1)", "optax", "equivalent",
     "optax.chain(optax.scale_by_learning_rate(0.1), optax.trace(decay=0.9))", {}, ["trace = momentums"], []),
    ("keras:Adam", "torch", "none",
     "torch.optim.Adam(params, lr=0.001, betas=(0.9, 0.999), eps=1e-07)", {"eps_at": ("outside_raw", "outside_hat")},
     [], ['group["eps"] = 1e-07 / sqrt(1 - 0.999**t)']),
    ("optax:adamw(learning_rate=0.01)", "torch", "equivalent",
     "torch.optim.AdamW(params, lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0001)", {},
     ["exp_avg = mu", "exp_avg_sq = nu"], []),
    ("torch:SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)", "optax", "equivalent",
     "optax.chain(optax.add_decayed_weights(0.01), optax.sgd(learning_rate=0.1, momentum=0.9, nesterov=True))", {},
     ["trace = momentum_buffer"], []),
    ("torch:SGD(lr=0.1, weight_decay=0.01)", "keras", "equivalent",
     "keras.optimizers.SGD(learning_rate=0.1, weight_decay=0.01)", {}, [], []),
    ("torch:SGD(lr=0.1, momentum=0.9, dampening=0.5)", "optax", "none",
     "optax.sgd(learning_rate=0.05, momentum=0.9)", {"first_step": ("copy_gradient", "zeros")}, [], []),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "status", "code", "reasons", "state", "lines"), ROWS)
def test_frameworks(
    source: str, to: str, status: str, code: str, reasons: dict, state: list[str], lines: list[str]
) -> None:
    found = refopt.translate(source, to=to)
    assert (found.status, found.source, found.to) == (status, source, to)
    assert found.recipe is not None
    assert found.recipe.code == code
    assert {reason.axis: (reason.source, reason.target) for reason in found.reasons} == reasons
    assert [carried.code for carried in found.recipe.state] == state
    assert all(carried.checked for carried in found.recipe.state)
    assert list(found.exact.each_step if found.exact else ()) == lines
    assert found.exit_status == (0 if status == "equivalent" else 1)
    for run, same in ((found.recipe.changing, status == "equivalent"), (found.recipe.constant, status != "none")):
        assert run is not None
        assert run.same == same
    if state:
        assert found.recipe.handed_over is not None
        assert found.recipe.handed_over.same
    if found.exact is not None:
        assert found.exact.changing is not None
        assert found.exact.changing.same
        assert all(carried.checked for carried in found.exact.state)
    assert code in str(found)
    assert _made(to, code) is not None


def _made(framework: str, code: str) -> Any:
    """The recipe, run as it is printed."""
    module = pytest.importorskip(framework, reason=f"{framework} is not installed; pip install {framework}")
    params = [module.zeros(3, requires_grad=True)] if framework == "torch" else None
    namespace = {framework: module, "params": params}
    exec(f"optimizer = {code}", namespace)
    return namespace["optimizer"]


def test_a_rule_that_a_framework_lacks() -> None:
    found = refopt.translate("optax:lars", to="torch", learning_rate=0.1)
    assert (found.status, found.recipe, found.exit_status) == ("none", None, 1)
    assert found.source == "optax:lars(learning_rate=0.1)"
    assert "no optimizer of torch that follows lars" in found.notes[0]
    assert found.defaults["momentum"] == 0.9


def test_the_defaults_are_said_to_be_the_source_s() -> None:
    found = refopt.translate("torch:SGD(momentum=0.9)", to="torch")
    assert found.equivalent
    assert found.defaults == {"lr": 0.001, "dampening": 0.0, "weight_decay": 0.0}
    assert "the source's own" in str(found)


def descend(params: Any, grads: Any, state: Any, *, lr: float, momentum: float = 0.9) -> Any:
    state = state or [np.zeros_like(w) for w in params]
    state = [momentum * u + (1 - momentum) * g for u, g in zip(state, grads, strict=True)]
    return [w - lr * u for w, u in zip(params, state, strict=True)], state


def test_an_average_of_gradients_is_a_smaller_rate() -> None:
    """A function of one's own: its velocity is the rule's, which is moved without a name."""
    found = refopt.translate(descend, to="torch", lr=0.1)
    assert found.equivalent
    assert found.recipe is not None
    assert found.recipe.code == "torch.optim.SGD(params, lr=0.01, momentum=0.9)"
    assert [(n.name, n.formula) for n in found.recipe.numbers] == [("lr", "0.1 * (1 - 0.9)")]
    (carried,) = found.recipe.state
    assert carried.code == "momentum_buffer = u / (1 - 0.9)"
    assert carried.checked
    assert dict(carried.unnamed) == {"u": "velocity"}


@pytest.mark.parametrize(
    ("source", "to", "fragments"),
    [
        ("torch:Adam", "jax", ["unknown framework 'jax'", "torch, optax, keras"]),
        ("torch:Adom", "optax", ["torch.optim has no 'Adom'"]),
        ("Adam", "optax", ["names no optimizer", "keras:SGD(momentum=0.9)"]),
        ("torch:Adam(0.1)", "optax", ["0.1 has no name", "learning_rate=0.1"]),
        ("torch:Adam(lr=0.1", "optax", ["is no call", "close what is open"]),
        ("torch:Adam(lr=__import__('os'))", "optax", ["lr=__import__('os')", "write the value itself"]),
        ("torch:Adam(**{})", "optax", ["cannot be read", "by its name"]),
        ("torch:Adam(beta=0.9)", "optax", ["unknown argument 'beta'"]),
        ("optax:adam", "torch", ["has no learning rate of its own", "learning_rate=0.001"]),
        ("torch:SGD(lr=0)", "optax", ["moves nothing", "give a positive one"]),
        ("optax:ema(decay=0.9)", "torch", ["is an average"]),
        ("optax:fromage", "torch", ["follows none of the rules", "refopt verify optax:fromage"]),
    ],
)
def test_refusals(source: str, to: str, fragments: list[str]) -> None:
    with pytest.raises(RefoptError) as refusal:
        refopt.translate(source, to=to)
    assert all(fragment in str(refusal.value) for fragment in fragments), refusal.value
    assert not isinstance(refusal.value, Unsupported) or "average" in str(refusal.value) or "none" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keras:SGD(momentum=0.9)", ("keras.optimizers:SGD", {"momentum": 0.9})),
        ("torch.optim:Adam", ("torch.optim:Adam", {})),
        ("torch:Adam(betas=(0.9, 0.99), amsgrad=True)",
         ("torch.optim:Adam", {"betas": (0.9, 0.99), "amsgrad": True})),
        ("my_file.py:MyAdam()", ("my_file.py:MyAdam", {})),
        ("exec:./a (b)", ("exec:./a (b)", {})),
    ],
)  # fmt: skip
def test_what_is_typed(text: str, expected: tuple[str, dict]) -> None:
    assert parse(text) == expected


def test_the_command_line() -> None:
    command = ["translate", "torch:SGD(momentum=0.9)", "--to", "optax", "-H", "lr=0.1"]
    plain, data = (CliRunner().invoke(app, [*command, *more]) for more in ([], ["--json"]))
    assert plain.exit_code == data.exit_code == 0
    assert "optax.sgd(learning_rate=0.1, momentum=0.9)" in plain.output
    found = json.loads(data.output)
    assert found["recipe"]["code"] == "optax.sgd(learning_rate=0.1, momentum=0.9)"
    assert found["status"] == "equivalent"


@pytest.mark.parametrize("framework", TARGETS)
def test_every_line_of_the_table_is_one_call(framework: str) -> None:
    for one in targets(framework):
        assert one.rule in MOVES
        assert one.names
        if not one.composed:
            assert str(one.subject).partition(":")[0].startswith(framework)


def moves() -> list[Any]:
    return [pytest.param(name, move, id=f"{name}: {dict(move.before)} to {dict(move.after)}")
            for name, table in MOVES.items() for move in table]  # fmt: skip


VALUES = {"lr": 0.0625, "mu": 0.875, "wd": 0.0625, "dampening": 0.25, "beta1": 0.875, "beta2": 0.96875, "eps": 2.0**-10,
          "eps_root": 2.0**-8, "tc": 0.5}  # fmt: skip


@pytest.mark.parametrize(("rule", "move"), moves())
def test_every_move_holds(rule: str, move: Move) -> None:
    """Run in the reference: the conventions that it leaves, and those where it arrives, with its numbers; state too."""
    declared = RULES[rule]
    axes = {**start(declared, {}).axes, **move.before}
    assert conflict(declared, axes) is None, "a move names the choices that its own go with"
    values = {p.name: VALUES[p.name] for p in declared.hyper_parameters}
    for name, value in (condition.split(" == ") for condition in [move.when] if condition):
        values[name] = values[value] if value in values else float(value)
    source = start(declared, axes)
    found = [way for way in ways(source, values) if way.moves == 1 and {**axes, **move.after} == dict(way.axes)]
    assert found, "no other move goes the same way"
    for way in found:
        constant = way.kind == CONSTANT_LR
        rates = [values["lr"] * factor for factor in (STILL if constant else SCHEDULE)]
        ours, slots = _run(source, values, rates)
        theirs, made = _run(way, values, rates)
        assert difference(example().params, ours, theirs).same
        now = {**values, "lr": rates[-1], "lr_before": rates[-2], "t": len(rates)}
        for name in made:
            for i, array in enumerate(made[name]):
                known = {**now, **{slot: arrays[i] for slot, arrays in slots.items()}}
                mapped = np.asarray(formulas.evaluate(way.state[name], known))
                assert difference([np.zeros_like(array)], [[array]], [[mapped]]).same


def _run(way: Way, values: dict[str, float], rates: list[float]) -> tuple[list[Any], dict[str, Any]]:
    """The reference under a way's conventions and numbers; the slots at the end."""
    given, before = example(), [rates[0], *rates]
    hyper = RULES[way.rule.name].hyper("paper", **way.axes)
    params, slots = given.params, BACKEND.init(hyper, given.params)
    results = []
    for t, (lr, grads) in enumerate(zip(rates, given.grads, strict=True), start=1):
        now = way.at(values, lr, before[t - 1], t)
        object.__setattr__(hyper, "values", {**hyper.values, **now})  # a momentum above 1 is no hyper-parameter
        params, slots = BACKEND.update(hyper, t, params, grads, slots, in_place=False)
        results.append(params)
    return results, {slot.name: slots[slot.name] for slot in hyper.program.slots if slot.clock == "element"}


@pytest.mark.parametrize("value", [0.1, 0.9, 0.999, 0.9999, 1e-8, 3e-4, 1.0, 0.0, 7.3])
def test_numbers_of_few_digits(value: float) -> None:
    near = short(value)
    assert abs(near - value) <= value * 2.0**-9
    assert (near < 1) == (value < 1)
    assert np.float32(near) == near


def test_a_difference_below_float32_is_no_rounding() -> None:
    """With a small rate the two Adams are close in float32's eyes: they are no less different."""
    found = refopt.translate("keras:Adam(learning_rate=1e-7, epsilon=1e-8)", to="torch")
    assert found.status == "none"
    assert found.recipe is not None
    assert found.recipe.changing is not None
    assert not found.recipe.changing.same
