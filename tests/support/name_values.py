"""What a name map says, held against values: every tensor of a file is filled with a number of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from freezetui.freeze.name_map import NameMap

_FIRST = 1000.5
_TOLERANCE = 0.01


class Verdict(NamedTuple):
    """How a map compares with what was loaded.

    Attributes:
        right: live tensors that hold exactly the tensors of the file that the map names.
        wrong: live tensors that hold others, one line each.
        lost: live tensors that hold something of the file where the map names nothing.
    """

    right: int
    wrong: list[str]
    lost: list[str]


class Holder(nn.Module):
    """A user's model around others."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def headers(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return shapes and dtypes by name, as a file's header tells them."""
    return {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}


def marked(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Fill each tensor with its own number; those that hold the same values get the same number.

    Truth values and other dtypes that cannot hold the number stay as they are and get none.
    """
    filled: dict[str, Tensor] = {}
    marks: dict[str, float] = {}
    numbers: dict[bytes, float] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64, torch.int32, torch.int64):
            filled[name] = tensor
            continue
        content = hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data).digest()
        same = tensor.numel() > 1 and not _constant(tensor)  # biases of zeros are not one tensor
        number = numbers.get(content) if same else None
        if number is None:
            number = _FIRST + len(numbers) + len(marks)
            if not tensor.is_floating_point():
                number = float(int(number))
            numbers[content] = number
        marks[name] = number
        filled[name] = torch.full_like(tensor, number).contiguous()
    return filled, marks


def compare(model: nn.Module, names: NameMap, marks: Mapping[str, float]) -> Verdict:
    """Hold every live tensor's values against the numbers of what it is said to be made of."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    known = torch.tensor(sorted(set(marks.values())), dtype=torch.float64)
    right, wrong, lost = 0, [], []
    for live in names.live:
        tensor = tensors[live.name]
        if tensor.is_meta or tensor.dtype == torch.bool or tensor.is_complex() or not tensor.numel():
            continue  # no values, or none that can be a number
        held = _marks_in(tensor, known)
        said = {marks[file] for file in live.files if file in marks}
        if said == held:
            right += bool(said)
        elif said:
            wrong.append(f"{live.name}: said {live.files}, holds {_names(held, marks)}")
        else:
            lost.append(f"{live.name}: holds {_names(held, marks)}")
    return Verdict(right, wrong, lost)


def _marks_in(tensor: Tensor, known: Tensor) -> set[float]:
    """Return the numbers of the file's tensors that stand in a tensor."""
    if not len(known):
        return set()
    values = tensor.detach().reshape(-1)
    values = (values[:1] if _constant(tensor) else values.unique()).to(torch.float64)
    places = torch.searchsorted(known, values).clamp(max=len(known) - 1)
    before = (places - 1).clamp(min=0)
    nearest = torch.where(
        (known[places] - values).abs() < (known[before] - values).abs(), known[places], known[before]
    )
    return set(nearest[(nearest - values).abs() < _TOLERANCE].tolist())


def _constant(tensor: Tensor) -> bool:
    flat = tensor.detach().reshape(-1)
    return bool((flat == flat[:1]).all())


def _names(numbers: set[float], marks: Mapping[str, float]) -> list[str]:
    return [name for name, number in marks.items() if number in numbers][:4]


def rotated(names: NameMap) -> NameMap:
    """Return a map in which every file tensor stands at the live tensor after its own: wrong everywhere."""
    import msgspec

    filled = [t for t in names.live if t.files]
    moved = {t.name: u.files for t, u in zip(filled, [*filled[1:], filled[0]], strict=True)}
    live = tuple(
        msgspec.structs.replace(t, files=moved[t.name]) if t.name in moved else t for t in names.live
    )
    return msgspec.structs.replace(names, live=live)
