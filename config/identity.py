"""What makes two runs the same piece of work, so that a later command may finish an interrupted one."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any

from config.model import ConnectorName, Settings
from config.permissions import DIRECTORY
from config.secrets import Secret

_CONTEXT = b"m365-export run scope v1\n"


def run_scope_fingerprint(settings: Settings, connectors: Iterable[ConnectorName], *, salt: Secret) -> str:
    """Hexadecimal text, equal for two runs that read the same sources, of the same people, by the same rules.

    Covers connectors and their own options, the tenant, the scope, the rule options and the layout; not the
    window, and not the content of operators' rule files, which the rules fingerprint covers. Independent of
    the order in which lists are given. Keyed with the salt, because the scope may name people and a plain
    hash could be guessed.
    """
    canonical = json.dumps(_comparable(settings, connectors), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(salt.reveal(), _CONTEXT + canonical.encode(), hashlib.sha256).hexdigest()


def _comparable(settings: Settings, connectors: Iterable[ConnectorName]) -> dict[str, Any]:
    scope = settings.scope.model_dump(mode="json")
    rules = settings.privacy.model_dump(
        mode="json",
        include={"profile", "groups", "group_original", "email_canonicalization", "email_domains"},
    )
    return {
        "tenant": settings.tenant.id,
        "connectors": sorted(set(connectors)),
        "options": {name: _own_options(settings, name) for name in {DIRECTORY, *connectors}},
        "scope": {key: sorted(set(value)) if isinstance(value, list) else value for key, value in scope.items()},
        "rules": rules,
        "layout": settings.output.layout,
    }


def _own_options(settings: Settings, name: ConnectorName) -> dict[str, Any]:
    """A connector's options that change what is read; how it signs in does not."""
    options = settings.connectors.get(name)
    own = options.model_dump(mode="json", exclude={"auth"}) if options else {}
    return {key: sorted(set(value)) if isinstance(value, list) else value for key, value in own.items()}
