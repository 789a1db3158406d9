//! JSON numbers by their exact decimal value.
//!
//! `serde_json` reads a number as an integer of 64 bits or as a double: it rejects `1e400` and takes different long
//! numbers for the same. Here a number is its digits and its exponent, so nothing is rounded and nothing overflows. The
//! work is linear in the number's text: an exponent is compared, never expanded.

use std::borrow::Cow;
use std::ops::Range;

/// Digits up to which two decimals with small exponents are never the same double.
const SAFE_DIGITS: usize = 15;
/// Digits of an exponent up to which such a decimal is far from the ends of a double's range.
const SAFE_EXPONENT_DIGITS: usize = 2;
/// Digits of an integer that always fits into 64 bits, with its sign.
const SAFE_INTEGER_DIGITS: usize = 18;
/// Digits of an exponent that is a number here; a longer one is compared by its digits.
const EXPONENT_DIGITS: usize = 18;
/// Digits of the largest integer of 64 bits.
const U64_DIGITS: usize = 20;

/// The positions of the numbers in a JSON text, in its order.
///
/// A run of the characters of numbers that is no JSON number is returned too: whoever parses the text finds the error.
pub(super) struct Numbers<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Numbers<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next number's text.
    pub(super) fn next_text(&mut self) -> Option<&'t str> {
        let text = self.text;
        self.next().map(|range| &text[range])
    }
}

impl Iterator for Numbers<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' => self.at = after_string(self.text, self.at + 1),
                b'-' | b'0'..=b'9' => {
                    let start = self.at;
                    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    self.at += bytes[start..].iter().take_while(is_part).count();
                    return Some(start..self.at);
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

/// The position behind the string whose content begins at `at`.
fn after_string(text: &str, mut at: usize) -> usize {
    // `find` looks at several bytes at a time; most of a text is in strings.
    while let Some(length) = text[at..].find('"') {
        let backslashes = text.as_bytes()[at..at + length].iter().rev().take_while(|byte| **byte == b'\\').count();
        at += length + 1;
        if backslashes % 2 == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns true if a text has a number that a double might round or not hold at all.
pub(super) fn needs_decimals(text: &str) -> bool {
    let mut numbers = Numbers::of(text);
    while let Some(number) = numbers.next_text() {
        if !is_safe(number) {
            return true;
        }
    }
    false
}

/// Returns true for a number that no other number rounds to.
fn is_safe(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let is_integer = mantissa.len() == number.len() && !mantissa.contains('.');
    let most = if is_integer { SAFE_INTEGER_DIGITS } else { SAFE_DIGITS };
    digits(mantissa) <= most && digits(exponent) <= SAFE_EXPONENT_DIGITS
}

/// The text with a `0` in place of each number, and spaces up to the number's length, so that positions stay.
pub(super) fn blanked(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut end = 0;
    for range in Numbers::of(text) {
        if Parts::of(&text[range.clone()]).is_none() {
            // No number: the parser stops here.
            break;
        }
        blanked.push_str(&text[end..range.start]);
        blanked.push('0');
        blanked.extend(std::iter::repeat_n(' ', range.len() - 1));
        end = range.end;
    }
    blanked.push_str(&text[end..]);
    blanked
}

/// The first number of a text that is beyond the range of a double, at most `chars` characters of it.
pub(super) fn beyond_double(text: &str, chars: usize) -> Option<&str> {
    let mut numbers = Numbers::of(text);
    while let Some(number) = numbers.next_text() {
        if number.parse::<f64>().is_ok_and(f64::is_infinite) {
            // Numbers are ASCII.
            return Some(&number[..number.len().min(chars)]);
        }
    }
    None
}

/// The parts of a number as RFC 8259, section 6 writes it.
struct Parts<'t> {
    is_negative: bool,
    integer: &'t str,
    fraction: &'t str,
    exponent_is_negative: bool,
    exponent: &'t str,
}

impl<'t> Parts<'t> {
    fn of(number: &'t str) -> Option<Self> {
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned_exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        let is_number = digits(integer)
            && (integer == "0" || !integer.starts_with('0'))
            && fraction.is_none_or(digits)
            && unsigned_exponent.is_none_or(digits);
        is_number.then(|| Self {
            is_negative: unsigned.len() < number.len(),
            integer,
            fraction: fraction.unwrap_or(""),
            exponent_is_negative: exponent.is_some_and(|exponent| exponent.starts_with('-')),
            exponent: unsigned_exponent.unwrap_or("").trim_start_matches('0'),
        })
    }
}

/// The power of ten that the digits are multiplied with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exponent<'t> {
    /// A number.
    Of(i64),
    /// An exponent of more than [`EXPONENT_DIGITS`] digits, as it is written, and what is added to it.
    Beyond { is_negative: bool, digits: &'t str, plus: i64 },
}

/// A number that is not zero: `digits`, which begin and end with another digit than 0, times a power of ten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Decimal<'t> {
    pub(super) is_negative: bool,
    pub(super) digits: Cow<'t, str>,
    pub(super) exponent: Exponent<'t>,
}

/// The value of a number; each has exactly one of these forms (but see [`Exponent::Beyond`]).
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value<'t> {
    /// An integer from 0.
    Unsigned(u64),
    /// An integer below 0.
    Negative(i64),
    /// The decimal is the shortest one that rounds to this double.
    Double(f64),
    /// Any other number.
    Decimal(Decimal<'t>),
}

impl<'t> Decimal<'t> {
    /// The number without loss; `None` for zero and for a text that is no number.
    fn of(number: &'t str) -> Option<Self> {
        let parts = Parts::of(number)?;
        let digits = match (parts.integer, parts.fraction) {
            (integer, "") => Cow::Borrowed(integer),
            (integer, fraction) => Cow::Owned([integer, fraction].concat()),
        };
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return None;
        }
        let trailing = digits.len() - digits.trim_end_matches('0').len();
        let plus = i64::try_from(trailing).ok()? - i64::try_from(parts.fraction.len()).ok()?;
        let exponent = if parts.exponent.len() <= EXPONENT_DIGITS {
            let magnitude: i64 = if parts.exponent.is_empty() { 0 } else { parts.exponent.parse().ok()? };
            Exponent::Of(if parts.exponent_is_negative { plus - magnitude } else { plus + magnitude })
        } else {
            Exponent::Beyond { is_negative: parts.exponent_is_negative, digits: parts.exponent, plus }
        };
        let digits = match &digits {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches('0').trim_end_matches('0')),
            Cow::Owned(_) => Cow::Owned(significant.to_owned()),
        };
        Some(Self { is_negative: parts.is_negative, digits, exponent })
    }

    /// The integer, without its sign, if it is one of 64 bits.
    fn integer(&self) -> Option<u64> {
        let Exponent::Of(exponent) = self.exponent else { return None };
        let zeroes = usize::try_from(exponent).ok().filter(|zeroes| *zeroes <= U64_DIGITS)?;
        let digits: u64 = self.digits.parse().ok()?;
        digits.checked_mul(10_u64.checked_pow(u32::try_from(zeroes).ok()?)?)
    }
}

