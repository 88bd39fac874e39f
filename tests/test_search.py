"""Search of hyperparameters: spaces, trials, what stops them, where they run, files, pictures."""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from searched import mortal
from tinygrad_cv import data, nn, optim, train, viz
from tinygrad_cv.train import search
from tinygrad_cv.train.search import spaces

pytestmark = pytest.mark.host

LR = search.log_uniform(1e-6, 1e-3)
# The fine search of the deck "training neural networks": accuracy, lr, reg.
FINE = [
    (0.527, 5.340517e-04, 4.097824e-01),
    (0.461, 1.028377e-04, 1.220193e-02),
    (0.530, 5.808183e-04, 8.259964e-02),
    (0.531, 9.471549e-04, 1.433895e-03),
    (0.509, 9.752279e-04, 2.850865e-03),
]
FINE_SPACE = {"lr": search.log_uniform(1e-4, 1e-3), "reg": search.log_uniform(1e-4, 1)}


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder to write to."""
    with chdir(tmp_path_factory.mktemp("search")):
        yield


def told(result: search.Result) -> list[str]:
    """All of the rows but the time that they took; a NaN is equal to a NaN."""
    return [
        repr((r.number, r.params, r.seed, r.status, r.values, r.reports, r.why))
        for r in result.rows
    ]


def here(objective: Callable[[Any], Any], points: list[dict[str, Any]], **options: Any) -> Any:
    return search.replay(objective, points, max_workers=0, **options)


def deck() -> search.Result:
    """The deck's fine search."""
    points = [{"lr": lr, "reg": reg} for _, lr, reg in FINE]
    return here(lambda trial: FINE[trial.number][0], points, space=FINE_SPACE)


# ----- spaces ------------------------------------------------------------------------------------

positive = st.floats(1e-9, 1e9)


@st.composite
def ranges(draw: Callable[[Any], Any]) -> spaces.Range:
    if draw(st.booleans()):
        log = draw(st.booleans())
        low = draw(st.integers(1 if log else -1000, 1000))
        return spaces.Range(low, low + draw(st.integers(1, 2000)), True, log)
    low, factor = draw(positive), draw(st.floats(1.001, 1e6))
    if draw(st.booleans()):
        return search.log_uniform(low, low * factor)
    return search.uniform(-low, low * factor)


@given(ranges(), st.integers(0, 2**64))
def test_draws_lie_in_the_range(space: spaces.Range, seed: int) -> None:
    value = space.draw(np.random.default_rng(seed))
    assert space.low <= value <= space.high
    assert isinstance(value, int) == space.integer
    assert 0 <= space.share(value) <= 1


@pytest.mark.parametrize(
    ("space", "scale"),
    [
        (search.uniform(-3, 5), lambda x: (x + 3) / 8),
        (search.log_uniform(1e-6, 1e-3), lambda x: (np.log10(x) + 6) / 3),
        (search.uniform(1, 4, integer=True), lambda x: (x - 0.5) / 4),
        (search.grid([1, 10, 50, 3]), lambda x: (np.searchsorted([1, 3, 10, 50], x) + 0.5) / 4),
    ],
)
def test_draws_are_even_on_the_scale(space: Any, scale: Callable[[Any], Any]) -> None:
    generator = np.random.default_rng(0)
    drawn = scale(np.array([space.draw(generator) for _ in range(4000)]))
    counts, _ = np.histogram(drawn, bins=4, range=(0, 1))
    assert abs(counts - 1000).max() < 150  # five standard deviations


