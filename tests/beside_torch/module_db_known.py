"""The samples of PyTorch's modules that differ here, with the reason; see `op_db_known`."""

from .op_db_known import Known

ABSENT: dict[str, str] = {}
"""Classes of PyTorch's list that are not here, and why."""

KNOWN: list[Known] = [
    Known(
        "CTCLoss",
        "PyTorch gives the gradient of the scores before a log_softmax, not that of its input",
        order=1,
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
