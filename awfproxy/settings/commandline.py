"""The form of the command line, and the help, both from the table of options; `given` judges the values."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import attrs

from awfproxy.credentials.secret import KEY_BEGINNINGS
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.settings.options import (
    BY_NAME,
    EACH,
    OPTIONS,
    PROVIDER_SETTINGS,
    CommandLineError,
    Option,
    option_of,
)


@attrs.frozen
class CommandLine:
    values: dict[str, str | list[str] | None]
    """What `settings.load` takes: texts, a list for repeatable options, None for what is not there."""

    flags: frozenset[str]
    words: tuple[str, ...] = ()
    """What stands there beside the options."""


def parse(
    arguments: Sequence[str],
    flags: frozenset[str] = frozenset(("help",)),
    own: Sequence[Option] = (),
    most_words: int = 0,
) -> CommandLine:
    """`--name value` and `--name=value`. Names are whole: a `--key` must not be taken for --key-file.

    `own` are a verb's own options, beside the daemon's; `most_words` is how many words it takes beside them.
    """
    options = BY_NAME | {option.name: option for option in own}
    values: dict[str, str | list[str] | None] = {
        name: [] if option.repeatable else None for name, option in options.items()
    }
    seen = set()
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "-h":
            argument = "--help"
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("-") and len(words) < most_words:
            words.append(argument)
            continue
        if not argument.startswith("--") or not name:
            raise CommandLineError(
                "The command line has something on it that is no option. All options begin with two dashes; "
                "see --help"
            )
        if name in flags and not equals:
            seen.add(name)
            continue
        option = options.get(name)
        if option is None:
            raise CommandLineError(
                f"--{_printable(name)} is not an option.{did_you_mean(name, '--', options)} See --help"
            )
        if not equals and option.switch:
            value = "true"
        elif not equals:
            following = next(rest, None)
            if following is None:
                raise CommandLineError(f"{option.flag} needs a value: {option.usage}")
            value = following
        earlier = values[name]
        if isinstance(earlier, list):
            earlier.append(value)
        elif earlier is None:
            values[name] = value
        else:
            raise CommandLineError(f"{option.flag} is given twice. Give it once.")
    return CommandLine(values, frozenset(seen), tuple(words))


def did_you_mean(name: str, prefix: str = "", known: Iterable[str] = BY_NAME) -> str:
    if name.lower() in ("key", "api-key", "apikey", "openai-api-key", "openai_api_key", "api_key"):
        return f" A key is never given there: use {prefix}key-file, or the environment."
    close = get_close_matches(name.lower().replace("_", "-"), list(known), n=1, cutoff=0.6)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def _printable(name: str) -> str:
    return ascii(name)[1:-1] if len(name) <= 40 and not name.startswith(KEY_BEGINNINGS) else "(not shown)"


EXAMPLES = """\
Examples:
  export OPENAI_API_KEY=...                            the key stays here; agents get none
  {program} --egress-proxy http://squid:3128
  {program} --key-file /etc/awfproxy/key --egress-proxy http://squid:3128
  {program} --listen unix:/run/awfproxy/openai.sock --egress-proxy direct
  AWFPROXY_PORT=10080 {program} --config /etc/awfproxy.toml
"""

EXIT_CODES = """\
Exit codes: 64 command line, 69 no way to the provider in time, 70 awfproxy itself failed,
71 port in use, 76 TLS, 77 key rejected (1 with --probe strict), 78 configuration, a missing key, or a
destination that the egress proxy does not allow.
"""


def help_text(
    program: str = "twistd -n --pidfile= awfproxy",
    own: Sequence[Option] = (),
    ending: Sequence[str] = (EXAMPLES, EXIT_CODES),
) -> str:
    """All options in their groups, with variables and defaults, then the ending.

    A verb that has examples and exit codes of its own gives another ending.
    """
    others = ", ".join(provider.name for provider in BUILT_IN[1:])
    parts = [f"Usage: {program} [options]\n"]
    for group in dict.fromkeys(option.group for option in own):
        parts.append(f"{group}:\n" + _rows([option for option in own if option.group == group]))
    parts.append(
        f"{EACH}, by these names for OpenAI; --anthropic-port and so on for\n{others}:\n"
        + _rows(PROVIDER_SETTINGS)
    )
    for group in dict.fromkeys(option.group for option in OPTIONS):
        parts.append(f"{group}:\n" + _rows([option for option in OPTIONS if option.group == group]))
    parts.append(
        "Each option is also an environment variable (AWFPROXY_PORT for --port; several values are\n"
        "separated by spaces) and a key in the --config file (port; [providers.anthropic] port). To see\n"
        "each value, and where it is from: awfproxy check --show\n"
    )
    parts += [text.format(program=program) for text in ending]
    return "\n".join(parts)


def variables(option: Option) -> tuple[str, ...]:
    """The variables that other programs share; for a setting of providers, each provider's own."""
    if option.group != EACH:
        return option.known_as
    return tuple(name for provider in BUILT_IN for name in option_of(provider, option).known_as)


def default(option: Option) -> str:
    """The default as an operator would write it; for a setting of providers, each provider's own."""
    if option.name != "port":
        return option.default or ""
    return ", ".join(str(provider.port) for provider in BUILT_IN)


def _rows(options: Sequence[Option]) -> str:
    return "".join(line + "\n" for option in options for line in _lines(option))


def _lines(option: Option) -> Iterator[str]:
    head = f"  {option.usage}"
    text = option.help + (" May be repeated." if option.repeatable else "")
    facts = []
    if default(option):
        facts.append(f"default {default(option)}")
    shared = variables(option)
    if shared:
        facts.append("or " + ", ".join(shared))
    if facts:
        text += f" [{'; '.join(facts)}]"
    lines = textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False)
    if len(head) > 28:
        yield head
    else:
        yield f"{head:<29} {lines.pop(0)}"
    for line in lines:
        yield " " * 30 + line