@given(ranges(), st.floats(0, 1), st.floats(1.1, 100), st.booleans())
def test_a_narrower_range_has_the_best_in_it(
    space: spaces.Range, share: float, by: float, extend: bool
) -> None:
    scale = np.log if space.log else np.asarray
    first, last = scale(space.low), scale(space.high)
    best = space.at((1 - share) * first + share * last)
    narrow, note = space.narrowed(best, by, extend)
    assert narrow.log == space.log
    assert narrow.integer == space.integer
    if not extend:
        assert space.low <= narrow.low < narrow.high <= space.high
        assert "extended" not in note
    slack = 1e-9 * abs(best)
    if space.integer:
        assert narrow.low <= best <= narrow.high
        return
    assert narrow.low - slack <= best <= narrow.high + slack
    if "negative" in note or "narrow" in note:
        return
    width = (last - first) / by
    assert scale(narrow.high) - scale(narrow.low) == pytest.approx(width, rel=1e-6, abs=1e-9)
    middle = (scale(narrow.high) + scale(narrow.low)) / 2
    if not note or extend:
        assert middle == pytest.approx(scale(best), rel=1e-6, abs=1e-6 * max(1, abs(last - first)))
    else:  # it was moved to the end, and is as wide as ever
        assert narrow.low == pytest.approx(space.low) or narrow.high == pytest.approx(space.high)


