"""What the command line chooses, as frozen values."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["Data", "Network", "Options"]


class Data(StrEnum):
    """Where images come from: scikit-learn's digits, or files below a folder of the user's."""

    digits = "digits"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    folder = "folder"


class Network(StrEnum):
    """What is trained: two convolutions, or a network of the papers."""

    small = "small"
    resnet18 = "resnet18"
    resnet50 = "resnet50"
    resnet101 = "resnet101"
    alexnet = "alexnet"


@dataclass(frozen=True)
class Options:
    """What the command line chooses; None leaves it to the experiment."""

    data: Data = Data.digits
    root: Path | None = None
    epochs: int | None = None
    seeds: int | None = None
    device: str = "cpu"
    workers: int = 1
    reduced: bool = False
    network: Network | None = None
    side: int = 32

    @property
    def networks(self) -> tuple[Network, ...]:
        """What was chosen; else the small network on digits, and on other images the pair of paper 1."""
        if self.network is not None:
            return (self.network,)
        return (Network.small,) if self.data is Data.digits else (Network.resnet18, Network.resnet50)

    @property
    def decisive(self) -> dict[str, str | int | bool | None]:
        """What results depend on: a run that differs here does not continue another."""
        data = self.data.value if self.root is None else f"{self.data.value} in {self.root}"
        if self.data is Data.folder:
            data += f", {self.side} x {self.side}"
        network = None if self.network is None else self.network.value
        return {
            "data": data,
            "network": network,
            "epochs": self.epochs,
            "reduced": self.reduced,
            "device": self.device,
        }
