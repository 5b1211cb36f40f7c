"""Every way a request can fail, as exception classes that carry their own row of the error table.

A row is what the client, the operator's log, the metrics and `docs/errors.md` all show: the client's
status, a stable code, the hop that failed, whether trying again can help, one sentence, and the fix.
The row is class data, so an error has exactly one of each. The text never holds bytes from a peer
(RFC 9110 5.5: field values are not trustworthy) and never a credential: `detail` is written by
awfproxy itself, for the operator, and `public` is awfproxy's or the operator's, for the client too.
"""

from enum import Enum
from typing import ClassVar


class Hop(Enum):
    """Where on the way from the agent to the provider something failed."""

    CLIENT = "client"
    AWFPROXY = "awfproxy"
    EGRESS = "egress"
    TLS = "tls"
    ORIGIN = "origin"
    CREDENTIAL = "credential"
    CONFIGURATION = "configuration"


class AwfError(Exception):
    """Base of all our errors; a concrete class fills in its row of the table.

    `detail` adds a fact for the operator's log and for `str()`; it is ours to write and is never
    sent to the client. `public` is sent: a fact without which the client could not act, such as the
    operator's rule that refused a request. Where only `public` is given, the log has it as the detail.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    hop: ClassVar[Hop]
    retryable: ClassVar[bool] = False
    retry_after: ClassVar[int | None] = None
    """Seconds for the `Retry-After` field; small, since clients wait that long (docs: clients)."""
    sentence: ClassVar[str]
    fix: ClassVar[str]

    def __init__(self, detail: str = "", *, public: str = "") -> None:
        super().__init__(detail)
        self.detail = detail or public
        self.public = public

    @property
    def message(self) -> str:
        """What the client reads: the row's sentence and fix, and `public` behind them."""
        text = f"{self.sentence} {self.fix}"
        return f"{text} {self.public}" if self.public else text

    def __str__(self) -> str:
        return self.message if self.detail == self.public else f"{self.message} ({self.detail})"
