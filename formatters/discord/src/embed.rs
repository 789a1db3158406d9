//! What is posted, and what Discord limits in it ("Execute Webhook", "Embed Limits" in discord/discord-api-docs).

use serde::Serialize;

/// The longest title.
pub(crate) const TITLE: usize = 256;
/// The longest description.
pub(crate) const DESCRIPTION: usize = 4096;
/// The most fields.
pub(crate) const FIELDS: usize = 25;
/// The longest name of a field.
pub(crate) const FIELD_NAME: usize = 256;
/// The longest value of a field.
pub(crate) const FIELD_VALUE: usize = 1024;
/// The longest footer.
pub(crate) const FOOTER: usize = 2048;
/// The most that title, description, fields and footer may have together.
pub(crate) const EMBED: usize = 6000;
/// The longest content.
pub(crate) const CONTENT: usize = 2000;

/// The message flag that keeps Discord from fetching what a text links to, which may be the weak spot itself.
const SUPPRESS_EMBEDS: u32 = 1 << 2;

/// The body of the request.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    embeds: Vec<Embed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    allowed_mentions: AllowedMentions,
}

/// Nobody: whatever looks like a mention pings no one.
#[derive(Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

/// One embed. All texts but the footer are markdown, already escaped.
#[derive(Serialize)]
pub(crate) struct Embed<'a> {
    pub(crate) title: String,
    /// Where the title leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// `0xRRGGBB`.
    pub(crate) color: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
    pub(crate) footer: Footer,
    /// When it happened; shown in the reader's own time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<&'a str>,
}

/// A name and a value, neither empty.
#[derive(Serialize)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether others may stand beside it.
    pub(crate) inline: bool,
}

/// The small print: plain text, in which no markdown works.
#[derive(Serialize)]
pub(crate) struct Footer {
    pub(crate) text: String,
}

impl<'a> Message<'a> {
    pub(crate) fn embed(username: Option<&'a str>, embed: Embed<'a>) -> Self {
        Self {
            username,
            content: None,
            embeds: vec![embed],
            flags: None,
            allowed_mentions: AllowedMentions { parse: [] },
        }
    }

    /// `content` has at most [`CONTENT`].
    pub(crate) fn line(username: Option<&'a str>, content: String) -> Self {
        Self {
            username,
            content: Some(content),
            embeds: Vec::new(),
            flags: Some(SUPPRESS_EMBEDS),
            allowed_mentions: AllowedMentions { parse: [] },
        }
    }
}

impl Embed<'_> {
    /// Whether Discord takes it. Counted in UTF-16 units: no way of counting that Discord may use gives more.
    pub(crate) fn fits(&self) -> bool {
        let fields_fit = self.fields.len() <= FIELDS
            && self
                .fields
                .iter()
                .all(|field| units(field.name) <= FIELD_NAME && (1..=FIELD_VALUE).contains(&units(&field.value)));
        let fields: usize = self.fields.iter().map(|field| units(field.name) + units(&field.value)).sum();
        let (title, description, footer) = (units(&self.title), units(&self.description), units(&self.footer.text));
        fields_fit
            && title <= TITLE
            && description <= DESCRIPTION
            && footer <= FOOTER
            && title + description + fields + footer <= EMBED
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed() -> Embed<'static> {
        Embed {
            title: "t".into(),
            url: None,
            description: String::new(),
            color: 0,
            fields: Vec::new(),
            footer: Footer { text: "f".into() },
            timestamp: None,
        }
    }

    fn field(length: usize) -> Field {
        Field { name: "n", value: "v".repeat(length), inline: true }
    }

    #[test]
    fn each_limit_and_one_over() {
        type Change = fn(&mut Embed<'_>, usize);
        let rows: [(usize, Change); 6] = [
            (TITLE, |embed, n| embed.title = "t".repeat(n)),
            (DESCRIPTION, |embed, n| embed.description = "d".repeat(n)),
            (FOOTER, |embed, n| embed.footer.text = "f".repeat(n)),
            (FIELDS, |embed, n| embed.fields = (0..n).map(|_| field(1)).collect()),
            (FIELD_VALUE, |embed, n| embed.fields = vec![field(n)]),
            // Title, footer and five names.
            (EMBED - 7 - 4 * FIELD_VALUE, |embed, n| {
                embed.description = "d".repeat(n - 500);
                embed.fields = [FIELD_VALUE, FIELD_VALUE, FIELD_VALUE, FIELD_VALUE, 500].map(field).into();
            }),
        ];
        for (limit, change) in rows {
            let mut embed = embed();
            change(&mut embed, limit);
            assert!(embed.fits(), "{limit}");
            change(&mut embed, limit + 1);
            assert!(!embed.fits(), "{limit} and one");
        }
        let mut surrogates = embed();
        surrogates.title = "😀".repeat(TITLE / 2);
        assert!(surrogates.fits());
        surrogates.title.push('😀');
        assert!(!surrogates.fits());
    }

    #[test]
    fn an_empty_value_does_not_fit() {
        let mut embed = embed();
        embed.fields = vec![field(0)];
        assert!(!embed.fits());
    }
}
