/* Reads vectors and computes every number again, with the C standard library alone:

       cc -std=c99 -O2 -ffp-contract=off read.c -o read -lm && ./read FILE ...

   It knows nothing of refopt: the rules are written here from their papers, for one tensor at a time, in doubles. */

#include <math.h>
#include "json.h"

enum { QUANTITIES = 8 };

/* One tensor on its way through a case: its numbers now, and what the step has. */
typedef struct {
    const Json *axes, *hyper;
    int t, dimensions;
    size_t n;
    double *w, *g, *p, *step, *m, *v, *v_max, *u, *average, p1, p2;
} Run;

static int is(const Run *r, const char *axis, const char *choice)
{
    const Json *found = find(r->axes, axis);
    return found && !strcmp(found->text, choice);
}

/* A hyper-parameter at this step, or 0 if the case has none. */
static double h(const Run *r, const char *name)
{
    const Json *values = find(r->hyper, name);
    return values ? number(values->items[(size_t)(r->t - 1) % values->count]) : 0;
}

/* The larger, or NaN if one is. */
static double larger(double a, double b)
{
    return a != a || a >= b ? a : b;
}

static double smaller(double a, double b)
{
    return a != a || a <= b ? a : b;
}

static double norm(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* p is the gradient, with an l2 decay in it. */
static void decayed(Run *r)
{
    int l2 = is(r, "decay", "l2");
    for (size_t i = 0; i < r->n; i++) r->p[i] = l2 ? r->g[i] + h(r, "wd") * r->w[i] : r->g[i];
}

static void shrink(Run *r, const char *with_rate, const char *without)
{
    double rate = is(r, "decay", with_rate) ? h(r, "lr") * h(r, "wd") : h(r, "wd");
    if (is(r, "decay", with_rate) || is(r, "decay", without))
        for (size_t i = 0; i < r->n; i++) r->w[i] -= rate * r->w[i];
}

/* w moves by lr times the step, and decays before or after that. */
static void move(Run *r, double lr)
{
    shrink(r, "decoupled", "decoupled_no_lr");
    for (size_t i = 0; i < r->n; i++) r->w[i] -= lr * r->step[i];
    shrink(r, "decoupled_after", "decoupled_no_lr_after");
}

/* The velocity moves on by p; the step is along it, or along Nesterov's look ahead. */
static void ride(Run *r, double scale)
{
    double mu = h(r, "mu"), factor = is(r, "nesterov", "scaled") ? 1 - mu : 1;
    int copy = r->t == 1 && is(r, "first_step", "copy_gradient");
    for (size_t i = 0; i < r->n; i++) {
        r->u[i] = copy ? r->p[i] : mu * r->u[i] + scale * r->p[i];
        r->step[i] = is(r, "nesterov", "no") ? r->u[i] : factor * r->p[i] + mu * r->u[i];
    }
}

static void sgd(Run *r)
{
    decayed(r);
    memcpy(r->step, r->p, r->n * sizeof *r->p);
    move(r, h(r, "lr"));
}

static void momentum(Run *r)
{
    int inside = is(r, "lr_at", "inside");
    double scale = is(r, "gradient_scale", "ema") ? 1 - h(r, "mu")
                 : is(r, "gradient_scale", "dampening") ? 1 - h(r, "dampening") : 1;
    decayed(r);
    for (size_t i = 0; inside && i < r->n; i++) r->p[i] *= h(r, "lr");
    ride(r, scale);
    move(r, inside ? 1 : h(r, "lr"));
}

static void adam(Run *r)
{
    double beta1 = h(r, "beta1"), beta2 = h(r, "beta2"), eps = h(r, "eps");
    int count = r->t - 1 + (is(r, "first_t", "2") ? 2 : is(r, "first_t", "1")), product = is(r, "power", "product");
    double c1 = 1 - (product ? r->p1 : pow(beta1, count)), c2 = 1 - (product ? r->p2 : pow(beta2, count));
    if (is(r, "bias", "none") || is(r, "bias", "v_only")) c1 = 1;
    if (is(r, "bias", "none") || is(r, "bias", "m_only")) c2 = 1;
    double inside = is(r, "eps_at", "inside_hat") ? eps : is(r, "eps_at", "inside_raw") ? eps / c2
                  : is(r, "eps_at", "both") ? h(r, "eps_root") : 0;
    double outside = is(r, "eps_at", "outside_hat") || is(r, "eps_at", "both") ? eps
                   : is(r, "eps_at", "outside_raw") ? eps / sqrt(c2) : 0;
    decayed(r);
    for (size_t i = 0; i < r->n; i++) {
        double g = r->p[i];
        r->m[i] = beta1 * r->m[i] + (1 - beta1) * g;
        r->v[i] = beta2 * r->v[i] + (1 - beta2) * g * g;
        double v_hat = r->v[i] / c2;
        if (is(r, "amsgrad", "raw")) {
            r->v_max[i] = larger(r->v_max[i], r->v[i]);
            v_hat = r->v_max[i] / c2;
        } else if (is(r, "amsgrad", "corrected")) {
            v_hat = r->v_max[i] = larger(r->v_max[i], v_hat);
        }
        r->step[i] = h(r, "lr") * (r->m[i] / c1) / (sqrt(v_hat + inside) + outside);
    }
    move(r, 1);
}

static void lars(Run *r)
{
    double lr = h(r, "lr"), wd = h(r, "wd"), w_norm = norm(r->w, r->n);
    int inside = is(r, "lr_at", "inside"), joint = is(r, "denominator", "joint");
    int of_velocity = is(r, "trust_of", "velocity");
    double inner = inside ? lr : 1;
    for (size_t i = 0; i < r->n; i++) r->p[i] = r->g[i] + wd * r->w[i];
    double g_norm = norm(joint ? r->p : r->g, r->n);
    if (of_velocity) {
        for (size_t i = 0; i < r->n; i++) r->p[i] *= inner;
        ride(r, 1);
        g_norm = norm(r->u, r->n);
    }
    double d = (joint ? g_norm : g_norm + wd * w_norm) + (is(r, "eps_at", "denominator") ? h(r, "eps") : 0);
    double trust = h(r, "tc") * w_norm / d;
    if (is(r, "clip", "min")) trust = smaller(trust / lr, 1);
    int zero = is(r, "zero_norm", "denominator_only") ? d == 0 : w_norm == 0 || g_norm == 0;
    if (zero) trust = is(r, "zero_norm", "max") ? larger(1, trust) : 1;
    if ((is(r, "when", "decay") && wd == 0) || (is(r, "when", "matrices") && r->dimensions < 2)) trust = 1;
    for (size_t i = 0; i < r->n; i++) {
        if (zero && is(r, "zero_norm", "raw_no_decay") && !of_velocity) r->p[i] = r->g[i] + 0 * r->w[i];
        if (of_velocity) r->step[i] *= trust;
        else r->p[i] *= inner * trust;
    }
    if (!of_velocity) ride(r, 1);
    for (size_t i = 0; i < r->n; i++) r->w[i] -= (inside ? 1 : lr) * r->step[i];
}

/* It watches the parameters that are brought: those of this step are in g. */
static void ema(Run *r)
{
    double mu = h(r, "mu"), t = r->t, power = pow(mu, t); /* not of the scheduled mu */
    if (is(r, "decay_schedule", "warmup_0")) mu = smaller(mu, t / (9 + t));
    if (is(r, "decay_schedule", "warmup_1")) mu = smaller(mu, (1 + t) / (10 + t));
    if (is(r, "decay_schedule", "power")) mu = smaller(mu, 1 - pow(1 + (t - 1) / h(r, "inv_gamma"), -h(r, "power")));
    if (is(r, "decay_schedule", "mean")) mu = 1 - 1 / t;
    double by = is(r, "debias", "none") ? 1 : 1 - (is(r, "debias", "objax") ? 1 - h(r, "eps") : 1) * power;
    int copy = r->t == 1 && is(r, "init", "first_update");
    for (size_t i = 0; i < r->n; i++) {
        r->m[i] = copy ? r->g[i] : mu * r->m[i] + (1 - mu) * r->g[i];
        r->average[i] = r->m[i] / by;
    }
}

static const struct { const char *name; void (*step)(Run *); } RULES[] = {
    {"sgd", sgd}, {"momentum", momentum}, {"adam", adam}, {"lars", lars}, {"ema", ema},
};

/* In ULPs of the dtype at this size; infinite if only one is NaN or infinite, or the signs of two zeros differ. */
static double distance(double value, double expected, double size, const char *dtype)
{
    static const struct { const char *name; int bits, lowest; } kinds[] = {
        {"float64", 52, -1022}, {"float32", 23, -126}, {"float16", 10, -14}, {"bfloat16", 7, -126},
    };
    if (value != value || expected != expected) return value != value && expected != expected ? 0 : INFINITY;
    if (isinf(value) || isinf(expected)) return value == expected ? 0 : INFINITY;
    if (value == 0 && expected == 0) return !signbit(value) == !signbit(expected) ? 0 : INFINITY;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, dtype)) continue;
        int exponent;
        frexp(size, &exponent);
        if (size == 0 || exponent - 1 < kinds[i].lowest) exponent = kinds[i].lowest + 1;
        return fabs(value - expected) / ldexp(1, exponent - 1 - kinds[i].bits);
    }
    fail("unknown dtype", dtype);
    return INFINITY;
}

