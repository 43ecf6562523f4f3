"""Reads the receipt of an earlier check back, if it is about exactly what is open."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from freezetui.sanity.report import SanityReport
from freezetui.session.receipt_file import KEY, TITLE
from freezetui.session.session import Session
from freezetui.state import read_private

#: The line of a text and the key of a document that is read back.
READ_BACK = "read_back"
_MAX_BYTES, _MAX_FILES = 32 * 2**20, 64
_ENDINGS = (".txt", ".json")


class Earlier(msgspec.Struct, frozen=True):
    """What a receipt says for reading it back.

    Attributes:
        when: the time of the check, ISO 8601.
        files: the version of each file of the checkpoint; see `Part.version`.
        plan: a digest of what was checked; see `plan_digest`.
        report: with live names.
    """

    when: str
    files: tuple[str, ...]
    plan: str
    report: SanityReport


class _Document(msgspec.Struct, frozen=True):
    read_back: Earlier


class _Candidate(NamedTuple):
    when: float
    path: str


def earlier(session: Session, report: SanityReport, when: datetime) -> Earlier:
    """Return what a receipt of this check must say to be read back."""
    return Earlier(
        when.isoformat(timespec="seconds"), _versions(session), plan_digest(session, report.stage), report
    )


def plan_digest(session: Session, stage: str | None) -> str:
    """Return "sha256:..." over what a check of a stage is about.

    It covers the names of all tensors and of the frozen ones, the settings of norms and modules, and what
    builds the model.
    """
    import hashlib  # here, since importing OpenSSL is slow and not needed for the first screen

    mask, model = session.stages.plan_of(stage).mask(), session.architecture.model
    states = zip(session.tree.tensors, mask, strict=True)
    names = sorted(f"{tensor.name}\t{state}" for tensor, state in states)
    told = [
        *session.stages.settings,
        stage,
        model.architecture,
        sorted(model.arguments.items()),
        names,
    ]
    return "sha256:" + hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()


def read_back(session: Session) -> list[Earlier]:
    """Return the newest check of each stage whose receipt is beside the config and is of what is open.

    Nothing is claimed for a checkpoint whose files have been written to since, nor for one from a URL.
    """
    found: dict[str | None, Earlier] = {}
    versions, stages = _versions(session), (None, *session.stages.names)
    if session.options.more or not all(versions) or session.checkpoint_changed:
        return []
    for candidate in sorted(_candidates(session), reverse=True):
        for each in _read(candidate.path):
            stage = each.report.stage
            fits = stage in stages and each.files == versions
            if fits and stage not in found and each.plan == plan_digest(session, stage):
                found[stage] = each
    return list(found.values())


def _versions(session: Session) -> tuple[str, ...]:
    return tuple(part.version for part in session.checkpoint.parts) or ("",)


def _candidates(session: Session) -> list[_Candidate]:
    found: list[_Candidate] = []
    with contextlib.suppress(OSError), os.scandir(session.config_path.parent) as listing:
        for entry in listing:
            if entry.name.endswith(_ENDINGS) and len(found) < _MAX_FILES:
                with contextlib.suppress(OSError):
                    found.append(_Candidate(entry.stat().st_mtime, entry.path))
    return found


def _read(path: str) -> list[Earlier]:
    """Return what a receipt says, as text or as JSON; [] if the file is not one."""
    data = read_private(Path(path), _MAX_BYTES)
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        if data.startswith(TITLE.encode()):
            start = f"{READ_BACK}: ".encode()
            lines = [line.removeprefix(start) for line in data.splitlines() if line.startswith(start)]
            return [msgspec.json.decode(line, type=Earlier) for line in lines]
        if f'"{KEY}"'.encode() in data[:64]:
            documents = msgspec.json.decode(data, type=_Document | list[_Document])
            return [each.read_back for each in (documents if isinstance(documents, list) else [documents])]
    return []
