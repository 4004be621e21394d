"""Stands between clients and a broker, and can lose the broker's answers: requests arrive, answers don't.

with LosingProxy(broker_port) as proxy:
    ... a client on proxy.port ...
    proxy.lose_answers()      # from here on they go nowhere
    proxy.break_off()         # every connection ends; new ones get their answers again
"""

import contextlib
import socket
import threading

CHUNK_BYTES = 65_536


class LosingProxy:
    def __init__(self, target_port: int, port: int = 0) -> None:
        self._target_port = target_port
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self.lost_bytes = 0
        self._loses = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "LosingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.break_off()

    def lose_answers(self) -> None:
        self._loses = True

    def break_off(self) -> None:
        self._loses = False
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the server socket was closed
            while True:
                client, _ = self._server.accept()
                broker = socket.create_connection(("127.0.0.1", self._target_port))
                with self._lock:
                    self._open |= {client, broker}
                threading.Thread(target=self._carry, args=(client, broker, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(broker, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if answers and self._loses:
                    self.lost_bytes += len(chunk)
                else:
                    sink.sendall(chunk)
