#!/usr/bin/env python3
"""The points of scripts/watch.sh, each tried inside a lab: a fleet whose services open and close, receivers, and the
daemon itself. Only the standard library is used. Each point prints one line with what was measured, and the exit status
is 1 if it does not hold.
"""

import datetime
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
{rate}
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
            "rate": "",
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
        are_closed = (delivered, dead) == counted[:2] and raised == sum(counted)
        require(are_closed, f"books of {name}: {book['counts']}, counted {counted}")
        require(not dead, f"{name} has dead letters")
        bodies, ids = {}, set()
        for event in events:
            require(event["event"] != "forged", f"{name}: a header and a body with different identifiers")
            if event["event"] in ("torn", "padding"):
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
                now = turns[event["fingerprint"]] = event["transition"]
                require(before != now, f"{name}: {now} twice by two identifiers: {event}")
        if name == "siem":
            missing = set(history) - book["delivered"] - book["pending"]
            require(not missing, f"{name}: in the history, and for nobody: {missing}")
        if truth is not None and name != "ops":
            require(firing(events) == truth, f"{name}: believes in {sorted(firing(events) ^ truth)}")
        words += len(ids)
        repeats += sum(1 for event in events if event["event"] not in ("torn", "padding")) - len(ids)
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
    told = f"{raised} exposures and {words} words told, {repeats} of them twice by the same id"
    return f"{count} kills: {told}, books closed"


# What changes something that outlives the process, or leaves it. rename is here though nothing calls it, so that it is
# noticed when something does.
CALLS = (
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "sendto,sendmsg,writev",
)


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
        pid = self.place.daemon.pid
        threads = [pid] if role[0] == "main" else [task for task, name in tasks(pid) if name == role[0]]
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
        print(f"  {role[0]} {role[1]}: {nth - 1} {calls}", file=sys.stderr, flush=True)
        if nth > 1:
            self.counts[f"{role[0]} {role[1]} {calls.split(',')[0]}"] = nth - 1


def inject():
    """Kills at every write, sync, rename and send of each thread in turn, in three sweeps with a change of alerts."""
    injector = Injector()
    # The threads for sinks begin in the order of the configuration: soc by HTTP, and files.
    roles = [("main", 0), ("watch", 0), *(("messenger", at) for at in range(4))]
    wanted = os.environ.get("WATCH_THREADS", "main0 watch0 messenger0 messenger1 messenger2 messenger3").split()
    for role in (role for role in roles if f"{role[0]}{role[1]}" in wanted):
        for calls in CALLS:
            # What this thread sends are the probes of its sweeps, thousands of them.
            if role[0] != "watch" or "send" not in calls:
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
            until(lambda: place.daemon.poll() is not None or place.sweeps() >= 2, 60, f"{calls} {nth}: {place.said()}")
            if place.daemon.poll() is None:
                # SIGTERM is for the daemon, which is the child of strace; its last calls are counted too.
                pid = place.daemon.pid
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                os.kill(int(children[0]), signal.SIGTERM)
                place.daemon.wait(timeout=20)
            killed = place.daemon.returncode == -signal.SIGKILL
            if not killed:
                break
            total += 1
            place.start()
            more, again = finish(place, hook, fleet)
            words, repeats = words + more, repeats + again
            hook.server.shutdown()
    told = f"{words} words, {repeats} twice by the same id, books closed"
    return f"{total} kills from the first moment of a database: {told}"


# --- point 1: 65,536 x 6 -----------------------------------------------------------------------------------------


def allow_all():
    """Allows everything that is open in the lab from the beginning."""
    by_port = {}
    for line in pathlib.Path(os.environ["LAB_TRUTH"]).read_text().splitlines():
        word, *rest = line.split()
        if word == "open":
            by_port.setdefault(rest[1], []).append(f'"{rest[0]}"')
    table = '[[allow]]\nhosts = [{}]\nports = [{}]\nreason = "lab"\nowner = "lab"\nexpires = 2099-12-31\n'
    return "".join(table.format(", ".join(hosts), port) for port, hosts in by_port.items())


