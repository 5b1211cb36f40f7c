"""`Health`: would a request now succeed? Plain state, told by those who know, read by pages and systemd.

It does no I/O, owns no timer and cannot fail: the pool and the probe tell it what happened to each
tunnel, the probe tells it each verdict, the exchange tells it each success.
"""

from collections.abc import Callable

from awfproxy.credentials.verdict import Accepted, CannotTell, Rejected, Unverified, Verdict
from awfproxy.credentials.verdict import key_state as _key_state
from awfproxy.errors.base import AwfError


class Health:
    """One per process. `reason()` is the whole truth of readiness; the attributes are for showing."""

    def __init__(self, wall_clock: Callable[[], float], probing: bool) -> None:
        """`wall_clock` gives seconds since the epoch: these times are shown, never compared. `probing`: the
        key gets checked at all; if not, an unchecked key does not stand in the way."""
        self._wall_clock = wall_clock
        self._probing = probing
        self.verdict: Verdict | None = None
        """The last word on the key; None before the first."""
        self.checked_at: float | None = None
        self.egress_state = "unknown"
        """How the last tunnel attempt ended: `unknown`, `ok` or `failing`."""
        self.egress_error: AwfError | None = None
        self.last_success: float | None = None
        self.refused_reload: str | None = None
        """Why the last reload's key was not taken, in one sentence; None when it was."""
        self.is_doubted = False
        self.is_draining = False
        self._succeeded_since_check = False

    def key_checked(self, verdict: Verdict) -> None:
        """The probe got this verdict just now."""
        self.verdict = verdict
        self.checked_at = self._wall_clock()
        self.is_doubted = False
        self._succeeded_since_check = False

    def egress_ok(self) -> None:
        """A tunnel to the origin was opened, TLS included."""
        self.egress_state = "ok"
        self.egress_error = None

    def egress_failed(self, error: AwfError) -> None:
        """A tunnel to the origin could not be opened."""
        self.egress_state = "failing"
        self.egress_error = error

    def succeeded(self) -> None:
        """The provider answered a client's request, which carried our key, with 2xx."""
        self.egress_ok()
        self.last_success = self._wall_clock()
        self._succeeded_since_check = True

    def doubt(self) -> None:
        """The provider answered a client's request with 401: the key ought to be checked again.

        No more than that, since a client can provoke it: only a check's verdict changes readiness.
        """
        self.is_doubted = True

    def draining(self) -> None:
        """The process is stopping; there is no way back."""
        self.is_draining = True

    @property
    def is_probed(self) -> bool:
        """The key gets checked at all."""
        return self._probing

    @property
    def key_state(self) -> str:
        """`accepted`, `rejected`, `unverified`, `unchecked` or `cannot_tell`."""
        return _key_state(self.verdict)

    def reason(self) -> str | None:
        """None when a request would now succeed, else one sentence why not. It holds nothing of a peer's."""
        if self.is_draining:
            return "awfproxy is stopping."
        if isinstance(self.verdict, Rejected):
            code = f" ({self.verdict.code})" if self.verdict.code else ""
            return f"The provider rejects the key{code}."
        if self.egress_error is not None:
            return self.egress_error.sentence
        if not self._probing or self._succeeded_since_check:
            return None
        match self.verdict:
            case None:
                return "The key has not been checked yet."
            case CannotTell(reason):
                return f"The key could not be checked yet: {reason}."
            case Accepted() | Unverified():
                return None
