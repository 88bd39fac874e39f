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

from tinygrad_cv.models._blocks import MLP as MLP
from tinygrad_cv.models._blocks import Conv2dNormActivation as Conv2dNormActivation
from tinygrad_cv.models._blocks import LayerNorm2d as LayerNorm2d
from tinygrad_cv.models._blocks import Permute as Permute
from tinygrad_cv.models._blocks import SqueezeExcitation as SqueezeExcitation
from tinygrad_cv.models._blocks import StochasticDepth as StochasticDepth
from tinygrad_cv.models._blocks import stochastic_depth as stochastic_depth
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
from tinygrad_cv.models.convnext import CNBlockConfig as CNBlockConfig
from tinygrad_cv.models.convnext import ConvNeXt as ConvNeXt
from tinygrad_cv.models.convnext import ConvNeXt_Base_Weights as ConvNeXt_Base_Weights
from tinygrad_cv.models.convnext import ConvNeXt_Large_Weights as ConvNeXt_Large_Weights
from tinygrad_cv.models.convnext import ConvNeXt_Small_Weights as ConvNeXt_Small_Weights
from tinygrad_cv.models.convnext import ConvNeXt_Tiny_Weights as ConvNeXt_Tiny_Weights
from tinygrad_cv.models.convnext import convnext_base as convnext_base
from tinygrad_cv.models.convnext import convnext_large as convnext_large
from tinygrad_cv.models.convnext import convnext_small as convnext_small
from tinygrad_cv.models.convnext import convnext_tiny as convnext_tiny
from tinygrad_cv.models.efficientnet import EfficientNet as EfficientNet
from tinygrad_cv.models.efficientnet import EfficientNet_B0_Weights as EfficientNet_B0_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B1_Weights as EfficientNet_B1_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B2_Weights as EfficientNet_B2_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B3_Weights as EfficientNet_B3_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B4_Weights as EfficientNet_B4_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B5_Weights as EfficientNet_B5_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B6_Weights as EfficientNet_B6_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_B7_Weights as EfficientNet_B7_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_V2_L_Weights as EfficientNet_V2_L_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_V2_M_Weights as EfficientNet_V2_M_Weights
from tinygrad_cv.models.efficientnet import EfficientNet_V2_S_Weights as EfficientNet_V2_S_Weights
from tinygrad_cv.models.efficientnet import FusedMBConvConfig as FusedMBConvConfig
from tinygrad_cv.models.efficientnet import MBConvConfig as MBConvConfig
from tinygrad_cv.models.efficientnet import efficientnet_b0 as efficientnet_b0
from tinygrad_cv.models.efficientnet import efficientnet_b1 as efficientnet_b1
from tinygrad_cv.models.efficientnet import efficientnet_b2 as efficientnet_b2
from tinygrad_cv.models.efficientnet import efficientnet_b3 as efficientnet_b3
from tinygrad_cv.models.efficientnet import efficientnet_b4 as efficientnet_b4
from tinygrad_cv.models.efficientnet import efficientnet_b5 as efficientnet_b5
from tinygrad_cv.models.efficientnet import efficientnet_b6 as efficientnet_b6
from tinygrad_cv.models.efficientnet import efficientnet_b7 as efficientnet_b7
from tinygrad_cv.models.efficientnet import efficientnet_v2_l as efficientnet_v2_l
from tinygrad_cv.models.efficientnet import efficientnet_v2_m as efficientnet_v2_m
from tinygrad_cv.models.efficientnet import efficientnet_v2_s as efficientnet_v2_s
from tinygrad_cv.models.mobilenetv2 import MobileNet_V2_Weights as MobileNet_V2_Weights
from tinygrad_cv.models.mobilenetv2 import MobileNetV2 as MobileNetV2
from tinygrad_cv.models.mobilenetv2 import mobilenet_v2 as mobilenet_v2
from tinygrad_cv.models.mobilenetv3 import MobileNet_V3_Large_Weights as MobileNet_V3_Large_Weights
from tinygrad_cv.models.mobilenetv3 import MobileNet_V3_Small_Weights as MobileNet_V3_Small_Weights
from tinygrad_cv.models.mobilenetv3 import MobileNetV3 as MobileNetV3
from tinygrad_cv.models.mobilenetv3 import mobilenet_v3_large as mobilenet_v3_large
from tinygrad_cv.models.mobilenetv3 import mobilenet_v3_small as mobilenet_v3_small
from tinygrad_cv.models.vision_transformer import ConvStemConfig as ConvStemConfig
from tinygrad_cv.models.vision_transformer import VisionTransformer as VisionTransformer
from tinygrad_cv.models.vision_transformer import ViT_B_16_Weights as ViT_B_16_Weights
from tinygrad_cv.models.vision_transformer import ViT_B_32_Weights as ViT_B_32_Weights
from tinygrad_cv.models.vision_transformer import ViT_H_14_Weights as ViT_H_14_Weights
from tinygrad_cv.models.vision_transformer import ViT_L_16_Weights as ViT_L_16_Weights
from tinygrad_cv.models.vision_transformer import ViT_L_32_Weights as ViT_L_32_Weights
from tinygrad_cv.models.vision_transformer import interpolate_embeddings as interpolate_embeddings
from tinygrad_cv.models.vision_transformer import vit_b_16 as vit_b_16
from tinygrad_cv.models.vision_transformer import vit_b_32 as vit_b_32
from tinygrad_cv.models.vision_transformer import vit_h_14 as vit_h_14
from tinygrad_cv.models.vision_transformer import vit_l_16 as vit_l_16
from tinygrad_cv.models.vision_transformer import vit_l_32 as vit_l_32
