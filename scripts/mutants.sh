#!/usr/bin/env bash
# Takes out one check after the other and looks whether the test that names it goes red. What a check is for is only
# known when something fails without it.
#
# All of them are taken out in one build: a copy of the checkout gets a switch beside each check, which a variable
# turns. So everything is compiled once, and each test is run twice: as it is, when it must pass, and without its check,
# when it must fail. The checkout itself is only read.
set -euo pipefail

SELF=$(readlink -f -- "${BASH_SOURCE[0]}")
REPO=$(dirname -- "$(dirname -- "$SELF")")
WORK=$(realpath -m -- "${CARGO_TARGET_DIR:-$REPO/target}")/mutants
TREE=$WORK/tree
LIMIT=120

usage() {
    cat <<'END'
usage: scripts/mutants.sh [--list] [NAME...]

  --list   name the checks and the tests that guard them, and end

Without a name, all of them are tried. The exit status is 0 if every test passes with its check and fails without it.
The tests of the links make network namespaces; where they cannot, their checks count as not guarded.
END
}

die() {
    printf 'mutants.sh: %s\n' "$*" >&2
    exit 2
}

# --- the checks and the tests ----------------------------------------------------------------------------------

# Each line: the name, the program that has the test ("lib" or one of tests/), and the test.
guards() {
    cat <<'END'
cookie-number      sim     forged_replies_change_nothing
cookie-port        sim     the_right_number_to_another_port_is_no_answer
icmp-number        sim     forged_replies_change_nothing
icmp-owner         lib     wire::frame::tests::ignores_an_error_about_somebody_elses_packet_or_of_the_other_family
canary-number      sim     replayed_answers_vouch_for_no_path
canary-kind        sim     who_answers_for_everybody_else_is_not_believed
canary-doubts      sim     who_answers_for_the_last_ones_is_not_believed
canary-retracts    sim     who_answers_for_everybody_else_is_not_believed
hint-again         sim     a_hint_of_the_network_is_not_the_last_word
router-heard       sim     an_error_of_a_router_proves_no_silence
stopped            lib     sweep::watch::tests::whoever_was_stopped_has_seen_nothing_and_gives_nobody_up
canary-settles     sim     answers_to_canaries_settle_no_target
never-probed       lib     target::table::tests::records_the_first_answer_and_the_better_one
drops-noticed      sim     what_was_in_flight_while_frames_were_dropped_is_probed_again
drops-void         sim     what_was_in_flight_while_frames_were_dropped_is_probed_again
path-void          sim     an_outage_makes_nothing_filtered_that_is_not
path-first         sim     an_outage_from_the_beginning_makes_nothing_filtered_that_is_not
path-lost          lib     sweep::watch::tests::a_path_that_does_not_come_back_is_lost_and_holds_up_nobody
guard-heard        sim     an_outage_without_end_leaves_the_rest_unknown
canaries-judge     sim     an_outage_makes_nothing_filtered_that_is_not
enough-tries       sim     a_receiver_that_never_sees_makes_everything_unknown_and_nothing_filtered
nothing-heard      sim     silence_where_nobody_ever_answered_proves_nothing
path-lossy         sim     silence_on_a_lossy_path_proves_nothing
conflict-again     sim     a_conflict_is_tried_as_often_as_silence
unknown-verdict    sim     a_receiver_that_never_sees_makes_everything_unknown_and_nothing_filtered
ledger-sum         lib     sweep::ledger::tests::notices_books_that_do_not_close
ledger-checked     lib     sweep::closing::tests::books_that_do_not_close_make_no_report
fence-holds        sim     nothing_passes_the_fence_even_if_the_scope_is_wrong
fence-packet       onlink  nothing_leaves_the_fence_by_the_packet_link
fence-raw          onlink  nothing_leaves_the_fence_by_the_raw_link
fence-connect      connect outside_the_fence
fence-handshake    lib     link::handshake::tests::nothing_goes_outside_the_fence
host-cap           sim     a_sweep_keeps_its_rate_its_host_cap_and_the_space_between_tries
network-cap        sim     a_sweep_keeps_the_cap_of_each_network
tries-apart        sim     tries_are_a_second_apart
verified           lib     policy::finding::tests::a_handshake_that_fails_takes_a_step_off_and_says_so
usurped-named      lib     sweep::watch::tests::somebody_else_who_answers_is_named_although_silence_was_noticed_first
watched-kept       sim     of_whoever_is_watched_and_not_seen_it_is_known_that_nothing_is
gone-complete      alerts  an_exposure_is_told_at_first_sight_and_resolved_by_a_complete_sweep_only
gone-folded        alerts  a_host_that_comes_to_accept_everything_resolves_nothing
three-failures     alerts  what_must_be_open_is_told_after_three_failures_and_once
flapping           alerts  five_changes_are_one_flapping_alert_with_a_beginning_and_an_end
storm              alerts  a_storm_is_one_message_to_people_and_every_event_to_machines
silenced           alerts  people_are_not_disturbed_by_what_is_over_when_the_silence_ends
outage-in-scope    lib     policy::outage::tests::only_what_is_in_scope_is_listed_however_much_is_named
outage-graded      lib     policy::outage::tests::a_grade_says_what_the_expectation_does_not
behind-database    desk    trouble::an_end_that_is_only_in_memory_does_not_overtake_a_beginning_that_is_in_the_database
noted-delivery     desk    trouble::what_was_delivered_and_could_not_be_noted_is_not_delivered_again
fewest-attempts    desk    delivery::what_is_old_is_tried_often_enough_before_it_is_given_up
left-alone         desk    delivery::a_receiver_is_left_alone_for_as_long_as_it_asks
given-up           desk    delivery::what_no_receiver_takes_is_given_up_with_its_reason_and_that_is_told_elsewhere
clock-moved        store   outbox::a_step_of_the_clock_moves_what_waits
END
}

