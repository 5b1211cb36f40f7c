"""Caller tokens: a signed JSON Web Token (RFC 7519) in the shape of a provider's key.

HS256 alone (RFC 8725 3.1): the algorithm is pinned here, and what a token's head says of it only has to
agree. Pure but for PyJWT, which is imported where it is used: it brings OpenSSL and takes 60 ms.
"""

import importlib
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence

from awfproxy.callers.claims import ISSUER, REQUIRED, Claims, read_claims
from awfproxy.credentials.secret import Secret
from awfproxy.errors.callers import CallerTokenInvalid

LONGEST = 4096
"""Octets. As with a key, what is longer is not even looked at."""

_ALGORITHM = "HS256"
_BEGINNINGS = {"openai": "sk-awfproxy-", "anthropic": "sk-ant-awfproxy-", "copilot": "gho_awfproxy_"}
"""How each provider's clients want a key to begin; Copilot CLI takes no other for GitHub's."""

_BEGINNING = "awfproxy-"
# A signature of 256 bits: of the last character two bits mean nothing, and other values for them are refused.
_FORM = re.compile(
    rb"((?:sk-(?:ant-)?|gho_)?awfproxy[-_])"
    rb"([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"
)

_PROVIDER = re.compile(r"[a-z][a-z0-9-]{0,31}")


def prepare() -> None:
    """Imports what `read` takes: no request waits for that, and no file need be opened later."""
    importlib.import_module("jwt")


def has_form(token: bytes) -> bool:
    """Whether it could be one, whoever signed it."""
    return len(token) <= LONGEST and _FORM.fullmatch(token) is not None


def said_providers(token: bytes) -> tuple[str, ...]:
    """For whom it says to be, whoever signed it: good for telling a mistake, never for letting anyone in.

    `ValueError` where it does not say so.
    """
    form = _FORM.fullmatch(token) if len(token) <= LONGEST else None
    if form is None:
        raise ValueError("not of a token's form")
    part = form[2].split(b".")[1]
    try:
        said = json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise ValueError("what it says cannot be read") from None
    audience = said.get("aud") if isinstance(said, dict) else None
    names = [audience] if isinstance(audience, str) else audience
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and _PROVIDER.fullmatch(name) for name in names)
    ):
        raise ValueError("it does not name its providers")
    return tuple(names)


def beginning(providers: Sequence[str]) -> str:
    """Of a token for these providers; one that Copilot's client takes, every other takes too."""
    name = "copilot" if "copilot" in providers else providers[0]
    return _BEGINNINGS.get(name, _BEGINNING)


def issue(claims: Claims, key: Secret) -> str:
    """The token; `ValueError` where it would be too long."""
    import jwt

    signed: str = jwt.encode(claims.as_mapping(), key.reveal(), algorithm=_ALGORITHM)
    token = beginning(claims.providers) + signed
    if len(token) > LONGEST:
        raise ValueError(f"the token would be longer than {LONGEST} characters. Name fewer paths.")
    return token


def read(token: bytes, keys: Sequence[Secret], provider: str) -> Claims:
    """What it says, if one of the keys has signed it for that provider; else `CallerTokenInvalid`.

    Its times are not judged: that is for each request, and this may be remembered.
    """
    import jwt

    form = _FORM.fullmatch(token) if len(token) <= LONGEST else None
    if form is None:
        raise CallerTokenInvalid("not of a token's form")
    for key in keys:
        try:
            said = jwt.decode(
                form[2],
                key.reveal(),
                algorithms=[_ALGORITHM],
                audience=provider,
                issuer=ISSUER,
                options={
                    "require": list(REQUIRED),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, RecursionError) as problem:
            # Only the type: a library's text may quote the token.
            raise CallerTokenInvalid(type(problem).__name__) from None
        try:
            claims = read_claims(said)
        except ValueError as problem:
            raise CallerTokenInvalid(str(problem)) from None
        if form[1].decode("ascii") != beginning(claims.providers):
            raise CallerTokenInvalid("its beginning has been changed")
        return claims
    raise CallerTokenInvalid("no token key here has signed it")
