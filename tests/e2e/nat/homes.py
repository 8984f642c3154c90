"""The rig: two homes, each behind a router of its own, and a public host with a tracker and an origin.

              pub 198.51.100.1 (routes, nothing else)
       ┌──────────────┼──────────────┐
     host           router a       router b        host: 198.51.100.10 and .11, pcdn tracker and nginx
   .10 and .11       .21             .22           wan of the routers; a router that is `none` only routes
                   192.168.1.1     192.168.2.1
                      │               │
                   a1 (.2) a2 (.3)  b1 (.2)        homes without NAT have 203.0.113.8/29 and .16/29

With `v6`, homes, host and tracker have IPv6 as well (2001:db8:1::/64, :2::/64, host 2001:db8:ff::10), and the routers let in
what was written to, unless they are `none`.

Kinds of routers, in the words of RFC 4787: `none`; `full` (endpoint-independent mapping and filtering), `addr` and `port`
(address-dependent, address- and port-dependent filtering), `sym` (a new random port for each destination), `block` (drops all
UDP). Everything lives in namespaces called `<prefix>...`; a Homes is a context manager that removes them, however it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

HOST, SECOND, PORT, TRACKER = "198.51.100.10", "198.51.100.11", 8080, 7070
WAN = {"a": "198.51.100.21", "b": "198.51.100.22"}
KINDS = ("none", "full", "addr", "port", "sym", "block")
# What one viewer gets from the origin where it shall depend on peers.
SLOW = 400_000
V6_NET = "2001:db8"
V6_HOST = f"{V6_NET}:ff::10"
# A home's IPv6: no NAT, and in comes only what was written to.
RULES6 = """table ip6 t {
    chain f { type filter hook forward priority 0; policy accept; iifname "wan" ct state new meta l4proto udp drop; }
}"""
# How viewers find each other.
TRACKED = ("--tracker", f"{HOST}:{TRACKER}")
# What nodes say of themselves, for who keeps the logs.
LOG = "warn,pcdn_transport=debug,pcdn::node=debug"
CLEAN_ENVIRONMENT = {
    key: value for key, value in os.environ.items()
    if not key.lower().endswith("_proxy") and not key.startswith("PCDN_")
}


class HomesError(Exception):
    """The rig or a program in it did not do what the scenario needs."""


def lan(side: str, kind: str) -> str:
    number = "ab".index(side) + 1
    return f"203.0.113.{8 * number}" if kind == "none" else f"192.168.{number}.0"


def address(side: str, kind: str, host: int) -> str:
    network, last = lan(side, kind).rsplit(".", 1)
    return f"{network}.{int(last) + host}"


def rules(side: str, kind: str, mapped_port: int | None = None) -> str:
    """The rule set of a router. With `mapped_port`, every mapping has that port: what a router gives after a restart."""
    wan = WAN[side]
    out = ["flush ruleset", "table ip t {"]
    if kind in ("full", "addr"):
        out += [" map m { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; }"]
    if kind == "addr":
        out += [" set s { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; }"]
    # A router answers nothing unsolicited. Without this an early punch would make a local entry of connection tracking that
    # takes the mapping from the punch going out.
    out += [' chain cin { type filter hook input priority 0; policy accept;',
            '  iifname "wan" ct state established,related accept',
            '  iifname "wan" meta l4proto { tcp, udp } drop', " }",
            " chain cfwd { type filter hook forward priority 0; policy accept;"]
    if kind == "block":
        out += ["  meta l4proto udp drop"]
    if kind == "addr":
        out += ['  oifname "wan" meta l4proto udp update @s { ip daddr . udp sport }',
                '  iifname "wan" ct state new meta l4proto udp ip saddr . udp dport != @s drop']
    if kind != "none":
        out += ['  iifname "wan" ct state new ct status dnat accept', '  iifname "wan" ct state new drop']
    out += [" }"]
    post = {
        "full": [f'  oifname "wan" meta l4proto udp update @m {{ udp sport : ip saddr . udp sport }} snat to {wan}',
                 f'  oifname "wan" snat to {wan}'],
        "port": ['  oifname "wan" masquerade'],
        "sym": ['  oifname "wan" masquerade fully-random'],
    }
    post["addr"], post["block"] = post["full"], post["port"]
    if mapped_port and kind == "port":
        post["port"] = [f'  oifname "wan" meta l4proto udp udp sport 4000 masquerade to :{mapped_port}', *post["port"]]
    if kind != "none":
        out += [" chain cpost { type nat hook postrouting priority srcnat;", *post[kind], " }"]
    if kind in ("full", "addr"):
        out += [" chain cpre { type nat hook prerouting priority dstnat;",
                '  iifname "wan" meta l4proto udp dnat to udp dport map @m', " }"]
    return "\n".join([*out, "}"])


class Homes:
    def __init__(self, prefix: str, directory: Path, pcdn: str, kinds: tuple[str, str], slow: str = "b", hosts: int = 1,
                 v6: bool = False):
        self.v6 = v6
        self.prefix, self.directory, self.pcdn, self.hosts = prefix, directory, pcdn, hosts
        self.kinds = dict(zip("ab", kinds))
        self.slow = slow
        self.processes: list[tuple[str, subprocess.Popen]] = []
        self.spaces: list[str] = []

    # Namespaces

    def ip(self, *argv: str) -> None:
        self.check(["ip", *argv])

    def inside(self, space: str, *argv: str) -> str:
        return self.check(["ip", "netns", "exec", self.prefix + space, *argv])

    @staticmethod
    def check(argv: list[str], text: str | None = None) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, input=text, timeout=30, check=False)
        if done.returncode:
            raise HomesError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def space(self, name: str) -> None:
        self.ip("netns", "add", self.prefix + name)
        self.spaces.append(name)
        self.inside(name, "ip", "link", "set", "lo", "up")

    def wire(self, a: str, a_device: str, b: str, b_device: str) -> None:
        self.ip("link", "add", a_device, "netns", self.prefix + a, "type", "veth", "peer", "name", b_device, "netns",
                self.prefix + b)
        for space, device in ((a, a_device), (b, b_device)):
            self.inside(space, "ip", "link", "set", device, "up")

    def __enter__(self) -> "Homes":
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "www").mkdir(parents=True)
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def build(self) -> None:
        self.space("pub")
        self.space("host")
        self.inside("pub", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.inside("pub", "ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
        self.wire("pub", "host0", "host", "eth0")
        self.inside("pub", "ip", "addr", "add", "198.51.100.9/29", "dev", "host0")
        for address_ in (HOST, SECOND):
            self.inside("host", "ip", "addr", "add", f"{address_}/29", "dev", "eth0")
        self.inside("host", "ip", "route", "add", "default", "via", "198.51.100.9")
        if self.v6:
            self.inside("pub", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
            self.route6("pub", "host0", f"{V6_NET}:ff::1/64", "host", "eth0", f"{V6_HOST}/64", f"{V6_NET}:ff::1")
        for side, kind in self.kinds.items():
            self.home(side, kind)

    def route6(self, up: str, up_device: str, up_address: str, down: str, device: str, address_: str, via: str) -> None:
        """IPv6 on both ends of a wire, and what is below sends all to what is above."""
        self.inside(up, "ip", "-6", "addr", "add", up_address, "dev", up_device, "nodad")
        self.inside(down, "ip", "-6", "addr", "add", address_, "dev", device, "nodad")
        self.inside(down, "ip", "-6", "route", "add", "default", "via", via, "dev", device)

    def home(self, side: str, kind: str) -> None:
        router = f"r{side}"
        self.space(router)
        self.inside(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.wire("pub", f"up{side}", router, "wan")
        self.inside("pub", "ip", "route", "add", f"{WAN[side]}/32", "dev", f"up{side}", "src", "198.51.100.1")
        self.inside(router, "ip", "addr", "add", f"{WAN[side]}/32", "dev", "wan")
        self.inside(router, "ip", "route", "add", "198.51.100.1/32", "dev", "wan")
        self.inside(router, "ip", "route", "add", "default", "via", "198.51.100.1", "dev", "wan")
        if kind == "none":
            self.inside("pub", "ip", "route", "add", f"{lan(side, kind)}/29", "via", WAN[side], "dev", f"up{side}")
        self.inside(router, "ip", "link", "add", "br0", "type", "bridge")
        self.inside(router, "ip", "link", "set", "br0", "up")
        self.inside(router, "ip", "addr", "add", f"{address(side, kind, 1)}/29", "dev", "br0")
        for number in range(1, self.hosts + 1):
            name = f"{side}{number}"
            self.space(name)
            self.wire(router, f"h{number}", name, "eth0")
            self.inside(router, "ip", "link", "set", f"h{number}", "master", "br0")
            self.inside(name, "ip", "addr", "add", f"{address(side, kind, number + 1)}/29", "dev", "eth0")
            self.inside(name, "ip", "route", "add", "default", "via", address(side, kind, 1))
        if self.v6:
            self.home6(side)
        self.set_router(side)

    def home6(self, side: str) -> None:
        router, number = f"r{side}", "ab".index(side) + 1
        self.inside(router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        wan, home = f"{V6_NET}:fe{number}", f"{V6_NET}:{number}"
        self.route6("pub", f"up{side}", f"{wan}::1/64", router, "wan", f"{wan}::2/64", f"{wan}::1")
        self.inside("pub", "ip", "-6", "route", "add", f"{home}::/64", "via", f"{wan}::2", "dev", f"up{side}")
        self.inside(router, "ip", "-6", "addr", "add", f"{home}::1/64", "dev", "br0", "nodad")
        for host in range(1, self.hosts + 1):
            name = f"{side}{host}"
            self.inside(name, "ip", "-6", "addr", "add", f"{home}::{host + 1}/64", "dev", "eth0", "nodad")
            self.inside(name, "ip", "-6", "route", "add", "default", "via", f"{home}::1", "dev", "eth0")

    def set_router(self, side: str, mapped_port: int | None = None) -> None:
        """(Re)starts a router: it has forgotten everything."""
        argv = ["ip", "netns", "exec", f"{self.prefix}r{side}", "nft", "-f", "-"]
        self.check(argv, rules(side, self.kinds[side], mapped_port))
        if self.v6 and self.kinds[side] != "none":
            self.check(argv, RULES6)
        self.inside(f"r{side}", "conntrack", "-F")

    def __exit__(self, *_) -> None:
        for _, process in self.processes:
            process.kill()
        for _, process in self.processes:
            process.wait()
        for space in self.spaces:
            left = subprocess.run(["ip", "netns", "pids", self.prefix + space], capture_output=True, text=True)
            for pid in left.stdout.split():  # children of what was started here, such as nginx's workers
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", self.prefix + space], check=False)

    # Programs

    def start(self, space: str, name: str, *argv: str, ready: str | None = "ready", seconds: float = 15) -> subprocess.Popen:
        out, err = self.directory / f"{name}.stdout", self.directory / f"{name}.stderr"
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.prefix + space, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=stdout,
                stderr=stderr, env=CLEAN_ENVIRONMENT, start_new_session=True,
            )
        self.processes.append((name, process))
        until = time.monotonic() + seconds
        while ready and ready not in err.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > until:
                raise HomesError(f"{name} is not ready: {err.read_text(errors='replace')[-600:]}")
            time.sleep(0.05)
        return process

    def port_opener(self, side: str, upnp: bool) -> None:
        """miniupnpd on a router: it opens ports when asked. It refuses documentation addresses, so it claims another one."""
        space = f"r{side}"
        self.check(["ip", "netns", "exec", self.prefix + space, "nft", "-f", "-"], """
            table inet filter {
              chain miniupnpd { }
              chain prerouting_miniupnpd { }
              chain postrouting_miniupnpd { }
              chain cforward { type filter hook forward priority -5; policy accept; jump miniupnpd; }
              chain cprerouting { type nat hook prerouting priority -101; policy accept; jump prerouting_miniupnpd; }
              chain cpostrouting { type nat hook postrouting priority 99; policy accept; jump postrouting_miniupnpd; }
            }""")
        config = self.directory / f"miniupnpd-{side}.conf"
        config.write_text("\n".join([
            "ext_ifname=wan", f"ext_ip=25.0.0.{'ab'.index(side) + 1}", "listening_ip=br0", "port=5000",
            f"enable_upnp={'yes' if upnp else 'no'}", f"enable_natpmp={'no' if upnp else 'yes'}", "secure_mode=yes",
            "min_lifetime=30", "max_lifetime=86400", "uuid=0c1e7a44-0000-4000-8000-000000000001",
            "upnp_table_name=filter", "upnp_nat_table_name=filter", "upnp_forward_chain=miniupnpd",
            "upnp_nat_chain=prerouting_miniupnpd", "upnp_nat_postrouting_chain=postrouting_miniupnpd",
            f"allow 1024-65535 {lan(side, self.kinds[side])}/29 1024-65535", "deny 0-65535 0.0.0.0/0 0-65535", "",
        ]))
        self.start(space, f"miniupnpd-{side}", "miniupnpd", "-d", "-f", str(config), "-P",
                   str(self.directory / f"miniupnpd-{side}.pid"), ready=None)
        time.sleep(1)

    def report(self, name: str) -> dict:
        lines = (self.directory / f"{name}.stdout").read_text().splitlines()
        found = [line for line in lines if line.startswith("{")]
        if not found:
            raise HomesError(f"{name} reported nothing: {(self.directory / f'{name}.stderr').read_text()[-600:]}")
        return json.loads(found[-1])

    def tracker(self, *options: str) -> None:
        host = "[::]" if self.v6 else "0.0.0.0"
        self.start("host", "tracker", self.pcdn, "tracker", "--listen", f"{host}:{TRACKER}", *options)

    def calls_nobody(self) -> None:
        """The tracker becomes one as others run: it takes announcements, and knows no word of meetings."""
        self.inside("host", "nft", "add table inet w; add chain inet w i { type filter hook input priority 0; };"
                    " add rule inet w i udp dport 7070 @th,72,56 0x7063646e6d7431 drop")

    def origin(self) -> None:
        slow = " ".join(f"{network} {SLOW};" for side in self.slow for network in (WAN[side], f"{lan(side, 'none')}/29"))
        config = self.directory / "nginx.conf"
        config.write_text(f"""
            user root; worker_processes 1; daemon off; pid {self.directory}/nginx.pid; error_log {self.directory}/nginx.err;
            events {{ worker_connections 512; }}
            http {{ access_log off; default_type application/octet-stream;
                geo $slow {{ default 0; {slow} }}
                server {{ listen {PORT}; root {self.directory}/www; limit_rate $slow; }} }}
        """)
        self.start("host", "nginx", "nginx", "-e", str(self.directory / "nginx.err"), "-c", str(config), ready=None)
        until = time.monotonic() + 5
        while f":{PORT}" not in self.inside("host", "ss", "-ltn"):
            if time.monotonic() > until:
                raise HomesError("nginx does not listen")
            time.sleep(0.05)

    def publish(self, size: int, name: str = "film.bin") -> str:
        import hashlib
        import random
        data = random.Random(size).randbytes(size)
        (self.directory / "www" / name).write_bytes(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        return f"http://{HOST}:{PORT}/{name}"

    def get(self, host: str, url: str, *options: str, listen: str = "udp://0.0.0.0:4000", by: tuple = TRACKED) -> subprocess.Popen:
        """A viewer, which finds others `by` these options."""
        return self.start(
            host, host, self.pcdn, "get", url, "--log-level", LOG, "--json", "--out", self.directory / f"{host}.bin", *by,
            "--origin", HOST, "--listen", listen, "--integrity", "sampled", *options, ready=None,
        )

    def seeded(self, host: str, seconds: float = 30) -> None:
        """Waits until a seeder has its file."""
        until = time.monotonic() + seconds
        while not (self.directory / f"{host}.bin").exists():
            if time.monotonic() > until:
                raise HomesError(f"the seeder {host} has not got its file")
            time.sleep(0.05)

    def narrow_uplink(self, side: str, rate: str) -> None:
        """What a router sends to the world is capped."""
        self.inside(f"r{side}", "tc", "qdisc", "add", "dev", "wan", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "300ms")

    def count(self, host: str, hook: str, what: str) -> None:
        """From now on counts what enters or leaves a host."""
        self.inside(host, "nft", f"add table inet n; add counter inet n c; add chain inet n i {{ type filter hook {hook} priority 0; }};"
                    f" add rule inet n i {what} counter name c")

    def counted(self, host: str) -> int:
        """Bytes."""
        entries = json.loads(self.inside(host, "nft", "-j", "list", "counter", "inet", "n", "c"))["nftables"]
        return next(entry["counter"]["bytes"] for entry in entries if "counter" in entry)

    def over_wan(self, side: str) -> int:
        """Bytes that passed a router's outside so far, both ways."""
        link = json.loads(self.inside(f"r{side}", "ip", "-j", "-s", "link", "show", "wan"))[0]["stats64"]
        return link["rx"]["bytes"] + link["tx"]["bytes"]
