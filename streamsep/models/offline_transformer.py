"""The offline model's cross-domain transformer; its parameter names are those of the official releases.

Spectrogram tokens and waveform tokens pass through two stacks side by side: even layers attend within a
domain, odd layers across (Rouard, Massa and Défossez 2023, arXiv:2211.08553, section 3). Attention is
over the whole segment in both directions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.models.offline_layers import LayerScale

MAX_PERIOD = 10000.0


def sine_embedding(length: int, width: int, device: torch.device) -> Tensor:
    """Cosines then sines of the position, [length, width]; `width` is even."""
    half = width // 2
    position = torch.arange(length, device=device)[:, None]
    phase = position / MAX_PERIOD ** (torch.arange(half, device=device) / (half - 1))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def sine_embedding_2d(frames: int, rows: int, width: int, device: torch.device) -> Tensor:
    """Interleaved sines and cosines, [frames * rows, width]: half the channels tell the frame, half the row."""
    half = width // 2
    rates = torch.exp(torch.arange(0, half, 2, device=device) * (-math.log(MAX_PERIOD) / half))

    def interleaved(count: int) -> Tensor:
        phase = torch.arange(count, device=device)[:, None] * rates
        return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)

    frame = interleaved(frames)[:, None].expand(frames, rows, half)
    row = interleaved(rows)[None].expand(frames, rows, half)
    return torch.cat([frame, row], dim=-1).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention with query, key and value projections kept in one matrix.

    Shape: query [B, T, C], memory [B, S, C] -> [B, T, C].
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        width = query.shape[-1]
        if query is memory:
            q, k, v = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            q = F.linear(query, self.in_proj_weight[:width], self.in_proj_bias[:width])
            k, v = F.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v), dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SequenceNorm(nn.GroupNorm):
    """Normalise over all frames and channels together; gain and bias a channel. Shape: [B, T, C]."""

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[1:], eps=self.eps), self.weight)


class TransformerLayer(nn.Module):
    """What both kinds of layer share: the feed-forward part, the layer scales and the norm at the end."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm_out = SequenceNorm(width)
        self.gamma_1 = LayerScale(width, 1e-4, channels_last=True)
        self.gamma_2 = LayerScale(width, 1e-4, channels_last=True)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(x)))))


class SelfLayer(TransformerLayer):
    """Attention within one domain. Shape: [B, T, C] -> the same."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__(width, hidden, dropout)
        self.self_attn = Attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = self.gamma_1(x, self.dropout(self.self_attn(normed, normed)))
        x = self.gamma_2(x, self.feed_forward(self.norm2(x)))
        return self.norm_out(x)


class CrossLayer(TransformerLayer):
    """Attention to the other domain. Shape: x [B, T, C], other [B, S, C] -> [B, T, C]."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__(width, hidden, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        x = self.gamma_1(x, self.dropout(self.cross_attn(self.norm1(x), self.norm2(other))))
        x = self.gamma_2(x, self.feed_forward(self.norm3(x)))
        return self.norm_out(x)


class CrossTransformer(nn.Module):
    """Two stacks of `depth` layers, one a domain, that exchange what they know in every odd layer, if they `cross`.

    Shape: x [B, C, F, T], xt [B, C, T'] -> the same two shapes.
    """

    def __init__(self, width: int, depth: int, heads: int, hidden: int, dropout: float, cross: bool = True) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(width)
        self.norm_in_t = nn.LayerNorm(width)
        self.layers = nn.ModuleList()
        self.layers_t = nn.ModuleList()
        for index in range(depth):
            kind = CrossLayer if index % 2 and cross else SelfLayer
            self.layers.append(kind(width, heads, hidden, dropout))
            self.layers_t.append(kind(width, heads, hidden, dropout))

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        width, rows, frames = x.shape[1:]
        x = self.norm_in(x.permute(0, 3, 2, 1).flatten(1, 2)) + sine_embedding_2d(frames, rows, width, x.device)
        xt = self.norm_in_t(xt.transpose(1, 2)) + sine_embedding(xt.shape[-1], width, xt.device)
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            x, xt = (layer(x, xt), layer_t(xt, x)) if isinstance(layer, CrossLayer) else (layer(x), layer_t(xt))
        return x.unflatten(1, (frames, rows)).permute(0, 3, 2, 1), xt.transpose(1, 2)
