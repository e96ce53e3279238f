"""A client for the tests of the HTTP API that hides nothing: raw bytes, chunks, trailers, and answers checked against /openapi.json."""
import gzip
import http.client
import json
import socket
import urllib.parse


class Answer:
    def __init__(self, status, headers, body, trailers=None):
        self.status, self.headers, self.body, self.trailers = status, headers, body, trailers or {}

    def json(self):
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return json.loads(body.decode("utf-8"))


def lines_to_dict(lines):
    return {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


class Broken(Exception):
    """The connection ended before the answer was whole."""


class Reader:
    def __init__(self, sock):
        self.file = sock.makefile("rb")

    def line(self):
        line = self.file.readline(65536)
        if not line.endswith(b"\r\n"):
            raise Broken("in a line")
        return line[:-2].decode("latin-1")

    def exactly(self, n):
        data = self.file.read(n)
        if len(data) != n:
            raise Broken(f"{len(data)} of {n} bytes")
        return data

    def head(self):
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def chunks(self):
        while size := int(self.line().split(";")[0], 16):
            yield self.exactly(size)
            if self.line():
                raise Broken("chunk without end")


def send(port, target, method="GET", headers=None, timeout=60):
    """One request over a connection of its own, the target sent as it is; returns the socket and its reader after the head."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    head = f"{method} ".encode() + (target if isinstance(target, bytes) else target.encode("latin-1")) + b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
    for name, value in (headers or {}).items():
        head += f"{name}: {value}\r\n".encode("latin-1")
    sock.sendall(head + b"\r\n")
    return sock, Reader(sock)


def ask(port, target, method="GET", headers=None, timeout=60):
    sock, reader = send(port, target, method, headers, timeout)
    with sock:
        lines = reader.head()
        status, fields = int(lines[0].split(" ")[1]), lines_to_dict(lines[1:])
        if method == "HEAD" or status in (204, 304):
            return Answer(status, fields, b"")
        if fields.get("transfer-encoding") != "chunked":
            return Answer(status, fields, reader.exactly(int(fields["content-length"])))
        body = b"".join(reader.chunks())
        return Answer(status, fields, body, lines_to_dict(reader.head()))


def target(path, **values):
    return path + ("?" + urllib.parse.urlencode(values) if values else "")


class Keeping:
    """Many requests over one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


# ---- a checker for the part of JSON Schema that /openapi.json uses ----

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def problems(value, schema, root, where="$"):
    """What contradicts the schema, as a list of texts."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return problems(value, root["components"]["schemas"][name], root, where)
    if "anyOf" in schema:
        tried = [problems(value, one, root, where) for one in schema["anyOf"]]
        return [] if any(not t for t in tried) else tried[0]
    kind = schema.get("type")
    if kind is None:
        return []
    if kind == "integer":
        good = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        good = isinstance(value, KINDS[kind])
    if not good:
        return [f"{where}: {value!r} is no {kind}"]
    found = []
    if kind == "object":
        found += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        found += [f"{where}: {name} is not in the schema" for name in value if "properties" in schema and name not in schema["properties"]]
        for name, one in schema.get("properties", {}).items():
            if name in value:
                found += problems(value[name], one, root, f"{where}.{name}")
    if kind == "array":
        for i, item in enumerate(value):
            found += problems(item, schema.get("items", {}), root, f"{where}[{i}]")
    if schema.get("format") == "date-time" and not (value.endswith("Z") and "T" in value):
        found.append(f"{where}: {value!r} is no time")
    return found
