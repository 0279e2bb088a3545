//! XML as a stream of elements, and as little of XML as scanners write: no entities beside the five that XML has, no
//! document type of its own, no encoding but UTF-8.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Fault, Place};
use super::feed::Feed;
use super::masscan_json::mixed;

/// Elements within elements. nmap's scripts go down a few.
const MOST_DEEP: usize = 64;

/// An element's beginning.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    /// Where it begins.
    at: u64,
    is_empty: bool,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An attribute that has to be there.
    pub(super) fn need(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| self.fault(format!("<{}> has no `{name}`", self.name)))
    }

    /// Something that is wrong with it.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(Place::Byte(self.at), message, HELP)
    }

    pub(super) fn place(&self) -> Place {
        Place::Byte(self.at)
    }
}

const HELP: &str = "make sure that this is what nmap wrote with -oX";

/// What comes next.
enum Step {
    Begin(Element),
    Text(String),
    End,
    Over,
}

/// A stream of elements.
pub(super) struct Xml<'f, 'r> {
    reader: Reader<&'f mut Feed<'r>>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<'f, 'r> Xml<'f, 'r> {
    pub(super) fn new(feed: &'f mut Feed<'r>) -> Self {
        Xml { reader: Reader::from_reader(feed), buffer: Vec::new(), depth: 0 }
    }

    /// The one element that a document is.
    pub(super) fn root(&mut self) -> Result<Element, Fault> {
        loop {
            return match self.step()? {
                Step::Begin(element) => Ok(element),
                Step::Text(text) if text.trim().is_empty() => continue,
                Step::Text(_) => Err(self.fault("text before the first element")),
                Step::End => Err(self.fault("an end before the first element")),
                Step::Over => Err(Fault::cut(self.place(), "no element")),
            };
        }
    }

    /// The next element within `parent`; `None` at its end.
    pub(super) fn child(&mut self, parent: &Element) -> Result<Option<Element>, Fault> {
        if parent.is_empty {
            return Ok(None);
        }
        loop {
            match self.step()? {
                Step::Begin(element) => return Ok(Some(element)),
                Step::Text(text) if text.trim().is_empty() => {}
                Step::Text(_) => return Err(self.fault("text where only elements may be")),
                Step::End | Step::Over => return Ok(None),
            }
        }
    }

    /// Passes over the rest of an element.
    pub(super) fn skip(&mut self, element: &Element) -> Result<(), Fault> {
        let mut deep = usize::from(!element.is_empty);
        while deep > 0 {
            match self.step()? {
                Step::Begin(element) => deep += usize::from(!element.is_empty),
                Step::Text(_) => {}
                Step::End | Step::Over => deep -= 1,
            }
        }
        Ok(())
    }

    /// The text of an element that has nothing else.
    pub(super) fn text(&mut self, element: &Element) -> Result<String, Fault> {
        let mut text = String::new();
        if element.is_empty {
            return Ok(text);
        }
        loop {
            match self.step()? {
                Step::Text(more) => text.push_str(&more),
                Step::Begin(inner) => self.skip(&inner)?,
                Step::End | Step::Over => return Ok(text),
            }
        }
    }

    /// Makes sure that nothing follows behind the document.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        match self.step() {
            Ok(Step::Over) => Ok(()),
            Ok(Step::Text(text)) if text.trim().is_empty() => self.finish(),
            _ => Err(mixed(self.place(), "the document")),
        }
    }

    fn step(&mut self) -> Result<Step, Fault> {
        loop {
            let at = self.reader.buffer_position();
            self.reader.get_mut().renew();
            self.buffer.clear();
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event,
                Err(error) => return Err(torn(&error, self.reader.error_position())),
            };
            match event {
                Event::Start(tag) => {
                    self.depth += 1;
                    if self.depth > MOST_DEEP {
                        let message = format!("more than {MOST_DEEP} elements within each other");
                        return Err(Fault::new(Place::Byte(at), message, HELP));
                    }
                    return element(&tag, at, false).map(Step::Begin);
                }
                Event::Empty(tag) => return element(&tag, at, true).map(Step::Begin),
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Step::End);
                }
                Event::Text(text) => return Ok(Step::Text(text.xml10_content().into_owned())),
                Event::CData(text) => return Ok(Step::Text(text.xml10_content().into_owned())),
                Event::GeneralRef(name) => return Ok(Step::Text(referred(&name, at)?)),
                Event::DocType(_) | Event::Decl(_) if self.depth > 0 => {
                    return Err(mixed(Place::Byte(at), "a part of the document"));
                }
                Event::DocType(text) => refuse_own_types(&text.into_inner(), at)?,
                Event::Decl(decl) => refuse_other_encodings(&decl, at)?,
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if self.depth > 0 => {
                    return Err(Fault::cut(Place::Byte(at), "the document has no end"));
                }
                Event::Eof => return Ok(Step::Over),
            }
        }
    }

    fn fault(&self, message: &str) -> Fault {
        Fault::new(self.place(), message, HELP)
    }

    fn place(&self) -> Place {
        Place::Byte(self.reader.buffer_position())
    }
}

fn element(tag: &BytesStart<'_>, at: u64, is_empty: bool) -> Result<Element, Fault> {
    let fault = |message: String| Fault::new(Place::Byte(at), message, HELP);
    let name = tag.name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| fault(format!("<{name}>: {error}")))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| fault(format!("<{name}>: {error}")))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name, attributes, at, is_empty })
}

fn torn(error: &quick_xml::Error, at: u64) -> Fault {
    let place = Place::Byte(at);
    match error {
        quick_xml::Error::Io(cause) => Fault::unreadable(place, cause),
        quick_xml::Error::Syntax(what) => Fault::cut(place, what.to_string()),
        _ => Fault::new(place, error.to_string(), HELP),
    }
}

fn referred(name: &quick_xml::events::BytesRef<'_>, at: u64) -> Result<String, Fault> {
    let name = name.xml10_content();
    let text = quick_xml::escape::unescape(&format!("&{name};")).map(std::borrow::Cow::into_owned);
    text.map_err(|error| Fault::new(Place::Byte(at), error.to_string(), HELP))
}

/// A document type that brings definitions of its own could define entities, of which a few letters become gigabytes.
fn refuse_own_types(text: &str, at: u64) -> Result<(), Fault> {
    if text.contains('[') {
        let help = "nmap never writes these; take the part between [ and ] out if you trust the file";
        return Err(Fault::fatal(Place::Byte(at), "the document type has definitions of its own", help));
    }
    Ok(())
}

fn refuse_other_encodings(decl: &quick_xml::events::BytesDecl<'_>, at: u64) -> Result<(), Fault> {
    let encoding = decl.encoding().and_then(Result::ok);
    match encoding.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "us-ascii") => Ok(()),
        Some(other) => {
            let message = format!("the document is in the encoding `{other}`");
            Err(Fault::fatal(Place::Byte(at), message, "convert it to UTF-8 first"))
        }
    }
}
