"""The import lines of PyTorch's programs, and the modules that such a program only asks."""

import hashlib
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv import accelerator, cuda, distributed, hub, jit, multiprocessing, nn
from tinygrad_cv._paths import PATHS
from tinygrad_cv.nn.attention import SDPBackend, sdpa_kernel
from tinygrad_cv.nn.parallel import DistributedDataParallel
from tinygrad_cv.utils.checkpoint import checkpoint_sequential
from tinygrad_cv.utils.model_zoo import load_url

pytestmark = pytest.mark.host  # the device is chosen here, or there is none

LINES = """
-: nn optim Tensor tensor autograd linalg distributed multiprocessing einsum FloatTensor
    LongTensor device dtype Size Generator default_generator randperm no_grad inference_mode
    load save manual_seed cuda jit hub matmul cat stack pi inf nan vmap is_tensor autocast
    float32 int64 bool uint8 channels_last finfo iinfo accelerator
accelerator: is_available
amp: autocast GradScaler custom_fwd
amp.autocast_mode: autocast
amp.grad_scaler: GradScaler
autograd: Variable Function grad gradcheck functional detect_anomaly set_detect_anomaly no_grad
    enable_grad backward
autograd.anomaly_mode: detect_anomaly
autograd.function: Function once_differentiable InplaceFunction FunctionCtx
autograd.functional: jacobian hessian hvp vjp jvp
autograd.grad_mode: no_grad
autograd.gradcheck: gradcheck gradgradcheck
autograd.variable: Variable
backends: cudnn
backends.cuda: sdp_kernel matmul
backends.cudnn:
backends.mps:
cuda: amp device_count is_available FloatTensor
cuda.amp: autocast GradScaler custom_fwd custom_bwd
cuda.amp.autocast_mode: autocast
cuda.amp.grad_scaler: GradScaler
cuda.random:
distributed: init_process_group destroy_process_group is_initialized is_available get_rank
    get_world_size get_backend all_reduce all_gather all_gather_into_tensor broadcast reduce gather
    scatter reduce_scatter_tensor send recv isend irecv barrier all_gather_object
    broadcast_object_list ReduceOp group ProcessGroup is_nccl_available is_mpi_available
distributions: Normal Categorical Bernoulli Uniform Beta Dirichlet MultivariateNormal
    Distribution kl_divergence Independent constraints OneHotCategorical Gamma Exponential
    Laplace kl
distributions.bernoulli: Bernoulli
distributions.beta: Beta
distributions.categorical: Categorical
distributions.constraints: positive
distributions.dirichlet: Dirichlet
distributions.distribution: Distribution
distributions.exponential: Exponential
distributions.gamma: Gamma
distributions.independent: Independent
distributions.kl: kl_divergence register_kl
distributions.laplace: Laplace
distributions.multivariate_normal: MultivariateNormal
distributions.normal: Normal
distributions.one_hot_categorical: OneHotCategorical
distributions.uniform: Uniform
func: vmap grad jacrev jacfwd functional_call stack_module_state hessian vjp jvp
hub: load_state_dict_from_url get_dir download_url_to_file
jit: script ScriptModule script_method
linalg: norm svd inv solve qr
mps: empty_cache
multiprocessing: Process Queue Pool set_start_method
nn: Module Parameter functional init utils Linear Conv2d BatchNorm2d ReLU Sequential ModuleList
    Dropout Sigmoid Softmax Tanh LeakyReLU ELU GELU CrossEntropyLoss BCELoss MSELoss
    BCEWithLogitsLoss NLLLoss KLDivLoss L1Loss SmoothL1Loss TransformerEncoder
    TransformerEncoderLayer DataParallel SyncBatchNorm MultiheadAttention Embedding LayerNorm
    UninitializedParameter Buffer ParameterList ParameterDict ModuleDict attention parallel
    modules LSTM GRU RNN LSTMCell GRUCell RNNCell
nn.attention: SDPBackend sdpa_kernel
nn.common_types: _size_2_t _size_1_t _size_3_t
nn.functional: relu softmax log_softmax cross_entropy nll_loss dropout interpolate pad conv2d
    linear normalize one_hot binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss
    scaled_dot_product_attention grid_sample affine_grid adaptive_avg_pool2d max_pool2d
    avg_pool2d unfold fold gumbel_softmax multi_head_attention_forward
nn.init: xavier_uniform_ xavier_normal_ kaiming_normal_ kaiming_uniform_ constant_ normal_
    zeros_ ones_ orthogonal_ trunc_normal_ xavier_uniform kaiming_normal
    _calculate_fan_in_and_fan_out calculate_gain _calculate_correct_fan
nn.modules: Module module conv Linear
nn.modules.activation: MultiheadAttention ReLU
nn.modules.adaptive: AdaptiveLogSoftmaxWithLoss
nn.modules.batchnorm: _BatchNorm BatchNorm2d _NormBase
nn.modules.channelshuffle: ChannelShuffle
nn.modules.container: ModuleList Sequential ModuleDict
nn.modules.conv: _ConvNd _ConvTransposeNd Conv2d
nn.modules.distance: CosineSimilarity
nn.modules.dropout: Dropout _DropoutNd
nn.modules.flatten: Flatten
nn.modules.fold: Unfold
nn.modules.instancenorm: _InstanceNorm
nn.modules.lazy: LazyModuleMixin
nn.modules.linear: Linear
nn.modules.loss: _Loss _WeightedLoss CrossEntropyLoss MSELoss
nn.modules.module: Module _addindent
nn.modules.normalization: LayerNorm LocalResponseNorm
nn.modules.padding: ZeroPad2d
nn.modules.pixelshuffle: PixelShuffle
nn.modules.pooling: MaxPool2d _MaxPoolNd _AvgPoolNd _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd
nn.modules.rnn: RNNBase LSTM GRU RNNCellBase
nn.modules.sparse: Embedding
nn.modules.transformer: TransformerEncoderLayer
nn.modules.upsampling: Upsample
nn.modules.utils: _pair _single _triple _ntuple
nn.parallel: DistributedDataParallel DataParallel data_parallel
nn.parallel.data_parallel: DataParallel
nn.parallel.distributed: DistributedDataParallel
nn.parameter: Parameter UninitializedParameter is_lazy
nn.utils: clip_grad_norm_ clip_grad_norm clip_grad_value_ get_total_norm clip_grads_with_norm_
    spectral_norm weight_norm remove_weight_norm parameters_to_vector vector_to_parameters
    remove_spectral_norm parametrize skip_init rnn stateless fuse_conv_bn_eval
nn.utils.clip_grad: clip_grad_norm_ clip_grad_value_
nn.utils.convert_parameters: vector_to_parameters parameters_to_vector
nn.utils.fusion: fuse_conv_bn_eval fuse_conv_bn_weights
nn.utils.init: skip_init
nn.utils.parametrizations: weight_norm spectral_norm orthogonal
nn.utils.parametrize: register_parametrization remove_parametrizations
nn.utils.rnn: pack_padded_sequence pad_packed_sequence pad_sequence pack_sequence PackedSequence
    invert_permutation unpad_sequence unpack_sequence
nn.utils.spectral_norm: SpectralNorm spectral_norm
nn.utils.stateless: functional_call
nn.utils.weight_norm: WeightNorm weight_norm
onnx:
optim: Optimizer Adam SGD AdamW RMSprop Adagrad lr_scheduler LBFGS swa_utils optimizer Adafactor
    Muon
optim.adam: Adam
optim.adamw: AdamW
optim.lbfgs: LBFGS
optim.lr_scheduler: StepLR MultiStepLR ExponentialLR CosineAnnealingLR ReduceLROnPlateau
    LambdaLR OneCycleLR CyclicLR _LRScheduler LRScheduler CosineAnnealingWarmRestarts LinearLR
    SequentialLR ChainedScheduler ConstantLR PolynomialLR MultiplicativeLR
optim.optimizer: Optimizer required
optim.rmsprop: RMSprop
optim.sgd: SGD
optim.swa_utils: AveragedModel SWALR update_bn get_ema_multi_avg_fn
random: manual_seed fork_rng
storage:
testing:
utils: data model_zoo checkpoint
utils.checkpoint: checkpoint
utils.data: DataLoader Dataset TensorDataset random_split Subset ConcatDataset IterableDataset
    get_worker_info Sampler BatchSampler RandomSampler SequentialSampler SubsetRandomSampler
    WeightedRandomSampler DistributedSampler default_collate ChainDataset StackDataset _utils
    sampler dataset dataloader distributed
utils.data._utils.collate: default_collate
utils.data._utils.worker: get_worker_info
utils.data.dataloader: default_collate DataLoader
utils.data.dataset: Dataset random_split Subset ConcatDataset TensorDataset
utils.data.distributed: DistributedSampler
utils.data.sampler: Sampler SubsetRandomSampler BatchSampler RandomSampler SequentialSampler
    WeightedRandomSampler
utils.model_zoo: load_url
version: cuda
"""
"""Modules, each with what programs take from it: `from torch.<module> import <names>`."""


