"""Gives what the program wrote to those who know the formats and do not know the program.

usage: judge.py DIR          the files of scripts/conformance.sh, and the golden files of the tests
       judge.py --self-test  good records with one field changed, each of which its judge must refuse

A judge yields a sentence for each thing that is wrong. One check is one file before one judge. A new format is a judge
and a row in JUDGES.
"""

import copy
import csv
import datetime
import io
import ipaddress
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import ocsf_json_schema
import pycef
import pytest_splunk_addon
from syslog_rfc5424_parser import ParseError, SyslogMessage

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
GOLDEN = REPO / "tests" / "data" / "formats"


# --- the events themselves ---------------------------------------------------------------------------------------


def lines(text):
    """The lines of a text, with their numbers. Every one of them has an end."""
    if text and not text.endswith("\n"):
        yield 0, None
    for number, line in enumerate(text.split("\n")[:-1], 1):
        yield number, line


def json_lines(text):
    for number, line in lines(text):
        if line is None:
            yield 0, None, "the last line has no end"
            continue
        try:
            yield number, json.loads(line), None
        except ValueError as error:
            yield number, None, f"no JSON: {error}"


def each(text, check):
    """The same check for each line of JSON."""
    count = 0
    for number, record, wrong in json_lines(text):
        count += 1
        for why in [wrong] if wrong else check(record):
            yield f"line {number}: {why}"
    if count == 0:
        yield "there is nothing in it"


class Jsonl:
    """Python's json, and the program's own JSON Schema before PyPI's jsonschema."""

    def __init__(self, schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        self.definitions = {}
        for entry in schema["oneOf"]:
            name = entry["$ref"].rsplit("/", 1)[1]
            event = schema["$defs"][name]["properties"]["event"]
            one = {"$schema": schema["$schema"], "$ref": entry["$ref"], "$defs": schema["$defs"]}
            for word in event.get("enum", [event.get("const")]):
                self.definitions[word] = jsonschema.Draft202012Validator(one)

    def __call__(self, text):
        return each(text, self.check)

    def check(self, event):
        validator = self.definitions.get(event.get("event"))
        if validator is None:
            yield f"the schema knows no event {event.get('event')}"
            return
        for error in validator.iter_errors(event):
            yield f"{error.json_path}: {error.message[:200]}"


# --- ECS ---------------------------------------------------------------------------------------------------------


class Ecs:
    """The field list of ECS 9.4.0 itself: names, types, arrays, allowed values, and which types a category expects."""

    def __init__(self):
        self.fields = {}
        for line in (HERE / "ecs-9.4.0.tsv").read_text().splitlines():
            if not line.startswith("#"):
                name, kind, normalize, allowed, _ = line.split("\t")
                values = dict((word.split(":") + [""])[:2] for word in allowed.split(",") if word)
                self.fields[name] = (kind, "array" in normalize, values)

    def __call__(self, text):
        return each(text, self.check)

    def check(self, event):
        for needed in ["@timestamp", "ecs.version", "event.kind"]:
            if next(values(event, needed), None) is None:
                yield f"no {needed}"
        if list(values(event, "ecs.version")) != ["9.4.0"]:
            yield "another version of ECS"
        yield from self.within(event, "")
        types = set(values(event, "event.type"))
        for category in values(event, "event.category"):
            expected = self.fields["event.category"][2].get(category, "").split("+")
            if not types <= set(expected):
                yield f"the category {category} expects no {types - set(expected)}"

    def within(self, value, place):
        for name, inner in value.items():
            path = f"{place}{name}"
            if path == "labels":
                yield from labels(inner)
            elif path == "portreeve":
                # ECS leaves a name of one's own to whoever wants it.
                continue
            elif isinstance(inner, dict):
                yield from self.within(inner, f"{path}.")
            elif path not in self.fields:
                yield f"{path} is no field of ECS"
            else:
                yield from self.field(path, inner)

    def field(self, path, value):
        kind, is_array, allowed = self.fields[path]
        if is_array != isinstance(value, list):
            yield f"{path} must {'' if is_array else 'not '}be an array"
            return
        for item in value if is_array else [value]:
            if not TYPES[kind](item):
                yield f"{path}: {item!r} is no {kind}"
            if allowed and item not in allowed:
                yield f"{path}: {item!r} is not allowed"


def labels(value):
    for name, item in value.items():
        if not isinstance(item, str) or len(item) > 1024:
            yield f"labels.{name}: {item!r} is no keyword"


def values(event, path):
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    if event is not None:
        yield from event if isinstance(event, list) else [event]


def is_date(value):
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def is_ip(value):
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TYPES = {
    # Longer ones are not indexed (ignore_above).
    "keyword": lambda value: isinstance(value, str) and len(value) <= 1024,
    "match_only_text": lambda value: isinstance(value, str),
    "wildcard": lambda value: isinstance(value, str),
    "date": is_date,
    "ip": is_ip,
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
    "float": is_number,
    "object": lambda value: isinstance(value, dict),
}


# --- OCSF --------------------------------------------------------------------------------------------------------


class Ocsf:
    """The schema of the event's class in OCSF 1.8.0, as PyPI's ocsf-json-schema has it."""

    def __init__(self):
        self.source = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf_json_schema.get_ocsf_schema("1.8.0"))
        self.validators = {}

    def __call__(self, text):
        return each(text, self.check)

    def check(self, event):
        uid = event.get("class_uid")
        if uid not in self.validators:
            try:
                schema = self.source.get_class_schema(self.source.lookup_class_name_from_uid(uid))
            except (KeyError, TypeError, ValueError) as error:
                yield f"there is no class {uid}: {error}"
                return
            self.validators[uid] = jsonschema.Draft202012Validator(schema)
        for error in self.validators[uid].iter_errors(event):
            yield f"{error.json_path}: {error.message[:200]}"
        # What a schema of one class cannot say.
        if event.get("type_uid") != uid * 100 + event.get("activity_id", -1):
            yield "type_uid is not class_uid and activity_id"
        if event.get("category_uid") != uid // 1000:
            yield "category_uid is not that of the class"
        if event.get("metadata", {}).get("version") != "1.8.0":
            yield "another version of OCSF"
        if not 1_500_000_000_000 < event.get("time", 0) < 4_000_000_000_000:
            yield "time is not in milliseconds"


