"""Whose data a run reads. Decided once, before anything is read of anybody, and kept with the open run.

    settle            groups of the settings -> their members; the list of all users -> who is in, who is not
    settle_mailboxes  which mailboxes of those in scope are a person's (`pipeline.shared_mailboxes`)

Exclusions win over inclusions. A group or a user of the settings that does not exist stops the command: a slip of the
pen in an exclusion must not export people. A user whom the settled list does not have, because he came later, is out of
scope until the next run.

Left out are the users whom the groups or names of the settings leave out. A guest who is not read because guests are
not wanted is no such user, nor is anybody outside the tenant's directory.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from pipeline.digests import Digests
from pipeline.errors import ConfigurationError, DatasetDenied, FailReason, SourceRefused, UnitFailed, UnitReadAgain
from pipeline.model import Principal, PrincipalKind
from pipeline.shared_mailboxes import Mailboxes, Unread, settle_mailboxes

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The settings' `scope`. Groups are named by object id or address, users by object id or sign-in name."""

    include_groups: Sequence[str] = field(default=(), repr=False)
    exclude_groups: Sequence[str] = field(default=(), repr=False)
    exclude_users: Sequence[str] = field(default=(), repr=False)
    include_guests: bool = False
    include_shared: bool = True
    suppress: bool = False

    @property
    def narrows(self) -> bool:
        """Whether anybody can be left out by group or name."""
        return bool(self.include_groups or self.exclude_groups or self.exclude_users)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the directory. `identifiers`: addresses under which records know this person, the id left aside."""

    id: str
    sign_in_name: str = field(repr=False)
    is_guest: bool
    identifiers: Sequence[str] = field(default=(), repr=False)


class MembersHidden(UnitFailed):
    """A group has members, and shows none of them to an application that may not see hidden ones."""

    def __init__(self) -> None:
        super().__init__(FailReason.PERMISSION, code="HiddenMembership")


class Directory(Mailboxes, Protocol):
    """What scope decisions need. Methods raise UnitFailed or SourceRefused where it cannot be read."""

    def accounts(self) -> AsyncIterator[Sequence[Account]]:
        """All users. Raises: UnitReadAgain: what was given so far does not count."""
        ...

    async def members_of(self, group: str) -> Sequence[str] | None:
        """Object ids of all members of a group named by object id or address, through nested groups too.

        None where there is no such group. Raises: MembersHidden.
        """
        ...


class Scope:
    """Who is in scope. Answers once it is settled; everybody is where the settings narrow nothing."""

    def __init__(self, wanted: Wanted, directory: Directory, *, forms: Callable[[str], Iterator[str]]) -> None:
        """`forms` gives the comparable forms of an identifier."""
        self._wanted = wanted
        self._directory = directory
        self._forms = forms
        self._people = _People()
        self._is_settled = not wanted.narrows

    @property
    def narrows(self) -> bool:
        """Whether anybody can be out of scope."""
        return self._wanted.narrows

    @property
    def excluded(self) -> Sequence[Principal]:
        """Whom the settings exclude, to be named among the skipped; nobody where such people are suppressed."""
        return [Principal(PrincipalKind.USER, user_id) for user_id in self._settled.excluded]

    @property
    def suppressed(self) -> Digests:
        """The identifiers that leave in nobody's records, in their comparable forms."""
        return self._settled.suppressed

    def reads(self, user_id: str) -> bool:
        """Whether data of this user is read."""
        return not self.narrows or user_id in self._settled.read

    def has_row(self, user_id: str) -> bool:
        """Whether the directory's snapshot shows this user: those in scope, and guests, read or not."""
        return not self.narrows or user_id in self._settled.inside

    def leaves_out(self, object_id: str) -> bool:
        """Whether this is a user who is out of scope; of other objects, such as groups, it never is."""
        return self.narrows and object_id in self._settled.outside

    async def has_member_in_scope(self, group_id: str) -> bool:
        """Whether anybody whose data is read is a member of the group. Raises: UnitFailed, SourceRefused."""
        if not self.narrows:
            return True
        return any(map(self.reads, await self._directory.members_of(group_id) or ()))

    async def settle(self, saved: bytes | None) -> bytes | None:
        """Decide, or take over what an interrupted run decided; what to keep of it, None where there is nothing.

        Raises:
            ConfigurationError: a group or user of the settings does not exist, or nobody is in scope.
            SourceRefused: the directory cannot be read.
        """
        if self._is_settled:
            return None
        self._people = _decoded(saved) if saved is not None else await self._decided()
        self._is_settled = True
        return self._people.to_bytes()

    @property
    def asks_mailboxes(self) -> bool:
        """Whether every mailbox is asked whether it is a person's, before anything is read of it."""
        return not self._wanted.include_shared

    async def is_shared(self, user: Principal) -> bool:
        """Ask one mailbox. Raises: UnitSkipped, UnitFailed, DatasetDenied, SourceRefused."""
        return await self._directory.is_shared(user)

    async def settle_mailboxes(self, users: Sequence[Principal], saved: bytes | None) -> tuple[Unread, bytes | None]:
        """Which units of `users` are not read because a mailbox is shared, or may be; and what to keep of it.

        Raises:
            DatasetDenied, SourceRefused: no mailbox can be asked.
        """
        if not self.asks_mailboxes:
            return {}, None
        return await settle_mailboxes(self._directory, users, saved)

    @property
    def _settled(self) -> "_People":
        if not self._is_settled:
            raise RuntimeError("whose data is read is asked before it is settled")
        return self._people

    async def _decided(self) -> "_People":
        try:
            included, excluded = await self._members()
            while True:
                try:
                    return await self._sorted_out(included, excluded)
                except UnitReadAgain:
                    continue  # the source bounds how often
        except DatasetDenied as denied:
            raise SourceRefused(
                "whose data is to be read cannot be found out: `scope` names groups or users",
                remedy=f"Grant {' or '.join(denied.needs)} to one of the applications, with admin consent",
                code=denied.code or None,
            ) from denied
        except MembersHidden as hidden:
            raise SourceRefused(
                "a group in `scope` hides its members",
                remedy="Grant Member.Read.Hidden to the application, or name another group",
            ) from hidden
        except UnitFailed as failed:
            raise SourceRefused(
                "whose data is to be read cannot be found out: the directory did not answer as it should",
                remedy="Run again; nothing was read or written",
                code=failed.code or None,
            ) from failed

    async def _members(self) -> tuple[set[str], set[str]]:
        """Ids of the members of the included and of the excluded groups, in lower case."""
        included: set[str] = set()
        excluded: set[str] = set()
        faults = []
        for key, names, members in (
            ("include_groups", self._wanted.include_groups, included),
            ("exclude_groups", self._wanted.exclude_groups, excluded),
        ):
            for place, name in enumerate(names):
                found = await self._directory.members_of(name)
                if found is None:
                    faults.append(f"scope.{key}[{place}]: the tenant has no group of this object id or address")
                members.update(each.lower() for each in found or ())
        if faults:
            raise ConfigurationError(*faults)
        return included, excluded

    async def _sorted_out(self, included: set[str], excluded: set[str]) -> "_People":
        wanted = self._wanted
        unseen = {name.lower(): place for place, name in enumerate(wanted.exclude_users)}
        names = frozenset(unseen)
        inside: list[str] = []
        outside: list[str] = []
        read: list[str] = []
        named: list[str] = []
        kept, suppressed = _Forms(), _Forms()
        async for accounts in self._directory.accounts():
            for account in accounts:
                own = {account.id.lower(), account.sign_in_name.lower()}
                for name in own:
                    unseen.pop(name, None)
                is_excluded = account.id.lower() in excluded or not names.isdisjoint(own)
                is_inside = not is_excluded and (not wanted.include_groups or account.id.lower() in included)
                may_be_read = wanted.include_guests or not account.is_guest
                (inside if is_inside else outside).append(account.id)
                if is_inside and may_be_read:
                    read.append(account.id)
                if is_excluded and may_be_read and not wanted.suppress:
                    named.append(account.id)
                if wanted.suppress:
                    (kept if is_inside else suppressed).add(self._forms, (account.id, *account.identifiers))
        if unseen:
            raise ConfigurationError(
                *(
                    f"scope.exclude_users[{place}]: nobody in the directory has this object id or sign-in name; "
                    "correct it, or take it out where the account was deleted"
                    for place in sorted(unseen.values())
                )
            )
        if not read:
            raise ConfigurationError("scope: nobody is left whose data could be read")
        key = Digests.new_key()
        return _People(
            read=Digests(read, key=key),
            inside=Digests(inside, key=key),
            outside=Digests(outside, key=key),
            # An address that somebody in scope has as well is his.
            suppressed=Digests(suppressed.texts, key=key).without(Digests(kept.texts, key=key)),
            excluded=named,
            key=key,
        )


