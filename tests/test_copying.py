"""Deep copies and pickles of optimizers, states and hyper-parameters: equal, independent, and as good."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from running_cases import CASES, IN_PLACE, bits, make, native, plain, pure_step, rule_of, state_of, take, tree

import refopt
from refopt.selection import registry
from refopt.spec.hyper import Hyper


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES = pytest.mark.parametrize("copied", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])


@COPIES
@pytest.mark.parametrize("case", CASES)
def test_a_copied_optimizer_goes_its_own_way(backend: str, case: str, copied: Callable[[Any], Any]) -> None:
    opt = make(case, native(backend, tree(0)))
    take(opt, native(backend, tree(1)))
    before = state_of(opt)
    twin = copied(opt)
    assert (state_of(twin), repr(twin), twin.backend) == (before, repr(opt), opt.backend)
    take(twin, native(backend, tree(2)))
    assert state_of(opt) == before
    after = state_of(twin)
    take(opt, native(backend, tree(2)))
    assert state_of(opt) == after
    take(opt, native(backend, tree(3)))
    assert state_of(twin) == after


@pytest.mark.parametrize("backend", IN_PLACE, indirect=True)
@COPIES
def test_parameters_that_are_copied_together_with_their_optimizer_stay_its_own(
    backend: str, copied: Callable[[Any], Any]
) -> None:
    params = native(backend, tree(0))
    new, opt = copied((params, make("adam", params)))
    take(opt, native(backend, tree(1)))
    assert opt.params["layer"]["w"] is new["layer"]["w"]
    assert bits(plain(backend, params)) == bits(tree(0))


@COPIES
@pytest.mark.parametrize("case", CASES)
def test_a_copied_state_is_as_good(backend: str, case: str, copied: Callable[[Any], Any]) -> None:
    params, grads = native(backend, tree(0)), native(backend, tree(1))
    hyper = make(case, native(backend, tree(0))).hyper
    state = refopt.init(rule_of(case), params, hyper)
    params, state = pure_step(hyper, params, grads, state)
    results = [pure_step(copied(hyper), params, grads, one) for one in (state, copied(state))]
    one, other = (bits(plain(backend, [new, dict(after.slots), after.step])) for new, after in results)
    assert one == other


@COPIES
def test_rules_and_hyper_parameters(copied: Callable[[Any], Any]) -> None:
    for rule in refopt.RULES.values():
        hyper = rule.hyper().replace(**{rule.hyper().read[0]: 0.5})
        twin: Hyper = copied(hyper)
        assert copied(rule) is rule
        assert twin == hyper
        assert repr(twin) == repr(hyper)
        assert twin.program is hyper.program
        with pytest.raises(TypeError, match="does not support item assignment"):
            twin.values["lr"] = 1.0  # type: ignore[index]


def test_a_rule_without_a_name_cannot_be_pickled() -> None:
    nameless = replace(refopt.RULES["sgd"], title="Another")
    assert copy.deepcopy(nameless) is nameless
    with pytest.raises(TypeError, match=r"sgd: only a rule that refopt\.rules\.sgd has a name for can be pickled"):
        pickle.dumps(nameless)


def test_a_pickle_whose_backend_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(refopt.SGD([np.ones(2)]))
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    registry.get_backend.cache_clear()
    with pytest.raises(refopt.RefoptError, match="unknown backend 'numpy'"):
        pickle.loads(data)
    registry.get_backend.cache_clear()
