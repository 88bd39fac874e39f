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
from tinygrad_cv.models.densenet import DenseNet as DenseNet
from tinygrad_cv.models.densenet import DenseNet121_Weights as DenseNet121_Weights
from tinygrad_cv.models.densenet import DenseNet161_Weights as DenseNet161_Weights
from tinygrad_cv.models.densenet import DenseNet169_Weights as DenseNet169_Weights
from tinygrad_cv.models.densenet import DenseNet201_Weights as DenseNet201_Weights
from tinygrad_cv.models.densenet import densenet121 as densenet121
from tinygrad_cv.models.densenet import densenet161 as densenet161
from tinygrad_cv.models.densenet import densenet169 as densenet169
from tinygrad_cv.models.densenet import densenet201 as densenet201
from tinygrad_cv.models.example import ExampleNet as ExampleNet
from tinygrad_cv.models.example import example_net as example_net
from tinygrad_cv.models.googlenet import GoogLeNet as GoogLeNet
from tinygrad_cv.models.googlenet import GoogLeNet_Weights as GoogLeNet_Weights
from tinygrad_cv.models.googlenet import GoogLeNetOutputs as GoogLeNetOutputs
from tinygrad_cv.models.googlenet import googlenet as googlenet
from tinygrad_cv.models.inception import Inception3 as Inception3
from tinygrad_cv.models.inception import Inception_V3_Weights as Inception_V3_Weights
from tinygrad_cv.models.inception import InceptionOutputs as InceptionOutputs
from tinygrad_cv.models.inception import inception_v3 as inception_v3
from tinygrad_cv.models.lenet import LeNet5 as LeNet5
from tinygrad_cv.models.lenet import lenet5 as lenet5
from tinygrad_cv.models.resnet import CIFARResNet as CIFARResNet
from tinygrad_cv.models.resnet import ResNet as ResNet
from tinygrad_cv.models.resnet import ResNet18_Weights as ResNet18_Weights
from tinygrad_cv.models.resnet import ResNet34_Weights as ResNet34_Weights
from tinygrad_cv.models.resnet import ResNet50_Weights as ResNet50_Weights
from tinygrad_cv.models.resnet import ResNet101_Weights as ResNet101_Weights
from tinygrad_cv.models.resnet import ResNet152_Weights as ResNet152_Weights
from tinygrad_cv.models.resnet import ResNeXt50_32X4D_Weights as ResNeXt50_32X4D_Weights
from tinygrad_cv.models.resnet import ResNeXt101_32X8D_Weights as ResNeXt101_32X8D_Weights
from tinygrad_cv.models.resnet import ResNeXt101_64X4D_Weights as ResNeXt101_64X4D_Weights
from tinygrad_cv.models.resnet import Wide_ResNet50_2_Weights as Wide_ResNet50_2_Weights
from tinygrad_cv.models.resnet import Wide_ResNet101_2_Weights as Wide_ResNet101_2_Weights
from tinygrad_cv.models.resnet import resnet18 as resnet18
from tinygrad_cv.models.resnet import resnet20 as resnet20
from tinygrad_cv.models.resnet import resnet32 as resnet32
from tinygrad_cv.models.resnet import resnet34 as resnet34
from tinygrad_cv.models.resnet import resnet44 as resnet44
from tinygrad_cv.models.resnet import resnet50 as resnet50
from tinygrad_cv.models.resnet import resnet56 as resnet56
from tinygrad_cv.models.resnet import resnet101 as resnet101
from tinygrad_cv.models.resnet import resnet110 as resnet110
from tinygrad_cv.models.resnet import resnet152 as resnet152
from tinygrad_cv.models.resnet import resnext50_32x4d as resnext50_32x4d
from tinygrad_cv.models.resnet import resnext101_32x8d as resnext101_32x8d
from tinygrad_cv.models.resnet import resnext101_64x4d as resnext101_64x4d
from tinygrad_cv.models.resnet import wide_resnet50_2 as wide_resnet50_2
from tinygrad_cv.models.resnet import wide_resnet101_2 as wide_resnet101_2
from tinygrad_cv.models.squeezenet import SqueezeNet as SqueezeNet
from tinygrad_cv.models.squeezenet import SqueezeNet1_0_Weights as SqueezeNet1_0_Weights
from tinygrad_cv.models.squeezenet import SqueezeNet1_1_Weights as SqueezeNet1_1_Weights
from tinygrad_cv.models.squeezenet import squeezenet1_0 as squeezenet1_0
from tinygrad_cv.models.squeezenet import squeezenet1_1 as squeezenet1_1
from tinygrad_cv.models.u_net import UNet as UNet
from tinygrad_cv.models.u_net import unet as unet
from tinygrad_cv.models.vgg import VGG as VGG
from tinygrad_cv.models.vgg import VGG11_BN_Weights as VGG11_BN_Weights
from tinygrad_cv.models.vgg import VGG11_Weights as VGG11_Weights
from tinygrad_cv.models.vgg import VGG13_BN_Weights as VGG13_BN_Weights
from tinygrad_cv.models.vgg import VGG13_Weights as VGG13_Weights
from tinygrad_cv.models.vgg import VGG16_BN_Weights as VGG16_BN_Weights
from tinygrad_cv.models.vgg import VGG16_Weights as VGG16_Weights
from tinygrad_cv.models.vgg import VGG19_BN_Weights as VGG19_BN_Weights
from tinygrad_cv.models.vgg import VGG19_Weights as VGG19_Weights
from tinygrad_cv.models.vgg import vgg11 as vgg11
from tinygrad_cv.models.vgg import vgg11_bn as vgg11_bn
from tinygrad_cv.models.vgg import vgg13 as vgg13
from tinygrad_cv.models.vgg import vgg13_bn as vgg13_bn
from tinygrad_cv.models.vgg import vgg16 as vgg16
from tinygrad_cv.models.vgg import vgg16_bn as vgg16_bn
from tinygrad_cv.models.vgg import vgg19 as vgg19
from tinygrad_cv.models.vgg import vgg19_bn as vgg19_bn
