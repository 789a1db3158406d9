//! The request body, and Discord's limits on it ("Execute Webhook", "Embed Limits" in discord/discord-api-docs). All
//! lengths are in UTF-16 units.

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
/// The longest name of an author.
pub(crate) const AUTHOR: usize = 256;
/// The most that titles, descriptions, field names and values, footers and authors of all embeds may have in total.
pub(crate) const EMBED: usize = 6000;
/// The most embeds.
pub(crate) const EMBEDS: usize = 10;
/// The longest content.
pub(crate) const CONTENT: usize = 2000;

/// The message flag that stops Discord from fetching linked pages, which may be the vulnerable ones.
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

/// An empty list of mentions: nothing in a message notifies anyone.
#[derive(Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

/// One embed. All texts except those of author and footer are Markdown, already escaped.
#[derive(Default, Serialize)]
pub(crate) struct Embed<'a> {
    /// The line above the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<Author>,
    pub(crate) title: String,
    /// The link of the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// `0xRRGGBB`.
    pub(crate) color: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) footer: Option<Footer>,
    /// The time of the event; Discord shows it in the reader's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<&'a str>,
}

/// A labelled value; neither part is empty.
#[derive(Serialize)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// True if other fields may stand beside it.
    pub(crate) inline: bool,
}

/// The line above the title: plain text, in which Discord interprets no Markdown.
#[derive(Serialize)]
pub(crate) struct Author {
    pub(crate) name: String,
}

/// The small print: plain text, in which Discord interprets no Markdown.
#[derive(Serialize)]
pub(crate) struct Footer {
    pub(crate) text: String,
}

impl<'a> Message<'a> {
    pub(crate) fn embeds(username: Option<&'a str>, embeds: Vec<Embed<'a>>) -> Self {
        Self { username, content: None, embeds, flags: None, allowed_mentions: AllowedMentions { parse: [] } }
    }

    /// A message without embeds; `content` has at most [`CONTENT`] units.
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
    /// Returns true if the embed is within Discord's limits. Lengths are counted in UTF-16 units, an upper bound of any
    /// unit that Discord may count in.
    pub(crate) fn fits(&self) -> bool {
        let fields_fit = self.fields.len() <= FIELDS
            && self
                .fields
                .iter()
                .all(|field| units(field.name) <= FIELD_NAME && (1..=FIELD_VALUE).contains(&units(&field.value)));
        let (title, description) = (units(&self.title), units(&self.description));
        let footer = self.footer.as_ref().map_or(0, |footer| units(&footer.text));
        let author = self.author.as_ref().map_or(0, |author| units(&author.name));
        fields_fit
            && title <= TITLE
            && description <= DESCRIPTION
            && footer <= FOOTER
            && author <= AUTHOR
            && self.length() <= EMBED
    }

    /// What counts for [`EMBED`].
    pub(crate) fn length(&self) -> usize {
        let fields: usize = self.fields.iter().map(|field| units(field.name) + units(&field.value)).sum();
        let footer = self.footer.as_ref().map_or(0, |footer| units(&footer.text));
        let author = self.author.as_ref().map_or(0, |author| units(&author.name));
        units(&self.title) + units(&self.description) + fields + footer + author
    }
}

pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed() -> Embed<'static> {
        Embed { title: "t".into(), footer: Some(Footer { text: "f".into() }), ..Embed::default() }
    }

    fn field(length: usize) -> Field {
        Field { name: "n", value: "v".repeat(length), inline: true }
    }

    #[test]
    fn each_limit_and_one_over() {
        type Change = fn(&mut Embed<'_>, usize);
        let rows: [(usize, Change); 7] = [
            (TITLE, |embed, n| embed.title = "t".repeat(n)),
            (DESCRIPTION, |embed, n| embed.description = "d".repeat(n)),
            (FOOTER, |embed, n| embed.footer = Some(Footer { text: "f".repeat(n) })),
            (AUTHOR, |embed, n| embed.author = Some(Author { name: "a".repeat(n) })),
            (FIELDS, |embed, n| embed.fields = (0..n).map(|_| field(1)).collect()),
            (FIELD_VALUE, |embed, n| embed.fields = vec![field(n)]),
            // Title, footer and five field names.
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