/// The value of a number's text; zero for a text that is none, which [`super::check()`] has rejected.
pub(super) fn value(number: &str) -> Value<'_> {
    let Some(decimal) = Decimal::of(number) else { return Value::Unsigned(0) };
    match decimal.integer() {
        Some(integer) if !decimal.is_negative => return Value::Unsigned(integer),
        Some(integer) if integer <= i64::MIN.unsigned_abs() => {
            return Value::Negative(0_i64.wrapping_sub_unsigned(integer));
        }
        _ => {}
    }
    if let Ok(double) = number.parse::<f64>()
        && double.is_finite()
        && Decimal::of(&format!("{double:e}")).is_some_and(|shortest| shortest == decimal)
    {
        return Value::Double(double);
    }
    Value::Decimal(decimal)
}

/// A number as a field that wants an integer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whole {
    /// An integer from 0, of 64 bits.
    Small(u64),
    /// An integer below 0, or one of more than 64 bits.
    OutOfRange,
    /// No integer.
    Fraction,
}

/// Reads a number's text as an integer, however it is written: `3.0` and `30e-1` are 3.
pub(super) fn whole(number: &str) -> Whole {
    let Some(decimal) = Decimal::of(number) else { return Whole::Small(0) };
    let is_fraction = match decimal.exponent {
        Exponent::Of(exponent) => exponent < 0,
        Exponent::Beyond { is_negative, .. } => is_negative,
    };
    match decimal.integer() {
        _ if is_fraction => Whole::Fraction,
        Some(integer) if !decimal.is_negative => Whole::Small(integer),
        _ => Whole::OutOfRange,
    }
}