# --- Splunk ------------------------------------------------------------------------------------------------------


class Hec:
    """JSON objects one behind the other, and the required fields of Splunk's own data models."""

    KEYS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}

    def __init__(self):
        folder = Path(pytest_splunk_addon.__file__).parent / "data_models"
        self.models = {}
        for file, name in [("Alerts", "Alerts"), ("Vulnerabilities", "Vulnerabilities"), ("Endpoint", "Ports")]:
            for model in json.loads((folder / f"{file}.json").read_text())["objects"]:
                if model["name"] == name:
                    self.models[name] = model["fields"]

    def __call__(self, text):
        decoder, at, count = json.JSONDecoder(), 0, 0
        while at < len(text):
            try:
                record, at = decoder.raw_decode(text, at)
            except ValueError as error:
                yield f"no JSON: {error}"
                return
            count += 1
            for why in self.check(record):
                yield f"object {count}: {why}"
            at = len(text) - len(text[at:].lstrip())
        if count == 0:
            yield "there is nothing in it"

    def check(self, record):
        if set(record) - self.KEYS:
            yield f"unknown keys {set(record) - self.KEYS}"
        if not is_number(record.get("time")) or not 1_500_000_000 < record["time"] < 4_000_000_000:
            yield "time is not in seconds"
        for name in ["host", "source", "sourcetype"]:
            if not isinstance(record.get(name), str):
                yield f"{name} is no text"
        for name, value in record.get("fields", {}).items():
            if isinstance(value, (dict, bool)) or value is None:
                yield f"fields.{name} is not flat"
        event = record.get("event")
        if not isinstance(event, dict) or not event:
            yield "no event"
            return
        for model in self.models_of(record["sourcetype"], event):
            yield from self.fits(model, event)
        if event.get("type") == "alert" and record["sourcetype"] != "portreeve:exposure":
            yield "something that is no matter of security is an alert"

    def models_of(self, source_type, event):
        if source_type == "portreeve:exposure":
            return ["Alerts", "Vulnerabilities"]
        return ["Ports"] if source_type == "portreeve:port" and event.get("port_state") == "open" else []

    def fits(self, model, event):
        is_about_port = "dest_port" in event
        for field in self.models[model]:
            name, value = field["name"], event.get(field["name"])
            if model == "Ports" and not is_about_port:
                continue
            if field["type"] == "required" and value is None:
                yield f"{model} requires {name}"
            if field.get("expected_values") and value is not None and value not in field["expected_values"]:
                yield f"{model}.{name}: {value!r} is not one of {field['expected_values']}"


# --- syslog and CEF ----------------------------------------------------------------------------------------------

