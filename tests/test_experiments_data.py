"""Loaders of images, on files of the published formats that the tests write."""

import numpy as np
import pytest
from torch_cases import torch

pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")

from experiments._data import load  # noqa: E402
from experiments._options import Data, Options  # noqa: E402


def records(path, count, labels):
    """A binary file of CIFAR: label bytes, then red, green and blue."""
    generator = np.random.default_rng(len(path.name))
    pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
    coarse_and_fine = np.stack([np.arange(count) % 20, np.arange(count) % 100], axis=1)[:, -labels:]
    np.concatenate([coarse_and_fine.astype(np.uint8), pixels], axis=1).tofile(path)
    return pixels


def test_digits():
    images = load(Options())
    assert images.train.shape[1:] == (1, 8, 8)
    assert len(images.train) + len(images.test) == 1797
    assert images.classes == 10


def test_cifar10(tmp_path):
    for k in range(1, 6):
        pixels = records(tmp_path / f"data_batch_{k}.bin", 4, 1)
    records(tmp_path / "test_batch.bin", 3, 1)
    images = load(Options(data=Data.cifar10, root=tmp_path))
    assert images.train.shape == (20, 3, 32, 32)
    assert images.train_labels.tolist() == [0, 1, 2, 3] * 5
    assert images.test.shape == (3, 3, 32, 32)
    last = torch.from_numpy(pixels[3].reshape(3, 32, 32).astype("float32")) / 127.5 - 1
    torch.testing.assert_close(images.train[-1], last)


def test_cifar100_takes_the_fine_label(tmp_path):
    records(tmp_path / "train.bin", 30, 2)
    records(tmp_path / "test.bin", 3, 2)
    images = load(Options(data=Data.cifar100, root=tmp_path))
    assert images.train_labels.tolist() == list(range(30))


def test_a_folder_of_class_folders(tmp_path):
    for part in ("train", "val"):
        for name, level in (("dark", 0), ("light", 255)):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (40, 20), (level, level, level)).save(tmp_path / part / name / "1.png")
    images = load(Options(data=Data.folder, root=tmp_path))
    assert images.train.shape == (2, 3, 32, 32)
    assert images.train.amin((1, 2, 3)).tolist() == [-1, 1]
    assert images.test_labels.tolist() == [0, 1]
    larger = load(Options(data=Data.folder, root=tmp_path, side=48))
    assert larger.train.shape == (2, 3, 48, 48)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Data.cifar10, r"has no data_batch_1.bin.*unpack cifar-10-binary.tar.gz"),
        (Data.cifar100, r"has no train.bin, test.bin.*unpack cifar-100-binary.tar.gz"),
        (Data.folder, r"needs a folder train and a folder test"),
    ],
)
def test_missing_files_are_named_with_what_to_put_there(tmp_path, data, said):
    with pytest.raises(FileNotFoundError, match=said):
        load(Options(data=data, root=tmp_path))
    with pytest.raises(FileNotFoundError, match="--root DIR"):
        load(Options(data=data))


def test_a_truncated_file_is_named(tmp_path):
    records(tmp_path / "train.bin", 3, 1)
    records(tmp_path / "test.bin", 3, 2)
    with pytest.raises(ValueError, match=r"train.bin .* records of 3074 bytes are needed"):
        load(Options(data=Data.cifar100, root=tmp_path))


def test_every_file_is_whole_and_of_the_data_set(tmp_path):
    for k in range(1, 6):
        records(tmp_path / f"data_batch_{k}.bin", 4, 1)
    records(tmp_path / "test_batch.bin", 3, 1)
    options = Options(data=Data.cifar10, root=tmp_path)
    whole = (tmp_path / "data_batch_2.bin").read_bytes()
    # Together these two hold a whole number of records.
    (tmp_path / "data_batch_2.bin").write_bytes(whole[:-1000])
    (tmp_path / "data_batch_3.bin").write_bytes(whole + whole[:1000])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin holds 11292 bytes"):
        load(options)
    for k in (2, 3):
        (tmp_path / f"data_batch_{k}.bin").write_bytes(bytes([200]) + whole[1:])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin has the label 200, .* CIFAR-10"):
        load(options)


def test_folders_have_the_same_classes_and_images_that_can_be_read(tmp_path):
    for part in ("train", "test"):
        for name in ("dark", "light", ".ipynb_checkpoints"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (40, 20)).save(tmp_path / part / name / "1.png")
    options = Options(data=Data.folder, root=tmp_path)
    assert load(options).classes == 2
    (tmp_path / "test" / "light" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1\.png cannot be read as an image"):
        load(options)
    (tmp_path / "test" / "light").rename(tmp_path / "test" / "bright")
    with pytest.raises(ValueError, match=r"folders for bright, dark, .* for dark, light"):
        load(options)
