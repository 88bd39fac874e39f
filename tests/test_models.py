"""The known models: their sizes, what they learn, and the weights that they take or refuse."""

import pickle
from collections import OrderedDict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from test_pth import call, storage, zipped
from tinygrad_cv import hub, models, nn, viz
from tinygrad_cv.data.transforms import ImageClassification
from tinygrad_cv.models import Weights, WeightsEnum, _weights
from tinygrad_cv.models.densenet import DenseNet
from tinygrad_cv.models.resnet import BasicBlock, Bottleneck, CIFARResNet, ResNet
from tinygrad_cv.models.u_net import UNet
from tinygrad_cv.models.vgg import DEPTHS, make_layers
from tinygrad_cv.nn.init import undrawn

# ----- sizes --------------------------------------------------------------------------------------

OTHER_COUNTS = {
    "alexnet_original": 60_965_224,  # the course's number
    "example_net": 6_440,  # the course's number
    "lenet5": 61_706,
    "resnet20": 269_722,  # 0.27 M in the paper, and so on
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "unet": 31_031_810,
}
"""Parameters of the models without published weights; the others tell theirs with these."""


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Instead of a draw, the generator that it would come from."""
    seen: list[Any] = []

    def note(tensor: Any, *arguments: Any, generator: Any = None, **options: Any) -> Any:
        seen.append(arguments[-1] if arguments and arguments[-1] is MINE else generator)
        return tensor

    for name in ("uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, note)
    return seen


MINE = tg.Generator()


@pytest.mark.host
@pytest.mark.parametrize("name", models.list_models())
def test_a_model_has_the_parameters_of_its_paper_and_one_generator(
    name: str, generators: list[Any]
) -> None:
    config, expected = {}, OTHER_COUNTS.get(name)
    if expected is None:
        published = models.get_weight(f"{models.get_model_weights(name).__name__}.DEFAULT")
        config, expected = published.value.config, published.meta["num_params"]
    model = models.get_model(name, generator=MINE, **config)
    assert sum(p.numel() for p in model.parameters()) == expected
    assert generators
    assert all(generator is MINE for generator in generators)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            assert layer.generator is MINE


@pytest.mark.host
def test_alexnet_without_groups_and_its_sizes() -> None:
    with undrawn():
        assert sum(p.numel() for p in models.alexnet_original(groups=1).parameters()) == 62_378_344
        net = models.alexnet_original()
    for layer in net.features:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    x, sizes = tg.rand(1, 3, 224, 224), []
    with tg.no_grad():
        for layer in net.features:
            x = layer(x)
            if not isinstance(layer, nn.ReLU | nn.LocalResponseNorm):
                sizes.append(x.shape[-1])
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]
    with pytest.raises(ValueError, match=r"takes images of 224x224 pixels; got .*64, 64"):
        net(tg.rand(1, 3, 64, 64))


@pytest.mark.host
def test_u_net_has_the_parameters_of_the_figure_and_the_paper_s_sizes() -> None:
    """Counted by the figure: a step of c channels is two convolutions, and one up joins two."""

    def pair(a: int, b: int) -> int:
        return 9 * a * b + b + 9 * b * b + b

    widths = [64, 128, 256, 512, 1024]
    down = sum(pair(a, b) for a, b in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * c * c + c + pair(2 * c, c) for c in widths[:-1])
    with undrawn():
        net = models.unet(in_channels=1)
    assert sum(p.numel() for p in net.parameters()) == down + up + 64 * 2 + 2 == 31_030_658
    paper = models.unet(in_channels=1, width=1, padded=False)
    with tg.no_grad():
        assert paper(tg.rand(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@given(size=st.tuples(st.integers(4, 20), st.integers(4, 20)), norm=st.booleans())
def test_u_net_keeps_the_size_of_any_image(size: tuple[int, int], norm: bool) -> None:
    net = UNet(1, 3, width=2, depth=2, batch_norm=norm)
    assert net(tg.rand(2, 1, *size)).shape == (2, 3, *size)


def test_u_net_refuses_what_it_would_leave_nothing_of() -> None:
    for depth, padded, least in ((3, True, 8), (1, False, 18), (2, False, 44), (4, False, 188)):
        net = UNet(1, width=2, depth=depth, padded=padded)
        assert min(net(tg.rand(1, 1, least, least)).shape) > 0
        with pytest.raises(ValueError, match=rf"at least {least}x{least} pixels; got .* \(1, 1, "):
            net(tg.rand(1, 1, least, least - 1))
        net.least = 0  # it was the least: one less leaves nothing somewhere
        with pytest.raises(ValueError, match="leaves no room"):
            net(tg.rand(1, 1, least - 1, least - 1))


@pytest.mark.host
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_has_its_layers(batch_norm: bool) -> None:
    for depth, stages in DEPTHS.items():
        assert sum(stages) + 3 == depth
    features = make_layers((1, 1, 1, 1, 1), batch_norm)
    assert [type(layer).__name__ for layer in features[: 3 + batch_norm]] == [
        "Conv2d",
        *(["BatchNorm2d"] if batch_norm else []),
        "ReLU",
        "MaxPool2d",
    ]
    assert features(tg.rand(2, 3, 32, 32)).shape == (2, 512, 1, 1)


# ----- learning -----------------------------------------------------------------------------------

SMALL = {
    "lenet5": (models.lenet5, (1, 28, 28)),
    "example_net": (models.example_net, (3, 32, 32)),
    "resnet8": (partial(CIFARResNet, 1), (3, 16, 16)),
    "densenet": (partial(DenseNet, 4, (2, 2), 8), (3, 32, 32)),
    "squeezenet": (models.squeezenet1_1, (3, 32, 32)),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_step_against_the_gradient_lowers_the_loss(name: str) -> None:
    make, shape = SMALL[name]
    model = make(num_classes=10, generator=tg.Generator().manual_seed(0))
    draw = np.random.default_rng(0)
    x = tg.tensor(draw.normal(size=(4, *shape)).astype("float32"))
    labels = tg.tensor(draw.integers(0, 10, size=4))
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    optimizer = tg.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses[1] < losses[0]


@pytest.mark.host
def test_inceptions_give_more_scores_while_they_train() -> None:
    net = models.googlenet(num_classes=3, init_weights=False, transform_input=True)
    x = tg.rand(2, 3, 32, 32)
    scores = net(x)
    assert isinstance(scores, models.GoogLeNetOutputs)
    assert [y.shape for y in scores] == [(2, 3)] * 3
    with tg.no_grad():
        assert net.eval()(x).shape == (2, 3)
    with undrawn():
        large = models.inception_v3()
    with pytest.raises(ValueError, match=r"at least 299x299 pixels; got .* Use aux_logits=False"):
        large(x)
    assert models.InceptionOutputs._fields == ("logits", "aux_logits")
    for wrong in ({"blocks": [nn.Module]}, {"inception_blocks": [nn.Module]}):
        make = models.googlenet if "blocks" in wrong else models.inception_v3
        with pytest.raises(ValueError, match=r"are the classes for BasicConv2d.*got 1 of them"):
            make(**wrong)


@pytest.mark.host
def test_transform_input_goes_from_imagenet_s_numbers_to_halves() -> None:
    from tinygrad_cv.models.googlenet import renormalized

    image = np.random.default_rng(0).uniform(size=(2, 3, 4, 4))
    mean = np.array([0.485, 0.456, 0.406])[:, None, None]
    std = np.array([0.229, 0.224, 0.225])[:, None, None]
    found = renormalized(tg.tensor((image - mean) / std))
    np.testing.assert_allclose(found.numpy(), (image - 0.5) / 0.5, atol=1e-12)


def test_a_memory_efficient_densenet_has_the_same_gradients() -> None:
    nets = [
        DenseNet(4, (2, 2), 8, num_classes=3, memory_efficient=m, generator=tg.Generator())
        for m in (False, True)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x = tg.rand(2, 3, 32, 32)
    for net in nets:
        net(x).square().sum().backward()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        np.testing.assert_allclose(a.grad.cpu().numpy(), b.grad.cpu().numpy(), rtol=1e-4, atol=1e-5)


def test_shortcuts_of_option_a_have_no_parameters() -> None:
    net = models.resnet20()
    x = tg.rand(2, 16, 7, 8)
    y = net.layer2[0].downsample(x)
    assert y.shape == (2, 32, 4, 4)
    assert (y[:, :16] == x[:, :, ::2, ::2]).all()
    assert (y[:, 16:] == 0).all()
    assert not [name for name in net.state_dict() if "downsample" in name]


@pytest.mark.host
def test_zero_init_makes_blocks_their_shortcuts() -> None:
    for block in (BasicBlock, Bottleneck):
        net = ResNet(block, [2, 1, 1, 1], num_classes=2, zero_init_residual=True).eval()
        x = tg.rand(1, 64 * block.expansion, 4, 4)
        assert (net.layer1[1](x) == x).all()


@pytest.mark.host
def test_resnet_refuses_what_its_blocks_cannot() -> None:
    with pytest.raises(ValueError, match=r"a BasicBlock has groups=1.*A Bottleneck takes others"):
        models.resnet18(groups=2)
    with pytest.raises(ValueError, match="yes or no for three stages"):
        models.resnet50(replace_stride_with_dilation=[True])
    with pytest.raises(ValueError, match="the versions '1_0' and '1_1'"):
        models.SqueezeNet("1_2")
    with pytest.raises(ValueError, match="image_size is at least 8; got 4"):
        models.example_net(image_size=4)


def test_a_block_of_somebody_else_need_not_know_of_generators() -> None:
    class Plain(nn.Module):
        expansion = 1

        def __init__(self, inplanes: int, planes: int, stride: int = 1, *rest: Any) -> None:
            self.conv = nn.Conv2d(inplanes, planes, 3, stride, padding=1)

        def forward(self, x: Any) -> Any:
            return self.conv(x)

    assert ResNet(Plain, [1, 1, 1, 1], num_classes=2)(tg.rand(1, 3, 32, 32)).shape == (1, 2)


# ----- whole models in other hands ----------------------------------------------------------------


@pytest.fixture(scope="module")
def net() -> Any:
    with tg.device("cpu"):
        return models.resnet20(num_classes=3, generator=tg.Generator().manual_seed(1)).eval()


@pytest.mark.host
def test_a_model_is_pickled(net: Any) -> None:
    x = tg.rand(1, 3, 16, 16)
    assert (pickle.loads(pickle.dumps(net))(x) == net(x)).all()


@pytest.mark.host
def test_a_compiled_model_agrees(net: Any) -> None:
    x = tg.rand(2, 3, 16, 16)
    with tg.no_grad():
        np.testing.assert_allclose(tg.compile(net)(x).numpy(), net(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.host
def test_a_model_is_drawn_with_its_blocks_folded(net: Any) -> None:
    table = viz.summary(net, (1, 3, 16, 16))
    assert table.parameters == sum(p.numel() for p in net.parameters())
    drawing = viz.draw(models.resnet32(), (1, 3, 8, 8), collapse="repeats")
    assert drawing.view.size < len(drawing.trace.nodes) / 2
    for blocks in ("layer1.0 … 4", "layer2.1 … 4", "layer3.1 … 4"):
        assert blocks in drawing.source


# ----- weights ------------------------------------------------------------------------------------


def same(model: nn.Module, state: Any) -> bool:
    return all((value == state[name]).all() for name, value in model.state_dict().items())


@pytest.mark.host
@pytest.mark.parametrize("kind", ["safetensors", "path", "state", "arrays", "pth", "saved"])
def test_a_model_takes_weights(kind: str, net: Any, tmp_path: Path) -> None:
    state = net.state_dict()
    weights: Any = state
    if kind in ("safetensors", "path"):
        weights = tmp_path / "net.safetensors"
        tg.train.save_model(net, weights)
        weights = str(weights) if kind == "safetensors" else weights
    elif kind == "saved":
        weights = tmp_path / "net.pt"
        tg.save(state, weights)
    elif kind == "arrays":
        weights = {name: value.numpy() for name, value in state.items()}
    elif kind == "pth":
        weights = tmp_path / "net.pth"
        weights.write_bytes(as_pth(state))
    with tg.device("fakecuda:1"):
        there = models.resnet20(num_classes=3, weights=weights)
    assert there.conv1.weight.device == "fakecuda:1"
    assert same(there.cpu(), state)
    before = tg.get_rng_state()
    assert same(models.resnet20(num_classes=3, weights=weights), state)
    assert same(models.get_model("ResNet20", num_classes=3, weights=weights), state)
    assert (tg.get_rng_state() == before).all()  # what is loaded is not drawn before


def as_pth(state: Any) -> bytes:
    """The file that `torch.save` writes of a state dict."""
    parts, storages = {}, {}
    for key, (name, value) in enumerate(state.items()):
        array = value.numpy()
        steps = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
        kind = "Long" if array.dtype == np.int64 else "Float"
        place = storage(kind, str(key), array.size)
        arguments = (place, 0, array.shape, steps, False, call("collections.OrderedDict"))
        parts[name] = call("torch._utils._rebuild_tensor_v2", *arguments)
        storages[f"s{key}"] = array.tobytes()
    return zipped(parts, **storages)


SHAPES = {"fc.weight": (3, 64), "conv1.weight": (16, 3, 3, 3)}


def wrong_state(net: Any, kind: str) -> Any:
    state = OrderedDict(net.state_dict())
    match kind:
        case "another":
            return {f"features.{i}.weight": np.zeros(2) for i in range(9)}
        case "deeper":
            return models.resnet32(num_classes=3).state_dict()
        case "shallower":
            del state["layer3.2.conv1.weight"]
        case "classes":
            state |= {"fc.weight": np.zeros((7, 64)), "fc.bias": np.zeros(7)}
        case "shape":
            state["conv1.weight"] = np.zeros((16, 1, 3, 3))
        case "wrapped":
            return {f"module.{name}": value for name, value in state.items()}
        case "nan":
            state["fc.bias"] = np.array(["a", "b", "c"])
    return state


@pytest.mark.host
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "another",
            r"holds another model: 'conv1\.weight', .* more of this CIFARResNet are",
        ),
        (
            "deeper",
            r"has 'layer1\.3\.conv1\.weight', .* more, unknown to this CIFARResNet\.",
        ),
        ("shallower", r"lacks 'layer3\.2\.conv1\.weight'\. It is of another model"),
        ("classes", r"has 7 outputs in 'fc\.weight', 'fc\.bias', .* has 3\. .* num_classes=7, and"),
        ("shape", r"has 'conv1\.weight' of shape \(16, 1, 3, 3\), where .* \(16, 3, 3, 3\)\. Make"),
        ("wrapped", r"has 'module\.' before every name.*removeprefix\('module\.'\)"),
        ("nan", r"does not fit: .* fc\.bias holds values of type <U1"),
    ],
)
def test_weights_that_do_not_fit_are_told_in_a_sentence(
    kind: str, sentence: str, net: Any, tmp_path: Path
) -> None:
    state = wrong_state(net, kind)
    with pytest.raises(ValueError, match=f"resnet20: the state dict {sentence}"):
        models.resnet20(num_classes=3, weights=state)
    if kind == "classes":
        tg.save({k: tg.tensor(v) for k, v in state.items()}, tmp_path / "net.pt")
        with pytest.raises(ValueError, match=rf"resnet20: .*net\.pt {sentence}"):
            models.resnet20(num_classes=3, weights=tmp_path / "net.pt")


SMALLEST = {"num_classes": 3, "in_channels": 1, "width": 1, "image_size": 8}
RIGHT = models.example_net(**SMALLEST).state_dict()
NAMES = [*RIGHT]
VALUES = st.sampled_from([0, "text", None, [1.0], np.zeros(3), np.zeros((3, 1)), np.zeros((7, 1))])


@pytest.mark.host
@given(
    left_out=st.sets(st.sampled_from(NAMES)),
    other=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=9) | st.integers(), VALUES),
    prefix=st.sampled_from(["", "", "module.", "x."]),
)
def test_whatever_a_state_dict_holds_it_fits_or_is_told_in_a_line(
    left_out: set[str], other: dict[Any, Any], prefix: str
) -> None:
    state: dict[Any, Any] = {prefix + k: v for k, v in RIGHT.items() if k not in left_out}
    state |= other
    try:
        model = models.example_net(**SMALLEST, weights=state)
    except ValueError as error:
        text = str(error)
        assert text.startswith("example_net: the state dict ")
        assert "\n" not in text
        assert text.endswith(".")
    else:
        assert state.keys() == RIGHT.keys()
        made = model.state_dict()
        assert {name for name in RIGHT if (made[name] != RIGHT[name]).any()} <= other.keys()


@pytest.mark.host
def test_a_model_that_weights_do_not_fit_stays_as_it_was(net: Any) -> None:
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    for kind in ("another", "classes", "shape", "nan"):
        with pytest.raises(ValueError, match="resnet20"):
            _weights._fill(net, wrong_state(net, kind), "resnet20")
    assert same(net, {name: tg.tensor(value) for name, value in before.items()})


@pytest.mark.host
@pytest.mark.parametrize(
    ("config", "error", "sentence"),
    [
        (
            {"pretrained": True},
            TypeError,
            r"write weights='DEFAULT' .* got pretrained",
        ),
        ({"weights": True}, TypeError, r"write weights='DEFAULT' .*; got weights=True"),
        (
            {"weights": "IMAGENET1K_V7"},
            ValueError,
            r"knows IMAGENET1K_V1, DEFAULT of ResNet18_.*V7",
        ),
        ({"weights": "ResNet50_Weights.DEFAULT"}, ValueError, r"of ResNet18_Weights.*ResNet50"),
        (
            {"weights": models.ResNet50_Weights.DEFAULT},
            ValueError,
            r"got ResNet50_Weights",
        ),
        ({"weights": 3}, TypeError, r"a path, a state dict or the name of a download; got a int"),
        ({"weights": nn.ReLU()}, TypeError, r"write weights=model\.state_dict\(\)"),
        (
            {"weights": {"model": {"x": 1}, "epoch": 2}},
            ValueError,
            r"weights=load\(path\)\['m",
        ),
        (
            {"weights": "DEFAULT", "num_classes": 10},
            ValueError,
            r"1000 classes, .*num_classes=10",
        ),
    ],
)
def test_wrong_weights_are_told_before_anything_is_made(
    config: dict[str, Any], error: type[Exception], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_weights, "load_state_dict_from_url", None)
    monkeypatch.setattr(nn.Conv2d, "__init__", None)
    with pytest.raises(error, match=sentence):
        models.resnet18(**config)


@pytest.mark.host
def test_files_that_are_not_there_or_hold_no_state(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        models.resnet20(weights="nowhere.pth")
    (tmp_path / "net.pth").write_bytes(b"\x80\x02]q\x00.")
    with pytest.raises(ValueError, match=r"net\.pth: found a pickle that torch\.save has not"):
        models.resnet20(weights=tmp_path / "net.pth")
    tg.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: found a list, expected a state dict"):
        models.resnet20(weights=tmp_path / "list.pt")
    with pytest.raises(TypeError, match=r"takes its arguments by name: write weights= and a file"):
        models.resnet20(True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"resnet20 knows no download, and takes the path"):
        models.resnet20(weights="DEFAULT")


@pytest.mark.host
@pytest.mark.parametrize(
    "weights",
    ["DEFAULT", "IMAGENET1K_V1", "GoogLeNet_Weights.DEFAULT", models.GoogLeNet_Weights.DEFAULT],
)
def test_a_download_has_its_own_arguments(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published file of GoogLeNet has more scores, which are left out, and other inputs."""
    with undrawn():
        state = models.googlenet().state_dict()
    asked: list[Any] = []

    def download(url: str, **options: Any) -> Any:
        asked.append((url, options))
        return state

    monkeypatch.setattr(_weights, "load_state_dict_from_url", download)
    with monkeypatch.context() as patch:
        patch.setattr(_weights, "_fill", lambda model, state, what: None)
        model = models.googlenet(weights=weights, progress=False)
    assert (model.transform_input, model.aux_logits, model.aux1) == (True, False, None)
    assert asked == [
        (
            "https://download.pytorch.org/models/googlenet-1378be20.pth",
            {"map_location": "cpu", "progress": False, "check_hash": True},
        )
    ]