@dataclass(frozen=True, slots=True)
class _Forms:
    texts: set[str] = field(default_factory=set)

    def add(self, forms: Callable[[str], Iterator[str]], identifiers: Sequence[str]) -> None:
        for identifier in identifiers:
            self.texts.update(forms(identifier))


@dataclass(frozen=True, slots=True)
class _People:
    """What was decided. The sets hold object ids, `suppressed` identifiers of any kind."""

    read: Digests = field(default_factory=Digests)
    inside: Digests = field(default_factory=Digests)
    outside: Digests = field(default_factory=Digests)
    suppressed: Digests = field(default_factory=Digests)
    excluded: Sequence[str] = field(default=(), repr=False)
    key: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        sets = [each.to_bytes() for each in (self.read, self.inside, self.outside, self.suppressed)]
        return _encode(_Saved(VERSION, self.key, sets, list(self.excluded)))


class _Saved(msgspec.Struct, array_like=True):
    version: int
    key: bytes
    sets: list[bytes]
    excluded: list[str]


def _decoded(saved: bytes) -> _People:
    try:
        kept = msgspec.msgpack.decode(saved, type=_Saved)
    except msgspec.DecodeError:
        raise ValueError("the saved scope cannot be read") from None
    if kept.version != VERSION:
        raise ValueError("the saved scope is of another version")
    read, inside, outside, suppressed = (Digests.from_bytes(each, key=kept.key) for each in kept.sets)
    return _People(read, inside, outside, suppressed, kept.excluded, kept.key)


_encode = msgspec.msgpack.Encoder().encode
