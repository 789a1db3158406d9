"""Types of events, and of what a formatter gets and returns. Made from the host's `wit/schemas`: do not edit.

For type checkers only: import it under `if TYPE_CHECKING:`. The host checks a finding's `title` and `severity`. Every other
member may be absent or of another type than it says here, and there may be others, so test what you use.
"""

from typing import Any, Literal, NotRequired, Protocol, TypedDict, Union

class Event(Protocol):
    """The event as the contract hands it over: `json.loads(event.json)` makes a `PostedEvent` of it."""

    id: str
    type: str
    occurred_at: str
    json: str

class Context(Protocol):
    """What surrounds the event: `transport` is `http` or `syslog`; `max_bytes` is the most that the body may have."""

    transport: str
    max_bytes: int | None
    host_name: str
    product_version: str

class Header(Protocol):
    """A header beside the content type."""

    name: str
    value: str

class Payload(Protocol):
    """What one delivery carries."""

    content_type: str
    headers: list[Header]
    body: bytes

class Engagement(TypedDict):
    """The engagement that an event belongs to."""

    id: str
    name: str
    client: NotRequired[str]

class Finding(TypedDict):
    """The finding."""

    id: NotRequired[str]
    """The platform's own id of the finding. Formats use it to tell that two messages are about the same finding."""
    title: str
    """What was found, in one line. The only required member; must not be empty."""
    severity: NotRequired[str]
    """`info`, `low`, `medium`, `high` or `critical`, in any case; anything else is rejected. Filters by `min_severity` compare it, and `critical` makes a `critical_finding` too."""
    cvss: NotRequired[float | list[float]]
    """The CVSS base score, from 0 to 10, or a list of scores."""
    cvss_vector: NotRequired[str]
    """The CVSS vector string that belongs to the score."""
    cve: NotRequired[str | list[str]]
    """CVE identifiers: one, or a list."""
    cwe: NotRequired[str | int | list[str | int]]
    """CWE identifiers: one, or a list, as numbers or as texts with or without `CWE-`."""
    target: NotRequired[str | list[str]]
    """What is affected: a URL, a host with or without a port, or a list of them. Formats that have fields for host and port take them from here."""
    ip: NotRequired[str | list[str]]
    """The IP address of the target, or a list."""
    parameter: NotRequired[str]
    """The vulnerable parameter, field or header."""
    description: NotRequired[str]
    """What is wrong and why it matters, in plain text."""
    remediation: NotRequired[str]
    """How to repair it, in plain text."""
    evidence: NotRequired[str]
    """What proves it: a request, a response, output of a tool. Shown as it is."""
    references: NotRequired[str | list[str]]
    """Where to read more: URLs or texts."""
    tags: NotRequired[str | list[str]]
    """Labels of the platform."""
    tool: NotRequired[str]
    """What found it: a scanner's name, or `manual`."""
    template: NotRequired[str]
    """The tool's rule, plugin or template."""
    occurrences: NotRequired[int]
    """How many times it was found."""
    url: NotRequired[str]
    """The finding in the platform. Chat formats make it the button."""

class Verification(TypedDict):
    """How the finding was proven."""

    method: NotRequired[str]
    """How it was proven."""
    verified_by: NotRequired[str]
    """Who proved it."""
    poc_url: NotRequired[str]
    """The proof of concept in the platform."""

class Phase(TypedDict):
    """The phase of the test."""

    name: NotRequired[str]
    """The phase's name."""
    status: NotRequired[str]
    """`started` or `completed`; other words are shown as they are."""
    index: NotRequired[int]
    """The phase's place in the order, from 1."""
    total: NotRequired[int]
    """The number of phases."""

class Summary(TypedDict):
    """The engagement as a whole."""

    started_at: NotRequired[str]
    """When the engagement began, in RFC 3339."""
    completed_at: NotRequired[str]
    """When it ended, in RFC 3339."""
    findings: NotRequired[dict[str, Any]]
    """The number of findings of each severity. The worst one with a number above 0 is the message's severity."""
    report_url: NotRequired[str]
    """The report in the platform."""

class Authorization(TypedDict):
    """The signed authorization."""

    signer: NotRequired[str]
    """Who signed."""
    role: NotRequired[str]
    """The signer's role."""
    signed_at: NotRequired[str]
    """When it was signed, in RFC 3339."""
    scope: NotRequired[str | list[str]]
    """What may be tested: URLs, hosts, networks."""
    url: NotRequired[str]
    """The authorization in the platform."""

