"""What egress guard and field ledger cost, as a share of the time sanitizing takes without them.

Mail metadata (`$select`, no bodies) of mailboxes of a tenant whose directory has 20,000 people: with and without, in
turn, in one process and on one core, so that the ratio holds on a machine whose speed varies. The first page of a unit
is always scanned for the ledger, so small units cost relatively more. No two units are alike, and what the guard
remembers of one round is forgotten before the next.
"""

import random
import string
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from benchmarks.results import Answer, Line, line
from pipeline.field_counts import is_scanned
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments

DATASET = "mail_messages"
PEOPLE = 20_000  # in the tenant
CORRESPONDENTS = 3_000  # of one mailbox
SIZES = ((10, 1_000), (1, 1_000), (1, 20))  # pages of a unit, records of a page
SERVER = "AM0PR01MB5678"  # names itself in the ids it gives
RECORDS = 10_000  # of all units of a round, so that a round of small ones can be timed
ROUNDS = 15
UNIT = Unit(DATASET, Principal(PrincipalKind.USER, "mailbox"))


def measure(*, quick: bool) -> Answer:
    """Units of several sizes, in every profile."""
    people, records, rounds = (50, 40, 1) if quick else (PEOPLE, RECORDS, ROUNDS)
    sizes = SIZES[-1:] if quick else SIZES
    return Answer(
        question="Guard and ledger",
        text="Their share of the CPU time that sanitizing metadata mail takes without them, by what a unit holds.",
        lines=[
            _line(_units(pages, of_page, records), profile=profile, people=people, rounds=rounds)
            for profile in PROFILES
            for pages, of_page in sizes
        ],
    )


def _units(pages: int, of_page: int, records: int) -> list[list[bytes]]:
    """Units of so many pages, so many that they hold `records` together."""
    generator = random.Random(7)
    return [pages_of_mail(generator, pages, of_page) for _ in range(max(1, records // (pages * of_page)))]


def _line(units: Sequence[Sequence[bytes]], *, profile: Profile, people: int, rounds: int) -> Line:
    """What these units cost, without and with guard and ledger."""
    directory = directory_of(people)
    rules = built_in_rules()[DATASET]
    treatments = Treatments(Pseudonymizer(salt="benchmark"), group_original=True, holds_person=directory.holds_person)
    sanitizer = ColumnarSanitizer(rules, profile=profile, treatments=treatments, instants=("receivedDateTime",))

    def plain(pages: Sequence[bytes]) -> None:
        sanitizer.whole([sanitizer.clean([page]).rows for page in pages])

    def watched(pages: Sequence[bytes], guard: EgressGuard) -> None:
        cleaned = [
            sanitizer.clean([page], scan=is_scanned("run", UNIT, number)).rows for number, page in enumerate(pages)
        ]
        assert guard.check(sanitizer.whole(cleaned)).breach is None

    def share() -> float:
        """Each unit with and without, one right after the other: the machine has the same speed for both."""
        guard = EgressGuard(rules, profile=profile, directory=directory)
        without = watching = 0.0
        for pages in units:
            without += seconds(partial(plain, pages))
            watching += seconds(partial(watched, pages, guard))
        return watching / without - 1

    share()
    shares = [share() for _ in range(rounds)]
    of_page = len(msgspec.json.decode(units[0][0], type=list[msgspec.Raw]))
    name = f"`{profile}`, units of {len(units[0])} x {of_page:,} records"
    return line(name, [{"% more": 100 * share} for share in shares])


def seconds(work: Callable[[], None]) -> float:
    start = time.process_time()  # other programs on the machine do not count
    work()
    return time.process_time() - start


def directory_of(people: int) -> DirectoryIndex:
    directory = DirectoryIndex()
    users = [
        {"displayName": f"Given{number} Family{number}", "mail": f"person{number}@contoso.com"}
        for number in range(people)
    ]
    directory.learn(msgspec.json.encode(users))
    return directory


def pages_of_mail(generator: random.Random, pages: int, records: int) -> list[bytes]:
    return [msgspec.json.encode([message(generator) for _ in range(records)]) for _ in range(pages)]


def message(generator: random.Random) -> dict[str, object]:
    """About 1.4 kB, as Graph sends it for the fields the rules keep."""

    def opaque(length: int) -> str:
        return "".join(generator.choices(string.ascii_letters + string.digits + "-_", k=length))

    def person() -> dict[str, object]:
        number = int(CORRESPONDENTS * generator.random() ** 2)
        return {"emailAddress": {"name": f"Given{number} Family{number}", "address": f"person{number}@contoso.com"}}

    sender = person()
    return {
        "@odata.etag": f'W/"{opaque(40)}"',
        "id": f"AAMkAG{opaque(146)}",
        "createdDateTime": "2026-03-02T09:00:00Z",
        "lastModifiedDateTime": "2026-03-02T09:00:00Z",
        "receivedDateTime": f"2026-03-{generator.randrange(1, 29):02}T09:00:00Z",
        "sentDateTime": "2026-03-02T09:00:00Z",
        "hasAttachments": False,
        "internetMessageId": f"<{SERVER}{generator.getrandbits(100):025X}@{SERVER}.eurprd01.prod.outlook.com>",
        "importance": "normal",
        "parentFolderId": f"AAMkAG{generator.randrange(8)}{'A' * 110}",
        "conversationId": f"AAQkAG{opaque(62)}",
        "isDeliveryReceiptRequested": False,
        "isReadReceiptRequested": False,
        "isRead": True,
        "isDraft": False,
        "inferenceClassification": "focused",
        "sender": sender,
        "from": sender,  # another one only where somebody sends for somebody
        "toRecipients": [person() for _ in range(generator.choice((1, 1, 1, 2, 3, 6)))],
        "ccRecipients": [person() for _ in range(generator.choice((0, 0, 1, 3)))],
        "bccRecipients": [],
        "replyTo": [],
        "flag": {"flagStatus": "notFlagged"},
    }
