"""Running rules on every backend: what changes and what does not, trees, overrides."""

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from optree import tree_leaves, tree_map, tree_structure
from running_cases import CASES, IN_PLACE, bits, make, native, plain, pure_step, rule_of, state_of, take, tree, ulps

import refopt

STEPS = 3
GRADS = [tree(seed) for seed in range(1, 6)]


def read_only(nested: Any) -> Any:
    def locked(array: np.ndarray) -> np.ndarray:
        array = array.copy(order="K")
        array.flags.writeable = False
        return array

    return tree_map(locked, nested)


@pytest.mark.parametrize("case", CASES)
def test_pure_and_stateful_give_the_same_numbers(backend: str, case: str) -> None:
    opt = make(case, native(backend, tree(0)))
    params = native(backend, tree(0))
    state = refopt.init(rule_of(case), params, opt.hyper)
    for grads in GRADS[:STEPS]:
        take(opt, native(backend, grads))
        params, state = pure_step(opt.hyper, params, native(backend, grads), state)
    assert opt.step == state.step == STEPS
    assert bits(plain(backend, opt.params)) == bits(plain(backend, params))
    for name, slot in state.slots.items():
        assert bits(plain(backend, tree_leaves(opt.slots[name]))) == bits(plain(backend, tree_leaves(slot)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["its own arrays", "read-only NumPy arrays"])
def test_the_pure_layer_modifies_nothing(backend: str, case: str, kind: str) -> None:
    make_tree = read_only if kind == "read-only NumPy arrays" else lambda nested: native(backend, nested)
    params, grads, hyper = make_tree(tree(0)), make_tree(tree(1)), make(case, tree(0)).hyper
    state = refopt.init(hyper.rule, params, hyper, backend=backend)
    _, state = pure_step(hyper, params, grads, state, backend=backend)  # so that the slots are no zeros

    def seen() -> str:
        given = [params, grads] if kind.startswith("read-only") else plain(backend, [params, grads])
        return bits([given, plain(backend, dict(state.slots)), state.step])

    before = seen()
    _, later = pure_step(hyper, params, grads, state, backend=backend)
    assert seen() == before
    assert later.step == state.step + 1


@pytest.mark.parametrize("case", [case for case in CASES if rule_of(case) != "ema"])
def test_arrays_are_updated_in_place_where_they_can_be(backend: str, case: str) -> None:
    given = native(backend, tree(0))
    before = bits(plain(backend, given))
    opt = make(case, given)
    take(opt, native(backend, GRADS[0]))
    same = [a is b for a, b in zip(tree_leaves(given), tree_leaves(opt.params), strict=True)]
    if backend in IN_PLACE:
        assert all(same)
        assert bits(plain(backend, given)) != before
    else:
        assert not any(same)
        assert bits(plain(backend, given)) == before
        assert bits(plain(backend, opt.params)) != before


@pytest.mark.parametrize("backend", IN_PLACE)
@pytest.mark.parametrize(
    "options", [{"decay": "none", "wd": 0.0}, {"decay": "decoupled_no_lr", "wd": 0.1}], ids=["plain", "decayed"]
)
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_gradients_may_be_the_parameters(backend: str, rule: str, options: dict[str, Any]) -> None:
    """Of w0 * w1 the gradients are w1 and w0: all are read before any is written."""
    a, b = native(backend, [np.linspace(-1, 1, 7), np.linspace(3, 2, 7)])
    copies = native(backend, [np.linspace(-1, 1, 7), np.linspace(3, 2, 7)])
    shared, apart = (make(rule, params, backend=backend, **options) for params in ([a, b], copies))
    apart(0.1, native(backend, plain(backend, [b, a])))
    shared(0.1, [b, a])
    assert state_of(shared) == state_of(apart)


@pytest.mark.parametrize("case", CASES)
def test_backends_agree(backend: str, case: str) -> None:
    """Five steps in float64. Ports may contract x + c*y to one rounding: a few ULPs, of 1 or of the value."""

    def run(name: str) -> list[Any]:
        opt = make(case, native(name, tree(0)))
        for grads in GRADS:
            take(opt, native(name, grads))
        averages = [plain(name, opt.refs_and_values()[1])] if isinstance(opt, refopt.ExponentialMovingAverage) else []
        state = opt.state_dict()
        del state["refopt"]
        return [plain(name, opt.params), *averages, state]

    mine, reference = run(backend), run("numpy")
    if backend in ("numpy", "numba"):
        assert bits(mine) == bits(reference)
    assert ulps(mine, reference) <= 8


Point = namedtuple("Point", ["x", "y"])
TREES: dict[str, Any] = {
    "one array": np.ones(3),
    "dict": {"b": np.ones(2), "a": np.ones(())},
    "ordered": OrderedDict(b=np.ones(2), a=np.ones(1)),
    "nested": {"a": [np.ones(2), {"c": np.ones((1, 2))}], "b": ()},
    "tuple": (np.ones(2), np.ones(1)),
    "namedtuple": Point(np.ones(2), np.ones(1)),
    "a place without": [np.ones(2), None],
    "empty": {},
}


@pytest.mark.parametrize("name", TREES)
def test_trees_come_back_as_they_were(name: str) -> None:
    given = tree_map(np.copy, TREES[name])
    opt = refopt.SGD(given)
    opt(0.25, TREES[name])
    new, _ = refopt.update("sgd", TREES[name], TREES[name], refopt.init("sgd", TREES[name]), lr=0.25)
    for result in (opt.params, new):
        assert type(result) is type(given)
        assert tree_structure(result) == tree_structure(given)
        assert all((x == 0.75).all() for x in tree_leaves(result))


def test_generators_of_torch_parameters() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose parameters these are")
    model = torch.nn.Linear(3, 2)
    opt = refopt.Momentum(model.parameters(), momentum=0.9)
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.ones(1, 3)).sum().backward()
    opt(0.5, (p.grad for p in model.parameters()))
    for p, old in zip(model.parameters(), before, strict=True):
        assert p.requires_grad
        assert p.is_leaf
        assert torch.equal(p.detach(), old - 0.5)


