"""Gradient checking: differences, their step, a kink, and a wrong rule that is named."""

# %% [markdown]
# **D1 (Snavely, CS5670, lecture 26), "Derive it by hand, and check it numerically"; D4 (CS231n,
# lecture 6), "Gradient checking"**
#
# A derivative can be had from two values of the function, (f(x + h) − f(x − h)) / 2h, which is
# wrong by h² f'''/6 and by the rounding of f over h. The notes of CS231n advise h = 1e-5, double
# precision, the relative error |a − n| / max(|a|, |n|), and care at kinks.

# %%
import numpy as np
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import testing
from tinygrad_cv.examples.course import Lab

lab = Lab("21_gradient_check")
generator = tg.manual_seed(lab.seed)

# %% [markdown]
# ## A sweep of h
# For f = exp(sin x) the error falls with h, for the one-sided difference, or with h², for the
# central one, until rounding takes over: at the root of the machine's epsilon, and at its cube
# root. In single precision a step of 1e-5 is too small.


# %%
def f(x):
    return np.exp(np.sin(x))


point = tg.tensor(0.7, dtype=tg.float64, requires_grad=True)
(slope,) = tg.autograd.grad(tg.exp(tg.sin(point)), point)
exact = slope.item()
steps = np.logspace(-14, 0, 57)


def errors(difference, dtype):
    x, h = dtype(0.7), steps.astype(dtype)
    return np.abs(difference(x, h) - exact) / abs(exact)


with np.errstate(divide="ignore", invalid="ignore"):
    sweeps = {
        "one-sided, double": errors(lambda x, h: (f(x + h) - f(x)) / h, np.float64),
        "central, double": errors(lambda x, h: (f(x + h) - f(x - h)) / (2 * h), np.float64),
        "central, single": errors(lambda x, h: (f(x + h) - f(x - h)) / (2 * h), np.float32),
    }
for (name, error), expected in zip(
    sweeps.items(), [(1e-10, 1e-7), (1e-13, 1e-9), (1e-7, 1e-2)], strict=True
):
    lab.compare(f"{name}: least error", error.min(), expected=expected)
    h = steps[np.nanargmin(error)]
    lab.compare(f"{name}: at h", h, expected=(1e-6, 1) if "single" in name else (1e-10, 1e-3))
at_1e5 = sweeps["central, double"][np.abs(steps - 1e-5).argmin()]
lab.compare("central, double, at h = 1e-5", at_1e5, expected=(0, 1e-7))
too_small = sweeps["central, single"][np.abs(steps - 1e-5).argmin()]
lab.compare("central, single, at h = 1e-5", too_small, expected=(1e-4, 1))
falls = np.log10(sweeps["central, double"][-9] / sweeps["central, double"][-17])  # 1e-2, 1e-4
lab.compare("decades of error for two of h", falls, expected=(3.8, 4.2))

figure = Figure(figsize=(8, 5), layout="constrained")
axes = figure.add_subplot()
for name, error in sweeps.items():
    axes.loglog(steps, error, "o-", markersize=3, label=name)
axes.axvline(1e-5, color="gray", linestyle=":", label="h = 1e-5")
axes.set(xlabel="h", ylabel="relative error", title="d/dx exp(sin x) at 0.7", ylim=(1e-14, 10))
axes.legend()
lab.picture(figure, "error_against_h")

# %% [markdown]
# ## The check of this package
# It chooses h by the size of the input and extrapolates, and so comes closer than h = 1e-5 does.
# `mode="cs231n"` is the way of the notes.

# %%
inputs = [generator.normal(size=(2, 3)), generator.normal(size=(3, 4))]
for mode in ("cs231n", "full"):
    report = testing.check_gradients(
        lambda x, w: tg.tanh(x @ w), inputs, mode=mode, names=["x", "w"]
    )
    worst = report.worst.relative_error
    lab.compare(f"tanh(x w), mode {mode}: worst error", worst, expected=(0, 1e-6))

# %% [markdown]
# ## A kink
# relu has no derivative at 0. Beside it, closer than h, a difference straddles the kink and lies:
# between the slopes 0 and 1. The notes' example is x = −1e-6.

# %%
x, h = -1e-6, 1e-5
numeric = (max(0.0, x + h) - max(0.0, x - h)) / (2 * h)
lab.compare("relu at -1e-6, h = 1e-5: difference", numeric, expected=(0.44, 0.46))
rule = tg.tensor(x, requires_grad=True)
(slope,) = tg.autograd.grad(tg.relu(rule), rule)
lab.compare("relu at -1e-6: rule", slope.item(), expected=(0, 0))
print(testing.check_gradients(tg.relu, [np.array([-1.0, -1e-6, 0.0, 2.0])], names=["x"]).table())

# %% [markdown]
# ## A wrong rule is named
# The derivative of tanh is 1 − y². Who forgets the square gets a sentence that says so.


# %%
class Forgetful(tg.Op, register=False):
    """tanh(x), with 1 − y for 1 − y²"""

    def forward(self, xp, x):
        return xp.tanh(x)

    def grad_x(self, F, g, y):
        return g * (1 - y)


wrong = tg.function(Forgetful)
named = ""
try:
    testing.check_gradients(wrong, [tg.randn(2, 3, generator=generator)], names=["x"])
except testing.GradientError as error:
    named = str(error)
    print(named)
lab.compare("a wrong rule: the input is named", named.count("gradient of x"), expected=(1, 99))
lab.note(f"Its formula, which anyone can read: ∂L/∂x = {tg.formula(Forgetful)['x']}")
lab.end()
