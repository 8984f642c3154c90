"""Live servers, each with habits of its own, and what publishes to them: RTMP in, HTTP-FLV out. media.md has their habits."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from media_assets import FFMPEG
from media_players import VIDEO, FlvPlayer
from media_rig import HERE, PROMPT, Process, RigError, poll_until
from ports import free_port

RTMP_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
# Nothing is sent to a client before a keyframe is: it could not begin with anything else.
NGINX_CONFIG = """
    load_module {module}; worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log;
    events {{ worker_connections 512; }}
    rtmp {{ access_log off; server {{
        listen 127.0.0.1:{rtmp}; chunk_size 4096;
        application live {{ live on; wait_key on; wait_video on; }}
    }} }}
"""


EDGE_CONFIG = """
    {user} worker_processes 1; daemon off; pid {dir}/edge.pid; error_log {dir}/edge-error.log;
    events {{ worker_connections 512; }}
    http {{
        log_format figures '$uri $body_bytes_sent'; access_log {dir}/edge.log figures;
        default_type application/octet-stream;
        client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
        scgi_temp_path {dir}/t5;
        server {{
            listen 127.0.0.1:{port}; root {dir}/www;
            location ~ \\.flv$ {{ proxy_pass http://{origin}; proxy_http_version 1.1; proxy_buffering off; }}
            location ~ \\.pcdn$ {{ add_header Cache-Control no-cache; }}
        }}
    }}
"""


class LiveServer:
    """A server of that kind with a publisher, and frames on their way."""

    options: list = []  # what its viewers must be told

    def __init__(self, stack: ExitStack, session, kind: str, clip: Path, logs: Path):
        self._stack, self._session, self._logs = stack, session, logs
        self.rtmp, self.http = free_port(), free_port()
        serve, relay = KINDS[kind]
        serve(self)
        poll_until(lambda: opens(self.rtmp), 20, f"{kind} listens")
        target = f"rtmp://127.0.0.1:{self.rtmp}/live/one"
        self.publisher = self.spawn("publisher", [*PROMPT, *FFMPEG, "-re", "-i", clip, "-c", "copy", "-f", "flv", target])
        if relay:
            relay(self, target)
        self.url = f"http://127.0.0.1:{self.http}/live/one.flv"
        self.wait_for_frames()

    def spawn(self, name: str, argv: list, mark: str | None = None) -> Process:
        process = Process(name, argv, self._logs, mark)
        self._stack.callback(process.stop)
        if mark:
            process.wait_ready()
        return process

    @property
    def address(self) -> str:
        return self.url.split("/")[2]

    def wait_for_frames(self) -> None:
        probe = FlvPlayer(self.url, "probe", "/dev/null").start()
        # It stays as long as the server: of the others' joins none is the first.
        self._stack.callback(probe.stop)
        poll_until(lambda: len(probe.tags[VIDEO]) > 25, 20, f"the server gives frames ({probe.error})")

    def check(self) -> None:
        """That it still has what it gives."""
        if not self.publisher.running:
            raise RigError(f"the publisher ended: {self.publisher.last_words()}")

    def _node_media_server(self) -> None:
        self.spawn("server", ["node", HERE / "browser" / "flv-server.mjs", self.rtmp, self.http, self._logs / "server.data"])

    def _xiu(self) -> None:
        self.spawn("server", [self._session.flv_server, self.rtmp, self.http])

    def _nginx_rtmp(self) -> None:
        config = self._logs / "nginx-rtmp.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(user + NGINX_CONFIG.format(module=RTMP_MODULE, dir=self._logs, rtmp=self.rtmp))
        self.spawn("server", ["nginx", "-e", self._logs / "nginx-error.log", "-c", config])

    def _remuxed(self, source: str) -> None:
        self.spawn("remuxer", [sys.executable, HERE / "media_remux.py", self.http, source], "ready")

    def _rebased(self, _: str) -> None:
        # A server answers for a stream only once it is there.
        source = f"http://127.0.0.1:{self.http}/live/one.flv"
        self.url = source
        self.wait_for_frames()
        self.http = free_port()
        self.spawn("rebaser", [sys.executable, HERE / "media_rebase.py", self.http, source], "ready")


class Edge:
    """nginx before a live server, as a CDN's edge: it passes the stream on, and has files beside it."""

    def __init__(self, stack: ExitStack, source: str, logs: Path):
        origin, _, path = source.partition("://")[2].partition("/")
        port, www, config = free_port(), logs / "www", logs / "edge.conf"
        # The manifest's place beside the stream.
        self.beside, self._log = www / f"{path}.pcdn", logs / "edge.log"
        self.beside.parent.mkdir(parents=True)
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(EDGE_CONFIG.format(user=user, dir=logs, port=port, origin=origin))
        process = Process("edge", ["nginx", "-e", logs / "edge-error.log", "-c", config], logs)
        stack.callback(process.stop)
        poll_until(lambda: opens(port), 10, "the edge listens")
        self.address, self.options = f"127.0.0.1:{port}", []
        self.url = f"http://{self.address}/{path}"

    def manifest_bytes(self) -> int:
        """Of all viewers, what they read of manifests."""
        lines = map(str.split, self._log.read_text().splitlines())
        return sum(int(sent) for uri, sent in lines if uri.endswith(".pcdn"))


# What serves, and what stands before it.
KINDS = {
    "nms": (LiveServer._node_media_server, None),
    "xiu": (LiveServer._xiu, None),
    "nginx_rtmp": (LiveServer._nginx_rtmp, LiveServer._remuxed),
    "rebased": (LiveServer._node_media_server, LiveServer._rebased),
}


def opens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
