"""Reads vectors with Python's standard library alone, and computes every number again: `python read.py FILE ...`.

It knows nothing of refopt: the rules are written here from their papers, for one tensor at a time, in any arithmetic.
In float64 it goes through all cases; in exact fractions (roots to 300 bits) through the tensors whose numbers are all
finite, of the cases that are short enough.
"""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path

BITS = {"float64": (52, -1022), "float32": (23, -126), "float16": (10, -14), "bfloat16": (7, -126)}


class Exact:
    """Arithmetic without rounding, but for the root."""

    of = staticmethod(Fraction)

    @staticmethod
    def sqrt(x):
        return Fraction(math.isqrt(int(x * 4**300)), 2**300)

    @staticmethod
    def divide(a, b):
        return a / b  # raises where float64 has infinity or NaN: such tensors are left to it


class Float64:
    """Python's floats, with IEEE's infinities and NaN where Python would raise."""

    of = staticmethod(float)

    @staticmethod
    def sqrt(x):
        return math.sqrt(x) if x >= 0 else math.nan

    @staticmethod
    def divide(a, b):
        if b != 0:
            return a / b
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def largest(a, b):
    """The larger, or NaN if one is."""
    return a if a != a or a >= b else b


def sgd(n, axes, t, h, w, g, s):
    g = decayed(axes, h, w, g)
    w = decay_first(axes, h, w)
    return decay_last(axes, h, [x - h["lr"] * y for x, y in zip(w, g, strict=True)])


def momentum(n, axes, t, h, w, g, s):
    g = decayed(axes, h, w, g)
    if axes["lr_at"] == "inside":
        g = [h["lr"] * x for x in g]
    scale = {"one": 1, "dampening": 1 - h.get("dampening", 0), "ema": 1 - h["mu"]}[axes["gradient_scale"]]
    d = ride(axes, t, h["mu"], s, g, scale)
    lr = h["lr"] if axes["lr_at"] == "outside" else 1
    w = decay_first(axes, h, w)
    return decay_last(axes, h, [x - lr * y for x, y in zip(w, d, strict=True)])


def adam(n, axes, t, h, w, g, s):
    g = decayed(axes, h, w, g)
    b1, b2, eps = h["beta1"], h["beta2"], h["eps"]
    s["m"] = [b1 * m + (1 - b1) * x for m, x in zip(s["m"], g, strict=True)]
    s["v"] = [b2 * v + (1 - b2) * x * x for v, x in zip(s["v"], g, strict=True)]
    count = t - 1 + int(axes["first_t"])
    c1, c2 = 1 - b1**count, 1 - b2**count
    if axes["power"] == "product":
        c1, c2 = 1 - s.get("p1", 0), 1 - s.get("p2", 0)
    c1 = c1 if axes["bias"] in ("both", "m_only") else n.of(1)
    c2 = c2 if axes["bias"] in ("both", "v_only") else n.of(1)
    v_hat = [n.divide(v, c2) for v in s["v"]]
    if axes["amsgrad"] == "raw":
        s["v_max"] = [largest(a, b) for a, b in zip(s["v_max"], s["v"], strict=True)]
        v_hat = [n.divide(v, c2) for v in s["v_max"]]
    elif axes["amsgrad"] == "corrected":
        s["v_max"] = v_hat = [largest(a, b) for a, b in zip(s["v_max"], v_hat, strict=True)]
    inside = {"inside_hat": eps, "inside_raw": n.divide(eps, c2), "both": h.get("eps_root", 0)}.get(axes["eps_at"], 0)
    outside = {"outside_hat": eps, "outside_raw": n.divide(eps, n.sqrt(c2)), "both": eps}.get(axes["eps_at"], 0)
    w = decay_first(axes, h, w)
    m_hat = [n.divide(m, c1) for m in s["m"]]
    d = [n.sqrt(v + inside) + outside for v in v_hat]
    return decay_last(axes, h, [x - n.divide(h["lr"] * a, b) for x, a, b in zip(w, m_hat, d, strict=True)])


