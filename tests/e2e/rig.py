"""The rig: homes, an origin and a tracker, each in a network namespace of its own, joined by linkem (linkem.rs).

                 home 0   home 1  ...  home N-1          100 Mbit/s down, 30 up, 10 ms each way, 100 ms of queue
                    \\       |           /
                     ----- linkem ------                 an ideal middle: only access links cost time
                      /              \\
       origin (nginx, capped link)    tracker (no cap)

A Rig is a context manager: leaving it, however that happens, ends every process it started and removes every
namespace it made. Nothing outside namespaces called `<prefix>...` is touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

MB = 1_000_000
MBIT = 125_000  # bytes a second
MEMORY_SAMPLE_SECONDS = 0.25

# A home: what a good cable or VDSL line gives, and a round trip of 20 ms to the origin (40 ms between two homes).
HOME_LINK = "down.rate=100 up.rate=30 delay=10 queue=100"
# Private addresses, so nodes must be told with --origin that this origin is meant.
ORIGIN_ADDRESS, ORIGIN_PORT, POISONED_PORT = "10.1.0.2", 8080, 8081
TRACKER_ADDRESS, TRACKER_PORT = "10.2.0.2", 7070
# No node has this address: linkem drops what is sent there without an answer.
SILENT_ADDRESS = "10.3.0.2"


def home_address(number: int) -> str:
    return f"10.{10 + number}.0.2"


# A proxy or a setting of the caller's means nothing inside a namespace.
CLEAN_ENVIRONMENT = {
    key: value for key, value in os.environ.items()
    if not key.lower().endswith("_proxy") and not key.startswith("PCDN_")
}


class RigError(Exception):
    """The rig or a program in it did not do what the scenario needs; the scenario fails."""


class Process:
    """A program inside a node. Knows when it was ready, when it ended and what it cost."""

    def __init__(self, rig: "Rig", node: str, name: str, argv: list, ready_mark: str):
        self.node, self.name = node, name
        self.stdout_path = rig.logs / f"{name}.stdout"
        self.stderr_path = rig.logs / f"{name}.stderr"
        self.ready, self.ended_event = threading.Event(), threading.Event()
        self.exit_code: int | None = None
        self.cpu_seconds = self.peak_rss_mb = self.peak_anonymous_mb = 0.0
        self.started, self.ended = time.monotonic(), 0.0
        # `ip netns exec` replaces itself with the program, so this pid is the program's.
        command = ["ip", "netns", "exec", rig.prefix + node, *map(str, argv)]
        with open(self.stdout_path, "wb") as stdout:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True,
                env=CLEAN_ENVIRONMENT,
            )
        self.pid = self._popen.pid
        self._stderr_thread = threading.Thread(target=self._follow_stderr, args=(ready_mark.encode(),), daemon=True)
        self._stderr_thread.start()
        threading.Thread(target=self._reap, daemon=True).start()

    def _follow_stderr(self, mark: bytes) -> None:
        with open(self.stderr_path, "wb", buffering=0) as copy:
            for line in self._popen.stderr:
                copy.write(line)
                if mark in line:
                    self.ready.set()

    def _reap(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        self.ended = time.monotonic()
        self.exit_code = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.ready.set()  # nobody should wait for one that has ended
        self.ended_event.set()

    def sample_memory(self) -> None:
        """Notes memory from /proc: the kernel's own peak in rusage still counts what ran before exec, that is us."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return
        kib = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.endswith(" kB")}
        self.peak_rss_mb = max(self.peak_rss_mb, kib.get("VmHWM", 0) / 1024)
        self.peak_anonymous_mb = max(self.peak_anonymous_mb, kib.get("RssAnon", 0) / 1024)

    @property
    def running(self) -> bool:
        return not self.ended_event.is_set()

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    def wait_ready(self, seconds: float) -> "Process":
        if not self.ready.wait(seconds):
            raise RigError(f"{self.name} was not ready after {seconds} s: {self.last_words()}")
        if not self.running:
            raise RigError(f"{self.name} ended with {self.exit_code} instead of being ready: {self.last_words()}")
        return self

    def wait(self, seconds: float) -> "Process":
        if not self.ended_event.wait(max(seconds, 0)):
            raise RigError(f"{self.name} still ran after {seconds:.1f} s: {self.last_words()}")
        return self

    def signal(self, number: int) -> None:
        if self.running:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def stop(self, seconds: float) -> bool:
        """SIGTERM; True if it then ended with 0 in time."""
        self.signal(signal.SIGTERM)
        return self.ended_event.wait(seconds) and self.exit_code == 0

    def last_words(self) -> str:
        self._stderr_thread.join(1)
        text = self.stderr_path.read_text(errors="replace").strip()
        return " | ".join(text.splitlines()[-6:]) or "(nothing on stderr)"

    def report(self) -> dict | None:
        """The last line of stdout that is a JSON object."""
        for line in reversed(self.stdout_path.read_text(errors="replace").splitlines()):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
        return None


