//! Many rows as one argument: an array of values of a composite type.
//!
//! An array for each column would do as well, but PostgreSQL makes a table of
//! its own of every array that it unnests: with a dozen columns, a sixth of
//! its time.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::PgRecordEncoder;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::{Arguments as _, Encode, Postgres, Type};

/// Something that is a value of a composite type in the database.
pub(super) trait Composite {
    /// The name of the type.
    const TYPE: &'static str;

    /// Writes the fields, in the order in which the type has them.
    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError>;
}

/// The fields of a value that is being written.
pub(super) type Fields<'a> = PgRecordEncoder<'a>;

/// Adds rows as one argument.
pub(super) fn add_rows<T: Composite>(
    arguments: &mut PgArguments,
    rows: impl Iterator<Item = T>,
) -> sqlx::Result<()> {
    arguments.add(rows.map(Row).collect::<Vec<_>>()).map_err(sqlx::Error::Encode)
}

struct Row<T>(T);

impl<T: Composite> Type<Postgres> for Row<T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name(T::TYPE)
    }
}

impl<T: Composite> PgHasArrayType for Row<T> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of(T::TYPE)
    }
}

impl<T: Composite> Encode<'_, Postgres> for Row<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut fields = Fields::new(buffer);
        self.0.write(&mut fields)?;
        fields.finish();
        Ok(IsNull::No)
    }
}