def opens():
    """Services open and close at random moments somewhere in a large network."""
    count, interval = setting("OPENS", 100), setting("INTERVAL", 10)
    random.seed(setting("SEED", 1))
    fleet, hook = Fleet(), Hook()
    # A sweep takes about three seconds at this rate: its time counts, since what it has passed by is seen by the next.
    speed = {"rate": "rate = 200_000", "rate_max": 200000}
    alerting = {"second_look": "5s", "storm_above": 20}
    place = Place("opens", hook, allowlist=allow_all(), interval=f"{interval}s", **speed, **alerting)
    closed = [row.split()[:2] for row in open(os.environ["LAB_TABLE"], encoding="utf-8") if row.split()[2] == "closed"]
    canary = os.environ["LAB_NETWORK"].split("/")[0]
    chosen = [(ip, int(port)) for ip, port in random.sample(closed, count + 1) if ip != canary][:count]
    place.start()
    place.wait_sweeps(1, 120)
    # Each is open for two intervals at least, so that a sweep has seen it, whenever that was.
    begins = sorted(random.random() * count * setting("EVERY", 2.5) for _ in chosen)
    orders = [(at, "open", target) for at, target in zip(begins, chosen)]
    orders += [(at + interval * (2.2 + 2 * random.random()), "close", target) for at, _, target in orders]
    moments = {}
    began = time.monotonic()
    for at, word, target in sorted(orders):
        time.sleep(max(0.0, began + at - time.monotonic()))
        getattr(fleet, word)(target)
        moments[target, "firing" if word == "open" else "resolved"] = time.time()
    place.settle(set(), 3 * interval)
    place.wait_sweeps(2, 4 * interval)
    place.stop()
    judge(place, told_to(place, hook), set())
    told, late, seen = {}, [], set()
    for at, event in hook.got:
        if event["id"] in seen:
            continue
        seen.add(event["id"])
        require(event["event"] == "alert" and event["kind"] == "exposure", f"something else was told: {event}")
        key = (event["ip"], event["port"]), event["transition"]
        require(key in moments or event["transition"] == "annotated", f"told of nothing that was done: {event}")
        told[key] = told.get(key, 0) + 1
        if key in moments:
            late.append((at - moments[key], event["transition"]))
    wrong = [key for key in moments if told.get(key) != 1]
    require(not wrong, f"not told once: {wrong}")
    others = [key for key in told if key not in moments]
    require(not others, f"told besides: {others}")
    health = lines(place.path / "ops.jsonl")
    require(not health, f"the health sink was told: {health}")
    latest = {word: max(delay for delay, other in late if other == word) for word in ("firing", "resolved")}
    require(latest["firing"] <= interval + 5, f"an alert came {latest['firing']:.1f} s after its service opened")
    sweeps = [event["duration_ms"] for event in lines(place.path / "siem.jsonl") if event["event"] == "sweep.completed"]
    return (
        f"{count} opened, {count} alerts, {count} resolves, nothing else, every {interval} s; at the latest "
        f"{latest['firing']:.1f} s after it opened and {latest['resolved']:.1f} s after it closed; "
        f"{len(sweeps)} sweeps, the longest {max(sweeps) / 1000:.1f} s"
    )


# --- point 5: ten thousand at once -------------------------------------------------------------------------------


