"""What a transform is, and those that are made of others.

A random transform draws a fixed number of uniform numbers for each image, those of the first image
first, and makes its parameters of them. So a transform gives a batch what it would give its images
one after the other.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.data.transforms.images import is_pillow, opened, probability, sizes


def is_batch(image: Any) -> bool:
    """Whether it is a batch (N, C, H, W), and no single image."""
    return not is_pillow(image) and getattr(image, "ndim", 0) == 4


def count(image: Any) -> int:
    """How many images it is."""
    return len(image) if is_batch(image) else 1


class Transform:
    """A change of images. Call it with an image, or with a batch (N, C, H, W).

    `transform(image)` gives the image changed, `transform(image, label, ...)` a tuple of that and
    the rest as it is. Where the last argument is a generator, as in a DataLoader's `transform`, it
    is what random transforms draw from that have none of their own, and the result is a tuple.

    A transform of your own is a class with a method `change(image)`; or, if it is random, with
    `numbers`, how many uniform numbers it takes an image, and `parameters(u, channels, height,
    width)`, which makes of u (N, numbers) a dict of arrays, one value an image. `change` gets them
    by name: arrays for a batch, single values for an image that is alone.

    >>> import tinygrad_cv as tg
    >>> class Shade(Transform):
    ...     numbers = 1
    ...
    ...     def parameters(self, u, channels, height, width):
    ...         return {"factor": 0.5 + u[:, 0]}
    ...
    ...     def change(self, image, factor):
    ...         return functional.adjust_brightness(image, factor)
    >>> from tinygrad_cv.data.transforms import functional
    >>> generator = tg.manual_seed(0)
    >>> images, labels = Shade()(tg.ones(3, 1, 1, 1) / 2, [7, 8, 9])
    >>> images.flatten()
    tensor([0.5685, 0.3849, 0.2705])
    """

    numbers = 0
    generator: Any = None

    def __call__(self, *inputs: Any, generator: Any = None) -> Any:
        whole = len(inputs) > 1 and isinstance(inputs[-1], host.random.Generator)
        if whole:
            *inputs, generator = inputs  # type: ignore[assignment]
        if not inputs:
            raise TypeError(f"{type(self).__name__} takes an image, and then what goes with it.")
        outputs = self.run(tuple(inputs), generator)
        return outputs if whole or len(outputs) > 1 else outputs[0]

    def run(self, inputs: tuple[Any, ...], generator: Any) -> tuple[Any, ...]:
        """An image and what goes with it, changed; drawn from `generator` if there is no other."""
        return (self.forward(inputs[0], generator), *inputs[1:])

    def forward(self, image: Any, generator: Any = None) -> Any:
        """The image changed; random numbers come from `generator` if the transform has none."""
        if not self.numbers:
            return self.change(image)
        u = self.draws(generator).random((count(image), self.numbers))
        made = self.parameters(u, *sizes(image, type(self).__name__))
        return self.change(image, **(made if is_batch(image) else first(made)))

    def draws(self, generator: Any) -> host.random.Generator:
        """Where the random numbers come from: its own generator, the given or the default one."""
        return as_generator(self.generator if self.generator is not None else generator)

    def parameters(
        self, u: host.ndarray, channels: int, height: int, width: int
    ) -> dict[str, host.ndarray]:
        """What is random, of uniform numbers (N, numbers) in [0, 1)."""
        raise NotImplementedError(f"{type(self).__name__} draws numbers, and makes nothing of them")

    def change(self, image: Any, **parameters: Any) -> Any:
        """The image changed in the way that the parameters say."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it changes an image")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._arguments())})"

    def _arguments(self) -> Iterable[str]:
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, None)
            if name != "generator" or value is not None:
                shown = getattr(value, "__name__", None) or repr(getattr(value, "value", value))
                bare = parameter.kind is parameter.VAR_POSITIONAL
                if not bare:
                    yield f"{name}={shown}"


def first(parameters: dict[str, host.ndarray]) -> dict[str, Any]:
    """The parameters of the first image, numbers as Python's."""
    return {
        name: value[0].item() if value.ndim == 1 else value[0] for name, value in parameters.items()
    }


