"""What a program does with the same matrix at each step of a sequence, done for all steps at once.

A network that reads a sequence multiplies what it has at each step t by the same matrix. A product
is made row by row, so one product of the stacked rows gives all of them, as it does for whatever
else works on each row by itself, such as the cross-entropy of a row of scores:

    [x_1; x_2; ...; x_T] W = [x_1 W; x_2 W; ...; x_T W].

On the way back the gradient of the matrix is a sum over the steps, and a sum of products over rows
is one product over all of them; so are the gradients of a bias, and of a table that rows were
looked up in:

    Σ_t x_tᵀ g_t = [x_1; x_2; ...; x_T]ᵀ [g_1; g_2; ...; g_T].

It is one large product, which takes less time than many small ones, in place of T calls; and the
T - 1 additions are gone. Only the order in which numbers are added is another one.

What may be done at once is what does not wait for one another (`Graph.apart`): the x_t of a
recurrence x_t+1 = f(x_t W) do, and a W that is written in between comes after some products and
before others. Stacking copies nothing where the x_t are made by the program: each is computed where
it lies in the stack (`Instruction.placed`).
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.program.fuse import DRAWS, REAL, dependencies
from tinygrad_cv.program.instructions import Instruction, Program, Value, values_in
from tinygrad_cv.program.places import is_contiguous, is_same_place, size

FEWEST = 4
"""How many steps are worth being done at once."""

FEWEST_TERMS = 24
"""How many small terms are worth being added up in one call."""

SMALL = 1 << 16
"""Up to how many bytes of a result a call is so short that the number of calls counts."""

FEW = 1 << 14
"""Up to how many bytes what lies elsewhere is copied to a stack, in less time than a call takes."""

BY_ROWS = {"cross_entropy", "cross_entropy_backward"}
"""What makes each row of its results of that row of all of its arguments."""

BY_ELEMENTS = REAL | {"pointwise", "astype", "relu", "relu_backward", "where", "positive"}
"""What makes each element of its results of that element of its arguments, which are broadcast."""


def at_once(program: Program) -> Program:
    """Do for all steps at once what a program does at each, as far as it can be."""
    if len(program.instructions) < 2 * FEWEST:
        return program
    _share_constants(program)
    stacks = Stacks(program)
    _side_by_side(program, stacks)
    sums = _sums(program, stacks)
    graph = Graph(program)
    summed = {i for s in sums for i in (*s.additions, *(i for t in s.terms for i in t.makers))}
    for alike in _alike(i for i in program.instructions if i not in summed):
        for together in graph.apart(alike):
            for members in stacks.fitting((i, (*i.reads(), *i.outputs)) for i in together):
                if graph.are_apart(members) and (work := _of_all_steps(members, stacks)):
                    graph.join(members, work)
    for s in sorted(sums, key=lambda s: -sum(stacks.lie(t.rows) for t in s.terms)):
        _sum_at_once(s, stacks, graph)
    program.instructions = _turned_once(graph.instructions())
    return program


# ----- what waits for what -----------------------------------------------------------------------


@dataclass(eq=False)
class Node:
    """Instructions that are done one after another, and the nodes that come before them."""

    work: list[Instruction]
    before: set["Node"] = field(default_factory=set)


class Graph:
    """The instructions of a program, and which of them wait for which."""

    def __init__(self, program: Program) -> None:
        self.order = [Node([i]) for i in program.instructions]
        self.node = dict(zip(program.instructions, self.order, strict=True))
        for node, needs in zip(self.order, dependencies(program.instructions), strict=True):
            node.before = {self.order[k] for k in needs}
        self._look()

    def _look(self) -> None:
        """For each node the set of those it waits for, as the bits of a number."""
        self.bit = {node: 1 << k for k, node in enumerate(self.order)}
        self.above: dict[Node, int] = {}
        for node in self.order:
            found = 0
            for other in node.before:
                found |= self.above[other] | self.bit[other]
            self.above[node] = found

    def apart(self, instructions: Sequence[Instruction]) -> list[list[Instruction]]:
        """Cut into runs in which nobody waits for another."""
        runs: list[list[Instruction]] = []
        taken = 0
        for instruction in instructions:
            node = self.node[instruction]
            if not runs or self.above[node] & taken:
                runs.append([])
                taken = 0
            runs[-1].append(instruction)
            taken |= self.bit[node]
        return runs

    def are_apart(self, instructions: Sequence[Instruction]) -> bool:
        """Whether nobody waits for another."""
        nodes = [self.node[i] for i in instructions]
        own = sum(self.bit[n] for n in set(nodes))
        return not any(self.above[n] & own for n in nodes)

    def join(self, members: Iterable[Instruction], work: list[Instruction]) -> bool:
        """Do this work in place of the members, unless somebody waits for some and others for him.

        All members are done in one go then.
        """
        nodes = list(dict.fromkeys(self.node[i] for i in members))
        own = above = 0
        for node in nodes:
            own |= self.bit[node]
            above |= self.above[node]
        others = above & ~own
        if any(self.bit[n] & others and self.above[n] & own for n in self.order):
            return False
        gone = set(nodes)
        joined = Node(work, {b for n in nodes for b in n.before} - gone)
        place = own.bit_length() - 1  # where the last of them is
        order = [joined if k == place else n for k, n in enumerate(self.order)]
        self.order = [n for n in order if n not in gone]
        for node in self.order:
            if node is not joined and not gone.isdisjoint(node.before):
                node.before = node.before - gone | {joined}
        for instruction in (*members, *work):
            self.node[instruction] = joined
        self._sort()
        self._look()
        return True

    def _sort(self) -> None:
        """Put the nodes into an order that they can be done in, near to the one they have."""
        place = {node: k for k, node in enumerate(self.order)}
        missing = {node: len(node.before) for node in self.order}
        after: dict[Node, list[Node]] = defaultdict(list)
        for node in self.order:
            for other in node.before:
                after[other].append(node)
        ready = [place[n] for n in self.order if not missing[n]]
        heapq.heapify(ready)
        nodes, self.order = self.order, []
        while ready:
            node = nodes[heapq.heappop(ready)]
            self.order.append(node)
            for other in after[node]:
                missing[other] -= 1
                if not missing[other]:
                    heapq.heappush(ready, place[other])

    def instructions(self) -> list[Instruction]:
        return [i for node in self.order for i in node.work]


# ----- where things lie --------------------------------------------------------------------------


class Stacks:
    """Values of several steps as one, whose memory they lie in."""

    def __init__(self, program: Program) -> None:
        self.maker = {v: i for i in program.instructions for v in i.outputs if v not in i.writes}
        self.kept = {v.root for v in program.outputs}
        self.views: dict[Value, list[Value]] = defaultdict(list)
        seen = {v for i in program.instructions for v in (*i.reads(), *i.outputs, *i.writes)}
        for v in (*seen, *program.outputs):
            if v.base is not None:
                self.views[v.base].append(v)

    def lie(self, values: Sequence[Value]) -> bool:
        """Whether one of them lies in another value, which says in what order its kin lie."""
        return any(v.base is not None for v in values)

    def is_free(self, v: Value) -> bool:
        """Whether it may be made in any place."""
        return (
            v.base is None
            and v.kind == "made"
            and v not in self.kept
            and v in self.maker
            and self.maker[v].function not in ("call", *DRAWS)
            and is_contiguous(v.shape, v.strides, v.dtype.itemsize)
        )

    def fitting(self, items: Iterable[tuple[Any, tuple[Value, ...]]]) -> list[list[Any]]:
        """Items whose values are as free as each other's, in the order in which they lie."""
        kinds: dict[Any, list[tuple[Any, tuple[Value, ...]]]] = defaultdict(list)
        for item, values in items:
            kinds[tuple(map(self._kind, values))].append((item, values))
        return [_as_they_lie(found) for found in kinds.values() if len(found) >= FEWEST]

    def _kind(self, v: Value) -> Any:
        if self.is_free(v):
            return "free"
        return "few" if self._is_few(v) else v.root

    def is_copied(self, values: Sequence[Value]) -> bool:
        """Whether a stack of them is a copy."""
        return all(map(self._is_few, values))

    def _is_few(self, v: Value) -> bool:
        return v.base is None and v.root.kind != "made" and v.nbytes <= FEW

    def stack(self, values: Sequence[Value], work: list[Instruction]) -> Value | None:
        """The values of T steps as one (T, *shape); what has to be done for that goes to `work`."""
        first = values[0]
        if len({(v.shape, v.dtype, v.strides) for v in values}) > 1:
            return None
        if len({v.root for v in values}) == 1 and (first.base or is_same_place(first, values[-1])):
            step = values[1].offset - first.offset
            if any(b.offset - a.offset != step for a, b in pairwise(values)):
                return None
            return self.view(first, (len(values), *first.shape), (step, *first.strides))
        if len(set(values)) < len(values):
            return None
        if all(map(self.is_free, values)):
            return self.place(values)
        if all(map(self._is_few, values)):
            whole = _made((len(values), *first.shape), first.dtype)
            work.append(Instruction("stack", (tuple(values),), {"axis": 0}, (whole,)))
            return whole
        return None

    def has_room(self, values: Sequence[Value]) -> bool:
        """Whether results may be made in a stack, or lie in one already."""
        if all(map(self.is_free, values)):
            return True
        first = values[0]
        places = [first.offset + k * first.nbytes for k in range(len(values))]
        dense = is_contiguous(first.shape, first.strides, first.dtype.itemsize)
        return (
            dense
            and first.base is not None
            and all(
                v.root is first.root and v.offset == at
                for v, at in zip(values, places, strict=True)
            )
        )

    def whole(self, values: Sequence[Value], by_rows: bool) -> Value:
        """Results as one, (T · N, ...) or (T, N, ...)."""
        first, count = values[0], len(values)
        shape = count, *first.shape
        if by_rows:
            shape = count * first.shape[0], *first.shape[1:]
        made = _made(shape, first.dtype)
        if first.base is not None:
            return self.view(first, shape, made.strides)
        for k, v in enumerate(values):
            self.rebase(v, made, k * first.nbytes)
        return made

    def place(self, values: Sequence[Value], whole: Value | None = None) -> Value:
        """Let free values be made side by side, in a new one or in one that is there."""
        first = values[0]
        if whole is None:
            whole = _made((len(values), *first.shape), first.dtype)
        at = whole.offset
        for v in values:
            self.rebase(v, whole.root, at)
            self.maker[v].placed = True
            at += v.nbytes
        return whole

    def view(self, v: Value, shape: tuple[int, ...], strides: tuple[int, ...]) -> Value:
        """Memory from the first element of a value on, seen in another shape."""
        seen = Value(shape, v.dtype, strides, base=v.root, offset=v.offset)
        self.views[v.root].append(seen)
        return seen

    def rows(self, v: Value) -> Value | None:
        """(T, N, ...) as (T · N, ...), where it lies so that this is possible."""
        (steps, rows, *shape), (far, near, *strides) = v.shape, v.strides
        if rows == 1:
            near = far
        elif far != rows * near:
            return None
        return self.view(v, (steps * rows, *shape), (near, *strides))

    def beside(self, v: Value, ndim: int) -> Value:
        """(T, ...) as (T, 1, ..., 1, ...) of that many axes: for broadcasting."""
        missing = ndim - len(v.shape)
        (steps, *shape), (far, *strides) = v.shape, v.strides
        return self.view(v, (steps, *[1] * missing, *shape), (far, *[0] * missing, *strides))

    def turned(self, v: Value) -> Value:
        """The transpose, which is the value itself where `v` is the transpose of that."""
        shape, strides, root = v.shape[::-1], v.strides[::-1], v.root
        if (v.offset, root.shape, root.strides, root.dtype) == (0, shape, strides, v.dtype):
            return root
        return self.view(v, shape, strides)

    def rebase(self, v: Value, root: Value, at: int) -> None:
        """Let a value and all views of it lie in another."""
        for other in (v, *self.views.pop(v, ())):
            other.base, other.offset = root, other.offset + at
            self.views[root].append(other)


