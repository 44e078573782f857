"""Who is in scope: what the settings say, against a directory of a few accounts."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from pipeline.errors import (
    ConfigurationError,
    DatasetDenied,
    FailReason,
    SkipReason,
    SourceRefused,
    UnitFailed,
    UnitReadAgain,
    UnitSkipped,
)
from pipeline.model import Principal, PrincipalKind
from pipeline.scope import Account, Scope, Wanted

ANN, BO, CY, GUEST = "aaaa", "bbbb", "cccc", "dddd"
SALES, BOARD, EMPTY = "sales@x.test", "board@x.test", "empty@x.test"
ACCOUNTS = (
    Account(ANN, "ann@x.test", False, ("ann@x.test", "a@x.test")),
    Account(BO, "bo@x.test", False, ("bo@x.test", "a@x.test")),
    Account(CY, "cy@x.test", False, ("cy@x.test",)),
    Account(GUEST, "gus@y.test", True, ("gus@y.test",)),
)


@dataclass(slots=True)
class SmallDirectory:
    """`breaks`: how often the list of users has to be begun anew."""

    groups: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {SALES: [ANN, BO.upper(), "device"], BOARD: [BO, GUEST], EMPTY: []}
    )
    accounts_: Sequence[Account] = ACCOUNTS
    purposes: Mapping[str, bool | Exception] = field(default_factory=dict)
    error: Exception | None = None
    breaks: int = 0
    asked: list[str] = field(default_factory=list)

    async def accounts(self) -> AsyncIterator[Sequence[Account]]:
        self.asked.append("accounts")
        if self.error is not None:
            raise self.error
        for account in self.accounts_:
            yield [account]
            if self.breaks:
                self.breaks -= 1
                raise UnitReadAgain("once more")

    async def members_of(self, group: str) -> Sequence[str] | None:
        self.asked.append(group)
        return self.groups.get(group)

    async def is_shared(self, user: Principal) -> bool:
        self.asked.append(user.id)
        found = self.purposes.get(user.id, False)
        if isinstance(found, Exception):
            raise found
        return found

    async def side_by_side(self, function: Callable[[Principal], Awaitable[None]], users: Sequence[Principal]) -> None:
        for user in users:
            await function(user)


def forms(text: str) -> Iterator[str]:
    yield text


def user(user_id: str) -> Principal:
    return Principal(PrincipalKind.USER, user_id)


async def settled(wanted: Wanted, directory: SmallDirectory | None = None) -> Scope:
    scope = Scope(wanted, directory or SmallDirectory(), forms=forms)
    await scope.settle(None)
    return scope


async def test_without_a_scope_everybody_is_read_and_nobody_is_asked_about() -> None:
    """As long as the settings narrow nothing."""
    directory = SmallDirectory()
    scope = Scope(Wanted(include_guests=True, suppress=True), directory, forms=forms)
    assert await scope.settle(None) is None
    assert scope.reads("anybody")
    assert scope.has_row("anybody")
    assert not scope.leaves_out("anybody")
    assert await scope.has_member_in_scope("any group")
    assert await scope.settle_mailboxes([user(ANN)], None) == ({}, None)
    assert len(scope.suppressed) == len(scope.excluded) == 0
    assert directory.asked == []


@pytest.mark.parametrize(
    ("wanted", "read"),
    [
        (Wanted(include_groups=(SALES,)), {ANN, BO}),
        (Wanted(include_groups=(SALES, BOARD), include_guests=True), {ANN, BO, GUEST}),
        (Wanted(include_groups=(SALES, BOARD)), {ANN, BO}),
        (Wanted(include_groups=(SALES,), exclude_groups=(BOARD,)), {ANN}),
        (Wanted(include_groups=(SALES,), exclude_users=("ANN@x.test",)), {BO}),
        (Wanted(exclude_groups=(SALES,)), {CY}),
        (Wanted(exclude_users=(ANN.upper(), "bo@X.test")), {CY}),
        (Wanted(exclude_groups=(EMPTY,)), {ANN, BO, CY}),
    ],
)
async def test_exclusions_win_and_names_count_in_any_letter_case(wanted: Wanted, read: set[str]) -> None:
    """Ids and sign-in names alike."""
    scope = await settled(wanted)
    assert {each.id for each in ACCOUNTS if scope.reads(each.id)} == read
    assert all(scope.has_row(each) and not scope.leaves_out(each) for each in read)


async def test_a_guest_who_is_not_read_is_not_left_out() -> None:
    """He has his rows in the directory, and stays in others' records; one in an excluded group does not."""
    scope = await settled(Wanted(exclude_users=(ANN,), suppress=True))
    assert not scope.reads(GUEST)
    assert scope.has_row(GUEST)
    assert "gus@y.test" not in scope.suppressed
    scope = await settled(Wanted(exclude_groups=(BOARD,), suppress=True))
    assert not scope.has_row(GUEST)
    assert "gus@y.test" in scope.suppressed


