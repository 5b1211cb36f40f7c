"""What the operator gave for each option, and where: the command line, the environment, or the TOML file.

Pure. A value's text is parsed here, by the option's own parser, so that each refusal names the option,
the place and the fix in the same way.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import attrs

from awfproxy.credentials.sources import ReadFile
from awfproxy.errors.configuration import ConfigError
from awfproxy.providers.builtin import BUILT_IN
from awfproxy.providers.compatible import compatible
from awfproxy.providers.provider import Provider
from awfproxy.providers.rules import Rules, parse_rules
from awfproxy.settings.commandline import did_you_mean
from awfproxy.settings.options import (
    BUILT_IN_OPTIONS,
    BY_NAME,
    PROVIDER_SETTINGS,
    CommandLineError,
    Option,
    option_of,
)
from awfproxy.settings.profile import DEFAULT as DEFAULT_PROFILE
from awfproxy.settings.profile import PROFILES, Profile
from awfproxy.settings.syntax import NotANumber, quoted

COMMAND_LINE = "command line"
DEFAULT = "default"

Arguments = Mapping[str, str | list[str] | None]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KNOWN = {provider.name: provider for provider in BUILT_IN}
_SETTINGS = {setting.name: setting for setting in PROVIDER_SETTINGS}


@attrs.frozen
class Given:
    """An option's typed value (a tuple where it is repeatable), with the place that it came from."""

    value: Any
    source: str
    warning: str = ""
    """What of the text is not taken, and why."""

    @property
    def is_default(self) -> bool:
        return self.source == DEFAULT


@attrs.frozen
class AllGiven:
    """Everything that the operator gave."""

    profile: Profile
    options: Mapping[str, Given]
    """By option name; those of the file's own providers too."""

    providers: tuple[Provider, ...]
    """The built-in ones, then the file's own in its order."""

    rules: Mapping[str, Rules]
    """By provider; only where the file has a list of them, which may be empty."""

    def __getitem__(self, name: str) -> Given:
        return self.options[name]

    def of(self, provider: Provider, setting: str) -> Given:
        """A provider's setting."""
        return self.options[provider.option(setting)]


@attrs.define
class _File:
    """What the TOML file has."""

    name: str = ""
    values: dict[str, Given] = attrs.field(factory=dict)
    providers: list[Provider] = attrs.field(factory=list)
    rules: dict[str, Rules] = attrs.field(factory=dict)


def resolve_all(arguments: Arguments, environ: Mapping[str, str], read_file: ReadFile) -> AllGiven:
    """Each option's value, from the first place that has one. The whole file is judged, used or not."""

    def resolve(option: Option, file: _File, profile: Profile) -> Given:
        return _resolve(option, arguments, environ, file, profile)

    config = resolve(BY_NAME["config"], _File(), DEFAULT_PROFILE)
    file = _File() if config.value is None else _read(config.value, config.source, read_file)
    profile = PROFILES[resolve(BY_NAME["profile"], file, DEFAULT_PROFILE).value]
    given = {name: resolve(option, file, profile) for name, option in BY_NAME.items()}
    for provider in file.providers:
        for setting in PROVIDER_SETTINGS:
            option = option_of(provider, setting)
            given[option.name] = file.values.get(option.name) or _default(option, profile)
    return AllGiven(profile, given | {"config": config}, (*BUILT_IN, *file.providers), file.rules)


def refuse(name: str, source: str, sentence: str) -> ConfigError:
    """The one form of every message about an option."""
    return ConfigError(f"--{name} ({source}): {sentence}")


def _resolve(
    option: Option, arguments: Arguments, environ: Mapping[str, str], file: _File, profile: Profile
) -> Given:
    argument = arguments.get(option.name)
    if argument is not None and argument != []:
        texts = argument if isinstance(argument, list) else [argument]
        return _parse(option, texts, COMMAND_LINE)
    if option.variable in environ:
        text = environ[option.variable]
        source = f"environment variable {option.variable}"
        return _parse(option, text.split() or [""] if option.repeatable else [text], source)
    for variable in profile.variables.get(option.name, option.known_as):
        if environ.get(variable):
            given = _shared(option, variable, environ[variable], profile)
            if given is not None:
                return given
    return file.values.get(option.name) or _default(option, profile)


def _shared(option: Option, variable: str, text: str, profile: Profile) -> Given | None:
    """A variable of another program's, as the profile reads it; None where that comes to nothing."""
    source = f"environment variable {variable}"
    reading = profile.readings.get(variable)
    if reading is None:
        return _parse(option, [text], source)
    try:
        read = reading(text)
    except ValueError as error:
        raise refuse(option.name, source, str(error)) from None
    warning = f"--{option.name} ({source}): {read.warning}" if read.warning else ""
    if read.text is None:
        return attrs.evolve(_default(option, profile), warning=warning) if warning else None
    return attrs.evolve(_parse(option, [read.text], source), warning=warning)


def _default(option: Option, profile: Profile) -> Given:
    default = profile.defaults.get(option.name, option.default)
    if default is None:
        return Given(() if option.repeatable else None, DEFAULT)
    return Given(option.parse(default), DEFAULT)