def burst():
    """Everything that the lab has open from the beginning is new in one sweep."""
    truth = [line for line in open(os.environ["LAB_TRUTH"], encoding="utf-8") if line.startswith("open ")]
    hook = Hook()
    place = Place("burst", hook, interval="60s", rate_max=400000, storm_above=20)
    place.start()
    siem = place.path / "siem.jsonl"

    def handed_over():
        try:
            return siem.read_text().count('"kind":"exposure"') >= len(truth) and hook.got
        except FileNotFoundError:
            return False

    until(handed_over, 120, lambda: f"{len(truth)} events and a page; {place.said()}", 0.05)
    ended = time.time()
    until(lambda: pending_of(place) == 0, 10, "the outbox is empty")
    booked = time.time()
    # The time of this event is the moment at which the sweep, its handshakes included, was over.
    words = lines(siem)
    over = next(event for event in words if event["event"] == "sweep.completed")
    begun = datetime.datetime.fromisoformat(over["time"]).timestamp()
    status = pathlib.Path(f"/proc/{place.daemon.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    place.stop()
    judge(place, told_to(place, hook))
    events = [event for event in alerts(words) if event["transition"] == "firing" and event["kind"] == "exposure"]
    pages = [(event["kind"], event["transition"]) for event in alerts(hook.events())]
    require(pages == [("storm", "firing")], f"people were told {pages[:9]}")
    require(len(events) == len(truth), f"{len(events)} events")
    require(booked - begun < 5, f"handed over {booked - begun:.1f} s after the sweep")
    return (
        f"{len(events)} new exposures: {len(events)} events and one page, handed over {ended - begun:.2f} s after the "
        f"sweep and its {over['second_look']['targets']} handshakes, booked {booked - begun:.2f} s after it; "
        f"{peak:.0f} MiB at most"
    )


# --- point 6: idle -----------------------------------------------------------------------------------------------


def burnt(pid):
    """Seconds of processor time, and resident MiB."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident


def idle():
    """What a quiet watch costs."""
    seconds = setting("IDLE", 300)
    hook = Hook()
    place = Place("idle", hook, interval="60s", second_look="5s", heartbeat="60s")
    place.start()
    place.wait_sweeps(1)
    time.sleep(1)
    before, _ = burnt(place.daemon.pid)
    began, most = time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        time.sleep(1)
        after, resident = burnt(place.daemon.pid)
        most = max(most, resident)
    percent = 100 * (after - before) / (time.monotonic() - began)
    sweeps = place.sweeps()
    place.stop()
    require(percent < 1, f"{percent:.2f} % of a core")
    require(most < 40, f"{most:.1f} MiB")
    return f"{os.environ['LAB_NETWORK']} x 6 every 60 s: {percent:.2f} % of a core, {most:.1f} MiB, {sweeps} sweeps"


def growth():
    """Whether memory grows when a day's sweeps are made in minutes, with a change in each."""
    seconds = setting("GROWTH", 600)
    fleet, hook = Fleet(), Hook()
    place = Place("growth", hook, second_look="1s", heartbeat="1s")
    targets = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 16)
    place.start()
    place.wait_sweeps(5)
    began, sizes, at = time.monotonic(), [], 0
    while time.monotonic() - began < seconds:
        fleet.open(targets[at % len(targets)])
        if at > 0:
            fleet.close(targets[(at - 1) % len(targets)])
        at += 1
        place.wait_sweeps(2)
        sizes.append((time.monotonic() - began, burnt(place.daemon.pid)[1]))
    sweeps = place.sweeps()
    finish(place, hook, fleet)
    third = seconds / 3
    middle = max(size for when, size in sizes if third < when <= 2 * third)
    last = max(size for when, size in sizes if when > 2 * third)
    first = max(size for when, size in sizes if when <= third)
    require(last - middle < 1, f"{first:.1f}, {middle:.1f}, {last:.1f} MiB in the thirds of the time")
    sizes = f"{first:.1f}, {middle:.1f}, {last:.1f} MiB at most in the thirds of {seconds} s"
    return f"{sweeps} sweeps, {at} changes: {sizes}"


# --- points 7 and 8: clocks and disks ------------------------------------------------------------------------------


def faketime():
    """The library that shows a program another time of day, without a word to the machine's own clock."""
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    require(found, "no libfaketime here (Debian: libfaketime)")
    return str(found[0])


class Clock:
    """A time of day that can be set while the daemon runs. Monotonic clocks go on as they are."""

    def __init__(self, path):
        self.path = path
        self.set(0)
        self.env = {
            "LD_PRELOAD": faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds):
        # By renaming, so that nobody reads half of it.
        new = self.path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.path)


def clock():
    """Steps of the clock, and back, while services open and close."""
    year = 365 * 86400
    done = []
    for step in (-1, 3600, -3600, year, -year):
        fleet, hook = Fleet(), Hook()
        place = Place("clock", hook, interval="2s", heartbeat="2s")
        clocks = Clock(place.path / "clock")
        targets = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 4)
        place.start(env=clocks.env)
        place.wait_sweeps(1)
        fleet.open(targets[1])
        place.settle(fleet.is_open, 15)
        clocks.set(step)
        set_at, before = time.monotonic(), place.sweeps()
        fleet.open(targets[2])
        opened = place.settle(fleet.is_open, 15)
        fleet.close(targets[1])
        closed = place.settle(fleet.is_open, 15)
        place.wait_sweeps(3)
        passed, swept = time.monotonic() - set_at, place.sweeps() - before
        require(abs(swept - passed / 2) <= 1.5, f"{step:+d} s: {swept} sweeps in {passed:.1f} s, one is due every 2 s")
        clocks.set(0)
        fleet.close(targets[2])
        back = place.settle(fleet.is_open, 15)
        time.sleep(3)
        place.wait_sweeps(1)
        place.stop()
        judge(place, told_to(place, hook), set())
        told = [(event["kind"], event["transition"]) for event in alerts(hook.events())]
        require(sorted(told) == sorted([("exposure", "firing"), ("exposure", "resolved")] * 2), f"{step:+d} s: {told}")
        own = [(event["kind"], event["transition"]) for event in alerts(lines(place.path / "ops.jsonl"))]
        meant = [("clock-stepped", "firing"), ("clock-stepped", "resolved")] if abs(step) > 300 else []
        require(own == meant, f"{step:+d} s: {own} of the clock, {meant} are meant")
        done.append(f"{step:+d} s (told within {max(opened, closed, back):.1f} s)")
    said = "no alert besides, no resolve missed, a sweep at each due time; the large ones are an alert of their own"
    return f"{', '.join(done)}: {said}"


