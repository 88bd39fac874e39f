"""A stand-in for a GPU: NumPy underneath, CuPy's rules on top. Its device is "fakecuda".

A program that runs on it makes none of the mistakes that a real card would answer with an error, a
wrong number or a wait:

- Device arrays and NumPy arrays do not mix, in arithmetic, assignment, indexing or `np.` calls.
- There are only the functions, methods and keywords that CuPy has (cupy_names.json, written by
  tests/gpu/snapshot.py from CuPy itself). Our own kernels run as their NumPy references, after a
  check of every argument's type; those that are written while a program is planned, by their
  source (kernel_source.py).
- Reductions give 0-d device arrays. Whatever makes the host wait for the device (float(), int(),
  bool(), item(), get(), a boolean mask as an index, nonzero, printing) is counted, and is an error
  inside `no_sync()`.
- Fresh memory holds NaN. An index out of bounds is an error, and so is a place that an assignment
  names twice; CuPy would take any of them. Sums at repeated places come in shuffled order.
- A product of stacked matrices in half precision is an error; CuPy would compute it in single.
- There are two devices, and arithmetic must take place on the active one.
"""

import inspect
import json
import operator
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tinygrad_cv.backend import host as np
from tinygrad_cv.backend import kernels
from tinygrad_cv.backend.cupy_backend import CupyBackend
from tinygrad_cv.backend.numpy_backend import ERRORS, IGNORED, LINALG
from tinygrad_cv.testing.kernel_source import Body

DEVICES = 2

NAMES = json.loads(Path(__file__).with_name("cupy_names.json").read_text(encoding="utf-8"))

TRANSFERS = ("array", "asarray", "asanyarray", "ascontiguousarray")
"""The functions that take host arrays."""

METADATA = ("may_share_memory", "shares_memory", "result_type", "can_cast", "ndim", "size", "shape")
"""The functions that look at what arrays are, and not at what is in them."""

WAITING = ("argwhere", "flatnonzero", "nonzero", "unique")
"""The functions whose result has a shape that only the device knows."""

SUMMABLE = ("int32", "uint32", "uint64", "float16", "float32", "float64", "complex64", "complex128")
"""The dtypes that CuPy adds up at repeated places."""


class SynchronizationError(RuntimeError):
    """The host had to wait for the device inside `no_sync()`."""


class _State(threading.local):
    """What belongs to a thread: the active device, and whether waiting is forbidden."""

    def __init__(self) -> None:
        self.active = 0
        self.outer: list[tuple[int, Any]] = []  # the devices that were active before
        self.forbidden = False
        self.waits = 0


_state = _State()
_shuffle = np.random.default_rng(0)


def synchronizations() -> int:
    """How often this thread has waited for the stand-in so far."""
    return _state.waits


@contextmanager
def no_sync() -> Iterator[None]:
    """Inside it, whatever makes the host wait for the stand-in raises SynchronizationError.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.testing import no_sync
    >>> loss = tg.ones(2, device="fakecuda").sum()
    >>> with no_sync():
    ...     loss.item()
    Traceback (most recent call last):
    tinygrad_cv.testing.fakecuda.SynchronizationError: get() makes the host wait for the device.
    """
    before, _state.forbidden = _state.forbidden, True
    try:
        yield
    finally:
        _state.forbidden = before


def _wait(cause: str) -> None:
    _state.waits += 1
    if _state.forbidden:
        raise SynchronizationError(f"{cause} makes the host wait for the device.")


# ----- arrays ------------------------------------------------------------------------------------


class Device:
    """One of the stand-in's devices; as a context, the active one."""

    def __init__(self, id: int) -> None:
        self.id = id

    def __enter__(self) -> "Device":
        _state.outer.append((_state.active, ERRORS.get()))
        _state.active = self.id
        ERRORS.set(IGNORED)  # a card says nothing of 1 / 0
        return self

    def __exit__(self, *error: object) -> None:
        _state.active, errors = _state.outer.pop()
        ERRORS.set(errors)

    def synchronize(self) -> None:
        """All is done already."""


