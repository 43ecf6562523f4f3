"""The receipt of a check: what was checked, where, and what was found, to keep beside the config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

import msgspec

from freezetui import __version__
from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.codec import config_text
from freezetui.config.paths import why_not_a_file
from freezetui.config.schema import fingerprint
from freezetui.formatting.fixes import fix_code
from freezetui.formatting.json import json_text
from freezetui.formatting.report import headline
from freezetui.formatting.sentences import sentences
from freezetui.freeze.rules import Rule
from freezetui.sanity.report import SanityReport
from freezetui.session.read_back import READ_BACK, earlier
from freezetui.session.receipt_file import KEY, TITLE
from freezetui.session.session import Session
from freezetui.text import printable

_VERSION = 1


def receipt(
    report: SanityReport, session: Session, as_json: bool = False, when: datetime | None = None
) -> str:
    """Return the receipt of one check as readable text, or as a JSON document.

    Args:
        report: of a check that this session asked for.
        when: the time of the check, with a time zone; if None, that of an earlier session's, else now.
    """
    return receipts([report], session, as_json, when)


def receipts(
    reports: Sequence[SanityReport], session: Session, as_json: bool = False, when: datetime | None = None
) -> str:
    """Return the receipt of the checks of several stages; as JSON a list, if there are several."""
    documents = [document(report, session, when) for report in reports]
    if as_json:
        return json_text(documents[0] if len(documents) == 1 else documents) + "\n"
    return "\n\n".join("\n".join(map(printable, _lines(each))) for each in documents) + "\n"


def _time_of(report: SanityReport, session: Session) -> datetime:
    """Return the time of a check that was read back, else now."""
    try:
        found = datetime.fromisoformat(session.checks.when(report.stage))
    except ValueError:
        found = datetime.now(timezone.utc)
    return found if found.tzinfo else datetime.now(timezone.utc)


def document(report: SanityReport, session: Session, when: datetime | None = None) -> dict[str, Any]:
    """Return the receipt of one check as plain data, with the checkpoint's names."""
    named, when = report.in_file_names(), when or _time_of(report, session)
    findings = [
        {**msgspec.to_builtins(told), "code_to_fix": list(fix_code(live, report.own))}
        for told, live in zip(named.findings, report.findings, strict=True)
    ]
    parts = ("frozen", "trainable", "buffers", "own", "cost")
    plain = msgspec.to_builtins(named)
    return {
        KEY: _VERSION,
        "date": when.isoformat(timespec="seconds"),
        "headline": headline(report).lstrip("✓✗?○ "),
        "verdict": report.verdict,
        "stage": report.stage,
        "sentences": list(sentences(named)),
        "findings": findings,
        "checkpoint": _checkpoint(session),
        "config": _config(session, report.stage),
        "model": {"architecture": report.architecture, "arguments": session.architecture.model.arguments},
        "run": {
            "steps": report.steps,
            "device": report.device,
            "modes": report.modes,
            "seconds": round(report.seconds, 3),
            "forward": report.forward,
            "input": list(report.input),
            "training": _given(session.options.training),
        },
        "environment": {"freezetui": __version__, **report.environment},
        **{part: plain[part] for part in parts},
        READ_BACK: msgspec.to_builtins(earlier(session, report, when)),
    }


def _checkpoint(session: Session) -> dict[str, Any]:
    sources = (shown_url(each) if is_url(each) else each for each in session.options.sources)
    return {
        "source": ", ".join(sources),
        "key": session.options.key,
        "format": session.checkpoint.format,
        "tensors": len(session.checkpoint.tensors),
        "fingerprint": fingerprint(session.checkpoint.tensors),
    }


def _config(session: Session, stage: str | None) -> dict[str, Any]:
    """Return what was checked: the plan, as saving writes it, and the file if that is what it holds."""
    path, config = session.config_path, session.written()
    saved = not session.unsaved and path.exists() and not why_not_a_file(path)
    text = path.read_bytes() if saved else config_text(path, config).encode("utf-8", "surrogatepass")
    plain: dict[str, Any] = msgspec.to_builtins(config)
    return {
        "path": str(path),
        "saved": saved,
        "sha256": sha256(text).hexdigest(),
        "default": config.default,
        "rules": _rules(config.rules),
        "stage_rules": [rule for s in config.stages if s.name == stage for rule in _rules(s.rules)],
        "norm_statistics": config.norm_statistics,
        "expect": plain["expect"],
    }


def _rules(rules: Iterable[Rule]) -> list[dict[str, str]]:
    return [{rule.action: rule.pattern} for rule in rules]


def _given(options: Any) -> dict[str, Any]:
    """Return the options that are not at their defaults."""
    plain: dict[str, Any] = msgspec.to_builtins(options)
    usual: dict[str, Any] = msgspec.to_builtins(type(options)())
    return {name: value for name, value in plain.items() if value != usual[name]}


def _lines(plain: Mapping[str, Any]) -> Iterable[str]:
    """Yield the document as text: what was found first, then all fields of what was checked."""
    yield f"{TITLE} {plain[KEY]}, {plain['date']}"
    yield ""
    yield plain["headline"] + (f" (stage {plain['stage']})" if plain["stage"] else "")
    yield from (f"  {sentence}" for sentence in plain["sentences"])
    for found in plain["findings"]:
        yield f"{found['code']} ({found['severity']}): {found['message']}"
        yield from (f"  {name}" for name in found["tensors"])
        if found["fix"]:
            yield f"  fix: {found['fix']}"
        yield from (f"    {line}" for line in found["code_to_fix"])
    for part in ("checkpoint", "config", "model", "run", "environment"):
        yield ""
        yield f"{part}:"
        yield from _fields(plain[part], "  ")
    yield ""
    yield f"{READ_BACK}: {json.dumps(plain[READ_BACK])}"


def _fields(plain: Mapping[str, Any], indent: str) -> Iterable[str]:
    for name, value in plain.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from _fields(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{name}:"
            for item in value:
                yield f"{indent}  - " + ", ".join(f"{key}: {text}" for key, text in item.items())
        elif value not in (None, "", [], {}):
            yield f"{indent}{name}: {value}"
