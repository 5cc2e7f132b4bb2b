"""Sequential MNIST: a handwritten digit is read pixel by pixel, and named at the end."""

import gzip
import math
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Scores, Split, Task, at_least, pointwise_loss, summed

FILES = tuple(
    f"MNIST/raw/{part}-{kind}-ubyte.gz"
    for part in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


@dataclass(frozen=True)
class SequentialMNIST(Task):
    """Digits from their pixels in scan-line order, one per step, values in [0, 1]; the class is
    read at the last step.

    pool: average squares of 1, 2 or 4 pixels a side: 784, 196 or 49 steps. Only 784 is the
        benchmark.
    permute: one fixed permutation of the pixels for all images, drawn from `permute_seed` and
        nothing else.
    rows: a row of pixels per step instead of a pixel; easier, and no test of long memory.
    holdout: how many images from the end of the training set are kept for validation.

    Source: Le, Jaitly, Hinton (2015), A simple way to initialize recurrent networks of rectified
        linear units.
    Reading: no permutation is canonical, so the one here is as good as any. Pixels are only scaled
        to [0, 1], not normalised. Model selection uses the held-out images, where many papers
        select on the test set.
    """

    target: float | None = 0.9
    pool: int = 1
    permute: bool = False
    permute_seed: int = 0
    rows: bool = False
    holdout: int = 5000

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    per_seed = False
    outputs = 10

    def __post_init__(self) -> None:
        at_least(1, holdout=self.holdout)
        at_least(0, permute_seed=self.permute_seed)
        if self.pool not in (1, 2, 4):
            raise UserError(f"task.pool must be 1, 2 or 4, got {self.pool}")
        if self.holdout > 50_000:
            raise UserError(
                f"task.holdout must be at most 50000 of the 60000 training images, got "
                f"{self.holdout}"
            )
        if self.rows and self.permute:
            raise UserError(
                "task.permute scatters pixels over the whole image, which leaves no rows; set "
                "task.rows or task.permute to false"
            )
        if self.permute_seed and not self.permute:
            raise UserError(
                "task.permute_seed has no effect without task.permute=true; remove it or add that"
            )

    @property
    def side(self) -> int:
        return 28 // self.pool

    @property
    def inputs(self) -> int:
        return self.side if self.rows else 1

    @property
    def horizon(self) -> int:
        return self.side if self.rows else self.side**2

    @cached_property
    def order(self) -> np.ndarray:
        """Which pixel is read at each step."""
        pixels = self.side**2
        return (
            np.random.default_rng(self.permute_seed).permutation(pixels)
            if self.permute
            else np.arange(pixels)
        )

    @cached_property
    def images(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """split → (sums of `pool` × `pool` pixels, uint16 (images, pixels) in reading order;
        classes, int64 (images,)).
        """
        paths: list[Path] = [self.fetch(name) for name in FILES]
        (train_x, train_y), (test_x, test_y) = mnist(paths[0].parent)
        train_x, test_x = self._read(train_x), self._read(test_x)
        kept = len(train_x) - self.holdout
        return {
            "train": (train_x[:kept], train_y[:kept]),
            "valid": (train_x[kept:], train_y[kept:]),
            "test": (test_x, test_y),
        }

    def _read(self, images: np.ndarray) -> np.ndarray:
        squares = images.reshape(len(images), self.side, self.pool, self.side, self.pool)
        sums: np.ndarray = squares.sum((2, 4), dtype=np.uint16).reshape(len(images), -1)
        return sums[:, self.order]

    def _batch(self, split: str, chosen: np.ndarray | slice) -> Batch:
        """x: (T, B, I), y: (B,)."""
        sums, classes = self.images[split]
        pixels = sums[chosen].astype(np.float32) / np.float32(255 * self.pool**2)
        x = pixels.reshape(len(pixels), -1, self.inputs).transpose(1, 0, 2)
        return Batch(x=np.ascontiguousarray(x), y=classes[chosen], last=True)

    def epoch(self, size: int) -> int:
        return len(self.images["train"][0]) // size

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        """The images in an order that each pass draws anew; what does not fill a batch at its end
        is left out.
        """
        count = len(self.images["train"][0])
        if size > count:
            raise UserError(
                f"train.batch must be at most {count}, the number of training images, got {size}"
            )
        epoch, index = divmod(step, self.epoch(size))
        return self._batch("train", order(draw, epoch, count)[index * size : (index + 1) * size])

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        for start in range(0, len(self.images[split][0]), size):
            yield self._batch(split, slice(start, start + size))

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        nats = pointwise_loss(self.loss, prediction, y)
        correct = (prediction.argmax(-1) == y).to(nats.dtype)
        return {"accuracy": summed(correct, mask), "nats": summed(nats, mask)}

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The class frequencies of the training images, on the test images."""
        counts = np.bincount(self.images["train"][1], minlength=10)
        nats = math.log(counts.sum()) - np.log(counts)
        test = self.images["test"][1]
        return {
            "accuracy": float((test == counts.argmax()).mean()),
            "nats": float(nats[test].mean()),
        }


@lru_cache(maxsize=64)
def order(draw: Draw, epoch: int, count: int) -> np.ndarray:
    """The training images in the order of one pass, once for all its batches."""
    return draw("train", epoch).permutation(count)


@lru_cache(maxsize=1)
def mnist(raw: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(images, uint8 (n, 28, 28); classes, int64 (n,)) for training and test, from the folder
    …/MNIST/raw of packed files.
    """
    for name in FILES:
        unpack(raw / Path(name).name)
    reader = torchvision_mnist()
    train, test = (reader(raw.parents[1], train=part) for part in (True, False))
    return (train.data.numpy(), train.targets.numpy()), (test.data.numpy(), test.targets.numpy())


def unpack(packed: Path) -> None:
    """Write a gzip file's content beside it, under its name without .gz, unless it is there and
    whole.

    torchvision would unpack in place, which two processes must not do at the same time.
    """
    place = packed.with_suffix("")
    part = place.with_name(f".{place.name}.{uuid4().hex}.part")
    try:
        trailer = packed.read_bytes()[-8:]  # gzip ends with the content's CRC-32 and its length
        if place.is_file():
            content = place.read_bytes()
            if trailer == zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(
                4, "little"
            ):
                return
        with part.open("xb") as stream:
            stream.write(gzip.decompress(packed.read_bytes()))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(place)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"cannot unpack {packed} to {place}: {error}; make room there, or set paths.data to "
            f"another folder"
        ) from None
    finally:
        if os.access(part, os.F_OK):
            part.unlink()


def torchvision_mnist() -> Any:
    """torchvision's reader.

    Where torchvision's compiled operators do not fit the installed PyTorch, importing it fails on
    the first of them that it wants to describe; declaring them, without any code, lets the import
    pass.
    """
    try:
        from torchvision.datasets import MNIST
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # the half-imported ones
        for operator in ("nms", "qnms"):
            DECLARED.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )  # type: ignore[no-untyped-call]
        from torchvision.datasets import MNIST
    return MNIST


DECLARED = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # declarations last as long as this
