"""HTTP-FLV out of RTMP: an ffmpeg for every client, which reads the stream as a player does.    media_remux.py PORT RTMP-URL"""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

READ_BYTES = 64 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    source: str

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        self.close_connection = True
        argv = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-fflags", "nobuffer", "-fpsprobesize", "0", "-analyzeduration", "500000", "-probesize", "1000000", "-i", self.source,
                "-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1", "-"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            try:
                while data := process.stdout.read1(READ_BYTES):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            except OSError:
                pass
            finally:
                process.kill()

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/x-flv")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def log_message(self, *words) -> None:
        print(self.headers.get("X-Viewer", "-"), *words, file=sys.stderr, flush=True)


def main() -> None:
    Handler.source = sys.argv[2]
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    print("ready", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
