"""Whether a file's tensors are named as a transformers class names its own. By names alone, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What the names of a query projection contain -> the families of transformers whose files have it, the one
#: that most people know first.
_FAMILIES = {
    ".attention.self.query.": (
        "Bert BertGeneration BigBird Camembert ConvBert Data2VecText Electra Ernie Esm LayoutLM "
        "MegatronBert Roberta RobertaPreLayerNorm RoFormer XLMRoberta XLMRobertaXL Xmod"
    ),
    ".attention.attention.query.": "ViT AST Beit Data2VecVision DeiT Dinov2 ViTHybrid ViTMAE ViTMSN VideoMAE",
    ".self_attn.q_proj.": (
        "Llama Bart Blenderbot CLIP CLIPText CLIPVision Cohere Gemma Gemma2 Gemma3 MBart Marian Mistral "
        "Mixtral OPT Olmo Olmo2 Pegasus Phi Qwen2 Qwen2Moe Qwen3 Qwen3Moe Siglip StableLm Starcoder2 Whisper"
    ),
    ".attn.c_attn.": "GPT2 GPTBigCode",
    ".SelfAttention.q.": "T5 LongT5 MT5 SwitchTransformers UMT5",
    ".attention.q_lin.": "DistilBert",
    ".attention.self.query_proj.": "DebertaV2",
    ".query_key_value.": "Bloom Falcon GPTNeoX",
}
_FAMILY = re.compile(r"transformers:(.+?)(?:For[A-Z].*|LMHeadModel|DoubleHeadsModel|EncoderModel|Model)$")


def misfit(architecture: str, names: Iterable[str]) -> str:
    """Return why these names cannot be of this architecture; "" if they can, or nothing is known of it.

    Said only where the file has what another family has, and nothing of what this one has.

    Args:
        architecture: as in a `ModelSpec`, e.g. "transformers:BertModel".
        names: of the file's tensors.
    """
    found = _FAMILY.match(architecture)
    own = [sign for sign, families in _FAMILIES.items() if found and found[1] in families.split()]
    if not own:
        return ""
    joined = "\n".join(names)
    if any(sign in joined for sign in own):
        return ""
    other = next((families.split()[0] for sign, families in _FAMILIES.items() if sign in joined), "")
    if not other:
        return ""
    called = architecture.partition(":")[2]
    return f"{called} has none of the file's attention weights: they are named as in {other} models"