def _parse(option: Option, texts: list[str], source: str) -> Given:
    values = []
    for text in texts:
        if not text and not option.empty:
            what = "true or false" if option.switch else option.metavar
            raise refuse(option.name, source, f"its value is empty. Give {what}, or leave it out.")
        try:
            values.append(option.parse(text))
        except NotANumber as error:
            refusal = refuse(option.name, source, str(error))
            raise CommandLineError(refusal.detail) if source == COMMAND_LINE else refusal from None
        except ValueError as error:
            raise refuse(option.name, source, str(error)) from None
    return Given(tuple(values) if option.repeatable else values[-1], source)


def _read(name: str, source: str, read_file: ReadFile) -> _File:
    file = _File(name)
    for key, value in _table(name, source, read_file).items():
        if key == "providers":
            _read_providers(file, value)
            continue
        option = BY_NAME.get(key)
        if option is None or (option in BUILT_IN_OPTIONS and key not in _SETTINGS):
            raise ConfigError(
                f"{name} has a key that is no option: {quoted(key)}.{did_you_mean(key)} "
                "twistd awfproxy --help lists them all."
            )
        if not option.in_file:
            raise ConfigError(
                f"{name} sets {key}, which only the command line and the environment can. Remove it."
            )
        _put(file, option, key, value, f"{name}: {key}")
    return file


def _table(name: str, source: str, read_file: ReadFile) -> dict[str, Any]:
    try:
        content = read_file(name).decode("utf-8")
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise refuse(
            "config", source, f"{name} cannot be read: {reason}. Check its name and its mode."
        ) from None
    except UnicodeDecodeError:
        raise refuse("config", source, f"{name} is not UTF-8 text. Save it as UTF-8.") from None
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise refuse(
            "config", source, f"{name} is not TOML: {error}. Write lines such as port = 10000"
        ) from None


def _read_providers(file: _File, tables: object) -> None:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{file.name}: providers is not a table of tables. Write [providers.anthropic]")
    for name, table in tables.items():
        place = f"{file.name}: [providers.{name}]"
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{file.name} names a provider {quoted(name)}. A name has small letters, digits and dashes, "
                "at most 32, and begins with a letter."
            )
        provider = _KNOWN.get(name)
        own = dict(table)
        if provider is None:
            provider = _own_provider(name, own, place)
            file.providers.append(provider)
        if "rules" in own:
            file.rules[name] = _rules(own.pop("rules"), name, place)
        for key, value in own.items():
            setting = _SETTINGS.get("target" if key == "origin" else key)
            if setting is None:
                raise ConfigError(
                    f"{place} has a key that is no setting of a provider: {quoted(key)}. There are: "
                    f"{', '.join(_SETTINGS)} and rules."
                )
            option = option_of(provider, setting)
            if option.name in file.values:
                raise ConfigError(f"{place} {key} is given in another place of the file too. Give it once.")
            _put(file, option, key, value, f"{place} {key}")


def _own_provider(name: str, table: dict[str, Any], place: str) -> Provider:
    """A provider that only the file knows: any OpenAI-compatible origin."""
    if "origin" not in table and "target" not in table:
        raise ConfigError(
            f'{place} is no provider that awfproxy knows, and names no origin. Write origin = "HOST[:PORT]", '
            f"or one of {', '.join(_KNOWN)}."
        )
    if "port" not in table and "listen" not in table:
        raise ConfigError(f'{place} names no port. Write port = 10005, or listen = "unix:/run/{name}.sock"')
    variable = table.pop("key-variable", None)
    if variable is not None and (
        not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable)
    ):
        raise ConfigError(f"{place} key-variable is not the name of an environment variable.")
    return compatible(name, variable)


def _rules(lines: object, name: str, place: str) -> Rules:
    """What agents are told of their source does not have the file's name in it."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ConfigError(f'{place} rules is not a list of strings. Write rules = ["deny * /v1/files/**"]')
    try:
        return parse_rules(lines, f"[providers.{name}] in awfproxy's configuration")
    except ValueError as error:
        raise ConfigError(f"{place} rules, {error}") from None


def _put(file: _File, option: Option, key: str, value: object, source: str) -> None:
    file.values[option.name] = _parse(option, _texts(option, key, value, source), source)


def _texts(option: Option, key: str, value: object, source: str) -> list[str]:
    """A TOML value as the texts that the command line would have; its type has to be the option's."""
    if option.repeatable and isinstance(value, list):
        return [text for one in value for text in _texts(option, key, one, source)] or [""]
    if option.switch:
        if not isinstance(value, bool):
            raise refuse(option.name, source, f"its value is not true or false. Write {key} = true")
        return ["true" if value else "false"]
    if option.numeric:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(option.name, source, f"its value is not a number. Write {key} = {option.default}")
        return [str(value)]
    if not isinstance(value, str):
        many = f', or a list: {key} = ["..."]' if option.repeatable else ""
        raise refuse(option.name, source, f'its value is not a string. Write {key} = "..."{many}')
    return [value]
