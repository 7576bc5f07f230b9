"""What `drcore listen` does: receive, store, grade, and send documents on."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from drcore.errors import PacsError
from drcore.grading.grader import Grader
from drcore.grading.installed import open_grader
from drcore.pacs.connection import connect
from drcore.pacs.grading_queue import GradingQueue
from drcore.pacs.outbox import Outbox
from drcore.pacs.servers import server_named

try:
    from drcore.pacs.receiver import Address, Receiver
except ImportError as error:
    raise PacsError(
        "Listening needs the extra 'pacs'. Install it: python -m pip install \"drcore[pacs]\""
    ) from error

__all__ = ["ListenOptions", "Listener", "listen"]

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """What `drcore listen` is asked to do; see its help.

    Attributes:
        address: where it listens, and to whom.
        folder: of files, table and documents.
        weights: folder of the weights, or name of an installed model; None for the bundled ones.
        device: "cpu" or "cuda"; None for CUDA where there is one.
        workers: threads that read photographs.
        send_to: name of the server that documents are sent to; empty for none.
        servers: file that describes it; None for that of DRCORE_PACS.
        limit: bytes of a file at most.
        quiet: say nothing of what is done.
    """

    address: Address
    folder: Path
    weights: Path | None = None
    device: str | None = None
    workers: int = 1
    send_to: str = ""
    servers: str | None = None
    limit: int = 512 << 20
    quiet: bool = False


class Listener:
    """A receiver, the queue that it fills, and the outbox that the queue fills.

    Args:
        options: of the command line.
        grader: of the photographs.

    Raises:
        DrcoreError: nothing can be listened on or written, or there is no such server.
    """

    def __init__(self, options: ListenOptions, grader: Grader) -> None:
        self.options = options
        self._tell_lock = threading.Lock()
        server = server_named(options.send_to, options.servers) if options.send_to else None
        connection = None if server is None else connect(server)
        self.queue = GradingQueue(
            options.folder, grader, with_documents=server is not None, workers=options.workers
        )
        self.outbox = (
            None
            if connection is None
            else Outbox(self.queue.outbox, options.folder / "refused", connection, self.tell)
        )
        try:
            self.receiver = Receiver(
                options.address, self.queue.received, self.queue.add, self.tell, options.limit
            )
        except BaseException:
            self.queue.close()
            raise

    def tell(self, sentence: str) -> None:
        """Write a sentence to the standard error."""
        if not self.options.quiet:
            with self._tell_lock:
                print(f"drcore: {sentence}", file=sys.stderr, flush=True)

    def work(self, patience: float = 0.5) -> int:
        """Grade a part of what waits, and let documents leave; returns the number of rows."""
        graded = self.queue.grade_some(patience)
        for problem in self.queue.problems:
            self.tell(problem)
        self.queue.problems.clear()
        if graded:
            told = ", ".join(f"{n} {status}" for status, n in sorted(self.queue.counts.items()))
            self.tell(f"{told} since the start; {self.queue.waiting} files wait.")
            if self.outbox is not None:
                self.outbox.wake()
        return graded

    def close(self) -> None:
        """Take no more; what waits is graded and sent at the next start."""
        self.receiver.stop()
        if self.outbox is not None:
            self.outbox.stop()
        self.queue.close()


@contextlib.contextmanager
def _running(options: ListenOptions) -> Generator[Listener]:
    listener = Listener(options, open_grader(options.weights, options.device))
    try:
        if listener.outbox is not None:
            listener.outbox.start()
        yield listener
    finally:
        listener.close()


def listen(options: ListenOptions) -> int:
    """Run `drcore listen` until a signal ends it.

    Args:
        options: of the command line.

    Returns:
        Exit code: 0.

    Raises:
        DrcoreError: nothing can be listened on or written, or the networks cannot run.
    """
    with _running(options) as listener:
        address = options.address
        listener.tell(
            f"listens on {address.host}:{listener.receiver.port} as {address.ae_title}, accepts "
            f"photographs from {', '.join(address.accept_from)}; {listener.queue.waiting} files of "
            "an earlier run wait."
        )
        if address.host not in _LOOPBACK and address.certificate is None:
            listener.tell(
                "other computers can connect, and photographs travel without encryption. Use "
                "--tls-certificate and --tls-key, or a network that nobody else is in."
            )
        try:
            while True:
                listener.work()
        except KeyboardInterrupt:
            counts = listener.receiver.counts
            listener.tell(
                f"ended; {counts['stored']} files stored, {counts['received again']} received "
                f"again, {counts['refused']} refused. {listener.queue.waiting} wait for the next "
                "start."
            )
    return 0
