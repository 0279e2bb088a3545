//! The report for people: what is on the page, that nothing gets out of its element, and that much of it is no burden.

#[path = "report/made.rs"]
mod made;

use std::collections::BTreeSet;
use std::io::{self, Write};

use made::{from, large, manifest, recount, run};
use portreeve::evidence::manifest::Verdict;
use portreeve::evidence::observation::BlockLine;
use portreeve::evidence::report::{html, write};
use portreeve::sweep::report::UnknownReason;
use portreeve::target::Transport;
use portreeve::target::foreign::is_unfit;
use portreeve::target::state::State;
use scraper::{ElementRef, Html, Selector};

/// Words that try to be more than words.
const HOSTILE: [&str; 7] = [
    "</bdi></td><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'--></style></title><iframe srcdoc='<b>'>",
    "{{ 7 * 7 }}{% raw %}<b>",
    "a\u{202e}cba\u{2066}\u{200b}\u{feff}",
    "\u{0}\u{1b}[2J\r\n\t\u{9b}31m\u{7f}",
    "&lt;b&gt;&#x3c;&amp;",
];

fn all<'d>(page: &'d Html, selector: &str) -> Vec<ElementRef<'d>> {
    page.select(&Selector::parse(selector).expect(selector)).collect()
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn said(page: &Html, selector: &str) -> String {
    all(page, selector).into_iter().map(text).collect::<Vec<_>>().join(" | ")
}

/// The elements of a page and their attributes, in their order, without what the attributes say.
fn skeleton(page: &Html) -> Vec<String> {
    let elements = page.root_element().descendants().filter_map(ElementRef::wrap);
    elements
        .map(|element| {
            let names: BTreeSet<&str> = element.value().attrs().map(|(name, _)| name).collect();
            format!("{} {names:?}", element.value().name())
        })
        .collect()
}

/// Whatever is put in, the page has the elements that it has for a plain word, and shows what was put in as words.
#[test]
fn nothing_gets_out_of_its_element() {
    let (manifest, recount) = run("word");
    let plain = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    assert!(plain.errors.is_empty(), "{:?}", plain.errors);
    let expected = skeleton(&plain);
    assert!(expected.len() > 300, "{}", expected.len());
    for hostile in HOSTILE.iter().map(ToString::to_string).chain([HOSTILE.concat(), "<b>".repeat(3400)]) {
        let (manifest, recount) = run(&hostile);
        let text = html(&manifest, &recount).expect("a page");
        assert!(!text.chars().any(|letter| letter != '\n' && is_unfit(letter)), "{hostile:?}");
        keep("hostile.html", &text);
        let page = Html::parse_document(&text);
        assert!(page.errors.is_empty(), "{hostile:?}: {:?}", page.errors);
        assert_eq!(skeleton(&page), expected, "{hostile:?}");
        assert!(text.len() < 600_000, "{} bytes of {hostile:?}", text.len());
    }
    let (manifest, recount) = run(HOSTILE[0]);
    let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    for place in ["h1", "#purpose", "#scope", "#exceptions", "#changes", "#method", ".findings", "#verdict"] {
        assert!(said(&page, place).contains(HOSTILE[0]), "{place} does not show it");
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let (manifest, recount) = run("word");
    let text = html(&manifest, &recount).expect("a page");
    let page = Html::parse_document(&text);
    for never in
        ["script", "link", "img", "iframe", "object", "form", "base", "[style]", "[src]", "foreignObject"]
    {
        assert!(all(&page, never).is_empty(), "{never}");
    }
    for element in page.root_element().descendants().filter_map(ElementRef::wrap) {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "{name}");
            assert!(name != "href" || value.starts_with('#'), "{value}");
        }
    }
    assert!(!text.contains("@import") && !text.contains("url("));
    let policy =
        all(&page, "meta[http-equiv=Content-Security-Policy]")[0].attr("content").expect("one").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
}