def forms() -> list[tuple[str, list[str]]]:
    joined = LINES.strip().replace("\n    ", " ")
    rows = [row.partition(":") for row in joined.splitlines()]
    return [("" if path == "-" else f".{path}", names.split()) for path, _, names in rows]


@pytest.mark.parametrize(("path", "names"), forms(), ids=[path for path, _ in forms()])
def test_an_import_line_works(path: str, names: list[str]) -> None:
    exec(f"import tinygrad_cv{path}", {})
    exec(f"import tinygrad_cv{path} as short", {})
    for name in names:
        taken: dict[str, Any] = {}
        exec(f"from tinygrad_cv{path} import {name} as taken", taken)
        assert taken["taken"] is getattr(sys.modules[f"tinygrad_cv{path}"], name)


def test_a_longer_path_leads_to_the_module_that_is_there() -> None:
    import_module("tinygrad_cv.distributions")
    for path, ours in PATHS.items():
        assert import_module(f"tinygrad_cv.{path}") is import_module(f"tinygrad_cv.{ours}")
    assert tg.distributions.normal.Normal is tg.distributions.Normal  # type: ignore[attr-defined]
    assert tg.optim.adamw.AdamW is tg.optim.AdamW  # type: ignore[attr-defined]
    assert nn.utils.weight_norm.__name__ == "weight_norm"  # the function, as in PyTorch
    assert callable(nn.utils.weight_norm)
    assert nn.parallel.data_parallel.__name__ == "data_parallel"