def lars(n, axes, t, h, w, g, s):
    def norm(x):
        return n.sqrt(sum((a * a for a in x), n.of(0)))

    lr, wd, tc, mu, one = h["lr"], h.get("wd", n.of(0)), h["tc"], h["mu"], n.of(1)
    inner, outer = (lr, 1) if axes["lr_at"] == "inside" else (1, lr)
    p = [a + wd * b for a, b in zip(g, w, strict=True)]
    of_velocity = axes["trust_of"] == "velocity"
    if of_velocity:
        ahead = ride(axes, t, mu, s, [inner * a for a in p], 1)
    joint = axes["denominator"] == "joint"
    w_norm, g_norm = norm(w), norm(s["u"] if of_velocity else p if joint else g)
    d = (g_norm if joint else g_norm + wd * w_norm) + (h["eps"] if axes["eps_at"] == "denominator" else 0)
    ratio = n.divide(tc * w_norm, d)
    if axes["clip"] == "min":
        ratio = -largest(-n.divide(ratio, lr), -one)
    zero = d == 0 if axes["zero_norm"] == "denominator_only" else w_norm == 0 or g_norm == 0
    trust = ratio if not zero else largest(one, ratio) if axes["zero_norm"] == "max" else one
    if zero and axes["zero_norm"] == "raw_no_decay":
        p = [a + 0 * b for a, b in zip(g, w, strict=True)]
    if (axes["when"] == "decay" and wd == 0) or (axes["when"] == "matrices" and s["dimensions"] < 2):
        trust = one
    step = [trust * a for a in ahead] if of_velocity else ride(axes, t, mu, s, [inner * trust * a for a in p], 1)
    return [a - outer * b for a, b in zip(w, step, strict=True)]


def ema(n, axes, t, h, w, g, s):
    mu = h.get("mu", n.of(0))  # a plain mean has none
    power = mu**t  # not that of the scheduled mu
    if axes["decay_schedule"] == "warmup_0":
        mu = min(mu, n.divide(n.of(t), n.of(9 + t)))
    elif axes["decay_schedule"] == "warmup_1":
        mu = min(mu, n.divide(n.of(1 + t), n.of(10 + t)))
    elif axes["decay_schedule"] == "power":
        mu = min(mu, 1 - n.of((1 + (t - 1) / float(h["inv_gamma"])) ** -float(h["power"])))
    elif axes["decay_schedule"] == "mean":
        mu = 1 - n.divide(n.of(1), n.of(t))
    s["m"] = [mu * a + (1 - mu) * b for a, b in zip(s["m"], w, strict=True)]
    if axes["init"] == "first_update" and t == 1:
        s["m"] = list(w)
    by = {"none": n.of(1), "standard": 1 - power, "objax": 1 - (1 - h.get("eps", 0)) * power}[axes["debias"]]
    s["average"] = [n.divide(a, by) for a in s["m"]]
    return w


RULES = {"sgd": sgd, "momentum": momentum, "adam": adam, "lars": lars, "ema": ema}


def decayed(axes, h, w, g):
    return [a + h["wd"] * b for a, b in zip(g, w, strict=True)] if axes["decay"] == "l2" else g


def decay_first(axes, h, w):
    return shrunk(axes, h, w) if axes["decay"] in ("decoupled", "decoupled_no_lr") else w


def decay_last(axes, h, w):
    return shrunk(axes, h, w) if axes["decay"] in ("decoupled_after", "decoupled_no_lr_after") else w


def shrunk(axes, h, w):
    rate = h["wd"] if "no_lr" in axes["decay"] else h["lr"] * h["wd"]
    return [a - rate * a for a in w]


def ride(axes, t, mu, s, g, scale):
    """The velocity moves on; the step is along it, or along Nesterov's look ahead."""
    new = [mu * u + scale * a for u, a in zip(s["u"], g, strict=True)]
    s["u"] = list(g) if t == 1 and axes.get("first_step") == "copy_gradient" else new
    if axes["nesterov"] == "no":
        return s["u"]
    factor = 1 - mu if axes["nesterov"] == "scaled" else 1
    return [factor * a + mu * u for a, u in zip(g, s["u"], strict=True)]