class Retest(TypedDict):
    """The retest cycle."""

    id: NotRequired[str]
    """The platform's own id of the retest."""
    fixed: NotRequired[str | list[str | dict[str, Any]]]
    """The findings that are fixed: ids, or objects with `id` and `title`. The PagerDuty format resolves their alerts."""
    still_open: NotRequired[str | list[str | dict[str, Any]]]
    """The findings that are still there."""
    regressed: NotRequired[str | list[str | dict[str, Any]]]
    """The findings that were fixed and are there again."""
    url: NotRequired[str]
    """The retest in the platform."""

class Report(TypedDict):
    """The report."""

    id: NotRequired[str]
    """The platform's own id of the report."""
    title: NotRequired[str]
    """The report's title."""
    kind: NotRequired[str]
    """What kind of report it is."""
    framework: NotRequired[str]
    """The standard that it follows."""
    format: NotRequired[str]
    """The file's format."""
    pages: NotRequired[int]
    """The number of pages."""
    url: NotRequired[str]
    """Where to download it."""

class Surface(TypedDict):
    """What is different from the surface that was seen before."""

    added: NotRequired[str | list[str | dict[str, Any]]]
    """What appeared: texts, or objects with `asset`, `kind` and `detail`."""
    removed: NotRequired[str | list[str | dict[str, Any]]]
    """What disappeared."""
    changed: NotRequired[str | list[str | dict[str, Any]]]
    """What is different."""
    url: NotRequired[str]
    """The comparison in the platform."""

class Monitor(TypedDict):
    """The monitor and its alert."""

    id: NotRequired[str]
    """The platform's own id of the monitor."""
    name: NotRequired[str]
    """The monitor's name."""
    target: NotRequired[str | list[str]]
    """What it watches: a URL, a host with or without a port, or a list of them."""
    severity: NotRequired[str]
    """`info`, `low`, `medium`, `high` or `critical`, in any case and with space around it. Filters by `min_severity` compare it; another word counts as no severity."""
    message: NotRequired[str]
    """What happened, in plain text."""
    url: NotRequired[str]
    """The alert in the platform."""

class FindingAddedData(TypedDict):
    """`data` of `finding_added`."""

    finding: Finding

