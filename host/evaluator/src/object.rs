//! A JSON object as a value of CEL.
//!
//! A map of the crate `cel` is copied with everything in it for each turn of a loop over objects, and lists its keys in an
//! order that depends on what the instance did before. This one is shared, and its keys are in ascending order.

use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer, Zeroer};
use cel::common::types::{CelInt, CelString, Kind, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};

/// A member: its name, its value.
pub type Member = (CelString<'static>, Box<dyn Val>);

/// An object; its members by ascending name.
#[derive(Clone, Debug, Default)]
pub struct Object(Arc<Vec<Member>>);

impl Object {
    /// An object with these members, whose names all differ.
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_unstable_by(|(one, _), (other, _)| one.inner().cmp(other.inner()));
        Self(Arc::new(members))
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&(dyn Val + 'static)> {
        let index = self.0.binary_search_by(|(known, _)| known.inner().cmp(name)).ok()?;
        Some(self.0[index].1.as_ref())
    }

    /// The member of this name, if it is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.member(name)?.downcast_ref::<Self>().cloned()
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if it has no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl StaticVal for Object {}

impl Val for Object {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let size = other.as_sizer().map(|sizer| *sizer.size().inner());
        if other.get_type().kind() != Kind::Map || size != i64::try_from(self.len()).ok() {
            return false;
        }
        let Some(indexer) = other.as_indexer() else { return false };
        self.0.iter().all(|(name, value)| indexer.get(name).is_ok_and(|theirs| value.equals(theirs.as_ref())))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

/// Returns true for a value that a map may have as a key. No JSON object has one that is not a string.
fn is_key(key: &dyn Val) -> bool {
    matches!(key.get_type().kind(), Kind::String | Kind::Int | Kind::UInt | Kind::Double | Kind::Boolean)
}

fn wrong_key(key: &dyn Val) -> ExecutionError {
    ExecutionError::UnexpectedType { got: key.get_type().name().to_owned(), want: "map key".to_owned() }
}

impl Container for Object {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        match key.downcast_ref::<CelString<'_>>() {
            Some(name) => Ok(self.member(name.inner()).is_some()),
            None if is_key(key) => Ok(false),
            None => Err(wrong_key(key)),
        }
    }
}

impl Indexer for Object {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match key.downcast_ref::<CelString<'_>>() {
            Some(name) => {
                let value = self.member(name.inner());
                let value = value.ok_or_else(|| ExecutionError::no_such_key(name.inner()))?;
                Ok(CowVal::Borrowed(value))
            }
            None if is_key(key) => Err(ExecutionError::no_such_key("of another type than string")),
            None => Err(wrong_key(key)),
        }
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(|value| value.as_ref().clone_as_boxed())
    }
}

struct Names<'b>(std::slice::Iter<'b, Member>);

impl<'b, 'v> Iterator<'b, 'v> for Names<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        let (name, _) = self.0.next()?;
        Some(name)
    }
}

impl Iterable for Object {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.0.iter()))
    }
}

impl Sizer for Object {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.len()).unwrap_or(i64::MAX))
    }
}

impl Zeroer for Object {
    fn is_zero_value(&self) -> bool {
        self.is_empty()
    }
}
