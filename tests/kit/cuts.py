"""`Cuts`: behaviours that end a connection, cut an answer short, or never give one."""

from tests.kit.answers import Answers
from tests.kit.reader import Closed


class Cuts(Answers):
    """Each `do_NAME` is what the target `/v1/kit/NAME` gets."""

    def do_until_close(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/plain", "Connection: close")
        self.send(b"to the end")
        self.close_orderly()

    def do_short_length(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Length: 100")
        self.send(b"only this")
        self.close_orderly()

    def do_short_chunked(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        self.chunk(b"data: 0\n\n")
        self.step()
        self.close_orderly()

    def do_short_head(self) -> None:
        self.read_body()
        self.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        self.close_orderly()

    def do_until_reset(self) -> None:
        self.read_body()
        self.head(200, "OK", "Content-Type: text/plain", "Connection: close")
        self.send(b"cut")
        self.step()
        self.reset()

    def do_no_answer(self) -> None:
        self.read_body()
        self.close_orderly()

    def do_garbage(self) -> None:
        self.read_body()
        self.send(b"220 mail.test ESMTP\r\n\r\n")
        self.close_orderly()

    def do_refuse_continue(self) -> None:
        self.head(413, "Content Too Large", "Content-Length: 0", "Connection: close")
        self.close_orderly()

    def do_early_close(self) -> None:
        self.head(403, "Forbidden", "Content-Length: 2", "Connection: close")
        self.send(b"no")
        self.keep = False
        try:
            while True:
                self.reader.more()
        except Closed:
            pass

    def do_stall(self) -> None:
        """Never answers."""
        self.read_body()
        self.wait_until_left()

    def do_stall_body(self) -> None:
        """A head and an event, then nothing."""
        self.read_body()
        self.head(200, "OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
        self.chunk(b"data: 0\n\n")
        self.wait_until_left()

    def do_close_after(self) -> None:
        """A good answer; then the connection is closed without having been announced."""
        self.do_echo()
        self.origin.note()
        self.step()
        self.close_orderly()

    def do_die_once(self) -> None:
        """The first request with this `mark` on a connection that was used before dies unanswered."""
        mark = f"mark={self.options['mark']}".encode()
        if len(self.origin.find(mark)) == 1:
            self.reset()
            return
        self.do_echo()

    def do_vanish(self) -> None:
        """No answer, and a reset."""
        self.reset()

    def do_upgrade(self) -> None:
        self.read_body()
        self.head(101, "Switching Protocols", "Upgrade: kit", "Connection: Upgrade")
        self.wait_until_left()
