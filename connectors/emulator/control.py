"""Steering the emulator over HTTP, for a test or an operator in another process.

    GET    /_emulator/about      tenant id, client id and secret, time
    GET    /_emulator/counters   what was asked so far        DELETE resets
    GET    /_emulator/clock      the tenant's time
    POST   /_emulator/clock      {"set": "2026-03-02T00:00:00Z"} or {"advance_s": 86400}
    POST   /_emulator/deliver    {"messages": {...}, "events": {...}, "chat_messages": {...}, "remove_user": {...}, ...}
    POST   /_emulator/faults     a list of rules, instead of those in force     DELETE removes all
    POST   /_emulator/release    lets held requests go on

No authentication: it is a rehearsal on localhost.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from connectors.emulator import ticks
from connectors.emulator.counters import Counters
from connectors.emulator.faults import FaultError, Faults, parse_faults
from connectors.emulator.tenant import Tenant

PREFIX = "/_emulator/"


class ControlError(ValueError):
    """A request that cannot be understood; says why."""


class Control:
    """Answers control requests."""

    def __init__(
        self,
        tenant: Tenant,
        *,
        counters: Counters,
        faults: Faults,
        about: Mapping[str, str],
        release: Callable[[], None],
    ) -> None:
        self._tenant = tenant
        self._counters = counters
        self._faults = faults
        self._about = about
        self._release = release

    def answer(self, method: str, name: str, body: Any) -> Any:
        """The JSON of the answer. Raises ControlError."""
        match method, name:
            case "GET", "about":
                return {**self._about, **self._time()}
            case "GET", "clock":
                return self._time()
            case "POST", "clock":
                return self._set_clock(body)
            case "GET", "counters":
                return self._counters.as_json()
            case "DELETE", "counters":
                self._counters.reset()
                return {}
            case "POST", "deliver":
                return self._deliver(body)
            case "POST", "faults":
                return self._set_faults(body)
            case "DELETE", "faults":
                self._faults.clear()
                return {}
            case "POST", "release":
                self._release()
                return {}
        raise ControlError(f"no such control: {method} {name}")

    def _time(self) -> dict[str, str]:
        return {"now": ticks.to_text(self._tenant.clock.ticks)}

    def _set_clock(self, body: Any) -> dict[str, str]:
        match body:
            case {"set": str(text)}:
                self._tenant.clock.set(_instant(text))
            case {"advance_s": int() | float() as seconds}:
                self._tenant.clock.advance(timedelta(seconds=seconds))
            case _:
                raise ControlError('expected {"set": instant} or {"advance_s": seconds}')
        return self._time()

    def _deliver(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise ControlError("expected an object")
        answers = {}
        for name, arguments in body.items():
            action = _ACTIONS.get(name)
            if action is None:
                raise ControlError(f"{name}: no such change; there are {', '.join(sorted(_ACTIONS))}")
            try:
                answers[name] = action(self._tenant, **_with_instants(arguments))
            except (KeyError, TypeError) as error:
                raise ControlError(f"{name}: {error}") from error
        return answers

    def _set_faults(self, body: Any) -> dict[str, int]:
        try:
            rules = parse_faults(body)
        except FaultError as error:
            raise ControlError(str(error)) from error
        self._faults.replace(rules)
        return {"rules": len(rules)}


_ACTIONS: Mapping[str, Callable[..., Any]] = {
    "messages": Tenant.deliver_messages,
    "events": Tenant.deliver_events,
    "chat_messages": Tenant.deliver_chat_messages,
    "call": Tenant.deliver_call,
    "edit_chat_message": Tenant.edit_chat_message,
    "react_to_chat_message": Tenant.react_to_chat_message,
    "delete_chat_message": Tenant.delete_chat_message,
    "channel_messages": Tenant.deliver_channel_messages,
    "edit_channel_message": Tenant.edit_channel_message,
    "react_to_channel_message": Tenant.react_to_channel_message,
    "delete_channel_message": Tenant.delete_channel_message,
    "remove_team": Tenant.remove_team,
    "contacts": Tenant.deliver_contacts,
    "edit_contact": Tenant.edit_contact,
    "remove_contact": Tenant.remove_contact,
    "remove_message": Tenant.remove_message,
    "move_message": Tenant.move_message,
    "remove_event": Tenant.remove_event,
    "remove_user": Tenant.remove_user,
    "restore_user": Tenant.restore_user,
    "block_user": Tenant.block_user,
    "set_away": Tenant.set_away,
    "remove_group": Tenant.remove_group,
    "restore_group": Tenant.restore_group,
    "join_group": Tenant.join_group,
    "leave_group": Tenant.leave_group,
    "forget_sync_states": Tenant.forget_sync_states,
}


def _with_instants(arguments: Any) -> dict[str, Any]:
    """The arguments of a change: instants and durations come as text and seconds."""
    if not isinstance(arguments, dict):
        raise TypeError("expected an object of arguments")
    found = dict(arguments)
    for name in ("at", "start"):
        if isinstance(found.get(name), str):
            found[name] = _instant(found[name])
    if "duration_s" in found:
        found["duration"] = timedelta(seconds=found.pop("duration_s"))
    return found


def _instant(text: str) -> Any:
    try:
        return ticks.to_datetime(ticks.parse(text))
    except ValueError as error:
        raise ControlError(f"{text}: not an instant") from error
