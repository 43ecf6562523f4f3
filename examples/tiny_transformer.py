"""A small character-level language model; its embedding and its head are tied."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY = 128


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each after a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Transform activations of shape (N, T, width)."""
        y = self.norm1(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.feed_forward(self.norm2(x))


class TinyTransformer(nn.Module):
    """tok_embed, pos_embed, layers.0 ... layers.5, norm, lm_head (tied to tok_embed)."""

    def __init__(self, width: int = 64, depth: int = 6, heads: int = 4, length: int = 64) -> None:
        super().__init__()
        self.tok_embed = nn.Embedding(VOCABULARY, width)
        self.pos_embed = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)
        self.lm_head.weight = self.tok_embed.weight
        nn.init.normal_(self.tok_embed.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (N, T, 128) of token numbers (N, T)."""
        length = tokens.shape[1]
        mask = torch.full((length, length), float("-inf"), device=tokens.device).triu(1)
        x = self.tok_embed(tokens) + self.pos_embed[:length]
        for layer in self.layers:
            x = layer(x, mask)
        return self.lm_head(self.norm(x))


def tiny_transformer() -> TinyTransformer:
    """Return the untrained model; `--architecture examples/tiny_transformer.py:tiny_transformer`."""
    return TinyTransformer()
