"""Which URLs a bearer token may travel to."""

import pytest

from connectors.graph.errors import Disposition, Refusal
from connectors.graph.links import Links, segments

LINKS = Links("https://graph.microsoft.com")
BASE = "https://graph.microsoft.com/v1.0"


USER = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    "link",
    [
        f"{BASE}/users('11-22')/chats/getallMessages?$skiptoken=a%2Bb%3d%27[x]%20$",
        f"{BASE}/users?$skiptoken=RFNwdAIAAQ%3d%3D&$top=999",
        "https://GRAPH.microsoft.com/v1.0/users?$skip=7",
        "https://graph.microsoft.com:443/V1.0/users?x=%27%2F",
    ],
)
def test_next_links_are_followed_byte_for_byte(link: str) -> None:
    """Neither decoded nor encoded again: the token inside would break."""
    sent = LINKS.following(link, path="users")
    assert str(sent).partition("?")[2] == link.partition("?")[2]
    assert sent.raw_path == "/" + link.split("/", 3)[3].partition("?")[0]


@pytest.mark.parametrize(
    "link",
    [
        "https://graph.microsoft.com.evil.test/v1.0/users",
        "https://evil.test/v1.0/users",
        "http://graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com:8443/v1.0/users",
        "https://graph.microsoft.com@evil.test/v1.0/users",
        "https://user:pass@graph.microsoft.com/v1.0/users",
        "https://evil.test\\@graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com\t.evil.test/v1.0/users",
        "https://graph.microsoft.com/beta/users",
        "https://graph.microsoft.com/v1.0",
        "https://graph.microsoft.com/v1.0/../beta/users",
        "https://graph.microsoft.com/v1.0/users#fragment",
        "//graph.microsoft.com/v1.0/users",
        "/v1.0/users",
        "",
        "https://[::1/v1.0/users",
        "https://graph.microsoft.com:99999/v1.0/users",
    ],
)
def test_links_that_lead_elsewhere_are_refused(link: str) -> None:
    """Another host, port, scheme, version, or a trick to get there: no token goes out."""
    with pytest.raises(Refusal) as refused:
        LINKS.following(link, path="users")
    assert refused.value.code == "foreign_next_link"
    assert "evil" not in str(refused.value)


def test_a_link_without_a_user_restarts_the_collection() -> None:
    """A known fault of the service: `users//`."""
    with pytest.raises(Refusal) as refused:
        LINKS.following(f"{BASE}/users//messages?$skip=10", path="users")
    assert refused.value.row.then is Disposition.RESTART


def test_the_metadata_marker_is_taken_out() -> None:
    """One documented link carries `$metadata#` inside its path."""
    url = LINKS.following(f"{BASE}/$metadata#communications/callRecords('1')/sessions?$skiptoken=x", path="users")
    assert str(url) == f"{BASE}/communications/callRecords('1')/sessions?$skiptoken=x"


def test_identifiers_are_percent_encoded() -> None:
    """An id is one segment, whatever it contains."""
    path = segments("users", "a/../b?c#d", "chats", "19:x_y@thread.v2")
    assert path == "users/a%2F..%2Fb%3Fc%23d/chats/19%3Ax_y%40thread.v2"
    assert str(LINKS.first(path, {})) == f"{BASE}/{path}"


def test_query_values_are_encoded_and_names_are_not() -> None:
    """`$filter` stays readable, `+`, `&` and `#` inside a value do not end it."""
    url = LINKS.first("users", {"$filter": "mail eq 'a+b&c#d'", "$top": "5"})
    assert str(url) == f"{BASE}/users?$filter=mail%20eq%20'a%2Bb%26c%23d'&$top=5"


def test_a_local_graph_may_be_plain_http() -> None:
    """For the emulator; the settings allow it on this machine only."""
    local = Links("http://127.0.0.1:8080")
    assert str(local.following("http://127.0.0.1:8080/v1.0/users?$skip=1", path="users")).endswith("$skip=1")
    with pytest.raises(Refusal):
        local.following("https://127.0.0.1:8080/v1.0/users", path="users")


@pytest.mark.parametrize(
    "path",
    [f"users('{USER}')/messages", f"USERS/{USER.upper()}/mailFolders('x')/messages", f"users('{USER}')/Messages"],
)
def test_a_link_may_spell_the_same_user_in_another_way(path: str) -> None:
    """Key syntax and casing are Graph's own business."""
    assert LINKS.following(f"{BASE}/{path}?$skip=10", path=f"users/{USER}/messages").raw_path == f"/v1.0/{path}"


@pytest.mark.parametrize(
    "path",
    [
        f"users('{OTHER}')/messages",
        "users('someone@example.test')/messages",
        f"{OTHER}/users('{USER}')/messages",
        "me/messages",
        f"users('{USER}')/../{OTHER}/messages",
        f"users('{USER}')/%2e%2e/{USER}/x",
    ],
)
def test_a_link_to_someone_elses_data_is_refused(path: str) -> None:
    """Another user or tenant behind the right host would end up under the wrong owner."""
    with pytest.raises(Refusal) as refused:
        LINKS.following(f"{BASE}/{path}?$skip=10", path=f"users/{USER}/messages")
    assert refused.value.code == "foreign_next_link"
