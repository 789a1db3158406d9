//! The format `ocsf`: records of the Open Cybersecurity Schema Framework 1.4.0, one JSON object per line (FORMATS,
//! section 15).
//!
//! Findings are Vulnerability Findings (class 2002). Monitor alerts and surface drift are Detection Findings (2004):
//! something was observed, but no weakness is named. A retest becomes a Vulnerability Finding for each finding in its
//! lists, one per line, because receivers identify a finding by `finding_info.uid`: fixed findings are closed, findings
//! still open or regressed are updated. Phases, signatures, reports and completed engagements are not findings:
//! `unsupported-event`, unless the option `all_events` is on; then they are Base Events (class 0), the schema's class
//! for everything else. So are events of the host itself, always.
//!
//! OCSF requires each vulnerability to be a CVE, a CWE or an advisory; 1.4.0 is the first version with advisories. A
//! finding that names none of them is its own advisory, under its own id. Content without a place in OCSF (evidence,
//! parameter, engagement ..) is in `unmapped`, as posted.

mod detection;
mod options;
mod record;
mod retest;
mod text;
mod vulnerability;

use heraldry_formatter::{Context, Error, Event, EventType, Formatter, Join, Level, Manifest, Payload, Problem, log};

pub use options::Options;
use record::{Record, RecordBuilder};

/// The host's limit on the output of any formatter.
const MOST_BYTES: usize = 1 << 20;

/// The format `ocsf`; see the crate's documentation.
#[derive(Debug)]
pub struct Ocsf;

impl Formatter for Ocsf {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("OCSF (Open Cybersecurity Schema Framework)"),
            description: Some(
                "OCSF 1.4.0, one JSON object per line: findings and retests as Vulnerability Finding (2002), monitor alerts and surface drift as Detection Finding (2004).",
            ),
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("ocsf", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let time = event.time().ok_or_else(|| {
            let message = "a time of RFC 3339 is expected here: OCSF has no record without one".into();
            Error::InvalidEvent(vec![Problem { pointer: "/occurred_at".into(), message }])
        })?;
        let builder = RecordBuilder::new(event, context, options, time.unix_timestamp_nanos().div_euclid(1_000_000));
        let mut records = match event.kind {
            EventType::FindingAdded | EventType::CriticalFinding | EventType::FindingVerified => {
                vec![vulnerability::record(&builder)]
            }
            EventType::MonitorAlert => vec![detection::alert(&builder)],
            EventType::SurfaceChanged => vec![detection::drift(&builder)],
            EventType::RetestCompleted => retest::records(&builder),
            _ => Vec::new(),
        };
        if records.is_empty() {
            // A webhook gets an event of the host only if it names the type, so it wants it.
            if !options.all_events && !event.kind.is_host() {
                return Err(Error::UnsupportedEvent(event.kind.name().into()));
            }
            records.push(builder.base_event());
        }
        let most = context.max_bytes.map_or(MOST_BYTES, |max| MOST_BYTES.min(max as usize));
        let mut body = lines(&records)?;
        if body.len() > most {
            log(Level::Warn, "the event as it was posted is left out of `unmapped`: the record would be too large");
            records.iter_mut().for_each(Record::leave_out_posted);
            body = lines(&records)?;
        }
        // Only a retest has several records.
        while body.len() > most && records.len() > 1 {
            let left_out = records.split_off(records.len() / 2).len();
            records[0].leave_out_findings(left_out);
            body = lines(&records)?;
        }
        Ok(Payload { content_type: "application/x-ndjson".into(), headers: Vec::new(), body })
    }
}

/// One record per line, without a trailing line feed.
fn lines(records: &[Record<'_>]) -> Result<Vec<u8>, Error> {
    // Most records are 2 KiB larger than the event.
    let mut body = Vec::with_capacity(8192);
    for record in records {
        if !body.is_empty() {
            body.push(b'\n');
        }
        record.push_to(&mut body).map_err(|e| Error::Internal(e.to_string()))?;
    }
    Ok(body)
}

heraldry_formatter::export_formatter!(Ocsf);
