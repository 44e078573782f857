"""The report as one self-contained page: no script, no request, and a policy that would allow neither.

https://www.w3.org/TR/CSP3/ (checked 2026-11): the hash of the style sheet lets it, and nothing else, apply.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from pipeline.report import sections
from pipeline.report.markup import Html, join, tag, void
from pipeline.report.view import Report
from pipeline.report.words import instant


@dataclass(frozen=True, slots=True)
class _Section:
    anchor: str
    title: str
    content: Html


def page(report: Report) -> str:
    """The whole document, UTF-8 text."""
    style = (resources.files("pipeline.report") / "report.css").read_text(encoding="utf-8")
    title = f"{report.ending.word}: {report.manifest.kind} {report.manifest.run_id}"
    head = tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        void("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
    )
    contents = _contents(report)
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#main", class_="skip"),
        _header(report),
        _navigation(contents),
        tag("main", sections.falls(report), sections.summary(report), [_section(each) for each in contents], id="main"),
        tag("footer", "Written by m365-export from its own state. Principals are pseudonyms; no field value is in it."),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _contents(report: Report) -> list[_Section]:
    return [
        _Section("written", "What was written", sections.what_was_written(report)),
        _Section("days", "From which days", sections.days(report)),
        _Section("weeks", "Against the last weeks", sections.weeks(report)),
        _Section(
            "failed",
            "Failed or incomplete",
            sections.left_out(report.failures, nothing="Nothing failed, and nothing is unaccounted for."),
        ),
        _Section(
            "skipped",
            "Left out as expected",
            sections.left_out(report.skips, nothing="Nothing was left out."),
        ),
        _Section("complete", "Completeness", sections.completeness(report)),
        _Section("waits", "Who waited for what", sections.throttling(report)),
        _Section("slow", "What took time", sections.slow_units(report)),
        _Section("fields", "What left, in which form", sections.ledger(report)),
        _Section("facts", "The run", sections.manifest_facts(report)),
    ]


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _header(report: Report) -> Html:
    window = report.manifest.window
    return tag(
        "header",
        tag("p", f"m365-export · {report.manifest.kind} {report.manifest.run_id}", class_="over"),
        tag("h1", tag("span", report.ending.word, class_=f"badge {report.ending.tone}"), " ", report.ending.sentence),
        tag("p", f"{instant(window.from_)} to {instant(window.to)}", class_="lead"),
    )


def _navigation(contents: Sequence[_Section]) -> Html:
    links = [tag("li", tag("a", each.title, href=f"#{each.anchor}")) for each in contents]
    return tag("nav", tag("ul", links), aria_label="Sections")


def _section(each: _Section) -> Html:
    heading = f"h-{each.anchor}"
    return tag(
        "section", tag("h2", each.title, id=heading), join(each.content), id=each.anchor, aria_labelledby=heading
    )
