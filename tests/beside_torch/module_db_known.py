"""The samples of PyTorch's modules that differ here, with the reason; see `op_db_known`."""

from .op_db_known import Known

ABSENT: dict[str, str] = {}
"""Classes of PyTorch's list that are not here, and why."""

KNOWN: list[Known] = [
    Known(
        "LPPool?d",
        "a power is one of |x| here, and of a negative x NaN in PyTorch",
        lambda sample: sample.construct.args[0] % 1 != 0,
    ),
]

KNOWN_ACCEPTED: list[Known] = [
    Known(
        pattern,
        "floats of several dtypes are promoted",
        lambda sample: sample.fails.startswith(("RNN input dtype", "expected scalar type")),
    )
    for pattern in ("RNN", "LSTM", "GRU", "NLLLoss")
]
