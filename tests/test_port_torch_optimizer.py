"""The port's native layer: `refopt_torch.Optimizer` does what the backend does, among torch's own habits."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from port_torch_cases import ADAM_NUMBERS, NUMBERS, assert_same, hyper_of  # noqa: E402

from refopt.rules import RULES  # noqa: E402
from refopt.spec.errors import RefoptError, Unsupported  # noqa: E402
from refopt.spec.hyper import Hyper  # noqa: E402
from refopt_torch import BACKEND, Optimizer  # noqa: E402

SHAPES = [(), (3,), (2, 4)]
HYPERS = [hyper_of(rule) for rule in ("sgd", "momentum", "adam", "lars")] + [ADAM_NUMBERS]
each_hyper = pytest.mark.parametrize("hyper", HYPERS, ids=["sgd", "momentum", "adam", "lars", "adam with numbers"])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def draw(seed: int, dtype: Any = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


def leaves(dtype: Any = torch.float32) -> list[Any]:
    return [x.requires_grad_() for x in draw(0, dtype)]


def step(optimizer: Any, seed: int) -> None:
    """One step on the gradients of that seed."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for p, g in zip(params, draw(seed, params[0].dtype), strict=True):
        p.grad = g
    optimizer.step()


def values(optimizer: Any) -> list[Any]:
    """Parameters and state, in order."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return [[p.detach() for p in params], [optimizer.state[p] for p in params]]


@each_dtype
@each_hyper
def test_steps_are_those_of_the_backend(hyper: Hyper, dtype: Any) -> None:
    optimizer, params = Optimizer(leaves(dtype), hyper), draw(0, dtype)
    slots = BACKEND.init(hyper, params)
    for t in (1, 2, 3):
        step(optimizer, seed=t)
        params, slots = BACKEND.update(hyper, t, params, draw(t, dtype), slots, in_place=False)
    new, states = values(optimizer)
    assert_same(new, params)
    for i, state in enumerate(states):
        assert_same(state, {"step": 3} | {k: v if isinstance(v, float) else v[i] for k, v in slots.items()})


def by_state_dict(optimizer: Any, hyper: Hyper) -> Any:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    fresh = Optimizer([p.detach().clone().requires_grad_() for p in optimizer.param_groups[0]["params"]], hyper, lr=0.9)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


def by_pickle(optimizer: Any, hyper: Hyper) -> Any:
    return pickle.loads(pickle.dumps(optimizer))


def by_deepcopy(optimizer: Any, hyper: Hyper) -> Any:
    return copy.deepcopy(optimizer)


@each_dtype
@each_hyper
@pytest.mark.parametrize("travel", [by_state_dict, by_pickle, by_deepcopy])
def test_a_run_continues_bit_for_bit(travel: Callable[..., Any], hyper: Hyper, dtype: Any) -> None:
    optimizer = Optimizer(leaves(dtype), hyper)
    for seed in (1, 2):
        step(optimizer, seed)
    other = travel(optimizer, hyper)
    assert_same(values(other), values(optimizer))
    step(optimizer, seed=3)
    step(other, seed=3)
    assert_same(values(other), values(optimizer))
    assert other.param_groups[0]["axes"] == hyper.axes
    assert other.param_groups[0]["lr"] == hyper.values["lr"]


def test_hooks_see_the_state_that_is_loaded() -> None:
    hyper, seen = hyper_of("momentum"), []
    source, target = (Optimizer(leaves(torch.bfloat16), hyper) for _ in range(2))
    step(source, seed=1)

    def doubled(_: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = {key: {**state, "u": 2 * state["u"]} for key, state in state_dict["state"].items()}
        return {**state_dict, "state": state}

    target.register_load_state_dict_pre_hook(doubled)
    target.register_load_state_dict_post_hook(lambda opt: seen.extend(s["u"] for s in values(opt)[1]))
    target.load_state_dict(source.state_dict())
    assert_same(seen, [2 * state["u"] for state in values(source)[1]])
    assert len(target._optimizer_load_state_dict_pre_hooks) == len(target._optimizer_load_state_dict_post_hooks) == 1


def test_schedulers_and_groups_change_the_numbers() -> None:
    first, second = hyper_of("adam"), hyper_of("adam").replace(beta1=0.5)
    one, two = leaves()[1:2], leaves()[2:]
    optimizer = Optimizer([{"params": one}, {"params": two, "beta1": 0.5, "lr": 0.2}], first, lr=0.4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    expected: list[Any] = [[x.detach().clone() for x in one], [x.detach().clone() for x in two]]
    slots = [BACKEND.init(first, x) for x in expected]
    for t in (1, 2, 3):
        for p in (*one, *two):
            p.grad = torch.ones_like(p)
        optimizer.step()
        scheduler.step()
        for i, (hyper, lr) in enumerate([(first, 0.4), (second, 0.2)]):
            now = hyper.replace(lr=lr * 0.5 ** (t - 1))
            grads = [torch.ones_like(x) for x in expected[i]]
            expected[i], slots[i] = BACKEND.update(now, t, expected[i], grads, slots[i], in_place=False)
    assert_same(values(optimizer)[0], [x for group in expected for x in group])


def test_a_parameter_without_gradient_is_skipped_and_keeps_its_count() -> None:
    hyper = ADAM_NUMBERS
    late, early = leaves()[1:]
    optimizer = Optimizer([late, early], hyper)
    for t in (1, 2, 3):
        early.grad, late.grad = torch.ones_like(early), torch.ones_like(late) if t > 2 else None
        optimizer.step()
        assert (late in optimizer.state) == (t > 2)
    assert [optimizer.state[p]["step"] for p in (late, early)] == [1, 3]
    assert [optimizer.state[p]["p1"] for p in (late, early)] == [NUMBERS["beta1"], pytest.approx(NUMBERS["beta1"] ** 3)]
    (fresh,), _ = BACKEND.update(
        hyper, 1, [leaves()[1]], [torch.ones(3)], BACKEND.init(hyper, [leaves()[1]]), in_place=False
    )
    assert_same(late.detach(), fresh)


def test_closure_runs_with_gradients_and_its_loss_comes_back() -> None:
    w = torch.tensor([3.0, -4.0], requires_grad=True)
    optimizer = Optimizer([w], hyper_of("sgd"), lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w**2).sum() / 2
        loss.backward()
        return loss

    assert [optimizer.step(closure).item() for _ in range(2)] == [12.5, 3.125]
    optimizer.zero_grad()
    assert w.grad is None
    assert optimizer.step() is None


# ----- refusals


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
        (lambda: named_group(lr=torch.tensor(0.1)), "adam", {}, "must be a Python number"),
        (lambda: [torch.ones(2, dtype=torch.complex64)], "adam", {}, "view_as_real"),
    ],
)
def test_refuses(params: Callable[[], Any], rule: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefoptError, match=reason):
        Optimizer(params(), RULES[rule].hyper(), **options)


@pytest.mark.parametrize("other", [hyper_of("momentum"), hyper_of("adam", eps_at="inside_raw")], ids=["rule", "axes"])
def test_refuses_the_state_of_another_rule_and_stays_as_it_was(other: Hyper) -> None:
    optimizer, foreign = Optimizer(leaves(), hyper_of("adam")), Optimizer(leaves(), other)
    step(optimizer, seed=1)
    before = copy.deepcopy(values(optimizer))
    with pytest.raises(RefoptError, match="make the optimizer with the same hyper"):
        optimizer.load_state_dict(foreign.state_dict())
    assert_same(values(optimizer), before)
    assert not optimizer._optimizer_load_state_dict_pre_hooks


def test_refuses_sparse_gradients() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(Unsupported, match="must be dense"):
        Optimizer(embedding.parameters(), hyper_of("sgd")).step()


# ----- torch's own optimizers

# ULPs of max(|expected|, 1) after ten steps, on data of order one: both round every operation, in another order.
TORCH_ULPS = 16


@pytest.mark.parametrize(
    ("rule", "axes", "numbers", "theirs"),
    [
        ("adam", {}, {"wd": 0.1}, lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1)),
        ("adam", {"amsgrad": "raw"}, {}, lambda p: torch.optim.Adam(p, 0.1, amsgrad=True)),
        ("adam", {"decay": "decoupled"}, {"wd": 0.1}, lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1)),
        ("sgd", {}, {"wd": 0.1}, lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1)),
        ("momentum", {}, {"dampening": 0.3, "wd": 0.1},
         lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
        ("momentum", {"nesterov": "yes"}, {"wd": 0.1},
         lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    ],
    ids=["Adam", "AMSGrad", "AdamW", "SGD", "momentum", "Nesterov"],
)  # fmt: skip
def test_the_torch_dialect_is_torch(rule: str, axes: dict[str, str], numbers: dict[str, float], theirs: Any) -> None:
    hyper = RULES[rule].hyper(dialect="torch", lr=0.1, **axes, **numbers)
    optimizers = [Optimizer(leaves(torch.float64), hyper), theirs(leaves(torch.float64))]
    for seed in range(1, 11):
        for optimizer in optimizers:
            step(optimizer, seed)
    for ours, expected in zip(*(values(optimizer)[0] for optimizer in optimizers), strict=True):
        unit = np.spacing(np.maximum(np.abs(expected.numpy()), 1))
        assert np.max(np.abs(ours.numpy() - expected.numpy()) / unit) <= TORCH_ULPS
