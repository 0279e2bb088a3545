#!/usr/bin/env python3
"""The points of scripts/watch.sh, each tried inside a lab: a fleet whose services open and close, receivers, and the
daemon itself. Only the standard library is used. Each point prints one line with what was measured, and the exit status
is 1 if it does not hold.
"""

import hashlib
import json
import os
import pathlib
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORTS = (22, 3306, 5432, 6379, 9200, 27017)


class Broken(Exception):
    """A point does not hold."""


def require(condition, what):
    if not condition:
        raise Broken(what)


def until(condition, seconds, what, every=0.02):
    """Waits until something is true, and gives how long that took."""
    began = time.monotonic()
    while not condition():
        require(time.monotonic() - began < seconds, f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(every)
    return time.monotonic() - began


def setting(name, usual):
    """A figure that the caller may set by the environment."""
    return type(usual)(os.environ.get(f"WATCH_{name}", usual))


# --- the fleet ---------------------------------------------------------------------------------------------------


def listen():
    """Opens and closes services as standard input says, and accepts whatever comes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = selectors.DefaultSelector()
    chosen.register(0, selectors.EVENT_READ)
    listeners = {}
    rest = b""
    while True:
        for key, _ in chosen.select():
            if key.fd:
                try:
                    key.fileobj.accept()[0].close()
                except OSError:
                    pass
                continue
            read = os.read(0, 1 << 16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                word, ip, port = line.decode().split()
                if word == "open":
                    listener = socket.socket()
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind((ip, int(port)))
                    listener.listen(64)
                    listener.setblocking(False)
                    chosen.register(listener, selectors.EVENT_READ)
                    listeners[ip, port] = listener
                else:
                    chosen.unregister(listeners[ip, port])
                    listeners.pop((ip, port)).close()
                print("done", flush=True)


class Fleet:
    """Services that can be opened and closed, by a process in the namespace of the fleet."""

    def __init__(self):
        command = ["ip", "netns", "exec", "fleet", sys.executable, __file__, "listen"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.is_open = set()

    def order(self, word, targets):
        for ip, port in targets:
            self.process.stdin.write(f"{word} {ip} {port}\n")
        self.process.stdin.flush()
        for _ in targets:
            require(self.process.stdout.readline() == "done\n", "the fleet does not do as it is told")

    def open(self, *targets):
        self.order("open", targets)
        self.is_open |= set(targets)

    def close(self, *targets):
        self.order("close", targets)
        self.is_open -= set(targets)


def targets_of(base, hosts):
    """All targets of the first hosts of a network, its first address left out."""
    *front, last = (int(part) for part in base.split("."))
    number = (front[0] << 24) + (front[1] << 16) + (front[2] << 8) + last
    addresses = (number + at for at in range(1, hosts))
    return [(socket.inet_ntoa(at.to_bytes(4, "big")), port) for at in addresses for port in PORTS]


# --- receivers ---------------------------------------------------------------------------------------------------


class Hook:
    """A receiver of webhooks, on the loopback, that keeps what it is told, and can be slow or out of order."""

    def __init__(self):
        self.got = []
        self.refuse = 0.0
        self.slow = 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(random.random() * hook.slow)
                if random.random() < hook.refuse:
                    self.answer(500)
                    return
                event = json.loads(body)
                hook.got.append((time.time(), event))
                if self.headers["webhook-id"] != event["id"]:
                    hook.got.append((time.time(), {"event": "forged"}))
                self.answer(204)

            def answer(self, status):
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    # Whoever has sent it has been killed meanwhile.
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                # A connection ends when the daemon is killed.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def events(self):
        return [event for _, event in list(self.got)]


def lines(path):
    """The events of a file of JSON Lines; a line without an end has not been written yet, or was cut off by a kill."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    events = []
    for line in text.split("\n")[:-1]:
        try:
            events.append(json.loads(line))
        except ValueError:
            events.append({"event": "torn", "text": line})
    return events


def alerts(events):
    """Each word about alerts once, in the order of its first arrival."""
    seen = {}
    for event in events:
        if event.get("event") == "alert":
            seen.setdefault(event["id"], event)
    return list(seen.values())


def firing(events):
    """The targets whose exposure fires, as far as a receiver knows."""
    known = {}
    for event in alerts(events):
        if event["kind"] == "exposure" and event["transition"] in ("firing", "resolved"):
            known[event["ip"], event["port"]] = event["transition"] == "firing"
    return {target for target, fires in known.items() if fires}


# --- the daemon --------------------------------------------------------------------------------------------------

CONFIG = """
[scope]
networks = ["{network}"]
[sweep]
rate_max = {rate_max}
host_rate = "none"
network_rate = "none"
engine = "packet"
canaries = ["{canary}:22"]
{allowlist}
[[watch]]
name = "risky"
interval = "{interval}"
[alerting]
second_look_after = "{second_look}"
storm_above = {storm_above}
[heartbeat]
interval = "{heartbeat}"
[store]
path = "{store}"
[[sink]]
name = "soc"
kind = "webhook"
url = "{hook}"
[[sink]]
name = "soc-file"
kind = "file"
path = "{soc_file}"
[[sink]]
name = "ops"
kind = "file"
path = "ops.jsonl"
[[sink]]
name = "siem"
kind = "file"
path = "siem.jsonl"
[route]
security = ["soc", "soc-file"]
health = ["ops"]
events = ["siem"]
"""


class Place:
    """A directory with a configuration, a database and the files that sinks write, and the daemon that works there."""

    def __init__(self, name, hook, **changes):
        self.path = pathlib.Path(os.environ["LAB_DIR"]) / name
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        self.hook = hook
        self.daemon = None
        self.binary = os.environ["PORTREEVE"]
        network = os.environ["LAB_NETWORK"]
        usual = {
            "network": network,
            "canary": network.split("/")[0],
            "rate_max": 20000,
            "allowlist": "",
            "interval": "1s",
            "second_look": "0s",
            "storm_above": 1000,
            "heartbeat": "1h",
            "store": "alerts.db",
            "hook": hook.url,
            "soc_file": "soc.jsonl",
        }
        self.settings = {**usual, **changes}
        (self.path / "watch.toml").write_text(CONFIG.format(**self.settings))
        self.log = self.path / "log"
        self.store = self.path / self.settings["store"]
        self.soc_file = self.path / self.settings["soc_file"]

    def start(self, wrap=(), env=None):
        with open(self.log, "ab") as log:
            command = [*wrap, self.binary, "watch", "--config", "watch.toml", "--log", "info"]
            env = {**os.environ, **(env or {})}
            self.daemon = subprocess.Popen(command, cwd=self.path, stdin=subprocess.DEVNULL, stderr=log, env=env)
        return self.daemon

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def stop(self):
        """Ends the daemon as a service manager does, and gives how long that took."""
        began = time.monotonic()
        self.daemon.terminate()
        require(self.daemon.wait(timeout=30) == 0, f"the daemon ended by {self.daemon.returncode}")
        return time.monotonic() - began

    def sweeps(self):
        """How many sweeps have been told of."""
        try:
            return (self.path / "siem.jsonl").read_text().count('"event":"sweep.completed"')
        except FileNotFoundError:
            return 0

    def wait_sweeps(self, more, seconds=60):
        wanted = self.sweeps() + more
        until(lambda: self.sweeps() >= wanted, seconds, f"{more} sweeps more; {self.said()}", 0.05)

    def said(self):
        """The end of what the daemon has logged."""
        try:
            return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except FileNotFoundError:
            return ""

    def is_settled(self, truth):
        """Whether all receivers know what is open."""
        told = (self.hook.events(), lines(self.soc_file), lines(self.path / "siem.jsonl"))
        return all(firing(events) == truth for events in told)

    def settle(self, truth, seconds=60):
        def why():
            told = (self.hook.events(), lines(self.soc_file), lines(self.path / "siem.jsonl"))
            return f"every receiver knows what is open: {[sorted(firing(e) ^ truth) for e in told]}; {self.said()}"

        return until(lambda: self.is_settled(truth), seconds, why, 0.05)

    def run(self, *arguments):
        command = [self.binary, *arguments]
        return subprocess.run(command, cwd=self.path, capture_output=True, text=True, timeout=120, check=False)


# --- the judge ---------------------------------------------------------------------------------------------------


def ulid(blob):
    """The 26 letters of an identifier that the database keeps as 16 bytes."""
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = int.from_bytes(blob, "big")
    return "".join(letters[number >> 5 * at & 31] for at in reversed(range(26)))


def books_of(store):
    """What the database says: the counts and the messages of each sink, and every word in the history."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10) as sql:
        sinks = {}
        for number, name, *counts in sql.execute("SELECT id, name, raised, delivered, dead FROM sinks"):
            rows = list(sql.execute("SELECT id, dead FROM deliveries WHERE sink = ?", (number,)))
            waiting = list(sql.execute("SELECT id FROM outbox WHERE sink = ?", (number,)))
            sinks[name] = {
                "counts": tuple(counts),
                "delivered": {ulid(row[0]) for row in rows if not row[1]},
                "dead": {ulid(row[0]) for row in rows if row[1]},
                "pending": {ulid(row[0]) for row in waiting},
            }
        history = {ulid(row[0]): row[1] for row in sql.execute("SELECT id, transition FROM history")}
    sql.close()
    return sinks, history


def judge(place, told, truth=None):
    """Holds the books against what receivers have been told. Gives the number of words, and of those told twice.

    `told` has for each sink all that it was told, in order. The daemon must have ended.
    """
    sinks, history = books_of(place.store)
    words = repeats = 0
    for name, events in told.items():
        book = sinks.get(name, {"counts": (0, 0, 0), "delivered": set(), "dead": set(), "pending": set()})
        raised, delivered, dead = book["counts"]
        counted = tuple(len(book[part]) for part in ("delivered", "dead", "pending"))
        require((delivered, dead) == counted[:2] and raised == sum(counted), f"books of {name}: {book['counts']} {counted}")
        require(not dead, f"{name} has dead letters")
        bodies, ids = {}, set()
        for event in events:
            require(event["event"] != "forged", f"{name}: a header and a body with different identifiers")
            if event["event"] == "torn":
                # A kill in the middle of a line; the line comes once more, whole.
                continue
            ids.add(event["id"])
            digest = hashlib.sha256(json.dumps(event, sort_keys=True).encode()).digest()
            require(bodies.setdefault(event["id"], digest) == digest, f"{name}: two messages are called {event['id']}")
        require(book["delivered"] <= ids, f"{name}: called delivered and not received: {book['delivered'] - ids}")
        require(ids <= book["delivered"] | book["pending"], f"{name}: told, and the database does not know of it")
        turns = {}
        for event in alerts(events):
            require(event["id"] in history, f"{name}: a word that is in no history: {event}")
            if event["transition"] in ("firing", "resolved"):
                before = turns.get(event["fingerprint"], "resolved")
                require(before != event["transition"], f"{name}: {event['transition']} twice by two identifiers: {event}")
                turns[event["fingerprint"]] = event["transition"]
        if name == "siem":
            missing = set(history) - book["delivered"] - book["pending"]
            require(not missing, f"{name}: in the history, and for nobody: {missing}")
        if truth is not None and name != "ops":
            require(firing(events) == truth, f"{name}: believes in {sorted(firing(events) ^ truth)}")
        words += len(ids)
        repeats += sum(1 for event in events if event["event"] != "torn") - len(ids)
    checked = place.run("db", "check", "--database", str(place.store))
    require(checked.returncode == 0, f"db check: {checked.stdout} {checked.stderr}")
    return words, repeats


def told_to(place, hook):
    files = {"soc-file": place.soc_file, "siem": place.path / "siem.jsonl", "ops": place.path / "ops.jsonl"}
    return {"soc": hook.events(), **{name: lines(path) for name, path in files.items()}}


def pending_of(place):
    return sum(len(book["pending"]) for book in books_of(place.store)[0].values())


def finish(place, hook, fleet):
    """Lets the daemon tell what there is to tell, ends it, and judges."""
    place.settle(fleet.is_open)
    place.wait_sweeps(2)
    place.stop()
    result = judge(place, told_to(place, hook), fleet.is_open)
    require(pending_of(place) == 0, "something is still pending, though every receiver takes everything")
    return result


# --- point 3: kill -9 --------------------------------------------------------------------------------------------


def kills():
    """Kills at random moments, while services open and close and the receiver is slow and refuses now and then."""
    count = setting("KILLS", 200)
    random.seed(setting("SEED", 1))
    fleet, hook = Fleet(), Hook()
    hook.slow, hook.refuse = 0.15, 0.1
    place = Place("kills", hook, second_look="1s", heartbeat="1s")
    unused = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 1 << 32 - int(os.environ["LAB_NETWORK"].split("/")[1]))
    random.shuffle(unused)
    opened = []
    for at in range(count):
        place.start()
        moment = random.random() * 1.8
        if at % 2 == 0 and unused:
            opened.append(unused.pop())
            change = (fleet.open, opened[-1])
        else:
            # What has been open for some time, so that a sweep has most likely seen it.
            change = (fleet.close, opened.pop(0)) if len(opened) > 10 else None
        early = random.random() * moment
        time.sleep(early)
        if change:
            change[0](change[1])
        time.sleep(moment - early)
        place.kill()
    hook.refuse = 0.0
    place.start()
    words, repeats = finish(place, hook, fleet)
    raised = sum(1 for event in alerts(hook.events()) if event["transition"] == "firing")
    require(raised > count / 4, f"only {raised} exposures were told at all")
    return f"{count} kills: {raised} exposures and {words} words told, {repeats} of them twice by the same id, books closed"


# What changes something that outlives the process, or leaves it. rename is here though nothing calls it, so that it is
# noticed when something does.
CALLS = ("pwrite64", "write", "fsync", "fdatasync", "ftruncate", "rename,renameat,renameat2", "unlink,unlinkat", "sendto,sendmsg,writev")


def tasks(pid):
    """The threads of a process: their names, in the order in which they began."""
    found = []
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        try:
            found.append((int(task), pathlib.Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()))
        except FileNotFoundError:
            pass
    return found


def strace(calls, nth, target):
    """Kills a thread's process at the Nth of its calls from now on."""
    names = ",".join(f"?{name}" for name in calls.split(","))
    command = ["strace", "-o", "/dev/null", "-e", f"trace={names}", "-e", f"inject={names}:signal=SIGKILL:when={nth}"]
    return subprocess.Popen([*command, *target], stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def attach(calls, nth, task):
    tracer = strace(calls, nth, ["-p", str(task)])
    require("attached" in tracer.stderr.readline(), "strace cannot attach")
    return tracer


def detach(tracer):
    tracer.send_signal(signal.SIGINT)
    tracer.wait(timeout=10)


class Injector:
    """One database that lives through all kills, and a change of the fleet for each."""

    def __init__(self):
        self.fleet, self.hook = Fleet(), Hook()
        self.place = Place("inject", self.hook, heartbeat="1s")
        self.targets = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 16)
        self.fleet.open(self.targets[0])
        self.next = 1
        self.slowest = 0.0
        self.counts = {}

    def change(self):
        """One service opens and another closes, so that a sweep has an alert and a resolve to tell."""
        self.fleet.open(self.targets[self.next % len(self.targets)])
        self.fleet.close(self.targets[(self.next - 1) % len(self.targets)])
        self.next += 1

    def well(self):
        """Starts the daemon if it has been killed, and waits until everybody knows how things are."""
        if self.place.daemon is None or self.place.daemon.poll() is not None:
            self.place.start()
        self.slowest = max(self.slowest, self.place.settle(self.fleet.is_open, 30))

    def one(self, role, calls, nth):
        """Whether the Nth of these calls of a thread came, and was the end of the daemon."""
        self.well()
        self.place.wait_sweeps(1)
        threads = [task for task, name in tasks(self.place.daemon.pid) if name == role[0]]
        tracer = attach(calls, nth, threads[role[1]])
        self.change()
        more = self.place.sweeps() + 3

        def is_over():
            return self.place.daemon.poll() is not None or self.place.sweeps() >= more

        until(is_over, 60, lambda: f"{role} {calls} {nth}: neither killed nor swept; {self.place.said()}")
        killed = self.place.daemon.poll() is not None
        if not killed:
            detach(tracer)
        tracer.wait(timeout=10)
        return killed

    def all_of(self, role, calls):
        nth = 1
        while self.one(role, calls, nth):
            nth += 1
        if nth > 1:
            self.counts[f"{role[0]} {role[1]} {calls.split(',')[0]}"] = nth - 1


def inject():
    """Kills at every write, sync, rename and send of each thread in turn, through two sweeps with a change of alerts."""
    injector = Injector()
    # The threads for sinks begin in the order of the configuration: soc by HTTP, and files.
    roles = [("portreeve", 0), ("watch", 0), *(("messenger", at) for at in range(4))]
    only = os.environ.get("WATCH_ROLE")
    for role in roles:
        if only and only != f"{role[0]}{role[1]}":
            continue
        for calls in CALLS:
            injector.all_of(role, calls)
    injector.well()
    words, repeats = finish(injector.place, injector.hook, injector.fleet)
    kinds = ", ".join(f"{count} {name}" for name, count in injector.counts.items())
    total = sum(injector.counts.values())
    require(total > 0, "nothing was killed")
    return f"{total} kills ({kinds}): {words} words, {repeats} twice by the same id, books closed"


def born():
    """Kills at every call in turn while the database is made, its first alert told, and all of it closed at the end."""
    total = words = repeats = 0
    fleet = Fleet()
    fleet.open(targets_of(os.environ["LAB_NETWORK"].split("/")[0], 4)[3])
    for calls in CALLS:
        if "send" in calls:
            # The sweep itself sends thousands of frames; what the messengers send is a matter of `inject`.
            continue
        nth = 0
        while True:
            nth += 1
            hook = Hook()
            place = Place("born", hook)
            names = ",".join(f"?{name}" for name in calls.split(","))
            wrap = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={names}"]
            place.start([*wrap, "-e", f"inject={names}:signal=SIGKILL:when={nth}"])
            killed = 0
            until(lambda: place.daemon.poll() is not None or place.sweeps() >= 2, 60, f"{calls} {nth}: {place.said()}")
            if place.daemon.poll() is None:
                # SIGTERM is for the daemon, which is the child of strace; its last calls are counted too.
                child = int(pathlib.Path(f"/proc/{place.daemon.pid}/task/{place.daemon.pid}/children").read_text().split()[0])
                os.kill(child, signal.SIGTERM)
                place.daemon.wait(timeout=20)
            killed = place.daemon.returncode == -signal.SIGKILL
            if not killed:
                break
            total += 1
            place.start()
            more, again = finish(place, hook, fleet)
            words, repeats = words + more, repeats + again
            hook.server.shutdown()
    return f"{total} kills from the first moment of a database: {words} words, {repeats} twice by the same id, books closed"


POINTS = {"kills": kills, "inject": inject, "born": born}


def main():
    if sys.argv[1] == "listen":
        listen()
        return 0
    name = sys.argv[1]
    began = time.monotonic()
    try:
        print(f"{name}: {POINTS[name]()} ({time.monotonic() - began:.0f} s)", flush=True)
    except Broken as why:
        print(f"{name}: DOES NOT HOLD: {why}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
