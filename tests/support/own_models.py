"""Models as users write them, small: what `--architecture FILE:NAME` names in the tests and in the script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LstmWithState(nn.Module):
    def __init__(self, vocab: int = 50, hidden: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, 8)
        self.lstm = nn.LSTM(8, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, vocab)

    def forward(self, tokens: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        out, state = self.lstm(self.embed(tokens), state)
        return self.head(out), state


class GruWithHidden(nn.Module):
    """A step of a recurrent decoder: sequence first, with a hidden state from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 10)
        self.out = nn.Linear(10, 4)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        y, hidden = self.gru(x, hidden)
        return self.out(y[-1]), hidden


class RnnCells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 7)
        self.fc = nn.Linear(7, 2)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        h, c = self.cell(x, (h, c))
        return self.fc(h)


class PackedLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8, padding_idx=0)
        self.rnn = nn.LSTM(8, 12, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(24, 3)

    def forward(self, text: Tensor, text_lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(text), text_lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (hidden, _) = self.rnn(packed)
        return self.fc(torch.cat([hidden[-2], hidden[-1]], dim=1))


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1))
        self.head = nn.Linear(32, 5)

    def forward(self, points: Tensor) -> Tensor:
        assert points.dim() == 3 and points.shape[1] == 3, "points must be (B, 3, N)"
        return self.head(self.mlp(points).max(dim=2).values)


class PointNetLast(nn.Module):
    """Point clouds as (B, N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 16, 1)
        self.bn1 = nn.BatchNorm1d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, xyz: Tensor) -> Tensor:
        x = xyz.transpose(2, 1)
        return self.fc(F.relu(self.bn1(self.conv1(x))).amax(2))


class Nerf(nn.Module):
    def __init__(self, frequencies: int = 4) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.block = nn.Sequential(nn.Linear(3 + 6 * frequencies, 32), nn.ReLU(), nn.Linear(32, 32))
        self.sigma = nn.Linear(32, 1)
        self.rgb = nn.Sequential(nn.Linear(32 + 3 + 6 * frequencies, 16), nn.ReLU(), nn.Linear(16, 3))

    def encode(self, x: Tensor) -> Tensor:
        parts = [x]
        for i in range(self.frequencies):
            parts += [torch.sin(2**i * x), torch.cos(2**i * x)]
        return torch.cat(parts, dim=-1)

    def forward(self, points: Tensor, view_dirs: Tensor) -> tuple[Tensor, Tensor]:
        h = self.block(self.encode(points))
        return self.rgb(torch.cat([h, self.encode(view_dirs)], dim=-1)), F.relu(self.sigma(h))


class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleList([nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 3)])

    def forward(self, coords: Tensor) -> dict[str, Tensor]:
        x = coords
        for layer in self.net[:-1]:
            x = torch.sin(30 * layer(x))
        return {"model_in": coords, "model_out": self.net[-1](x)}


def _sinusoid(t: Tensor, dim: int) -> Tensor:
    half = dim // 2
    freqs = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].float() * freqs[None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class _CrossAttention(nn.Module):
    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q = self.to_q(x.flatten(2).transpose(1, 2))
        out = F.scaled_dot_product_attention(q, self.to_k(context), self.to_v(context))
        return x + out.transpose(1, 2).reshape(b, c, h, w)


class DiffusionUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 16))
        self.conv_in = nn.Conv2d(4, 16, 3, padding=1)
        self.down = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.attn = _CrossAttention(16, 24)
        self.norm = nn.GroupNorm(4, 16)
        self.up = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.conv_out = nn.Conv2d(32, 4, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        emb = self.time_mlp(_sinusoid(timestep, 32))
        h = self.conv_in(sample)
        d = self.down(h) + emb[:, :, None, None]
        d = self.norm(self.attn(d, context))
        return self.conv_out(torch.cat([self.up(d), h], dim=1))


class TimeUNet(nn.Module):
    """Continuous time in [0, 1] straight into a Linear, and an optional class label."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.time = nn.Linear(1, 8)
        self.label = nn.Embedding(classes, 8)
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        emb = self.time(t.view(-1, 1).float()) + self.label(y)
        return self.conv2(F.silu(self.conv1(x) + emb[:, :, None, None]))


