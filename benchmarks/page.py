"""Lays results out: tables for `docs/performance.md`, and a drawing."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.measuring import ROOT
from benchmarks.results import Answer, Claim, Line, Results, Spread

PAGE = ROOT / "docs" / "performance.md"
DRAWING = ROOT / "docs" / "images" / "performance.svg"
BEGIN, END = "<!-- measured: begin, by `make bench` -->", "<!-- measured: end -->"
PICTURE = "![Records per CPU second and time of a mailbox, as bars](images/performance.svg)"
BARS = {"contenders": "rows / CPU s", "end_to_end": "rows / CPU s", "size": "CPU ms a mailbox"}  # what is drawn
WIDTH, LABEL, BAR, GAP = 860, 330, 400, 24
_STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .b { font-weight: 600 } .s { font-size: 11.5px; fill: #59636e }
    rect { fill: #0969da } line { stroke: #59636e; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .s { fill: #9198a1 } rect { fill: #4493f8 } line { stroke: #9198a1 }
    }
"""


def write(results: Results) -> None:
    """Put the results into the page, in place of those before."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{PICTURE}\n\n{tables(results)}\n{END}{after}", encoding="utf-8")
    DRAWING.write_text(drawing(results), encoding="utf-8")


def tables(results: Results) -> str:
    """Markdown: machine and commit, then a table and its claims for each question."""
    head = (
        f"Measured {results.measured_at} at commit `{results.commit}` on {results.machine}; {results.software}. "
        "Medians, in parentheses the lowest and the highest where a figure was measured several times.\n"
    )
    return "\n".join((head, *(_section(answer) for answer in results.answers.values())))


def drawing(results: Results) -> str:
    """SVG: bars of the median, a whisker from the lowest to the highest."""
    shapes: list[str] = []
    y = 24
    for name, heading in BARS.items():
        if name in results.answers:
            answer = results.answers[name]
            shapes.append(_text(8, y, f"{answer.question}: {heading}", look="b"))
            shapes += _bars(answer.lines, heading, y + 10)
            y += 44 + GAP * len(answer.lines)
    label = f"Figures of {results.measured_at}, commit {results.commit}; the tables of docs/performance.md say the same"
    body = "\n  ".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-labelledby="title desc">\n'
        f'  <title id="title">What an export costs</title>\n  <desc id="desc">{escape(label)}</desc>\n'
        f"  <style>{_STYLE}  </style>\n  {body}\n</svg>\n"
    )


def _section(answer: Answer) -> str:
    headings = list(answer.lines[0].figures)
    rows = [
        f"### {answer.question}\n",
        f"{answer.text}\n",
        _row("", *headings),
        _row("---", *("---:" for _ in headings)),
        *(_row(each.name, *(_cell(each.figures.get(heading)) for heading in headings)) for each in answer.lines),
        "",
        *(f"- {each.name}: {each.note}" for each in answer.lines if each.note),
        *(f"- {_verdict(claim)}" for claim in answer.claims),
    ]
    return "\n".join(rows).rstrip("\n") + "\n"


def _verdict(claim: Claim) -> str:
    return f"{claim.text}: {claim.measured}, {'**holds**' if claim.holds else '**does not hold**'}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figure: Spread | None) -> str:
    if figure is None:
        return ""
    middle = _number(figure.median)
    return middle if figure.low == figure.high else f"{middle} ({_number(figure.low)}–{_number(figure.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bars(lines: Sequence[Line], heading: str, y: int) -> Iterator[str]:
    most = max(each.figures[heading].high for each in lines)
    for number, each in enumerate(lines):
        figure, top = each.figures[heading], y + GAP * number
        low, middle, high = (
            round(LABEL + BAR * max(value, 0) / most, 1) for value in (figure.low, figure.median, figure.high)
        )
        yield _text(8, top + 13, each.name.replace("`", ""), look="s")
        yield f'<rect x="{LABEL}" y="{top + 2}" width="{round(middle - LABEL, 1)}" height="14"/>'
        yield f'<line x1="{low}" x2="{high}" y1="{top + 9}" y2="{top + 9}"/>'
        yield _text(high + 8, top + 13, _number(figure.median))


def _text(x: float, y: float, text: str, *, look: str = "") -> str:
    style = f' class="{look}"' if look else ""
    return f'<text{style} x="{round(x, 1)}" y="{y}">{escape(text)}</text>'