/* A quantity of a checkpoint: where its numbers are, how large they have been, and what it is to the tolerance. */
typedef struct {
    const char *name, *kind;
    int in_slots;
    size_t n;
    double *values, *sizes;
} Quantity;

static size_t quantities(Run *r, const Json *slots, const char *rule, Quantity *q)
{
    size_t k = 0;
    for (; k < slots->count; k++) {
        const char *name = slots->keys[k];
        int is_number = slots->items[k]->kind != '[';
        double *values = !strcmp(name, "m") ? r->m : !strcmp(name, "v") ? r->v : !strcmp(name, "v_max") ? r->v_max
                       : !strcmp(name, "u") ? r->u : !strcmp(name, "p1") ? &r->p1 : !strcmp(name, "p2") ? &r->p2 : NULL;
        if (!values || k + 1 == QUANTITIES) fail("this reader has no slot", name);
        for (size_t i = 0; i < (is_number ? 1 : r->n); i++) values[i] = is_number ? 1 : 0;
        q[k] = (Quantity){name, is_number ? "number" : "slot", 1, is_number ? 1 : r->n, values, NULL};
    }
    int watches = !strcmp(rule, "ema");
    q[k++] = (Quantity){watches ? "average" : "params", watches ? "average" : "parameter", 0, r->n,
                        watches ? r->average : r->w, NULL};
    if (is(r, "init", "params")) memcpy(r->m, r->w, r->n * sizeof *r->w);
    for (size_t i = 0; i < k; i++) q[i].sizes = room(q[i].n * sizeof(double));
    for (size_t i = 0; !watches && i < r->n; i++) q[k - 1].sizes[i] = fabs(r->w[i]);
    return k;
}