class DualEncoder(nn.Module):
    """Image and text, as CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.visual_projection = nn.Linear(8, 16)
        self.token_embedding = nn.Embedding(60, 16)
        self.positional_embedding = nn.Parameter(torch.randn(12, 16))
        self.text_projection = nn.Linear(16, 16)
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        i = F.normalize(self.visual_projection(self.visual(image)), dim=-1)
        x = self.token_embedding(text) + self.positional_embedding
        t = F.normalize(self.text_projection(x.mean(1)), dim=-1)
        logits = self.logit_scale.exp() * i @ t.t()
        return logits, logits.t()


class TabularDict(nn.Module):
    """A dict of features: numbers, and one column per category."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"color": nn.Embedding(5, 4), "brand": nn.Embedding(11, 4)})
        self.numeric = nn.Linear(7, 8)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        parts = [self.embeddings[name](features[name]) for name in ("color", "brand")]
        parts.append(self.numeric(features["numeric"]))
        return self.head(torch.cat(parts, dim=-1))


class Tabular(nn.Module):
    """Categories with cardinalities, and numbers, as fastai has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(rows, 4) for rows in (6, 3, 9)])
        self.bn_cont = nn.BatchNorm1d(5)
        self.layers = nn.Sequential(nn.Linear(17, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 2))

    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        x = torch.cat([embed(x_cat[:, i]) for i, embed in enumerate(self.embeds)], dim=1)
        return self.layers(torch.cat([x, self.bn_cont(x_cont)], dim=1))


class LazyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(8, 3)
        self.bn = nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.bn(self.conv(x))), 2).flatten(1))


class TrainingStepOnly(nn.Module):
    """As a Lightning module without forward."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 16), nn.ReLU())
        self.classifier = nn.Linear(16, 10)

    def log(self, name: str, value: Any, **_: Any) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(name)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self.classifier(self.encoder(x)), y)
        self.log("train_loss", loss)
        return loss


class TrainingStepDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4, 3)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        logits = self.fc(self.net(batch["image"]))
        return {"loss": F.cross_entropy(logits, batch["label"])}


class KeywordOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        self.audio = nn.Conv1d(1, 8, 9, stride=4)
        self.head = nn.Linear(8, 2)

    def forward(
        self, *, input_ids: Tensor, waveform: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        logits = self.head(self.embed(input_ids).mean(1) + self.audio(waveform).mean(2))
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels)}


class BatchDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.backbone(batch["image"]).mean((2, 3))
        out = {"logits": self.head(x)}
        if "label" in batch:
            out["loss"] = F.cross_entropy(out["logits"], batch["label"])
        return out


class ListOfImages(nn.Module):
    """Images of several sizes, as detectors take them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: list[Tensor]) -> Tensor:
        assert isinstance(images, list), "expected a list of images"
        return torch.stack([self.fc(self.conv(image[None]).mean((2, 3))[0]) for image in images])


class Unbatched(nn.Module):
    """A single example without a batch: (features,)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(12, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        assert x.dim() == 1, "expected one vector"
        return self.fc2(F.relu(self.fc1(x)))


class UnbatchedImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5)
        self.fc = nn.Linear(6, 2)

    def forward(self, img: Tensor) -> Tensor:
        _, _, _ = img.shape
        return self.fc(self.conv(img).mean((1, 2)))


class InsideDataParallel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x).mean((2, 3)))


class LeNet(nn.Module):
    """As in torch's own tutorial: 32 x 32 only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class OddSide(nn.Module):
    """A side that no list has: 45 x 45."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(4 * 11 * 11, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).view(-1, 4 * 11 * 11))


class NotSquare(nn.Module):
    """Spectrograms of 40 bands; any length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.rnn = nn.GRU(4 * 40, 12, batch_first=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = F.relu(self.conv(spectrogram))
        x = x.permute(0, 3, 1, 2).flatten(2)
        return self.fc(self.rnn(x)[0][:, -1])


class FlatAudio(nn.Module):
    """A raw signal (B, T) of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 80, stride=16)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(x.unsqueeze(1))).mean(-1))


class FixedAudio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(2, 4, 5, stride=2), nn.ReLU(), nn.Conv1d(4, 4, 5, stride=2))
        self.fc = nn.Linear(4 * 122, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).flatten(1))


class Gcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(9, 16)
        self.lin2 = nn.Linear(16, 3)

    def propagate(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        return torch.zeros_like(x).index_add(0, target, x[source])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.relu(self.propagate(self.lin1(x), edge_index))
        return F.log_softmax(self.propagate(self.lin2(x), edge_index), dim=1)


class GraphPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.atom = nn.Embedding(20, 8)
        self.edge = nn.Linear(4, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, z: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Tensor:
        x = self.atom(z)
        message = x[edge_index[0]] * self.edge(edge_attr)
        x = x.index_add(0, edge_index[1], message)
        count = int(batch.max()) + 1
        return self.out(torch.zeros(count, 8, dtype=x.dtype, device=x.device).index_add(0, batch, x))


class DenseGraph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gc1 = nn.Linear(6, 8)
        self.gc2 = nn.Linear(8, 2)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return self.gc2(adj @ F.relu(self.gc1(adj @ x)))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class NanoGpt(nn.Module):
    def __init__(self, vocab: int = 65, block: int = 20, dim: int = 16) -> None:
        super().__init__()
        self.block_size = block
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab, dim),
                "wpe": nn.Embedding(block, dim),
                "h": nn.ModuleList([_Block(dim, 2) for _ in range(2)]),
                "ln_f": nn.LayerNorm(dim),
            }
        )
        self.lm_head = nn.Linear(dim, vocab, bias=False)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        _, t = idx.shape
        assert t <= self.block_size, f"Cannot forward sequence of length {t}, block size is {self.block_size}"
        x = self.transformer["wte"](idx) + self.transformer["wpe"](torch.arange(t, device=idx.device))
        mask = torch.triu(torch.full((t, t), float("-inf"), dtype=x.dtype, device=x.device), diagonal=1)
        for block in self.transformer["h"]:
            x = block(x, mask)
        logits = self.lm_head(self.transformer["ln_f"](x))
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


class Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.src_embed, self.tgt_embed = nn.Embedding(30, 16), nn.Embedding(40, 16)
        self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.generator = nn.Linear(16, 40)

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor, tgt_mask: Tensor) -> Tensor:
        x = self.transformer(self.src_embed(src), self.tgt_embed(tgt), src_mask=src_mask, tgt_mask=tgt_mask)
        return self.generator(x)


class AnnotatedTransformer(nn.Module):
    """Masks as in the annotated transformer: (B, 1, L), zeros are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(25, 16)
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.out = nn.Linear(16, 25)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.embed(x)
        scores = self.q(h) @ self.k(h).transpose(-2, -1) / 4
        scores = scores.masked_fill(mask == 0, -1e9)
        return self.out(scores.softmax(-1) @ self.v(h))


class BertLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(90, 16)
        self.segment = nn.Embedding(2, 16)
        self.position = nn.Embedding(24, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(16, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.word(input_ids) + self.segment(token_type_ids) + self.position(places)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        return self.classifier(x[:, 0])


class VitOwn(nn.Module):
    def __init__(self, side: int = 40, patch: int = 8, dim: int = 16) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, dim))
        self.blocks = nn.Sequential(_Block(dim, 2), _Block(dim, 2))
        self.head = nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.blocks(x)[:, 0])


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(15, 8)
        self.item_embedding = nn.Embedding(40, 8)
        self.mlp = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        x = torch.cat([self.user_embedding(user), self.item_embedding(item)], dim=-1)
        return self.mlp(x).squeeze(-1)


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(784, 32)
        self.mu, self.logvar = nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 784))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.encoder(x.view(-1, 784)))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return torch.sigmoid(self.decoder(z)), mu, logvar


class ConditionalGan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(10, 6)
        self.model = nn.Sequential(nn.Linear(20 + 6, 32), nn.LeakyReLU(0.2), nn.Linear(32, 64))

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return self.model(torch.cat((self.label_emb(labels), noise), -1)).view(-1, 1, 8, 8)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.fc = nn.Linear(4 * 23 * 23, 8)

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.fc(self.cnn(x)) for x in (anchor, positive, negative))


class Captioner(nn.Module):
    """Images, captions and their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.embed = nn.Embedding(45, 8)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.linear = nn.Linear(16, 45)

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        x = torch.cat([self.cnn(images).unsqueeze(1), self.embed(captions[:, :-1])], dim=1)
        return self.linear(self.lstm(x)[0])


