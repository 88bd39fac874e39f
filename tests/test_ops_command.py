"""The command `tinygrad-cv ops`: the table of ops."""

import pytest

import tinygrad_cv as tg
from rows import ROWS
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.cli import main

pytestmark = pytest.mark.host  # it prints text


def test_the_table_names_every_op_and_each_of_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    main(["ops"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["op", "input", "orders", "saves", "gradient"]
    named = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert named == sorted(ROWS)
    assert len(lines) == sum(max(1, len(REGISTRY[name].rules)) for name in named)


def test_a_row_holds_the_formula_what_is_saved_and_the_orders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["ops", "tanh", "conv2d", "sign"])
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells == [
        ["tanh", "x", "1, 2", "x", tg.formula(REGISTRY["tanh"])["x"]],
        ["conv2d", "x", "1, 2", "w", "conv_transpose2d(g, w)"],
        ["w", "x", "conv_weight(x, g)"],
        ["b", "-", "sum(g)"],
        ["sign", "-", "-", "(none flows through it)"],
    ]


def test_no_formula_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["ops"])
    vague = {
        line.split()[0]
        for line in capsys.readouterr().out.splitlines()
        if not line.startswith(" ") and "as the shapes have it" in line
    }
    assert vague == {
        *("cat", "stack", "einsum"),  # a part for each of any number of inputs
        *("cumprod", "logcumsumexp", "prod", "recurrence"),  # all elements, moved on by one
    }


def test_an_unknown_op_is_answered_with_what_is_close(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ops", "reluu"])
    assert caught.value.code == 2
    assert "no op is named reluu; did you mean relu, rrelu, relu6?" in capsys.readouterr().err
