"""Write the tables of docs/findings.md from `freezetui.sanity.codes`; run it after a code has changed."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

from freezetui.sanity.codes import CODES

FINDINGS = Path(__file__).resolve().parents[1] / "docs" / "findings.md"

#: The heading that each table follows -> the first letters of its codes.
TABLES = {
    "## Why frozen weights change": "MF",
    "## Why trainable weights do not change, and what a check cannot prove": "SN",
}
HEAD = "| code | what happens | what to do |\n|---|---|---|\n"


def table(letters: str) -> str:
    """Return the table of the codes that start with one of these letters."""
    rows = [
        f"| {entry.code} | {plain(entry.message)} | {plain(entry.fix)} |\n"
        for entry in CODES.values()
        if entry.code[0] in letters
    ]
    return HEAD + "".join(rows)


def plain(template: str) -> str:
    """Return the template with the names of its values in capitals, as --help writes them."""
    parts = [(text, (name or "").upper()) for text, name, _, _ in Formatter().parse(template)]
    return "".join(f"{text}{' ' * text[-1:].isalpha()}{name}" if name else text for text, name in parts)


def with_tables(text: str) -> str:
    """Return the text with both tables generated again."""
    for heading, letters in TABLES.items():
        start = text.index(HEAD, text.index(heading))
        text = text[:start] + table(letters) + text[text.index("\n\n", start) + 1 :]
    return text


if __name__ == "__main__":
    FINDINGS.write_text(with_tables(FINDINGS.read_text("utf-8")), "utf-8")