@pytest.mark.parametrize(
    ("values", "best", "extend", "expected"),
    [
        ([50, 100, 150], 100, False, [75, 100, 125]),
        ([50, 100, 150], 150, False, [117, 133, 150]),
        ([50, 100, 150], 150, True, [125, 150, 175]),
        ([0.0, 0.25, 0.5], 0.0, True, [0.0, 1 / 12, 2 / 12]),
        ([1e-4, 1e-3, 1e-2], 1e-3, False, [10**-3.5, 1e-3, 10**-2.5]),
        ([7], 7, False, [7]),
        ([50, 100, 150], 120, False, [113, 125, 138]),  # replayed, and none of them
        ([50, 100, 150], 180, False, [117, 133, 150]),
        ([1, 2, 3], 2, False, [2, 3]),
    ],
)
def test_a_grid_is_narrowed_between_the_neighbours(
    values: Any, best: Any, extend: bool, expected: Any
) -> None:
    narrow, note = search.grid(values).narrowed(best, 3, extend)
    assert [*narrow.values] == pytest.approx(expected)
    ends = len(values) > 1 and not values[0] < best < values[-1]
    assert ("declared end" in note) == ends


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: search.log_uniform(0, 1), ValueError, "numbers above 0"),
        (lambda: search.uniform(2, 1), ValueError, "from a smaller number to a greater"),
        (lambda: search.uniform(1, 1), ValueError, "from a smaller number to a greater"),
        (lambda: search.uniform(0, math.inf), TypeError, "finite numbers; got inf"),
        (lambda: search.uniform(0, "1"), TypeError, "finite numbers; got '1'"),
        (lambda: search.uniform(0.5, 2, integer=True), ValueError, "between whole numbers"),
        (lambda: search.grid([]), ValueError, "got none"),
        (lambda: search.grid(["a"]), TypeError, "See choice"),
        (lambda: search.choice([]), ValueError, "got none"),
        (lambda: search.choice("adam"), TypeError, "one string 'adam'"),
        (lambda: search.choice([print]), TypeError, "Give it a name"),
        (lambda: search.choice([math.nan]), TypeError, "finite numbers.*got nan"),
        (lambda: here(len, [{"x": 1}], bogus=1), TypeError, "no option 'bogus'; it has metric"),
        (lambda: LR.grid(0), ValueError, "points is.*1 or more; got 0"),
        (lambda: search.random_search(len, {"lr": (1, 2)}, 1), TypeError, "'lr' is to be one of"),
        (lambda: search.random_search(len, [LR], 1), TypeError, "got list"),
        (lambda: search.random_search(len, {"lr": LR}, 0), ValueError, "trials is.* got 0"),
        (lambda: search.random_search(len, {"lr": LR}, 1, seed=-1), ValueError, "seed is.*-1"),
        (lambda: search.random_search(len, {"lr": LR}, 1, mode="best"), ValueError, "'best'"),
        (lambda: search.random_search(len, {"lr": LR}, 1, metric="x"), ValueError, "a high x"),
        (lambda: search.random_search(3, {"lr": LR}, 1), TypeError, "function of a trial; got 3"),
        (lambda: search.random_search(len, {"lr": LR}, 1, max_workers=-1), ValueError, "got -1"),
        (lambda: search.random_search(len, {"lr": LR}, 1, executor=3), TypeError, "got int"),
        (lambda: search.random_search(lambda t: 1, {"lr": LR}, 1), TypeError, "top level of a"),
        (lambda: search.grid_search(len, {"lr": LR}), ValueError, "lr: log_uniform.*points=5"),
        (lambda: search.replay(len, []), ValueError, "there are no points"),
        (lambda: search.replay(len, [{"a": 1}], {"lr": LR}), ValueError, "point 0 lacks 'lr'"),
        (lambda: search.replay(len, [{"lr": None}], {"lr": LR}), ValueError, "is None, and no num"),
        (lambda: here(len, [{"status": 1}]), ValueError, "'status' is a column of the table"),
        (lambda: here(len, [{}, {"val_accuracy": 1}]), ValueError, "name of another column"),
        (lambda: here(len, [{"a": 1}], halving=3), TypeError, "a SuccessiveHalving, or None; got"),
        (lambda: here(len, [{"a": math.inf}], path="i.jsonl"), TypeError, "a file has.*leave out"),
        (lambda: search.SuccessiveHalving(3, 1), ValueError, "first <= last"),
        (lambda: search.SuccessiveHalving(1, 9, 1), ValueError, "factor >= 2"),
        (lambda: search.SuccessiveHalving(1, 9.5), ValueError, "whole number; got 9.5"),
        (lambda: deck().refine(by=1), ValueError, "above 1; got 1"),
        (lambda: here(lambda t: None, [{"a": 1}]).best, ValueError, "none of 1 is done"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_numbers_may_be_numpys() -> None:
    space = {
        "a": search.uniform(np.float32(0.5), np.int64(2)),
        "b": search.grid(np.arange(3)),
        "c": search.choice(np.array(["x", "y"])),
    }
    result = search.random_search(lambda t: np.float32(1), space, np.int64(2), max_workers=0)
    assert repr(space) == "{'a': uniform(0.5, 2), 'b': grid([0, 1, 2]), 'c': choice(['x', 'y'])}"
    options: Any = {"explosion": np.float32(2), "seed": np.int64(1), "path": "numpy.jsonl"}
    again = here(lambda t: 1, [{"a": np.float64(0.5)}], **options)
    assert search.grid_search(len, {"a": LR}, np.int64(3), max_workers=np.int64(0)).rows[2:]
    assert (len(result.rows), type(again.best.params["a"])) == (2, float)


# ----- which trials there are --------------------------------------------------------------------


def test_trials_follow_from_the_seed_and_their_number() -> None:
    space = {"lr": LR, "n": search.uniform(1, 9, integer=True), "o": search.choice(["a", (1, 2)])}

    def objective(trial: search.Trial) -> float:
        drawn = [tg.rand(1).item(), np.random.rand(), trial.generator().random()]
        return sum(drawn)

    before = tg.get_rng_state(), np.random.get_state()[1].tolist()
    few = search.random_search(objective, space, 3, seed=5, max_workers=0)
    assert few.rows[0].params != few.rows[1].params
    assert len({r.seed for r in few.rows}) == 3
    many = search.random_search(objective, space, 6, seed=5, max_workers=0)
    assert told(many)[:3] == told(few)
    assert len({row.values["val_accuracy"] for row in many.rows}) == 6
    other = search.random_search(objective, space, 3, seed=6, max_workers=0)
    assert not {row.seed for row in other.rows} & {row.seed for row in many.rows}
    # And nothing of that is seen outside.
    assert before[0].equal(tg.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_a_grid_has_every_combination() -> None:
    space = {"h": search.grid([50, 100]), "lr": LR, "o": search.choice(["x", "y"])}
    result = search.grid_search(
        lambda t: t["h"] * t["lr"], space, points={"lr": 4}, mode="min", max_workers=0
    )
    found = [(r.params["h"], r.params["lr"], r.params["o"]) for r in result.rows]
    rates = [1e-6, 1e-5, 1e-4, 1e-3]
    expected = [(h, lr, o) for h in (50, 100) for lr in rates for o in "xy"]
    assert [(h, o) for h, _, o in found] == [(h, o) for h, _, o in expected]
    assert [lr for _, lr, _ in found] == pytest.approx([lr for _, lr, _ in expected])
    assert result.best.number == 0  # the first of two equals
    assert [str(edge.name) for edge in result.edges] == ["lr"]  # two values have no inside


# ----- what came of it ---------------------------------------------------------------------------


def test_the_edge_is_that_of_the_declared_range() -> None:
    result = deck()
    [edge] = result.edges
    assert (edge.name, edge.side, edge.end) == ("lr", "greater", 1e-3)
    assert result.best.params["lr"] < max(row.params["lr"] for row in result.rows)
    assert "at the edge: lr 0.0009472 lies at the declared end 0.001" in str(result)
    # The same values, drawn from a wider range, lie at no edge, though they are the greatest.
    wide = {"lr": search.log_uniform(1e-6, 1), "reg": FINE_SPACE["reg"]}
    points = [{"lr": lr, "reg": reg} for _, lr, reg in FINE]
    inside = here(lambda trial: trial["lr"], points, space=wide)
    assert inside.best.params["lr"] == max(point["lr"] for point in points)
    assert inside.edges == []


def test_a_point_may_lie_beyond_a_logarithmic_range() -> None:
    """As one without regularization, which is at no place of the scale."""
    space = {"reg": search.log_uniform(1e-4, 1)}
    result = here(
        lambda trial: -trial["reg"], [{"reg": 0.0}, {"reg": 0.1}, {"reg": 9}], space=space
    )
    assert [edge.side for edge in result.edges] == ["smaller"]
    narrow: Any = result.refine(by=4)["reg"]
    assert (narrow.low, narrow.high) == pytest.approx((1e-4, 1e-3))
    assert viz.search(result).axes[0].get_xlim()[0] < 0


def test_refine_goes_from_coarse_to_fine() -> None:
    coarse = {"lr": LR, "reg": search.log_uniform(1e-5, 1e5), "o": search.choice(["a", "b"])}
    result = here(
        lambda t: 0.482, [{"lr": 4.296863e-04, "reg": 6.642555e-01, "o": "a"}], space=coarse
    )
    fine: Any = result.refine(by=3)
    assert (fine["lr"].low, fine["lr"].high) == pytest.approx((1e-4, 1e-3))  # the deck's
    assert np.log10(fine["reg"].high / fine["reg"].low) == pytest.approx(10 / 3)
    assert fine["o"] is coarse["o"]
    assert "kept within the declared end 0.001" in fine.notes["lr"]
    assert "lr   log_uniform(0.0001, 0.001): kept within" in str(fine)
    beyond: Any = result.refine(by=3, extend=True)
    assert math.sqrt(beyond["lr"].low * beyond["lr"].high) == pytest.approx(4.296863e-04)
    assert "extended beyond the declared end 0.001" in beyond.notes["lr"]
    low: Any = here(lambda t: 1, [{"p": 0.01}], space={"p": search.uniform(0, 0.6)})
    assert low.refine(extend=True)["p"].low == 0.0  # nothing negative comes of it


@given(st.lists(st.none() | st.floats(-5, 5) | st.just(math.nan), min_size=1, max_size=8))
def test_the_best_comes_first_and_what_failed_last(values: list[float | None]) -> None:
    for mode, choose in (("max", max), ("min", min)):
        result = here(lambda t: values[t.number], [{"x": 1}] * len(values), mode=mode)
        sound = [v for v in values if v is not None and math.isfinite(v)]
        assert [r.status for r in result.rows].count("done") == len(sound)
        ranked = [row.values.get("val_accuracy") for row in result.ranked()]
        assert ranked[: len(sound)] == sorted(sound, reverse=mode == "max")
        lines = str(result).splitlines()
        assert len(lines) >= len(values) + 2
        if sound:
            assert result.best.number == values.index(choose(sound))
        else:
            assert lines[-1] == f"no trial is done, of {len(values)}"


def test_failures_are_rows() -> None:
    def objective(trial: search.Trial) -> Any:
        answers: list[Any] = [
            0.5,
            math.nan,
            None,
            "high",
            {"loss": 1},
            {"val_accuracy": 0.25, "loss": tg.tensor(2.0)},
        ]
        if trial.number == 6:
            raise ValueError("no\nsuch thing")
        if trial.number == 7:
            sys.exit(3)
        return answers[trial.number]

    result = here(objective, [{"x": k} for k in range(8)])
    assert [row.status for row in result.rows] == ["done"] + ["failed"] * 4 + ["done"] + [
        "failed"
    ] * 2
    assert result.rows[1].why == "val_accuracy is nan"
    assert "no val_accuracy, but None" in result.rows[2].why
    assert "but high" in result.rows[3].why
    assert "but a mapping of loss" in result.rows[4].why
    assert result.rows[5].values == {"val_accuracy": 0.25, "loss": 2.0}
    assert result.rows[6].why == "ValueError: no such thing"
    assert result.rows[7].why == "SystemExit: 3"


# ----- what stops a trial ------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.01, 100) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=9),
    st.sampled_from([1.5, 3.0, None]),
)
def test_an_explosion_of_the_cost_stops_a_trial(costs: list[float], times: float | None) -> None:
    seen = []

    def objective(trial: search.Trial) -> float:
        for k, cost in enumerate(costs):
            seen.append(cost)
            if trial.report(k, cost=cost):
                assert trial.should_stop
                break
        return 1.0

    [row] = here(objective, [{"x": 1}], explosion=times).rows
    end = len(costs)
    for k, cost in reversed([*enumerate(costs)]):
        if times is not None and (not math.isfinite(cost) or cost > times * costs[0]):
            end = k + 1
    assert len(seen) == end
    stopped = times is not None and not (
        math.isfinite(costs[end - 1]) and costs[end - 1] <= times * costs[0]
    )
    assert row.status == ("stopped" if stopped else "done")
    assert row.reports == {k + 1: float(k) for k in range(end)}


def test_what_is_minimized_is_its_own_cost() -> None:
    def objective(trial: search.Trial) -> float:
        return next(loss for loss in (1.0, 2.9, 3.1, 0.1) if trial.report(loss) or loss == 0.1)

    [row] = here(objective, [{"x": 1}], metric="val_loss").rows
    assert (row.status, row.values) == ("stopped", {"val_loss": 3.1})
    [row] = here(lambda t: [t.report(0.5), None][1], [{"x": 1}]).rows
    assert (row.status, row.values) == ("done", {"val_accuracy": 0.5})  # the last report
    [row] = here(lambda t: t.report(0.5, step=3) or t.report(0.5, step=3), [{"x": 1}]).rows
    assert "steps go up from 1; after 3 came 3" in row.why


scores = st.lists(
    st.lists(st.integers(0, 5) | st.just(math.nan), min_size=9, max_size=9), min_size=1, max_size=10
)


@given(scores, st.sampled_from([(1, 9, 3), (2, 5, 2), (9, 9, 2)]), st.sampled_from(["max", "min"]))
def test_halving_keeps_the_best_of_each_rung(
    table: list[list[float]], shape: tuple[int, int, int], mode: Any
) -> None:
    first, last, factor = shape
    made = [0] * len(table)

    def objective(trial: search.Trial) -> float:
        for value in table[trial.number]:
            made[trial.number] += 1
            if trial.report(value):
                break
        return value

    halving = search.SuccessiveHalving(first, last, factor)
    points = [{"x": k} for k in range(len(table))]
    result = here(objective, points, mode=mode, halving=halving, explosion=None)
    # The same by hand: who has a NaN on the way is out; of equals the earlier trial goes on.
    alive, ends, steps = [*range(len(table))], dict[int, int](), [0] * len(table)
    for budget in halving.budgets:
        for k in alive:
            upto = next((i + 1 for i in range(budget) if math.isnan(table[k][i])), budget)
            ends[k], steps[k] = upto, steps[k] + upto
        sound = [k for k in alive if not any(map(math.isnan, table[k][:budget]))]
        way = -1 if mode == "max" else 1
        sound.sort(key=lambda k: (way * table[k][budget - 1], k))
        finished = sound
        alive = sound[: max(1, len(alive) // factor)]
    assert [max(row.reports) for row in result.rows] == [ends[k] for k in range(len(table))]
    assert [row.number for row in result.rows if row.status == "done"] == sorted(finished)
    assert made == steps


def wobbly(trial: search.Trial) -> float:
    """Its runs take different times, and draw from the default generator."""
    value = 0.0
    for step in range(1, 10):
        value = tg.rand(1).item() + trial["x"] * step
        time.sleep(((trial.number * 7 + step) % 5) * 2e-4)
        if trial.report(value):
            break
    return value


def test_the_table_does_not_depend_on_who_is_quicker() -> None:
    space = {"x": search.uniform(-1, 1)}
    halving = search.SuccessiveHalving(1, 9)
    one = search.random_search(wobbly, space, 12, halving=halving, max_workers=0)
    assert [row.status for row in one.rows].count("done") == 1
    with ThreadPoolExecutor(5) as executor:
        for workers in (None, 3):
            many = search.random_search(
                wobbly, space, 12, halving=halving, executor=executor, max_workers=workers
            )
            assert told(many) == told(one)


class Unsteady(ThreadPoolExecutor):
    """Some of what it is given comes to nothing."""

    def submit(self, fn: Any, /, *args: Any, **options: Any) -> Any:
        task = args[-1]
        lost = Future[Any]()
        if task.number == 1:
            lost.set_exception(ConnectionError("the worker is gone"))
            return lost
        return super().submit(fn, *args, **options)


def test_a_worker_of_somebody_elses_that_is_lost_is_a_row() -> None:
    with Unsteady(1) as executor:
        result = search.replay(lambda t: t["x"], [{"x": k} for k in range(3)], executor=executor)
    assert [row.status for row in result.rows] == ["done", "failed", "done"]
    assert "its worker was lost: ConnectionError: the worker is gone" in result.rows[1].why


def test_processes_give_the_same_table_and_one_may_die() -> None:
    points: list[Any] = [{"x": "a"}, {"x": "b"}, {"x": "dies"}]
    before = tg.get_num_threads()
    here_ = here(mortal, points[:2])
    result = search.replay(mortal, points, max_workers=1)
    values = [row.values["val_accuracy"] for row in here_.rows]
    assert [row.values.get("val_accuracy") for row in result.rows] == [*values, None]
    assert [row.status for row in result.rows] == ["done", "done", "failed"]
    assert result.rows[2].why == "its process died: killed, out of memory, or crashed"
    assert tg.get_num_threads() == before


def test_a_callback_of_the_trainer_reports() -> None:
    points = data.TensorDataset([[1.0, 2.0], [2.0, 1.0]] * 8, [0, 1] * 8)
    loader = data.DataLoader(points, batch_size=8)

    def objective(trial: search.Trial) -> float:
        model = nn.Linear(2, 2, generator=trial.generator())
        trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=trial["lr"]))
        monitor = "val_accuracy" if trial["lr"] < 1 else "f1"
        callbacks = [trial.callback(monitor), train.Checkpoint(trial.folder, every_epochs=1)]
        return trainer.fit(
            loader, loader, 4, False, callbacks=callbacks, resume=trial.folder
        )[-1]["val_accuracy"]  # fmt: skip

    space = {"lr": search.grid([1e-4, 0.1, 2.0])}
    halving = search.SuccessiveHalving(2, 4, factor=2)
    options: Any = {"halving": halving, "max_workers": 0, "folder": "trials"}
    result = search.grid_search(objective, space, **options)
    assert sorted(max(row.reports, default=0) for row in result.rows) == [0, 2, 4]
    assert "looks at 'f1', and the record has loss" in result.rows[2].why
    assert {path.name for path in Path("trials").iterdir()} >= {"trial_0000", "trial_0001"}


# ----- files -------------------------------------------------------------------------------------


def objective_of_file(trial: search.Trial) -> float:
    for step in range(1, 5):
        if trial.report(trial["x"] * step if trial.number != 2 else math.nan):
            break
    return trial["x"]


OF_FILE: dict[str, Any] = {
    "space": {"x": search.uniform(-1, 1), "o": search.choice(["a", ("b", None)])},
    "trials": 6,
    "halving": search.SuccessiveHalving(1, 4, 2),
    "max_workers": 0,
}


@given(st.floats(0, 1))
def test_a_file_goes_on_wherever_it_was_cut(share: float) -> None:
    path = Path("cut.jsonl")
    path.unlink(missing_ok=True)
    whole = search.random_search(objective_of_file, path=path, **OF_FILE)
    contents = path.read_bytes()
    header = contents.index(b"\n") + 1
    cut = header + round(share * (len(contents) - header))
    path.write_bytes(contents[:cut])
    ran = []

    def objective(trial: search.Trial) -> float:
        ran.append(trial.number)
        return objective_of_file(trial)

    again = search.random_search(objective, path=path, **OF_FILE)
    assert told(again) == told(whole)
    kept = contents[:cut].count(b"\n")
    assert len(ran) == contents.count(b"\n") - kept
    lines = path.read_bytes().splitlines()
    assert len(lines) == contents.count(b"\n")
    for line in lines:
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    # What was an option's tuple is a list in the file.
    dicts = json.loads(json.dumps(whole.to_dicts()))
    assert search.load(path) == dicts
    assert {row["status"] for row in dicts} == {"done", "stopped"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"x": search.uniform(0, 1)}}, "is of a search with space"),
        ({"seed": 1}, "with seed = 0, and this one has 1"),
        ({"metric": "loss", "mode": "max"}, "with metric = val_accuracy"),
        ({"mode": "min"}, "with mode = max"),
        ({"trials": 7}, "of 6 trials"),
        ({"halving": None}, "with halving"),
        ({"explosion": None}, "with explosion"),
    ],
)
def test_a_file_of_another_search_is_refused(change: dict[str, Any], message: str) -> None:
    path = Path("other.jsonl")
    path.unlink(missing_ok=True)
    search.random_search(objective_of_file, path=path, **OF_FILE)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        search.random_search(objective_of_file, path=path, **OF_FILE | change)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("lr,reg\n1,2\n", "line 1 is no line of a search"),
        ('{"lr": 1}\n', "is no file of a search"),
        ("what", "line 1 is no line of a search"),
        ("{header}\nabc\n", "line 2 is no line of a search"),
        ('{header}\n{"trial": 0}\n', "line 2 is no trial of a search"),
        ("{header}\n[]\n", "line 2 is no trial of a search"),
    ],
)
def test_what_is_no_file_of_a_search_is_left_alone(contents: str, message: str) -> None:
    path = Path("strange.jsonl")
    path.unlink(missing_ok=True)
    search.random_search(objective_of_file, path=path, **OF_FILE)
    header = path.read_text().splitlines()[0]
    path.write_text(contents.replace("{header}", header))
    with pytest.raises(ValueError, match=message):
        search.random_search(objective_of_file, path=path, **OF_FILE)
    assert path.read_text() == contents.replace("{header}", header)


