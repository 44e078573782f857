"""What the process takes of the machine."""

import resource
import sys
from pathlib import Path


def resident_bytes() -> int:
    """What the process takes of the machine's memory; where the system does not tell, the most it ever took."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory the process ever took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
