"""An authority that is asked too often: who wants an account is to come back in five hours."""
import http.server
import json
import ssl


class Limits(http.server.BaseHTTPRequestHandler):
    def answer(self, code, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Replay-Nonce", "oFvnlFP1wIhRlYS2jTaXbA")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        base = "https://localhost:14001/"
        self.answer(200, {"newNonce": base + "nonce", "newAccount": base + "account", "newOrder": base + "order"})

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many\x1b[31m today"}
        self.answer(429, problem, Retry_After="18000")


server = http.server.HTTPServer(("127.0.0.1", 14001), Limits)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/ca/api.pem", "/root/ca/api.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
