"""Search of hyperparameters: declared spaces, grid and random search, coarse to fine.

- `log_uniform`, `uniform`, `grid` and `choice` declare what is searched;
- `random_search`, `grid_search` and `replay` run an objective, a function of a `Trial`, on
  processes or on any executor, and return a `Result`;
- `Result.refine` narrows the space round the best; `SuccessiveHalving` stops what falls behind;
- `optuna_search` lets Optuna choose (extra `search`);
- `viz.search` draws the result.

>>> from tinygrad_cv.train import search
>>> def objective(trial):
...     return 1 - abs(trial["lr"] - 0.004)
>>> coarse = search.random_search(objective, {"lr": search.log_uniform(1e-6, 1)}, 20, max_workers=0)
>>> fine = search.random_search(objective, coarse.refine(by=4), 20, max_workers=0)
>>> 0.0035 < fine.best.params["lr"] < 0.0045
True
"""

from tinygrad_cv.train.search.results import Edge as Edge
from tinygrad_cv.train.search.results import Result as Result
from tinygrad_cv.train.search.results import Row as Row
from tinygrad_cv.train.search.results import load as load
from tinygrad_cv.train.search.running import SuccessiveHalving as SuccessiveHalving
from tinygrad_cv.train.search.running import grid_search as grid_search
from tinygrad_cv.train.search.running import random_search as random_search
from tinygrad_cv.train.search.running import replay as replay
from tinygrad_cv.train.search.spaces import Refined as Refined
from tinygrad_cv.train.search.spaces import choice as choice
from tinygrad_cv.train.search.spaces import grid as grid
from tinygrad_cv.train.search.spaces import log_uniform as log_uniform
from tinygrad_cv.train.search.spaces import uniform as uniform
from tinygrad_cv.train.search.trials import Trial as Trial
from tinygrad_cv.train.search.with_optuna import optuna_search as optuna_search
