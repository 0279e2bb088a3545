//! Numbers, shares, times and durations as people read them.

use jiff::Timestamp;

/// A number with a comma before every three digits.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole. Only all of it is 100 %, and only nothing of it is 0 %.
pub(super) fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    match part as f64 * 100.0 / whole as f64 {
        share if share < 0.01 => "< 0.01 %".to_owned(),
        share if share > 99.99 => "> 99.99 %".to_owned(),
        share if !(1.0..=99.0).contains(&share) => format!("{share:.2} %"),
        share => format!("{share:.1} %"),
    }
}

/// How long something took, in its two largest units.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A time to the second.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A count that has to fit into a small box.
pub(super) fn short(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => ">1G".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_by_threes() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (65_535, "65,535"), (16_776_960, "16,776,960")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn nearly_all_is_not_all_and_nearly_nothing_is_not_nothing() {
        for (part, whole, text) in [
            (0, 10, "0 %"),
            (10, 10, "100 %"),
            (9_999_999, 10_000_000, "> 99.99 %"),
            (1, 10_000_000, "< 0.01 %"),
            (1, 1000, "0.10 %"),
            (999, 1000, "99.90 %"),
            (7, 8, "87.5 %"),
            (0, 0, "0 %"),
        ] {
            assert_eq!(share(part, whole), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (ms, text) in [
            (12, "12 ms"),
            (26_657, "26.6 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!([1, 1_500, 2_000_000].map(short), ["1", "1k", "2M"]);
    }
}
