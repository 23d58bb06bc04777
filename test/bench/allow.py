"""An allowlist for mitmproxy, for the benchmarks to compare with."""

import os

from mitmproxy import http

ALLOWED = ("localhost", int(os.environ["ALLOWED_PORT"]))


class Allow:
    def request(self, flow: http.HTTPFlow) -> None:
        if (flow.request.host, flow.request.port) != ALLOWED:
            flow.response = http.Response.make(403, b"refused")

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        kind = flow.response.headers.get("content-type", "")
        if kind == "text/event-stream" or int(flow.response.headers.get("content-length", "0")) > 1 << 20:
            flow.response.stream = True


addons = [Allow()]
