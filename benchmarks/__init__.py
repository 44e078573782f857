"""What an export costs, beside what others take for the same: `python -m benchmarks` (see docs/performance.md)."""
