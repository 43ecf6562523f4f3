"""The marks of a test that compares a picture."""

from __future__ import annotations

from importlib.metadata import version

import pytest

_TEXTUAL = "8.2.8"

#: The `pytestmark` of its file.
MARKS = [
    pytest.mark.snapshot,
    pytest.mark.skipif(version("textual") != _TEXTUAL, reason=f"the pictures are of Textual {_TEXTUAL}"),
]
