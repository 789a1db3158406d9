//! How many events there are of each severity.

use crate::{Event, Severity};

/// The number of events of each severity, and of those that have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mildest first.
    by_severity: [usize; 5],
    news: usize,
}

impl Counts {
    /// Counts an event. What is no finding, no alert of a monitor and no event of the host has no severity here: a
    /// completed engagement with ten critical findings is not one more of them.
    pub fn add(&mut self, event: &Event<'_>) {
        if event.kind.names_severity() {
            self.by_severity[event.severity() as usize] += 1;
        } else {
            self.news += 1;
        }
    }

    /// The number of events of one severity.
    pub fn of(&self, severity: Severity) -> usize {
        self.by_severity[severity as usize]
    }

    /// The number of events that have no severity.
    pub fn news(&self) -> usize {
        self.news
    }

    /// The number of all of them.
    pub fn total(&self) -> usize {
        self.by_severity.iter().sum::<usize>() + self.news
    }

    /// The severities that occur, worst first, each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Severity, usize)> + '_ {
        Severity::ALL.into_iter().rev().map(|severity| (severity, self.of(severity))).filter(|(_, count)| *count > 0)
    }

    /// `7 critical, 22 high, 3 other`.
    pub fn words(&self) -> String {
        let mut words: Vec<_> = self.iter().map(|(severity, count)| format!("{count} {}", severity.word())).collect();
        match self.news {
            0 => {}
            _ if words.is_empty() => words.push("none with a severity".into()),
            count => words.push(format!("{count} other")),
        }
        words.join(", ")
    }

    /// A key by which the worst counts come last.
    pub(super) fn badness(&self) -> [usize; 6] {
        let [info, low, medium, high, critical] = self.by_severity;
        [critical, high, medium, low, info, self.news]
    }
}
