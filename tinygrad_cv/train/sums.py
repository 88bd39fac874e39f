"""Sums over samples, and the means that they make."""


class Sums:
    """For each name a sum and the weight of what was added, such as a number of samples.

    They are all that a record is made of, so the sums of several parts of the data may be added.

    >>> sums = Sums()
    >>> sums.add("loss", 2.0 * 3, 3)
    >>> sums.add("loss", 1.0, 1)
    >>> sums.means()
    {'loss': 1.75}
    """

    def __init__(self) -> None:
        self.totals: dict[str, list[float]] = {}

    def add(self, name: str, value: float, weight: float) -> None:
        """Add to the sum of this name."""
        total = self.totals.setdefault(name, [0, 0])
        total[0] += value
        total[1] += weight

    def take(self, other: "Sums") -> None:
        """Add all sums of another."""
        for name, (value, weight) in other.totals.items():
            self.add(name, value, weight)

    def means(self, prefix: str = "", loss: str = "loss") -> dict[str, float]:
        """The means, by names with this prefix; that of the loss by a name of its own."""
        return {
            loss if name == "loss" else prefix + name: value / weight
            for name, (value, weight) in self.totals.items()
        }