# Puts the switches in: FILE, what stands there exactly once, and what is to stand there instead. `OUT(x)` is true if the
# check x is taken out.
switches() {
    put src/sweep/receiver.rs '&target, *try_number);
        (token.sequence, token.source_port) == acknowledged(reply)' '&target, *try_number);
        let (sequence, port) = acknowledged(reply);
        let is_icmp = matches!(reply.answer, Said::Icmp { .. });
        (token.sequence == sequence || OUT(cookie-number) || (is_icmp && OUT(icmp-number)))
            && (token.source_port == port || OUT(cookie-port) || OUT(cookie-number)
                || (is_icmp && OUT(icmp-number)))'
    put src/sweep/receiver.rs '&target, serial);
            (token.sequence, token.source_port) == acknowledged(reply)' '&target, serial);
            OUT(canary-number) || (token.sequence, token.source_port) == acknowledged(reply)'
    put src/sweep/receiver.rs 'let as_before = is_as_before(cell.reason(), reply);' \
        'let as_before = is_as_before(cell.reason(), reply).map(|as_before| as_before || OUT(canary-kind));'
    put src/sweep/board.rs 'self.doubted_until.set((at + DOUBT).as_nanos());' \
        'if !OUT(canary-doubts) { self.doubted_until.set((at + DOUBT).as_nanos()); }'
    put src/sweep/sender/voiding.rs '&& board.table.retract(position)' \
        '&& !OUT(canary-retracts) && board.table.retract(position)'
    put src/target/table.rs '|| self.reason().is_hint())' '|| (self.reason().is_hint() && !OUT(hint-again)))'
    put src/sweep/receiver.rs 'Said::Icmp { by, .. } => by == reply.ip,' \
        'Said::Icmp { by, .. } => by == reply.ip || OUT(router-heard),'
    put src/sweep/watch.rs 'if gap > STOPPED_AFTER {' 'if gap > STOPPED_AFTER && !OUT(stopped) {'
    put src/sweep/receiver.rs 'try_number: answered }' \
        'try_number: answered.or(OUT(canary-settles).then_some(1)) }'
    put src/sweep/receiver.rs 'Word::Bad(trouble) =>' \
        'Word::Bad(_) if OUT(guard-heard) => Testimony::Good(now),
                Word::Bad(trouble) =>'
    put src/wire/frame.rs 'quoted.source != ip.destination' '(quoted.source != ip.destination && !OUT(icmp-owner))'
    put src/target/table.rs 'if before.sent() == 0 {' 'if before.sent() == 0 && !OUT(never-probed) {'
    put src/target/table.rs '|| self.is_contradictory() ||' '|| (self.is_contradictory() && !OUT(conflict-again)) ||'
    put src/sweep/watch.rs 'if drops != self.drops {' 'if drops != self.drops && !OUT(drops-noticed) {'
    put src/sweep/watch.rs 'if let Some(reason) = trouble {' \
        'if let Some(reason) = trouble.filter(|_| !OUT(path-void)) {'
    put src/sweep/watch.rs 'if sent.since(self.began) > patience {' \
        'if sent.since(self.began) > patience && !OUT(path-first) {'
    put src/sweep/watch.rs 'let reason = reason.unwrap_or(UnknownReason::CanariesSilent);' \
        'let reason = reason.unwrap_or(UnknownReason::CanariesSilent);
                if OUT(path-lost) { continue; }'
    put src/sweep/sender/voiding.rs 'self.void(&slice, now);' 'if !OUT(drops-void) { self.void(&slice, now); }'
    put src/sweep/sender/mod.rs 'if elapsed < space {' 'if elapsed < space && !OUT(tries-apart) {'
    put src/sweep/canary/listener.rs 'if before.is_none() && self.suspect.is_some() {' \
        'if OUT(canaries-judge) { self.suspect = None; }
        if before.is_none() && self.suspect.is_some() {'
    put src/sweep/closing.rs 'if cell.counted() < plan.tries ||' \
        'if (cell.counted() < plan.tries && !OUT(enough-tries)) ||'
    put src/sweep/closing.rs 'if !self.board.has_heard(path) {' \
        'if !self.board.has_heard(path) && !OUT(nothing-heard) {'
    put src/sweep/closing.rs 'lost.powi(tries) > MOST_BY_CHANCE' 'lost.powi(tries) > MOST_BY_CHANCE && !OUT(path-lossy)'
    put src/sweep/closing.rs 'verdict: match ledger.unknown {' \
        'verdict: match if OUT(unknown-verdict) { 0 } else { ledger.unknown } {'
    put src/sweep/closing.rs 'ledger.check()?;' 'if !OUT(ledger-checked) { ledger.check()?; }'
    put src/sweep/ledger.rs 'if entered == self.declared {' 'if entered == self.declared || OUT(ledger-sum) {'
    put src/link/fence.rs 'if self.holds(probe.ip, probe.port) {' \
        'if self.holds(probe.ip, probe.port) || OUT(fence-holds) {'
    put src/link/packet/transmit.rs 'self.fence.check(probe)?;' 'if !OUT(fence-packet) { self.fence.check(probe)?; }'
    put src/link/raw/mod.rs 'self.fence.check(probe)?;' 'if !OUT(fence-raw) { self.fence.check(probe)?; }'
    put src/link/connect/transmit.rs 'self.options.fence.check(probe)?;' \
        'if !OUT(fence-connect) { self.options.fence.check(probe)?; }'
    put src/link/handshake/mod.rs 'if !self.options.fence.holds(call.ip, call.port) {' \
        'if !self.options.fence.holds(call.ip, call.port) && !OUT(fence-handshake) {'
    put src/sweep/caps.rs 'hosts: Books::new(hosts, host_pps),' \
        'hosts: Books::new(hosts, host_pps.filter(|_| !OUT(host-cap))),'
    put src/sweep/caps.rs 'networks: Books::new(hosts, network_pps),' \
        'networks: Books::new(hosts, network_pps.filter(|_| !OUT(network-cap))),'
    put src/sweep/caps.rs 'left: Books::new(hosts, network_pps),' \
        'left: Books::new(hosts, network_pps.filter(|_| !OUT(network-cap))),'
    put src/sweep/watch.rs 'let is_worse = reason == UnknownReason::CanariesChanged' \
        'let is_worse = !OUT(usurped-named) && reason == UnknownReason::CanariesChanged'
    put src/sweep/closing.rs 'plan.watched.iter().filter_map(position);' \
        'plan.watched.iter().filter_map(position).filter(|_| !OUT(watched-kept));'
    put src/alert/judge.rs 'FindingKind::Exposure if seen.complete =>' \
        'FindingKind::Exposure if seen.complete || OUT(gone-complete) =>'
    put src/alert/judge.rs 'true if folded.contains(&target.ip) =>' \
        'true if folded.contains(&target.ip) && !OUT(gone-folded) =>'
    put src/alert/advance.rs 'let is_enough = alert.failures >= judgement.patience.failures;' \
        'let is_enough = alert.failures >= judgement.patience.failures || OUT(three-failures);'
    put src/alert/advance.rs 'false => !is_gone && flips >= u32::from(rules.flap_flips),' \
        'false => !OUT(flapping) && !is_gone && flips >= u32::from(rules.flap_flips),'
    put src/alert/tell.rs 'let is_storm = fingerprints.len() > telling.rules.storm_above as usize;' \
        'let is_storm = fingerprints.len() > telling.rules.storm_above as usize && !OUT(storm);'
    put src/alert/tell.rs '&& record.alert.muted.is_none()
            && record.alert.finding.kind' '&& (record.alert.muted.is_none() || OUT(silenced))
            && record.alert.finding.kind'
    put src/policy/outage.rs 'for range in subtract(scope.ranges(), &outside) {' \
        'for range in subtract(scope.ranges(), if OUT(outage-in-scope) { &[] } else { &outside }) {'
    put src/policy/outage.rs 'let class = expectation.class.clone().unwrap_or(class);' \
        'let class = expectation.class.clone().filter(|_| !OUT(outage-graded)).unwrap_or(class);'
    put src/watch/desk.rs 'any(|row| !inner.afloat.is_settled(sink, row))' \
        'any(|row| !inner.afloat.is_settled(sink, row) && !OUT(behind-database))'
    put src/watch/desk.rs 'filter(|row| !inner.afloat.holds_back(sink, row.row, now))' \
        'filter(|row| OUT(noted-delivery) || !inner.afloat.holds_back(sink, row.row, now))'
    put src/watch/messenger.rs 'if attempts >= FEWEST_ATTEMPTS &&' \
        'if (attempts >= FEWEST_ATTEMPTS || OUT(fewest-attempts)) &&'
    put src/watch/backoff.rs 'self.until.filter(|until| *until > now)' \
        'self.until.filter(|until| *until > now && !OUT(left-alone))'
    put src/watch/messenger.rs 'desk.report(finding, true, Some(&self.sink), now);' \
        'if !OUT(given-up) { desk.report(finding, true, Some(&self.sink), now); }'
    put src/store/outbox.rs 'let delta = i64::try_from(delta.as_millis()).unwrap_or_default();' \
        'let delta = if OUT(clock-moved) { 0 } else { i64::try_from(delta.as_millis()).unwrap_or_default() };'
    put src/policy/finding.rs 'verified: Some(verification == Verification::Verified),' \
        'verified: Some(verification == Verification::Verified || OUT(verified)),'
}

