// Types of events, and of what a formatter gets and returns. Made from the host's `wit/schemas`: do not edit.
//
// The host checks a finding's `title` and `severity`. Every other member may be absent or of another type than it says
// here, and there may be others, so test what you use.

/** The event as the contract hands it over: its JSON text is in `json`, as posted. */
export interface Event {
  /** The event's id, a UUID. */
  id: string;
  /** The event's type. Later hosts may know more than `EventType`. */
  type: string;
  /** When it happened: RFC 3339, UTC, milliseconds. */
  occurredAt: string;
  /** The whole event as one JSON object: `JSON.parse` makes a `PostedEvent` of it. */
  json: string;
}

/** What surrounds the event. */
export interface Context {
  /** How the payload travels. */
  transport: "http" | "syslog" | (string & {});
  /** The most bytes that the body may have; absent: the host's limit on every output. */
  maxBytes?: number;
  /** The name of the machine that Heraldry speaks for. */
  hostName: string;
  /** Heraldry's version. */
  productVersion: string;
}

/** What one delivery carries. */
export interface Payload {
  /** The value of `Content-Type`. */
  contentType: string;
  /** Headers beside it, at most 32. */
  headers: { name: string; value: string }[];
  /** The body, to the byte. */
  body: Uint8Array;
}

/** The engagement that an event belongs to. */
export interface Engagement {
  id: string;
  name: string;
  client?: string;
}

/** The finding. */
export interface Finding {
  /** The platform's own id of the finding. Formats use it to tell that two messages are about the same finding. Example: `"F-0407"` */
  id?: string;
  /** What was found, in one line. The only required member; must not be empty. Example: `"Log4j of 2021 behind the image service"` */
  title: string;
  /** `info`, `low`, `medium`, `high` or `critical`, in any case; anything else is rejected. Filters by `min_severity` compare it, and `critical` makes a `critical_finding` too. Example: `"high"` */
  severity?: string;
  /** The CVSS base score, from 0 to 10, or a list of scores. Example: `8.1` */
  cvss?: number | number[];
  /** The CVSS vector string that belongs to the score. Example: `"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"` */
  cvss_vector?: string;
  /** CVE identifiers: one, or a list. Example: `["CVE-2021-44228", "CVE-2021-45046"]` */
  cve?: string | string[];
  /** CWE identifiers: one, or a list, as numbers or as texts with or without `CWE-`. Example: `["CWE-502", "CWE-917"]` */
  cwe?: string | number | (string | number)[];
  /** What is affected: a URL, a host with or without a port, or a list of them. Formats that have fields for host and port take them from here. Example: `"images.contoso.example:8443"` */
  target?: string | string[];
  /** The IP address of the target, or a list. Example: `"10.20.4.31"` */
  ip?: string | string[];
  /** The vulnerable parameter, field or header. Example: `"id"` */
  parameter?: string;
  /** What is wrong and why it matters, in plain text. Example: `"The image service still loads log4j-core 2.14.1."` */
  description?: string;
  /** How to repair it, in plain text. Example: `"Update to log4j-core 2.17.1 or later."` */
  remediation?: string;
  /** What proves it: a request, a response, output of a tool. Shown as it is. Example: `"nginx/1.14.2"` */
  evidence?: string;
  /** Where to read more: URLs or texts. Example: `["https://logging.apache.org/security.html"]` */
  references?: string | string[];
  /** Labels of the platform. Example: `["outdated component"]` */
  tags?: string | string[];
  /** What found it: a scanner's name, or `manual`. Example: `"nuclei"` */
  tool?: string;
  /** The tool's rule, plugin or template. Example: `"CVE-2021-44228"` */
  template?: string;
  /** How many times it was found. Example: `1` */
  occurrences?: number;
  /** The finding in the platform. Chat formats make it the button. Example: `"https://platform.example/findings/F-0407"` */
  url?: string;
  [member: string]: unknown;
}

/** How the finding was proven. */
export interface Verification {
  /** How it was proven. Example: `"time-based blind extraction"` */
  method?: string;
  /** Who proved it. Example: `"m.okafor"` */
  verified_by?: string;
  /** The proof of concept in the platform. Example: `"https://platform.example/findings/F-0407/poc"` */
  poc_url?: string;
  [member: string]: unknown;
}

/** The phase of the test. */
export interface Phase {
  /** The phase's name. Example: `"exploitation"` */
  name?: string;
  /** `started` or `completed`; other words are shown as they are. Example: `"started"` */
  status?: string;
  /** The phase's place in the order, from 1. Example: `3` */
  index?: number;
  /** The number of phases. Example: `5` */
  total?: number;
  [member: string]: unknown;
}

/** The engagement as a whole. */
export interface Summary {
  /** When the engagement began, in RFC 3339. Example: `"2026-11-16T09:00:00Z"` */
  started_at?: string;
  /** When it ended, in RFC 3339. Example: `"2026-11-27T16:30:00Z"` */
  completed_at?: string;
  /** The number of findings of each severity. The worst one with a number above 0 is the message's severity. Example: `{"critical": 1, "high": 4, "medium": 9, "low": 12, "info": 23}` */
  findings?: { critical?: number; high?: number; medium?: number; low?: number; info?: number; [member: string]: unknown };
  /** The report in the platform. Example: `"https://platform.example/engagements/eng-2026-044/report"` */
  report_url?: string;
  [member: string]: unknown;
}