class DeviceArray:
    """An array of the stand-in. It holds a NumPy array, and hides it."""

    __slots__ = ("__weakref__", "_values", "base", "device_id")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any) -> None:
        if values.dtype.kind not in "biufc":
            raise TypeError(f"a device holds numbers; got an array of dtype {values.dtype}.")
        self._values = values
        self.device_id = _state.active
        # As CuPy's, a view holds the array whose memory it lies in.
        self.base = None if values.base is None else _owners.get(id(values.base), values.base)
        if self.base is None:
            _owners[id(values)] = self

    # ----- what NumPy would do with it -----

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "an array on the device was given to NumPy, which would copy it to the host. Use the "
            "functions of `xp`; or x.get(), if that is meant."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # A NumPy scalar on the left gets here too, and CuPy takes scalars.
        scalars = all(isinstance(x, DeviceArray | np.generic) for x in inputs)
        if method != "__call__" or options or not scalars or len(inputs) != 2:
            raise _mixed(f"np.{ufunc.__name__}", inputs)
        if not any(isinstance(x, np.generic) for x in inputs):
            raise _mixed(f"np.{ufunc.__name__}", inputs)
        return getattr(FAKE_CUPY, ufunc.__name__)(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        raise _mixed(f"np.{function.__name__}", args)

    # ----- what it is -----

    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    dtype = property(lambda self: self._values.dtype)
    itemsize = property(lambda self: self._values.itemsize)
    nbytes = property(lambda self: self._values.nbytes)
    strides = property(lambda self: self._values.strides)
    T = property(lambda self: _view(self, self._values.T))
    real = property(lambda self: _view(self, self._values.real))
    imag = property(lambda self: _view(self, self._values.imag))
    data = property(lambda self: SimpleNamespace(ptr=self._values.ctypes.data))

    # ----- what waits -----

    def get(self, *args: Any, **options: Any) -> Any:
        _bind("get", NAMES["methods"]["get"], args, options)
        _wait("get()")
        return self._values.copy()

    def item(self) -> Any:
        _wait("item()")
        return self._values.item()

    def tolist(self) -> Any:
        _wait("tolist()")
        return self._values.tolist()

    def __float__(self) -> float:
        _wait("float()")
        return float(self._values)

    def __int__(self) -> int:
        _wait("int()")
        return int(self._values)

    def __index__(self) -> int:
        _wait("an array as an index of the host")
        return operator.index(self._values[()])

    def __complex__(self) -> complex:
        _wait("complex()")
        return complex(self._values)

    def __bool__(self) -> bool:
        _wait("bool()")
        return bool(self._values)

    def __repr__(self) -> str:
        _wait("printing")
        return repr(self._values)

    # ----- elements -----

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator["DeviceArray"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "DeviceArray":
        _check_active(self)
        parts = _parts(index)
        if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
            _wait("a boolean mask as an index")
        if not any(isinstance(part, np.ndarray | list | bool) for part in parts):
            return _view(self, self._values[_with_ellipsis(parts)])
        return DeviceArray(np.asarray(self._values[parts]))

    def __setitem__(self, index: Any, value: Any) -> None:
        parts = _parts(index)
        source = _unwrap(value, "an assignment")
        _check_active(self)
        if any(isinstance(part, np.ndarray | list) for part in parts):
            named = _places(self._values.shape, parts)
            if np.unique(named).size != named.size:
                raise IndexError(
                    "an assignment names a place more than once: on a GPU any of the values may "
                    "win, and += adds just one of them. Use xp.scatter_add."
                )
        self._values[parts] = source

    def __matmul__(self, other: Any) -> "DeviceArray":
        return FAKE_CUPY.matmul(self, other)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        signature = NAMES["methods"].get(name)
        if signature is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"CuPy {NAMES['cupy']} has no ndarray.{name}.")

        def method(*args: Any, **options: Any) -> Any:
            _bind(f"ndarray.{name}", signature, args, options)
            if name in WAITING:
                _wait(f"{name}()")
            args, options = _unwrap((args, options), f"ndarray.{name}")
            result = getattr(self._values, name)(*args, **options)
            if isinstance(result, np.ndarray) and result.base is not None:
                return _view(self, result)
            _check_active(self)
            return _wrap(result)

        return method


_owners: "weakref.WeakValueDictionary[int, DeviceArray]" = weakref.WeakValueDictionary()
"""The device array that holds each NumPy array with memory of its own, by the identity of that."""


def _view(array: DeviceArray, values: Any) -> DeviceArray:
    view = DeviceArray(values)
    view.device_id = array.device_id
    return view


def _mixed(where: str, values: Any) -> TypeError:
    kinds = sorted({type(value).__name__ for value in values})
    return TypeError(
        f"{where} got {' and '.join(kinds)}: on a GPU, arrays of the host and of the device do "
        "not mix, and NumPy's functions do not work on the device's. Use the functions of `xp`."
    )


def _check_active(array: DeviceArray) -> None:
    if array.device_id != _state.active:
        raise ValueError(
            f"an array of device {array.device_id} was used while device {_state.active} is "
            "active: the result would lie on the wrong one. Work inside `with backend.active:`."
        )


def _unwrap(value: Any, where: str) -> Any:
    """Device arrays as what they hold, also inside tuples, lists and dicts."""
    if isinstance(value, DeviceArray):
        _check_active(value)
        return value._values
    if isinstance(value, np.ndarray):
        raise _mixed(where, [value])
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(part, where) for part in value)
    if isinstance(value, dict):
        return {key: _unwrap(part, where) for key, part in value.items()}
    return value


