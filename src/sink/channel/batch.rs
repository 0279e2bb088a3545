//! Messages that leave together, several by one request, and what becomes of each.
//!
//! # Order
//! A later message of a key is never taken before an earlier one that must be tried again. A receiver that takes a
//! request as a whole keeps that by itself; after one request that must wait, nothing more is sent. A receiver that
//! judges each message by itself might take the second of a key and not the first; so it gets one of a key by one
//! request ([`Plan::apart`]), and where that must wait, none behind it.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::Delivery;
use crate::sink::message::Message;

/// The most messages that are handed over at once, and that leave by one request.
pub(super) const MOST: usize = 500;

/// How long the first of them waits for others.
pub(super) const LINGER: Duration = Duration::from_millis(200);

/// The most bytes of a request of several messages. Splunk's cloud takes 1 MB, the smallest of Amazon's domains 10 MB.
const LARGEST: usize = 900 << 10;

/// A message as it leaves, and where it stands among those that were handed over.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) place: usize,
    pub(super) bytes: Vec<u8>,
}

/// What a receiver says to a request.
#[derive(Clone, Debug)]
pub(super) enum Became {
    /// This became of all of it.
    All(Delivery),
    /// This became of each, in their order.
    Each(Vec<Delivery>),
    /// This became of one, for which it did not take the others: they go again without it.
    Without(usize, Delivery),
    /// It does not take them together; of a single one, this became.
    TooMuch(Delivery),
}

/// How messages are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Whether a request has no two messages of one key.
    pub(super) apart: bool,
    /// When nothing more is begun.
    pub(super) timeout: Duration,
}

impl Plan {
    /// Sends messages in their forms, and says of each what became of it. One whose form is empty is none that this
    /// receiver is told, and counts as delivered.
    pub(super) fn deliver(
        self,
        messages: &[Message],
        forms: Vec<Result<Vec<u8>, Delivery>>,
        mut send: impl FnMut(&[Part]) -> Became,
    ) -> Vec<Delivery> {
        let alarm = crossbeam::channel::after(self.timeout);
        let mut became = vec![Delivery::Untried; messages.len()];
        let mut waiting = VecDeque::new();
        for (place, form) in forms.into_iter().enumerate() {
            match form {
                Ok(bytes) if bytes.is_empty() => became[place] = Delivery::Delivered,
                Ok(bytes) => waiting.push_back(Part { place, bytes }),
                Err(delivery) => became[place] = delivery,
            }
        }
        let key = |part: &Part| messages[part.place].key();
        let mut held = HashSet::new();
        let mut requests = Vec::new();
        loop {
            if requests.is_empty() {
                requests.push(self.next(&mut waiting, key));
            }
            let mut request: Vec<Part> = requests.pop().unwrap_or_default();
            request.retain(|part| !held.contains(key(part)));
            if request.is_empty() {
                if waiting.is_empty() && requests.is_empty() {
                    return became;
                }
                continue;
            }
            let is_over = match send(&request) {
                Became::TooMuch(_) if request.len() > 1 => {
                    let later = request.split_off(request.len() / 2);
                    requests.extend([later, request]);
                    false
                }
                Became::Without(which, delivery) if which < request.len() => {
                    became[request.remove(which).place] = delivery;
                    requests.push(request);
                    false
                }
                Became::All(delivery) | Became::TooMuch(delivery) | Became::Without(_, delivery) => {
                    request.iter().for_each(|part| became[part.place] = delivery.clone());
                    must_wait(&delivery)
                }
                Became::Each(deliveries) => {
                    let is_over = deliveries.iter().all(must_wait);
                    for (part, delivery) in request.iter().zip(deliveries) {
                        if must_wait(&delivery) {
                            held.insert(key(part));
                        }
                        became[part.place] = delivery;
                    }
                    is_over
                }
            };
            if is_over || alarm.try_recv().is_ok() {
                return became;
            }
        }
    }

    /// What goes by the next request.
    fn next<'m>(self, waiting: &mut VecDeque<Part>, key: impl Fn(&Part) -> &'m str) -> Vec<Part> {
        let (mut request, mut bytes, mut is_full) = (Vec::new(), 0, false);
        let mut keys = HashSet::new();
        let (mut behind, all) = (VecDeque::new(), std::mem::take(waiting));
        for part in all {
            let size = part.bytes.len() + 1;
            is_full |= !request.is_empty() && (bytes + size > LARGEST || request.len() == MOST);
            let is_free = keys.insert(key(&part)) || !self.apart;
            if is_free && !is_full {
                bytes += size;
                request.push(part);
            } else {
                behind.push_back(part);
            }
        }
        *waiting = behind;
        request
    }
}