def _made(shape: tuple[int, ...], dtype: Any) -> Value:
    """A new value, row by row in memory."""
    strides, step = [], int(dtype.itemsize)
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return Value(shape, dtype, tuple(reversed(strides)))


# ----- side by side ------------------------------------------------------------------------------


def _share_constants(program: Program) -> None:
    """Small constants that are equal become one."""
    written = {v.root for i in program.instructions for v in i.writes}
    known: dict[Any, Value] = {}
    for instruction in program.instructions:

        def shared(x: Any) -> Any:
            if not isinstance(x, Value) or x.root.kind != "constant" or x.root in written:
                return x
            root = x.root
            if root.array is None or root.nbytes > FEW:
                return x
            key = root.shape, root.dtype, root.strides, root.array.tobytes()
            same = known.setdefault(key, root)
            if x.base is not None:
                x.base = same
                return x
            return same

        instruction.args = exchanged(shared, instruction.args)
        instruction.options = exchanged(shared, instruction.options)


def _side_by_side(program: Program, stacks: Stacks) -> None:
    """Parts that are made for a whole alone are made in it: nothing is concatenated."""
    instructions = program.instructions
    written: dict[Value, list[Instruction]] = defaultdict(list)
    readers: dict[Value, list[Instruction]] = defaultdict(list)
    for i in instructions:
        for v in i.writes:
            written[v.root].append(i)
        for root in dict.fromkeys(v.root for v in i.reads()):
            readers[root].append(i)
    gone: set[Instruction] = set()
    for i in instructions:
        if i.function == "concatenate" and i.options == {"axis": 0} and len(i.outputs) == 1:
            (parts,), (whole,) = i.args, i.outputs
            writers = [i]
        elif i.function == "zeros" and (found := _slices(i, written)):
            (whole,), (parts, writers) = i.outputs, found
            if readers[whole][: len(writers)] != writers:  # somebody looks at it half-way
                continue
        else:
            continue
        if (
            all(isinstance(v, Value) and stacks.is_free(v) and v not in written for v in parts)
            and len(set(parts)) == len(parts)
            and is_contiguous(whole.shape, whole.strides, whole.dtype.itemsize)
            and (whole.base, whole.kind) == (None, "made")
            and not set(written[whole]) - set(writers)
            and all(v.dtype == whole.dtype for v in parts)
            and whole not in stacks.kept
        ):
            stacks.place(parts, whole)
            del stacks.maker[whole]
            gone |= {i, *writers}
    program.instructions = [i for i in instructions if i not in gone]