# ----- modules that a program asks ----------------------------------------------------------------


def test_the_accelerator_is_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerator.is_available() == cuda.is_available()
    assert accelerator.device_count() == cuda.device_count()
    monkeypatch.setattr(accelerator, "is_available", lambda: False)
    assert accelerator.current_accelerator() is None
    monkeypatch.setattr(accelerator, "is_available", lambda: True)
    assert accelerator.current_accelerator(check_available=True) == tg.device("cuda")
    with accelerator.device_index(None):
        assert tg.ones(1).device == tg.get_default_device()
    if not cuda.is_available():
        assert accelerator.memory_allocated() == accelerator.max_memory_allocated() == 0
        accelerator.empty_cache()
        for call in (
            accelerator.synchronize,
            accelerator.current_device_index,
            lambda: accelerator.device_index(0).__enter__(),
        ):
            with pytest.raises(ModuleNotFoundError, match="device 'cuda' needs CuPy"):
                call()


def test_what_a_program_asks_of_several_processes() -> None:
    assert distributed.is_available()
    assert not distributed.is_initialized()
    assert distributed.group.WORLD is None  # which stands for it
    with pytest.raises(AttributeError, match="distributed has no new_group: there is one group"):
        distributed.new_group  # noqa: B018
    with pytest.raises(AttributeError, match="distributed has no fsdp: every rank has the whole"):
        distributed.fsdp  # noqa: B018
    assert not isinstance(nn.Linear(1, 1), DistributedDataParallel)
    multiprocessing.set_sharing_strategy("file_system")
    assert multiprocessing.get_sharing_strategy() == "file_system"
    multiprocessing.set_sharing_strategy("file_descriptor")
    with pytest.raises(ValueError, match="got 'memory'"):
        multiprocessing.set_sharing_strategy("memory")
    with pytest.raises(AttributeError, match="multiprocessing has no spawn: training runs in one"):
        _ = multiprocessing.spawn


def test_decorators_of_jit_leave_what_they_get() -> None:
    @jit.script
    def f(x: Any) -> Any:
        return x if jit.is_scripting() or jit.is_tracing() else x + 1

    class Layer(jit.ScriptModule):
        @jit.script_method
        def forward(self, x: Any) -> Any:
            return jit.annotate(int, f(x))

        @jit.ignore(drop=True)
        def one(self) -> int:
            return 1

        @jit.ignore
        def two(self) -> int:
            return 2

        @jit.unused
        def three(self) -> int:
            return 3

    layer = jit.script(Layer())
    assert layer(tg.ones(1)).item() == 2
    assert (layer.one(), layer.two(), layer.three()) == (1, 2, 3)
    assert isinstance(layer, jit.ScriptModule)
    assert not isinstance(nn.Linear(1, 1), jit.ScriptModule)
    with pytest.raises(AttributeError, match="jit has no trace: a module runs as it is; save its"):
        _ = jit.trace


