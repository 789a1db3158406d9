//! What is wrong with the host itself: told once for each change, a certificate that is about to expire once a day. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::host_event::{About, HostEvent, HostPart};
use crate::model::time::Timestamp;

/// A disk with less than this left is nearly full, and with less than a twentieth of it if that is less.
const LOW_BYTES: u64 = 512 * 1024 * 1024;
const LOW_SHARE: u64 = 20;
/// A certificate that expires within this time is told of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of the host at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    /// Free and total bytes of the data folder's disk, when it says so.
    pub(super) disk: Option<(u64, u64)>,
    /// Damaged records that were found since the start.
    pub(super) damaged: u64,
    /// Certificates, each with the time after which it is not valid.
    pub(super) certificates: &'a [(String, Timestamp)],
    pub(super) now: Timestamp,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Degraded {
    is_disk_low: bool,
    damaged: u64,
    certificates: HashMap<String, Timestamp>,
}

impl Degraded {
    /// What is to be told now.
    pub(super) fn look(&mut self, state: State<'_>) -> Vec<HostEvent> {
        let event = |part, reason: String| HostEvent::new(About::HostDegraded(part), &reason);
        let mut events = Vec::new();
        if let Some((free, total)) = state.disk {
            let low = LOW_BYTES.min(total / LOW_SHARE);
            if free < low && !self.is_disk_low {
                let reason = format!(
                    "the disk of the data folder is nearly full: {} MiB of {} MiB are left; when it is full, nothing is accepted",
                    free >> 20,
                    total >> 20
                );
                events.push(event(HostPart::Disk, reason));
            }
            // Not at each byte around the limit.
            let until = if self.is_disk_low { 2 * low } else { low };
            self.is_disk_low = free < until;
        }
        if state.damaged > self.damaged {
            let found = state.damaged;
            let records = match found {
                1 => "1 damaged record was".to_owned(),
                several => format!("{several} damaged records were"),
            };
            let reason = format!(
                "{records} found in the store since the start and skipped; run `heraldry store check` on the stopped host"
            );
            events.push(event(HostPart::Records, reason));
            self.damaged = found;
        }
        for (name, until) in state.certificates {
            let told_lately =
                self.certificates.get(name).is_some_and(|at| state.now < at.plus(DAY) && *at <= state.now);
            if *until > state.now.plus(EXPIRES_SOON) || told_lately {
                continue;
            }
            let reason = if *until > state.now {
                format!("the {name} expires on {until}; replace its file and restart the host")
            } else {
                format!("the {name} has expired on {until}; replace its file and restart the host")
            };
            events.push(event(HostPart::Certificate, reason));
            self.certificates.insert(name.clone(), state.now);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000).plus(Duration::from_secs(3600 * hours))
    }

    fn well(now: Timestamp) -> State<'static> {
        State { disk: Some((50 * GIB, 100 * GIB)), damaged: 0, certificates: &[], now }
    }

    fn reasons(degraded: &mut Degraded, state: State<'_>) -> Vec<String> {
        degraded.look(state).into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn a_disk_that_becomes_full_is_told_of_once() {
        let mut degraded = Degraded::default();
        let mut told = |free| degraded.look(State { disk: Some((free, 100 * GIB)), ..well(at(0)) }).len();
        let free = [600, 500, 400, 600, 500, 1025, 600, 511, 511];
        assert_eq!(free.map(|mib| told(mib * MIB)), [0, 1, 0, 0, 0, 0, 0, 1, 0]);
        let mut small = Degraded::default();
        assert!(small.look(State { disk: Some((4 * MIB, 64 * MIB)), ..well(at(0)) }).is_empty(), "a small disk");
        assert_eq!(small.look(State { disk: Some((3 * MIB, 64 * MIB)), ..well(at(0)) }).len(), 1);
        assert!(small.look(State { disk: None, ..well(at(0)) }).is_empty());
    }

    #[test]
    fn further_damage_is_told_of() {
        let mut degraded = Degraded::default();
        let mut told = |damaged| reasons(&mut degraded, State { damaged, ..well(at(0)) });
        assert!(told(0).is_empty());
        assert!(told(1)[0].starts_with("1 damaged record was found"));
        assert!(told(1).is_empty());
        assert!(told(4)[0].starts_with("4 damaged records were found"));
    }

    #[test]
    fn a_certificate_is_told_of_daily_in_its_last_two_weeks() {
        let certificates =
            [("client certificate us".to_owned(), at(24 * 15)), ("CA bundle corp".to_owned(), at(9_000))];
        let mut degraded = Degraded::default();
        let mut told = |hours| {
            let state = State { certificates: &certificates, ..well(at(hours)) };
            degraded.look(state).into_iter().map(|event| event.reason).collect::<Vec<_>>()
        };
        assert!(told(0).is_empty());
        assert_eq!(told(24).len(), 1);
        assert!(told(25).is_empty() && told(47).is_empty());
        assert!(told(48)[0].starts_with("the client certificate us expires on "));
        assert!(told(24 * 16)[0].contains("has expired on"));
    }
}
