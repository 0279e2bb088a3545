//! Class 2003: what a control run came to, for those who keep evidence where they keep findings.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::parts::Text;
use super::super::told;
use super::super::view::{View, epoch_ms};
use super::{VERSION, product, with};

/// What a control run came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlResult<'a> {
    /// The run: the same for everything that is told of it.
    pub run: &'a str,
    /// When that became known.
    pub time: Timestamp,
    /// The control, as its owner numbers it.
    pub control: &'a str,
    /// What it is called.
    pub title: &'a str,
    /// The standards that it serves.
    pub standards: &'a [&'a str],
    /// Their requirements.
    pub requirements: &'a [&'a str],
    /// What it came to.
    pub verdict: ControlVerdict,
    /// What that rests on.
    pub assessments: &'a [Assessment<'a>],
}

/// What a control run came to, in one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ControlVerdict {
    /// All was seen, and all is as it must be.
    Pass,
    /// Something is not as it must be.
    Fail,
    /// Not all was seen.
    Inconclusive,
}

/// One thing that was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assessment<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is as it must be.
    pub meets: bool,
    /// What was seen.
    pub desc: &'a str,
}

/// `control.completed` as an event of this class.
pub(super) fn of(view: &View<'_>) -> Value {
    let assessments = view.assessments.iter().map(|asked| {
        let (name, desc): (&str, &str) = (&asked.name, &asked.statement);
        Assessment { name, meets: asked.met, desc }
    });
    let assessments: Vec<_> = assessments.collect();
    let requirements: Vec<&str> = view.frameworks.iter().map(|framework| &**framework).collect();
    let result = encode(&ControlResult {
        run: view.sweep.unwrap_or("none"),
        time: view.time,
        control: view.control.as_deref().unwrap_or("none"),
        title: view.title.as_deref().unwrap_or("Control run"),
        standards: &[],
        requirements: &requirements,
        verdict: match view.verdict {
            Some("pass") => ControlVerdict::Pass,
            Some("fail") => ControlVerdict::Fail,
            _ => ControlVerdict::Inconclusive,
        },
        assessments: &assessments,
    });
    let more = json!({
        "message": view.sentence(),
        "unmapped": {"ledger": view.ledger, "findings": view.findings, "manifest": view.manifest},
    });
    with(result, &more)
}

/// The result as an event. What is inconclusive is a warning, and never a pass.
pub fn encode(result: &ControlResult<'_>) -> Value {
    let (status_id, status, severity_id) = match result.verdict {
        ControlVerdict::Pass => (1, "Pass", 1),
        ControlVerdict::Fail => (3, "Fail", 4),
        ControlVerdict::Inconclusive => (2, "Warning", 3),
    };
    let verdict = match result.verdict {
        ControlVerdict::Pass => "pass",
        ControlVerdict::Fail => "fail",
        ControlVerdict::Inconclusive => "inconclusive",
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(Text::new(text))).collect::<Vec<_>>();
    let assessments = result.assessments.iter().map(|assessment| {
        let Assessment { name, meets, desc } = assessment;
        json!({"name": Text::new(name), "meets_criteria": meets, "desc": Text::new(desc)})
    });
    told(json!({
        "class_uid": 2003, "category_uid": 2, "activity_id": 1, "activity_name": "Create", "type_uid": 200_301,
        "time": epoch_ms(result.time), "severity_id": severity_id,
        "metadata": {"version": VERSION, "uid": result.run, "event_code": "control.completed", "product": product()},
        "finding_info": {"uid": result.run, "title": Text::new(result.title)},
        "compliance": {
            "control": Text::new(result.control), "standards": texts(result.standards),
            "requirements": texts(result.requirements), "status_id": status_id, "status": status,
            "status_code": verdict, "assessments": assessments.collect::<Vec<_>>(),
        },
    }))
}
