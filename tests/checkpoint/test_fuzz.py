"""What fuzzing found stays mended, and a short run over every reader; the long one is in fuzz/."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
sys.path.insert(0, str(FUZZ))

import targets  # noqa: E402

CORPUS = sorted(path for path in (FUZZ / "corpus").glob("*/*") if path.is_file())
SEEDS = targets.seeds()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus(path: Path) -> None:
    targets.attempt(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("target", targets.TARGETS)
def test_the_seeds(target: str) -> None:
    outcomes = [targets.attempt(target, seed) for seed in SEEDS[target]]
    assert "" in outcomes  # the fuzzer starts from files that open


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """Draw a seed with bytes changed, taken out, doubled or exchanged with a piece of another."""
    data = bytearray(draw(st.sampled_from(SEEDS[target])))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 16))
        match draw(st.sampled_from(("change", "cut", "double", "mix"))):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "mix":
                other = draw(st.sampled_from(SEEDS[target]))
                start = draw(st.integers(0, max(0, len(other) - 1)))
                data[at : at + length] = other[start : start + length]
    return bytes(data)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_short_run(target: str) -> None:
    @given(mutated(target))
    @settings(max_examples=150, deadline=None)
    def run(data: bytes) -> None:
        targets.attempt(target, data)

    run()
