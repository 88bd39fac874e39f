"""The vision models that people know, with torchvision's names and state_dict keys.

A constructor such as `resnet18` makes a model. It takes `weights`: None for random ones, the path
of a .pth or .safetensors file, a state dict, or the name of published ones, "DEFAULT" or
"IMAGENET1K_V1", which are downloaded once; `generator` for the random weights and the dropout; and
the arguments of the model's class.

>>> from tinygrad_cv import ones
>>> from tinygrad_cv.models import resnet20
>>> resnet20(num_classes=10)(ones(2, 3, 32, 32)).shape
(2, 10)
"""

from tinygrad_cv.models._weights import Weights as Weights
from tinygrad_cv.models._weights import WeightsEnum as WeightsEnum
from tinygrad_cv.models._weights import get_model as get_model
from tinygrad_cv.models._weights import get_model_builder as get_model_builder
from tinygrad_cv.models._weights import get_model_weights as get_model_weights
from tinygrad_cv.models._weights import get_weight as get_weight
from tinygrad_cv.models._weights import list_models as list_models
from tinygrad_cv.models.alexnet import AlexNet as AlexNet
from tinygrad_cv.models.alexnet import AlexNet_Weights as AlexNet_Weights
from tinygrad_cv.models.alexnet import AlexNetOriginal as AlexNetOriginal
from tinygrad_cv.models.alexnet import alexnet as alexnet
from tinygrad_cv.models.alexnet import alexnet_original as alexnet_original