def _slices(
    zeros: Instruction, written: dict[Value, list[Instruction]]
) -> tuple[list[Value], list[Instruction]] | None:
    """What is added to zeros, if each row gets one row of one value; and who does so."""
    (whole,) = zeros.outputs
    parts: dict[int, Value] = {}
    width = whole.strides[0] if whole.shape else 0
    for i in written[whole]:
        if i.function == "setitem":
            target, index, part = i.args
            if isinstance(index, tuple) and len(index) == 1:
                (index,) = index
            if target is not whole or type(index) is not slice or index.step not in (None, 1):
                return None
            start, stop, _ = index.indices(whole.shape[0])
            if not isinstance(part, Value) or part.shape != (stop - start, *whole.shape[1:]):
                return None
            if part.root is whole and (part.offset, part.strides) == (start * width, whole.strides):
                continue  # it is there already
        elif i.function == "add" and i.args[0] is i.options.get("out"):
            target, part = i.args
            if not isinstance(part, Value) or part.shape != target.shape:
                return None
            if target.strides != whole.strides or not width or target.offset % width:
                return None
            start = target.offset // width
        else:
            return None
        if start in parts or part.root is whole or not size(part):
            return None
        parts[start] = part
    ordered, row = [], 0
    while row in parts:
        ordered.append(parts[row])
        row += parts[row].shape[0]
    complete = row == (whole.shape or (0,))[0] and len(ordered) == len(parts) > 0
    return (ordered, written[whole]) if complete else None