ALONE = re.compile(r"(?<!\\)(?:\\\\)*=")


class Cef:
    """The message before PyPI's syslog-rfc5424-parser, and the event in it before PyPI's pycef."""

    def __call__(self, text):
        count = 0
        for number, line in lines(text):
            count += 1
            for why in ["the last line has no end"] if line is None else self.check(line):
                yield f"line {number}: {why}"
        if count == 0:
            yield "there is nothing in it"

    def check(self, line):
        try:
            message = SyslogMessage.parse(line).as_dict()
        except ParseError as error:
            yield f"no RFC 5424: {str(error)[:200]}"
            return
        for name in ["appname", "procid", "msgid", "hostname", "timestamp"]:
            if not message.get(name):
                yield f"the header has no {name}"
        if not message["sd"].get("portreeve@32473", {}).get("id"):
            yield "the structured data has no id"
        event = pycef.parse(message["msg"])
        if not message["msg"].startswith("CEF:0|") or event is None:
            yield "no CEF"
            return
        yield from self.event(message["msg"], event)

    def event(self, text, event):
        for name in ["DeviceVendor", "DeviceProduct", "DeviceVersion", "DeviceEventClassID", "Name", "rt", "msg"]:
            if not event.get(name):
                yield f"no {name}"
        if not (event.get("Severity") or "").isdigit() or int(event["Severity"]) > 10:
            yield f"severity {event.get('Severity')}"
        # As many pairs as there are signs that are not escaped: nothing that others wrote has made one.
        extension = text.split("|", 7)[7]
        pairs = len(ALONE.findall(extension))
        labels = len(re.findall(r"(?:^| )\w+Label=", extension))
        known = len([name for name in event if not name.startswith(("Device", "CEF", "Name", "Severity"))])
        if pairs - labels != known:
            yield f"{pairs - labels} pairs, of which pycef has found {known}"
        for name in ["src", "dst"]:
            if name in event and not (is_ip(event[name]) and "." in event[name]):
                yield f"{name}: {event[name]} is no IPv4 address"
        for name in ["Source IPv6 Address", "Destination IPv6 Address"]:
            if name in event and not (is_ip(event[name]) and ":" in event[name]):
                yield f"{name}: {event[name]} is none"
        if "dpt" in event and not (event["dpt"].isdigit() and 0 < int(event["dpt"]) < 65536):
            yield f"dpt: {event['dpt']}"


# --- documents ---------------------------------------------------------------------------------------------------


class DefectDojo:
    """What DefectDojo's Generic Findings Import takes: it raises an error for any other key."""

    KEYS = set(
        "title severity description date cwe cve cvssv3 cvssv3_score mitigation impact steps_to_reproduce "
        "severity_justification references active verified false_p out_of_scope risk_accepted under_review is_mitigated "
        "thread_id mitigated numerical_severity param payload line file_path component_name component_version "
        "static_finding dynamic_finding scanner_confidence unique_id_from_tool vuln_id_from_tool sast_source_object "
        "sast_sink_object sast_source_line sast_source_file_path nb_occurences publish_date service "
        "planned_remediation_date planned_remediation_version effort_for_fixing tags endpoints files "
        "vulnerability_ids".split()
    )
    SEVERITIES = ["Info", "Low", "Medium", "High", "Critical"]

    def __call__(self, text):
        try:
            document = json.loads(text)
        except ValueError as error:
            yield f"no JSON: {error}"
            return
        findings = document.get("findings")
        if not isinstance(findings, list):
            yield "no list of findings"
            return
        seen = set()
        for number, finding in enumerate(findings, 1):
            for why in self.check(finding):
                yield f"finding {number}: {why}"
            identity = finding.get("unique_id_from_tool")
            if identity in seen:
                yield f"finding {number}: {identity} is there twice"
            seen.add(identity)

    def check(self, finding):
        if set(finding) - self.KEYS:
            yield f"keys that are not allowed: {set(finding) - self.KEYS}"
        for name in ["title", "severity", "description"]:
            if not isinstance(finding.get(name), str) or not finding[name]:
                yield f"no {name}"
        if finding.get("severity") not in self.SEVERITIES:
            yield f"severity {finding.get('severity')!r}"
        if len(finding.get("title", "")) > 511:
            yield "the title is too long"
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", finding.get("date", "")):
            yield "no date"
        for endpoint in finding.get("endpoints", []):
            if set(endpoint) - {"host", "port", "protocol"} or not is_ip(endpoint.get("host")):
                yield f"endpoint {endpoint}"
            if "port" in endpoint and not (isinstance(endpoint["port"], int) and 0 < endpoint["port"] < 65536):
                yield f"port {endpoint['port']}"