async def test_who_came_later_is_in_no_scope_and_other_objects_are_not_left_out() -> None:
    """A user the list did not have waits for the next run; a group is no user."""
    scope = await settled(Wanted(exclude_users=(ANN,)))
    assert not scope.reads("newcomer")
    assert not scope.has_row("newcomer")
    assert not scope.leaves_out("a group")
    assert scope.leaves_out(ANN.upper())


async def test_the_excluded_are_named_unless_they_are_suppressed() -> None:
    """Whom no group includes was never meant, and is not named either."""
    scope = await settled(Wanted(include_groups=(SALES,), exclude_groups=(BOARD,)))
    assert [principal.id for principal in scope.excluded] == [BO]
    scope = await settled(Wanted(include_groups=(SALES,), exclude_groups=(BOARD,), suppress=True))
    assert scope.excluded == []


async def test_an_address_that_somebody_in_scope_has_too_is_not_suppressed() -> None:
    """An administrator's second account must not take his first one along."""
    scope = await settled(Wanted(exclude_users=(BO,), suppress=True))
    assert BO in scope.suppressed
    assert "BO@x.test" in scope.suppressed
    assert "a@x.test" not in scope.suppressed
    assert "cy@x.test" not in scope.suppressed


async def test_every_unknown_name_is_a_fault_that_does_not_repeat_it() -> None:
    """Key and place, so that it is found; the name may be a person's."""
    wanted = Wanted(include_groups=("gone@x.test",), exclude_groups=(SALES, "nobody@x.test"))
    with pytest.raises(ConfigurationError) as caught:
        await settled(wanted)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "scope.include_groups[0]",
        "scope.exclude_groups[1]",
    ]
    with pytest.raises(ConfigurationError) as caught:
        await settled(Wanted(exclude_users=(ANN, "an@x.test", "eeee")))
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "scope.exclude_users[1]",
        "scope.exclude_users[2]",
    ]
    assert "an@x.test" not in str(caught.value)


@pytest.mark.parametrize(
    "wanted", [Wanted(include_groups=(EMPTY,)), Wanted(exclude_users=(ANN, BO, CY)), Wanted(include_groups=("g",))]
)
async def test_a_scope_of_nobody_stops_the_command(wanted: Wanted) -> None:
    """A run that reads nothing would look like one that worked."""
    with pytest.raises(ConfigurationError, match="nobody is left"):
        await settled(wanted, SmallDirectory(groups={EMPTY: [], "g": [GUEST]}))


async def test_a_directory_that_cannot_be_read_is_refused_with_the_remedy() -> None:
    """Without knowing who is excluded nothing may be read."""
    denied = DatasetDenied(needs=("User.Read.All",), code="Authorization_RequestDenied")
    with pytest.raises(SourceRefused, match=r"Grant User\.Read\.All"):
        await settled(Wanted(exclude_users=(ANN,)), SmallDirectory(error=denied))
    with pytest.raises(SourceRefused, match="Run again"):
        await settled(Wanted(exclude_users=(ANN,)), SmallDirectory(error=UnitFailed(FailReason.TIMEOUT)))