def _as_they_lie(items: list[tuple[Any, tuple[Value, ...]]]) -> list[Any]:
    """Items in the order in which the first of their values lie that have one."""
    for values in zip(*(values for _, values in items), strict=True):
        places = [v.offset for v in values]
        if len({v.root for v in values}) == 1 and len(set(places)) == len(places):
            order = sorted(range(len(items)), key=places.__getitem__)
            return [items[k][0] for k in order]
    return [item for item, _ in items]


# ----- rows --------------------------------------------------------------------------------------


def _alike(instructions: Iterable[Instruction]) -> list[list[Instruction]]:
    """Instructions that do the same to arguments of the same shapes.

    What most of them have in common, such as a matrix, all of them have to.
    """

    def described(x: Any) -> Any:
        return (x.shape, x.dtype, x.strides) if isinstance(x, Value) else (type(x), x)

    functions = BY_ROWS | BY_ELEMENTS | {"matmul", "total", "getitem", "array"}
    classes: dict[str, list[Instruction]] = defaultdict(list)
    for i in instructions:
        results = *i.outputs, *i.writes
        if i.function in functions and results and all(v.nbytes <= SMALL for v in results):
            arguments = exchanged(described, (i.args, i.options))
            classes[repr((i.function, arguments, bool(i.writes)))].append(i)
    found: dict[Any, list[Instruction]] = defaultdict(list)
    for key, members in classes.items():
        places = [[(k, v.root, v.offset) for k, v in enumerate(i.reads())] for i in members]
        uses = Counter(place for here in places for place in here)
        for i, here in zip(members, places, strict=True):
            most = max(2, *(uses[place] for place in here))
            found[key, *(place for place in here if uses[place] == most)].append(i)
    return [members for members in found.values() if len(members) >= FEWEST]