class Sometimes(Transform):
    """Base of the transforms that change an image with the probability `p`, and else leave it.

    Of the numbers of an image the first decides; the rest is drawn in any case.
    """

    numbers = 1
    p: float

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        self.p = probability(p)
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        u = self.draws(generator).random((count(image), self.numbers))
        chosen = u[:, 0] < self.p
        size = sizes(image, type(self).__name__)
        if not chosen.any():
            return image
        made = self.parameters(u[:, 1:], *size)
        if not is_batch(image):
            return self.change(image, **first(made))
        if chosen.all():
            return self.change(image, **made)
        part = {name: value[chosen] for name, value in made.items()}
        return replaced(image, chosen, lambda x: self.change(x, **part), type(self).__name__)

    def parameters(
        self, u: host.ndarray, channels: int, height: int, width: int
    ) -> dict[str, host.ndarray]:
        return {}


def replaced(images: Any, chosen: host.ndarray, change: Callable[[Any], Any], name: str) -> Any:
    """A batch in which `change` has changed the images that are chosen."""
    x, back = opened(images, name)
    part = change(x[chosen])
    part = part.numpy() if isinstance(part, Tensor) else host.asarray(part)
    if part.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"{name} changes some images of a batch and leaves others, so they keep their shape "
            f"{x.shape[1:]}; it became {part.shape[1:]}."
        )
    y = x.astype(host.result_type(x, part)) if part.dtype != x.dtype else x.copy()
    y[chosen] = part
    return back(y)


def applied(transform: Any, image: Any, generator: Any) -> Any:
    """An image changed by a transform, or by any function of an image."""
    if isinstance(transform, Transform):
        return transform.run((image,), generator)[0]
    return transform(image)


def checked(transforms: Any, name: str) -> list[Any]:
    """Several transforms as a list."""
    if not isinstance(transforms, Iterable) or isinstance(transforms, str):
        raise TypeError(f"{name} takes a list of transforms; got {transforms!r}.")
    found = [*transforms]
    for each in found:
        if not callable(each):
            raise TypeError(
                f"{name} takes a list of transforms, functions of an image; got {each!r} in it."
            )
    return found


class _Several(Transform):
    """Base of the transforms that are made of others; its own arguments stand behind them."""

    def __init__(self, transforms: Any) -> None:
        self.transforms = checked(transforms, type(self).__name__)

    def __repr__(self) -> str:
        own = [text for text in self._arguments() if not text.startswith("transforms=")]
        lines = [line for part in (*self.transforms, *own) for line in _shown(part).split("\n")]
        return "\n".join([f"{type(self).__name__}(", *(f"    {line}" for line in lines), ")"])


def _shown(part: Any) -> str:
    if isinstance(part, str):
        return part
    return repr(part) if isinstance(part, Transform) else getattr(part, "__name__", repr(part))


