"""Any further origin with an OpenAI-compatible API, known from the configuration file alone."""

from awfproxy.providers.openai import END_MARKERS, error_body
from awfproxy.providers.provider import (
    Access,
    Asked,
    KeyUse,
    ProbeRequest,
    Provider,
    Trial,
    bare_key,
    bearer,
    chat_completion,
)


def compatible(name: str, variable: str | None = None) -> Provider:
    """The provider that `[providers.NAME]` stands for; its key's variable is NAME_API_KEY unless given.

    Its `access` raises `ValueError` where the operator has set no origin: there is no usual one.
    """
    word = name.replace("-", "_")
    key_variable = variable or f"{word.upper()}_API_KEY"
    credential_name = f"{word}_api_key"

    def access(asked: Asked) -> Access:
        if asked.target is None:
            raise ValueError('it names no origin. Write origin = "HOST[:PORT]" in the configuration file.')
        inject = bearer if asked.auth_field is None else bare_key(asked.auth_field)
        return Access(
            origin=asked.target,
            base_path=asked.base_path or b"",
            keys=(KeyUse(key_variable, credential_name, inject),),
            models=b"/models",
        )

    return Provider(
        name=name,
        title=name,
        host="",
        port=0,
        variable=key_variable,
        target_variable=None,
        base_path_variable=None,
        auth_field_variable=None,
        credential_name=credential_name,
        access=access,
        probe=ProbeRequest(b"/models"),
        restricted_words=(),
        end_markers=END_MARKERS,
        error_body=error_body,
        trial=Trial(None, chat_completion(16)),
        from_file=True,
    )
