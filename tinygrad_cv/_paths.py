"""PyTorch's paths to what lies in another file here: one module, and a second name for it.

>>> from tinygrad_cv.optim.rmsprop import RMSprop
>>> from tinygrad_cv.distributions.normal import Normal
"""

import sys
from importlib import import_module

PATHS = {
    "autograd.grad_mode": "_grad_mode",
    "cuda.amp.autocast_mode": "cuda.amp",
    "cuda.amp.grad_scaler": "cuda.amp",
    "cuda.random": "cuda",
    "data.transforms.v2": "data.transforms",
    "distributions.bernoulli": "distributions.discrete",
    "distributions.beta": "distributions.gamma",
    "distributions.categorical": "distributions.discrete",
    "distributions.dirichlet": "distributions.gamma",
    "distributions.exponential": "distributions.continuous",
    "distributions.laplace": "distributions.continuous",
    "distributions.normal": "distributions.continuous",
    "distributions.one_hot_categorical": "distributions.discrete",
    "distributions.uniform": "distributions.continuous",
    "nn.parallel.data_parallel": "nn.parallel",
    "nn.parallel.distributed": "nn.parallel",
    "optim.adadelta": "optim.adagrad",
    "optim.adamax": "optim.adam",
    "optim.adamw": "optim.adam",
    "optim.asgd": "optim.sgd",
    "optim.nadam": "optim.adam",
    "optim.radam": "optim.adam",
    "optim.rmsprop": "optim.adagrad",
    "utils.data._utils": "data",
    "utils.data._utils.collate": "data.collate",
    "utils.data._utils.worker": "data.loader",
    "utils.data.dataloader": "data",
    "utils.data.dataset": "data.dataset",
    "utils.data.distributed": "data.sampler",
    "utils.data.sampler": "data.sampler",
}
"""PyTorch's path, and the module that has its names here."""


def lay(package: str) -> None:
    """Let the paths below a package lead where they should.

    A path is an attribute too, unless its name is taken there, as by a function.
    """
    for path, ours in PATHS.items():
        if path.startswith(f"{package}."):
            module = import_module(f"tinygrad_cv.{ours}")
            sys.modules[f"tinygrad_cv.{path}"] = module
            above, _, name = path.rpartition(".")
            if not hasattr(parent := sys.modules[f"tinygrad_cv.{above}"], name):
                setattr(parent, name, module)
