"""Which online meetings there are: learnt from the join links that other datasets of the run hold.

Graph lists no online meetings; each can only be looked up by its join link, best by its organizer. The links and
their organizers stand in calendar events (`onlineMeeting`), chats (`onlineMeetingInfo`) and call records:
    https://learn.microsoft.com/graph/api/onlinemeeting-get (checked 2026-11)
An event names its organizer by address, unless it lies in the organizer's own calendar; the directory's users, which
are read first, tell whose address it is.

A link opens its meeting. It stays in memory, packed, and in the state of an open run, encrypted; addresses are held
as keyed digests. One meeting occurs with its link written in several ways: percent-encoded once, twice or not at all.
"""

import secrets
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar
from urllib.parse import unquote

import msgspec

from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import Debts, Reach

USERS, EVENTS, CHATS, CALLS = "entra_users", "calendar_events", "teams_chats", "teams_call_records"
_PACKED_LIKE = (  # what nearly every link holds; packing leaves little more than the ids between
    b"https://teams.microsoft.com/l/meetup-join/19%3ameeting_%40thread.v2/0"
    b"?context=%7b%22Tid%22%3a%22-%22%2c%22Oid%22%3a%22-%22%7d"
)
MOST_OWED = 200_000  # links that are kept from one run to the next, some 20 MiB; what is beyond is told
_SMALL_WINDOW = -9  # raw deflate over 512 bytes: links are short, and a compressor for each has to be cheap

Record = TypeVar("Record")


class MeetingLinks:
    """A `pipeline.ports.Learner`: the join links of every organizer."""

    learns_from = frozenset({USERS, EVENTS, CHATS, CALLS})

    def __init__(self, *, serves: Iterable[str], most_owed: int = MOST_OWED) -> None:
        self.serves = frozenset(serves)
        self._most_owed = most_owed
        self._key = secrets.token_bytes(16)
        self._links: dict[str, dict[bytes, bytes]] = {}  # organizer -> digest of the meeting -> packed link
        self._unsaved: dict[str, list[str]] = {}
        self._addresses: dict[bytes, str] = {}  # digest -> user

    def learn(self, unit: Unit, page: Page) -> None:
        """Take the links, or the addresses of users, out of a page."""
        if unit.dataset == USERS:
            for user in _users.records(page):
                for address in user.addresses:
                    self._addresses[self._digest(address.lower())] = user.id
            return
        for organizer, link in self._links_on(unit, page):
            if organizer is not None and link and _is_of_teams(link) and self._add(organizer, link):
                self._unsaved.setdefault(organizer, []).append(link)

    def concerns(self, principal: Principal) -> bool:
        """Whether the principal organized a meeting that was learnt of."""
        return principal.kind is PrincipalKind.USER and principal.id.lower() in self._links

    def of(self, organizer: str) -> list[str]:
        """The links of an organizer's meetings, one for each."""
        return [_unpacked(link) for link in self._links.get(organizer.lower(), {}).values()]

    def unsaved(self) -> bytes | None:
        """What was learnt since the last call."""
        if not self._unsaved:
            return None
        learnt, self._unsaved = self._unsaved, {}
        return _encoded(learnt)

    def recall(self, saved: bytes) -> None:
        """Take over what `unsaved` gave."""
        for organizer, links in _decoded(saved).items():
            for link in links:
                self._add(organizer, link)

    def remind(self, owed: bytes) -> None:
        """Of links to meetings that could not be read; they count as learnt anew."""
        for organizer, links in _decoded(owed).items():
            self._unsaved.setdefault(organizer, []).extend(link for link in links if self._add(organizer, link))

    async def owed(self, reach: Reach) -> Debts:
        """The links of organizers any of whose datasets failed, since nothing may point to their meetings again."""
        owed: dict[str, list[str]] = {}
        dropped: Counter[str] = Counter()
        left = self._most_owed
        for organizer, links in self._links.items():  # those it was reminded of first: others' may be met again
            principal = Principal(PrincipalKind.USER, organizer)
            failed = [dataset for dataset in self.serves if reach.has_failed(dataset, principal)]
            if failed and left > 0:
                owed[organizer] = self.of(organizer)[:left]
                left -= len(owed[organizer])
            if failed and (missing := len(links) - len(owed.get(organizer, ()))):
                dropped.update(dict.fromkeys(failed, missing))
        return Debts(_encoded(owed) if owed else None, dropped)

    def _links_on(self, unit: Unit, page: Page) -> Iterator[tuple[str | None, str | None]]:
        """Organizer and link of each record; None where one is not told."""
        match unit.dataset:
            case "calendar_events":
                for event in _events.records(page):
                    yield unit.principal.id if event.is_organizer else self._user_of(event.organizer), event.link
            case "teams_chats":
                for chat in _chats.records(page):
                    if (meeting := chat.online_meeting_info) is not None and meeting.organizer is not None:
                        yield meeting.organizer.id, meeting.join_web_url
            case _:
                for call in _calls.records(page):
                    yield call.organizer, call.join_web_url

    def _user_of(self, organizer: "_Recipient | None") -> str | None:
        if organizer is None or organizer.email_address is None or not organizer.email_address.address:
            return None
        return self._addresses.get(self._digest(organizer.email_address.address.lower()))

    def _add(self, organizer: str, link: str) -> bool:
        """Whether that is news; of several ways to write a link the encoded one is what lookups expect."""
        meeting = self._digest(_meeting_of(link))
        known = self._links.setdefault(organizer.lower(), {})
        if meeting in known and not ("%" in link and "%" not in _unpacked(known[meeting])):
            return False
        known[meeting] = _packed(link)
        return True

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode(), key=self._key, digest_size=8).digest()