#[test]
fn whoever_cannot_see_it_can_read_it() {
    let (manifest, recount) = run("word");
    let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    assert_eq!(all(&page, "html[lang=en]").len(), 1);
    for one in ["main#main", "body > header", "body > footer", "nav[aria-label]", "h1", "title", "a.skip"] {
        assert!(!all(&page, one).is_empty(), "{one}");
    }
    let levels: Vec<u8> =
        all(&page, "h1, h2, h3, h4").iter().map(|h| h.value().name().as_bytes()[1]).collect();
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for table in all(&page, "table") {
        let has = |what: &str| table.select(&Selector::parse(what).expect(what)).next().is_some();
        assert!(has("caption") && has("thead th[scope=col]") && has("tbody th[scope=row]"));
    }
    assert!(all(&page, "th:not([scope])").is_empty());
    for image in all(&page, "svg[role=img]") {
        let has = |what: &str| image.select(&Selector::parse(what).expect(what)).next().is_some();
        assert!(has("title") && has("desc"));
    }
    assert_eq!(all(&page, "svg:not([role=img]):not([aria-hidden=true])").len(), 0);
    let ids: Vec<&str> = all(&page, "[id]").iter().filter_map(|element| element.attr("id")).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
    for link in all(&page, "a[href]") {
        assert!(ids.contains(&&link.attr("href").expect("one")[1..]), "{:?}", link.attr("href"));
    }
}

#[test]
fn every_verdict_has_a_word_a_sign_and_a_reason() {
    for (verdict, word) in
        [(Verdict::Pass, "Pass"), (Verdict::Fail, "Fail"), (Verdict::Inconclusive, "Inconclusive")]
    {
        let (mut manifest, recount) = run("a statement");
        manifest.conclusion.verdict = verdict;
        let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
        assert_eq!(said(&page, "#verdict h2"), format!("Verdict: {word}"));
        assert_eq!(
            all(&page, &format!("#verdict .banner svg.icon-{verdict}", verdict = verdict.as_str())).len(),
            1
        );
        assert_eq!(
            said(&page, ".asked li"),
            "Everything in scope was looked at not met a statement | \
             Nothing is open without an exception not met a statement | No exception has run out met a statement"
        );
    }
}

#[test]
fn a_small_report_says_all_of_this() {
    let (manifest, recount) = run("a few words");
    let page = html(&manifest, &recount).expect("a page");
    keep("small.html", &page);
    let page = Html::parse_document(&page);
    let mut words = String::new();
    for line in all(&page, "h1, h2, h3, p, li, dt, dd, caption, tr, summary, figcaption, pre, svg[role=img]")
    {
        words.push_str(&text(line));
        words.push('\n');
    }
    insta::assert_snapshot!(words);
}

/// No finding is dropped, however many there are, and they are written as they come: nothing that grows with them is
/// kept beside what was given.
#[test]
fn ten_thousand_findings_are_all_there() {
    let (manifest, recount) = large(10_000);
    let text = html(&manifest, &recount).expect("a page");
    let page = Html::parse_document(&text);
    assert_eq!(all(&page, ".findings tbody tr").len(), 10_000);
    assert_eq!(all(&page, "table.findings").len(), 100);
    assert!(text.len() < 10 << 20, "{} bytes", text.len());
    keep("large.html", &text);
    let mut pieces = Pieces::default();
    write(&manifest, &recount, &mut pieces).expect("a page");
    assert_eq!(pieces.bytes, text.len());
    assert!(pieces.longest < 256 << 10, "{} bytes at once", pieces.longest);
}

/// Pages of runs that never were, for whoever wants to look at them: `PORTREEVE_REPORT_TO` names a directory.
fn keep(name: &str, page: &str) {
    if let Some(dir) = std::env::var_os("PORTREEVE_REPORT_TO") {
        std::fs::write(std::path::Path::new(&dir).join(name), page).expect("room");
    }
}

#[derive(Default)]
struct Pieces {
    bytes: usize,
    longest: usize,
}

