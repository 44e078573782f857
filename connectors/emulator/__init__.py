"""A Microsoft 365 tenant on localhost, for demonstrations and tests. Imports nothing of the client."""

from connectors.emulator.apps import ALL_ROLES, AppRegistration
from connectors.emulator.faults import Body, Effect, Fault, FaultError, Faults, load_faults
from connectors.emulator.profile import MailboxKind, TenantProfile
from connectors.emulator.server import Emulator, serve
from connectors.emulator.teams import TeamKind
from connectors.emulator.tenant import Tenant
from connectors.emulator.words import MARKER

__all__ = [
    "ALL_ROLES",
    "MARKER",
    "AppRegistration",
    "Body",
    "Effect",
    "Emulator",
    "Fault",
    "FaultError",
    "Faults",
    "MailboxKind",
    "TeamKind",
    "Tenant",
    "TenantProfile",
    "load_faults",
    "serve",
]
