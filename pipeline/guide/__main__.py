"""`python -m pipeline.guide [FOLDER]`: write the pages below FOLDER, by default ./docs."""

import sys
from pathlib import Path

from pipeline.guide import operations
from pipeline.guide.commands import commands_page
from pipeline.guide.page import files
from pipeline.guide.permissions import with_permissions
from pipeline.guide.semantics import all_semantics
from pipeline.guide.settings import settings_page

ADMINISTRATORS = "administrators.md"


def pages(folder: Path) -> dict[str, str]:
    """Path below `folder` and text of everything that is written by `make docs`; of two pages only a part is."""
    return {
        **files(all_semantics()),
        **operations.pages(folder),
        "settings.md": settings_page(),
        "cli.md": commands_page(),
        ADMINISTRATORS: with_permissions((folder / ADMINISTRATORS).read_text(encoding="utf-8")),
    }


def main(folder: Path) -> None:
    for path, text in pages(folder).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["docs"]))