impl Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes += piece.len();
        self.longest = self.longest.max(piece.len());
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whoever cannot write the page hears of it.
#[test]
fn a_full_disk_is_no_report() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (manifest, recount) = run("word");
    assert!(write(&manifest, &recount, &mut Full).is_err());
}

#[test]
fn a_run_that_found_nothing_says_so() {
    let mut value = manifest("word", &[]);
    value.as_object_mut().expect("an object").remove("comparison");
    value["exceptions"] = serde_json::json!([]);
    value["unwatched_ports"] = serde_json::json!([]);
    value["time"]["pauses"] = serde_json::json!([]);
    for absent in ["previous", "rescan_of", "authorization"] {
        value["plan"].as_object_mut().expect("an object").remove(absent);
    }
    for absent in ["owner", "performer", "reviewer"] {
        value["plan"]["control"].as_object_mut().expect("an object").remove(absent);
    }
    for absent in ["sources", "unresolved"] {
        value["plan"]["scope"].as_object_mut().expect("an object").remove(absent);
    }
    value["plan"]["method"].as_object_mut().expect("an object").remove("config");
    value["integrity"].as_object_mut().expect("an object").remove("signer");
    let page = html(&from(value), &recount(&[])).expect("a page");
    let page = Html::parse_document(&page);
    for (place, words) in [
        ("#heat-map", "There is nothing to show"),
        ("#findings", "Nothing was found that policy objects to."),
        ("#exceptions", "No exception names anything in scope."),
        ("#changes", "This run was compared with no other."),
        ("#watch", "Every port that is open anywhere is looked at"),
        ("#check", "The bundle is not signed"),
    ] {
        assert!(said(&page, place).contains(words), "{place}: {}", said(&page, place));
    }
}

#[test]
fn the_heat_map_groups_hosts_and_says_what_it_leaves_out() {
    let targets: Vec<(String, u16)> = (0..100_u16)
        .flat_map(|net| (0..40_u16).map(move |port| (format!("198.{}.{net}.7", 18 + net % 2), 1000 + port)))
        .collect();
    let targets: Vec<(&str, u16)> = targets.iter().map(|(ip, port)| (ip.as_str(), *port)).collect();
    let (manifest, recount) = (from(manifest("word", &targets[..50])), recount(&targets));
    let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    let words = said(&page, "#heat-map");
    assert!(words.contains("100 hosts have something to say. Each row is a network"), "{words}");
    assert!(words.contains("10 more ports are open somewhere"), "{words}");
    assert!(
        words.contains("The 60 worst rows are shown; 40 more rows are left out, with 1,600 allowed."),
        "{words}"
    );
    assert_eq!(all(&page, "#heat-map tbody tr").len(), 60);
    assert!(words.contains("198.18.0.0/24: 40 exposure") || words.contains("198.18.0.0/24 40"), "{words}");
}

#[test]
fn the_heat_map_knows_what_is_unknown_even_of_a_whole_network() {
    let (manifest, mut recount) = run("word");
    let block = |hosts: &str, ports: &str| BlockLine {
        tile: 1,
        hosts: vec![hosts.parse().expect(hosts)],
        ports: ports.parse().expect(ports),
        transport: Transport::Tcp,
        state: State::Unknown,
        reason: None,
        unknown: Some(UnknownReason::CanariesSilent),
        targets: 0,
    };
    recount.unknown = vec![block("198.18.0.18", "22-23"), block("198.18.0.30", "22")];
    let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    let rows: Vec<String> = all(&page, "#heat-map tbody tr").into_iter().map(text).collect();
    assert_eq!(rows[0], "198.18.0.18 word 1 2 22, 3306, others");
    assert_eq!(rows[2], "198.18.0.30 0 1 22");
    recount.unknown = vec![block("198.18.0.0/16", "1-65535"), block("2001:db8::/63", "22")];
    let page = Html::parse_document(&html(&manifest, &recount).expect("a page"));
    let words = said(&page, "#heat-map");
    assert!(words.contains("The 60 worst rows are shown; 198 more rows are left out"), "{words}");
}