def fill(directory, last):
    """Takes all the room that a file system has left, and what is left of the last page of a file on it."""
    size = last.stat().st_size
    padding = json.dumps({"event": "padding", "id": "padding", "pad": ""})
    room = -(size + len(padding) + 1) % 4096
    with open(last, "a", encoding="utf-8") as lines_of_it:
        lines_of_it.write(padding.replace('"pad": ""', f'"pad": "{"x" * room}"') + "\n")
    require(last.stat().st_size % 4096 == 0, "the last page is not full")
    path = directory / "ballast"
    require(shutil.disk_usage(directory).free > 0, f"{directory} is full before it is filled")
    with open(path, "wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            pass
    require(shutil.disk_usage(directory).free == 0, f"{directory} is not full")
    return path


def trouble(place, hook, fleet, begin, end, told_meanwhile):
    """The database cannot be written between `begin` and `end`, while one service opens and another closes."""
    targets = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 4)
    ops = place.path / "ops.jsonl"
    place.start()
    place.wait_sweeps(1)
    fleet.open(targets[1])
    place.settle(fleet.is_open)
    place.wait_sweeps(1)
    until(lambda: pending_of(place) == 0, 10, "the outbox is empty")
    kept = begin()
    before = books_of(place.store)
    fleet.open(targets[2])

    def heard():
        return until(lambda: firing(hook.events()) == fleet.is_open, 30, lambda: f"the webhook hears; {place.said()}")

    late = heard()
    fleet.close(targets[1])
    late = max(late, heard())
    require(told_meanwhile() is None, told_meanwhile())
    until(lambda: '"store-failed"' in ops.read_text(), 10, lambda: f"the health sink hears; {place.said()}")
    require("cannot be written" in place.log.read_text(), f"it is not loud: {place.said()}")
    after = books_of(place.store)
    require(after[1] == before[1], "the database knows of words that it could not write")
    place.wait_sweeps(2)
    end(kept)
    began = time.monotonic()
    own = ["firing", "resolved"]
    until(
        lambda: [event["transition"] for event in alerts(lines(ops)) if event["kind"] == "store-failed"] == own,
        60,
        lambda: f"the trouble with the database is over; {place.said()}",
    )
    healed = time.monotonic() - began
    place.settle(fleet.is_open)
    fleet.close(targets[2])
    words, repeats = finish(place, hook, fleet)
    require(repeats == 0, f"{repeats} words were told twice")
    told = f"{words} words, none twice, books closed"
    return f"told within {late:.1f} s meanwhile, recovered {healed:.1f} s after the end, {told}"


def full():
    """The database and one sink on a file system that is full for a while."""
    small = pathlib.Path(os.environ["LAB_DIR"]) / "small"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "lab", small], check=True)
    fleet, hook = Fleet(), Hook()
    place = Place("full", hook, store=str(small / "alerts.db"), soc_file=str(small / "soc.jsonl"))

    def told_meanwhile():
        return None if len(alerts(lines(place.soc_file))) == 1 else "the sink on the full disk has been told something"

    said = trouble(place, hook, fleet, lambda: fill(small, place.soc_file), os.unlink, told_meanwhile)
    return f"disk full: {said}"


def readonly():
    """A file system that turns read-only under the daemon: every call that changes the database is refused."""
    said = []
    for error in ("EROFS", "EIO"):
        fleet, hook = Fleet(), Hook()
        place = Place("readonly", hook)

        def begin():
            calls = "pwrite64,ftruncate,fsync,fdatasync"
            files = [word for end in ("", "-wal", "-shm") for word in ("-P", f"{place.store}{end}")]
            command = ["strace", "-f", "-o", "/dev/null", *files, "-e", f"inject={calls}:error={error}"]
            tracer = subprocess.Popen(
                [*command, "-p", str(place.daemon.pid)], stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
            )
            require("attached" in tracer.stderr.readline(), "strace cannot attach")
            time.sleep(0.5)
            return tracer

        said.append(f"{error}: {trouble(place, hook, fleet, begin, detach, lambda: None)}")
    # A file system cannot be made read-only while somebody has a file open for writing; before the start it can.
    frozen = pathlib.Path(os.environ["LAB_DIR"]) / "frozen"
    frozen.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "lab", frozen], check=True)
    place = Place("frozen-start", Hook(), store=str(frozen / "alerts.db"))
    place.start()
    place.wait_sweeps(1)
    place.stop()
    subprocess.run(["mount", "-o", "remount,ro", frozen], check=True)
    refused = place.run("watch", "--config", "watch.toml")
    require(refused.returncode == 2 and str(place.store) in refused.stderr, f"{refused.returncode} {refused.stderr}")
    subprocess.run(["mount", "-o", "remount,rw", frozen], check=True)
    place.start()
    place.wait_sweeps(1)
    place.stop()
    said.append("remounted read-only before the start: exit status 2 and the path, and it starts when that is over")
    return "; ".join(said)


