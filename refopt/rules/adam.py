"""Adam: adaptive moment estimation, with the conventions of its many implementations.

`outside_raw` and `inside_raw` are published with the bias corrections folded into the learning rate, as
lr * sqrt(c2) / c1 * m / (sqrt(v) + eps). Dividing through by sqrt(c2) gives the lines below, which show at once what
the convention does: it divides eps by the correction, so that early steps see a larger one.
"""

from refopt.rules._shared import WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.functions import sqrt


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    c1 = 1 - beta1**t
    c2 = 1 - beta2**t
    m_hat = m / c1
    v_hat = v / c2
    d = sqrt(v_hat) + eps
    w = w - lr * m_hat / d
    return w, m, v


V_MAX = Slot("v_max", "v̄", "largest second moment so far")

ADAM = Rule(
    name="adam",
    title="Adam",
    function=adam,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment")),
    axes=(
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("power", "what the bias correction takes beta to the power of t for", (
            Choice("power", "today's beta to the power of t", "Kingma & Ba, Algorithm 1"),
            Choice("product", "the product of the betas of all steps, which differs once beta changes",
                   "torch.optim.NAdam's mu_product",
                   (before("c1", "p1 = p1 * beta1"), line("c1 = 1 - p1"),
                    before("c2", "p2 = p2 * beta2"), line("c2 = 1 - p2")),
                   slots=(Slot("p1", "π₁", "product of the beta1 so far", 1.0, "step"),
                          Slot("p2", "π₂", "product of the beta2 so far", 1.0, "step"))),
        )),
        Axis("first_t", "the number t of the first step, as the bias correction counts it", (
            Choice("1", "steps count from 1", "Kingma & Ba, Algorithm 1"),
            Choice("0", "steps count from 0: the first correction divides by zero", "a counter raised after its use",
                   (within("c1", t="t - 1"), within("c2", t="t - 1")), only_with={"power": ("power",)}),
            Choice("2", "steps count from 2: the first correction is too weak", "a counter raised twice",
                   (within("c1", t="t + 1"), within("c2", t="t + 1")), only_with={"power": ("power",)}),
        )),
        Axis("bias", "which moments are corrected for their start at zero", (
            Choice("both", "both moments", "Kingma & Ba, section 3"),
            Choice("none", "neither moment", "BERT's Adam", (line("c1 = 1"), line("c2 = 1"))),
            Choice("m_only", "the first moment only", "", (line("c2 = 1"),)),
            Choice("v_only", "the second moment only", "", (line("c1 = 1"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside_hat", "added to the root of the corrected moment",
                   "Kingma & Ba, Algorithm 1; torch, optax"),
            Choice("outside_raw", "added to the root of the raw moment: their epsilon hat",
                   "Kingma & Ba, end of section 2; Keras", (line("d = sqrt(v_hat) + eps / sqrt(c2)"),)),
            Choice("inside_hat", "inside the root of the corrected moment",
                   "the approximation that objax's page names", (line("d = sqrt(v_hat + eps)"),)),
            Choice("inside_raw", "inside the root of the raw moment", "objax's code",
                   (line("d = sqrt(v_hat + eps / c2)"),)),
            Choice("both", "eps_root inside the root of the corrected moment, eps outside", "optax with eps_root",
                   (line("d = sqrt(v_hat + eps_root) + eps"),)),
        )),
        Axis("amsgrad", "whether the second moment may shrink", (
            Choice("no", "the second moment may shrink", "Kingma & Ba, Algorithm 1"),
            Choice("raw", "its largest value so far is corrected and used", "Reddi et al. 2018; torch, Keras",
                   (after("v", "v_max = maximum(v_max, v)"), within("v_hat", v="v_max")), (V_MAX,)),
            Choice("corrected", "the largest corrected value so far is used", "optax.amsgrad",
                   (after("v_hat", "v_max = maximum(v_max, v_hat)"), within("d", v_hat="v_max")), (V_MAX,)),
        )),
    ),
    dialects=(
        Dialect("paper", "Kingma & Ba 2015, Algorithm 1", {}, {"lr": 0.001, "eps": 1e-8}),
        Dialect("objax", "objax.optimizer.Adam, the code", {"eps_at": "inside_raw"}, {"eps": 1e-8}),
        Dialect("torch", "torch.optim.Adam", {"decay": "l2"}, {"eps": 1e-8}),
        Dialect("adamw", "torch.optim.AdamW, optax.adamw", {"decay": "decoupled"}, {"eps": 1e-8, "wd": 0.01}),
        Dialect("optax", "optax.adam", {}, {"eps": 1e-8}),
        Dialect("keras", "keras.optimizers.Adam", {"eps_at": "outside_raw", "decay": "decoupled"}, {"eps": 1e-7}),
    ),
    references=(
        Reference("Kingma & Ba, Adam: A Method for Stochastic Optimization (2015)",
                  "Algorithm 1; end of section 2 for the epsilon hat; section 3 for the bias correction",
                  "https://arxiv.org/abs/1412.6980"),
        Reference("Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019)", "Algorithm 2",
                  "https://arxiv.org/abs/1711.05101"),
        Reference("Reddi, Kale & Kumar, On the Convergence of Adam and Beyond (2018)", "Algorithm 2",
                  "https://arxiv.org/abs/1904.09237"),
    ),
)  # fmt: skip
