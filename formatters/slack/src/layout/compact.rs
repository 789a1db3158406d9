//! The compact layout: one short block with event, target, engagement, and the first button.

use heraldry_formatter::block_kit::{Button, Message, Mrkdwn};
use heraldry_formatter::outline::Outline;
use heraldry_formatter::{Event, EventType};

use super::sheet::Sheet;
use super::{NAME, glance, title};

const TITLE: usize = 150;
const TARGET: usize = 200;
const MESSAGE: usize = 200;

pub(super) fn fill(message: &mut Message<'_>, event: &Event<'_>, outline: &Outline<'_>, mentions: Mrkdwn) {
    let may_be_cut = title(outline, TITLE).may_be_cut();
    let title = Sheet::new().piece(&format!("{} ", outline.sign), &outline.title, TITLE).line();
    let mut sheet = glance(title, outline);
    // A finding's truncated title needs no further explanation.
    if may_be_cut && !event.kind.is_finding() {
        sheet = outline.told.iter().fold(sheet, |sheet, fact| sheet.piece("", &fact.value, NAME));
    }
    if let Some(target) = &outline.target {
        sheet = sheet.piece("", target, TARGET);
    }
    let engagement = event.engagement_name().or(event.engagement_id());
    if let Some(name) = engagement.filter(|_| !outline.tells_engagement()) {
        sheet = sheet.piece("", name, NAME);
    }
    // The news of a monitor alert is its message.
    if event.kind == EventType::MonitorAlert {
        for passage in &outline.passages {
            sheet = sheet.line().piece("", passage, MESSAGE);
        }
    }
    let button = outline.links.iter().find_map(|link| Button::open(link.label, &link.address));
    message.blocks().summary(sheet.finish(), Some(mentions), button);
}