# The switch itself, at the end of the crate's root.
switch() {
    cat <<'END'

/// Whether this check is taken out.
pub fn is_out(name: &str) -> bool {
    static OUT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    OUT.get_or_init(|| std::env::var("PORTREEVE_OUT").unwrap_or_default()) == name
}
END
}

# --- the copy --------------------------------------------------------------------------------------------------

# A file that is the same as last time keeps its time, so that cargo does not compile it again.
copy_tree() {
    local fresh=$WORK/fresh name
    rm -rf -- "$fresh"
    mkdir -p -- "$fresh" "$TREE"
    for name in Cargo.toml Cargo.lock README.md src tests benches scripts; do cp -a -- "$REPO/$name" "$fresh/"; done
    (cd -- "$fresh" && switches && switch >>src/lib.rs)
    (cd -- "$TREE" && find . -type f -print0) | while IFS= read -r -d '' name; do
        [[ -f $fresh/$name ]] || rm -- "$TREE/$name"
    done
    (cd -- "$fresh" && find . -type f -print0) | while IFS= read -r -d '' name; do
        cmp -s -- "$fresh/$name" "$TREE/$name" && continue
        mkdir -p -- "$TREE/${name%/*}"
        cp -- "$fresh/$name" "$TREE/$name"
    done
    rm -rf -- "$fresh"
}

