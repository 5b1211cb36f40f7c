"""`Claims`: what a caller token says: whose it is, for which providers, until when, for what. Pure.

A claim that is not known is refused, not ignored: it may be a restriction that another version knows.
"""

import re
from collections.abc import Mapping

import attrs

from awfproxy.errors.callers import CallerTokenScope
from awfproxy.providers.rules import NO_RULES, Rules, parse_rules

ISSUER = "awfproxy/1"
"""Says what the claims mean: tokens of a later form will have another."""

REQUIRED = ("iss", "aud", "sub", "iat", "exp")
_KNOWN = frozenset({*REQUIRED, "nbf", "methods", "paths"})

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}")
_SHOWN = 5
"""So many of a token's rules are named where it does not cover a request."""


@attrs.frozen
class Claims:
    """Made by whoever issues a token, and by `read_claims`; raises `ValueError` with what cannot be so."""

    label: str = attrs.field()
    """In logs, metrics and the list of revoked ones."""

    providers: tuple[str, ...] = attrs.field()
    issued: int
    expires: int
    """As all times here in seconds since the epoch; the first second in which it is good no more."""

    methods: tuple[str, ...] = ()
    """None for any."""

    paths: tuple[str, ...] = ()
    """Patterns, as in path rules (docs/rules.md); none for any."""

    not_before: int | None = None
    rules: Rules = attrs.field(init=False, eq=False, repr=False)

    @label.validator
    def _check_label(self, _: object, label: str) -> None:
        check_label(label)

    @providers.validator
    def _check_providers(self, _: object, providers: tuple[str, ...]) -> None:
        if not providers:
            raise ValueError("it is for no provider.")

    @rules.default
    def _made_of_methods_and_paths(self) -> Rules:
        if not self.methods and not self.paths:
            return NO_RULES
        methods = ",".join(self.methods) or "*"
        return parse_rules([f"allow {methods} {path}" for path in self.paths or ("/**",)], "the caller token")

    def enforce(self, method: bytes, target: bytes, names: list[bytes]) -> None:
        """Raises `CallerTokenScope`, or `AmbiguousTarget`; parameters as of `Rules.judge`."""
        if self.rules and not self.rules.judge(method, target, names).allowed:
            covered = [rule.text.removeprefix("allow ") for rule in self.rules.rules]
            more = f", and {len(covered) - _SHOWN} more" if len(covered) > _SHOWN else ""
            raise CallerTokenScope(public=f"It covers {', '.join(covered[:_SHOWN])}{more}.")

    def as_mapping(self) -> dict[str, object]:
        """As they stand in a token."""
        said: dict[str, object] = {
            "iss": ISSUER,
            "aud": list(self.providers),
            "sub": self.label,
            "iat": self.issued,
            "exp": self.expires,
        }
        if self.not_before is not None:
            said["nbf"] = self.not_before
        if self.methods:
            said["methods"] = list(self.methods)
        if self.paths:
            said["paths"] = list(self.paths)
        return said


def read_claims(said: Mapping[str, object]) -> Claims:
    """What a token says, whoever signed it; `ValueError` where it is not of this form."""
    if not _KNOWN.issuperset(said):
        raise ValueError("it has a claim that is not known here.")
    if said.get("iss") != ISSUER:
        raise ValueError("it is of another form, or for another program (iss).")
    audience, label = said.get("aud"), said.get("sub")
    if not isinstance(label, str):
        raise ValueError("its label (sub) is not text.")
    return Claims(
        label=label,
        providers=_texts([audience] if isinstance(audience, str) else audience, "aud"),
        issued=_time(said.get("iat"), "iat"),
        expires=_time(said.get("exp"), "exp"),
        methods=_texts(said["methods"], "methods") if "methods" in said else (),
        paths=_texts(said["paths"], "paths") if "paths" in said else (),
        not_before=_time(said["nbf"], "nbf") if "nbf" in said else None,
    )


def check_label(label: str) -> str:
    """The label, or `ValueError` with its form: it goes into logs and metrics as it is."""
    if not _LABEL.fullmatch(label):
        raise ValueError(
            "a label has letters, digits and . _ : @ -, at most 64, and begins with a letter or digit."
        )
    return label


def _texts(value: object, name: str) -> tuple[str, ...]:
    """Never none at all: to take an empty list for "any" would widen what was to be narrowed."""
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"its {name} is not a list of texts.")
    return tuple(value)


def _time(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise ValueError(f"its {name} is not a time in whole seconds.")
    return value