class Vqa(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(33, 8)
        self.question = nn.GRU(8, 12, batch_first=True)
        self.image_fc = nn.Linear(20, 12)
        self.answer = nn.Linear(12, 6)

    def forward(self, v: Tensor, q: Tensor) -> Tensor:
        _, h = self.question(self.word(q))
        return self.answer(h[0] * self.image_fc(v).mean(1))


class Dqn(nn.Module):
    """Four frames of 84 x 84, as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(4, 8, 8, 4), nn.ReLU(), nn.Conv2d(8, 8, 4, 2), nn.ReLU())
        self.fc = nn.Linear(8 * 9 * 9, 6)

    def forward(self, frames: Tensor) -> Tensor:
        return self.fc(self.conv(frames / 255.0).flatten(1))


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.actor = nn.Linear(16, 4)
        self.critic = nn.Linear(16, 1)

    def forward(self, observation: Tensor) -> tuple[torch.distributions.Categorical, Tensor]:
        h = self.body(observation)
        return torch.distributions.Categorical(logits=self.actor(h)), self.critic(h)


class QNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q1 = nn.Linear(11 + 3, 16)
        self.q2 = nn.Linear(16, 1)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return self.q2(F.relu(self.q1(torch.cat([state, action], 1))))


class ActNormFlow(nn.Module):
    """Initialized by its first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(6))
        self.scale = nn.Parameter(torch.ones(6))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.initialized.item():
            with torch.no_grad():
                self.bias.copy_(-x.mean(0))
                self.scale.copy_(1 / (x.std(0) + 1e-6))
                self.initialized.fill_(1)
        return self.head((x + self.bias) * self.scale)


class MadeInForward(nn.Module):
    """A layer that the first forward makes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 8)
        self.head: nn.Linear | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.body(x))
        if self.head is None:
            self.head = nn.Linear(h.shape[-1], 3).to(h.device)
        return self.head(h)


class MultiModal(nn.Module):
    """Video, audio and text features."""

    def __init__(self) -> None:
        super().__init__()
        self.video_rnn = nn.LSTM(14, 8, batch_first=True)
        self.audio_rnn = nn.LSTM(9, 8, batch_first=True)
        self.text_fc = nn.Linear(12, 8)
        self.out = nn.Linear(24, 2)

    def forward(self, video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        _, (v, _) = self.video_rnn(video)
        _, (a, _) = self.audio_rnn(audio)
        return self.out(torch.cat([v[-1], a[-1], self.text_fc(text)], dim=1))


class Forecaster(nn.Module):
    """(B, length, features) with a Linear over time."""

    def __init__(self) -> None:
        super().__init__()
        self.revin_weight = nn.Parameter(torch.ones(7))
        self.linear = nn.Linear(36, 12)
        self.project = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.revin_weight
        return self.project(self.linear(x.transpose(1, 2)).transpose(1, 2))


class SegmentationPrompt(nn.Module):
    """An image and a click."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.prompt_encoder = nn.Linear(2, 8)
        self.mask_decoder = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor, point: Tensor) -> Tensor:
        return self.mask_decoder(self.image_encoder(image) + self.prompt_encoder(point)[:, :, None, None])


class Video3d(nn.Module):
    """(B, T, C, H, W), folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.rnn = nn.LSTM(8, 8, batch_first=True)
        self.fc = nn.Linear(8, 2)

    def forward(self, clip: Tensor) -> Tensor:
        b, t, c, h, w = clip.shape
        x = self.cnn(clip.view(b * t, c, h, w)).view(b, t, -1)
        return self.fc(self.rnn(x)[0][:, -1])


class ComplexSpectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(
            wave, 64, 16, window=torch.hann_window(64, device=wave.device), return_complex=True
        )
        return self.out(F.relu(self.conv(spectrum.abs().unsqueeze(1))))


class EmbeddingBagText(nn.Module):
    """As in torch's text tutorial: one long list of tokens, and where each text begins."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(95, 8, sparse=False)
        self.fc = nn.Linear(8, 4)

    def forward(self, text: Tensor, offsets: Tensor) -> Tensor:
        return self.fc(self.embedding(text, offsets))