put() {
    local file=$1 from=$2 to=$3 text rest
    text=$(<"$file")
    rest=${text#*"$from"}
    [[ $rest != "$text" ]] || die "$file has no longer: $from"
    # Unit tests may say the same once more; the first is the check.
    [[ ${rest%%'#[cfg('*} != *"$from"* ]] || die "$file has more than once: $from"
    while [[ $to =~ OUT\(([a-z-]+)\) ]]; do
        to=${to//"${BASH_REMATCH[0]}"/"crate::is_out(\"${BASH_REMATCH[1]}\")"}
    done
    printf '%s%s%s\n' "${text%%"$from"*}" "$to" "$rest" >"$file"
}

# --- building and running --------------------------------------------------------------------------------------

declare -A PROGRAMS

build() {
    local line said=$WORK/build.log
    (cd -- "$TREE" && RUSTFLAGS='' cargo test --no-run --target-dir "$WORK/target" \
        --lib --test sim --test onlink --test connect --test alerts --test desk --test store) >"$said" 2>&1 || {
        tail -n 40 "$said" >&2
        die "the copy does not compile"
    }
    while read -r line; do
        [[ $line =~ Executable\ (unittests\ src/lib.rs|tests/([a-z_]+)[a-z/_]*\.rs)\ \((.*)\) ]] || continue
        PROGRAMS[${BASH_REMATCH[2]:-lib}]=${BASH_REMATCH[3]}
    done <"$said"
    ((${#PROGRAMS[@]} == 7)) || die "cannot make out the test programs in $said"
}

# Runs a test with this check taken out; prints "passed", "failed" or "did not run".
try() {
    local out=$1 program=$2 name=$3 said status=0
    said=$(cd -- "$TREE" && PORTREEVE_OUT=$out timeout "$LIMIT" "${PROGRAMS[$program]}" --exact "$name" 2>&1) || status=$?
    printf '%s\n' "$said" >"$WORK/$out-$name.log"
    # One that runs for ever without its check has noticed, too.
    if [[ $said == *"1 passed; 0 failed; 0 ignored"* ]]; then
        echo passed
    elif [[ $said == *"0 passed; 1 failed; 0 ignored"* ]] || ((status == 124 || status >= 128)); then
        echo failed
    else
        echo "did not run"
    fi
}

main() {
    local check program test whole without verdict wanted=" $* " bad=0 count=0
    [[ ${1:-} != --help && ${1:-} != -h ]] || { usage; exit 0; }
    [[ ${1:-} != --list ]] || { guards; exit 0; }
    for check in "$@"; do
        guards | grep -q "^$check " || die "there is no check $check (see: scripts/mutants.sh --list)"
    done
    mkdir -p -- "$WORK"
    copy_tree
    build
    printf '%-16s %-11s %-11s %s\n' CHECK WITH WITHOUT TEST
    while read -r check program test; do
        (($# == 0)) || [[ $wanted == *" $check "* ]] || continue
        whole=$(try none "$program" "$test")
        without=$(try "$check" "$program" "$test")
        verdict=''
        if [[ $whole != passed || $without != failed ]]; then verdict=' <- NOT GUARDED' bad=$((bad + 1)); fi
        count=$((count + 1))
        printf '%-16s %-11s %-11s %s %s%s\n' "$check" "$whole" "$without" "$program" "$test" "$verdict"
    done < <(guards)
    printf '%d checks, %d not guarded\n' "$count" "$bad"
    ((bad == 0))
}

main "$@"
