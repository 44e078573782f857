"""Tokens of a column whose texts hardly ever repeat, such as record ids: hashed as bytes, without a text in between.

Only for texts that are hashed as they are written. What may be blank or a mail address needs a closer look, which is
the pseudonymizer's.
"""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.pseudonym import ENCODED_HASH, HASH, Pseudonymizer

_FIRST, _LAST = "!", "\x7f"  # no text between them is blank, whatever follows its first character


def token_column(values: pa.Array, pseudonymizer: Pseudonymizer, *, addresses: bool) -> pa.Array | None:
    """`t~…` of each text of `values`; None where one of them needs a closer look.

    `addresses` says whether a mail address among them would be hashed in its canonical form.
    """
    if values.null_count or len(values) == 0:
        return None
    bounds = pc.min_max(values).as_py()
    if bounds["min"] < _FIRST or bounds["max"] >= _LAST:
        return None
    texts = values.cast(pa.binary()).to_pylist()
    if addresses and b"@" in b"".join(texts):
        return None
    encoded = pa.py_buffer(pseudonymizer.encoded_hashes(texts))
    hashes = pa.Array.from_buffers(pa.binary(ENCODED_HASH), len(texts), [None, encoded]).cast(pa.binary())
    return pc.binary_join_element_wise(b"t~", pc.binary_slice(hashes, 0, HASH), b"").cast(pa.string())
