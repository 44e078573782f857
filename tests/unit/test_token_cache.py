"""The memory of tokens is bounded and keeps what is in use."""

from pipeline.sanitize.token_cache import TokenCache


def test_it_never_holds_more_than_its_entries() -> None:
    """Whatever is added, one at a time or in bulk, old tokens make room."""
    cache = TokenCache(entries=10)
    for number in range(100):
        cache.add({f"a{number}": "t"})
        assert len(cache) <= 10
    cache.add({f"b{number}": "t" for number in range(100)})
    assert len(cache) <= 10


def test_what_is_asked_for_stays() -> None:
    """A token used again and again outlives any number of others."""
    cache = TokenCache(entries=10)
    cache.add({"kept": "t~kept", "lost": "t~lost"})
    for number in range(100):
        cache.add({f"a{number}": "t"})
        assert cache.get(["kept", None]) == ["t~kept", None]
    assert cache.get(["lost"]) == [None]


def test_answers_come_in_the_order_of_the_question() -> None:
    """Known and unknown values, also repeated ones, each get their own answer."""
    cache = TokenCache(entries=10)
    cache.add({"a": "1", "b": "2"})
    assert cache.get(["b", "x", "a", None, "b"]) == ["2", None, "1", None, "2"]
    assert cache.get([]) == []