@pytest.mark.host
def test_a_download_is_kept_if_its_name_tells_its_hash(
    net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = as_pth(net.state_dict())
    right, wrong = f"net-{sha256(contents).hexdigest()[:8]}.pth", "net-0123abcd.pth"
    for name in (right, wrong):
        (tmp_path / name).write_bytes(contents)

    class Net_Weights(WeightsEnum):  # noqa: N801
        RIGHT = Weights(right, 0, config={"num_classes": 3})
        WRONG = Weights(wrong, 0, config={"num_classes": 3})

    monkeypatch.setattr(hub, "_chosen", tmp_path / "hub")
    monkeypatch.setattr(_weights, "BASE", f"{tmp_path.as_uri()}/")
    monkeypatch.setattr(_weights, "CONSTRUCTORS", {})

    @_weights.constructor(Net_Weights)
    def tiny(**config: Any) -> CIFARResNet:
        return CIFARResNet(3, **config)

    assert same(tiny(weights="RIGHT", progress=False), net.state_dict())
    (tmp_path / right).unlink()
    assert same(models.get_model("tiny", weights=Net_Weights.RIGHT), net.state_dict())
    with pytest.raises(RuntimeError, match="0123abcd"):
        tiny(weights="WRONG", progress=False)
    assert [path.name for path in (tmp_path / "hub" / "checkpoints").iterdir()] == [right]
    with pytest.raises(ValueError, match="is for 3 classes, and num_classes=4 was asked for"):
        tiny(weights="WRONG", num_classes=4)


@pytest.mark.host
def test_the_older_names_of_densenet_are_read() -> None:
    from tinygrad_cv.models.densenet import _renamed

    older = {
        "features.denseblock1.denselayer12.norm.1.weight": 1,
        "features.denseblock1.denselayer12.conv.2.weight": 2,
        "features.denseblock1.denselayer12.conv2.weight": 3,
        "features.norm5.weight": 4,
    }
    assert [*_renamed(older, None).items()] == [
        ("features.denseblock1.denselayer12.norm1.weight", 1),
        ("features.denseblock1.denselayer12.conv2.weight", 3),
        ("features.norm5.weight", 4),
    ]


@pytest.mark.host
def test_weights_bring_the_preparation_of_images() -> None:
    preset = models.ResNet50_Weights.IMAGENET1K_V2.transforms()
    assert isinstance(preset, ImageClassification)
    assert preset.describe() == ImageClassification(crop_size=224, resize_size=232).describe()
    assert models.Inception_V3_Weights.DEFAULT.transforms(crop_size=64).crop_size == (64, 64)
    image = tg.zeros(3, 300, 260, dtype="uint8")
    assert preset(image).shape == (3, 224, 224)
    for name in models.list_models():
        for weights in models.get_model_builder(name).weights_enum or ():
            assert isinstance(weights.transforms(), ImageClassification)


# ----- names --------------------------------------------------------------------------------------


@pytest.mark.host
def test_models_are_found_by_name() -> None:
    names = models.list_models()
    assert names == sorted(names)
    assert models.list_models(models) == names
    assert models.list_models(models.resnet, include="*resnet1??", exclude="*5*") == [
        "resnet101",
        "resnet110",
    ]
    assert models.list_models(include=["vgg1?", "lenet*"]) == [
        "lenet5",
        "vgg11",
        "vgg13",
        "vgg16",
        "vgg19",
    ]
    assert models.get_model_builder("ResNet18") is models.resnet18
    with pytest.raises(ValueError, match=r"no model 'resnet19'; list_models\(\) .* resnet1"):
        models.get_model("resnet19")
    assert models.get_model_weights(models.resnet18) is models.ResNet18_Weights
    with pytest.raises(ValueError, match="of lenet5 no weights are published"):
        models.get_model_weights("lenet5")
    for wrong in ("resnet18", "ResNet19_Weights.DEFAULT"):
        with pytest.raises(ValueError, match="is not known"):
            models.get_weight(wrong)
    with pytest.raises(ValueError, match="ResNet18_Weights has IMAGENET1K_V1, DEFAULT; got 'V3'"):
        models.ResNet18_Weights.verify("V3")
    default = models.ResNet18_Weights.DEFAULT
    assert pickle.loads(pickle.dumps(default)) is default


@pytest.mark.host
def test_classes_of_imagenet() -> None:
    categories = models.ResNet18_Weights.DEFAULT.meta["categories"]
    assert (len(categories), len(set(categories))) == (1000, 1000)
    assert (categories[0], categories[207], categories[-1]) == (
        "tench",
        "golden retriever",
        "toilet tissue",
    )
    assert models.VGG16_Weights.IMAGENET1K_FEATURES.meta["categories"] is None
