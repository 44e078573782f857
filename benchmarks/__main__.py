"""Measures everything and writes it down: `benchmarks/results.json`, `docs/performance.md` and its drawing.

    python -m benchmarks [--quick] [--only QUESTION]...

`--quick` takes sizes that mean nothing, to see that everything works. With it or `--only` nothing is written: the page
is of one machine at one time. Ends with an error where a guarded claim does not hold: the export became slower.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from benchmarks import collector, contenders, end_to_end, nightly, page, regression, size, state
from benchmarks.measuring import ROOT, own, started
from benchmarks.results import Answer, results

RESULTS = ROOT / "benchmarks" / "results.json"


def alone(question: str, *, quick: bool) -> Answer:
    """Answered by `benchmarks.alone`."""
    with started(own("benchmarks.alone", question, *(["--quick"] if quick else []))) as program:
        return msgspec.convert(program.told(), Answer)


QUESTIONS: Mapping[str, Callable[..., Answer]] = {
    "end_to_end": end_to_end.measure,
    "contenders": contenders.measure,
    "size": size.measure,
    "state": state.measure,
    "nightly": nightly.measure,
    "collector": collector.measure,
    "sanitize": partial(alone, "sanitize"),
    "guard": partial(alone, "guard"),
    "regression": regression.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What an export costs.")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is written")
    parser.add_argument(
        "--only", action="append", choices=QUESTIONS, help="may be given several times; nothing is written"
    )
    options = parser.parse_args(arguments)
    answers = {name: _answer(name, quick=options.quick) for name in options.only or QUESTIONS}
    found = results(answers)
    print(page.tables(found))
    if not (options.quick or options.only):
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        page.write(found)
    failed = [claim.text for each in answers.values() if each.is_guarded for claim in each.claims if not claim.holds]
    if failed:
        raise SystemExit(f"slower than it was: {'; '.join(failed)}")


def _answer(name: str, *, quick: bool) -> Answer:
    began = time.monotonic()
    print(f"{name} …", end=" ", flush=True)
    answer = QUESTIONS[name](quick=quick)
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    return answer


if __name__ == "__main__":
    main()
