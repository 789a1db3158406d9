//! `heraldry formatter bench`: the cost of a call.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::super::terminal::{self, line, note};
use super::{ToolArgs, digests, load, runtime};
use crate::formatter::{ComponentRuntime, Digested, Limits, Loaded, Payload, Run};
use crate::model::url::TransportKind;

pub(super) const HELP: &str = "\
Instructions and memory are exact and the same on every machine; times are those of this machine. `--save` writes \
bench.json beside the component as the baseline that later runs are compared with.";

/// Numbers of events of the digests that are measured: few, many, the most.
const DIGEST_SIZES: [usize; 3] = [2, 100, 1000];
/// The beginning of a digest's name, before its number of events. No event type has a space in its name.
const DIGEST: &str = "digest of ";
/// Most calls per event.
const CALLS: usize = 500;
/// Time limit of the calls for one event.
const TIME: Duration = Duration::from_millis(700);

/// The measurements for one event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Cost {
    instructions: u64,
    memory_bytes: u64,
    output_bytes: u64,
    #[serde(default)]
    p50_us: u64,
    #[serde(default)]
    p99_us: u64,
}

pub(super) fn run(file: &Path, save: bool, json: bool, tool: &ToolArgs) -> Result<(), Failure> {
    let runtime = runtime(tool)?;
    let loaded = load(&runtime, file)?;
    let mut costs = BTreeMap::new();
    // The plain sample of each type is closest to a real event.
    for sample in runtime.samples().iter().filter(|sample| !sample.name.contains("--")) {
        let call = || Ok(runtime.run(&loaded, &sample.event, "{}", TransportKind::Http));
        costs.insert(sample.name.clone(), measure(call, Payload::bytes)?);
    }
    let sizes = if loaded.digests() { &DIGEST_SIZES[..] } else { &[] };
    for size in sizes {
        let events = digests::scan(*size)?;
        let call = || digests::make(&runtime, &loaded, &events, "{}");
        costs.insert(format!("{DIGEST}{size}"), measure(call, |made: &Digested| made.payload.bytes())?);
    }
    let path = file.with_file_name("bench.json");
    let baseline: BTreeMap<String, Cost> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let error = anyhow::anyhow!("{}: {error}", path.display());
            Failure::failed(
                error,
                "the file is not a baseline of this command: delete it, then write a new one with --save",
            )
        })?,
        Err(_) => BTreeMap::new(),
    };
    if json {
        let text = serde_json::to_string(&costs)
            .map_err(|error| Failure::failed(error, "this is a bug in Heraldry: report it"))?;
        line(text)?;
    } else {
        show(&runtime, &loaded, &costs, &baseline)?;
    }
    if save {
        let text = serde_json::to_string_pretty(&costs)
            .map_err(|error| Failure::failed(error, "this is a bug in Heraldry: report it"))?;
        std::fs::write(&path, text + "\n").map_err(|error| {
            Failure::failed(
                anyhow::anyhow!("{}: {error}", path.display()),
                "check that the folder is writable and the disk is not full",
            )
        })?;
        note(format_args!("saved as the baseline: {}", path.display()));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "measures calls")]
fn measure<T>(call: impl Fn() -> Result<Run<T>, Failure>, bytes: impl Fn(&T) -> usize) -> Result<Cost, Failure> {
    let first = call()?;
    let until = Instant::now() + TIME;
    let mut times = Vec::with_capacity(CALLS);
    while times.len() < CALLS && (times.len() < 3 || Instant::now() < until) {
        times.push(call()?.duration_us);
    }
    times.sort_unstable();
    let percentile = |share: usize| times[(times.len() - 1) * share / 100];
    Ok(Cost {
        instructions: first.instructions,
        memory_bytes: first.memory_bytes as u64,
        output_bytes: first.result.as_ref().map_or(0, bytes) as u64,
        p50_us: percentile(50),
        p99_us: percentile(99),
    })
}

fn show(
    runtime: &ComponentRuntime,
    loaded: &Loaded,
    costs: &BTreeMap<String, Cost>,
    baseline: &BTreeMap<String, Cost>,
) -> Result<(), Failure> {
    let (mut of_digests, of_events): (Vec<_>, Vec<_>) = costs.iter().partition(|(name, _)| name.starts_with(DIGEST));
    of_digests.sort_by_key(|(_, cost)| cost.instructions);
    let rows: Vec<_> = of_events
        .iter()
        .chain(&of_digests)
        .map(|(sample, cost)| {
            let before = baseline.get(*sample);
            let change = before.map_or_else(String::new, |before| change(before.instructions, cost.instructions));
            let cells = vec![
                (*sample).clone(),
                cost.instructions.to_string(),
                change,
                format!("{} KiB", cost.memory_bytes / 1024),
                cost.output_bytes.to_string(),
                cost.p50_us.to_string(),
                cost.p99_us.to_string(),
            ];
            (anstyle::Style::new(), cells)
        })
        .collect();
    terminal::table(&["EVENT", "INSTRUCTIONS", "CHANGE", "MEMORY", "BYTES OUT", "P50 US", "P99 US"], &rows)?;
    let limits = runtime.limits(loaded.manifest.size);
    line("")?;
    show_headroom("headroom", &limits, &of_events)?;
    if of_digests.is_empty() { Ok(()) } else { show_headroom("headroom of digests", &limits.of_digest(), &of_digests) }
}

/// How often the dearest of these calls fits into the limits.
fn show_headroom(title: &str, limits: &Limits, costs: &[(&String, &Cost)]) -> Result<(), Failure> {
    let most = |cost: fn(&Cost) -> u64| costs.iter().map(|(_, of)| cost(of)).max().unwrap_or_default().max(1);
    let rows = [
        ("instructions", limits.instructions / most(|cost| cost.instructions)),
        ("memory", limits.memory_bytes / most(|cost| cost.memory_bytes)),
        ("output", limits.output_bytes / most(|cost| cost.output_bytes)),
        ("time", limits.time_ms * 1000 / most(|cost| cost.p99_us)),
    ]
    .map(|(limit, times)| (format!("{title}, {limit}"), format!("{times} times")));
    terminal::facts(&rows.each_ref().map(|(name, times)| (name.as_str(), times.clone())))
}

/// The change of a number, in percent.
fn change(before: u64, now: u64) -> String {
    if before == now {
        return "none".into();
    }
    format!("{:+.2} %", (now as f64 - before as f64) * 100.0 / before.max(1) as f64)
}
