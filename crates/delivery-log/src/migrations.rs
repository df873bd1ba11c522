//! The steps of a schema, as files that are compiled in.
//!
//! `sqlx::migrate!` does the same, and has SQLite, PostgreSQL and TLS compiled
//! a second time for the compiler's own machine: a minute of every first build.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

/// The steps in `migrations/` of a store, each as its file's name without the
/// ending.
macro_rules! steps {
    ($store:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../migrations/", $store, "/", $name, ".sql"))),)+]
    };
}

pub(crate) use steps;

/// What runs the steps that a database lacks, in their order.
pub(crate) fn migrator(steps: &'static [(&'static str, &'static str)]) -> Migrator {
    let step = |(name, text): &(&'static str, &'static str)| {
        let (number, words) = name.split_once('_').expect("a step is named NUMBER_WORDS");
        Migration::new(
            number.parse().expect("a step has a number"),
            Cow::Owned(words.replace('_', " ")),
            MigrationType::Simple,
            AssertSqlSafe(*text).into_sql_str(),
            // As sqlx says it: PostgreSQL builds some indexes outside of transactions alone.
            text.starts_with("-- no-transaction"),
        )
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_step_of_both_stores_is_compiled_in() {
        for (store, migrations) in
            [("sqlite", &*crate::sqlite::MIGRATIONS), ("postgres", &*crate::postgres::MIGRATIONS)]
        {
            let folder = format!("{}/../../migrations/{store}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(folder).expect("a folder").count();
            assert_eq!(migrations.iter().count(), files, "{store}");
            let numbers: Vec<i64> = migrations.iter().map(|step| step.version).collect();
            assert_eq!(numbers, (1..=files as i64).collect::<Vec<_>>(), "{store}");
        }
    }

    #[test]
    fn a_database_that_sqlx_has_migrated_is_known() {
        // What sqlx::migrate! wrote of this step into databases that there are.
        let first = crate::sqlite::MIGRATIONS.iter().next().expect("a step");
        assert_eq!(first.description, "foundation");
        let checksum: String = first.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = "99a2ebffdfa95dfa3cf87fd13bcce9eb73a37331b34e36f6\
            d7d70aa89055145f8aa16a709ff7b8cdf1ae7da8a5adbe1f";
        assert_eq!(checksum, known);
    }
}
