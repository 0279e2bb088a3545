//! portreeve sweeps the networks that its operator owns for ports that must not be reachable, compares what answered
//! with what has been allowed, and says for every single address and port what it saw, and what that rests on.
//!
//! # The layers, low to high
//! A module imports only from the ones above it in this list; `tests/tidy.rs` holds them to it.
//!
//! - [`sync`]: the one place that atomics come from, so that the model checker can take them over.
//! - [`wire`]: bytes and their meaning. Frames of probes going out, replies coming in. No input makes it panic.
//! - [`link`]: probes out and replies in, as two small traits. `packet` goes past the kernel's network stack, `raw`
//!   through it by packets of our own (this host, tunnels), `connect` by its connections, `sim` nowhere at all; `xdp`
//!   goes past it too, by programs in the kernel, for rates that `packet` does not carry; `switch` puts several
//!   together. Beside them, what the kernel knows of routes; who is there on a local network
//!   (`neighbour`), and who still is (`watcher`); the fence, which is the last look at where a probe goes, and the
//!   fuse, which is another by the kernel.
//! - [`target`]: what may be probed (`scope`), in which order (`order`), and what is known of it (`table`).
//! - [`sweep`]: the engine. A sender and a receiver work on one board, canaries and a watch say what silence is
//!   worth, a second look confirms what is open, and the books are closed at the end.
//! - [`policy`]: observations judged by an allowlist. Pure: the time is an argument.
//! - [`alert`]: the life of a finding, from pending to resolved, and what is said of it. Pure as well.
//! - [`store`]: what is kept of all this in one SQLite database, and the outbox. The only SQL.
//! - [`sink`]: the events that machines read and the text that people read, and the ways by which they leave.
//! - [`config`]: the file's grammar, with the place of every mistake; and the one struct of settings, which file and
//!   command line fill in alike.
//! - [`job`]: one sweep, from settings to findings. It settles what may be probed, chooses and opens the engine,
//!   sweeps, takes the second look and judges. Whoever wants that done hears of it by a trait.
//! - [`evidence`]: what a control run leaves behind, down to a line for every target, and the check that nothing of it
//!   was changed since. It needs no network, and believes no sum.
//! - [`control`]: the run over every port that is evidence: tile after tile, each on the disk before the next begins.
//! - [`cli`]: what was typed becomes links, outputs and an exit status.
//!
//! # The path of a probe
//! ```text
//! Scope --index--> Order --position--> Sender: pacer, caps, cookie --> Transmit --> network
//!   |                                    |                                                |
//!   |                                    v mark                                           |
//!   |                                  Table                                              |
//!   |                                    ^ record                                         |
//!   +--index_of--> Order --position--> Receiver: cookie check <------------- Receive <----+
//! ```
//! The table has one 16-bit cell for each target, **by position in the order of probing**. So the sender walks memory
//! front to back, lap after lap, probing what is silent and has too few tries that count; and what was in flight at any
//! time is a matter of when it was sent ([`sweep::times`]), not of a queue somebody has to keep.
//!
//! Where there is no memory for all cells, the order is cut into tiles ([`sweep::plan::Plan::tiles`]), and the driver
//! sweeps one after the other: the table is turned to the next, while what was learned on the way stays with the sender
//! and the receiver, and the books with the driver.
//!
//! # What always holds
//! - **Closed books.** Every declared target is in exactly one column of the ledger; [`sweep::ledger::Ledger::check`]
//!   is called at run time, and a report without it does not exist.
//! - **No verdict without sight.** The receiver tells the sender when it lost frames, or a path was broken
//!   ([`sweep::watch`]); tries of that time do not count, and silence is *filtered* only after enough tries that do.
//!   A path is vouched for by the link's guard up to the next hop ([`link::guard`]), and beyond it by canaries
//!   ([`sweep::canary`]). Everything else is *unknown*.
//! - **No alert on one packet.** What is about to be reported has been through a whole handshake, or says that it
//!   failed ([`sweep::verify`]).
//! - **Only our own answers.** A reply counts if it carries the keyed token of a try at a target in flight
//!   ([`sweep::cookie`]); an ICMP error, if it quotes it.
//! - **Nothing leaves the scope.** Each link asks the [`link::fence`] about each probe, beside the system call.
//! - **Never faster than asked.** Neither over all nor at one host, in any second ([`sweep::pacer`],
//!   [`sweep::caps`]).
//!
//! # What is absent
//! Nothing on the path of a packet allocates, locks, logs or calls the system. The engine reads no clock: it is
//! told the time, by threads on the machine's clock or by a test in virtual time. No layer but `sink` and `cli` prints.

pub mod alert;
pub mod cli;
pub mod config;
pub mod control;
pub mod evidence;
pub mod job;
pub mod link;
pub mod policy;
pub mod sink;
pub mod store;
pub mod sweep;
pub mod sync;
pub mod target;
pub mod watch;
pub mod wire;
