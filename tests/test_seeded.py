"""The block in which all that is random by default follows from a seed and a number."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.backend import Seeded, as_generator

pytestmark = pytest.mark.host

SOURCES = (
    lambda: as_generator(None).random(),
    lambda: tg.rand(()).item(),
    random.random,
    lambda: random.gauss(0, 1),
    np.random.rand,
    np.random.randn,  # keeps the second of two for the next call
)
SEEDS, NUMBERS = st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40)
DRAWS = st.lists(st.sampled_from(SOURCES), max_size=6)


def drawn(sources: Any) -> list[float]:
    return [source() for source in sources]


@given(SEEDS, st.lists(st.tuples(NUMBERS, DRAWS), max_size=4), DRAWS, DRAWS, SEEDS)
def test_inside_the_seed_counts_and_outside_nothing_has_happened(
    seed: int, inside: Any, before: Any, after: Any, outer: int
) -> None:
    def start() -> None:
        tg.manual_seed(outer)
        random.seed(outer)
        np.random.seed(outer % 2**32)

    def within(first: Any) -> list[list[float]]:
        seeded, values = Seeded(seed), []
        drawn(first)
        for number, sources in inside:
            with seeded:
                seeded.at(number)
                values.append(drawn(sources))
        return values

    start()
    drawn(before)
    expected = drawn(after)
    start()
    values = within(before)
    assert drawn(after) == expected
    assert within(after) == values  # whatever is outside


@given(SEEDS, NUMBERS, st.integers(1, 1000))
def test_the_stream_of_a_number_is_its_own_and_that_of_numpys_jumps(
    seed: int, number: int, further: int
) -> None:
    with Seeded(seed) as seeded:
        streams = []
        for place in (number, number + further):
            seeded.at(place)
            source = np.random.PCG64(seed).jumped(place % 2**128)
            bits = int(source.random_raw())
            stream = as_generator(None).random(2).tolist()
            assert stream == np.random.Generator(source).random(2).tolist()
            assert random.random() == random.Random(bits).random()
            streams.append(stream)
        assert streams[0] != streams[1]


def test_a_seed_set_inside_holds_inside() -> None:
    state = tg.get_rng_state()
    with Seeded(0) as seeded:
        seeded.at(0)
        tg.manual_seed(5)
        np.random.seed(5)
        assert tg.initial_seed() == 5
        inner = tg.rand(2).tolist(), np.random.rand()
        tg.set_rng_state(tg.manual_seed(5).get_state())
        assert tg.rand(2).tolist() == inner[0]
    assert (tg.get_rng_state() == state).all()
    tg.manual_seed(5)
    assert tg.rand(2).tolist() == inner[0]


def test_numpys_functions_may_draw_from_another_kind_of_bits() -> None:
    bits = np.random.get_bit_generator()
    other = np.random.PCG64(3)
    np.random.set_bit_generator(other)
    try:
        with Seeded(0) as seeded:
            seeded.at(0)
            np.random.rand()
        assert np.random.get_bit_generator() is other
        assert np.random.rand() == np.random.Generator(np.random.PCG64(3)).random()
    finally:
        np.random.set_bit_generator(bits)


def test_an_error_ends_the_block_too() -> None:
    random.seed(1)
    expected = random.Random(1).random()

    def fails() -> None:
        with Seeded(0) as seeded:
            seeded.at(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert random.random() == expected
