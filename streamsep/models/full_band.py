"""The whole spectrum of a frame heard and answered at once, beside a U-Net whose convolutions see neighbouring bins."""

from __future__ import annotations

from torch import Tensor, nn


class FullBand(nn.Module):
    """One matrix from all magnitudes to the bottleneck, and one from there to all masks; nothing at first.

    Recurrent separators hear and answer by such matrices alone (S. Venkatesh et al. 2024, arXiv:2402.17701).

    Args:
        channels: of the magnitudes, and `bins` of each.
        deep: channels and tokens of the bottleneck.
        outputs: masks.
    """

    def __init__(self, channels: int, bins: int, deep: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.deep, self.outputs = deep, outputs
        width = deep[0] * deep[1]
        self.hearing, self.answering = nn.Linear(channels * bins, width), nn.Linear(width, outputs * bins)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)  # it learns to answer first

    def hear(self, magnitudes: Tensor) -> Tensor:
        """What the bottleneck is told: `[B, C, bins, T] -> [B, deep, tokens, T]`."""
        told = self.hearing(magnitudes.flatten(1, 2).transpose(1, 2))
        return told.transpose(1, 2).unflatten(1, self.deep)

    def answer(self, bottom: Tensor) -> Tensor:
        """What is added to the masks: `[B, deep, tokens, T] -> [B, outputs, bins, T]`."""
        masks: Tensor = self.answering(bottom.flatten(1, 2).transpose(1, 2))
        return masks.transpose(1, 2).unflatten(1, (self.outputs, -1))