class FindingAdded(TypedDict):
    """A new finding is discovered."""

    type: Literal["finding_added"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: FindingAddedData

class FindingVerifiedData(TypedDict):
    """`data` of `finding_verified`."""

    finding: Finding
    verification: NotRequired[Verification]

class FindingVerified(TypedDict):
    """A finding is verified with a working proof of concept."""

    type: Literal["finding_verified"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: FindingVerifiedData

class PhaseChangedData(TypedDict):
    """`data` of `phase_changed`."""

    phase: Phase

class PhaseChanged(TypedDict):
    """A testing phase starts or completes."""

    type: Literal["phase_changed"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: PhaseChangedData

class EngagementCompletedData(TypedDict):
    """`data` of `engagement_completed`."""

    summary: Summary

class EngagementCompleted(TypedDict):
    """The full engagement finishes."""

    type: Literal["engagement_completed"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: EngagementCompletedData

class EngagementSignedData(TypedDict):
    """`data` of `engagement_signed`."""

    authorization: Authorization

class EngagementSigned(TypedDict):
    """The client signs the authorization."""

    type: Literal["engagement_signed"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: EngagementSignedData

class CriticalFindingData(TypedDict):
    """`data` of `critical_finding`."""

    finding: Finding

class CriticalFinding(TypedDict):
    """A finding with critical severity is added."""

    type: Literal["critical_finding"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: CriticalFindingData

class RetestCompletedData(TypedDict):
    """`data` of `retest_completed`."""

    retest: Retest

class RetestCompleted(TypedDict):
    """A retest cycle completes."""

    type: Literal["retest_completed"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: RetestCompletedData

class ReportReadyData(TypedDict):
    """`data` of `report_ready`."""

    report: Report

class ReportReady(TypedDict):
    """A report is generated and available for download."""

    type: Literal["report_ready"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: ReportReadyData

class SurfaceChangedData(TypedDict):
    """`data` of `surface_changed`."""

    surface: Surface

class SurfaceChanged(TypedDict):
    """Surface drift detection detects a change."""

    type: Literal["surface_changed"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: SurfaceChangedData

class MonitorAlertData(TypedDict):
    """`data` of `monitor_alert`."""

    monitor: Monitor

class MonitorAlert(TypedDict):
    """Continuous monitoring triggers an alert."""

    type: Literal["monitor_alert"]
    id: NotRequired[str]
    occurred_at: NotRequired[str]
    engagement: NotRequired[Engagement]
    caused_by: NotRequired[str]
    data: MonitorAlertData

PostedEvent = Union[
    FindingAdded,
    FindingVerified,
    PhaseChanged,
    EngagementCompleted,
    EngagementSigned,
    CriticalFinding,
    RetestCompleted,
    ReportReady,
    SurfaceChanged,
    MonitorAlert,
]

# Host events: what happened to Heraldry itself. Nobody posts them, and they have no engagement.

class Webhook(TypedDict):
    """The webhook that it happened to."""

    id: NotRequired[str]
    """The webhook's id."""
    name: NotRequired[str]
    """The webhook's name."""
    url_host: NotRequired[str]
    """The host of the webhook's URL, with its port if that is not the usual one."""
    format: NotRequired[str]
    """The webhook's format."""
    reason: NotRequired[str]
    """Why, in words. Nothing of a response is quoted."""
    count: NotRequired[int]
    """How often it happened since the last event of this type about the webhook; the members above are of the last time."""

class Delivery(TypedDict):
    """The delivery that failed for good; of several the last."""

    id: NotRequired[str]
    """The delivery's id."""
    event_id: NotRequired[str]
    """The id of the event that was not delivered."""
    event_type: NotRequired[str]
    """The type of that event."""
    webhook: NotRequired[dict[str, Any]]
    """The webhook that it was for: `id`, `name`, `url_host` and `format`."""
    reason: NotRequired[str]
    """Why, in words. Nothing of a response is quoted."""
    count: NotRequired[int]
    """How many deliveries of the webhook failed for good since the last event of this type about it."""

class Formatter(TypedDict):
    """The formatter that it happened to."""

    name: NotRequired[str]
    """The formatter's name; of a file that could not be read, its stem."""
    version: NotRequired[str]
    """The version that was rejected or replaced."""
    digest: NotRequired[str]
    """SHA-256 of the component: `sha256:` and hexadecimal digits."""
    reason: NotRequired[str]
    """Why, in words, as `GET /formatters` says it."""
    count: NotRequired[int]
    """How often it happened since the last event of this type about the formatter."""

class Host(TypedDict):
    """The part of Heraldry that needs attention, or did."""

    kind: NotRequired[str]
    """The part: `disk`, `records`, `certificate` or `store`."""
    reason: NotRequired[str]
    """What is the matter, in words."""
    count: NotRequired[int]
    """How often it happened since the last event of this type about the part."""

class WebhookFailingData(TypedDict):
    """`data` of `webhook_failing`."""

    webhook: Webhook

class WebhookFailing(TypedDict):
    """A webhook's delivery failed for good, the first since a success."""

    type: Literal["webhook_failing"]
    id: str
    occurred_at: str
    data: WebhookFailingData

class WebhookDisabledData(TypedDict):
    """`data` of `webhook_disabled`."""

    webhook: Webhook

class WebhookDisabled(TypedDict):
    """A webhook was switched off by its circuit breaker or by its destination."""

    type: Literal["webhook_disabled"]
    id: str
    occurred_at: str
    data: WebhookDisabledData

class WebhookRecoveredData(TypedDict):
    """`data` of `webhook_recovered`."""

    webhook: Webhook

class WebhookRecovered(TypedDict):
    """A webhook was switched on again by a probe."""

    type: Literal["webhook_recovered"]
    id: str
    occurred_at: str
    data: WebhookRecoveredData

class DeliveryFailedData(TypedDict):
    """`data` of `delivery_failed`."""

    delivery: Delivery

class DeliveryFailed(TypedDict):
    """A further delivery of a failing webhook failed for good."""

    type: Literal["delivery_failed"]
    id: str
    occurred_at: str
    data: DeliveryFailedData

class FormatterRejectedData(TypedDict):
    """`data` of `formatter_rejected`."""

    formatter: Formatter

class FormatterRejected(TypedDict):
    """A formatter was rejected."""

    type: Literal["formatter_rejected"]
    id: str
    occurred_at: str
    data: FormatterRejectedData

class FormatterRolledBackData(TypedDict):
    """`data` of `formatter_rolled_back`."""

    formatter: Formatter

class FormatterRolledBack(TypedDict):
    """A version of a formatter failed and was replaced by the one before it."""

    type: Literal["formatter_rolled_back"]
    id: str
    occurred_at: str
    data: FormatterRolledBackData

class HostDegradedData(TypedDict):
    """`data` of `host_degraded`."""

    host: Host

class HostDegraded(TypedDict):
    """The disk, the store or a certificate needs attention."""

    type: Literal["host_degraded"]
    id: str
    occurred_at: str
    data: HostDegradedData

HostEvent = Union[
    WebhookFailing,
    WebhookDisabled,
    WebhookRecovered,
    DeliveryFailed,
    FormatterRejected,
    FormatterRolledBack,
    HostDegraded,
]