def test_what_failed_is_run_again_if_that_is_wished() -> None:
    broken, path = True, Path("retry.jsonl")

    def objective(trial: search.Trial) -> float:
        if broken and trial.number == 1:
            raise OSError("disk full")
        return trial["x"]

    points = [{"x": 1.0}, {"x": 2.0}]
    assert here(objective, points, path=path).rows[1].status == "failed"
    broken = False
    assert here(objective, points, path=path).rows[1].status == "failed"
    assert here(objective, points, path=path, retry=True).rows[1].status == "done"
    assert here(objective, points, path=path).best.number == 1


def test_ctrl_c_leaves_a_file_to_go_on_from() -> None:
    path, ran = Path("stop.jsonl"), []

    def objective(trial: search.Trial) -> float:
        ran.append(trial.number)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return trial["x"]

    points = [{"x": k} for k in range(5)]
    with pytest.raises(KeyboardInterrupt):
        here(objective, points, path=path)
    assert [row.status for row in here(objective, points, path=path).rows] == ["done"] * 5
    assert ran == [0, 1, 2, 2, 3, 4]


def test_a_file_survives_kill_9(tmp_path: Path) -> None:
    """What another process reads at that moment is what stays: no row waits in a buffer of ours."""
    path, killed, ran = tmp_path / "k.jsonl", tmp_path / "killed.jsonl", []

    def objective(trial: search.Trial) -> float:
        if not ran and trial.number == 3:
            shutil.copyfile(path, killed)
        return trial["x"]

    options: Any = {"space": {"x": search.uniform(0, 1)}, "trials": 6, "max_workers": 0}
    whole = search.random_search(objective, path=path, **options)

    def noted(trial: search.Trial) -> float:
        ran.append(trial.number)
        return objective(trial)

    assert told(search.random_search(noted, path=killed, **options)) == told(whole)
    assert ran == [3, 4, 5]


