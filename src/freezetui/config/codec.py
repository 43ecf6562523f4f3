"""The config as text: strict reading with line numbers, atomic writing that keeps comments."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from freezetui.config.atomic import write_text
from freezetui.config.bounds import check_events, check_text, read_text
from freezetui.config.schema import VERSION, Count, Expect, FreezeConfig, ModelSection, Stage
from freezetui.config.yaml_edit import rewritten, same, written
from freezetui.errors import ConfigError
from freezetui.freeze.rules import Rule
from freezetui.text import printable, quoted, shortened

_C = TypeVar("_C", bound=FreezeConfig)

_FORMAT_KEY = "freezetui"
#: Shorter text cannot take a parser long.
_MAX_UNCOUNTED = 64 * 2**10
_SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    (r"\$", FreezeConfig),
    (r"\$\.model", ModelSection),
    (r"\$\.expect", Expect),
    (r"\$\.expect\.(frozen|trainable)", Count),
    (r"\$\.stages\[\d*(\.\.\.)?\]", Stage),
)
_CHOICES = {"default": "train, freeze", "norm_statistics": "freeze, update"}


def read_config(path: Path, cls: type[_C]) -> _C:
    """Read a config file as `cls`.

    Raises:
        ConfigError: names the file, the line and the valid choices.
    """
    return _Reader(path, _parse(path, read_text(path))).config(cls)


def write_config(path: Path, config: FreezeConfig) -> None:
    """Write `config` atomically: a temporary file in the same folder, fsync, replace.

    Raises:
        ConfigError: the file cannot be written, or what is there is no config.
    """
    before = read_text(path) if path.exists() else ""
    text = _changed(path, before, config) if before.strip() else _anew(path, _plain(config))
    if text == before:
        return
    check_text(path, text)
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}.", "Choose another place to save to.") from None


def _anew(path: Path, plain: dict[str, Any]) -> str:
    if path.suffix != ".json":
        return written(plain)
    # Only ASCII: a name may hold what steers a terminal, or half a character that no file can.
    return json.dumps(plain, indent=2).replace("\x7f", "\\u007f") + "\n"


def _changed(path: Path, before: str, config: FreezeConfig) -> str:
    """What a file that says `before` shall say now; the same to the letter where nothing changed.

    Raises:
        ConfigError: what is there is no config, or of an unknown version.
    """
    reader = _Reader(path, _parse(path, before))
    reader.check_version()
    plain = _plain(config)
    try:
        old = _plain(reader.config(FreezeConfig))
    except ConfigError:
        return _anew(path, plain)
    if same(old, plain):
        return before
    if path.suffix != ".json":
        with contextlib.suppress(ConfigError, YAMLError):
            text = rewritten(before, old, plain)
            if same(_plain(_Reader(path, _parse(path, text)).config(FreezeConfig)), plain):
                return text
    return _anew(path, plain)


def _parse(path: Path, text: str) -> Any:
    return _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        suspect = len(text) > _MAX_UNCOUNTED or re.search(r"[*&!]", text)
        for count, event in enumerate(YAML(typ="rt").parse(text) if suspect else ()):
            check_events(path, count)
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                where = f"{path}, line {event.start_mark.line + 1}"
                hint = "Text that begins with *, & or ! needs quotes."
                raise ConfigError(f"{where}: a YAML alias, anchor or tag.", hint)
        return YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = shortened(printable(str(getattr(error, "problem", None) or "no YAML").split("\n")[0]))
        raise ConfigError(
            f"{path}{where}: {problem}.", "Patterns that begin with * or { need quotes; keys stand once."
        ) from None
    except ConfigError:
        raise
    except Exception as error:  # ruamel.yaml raises what it meets: a mapping as a key is a TypeError
        problem = shortened(str(error).partition("\n")[0]) or "no plain YAML"
        raise ConfigError(f"{path}: {problem}.", "Write plain YAML.") from None


def _parse_json(path: Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
            raise ConfigError(f"{path}: duplicate key {quoted(twice)}.", "Keep one of them.")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}.", "Write valid JSON.") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply.", "Write valid JSON.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{path}: {shortened(str(error))}.", "Write a shorter number.") from None


class _Reader:
    """Turns a parsed document into a config; every complaint names the file and the line."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self.document = document

    def check_version(self) -> None:
        if not isinstance(self.document, dict) or _FORMAT_KEY not in self.document:
            raise ConfigError(
                f"{self.path} is no freeze config: it lacks 'freezetui: {VERSION}'.",
                "Save one from the TUI or with `freezetui plan`.",
            )
        version = self.document[_FORMAT_KEY]
        if version is True or version != VERSION:
            raise self.error(
                "$", _FORMAT_KEY, f"format version {version!r} is not known", f"Valid: {VERSION}."
            )

    def config(self, cls: type[_C]) -> _C:
        self.check_version()
        plain = self._builtin(self.document)
        del plain[_FORMAT_KEY]
        self._rules(plain, "$")
        stages = plain.get("stages")
        for index, stage in enumerate(stages if isinstance(stages, list) else ()):
            if isinstance(stage, dict):
                self._rules(stage, f"$.stages[{index}]")
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise self._explain(str(error)) from None

    def _rules(self, section: dict[str, Any], where: str) -> None:
        """Replace `- freeze: pattern` by what Rule looks like, in place."""
        rules = section.get("rules")
        if rules is None:
            return
        if not isinstance(rules, list):
            raise self.error(where, "rules", "rules must be a list", "For example: - freeze: features")
        section["rules"] = [self._rule(rule, f"{where}.rules", i) for i, rule in enumerate(rules)]

    def _rule(self, rule: Any, where: str, index: int) -> dict[str, Any]:
        if not isinstance(rule, dict) or len(rule) != 1 or next(iter(rule)) not in ("freeze", "train"):
            raise self.error(
                where, index, "a rule is 'freeze: PATTERN' or 'train: PATTERN'", "Valid keys: freeze, train."
            )
        action, pattern = next(iter(rule.items()))
        if not isinstance(pattern, str):
            raise self.error(
                where, index, f"the pattern {pattern!r} is no text", "Put the pattern into quotes."
            )
        return {"action": action, "pattern": pattern}

    def _explain(self, message: str) -> ConfigError:
        """msgspec's complaint ("... - at `$.model.input`") with line and valid choices."""
        problem, _, place = message.partition(" - at `")
        place = place.rstrip("`") or "$"
        unknown = re.search(r"unknown field `(.*)`", problem)
        struct = next((s for pattern, s in _SECTIONS if re.fullmatch(pattern, place)), None)
        if unknown and struct is not None:
            fields = [*struct.__struct_fields__]
            valid = ", ".join([_FORMAT_KEY, *fields] if struct is FreezeConfig else fields)
            return self.error(place, unknown[1], f"unknown key {unknown[1]!r}", f"Valid keys: {valid}.")
        parent, _, key = place.rpartition(".")
        hint = f"Valid: {_CHOICES[key]}." if key in _CHOICES else "See the README's section on the config."
        return self.error(parent or "$", key, f"{place.removeprefix('$.')}: {problem}", hint)

    def _builtin(self, value: Any, above: Any = None, key: str | int = 0) -> Any:
        """Plain Python values, as JSON has them, in place of those that remember how they were written."""
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str)), None)
            if odd is not None:
                raise self._complaint(value, odd, f"the key {odd!r} is no text", "Put it into quotes.")
            return {str(key): self._builtin(item, value, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._builtin(item, value, index) for index, item in enumerate(value)]
        if isinstance(value, ScalarBoolean):
            return bool(value)
        plain = next((t for t in (bool, int, float, str) if isinstance(value, t)), None)
        if plain is None and value is not None:
            raise self._complaint(
                above, key, f"the value of {key!r} is of no plain type", "Put it into quotes."
            )
        return plain(value) if plain else None

    def error(self, where: str, key: str | int, problem: str, hint: str) -> ConfigError:
        """A complaint about `key` of the section at `where` (a path as msgspec writes it)."""
        node = self.document
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
            for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where):
                node = node[name] if name else node[int(index)]
        return self._complaint(node, key, problem, hint)

    def _complaint(self, node: Any, key: Any, problem: str, hint: str) -> ConfigError:
        line = _line_of(node, key)
        return ConfigError(
            f"{self.path}{f', line {line}' if line else ''}: {shortened(printable(problem))}.", hint
        )


def _line_of(node: Any, key: str | int) -> int | None:
    if isinstance(node, CommentedMap | CommentedSeq):
        position = (node.lc.data or {}).get(key)
        return int(position[0] if position else node.lc.line) + 1
    return None


def _plain(config: FreezeConfig) -> dict[str, Any]:
    """The config as it is written, keys in the documented order."""
    plain: dict[str, Any] = {_FORMAT_KEY: VERSION, **json.loads(json.dumps(msgspec.to_builtins(config)))}
    plain.setdefault("default", config.default)
    plain["rules"] = [_written(rule) for rule in config.rules]
    plain.setdefault("norm_statistics", config.norm_statistics)
    for stage, section in zip(config.stages, plain.get("stages", ()), strict=True):
        if stage.rules:
            section["rules"] = [_written(rule) for rule in stage.rules]
    return {
        key: plain[key]
        for key in (_FORMAT_KEY, *FreezeConfig.__struct_fields__)
        if plain.get(key) not in (None, {})
    }


def _written(rule: Rule) -> dict[str, str]:
    return {rule.action: rule.pattern}