# --- point 10: mistakes ------------------------------------------------------------------------------------------

# What is replaced by what, and what must be named: the value, or the key.
MISTAKES = (
    ("syntax", 'name = "risky"', "name = risky", "risky"),
    ("unknown key", 'interval = "1s"', 'interval = "1s"\nintervall = "5s"', "intervall"),
    ("unit", 'interval = "1s"', 'interval = "10"', "10"),
    ("number", "storm_above = 1000", "storm_above = -1", "-1"),
    ("network", 'networks = ["{network}"]', 'networks = ["198.18.7.0/33"]', "198.18.7.0/33"),
    ("engine", 'engine = "packet"', 'engine = "pakcet"', "pakcet"),
    ("kind of sink", 'kind = "webhook"', 'kind = "webhok"', "webhok"),
    ("route", 'health = ["ops"]', 'health = ["opps"]', "opps"),
    ("canary", 'canaries = ["{canary}:22"]', 'canaries = ["198.19.0.1:22"]', "198.19.0.1"),
    ("duplicate", 'name = "soc-file"', 'name = "soc"', "soc"),
    # An address may hold a secret, so that no part of it is repeated.
    ("address", 'url = "{hook}"', 'url = "ftp://hook.example.net/"', "neither http nor https"),
)

# Where one of these is, others cannot be looked for: a canary outside a network that cannot be read, for example.
HIDING = ("syntax", "network", "kind of sink")


def mistakes():
    """Reload with each of the mistakes keeps the old configuration, says where it is, and is over with the next."""
    fleet, hook = Fleet(), Hook()
    place = Place("mistakes", hook)
    file, ops = place.path / "watch.toml", place.path / "ops.jsonl"
    good = file.read_text()
    targets = targets_of(os.environ["LAB_NETWORK"].split("/")[0], 16)
    place.start()
    place.wait_sweeps(1)
    everything = good
    for at, (name, right, wrong, named) in enumerate(MISTAKES):
        right = right.format(**place.settings)
        require(right in good, f"{name}: {right} is not in the file")
        bad = good.replace(right, wrong, 1)
        line = next(n for n, (a, b) in enumerate(zip(good.split("\n"), bad.split("\n")), 1) if a != b)
        if name not in HIDING:
            everything = everything.replace(right, wrong, 1)
        file.write_text(bad)
        place.daemon.send_signal(signal.SIGHUP)
        told = lambda: [e for e in alerts(lines(ops)) if e["kind"] == "config-rejected"]
        until(lambda: len(told()) == 2 * at + 1, 15, lambda: f"{name}: an alert; {place.said()}")
        message = told()[-1]["message"]
        where = re.search(r"watch\.toml:(\d+):(\d+)", message)
        require(where and int(where[1]) == line and named in message, f"{name}: line {line} and {named}: {message}")
        require(where[0] in place.log.read_text(), f"{name}: it is not in the log")
        # The old one holds: what opens now is told as before.
        fleet.open(targets[at])
        place.settle(fleet.is_open, 15)
        file.write_text(good)
        place.daemon.send_signal(signal.SIGHUP)
        until(lambda: len(told()) == 2 * at + 2, 15, lambda: f"{name}: its end; {place.said()}")
        require(told()[-1]["transition"] == "resolved", f"{name}: its end")
    finish(place, hook, fleet)
    file.write_text(everything)
    checked = place.run("config", "check", "watch.toml")
    found = checked.stdout + checked.stderr
    count = len(set(re.findall(r"watch\.toml:\d+:\d+", found)))
    missing = [name for name, _, _, named in MISTAKES if name not in HIDING and named not in found]
    is_told = checked.returncode == 2 and not missing
    require(is_told, f"config check: {checked.returncode}, {missing} are not named: {found}")
    held = "each by file, line, column and value, and the old configuration held"
    return f"{len(MISTAKES)} kinds, {held}; config check: {count} at once"


POINTS = {
    "kills": kills,
    "inject": inject,
    "born": born,
    "opens": opens,
    "burst": burst,
    "idle": idle,
    "growth": growth,
    "clock": clock,
    "full": full,
    "readonly": readonly,
    "mistakes": mistakes,
}


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
