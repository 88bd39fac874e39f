"""Node cases of the package onnx that the importer is known to fail, each with the reason."""

_DRAWN = "which elements are dropped comes from a generator of NumPy's, and ours draws others"

XFAIL = {
    "test_attention_4d_causal_fp16_expanded": (
        "its softmax adds up float16 in float16, and ours in float32: the last digit differs"
    ),
    "test_lstm_with_peepholes": "weights from the cell to the gates are not supported",
    "test_training_dropout": _DRAWN,
    "test_training_dropout_default": _DRAWN,
    "test_training_dropout_default_mask": _DRAWN,
    "test_training_dropout_mask": _DRAWN,
}
"""A case listed here that passes fails the suite: its entry has to go."""

_TYPED = "its expected numbers were typed in with four digits"

ROUNDED = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad": _TYPED,
    "test_gridsample_bicubic": _TYPED,
}
"""Cases that are held to their own tolerance only, and not to ours, which is a hundred times
tighter."""
