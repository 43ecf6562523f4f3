"""What an input is, and the outcomes that are right."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: What stands for a file that is not a regular one: a link to this path, or a FIFO.
Special = str
FIFO: Special = "a FIFO"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Opens:
    """It opens with these tensors.

    Attributes:
        warnings: a regular expression for each warning, in order; none other may be told.
        checkable: whether its weights can be loaded.
        frozen: the tensors that the config or the pattern freezes; None where there is none.
    """

    tensors: Shapes
    warnings: tuple[str, ...] = ()
    checkable: bool = True
    frozen: frozenset[str] | None = None


def incomplete(tensors: Shapes, *names: str, among: tuple[str, ...] = ()) -> Opens:
    """Shown whole, told that the data of these is not all there, and not checkable."""
    listed = ", ".join(names)
    plural = "1 tensor is" if len(names) == 1 else f"{len(names)} tensors is"
    told = rf"^corrupt: the data of {plural} missing, or smaller than the header says \({listed}\)"
    return Opens(tensors, (*among, told), checkable=False)


def would_import(tensors: Shapes, name: str) -> Opens:
    """Shown whole, told that loading it with torch would import what is known from attacks."""
    return Opens(tensors, (rf"^this file would import [^:]*{name}\b.* when loaded with torch\.load",))


def would_run(tensors: Shapes, name: str) -> Opens:
    """Shown whole, told that loading it with torch would run what nothing is known of."""
    return Opens(tensors, (rf"^torch\.load would run [^:]*{name}\b",))


@dataclass(frozen=True)
class Refused:
    """Exit code 2, and one line on stderr that matches `said`."""

    said: str


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: unique.
        files: their bytes by path; a `Special` instead of bytes is a FIFO, or a link to that path.
        outcome: what is right.
        opened: what is passed to the program; "." is the directory.
        arguments: further arguments; with a command first where it is not `show`.
    """

    name: str
    files: Mapping[str, bytes | Special]
    outcome: Opens | Refused
    opened: str = "model.pth"
    arguments: tuple[str, ...] = field(default=())

    def write(self, directory: Path) -> Path:
        """Write the files; return what is to be opened."""
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content == FIFO:
                os.mkfifo(path)
            else:
                path.symlink_to(content)
        return directory / self.opened


_WORDS = ("encoder", "layers", "attn", "q_proj", "mlp", "head", "blocks", "conv1", "stem", "naïve", "x y")


def drawn_shapes(seed: object, most: int = 6) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a small model."""
    drawn = random.Random(f"{seed}")
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(drawn.randint(2, most)):
        path = [*drawn.choices(_WORDS, k=drawn.randint(1, 3)), str(number), drawn.choice(("weight", "bias"))]
        shapes[".".join(path)] = tuple(drawn.randint(1, 4) for _ in range(drawn.randint(0, 3)))
    return shapes
