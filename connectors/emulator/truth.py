"""What the tenant really holds, for tests to compare an export with: whole records as the API would serve them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.emulator.call_records import render_call, render_participants, render_sessions
from connectors.emulator.chat_records import CHAT, CHAT_MESSAGE, render_members
from connectors.emulator.contacts import CONTACT
from connectors.emulator.directory import GROUP, USER, Member, render_mailbox_settings
from connectors.emulator.events import EVENT
from connectors.emulator.messages import MESSAGE, render_message
from connectors.emulator.online_meetings import render_meeting, render_report
from connectors.emulator.people import Person
from connectors.emulator.phone_calls import render_direct, render_pstn
from connectors.emulator.profile import UNREADABLE
from connectors.emulator.team_records import CHANNEL, CHANNEL_MESSAGE, TEAM
from connectors.emulator.teams import Team
from connectors.emulator.ticks import to_ticks

if TYPE_CHECKING:
    from connectors.emulator.tenant import Tenant


class Truth:
    """Answers for the tenant's present. What no client may read, such as a mailbox behind a policy, is left out."""

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant

    def users(self) -> list[dict[str, Any]]:
        """All users with all properties that a list can give."""
        selection = USER.selection(tuple(USER.properties))
        context = self._tenant.directory_context()
        return [USER.render(person, context, selection) for person in self._tenant.present_people()]

    def groups(self) -> list[dict[str, Any]]:
        """All groups with all properties that a list can give."""
        selection = GROUP.selection(tuple(GROUP.properties))
        context = self._tenant.directory_context()
        groups = (group for group in self._tenant.groups if self._tenant.holds(group))
        return [GROUP.render(group, context, selection) for group in groups]

    def members(self, group_id: str) -> list[dict[str, Any]]:
        """The direct members of a group. Raises KeyError."""
        group = self._tenant.groups.find(group_id)
        if group is None:
            raise KeyError("no such group")
        members = self._tenant.groups.members(group)
        return [render_member(member, self._tenant, None) for member in members if self._tenant.holds(member)]

    def transitive_members(self, group_id: str) -> list[dict[str, Any]]:
        """The members of a group, and of the groups in it. Raises KeyError."""
        group = self._tenant.groups.find(group_id)
        if group is None:
            raise KeyError("no such group")
        members = self._tenant.groups.reached_from(group)
        return [render_member(member, self._tenant, None) for member in members if self._tenant.holds(member)]

    def mailbox_settings(self, user_id: str) -> dict[str, Any] | None:
        """The settings of a mailbox; None where it cannot be read."""
        person = self._readable(user_id)
        return None if person is None else render_mailbox_settings(person, self._tenant.directory_context())

    def messages(
        self, user_id: str, start: datetime, end: datetime, *, immutable_ids: bool = True
    ) -> list[dict[str, Any]]:
        """Messages in all folders with a receivedDateTime in [start, end), oldest first."""
        person = self._readable(user_id)
        if person is None:
            return []
        mailboxes, context = self._tenant.mailboxes, self._tenant.mail_context(immutable_ids=immutable_ids)
        window = mailboxes.window(person, start=to_ticks(start), end=to_ticks(end))
        selection = MESSAGE.selection(None)
        return [render_message(copy, context, selection, whole=True) for copy in window.walk(descending=False)]

    def events(
        self, user_id: str, start: datetime, end: datetime, *, immutable_ids: bool = True
    ) -> list[dict[str, Any]]:
        """The calendar view: occurrences, exceptions and single events that overlap [start, end)."""
        person = self._readable(user_id)
        if person is None:
            return []
        context, selection = self._tenant.event_context(immutable_ids=immutable_ids), EVENT.selection(None)
        entries = self._tenant.meetings.view(person, to_ticks(start), to_ticks(end))
        return [EVENT.render(entry, context, selection) for entry in entries]

    def chats(self) -> list[dict[str, Any]]:
        """Every chat once, with its `members`."""
        context, selection = self._tenant.chat_context(), CHAT.selection(None)
        return [
            {**CHAT.render(chat, context, selection), "members": render_members(chat, context)}
            for chat in self._tenant.chats.all()
        ]

    def chat_ids(self, user_id: str) -> Sequence[str]:
        """The chats of one user."""
        return [chat.id for chat in self._tenant.chats.of_member(self._tenant.person(user_id).number)]

    def chat_messages(self, start: datetime, end: datetime, *, knows_new_members: bool = True) -> list[dict[str, Any]]:
        """Every chat message once whose creation or last modification lies in [start, end)."""
        first, last = to_ticks(start), to_ticks(end)
        context = self._tenant.chat_context(knows_new_members=knows_new_members)
        selection = CHAT_MESSAGE.selection(None)
        return [
            CHAT_MESSAGE.render(message, context, selection)
            for chat in self._tenant.chats.all()
            for message in self._tenant.chats.messages(chat, since=first)
            if first <= message.created < last or first <= message.modified < last
        ]

    def call_records(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """The records served now of calls that began in [start, end), with participants, sessions and segments."""
        context = self._tenant.call_context()
        return [
            {
                **render_call(call, context),
                "participants_v2": render_participants(call, context),
                "sessions": render_sessions(call, context, with_segments=True),
            }
            for call in self._tenant.calls.records(to_ticks(start), to_ticks(end))
        ]

    def pstn_calls(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Rows of the PSTN log whose calls began in [start, end)."""
        rows = self._tenant.phone_calls.shown(to_ticks(start), to_ticks(end), is_direct=False)
        return [render_pstn(call) for call in rows]

    def direct_routing_calls(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Rows of the direct routing log whose calls began in [start, end)."""
        rows = self._tenant.phone_calls.shown(to_ticks(start), to_ticks(end), is_direct=True)
        return [render_direct(call) for call in rows]

    def online_meetings(self, user_id: str) -> list[dict[str, Any]]:
        """The meetings of an organizer that can be found now."""
        person = self._tenant.person(user_id)
        return [
            render_meeting(meeting, self._tenant.words, self._tenant.id)
            for meeting in self._tenant.online_meetings.of(person)
            if meeting.organizer.number == person.number
        ]

    def attendance_reports(self, user_id: str, meeting_id: str) -> list[dict[str, Any]]:
        """All reports of a meeting, the newest first, with their records. Raises KeyError."""
        meeting = self._tenant.online_meetings.by_id(self._tenant.person(user_id), meeting_id)
        if meeting is None:
            raise KeyError("no such meeting")
        held = self._tenant.online_meetings.reports(meeting)
        return [render_report(call, self._tenant.call_context(), with_records=True) for call in held]

    def contacts(self, user_id: str, *, immutable_ids: bool = True) -> list[dict[str, Any]]:
        """Every contact of every folder of a mailbox."""
        person = self._readable(user_id)
        if person is None:
            return []
        context, selection = self._tenant.contact_context(immutable_ids=immutable_ids), CONTACT.selection(None)
        return [CONTACT.render(contact, context, selection) for contact in self._tenant.contacts.of(person)]

    def teams(self) -> list[dict[str, Any]]:
        """Every team that can be opened."""
        context, selection = self._tenant.team_context(), TEAM.selection(None)
        return [TEAM.render(team, context, selection) for team in self._open_teams()]

    def channels(self, team_id: str) -> list[dict[str, Any]]:
        """The channels that a team hosts. Raises KeyError."""
        team = self._tenant.teams.find(team_id)
        if team is None:
            raise KeyError("no such team")
        context, selection = self._tenant.team_context(), CHANNEL.selection(None)
        return [CHANNEL.render(channel, context, selection) for channel in self._tenant.teams.hosted(team)]

    def channel_messages(
        self, start: datetime, end: datetime, *, knows_new_members: bool = True
    ) -> list[dict[str, Any]]:
        """Every root and reply whose creation or last modification lies in [start, end)."""
        first, last = to_ticks(start), to_ticks(end)
        context = self._tenant.chat_context(knows_new_members=knows_new_members)
        selection = CHANNEL_MESSAGE.selection(None)
        return [
            CHANNEL_MESSAGE.render(post, context, selection)
            for team in self._open_teams()
            for channel in self._tenant.teams.hosted(team)
            for post in self._tenant.posts.of(channel)
            if first <= post.created < last or first <= post.modified < last
        ]

    def _open_teams(self) -> list[Team]:
        teams = self._tenant.teams
        return [team for team in teams.all() if teams.find(team.id) is not None]

    def _readable(self, user_id: str) -> Person | None:
        person = self._tenant.person(user_id)
        return None if person.kind in UNREADABLE else person


def render_member(member: Member, tenant: "Tenant", names: tuple[str, ...] | None) -> dict[str, Any]:
    """A group member with its @odata.type; `names` are the selected properties."""
    context = tenant.directory_context()
    if isinstance(member, dict):
        return {key: value for key, value in member.items() if names is None or key in ("@odata.type", "id", *names)}
    if isinstance(member, Person):
        selection = USER.selection(_known(names, USER.properties))
        return {"@odata.type": "#microsoft.graph.user", **USER.render(member, context, selection)}
    selection_of_group = GROUP.selection(_known(names, GROUP.properties))
    return {"@odata.type": "#microsoft.graph.group", **GROUP.render(member, context, selection_of_group)}


def _known(names: tuple[str, ...] | None, properties: dict[str, Any]) -> tuple[str, ...] | None:
    """The selected properties that this kind of member has, and its id."""
    return names and tuple(name for name in (*names, "id") if name in properties)