class Prometheus:
    """Debian's promtool, which reads and lints; and that no series is about one address."""

    def __call__(self, text):
        told = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        if told.returncode != 0 or told.stderr:
            yield f"promtool: {(told.stderr or told.stdout).strip()[:300]}"
        if "portreeve_sweep_verdict{" not in text:
            yield "no verdict"
        if re.search(r"\d+\.\d+\.\d+\.\d+\"", re.sub(r'version="[^"]*"', "", text)):
            yield "a series for an address"


class Csv:
    """Python's csv: as many cells as columns, and no cell that a spreadsheet executes."""

    def __call__(self, text):
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if len(rows) < 2:
            yield "there is nothing in it"
        for number, row in enumerate(rows, 1):
            if len(row) != len(rows[0]):
                yield f"row {number} has {len(row)} cells instead of {len(rows[0])}"
            for cell in row:
                if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                    yield f"row {number} has a formula: {cell[:50]}"
                if re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", cell):
                    yield f"row {number} has a control character"


# --- checks ------------------------------------------------------------------------------------------------------

JUDGES = {
    "ecs": Ecs,
    "ocsf": Ocsf,
    "hec": Hec,
    "cef": Cef,
    "defectdojo": DefectDojo,
    "prometheus": Prometheus,
    "csv": Csv,
}


class Checks:
    """Counts what has passed, and says what has not."""

    def __init__(self):
        self.passed = self.failed = 0

    def note(self, name, wrong):
        wrong = list(wrong)
        if wrong:
            self.failed += 1
            print(f"FAILED {name}: {len(wrong)} things are wrong")
            for why in wrong[:5]:
                print(f"    {why}")
        else:
            self.passed += 1
            print(f"ok {name}")

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def has_all(text, wanted):
    """What must be in a file, or the check before it was one of nothing."""
    return [f"{word!r} is not in it" for word in wanted if word not in text]


def check_sweeps(checks, directory, judges):
    """Real sweeps and a real watch of the lab."""
    for word, judge in judges.items():
        for file in sorted(directory.glob(f"*.{word}")):
            text = file.read_text()
            checks.note(f"{word}: {file.name}, {text.count(chr(10))} lines", judge(text))
    for word, wanted in {
        "sweep.jsonl": ["HYPERLINK", "sweep.completed", '"verified":true'],
        "sweep.csv": ["HYPERLINK", "198.18.0.9"],
        "sweep.ecs": ["HYPERLINK", "exposure-found", "port-observed", '"failure"'],
        "sweep.ocsf": ["HYPERLINK", '"class_uid":2004', '"class_uid":4001', '"class_uid":6007'],
        "sweep.hec": ["HYPERLINK", "portreeve:exposure", "portreeve:port"],
        "sweep.cef": ["HYPERLINK", "CEF:0|portreeve|portreeve|"],
        "sweep.defectdojo": ["HYPERLINK", "<script>"],
        "stopped.defectdojo": ["Sweep was not complete"],
        "stopped.prometheus": ['portreeve_sweep_verdict{verdict="complete"} 0'],
        "stopped.ocsf": ['"activity_name":"Cancelled"'],
        "watch.ecs": ["exposure-firing", "exposure-resolved", "outage-firing", "config-loaded", "watch-stopped"],
        "watch.ocsf": ['"activity_name":"Create"', '"activity_name":"Close"', '"class_uid":6002'],
        "watch.hec": ["portreeve:exposure", "portreeve:health", "portreeve:watch"],
        "watch.cef": ["exposure.firing", "exposure.resolved"],
        "watch.jsonl": ['"transition":"resolved"', '"event":"heartbeat"'],
    }.items():
        file = directory / word
        checks.note(f"what {word} must have", has_all(file.read_text() if file.exists() else "", wanted))


def check_golden(checks, judges):
    """Every kind of event, as the tests hold the program to it."""
    for word in ["ecs", "ocsf", "hec", "cef"]:
        checks.note(f"{word}: every kind of event", judges[word]((GOLDEN / f"{word}.txt").read_text()))
    checks.note("ocsf: control results", judges["ocsf"]((GOLDEN / "control.jsonl").read_text()))
    checks.note("defectdojo: golden", judges["defectdojo"]((GOLDEN / "defectdojo.json").read_text()))
    checks.note("prometheus: golden", judges["prometheus"]((GOLDEN / "prometheus.prom").read_text()))


