// Reads vectors and computes every number again, with nothing but Node: `node read.mjs FILE ...`.
//
// It knows nothing of refopt: the rules are written here from their papers, for one tensor at a time, in float64.

import { readFileSync } from "node:fs";

const BITS = { float64: [52, -1022], float32: [23, -126], float16: [10, -14], bfloat16: [7, -126] };

/** A number of C's hex floats, exactly: JavaScript reads none. */
function parse(text) {
  const sign = text.startsWith("-") ? -1 : 1;
  const magnitude = text.replace(/^[+-]/, "");
  if (magnitude === "inf") return sign * Infinity;
  if (magnitude === "nan") return NaN;
  const found = /^0x([0-9a-f]+)(?:\.([0-9a-f]*))?p([+-]?\d+)$/.exec(magnitude);
  if (!found) throw new Error(`${text} is no hex float`);
  const [, whole, fraction = "", exponent] = found;
  return sign * Number(BigInt(`0x${whole}${fraction}`)) * 2 ** (Number(exponent) - 4 * fraction.length);
}

const zip = (a, b, f) => a.map((x, i) => f(x, b[i]));
const norm = (x) => Math.sqrt(x.reduce((sum, a) => sum + a * a, 0));

const decayed = (axes, h, w, g) => (axes.decay === "l2" ? zip(g, w, (a, b) => a + h.wd * b) : g);
const shrunk = (axes, h, w, when) => {
  if (!when.includes(axes.decay)) return w;
  const rate = axes.decay.includes("no_lr") ? h.wd : h.lr * h.wd;
  return w.map((x) => x - rate * x);
};
const before = (axes, h, w) => shrunk(axes, h, w, ["decoupled", "decoupled_no_lr"]);
const after = (axes, h, w) => shrunk(axes, h, w, ["decoupled_after", "decoupled_no_lr_after"]);

/** The velocity moves on; the step is along it, or along Nesterov's look ahead. */
function ride(axes, t, mu, s, g, scale) {
  s.u = t === 1 && axes.first_step === "copy_gradient" ? g : zip(s.u, g, (u, a) => mu * u + scale * a);
  if (axes.nesterov === "no") return s.u;
  const factor = axes.nesterov === "scaled" ? 1 - mu : 1;
  return zip(g, s.u, (a, u) => factor * a + mu * u);
}

/** Each moves the slots in `s`, and returns the new parameters. */
const RULES = {
  sgd(axes, t, h, w, g) {
    const d = decayed(axes, h, w, g);
    return after(axes, h, zip(before(axes, h, w), d, (x, y) => x - h.lr * y));
  },

  momentum(axes, t, h, w, g, s) {
    const inside = axes.lr_at === "inside";
    const d = decayed(axes, h, w, g).map((x) => (inside ? h.lr * x : x));
    const scale = { one: 1, dampening: 1 - h.dampening, ema: 1 - h.mu }[axes.gradient_scale];
    const step = ride(axes, t, h.mu, s, d, scale);
    const lr = inside ? 1 : h.lr;
    return after(axes, h, zip(before(axes, h, w), step, (x, y) => x - lr * y));
  },

  adam(axes, t, h, w, g, s) {
    const { beta1, beta2, eps, eps_root = 0 } = h;
    const d = decayed(axes, h, w, g);
    s.m = zip(s.m, d, (m, x) => beta1 * m + (1 - beta1) * x);
    s.v = zip(s.v, d, (v, x) => beta2 * v + (1 - beta2) * x * x);
    const count = t - 1 + Number(axes.first_t);
    const product = axes.power === "product";
    const { p1 = 0, p2 = 0 } = s;
    const c1 = axes.bias === "none" || axes.bias === "v_only" ? 1 : 1 - (product ? p1 : beta1 ** count);
    const c2 = axes.bias === "none" || axes.bias === "m_only" ? 1 : 1 - (product ? p2 : beta2 ** count);
    let second = s.v.map((v) => v / c2);
    if (axes.amsgrad === "raw") {
      s.v_max = zip(s.v_max, s.v, Math.max);
      second = s.v_max.map((v) => v / c2);
    } else if (axes.amsgrad === "corrected") {
      second = s.v_max = zip(s.v_max, second, Math.max);
    }
    const inside = { inside_hat: eps, inside_raw: eps / c2, both: eps_root }[axes.eps_at] ?? 0;
    const outside = { outside_hat: eps, outside_raw: eps / Math.sqrt(c2), both: eps }[axes.eps_at] ?? 0;
    const step = zip(s.m, second, (m, v) => (h.lr * (m / c1)) / (Math.sqrt(v + inside) + outside));
    return after(axes, h, zip(before(axes, h, w), step, (x, y) => x - y));
  },

  lars(axes, t, h, w, g, s) {
    const { lr, wd = 0, tc, mu } = h;
    const [inner, outer] = axes.lr_at === "inside" ? [lr, 1] : [1, lr];
    const ofVelocity = axes.trust_of === "velocity";
    const joint = axes.denominator === "joint";
    let p = zip(g, w, (a, b) => a + wd * b);
    const ahead = ofVelocity ? ride(axes, t, mu, s, p.map((a) => inner * a), 1) : null;
    const wNorm = norm(w);
    const gNorm = norm(ofVelocity ? s.u : joint ? p : g);
    const d = (joint ? gNorm : gNorm + wd * wNorm) + (axes.eps_at === "denominator" ? h.eps : 0);
    const ratio = axes.clip === "min" ? Math.min((tc * wNorm) / d / lr, 1) : (tc * wNorm) / d;
    const zero = axes.zero_norm === "denominator_only" ? d === 0 : wNorm === 0 || gNorm === 0;
    let trust = !zero ? ratio : axes.zero_norm === "max" ? Math.max(1, ratio) : 1;
    if (zero && axes.zero_norm === "raw_no_decay") p = zip(g, w, (a, b) => a + 0 * b);
    if ((axes.when === "decay" && wd === 0) || (axes.when === "matrices" && s.dimensions < 2)) trust = 1;
    const step = ahead ? ahead.map((a) => trust * a) : ride(axes, t, mu, s, p.map((a) => inner * trust * a), 1);
    return zip(w, step, (a, b) => a - outer * b);
  },

  ema(axes, t, h, w, g, s) {
    const { mu: longest = 0, eps = 0 } = h; // a plain mean has no mu
    const mu = {
      constant: () => longest,
      warmup_0: () => Math.min(longest, t / (9 + t)),
      warmup_1: () => Math.min(longest, (1 + t) / (10 + t)),
      power: () => Math.min(longest, 1 - (1 + (t - 1) / h.inv_gamma) ** -h.power),
      mean: () => 1 - 1 / t,
    }[axes.decay_schedule]();
    s.m = axes.init === "first_update" && t === 1 ? w : zip(s.m, w, (a, b) => mu * a + (1 - mu) * b);
    const power = longest ** t; // not that of the scheduled mu
    const by = { none: 1, standard: 1 - power, objax: 1 - (1 - eps) * power }[axes.debias];
    s.average = s.m.map((a) => a / by);
    return w;
  },
};