def _of_all_steps(members: Sequence[Instruction], stacks: Stacks) -> list[Instruction]:
    """What does the work of all members; nothing if there is no such way."""
    first = members[0]
    name, work = first.function, list[Instruction]()
    columns = [*zip(*(i.reads() for i in members), strict=True)]
    results = [*zip(*(i.outputs for i in members), strict=True)]
    is_same = [all(is_same_place(v, values[0]) for v in values) for values in columns]
    by_rows = name in BY_ROWS or name in ("matmul", "getitem")
    if all(is_same) or not all(map(stacks.has_room, results)):
        return []
    if name == "matmul" and not (is_same[1] and all(len(v.shape) == 2 for v in first.reads())):
        return []
    if name == "getitem" and not (is_same[0] and _is_lookup(first)):
        return []
    if name == "total" and len(first.args) > 1:
        return []
    if first.writes and name not in BY_ELEMENTS:
        return []
    ndim = max(len(v.shape) for v in (*first.outputs, *first.writes))
    given = []
    for values, same in zip(columns, is_same, strict=True):
        if same and name not in BY_ROWS:
            given.append(values[0])
            continue
        if name in BY_ELEMENTS and stacks.is_copied(values):
            return []
        whole = stacks.stack(values, work)
        if whole is not None and by_rows:
            whole = stacks.rows(whole)
        elif whole is not None and name in BY_ELEMENTS:
            whole = stacks.beside(whole, ndim + 1)
        if whole is None:
            return []
        given.append(whole)
    taken = iter(given)
    args, options = exchanged(
        lambda x: next(taken) if isinstance(x, Value) else x, (first.args, first.options)
    )
    if name == "total":
        options["axis"] = tuple(a + 1 for a in _axes(first))
    made = tuple(stacks.whole(values, by_rows) for values in results)
    writes = tuple(values_in(options.get("out", ()))) if first.writes else ()
    placed = any(v.base is not None for v in made)
    return [*work, Instruction(name, args, options, made, writes, first.line, placed)]


def _is_lookup(instruction: Instruction) -> bool:
    """Whether rows of a table are looked up by their numbers."""
    _, index = instruction.args
    index, *rest = index if isinstance(index, tuple) else (index,)
    return (
        isinstance(index, Value)
        and index.dtype.kind in "iu"
        and len(index.shape) > 0
        and rest in ([], [Ellipsis])
    )


