//! Webhooks as an operator sees them: the admin's view without what would let somebody send to the destination.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::view::{ReducedWebhook, WebhookView};
use crate::model::webhook::Webhook;

/// The member of the admin's view that an operator does not see, since paths and queries of URLs are credentials.
const URL: &str = "url";
/// The member in its place.
const URL_HOST: &str = "url_host";
const OPTIONS: &str = "format_options";

/// A webhook, for an operator: made of the admin's view, so that what is added there is here as well.
pub(super) struct OperatorWebhook {
    view: WebhookView,
    url_host: String,
}

impl OperatorWebhook {
    /// The operator's view of a webhook, from the admin's.
    pub(super) fn of(webhook: &Webhook, view: WebhookView) -> Self {
        Self { view, url_host: webhook.config.url.host().to_string() }
    }
}

impl Serialize for OperatorWebhook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let view = serde_json::to_string(&self.view).map_err(S::Error::custom)?;
        let Members(mut members) = serde_json::from_str(&view).map_err(S::Error::custom)?;
        for (name, value) in &mut members {
            match name.as_str() {
                URL => {
                    URL_HOST.clone_into(name);
                    *value = serde_json::value::to_raw_value(&self.url_host).map_err(S::Error::custom)?;
                }
                OPTIONS => *value = without_values(value).map_err(S::Error::custom)?,
                _ => {}
            }
        }
        serializer.collect_map(members)
    }
}

/// A webhook as the token's role sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum AnyWebhook {
    /// The admin's view.
    Whole(Box<WebhookView>),
    /// The operator's view.
    WithoutAddress(Box<OperatorWebhook>),
    /// The pentester's view.
    Reduced(ReducedWebhook),
}

/// An object with the same members, all of them null.
fn without_values(object: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object.get())?;
    object.values_mut().for_each(|value| *value = serde_json::Value::Null);
    serde_json::value::to_raw_value(&object)
}

/// The members of an object in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl ToSchema for OperatorWebhook {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        WebhookView::schemas(schemas);
    }
}

impl PartialSchema for OperatorWebhook {
    fn schema() -> RefOr<Schema> {
        let mut schema = WebhookView::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.description = Some("A webhook, for an operator: the admin's view without its address.".to_owned());
            replace(object);
        }
        schema
    }
}

fn replace(object: &mut Object) {
    let described =
        |schema_type: Type, text: &str| ObjectBuilder::new().schema_type(schema_type).description(Some(text));
    object.properties.remove(URL);
    let host = described(Type::String, "The host of the destination's URL.").build();
    object.properties.insert(URL_HOST.to_owned(), Schema::Object(host).into());
    let null = Schema::Object(ObjectBuilder::new().schema_type(Type::Null).build());
    let options = described(Type::Object, "The names of the formatter's options that are set; their values are null.")
        .additional_properties(Some(AdditionalProperties::RefOr(null.into())));
    object.properties.insert(OPTIONS.to_owned(), Schema::Object(options.build()).into());
    for name in object.required.iter_mut().filter(|name| *name == URL) {
        URL_HOST.clone_into(name);
    }
}