/** How many numbers of a case were computed again. Throws where one is too far away. */
function check(rule, found) {
  let count = 0;
  found.tensors.forEach((tensor, i) => (count += checkTensor(rule, found, tensor, i)));
  return count;
}

function checkTensor(rule, found, tensor, i) {
  const wanted = new Map(found.checkpoints.map((point) => [point.step, point]));
  const hyper = Object.entries(found.hyper).map(([name, values]) => [name, values.map(parse)]);
  const inputs = found.inputs.map((step) => step[i].map(parse));
  const slots = found.checkpoints[0].slots;
  let w = found.params[i].map(parse);
  const s = { dimensions: tensor.shape.length };
  for (const [name, slot] of Object.entries(slots)) s[name] = Array.isArray(slot) ? w.map(() => 0) : 1;
  if (found.axes.init === "params") s.m = w;
  const sizes = { params: w.map(Math.abs) };
  let count = 0;
  for (let t = found.first_step; t <= Math.max(...wanted.keys()); t++) {
    const h = Object.fromEntries(hyper.map(([name, values]) => [name, values[(t - 1) % values.length]]));
    if ("p1" in s) s.p1 *= h.beta1;
    if ("p2" in s) s.p2 *= h.beta2;
    const arriving = inputs[(t - 1) % inputs.length];
    const watches = rule === "ema";
    w = RULES[rule](found.axes, t, h, watches ? arriving : w, watches ? null : arriving, s);
    const rows = Object.keys(slots).map((name) => [name, Array.isArray(slots[name]) ? "slot" : "number", s[name]]);
    rows.push(watches ? ["average", "average", s.average] : ["params", "parameter", w]);
    for (const [name, kind, value] of rows) {
      const values = kind === "number" ? [value] : value;
      sizes[name] = zip(values, sizes[name] ?? [], (x, size = 0) => (isFinite(x) ? Math.max(size, Math.abs(x)) : size));
      if (!wanted.has(t)) continue;
      const point = wanted.get(t);
      const right = kind === "number" ? [point.slots[name]] : (point[name] ?? point.slots[name])[i];
      const dtype = kind === "number" ? "float64" : found.dtype;
      right.forEach((text, k) => {
        const off = distance(values[k], parse(text), sizes[name][k], dtype);
        const where = `${found.name}, t=${t}, ${name} of ${tensor.name}[${k}]`;
        if (!(off <= found.tolerance[kind])) throw new Error(`${where}: ${off} ULPs`);
        count += 1;
      });
    }
  }
  return count;
}

/** In ULPs of the dtype at this size; infinite if only one is NaN or infinite, or the signs of two zeros differ. */
function distance(value, expected, size, dtype) {
  if (!isFinite(value) || !isFinite(expected)) return Object.is(value, expected) ? 0 : Infinity;
  if (value === 0 && expected === 0) return Object.is(value, expected) ? 0 : Infinity;
  const [bits, lowest] = BITS[dtype];
  let exponent = Math.max(Math.ceil(Math.log2(size)) + 1, lowest);
  while (exponent > lowest && 2 ** exponent > size) exponent -= 1;
  return Math.abs(value - expected) / 2 ** (exponent - bits);
}

for (const file of process.argv.slice(2)) {
  const found = JSON.parse(readFileSync(file, "utf-8"));
  if (found.schema !== 1) throw new Error(`${file}: this reader reads schema 1, got ${found.schema}`);
  let count = 0;
  try {
    for (const one of found.cases) count += check(found.rule, one);
  } catch (error) {
    process.exitCode = 1;
    console.log(`${file}: ${error.message}`);
  }
  console.log(`${file}: ${found.cases.length} cases, ${count} numbers in float64`);
}
