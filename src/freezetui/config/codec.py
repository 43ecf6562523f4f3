"""Reads configs strictly, with line numbers in errors, and writes them atomically, keeping comments."""

from __future__ import annotations

import contextlib
import json
import os
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
from freezetui.config.bounds import check_events, check_text, read_text, why_not_a_number
from freezetui.config.paths import ELSEWHERE, is_special
from freezetui.config.plain import FORMAT_KEY, keys_of
from freezetui.config.plain import plain as plain_values
from freezetui.config.schema import VERSION, ConfigData, Count, Expect, ModelSection, Stage
from freezetui.config.yaml_edit import edit
from freezetui.config.yaml_text import same, yaml_text
from freezetui.errors import ConfigError
from freezetui.text import printable, quoted, shortened

_C = TypeVar("_C", bound=ConfigData)

#: Shorter text cannot take a parser long.
_MAX_UNCOUNTED = 64 * 2**10
_SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    (r"\$", ConfigData),
    (r"\$\.model", ModelSection),
    (r"\$(\.stages\[\d*(\.\.\.)?\])?\.expect", Expect),
    (r"\$(\.stages\[\d*(\.\.\.)?\])?\.expect\.(frozen|trainable)", Count),
    (r"\$\.stages\[\d*(\.\.\.)?\]", Stage),
)
_CHOICES = {"default": "train, freeze", "norm_statistics": "freeze, update", "frozen_modules": "train, eval"}


def read_config(path: Path) -> ConfigData:
    """Read a config file.

    Raises:
        ConfigError: the file is not a valid config; names the file, the line and the valid values.
    """
    return read_config_as(ConfigData, path)


def read_config_as(cls: type[_C], path: Path) -> _C:
    """Read a config file as `cls`, which adds no fields of its own; see `read_config`."""
    return _Reader(path, _parse(path, read_text(path))).config(cls)


def write_config(path: Path, config: ConfigData) -> None:
    """Write `config` atomically: a temporary file in the same directory, fsync, replace.

    A pipe or a device is written to directly.

    Raises:
        ConfigError: the file cannot be written, or the existing file is not a config.
    """
    before, text = _texts(path, config)
    if text == before:
        return
    check_text(path, text)
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{shortened(str(path))}: {error.strerror}.", ELSEWHERE) from None


def text_to_write(path: Path, config: ConfigData) -> str:
    """Return the text that `write_config` would write: of an existing file with its comments.

    Raises:
        ConfigError: the existing file is not a config.
    """
    return _texts(path, config)[1]


def _texts(path: Path, config: ConfigData) -> tuple[str, str]:
    """Return the text of the file now, "" without one, and with `config`."""
    is_file = os.path.exists(path) and not is_special(path)  # noqa: PTH110 (a name may be too long)
    before = read_text(path) if is_file else ""
    return before, _changed(path, before, config) if before.strip() else config_text(path, config)


def config_text(path: Path, config: ConfigData) -> str:
    """Return `config` as the text of a new file at `path`, whose suffix says whether it is JSON."""
    return _new_text(path, plain_values(config))


def _new_text(path: Path, plain: dict[str, Any]) -> str:
    if path.suffix != ".json":
        return yaml_text(plain)
    # ASCII only: a name may contain control characters, or a lone surrogate that cannot be encoded.
    return json.dumps(plain, indent=2).replace("\x7f", "\\u007f") + "\n"


def _changed(path: Path, before: str, config: ConfigData) -> str:
    """Return the new text of a file with the text `before`; unchanged if the config is the same.

    Raises:
        ConfigError: the file is not a config, or has an unknown version.
    """
    reader = _Reader(path, _parse(path, before))
    reader.check_version()
    plain = plain_values(config)
    try:
        old = plain_values(reader.config(ConfigData))
    except ConfigError:
        return _new_text(path, plain)
    if same(old, plain):
        return before
    if path.suffix != ".json":
        with contextlib.suppress(ConfigError, YAMLError):
            text = edit(before, old, plain)
            if same(plain_values(_Reader(path, _parse(path, text)).config(ConfigData)), plain):
                return text
    return _new_text(path, plain)


