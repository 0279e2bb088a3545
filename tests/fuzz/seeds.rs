//! Where each corpus begins: small inputs that mean something, made by the program's own code.

use std::net::IpAddr;

use portreeve::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};
use portreeve::wire::{arp, ndp};

use super::bodies::{OURS_V4, OURS_V6, ROUTER_V4, ROUTER_V6, TARGET_V4, TARGET_V6, ipv4, ipv6};

/// A seed: whose it is, what it is called, and its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// The seeds of every target.
pub fn seeds() -> Vec<Seed> {
    [frames(), quotes(), options(), neighbours(), configs(), specs(), files(), inventories()].concat()
}

/// Our SYN to the target of this family.
fn syn(target: IpAddr) -> Vec<u8> {
    let source = if target.is_ipv4() { IpAddr::V4(OURS_V4) } else { IpAddr::V6(OURS_V6) };
    let fields =
        SynFields { destination: target, destination_port: 6379, source_port: 16_500, sequence: 0xdead_beef };
    let mut packet = vec![0; MAX_SYN_LEN];
    let length = SynTemplate::bare(source).write(&mut packet, &fields).expect("room");
    packet.truncate(length);
    packet
}

/// The same segment as an answer with these flags.
fn answer(flags: u8) -> Vec<u8> {
    let mut segment = syn(TARGET_V4.into())[20..].to_vec();
    segment[..4].rotate_left(2);
    segment[8..12].copy_from_slice(&0xdead_bef0_u32.to_be_bytes());
    segment[13] = flags;
    segment
}

/// Extension headers in front of a segment: hop-by-hop, destination options, routing, first fragment, authentication.
fn extended(segment: &[u8]) -> Vec<u8> {
    let headers: [&[u8]; 5] = [
        &[60, 0, 1, 4, 0, 0, 0, 0],
        &[43, 0, 1, 4, 0, 0, 0, 0],
        &[44, 0, 4, 0, 0, 0, 0, 0],
        &[51, 0, 0, 1, 0, 0, 0, 9],
        &[6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1],
    ];
    [&headers.concat(), segment].concat()
}

fn frames() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, flags) in [("syn-ack", 0x12), ("rst", 0x14)] {
        let segment = answer(flags);
        seeds.push((format!("ipv4-{name}"), ipv4(TARGET_V4, 6, &segment)));
        seeds.push((format!("ipv6-{name}"), ipv6(TARGET_V6, 6, 64, &segment)));
        seeds.push((format!("ipv6-extended-{name}"), ipv6(TARGET_V6, 0, 64, &extended(&segment))));
    }
    for (icmp_type, code) in [(3_u8, 1_u8), (3, 13), (11, 0)] {
        let message = [&[icmp_type, code, 0, 0, 0, 0, 0, 0][..], &syn(TARGET_V4.into())].concat();
        seeds.push((format!("ipv4-icmp-{icmp_type}-{code}"), ipv4(ROUTER_V4, 1, &message)));
    }
    for (icmp_type, code) in [(1_u8, 0_u8), (1, 4), (3, 0)] {
        let message = [&[icmp_type, code, 0, 0, 0, 0, 0, 0][..], &syn(TARGET_V6.into())].concat();
        seeds.push((format!("ipv6-icmp-{icmp_type}-{code}"), ipv6(ROUTER_V6, 58, 64, &message)));
    }
    of("frame", seeds)
}

fn quotes() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (family, target, choices) in
        [("ipv4", IpAddr::V4(TARGET_V4), [0, 1]), ("ipv6", TARGET_V6.into(), [128, 129])]
    {
        for choice in choices {
            let quote = syn(target);
            seeds.push((format!("{family}-whole-{choice}"), [&[choice], &quote[..]].concat()));
            let least = quote.len() - 24;
            seeds.push((format!("{family}-least-{choice}"), [&[choice], &quote[..least]].concat()));
        }
    }
    let mut quote = syn(TARGET_V6.into());
    quote[6] = 0;
    let tcp = quote.split_off(40);
    seeds.push(("ipv6-extended".to_owned(), [&[128], &quote[..], &extended(&tcp)].concat()));
    of("icmp_quote", seeds)
}

fn options() -> Vec<Seed> {
    let inputs: [(&str, &[u8]); 6] = [
        ("none", &[]),
        ("ours", &syn(TARGET_V4.into())[40..]),
        ("timestamps", &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]),
        ("no-length", &[8, 0, 0, 0]),
        ("beyond", &[2, 40, 5, 0xb4]),
        ("full", &[1; 44]),
    ];
    of("tcp_options", inputs.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).to_vec())
}

