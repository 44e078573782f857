"""The drawings of a report: bars and spans, stretched to the width they get, without text of their own."""

from collections.abc import Sequence
from datetime import datetime

from pipeline.report.markup import Html, tag
from pipeline.report.trend import Trend
from pipeline.report.view import Lane
from pipeline.report.words import cut

WIDTH = 1000
BAR_HEIGHT = 28
LANE_HEIGHT = 14
SHORTEST = 2.0  # a wait of a moment is still to be seen
BARS = 42  # places; fewer runs leave room on the left, so that datasets line up


def bars(trend: Trend) -> Html:
    """One bar a run, the last one marked; a line where the usual is."""
    highest = max([1, trend.usual or 0, *(point.rows for point in trend.points)])
    place = WIDTH / BARS
    first = BARS - len(trend.points)
    shapes = []
    for index, point in enumerate(trend.points):
        height = max(1.0, BAR_HEIGHT * point.rows / highest) if point.rows else 0.0
        is_last = index == len(trend.points) - 1
        look = ("fallen" if trend.has_fallen else "now") if is_last else "before"
        shapes.append(_rect(place * (first + index), BAR_HEIGHT - height, place * 0.8, height, look))
    if trend.usual is not None:
        y = round(BAR_HEIGHT - BAR_HEIGHT * trend.usual / highest, 1)
        shapes.append(tag("line", x1=0, x2=WIDTH, y1=y, y2=y, class_="usual", vector_effect="non-scaling-stroke"))
    label = f"{cut(trend.dataset)}: rows of the last {len(trend.points)} runs, this one {trend.rows:,}"
    return _drawing(shapes, BAR_HEIGHT, label)


def spans(lane: Lane, *, within: tuple[datetime, datetime]) -> Html:
    """When a scope waited, on the run's time."""
    start, end = within
    length_s = max((end - start).total_seconds(), 1e-6)
    shapes = [
        _rect(
            min(WIDTH * (wait.from_ - start).total_seconds() / length_s, WIDTH - SHORTEST),
            0,
            max(WIDTH * wait.seconds / length_s, SHORTEST),
            LANE_HEIGHT,
            "wait",
        )
        for wait in lane.waits
    ]
    shapes.insert(0, _rect(0, 0, WIDTH, LANE_HEIGHT, "track"))
    return _drawing(shapes, LANE_HEIGHT, f"{len(lane.waits)} waits, {lane.seconds:.0f} seconds in all")


def _rect(x: float, y: float, width: float, height: float, look: str) -> Html:
    return tag("rect", x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1), class_=look)


def _drawing(shapes: Sequence[Html], height: int, label: str) -> Html:
    return tag(
        "svg",
        list(shapes),
        viewBox=f"0 0 {WIDTH} {height}",
        height=height,
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
