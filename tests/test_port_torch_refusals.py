"""What `refopt_torch.Optimizer` refuses, in a sentence, before anything is changed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed, whose port this tests")

from port_cases import hyper_of  # noqa: E402
from port_torch_cases import assert_same, draw, leaves, step, values  # noqa: E402

from refopt.rules import RULES  # noqa: E402
from refopt.spec.errors import RefoptError, Unsupported  # noqa: E402
from refopt.spec.hyper import Hyper  # noqa: E402
from refopt_torch import Optimizer  # noqa: E402


def named_group(**numbers: Any) -> list[dict[str, Any]]:
    return [{"params": leaves(), **numbers}]


@pytest.mark.parametrize(
    ("params", "rule", "options", "reason"),
    [
        (leaves, "ema", {}, "reads no gradient"),
        (leaves, "adam", {"lr": -1.0}, r"lr must be in \[0, inf\)"),
        (lambda: named_group(mu=1.5), "momentum", {}, r"mu must be in \[0, 1\)"),
        (lambda: named_group(weight_decay=0.1), "adam", {}, "unknown hyper-parameter 'weight_decay'"),
        (lambda: named_group(wd=0.1), "adam", {}, "unknown hyper-parameter 'wd'"),  # without a decay it is not read
        (lambda: named_group(axes={}), "adam", {}, "holds for all groups"),
        (lambda: named_group(lr="0.1"), "adam", {}, "got '0.1', which is not a number"),
        (lambda: named_group(lr=torch.tensor(0.1)), "adam", {}, "must be a Python number"),
        (lambda: [torch.ones(2, dtype=torch.complex64)], "adam", {}, "choose complex='parts'"),
    ],
)
def test_refuses(params: Callable[[], Any], rule: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefoptError, match=reason):
        Optimizer(params(), RULES[rule].hyper(), **options)


def test_refuses_a_name_for_a_hyper() -> None:
    with pytest.raises(RefoptError, match=r"RULES\['adam'\]\.hyper.* got 'adam'"):
        Optimizer(leaves(), "adam")  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [hyper_of("momentum"), hyper_of("adam", eps_at="inside_raw")], ids=["rule", "axes"])
def test_refuses_the_state_of_another_rule_and_stays_as_it_was(other: Hyper) -> None:
    optimizer, foreign = Optimizer(leaves(), hyper_of("adam")), Optimizer(leaves(), other)
    step(optimizer, seed=1)
    before = copy.deepcopy(values(optimizer))
    with pytest.raises(RefoptError, match="make the optimizer with the same hyper"):
        optimizer.load_state_dict(foreign.state_dict())
    assert_same(values(optimizer), before)
    assert not optimizer._optimizer_load_state_dict_pre_hooks


def test_refuses_sparse_gradients_before_anything_is_written() -> None:
    embedding, w = torch.nn.Embedding(4, 2, sparse=True), torch.ones(2, requires_grad=True)
    (embedding(torch.tensor([1])).sum() + w.sum()).backward()
    optimizer = Optimizer([{"params": [w]}, {"params": embedding.parameters()}], hyper_of("sgd"))
    with pytest.raises(Unsupported, match="must be dense"):
        optimizer.step()
    assert_same(w.detach(), torch.ones(2))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ({"lr": -1.0}, r"lr must be in \[0, inf\); got -1.0"),
        ({"lr": float("nan")}, "got nan"),
        ({"beta1": "0.9"}, "got '0.9', which is not a number"),
        ({"lr": torch.tensor(0.1)}, "must be a Python number"),
    ],
    ids=str,
)
def test_refuses_numbers_of_groups_whenever_they_come(number: dict[str, Any], reason: str) -> None:
    optimizer = Optimizer(leaves(), hyper_of("adam"))
    with pytest.raises(RefoptError, match=reason):
        optimizer.add_param_group({"params": [torch.ones(2)], **number})
    assert len(optimizer.param_groups) == 1
    saved = optimizer.state_dict()
    saved["param_groups"][0] |= number
    with pytest.raises(RefoptError, match=reason):
        optimizer.load_state_dict(saved)
    optimizer.param_groups[0] |= number
    with pytest.raises(RefoptError, match=reason):
        step(optimizer, seed=1)
    assert_same(values(optimizer)[0], draw(0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda saved: saved["state"][1].pop("v"), "state must hold step, m, v; got m, step"),
        (lambda saved: saved["state"][1].update(m=torch.ones(5)), r"m must be .* \(3,\).* got .* \(5,\)"),
        (
            lambda saved: saved["state"][1].update(m=torch.ones(3).double()),
            "m must be torch.float32 .* got torch.float64",
        ),
        (lambda saved: saved["param_groups"][0].pop("lr"), "it lacks lr"),
    ],
    ids=["a slot is missing", "another shape", "another dtype", "a number is missing"],
)
def test_refuses_a_state_that_does_not_fit(change: Callable[[Any], Any], reason: str) -> None:
    optimizer = Optimizer(leaves(), hyper_of("adam"))
    step(optimizer, seed=1)
    before = copy.deepcopy(values(optimizer))
    saved = copy.deepcopy(optimizer.state_dict())
    change(saved)
    with pytest.raises(RefoptError, match=reason):
        optimizer.load_state_dict(saved)
    assert_same(values(optimizer), before)
