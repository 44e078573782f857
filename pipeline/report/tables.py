"""Tables of a report: real ones, with headings that say what a cell is, in a frame that scrolls by keyboard."""

from collections.abc import Iterable, Sequence

from pipeline.report.markup import Html, tag


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    narrow: bool = False,
) -> Html:
    """The first cell of each row is its heading; columns named in `numbers` are set to the right."""
    right = [heading in numbers for heading in headings]
    head = [
        tag("th", heading, scope="col", class_="n" if is_number else None)
        for heading, is_number in zip(headings, right, strict=True)
    ]
    body = [tag("tr", _cells(row, right)) for row in rows]
    return scrolled(
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", head)),
            tag("tbody", body),
            class_="narrow" if narrow else None,
        ),
        label=caption,
    )


def scrolled(content: Html, *, label: str) -> Html:
    """A frame that scrolls where it is too narrow; the keyboard reaches it."""
    return tag("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def _cells(row: Sequence[object], right: Sequence[bool]) -> list[Html]:
    first, *others = row
    return [
        tag("th", first, scope="row"),
        *(
            tag("td", cell, class_="n" if is_number else None)
            for cell, is_number in zip(others, right[1:], strict=True)
        ),
    ]