/// What the fuzz target `json` needs to know of numbers.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::Numbers;

    /// Returns true if `serde_json` may round a number of the text, or reject it.
    pub(crate) fn are_rounded(text: &str) -> bool {
        super::needs_decimals(text)
    }

    /// The same JSON with each number in another spelling.
    pub(crate) fn respell(text: &str) -> String {
        let (mut respelled, mut end) = (String::new(), 0);
        for range in Numbers::of(text) {
            respelled.push_str(&text[end..range.start]);
            end = range.end;
            let number = &text[range];
            let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
            let point = if mantissa.contains('.') { "" } else { "." };
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent.trim_start_matches('+')),
            };
            respelled.push_str(&format!("{mantissa}{point}00E{sign}0{digits}"));
        }
        respelled.push_str(&text[end..]);
        respelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_numbers_and_nothing_in_strings() {
        let text = r#"{"1":-2.5e+3,"a\"4\\":[true,"5",6,null,1e400],"b":7}"#;
        let mut numbers = Numbers::of(text);
        let found: Vec<&str> = std::iter::from_fn(|| numbers.next_text()).collect();
        assert_eq!(found, ["-2.5e+3", "6", "1e400", "7"]);
        assert_eq!(blanked(text), r#"{"1":0      ,"a\"4\\":[true,"5",0,null,0    ],"b":0}"#);
        assert_eq!(blanked("[1,01,2]"), "[0,01,2]");
        assert_eq!(blanked("\"unfinished 1"), "\"unfinished 1");
        assert_eq!(blanked("\"\\"), "\"\\");
    }

    #[test]
    fn a_number_is_safe_where_no_other_rounds_to_it() {
        for safe in ["0", "-0", "9.8", "123456789012345", "-1.5e-99", "999999999999999999", "1E+99", "0.00000000000001"]
        {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_ in ["1e100", "1e-100", "1e400", "1.234567890123456", "1234567890123456.0", "1234567890123456789"] {
            assert!(!is_safe(unsafe_), "{unsafe_}");
        }
        assert!(needs_decimals(r#"{"a":[1,{"b":1e400}]}"#) && !needs_decimals(r#"{"a 1e400":"1e400","b":9.8}"#));
    }

    #[test]
    fn a_value_has_one_form() {
        for (number, expected) in [
            ("0", Value::Unsigned(0)),
            ("-0.000e5", Value::Unsigned(0)),
            ("0e999999999999999999999999", Value::Unsigned(0)),
            ("100e-2", Value::Unsigned(1)),
            ("18446744073709551615", Value::Unsigned(u64::MAX)),
            ("1.8446744073709551615e19", Value::Unsigned(u64::MAX)),
            ("-9223372036854775808.0", Value::Negative(i64::MIN)),
            ("9.80", Value::Double(9.8)),
            ("1e300", Value::Double(1e300)),
            ("18446744073709551616", Value::Decimal(Decimal::of("18446744073709551616").expect("a number"))),
            ("100000000000000000000", Value::Double(1e20)),
            ("5e-324", Value::Double(5e-324)),
        ] {
            assert_eq!(value(number), expected, "{number}");
        }
        for number in ["1e400", "-1e400", "1e-400", "0.1000000000000000055", "1e999999999", "9007199254740993.5"] {
            assert!(matches!(value(number), Value::Decimal(_)), "{number}");
        }
    }

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        for (number, expected) in [
            ("3.0", Whole::Small(3)),
            ("30e-1", Whole::Small(3)),
            ("1e3", Whole::Small(1000)),
            ("-0", Whole::Small(0)),
            ("-1", Whole::OutOfRange),
            ("1e400", Whole::OutOfRange),
            ("-1e999999999999999999999", Whole::OutOfRange),
            ("1e-400", Whole::Fraction),
            ("1e-999999999999999999999", Whole::Fraction),
            // As a double, each of these is an integer.
            ("0.99999999999999999999", Whole::Fraction),
            ("3.00000000000000000001", Whole::Fraction),
        ] {
            assert_eq!(whole(number), expected, "{number}");
        }
    }

    #[test]
    fn what_is_beyond_a_double_is_named() {
        assert_eq!(beyond_double(r#"{"a":"1e400","b":[2,-1e400]}"#, 60), Some("-1e400"));
        assert_eq!(beyond_double(&"9".repeat(400), 60).map(str::len), Some(60));
        assert_eq!(beyond_double("[1e308,1e-400]", 60), None);
    }
}