class Compose(_Several):
    """Several transforms one after the other.

    They may be any functions: what is no transform of this module gets the image, or the image and
    all that goes with it, and returns as much.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import transforms
    >>> change = transforms.Compose([transforms.CenterCrop(2), transforms.Normalize(0.5, 0.5)])
    >>> change
    Compose(
        CenterCrop(size=(2, 2))
        Normalize(mean=[0.5], std=[0.5], inplace=False)
    )
    >>> change(tg.ones(1, 4, 4))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def run(self, inputs: tuple[Any, ...], generator: Any) -> tuple[Any, ...]:
        for transform in self.transforms:
            if isinstance(transform, Transform):
                inputs = transform.run(inputs, generator)
                continue
            outputs = transform(*inputs)
            if len(inputs) > 1 and (not isinstance(outputs, tuple) or len(outputs) < 2):
                raise TypeError(
                    f"Compose: {_shown(transform)} got {len(inputs)} values, an image and what "
                    "goes with it, and must return a tuple of as many; or make it "
                    "Lambda(function), which gets the image alone."
                )
            inputs = outputs if len(inputs) > 1 else (outputs,)
        return inputs

    def forward(self, image: Any, generator: Any = None) -> Any:
        return self.run((image,), generator)[0]


class RandomApply(_Several):
    """With the probability p all of the transforms, one after the other; else none.

    Each image of a batch has its own decision; the images then keep their shape.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.transforms import RandomApply, RandomInvert
    >>> RandomApply([RandomInvert(p=1)], p=1)(tg.zeros(1, 1, 2))
    tensor([[[1., 1.]]])
    """

    def __init__(self, transforms: Any, p: float = 0.5, *, generator: Any = None) -> None:
        super().__init__(transforms)
        self.p = probability(p)
        self.generator = generator

    def _all(self, image: Any, generator: Any) -> Any:
        for transform in self.transforms:
            image = applied(transform, image, generator)
        return image

    def forward(self, image: Any, generator: Any = None) -> Any:
        generator = self.draws(generator)
        chosen = generator.random(count(image)) < self.p
        if not chosen.any():
            return image
        if chosen.all():
            return self._all(image, generator)
        return replaced(image, chosen, lambda x: self._all(x, generator), "RandomApply")


class RandomChoice(_Several):
    """One of the transforms, each with the probability p[i]; by default all with the same.

    Each image of a batch has its own choice; all must come out in one shape.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.transforms import Identity, RandomChoice, RandomInvert
    >>> RandomChoice([Identity(), RandomInvert(p=1)], p=[0, 1])(tg.zeros(1, 1, 2))
    tensor([[[1., 1.]]])
    """

    def __init__(self, transforms: Any, p: Any = None, *, generator: Any = None) -> None:
        super().__init__(transforms)
        count = len(self.transforms)
        shares = [1.0] * count if p is None else [float(share) for share in p]
        if not count or len(shares) != count or min(shares) < 0 or not 0 < sum(shares) < host.inf:
            raise ValueError(
                f"RandomChoice takes one probability p for each of its {count} transforms, not all "
                f"0; got {p}."
            )
        self.p = [share / sum(shares) for share in shares]
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        generator = self.draws(generator)
        u = generator.random(count(image))
        ends = host.cumsum(self.p)
        which = host.searchsorted(ends, u * ends[-1], side="right")

        def one(k: int, images: Any, chosen: host.ndarray) -> Any:
            return applied(self.transforms[k], images, generator)

        return by_group(image, which, one)


def by_group(image: Any, which: host.ndarray, change: Callable[..., Any]) -> Any:
    """The images that share a number k, changed by `change(k, images, chosen)`, for each k."""
    numbers = host.unique(which).tolist()
    if not numbers:
        return image
    if len(numbers) == 1:
        return change(numbers[0], image, which == numbers[0])
    x, back = opened(image, "a choice of transforms")
    parts = []
    for k in numbers:
        chosen = which == k
        part = change(k, x[chosen], chosen)
        parts.append((chosen, part.numpy() if isinstance(part, Tensor) else host.asarray(part)))
    shapes = sorted({part.shape[1:] for _, part in parts})
    if len(shapes) > 1:
        raise ValueError(
            "the images of a batch get a choice of transforms each, and must come out in one "
            f"shape; they became {' and '.join(map(str, shapes))}."
        )
    y = host.empty((len(x), *shapes[0]), host.result_type(*(part for _, part in parts)))
    for chosen, part in parts:
        y[chosen] = part
    return back(y)


class RandomOrder(_Several):
    """All of the transforms in a random order.

    Each image of a batch has its own order; all must come out in one shape.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.transforms import RandomInvert, RandomOrder
    >>> RandomOrder([RandomInvert(p=1), RandomInvert(p=1)])(tg.zeros(1, 1, 2))
    tensor([[[0., 0.]]])
    """

    def __init__(self, transforms: Any, *, generator: Any = None) -> None:
        super().__init__(transforms)
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        generator = self.draws(generator)
        if not self.transforms:
            return image
        u = generator.random((count(image), len(self.transforms)))
        orders = u.argsort(axis=1, kind="stable")
        different, which = host.unique(orders, axis=0, return_inverse=True)

        def one(k: int, images: Any, chosen: host.ndarray) -> Any:
            for step in different[k]:
                images = applied(self.transforms[step], images, generator)
            return images

        return by_group(image, which.reshape(-1), one)


class Identity(Transform):
    """The image as it is.

    >>> from tinygrad_cv.data.transforms import Identity
    >>> Identity()("anything")
    'anything'
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return image


class Lambda(Transform):
    """A function of an image as a transform. With `types` it leaves what is of other types.

    Pickled, as for workers, it needs a function that has a name.

    >>> from tinygrad_cv.data.transforms import Lambda
    >>> Lambda(abs)(-1)
    1
    """

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        if not callable(lambd):
            raise TypeError(f"Lambda takes a function; got a {type(lambd).__name__}.")
        self.lambd = lambd
        self.types = types or (object,)

    def change(self, image: Any, **parameters: Any) -> Any:
        return self.lambd(image) if isinstance(image, self.types) else image
