"""A Microsoft 365 tenant as a pure model: who there is, what they wrote, when they met. No HTTP.

Everything is a function of the seed and of the tenant's clock, computed when asked for; only what the methods here
deliver, change or remove is kept in memory.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from connectors.emulator.call_records import OUTSIDE_PHONES, CallContext
from connectors.emulator.calls import Calls
from connectors.emulator.chat_records import ChatContext, outside_phones
from connectors.emulator.chats import ChangeKind, Chat, Chats
from connectors.emulator.clock import Clock
from connectors.emulator.contacts import DEFAULT as DEFAULT_CONTACTS
from connectors.emulator.contacts import FOLDERS as CONTACT_FOLDERS
from connectors.emulator.contacts import ContactContext, Contacts, planted_phones
from connectors.emulator.directory import DirectoryContext, Group, Groups, Member
from connectors.emulator.events import EventContext, EventIds
from connectors.emulator.folders import FOLDERS
from connectors.emulator.letters import Letters
from connectors.emulator.mailboxes import Mailboxes
from connectors.emulator.meetings import Meetings
from connectors.emulator.messages import MailContext
from connectors.emulator.noise import Noise
from connectors.emulator.online_meetings import OnlineMeetings
from connectors.emulator.people import DOMAIN, People, Person
from connectors.emulator.phone_calls import PhoneCalls
from connectors.emulator.posts import Posts
from connectors.emulator.profile import MailboxKind, TenantProfile
from connectors.emulator.team_records import TeamContext
from connectors.emulator.teams import Channel, TeamKind, Teams, is_team
from connectors.emulator.ticks import SECOND, to_ticks
from connectors.emulator.truth import Truth
from connectors.emulator.words import MARKER, Vocabulary


class Tenant:
    """One organisation. `history` is how far back its data reaches from `now`."""

    def __init__(
        self,
        *,
        seed: int = 1,
        users: int = 200,
        now: datetime,
        history: timedelta = timedelta(days=60),
        profile: TenantProfile | None = None,
        ticking: bool = False,
    ) -> None:
        self.seed = seed
        self.profile = profile or TenantProfile()
        self.domain = DOMAIN
        self.clock = Clock(now, ticking=ticking)
        self.noise = Noise(seed)
        self.id = self.noise.guid("tenant")
        self.first_ticks = to_ticks(now - history)
        self.words = Vocabulary(self.noise)
        self.people = People(self.noise, count=users, profile=self.profile)
        self.groups = Groups(self.noise, self.people, self.words, fewest=self.profile.groups)
        past = range(self.first_ticks // SECOND, self.clock.ticks // SECOND)
        letters = Letters(self.noise, self.people, self.profile, history_s=past)
        shared: dict[str, Any] = {"clock": self.clock, "first_ticks": self.first_ticks}
        self.mailboxes = Mailboxes(self.noise, self.people, letters, **shared)
        self.meetings = Meetings(self.noise, self.people, self.profile, **shared)
        self.event_ids = EventIds(self.noise)
        self.chats = Chats(self.noise, self.people, self.profile, **shared)
        self.calls = Calls(self.noise, self.people, self.meetings, self.profile, **shared)
        self.phone_calls = PhoneCalls(self.noise, self.people, self.profile, **shared)
        self.online_meetings = OnlineMeetings(self.people, self.meetings, self.chats, self.calls, **shared)
        self.contacts = Contacts(self.noise, self.people, self.profile, **shared)
        self.teams = Teams(
            self.noise, self.people, self.groups, self.words, tenant_id=self.id, first_ticks=self.first_ticks
        )
        self.posts = Posts(self.noise, self.profile, **shared)
        self._removed_users: dict[int, int] = {}  # when, by number
        self._changed_users: dict[int, int] = {}  # when they were restored or blocked, by number
        self._blocked: set[int] = set()
        self._away: set[int] = set()
        self.truth = Truth(self)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Object ids of all users that have not been removed, in the order of listing."""
        return tuple(person.id for person in self.present_people())

    def users_of(self, kind: MailboxKind) -> tuple[str, ...]:
        """Object ids of the users of one kind."""
        return self.people.of_kind(kind)

    def person(self, user_id: str) -> Person:
        """The user of this id or user principal name. Raises KeyError."""
        person = self.people.find(user_id)
        if person is None or person.number in self._removed_users:
            raise KeyError("no such user")
        return person

    def holds(self, member: Member) -> bool:
        """Not a user or group that has been removed."""
        return self.removed_at(member) is None

    def removed_at(self, member: Member) -> int | None:
        """When a user or group was removed."""
        if isinstance(member, dict):
            return None
        removed = self._removed_users if isinstance(member, Person) else self.groups.removed
        return removed.get(member.number)

    def changed_at(self, member: Member) -> int | None:
        """When a user was restored or blocked, or a group restored, last."""
        if isinstance(member, dict):
            return None
        changed = self._changed_users if isinstance(member, Person) else self.groups.restored
        return changed.get(member.number)

    def present_people(self) -> Iterator[Person]:
        """Everybody who has not been removed."""
        return (person for person in self.people if self.holds(person))

    def planted(self) -> Iterator[str]:
        """Every free text and every string that names or reaches a person, as this tenant serves them."""
        return iter(dict.fromkeys(text for _, text in self.planted_by_kind()))

    def planted_by_kind(self) -> Iterator[tuple[str, str]]:
        """The planted strings with what they are: name, upn, address, phone, subject, body, topic, location, …"""
        yield from self.people.planted()
        yield from self.words.by_kind()
        for folder in FOLDERS.values():
            if MARKER in folder.title:
                yield "folder", folder.title
        for phone in (*outside_phones(self.chats), *OUTSIDE_PHONES):
            yield "phone", phone
        for contact_folder in CONTACT_FOLDERS.values():
            if MARKER in contact_folder.title:
                yield "folder", contact_folder.title
        for person in self.people:
            for phone in planted_phones(self.contacts, person):
                yield "phone", phone

    def deliver_messages(
        self,
        user_id: str,
        *,
        count: int = 1,
        at: datetime | None = None,
        subject: str | None = None,
        recipients: int = 1,
    ) -> list[str]:
        """Delivers mail from outsiders, received at `at` (default: now); immutable ids of the new messages."""
        copies = self.mailboxes.deliver(
            self.person(user_id), count=count, ticks=self._ticks(at), subject=subject, recipients=recipients
        )
        return [self.mailboxes.message_id(copy, immutable=True) for copy in copies]

    def deliver_events(
        self,
        user_id: str,
        *,
        count: int = 1,
        start: datetime | None = None,
        duration: timedelta = timedelta(minutes=30),
    ) -> list[str]:
        """Puts events called by outsiders into a calendar, all at `start` (default: now); their immutable ids."""
        length = duration // timedelta(microseconds=1) * 10
        person = self.person(user_id)
        entries = self.meetings.deliver(person, count=count, start=self._ticks(start), duration=length)
        return [self.event_ids.event_id(person, entry.place, immutable=True) for entry in entries]

    def move_event(self, user_id: str, event_id: str, *, start: datetime) -> None:
        """Moves an event that was delivered to another time. Raises KeyError."""
        self.meetings.move(self.person(user_id), self.event_ids.place(event_id), start=self._ticks(start))

    def deliver_chat_messages(
        self,
        *,
        chat_id: str | None = None,
        user_id: str | None = None,
        count: int = 1,
        at: datetime | None = None,
    ) -> list[str]:
        """Writes into a chat, named or the first one of a user, a millisecond apart from `at` on; their ids."""
        if chat_id is None:
            number = self.person(user_id).number if user_id is not None else self.people.person(0).number
            chat = self.chats.of_member(number)[0]
        else:
            chat = self._chat(chat_id)
        return [message.id for message in self.chats.deliver(chat, count=count, ticks=self._ticks(at))]

    def deliver_call(
        self,
        user_id: str,
        *,
        start: datetime | None = None,
        duration: timedelta = timedelta(minutes=30),
        guests: int = 1,
    ) -> str:
        """Lets a user hold a call with so many outsiders, begun at `start` (default: now); the id of its record."""
        length = duration // timedelta(microseconds=1) * 10
        return self.calls.deliver(self.person(user_id), start=self._ticks(start), duration=length, guests=guests).id

    def edit_chat_message(self, chat_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Changes the text of a chat message. Raises KeyError."""
        self._change(chat_id, message_id, ChangeKind.EDIT, at)

    def react_to_chat_message(self, chat_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Adds a reaction to a chat message. Raises KeyError."""
        self._change(chat_id, message_id, ChangeKind.REACTION, at)

    def delete_chat_message(self, chat_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Deletes a chat message: it stays listed with an empty body. Raises KeyError."""
        self._change(chat_id, message_id, ChangeKind.DELETION, at)

    def join_chat(self, chat_id: str, user_id: str, *, at: datetime | None = None) -> None:
        """Adds a user to a chat. Raises KeyError."""
        self.chats.join(self._chat(chat_id), self.person(user_id), ticks=self._ticks(at))

    def leave_chat(self, chat_id: str, user_id: str, *, at: datetime | None = None) -> None:
        """Takes a user out of a chat: it is not listed to that user any more. Raises KeyError."""
        self.chats.leave(self._chat(chat_id), self.person(user_id), ticks=self._ticks(at))

    def deliver_channel_messages(
        self,
        *,
        team_id: str,
        channel_id: str | None = None,
        reply_to: str | None = None,
        count: int = 1,
        at: datetime | None = None,
    ) -> list[str]:
        """Writes into a channel, named or the first one of the team, a millisecond apart from `at` on; their ids."""
        team = self.teams.find(team_id)
        channels = self.teams.hosted(team) if team is not None else ()
        channel = next((each for each in channels if channel_id in (None, each.id)), None)
        if channel is None:
            raise KeyError("no such channel")
        posts = self.posts.deliver(channel, count=count, ticks=self._ticks(at), reply_to=reply_to)
        return [post.id for post in posts]

    def edit_channel_message(self, channel_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Changes the text of a channel message. Raises KeyError."""
        self.posts.change(self._channel(channel_id), message_id, ChangeKind.EDIT, ticks=self._ticks(at))

    def react_to_channel_message(self, channel_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Adds a reaction to a channel message. Raises KeyError."""
        self.posts.change(self._channel(channel_id), message_id, ChangeKind.REACTION, ticks=self._ticks(at))

    def delete_channel_message(self, channel_id: str, message_id: str, *, at: datetime | None = None) -> None:
        """Deletes a channel message: it stays listed with an empty body. Raises KeyError."""
        self.posts.change(self._channel(channel_id), message_id, ChangeKind.DELETION, ticks=self._ticks(at))

    def teams_of(self, kind: TeamKind) -> tuple[str, ...]:
        """The ids of the teams of one kind."""
        return tuple(team.id for team in self.teams.all() if team.kind is kind)

    def remove_team(self, team_id: str) -> None:
        """Deletes a team. Raises KeyError."""
        self.teams.remove(team_id)

    def deliver_contacts(
        self, user_id: str, *, count: int = 1, folder: str = DEFAULT_CONTACTS, at: datetime | None = None
    ) -> list[str]:
        """New entries in an address book (folders: contacts suppliers nearby press); their immutable ids."""
        made = self.contacts.add(self.person(user_id), count=count, folder=folder, ticks=self._ticks(at))
        return [self.contacts.contact_id(contact, immutable=True) for contact in made]

    def edit_contact(
        self, user_id: str, contact_id: str, *, folder: str | None = None, at: datetime | None = None
    ) -> None:
        """Changes an entry of an address book, or moves it to another folder. Raises KeyError."""
        contact = self.contacts.find(self.person(user_id), contact_id)
        self.contacts.edit(contact, ticks=self._ticks(at), folder=folder and CONTACT_FOLDERS[folder].name)

    def remove_contact(self, user_id: str, contact_id: str) -> None:
        """Deletes an entry of an address book. Raises KeyError."""
        self.contacts.remove(self.contacts.find(self.person(user_id), contact_id))

    def remove_message(self, user_id: str, message_id: str) -> None:
        """Deletes a message for good. Raises KeyError."""
        self.mailboxes.remove(self.person(user_id), message_id)

    def move_message(self, user_id: str, message_id: str, folder: str) -> None:
        """Puts a message into another folder, by the folder's well-known or own name. Raises KeyError."""
        self.mailboxes.move(self.person(user_id), message_id, folder)

    def remove_event(self, user_id: str, event_id: str) -> None:
        """Deletes an event from one calendar. Raises KeyError."""
        self.meetings.remove(self.person(user_id), self.event_ids.place(event_id))

    def remove_user(self, user_id: str) -> None:
        """Deletes a user and the mailbox. Raises KeyError."""
        self._removed_users[self.person(user_id).number] = self.clock.ticks

    def restore_user(self, user_id: str) -> None:
        """Brings a deleted user back, and the mailbox, as Entra can for thirty days. Raises KeyError."""
        person = self.people.find(user_id)
        if person is None:
            raise KeyError("no such user")
        del self._removed_users[person.number]
        self._changed_users[person.number] = self.clock.ticks

    def block_user(self, user_id: str) -> None:
        """Lets a user sign in no more; the mailbox stays. Raises KeyError."""
        number = self.person(user_id).number
        self._blocked.add(number)
        self._changed_users[number] = self.clock.ticks

    def set_away(self, user_id: str) -> None:
        """Lets a mailbox answer by itself. Raises KeyError."""
        self._away.add(self.person(user_id).number)

    def remove_group(self, group_id: str) -> None:
        """Deletes a group, and the team that it is. Raises KeyError."""
        group = self._group(group_id)
        self.groups.remove(group, ticks=self.clock.ticks)
        if is_team(group):
            self.teams.remove(group.id)

    def restore_group(self, group_id: str) -> None:
        """Brings a deleted group back, and the team that it is. Raises KeyError."""
        group = self.groups.find(group_id)
        if group is None:
            raise KeyError("no such group")
        self.groups.restore(group, ticks=self.clock.ticks)
        if is_team(group):
            self.teams.restore(group.id)

    def forget_sync_states(self, user_id: str) -> None:
        """Makes the delta links that a mailbox has given out worthless. Raises KeyError."""
        self.mailboxes.forget_sync_states(self.person(user_id))

    def join_group(self, user_id: str, group_id: str) -> None:
        """Makes a user a direct member of a group. Raises KeyError."""
        self.groups.join(self._group(group_id), self.person(user_id), ticks=self.clock.ticks)

    def leave_group(self, user_id: str, group_id: str) -> None:
        """Ends a user's direct membership of a group. Raises KeyError."""
        self.groups.leave(self._group(group_id), self.person(user_id), ticks=self.clock.ticks)

    def mail_context(self, *, immutable_ids: bool) -> MailContext:
        """What rendering a message needs."""
        return MailContext(mailboxes=self.mailboxes, words=self.words, immutable_ids=immutable_ids)

    def event_context(self, *, immutable_ids: bool, zone: str = "UTC", zone_name: str = "UTC") -> EventContext:
        """What rendering an event needs."""
        return EventContext(
            ids=self.event_ids,
            words=self.words,
            tenant_id=self.id,
            immutable_ids=immutable_ids,
            now=self.clock.ticks,
            zone=zone,
            zone_name=zone_name,
        )

    def chat_context(self, *, knows_new_members: bool = False) -> ChatContext:
        """What rendering a chat or chat message needs."""
        return ChatContext(chats=self.chats, words=self.words, tenant_id=self.id, knows_new_members=knows_new_members)

    def call_context(self) -> CallContext:
        """What rendering a call record or an attendance report needs."""
        return CallContext(people=self.people, words=self.words, tenant_id=self.id, now=self.clock.ticks)

    def contact_context(self, *, immutable_ids: bool) -> ContactContext:
        """What rendering a contact needs."""
        return ContactContext(contacts=self.contacts, words=self.words, immutable_ids=immutable_ids)

    def team_context(self, *, knows_new_members: bool = True) -> TeamContext:
        """What rendering a team or channel needs."""
        return TeamContext(
            teams=self.teams,
            tenant_id=self.id,
            start_ticks=self.first_ticks,
            knows_new_members=knows_new_members,
        )

    def directory_context(self) -> DirectoryContext:
        """What rendering a user, a group or mailbox settings needs."""
        return DirectoryContext(
            noise=self.noise,
            words=self.words,
            start_ticks=self.first_ticks,
            blocked=self._blocked,
            away=self._away,
        )

    def _change(self, chat_id: str, message_id: str, kind: ChangeKind, at: datetime | None) -> None:
        self.chats.change(self._chat(chat_id), message_id, kind, ticks=self._ticks(at))

    def _chat(self, chat_id: str) -> Chat:
        chat = self.chats.find(chat_id)
        if chat is None:
            raise KeyError("no such chat")
        return chat

    def _group(self, group_id: str) -> Group:
        group = self.groups.find(group_id)
        if group is None or group.number == 0 or not self.holds(group):
            raise KeyError("no such group, or the one that has everybody")
        return group

    def _channel(self, channel_id: str) -> Channel:
        for team in self.teams.all():
            for channel in self.teams.hosted(team):
                if channel.id == channel_id:
                    return channel
        raise KeyError("no such channel")

    def _ticks(self, at: datetime | None) -> int:
        return self.clock.ticks if at is None else to_ticks(at)