def ran(*command):
    """The status of a program, and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr


def judge_nmap(file):
    """nmap's own document type, and its own reader: a file does not differ from itself."""
    status, said = ran("xmllint", "--noout", "--dtdvalid", "/usr/share/nmap/nmap.dtd", str(file))
    if status != 0:
        yield f"xmllint: {said[:500]}"
    status, said = ran("ndiff", str(file), str(file))
    if status != 0:
        yield f"ndiff: status {status}: {said[:500]}"


def judge_masscan(text):
    """An array of hosts, each with one port, as masscan's own readers take it."""
    try:
        records = json.loads(text)
    except ValueError as error:
        yield f"no JSON: {error}"
        return
    if not isinstance(records, list):
        yield "no array"
        return
    for number, record in enumerate(records):
        try:
            ipaddress.ip_address(record["ip"])
            int(record["timestamp"])
            for port in record["ports"]:
                if not 1 <= port["port"] <= 65535 or port["proto"] != "tcp" or not isinstance(port["status"], str):
                    yield f"record {number}: {port}"
        except (KeyError, TypeError, ValueError) as error:
            yield f"record {number}: {error!r}"


def check_nmap(checks, directory):
    """Sweeps and evidence in nmap's form."""
    files = [directory / "sweep.nmap", *sorted(directory.glob("evidence.*.d/scan.xml"))]
    for file in files:
        wrong = judge_nmap(file) if file.exists() else ["it is not there"]
        checks.note(f"nmap: {file.relative_to(directory)}", wrong)
    text = (directory / "sweep.nmap").read_text()
    checks.note("what sweep.nmap must have", has_all(text, ["HYPERLINK", 'state="open"', 'scanner="nmap"']))


def check_masscan(checks, directory):
    """A sweep in masscan's form."""
    checks.note("masscan: sweep.masscan", judge_masscan((directory / "sweep.masscan").read_text()))


def check_control(checks, directory):
    """What a control run says, and what it leaves behind."""
    for word, wanted in {
        "control.jsonl": ["control.completed", '"verdict":"fail"', "HYPERLINK"],
        "control.ocsf": ['"class_uid":2003', '"status":"Fail"', "no-exposure-without-exception"],
        "control.ecs": ["control", "fail"],
        "control.hec": ["portreeve:"],
        "control.cef": ["CEF:0|portreeve|portreeve|"],
    }.items():
        checks.note(f"what {word} must have", has_all((directory / word).read_text(), wanted))
    for evidence in sorted(directory.glob("evidence.*.d")):
        with open(evidence / "open.csv", newline="") as file:
            rows = list(csv.reader(file, strict=True))
        wrong = [f"line {at}: {len(row)} cells" for at, row in enumerate(rows, 1) if len(row) != len(rows[0])]
        formulas = [cell for row in rows for cell in row if cell[:1] in "=+-@" and cell]
        checks.note(f"csv: {evidence.name}/open.csv", wrong + [f"a formula: {cell!r}" for cell in formulas])
        status, said = ran("sh", "-c", f"cd '{evidence}' && sha256sum --strict --quiet -c SHA256SUMS")
        checks.note(f"sha256sum: {evidence.name}", [said] if status else [])
        json.loads((evidence / "manifest.json").read_text())


# Formats that are no lines.
MORE = [check_nmap, check_masscan, check_control]


# --- judges that cannot say no -----------------------------------------------------------------------------------


def with_field(path, value):
    """A change of one field of the first record; None takes it out."""

    def change(text):
        record = json.loads(text.split("\n", 1)[0])
        inner = record
        *above, last = path
        for name in above:
            inner = inner[name]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
        return json.dumps(record) + "\n"

    return change


def swapped(old, new):
    def change(text):
        assert old in text, old
        return text.replace(old, new, 1)

    return change


def first_with(word):
    """The golden records from the first one on that has this word."""
    return lambda text: "\n".join(line for line in text.split("\n") if word in line) + "\n"


