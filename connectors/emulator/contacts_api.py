"""Endpoints of address books: the contacts of the default folder, of other folders, and the folders.

https://learn.microsoft.com/graph/api/user-list-contacts, .../user-list-contactfolders and
.../contactfolder-list-childfolders (checked 2026-11).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.contacts import CONTACT, DEFAULT, render_folder
from connectors.emulator.errors import GraphError, bad_query
from connectors.emulator.filters import holds
from connectors.emulator.outlook_api import mailbox, page_size
from connectors.emulator.people import Person
from connectors.emulator.shapes import UnknownProperty


def list_contacts(call: Call) -> Reply:
    """GET /users/{id}/contacts and .../contactFolders/{folder}/contacts."""
    refuse_options(call, "$search", "$expand")
    owner = mailbox(call)
    folder = _folder(call, owner) if "folder" in call.keys else DEFAULT
    context, condition = call.tenant.contact_context(immutable_ids=call.wants_immutable_ids), call.filter
    try:
        selection = CONTACT.selection(call.select)
        contacts = [
            contact
            for contact in call.tenant.contacts.of(owner, folder)
            if condition is None or holds(condition, CONTACT.lookup(contact, context))
        ]
        for path, descending in reversed(call.order):
            contacts.sort(key=lambda contact: str(CONTACT.value(contact, context, path)), reverse=descending)
    except UnknownProperty as error:
        raise bad_query(str(error), code="RequestBroker--ParseUri") from error

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (CONTACT.render(contact, context, selection) for contact in contacts[start:])

    return Reply(page=call.page_of(walk, length=len(contacts), size=page_size(call)))


def list_contact_folders(call: Call) -> Reply:
    """GET /users/{id}/contactFolders and .../{folder}/childFolders."""
    owner = mailbox(call)
    parent = _folder(call, owner) if "folder" in call.keys else DEFAULT
    nested = "folder" in call.keys and parent == DEFAULT  # as a child of itself the default folder never comes
    contacts = call.tenant.contacts
    folders = [each for each in contacts.folders(owner, parent) if not (nested and each.name == DEFAULT)]

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (render_folder(contacts, folder, owner) for folder in folders[start:])

    return Reply(page=call.page_of(walk, length=len(folders), size=page_size(call)))


def _folder(call: Call, owner: Person) -> str:
    folder = call.tenant.contacts.find_folder(owner, call.keys["folder"])
    if folder is None:
        raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    return folder
