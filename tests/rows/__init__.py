"""One row for each registered op: inputs to try, and an independent forward to compare with."""

from rows import (
    activation,
    conv,
    elementwise,
    image,
    index,
    linalg,
    loss,
    noise,
    norm,
    pool,
    recurrent,
    reduce,
    shape,
    sort,
)
from rows.row import Case, Row

FAMILIES = (
    activation,
    conv,
    elementwise,
    image,
    index,
    linalg,
    loss,
    noise,
    norm,
    pool,
    recurrent,
    reduce,
    shape,
    sort,
)
ROWS: dict[str, Row] = {row.name: row for family in FAMILIES for row in family.ROWS}

__all__ = ["ROWS", "Case", "Row"]
