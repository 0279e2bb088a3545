//! A desk that is opened anew goes on where the last one ended.

use crate::harness::{Office, retry, takes_all};

#[test]
fn what_was_not_delivered_before_the_end_is_delivered_after_it_by_the_same_identifier() {
    let mut office = Office::new(vec![("soc", Box::new(|_, _| retry("down"))), ("siem", takes_all())]);
    office.see(&[22]);
    office.carry();
    let said = office.received["siem"].lock().expect("a list")[0].1.id();
    let kept = office.into_directory();
    let path = kept.path().join("alerts.db");
    let mut office = Office::at(&path, vec![("soc", takes_all()), ("siem", takes_all())], kept);
    // The clock of this office begins anew, and the first retry is due a second later.
    office.pass(3, std::time::Duration::from_secs(1));
    assert_eq!(office.told("soc"), ["exposure 22 firing"]);
    assert_eq!(office.received["soc"].lock().expect("a list")[0].1.id(), said);
    assert!(office.told("siem").is_empty(), "what was delivered is not delivered again");
    // What fires is known, and not told anew.
    office.see(&[22]);
    office.carry();
    assert_eq!(office.told("soc").len(), 1);
    assert_eq!(office.books()["soc"], (1, 1, 0, 0));
}
