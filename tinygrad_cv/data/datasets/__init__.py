"""Datasets under torchvision's names, read from files that are not trusted.

Where to find what:

- `vision`: what all share; `ArrayDataset`, of images in memory, says what an image is.
- `mnist` (with FashionMNIST, KMNIST, EMNIST, QMNIST), `cifar`, `svhn`, `stl10`: known ones.
- `folder`: images in folders of your own, one folder a class. `text`: a text.
- `made`: the digits of the package, and images at random.
- `archives`: tar and zip files, unpacked. `splits`: a whole dataset as arrays.

>>> from tinygrad_cv.data import DataLoader, datasets, transforms
>>> change = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.3], [0.4])])
>>> loader = DataLoader(datasets.Digits(train=True, transform=change), batch_size=64, shuffle=True)
>>> images, classes = next(iter(loader))
>>> images.shape, images.dtype, classes.shape
((64, 1, 8, 8), dtype('float32'), (64,))
"""

from tinygrad_cv.data.datasets.archives import extract_archive as extract_archive
from tinygrad_cv.data.datasets.cifar import CIFAR10 as CIFAR10
from tinygrad_cv.data.datasets.cifar import CIFAR100 as CIFAR100
from tinygrad_cv.data.datasets.folder import IMG_EXTENSIONS as IMG_EXTENSIONS
from tinygrad_cv.data.datasets.folder import DatasetFolder as DatasetFolder
from tinygrad_cv.data.datasets.folder import ImageFolder as ImageFolder
from tinygrad_cv.data.datasets.folder import load_image as load_image
from tinygrad_cv.data.datasets.made import Digits as Digits
from tinygrad_cv.data.datasets.made import FakeData as FakeData
from tinygrad_cv.data.datasets.mnist import EMNIST as EMNIST
from tinygrad_cv.data.datasets.mnist import KMNIST as KMNIST
from tinygrad_cv.data.datasets.mnist import MNIST as MNIST
from tinygrad_cv.data.datasets.mnist import QMNIST as QMNIST
from tinygrad_cv.data.datasets.mnist import FashionMNIST as FashionMNIST
from tinygrad_cv.data.datasets.splits import load_dataset as load_dataset
from tinygrad_cv.data.datasets.stl10 import STL10 as STL10
from tinygrad_cv.data.datasets.svhn import SVHN as SVHN
from tinygrad_cv.data.datasets.text import Text as Text
from tinygrad_cv.data.datasets.text import TextFile as TextFile
from tinygrad_cv.data.datasets.vision import ArrayDataset as ArrayDataset
from tinygrad_cv.data.datasets.vision import VisionDataset as VisionDataset
