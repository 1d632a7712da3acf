"""What a program sends to a TCP server, kept connection by connection on its way there."""

import selectors
import socket
import threading
from pathlib import Path

AT_ONCE = 1 << 20


class Recorder:
    """`with Recorder(host, port, folder) as recorder`: listens on `recorder.port` and passes everything on."""

    def __init__(self, host: str, port: int, folder: Path) -> None:
        self.server = (host, port)
        self.folder = folder
        self.files: list[Path] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> "Recorder":
        self.folder.mkdir(exist_ok=True)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for thread in self.threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            file = self.folder / f"connection-{len(self.files)}"
            self.files.append(file)
            thread = threading.Thread(target=self._pass_on, args=(client, file), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket, file: Path) -> None:
        with client, socket.create_connection(self.server) as server, file.open("wb") as kept, \
                selectors.DefaultSelector() as both:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in both.select():
                    data = key.fileobj.recv(AT_ONCE)
                    if not data:
                        return
                    key.data.sendall(data)
                    if key.fileobj is client:
                        kept.write(data)
