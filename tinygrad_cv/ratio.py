"""The fraction that a float was written for."""

from fractions import Fraction


def ratio(x: float) -> Fraction:
    """A simple fraction that rounds to x: 1/10 for 0.1, although the float is a little more.

    Counting with it gives what is meant, where the float would be just beside it: 71 is 0.71 of
    100, and a third of 9 is 3.

    >>> ratio(0.71) * 100
    Fraction(71, 1)
    >>> ratio(1 / 3)
    Fraction(1, 3)
    """
    x = float(x)
    exact, largest = Fraction(x), 1
    while (simple := exact.limit_denominator(largest)) != x and float(simple) != x:
        largest *= 2
    return simple
