"""/reflect: the sidecar's keys, each with what is true of it, on every port and from memory."""

import json

import pytest

from awfproxy.credentials.secret import Secret
from awfproxy.credentials.store import CredentialStore, InForce
from awfproxy.observe.health import Health
from awfproxy.observe.metrics import Metrics
from awfproxy.observe.models import ModelLists
from awfproxy.observe.part import PagePart
from awfproxy.providers.anthropic import PROVIDER as ANTHROPIC
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.compatible import compatible
from awfproxy.providers.openai import PROVIDER as OPENAI
from awfproxy.providers.provider import Asked
from awfproxy.proxy.pages import LocalPages
from awfproxy.wire.message import RequestHead
from awfproxy.wire.target import Origin
from tests.memory.peers import get, responses

LOCAL = compatible("local")


def reflect(house, target=b"/reflect", method=b"GET"):
    client = house.client()
    client.deliver(get(target, method=method))
    ((status, fields, content),) = responses(client.received)
    assert (status, fields[b"content-type"]) == (200, b"application/json")
    return content


def endpoints(content):
    return {endpoint["provider"]: endpoint for endpoint in content["endpoints"]}


class World:
    """The pages of a process that serves these, of which these have keys; all others are not configured."""

    def __init__(self, house, *served, keys=None, host=None, unix=()):
        self.models = ModelLists()
        asked = {LOCAL: Asked(target=Origin("localhost"), base_path=b"/api")}
        parts = tuple(
            PagePart(one, one.access(asked.get(one, Asked())), Health(lambda: 0.0, True), Metrics(),
                     house.pool)
            for one in served
        )  # fmt: skip
        ports = {one.name: 20000 + index for index, one in enumerate(served) if one.name not in unix}
        names = [one.name for one in served] if keys is None else keys
        self.pages = LocalPages(
            prefix="",
            egress="direct",
            parts=parts,
            credentials=CredentialStore({name: InForce((Secret(b"k" * 20),)) for name in names}),
            process=house.process,
            models=self.models,
            place=lambda name: ("127.0.0.1", ports[name]) if name in ports else None,
            host=host,
        )

    def content(self, provider=None):
        page = self.pages.by_path(provider or self.pages.parts[0].provider)[b"/reflect"]
        return json.loads(page(RequestHead(b"GET", b"/reflect", b"1.1", ())).content)

    def endpoint(self, name):
        return endpoints(self.content())[name]


@pytest.mark.parametrize("target", [b"/reflect", b"/reflect?", b"/reflect?x=1"])
def test_get_and_head_are_answered_with_or_without_a_query(house, target):
    assert json.loads(reflect(house, target))["endpoints"]
    client = house.client()
    client.deliver(get(target, method=b"HEAD"))
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.received.endswith(b"\r\n\r\n")
    assert house.endpoint.attempts == []


def test_it_answers_while_all_tunnels_hang(build):
    house = build(automatic=False)
    house.client().deliver(get())
    assert json.loads(reflect(house))["endpoints"]


def test_what_awfproxy_does_not_do_is_there_and_off(house):
    content = json.loads(reflect(house))
    del content["endpoints"]
    fallback = {"enabled": False, "strategy": "middle_power", "excludeEngines": []}
    assert content == {
        "models_fetch_complete": False,
        "model_aliases": None,
        "model_fallback": fallback,
        "model_fallback_effective": {one.name: {**fallback, "suppressed": False} for one in BUILT_IN},
        "ai_credits": {"total": 0, "by_model": {}},
        "effective_tokens": {
            "enabled": False,
            "max_effective_tokens": None,
            "total_effective_tokens": 0,
            "remaining_effective_tokens": None,
        },
        "runs": {"enabled": False, "max_runs": None, "invocation_count": 0, "remaining_runs": None},
        "cache_misses": {
            "enabled": False,
            "max_cache_misses": None,
            "consecutive_cache_misses": 0,
            "remaining_cache_misses": None,
        },
        "permission_denied": {"enabled": False, "max_permission_denied": None, "denied_count": 0},
        "model_api_mapping": {
            "available": False,
            "last_updated": None,
            "providers": [],
            "models": [],
            "error": None,
        },
    }