class Links:
    """Drives linkem by lines on its standard input."""

    def __init__(self, linkem: Path, nodes: dict[str, tuple[str, str]]):
        specs = [f"{name}={namespace}:wan:{network}" for name, (namespace, network) in nodes.items()]
        # Before all others on the CPU: a real line does not slow down when the computers at its ends are busy.
        self._popen = subprocess.Popen(
            ["nice", "-n", "-10", str(linkem), *specs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True, bufsize=1,
        )
        self._lock = threading.Lock()
        if (line := self._answer()) != "ready":
            raise RigError(f"linkem did not start: {line!r}")

    def _answer(self) -> str:
        if not select.select([self._popen.stdout], [], [], 10)[0]:
            raise RigError("linkem gave no answer for 10 s")
        return self._popen.stdout.readline().strip()

    def _ask(self, command: str) -> str:
        with self._lock:
            self._popen.stdin.write(command + "\n")
            return self._answer()

    def set(self, node: str, settings: str) -> None:
        if (answer := self._ask(f"set {node} {settings}")) != "ok":
            raise RigError(f"linkem: {answer}")

    def counters(self) -> dict:
        return json.loads(self._ask("stat"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._popen.stdin.close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Origin:
    """nginx with static files. The poisoned twin serves other bytes under the same names, on another port."""

    CONFIG = """
        user root; worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log;
        events {{ worker_connections 2048; }}
        http {{
            log_format figures escape=json '{{"ended":$msec,"took":$request_time,"client":"$remote_addr",'
                '"method":"$request_method","uri":"$uri","range":"$http_range","status":$status,"body":$body_bytes_sent}}';
            sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream;
            server {{ listen {port}; root {dir}/www; access_log {dir}/origin.log figures; }}
            server {{ listen {poisoned_port}; root {dir}/poisoned; access_log {dir}/poisoned.log figures; }}
        }}
    """

    def __init__(self, rig: "Rig", node: str):
        self._rig, self._node, self._dir = rig, node, rig.directory
        for folder in ("www", "poisoned"):
            (self._dir / folder).mkdir(exist_ok=True)
        config = self._dir / "nginx.conf"
        config.write_text(
            self.CONFIG.format(dir=self._dir, port=ORIGIN_PORT, poisoned_port=POISONED_PORT)
        )
        self._process = rig.spawn(node, "nginx", ["nginx", "-e", self._dir / "nginx-error.log", "-c", config])
        listening = {f"{port:04X}" for port in (ORIGIN_PORT, POISONED_PORT)}
        poll_until(lambda: listening <= self._listening_ports(), 5, "nginx listens")

    def _listening_ports(self) -> set[str]:
        if not self._process.running:
            raise RigError(f"nginx ended: {self._process.last_words()}")
        lines = Path(f"/proc/{self._process.pid}/net/tcp").read_text().splitlines()[1:]
        return {line.split()[1].split(":")[1] for line in lines if line.split()[3] == "0A"}

    @staticmethod
    def url(name: str) -> str:
        return f"http://{ORIGIN_ADDRESS}:{ORIGIN_PORT}/{name}"

    def publish(self, file: "TestFile", name: str = "file.bin") -> str:
        """Puts a file on the server and returns its URL."""
        link_or_copy(file.path, self._dir / "www" / name)
        return self.url(name)

    def poison(self, file: "TestFile", homes: list[int], name: str = "file.bin") -> Path:
        """The given homes get one flipped byte in every 64 KiB under the URL of `name`. Returns the false file."""
        false = self._dir / "poisoned" / name
        data = bytearray(file.path.read_bytes())
        for at in range(4711, len(data), 64 * 1024):
            data[at] ^= 0xFF
        false.write_bytes(data)
        shutil.copystat(self._dir / "www" / name, false)  # the same Last-Modified, hence the same ETag
        sources = ", ".join(home_address(home) for home in homes)
        self._rig.run_in(
            self._node,
            ["nft", f"add table ip poison; add chain ip poison pre {{ type nat hook prerouting priority -100; }}; "
                    f"add rule ip poison pre ip saddr {{ {sources} }} tcp dport {ORIGIN_PORT} redirect to :{POISONED_PORT}"],
        )
        return false

    def stop(self) -> None:
        """Ends nginx gracefully: afterwards every request is in the log."""
        self._process.signal(signal.SIGQUIT)
        if not self._process.ended_event.wait(5):
            self._process.signal(signal.SIGTERM)
            self._process.wait(5)

    def requests(self, log: str = "origin") -> list[dict]:
        return [json.loads(line) for line in (self._dir / f"{log}.log").read_text().splitlines()]


@dataclass
class TestFile:
    path: Path
    size: int
    sha256: str


@dataclass
class Load:
    """What a stretch of time cost the machine: the figures are worth little when it had nothing left to give."""

    rig: "Rig"
    _start: tuple = field(init=False)

    def __post_init__(self):
        self._start = self._now()

    def _now(self) -> tuple:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return time.monotonic(), self.rig.links.cpu_seconds(), sum(fields[3:5]), sum(fields[:8])

    def figures(self) -> dict:
        wall, relay, idle, total = (b - a for a, b in zip(self._start, self._now()))
        late = max(d["late_max_ms"] for n in self.rig.node_counters().values() for d in n.values())
        return {
            "linkem_cores": round(relay / wall, 2),
            "machine_busy": round(1 - idle / max(total, 1), 2),
            "link_late_max_ms": round(late, 1),
        }


class Rig:
    def __init__(self, tools: "Tools", homes: int, origin_mbit: float, title: str):
        self.tools, self.homes, self.prefix = tools, homes, tools.prefix
        self.directory = Path(tools.directory) / title
        self.logs = self.directory / "logs"
        self._origin_mbit = origin_mbit
        self._processes: list[Process] = []
        self._namespaces: list[str] = []
        self.links: Links | None = None
        self._ending = threading.Event()
        # What nodes speak.
        self.listen = "udp://0.0.0.0:0"

    def __enter__(self) -> "Rig":
        shutil.rmtree(self.directory, ignore_errors=True)
        self.logs.mkdir(parents=True)
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _build(self) -> None:
        addresses = {f"h{n}": home_address(n) for n in range(self.homes)}
        addresses |= {"origin": ORIGIN_ADDRESS, "tracker": TRACKER_ADDRESS}
        for node in addresses:
            ip_batch([f"netns add {self.prefix}{node}"])
            self._namespaces.append(node)
        self.links = Links(
            self.tools.linkem, {node: (self.prefix + node, f"{a}/24") for node, a in addresses.items()}
        )
        for node, address in addresses.items():
            self.links.set(node, HOME_LINK if node.startswith("h") else "queue=100")
            ip_batch(
                ["link set lo up", f"addr add {address}/24 dev wan", "link set wan txqueuelen 2000 up",
                 "route add default dev wan"],
                self.prefix + node,
            )
            self.run_in(node, ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic"])
        self.cap_origin(self._origin_mbit)
        self.origin = Origin(self, "origin")
        threading.Thread(target=self._sample_memory, daemon=True).start()

    def _sample_memory(self) -> None:
        while not self._ending.wait(MEMORY_SAMPLE_SECONDS):
            for process in [p for p in self._processes if p.running]:
                process.sample_memory()

    def __exit__(self, *_) -> None:
        self._ending.set()
        for process in self._processes:
            process.signal(signal.SIGKILL)
        for process in self._processes:
            process.ended_event.wait(5)
        if self.links:
            self.links.close()
        for node in self._namespaces:
            left = subprocess.run(["ip", "netns", "pids", self.prefix + node], capture_output=True, text=True)
            for pid in left.stdout.split():  # children of what we started, such as nginx workers
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", self.prefix + node], check=False)
        if self.tools.keep_logs:
            kept = self.tools.keep_logs / self.directory.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.logs, kept)
            for log in self.directory.glob("*.log"):
                shutil.copy(log, kept)
        shutil.rmtree(self.directory, ignore_errors=True)

    def cap_origin(self, mbit: float) -> None:
        self.links.set("origin", f"up.rate={mbit}")

    def run_in(self, node: str, argv: list, seconds: float = 30) -> str:
        """Runs a short command inside a node and returns what it prints."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.prefix + node, *map(str, argv)],
            capture_output=True, text=True, timeout=seconds, check=False,
        )
        if done.returncode != 0:
            raise RigError(f"{argv[0]} in {node} failed with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def spawn(self, node: str, name: str, argv: list, ready_mark: str = "ready") -> Process:
        process = Process(self, node, name, argv, ready_mark)
        self._processes.append(process)
        return process

    def node_counters(self) -> dict:
        counters = self.links.counters()
        counters.pop("unroutable")
        return counters

    def arrived(self, node: str) -> int:
        """Payload bytes that came down a node's link, repeats included."""
        down = self.node_counters()[node]["down"]
        return down["tcp_payload"] + down["udp_payload"]

    # pcdn in its roles

    def tracker(self) -> str:
        self.spawn(
            "tracker", "tracker", [self.tools.pcdn, "tracker", "--listen", f"0.0.0.0:{TRACKER_PORT}"]
        ).wait_ready(10)
        return f"{TRACKER_ADDRESS}:{TRACKER_PORT}"

    def sign(self, file: Path) -> None:
        """Writes the manifest FILE.pcdn beside a published file."""
        done = subprocess.run(
            [self.tools.pcdn, "sign", file, "--out", f"{file}.pcdn"],
            capture_output=True, text=True, timeout=120, check=False,
        )
        if done.returncode != 0:
            raise RigError(f"pcdn sign failed with {done.returncode}: {done.stderr.strip()}")

    def published(self, name: str = "file.bin") -> Path:
        return self.directory / "www" / name

    def node_options(self, home: int, tracker: str, manifest: bool) -> list:
        options = ["--tracker", tracker, "--listen", self.listen, "--data-dir", self.directory / f"data{home}"]
        options += ["--origin", f"{ORIGIN_ADDRESS}:{ORIGIN_PORT}"]
        return options + (["--manifest", "sidecar"] if manifest else [])

    def out(self, home: int) -> Path:
        return self.directory / f"out{home}"

    def get(self, home: int, url: str, tracker: str, manifest: bool, *more, run: int = 1) -> Process:
        argv = [self.tools.pcdn, "get", url, "--out", self.out(home), "--json"]
        name = f"get{home}" + (f"-run{run}" if run > 1 else "")
        return self.spawn(f"h{home}", name, argv + self.node_options(home, tracker, manifest) + list(more))

    def peer(self, home: int, tracker: str, manifest: bool) -> Process:
        argv = [self.tools.pcdn, "peer", "--gateway", "127.0.0.1:7400"]
        return self.spawn(f"h{home}", f"peer{home}", argv + self.node_options(home, tracker, manifest))


@dataclass
class Tools:
    """What one run of the script set shares between its scenarios."""

    pcdn: Path
    linkem: Path
    directory: Path
    prefix: str
    keep_logs: Path | None
    _files: dict = field(default_factory=dict)

    def file(self, size: int) -> TestFile:
        """A file of random bytes, the same in every run."""
        if size not in self._files:
            path = Path(self.directory) / f"random-{size}"
            dice, digest, left = random.Random(size), hashlib.sha256(), size
            with open(path, "wb") as file:
                while left:
                    block = dice.randbytes(min(left, 4 * MB))
                    file.write(block)
                    digest.update(block)
                    left -= len(block)
            self._files[size] = TestFile(path, size, digest.hexdigest())
        return self._files[size]


# Helpers


def poll_until(condition, seconds: float, what: str, step: float = 0.02):
    """For what gives no event to wait for. Returns the first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RigError(f"waited {seconds} s in vain until {what}")
        time.sleep(step)
    return value


def wait_all(processes: list[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        process.wait(deadline - time.monotonic())


def sha256_of(path: Path) -> str:
    if not path.exists():
        return "(no file)"
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(4 * MB):
            digest.update(block)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def ip_batch(lines: list[str], namespace: str | None = None) -> None:
    command = ["ip"] + (["-n", namespace] if namespace else []) + ["-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"ip: {done.stderr.strip()}")


def udp_payloads(pcap: Path) -> tuple[int, int, int]:
    """Datagrams, greatest UDP payload and IP fragments in a capture of raw IPv4 packets (what a TUN device shows)."""
    data = pcap.read_bytes()
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    raw_ip = 101
    if len(data) < 24 or struct.unpack_from(order + "I", data, 20)[0] != raw_ip:
        raise RigError(f"{pcap} is not a capture of raw IP packets")
    at, datagrams, greatest, fragments = 24, 0, 0, 0
    while at + 16 <= len(data):
        captured, _ = struct.unpack_from(order + "II", data, at + 8)
        packet = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        if len(packet) < 28 or packet[0] >> 4 != 4:
            continue
        field_, header = struct.unpack_from("!H", packet, 6)[0], (packet[0] & 15) * 4
        if field_ & 0x3FFF:
            fragments += 1
        if packet[9] == 17 and field_ & 0x1FFF == 0 and len(packet) >= header + 8:
            datagrams += 1
            greatest = max(greatest, struct.unpack_from("!H", packet, header + 4)[0] - 8)
    return datagrams, greatest, fragments