fn must_wait(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Retry { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::channel::samples::event;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn messages(kinds: &[&str]) -> Vec<Message> {
        (0..).zip(kinds).map(|(n, kind)| event(n, kind)).collect()
    }

    /// What became of messages of these kinds, and which of them each request had.
    fn sent(
        apart: bool,
        kinds: &[&str],
        size: usize,
        mut receiver: impl FnMut(&[usize]) -> Became,
    ) -> (String, Vec<Vec<usize>>) {
        let messages = messages(kinds);
        let forms = messages.iter().map(|_| Ok(vec![b'x'; size])).collect();
        let mut requests = Vec::new();
        let became = Plan { apart, timeout: TIMEOUT }.deliver(&messages, forms, |parts| {
            requests.push(parts.iter().map(|part| part.place).collect::<Vec<usize>>());
            receiver(requests.last().expect("a request"))
        });
        let letter = |delivery: &Delivery| match delivery {
            Delivery::Delivered => 'd',
            Delivery::Retry { .. } => 'r',
            Delivery::Refused { .. } => 'x',
            Delivery::Untried => '-',
        };
        (became.iter().map(letter).collect(), requests)
    }

    fn takes(parts: &[usize]) -> Became {
        Became::Each(vec![Delivery::Delivered; parts.len()])
    }

    #[test]
    fn requests_are_no_larger_than_they_may_be() {
        let many = vec!["a"; 1201];
        let (became, requests) = sent(false, &many, 10, takes);
        assert_eq!(became, "d".repeat(1201));
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 201]);
        let (_, requests) = sent(false, &["a", "b", "c"], LARGEST / 2, takes);
        assert_eq!(requests, [vec![0], vec![1], vec![2]]);
        let (became, requests) = sent(false, &["a", "b"], LARGEST * 2, takes);
        assert_eq!((became.as_str(), requests.len()), ("dd", 2), "what is too large goes alone");
        assert_eq!(sent(false, &[], 1, takes), (String::new(), Vec::new()));
    }

    #[test]
    fn who_judges_each_gets_no_key_twice_and_nothing_behind_what_must_wait() {
        let kinds = ["a", "b", "a", "c", "a", "b"];
        let (became, requests) = sent(true, &kinds, 1, takes);
        assert_eq!((became.as_str(), requests), ("dddddd", vec![vec![0, 1, 3], vec![2, 5], vec![4]]));
        let (became, requests) = sent(true, &kinds, 1, |parts| {
            let judged = parts.iter().map(|place| match place {
                0 => Delivery::not_now("busy"),
                1 => Delivery::never("bad"),
                _ => Delivery::Delivered,
            });
            Became::Each(judged.collect())
        });
        assert_eq!((became.as_str(), requests), ("rx-d-d", vec![vec![0, 1, 3], vec![5]]));
        let (became, requests) =
            sent(true, &kinds, 1, |parts| Became::Each(vec![Delivery::not_now("busy"); parts.len()]));
        assert_eq!((became.as_str(), requests.len()), ("rr-r--", 1), "one that takes nothing is left alone");
    }

    #[test]
    fn nothing_follows_a_request_that_must_wait() {
        let many = vec!["a"; 600];
        let (became, requests) = sent(false, &many, 1, |_| Became::All(Delivery::not_now("busy")));
        assert_eq!((became, requests.len()), ("r".repeat(500) + &"-".repeat(100), 1));
    }

    #[test]
    fn what_is_not_taken_together_is_halved_until_the_one_is_found() {
        let (became, requests) = sent(false, &["a"; 8], 1, |parts| match parts {
            [5] => Became::TooMuch(Delivery::never("too large")),
            parts if parts.contains(&5) => Became::TooMuch(Delivery::never("together")),
            _ => Became::All(Delivery::Delivered),
        });
        assert_eq!(became, "dddddxdd");
        let order: Vec<usize> =
            requests.iter().filter(|parts| !parts.contains(&5)).flatten().copied().collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 6, 7]);
        // The first half must wait: the second does not overtake it.
        let (became, _) = sent(false, &["a"; 4], 1, |parts| match parts.len() {
            4 => Became::TooMuch(Delivery::never("together")),
            _ => Became::All(Delivery::not_now("busy")),
        });
        assert_eq!(became, "rr--");
    }

    #[test]
    fn the_one_that_is_named_is_left_out_and_the_others_go_again() {
        let (became, requests) =
            sent(false, &["a"; 4], 1, |parts| match parts.iter().position(|place| [1, 2].contains(place)) {
                Some(which) => Became::Without(which, Delivery::never("bad")),
                None => Became::All(Delivery::Delivered),
            });
        assert_eq!((became.as_str(), requests), ("dxxd", vec![vec![0, 1, 2, 3], vec![0, 2, 3], vec![0, 3]]));
        // A number that is none is about all of them.
        let (became, _) = sent(false, &["a"; 2], 1, |_| Became::Without(7, Delivery::not_now("odd")));
        assert_eq!(became, "rr");
    }

    #[test]
    fn forms_that_cannot_be_are_refused_and_empty_ones_are_not_sent() {
        let messages = messages(&["a", "b", "c"]);
        let forms = vec![Err(Delivery::never("no form")), Ok(Vec::new()), Ok(vec![b'x'])];
        let mut sent = 0;
        let became = Plan { apart: true, timeout: TIMEOUT }.deliver(&messages, forms, |parts| {
            sent += parts.len();
            Became::All(Delivery::Delivered)
        });
        assert_eq!(became, [Delivery::never("no form"), Delivery::Delivered, Delivery::Delivered]);
        assert_eq!(sent, 1);
    }

    #[test]
    fn nothing_begins_after_the_time_is_over() {
        let messages = messages(&["a", "a"]);
        let forms = messages.iter().map(|_| Ok(vec![b'x'])).collect();
        let plan = Plan { apart: true, timeout: Duration::from_millis(5) };
        let became = plan.deliver(&messages, forms, |_| {
            std::thread::sleep(Duration::from_millis(20));
            Became::All(Delivery::Delivered)
        });
        assert_eq!(became, [Delivery::Delivered, Delivery::Untried]);
    }
}
