"""Every name of PyTorch's that a program could use is here, or says what to use instead."""

import absent


def test_each_name_is_here_or_says_so() -> None:
    assert absent.missing() == {}, "see python -m tests.absent"