/** The signed authorization. */
export interface Authorization {
  /** Who signed. Example: `"Dana Whitfield"` */
  signer?: string;
  /** The signer's role. Example: `"CISO"` */
  role?: string;
  /** When it was signed, in RFC 3339. Example: `"2026-11-16T08:54:58Z"` */
  signed_at?: string;
  /** What may be tested: URLs, hosts, networks. Example: `["https://dvwa.contoso.example", "10.20.0.0/24"]` */
  scope?: string | string[];
  /** The authorization in the platform. Example: `"https://platform.example/engagements/eng-2026-044/authorization"` */
  url?: string;
  [member: string]: unknown;
}

/** The retest cycle. */
export interface Retest {
  /** The platform's own id of the retest. Example: `"RT-0012"` */
  id?: string;
  /** The findings that are fixed: ids, or objects with `id` and `title`. The PagerDuty format resolves their alerts. Example: `["F-0401", "F-0402"]` */
  fixed?: string | (string | { id?: string; title?: string; [member: string]: unknown })[];
  /** The findings that are still there. Example: `["F-0407"]` */
  still_open?: string | (string | { id?: string; title?: string; [member: string]: unknown })[];
  /** The findings that were fixed and are there again. Example: `[]` */
  regressed?: string | (string | { id?: string; title?: string; [member: string]: unknown })[];
  /** The retest in the platform. Example: `"https://platform.example/retests/RT-0012"` */
  url?: string;
  [member: string]: unknown;
}

/** The report. */
export interface Report {
  /** The platform's own id of the report. Example: `"R-0044"` */
  id?: string;
  /** The report's title. Example: `"Customer portal: technical report"` */
  title?: string;
  /** What kind of report it is. Example: `"technical"` */
  kind?: string;
  /** The standard that it follows. Example: `"OWASP ASVS 4.0"` */
  framework?: string;
  /** The file's format. Example: `"pdf"` */
  format?: string;
  /** The number of pages. Example: `48` */
  pages?: number;
  /** Where to download it. Example: `"https://platform.example/reports/R-0044"` */
  url?: string;
  [member: string]: unknown;
}

/** What is different from the surface that was seen before. */
export interface Surface {
  /** What appeared: texts, or objects with `asset`, `kind` and `detail`. Example: `[{"asset": "beta.contoso.example", "kind": "subdomain", "detail": "resolves to 10.20.4.9"}]` */
  added?: string | (string | { asset?: string; kind?: string; detail?: string; [member: string]: unknown })[];
  /** What disappeared. Example: `[{"asset": "old.contoso.example", "kind": "subdomain"}]` */
  removed?: string | (string | { asset?: string; kind?: string; detail?: string; [member: string]: unknown })[];
  /** What is different. Example: `[{"asset": "10.20.4.9:443", "kind": "port", "detail": "certificate replaced"}]` */
  changed?: string | (string | { asset?: string; kind?: string; detail?: string; [member: string]: unknown })[];
  /** The comparison in the platform. Example: `"https://platform.example/surface/2026-11-18"` */
  url?: string;
  [member: string]: unknown;
}

/** The monitor and its alert. */
export interface Monitor {
  /** The platform's own id of the monitor. Example: `"M-0003"` */
  id?: string;
  /** The monitor's name. Example: `"TLS certificates"` */
  name?: string;
  /** What it watches: a URL, a host with or without a port, or a list of them. Example: `"shop.contoso.example:443"` */
  target?: string | string[];
  /** `info`, `low`, `medium`, `high` or `critical`, in any case and with space around it. Filters by `min_severity` compare it; another word counts as no severity. Example: `"medium"` */
  severity?: string;
  /** What happened, in plain text. Example: `"The certificate of shop.contoso.example expires in 6 days."` */
  message?: string;
  /** The alert in the platform. Example: `"https://platform.example/monitors/M-0003"` */
  url?: string;
  [member: string]: unknown;
}

/** What `data` has, by event type. */
export interface EventData {
  /** A new finding is discovered. */
  finding_added: { finding: Finding; [member: string]: unknown };
  /** A finding is verified with a working proof of concept. */
  finding_verified: { finding: Finding; verification?: Verification; [member: string]: unknown };
  /** A testing phase starts or completes. */
  phase_changed: { phase: Phase; [member: string]: unknown };
  /** The full engagement finishes. */
  engagement_completed: { summary: Summary; [member: string]: unknown };
  /** The client signs the authorization. */
  engagement_signed: { authorization: Authorization; [member: string]: unknown };
  /** A finding with critical severity is added. */
  critical_finding: { finding: Finding; [member: string]: unknown };
  /** A retest cycle completes. */
  retest_completed: { retest: Retest; [member: string]: unknown };
  /** A report is generated and available for download. */
  report_ready: { report: Report; [member: string]: unknown };
  /** Surface drift detection detects a change. */
  surface_changed: { surface: Surface; [member: string]: unknown };
  /** Continuous monitoring triggers an alert. */
  monitor_alert: { monitor: Monitor; [member: string]: unknown };
}

