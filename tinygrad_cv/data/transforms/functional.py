"""What the transforms do, as functions of an image and explicit numbers, under torchvision's names.

Each takes a Pillow image, an image (C, H, W) or a batch (N, C, H, W), as an array or a Tensor, and
gives back the same kind: a new one, or the image itself where nothing changes. For a batch factors,
angles and places may be arrays with one value an image. A Tensor is changed in host memory, comes
back to its device, and must not require a gradient.

Raises TypeError for what is no image, and ValueError for a shape or a number that cannot be.
"""

from tinygrad_cv.data.transforms.color import adjust_brightness as adjust_brightness
from tinygrad_cv.data.transforms.color import adjust_contrast as adjust_contrast
from tinygrad_cv.data.transforms.color import adjust_gamma as adjust_gamma
from tinygrad_cv.data.transforms.color import adjust_hue as adjust_hue
from tinygrad_cv.data.transforms.color import adjust_saturation as adjust_saturation
from tinygrad_cv.data.transforms.color import adjust_sharpness as adjust_sharpness
from tinygrad_cv.data.transforms.color import autocontrast as autocontrast
from tinygrad_cv.data.transforms.color import equalize as equalize
from tinygrad_cv.data.transforms.color import grayscale_to_rgb as grayscale_to_rgb
from tinygrad_cv.data.transforms.color import invert as invert
from tinygrad_cv.data.transforms.color import posterize as posterize
from tinygrad_cv.data.transforms.color import rgb_to_grayscale as rgb_to_grayscale
from tinygrad_cv.data.transforms.color import solarize as solarize
from tinygrad_cv.data.transforms.color import to_grayscale as to_grayscale
from tinygrad_cv.data.transforms.conversion import convert_image_dtype as convert_image_dtype
from tinygrad_cv.data.transforms.conversion import normalize as normalize
from tinygrad_cv.data.transforms.conversion import pil_to_tensor as pil_to_tensor
from tinygrad_cv.data.transforms.conversion import to_dtype as to_dtype
from tinygrad_cv.data.transforms.conversion import to_image as to_image
from tinygrad_cv.data.transforms.conversion import to_pil_image as to_pil_image
from tinygrad_cv.data.transforms.conversion import to_tensor as to_tensor
from tinygrad_cv.data.transforms.geometry import affine as affine
from tinygrad_cv.data.transforms.geometry import center_crop as center_crop
from tinygrad_cv.data.transforms.geometry import crop as crop
from tinygrad_cv.data.transforms.geometry import elastic as elastic
from tinygrad_cv.data.transforms.geometry import elastic_transform as elastic_transform
from tinygrad_cv.data.transforms.geometry import erase as erase
from tinygrad_cv.data.transforms.geometry import five_crop as five_crop
from tinygrad_cv.data.transforms.geometry import gaussian_blur as gaussian_blur
from tinygrad_cv.data.transforms.geometry import gaussian_noise as gaussian_noise
from tinygrad_cv.data.transforms.geometry import get_dimensions as get_dimensions
from tinygrad_cv.data.transforms.geometry import get_image_num_channels as get_image_num_channels
from tinygrad_cv.data.transforms.geometry import get_image_size as get_image_size
from tinygrad_cv.data.transforms.geometry import get_num_channels as get_num_channels
from tinygrad_cv.data.transforms.geometry import get_size as get_size
from tinygrad_cv.data.transforms.geometry import hflip as hflip
from tinygrad_cv.data.transforms.geometry import horizontal_flip as horizontal_flip
from tinygrad_cv.data.transforms.geometry import pad as pad
from tinygrad_cv.data.transforms.geometry import permute_channels as permute_channels
from tinygrad_cv.data.transforms.geometry import perspective as perspective
from tinygrad_cv.data.transforms.geometry import resize as resize
from tinygrad_cv.data.transforms.geometry import resized_crop as resized_crop
from tinygrad_cv.data.transforms.geometry import rotate as rotate
from tinygrad_cv.data.transforms.geometry import ten_crop as ten_crop
from tinygrad_cv.data.transforms.geometry import vertical_flip as vertical_flip
from tinygrad_cv.data.transforms.geometry import vflip as vflip
from tinygrad_cv.data.transforms.images import InterpolationMode as InterpolationMode
