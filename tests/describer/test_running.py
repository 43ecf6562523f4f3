"""The time limit of a model that the describer runs."""

from __future__ import annotations

import signal
import time

import pytest

from freezetui.describer import running


class Freed:
    """Takes long to free, where an exception is lost."""

    def __del__(self) -> None:
        time.sleep(0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_holds_where_the_first_exception_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_AGAIN", 0.3)
    with pytest.raises(running._OutOfTime), running._seconds(0.1):
        Freed()
        time.sleep(60)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