async def test_a_list_that_breaks_off_is_read_anew() -> None:
    """What was seen before does not count."""
    scope = await settled(Wanted(exclude_users=(CY,)), SmallDirectory(breaks=2))
    assert [each.id for each in ACCOUNTS if scope.reads(each.id)] == [ANN, BO]


async def test_an_interrupted_run_keeps_its_decision() -> None:
    """Whatever has become of the groups, and without asking again."""
    wanted = Wanted(exclude_groups=(BOARD,), suppress=True)
    first = Scope(wanted, SmallDirectory(), forms=forms)
    saved = await first.settle(None)
    later = SmallDirectory(groups={})
    second = Scope(wanted, later, forms=forms)
    assert await second.settle(saved) == saved
    assert later.asked == []
    for each in (*(account.id for account in ACCOUNTS), "newcomer"):
        assert (first.reads(each), first.has_row(each), first.leaves_out(each)) == (
            second.reads(each),
            second.has_row(each),
            second.leaves_out(each),
        )
    assert "bo@x.test" in second.suppressed
    assert saved is not None
    assert b"bo@x.test" not in saved


async def test_a_saved_decision_that_cannot_be_read_is_no_decision() -> None:
    """Rather none than a wrong one."""
    with pytest.raises(ValueError, match="cannot be read"):
        await Scope(Wanted(exclude_users=(ANN,)), SmallDirectory(), forms=forms).settle(b"\xff")


async def test_a_question_before_the_answer_is_a_bug() -> None:
    """Nobody is in scope, or out of it, by oversight."""
    with pytest.raises(RuntimeError):
        Scope(Wanted(exclude_users=(ANN,)), SmallDirectory(), forms=forms).reads(ANN)


async def test_a_group_concerns_the_scope_by_its_members() -> None:
    """One whose data is read is enough; a group that is gone has none."""
    scope = await settled(Wanted(exclude_groups=(SALES,)))
    assert not await scope.has_member_in_scope(SALES)
    assert not await scope.has_member_in_scope("gone@x.test")
    scope = await settled(Wanted(exclude_users=(BO,)))
    assert await scope.has_member_in_scope(SALES)


async def test_shared_mailboxes_and_those_that_do_not_answer_are_not_read() -> None:
    """Each for its own reason; the same after an interruption, when a user who came later waits too."""
    purposes: dict[str, bool | Exception] = {
        BO: True,
        CY: UnitSkipped(SkipReason.NO_MAILBOX, code="MailboxNotEnabledForRESTAPI"),
        GUEST: UnitFailed(FailReason.SERVICE_ERROR, code="InternalServerError"),
    }
    scope = Scope(Wanted(include_shared=False), SmallDirectory(purposes=purposes), forms=forms)
    users = [user(each.id) for each in ACCOUNTS]
    unread, saved = await scope.settle_mailboxes(users, None)
    assert {dataset for dataset, _ in unread} == {"mail_messages", "mail_contacts", "calendar_events"}
    reasons = {principal.id: error.reason for (_, principal), error in unread.items()}
    assert reasons == {BO: "out_of_scope", CY: "no_mailbox", GUEST: "service_error"}

    later = SmallDirectory()
    again, _ = await Scope(Wanted(include_shared=False), later, forms=forms).settle_mailboxes(
        [*users, user("newcomer")], saved
    )
    assert later.asked == []
    assert {principal.id: error.reason for (_, principal), error in again.items()} == {
        **reasons,
        "newcomer": "out_of_scope",
    }


async def test_where_no_mailbox_may_be_asked_the_refusal_stands() -> None:
    """Then no mailbox is read at all: nobody knows which are shared."""
    directory = SmallDirectory(purposes={ANN: DatasetDenied(needs=("MailboxSettings.Read",))})
    with pytest.raises(DatasetDenied):
        await Scope(Wanted(include_shared=False), directory, forms=forms).settle_mailboxes([user(ANN)], None)


def test_names_stay_out_of_representations() -> None:
    """Of what was wanted and of accounts."""
    assert "ann@x.test" not in repr(replace(Wanted(exclude_users=("ann@x.test",)), suppress=True))
    assert "ann@x.test" not in repr(ACCOUNTS[0])