/* How many numbers of a tensor were computed again, or -1 if one is too far away. */
static long check(const char *rule, void (*step)(Run *), const Json *found, size_t which)
{
    const Json *tensor = get(found, "tensors")->items[which], *points = get(found, "checkpoints");
    const Json *inputs = get(found, "inputs"), *start = get(found, "params")->items[which];
    Run r = {.axes = get(found, "axes"), .hyper = get(found, "hyper"), .n = start->count,
             .dimensions = (int)get(tensor, "shape")->count, .w = numbers(start)};
    double **made[] = {&r.p, &r.step, &r.m, &r.v, &r.v_max, &r.u, &r.average};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) *made[i] = room(r.n * sizeof(double));
    double **arriving = room(inputs->count * sizeof *arriving);
    for (size_t i = 0; i < inputs->count; i++) arriving[i] = numbers(inputs->items[i]->items[which]);
    Quantity q[QUANTITIES];
    size_t kinds = quantities(&r, get(points->items[0], "slots"), rule, q), next = 0;
    long count = 0;
    for (r.t = (int)number(get(found, "first_step")); next < points->count; r.t++) {
        const Json *point = points->items[next];
        int look = r.t == (int)number(get(point, "step"));
        r.p1 *= h(&r, "beta1");
        r.p2 *= h(&r, "beta2");
        r.g = arriving[(size_t)(r.t - 1) % inputs->count];
        step(&r);
        for (size_t k = 0; k < kinds; k++) {
            const Json *right = !look ? NULL : get(q[k].in_slots ? get(point, "slots") : point, q[k].name);
            int is_number = !strcmp(q[k].kind, "number");
            for (size_t i = 0; i < q[k].n; i++) {
                double value = q[k].values[i];
                if (isfinite(value)) q[k].sizes[i] = larger(q[k].sizes[i], fabs(value));
                if (!look) continue;
                double expected = number(is_number ? right : right->items[which]->items[i]);
                const char *dtype = is_number ? "float64" : get(found, "dtype")->text;
                double off = distance(value, expected, q[k].sizes[i], dtype);
                if (!(off <= number(get(get(found, "tolerance"), q[k].kind)))) {
                    printf("%s, t=%d, %s of %s[%d]: %.3g ULPs\n", get(found, "name")->text, r.t, q[k].name,
                           get(tensor, "name")->text, (int)i, off);
                    return -1;
                }
                count++;
            }
        }
        next += (size_t)look;
    }
    return count;
}

int main(int argc, char **argv)
{
    int status = 0;
    for (int a = 1; a < argc; a++) {
        const Json *document = read_file(argv[a]), *cases = get(document, "cases");
        const char *rule = get(document, "rule")->text;
        if (strcmp(get(document, "schema")->text, "1")) fail("this reader reads schema 1, not that of", argv[a]);
        void (*step)(Run *) = NULL;
        for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++)
            if (!strcmp(RULES[i].name, rule)) step = RULES[i].step;
        if (!step) fail("this reader has no rule", rule);
        long count = 0;
        for (size_t i = 0; i < cases->count; i++) {
            for (size_t k = 0; k < get(cases->items[i], "tensors")->count; k++) {
                long more = check(rule, step, cases->items[i], k);
                if (more < 0) status = 1;
                else count += more;
            }
        }
        printf("%s: %d cases, %ld numbers in float64\n", argv[a], (int)cases->count, count);
    }
    return status;
}
