#!/bin/sh
# Pictures of a control run's report, for whoever changes how it looks: at the width of a phone and of a desk, light and
# dark, and as it is printed.
#
#   scripts/report-shots.sh OUT [REPORT.html]
#
# Without a report one is made in the lab, by target/debug/portreeve; that needs root, and `cargo build --example
# lab-fleet --bin portreeve` before. Needs chromium and pdftoppm (Debian: chromium, poppler-utils). Nothing is fetched:
# the browser is given one file, and no network that answers.
set -eu

out=${1:?where do the pictures go?}
report=${2:-}
target=${CARGO_TARGET_DIR:-target}
here=$(dirname "$0")
mkdir -p "$out"
out=$(cd "$out" && pwd)

for tool in chromium pdftoppm; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 2; }
done

if [ -z "$report" ]; then
    rm -rf "$out/evidence"
    cat >"$out/allow.toml" <<'ALLOW'
[[allow]]
hosts = ["198.18.0.0/28"]
ports = ["1-12000"]
id = "NET-412"
reason = "listeners of the network team"
owner = "netops@example.com"
approver = "ciso@example.com"
compensating = "management network only, by way of the bastion"
expires = 2099-12-31

[[allow]]
hosts = ["198.18.0.16/28"]
ports = [22]
id = "NET-399"
reason = "bastion"
owner = "netops@example.com"
approver = "ciso@example.com"
expires = 2020-10-31
ALLOW
    "$here/lab.sh" run --network 198.18.0.0/26 --open 40 --quick --fleet "$target/debug/examples/lab-fleet" -- \
        "$target/debug/portreeve" control 198.18.0.0/26 --ports 1-12000 --out "$out/evidence" --authorization lab \
        --rate 50k --host-rate none --network-rate none --unsigned --tile 200000 --allowlist "$out/allow.toml" \
        >"$out/run.log" 2>&1 || [ $? -eq 1 ] || { tail -n 5 "$out/run.log" >&2; exit 2; }
    report=$out/evidence/report.html
fi
report=$(cd "$(dirname "$report")" && pwd)/$(basename "$report")

profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
browse() {
    timeout 120 chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
        --host-resolver-rules='MAP * ~NOTFOUND' "$@" "file://$report" >/dev/null 2>&1
}
browse --window-size=1280,5200 --screenshot="$out/desk.png"
browse --window-size=1280,5200 --force-dark-mode --blink-settings=preferredColorScheme=0 --screenshot="$out/dark.png"
# No window of a browser is as narrow as a phone; a frame is.
frame=$profile/phone.html
printf '<!DOCTYPE html><body style="margin:0"><iframe src="file://%s" width="360" height="7600" style="border:0">' \
    "$report" >"$frame"
timeout 120 chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
    --window-size=500,7600 --screenshot="$out/phone.png" "file://$frame" >/dev/null 2>&1
browse --no-pdf-header-footer --print-to-pdf="$out/report.pdf"
pdftoppm -r 60 -png "$out/report.pdf" "$out/print"
ls "$out"
