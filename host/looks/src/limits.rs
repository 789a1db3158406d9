//! What a message uses of its language's limits.

use crate::html::Html;

/// The largest use of one limit.
struct Limit {
    name: &'static str,
    unit: &'static str,
    used: usize,
    most: usize,
    times_over: usize,
}

/// The limits that a drawing has met.
#[derive(Default)]
pub(crate) struct Limits(Vec<Limit>);

impl Limits {
    /// Notes the use of a limit; of several uses the largest is kept.
    pub(crate) fn add(&mut self, name: &'static str, used: usize, most: usize, unit: &'static str) {
        let times_over = usize::from(used > most);
        match self.0.iter_mut().find(|limit| limit.name == name) {
            Some(limit) => {
                limit.used = limit.used.max(used);
                limit.times_over += times_over;
            }
            None => self.0.push(Limit { name, unit, used, most, times_over }),
        }
    }

    /// Says which limits are exceeded, if any.
    pub(crate) fn alert(&self, html: &mut Html) {
        for limit in self.0.iter().filter(|limit| limit.times_over > 0) {
            html.wrap("p", "over", |html| {
                let Limit { name, unit, used, most, .. } = limit;
                html.text(&format!("Over a limit: {name}, {} of {} {unit}", grouped(*used), grouped(*most)));
                html.text(&match limit.times_over {
                    1 => ".".to_owned(),
                    times => format!(", {} times.", grouped(times)),
                });
            });
        }
    }

    /// Shows each limit with a bar.
    pub(crate) fn table(&self, html: &mut Html) {
        if self.0.is_empty() {
            return;
        }
        html.wrap("table", "limits", |html| {
            html.wrap("caption", "", |html| html.text("Limits"));
            html.wrap("tbody", "", |html| {
                for limit in &self.0 {
                    html.wrap("tr", "", |html| row(html, limit));
                }
            });
        });
    }
}

fn row(html: &mut Html, limit: &Limit) {
    let words = format!("{} of {} {}", grouped(limit.used), grouped(limit.most), limit.unit);
    html.with("th", &[("scope", "row")], |html| html.text(limit.name));
    html.wrap("td", "", |html| {
        let (most, value) = (limit.most.to_string(), limit.used.min(limit.most).to_string());
        html.with("meter", &[("max", &most), ("value", &value), ("aria-label", limit.name)], |html| html.text(&words));
    });
    html.wrap("td", "", |html| {
        html.text(&words);
        if limit.times_over > 0 {
            html.wrap("strong", "", |html| html.text(" (over)"));
        }
    });
}

/// Writes a number with a comma between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Length in UTF-16 units: never less than in any other unit in which a destination may count characters.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_use_is_shown_and_excess_is_said_in_words() {
        let mut limits = Limits::default();
        for used in [10, 3001, 4000, 20] {
            limits.add("section text", used, 3000, "characters");
        }
        let mut html = Html::new();
        limits.alert(&mut html);
        limits.table(&mut html);
        let html = html.finish();
        assert!(html.contains("Over a limit: section text, 4,000 of 3,000 characters, 2 times."), "{html}");
        assert!(html.contains("<meter max=\"3000\" value=\"3000\""), "{html}");
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
    }
}
