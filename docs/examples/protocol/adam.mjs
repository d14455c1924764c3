// Adam as a program that refopt drives: refopt verify --exec "node docs/examples/protocol/adam.mjs"

import { createInterface } from "node:readline";

const defaults = { lr: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
const start = {
  protocol: 1, name: "adam.mjs", version: "1", arrays: "base64", dtypes: ["float64", "float32"], slots: ["m", "v"],
  hyper: Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { default: value, per_step: true }])),
};
const kinds = { float64: Float64Array, float32: Float32Array };
let leaves = [];

const numbers = ({ dtype, data }) => new kinds[dtype](new Uint8Array(Buffer.from(data, "base64")).buffer);
const arrays = (name) => leaves.map((leaf) => ({
  dtype: leaf.dtype, shape: leaf.shape, data: Buffer.from(leaf[name].buffer).toString("base64"),
}));

function step({ w, m, v }, g, t, { lr, beta1, beta2, eps }) {
  for (let i = 0; i < w.length; i++) { // in float64; an assignment rounds to the dtype of the array
    m[i] = beta1 * m[i] + (1 - beta1) * g[i];
    v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
    w[i] -= (lr * (m[i] / (1 - beta1 ** t))) / (Math.sqrt(v[i] / (1 - beta2 ** t)) + eps);
  }
}

const answers = {
  start: () => start,
  init: ({ params }) => {
    leaves = params.map((sent) => {
      const w = numbers(sent);
      return { dtype: sent.dtype, shape: sent.shape, w, m: w.slice().fill(0), v: w.slice().fill(0) };
    });
  },
  step: ({ t, hyper, grads }) => {
    grads.forEach((g, i) => step(leaves[i], numbers(g), t, { ...defaults, ...hyper }));
    return { params: arrays("w") };
  },
  state: () => ({ slots: { m: arrays("m"), v: arrays("v") } }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (asked.message === "stop") break;
  console.log(JSON.stringify({ message: asked.message, ...answers[asked.message](asked) }));
}
