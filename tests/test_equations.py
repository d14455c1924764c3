"""Equations as they are shown, in Unicode and in LaTeX, against what a person would write."""

import pytest

from refopt.explaining.equations import sides
from refopt.explaining.facts import equations
from refopt.explaining.notation import LATEX, UNICODE
from refopt.rules import RULES

# The source of one line, its equation in Unicode, and in LaTeX.
EQUATIONS = [
    ("sgd", {}, "w", "wₜ = wₜ₋₁ − η·gₜ", r"w_t = w_{t-1} - \eta g_t"),
    ("sgd", {"decay": "l2"}, "g", "g′ₜ = gₜ + λ·wₜ₋₁", r"g'_t = g_t + \lambda w_{t-1}"),
    ("momentum", {"decay": "l2", "lr_at": "inside"}, "u", "uₜ = μ·uₜ₋₁ + g″ₜ", r"u_t = \mu u_{t-1} + g''_t"),
    (
        "momentum",
        {"first_step": "copy_gradient"},
        "u",
        "uₜ = gₜ if t = 1, else μ·uₜ₋₁ + gₜ",
        r"u_t = \begin{cases} g_t & \text{if } t = 1 \\ \mu u_{t-1} + g_t & \text{otherwise} \end{cases}",
    ),
    ("momentum", {"nesterov": "yes"}, "w", "wₜ = wₜ₋₁ − η·(gₜ + μ·uₜ)", r"w_t = w_{t-1} - \eta (g_t + \mu u_t)"),
    ("momentum", {"decay": "decoupled"}, "w", "wₜ = w′ₜ − η·uₜ", r"w_t = w'_t - \eta u_t"),
    ("momentum", {"decay": "decoupled_after"}, "w", "wₜ = w′ₜ − η·λ·w′ₜ", r"w_t = w'_t - \eta \lambda w'_t"),
    ("adam", {"decay": "l2"}, "v", "vₜ = β₂·vₜ₋₁ + (1 − β₂)·g′ₜ²", r"v_t = \beta_2 v_{t-1} + (1 - \beta_2) {g'_t}^2"),
    ("adam", {}, "m_hat", "m̂ₜ = mₜ / c₁,ₜ", r"\hat{m}_t = \frac{m_t}{c_{1,t}}"),
    ("adam", {"first_t": "0"}, "c1", "c₁,ₜ = 1 − β₁ᵗ⁻¹", r"c_{1,t} = 1 - \beta_1^{t - 1}"),
    ("adam", {"amsgrad": "raw"}, "v_max", "v̄ₜ = max(v̄ₜ₋₁, vₜ)", r"\bar{v}_t = \max(\bar{v}_{t-1}, v_t)"),
    ("adam", {"power": "product"}, "p1", "π₁,ₜ = π₁,ₜ₋₁·β₁", r"\pi_{1,t} = \pi_{1,t-1} \beta_1"),
    (
        "adam",
        {"eps_at": "inside_raw"},
        "d",
        "dₜ = √(v̂ₜ + ε / c₂,ₜ)",
        r"d_t = \sqrt{\hat{v}_t + \frac{\varepsilon}{c_{2,t}}}",
    ),
    (
        "lars",
        {"trust_of": "velocity"},
        "g_norm",
        "‖uₜ‖ = √Σ uₜ²",
        r"\lVert u_t \rVert = \sqrt{\textstyle\sum u_t^2}",
    ),
    (
        "lars",
        {"clip": "min"},
        "ratio",
        "ratioₜ = min(τ·‖wₜ₋₁‖ / dₜ / η, 1)",
        r"\mathrm{ratio}_t = \min\left(\frac{\frac{\tau \lVert w_{t-1} \rVert}{d_t}}{\eta}, 1\right)",
    ),
    ("lars", {"trust_of": "velocity"}, "w", "wₜ = wₜ₋₁ − trustₜ·uₜ", r"w_t = w_{t-1} - \mathrm{trust}_t \cdot u_t"),
    ("ema", {}, "m", "mₜ = μ·mₜ₋₁ + (1 − μ)·wₜ", r"m_t = \mu m_{t-1} + (1 - \mu) w_t"),
    ("ema", {"debias": "standard"}, "a", "aₜ = mₜ / (1 − μᵗ)", r"a_t = \frac{m_t}{1 - \mu^t}"),
    ("ema", {"decay_schedule": "mean"}, "mu", "μₜ = 1 − 1 / t", r"\mu_t = 1 - \frac{1}{t}"),
    (
        "ema",
        {"decay_schedule": "power"},
        "mu",
        "μₜ = min(μ, 1 − (1 + (t − 1) / γ)⁻ᵖ)",
        r"\mu_t = \min\left(\mu, 1 - \left(1 + \frac{t - 1}{\gamma}\right)^{-p}\right)",
    ),
]


@pytest.mark.parametrize(("rule", "axes", "target", "unicode", "latex"), EQUATIONS)
def test_equation(rule: str, axes: dict[str, str], target: str, unicode: str, latex: str) -> None:
    line = [named for named in equations(RULES[rule].hyper(**axes)) if named.line.target == target][-1]
    assert " = ".join(sides(line, UNICODE)) == unicode
    assert " = ".join(sides(line, LATEX)) == latex