def _encoded(links: Mapping[str, Sequence[str]]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(links))


def _decoded(data: bytes) -> dict[str, list[str]]:
    return msgspec.msgpack.decode(zlib.decompress(data), type=dict[str, list[str]])


def _is_of_teams(link: str) -> bool:
    """A link of Teams at work: not of another product, not of Teams' free edition."""
    host = link.partition("://")[2].partition("/")[0].lower()
    return "teams" in host.split(".") and not host.endswith("live.com")


def _meeting_of(link: str) -> str:
    """What all ways to write the link of a meeting have in common: the path, which names the thread."""
    return unquote(unquote(link)).partition("?")[0]


def _packed(link: str) -> bytes:
    packer = zlib.compressobj(level=9, wbits=_SMALL_WINDOW, zdict=_PACKED_LIKE)
    return packer.compress(link.encode()) + packer.flush()


def _unpacked(data: bytes) -> str:
    return zlib.decompressobj(wbits=_SMALL_WINDOW, zdict=_PACKED_LIKE).decompress(data).decode()


# --- What is looked at of each kind of record ---------------------------------------------------------------


class _Looked(msgspec.Struct, rename="camel", frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class _User(_Looked, frozen=True):
    id: str
    mail: str | None = None
    user_principal_name: str | None = None
    proxy_addresses: list[str] | None = None

    @property
    def addresses(self) -> Iterator[str]:
        for address in (self.mail, self.user_principal_name, *(self.proxy_addresses or ())):
            if address:
                yield address[5:] if address[:5].lower() == "smtp:" else address


class _Address(_Looked, frozen=True):
    address: str | None = None


class _Recipient(_Looked, frozen=True):
    email_address: _Address | None = None


class _JoinInformation(_Looked, frozen=True):
    join_url: str | None = None


class _Event(_Looked, frozen=True):
    is_organizer: bool | None = None
    organizer: _Recipient | None = None
    online_meeting: _JoinInformation | None = None

    @property
    def link(self) -> str | None:
        return None if self.online_meeting is None else self.online_meeting.join_url


class _Identity(_Looked, frozen=True):
    id: str | None = None


class _ChatMeeting(_Looked, frozen=True):
    join_web_url: str | None = None
    organizer: _Identity | None = None


class _Chat(_Looked, frozen=True):
    online_meeting_info: _ChatMeeting | None = None


class _IdentitySet(_Looked, frozen=True):
    user: _Identity | None = None


class _Participant(_Looked, frozen=True):
    identity: _IdentitySet | None = None


class _Call(_Looked, frozen=True):
    join_web_url: str | None = None
    organizer_v2: _Participant | None = msgspec.field(name="organizer_v2", default=None)

    @property
    def organizer(self) -> str | None:
        identity = None if self.organizer_v2 is None else self.organizer_v2.identity
        return None if identity is None or identity.user is None else identity.user.id


class _Looks(Generic[Record]):
    """Decodes the records of a page; one that has another form is passed over, not the whole page."""

    def __init__(self, kind: type[Record]) -> None:
        self._page: msgspec.json.Decoder[list[Record]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # a value
        self._single = msgspec.json.Decoder(kind)

    def records(self, page: Page) -> Iterator[Record]:
        try:
            yield from self._page.decode(page.records)
        except msgspec.DecodeError:
            yield from self._well_formed(page)

    def _well_formed(self, page: Page) -> Iterator[Record]:
        try:
            records = _raws.decode(page.records)
        except msgspec.DecodeError:
            return
        for record in records:
            try:
                yield self._single.decode(record)
            except msgspec.DecodeError:
                continue


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_users, _events, _chats, _calls = _Looks(_User), _Looks(_Event), _Looks(_Chat), _Looks(_Call)
