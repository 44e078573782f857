"""What the state keeps of principals opens with the right salt only."""

import hashlib
import io
import time
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.watermarks import Key, Vault, by_principal
from sinks.snapshot import StateVault, derive_key, open_blob, open_snapshot, seal_blob, seal_snapshot

KEY = derive_key(b"a salt of the operator's")
DAY = timedelta(days=1)
AT = datetime(2026, 11, 19, 2, 0, 0, 123456, tzinfo=UTC)
ROWS = {("mail_messages", "t~alice"): AT, ("teams_chats", "t~bob"): AT - timedelta(days=400)}


def test_snapshot_opens_as_it_was_sealed() -> None:
    """Microseconds and zones survive."""
    assert open_snapshot(seal_snapshot(ROWS.items(), KEY), KEY) == ROWS
    assert open_snapshot(seal_snapshot([], KEY), KEY) == {}


def test_vault_is_what_the_run_expects() -> None:
    """The vault keeps its key and does the same."""
    vault: Vault = StateVault(KEY)

    assert vault.open(vault.seal(ROWS.items())) == open_snapshot(vault.seal(ROWS.items()), KEY) == ROWS
    assert vault.open_blob(vault.seal_blob(b"x")) == open_blob(vault.seal_blob(b"x"), KEY) == b"x"


@given(st.binary(max_size=300))
def test_blob_opens_as_it_was_sealed(data: bytes) -> None:
    """Any bytes come back."""
    assert open_blob(seal_blob(data, KEY), KEY) == data


def test_sealed_bytes_show_nothing() -> None:
    """Neither pseudonyms nor dataset names can be read, and sealing twice looks unrelated."""
    first, second = seal_snapshot(ROWS.items(), KEY), seal_snapshot(ROWS.items(), KEY)

    assert not [word for word in (b"alice", b"bob", b"mail_messages", b"PAR1") if word in first]
    assert first[:1] == second[:1]
    assert first[1:33] != second[1:33]


def test_another_salt_does_not_open_it() -> None:
    """A changed salt is named as the likely reason."""
    with pytest.raises(ConfigurationError, match=r"privacy\.salt"):
        open_snapshot(seal_snapshot(ROWS.items(), KEY), derive_key(b"another salt"))


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    """No changed, missing or added byte goes unseen."""
    sealed = seal_blob(b"the contents", KEY)
    at = data.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]

    for damaged in (flipped, sealed[:at], sealed + b"x"):
        with pytest.raises(ConfigurationError, match="state"):
            open_blob(damaged, KEY)


def test_snapshot_and_blob_are_not_interchangeable() -> None:
    """Bytes sealed for one purpose do not pass for the other."""
    with pytest.raises(ConfigurationError):
        open_blob(seal_snapshot(ROWS.items(), KEY), KEY)


def test_key_derivation_is_fixed() -> None:
    """State of earlier versions must open: this value never changes."""
    assert derive_key(b"salt").hex() == "c7d9da4289ed7833cca1bb3a66667eb38a3099e7d62e5a249ba7034af41eff30"


def test_state_of_a_large_organisation_opens_quickly() -> None:
    """A hundred thousand principals with four datasets are no burden on the start of a run."""
    principals = ["t~" + hashlib.sha256(b"%d" % n).hexdigest()[:43] for n in range(100_000)]
    rows = {(dataset, principal): AT for principal in sorted(principals) for dataset in "abcd"}
    sealed = seal_snapshot(rows.items(), KEY)
    started = time.process_time()

    opened = open_snapshot(sealed, KEY)

    assert time.process_time() - started < 1.5  # CPU of all threads, on a machine others use too
    assert opened == rows
    assert list(opened) == list(rows)


def test_what_the_state_knows_of_a_large_organisation_takes_little_memory() -> None:
    """It is there for as long as a run makes its units: 80 bytes for a principal of two datasets."""
    principals = sorted("t~" + hashlib.sha256(b"%d" % n).hexdigest()[:43] for n in range(20_000))
    sealed = seal_snapshot((((dataset, principal), AT) for principal in principals for dataset in "ab"), KEY)
    before = pa.total_allocated_bytes()
    tracemalloc.start()

    opened = open_snapshot(sealed, KEY)

    taken = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
    tracemalloc.stop()
    assert len(opened) == 40_000
    assert taken < 80 * len(principals)


@given(st.dictionaries(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=3)), st.sampled_from([AT, AT + DAY])))
def test_every_key_is_found_and_no_other(rows: dict[tuple[str, str], datetime]) -> None:
    """Whatever the texts are: they are looked up in their order."""
    rows = {key: rows[key] for key in sorted(rows, key=by_principal)}
    opened = open_snapshot(seal_snapshot(rows.items(), KEY), KEY)

    assert {key: opened.get(key) for key in rows} == rows
    assert list(opened.items()) == list(rows.items())
    assert opened.get(("a", "not there")) is None
    assert opened.get(("c", "")) is None


def test_watermarks_of_the_first_version_open() -> None:
    """They were ordered by dataset, in the columns dataset, principal, watermark."""
    rows = {(dataset, f"t~{number:05}"): AT + number * DAY for dataset in "ab" for number in range(2)}

    opened = open_snapshot(sealed_by_the_first_version(rows, KEY), KEY)

    assert opened == rows
    assert list(opened) == sorted(rows, key=by_principal)


def sealed_by_the_first_version(rows: Mapping[Key, datetime], key: bytes) -> bytes:
    datasets, principals = zip(*rows, strict=True)
    sink = io.BytesIO()
    pq.write_table(pa.table({"dataset": datasets, "principal": principals, "watermark": [*rows.values()]}), sink)
    return b"\x01" + bytes(12) + AESGCM(key).encrypt(bytes(12), sink.getvalue(), b"\x01snapshot")


def test_watermarks_are_written_and_read_a_few_at_a_time() -> None:
    """However many there are, little more is held than what is sealed and what is opened."""
    keys = [(dataset, f"t~{number:043}") for number in range(100_000) for dataset in "ab"]
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        opened = open_snapshot(seal_snapshot(((key, AT) for key in keys), KEY), KEY)
    finally:
        pa.set_memory_pool(usual)

    assert len(opened) == len(keys)
    most = pool.max_memory()
    assert most is not None
    assert most < 8 << 20


@pytest.mark.parametrize("keys", [["t~b", "t~a"], ["t~a", "t~a"]])
def test_rows_out_of_order_are_refused(keys: list[str]) -> None:
    """They would not be found again."""
    with pytest.raises(ValueError, match="order"):
        seal_snapshot(((("mail_messages", key), AT) for key in keys), KEY)
