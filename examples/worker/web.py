"""Takes jobs, and tells what became of them."""

import json
import os
import signal
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jobs

LONGEST = 10_000


class Web(BaseHTTPRequestHandler):
    timeout = 10  # for who connects and says nothing

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer(200, {**jobs.count(), "worker_silent_for_seconds": jobs.silence()})
        elif path == "/health":
            self.tell_health()
        elif path.startswith("/jobs/"):
            self.tell(path.removeprefix("/jobs/"))
        else:
            self.answer(404, {"error": "there is no such page"})

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if self.path != "/jobs":
            self.answer(404, {"error": "there is no such page"})
        elif not length.isdecimal() or not 0 < int(length) <= LONGEST:
            self.answer(413, {"error": f"a job has 1 to {LONGEST} bytes"})
        else:
            text = self.rfile.read(int(length)).decode(errors="replace")
            self.answer(202, {"id": jobs.add(text)})

    def tell(self, job):
        found = jobs.find(int(job)) if job.isdecimal() and len(job) < 19 else None
        if found:
            self.answer(200, found)
        else:
            self.answer(404, {"error": "there is no such job"})

    def tell_health(self):
        try:
            jobs.count()
        except sqlite3.Error as error:
            self.answer(503, {"status": "the jobs are away", "error": str(error)})
        else:
            self.answer(200, {"status": "ok"})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # who has been heard is answered, also while the server stops


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    with Server(address, Web) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
