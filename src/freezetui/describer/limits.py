"""What keeps the describer small: priority, no GPU, no network, a limit of memory while it builds."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Set before torch is imported. A model's library then looks for nothing on a hub, and for no GPU.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
#: Address space above what the imports take.
MAX_BYTES = 2 * 2**30
_NICE = 19


def be_modest() -> None:
    """Give way to every other process, and set `ENVIRONMENT`; before torch is imported."""
    os.environ.update(ENVIRONMENT)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


@contextmanager
def limited_memory(most: int = MAX_BYTES) -> Iterator[None]:
    """Inside, this process can map `most` more bytes than it has now; beyond, allocating fails.

    The limit is lifted afterwards, since a later request may import another library.
    """
    used = _address_space()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if used is None:
        yield
        return
    limits = [used + most, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int | None:
    """Return how many bytes this process has mapped; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()
