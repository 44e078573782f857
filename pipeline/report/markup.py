"""HTML from small functions. Text becomes markup in one place, `text`."""

import html
import re

from pipeline.report.words import cut

# Control characters, and those that change the direction of text or join it invisibly: a name must look like what it
# is. https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing (checked 2026-11)
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


class Html(str):
    """Markup that is finished: it is not escaped again."""

    __slots__ = ()


def text(value: object) -> Html:
    """`value` as text of a page or of an attribute: escaped, and invisible characters spelled out."""
    return Html(html.escape(_INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value)), quote=True))


def name(value: object) -> Html:
    """A name the page did not choose, as text: cut when it is very long, and broken after `_` where it has to be."""
    return Html(text(cut(value)).replace("_", "_<wbr>"))


def tag(element: str, *children: object, **attributes: object) -> Html:
    """An element. Children that are not Html are text; attributes that are None or False are left out.

    `class_` stands for class, and `_` in an attribute's name for `-`.
    """
    return Html(f"<{element}{_attributes(attributes)}>{join(children)}</{element}>")


def void(element: str, **attributes: object) -> Html:
    """An element without an end, such as `meta`."""
    return Html(f"<{element}{_attributes(attributes)}>")


def join(children: object) -> Html:
    """Children one after the other; lists are flattened, None is nothing."""
    if children is None:
        return Html("")
    if isinstance(children, list | tuple):
        return Html("".join(join(child) for child in children))
    return children if isinstance(children, Html) else text(children)


def _attributes(attributes: dict[str, object]) -> str:
    found = []
    for attribute, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = attribute.rstrip("_").replace("_", "-")
        found.append(f" {spelled}" if value is True else f' {spelled}="{text(value)}"')
    return "".join(found)
