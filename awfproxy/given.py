"""What the operator gave for each option, and where: the command line, the environment, or the TOML file.

Pure. A value's text is parsed here, by the option's own parser, so that each refusal names the option,
the place and the fix in the same way.
"""

import tomllib
from collections.abc import Mapping
from typing import Any

import attrs

from awfproxy.commandline import did_you_mean
from awfproxy.credentials.sources import ReadFile
from awfproxy.errors import ConfigError
from awfproxy.options import BY_NAME, CommandLineError, Option
from awfproxy.providers.provider import Provider
from awfproxy.syntax import NotANumber, quoted

COMMAND_LINE = "command line"
DEFAULT = "default"

Arguments = Mapping[str, str | list[str] | None]


@attrs.frozen
class Given:
    """An option's typed value (a tuple where it is repeatable), with the place that it came from."""

    value: Any
    source: str

    @property
    def is_default(self) -> bool:
        return self.source == DEFAULT


def resolve_all(
    arguments: Arguments, environ: Mapping[str, str], provider: Provider, read_file: ReadFile
) -> dict[str, Given]:
    """Each option's value, from the first place that has one. The whole file is judged, used or not."""
    config = _resolve(BY_NAME["config"], arguments, environ, {}, provider)
    table = {} if config.value is None else _read_table(config.value, config.source, read_file)
    from_file = {
        name: _parse(BY_NAME[name], _texts(BY_NAME[name], value, source := f"{config.value}: {name}"), source)
        for name, value in table.items()
    }
    given = {
        name: _resolve(option, arguments, environ, from_file, provider) for name, option in BY_NAME.items()
    }
    return given | {"config": config}


def refuse(name: str, source: str, sentence: str) -> ConfigError:
    """The one form of every message about an option."""
    return ConfigError(f"--{name} ({source}): {sentence}")


def _resolve(
    option: Option,
    arguments: Arguments,
    environ: Mapping[str, str],
    from_file: Mapping[str, Given],
    provider: Provider,
) -> Given:
    argument = arguments.get(option.name)
    if argument is not None and argument != []:
        texts = argument if isinstance(argument, list) else [argument]
        return _parse(option, texts, COMMAND_LINE)
    if option.variable in environ:
        text = environ[option.variable]
        source = f"environment variable {option.variable}"
        return _parse(option, text.split() or [""] if option.repeatable else [text], source)
    for variable in option.shared_variables(provider):
        if environ.get(variable):
            return _parse(option, [environ[variable]], f"environment variable {variable}")
    if option.name in from_file:
        return from_file[option.name]
    if option.default is None:
        return Given(() if option.repeatable else None, DEFAULT)
    return Given(option.parse(option.default), DEFAULT)


def _parse(option: Option, texts: list[str], source: str) -> Given:
    values = []
    for text in texts:
        if not text and not option.empty:
            raise refuse(option.name, source, f"its value is empty. Give {option.metavar}, or leave it out.")
        try:
            values.append(option.parse(text))
        except NotANumber as error:
            refusal = refuse(option.name, source, str(error))
            raise CommandLineError(refusal.detail) if source == COMMAND_LINE else refusal from None
        except ValueError as error:
            raise refuse(option.name, source, str(error)) from None
    return Given(tuple(values) if option.repeatable else values[-1], source)


def _read_table(file: str, source: str, read_file: ReadFile) -> dict[str, Any]:
    try:
        content = read_file(file).decode("utf-8")
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise refuse(
            "config", source, f"{file} cannot be read: {reason}. Check its name and its mode."
        ) from None
    except UnicodeDecodeError:
        raise refuse("config", source, f"{file} is not UTF-8 text. Save it as UTF-8.") from None
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise refuse(
            "config", source, f"{file} is not TOML: {error}. Write lines such as port = 10000"
        ) from None
    for name in table:
        option = BY_NAME.get(name)
        if option is None:
            raise ConfigError(
                f"{file} has a key that is no option: {quoted(name)}.{did_you_mean(name)} "
                "twistd awfproxy --help lists them all."
            )
        if not option.in_file:
            raise ConfigError(
                f"{file} sets {name}, which only the command line and the environment can. Remove it."
            )
    return table


def _texts(option: Option, value: object, source: str) -> list[str]:
    """A TOML value as the texts that the command line would have; its type has to be the option's."""
    if option.repeatable and isinstance(value, list):
        return [text for one in value for text in _texts(option, one, source)] or [""]
    if option.numeric:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(
                option.name, source, f"its value is not a number. Write {option.name} = {option.default}"
            )
        return [str(value)]
    if not isinstance(value, str):
        many = f', or a list: {option.name} = ["..."]' if option.repeatable else ""
        raise refuse(option.name, source, f'its value is not a string. Write {option.name} = "..."{many}')
    return [value]
