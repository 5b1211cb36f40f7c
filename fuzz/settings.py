"""The operator's file: settings, or a refusal that does not quote what it is about."""

from awfproxy.errors.configuration import ConfigError
from awfproxy.settings.commandline import parse
from awfproxy.settings.load import load

_KEY = "sk-proj-OPERATORS-0123456789-0123456789"
_ENVIRON = {"OPENAI_API_KEY": _KEY, "HTTPS_PROXY": "http://squid:3128"}


def settings(data: bytes) -> None:
    """A configuration file of any content."""

    def read(name: str) -> bytes:
        if name == "/etc/awfproxy.toml":
            return data
        raise FileNotFoundError(2, "No such file or directory", name)

    values = parse(["--config", "/etc/awfproxy.toml"]).values
    try:
        made = load(values, _ENVIRON, read, lambda name: 0o100600)
    except ConfigError as refusal:
        text = str(refusal)
    else:
        text = f"{made.entries}{made.warnings}"
    assert _KEY not in text
    assert text.isprintable(), "what stands in the file may not go to a terminal as it is"