def _axes(total: Instruction) -> tuple[int, ...]:
    """The axes over which is summed."""
    axis, ndim = total.options.get("axis"), len(total.args[0].shape)
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple | list) else (axis,)))


def _turned_once(instructions: list[Instruction]) -> list[Instruction]:
    """Lay out row by row, once, what is multiplied column by column in each of many steps."""
    uses: dict[Any, list[int]] = defaultdict(list)
    writes: dict[Value, list[int]] = defaultdict(list)
    for k, i in enumerate(instructions):
        for v in (*i.outputs, *i.writes):
            writes[v.root].append(k)
        if i.function == "matmul" and not i.options and all(len(v.shape) == 2 for v in i.args):
            w = i.args[1]
            if w.strides[0] == w.dtype.itemsize != w.strides[1]:
                uses[w.root, w.offset, w.shape, w.strides, w.dtype].append(k)
    before: dict[int, Instruction] = {}
    for (root, *_), places in uses.items():
        first, last = places[0], places[-1]
        if len(places) < FEWEST or any(first < k < last for k in writes[root]):
            continue
        w = instructions[first].args[1]
        turned = _made(w.shape, w.dtype)
        line = instructions[first].line
        before[first] = Instruction("ascontiguousarray", (w,), {}, (turned,), line=line)
        for k in places:
            i = instructions[k]
            instructions[k] = replace(i, args=(i.args[0], turned))
    return [
        x for k, i in enumerate(instructions) for x in ([before[k]] if k in before else []) + [i]
    ]


# ----- sums --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Term:
    """One term of a sum; where it is f(rows) summed over the rows, what that is."""

    value: Value
    makers: tuple[Instruction, ...] = ()
    key: Any = None
    rows: tuple[Value, ...] = ()


@dataclass(eq=False)
class Sum:
    """value = Σ terms, by these additions, whose results before the last nobody else reads."""

    value: Value
    terms: list[Term]
    additions: list[Instruction]


def _sums(program: Program, stacks: Stacks) -> list[Sum]:
    """The sums of several terms that a program adds up one after another."""
    users: dict[Value, list[Instruction]] = defaultdict(list)
    for i in program.instructions:
        for root in dict.fromkeys(v.root for v in (*i.reads(), *i.outputs, *i.writes)):
            users[root].append(i)
    sums: dict[Value, Sum] = {}

    def ends(v: Value, addition: Instruction) -> bool:
        """Whether a value, as it is then, is made for this addition alone."""
        if v.base is not None or v.kind != "made" or v not in stacks.maker:
            return False
        own = {stacks.maker[v], *(sums[v].additions if v in sums else ()), addition}
        at = users[v].index(addition)
        goes_on = v in addition.writes or (v not in stacks.kept and at + 1 == len(users[v]))
        return goes_on and own.issuperset(users[v][:at])

    for i in program.instructions:
        if i.function != "add" or not all(isinstance(a, Value) for a in i.args):
            continue
        a, b = i.args
        (result,) = i.outputs or i.writes
        in_place = bool(i.writes)
        like = a.shape == b.shape == result.shape and a.dtype == b.dtype == result.dtype
        if not like or a.dtype.kind != "f" or (in_place and result is not a):
            continue
        if not ends(a, i) or a is b:
            continue
        before = sums.pop(a, None) or Sum(a, [_term(a, stacks, users)], [])
        if ends(b, i):
            more = sums.pop(b, None) or Sum(b, [_term(b, stacks, users)], [])
        else:
            more = Sum(b, [Term(b)], [])
        terms, additions = before.terms + more.terms, before.additions + more.additions
        sums[result] = Sum(result, terms, [*additions, i])
    return [s for s in sums.values() if len(s.terms) >= FEWEST]


