"""A Redis Cluster of real servers on free ports, with or without replicas."""
import subprocess

from harness import free_port, wait_for

MASTERS = 3


class Server:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.port, self.bus = free_port(), free_port()
        self.folder = world.folder / f"node{number}"
        self.folder.mkdir()
        self.process = None
        self.start()

    def start(self):
        self.process = self.world.add(
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", self.bus,
            "--cluster-node-timeout", 1500, "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
            "--aof-load-truncated", "yes", "--repl-diskless-sync-delay", 0, "--maxmemory", "1gb", "--maxmemory-policy", "noeviction",
            log=f"node{self.number}.log")
        wait_for("the server answers", lambda: self.cli("ping") == "PONG")

    def cli(self, *args, check=False):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, args)], capture_output=True, text=True, timeout=60, errors="replace")
        text = done.stdout.strip()
        assert not check or (text and not text.startswith(("ERR", "(error)"))), (args, text, done.stderr)
        return text

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def name(self):
        return self.cli("cluster", "myid")


class Cluster:
    def __init__(self, world, replicas=0):
        self.servers = [Server(world, n) for n in range(MASTERS * (1 + replicas))]
        done = subprocess.run(["redis-cli", "--cluster", "create", *[s.address for s in self.servers], "--cluster-replicas", str(replicas),
                               "--cluster-yes"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_for("the cluster is whole", self.whole)
        if replicas:
            wait_for("replicas follow", lambda: sum("master_link_status:up" in s.cli("info", "replication") for s in self.servers) ==
                     MASTERS * replicas)

    def whole(self):
        return all("cluster_state:ok" in s.cli("cluster", "info") for s in self.servers if s.process.alive())

    def setting(self, count=None):
        return "redis.cluster=" + ",".join(s.address for s in self.servers[:count])

    def slot(self, key):
        return int(self.servers[0].cli("cluster", "keyslot", key))

    def owner(self, key):
        """The living master that serves `key`."""
        slot, asked = self.slot(key), next(s for s in self.servers if s.process.alive())
        for line in asked.cli("cluster", "nodes").splitlines():
            words = line.split()
            for span in words[8:]:
                first, _, last = span.partition("-")
                if first.isdigit() and int(first) <= slot <= int(last or first):
                    port = int(words[1].split("@")[0].rsplit(":", 1)[1])
                    return next(s for s in self.servers if s.port == port)
        raise AssertionError(f"nobody serves {key}")

    def move(self, key, target, pause=lambda: None):
        """The slot of `key` to another master, key by key, as redis-cli --cluster reshard does; `pause` is called in every state."""
        slot, source = self.slot(key), self.owner(key)
        target.cli("cluster", "setslot", slot, "importing", source.name, check=True)
        source.cli("cluster", "setslot", slot, "migrating", target.name, check=True)
        pause()
        for name in source.cli("cluster", "getkeysinslot", slot, 100).splitlines():
            wait_for(f"{name} has moved", lambda: source.cli("migrate", "127.0.0.1", target.port, name, 0, 10000) in ("OK", "NOKEY"))
            pause()
        for server in (target, source, *self.servers):
            server.cli("cluster", "setslot", slot, "node", target.name)
