"""PyTorch's `torch.nn.functional` names, for code that is used to `F.relu(x)`."""

from tinygrad_cv.ops.activation import leaky_relu as leaky_relu
from tinygrad_cv.ops.activation import log_softmax as log_softmax
from tinygrad_cv.ops.activation import relu as relu
from tinygrad_cv.ops.activation import sigmoid as sigmoid
from tinygrad_cv.ops.activation import softmax as softmax
from tinygrad_cv.ops.activation import tanh as tanh
from tinygrad_cv.ops.conv import conv2d as conv2d
from tinygrad_cv.ops.conv import conv_transpose2d as conv_transpose2d
from tinygrad_cv.ops.index import one_hot as one_hot
from tinygrad_cv.ops.linalg import linear as linear
from tinygrad_cv.ops.loss import cross_entropy as cross_entropy
from tinygrad_cv.ops.loss import mse_loss as mse_loss
from tinygrad_cv.ops.noise import dropout as dropout
from tinygrad_cv.ops.norm import batch_norm as batch_norm
from tinygrad_cv.ops.pool import avg_pool2d as avg_pool2d
from tinygrad_cv.ops.pool import max_pool2d as max_pool2d
from tinygrad_cv.ops.shape import pad as pad
