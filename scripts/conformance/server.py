"""Servers that say what no log wants to hear, and an inventory and an allowlist that call things so.

Without an argument: serves 198.18.0.9, ports 7001 and up, one hostile text each, and says "ready". With --inventory or
--allowlist: prints one that names these addresses in the same way.
"""

import json
import socketserver
import sys
import threading

HOST = "198.18.0.9"
FIRST_PORT = 7001
TEXTS = [
    "a \"quoted\" 'name' \\ \\\\ \"",
    "a|b|c|d=e f=g|",
    "line\r\nCEF:0|a|b|1|x|y|10|dst=192.0.2.99\r\n<106>1 - - - - - - -",
    "\x07\x1b[2J\x1b]0;title\x07\x7f",
    "=HYPERLINK(\"http://x\",\"y\")",
    "\u202egpj.exe\u2066\u200b\ufeff",
    '{"event":"finding","severity":"info"}',
    "]] ] <script>alert(1)</script> `code` ![x](http://x)",
    "x" * 10_000,
]


class Speaker(socketserver.BaseRequestHandler):
    """Says its text, and hangs up."""

    def handle(self):
        try:
            self.request.sendall(self.server.text.encode() + b"\r\n")
            self.request.settimeout(1)
            self.request.recv(4096)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    """One port, and what is said there."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port, text):
        self.text = text
        super().__init__((HOST, port), Speaker)


def serve():
    servers = [Server(FIRST_PORT + number, text) for number, text in enumerate(TEXTS)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


def inventory():
    # A name that long is no host's, but an inventory may hold anything.
    entries = [{"ip": HOST, "name": text[:200]} for text in TEXTS]
    json.dump(entries + [{"ip": "198.18.0.10", "name": TEXTS[1]}], sys.stdout)


def allowlist():
    for number, text in enumerate(TEXTS):
        quoted = json.dumps(text).replace("\\u202e", "\\u202E")
        print(f'[[allow]]\nhosts = ["198.18.0.{200 + number}"]\nports = [22]\nreason = {quoted}\nowner = {quoted}')


if __name__ == "__main__":
    {"--inventory": inventory, "--allowlist": allowlist}.get(sys.argv[-1], serve)()