def test_a_bar_is_shown_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    here(lambda t: 1, [{"x": 1}])
    assert capsys.readouterr() == ("", "")
    here(lambda t: 0.25, [{"x": 1}], progress=True)
    assert "best val_accuracy 0.25" in capsys.readouterr().err


# ----- pictures ----------------------------------------------------------------------------------


def mixed() -> search.Result:
    """A result with all that can come of a trial."""

    def objective(trial: search.Trial) -> float:
        if trial.number == 1:
            raise ValueError("<b>&</b>")
        trial.report(0.1 * trial.number, cost=1)
        if trial.number == 2:
            trial.report(0.9, cost=99)
        return 0.1 * trial.number if trial.number != 2 else 0.9

    points = [
        {"lr": lr, "o": o, "h": h}
        for lr, o, h in [(1e-5, "a", 50), (1e-4, "b", 100), (5e-4, "a", 150), (1e-5, "b", 150)]
    ]
    space = {"lr": LR, "o": search.choice(["a", "b"]), "h": search.grid([50, 100, 150])}
    return here(objective, points, space=space)


def test_viz_search_draws_the_declared_range() -> None:
    figure = viz.search(deck())
    assert figure.get_suptitle() == (
        "best val_accuracy 0.531 at lr 0.000947, reg 0.00143\n"
        "on the border of what was searched: try greater lr"
    )
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim()[0] < 1e-4 < 1e-3 < axes.get_xlim()[1]
    trials = [{"lr": lr, "val_accuracy": a} for a, lr, _ in FINE]
    # What lies at the end of the drawn values, and far from the declared ones, is no edge.
    trials.append({"lr": 2e-3, "val_accuracy": 0.9})
    assert "border" in viz.search(trials).get_suptitle()
    for declared in ((1e-5, 1.0), search.log_uniform(1e-5, 1)):
        assert "border" not in viz.search(trials, ranges={"lr": declared}).get_suptitle()
    with pytest.raises(TypeError, match="'lr' is to be \\(low, high\\) or a space; got 3"):
        viz.search(trials, ranges={"lr": 3})  # type: ignore[dict-item]


