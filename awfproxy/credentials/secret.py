"""`Secret`: the one object that holds a key. It never prints."""

from hmac import compare_digest
from typing import Any, final

KEY_BEGINNINGS = ("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "AIza", "AQ.")
"""How the providers' keys begin: what stands in another option's place and begins so is not shown."""


@final
class Secret:
    """Bytes that no formatting, logging, copying or pickling shows.

    Only `reveal()` gives them out; who calls it can be found by its name. The length may be shown.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The key itself: for the injector, and nobody else."""
        return self.__value

    def __len__(self) -> int:
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self.__value, other.__value)

    def __hash__(self) -> int:
        raise TypeError("a Secret is not hashable")

    def __repr__(self) -> str:
        return f"<secret, {len(self.__value)} characters>"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not serialised")
