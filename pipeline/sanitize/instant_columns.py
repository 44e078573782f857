"""Columns of instants and dates as Graph spells them; the forms and their source are those of `instant_text`."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.columns import INSTANT
from pipeline.sanitize.instant_text import NEVER, parse_instant

_MICROSECOND_TEXT = 26  # characters of `2026-03-02T09:00:00.000000`; what may follow are further digits
_NEVER = pa.scalar(NEVER, INSTANT)
_NEVER_DATE = _NEVER.cast(pa.timestamp("us")).cast(pa.date32())
_ZONE = r"(?:Z|[+-]\d\d:\d\d)$"


def parse_instants(values: pa.Array, *, zoned: bool) -> pa.Array:
    """ISO 8601 text to UTC instants, cut to the microsecond; `0001-01-01`, Graph's "never", becomes null.

    `zoned` text ends in `Z` or an offset; unzoned text is UTC already.

    Raises:
        pa.ArrowInvalid: a text is no instant.
    """
    if pc.all(pc.ends_with(values, "Z")).as_py():
        values = pc.utf8_slice_codeunits(values, 0, -1)
    elif zoned or pc.any(pc.match_substring_regex(values, _ZONE)).as_py():
        return _parse_one_by_one(values, zoned=zoned)
    lengths = pc.binary_length(values)
    if (pc.max(lengths).as_py() or 0) > _MICROSECOND_TEXT:
        tails = pc.utf8_slice_codeunits(values.filter(pc.greater(lengths, _MICROSECOND_TEXT)), _MICROSECOND_TEXT)
        if not pc.all(pc.ascii_is_decimal(tails)).as_py():
            raise pa.ArrowInvalid("no instant")
        values = pc.utf8_slice_codeunits(values, 0, _MICROSECOND_TEXT)
    return _without_never(values.cast(pa.timestamp("us")).cast(INSTANT), _NEVER)


def parse_dates(values: pa.Array) -> pa.Array:
    """ISO 8601 dates; Graph's "never" becomes null.

    Raises:
        pa.ArrowInvalid: a text is no date.
    """
    return _without_never(values.cast(pa.date32()), _NEVER_DATE)


def _parse_one_by_one(values: pa.Array, *, zoned: bool) -> pa.Array:
    """Texts in mixed forms. Rare: Graph sends one form, with `Z` or without."""
    try:
        instants = [None if text is None else parse_instant(text, zoned=zoned) for text in values.to_pylist()]
    except ValueError:
        raise pa.ArrowInvalid("no instant") from None
    return pa.array(instants, INSTANT)


def _without_never(values: pa.Array, never: pa.Scalar) -> pa.Array:
    """Null in place of Graph's "never"; what lies before it is no time at all, though Arrow counts on."""
    if pc.any(pc.less_equal(values, never)).as_py():
        if pc.any(pc.less(values, never)).as_py():
            raise pa.ArrowInvalid("a year before the first")
        return pc.if_else(pc.equal(values, never), pa.scalar(None, values.type), values)
    return values