def _term(v: Value, stacks: Stacks, users: dict[Value, list[Instruction]]) -> Term:
    """A term that is made for a sum alone, as a sum over rows if it is one."""
    maker = stacks.maker[v]
    args = maker.args
    makers: tuple[Instruction, ...] = (maker,)
    if maker.function == "astype":
        source = args[0].root
        total = stacks.maker.get(source)
        if total is None or total.function != "total" or users[source] != [total, maker]:
            return Term(v)
        whole = is_contiguous(args[0].shape, args[0].strides, source.dtype.itemsize)
        if not whole or size(args[0]) != size(source):
            return Term(v)
        args, makers, maker = total.args, (total, maker), total
    if maker.function == "matmul" and all(len(x.shape) == 2 for x in args):
        return Term(v, makers, "matmul", (stacks.turned(args[0]), args[1]))
    if maker.function == "total" and len(args) == 1 and _axes(maker) == (0,):
        return Term(v, makers, f"total {maker.options.get('keepdims')}", args)
    if maker.function == "scatter_add" and not maker.options:
        shape, index, g = args
        if isinstance(index, Value) and index.shape == g.shape[: len(index.shape)] != ():
            return Term(v, makers, f"scatter_add {shape}", (index, g))
    return Term(v)


def _sum_at_once(s: Sum, stacks: Stacks, graph: Graph) -> None:
    """Add up over all rows of all terms what is a sum over rows, and then the rest."""
    groups: dict[Any, list[tuple[Term, tuple[Value, ...]]]] = defaultdict(list)
    for term in s.terms:
        if term.rows or term.value is not s.value:
            shapes = tuple((v.shape[1:], v.dtype) for v in term.rows)
            groups[term.key, shapes].append((term, term.rows or (term.value,)))
    work: list[Instruction] = []
    totals: list[Value] = []
    rest, members = dict.fromkeys(s.terms), list(s.additions)
    for group in groups.values():
        for terms in stacks.fitting(group):
            total = replace(s.value, base=None, offset=0)
            more = _total(terms, total, stacks)
            if more:
                work += more
                totals.append(total)
                for term in terms:
                    members += term.makers
                    del rest[term]
    if not totals:
        return
    others = [*totals, *(term.value for term in rest)]
    if s.value in others:  # which begins as one of its terms
        others.remove(s.value)
    else:
        work[-1] = replace(work[-1], outputs=(s.value,), placed=s.value.base is not None)
        others.remove(totals[-1])
    line = s.additions[-1].line
    for other in others:
        work.append(Instruction("add", (s.value, other), {"out": s.value}, (), (s.value,), line))
    graph.join(members, work)


def _total(terms: Sequence[Term], total: Value, stacks: Stacks) -> list[Instruction]:
    """What adds up terms of one kind; nothing if there is no such way."""
    work: list[Instruction] = []
    first = terms[0]
    line = stacks.maker[first.value].line if first.value in stacks.maker else ""
    if first.key is None:
        if len(terms) < FEWEST_TERMS or total.nbytes * 4 > FEW:
            return []
        whole = stacks.stack([term.value for term in terms], work)
        if whole is None:
            return []
        options: dict[str, Any] = {"axis": (0,), "keepdims": False}
        return [*work, Instruction("total", (whole,), options, (total,), line=line)]
    given = []
    for values in zip(*(term.rows for term in terms), strict=True):
        whole = stacks.stack(values, work)
        rows = None if whole is None else stacks.rows(whole)
        if rows is None:
            return []
        given.append(rows)
    first_maker, *others = first.makers
    args: tuple[Any, ...] = tuple(given)
    options = dict(first_maker.options)
    if first_maker.function == "matmul":
        x, g = given
        args = stacks.turned(x), g
    elif first_maker.function == "scatter_add":
        args = first_maker.args[0], *given
    elif not others:
        options["axis"] = (0,)
    if not others:
        return [*work, Instruction(first_maker.function, args, options, (total,), line=line)]
    (wide,) = first_maker.outputs
    sums = _made(given[0].shape[1:], wide.dtype)
    if size(sums) != size(total) or not is_contiguous(
        total.shape, total.strides, total.dtype.itemsize
    ):
        return []
    again = stacks.view(sums, total.shape, _made(total.shape, sums.dtype).strides)
    return [
        *work,
        Instruction("total", args, {"axis": (0,), "keepdims": False}, (sums,), line=line),
        Instruction("astype", (again, total.dtype), {}, (total,), line=line),
    ]
