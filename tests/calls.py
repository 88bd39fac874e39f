"""One call of every public function: what it is given by position and by keyword.

Arrays stand for tensors. Where nothing is written down, each input is `SQUARE`.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import linalg
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.nn import functional


class Call(NamedTuple):
    args: tuple[Any, ...]
    options: dict[str, Any]

    def on(self, convert: Callable[[Any], Any]) -> "Call":
        """The call with its arrays converted, those in lists as well."""
        return Call(
            tuple(_deep(value, convert) for value in self.args),
            {name: _deep(value, convert) for name, value in self.options.items()},
        )


def _deep(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return convert(value)
    return [_deep(part, convert) for part in value] if isinstance(value, list) else value


def call(*args: Any, **options: Any) -> Call:
    return Call(args, options)


def exact(*shape: int) -> np.ndarray[Any, Any]:
    """Numbers between 0.2 and 0.9 that float32 holds, which is what lists become."""
    return np.random.default_rng(1).integers(4, 14, shape) / 16


SQUARE = exact(3, 3) / 4 + np.eye(3) * 0.5
SQUARE = (SQUARE + SQUARE.T) / 2
X3, X4, X5 = exact(2, 4, 6), exact(2, 4, 6, 6), exact(2, 4, 4, 4, 4)
V = exact(3)
WHOLE = np.array([[0, 2, 1], [1, 1, 0], [2, 0, 0]])
PLACES = np.array([0, 2, 1])
MASK = WHOLE > 0
SIGNS = np.array([1.0, -1.0, 1.0])
STACK = exact(2, 3, 3)
GRID = exact(2, 3, 3, 2)

SPATIAL: dict[str, Call] = {}
for _n, _x, _small in ((1, X3, (2, 4, 3)), (2, X4, (2, 4, 3, 3)), (3, X5, (2, 4, 2, 2, 2))):
    _small_x = exact(*_small)
    _places = np.arange(_small_x[0, 0].size).reshape(_small[2:]) + np.zeros(_small, int)
    SPATIAL |= {
        f"conv{_n}d": call(_x, exact(3, 4, *[2] * _n), exact(3)),
        f"conv_transpose{_n}d": call(_x, exact(4, 3, *[2] * _n), exact(3)),
        f"avg_pool{_n}d": call(_x, 2),
        f"max_pool{_n}d": call(_x, 2, return_indices=True),
        f"lp_pool{_n}d": call(_x, 2.0, 2),
        f"adaptive_avg_pool{_n}d": call(_x, 2),
        f"adaptive_max_pool{_n}d": call(_x, 2),
        f"max_unpool{_n}d": call(_small_x, _places, 2),
        f"dropout{_n}d": call(_x, 0.5, False),
        f"nn.functional.max_pool{_n}d_with_indices": call(_x, 2),
        f"nn.functional.adaptive_max_pool{_n}d_with_indices": call(_x, 2),
    }

CALLS: dict[str, Call] = SPATIAL | {
    "glu": call(X3),
    "maxout": call(X3, 2),
    "prelu": call(X3, exact(4)),
    "threshold": call(SQUARE, 0.5, 0.0),
    "nn.functional.gumbel_softmax": call(np.array([0.0, 1e4]), hard=True),
    "nn.functional.upsample": call(X4, scale_factor=2),
    "nn.functional.upsample_nearest": call(X4, scale_factor=2),
    "nn.functional.upsample_bilinear": call(X4, scale_factor=2),
    "nn.functional.fractional_max_pool2d": call(X4, 2, 3, _random_samples=exact(2, 4, 2)),
    "nn.functional.fractional_max_pool3d": call(X5, 2, 2, _random_samples=exact(2, 4, 3)),
    "feature_alpha_dropout": call(X4, 0.5, False),
    "conv_output_size": call(5, 2),
    "fold": call(exact(2, 4 * 4, 9), (4, 4), 2),
    "locally_connected2d": call(X4, exact(5, 5, 3, 4, 2, 2)),
    "unfold": call(X4, 2),
    "clamp": call(SQUARE, min=V),
    "clip": call(SQUARE, V, 0.7),
    "polygamma": call(1, SQUARE),
    "affine_grid": call(exact(2, 2, 3), (2, 1, 3, 3)),
    "channel_shuffle": call(X4, 2),
    "grid_sample": call(X4, GRID),
    "interpolate": call(X4, scale_factor=2),
    "pixel_shuffle": call(X4, 2),
    "pixel_unshuffle": call(X4, 2),
    "embedding": call(PLACES, SQUARE),
    "nn.functional.embedding_bag": call(PLACES, SQUARE, np.array([0, 1])),
    "bilinear": call(SQUARE, exact(3, 2), exact(4, 3, 2), exact(4)),
    "gather": call(SQUARE, 0, WHOLE),
    "index_add": call(SQUARE, 0, PLACES, SQUARE),
    "index_copy": call(SQUARE, 0, PLACES, SQUARE),
    "index_fill": call(SQUARE, 0, PLACES, 2.0),
    "index_put": call(SQUARE, [PLACES, PLACES], V),
    "index_select": call(SQUARE, 0, PLACES),
    "masked_fill": call(SQUARE, MASK, 2.0),
    "masked_select": call(SQUARE, MASK),
    "narrow": call(SQUARE, 0, 1, 2),
    "one_hot": call(WHOLE),
    "scatter": call(SQUARE, 0, WHOLE[:1], SQUARE[:1]),
    "scatter_add": call(SQUARE, 0, WHOLE, SQUARE),
    "scatter_reduce": call(SQUARE, 0, WHOLE, SQUARE, "sum"),
    "select": call(SQUARE, 0, 1),
    "select_scatter": call(SQUARE, V, 0, 1),
    "slice_scatter": call(SQUARE, SQUARE[:1], 0, 1, 2),
    "diagonal_scatter": call(SQUARE, V),
    "put": call(SQUARE, PLACES, V),
    "index_reduce": call(SQUARE, 0, PLACES, SQUARE, "amax"),
    "masked_scatter": call(SQUARE, MASK, SQUARE),
    "unravel_index": call(PLACES, (3, 3)),
    "combinations": call(V),
    "isin": call(SQUARE, V),
    "split_with_sizes": call(SQUARE, [1, 2]),
    "swapdims": call(SQUARE, 0, 1),
    "chain_matmul": call(SQUARE, SQUARE),
    "vander": call(V, 2),
    "renorm": call(SQUARE, 2.0, 0, 0.5),
    "mvlgamma": call(SQUARE + 2, 2),
    "linalg.tensorinv": call(SQUARE, 1),
    "linalg.tensorsolve": call(SQUARE, V),
    "take": call(SQUARE, WHOLE),
    "addbmm": call(SQUARE, STACK, STACK),
    "addmv": call(V, SQUARE, V),
    "addr": call(SQUARE, V, V),
    "baddbmm": call(STACK, STACK, STACK),
    "bmm": call(STACK, STACK),
    "einsum": call("ij,jk->ik", SQUARE, SQUARE),
    "matrix_power": call(SQUARE, 2),
    "mv": call(SQUARE, V),
    "ctc_loss": call(exact(5, 1, 3), PLACES[None, 1:], [5], [2]),
    "multilabel_margin_loss": call(SQUARE, WHOLE),
    "cosine_embedding_loss": call(SQUARE, SQUARE, SIGNS),
    "gaussian_noise": call(SQUARE, 0.5, False),
    "batch_norm": call(SQUARE, V, V, weight=V, bias=V),
    "group_norm": call(X3, 2),
    "instance_norm": call(X3),
    "layer_norm": call(SQUARE, (3,), V, V),
    "local_response_norm": call(X3, 2),
    "rms_norm": call(SQUARE, (3,), V),
    "cov": call(SQUARE, fweights=PLACES, aweights=V),
    "diff": call(SQUARE, prepend=SQUARE[:, :1]),
    "trapezoid": call(SQUARE, V),
    "max": call(SQUARE, 1),
    "min": call(SQUARE, 0),
    "broadcast_to": call(V, 2, 3),
    "expand": call(V, 2, 3),
    "broadcast_tensors": call(V, SQUARE),
    "meshgrid": call(V, V, indexing="ij"),
    "cat": call([SQUARE, SQUARE]),
    "stack": call([SQUARE, SQUARE], dim=1),
    "hstack": call([SQUARE, V[:, None]]),
    "column_stack": call([V, V]),
    "chunk": call(SQUARE, 2),
    "dsplit": call(STACK, [1]),
    "hsplit": call(SQUARE, [1]),
    "vsplit": call(SQUARE, [1]),
    "moveaxis": call(SQUARE, 0, 1),
    "pad": call(SQUARE, (1, 1)),
    "permute": call(SQUARE, 1, 0),
    "repeat_interleave": call(SQUARE, PLACES, 0),
    "reshape": call(SQUARE, 9),
    "roll": call(SQUARE, 1),
    "split": call(SQUARE, 2),
    "swapaxes": call(SQUARE, 0, 1),
    "transpose": call(SQUARE, 0, 1),
    "take_along_dim": call(SQUARE, WHOLE, 0),
    "tensor_split": call(SQUARE, 2),
    "unflatten": call(SQUARE, 0, (3, 1)),
    "unsqueeze": call(SQUARE, 0),
    "bincount": call(PLACES, V),
    "bucketize": call(SQUARE, np.sort(V)),
    "searchsorted": call(np.sort(V), SQUARE),
    "kthvalue": call(SQUARE, 2),
    "quantile": call(SQUARE, V),
    "nanquantile": call(SQUARE, 0.5),
    "topk": call(SQUARE, 2),
    "full_like": call(SQUARE, 2),
    "bernoulli": call(np.round(SQUARE)),
    "multinomial": call(np.array([0.0, 1.0, 0.0]), 1),
    "randint_like": call(SQUARE, 5, 6),
    "dropout": call(SQUARE, 0.5, False),
    "alpha_dropout": call(SQUARE, 0.5, False),
    "vanilla_dropout": call(SQUARE, 0.5, False),
    "scaled_dot_product_attention": call(STACK, STACK, STACK, attn_mask=MASK),
    "nn.functional.multi_head_attention_forward": call(
        *[exact(3, 2, 4)] * 3,
        *(4, 2, exact(12, 4), exact(12), None, None, False, 0.0, exact(4, 4), exact(4)),
        attn_mask=MASK,
    ),
    "gru_cell": call(SQUARE, SQUARE, exact(9, 3), exact(9, 3), exact(9), exact(9)),
    "lstm_cell": call(SQUARE, [SQUARE, SQUARE], *[exact(12, 3)] * 2, *[exact(12)] * 2),
    "rnn_tanh_cell": call(*[SQUARE] * 4, V, V),
    "rnn_relu_cell": call(*[SQUARE] * 4, V, V),
    "linear": call(SQUARE, SQUARE, V),
    "linalg.multi_dot": call([SQUARE, SQUARE]),
    "linalg.solve_triangular": call(SQUARE, SQUARE, upper=True),
    "linalg.lstsq": call(SQUARE, SQUARE),
}
CALLS |= {
    f"{name}_with_indices": CALLS[name]
    for name in ("nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d")
}
CALLS |= {
    name: call(SQUARE, 1)
    for name in (
        [
            "softmax",
            "log_softmax",
            "softmin",
            "cummax",
            "cummin",
            "cumprod",
            "cumsum",
            "logcumsumexp",
        ]
    )
}
CALLS |= {
    name: call(WHOLE, WHOLE)
    for name in ["and", "or", "xor", "left_shift", "right_shift"]
    for name in (f"bitwise_{name}",)
}
CALLS["bitwise_not"] = call(WHOLE)
CALLS |= {name: call(WHOLE, WHOLE) for name in ("gcd", "lcm")}
CALLS |= {name: call(V, V) for name in ("dot", "vdot", "ger", "outer")}
CALLS |= {
    name: call(SQUARE, PLACES)
    for name in (
        ["cross_entropy", "nll_loss", "multi_margin_loss", "svm_loss", "one_vs_all_logistic_loss"]
    )
}
CALLS |= {name: call([SQUARE, SQUARE]) for name in ["concat", "concatenate", "vstack", "row_stack"]}
CALLS["dstack"] = call([SQUARE, SQUARE])
CALLS |= {name: call(V, SQUARE) for name in ("block_diag", "atleast_1d", "atleast_2d")}
CALLS |= {"atleast_3d": call(V, SQUARE), "cartesian_prod": call(V, V), "movedim": call(X3, 0, 1)}


def _public() -> dict[str, Any]:
    found: dict[str, Any] = {}
    own = ("tinygrad_cv.ops.", "tinygrad_cv.linalg")
    drawn = {"numel", "is_floating_point", "bernoulli", "multinomial"}
    for prefix, space in (("", tg), ("linalg.", linalg), ("nn.functional.", functional)):
        for name, value in vars(space).items():
            here = inspect.isfunction(value) and "_" not in (name[0], name[-1])
            known = any(value is other for other in found.values())
            if (
                here
                and not known
                and (value.__module__.startswith(own) or name.endswith("_like") or name in drawn)
            ):
                found[prefix + name] = value
    return found


PUBLIC = _public()
"""The public functions that work on tensors, by name; an alias counts once.

Those in place, with a _ at the end, are in test_layers.py.
"""


def call_of(name: str) -> Call:
    """The call of a public function."""
    if name in CALLS:
        return CALLS[name]
    function = PUBLIC[name]
    parameters = inspect.signature(function).parameters.values()
    if function.__name__ in REGISTRY and inspect.Parameter.VAR_KEYWORD in {
        p.kind for p in parameters
    }:
        return call(*[SQUARE] * len(REGISTRY[function.__name__].inputs))
    needed = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return call(*[SQUARE] * len(needed))
