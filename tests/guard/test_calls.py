"""Calls of Python and C functions per request, event and connection, in plain Python: always as many."""

import pytest

from tests.guard.bound import Bound, check, counted

# A call more fails. Measured with Python 3.11; later versions make up to a twentieth fewer of the same code.
BOUNDS = {
    "request": Bound(308.25, 308.75),
    "event": Bound(38.02, 38.6),
    "connection": Bound(357.25, 357.75),
}
# Where the calls of a request were when the bound was set (measured; not bounds), to name what grew.
REQUEST = {
    "credentials/injector": 24, "credentials/secret": 1, "credentials/store": 2, "observe/accesslog": 21,
    "observe/health": 2, "observe/leakguard": 7, "observe/logs": 10, "observe/logstream": 1,
    "observe/metrics": 10, "providers/provider": 1, "providers/rules": 1, "proxy/admission": 8,
    "proxy/channel": 15, "proxy/exchange": 14, "proxy/request": 10, "proxy/resource": 2, "proxy/site": 1,
    "transports": 7, "twisted": 10, "upstream/connection": 7, "upstream/pool": 8, "wire/framing": 33,
    "wire/message": 57, "wire/parser": 46, "wire/target": 10,
}  # fmt: skip
LOOK = (
    "Every request takes this way. Raise the bound if what was added is worth it, else find a cheaper way."
)


@pytest.fixture(scope="module")
def calls() -> dict[str, dict[str, float]]:
    return counted("calls")


@pytest.mark.parametrize("unit", BOUNDS)
def test_calls_per(unit: str, calls: dict[str, dict[str, float]]) -> None:
    by_module = calls[unit]
    total = round(sum(by_module.values()), 2)
    shown = ", ".join(f"{module} {count:g}" for module, count in by_module.items())
    look = f"By module: {shown}. {LOOK}"
    if unit == "request":
        names = sorted({*by_module, *REQUEST})
        pairs = [(name, REQUEST.get(name, 0), round(by_module.get(name, 0))) for name in names]
        grown = ", ".join(f"{name} from {was} to {now}" for name, was, now in pairs if was != now)
        look = f"By module: {grown or 'as before'}. {LOOK}"
        print(f"REQUEST = {dict((name, now) for name, _, now in pairs if now)}")
    check(f"calls per {unit}", {unit: total}, {unit: BOUNDS[unit]}, look)