def _parse(path: Path, text: str) -> Any:
    return _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        suspect = len(text) > _MAX_UNCOUNTED or re.search(r"[*&!]", text)
        for count, event in enumerate(YAML(typ="rt").parse(text) if suspect else ()):
            check_events(path, count)
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                where = f"{path}, line {event.start_mark.line + 1}"
                hint = "Quote text that begins with *, & or !."
                raise ConfigError(f"{where}: YAML aliases, anchors and tags are not supported.", hint)
        return YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = shortened(printable(str(getattr(error, "problem", None) or "invalid YAML").split("\n")[0]))
        raise ConfigError(
            f"{path}{where}: {problem}.", "Quote patterns that begin with * or {; keys must be unique."
        ) from None
    except ConfigError:
        raise
    except Exception as error:  # ruamel.yaml raises what it meets: a mapping as a key is a TypeError
        problem = shortened(str(error).partition("\n")[0]) or "not plain YAML"
        raise ConfigError(f"{path}: {problem}.", "Write plain YAML.") from None


def _parse_json(path: Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            duplicate = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
            raise ConfigError(f"{path}: duplicate key {quoted(duplicate)}.", "Keep one of them.")
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
    """Converts a parsed document to a config; every error names the file and the line."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self.document = document

    def check_version(self) -> None:
        if not isinstance(self.document, dict) or FORMAT_KEY not in self.document:
            raise ConfigError(
                f"{self.path} is not a freeze config: missing 'freezetui: {VERSION}'.",
                "Save one from the TUI or with `freezetui plan`.",
            )
        version = self.document[FORMAT_KEY]
        if version is True or version != VERSION:
            raise self.error("$", FORMAT_KEY, f"unknown format version {version!r}", f"Valid: {VERSION}.")

    def config(self, cls: type[_C]) -> _C:
        self.check_version()
        plain = self._builtin(self.document)
        del plain[FORMAT_KEY]
        self._rules(plain, "$")
        stages = plain.get("stages")
        names: set[str] = set()
        for index, stage in enumerate(stages if isinstance(stages, list) else ()):
            if isinstance(stage, dict):
                where = f"$.stages[{index}]"
                self._rules(stage, where)
                name = stage.get("name")
                if isinstance(name, str) and name in names:
                    raise self.error(where, "name", f"two stages are called {name!r}", "Rename one of them.")
                names.add(str(name))
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise self._explain(str(error)) from None
        except UnicodeEncodeError:  # msgspec encodes keys and choices as UTF-8
            raise ConfigError(f"{self.path} contains a lone surrogate.", "Correct it.") from None

    def _rules(self, section: dict[str, Any], where: str) -> None:
        """Replace each `- freeze: pattern` with the fields of a Rule, in place."""
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
            raise self.error(where, index, f"the pattern {pattern!r} must be a string", "Quote the pattern.")
        return {"action": action, "pattern": pattern}

    def _explain(self, message: str) -> ConfigError:
        """Return msgspec's error ("... - at `$.model.input`") with the line and the valid values."""
        problem, _, place = message.partition(" - at `")
        place = place.rstrip("`") or "$"
        unknown = re.search(r"unknown field `(.*)`", problem)
        struct = next((s for pattern, s in _SECTIONS if re.fullmatch(pattern, place)), None)
        if unknown and struct is not None:
            valid = ", ".join(keys_of(struct))
            problem = f"unknown key {unknown[1]!r}, or written by a newer freezetui"
            return self.error(place, unknown[1], problem, f"Valid keys: {valid}.")
        parent, _, key = place.rpartition(".")
        hint = f"Valid: {_CHOICES[key]}." if key in _CHOICES else "Correct the value."
        return self.error(parent or "$", key, f"{place.removeprefix('$.')}: {problem}", hint)

    def _builtin(self, value: Any, above: Any = None, key: str | int = 0) -> Any:
        """Return plain Python values, as in JSON, for the parser's values with formatting information."""
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str)), None)
            if odd is not None:
                raise self._complaint(value, odd, f"key {odd!r} must be a string", "Quote it.")
            return {str(key): self._builtin(item, value, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._builtin(item, value, index) for index, item in enumerate(value)]
        if isinstance(value, ScalarBoolean):
            return bool(value)
        plain = next((t for t in (bool, int, float, str) if isinstance(value, t)), None)
        if plain is None and value is not None:
            raise self._complaint(
                above,
                key,
                f"the value of {key!r} must be a string, number, boolean, list or mapping",
                "Quote it.",
            )
        if plain in (int, float) and (why := why_not_a_number(value)):
            raise self._complaint(above, key, f"the value of {key!r} {why}", "Correct it.")
        return plain(value) if plain else None

    def error(self, where: str, key: str | int, problem: str, hint: str) -> ConfigError:
        """Return an error about `key` in the section at `where` (a path as msgspec writes it)."""
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
