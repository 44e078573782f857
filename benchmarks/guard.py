"""What egress guard and field ledger cost, as a share of the time sanitizing takes without them.

Mail metadata (`$select`, no bodies) of one mailbox, of people whom its directory of 20,000 knows: with and without, in
turn, in one process and on one core, so that the ratio holds on a machine whose speed varies. The first page of a unit
is always scanned for the ledger, so small units cost relatively more.
"""

import random
import string
import time
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.results import Answer, Line, line
from pipeline.field_counts import is_scanned
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments

DATASET = "mail_messages"
PEOPLE = 20_000  # in the tenant
CORRESPONDENTS = 3_000  # of one mailbox
PROFILE: Profile = "strict"
SIZES = ((10, 1_000), (1, 1_000), (1, 20))  # pages of a unit, records of a page
ROUNDS = 15
UNIT = Unit(DATASET, Principal(PrincipalKind.USER, "mailbox"))


def measure(*, quick: bool) -> Answer:
    """Units of several sizes."""
    people, rounds = (50, 1) if quick else (PEOPLE, ROUNDS)
    sizes = SIZES[-1:] if quick else SIZES
    return Answer(
        question="Guard and ledger",
        text=f"Their share of the CPU time that sanitizing metadata mail takes without them, profile `{PROFILE}`.",
        lines=[
            _line(pages_of_mail(pages, records), people=people, name=f"{pages} pages of {records:,}", rounds=rounds)
            for pages, records in sizes
        ],
    )


def _line(pages: Sequence[bytes], *, people: int, name: str, rounds: int) -> Line:
    """What one unit of these pages costs, without and with guard and ledger."""
    directory = directory_of(people)
    rules = built_in_rules()[DATASET]
    guard = EgressGuard(rules, profile=PROFILE, directory=directory)
    treatments = Treatments(Pseudonymizer(salt="benchmark"), group_original=True, holds_person=directory.holds_person)
    sanitizer = ColumnarSanitizer(rules, profile=PROFILE, treatments=treatments, instants=("receivedDateTime",))

    def plain() -> None:
        sanitizer.whole([sanitizer.clean([page]).rows for page in pages])

    def watched() -> None:
        cleaned = [
            sanitizer.clean([page], scan=is_scanned("run", UNIT, number)).rows for number, page in enumerate(pages)
        ]
        rows = sanitizer.whole(cleaned)
        assert guard.check(rows).breach is None

    plain()
    watched()
    shares = [seconds(watched) / seconds(plain) - 1 for _ in range(rounds)]
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


def pages_of_mail(pages: int, records: int) -> list[bytes]:
    generator = random.Random(7)
    return [msgspec.json.encode([message(generator) for _ in range(records)]) for _ in range(pages)]


def message(generator: random.Random) -> dict[str, object]:
    """About 1.4 kB, as Graph sends it for the fields the rules keep."""

    def opaque(length: int) -> str:
        return "".join(generator.choices(string.ascii_letters + string.digits + "-_", k=length))

    def person() -> dict[str, object]:
        number = int(CORRESPONDENTS * generator.random() ** 2)
        return {"emailAddress": {"name": f"Given{number} Family{number}", "address": f"person{number}@contoso.com"}}

    return {
        "@odata.etag": f'W/"{opaque(40)}"',
        "id": f"AAMkAG{opaque(146)}",
        "createdDateTime": "2026-03-02T09:00:00Z",
        "lastModifiedDateTime": "2026-03-02T09:00:00Z",
        "receivedDateTime": f"2026-03-{generator.randrange(1, 29):02}T09:00:00Z",
        "sentDateTime": "2026-03-02T09:00:00Z",
        "hasAttachments": False,
        "internetMessageId": f"<{opaque(36)}@eurprd01.prod.outlook.com>",
        "importance": "normal",
        "parentFolderId": f"AAMkAG{generator.randrange(8)}{'A' * 110}",
        "conversationId": f"AAQkAG{opaque(62)}",
        "isDeliveryReceiptRequested": False,
        "isReadReceiptRequested": False,
        "isRead": True,
        "isDraft": False,
        "inferenceClassification": "focused",
        "sender": person(),
        "from": person(),
        "toRecipients": [person() for _ in range(generator.choice((1, 1, 1, 2, 3, 6)))],
        "ccRecipients": [person() for _ in range(generator.choice((0, 0, 1, 3)))],
        "bccRecipients": [],
        "replyTo": [],
        "flag": {"flagStatus": "notFlagged"},
    }