fn neighbours() -> Vec<Seed> {
    let theirs = [2, 0, 0, 0, 0, 2];
    let question = arp::request(theirs, TARGET_V4, OURS_V4)[14..].to_vec();
    let mut reply = question.clone();
    reply[7] = 2;
    let solicitation = ndp::solicitation(theirs, OURS_V6, TARGET_V6)[14..].to_vec();
    let option = [&[2, 1][..], &theirs].concat();
    let head = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &TARGET_V6.octets()].concat();
    let advertisement = ipv6(TARGET_V6, 58, 255, &[&head[..], &option].concat());
    let two = [&[14, 1, 0, 0, 0, 0, 0, 0][..], &option].concat();
    let inputs = [
        ("arp-question", question),
        ("arp-reply", reply),
        ("solicitation", solicitation),
        ("advertisement", advertisement),
        ("option", option),
        ("two-options", two),
        ("no-length", vec![2, 0, 2, 0, 0, 0, 0, 2]),
    ];
    of("neighbour", inputs.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec())
}

fn configs() -> Vec<Seed> {
    let inputs = [
        ("example", include_str!("../data/config/example.toml")),
        ("empty", ""),
        ("unknown-key", "[sweep]\nport = \"risky\"\n"),
        ("wrong-type", "[sweep]\nports = [\"risky\", 80]\nrate_max = -1\ninterval = \"60 parsecs\"\n"),
        ("twice", "[scope]\nnetworks = [\"2001:db8::/120\"]\n[scope]\nexclude = []\n"),
        (
            "allow",
            "[[allow]]\nhosts = [\"198.18.0.0/24\"]\nports = \"ssh\"\nreason = \"\u{fc}\"\nexpires = 2027-03-31\n",
        ),
    ];
    of("config", inputs.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec())
}

fn specs() -> Vec<Seed> {
    let inputs = [
        "198.18.0.0/16",
        "198.18.0.10-198.18.0.20",
        "198.18.0.7",
        "::ffff:198.18.0.7",
        "2001:db8::/120",
        "2001:db8::1-2001:db8::ff",
        "::/0",
        "risky,8000-8010,443",
        "exposed",
        "all",
        "ssh,redis",
        "65535-0",
        "1/3",
        "3/3",
        "5_000",
        "10k",
        "1M",
        "auto",
    ];
    let name = |(number, text): (usize, &str)| (format!("{number:02}"), text.as_bytes().to_vec());
    of("target_spec", inputs.into_iter().enumerate().map(name).collect())
}

/// Files of targets and of excludes, and words as they may be typed.
fn files() -> Vec<Seed> {
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let inputs = [
        (
            "spreadsheet",
            "\u{feff}198.18.0.7  \r\n# the fleet\r\n\r\n198.18.1.0/24,198.18.0.10-20\t2001:db8::1 # six\r\n",
        ),
        (
            "names",
            "DB-1.Example.NET.\nlocalhost _dmarc.example.net 3com 10-20.example.net 198-18-0-7.rev.example",
        ),
        (
            "ranges",
            "198.18.0.10-198.18.0.20 198.18.0.0-255 2001:db8::1-2001:db8::ff 0.0.0.0/0 ::/0 ::ffff:198.18.0.1",
        ),
        (
            "mistyped",
            "198.18.0.0/33\n198.18.0 198.18.0.1-300\nexample.net/24, https://example.net/ 198.18.3.4/16",
        ),
        ("reversed", "198.18.0.20-10\n198.18.0.1-2001:db8::1 ::ffff:198.18.0.0/112"),
        ("old-numbers", "0x7f000001\n0x7f.1 0x db.12 db.12. 010.0.0.1 198.18.0.10-020 198.18.0.0/024"),
        ("not-names", "a..b .a a.. -a.b a-.b b\u{fc}cher.example a@b a* ..."),
        ("zones", "fe80::1%eth0 fe80::%eth0/64 [fe80::1%1]:22"),
        ("controls", "198.18.0.7 a\x1b[2Jb\n\u{9b}31m abc\u{202e}cba a\u{200b}b\u{7}"),
        ("excludes", "198.18.0.1-2\n198.18.1.0/24 # never\n"),
        ("nothing", "\u{feff}# all gone\n ,, \r\n"),
        ("longest-name", &longest),
        ("too-long-a-name", &format!("{longest}b")),
        ("word-file", "@fleet.txt"),
        ("word-no-file", "@"),
        ("word-stdin", "-"),
        ("cap", "none"),
        ("cap-pps", "1_000"),
        ("canary", "198.18.0.10:22"),
        ("canary-six", "[2001:db8::1]:65535"),
        ("canary-no-port", "198.18.0.10:0"),
        ("field", "networkInterfaces.accessConfigs.natIP"),
        ("field-no-key", "a..b"),
    ];
    let mut seeds = inputs.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
    seeds.push(("not-utf8".to_owned(), b"198.18.0.7\n\xc3\xa4 \xff198.18.0.8".to_vec()));
    of("targets", seeds)
}

