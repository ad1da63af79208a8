"""An AI node as Ollama is one, for tests: it streams back what it was asked, and can misbehave.

    python3 tests/fake_node.py --port 11434 --models llama3,phi3 --pause 0.1
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Node(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, document):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.say(document)

    def say(self, document):
        self.wfile.write(json.dumps(document).encode() + b"\n")
        self.wfile.flush()

    def do_GET(self):
        if self.allowed() and self.path == "/api/tags":
            time.sleep(self.server.how.slow)
            models = [{"name": name} for name in self.server.how.models.split(",") if name]
            self.reply(200, {"models": models})

    def do_POST(self):
        how, length = self.server.how, int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(length) or b"{}")
        if not self.allowed():
            return
        if asked.get("model") not in how.models.split(","):
            return self.reply(404, {"error": f"model {asked.get('model')} not found"})
        self.server.asked += 1
        if how.hang:
            time.sleep(3600)
        last = asked["prompt"].rsplit("user: ", 1)[-1].split("\n", 1)[0]
        words = f"{how.name} with {asked['model']} heard: {last}".split(" ")
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for word in words[: how.breaks or None]:
            self.say({"response": f"{word} ", "done": False})
            time.sleep(how.pause)
        if not how.breaks:
            self.say({"response": "", "done": True})

    def allowed(self):
        allow = self.server.how.allow
        if allow and self.client_address[0] not in allow.split(","):
            self.reply(403, {"error": "your address is not allowed"})
            return False
        return True


def options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--name", default="fake")
    parser.add_argument("--models", default="llama3", help="which it has, with commas")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two words")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds to list the models")
    parser.add_argument("--breaks", type=int, default=0, help="break off after so many words")
    parser.add_argument("--hang", action="store_true", help="accept a question and never answer")
    parser.add_argument("--allow", default="", help="addresses that may ask, with commas")
    return parser.parse_args(arguments)


def start(arguments=None):
    how = options(arguments)
    server = ThreadingHTTPServer((how.host, how.port), Node)
    server.how, server.asked, server.daemon_threads = how, 0, True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


if __name__ == "__main__":
    print("listening on port", start().server_port, flush=True)
    threading.Event().wait()