// Host events: what happened to Heraldry itself. Nobody posts them, and they have no engagement.

/** The webhook that it happened to. */
export interface Webhook {
  /** The webhook's id. Example: `"019be5f2-6d1e-7c3a-9a52-0f1d6f6c3b11"` */
  id?: string;
  /** The webhook's name. Example: `"SOC Slack"` */
  name?: string;
  /** The host of the webhook's URL, with its port if that is not the usual one. Example: `"hooks.slack.com"` */
  url_host?: string;
  /** The webhook's format. Example: `"slack"` */
  format?: string;
  /** Why, in words. Nothing of a response is quoted. Example: `"status: the destination responded with 503 Service Unavailable"` */
  reason?: string;
  /** How often it happened since the last event of this type about the webhook; the members above are of the last time. Example: `1` */
  count?: number;
  [member: string]: unknown;
}

/** The delivery that failed for good; of several the last. */
export interface Delivery {
  /** The delivery's id. Example: `"019be5f2-6d1e-7c3a-9a52-0f1d6f6c3b12"` */
  id?: string;
  /** The id of the event that was not delivered. Example: `"019be5f2-6d1e-7c3a-9a52-0f1d6f6c3b13"` */
  event_id?: string;
  /** The type of that event. Example: `"finding_added"` */
  event_type?: string;
  /** The webhook that it was for: `id`, `name`, `url_host` and `format`. Example: `{"id": "019be5f2-6d1e-7c3a-9a52-0f1d6f6c3b11", "name": "SOC Slack", "url_host": "hooks.slack.com", "format": "slack"}` */
  webhook?: { id?: string; name?: string; url_host?: string; format?: string; [member: string]: unknown };
  /** Why, in words. Nothing of a response is quoted. Example: `"timeout: no response within 10000 ms"` */
  reason?: string;
  /** How many deliveries of the webhook failed for good since the last event of this type about it. Example: `1` */
  count?: number;
  [member: string]: unknown;
}

/** The formatter that it happened to. */
export interface Formatter {
  /** The formatter's name; of a file that could not be read, its stem. Example: `"acme"` */
  name?: string;
  /** The version that was rejected or replaced. Example: `"1.2.0"` */
  version?: string;
  /** SHA-256 of the component: `sha256:` and hexadecimal digits. Example: `"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"` */
  digest?: string;
  /** Why, in words, as `GET /formatters` says it. Example: `"it does not export heraldry:formatter/format@1.2.0; its exports: none"` */
  reason?: string;
  /** How often it happened since the last event of this type about the formatter. Example: `1` */
  count?: number;
  [member: string]: unknown;
}

/** The part of Heraldry that needs attention, or did. */
export interface Host {
  /** The part: `disk`, `records`, `certificate` or `store`. Example: `"disk"` */
  kind?: string;
  /** What is the matter, in words. Example: `"the disk of the data folder has 512 MiB left"` */
  reason?: string;
  /** How often it happened since the last event of this type about the part. Example: `1` */
  count?: number;
  [member: string]: unknown;
}

/** What `data` has, by type of host event. */
export interface HostEventData {
  /** A webhook's delivery failed for good, the first since a success. */
  webhook_failing: { webhook: Webhook; [member: string]: unknown };
  /** A webhook was switched off by its circuit breaker or by its destination. */
  webhook_disabled: { webhook: Webhook; [member: string]: unknown };
  /** A webhook was switched on again by a probe. */
  webhook_recovered: { webhook: Webhook; [member: string]: unknown };
  /** A further delivery of a failing webhook failed for good. */
  delivery_failed: { delivery: Delivery; [member: string]: unknown };
  /** A formatter was rejected. */
  formatter_rejected: { formatter: Formatter; [member: string]: unknown };
  /** A version of a formatter failed and was replaced by the one before it. */
  formatter_rolled_back: { formatter: Formatter; [member: string]: unknown };
  /** The disk, the store or a certificate needs attention. */
  host_degraded: { host: Host; [member: string]: unknown };
}

/** The event types of this version. */
export type EventType = keyof EventData | keyof HostEventData;

/** A host event; `type` decides what `data` has. */
export type HostEvent = {
  [Type in keyof HostEventData]: {
    type: Type;
    id: string;
    occurred_at: string;
    engagement?: undefined;
    data: HostEventData[Type];
  };
}[keyof HostEventData];

/** An event as it was posted; `type` decides what `data` has. */
export type PostedEvent = {
  [Type in keyof EventData]: {
    type: Type;
    id?: string;
    occurred_at?: string;
    engagement?: Engagement;
    /** The event that the host derived this one from. */
    caused_by?: string;
    data: EventData[Type];
  };
}[keyof EventData];