def test_viz_search_tells_stopped_from_failed_trials() -> None:
    figure = viz.search(mixed(), y="h")
    places = {
        str(drawn.get_label()).partition(":")[0]: drawn.get_offsets().tolist()
        for drawn in figure.axes[0].collections
    }
    assert places["failed"] == [[1e-4, 100]]
    assert places["stopped"] == [[5e-4, 150]]  # though its value was the greatest
    assert places["best"] == [[1e-5, 150]]
    assert figure.get_suptitle().endswith("try greater h")
    options = viz.search(mixed(), x="o")
    assert [text.get_text() for text in options.axes[0].get_xticklabels()] == ["a", "b"]


def test_viz_search_of_what_failed_altogether() -> None:
    result = here(lambda t: None, [{"lr": 1e-4}, {"lr": 1e-5}], space={"lr": LR})
    figure = viz.search(result)
    assert figure.get_suptitle() == "every trial failed"
    assert [str(drawn.get_label()) for drawn in figure.axes[0].collections] == ["failed: 2"]


def test_viz_search_makes_a_page() -> None:
    viz.search(mixed(), "a.html")
    text = Path("a.html").read_text(encoding="utf-8")
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in text
    assert "<b>&" not in text
    assert text.count("<tr class=") == 4
    assert text.count('<img alt="') == 2
    assert 'role="alert" >on the border of what was searched: try greater h' in text
    # A list of mappings has a page too, the same one each time.
    for page in ("b.html", "c.html"):
        viz.search([{"lr": 1.0, "val_accuracy": None}, {"lr": 2.0, "val_accuracy": 0.5}], page)
    text = Path("b.html").read_text(encoding="utf-8")
    assert text == Path("c.html").read_text(encoding="utf-8")
    assert text.count("<tr class=") == 2