def test_kernels_of_attention_are_all_the_same() -> None:
    q = tg.rand(1, 2, 3, 4)
    plain = nn.functional.scaled_dot_product_attention(q, q, q)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        assert (nn.functional.scaled_dot_product_attention(q, q, q) == plain).all()
    with tg.backends.cuda.sdp_kernel(enable_flash=False):
        assert (nn.functional.scaled_dot_product_attention(q, q, q) == plain).all()


def test_memory_that_is_lacking() -> None:
    with pytest.raises(tg.OutOfMemoryError):
        tg.zeros(2**40, 2**40)
    assert cuda.OutOfMemoryError is tg.OutOfMemoryError


@pytest.mark.parametrize("segments", [1, 2, 3, 4, 7])
def test_a_sequential_in_segments(segments: int) -> None:
    layers = [nn.Linear(3, 3) for _ in range(7)]
    x = tg.rand(2, 3, requires_grad=True)
    plain = nn.Sequential(*layers)(x)
    expected = tg.autograd.grad(plain.square().sum(), [x, *nn.Sequential(*layers).parameters()])
    y = checkpoint_sequential(nn.Sequential(*layers), segments, x, use_reentrant=False)
    found = tg.autograd.grad(y.square().sum(), [x, *nn.Sequential(*layers).parameters()])
    assert (y == plain).all()
    assert all((a == b).all() for a, b in zip(expected, found, strict=True))
    assert str(tg.graph(y)).count("recompute") == segments - 1
    for wrong in (0, 8, -1):
        with pytest.raises(ValueError, match=f"from 1 to 7 segments.*got {wrong}"):
            checkpoint_sequential(layers, wrong, x)


# ----- weights from the web -----------------------------------------------------------------------


def test_weights_are_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "_chosen", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    assert hub.get_dir() == str(tmp_path / "cache" / "hub")
    source = tmp_path / "some net.pt"
    state = nn.Linear(2, 3).state_dict()
    tg.save(state, source)
    first = load_url(source.as_uri(), map_location="cpu")
    assert "Downloading" in capsys.readouterr().err
    assert (Path(hub.get_dir()) / "checkpoints" / "some net.pt").exists()
    source.unlink()
    again = hub.load_state_dict_from_url(source.as_uri(), progress=False, weights_only=True)
    assert capsys.readouterr().err == ""
    for loaded in (first, again):
        assert list(loaded) == list(state)
        np.testing.assert_array_equal(loaded["weight"].numpy(), state["weight"].numpy())


def test_a_download_has_the_hash_that_its_name_says(tmp_path: Path) -> None:
    source = tmp_path / "net.pt"
    tg.save({"x": tg.ones(1)}, source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    for named, right in ((f"net-{digest[:8]}.pt", True), ("net-0123abcd.pt", False)):
        kept = tmp_path / "kept" / named
        if right:
            hub.load_state_dict_from_url(
                source.as_uri(), kept.parent, check_hash=True, file_name=named, progress=False
            )
        else:
            with pytest.raises(RuntimeError, match=f"SHA-256 {digest}, and 0123abcd was expected"):
                hub.load_state_dict_from_url(
                    source.as_uri(), kept.parent, check_hash=True, file_name=named, progress=False
                )
        assert kept.exists() == right


def test_the_folder_of_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "_chosen", None)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.get_dir() == str(tmp_path / "torch" / "hub")
    hub.set_dir(tmp_path / "mine")
    assert hub.get_dir() == str(tmp_path / "mine")


def test_an_import_of_the_package_leaves_out_what_takes_long() -> None:
    late = [
        "importlib.metadata",
        "urllib.request",
        "multiprocessing",
        "torch",
        "cupy",
        "scipy",
        "PIL",
    ]
    late += ["tinygrad_cv.backend.cupy_backend", "tinygrad_cv.viz", "tinygrad_cv.distributions"]
    program = f"import tinygrad_cv, sys; print([m for m in {late} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert tg.__version__ == tg.version.__version__ == metadata.version("tinygrad_cv")
    with pytest.raises(AttributeError, match=r"'tinygrad_cv\.version' has no attribute 'nosuch'"):
        _ = tg.version.nosuch  # type: ignore[attr-defined]