class PixelHyper(nn.Module):
    """Low-resolution image and a scale factor that has a default."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, lr: Tensor, scale: float = 1.0) -> Tensor:
        return self.tail(F.relu(self.head(lr)) * scale)


class OtherSelf(nn.Module):
    """Calls itself `this`."""

    def __init__(this) -> None:
        super().__init__()
        this.user, this.item = nn.Embedding(10, 8), nn.Embedding(20, 8)
        this.dense, this.out = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(this, batch: dict[str, Tensor]) -> Tensor:
        both = this.user(batch["user_id"]) * this.item(batch["item_id"])
        return this.out(both + this.dense(batch["features"]))


@dataclass
class _Sentences:
    tokens: Tensor
    lengths: Tensor
    labels: Tensor
    names: Any


class DataclassBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(30, 8), nn.Linear(8, 3)

    def forward(self, batch: _Sentences) -> Tensor:
        mean = self.embed(batch.tokens).sum(1) / batch.lengths[:, None]
        return F.cross_entropy(self.out(mean), batch.labels)


class GraphObject(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.atom, self.bond, self.out = nn.Embedding(20, 8), nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, data: Any) -> Tensor:
        x, edge_index = self.atom(data.x), data.edge_index
        x = x.index_add(0, edge_index[1], F.relu(x[edge_index[0]] + self.bond(data.edge_attr)))
        return self.out(x.new_zeros(int(data.batch.max()) + 1, 8).index_add(0, data.batch, x))


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )

    def forward(self, views: Any) -> Tensor:
        first, second = [F.normalize(self.net(view), dim=-1) for view in views]
        return first @ second.T


class VariableArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(50, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(16, 3)

    def forward(self, *inputs: Tensor) -> Tensor:
        one, other = self.rnn(self.embed(inputs[0]))[0], self.rnn(self.embed(inputs[1]))[0]
        return self.out(torch.cat([one.mean(1), (one @ other.transpose(1, 2) @ other).mean(1)], -1))


class HandsOn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = VariableArguments()
        self.pair = Recommender()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.pair(*args, **kwargs)


class FeaturePyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, 8, 1) for channels in (4, 8, 16)])

    def forward(self, features: list[Tensor]) -> Tensor:
        assert len(features) == 3
        return torch.stack([layer(features[i]).mean((2, 3)) for i, layer in enumerate(self.lateral)])


class DictOfExtractors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        image = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(256, 8))
        self.extractors = nn.ModuleDict({"image": image, "vector": nn.Linear(5, 8)})

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return torch.cat([each(observations[key]) for key, each in self.extractors.items()], dim=1)


class LossPerTask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleDict({task: nn.Linear(8, 3) for task in ("age", "kind")})

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        features = self.body(batch["image"])
        out = {task: head(features) for task, head in self.heads.items()}
        return {"loss": sum(F.cross_entropy(out[task], batch[task]) for task in self.heads)}


class TorchTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(60, 16), nn.Embedding(70, 16)
        self.transformer, self.out = nn.Transformer(16, 2, 1, 1, 32), nn.Linear(16, 70)

    def forward(
        self, src: Tensor, trg: Tensor, src_mask: Tensor, tgt_mask: Tensor, src_padding_mask: Tensor
    ) -> Tensor:
        source, target = self.source(src), self.target(trg)
        return self.out(
            self.transformer(source, target, src_mask, tgt_mask, src_key_padding_mask=src_padding_mask)
        )


class DetectorWithTargets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.box = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Tensor:
        found = self.box(self.body(torch.stack(list(images))).mean((2, 3)))
        assert targets is not None
        return sum(F.l1_loss(found[i].expand_as(t["boxes"]), t["boxes"]) for i, t in enumerate(targets))


class FramesOneByOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.rnn = nn.LSTM(32, 8, batch_first=True)

    def forward(self, clip_3d: Tensor) -> Tensor:
        state = None
        for t in range(clip_3d.size(1)):
            out, state = self.rnn(self.body(clip_3d[:, t]).unsqueeze(1), state)
        return out


class StepOfDecoder(nn.Module):
    """One token at a time, one example at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(20, 12), nn.GRU(12, 12)

    def forward(self, input: Tensor, hidden: Tensor) -> Any:
        return self.gru(self.embedding(input).view(1, 1, -1), hidden)


class DemandsSizes(nn.Module):
    def __init__(self, columns: int = 3) -> None:
        super().__init__()
        self.columns = columns
        self.embed, self.out = nn.Embedding(13, 8), nn.Linear(24, 2)

    def forward(self, x_categ: Tensor, start: int) -> Tensor:
        assert x_categ.shape[-1] == self.columns
        return self.out(self.embed(x_categ).flatten(1)[:, start:])


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 8, 4), nn.Linear(8, 4)

    def forward(self, obs: Tensor) -> Tensor:
        return self.out(self.conv(obs.permute(0, 3, 1, 2) / 255).mean((2, 3)))
