"""How a model is made by its name and gets weights: a file, a state dict, or a known download.

A constructor is a function that builds a model, marked where it is defined:

    class ResNet18_Weights(WeightsEnum):
        IMAGENET1K_V1 = Weights("resnet18-f37072fd.pth", num_params=11_689_512)
        DEFAULT = IMAGENET1K_V1

    @constructor(ResNet18_Weights)
    def resnet18(**config):
        return ResNet(BasicBlock, [2, 2, 2, 2], **config)

The mark adds the arguments `weights` and `progress`, so the function has the architecture alone.
The tables of downloads hold facts of torchvision 0.29: names of files, sizes of images, numbers of
parameters. The digits in a file's name begin its SHA-256, which is checked when it is downloaded.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from tinygrad_cv.hub import load_state_dict_from_url
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.init import undrawn
from tinygrad_cv.nn.module import StateError
from tinygrad_cv.storage import load

BASE = "https://download.pytorch.org/models/"

Model = TypeVar("Model", bound=Module, covariant=True)
State = Mapping[str, Any]


@dataclass(frozen=True)
class Weights:
    """A published file of weights, and how the images were prepared that it was trained on."""

    file: str
    num_params: int
    crop_size: int = 224
    resize_size: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    min_size: tuple[int, int] = (1, 1)
    """The smallest images that the model takes."""
    classifies: bool = True
    """Whether the last layer was trained: its scores are for the 1000 classes of ImageNet."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the constructor that the weights were trained with, and are taken by default."""