def _wrap(value: Any) -> Any:
    """Arrays, and the scalars that NumPy makes of 0-d ones, as device arrays."""
    if isinstance(value, np.ndarray | np.generic):
        known = _owners.get(id(value))  # what a function hands on is that very array
        return DeviceArray(np.asarray(value)) if known is None else known
    if isinstance(value, tuple | list):  # CuPy's tuples have no names
        return tuple(map(_wrap, value)) if isinstance(value, tuple) else [*map(_wrap, value)]
    return value


def _parts(index: Any) -> tuple[Any, ...]:
    """An index as a tuple of NumPy's parts."""
    return tuple(
        _unwrap(part, "an index") for part in (index if type(index) is tuple else (index,))
    )


def _with_ellipsis(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same index; of one element NumPy then gives a 0-d view and not a copy."""
    return parts if any(part is Ellipsis for part in parts) else (*parts, ...)


def _places(shape: tuple[int, ...], parts: tuple[Any, ...]) -> Any:
    """The row-major number of each place that an index names."""
    count = int(np.prod(shape))
    return np.asarray(np.arange(count).reshape(shape)[parts])


def _bind(name: str, signature: str, args: Any, options: Any) -> None:
    """Raise unless CuPy's function takes these arguments."""
    wrong = _misfit(signature, len(args), tuple(options))
    if wrong:
        raise TypeError(f"CuPy's {name}({signature.replace('=...', '=')}): {wrong}.")


@cache
def _misfit(signature: str, count: int, names: tuple[str, ...]) -> str:
    """What is wrong with a call of so many arguments by position, and these by name, if anything.

    That does not depend on their values, and looking it up is much faster than binding anew.
    """
    namespace: dict[str, Any] = {}
    exec(f"def function({signature}): ...", namespace)
    try:
        inspect.signature(namespace["function"]).bind(*(None,) * count, **dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return ""


def _operator(ufunc: str, *, reflected: bool = False, in_place: bool = False) -> Callable[..., Any]:
    def apply(self: DeviceArray, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", other) is None:  # as NumPy, CuPy leaves it to that
            return NotImplemented
        if not isinstance(other, DeviceArray | int | float | complex | np.generic):
            raise _mixed(ufunc, [self, other])
        pair = (other, self) if reflected else (self, other)
        return Ufunc(ufunc)(*pair, **({"out": self} if in_place else {}))

    return apply


ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
for _name, _ufunc in ARITHMETIC.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
    setattr(DeviceArray, f"__r{_name}__", _operator(_ufunc, reflected=True))
    setattr(DeviceArray, f"__i{_name}__", _operator(_ufunc, in_place=True))
for _name, _ufunc in COMPARISONS.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(DeviceArray, f"__{_name}__", lambda self, _ufunc=_ufunc: Ufunc(_ufunc)(self))


# ----- functions ---------------------------------------------------------------------------------


class Ufunc:
    """One of CuPy's elementwise functions."""

    def __init__(self, name: str) -> None:
        self.name, self.signature = name, NAMES["ufuncs"][name]

    def __call__(self, *args: Any, **options: Any) -> Any:
        out = options.get("out")
        _bind(self.name, self.signature, args, options)
        args, options = _unwrap((args, options), self.name)
        result = getattr(np, self.name)(*args, **options)
        return _wrap(result) if out is None else out

    def at(self, array: DeviceArray, index: Any, values: Any) -> None:
        """Add at an index, whose places may repeat: in any order, as threads come."""
        if self.name != "add" or array.dtype.name not in SUMMABLE:
            raise TypeError(f"CuPy has no {self.name}.at for {array.dtype}.")
        named = _places(array.shape, _parts(index))
        source = np.broadcast_to(_unwrap(values, "add.at"), named.shape).ravel()
        order = _shuffle.permutation(named.size)
        target = np.atleast_1d(_unwrap(array, "add.at"))  # a view
        where = np.unravel_index(named.ravel()[order], target.shape)
        np.add.at(target, where, source[order])


def _check_half(args: Sequence[Any]) -> None:
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    if any(a.ndim > 2 for a in arrays) and any(a.dtype == np.float16 for a in arrays):
        raise TypeError(
            "a product of stacked matrices in half precision: CuPy computes it in single. Convert "
            "the operands, or multiply two matrices at a time."
        )


class _Function:
    """One of CuPy's functions, with CuPy's keywords; `source` has NumPy's of the same name."""

    def __init__(self, name: str, signature: str, source: Any = np) -> None:
        self.name, self.signature, self.source = name, signature, source

    def __call__(self, *args: Any, **options: Any) -> Any:
        name = self.name
        _bind(name, self.signature, args, options)
        if name in TRANSFERS:
            return self._transfer(*args, **options)
        if name in METADATA:
            plain = [a._values if isinstance(a, DeviceArray) else a for a in args]
            return getattr(np, name)(*plain, **options)
        if name in WAITING or (name == "where" and len(args) + len(options) == 1):
            _wait(f"{name}()")
        out = options.get("out")
        args, options = _unwrap((args, options), name)
        if name in ("matmul", "dot", "einsum", "tensordot", "inner"):
            _check_half(args)
        result = getattr(self.source, name)(*args, **options)
        if name in ("empty", "empty_like"):
            result[...] = np.nan if result.dtype.kind in "fc" else _worst(result.dtype)
        if name == "diagonal":  # CuPy's can be written to
            result.flags.writeable = args[0].flags.writeable
        return _wrap(result) if out is None else out

    def _transfer(self, source: Any, *args: Any, **options: Any) -> DeviceArray:
        values = source._values if isinstance(source, DeviceArray) else np.asarray(source)
        if self.name == "array" or not isinstance(source, DeviceArray):
            return DeviceArray(np.array(values, *args, **options))
        return _wrap(getattr(np, self.name)(values, *args, **options))  # type: ignore[no-any-return]


def _worst(dtype: Any) -> Any:
    """What stands in fresh memory of integers or truth values."""
    return True if dtype.kind == "b" else np.iinfo(dtype).max


# ----- kernels -----------------------------------------------------------------------------------


class _Kernel:
    """What ElementwiseKernel and ReductionKernel share: CuPy's parameters, and our reference."""

    def __init__(self, inputs: str, outputs: str, *code: str) -> None:
        self.name = code[-1]
        self.inputs, self.outputs = (
            [p.split() for p in text.split(",")] for text in (inputs, outputs)
        )
        self.known: Any = kernels.KERNELS.get(self.name)
        self.body = None if self.known else Body(code[0])

    def arguments(self, parameters: Sequence[list[str]], args: Sequence[Any]) -> list[Any]:
        """The arguments as NumPy's, after a check of their types against CuPy's rules."""
        resolved: dict[str, Any] = {}
        values = []
        for parameter, value in zip(parameters, args, strict=True):
            type_name = parameter[-2]
            placeholder = isinstance(value, DeviceArray) and len(type_name) == 1
            if placeholder and resolved.setdefault(type_name, value.dtype) != value.dtype:
                raise TypeError(
                    f"{self.name}: {type_name} stands for {resolved[type_name]} and for "
                    f"{value.dtype}, in {parameter[-1]}."
                )
            wanted = None if len(type_name) == 1 else type_name
            if isinstance(value, DeviceArray) and wanted not in (None, value.dtype.name):
                raise TypeError(f"{self.name}: {parameter[-1]} is {wanted}; got {value.dtype}.")
            values.append(_unwrap(value, self.name))
        self.types = resolved
        return values


class ElementwiseKernel(_Kernel):
    """CuPy's, for the kernels in backend/kernels.py and for generated ones."""

    def __call__(self, *args: Any) -> Any:
        given = len(args) - len(self.inputs)
        if given not in (0, len(self.outputs)):
            raise TypeError(
                f"{self.name} takes {len(self.inputs)} arguments, or {len(self.outputs)} more for "
                f"its outputs; got {len(args)}."
            )
        parameters = [*self.inputs, *(self.outputs if given else [])]
        values = self.arguments(parameters, args)
        shape = np.broadcast_shapes(
            *(
                value.shape
                for parameter, value in zip(parameters, values, strict=True)
                if parameter[0] != "raw" and isinstance(value, np.ndarray)
            )
        )
        outputs: list[Any] = list(args[len(self.inputs) :])
        if not given:
            outputs = [FAKE_CUPY.empty(shape, self.types[p[-2]]) for p in self.outputs]
        if self.body is None:
            self.known.reference(*values[: len(self.inputs)], *(y._values for y in outputs))
        else:
            self._interpret(values[: len(self.inputs)], outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _interpret(self, inputs: list[Any], outputs: list[DeviceArray]) -> None:
        names = {p[-1]: x for p, x in zip(self.inputs, inputs, strict=True)}
        assert self.body is not None
        self.body(names)
        for parameter, y in zip(self.outputs, outputs, strict=True):
            y._values[...] = np.asarray(names[parameter[-1]], y.dtype)


class ReductionKernel(_Kernel):
    """CuPy's, for the kernels in backend/kernels.py."""

    def __call__(self, *args: Any, axis: Sequence[int], keepdims: bool = False) -> DeviceArray:
        result: Any = self.known.reference(*self.arguments(self.inputs, args), axis=axis)
        return DeviceArray(np.expand_dims(result, tuple(axis)) if keepdims else np.asarray(result))


class RawKernel:
    """CuPy's, for the kernels in backend/kernels.py. The C signature is held against each call."""

    SCALARS = (
        ("unsigned long long", np.uint64),
        ("long long", np.int64),
        ("int", np.int32),
        ("float", np.float32),
        ("double", np.float64),
    )

    def __init__(self, code: str, name: str) -> None:
        self.name, self.known = name, kernels.KERNELS[name]
        macro = re.search(r"#define GEOMETRY((?:.*\\\n)*.*)", code)
        declared = re.search(rf"void {name}\(([^)]*)\)", code)
        element = re.search(r"typedef ([\w ]+) T;", code)
        assert declared is not None
        assert element is not None
        numbers = re.sub(r"\\\n|/\*.*?\*/", " ", macro[1] if macro else "")
        text = declared[1].replace("GEOMETRY", numbers)
        self.parameters = [" ".join(part.split()) for part in text.split(",")]
        self.element = next(d for d, (c, *_) in kernels.TYPES.items() if c == element[1])

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any]) -> None:
        if min(*grid, *block) < 1 or len(args) != len(self.parameters):
            raise ValueError(
                f"{self.name}: a launch of {grid} x {block} with {len(args)} arguments; it takes "
                f"({', '.join(self.parameters)})."
            )
        for parameter, value in zip(self.parameters, args, strict=True):
            self._check(parameter, value)
        self.known.reference(
            *(int(a) if isinstance(a, np.generic) else _unwrap(a, self.name) for a in args)
        )

    def _check(self, parameter: str, value: Any) -> None:
        if "*" in parameter:
            dtype = self.element if re.search(r"\bT\b", parameter) else "int32"
            good = isinstance(value, DeviceArray) and value.dtype == dtype
            if good and not value._values.flags.c_contiguous:
                raise TypeError(f"{self.name}: {parameter} must be contiguous, in row-major order.")
        else:
            wanted = next(scalar for c, scalar in self.SCALARS if parameter.startswith(c))
            good = type(value) is wanted
        if not good:
            raise TypeError(
                f"{self.name}: {parameter} (T is {self.element}) was given a {type(value).__name__}"
                f" {getattr(value, 'dtype', '')}; the card would misread it."
            )


# ----- the module --------------------------------------------------------------------------------


class _Cuda:
    Device = Device

    @staticmethod
    def get_current_stream() -> Any:
        """The one stream: everything is done at once, in its order."""
        return SimpleNamespace(ptr=0)


class _Module:
    """Stands in for a module of CuPy, with the functions of NumPy's or SciPy's."""

    def __init__(self, name: str, source: Any) -> None:
        self.name, self.source = name, source

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES["modules"][self.name]:
            raise AttributeError(f"CuPy {NAMES['cupy']} has no {self.name}.{name}.")
        return _Function(name, NAMES["modules"][self.name][name], self.source)


class FakeCupy:
    """Stands in for the module `cupy`."""

    ndarray = DeviceArray
    cuda = _Cuda
    ElementwiseKernel = ElementwiseKernel
    ReductionKernel = ReductionKernel
    RawKernel = RawKernel

    def __getattr__(self, name: str) -> Any:
        if name in NAMES["shared"]:
            found: Any = getattr(np, name)
        elif name in NAMES["ufuncs"]:
            found = Ufunc(name)
        elif name in NAMES["functions"]:
            found = _Function(name, NAMES["functions"][name])
        elif name == "linalg":
            found = _Module("cupy.linalg", LINALG)
        else:
            raise AttributeError(f"CuPy {NAMES['cupy']} has no {name}.")
        setattr(self, name, found)
        return found


FAKE_CUPY: Any = FakeCupy()


def open_device(index: int) -> CupyBackend:
    """The backend of one of the stand-in's devices."""
    special = _Module("cupyx.scipy.special", import_module("scipy.special"))
    return CupyBackend(FAKE_CUPY, special, "fakecuda", index, DEVICES)
