"""A question that is answered in a process of its own, set up as the command sets up its own.

    python -m benchmarks.alone QUESTION [--quick]

It prints the answer as one line of JSON. What is measured within a process depends on its allocators; who measures
other programs has them left alone.
"""

import sys
from collections.abc import Sequence

from pipeline import process

process.set_up()  # as the command does, before anything large is imported

import msgspec

from benchmarks import guard, sanitize

QUESTIONS = {"sanitize": sanitize.measure, "guard": guard.measure}


def main(arguments: Sequence[str]) -> None:
    question, *options = arguments
    process.loaded()
    print(msgspec.json.encode(QUESTIONS[question](quick="--quick" in options)).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
