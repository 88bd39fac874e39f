"""An op of one's own: a swish with a learned slope. Checked in one line, then broken on purpose.

Swish is x · σ(βx) (Ramachandran, Zoph and Le, 2017); with a learned β it lies between a straight
line (β = 0) and ReLU (β large).
"""

import tinygrad_cv as tg
from tinygrad_cv.testing import GradientError, check_gradients


class Swish(tg.Op):
    """x · σ(βx)"""

    def forward(self, xp, x, beta):
        return x / (1 + xp.exp(-beta * x))

    def grad_x(self, F, g, x, beta, y):
        return g * (beta * y + F.sigmoid(beta * x) * (1 - beta * y))

    def grad_beta(self, F, g, x, y):
        return g * y * (x - y)


swish = tg.function(Swish)


class Forgetful(Swish):
    """The same forward, with a rule that forgets that σ depends on x."""

    def grad_x(self, F, g, x, beta):
        return g * F.sigmoid(beta * x)


def main() -> None:
    generator = tg.manual_seed(0)
    x = tg.randn(4, 3, generator=generator)
    beta = tg.tensor([0.5, 1.0, 2.0])

    # One line: order 1 and 2, against finite differences, and the raw rule against the graph.
    report = check_gradients(swish, [x, beta], names=["x", "beta"])
    print("swish is right:")
    print(report.table(rows=3))

    print("\nits formulas:")
    for name, text in tg.formula(Swish).items():
        print(f"  ∂L/∂{name} = {text}")

    # It differentiates twice, draws, trains: β learns to make swish look like ReLU.
    slope = tg.tensor([0.5, 0.5, 0.5], requires_grad=True)
    optimizer = tg.optim.Adam([slope], lr=0.1)
    for _ in range(200):
        batch = tg.randn(64, 3, generator=generator)
        optimizer.zero_grad()
        loss = tg.mse_loss(swish(batch, slope), tg.relu(batch))
        loss.backward()
        optimizer.step()
    print(f"\nβ after learning to be ReLU: {slope.detach()}, loss {loss.item():.5f}")

    print("\nand a broken rule:")
    try:
        check_gradients(tg.function(Forgetful), [x, beta], names=["x", "beta"])
    except GradientError as error:
        print(error)


if __name__ == "__main__":
    main()
