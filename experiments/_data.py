"""Images: scikit-learn's digits, or files on the user's disk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from experiments._options import Data, Options

__all__ = ["Images", "load"]

_TEST_SHARE = 3  # every third digit is held out
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm"}


class Images(NamedTuple):
    """Images (N, C, H, W), float32 with values about 0, and labels (N,), for training and testing."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.train_labels.max()) + 1


def load(options: Options) -> Images:
    """The images that the options ask for; FileNotFoundError says what to put where."""
    if options.data is Data.digits:
        return _digits()
    if options.root is None:
        raise FileNotFoundError(f"--data {options.data} reads files: say in which folder with --root DIR.")
    if options.data is Data.folder:
        return _folder(options.root, options.side)
    return _cifar(options.root, hundred=options.data is Data.cifar100)


def _digits() -> Images:
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16.0 - 0.3
    labels = torch.from_numpy(digits.target)
    held_out = torch.arange(len(labels)) % _TEST_SHARE == 0
    return Images(images[~held_out], labels[~held_out], images[held_out], labels[held_out])


def _cifar(root: Path, hundred: bool) -> Images:
    """The binary versions: one or two label bytes, then 3072 bytes of red, green and blue."""
    train = ["train.bin"] if hundred else [f"data_batch_{k}.bin" for k in range(1, 6)]
    test = ["test.bin"] if hundred else ["test_batch.bin"]
    missing = [name for name in (*train, *test) if not (root / name).is_file()]
    if missing:
        archive = "cifar-100-binary.tar.gz" if hundred else "cifar-10-binary.tar.gz"
        raise FileNotFoundError(
            f"{root} has no {', '.join(missing)}: unpack {archive} of "
            "https://www.cs.toronto.edu/~kriz/cifar.html there, so that it holds "
            f"{', '.join((*train, *test))}."
        )
    return Images(*_records(root, train, hundred), *_records(root, test, hundred))


def _records(root: Path, names: list[str], hundred: bool) -> tuple[Tensor, Tensor]:
    labels = 2 if hundred else 1  # the coarse one comes first
    size = labels + 3 * 32 * 32
    parts = []
    for name in names:
        content = np.fromfile(root / name, dtype=np.uint8)
        if content.size == 0 or content.size % size:
            raise ValueError(
                f"{root / name} holds {content.size} bytes, and records of {size} bytes are needed: the "
                "whole file, of the binary version of the data set."
            )
        part = content.reshape(-1, size)
        if (largest := part[:, labels - 1].max()) >= (100 if hundred else 10):
            raise ValueError(
                f"{root / name} has the label {largest}, and so is no file of CIFAR-{100 if hundred else 10}."
            )
        parts.append(part)
    records = np.concatenate(parts)
    pixels = torch.from_numpy(records[:, labels:].reshape(-1, 3, 32, 32).copy())
    return pixels.float() / 127.5 - 1.0, torch.from_numpy(records[:, labels - 1].astype(np.int64))


def _folder(root: Path, side: int) -> Images:
    """A folder ``train`` and a folder ``test`` (or ``val``), each with one folder of images per class."""
    test = next((name for name in ("test", "val") if (root / name).is_dir()), "test")
    classes = _subfolders(root / "train")
    if not classes or not (root / test).is_dir():
        raise FileNotFoundError(
            f"{root} needs a folder train and a folder test (or val), each with one folder of images per "
            f"class, such as {root / 'train' / 'sparrow' / '001.jpg'}."
        )
    if (others := _subfolders(root / test)) != classes:
        raise ValueError(
            f"{root / test} has folders for {', '.join(others) or 'nothing'}, and {root / 'train'} for "
            f"{', '.join(classes)}: both need the same classes."
        )
    return Images(*_class_folders(root / "train", classes, side), *_class_folders(root / test, classes, side))


def _subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, but for hidden ones, in order."""
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _class_folders(folder: Path, classes: list[str], side: int) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*")):
            if path.suffix.lower() in _SUFFIXES:
                try:
                    with Image.open(path) as image:
                        pixels = np.asarray(image.convert("RGB").resize((side, side)), dtype=np.float32)
                except OSError as error:
                    raise ValueError(f"{path} cannot be read as an image: {error}.") from None
                images.append(torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1.0)
                labels.append(label)
    if not images:
        raise FileNotFoundError(
            f"{folder} has no images ({', '.join(sorted(_SUFFIXES))}) in its class folders."
        )
    return torch.stack(images), torch.tensor(labels)
