"""What is written in channels, as a pure function of the seed and of the present: threads of a root and its replies.

What holds:

- A channel that is not silent has a row of slots with at most one thread each. Replies come within two days of their
  root, and any message may be edited, liked or deleted within two days of being written; what lies in the future
  is not seen. (Changes made through the tenant's methods may come at any time.)
- A message id is its creation in milliseconds, unique within its channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from connectors.emulator.chats import MILLISECOND, Change, ChangeKind, ChatMessage, is_system_event
from connectors.emulator.clock import Clock
from connectors.emulator.noise import Noise, spread
from connectors.emulator.profile import TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.teams import Channel
from connectors.emulator.ticks import HOUR, MINUTE, SECOND

_MOST_REPLIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Post(ChatMessage):
    """A message of a channel as it is now; `reply_to` is the id of its root."""

    channel: Channel = field(repr=False)
    reply_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A root and its replies, oldest first."""

    root: Post
    replies: Sequence[Post]

    @property
    def active(self) -> int:
        """The last change in the thread: channels are listed by it."""
        return max(post.modified for post in (self.root, *self.replies))


class Posts:
    """All messages of all channels."""

    def __init__(self, noise: Noise, profile: TenantProfile, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._clock = clock
        self._first_ticks = first_ticks
        self._rhythm = Rhythm(profile.threads_per_week)
        self._delivered: dict[str, list[Post]] = {}
        self._made_changes: dict[tuple[str, str], list[Change]] = {}
        self._change_count = 0
        self._touched: dict[tuple[str, str], int] = {}  # when a message was written or changed by hand
        self._seen = lru_cache(maxsize=1_024)(self._threads_at)

    def threads(self, channel: Channel, *, at: int | None = None) -> Sequence[Thread]:
        """The threads of a channel now, or as they were, the one with the newest activity first."""
        return self._seen(channel, self._clock.ticks if at is None else at, self._change_count)

    def changes(self, post: Post) -> tuple[int | None, ...]:
        """The instants at which a message was written, or changed so far."""
        touched = self._touched.get((post.channel.id, post.id))
        return post.created, *(change.ticks for change in post.changes), touched

    def of(self, channel: Channel) -> list[Post]:
        """Every message of a channel, roots and replies, newest first."""
        posts = [post for thread in self.threads(channel) for post in (thread.root, *thread.replies)]
        return sorted(posts, key=lambda post: post.created, reverse=True)

    def deliver(self, channel: Channel, *, count: int, ticks: int, reply_to: str | None) -> list[Post]:
        """Writes messages into a channel, a millisecond apart. Raises KeyError where the root does not exist."""
        if reply_to is not None and all(thread.root.id != reply_to for thread in self.threads(channel)):
            raise KeyError("no such message")
        taken = {post.id for post in (*self.of(channel), *self._delivered.get(channel.id, ()))}
        posts: list[Post] = []
        while len(posts) < count:
            noise = bytearray(self._noise.bytes("post-delivery", *channel.thread.key, self._change_count))
            self._change_count += 1
            noise[1:4] = b"\xff\xff\xff"  # an ordinary message, not changed by itself
            post = self._post(channel, bytes(noise), ticks - ticks % MILLISECOND, reply_to)
            ticks += MILLISECOND
            if post.id not in taken:
                posts.append(post)
        self._delivered.setdefault(channel.id, []).extend(posts)
        self._touched |= dict.fromkeys(((channel.id, post.id) for post in posts), self._clock.ticks)
        return posts

    def change(self, channel: Channel, message_id: str, kind: ChangeKind, *, ticks: int) -> None:
        """Edits, reacts to, or deletes a message. Raises KeyError where there is none of that id."""
        if all(post.id != message_id for post in self.of(channel)):
            raise KeyError("no such message")
        change = Change(kind, ticks - ticks % MILLISECOND, channel.thread.members[-1])
        self._made_changes.setdefault((channel.id, message_id), []).append(change)
        self._touched[channel.id, message_id] = self._clock.ticks
        self._change_count += 1

    def _threads_at(self, channel: Channel, now: int, _: int) -> Sequence[Thread]:
        delivered = self._delivered.get(channel.id, [])
        roots = [post for post in delivered if post.reply_to is None]
        if not channel.is_silent:
            first, last = (self._rhythm.slot_at(ticks // SECOND) for ticks in (self._first_ticks, now))
            roots += [post for slot in range(first, last + 1) if (post := self._root(channel, slot)) is not None]
        threads = [
            Thread(
                root=self._so_far(root, now),
                replies=sorted(
                    (
                        self._so_far(reply, now)
                        for reply in (*self._replies(root), *(post for post in delivered if post.reply_to == root.id))
                        if reply.created <= now
                    ),
                    key=lambda reply: reply.created,
                ),
            )
            for root in roots
            if self._first_ticks <= root.created <= now
        ]
        return sorted(threads, key=lambda thread: (thread.active, thread.root.created), reverse=True)

    def _root(self, channel: Channel, slot: int) -> Post | None:
        noise = self._noise.bytes("post", *channel.thread.key, slot)
        if noise[0] >= 192:
            return None
        offset = spread(noise[4:8], self._rhythm.width_s(slot) * 1000)
        return self._post(channel, noise, self._rhythm.start_s(slot) * SECOND + offset * MILLISECOND, None)

    def _replies(self, root: Post) -> list[Post]:
        """Those that come by themselves: none to a delivered message, whose noise says so."""
        if root.noise[1] == 0xFF or is_system_event(root):
            return []
        channel, count = root.channel, root.noise[21] % (_MOST_REPLIES + 1)
        posts = []
        for number in range(count):
            noise = self._noise.bytes("reply", *channel.thread.key, int(root.id), number)
            noise = noise[:1] + b"\xfe" + noise[2:]  # replies are written by people
            delay = (1 + spread(noise[4:8], 48 * 60)) * MINUTE + number * MILLISECOND
            posts.append(self._post(channel, noise, root.created + delay, root.id))
        return posts

    def _post(self, channel: Channel, noise: bytes, created: int, reply_to: str | None) -> Post:
        members = channel.thread.members
        by, other = members[noise[8] % len(members)], members[noise[9] % len(members)]
        post = Post(chat=channel.thread, noise=noise, created=created, sender=by, channel=channel, reply_to=reply_to)
        if is_system_event(post):
            return post
        changes = []
        if noise[2] < 40:
            changes.append(Change(ChangeKind.REACTION, created + (1 + noise[10]) * 5 * MINUTE, other))
        if noise[3] < 25:
            changes.append(Change(ChangeKind.EDIT, created + (1 + noise[11]) * 30 * SECOND, by))
        if 25 <= noise[3] < 35:
            changes.append(Change(ChangeKind.DELETION, created + (1 + noise[11] % 47) * HOUR, by))
        return replace(post, changes=changes)

    def _so_far(self, post: Post, now: int) -> Post:
        made = self._made_changes.get((post.channel.id, post.id), ())
        changes = [change for change in (*post.changes, *made) if change.ticks <= now]
        return post if len(changes) == len(post.changes) and not made else replace(post, changes=changes)
