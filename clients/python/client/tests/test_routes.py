from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.routes import RouteFilter

HEALTH = {"method": "GET", "url": "/api/health"}
ALL = {"method": "*", "url": "*"}


@pytest.mark.parametrize(
    ("url", "path", "want"),
    [
        ("*", "/", True),
        ("/api/*", "/api/users", True),
        ("/api/*", "/api/users/7", True),
        ("/api/*", "/api", False),
        ("/api/*", "/apis/users", False),
        ("/api/users/:id", "/api/users/7", True),
        ("/api/users/{id}", "/api/users/7", True),
        ("/api/users/:id", "/api/users/7/x", False),
        ("/api/users/:id", "/api/users", False),
        ("/api/*/orders", "/api/7/orders", True),
        ("/api/*/orders", "/api/7/8/orders", False),
        ("/api/users", "/api/users/", True),
        ("/internal/*", "//internal/x", False),
        ("/internal/*", "/Internal/x", False),
        ("/", "/", True),
        ("/*", "/x", True),
    ],
)
def test_patterns(url: str, path: str, want: bool) -> None:
    assert RouteFilter([{"method": "GET", "url": url}], None).watches("GET", path) is want


def test_the_whitelist_wins_and_no_routes_means_all() -> None:
    for routes in ([ALL], [], None):
        chosen = RouteFilter(routes, [HEALTH])
        assert not chosen.watches("GET", "/api/health")
        assert not chosen.watches("HEAD", "/api/health")
        assert chosen.watches("POST", "/api/health")
        assert chosen.watches("GET", "/api/users")


def test_every_entry_counts_not_only_the_first_of_a_method() -> None:
    chosen = RouteFilter(
        [{"method": "*", "url": "/a"}, {"method": "GET", "url": "/b"}, {"method": "get", "url": "/c"}],
        [{"method": "GET", "url": "/d"}, {"method": "GET", "url": "/c"}],
    )
    assert [chosen.watches("GET", path) for path in ("/a", "/b", "/c", "/d", "/e")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not chosen.watches("POST", "/b")


@pytest.mark.parametrize(
    "option", [{}, {"url": "api"}, {"method": "GET"}, "GET /x", {"url": 3}, {"url": "/x", "x": "y"}]
)
def test_unreadable_options_say_what_to_write(option: Any) -> None:
    with pytest.raises(ValueError, match=r"'GET'|begin with"):
        RouteFilter([option], None)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_path_breaks_it(method: str, path: str) -> None:
    RouteFilter([{"method": "GET", "url": "/a/:b/*"}], [HEALTH]).watches(method, path)
