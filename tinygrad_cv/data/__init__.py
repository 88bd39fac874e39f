"""Datasets, the loader that makes batches of them, augmentation, and files of images."""

from tinygrad_cv.data.augment import random_horizontal_flip as random_horizontal_flip
from tinygrad_cv.data.augment import random_shift as random_shift
from tinygrad_cv.data.dataset import Dataset as Dataset
from tinygrad_cv.data.dataset import Subset as Subset
from tinygrad_cv.data.dataset import TensorDataset as TensorDataset
from tinygrad_cv.data.dataset import random_split as random_split
from tinygrad_cv.data.digits import load_digits as load_digits
from tinygrad_cv.data.files import DatasetError as DatasetError
from tinygrad_cv.data.files import Splits as Splits
from tinygrad_cv.data.files import load_cifar10 as load_cifar10
from tinygrad_cv.data.files import load_dataset as load_dataset
from tinygrad_cv.data.files import load_idx as load_idx
from tinygrad_cv.data.files import load_mnist as load_mnist
from tinygrad_cv.data.loader import DataLoader as DataLoader
