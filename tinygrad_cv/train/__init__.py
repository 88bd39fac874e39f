"""Training: the loop, a ConvNet to train with it, and models on disk."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tinygrad_cv.train import search as search
from tinygrad_cv.train._convnet import convnet as convnet
from tinygrad_cv.train.callbacks import BestModel as BestModel
from tinygrad_cv.train.callbacks import Callback as Callback
from tinygrad_cv.train.callbacks import Checkpoint as Checkpoint
from tinygrad_cv.train.callbacks import EarlyStopping as EarlyStopping
from tinygrad_cv.train.callbacks import LambdaCallback as LambdaCallback
from tinygrad_cv.train.callbacks import MovingAverage as MovingAverage
from tinygrad_cv.train.callbacks import StepLosses as StepLosses
from tinygrad_cv.train.callbacks import UpdateBN as UpdateBN
from tinygrad_cv.train.checkpoint import average_checkpoints as average_checkpoints
from tinygrad_cv.train.checkpoint import load_model as load_model
from tinygrad_cv.train.checkpoint import save_model as save_model
from tinygrad_cv.train.ensemble import Ensemble as Ensemble
from tinygrad_cv.train.health import Health as Health
from tinygrad_cv.train.loggers import CSVLogger as CSVLogger
from tinygrad_cv.train.loggers import TensorBoardLogger as TensorBoardLogger
from tinygrad_cv.train.trainer import DivergenceError as DivergenceError
from tinygrad_cv.train.trainer import Trainer as Trainer
from tinygrad_cv.train.trainer import cosine as cosine

if _TYPE_CHECKING:
    from tinygrad_cv.train.classifier import Classifier as Classifier
else:

    def __getattr__(name: str) -> type:
        """`Classifier` is imported when it is first used, and scikit-learn with it."""
        if name == "Classifier":
            from tinygrad_cv.train.classifier import Classifier

            return Classifier
        raise AttributeError(f"module 'tinygrad_cv.train' has no attribute {name!r}")