def check(n, rule, case):
    """How many numbers were computed again; raises AssertionError where one is too far away."""
    count = 0
    for i, tensor in enumerate(case["tensors"]):
        if n is Exact and tensor["name"] == "underflow":
            continue  # float64, in which the expected values were computed, has no such squares
        try:
            count += check_tensor(n, rule, case, i, len(tensor["shape"]))
        except (ZeroDivisionError, ValueError, OverflowError):
            if n is Float64:
                raise
    return count


def check_tensor(n, rule, case, i, dimensions):
    axes, count = case["axes"], 0
    wanted = {point["step"]: point for point in case["checkpoints"]}
    hyper = {name: [n.of(float.fromhex(x)) for x in values] for name, values in case["hyper"].items()}
    inputs = [[n.of(float.fromhex(x)) for x in step[i]] for step in case["inputs"]]
    w = [n.of(float.fromhex(x)) for x in case["params"][i]]
    slots = case["checkpoints"][0]["slots"]
    s = {name: [n.of(0)] * len(w) if isinstance(slot, list) else n.of(1) for name, slot in slots.items()}
    s |= {"m": list(w)} if axes.get("init") == "params" else {}
    s["dimensions"], sizes = dimensions, {"params": [abs(float(x)) for x in w]}
    for t in range(case["first_step"], max(wanted) + 1):
        h = {name: values[(t - 1) % len(values)] for name, values in hyper.items()}
        for product, beta in (("p1", "beta1"), ("p2", "beta2")):
            if product in s:
                s[product] *= h[beta]
        arriving = inputs[(t - 1) % len(inputs)]
        watches = rule == "ema"
        w = RULES[rule](n, axes, t, h, arriving if watches else w, None if watches else arriving, s)
        found = {name: ("number" if name in ("p1", "p2") else "slot", s[name]) for name in slots}
        found |= {"average": ("average", s["average"])} if watches else {"params": ("parameter", w)}
        for name, (kind, values) in found.items():
            values = [values] if kind == "number" else values
            sizes[name] = [larger(a, b) for a, b in zip(sizes.get(name, [0.0] * len(values)), values, strict=True)]
            if t in wanted:
                right = wanted[t][name] if name in ("params", "average") else wanted[t]["slots"][name]
                right = [right] if kind == "number" else right[i]
                dtype = "float64" if kind == "number" else case["dtype"]
                for k, (value, text) in enumerate(zip(values, right, strict=True)):
                    off = distance(value, float.fromhex(text), sizes[name][k], dtype)
                    where = f"{case['name']}, t={t}, {name} of {case['tensors'][i]['name']}[{k}]"
                    assert off <= case["tolerance"][kind], f"{where}: {off:.3g} ULPs"
                    count += 1
    return count


def larger(size, value):
    """The largest size so far; what is not finite has none."""
    return max(size, abs(float(value))) if math.isfinite(value) else size


def distance(value, expected, size, dtype):
    """In ULPs of the dtype at this size; infinite if only one is NaN or infinite, or the signs of two zeros differ."""
    if not math.isfinite(expected) or (isinstance(value, float) and not math.isfinite(value)):
        same = value == expected or (value != value and expected != expected)
        return 0.0 if same else math.inf
    if isinstance(value, float) and value == expected == 0 and math.copysign(1, value) != math.copysign(1, expected):
        return math.inf
    bits, lowest = BITS[dtype]
    exponent = max(math.frexp(size)[1] - 1, lowest) if size else lowest
    return float(abs(value - type(value)(expected)) / Fraction(2) ** (exponent - bits))


def main(files):
    """Check all files, and print a line for each: 1 if a number is wrong."""
    status = 0
    for file in files:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
        assert document["schema"] == 1, f"{file}: this reader reads schema 1, got {document['schema']}"
        floats = fractions = 0
        try:
            for case in document["cases"]:
                floats += check(Float64, document["rule"], case)
                if "long" not in case["flags"]:
                    fractions += check(Exact, document["rule"], case)
        except AssertionError as error:
            status = 1
            print(f"{file}: {error}")
        print(f"{file}: {len(document['cases'])} cases, {floats} numbers in float64, {fractions} in fractions")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
