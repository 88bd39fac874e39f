"""Where trials run: here, in processes of ours, or on an executor that somebody else made."""

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing import connection, current_process, get_context, parent_process
from typing import Any

from threadpoolctl import threadpool_limits

from tinygrad_cv.backend import set_num_threads
from tinygrad_cv.backend.threads import _available
from tinygrad_cv.data.workers import Settings
from tinygrad_cv.train.search.trials import Objective, Outcome, Task, run

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TINYGRAD_CV_NUM_THREADS",
)
"""What libraries that are loaded later ask for the number of their threads."""

Done = Iterator[tuple[Task, Outcome]]


class Here:
    """This process and thread, one trial after another."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def run(self, tasks: Sequence[Task]) -> Done:
        for task in tasks:
            yield task, run(self.objective, task)

    def end(self, now: bool) -> None:
        """There is nothing to end."""


class Given:
    """An executor of somebody else's; `most` trials are under way at once, or all."""

    def __init__(self, objective: Objective, executor: Executor, most: int | None) -> None:
        self.objective, self.executor, self.most = objective, executor, most
        self.flying: dict[Future[Outcome], Task] = {}

    def run(self, tasks: Sequence[Task]) -> Done:
        waiting = deque(tasks)
        while waiting or self.flying:
            while waiting and (self.most is None or len(self.flying) < self.most):
                task = waiting.popleft()
                self.flying[self.executor.submit(run, self.objective, task)] = task
            done, _ = wait(self.flying, return_when=FIRST_COMPLETED)
            for future in done:
                yield self.flying.pop(future), self._outcome(future)

    def _outcome(self, future: "Future[Outcome]") -> Outcome:
        """What came of a trial; an error of the executor is one too, unless it ends them all."""
        try:
            return future.result()
        except BrokenExecutor as error:
            raise RuntimeError(
                f"the executor of this search broke ({error}); call it again with another one, and "
                "trials that are in the file of `path` are not run again."
            ) from error
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if "pickle" in str(error):
                raise TypeError(_not_sent(error)) from error
            return _lost(error)
        except (Exception, CancelledError) as error:
            return _lost(error)

    def end(self, now: bool) -> None:
        """Take back what has not begun; the executor is its owner's to end."""
        for future in self.flying:
            future.cancel()


def _died() -> Outcome:
    return Outcome("failed", why="its process died: killed, out of memory, or crashed")


def _lost(error: BaseException) -> Outcome:
    return Outcome("failed", why=f"its worker was lost: {type(error).__name__}: {error}")


class Processes:
    """Processes of ours, started afresh, which share the processors out among themselves.

    So few trials are under way that, when a process dies and takes the pool with it, each of them
    can be run again by itself: the one that dies again is the one that failed.
    """

    def __init__(self, objective: Objective, count: int) -> None:
        if getattr(current_process(), "_inheriting", False):
            raise SystemExit(
                "A search starts processes, which import the main program: call it there under "
                'if __name__ == "__main__":, or give max_workers=0.'
            )
        try:
            self.objective = pickle.dumps(objective)
        except Exception as error:
            raise TypeError(_not_sent(error)) from error
        self.count, self.threads = count, max(1, _available() // count)
        self.pool = self._started(count)

    def _started(self, count: int) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            count,
            get_context("spawn"),
            _begin,
            (self.objective, self.threads, Settings.here()),
        )
        try:
            wrong = pool.submit(_wrong).result()
        except BrokenExecutor as error:
            _kill(pool)
            raise RuntimeError(
                "the processes of this search end before their first trial: they import the main "
                'program, which is to call it under if __name__ == "__main__":. With max_workers=0 '
                "there are none."
            ) from error
        except BaseException:
            _kill(pool)
            raise
        if wrong:
            _kill(pool)
            raise TypeError(wrong)
        return pool

    def run(self, tasks: Sequence[Task]) -> Done:
        waiting = deque(tasks)
        flying: dict[Future[Outcome], Task] = {}
        while waiting or flying:
            try:
                while waiting and len(flying) < self.count:
                    flying[self.pool.submit(_run, waiting[0])] = waiting[0]
                    waiting.popleft()
            except BrokenExecutor:
                if not flying:  # it broke while nobody was looking
                    self._restart(self.count)
                    continue
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            suspects = []
            for future in done:
                task = flying.pop(future)
                try:
                    yield task, future.result()
                except BrokenExecutor:
                    suspects.append(task)
            if suspects:
                suspects += flying.values()
                flying.clear()
                for task in suspects:
                    yield task, self._alone(task) if len(suspects) > 1 else _died()
                if waiting:
                    self._restart(self.count)

    def _alone(self, task: Task) -> Outcome:
        """Run a trial in a new process, which may die of it."""
        self._restart(1)
        try:
            return self.pool.submit(_run, task).result()
        except BrokenExecutor:
            return _died()

    def _restart(self, count: int) -> None:
        _kill(self.pool)
        self.pool = self._started(count)

    def end(self, now: bool) -> None:
        """Let the processes end; `now` breaks off what they do."""
        if now:
            _kill(self.pool)
        else:
            self.pool.shutdown()


def _not_sent(error: object) -> str:
    return (
        "processes find the objective by its name, and this one they do not find "
        f"({error}): define it at the top level of a file, or give max_workers=0."
    )


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in [*(getattr(pool, "_processes", None) or {}).values()]:
        process.terminate()
    pool.shutdown(cancel_futures=True)


# ----- in a process ------------------------------------------------------------------------------

_objective: Any = None
_error = ""


def _begin(objective: bytes, threads: int, settings: Settings) -> None:
    """What a new process does first."""
    global _objective, _error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in VARIABLES:
        os.environ[name] = str(threads)
    threadpool_limits(threads)
    set_num_threads(threads)
    try:
        settings.choose()
    except Exception as error:
        _error = f"a process cannot do as the main one does: {error}"
        return
    try:
        _objective = pickle.loads(objective)
    except Exception as error:
        _error = _not_sent(error)


def _end_with_parent() -> None:
    """A process that nobody waits for any more, as after kill -9, is to end too."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _wrong() -> str:
    """What kept the process from beginning; "" if nothing did."""
    return _error


def _run(task: Task) -> Outcome:
    return run(_objective, task)