/// Inventories behind a line with the fields of addresses and of names.
fn inventories() -> Vec<Seed> {
    let deep =
        |levels: usize| format!("ip\n{}{{\"ip\": \"198.18.0.1\"}}{}", "[".repeat(levels), "]".repeat(levels));
    let nested = format!("a.a\tn\n{}\"198.18.0.1\"{}", "{\"n\": \"x\", \"a\": ".repeat(20), "}".repeat(20));
    let inputs = [
        (
            "machines",
            r#"PrivateIpAddress	Tags.Name
{"Reservations": [{"OwnerId": "1", "Instances": [{"PrivateIpAddress": "198.18.0.7",
 "Tags": [{"Key": "Env", "Value": "prod"}, {"Key": "Name", "Value": "db-1"}],
 "NetworkInterfaces": [{"PrivateIpAddress": "198.18.1.7"}]}, {"PrivateIpAddress": null, "Tags": []}]}]}"#,
        ),
        (
            "interfaces",
            r#"networkInterfaces.networkIP	name
[{"name": "web-1", "networkInterfaces": [{"name": "nic0", "networkIP": "198.18.0.9"}, {"networkIP": ""}]}]"#,
        ),
        (
            "lines",
            "ip\tn\n{\"ip\": \"198.18.0.1\", \"n\": \"a\"}\r\n{\"ip\": \"db.example.net\", \"n\": \"b\"}\n",
        ),
        (
            "lists",
            r#"ips	n
{"n": "outer", "ips": ["198.18.0.1", ["198.18.1.0/24", "2001:db8::1-2001:db8::ff"]],
 "x": [{"ips": "198.18.0.2", "n": ""}]}"#,
        ),
        (
            "no-targets",
            r#"ip
{"a": [{"ip": "198.18.0.300"}, {"ip": 7}, {"ip": {"v4": 1}}, {"ip": true}]} {"ip": "a\u001b[2Jb"}"#,
        ),
        ("nulls", "ip\n[{\"ip\": null}, {\"ip\": \" \"}]"),
        ("misspelt", "PrivateIpAdress\n{\"PrivateIpAddress\": \"198.18.0.7\"}"),
        ("empty", "ip\n"),
        ("twice", "ip\tn\n{\"ip\": \"198.18.0.1\", \"n\": \"a\", \"ip\": \"198.18.0.2\", \"n\": \"b\"}"),
        (
            "numbers",
            "ip\n{\"ip\": \"198.18.0.1\", \"n\": [18446744073709551616, -0.0, 1e308, 1E-999, 0.1e1]}",
        ),
        ("number-too-large", "ip\n{\"ip\": \"198.18.0.1\", \"n\": 1e999}"),
        ("number-as-address", "ip\n{\"ip\": 99999999999999999999999999999999999999}"),
        ("broken", "ip\n{\"ip\": \"198.18.0.1\"}\n{\"\u{e4}\": x}"),
        ("marked-and-broken", "ip\n\u{feff}{\"\u{e4}\": x}"),
        (
            "controls",
            r#"ip	n
{"ip": "198.18.0.1", "n": "\u001b[2J\u202e\ud83d\ude00\u0000", "\u009b": {"ip": 1}}"#,
        ),
        ("lone-surrogate", "ip\n{\"ip\": \"\\ud800\"}"),
        ("deep", &deep(126)),
        ("too-deep", &deep(128)),
        ("nested", &nested),
        ("keys-with-blanks", "a b. c\td.e\n{\"a b\": {\" c\": \"198.18.0.1\"}, \"d\": {\"e\": \"x\"}}"),
        ("controls-in-field", "\x1b[2J\n{}"),
    ];
    let mut seeds = inputs.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
    seeds.push(("not-utf8".to_owned(), b"ip\n{\"ip\": \"198.18.0.1\", \"n\": \"\xff\"}".to_vec()));
    of("inventory", seeds)
}

fn of(target: &'static str, seeds: Vec<(String, Vec<u8>)>) -> Vec<Seed> {
    seeds.into_iter().map(|(name, bytes)| (target, name, bytes)).collect()
}