def test_the_word_that_a_smoke_test_greps_for_is_in_it(house):
    assert b'"providers":' in reflect(house)


def test_served_provider_is_told_with_its_address_and_its_list_of_models(house):
    assert World(house, OPENAI, ANTHROPIC).endpoint("anthropic") == {
        "provider": "anthropic",
        "port": 20001,
        "base_url": "http://127.0.0.1:20001",
        "configured": True,
        "auth_type": "static",
        "models": None,
        "model_metadata": None,
        "models_url": "http://127.0.0.1:20001/v1/models",
    }


def test_built_in_provider_without_a_key_is_listed_as_not_configured(house):
    assert World(house, OPENAI).endpoint("gemini") == {
        "provider": "gemini",
        "port": 10003,
        "base_url": None,
        "configured": False,
        "auth_type": None,
        "models": None,
        "model_metadata": None,
        "models_url": None,
    }


def test_all_built_in_ones_come_first_in_the_order_of_their_ports_and_added_ones_after_them(house):
    content = World(house, ANTHROPIC, LOCAL).content()
    assert [endpoint["provider"] for endpoint in content["endpoints"]] == [
        "openai", "anthropic", "copilot", "gemini", "vertex", "local"
    ]  # fmt: skip


def test_every_port_says_the_same(house):
    world = World(house, OPENAI, ANTHROPIC)
    assert world.content(OPENAI) == world.content(ANTHROPIC)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai", "/v1/models"),
        ("anthropic", "/v1/models"),
        ("copilot", "/models"),
        ("gemini", "/v1beta/models"),
        ("vertex", None),
        ("local", "/api/models"),
    ],
)
def test_url_of_the_models_is_one_that_a_client_can_ask_here(house, name, path):
    endpoint = World(house, *BUILT_IN, LOCAL).endpoint(name)
    assert endpoint["models_url"] == (None if path is None else endpoint["base_url"] + path)


@pytest.mark.parametrize("base_path", [b"", b"/v1", b"/openai/v1"])
def test_url_of_openais_models_follows_the_base_path(base_path):
    access = OPENAI.access(Asked(base_path=base_path))
    assert access.models == (b"/models" if base_path else b"/v1/models")


def test_where_the_name_is_a_contract_it_is_used_for_every_port(house):
    world = World(house, *BUILT_IN, keys=["openai"], host="api-proxy")
    assert world.endpoint("openai")["base_url"] == "http://api-proxy:20000"
    assert world.endpoint("copilot")["base_url"] == "http://api-proxy:20002"
    assert world.endpoint("copilot")["models_url"] == "http://api-proxy:20002/models"
    assert (world.endpoint("copilot")["configured"], world.endpoint("openai")["configured"]) == (False, True)


def test_key_that_a_reload_brings_makes_it_configured(house):
    world = World(house, OPENAI, ANTHROPIC, keys=[])
    assert world.endpoint("openai")["configured"] is False
    world.pages.credentials.replace({"openai": InForce((Secret(b"k" * 20),))})
    assert world.endpoint("openai")["configured"] is True


def test_unix_socket_has_neither_port_nor_url(house):
    endpoint = World(house, LOCAL, unix=["local"]).endpoint("local")
    assert (endpoint["port"], endpoint["base_url"], endpoint["models_url"]) == (None, None, None)
    assert endpoint["configured"] is True


def test_lists_of_models_are_shown_once_they_are_known(house):
    world = World(house, OPENAI, ANTHROPIC)
    world.models.lists["openai"] = ("gpt-5.2", "gpt-5.2-mini")
    world.models.metadata["openai"] = {"gpt-5.2": {"vendor": "OpenAI"}}
    world.models.complete = True
    content = world.content()
    assert content["models_fetch_complete"] is True
    assert endpoints(content)["openai"]["models"] == ["gpt-5.2", "gpt-5.2-mini"]
    assert endpoints(content)["openai"]["model_metadata"] == {"gpt-5.2": {"vendor": "OpenAI"}}
    assert endpoints(content)["anthropic"]["models"] is None


def test_no_key_is_in_it(house, canary):
    assert (canary.encode() in reflect(house)) is False
