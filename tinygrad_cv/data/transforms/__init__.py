"""Changes to images under torchvision's names, those of its v1 and of its v2.

A transform takes a Pillow image, an image (C, H, W) or a batch (N, C, H, W), as an array or a
Tensor, and gives back the same kind. It can be a dataset's `transform`, and the `transform` of a
DataLoader, where it gets whole batches. What is random draws from its `generator`, by default the
one that `manual_seed` seeds: the same seed gives the same images. Every image of a batch gets
parameters of its own. Where to find what:

- `functional`: what the transforms do, as functions of an image and explicit numbers.
- `transform`: what a transform is; `Compose` and others that are made of several.
- `plain`, `random_geometry`, `random_color`, `policies`, `mixing`: the transforms.
- `conversion`, `geometry`, `color`: the functions. `images`: what an image is.

What cannot be is told in a sentence: arguments by ValueError, and TypeError where it is the type,
when the transform is made; images in the same way when it is called, before anything is changed.
Pillow comes with an extra, pip install 'tinygrad_cv[images]'; arrays and Tensors do not need it.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.data import transforms
>>> augment = transforms.Compose(
...     [
...         transforms.RandomCrop(32, padding=4),
...         transforms.RandomHorizontalFlip(),
...         transforms.Normalize(mean=[0.5], std=[0.25]),
...     ]
... )
>>> augment(tg.zeros(100, 3, 32, 32, dtype="uint8")).shape
(100, 3, 32, 32)
"""

from tinygrad_cv.data.transforms import functional as functional
from tinygrad_cv.data.transforms.images import InterpolationMode as InterpolationMode
from tinygrad_cv.data.transforms.mixing import CutMix as CutMix
from tinygrad_cv.data.transforms.mixing import MixUp as MixUp
from tinygrad_cv.data.transforms.plain import RGB as RGB
from tinygrad_cv.data.transforms.plain import CenterCrop as CenterCrop
from tinygrad_cv.data.transforms.plain import ConvertImageDtype as ConvertImageDtype
from tinygrad_cv.data.transforms.plain import FiveCrop as FiveCrop
from tinygrad_cv.data.transforms.plain import Grayscale as Grayscale
from tinygrad_cv.data.transforms.plain import ImageClassification as ImageClassification
from tinygrad_cv.data.transforms.plain import LinearTransformation as LinearTransformation
from tinygrad_cv.data.transforms.plain import Normalize as Normalize
from tinygrad_cv.data.transforms.plain import Pad as Pad
from tinygrad_cv.data.transforms.plain import PILToTensor as PILToTensor
from tinygrad_cv.data.transforms.plain import Resize as Resize
from tinygrad_cv.data.transforms.plain import TenCrop as TenCrop
from tinygrad_cv.data.transforms.plain import ToDtype as ToDtype
from tinygrad_cv.data.transforms.plain import ToImage as ToImage
from tinygrad_cv.data.transforms.plain import ToPILImage as ToPILImage
from tinygrad_cv.data.transforms.plain import ToPureTensor as ToPureTensor
from tinygrad_cv.data.transforms.plain import ToTensor as ToTensor
from tinygrad_cv.data.transforms.policies import AugMix as AugMix
from tinygrad_cv.data.transforms.policies import AutoAugment as AutoAugment
from tinygrad_cv.data.transforms.policies import AutoAugmentPolicy as AutoAugmentPolicy
from tinygrad_cv.data.transforms.policies import RandAugment as RandAugment
from tinygrad_cv.data.transforms.policies import TrivialAugmentWide as TrivialAugmentWide
from tinygrad_cv.data.transforms.random_color import ColorJitter as ColorJitter
from tinygrad_cv.data.transforms.random_color import GaussianBlur as GaussianBlur
from tinygrad_cv.data.transforms.random_color import GaussianNoise as GaussianNoise
from tinygrad_cv.data.transforms.random_color import RandomAdjustSharpness as RandomAdjustSharpness
from tinygrad_cv.data.transforms.random_color import RandomAutocontrast as RandomAutocontrast
from tinygrad_cv.data.transforms.random_color import (
    RandomChannelPermutation as RandomChannelPermutation,
)
from tinygrad_cv.data.transforms.random_color import RandomEqualize as RandomEqualize
from tinygrad_cv.data.transforms.random_color import RandomGrayscale as RandomGrayscale
from tinygrad_cv.data.transforms.random_color import RandomInvert as RandomInvert
from tinygrad_cv.data.transforms.random_color import RandomPosterize as RandomPosterize
from tinygrad_cv.data.transforms.random_color import RandomSolarize as RandomSolarize
from tinygrad_cv.data.transforms.random_geometry import Cutout as Cutout
from tinygrad_cv.data.transforms.random_geometry import ElasticTransform as ElasticTransform
from tinygrad_cv.data.transforms.random_geometry import RandomAffine as RandomAffine
from tinygrad_cv.data.transforms.random_geometry import RandomCrop as RandomCrop
from tinygrad_cv.data.transforms.random_geometry import RandomErasing as RandomErasing
from tinygrad_cv.data.transforms.random_geometry import RandomHorizontalFlip as RandomHorizontalFlip
from tinygrad_cv.data.transforms.random_geometry import RandomPerspective as RandomPerspective
from tinygrad_cv.data.transforms.random_geometry import RandomResize as RandomResize
from tinygrad_cv.data.transforms.random_geometry import RandomResizedCrop as RandomResizedCrop
from tinygrad_cv.data.transforms.random_geometry import RandomRotation as RandomRotation
from tinygrad_cv.data.transforms.random_geometry import RandomShortestSize as RandomShortestSize
from tinygrad_cv.data.transforms.random_geometry import RandomVerticalFlip as RandomVerticalFlip
from tinygrad_cv.data.transforms.random_geometry import RandomZoomOut as RandomZoomOut
from tinygrad_cv.data.transforms.random_geometry import ScaleJitter as ScaleJitter
from tinygrad_cv.data.transforms.transform import Compose as Compose
from tinygrad_cv.data.transforms.transform import Identity as Identity
from tinygrad_cv.data.transforms.transform import Lambda as Lambda
from tinygrad_cv.data.transforms.transform import RandomApply as RandomApply
from tinygrad_cv.data.transforms.transform import RandomChoice as RandomChoice
from tinygrad_cv.data.transforms.transform import RandomOrder as RandomOrder
from tinygrad_cv.data.transforms.transform import Transform as Transform
