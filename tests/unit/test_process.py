"""How the process is set up: the allocators do as they are told."""

import subprocess
import sys

import pytest

from pipeline.process import ARROW_ALLOCATOR

STATISTICS = """
from pipeline import process
process.set_up()
import pyarrow as pa
pa.default_memory_pool().print_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pyarrow may be built without jemalloc")
def test_arrow_allocates_as_it_is_told() -> None:
    """A version that named its options in another way would keep for each thread what one is to keep."""
    command = [sys.executable, "-c", STATISTICS]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr
    for option in ARROW_ALLOCATOR.split(","):
        name, value = option.split(":")
        assert f"opt.{name}: {value} " in told.replace("\n", " ")