OVERRIDES: list[tuple[str, dict[str, Any]]] = [
    ("adam", {"beta1": 0.5}),
    ("adam", {"beta2": 0.5}),
    ("adam-product-amsgrad", {"beta1": 0.5, "beta2": 0.25, "eps": 0.5}),
    ("momentum", {"momentum": 0.5}),
    ("lars", {"mu": 0.5, "weight_decay": 0.5}),
]


@pytest.mark.parametrize(("case", "overrides"), OVERRIDES, ids=str)
def test_overrides_last_one_step(backend: str, case: str, overrides: dict[str, float]) -> None:
    opt, params = make(case, native(backend, tree(0))), native(backend, tree(0))
    state, plain_hyper, text = refopt.init(rule_of(case), params, opt.hyper), opt.hyper, repr(opt.hyper)
    for i, grads in enumerate(GRADS[:STEPS]):
        hyper = plain_hyper.replace(**overrides) if i == 1 else plain_hyper
        opt(0.1, native(backend, grads), **(overrides if i == 1 else {}))
        params, state = pure_step(hyper, params, native(backend, grads), state)
    assert bits(plain(backend, opt.params)) == bits(plain(backend, params))
    assert repr(opt.hyper) == text


def test_nothing_happens_before_the_first_step(backend: str) -> None:
    opt = refopt.Adam(native(backend, tree(0)), power="product")
    assert opt.step == 0
    assert bits(plain(backend, opt.params)) == bits(tree(0))
    assert opt.slots["p1"] == opt.slots["p2"] == 1.0
    assert all((x == 0).all() for x in tree_leaves(plain(backend, [opt.slots["m"], opt.slots["v"]])))
    assert state_of(opt) == state_of(refopt.Adam(native(backend, tree(0)), power="product"))


REPRS = [
    (refopt.SGD, {}, "SGD(sgd(dialect='paper', lr=0.01), backend='numpy', step=0)"),
    (refopt.Momentum, {"nesterov": True, "dialect": "objax"},
     "Momentum(momentum(dialect='objax', nesterov='yes', lr=0.01, mu=0.9), backend='numpy', step=0)"),
    (refopt.Adam, {"wd": 0.1, "decay": "decoupled", "eps_at": "inside_raw", "beta1": 0.5},
     "Adam(adam(dialect='paper', decay='decoupled', eps_at='inside_raw', lr=0.001, beta1=0.5, beta2=0.999, eps=1e-08,"
     " wd=0.1), backend='numpy', step=0)"),
    (refopt.LARS, {"eps": 0.5},
     "LARS(lars(dialect='paper', eps_at='denominator', lr=0.1, mu=0.9, wd=0.0005, tc=0.001, eps=0.5), backend='numpy',"
     " step=0)"),
    (refopt.ExponentialMovingAverage, {"debias": True, "dialect": "objax"},
     "ExponentialMovingAverage(ema(dialect='objax', debias='objax', mu=0.999, eps=1e-06), backend='numpy', step=0)"),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "options", "text"), REPRS, ids=lambda x: getattr(x, "__name__", None))
def test_options_go_by_keyword_and_show_in_the_repr(optimizer: Any, options: dict[str, Any], text: str) -> None:
    assert repr(optimizer([np.ones(2)], **options)) == text
