"""The composition: what is built once for a process, however many providers it has."""

import ssl

from twisted.internet.task import Clock

from awfproxy import daemon
from awfproxy.credentials.sources import mode_of, read_file
from awfproxy.observe.logs import LogWriter
from awfproxy.settings.commandline import parse
from awfproxy.settings.load import load

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COPILOT_GITHUB_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY")


class Reactor(Clock):
    """One that never runs."""

    def callWhenRunning(self, *_, **__):
        pass


def test_five_providers_read_the_trusted_roots_once(canary, monkeypatch):
    read = []
    load_roots = ssl.SSLContext.load_default_certs

    def counting(context, *purpose):
        read.append(context)
        load_roots(context, *purpose)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", counting)
    environ = {"HTTPS_PROXY": "http://squid:3128", **dict.fromkeys(KEYS, canary)}
    settings = load(parse(()).values, environ, read_file, mode_of)
    assert len(settings.providers) == len(KEYS)
    daemon.make_services(Reactor(), settings, {}, LogWriter("json", None))
    assert len(read) == 1
