"""`python -m pipeline.guide [FOLDER]`: write the pages below FOLDER, by default ./docs."""

import sys
from pathlib import Path

from pipeline.guide.operations import pages
from pipeline.guide.page import files
from pipeline.guide.semantics import all_semantics


def main(folder: Path) -> None:
    for path, text in (files(all_semantics()) | pages(folder)).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["docs"]))
