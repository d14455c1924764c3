"""The port's native layer: `refopt_torch.Optimizer` does what the backend does, among torch's own habits."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed, whose port this tests")

from port_cases import TORCH_ULPS, hyper_of  # noqa: E402
from port_torch_cases import ADAM_NUMBERS, assert_same, draw, leaves, step, values  # noqa: E402
from torch.optim import lr_scheduler  # noqa: E402

from refopt.rules import RULES  # noqa: E402
from refopt.spec.hyper import Hyper  # noqa: E402
from refopt_torch import BACKEND, Optimizer  # noqa: E402

NAMES = [
    "sgd",
    "momentum",
    "adam",
    "lars",
    "novograd",
    "sm3",
    "adafactor",
]  # the last three have slots of shapes of their own
HYPERS = [*map(hyper_of, NAMES), ADAM_NUMBERS]
each_hyper = pytest.mark.parametrize("hyper", HYPERS, ids=[*NAMES, "adam with numbers"])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


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
    beta = hyper.values["beta1"]
    assert [optimizer.state[p]["p1"] for p in (late, early)] == [beta, beta * beta * beta]
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


# ----- what lives beside optimizers in torch

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 1),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, cycle_momentum=False),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [1]
    ),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.05),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_change_lr_and_leave_nothing_that_is_refused(scheduler: str) -> None:
    hyper = hyper_of("adam")
    ours, theirs = Optimizer(leaves(), hyper), torch.optim.Adam(leaves(), hyper.values["lr"])
    schedules = [SCHEDULERS[scheduler](optimizer) for optimizer in (ours, theirs)]
    rates = []
    for seed in range(1, 5):
        for optimizer, schedule in zip((ours, theirs), schedules, strict=True):
            step(optimizer, seed)
            schedule.step()
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
        rates.append(ours.param_groups[0]["lr"])
    assert len(set(rates)) > 1
    group = {name: value for name, value in ours.param_groups[0].items() if name != "params"}
    ours.add_param_group({**group, "params": [torch.ones(2)]})
    copy.deepcopy(ours).load_state_dict(ours.state_dict())


def test_storage_of_any_kind() -> None:
    """A transposed parameter and its gradient, an empty one, several dtypes: as if each were alone and contiguous."""
    plain = [torch.ones(3, 4), torch.ones(0, 2), torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.float64)]
    mine = [torch.ones(4, 3).t(), *(x.clone() for x in plain[1:])]
    grads = [torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype) for x in plain]
    together = Optimizer(mine, hyper_of("adam"))
    apart = [Optimizer([x], hyper_of("adam")) for x in plain]
    for _ in range(2):
        for x, y, g in zip(mine, plain, grads, strict=True):
            x.grad, y.grad = (g.t().contiguous().t() if g.shape == (3, 4) else g), g
        for optimizer in (together, *apart):
            optimizer.step()
    assert_same(mine, plain)
    assert mine[0].stride() == (1, 3)


# ----- torch's own optimizers


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
