//! The events of digests for golden files, the same in `cargo test` and in `heraldry formatter test`.

use crate::RawEvent;

/// The numbers of events of which a formatter's tests make digests.
pub const SIZES: [usize; 3] = [2, 11, 100];

/// The severities of a scan in turn, roughly as real ones have them.
const SEVERITIES: [&str; 20] = [
    "info", "high", "low", "info", "medium", "info", "low", "critical", "info", "medium", "info", "low", "info",
    "medium", "info", "low", "info", "info", "low", "medium",
];

/// A title, a weakness (CWE) and a place.
type Found = (&'static str, u32, &'static str);

/// What is found, for each severity.
const FINDINGS: [(&str, &[Found]); 5] = [
    (
        "critical",
        &[
            ("Remote code execution in the image converter", 502, "/images/convert?format=svg"),
            ("SQL injection in the order search", 89, "/orders/search?status=open'--"),
        ],
    ),
    (
        "high",
        &[
            ("Stored script in the delivery address", 79, "/account/addresses"),
            ("Invoices of other customers can be read", 639, "/invoices/10023"),
        ],
    ),
    (
        "medium",
        &[
            ("Password reset without a limit of attempts", 307, "/password/reset"),
            ("Session survives the logout", 613, "/logout"),
            ("Directory listing of the uploads", 548, "/uploads/"),
        ],
    ),
    (
        "low",
        &[("Cookie without the attribute Secure", 614, "/"), ("Version of the server is disclosed", 200, "/status")],
    ),
    ("info", &[("Subdomain found", 0, "/"), ("TLS certificate expires within 60 days", 298, "/")]),
];

/// A scan: findings of one engagement, in an order in which the worst do not come first.
pub fn scan(count: usize) -> Vec<RawEvent> {
    (0..count).map(finding).collect()
}

fn finding(n: usize) -> RawEvent {
    let severity = SEVERITIES[n % SEVERITIES.len()];
    let kinds = FINDINGS.iter().find(|(known, _)| *known == severity).map_or(FINDINGS[4].1, |(_, kinds)| *kinds);
    let (title, cwe, path) = kinds[n / SEVERITIES.len() % kinds.len()];
    let host = ["shop", "api", "intern", "cdn"][n % 4];
    let score = match severity {
        "critical" => 9.0 + (n % 10) as f64 / 10.0,
        "high" => 7.5,
        "medium" => 5.3,
        "low" => 3.1,
        _ => 0.0,
    };
    let id = format!("019a8f00-0000-7000-8000-{:012x}", n + 1);
    let occurred_at = format!("2026-11-17T10:{:02}:{:02}.120Z", n / 60 % 60, n % 60);
    let mut json = serde_json::json!({
        "type": "finding_added", "id": id, "occurred_at": occurred_at,
        "engagement": {"id": "eng-2026-044", "name": "Customer portal, autumn test", "client": "Contoso Retail"},
        "data": {"finding": {
            "id": format!("F-{:04}", n + 1), "title": title, "severity": severity, "cvss": score, "cwe": cwe,
            "target": format!("https://{host}.contoso.example{path}"), "parameter": "status",
            "description": "Seen by the nightly scan.", "evidence": "GET / HTTP/1.1",
            "url": format!("https://platform.example/findings/F-{:04}", n + 1),
        }},
    });
    if severity == "info" {
        let finding = json.pointer_mut("/data/finding").and_then(|finding| finding.as_object_mut());
        finding.into_iter().for_each(|finding| finding.retain(|name, _| name != "cvss" && name != "cwe"));
    }
    RawEvent { id, type_: "finding_added".into(), occurred_at, json: json.to_string() }
}

/// `count` events: the samples in their order, again and again, each with an id of its own.
pub fn cycled(samples: &[RawEvent], count: usize) -> Vec<RawEvent> {
    let with_id = |(n, sample): (usize, &RawEvent)| RawEvent {
        id: format!("019a8f00-0000-7000-9000-{:012x}", n + 1),
        ..sample.clone()
    };
    samples.iter().cycle().take(count).enumerate().map(with_id).collect()
}