class WeightsEnum(Enum):
    """The published weights of one model, by torchvision's names: `ResNet18_Weights.DEFAULT`.

    A member has the address `url`, `meta`, the preparation of images `transforms()`, and
    `get_state_dict()`, which downloads; any constructor takes it, or its name, as `weights`.

    >>> from tinygrad_cv.models import ResNet18_Weights
    >>> ResNet18_Weights.DEFAULT
    ResNet18_Weights.IMAGENET1K_V1
    >>> ResNet18_Weights.DEFAULT.meta["num_params"], ResNet18_Weights.DEFAULT.meta["categories"][1]
    (11689512, 'goldfish')
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    @classmethod
    def verify(cls, obj: Any) -> Any:
        """The member that is named "IMAGENET1K_V1", or "ResNet18_Weights.IMAGENET1K_V1".

        Members and None are given back. Raises ValueError for what is no member.
        """
        if obj is None or isinstance(obj, cls):
            return obj
        name = obj.removeprefix(f"{cls.__name__}.") if isinstance(obj, str) else ""
        if name not in cls.__members__:
            known = ", ".join(cls.__members__)
            raise ValueError(f"{cls.__name__} has {known}; got {obj!r}.")
        return cls[name]

    @property
    def url(self) -> str:
        """The address of the file."""
        return BASE + self.value.file  # type: ignore[no-any-return]

    @property
    def meta(self) -> dict[str, Any]:
        """`num_params`, `min_size` of images, and `categories`: the names of the classes, or None.

        The scores of a model are in the order of the names.
        """
        from tinygrad_cv.models._imagenet import CATEGORIES

        value: Weights = self.value
        return {
            "num_params": value.num_params,
            "min_size": value.min_size,
            "categories": [*CATEGORIES] if value.classifies else None,
        }

    def transforms(self, **changes: Any) -> Any:
        """What makes an image into an input: resized, cropped in the middle, and normalized.

        It is `data.transforms.ImageClassification` with the sizes, mean and standard deviation that
        the weights were trained for; `changes` are arguments that take the place of these.
        """
        from tinygrad_cv.data.transforms import ImageClassification

        names = ("crop_size", "resize_size", "mean", "std", "interpolation")
        options = {name: getattr(self.value, name) for name in names} | changes
        return ImageClassification(**options)

    def get_state_dict(
        self, progress: bool = True, check_hash: bool = True, map_location: Any = None
    ) -> State:
        """The weights: downloaded at first, and then from the folder of `hub.get_dir()`.

        `map_location` is that of `load`.

        Raises RuntimeError if the file is not the published one, which the SHA-256 shows, OSError
        without a network, and ValueError if it cannot be read.
        """
        state: State = load_state_dict_from_url(
            self.url, map_location=map_location, progress=progress, check_hash=check_hash
        )
        return state


class Constructor(Protocol, Generic[Model]):
    """A function that makes a model. All take these arguments, and those of the architecture."""

    __name__: str
    __module__: str
    weights_enum: type[WeightsEnum] | None

    def __call__(self, *, weights: Any = None, progress: bool = True, **config: Any) -> Model: ...


CONSTRUCTORS: dict[str, Constructor[Module]] = {}
"""Every constructor, by its name."""


def constructor(
    known: type[WeightsEnum] | None = None,
    adapt: Callable[[dict[str, Any], Any], State] | None = None,
) -> Callable[[Callable[..., Model]], Constructor[Model]]:
    """Mark a function that builds a model: it takes `weights`, and `get_model` finds it.

    `weights` is None, a state dict, the path of a .pth or .safetensors file, a member of `known`,
    or the name of one. `adapt(state, model)` renames what older files name in another way.
    """

    def mark(build: Callable[..., Model]) -> Constructor[Model]:
        name = build.__name__

        @wraps(build)
        def make(
            *arguments: Any, weights: Any = None, progress: bool = True, **config: Any
        ) -> Model:
            _refuse_older_arguments(name, known, arguments, weights, config)
            chosen = _chosen(name, known, weights)
            if isinstance(chosen, WeightsEnum):
                config = {**chosen.value.config, **config}
                _check_classes(name, chosen, config)
            state = _read(chosen, progress)
            if state is None:
                return build(**config)
            with undrawn():
                model = build(**config)
            what = chosen if isinstance(chosen, Path | WeightsEnum) else "the state dict"
            _fill(model, adapt({**state}, model) if adapt else state, f"{name}: {what}")
            return model

        taken: Any = make
        taken.weights_enum = known
        taken.__signature__ = _with_weights(build)
        CONSTRUCTORS[name] = taken
        return taken  # type: ignore[no-any-return]

    return mark


def _with_weights(build: Callable[..., Any]) -> Any:
    """The signature that `help` shows: with the two arguments that the mark has added."""
    plain = signature(build)
    added = [
        Parameter("weights", Parameter.KEYWORD_ONLY, default=None, annotation=Any),
        Parameter("progress", Parameter.KEYWORD_ONLY, default=True, annotation=bool),
    ]
    return plain.replace(parameters=[*added, *plain.parameters.values()])


# ----- which weights ------------------------------------------------------------------------------


def _refuse_older_arguments(
    name: str, known: Any, arguments: tuple[Any, ...], weights: Any, config: dict[str, Any]
) -> None:
    """`pretrained=True`, `resnet18(True)` and `weights=True`, as programs were once written."""
    write = "weights='DEFAULT' for the published weights" if known else "weights= and a file"
    if "pretrained" in config or isinstance(weights, bool):
        raise TypeError(
            f"{name}: write {write} or weights=None for random ones; got "
            + ("pretrained=." if "pretrained" in config else f"weights={weights}.")
        )
    if arguments:
        raise TypeError(
            f"{name} takes its arguments by name: write {write}, num_classes=10 and so on; got "
            f"{', '.join(map(repr, arguments))}."
        )


def _chosen(name: str, known: type[WeightsEnum] | None, weights: Any) -> Any:
    """The weights as None, a mapping, a Path or a member of `known`."""
    if weights is None or isinstance(weights, Mapping):
        return weights
    if isinstance(weights, os.PathLike):
        return Path(weights)
    if isinstance(weights, Module):
        raise TypeError(f"{name}: weights are a state dict; write weights=model.state_dict().")
    if known is not None and (isinstance(weights, known) or _names_member(known, weights)):
        return known.verify(weights)
    if isinstance(weights, str) and (Path(weights).suffix in FILES or Path(weights).exists()):
        return Path(weights)
    if isinstance(weights, str | WeightsEnum):
        has = f"{', '.join(known.__members__)} of {known.__name__}" if known else "no download"
        raise ValueError(
            f"{name} knows {has}, and takes the path of a .pth or .safetensors file; got "
            f"{weights!r}."
        )
    raise TypeError(
        f"{name}: weights are None, a path, a state dict or the name of a download; got a "
        f"{type(weights).__name__}."
    )


FILES = {".pth", ".pt", ".bin", ".safetensors", ".tar"}
"""How the names of files of weights end, there or not."""


def _names_member(known: type[WeightsEnum], name: Any) -> bool:
    return isinstance(name, str) and name.removeprefix(f"{known.__name__}.") in known.__members__


def _check_classes(name: str, chosen: WeightsEnum, config: dict[str, Any]) -> None:
    """Tell before a download that its last layer has another number of outputs."""
    trained = chosen.value.config.get("num_classes", 1000)
    classes = config.get("num_classes", trained)
    if classes != trained:
        raise ValueError(
            f"{name}: {chosen} is for {trained} classes, and num_classes={classes} was asked for. "
            "Leave num_classes out, and replace the last layer of the model."
        )


def _read(chosen: Any, progress: bool) -> State | None:
    """The state dict that was chosen."""
    if chosen is None:
        return None
    if isinstance(chosen, WeightsEnum):
        return chosen.get_state_dict(progress=progress, map_location="cpu")
    state = load(chosen, "cpu") if isinstance(chosen, Path) else chosen
    what = chosen if isinstance(chosen, Path) else "weights"
    if not isinstance(state, Mapping):
        raise ValueError(f"{what}: found a {type(state).__name__}, expected a state dict.")
    inner = [str(key) for key, value in state.items() if isinstance(value, Mapping)]
    if inner:
        raise ValueError(
            f"{what}: found a dict with {_some([*map(str, state)])}, expected a state dict. Give "
            f"the part that is one, perhaps weights=load(path)[{_shown(inner[0])}]."
        )
    return state


# ----- weights that do not fit --------------------------------------------------------------------


def _fill(model: Module, state: State, what: str) -> None:
    """Load the weights, or say in a sentence what does not fit, the model being as it was made."""
    try:
        model.load_state_dict(state)
    except StateError as error:
        told = _misfit(model, state) or "does not fit: " + " ".join(str(error).split())
        raise StateError(f"{what} {told}") from None


def _misfit(model: Module, state: State) -> str | None:
    """What is wrong with the names and shapes of a state, if that is what is wrong."""
    here = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {
        str(name): tuple(getattr(value, "shape", here.get(name, ())))
        for name, value in state.items()
    }
    counts = {name for name in here if name.endswith(".num_batches_tracked")}  # older files lack it
    missing = [name for name in here if name not in there and name not in counts]
    unknown = [name for name in there if name not in here]
    other = [name for name in here if name in there and here[name] != there[name]]
    kind = type(model).__name__
    prefix = re.match(r"(module|_orig_mod|model)\.", next(iter(there), ""))
    if prefix and all(name.startswith(prefix[0]) for name in there):
        return (
            f"has {prefix[0]!r} before every name, as a wrapper of the model was saved. Give "
            f"weights={{k.removeprefix({prefix[0]!r}): v for k, v in state.items()}}."
        )
    if len(missing) > len(here) / 2:
        return (
            f"holds another model: {_some(missing)} of this {kind} {_are(missing)} missing, and "
            f"{_some(unknown)} {_are(unknown)} unknown to it. Give the weights of this model, or "
            "make the model that they are of."
        )
    if missing or unknown:
        parts = [f"lacks {_some(missing)}"] if missing else []
        parts += [f"has {_some(unknown)}, unknown to this {kind}"] if unknown else []
        return (
            f"{' and '.join(parts)}. It is of another model or of another size of it: make the "
            "model with the arguments that the weights were trained with."
        )
    if not other:
        return None
    classes = {(there[name][:1], here[name][:1]) for name in other}
    if len(classes) == 1 and all(there[name][1:] == here[name][1:] for name in other):
        [((trained,), (asked,))] = classes
        return (
            f"has {trained} outputs in {_some(other)}, and this {kind} has {asked}. Make the model "
            f"with num_classes={trained}, and then replace the last layer."
        )
    name = other[0]
    more = f", and {len(other) - 1} more differ" if len(other) > 1 else ""
    return (
        f"has {name!r} of shape {there[name]}, where this {kind} has {here[name]}{more}. Make the "
        "model with the arguments that the weights were trained with."
    )


def _some(names: list[str]) -> str:
    """Two of the names, and how many more there are."""
    shown = ", ".join(map(_shown, names[:2]))
    return f"{shown} and {len(names) - 2} more" if len(names) > 2 else shown or "nothing"


def _shown(name: str) -> str:
    """A name as it is written in a program; a long one, as damaged files have, in part."""
    return repr(name if len(name) < 100 else f"{name[:60]}…")


def _are(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


# ----- models by name -----------------------------------------------------------------------------


def list_models(
    module: ModuleType | None = None,
    include: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
) -> list[str]:
    """The names that `get_model` takes, in order.

    `include` and `exclude` are patterns such as "resnet*", one or several; `module` is a file of
    models, such as `models.resnet`, or `models` itself, which has all.

    >>> from tinygrad_cv.models import list_models
    >>> list_models(include="vgg1*", exclude="*_bn")
    ['vgg11', 'vgg13', 'vgg16', 'vgg19']
    """

    def fits(name: str, patterns: Iterable[str] | str | None) -> bool:
        patterns = [patterns] if isinstance(patterns, str) else patterns or ()
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    package = __name__.rpartition(".")[0]
    where = None if module is None or module.__name__ == package else module.__name__
    return sorted(
        name
        for name, made in CONSTRUCTORS.items()
        if where in (None, made.__module__)
        and (not include or fits(name, include))
        and not fits(name, exclude)
    )


def get_model_builder(name: str) -> Constructor[Module]:
    """The constructor of a name, in letters of either case.

    Raises ValueError, which tells similar names, if there is none.

    >>> from tinygrad_cv.models import get_model_builder
    >>> get_model_builder("resnet18").__name__
    'resnet18'
    """
    from difflib import get_close_matches

    if name.lower() not in CONSTRUCTORS:
        near = ", ".join(get_close_matches(name.lower(), CONSTRUCTORS))
        such = f", such as {near}" if near else ""
        raise ValueError(f"there is no model {name!r}; list_models() gives the names{such}.")
    return CONSTRUCTORS[name.lower()]


def get_model(name: str, **config: Any) -> Module:
    """A model by the name of its constructor, which gets the arguments; see `list_models`.

    >>> from tinygrad_cv.models import get_model
    >>> type(get_model("resnet20", num_classes=10)).__name__
    'CIFARResNet'
    """
    return get_model_builder(name)(**config)


def get_model_weights(name: Callable[..., Module] | str) -> type[WeightsEnum]:
    """The published weights of a model, given by its constructor or its name.

    Raises ValueError for a model without published weights.

    >>> from tinygrad_cv.models import get_model_weights
    >>> list(get_model_weights("resnet50"))
    [ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2]
    """
    made = get_model_builder(name) if isinstance(name, str) else name
    known: type[WeightsEnum] | None = getattr(made, "weights_enum", None)
    if known is None:
        raise ValueError(f"of {made.__name__} no weights are published; give a file or a state.")
    return known


def get_weight(name: str) -> WeightsEnum:
    """Published weights by their full name.

    Raises ValueError for a name that is not known.

    >>> from tinygrad_cv.models import get_weight
    >>> get_weight("ResNet50_Weights.DEFAULT").url
    'https://download.pytorch.org/models/resnet50-11ad3fa6.pth'
    """
    enum, _, _ = name.partition(".")
    for made in CONSTRUCTORS.values():
        if made.weights_enum is not None and made.weights_enum.__name__ == enum:
            return made.weights_enum.verify(name)  # type: ignore[no-any-return]
    raise ValueError(
        f"weights are named as in 'ResNet18_Weights.IMAGENET1K_V1'; {name!r} is not known."
    )
