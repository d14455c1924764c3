"""Gradient descent with momentum: heavy ball and Nesterov's accelerated gradient."""

from refopt.rules._faults import GRADIENT, RATE, decay, reports, velocity
from refopt.rules._shared import STATE_DTYPE, WD, decay_axis, lr_of, mu_of, nesterov_axis
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, line
from refopt.spec.faults import Fault


def momentum(w, g, u, *, t, lr, mu):
    u = mu * u + g
    w = w - lr * u
    return w, u


MOMENTUM = Rule(
    name="momentum",
    title="Momentum, heavy ball and Nesterov",
    function=momentum,
    hyper_parameters=(
        lr_of(0.01),
        mu_of(0.9),
        HyperParameter("dampening", "d", 0.0, "[0, 1]", "dampening of the gradient", (), (0.25, 0.375)),
        WD,
    ),
    slots=(Slot("u", "u", "velocity"),),
    axes=(
        decay_axis(l2=before("u", "g = g + wd * w")),
        Axis("gradient_scale", "what the gradient is scaled by on its way into the velocity", (
            Choice("one", "the gradient enters as it is", "Polyak 1964"),
            Choice("dampening", "the gradient is scaled by one minus the dampening", "torch.optim.SGD",
                   (line("u = mu * u + (1 - dampening) * g"),)),
            Choice("ema", "by one minus the momentum: the velocity is an average of gradients",
                   "optax.ema of gradients", (line("u = mu * u + (1 - mu) * g"),)),
        )),
        Axis("lr_at", "where the learning rate acts", (
            Choice("outside", "on the velocity: a new rate acts on all past gradients at once",
                   "Goh 2017; torch, optax"),
            Choice("inside", "on the gradient: each gradient keeps the rate of its day",
                   "Sutskever et al. 2013, equation (1); Keras",
                   (before("u", "g = lr * g"), line("w = w - u"))),
        )),
        Axis("first_step", "what the velocity is after the first step", (
            Choice("zeros", "the velocity starts at zero and is updated as at every step", "Keras, optax, objax"),
            Choice("copy_gradient", "the first gradient is copied, unscaled", "torch.optim.SGD",
                   (line("u = g if t == 1 else ..."),)),
        )),
        nesterov_axis("g"),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Polyak 1964, as Goh 2017 writes it", {}, {"lr": 0.01, "mu": 0.9}),
        Dialect("objax", "objax.optimizer.Momentum", {}, {"mu": 0.9}),
        Dialect("torch", "torch.optim.SGD",
                {"decay": "l2", "gradient_scale": "dampening", "first_step": "copy_gradient"}, {"lr": 1e-3}),
        Dialect("optax", "optax.sgd", {}, {"mu": 0.9}),
        Dialect("keras", "keras.optimizers.SGD", {"lr_at": "inside", "decay": "decoupled"}, {"lr": 0.01}),
    ),
    references=(
        Reference("Polyak, Some methods of speeding up the convergence of iteration methods (1964)", "equation (9)",
                  "https://doi.org/10.1016/0041-5553(64)90137-5"),
        Reference("Goh, Why Momentum Really Works (2017)", "the first two equations",
                  "https://distill.pub/2017/momentum/"),
        Reference("Sutskever et al., On the importance of initialization and momentum in deep learning (2013)",
                  "equations (1) to (4)", "https://proceedings.mlr.press/v28/sutskever13.html"),
        Reference("Bengio, Boulanger-Lewandowski & Pascanu, Advances in Optimizing Recurrent Networks (2012)",
                  "section 3.5, equation (7)", "https://arxiv.org/abs/1212.0901"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *velocity(),
        Fault("dampening-lost", "the gradient enters the velocity unscaled, though dampening was asked for",
              axes={"gradient_scale": "one"}, only_with={"gradient_scale": ("dampening",)}),
        Fault("dampening-inverted", "the gradient is scaled by the dampening, not by one minus it",
              reads={"dampening": "(1 - dampening)"}),
        Fault("velocity-averaged", "the gradient is scaled by 1 - momentum: steps are ten times too short at 0.9",
              reports("ml-explore/mlx/pull/87"),
              axes={"gradient_scale": "ema"}, only_with={"gradient_scale": ("one", "dampening")}),
        Fault("velocity-summed", "the gradient is not scaled by 1 - momentum: steps are ten times too long at 0.9",
              axes={"gradient_scale": "one"}, only_with={"gradient_scale": ("ema",)}),
    ),
)  # fmt: skip
