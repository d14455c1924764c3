"""Adam as a program that refopt drives: refopt verify --exec "python3 docs/examples/protocol/adam.py" """

import array
import base64
import json
import math
import sys

HYPER = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
START = {
    "protocol": 1, "name": "adam.py", "version": "1", "arrays": "base64", "dtypes": ["float64"],
    "hyper": {name: {"default": value, "per_step": True} for name, value in HYPER.items()}, "slots": ["m", "v"],
}  # fmt: skip


def numbers(sent):
    return array.array("d", base64.b64decode(sent["data"]))  # little-endian, as this machine is


def arrays(leaves):
    data = (base64.b64encode(array.array("d", leaf).tobytes()).decode() for leaf in leaves)
    return [{"dtype": "float64", "shape": shape, "data": text} for shape, text in zip(shapes, data, strict=True)]


def step(w, m, v, g, t, lr, beta1, beta2, eps):
    for i in range(len(w)):
        m[i] = beta1 * m[i] + (1 - beta1) * g[i]
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i]
        w[i] -= lr * (m[i] / (1 - beta1**t)) / (math.sqrt(v[i] / (1 - beta2**t)) + eps)


for line in sys.stdin:
    asked = json.loads(line)
    answer = {"message": asked["message"]}
    if asked["message"] == "stop":
        break
    if asked["message"] == "start":
        answer |= START
    elif asked["message"] == "init":
        shapes = [one["shape"] for one in asked["params"]]
        params = [numbers(one) for one in asked["params"]]
        ms, vs = ([array.array("d", bytes(8 * len(w))) for w in params] for _ in range(2))
    elif asked["message"] == "step":
        for w, m, v, g in zip(params, ms, vs, map(numbers, asked["grads"]), strict=True):
            step(w, m, v, g, asked["t"], **{**HYPER, **asked["hyper"]})
        answer["params"] = arrays(params)
    elif asked["message"] == "state":
        answer["slots"] = {"m": arrays(ms), "v": arrays(vs)}
    print(json.dumps(answer), flush=True)