SELF_TEST = {
    "ecs": ("ecs.txt", first_with("exposure-firing"), [
        ("an unknown field", with_field(["event", "surprise"], "x")),
        ("a type of another category", with_field(["event", "type"], ["start"])),
        ("an unknown kind", with_field(["event", "kind"], "warning")),
        ("no array", with_field(["host", "ip"], "198.18.3.4")),
        ("no address", with_field(["destination", "ip"], "198.18.3.400")),
        ("a port in words", with_field(["destination", "port"], "6379")),
        ("a label that is no word", with_field(["labels", "n"], 3)),
        ("a text that nobody indexes", with_field(["rule", "name"], "x" * 2000)),
    ]),
    "ocsf": ("ocsf.txt", first_with('"class_uid":2004'), [
        ("seconds for milliseconds", with_field(["time"], 1_790_000_000)),
        ("an unknown field", with_field(["surprise"], 1)),
        ("an unknown field inside", with_field(["finding_info", "surprise"], 1)),
        ("no identifier", with_field(["finding_info", "uid"], None)),
        ("an activity of another type", with_field(["activity_id"], 3)),
        ("a severity that is none", with_field(["severity_id"], 12)),
    ]),
    "hec": ("hec.txt", first_with("portreeve:exposure"), [
        ("no signature", with_field(["event", "signature"], None)),
        ("another severity", with_field(["event", "severity"], "info")),
        ("milliseconds for seconds", with_field(["time"], 1_790_000_000_123)),
        ("an unknown key", with_field(["surprise"], 1)),
        ("health as an alert", with_field(["sourcetype"], "portreeve:health")),
        ("half an object", lambda text: text[:-20]),
    ]),
    "cef": ("cef.txt", first_with("exposure.firing"), [
        ("no priority", swapped("<", "")),
        ("structured data without an end", swapped('kind="exposure"', 'kind="exposure')),
        ("an equals sign that is not escaped", swapped("msg=", "msg=a =b c=d ")),
        ("an IPv6 address as dst", swapped("dst=198.18.3.4", "dst=2001:db8::1")),
        ("a severity above ten", swapped("|10|", "|11|")),
        ("an empty field", swapped("|portreeve|", "||")),
        ("a line that is cut", lambda text: text[:60]),
    ]),
    "defectdojo": ("defectdojo.json", lambda text: text, [
        ("an unknown key", swapped('"active"', '"surprise"')),
        ("another severity", swapped('"Low"', '"low"')),
        ("no description", swapped('"description":"`', '"descriptions":"`')),
        ("half a document", lambda text: text[:-5]),
        ("the same finding twice", lambda text: json.dumps(doubled(json.loads(text)))),
    ]),
    "prometheus": ("prometheus.prom", lambda text: text, [
        ("no help", lambda text: re.sub(r"# HELP .*\n", "", text)),
        ("a label that is not closed", swapped('state="open"', 'state="open')),
        ("no value", swapped("} 1\n", "} \n")),
        ("a series for an address", lambda text: text + 'portreeve_sweep_targets{state="198.18.0.1"} 1\n'),
        ("no verdict", lambda text: re.sub(r".*verdict.*\n", "", text)),
    ]),
    "csv": (None, lambda text: 'ip,port\n198.18.0.1,"a, ""b"""\n', [
        ("a cell too many", swapped("198.18.0.1,", "198.18.0.1,,")),
        ("a formula", swapped("198.18.0.1,", "=1+1,")),
        ("a control character", swapped("198.18.0.1,", "\x1b[2J,")),
    ]),
    "jsonl": (None, lambda text: (REPO / "tests/data/events/alert.jsonl").read_text(), [
        ("an unknown field", with_field(["surprise"], 1)),
        ("an unknown event", with_field(["event"], "sweep.paused")),
        ("half a line", lambda text: text[:-9]),
    ]),
}


def doubled(document):
    document["findings"].append(copy.deepcopy(document["findings"][0]))
    return document


def self_test(checks, judges):
    for word, (name, choose, changes) in SELF_TEST.items():
        good = choose((GOLDEN / name).read_text() if name else "")
        checks.note(f"{word}: as it is", judges[word](good))
        for what, change in changes:
            try:
                refused = list(judges[word](change(good)))
            except csv.Error as error:
                refused = [str(error)]
            checks.note(f"{word}: {what} is refused", [] if refused else ["its judge has said nothing"])


def main():
    checks = Checks()
    judges = {word: judge() for word, judge in JUDGES.items()}
    schema = REPO / "src/sink/event.schema.json"
    if sys.argv[1] == "--self-test":
        judges["jsonl"] = Jsonl(json.loads(schema.read_text()))
        self_test(checks, judges)
        return checks.end()
    directory = Path(sys.argv[1])
    judges["jsonl"] = Jsonl(json.loads((directory / "schema.json").read_text()))
    check_sweeps(checks, directory, judges)
    check_golden(checks, judges)
    for check in MORE:
        check(checks, directory)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
