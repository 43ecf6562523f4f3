"""Write docs/presets.md: what each preset selects in families of models, each saved by its own library."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import timm  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402

from freezetui.freeze.presets import chosen, find_preset  # noqa: E402
from freezetui.freeze.tree import ParamTree  # noqa: E402
from support.families import FAMILIES, Known  # noqa: E402

_ABOUT = """\
# What the presets select

Written by `scripts/check_presets.py` with {versions}.
Each model is small and random, and saved by its own library; the describer builds it without weights and
finds its head and its blocks.

- *head*: what the library says the head is (`get_output_embeddings` and everything outside the base model in
  transformers, `get_classifier` in timm), else the top-level module that is called as heads are. A tensor
  that is tied to another module's is left out, unless the head has nothing else: those are marked *tied*, and
  training them trains the embedding, too.
- *last-blocks:1*: the last block and everything that runs after it, as far as the order of execution is
  known, else that is registered after it. Blocks of consecutive lists are one chain, such as the four layers
  of a ResNet, or an encoder and its decoder.
- *adapters*: what PEFT added (`lora_` and the like), and nothing else.
- A model of several modalities has towers: the preset names one, `head:text`, `last-blocks:1:vision`. An
  encoder and a decoder can be named, but need not be.

If no known library builds the model, both go by names, and say so.

| model | blocks | preset | trains |
|---|---|---|---|
"""


def presets(known: Known) -> list[str]:
    """Return the presets to show; for a model with towers, those of each."""
    structure = known.description.structure
    heads = [f"head:{head.tower}" if head.tower else "head" for head in structure.heads]
    towers = structure.towers if len(structure.towers) > 1 else ("",)
    blocks = [] if structure.asks else ["last-blocks:1"]
    return heads + blocks + [f"last-blocks:1:{tower}" for tower in towers if tower]


def selected(known: Known, preset: str) -> str:
    """Return the largest modules that a preset trains whole."""
    mask = chosen(find_preset(preset), known.tree, known.description.structure)
    return ", ".join(f"`{path}`" for path in whole(known.tree, mask, 0))


def whole(tree: ParamTree, mask: bytes, node: int) -> Iterator[str]:
    """Yield the outermost modules below a node whose parameters all train."""
    tensors = [i for i in range(*tree.span(node)) if not tree.tensors[i].untrainable_reason]
    if not any(mask[i] for i in tensors):
        return
    if all(mask[i] for i in tensors):
        yield tree.path(node)
        return
    for child in tree.children(node):
        yield from whole(tree, mask, child)


def rows(name: str) -> list[str]:
    """Return the lines of one model."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = Known(name, Path(folder))
    structure, lines = known.description.structure, []
    counts = [f"{len(structure.blocks_in(tower))} {tower}".strip() for tower in structure.towers]
    for preset in presets(known):
        shared = [head for head in structure.heads if head.shared and preset == "head"]
        note = f" (*tied*: {shared[0].label})" if shared else ""
        first = not lines
        what = (name if first else "", ", ".join(counts) if first else "")
        lines.append(f"| {what[0]} | {what[1]} | `{preset}` | {selected(known, preset)}{note} |")
    return lines


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="where the document goes")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    lines = []
    for name in FAMILIES:
        lines += rows(name)
        print(lines[-1], flush=True)
    vision = torchvision.__version__.split("+")[0]
    versions = f"torchvision {vision}, timm {timm.__version__}, transformers {transformers.__version__}"
    text = _ABOUT.format(versions=versions) + "\n".join(lines) + "\n"
    if arguments.write:
        arguments.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
