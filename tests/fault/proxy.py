"""A TCP proxy whose network can be broken: one listening port before one server, any number of connections.

Modes, in force for connections that exist and for new ones until the mode changes:
    pass        bytes go both ways
    stall       nothing moves; afterwards it moves on, as over a link that was down for a while
    half-open   nothing moves; afterwards every connection of that time is reset: one side had long given up
    deaf        the client is heard, but no answer comes back; afterwards its connections are reset
    mute        answers come, but the client is not heard; afterwards its connections are reset
    slow        20 KB/s each way
    refuse      connections are reset, new ones at once
With deaf_after = BYTES it turns deaf by itself once a client has said these: what they ask for is done, and not answered.
Bytes are never reordered, and lost only together with their connection, as TCP has it."""
import selectors
import socket
import struct
import threading
import time

CHUNK = 1 << 16
SLOW_BYTES, SLOW_EVERY = 2000, 0.1
RESET_AFTER = {"half-open", "deaf", "mute"}
MODES = ["stall", "half-open", "deaf", "mute", "slow", "refuse"]


def reset(sock):
    """Close with RST instead of FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


class Pair:
    """One connection: what each side has sent and the other has not got yet."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.waiting = {client: b"", server: b""}  # by the socket it is to be sent to
        self.ended = set()  # sides that will send no more
        self.shut = set()
        self.due = {client: 0.0, server: 0.0}

    def other(self, sock):
        return self.server if sock is self.client else self.client


class Proxy:
    def __init__(self, target_port):
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.mode, self.wanted = "pass", "pass"
        self.deaf_after = None
        self.pairs = {}
        self.selector = selectors.DefaultSelector()
        self.wake_in, self.wake_out = socket.socketpair()
        self.wake_in.setblocking(False)
        self.stopping = False
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.wake_in, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def set(self, mode):
        self.wanted = mode
        self.wake_out.send(b"x")

    def close(self):
        self.stopping = True
        self.wake_out.send(b"x")
        self.thread.join(10)

    # ---- the thread ----

    def run(self):
        while not self.stopping:
            if self.wanted != self.mode:
                self.change(self.wanted)
            for key, events in self.selector.select(0.05 if self.mode == "slow" else 1.0):
                self.handle(key.fileobj, events)
            self.update_interest()
        for pair in set(self.pairs.values()):
            self.drop(pair)
        self.selector.close()
        for sock in (self.listener, self.wake_in, self.wake_out):
            sock.close()

    def change(self, mode):
        if self.mode in RESET_AFTER or mode == "refuse":
            for pair in set(self.pairs.values()):
                self.drop(pair)
        self.mode = mode
        self.update_interest()

    def handle(self, sock, events):
        if sock is self.wake_in:
            sock.recv(CHUNK)
        elif sock is self.listener:
            self.accept()
        elif sock in self.pairs:
            pair = self.pairs[sock]
            try:
                if events & selectors.EVENT_READ:
                    self.read(pair, sock)
                if events & selectors.EVENT_WRITE and sock in self.pairs:
                    self.write(pair, sock)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(pair)

    def accept(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        if self.mode == "refuse":
            reset(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), 5)
        except OSError:
            reset(client)
            return
        pair = Pair(client, server)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[sock] = pair
            self.selector.register(sock, selectors.EVENT_READ)

    def moves(self, pair, to):
        """Do bytes for `to` move now?"""
        if self.mode == "slow":
            return time.monotonic() >= pair.due[to]
        if self.mode == "deaf":
            return to is pair.server
        if self.mode == "mute":
            return to is pair.client
        return self.mode == "pass"

    def read(self, pair, sock):
        data = sock.recv(CHUNK)
        if data:
            pair.waiting[pair.other(sock)] += data
            if self.deaf_after and sock is pair.client and self.deaf_after in pair.waiting[pair.server]:
                self.mode, self.wanted, self.deaf_after = "deaf", "deaf", None
        else:
            pair.ended.add(sock)
            self.finish(pair)

    def write(self, pair, sock):
        if not self.moves(pair, sock):
            return
        limit = SLOW_BYTES if self.mode == "slow" else CHUNK
        sent = sock.send(pair.waiting[sock][:limit])
        pair.waiting[sock] = pair.waiting[sock][sent:]
        pair.due[sock] = time.monotonic() + SLOW_EVERY
        self.finish(pair)

    def finish(self, pair):
        """Pass on the end of a side once all it sent has gone out."""
        for sock in (pair.client, pair.server):
            other = pair.other(sock)
            if sock in pair.ended and not pair.waiting[other] and other not in pair.shut and self.moves(pair, other):
                pair.shut.add(other)
                other.shutdown(socket.SHUT_WR)
        if len(pair.shut) == 2:
            self.drop(pair)

    def drop(self, pair):
        for sock in (pair.client, pair.server):
            if self.pairs.pop(sock, None):
                if sock.fileno() in self.selector.get_map():
                    self.selector.unregister(sock)
            reset(sock)

    def update_interest(self):
        for sock, pair in list(self.pairs.items()):
            if sock not in self.pairs:
                continue
            try:
                self.finish(pair)
            except OSError:
                self.drop(pair)
                continue
            if sock not in self.pairs:
                continue
            other = pair.other(sock)
            wanted = 0
            if sock not in pair.ended and len(pair.waiting[other]) < CHUNK and self.moves(pair, other):
                wanted |= selectors.EVENT_READ
            if pair.waiting[sock] and self.moves(pair, sock):
                wanted |= selectors.EVENT_WRITE
            self.watch(sock, wanted)

    def watch(self, sock, wanted):
        known = self.selector.get_map().get(sock.fileno())
        now = known.events if known else 0
        if wanted == now:
            return
        if not wanted:
            self.selector.unregister(sock)
        elif known:
            self.selector.modify(sock, wanted)
        else:
            self.selector.register(sock, wanted)
