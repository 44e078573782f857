"""Secrets: always named by a reference, read once, never shown.

A settings file holds references (`env:NAME`, `file:PATH`, `aws-ssm:NAME`, `aws-secretsmanager:NAME`,
`gcp-secret:RESOURCE`); the value itself in that place is refused without repeating it. What a reference
leads to is taken byte for byte: nothing is trimmed, because a salt that differs in one byte makes different
pseudonyms.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn, SupportsIndex, cast

from config.defaults import SALT_CHARACTERS_MIN, SALT_DISTINCT_CHARACTERS_MIN

SecretKind = Literal["env", "file", "aws-ssm", "aws-secretsmanager", "gcp-secret"]

_LOCATORS: Mapping[SecretKind, re.Pattern[str]] = MappingProxyType(
    {
        "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
        "file": re.compile(r"[^\x00\r\n]+"),
        "aws-ssm": re.compile(r"[A-Za-z0-9_.:/-]+"),
        "aws-secretsmanager": re.compile(r"[A-Za-z0-9/_+=.@:-]+"),
        "gcp-secret": re.compile(r"projects/[^/\s]+(?:/locations/[^/\s]+)?/secrets/[^/\s]+(?:/versions/[^/\s]+)?"),
    }
)
_NOT_A_REFERENCE = (
    "a secret is given as a reference (env:NAME, file:PATH, aws-ssm:NAME, aws-secretsmanager:NAME, "
    "gcp-secret:projects/P/secrets/S), never as the value itself"
)

_WEAK_SALT_HINT = "privacy.allow_weak_salt accepts it anyway"

Source = Callable[[str], bytes]  # from a locator to the bytes it leads to; raises SecretUnavailableError


class SecretUnavailableError(Exception):
    """A reference leads nowhere. The text says why; it never holds what was or might have been read."""


class Secret:
    """Bytes that show themselves only when asked.

    Compared by identity, so that no comparison can be used to guess; refuses to be pickled or copied, so
    that it does not reach a file or another process by accident.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The bytes as they were read."""
        return self.__value

    def reveal_text(self) -> str:
        """The bytes as UTF-8 text. ValueError, without the bytes, when they are none."""
        try:
            return self.__value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("this secret is not UTF-8 text") from None  # the original error holds the bytes

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept. Not secret itself: it may be printed."""

    kind: SecretKind
    locator: str

    @classmethod
    def parse(cls, text: str, *, base_dir: Path | None = None) -> "SecretReference":
        """The reference `text` spells; a relative `file:` path is taken from `base_dir`.

        Raises ValueError, whose text never repeats `text`: it may be the secret.
        """
        kind, _, locator = text.partition(":")
        pattern = _LOCATORS.get(cast("SecretKind", kind))
        if pattern is None:
            raise ValueError(_NOT_A_REFERENCE)
        if not pattern.fullmatch(locator):
            raise ValueError(f"what follows {kind}: is not a name it can have")
        if kind == "file" and base_dir is not None:
            locator = str(base_dir / locator)
        return cls(kind=cast("SecretKind", kind), locator=locator)

    def __str__(self) -> str:
        """The reference as it is written in the settings."""
        return f"{self.kind}:{self.locator}"


class SecretReader:
    """Reads secrets, each once. Blocking: for start-up, or for a thread."""

    def __init__(self, *, environ: Mapping[str, str], sources: Mapping[SecretKind, Source] | None = None) -> None:
        """`environ` answers `env:`; `sources` replaces what answers the other kinds."""
        self._sources: dict[SecretKind, Source] = {
            "env": lambda name: _from_environment(environ, name),
            "file": _from_file,
            "aws-ssm": _from_ssm,
            "aws-secretsmanager": _from_secrets_manager,
            "gcp-secret": _from_gcp,
            **(sources or {}),
        }
        self._read: dict[SecretReference, Secret] = {}

    def read(self, reference: SecretReference) -> Secret:
        """The secret `reference` names, from memory after the first time. Raises SecretUnavailableError."""
        if reference not in self._read:
            value = self._sources[reference.kind](reference.locator)
            if not value:
                raise SecretUnavailableError(f"{reference} is empty")
            self._read[reference] = Secret(value)
        return self._read[reference]


def check_salt(salt_text: str, *, allow_weak: bool) -> str | None:
    """What is wrong with a salt, or None. The answer holds nothing of the salt."""
    if salt_text.endswith(("\n", "\r")):
        return (
            "the salt ends with a newline, which would become part of every pseudonym; store it without one "
            "(printf '%s' instead of echo)"
        )
    if allow_weak:
        return None
    if len(salt_text) < SALT_CHARACTERS_MIN:
        return f"the salt is shorter than {SALT_CHARACTERS_MIN} characters; {_WEAK_SALT_HINT}"
    if len(set(salt_text)) < SALT_DISTINCT_CHARACTERS_MIN:
        return f"the salt has fewer than {SALT_DISTINCT_CHARACTERS_MIN} distinct characters; {_WEAK_SALT_HINT}"
    return None


def _from_environment(environ: Mapping[str, str], name: str) -> bytes:
    if name not in environ:
        raise SecretUnavailableError(f"the environment variable {name} is not set")
    return environ[name].encode("utf-8", "surrogateescape")  # how Python carries bytes that are no UTF-8


def _from_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SecretUnavailableError(f"cannot read {path}: {error.strerror}") from None


# The clouds' packages are optional and slow to load, hence imported by the first reference that needs them.


def _from_ssm(name: str) -> bytes:
    from config.cloud_secrets import read_ssm_parameter  # noqa: PLC0415 - see above

    return read_ssm_parameter(name)


def _from_secrets_manager(name: str) -> bytes:
    from config.cloud_secrets import read_secrets_manager  # noqa: PLC0415 - see above

    return read_secrets_manager(name)


def _from_gcp(resource: str) -> bytes:
    from config.cloud_secrets import read_gcp_secret  # noqa: PLC0415 - see above

    return read_gcp_secret(resource)
