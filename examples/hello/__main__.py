"""A web page from Python's standard library: all that a project needs to be, and no more.

hostkit starts it as `python -m app` and tells it by the environment where to listen.
"""

import html
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<h1>Hello from {name}</h1>
<p>Python {python}, process {process}, port {port}.</p>
</html>
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer(200, "text/html; charset=utf-8", page())
        elif path == "/health":
            self.answer(200, "text/plain; charset=utf-8", "ok\n")
        else:
            self.answer(404, "text/plain; charset=utf-8", "there is no such page\n")

    do_HEAD = do_GET

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # who has been heard is answered, also while the server stops


def page():
    return PAGE.format(
        name=html.escape(os.environ.get("PROJECT_NAME", "nowhere in particular")),
        python=sys.version.split()[0],
        process=os.getpid(),
        port=port(),
    )


def port():
    return int(os.environ.get("PORT", "8000"))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server((os.environ.get("HOST", "127.0.0.1"), port()), Page) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
