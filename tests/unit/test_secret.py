"""`Secret` prints nowhere, and the store swaps credentials as a whole."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from io import StringIO
from typing import Any

import attrs
import pytest
from twisted.logger import LogLevel, eventAsJSON, eventAsText, formatEvent
from twisted.python.failure import Failure

from awfproxy.credentials.secret import KEY_BEGINNINGS, Secret
from awfproxy.credentials.store import CredentialStore
from awfproxy.settings.commandline import parse
from awfproxy.settings.options import CommandLineError
from awfproxy.settings.syntax import port
from tests.kit.canary import Watch


@attrs.frozen
class Holder:
    name: str
    key: Secret


class HolderOfASlot:
    def __init__(self, key: Secret) -> None:
        self.key = key


def through_logging(secret: Secret) -> str:
    stream = StringIO()
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(stream))
    logger.debug("%s %r %s", secret, secret, [secret], extra={"key": secret})
    return stream.getvalue()


def log_event(secret: Secret) -> dict[str, Any]:
    return {
        "log_format": "{secret} {secret!r} {secret!s:>80} {held} {nested}",
        "log_level": LogLevel.info,
        "log_namespace": "x",
        "log_time": 0.0,
        "secret": secret,
        "held": Holder("openai", secret),
        "nested": {"a": [secret]},
    }


def failure(secret: Secret) -> Failure:
    """Locals included, as under --debug."""
    try:
        raise ValueError(secret)
    except ValueError:
        return Failure(captureVars=True)


def traceback_with_locals(secret: Secret) -> str:
    try:
        raise ValueError(f"cannot use {secret}", secret)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


WAYS: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "format with a width": lambda secret: format(secret, ">100"),
    "str.format": lambda secret: "{} {!r} {!s} {:100}".format(secret, secret, secret, secret),  # noqa: UP032
    "f-string": lambda secret: f"{secret} {secret!r} {secret!s:>100} {secret=}",
    "percent": lambda secret: "%s %r %a" % (secret, secret, secret),  # noqa: UP031
    "list": lambda secret: str([secret]),
    "dictionary": lambda secret: str({"key": secret}),
    "attrs": lambda secret: repr(Holder("openai", secret)),
    "attrs as a dictionary": lambda secret: repr(attrs.asdict(Holder("openai", secret))),
    "vars": lambda secret: repr(vars(HolderOfASlot(secret))),
    "pprint": lambda secret: pprint.pformat([Holder("openai", secret), secret]),
    "json by str": lambda secret: json.dumps({"key": secret}, default=str),
    "json by repr": lambda secret: json.dumps({"key": secret}, default=repr),
    "exception": lambda secret: repr(ValueError(secret)) + str(ValueError(secret)),
    "traceback with locals": traceback_with_locals,
    "logging": through_logging,
    "Twisted's log, formatted": lambda secret: formatEvent(log_event(secret)),
    "Twisted's log as text": lambda secret: eventAsText(log_event(secret)),
    "Twisted's log as JSON": lambda secret: eventAsJSON(log_event(secret)),
    "Twisted's failure": lambda secret: failure(secret).getTraceback(detail="verbose"),
    "Twisted's failure, brief": lambda secret: failure(secret).getBriefTraceback() + repr(failure(secret)),
    "docstring and names": lambda secret: " ".join(dir(secret)) + str(type(secret).__doc__),
}


@pytest.mark.parametrize("way", WAYS)
def test_secret_is_not_shown_by(way: str, canary: str) -> None:
    text = WAYS[way](Secret(canary.encode()))
    assert text
    watch = Watch(canary)
    watch.add(way, text)
    assert watch.findings() == []


REFUSED: dict[str, Callable[[Secret], object]] = {
    "json": lambda secret: json.dumps({"key": secret}),
    "pickle": pickle.dumps,
    "pickle, first protocol": lambda secret: pickle.dumps(secret, 0),
    "pickle of a holder": lambda secret: pickle.dumps(HolderOfASlot(secret)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a holder": lambda secret: copy.deepcopy(HolderOfASlot(secret)),
    "bytes": bytes,  # type: ignore[dict-item]
    "list": list,  # type: ignore[dict-item]
    "join": lambda secret: b"".join(secret),  # type: ignore[arg-type]
    "concatenation": lambda secret: b"Bearer " + secret,  # type: ignore[operator]
    "index": lambda secret: secret[0],  # type: ignore[index]
    "vars": vars,
    "hash": hash,
}


@pytest.mark.parametrize("way", REFUSED)
def test_secret_refuses(way: str, canary: str) -> None:
    with pytest.raises(TypeError) as caught:
        REFUSED[way](Secret(canary.encode()))
    watch = Watch(canary)
    watch.add(way, str(caught.value))
    assert watch.findings() == []


def test_only_reveal_and_length_give_anything_away(canary: str) -> None:
    secret = Secret(canary.encode())
    assert (secret.reveal() == canary.encode()) is True
    assert len(secret) == len(canary)
    assert str(secret) == repr(secret) == f"{secret:x}" == f"<secret, {len(canary)} characters>"


def test_secrets_are_compared_by_value_and_with_nothing_else(canary: str) -> None:
    assert Secret(canary.encode()) == Secret(canary.encode())
    assert Secret(canary.encode()) != Secret(canary.encode() + b"x")
    assert (Secret(canary.encode()) == canary.encode()) is False


def test_secret_cannot_be_given_another_value(canary: str) -> None:
    secret = Secret(canary.encode())
    with pytest.raises(AttributeError):
        secret.value = b"other"  # type: ignore[attr-defined]


# --- the store --------------------------------------------------------------------------------------


def test_store_gives_each_provider_its_own_and_nothing_for_others() -> None:
    one, two = Secret(b"one"), Secret(b"two")
    store = CredentialStore({"openai": one, "other": two})
    assert store.current("openai") is one
    assert store.current("other") is two
    assert store.current("absent") is None


def test_store_is_replaced_as_a_whole() -> None:
    store = CredentialStore({"openai": Secret(b"one"), "other": Secret(b"two")})
    new = Secret(b"new")
    store.replace({"openai": new})
    assert store.current("openai") is new
    assert store.current("other") is None


def test_store_does_not_follow_changes_of_the_mapping_it_was_given() -> None:
    given = {"openai": Secret(b"one")}
    store = CredentialStore(given)
    given.clear()
    assert store.current("openai") is not None
    store.replace(given)
    given["openai"] = Secret(b"two")
    assert store.current("openai") is None


def test_store_shows_no_key(canary: str) -> None:
    watch = Watch(canary)
    store = CredentialStore({"openai": Secret(canary.encode())})
    watch.add("store", repr(store) + repr(vars(store)))
    assert watch.findings() == []


@pytest.mark.parametrize("beginning", KEY_BEGINNINGS)
def test_key_of_any_provider_in_place_of_another_value_is_not_shown(beginning: str) -> None:
    """A number, a name of an option, a word of the command line: each refusal says what it was given."""
    key = beginning + "Zb4kq7Xw"
    with pytest.raises(ValueError, match="not a whole number") as value:
        port(key)
    with pytest.raises(CommandLineError) as option:
        parse([f"--{key}"])
    for caught in value, option:
        assert "Zb4kq7Xw" not in str(caught.value)
