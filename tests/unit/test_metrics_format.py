"""Who gets Prometheus's text from /metrics, and who JSON."""

import pytest

from awfproxy.proxy.metricspage import asked_format
from awfproxy.wire.message import RequestHead, field

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def asked(*accept: str, target: bytes = b"/metrics") -> str:
    fields = tuple(field(b"Accept", value.encode("latin-1")) for value in accept)
    return asked_format(RequestHead(b"GET", target, b"1.1", fields))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text"),
        ("text/plain; version=0.0.4", "text"),
        ("text/plain", "text"),
        ("TEXT/PLAIN", "text"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/json;q=0.5, text/plain", "text"),
        ("application/openmetrics-text;q=0.1, text/plain", "text"),
    ],
)
def test_who_prefers_a_format_of_prometheus_gets_it(accept: str, expected: str) -> None:
    assert asked(accept) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "application/*, text/plain;q=0.9",
        "application/json, text/plain, */*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/plain;q=0",
        "text/plain;q=0.3, */*",
        "text/*",
        "text/plain, application/json",
    ],
)
def test_everyone_else_gets_json(accept: str) -> None:
    assert asked(accept) == "json"
    assert asked() == "json"


def test_members_of_several_lines_count_together() -> None:
    assert asked("application/json;q=0.2", "text/plain;q=0.4") == "text"


@pytest.mark.parametrize(
    "accept", ["text/plain;q=2", "text/plain;q=0.3.4", ";q=1", ",,,", "text", "\xff/\xff", "a/b;" * 5000]
)
def test_what_cannot_be_read_is_no_error(accept: str) -> None:
    assert asked(accept) in ("json", "text")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"?format=prometheus", "text"),
        (b"?a=b&format=prometheus", "text"),
        (b"?format=json", "json"),
        (b"?xformat=prometheus", "json"),
        (b"?format=prometheus2", "json"),
        (b"", "json"),
    ],
)
def test_query_asks_for_it_whatever_accept_says(query: bytes, expected: str) -> None:
    assert asked("*/*", target=b"/metrics" + query) == expected
    assert asked("application/json", target=b"/metrics" + query) == expected


def test_query_of_a_scraper_that_knows_openmetrics_gives_that() -> None:
    assert asked(PROMETHEUS_2, target=b"/metrics?format=prometheus") == "openmetrics"
