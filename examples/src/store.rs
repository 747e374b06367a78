//! The database and the cache of the payment service, in one embedded on-disk store.
//!
//! Two tables in a `redb` file: `risky_users`, the truth, and `cache`, values with an expiry, which plays the part that
//! Redis has in front of a database. Used by the fraud checks.
//!
//! The file has no name (it is unlinked when made), so that nothing is left behind however the program ends. Reads are
//! served from the page cache within microseconds and run in place; the one write happens on the blocking pool, as a
//! commit may wait for the disk.
#![forbid(unsafe_code)]

use std::sync::Arc;

use redb::{Builder, Database, Durability, ReadableTable, TableDefinition, TableError};

use crate::Fallible;

/// User id -> (risky since, in Unix seconds; still active).
const RISKY_USERS: TableDefinition<'_, &str, (u64, bool)> = TableDefinition::new("risky_users");
/// Key -> (expires at, in milliseconds of the service's clock; value).
const CACHE: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("cache");

/// Pages the store keeps in memory: enough for both tables, small beside what the service itself allocates.
const PAGE_CACHE_BYTES: usize = 32 << 20;

/// One row of the table of risky users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskyUser {
    /// Who.
    pub user_id: String,
    /// Unix seconds of the decision.
    pub risky_since: u64,
    /// False once cleared.
    pub active: bool,
}

/// The open store. Cheap to clone: all clones are one file.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Makes an empty file and fills the table of risky users.
    pub fn create(users: impl IntoIterator<Item = RiskyUser>) -> Fallible<Store> {
        let database = Builder::new()
            .set_cache_size(PAGE_CACHE_BYTES)
            .create_file(tempfile::tempfile()?)?;
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(RISKY_USERS)?;
            for user in users {
                table.insert(user.user_id.as_str(), (user.risky_since, user.active))?;
            }
        }
        write.commit()?;
        Ok(Store {
            database: Arc::new(database),
        })
    }

    /// `SELECT * FROM risky_users WHERE active = true`: every matching row, in order of the user id.
    pub fn active_risky_users(&self) -> Fallible<Vec<RiskyUser>> {
        let table = self.database.begin_read()?.open_table(RISKY_USERS)?;
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (user_id, fields) = row?;
            let (risky_since, active) = fields.value();
            if active {
                rows.push(RiskyUser {
                    user_id: user_id.value().to_owned(),
                    risky_since,
                    active,
                });
            }
        }
        Ok(rows)
    }

    /// Whether one user is risky: a look-up by key, which reads no other row.
    pub fn is_risky(&self, user_id: &str) -> Fallible<bool> {
        let table = self.database.begin_read()?.open_table(RISKY_USERS)?;
        Ok(table.get(user_id)?.is_some_and(|fields| fields.value().1))
    }

    /// `GET`: reads the cached value where it lies, unless it has expired at `now_ms`.
    pub fn with_cached<R>(&self, key: &str, now_ms: u64, read: impl FnOnce(&str) -> R) -> Fallible<Option<R>> {
        let table = match self.database.begin_read()?.open_table(CACHE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let entry = table.get(key)?;
        Ok(entry.and_then(|entry| {
            let (expires_at_ms, value) = entry.value();
            (now_ms < expires_at_ms).then(|| read(value))
        }))
    }

    /// `SETEX`: caches a value until `expires_at_ms`.
    pub async fn set_cached(&self, key: &'static str, expires_at_ms: u64, value: String) -> Fallible<()> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || {
            let _scope = alloc_core::scope!("write to the cache");
            let mut write = database.begin_write()?;
            // A cache need not survive a power cut.
            write.set_durability(Durability::None);
            write.open_table(CACHE)?.insert(key, (expires_at_ms, value.as_str()))?;
            write.commit()?;
            Ok(())
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user_id: &str, active: bool) -> RiskyUser {
        RiskyUser {
            user_id: user_id.to_owned(),
            risky_since: 7,
            active,
        }
    }

    #[test]
    fn cleared_users_are_neither_listed_nor_risky() {
        let store = Store::create([user("b", true), user("cleared", false), user("a", true)]).unwrap();
        assert_eq!(store.active_risky_users().unwrap(), [user("a", true), user("b", true)]);
        assert!(store.is_risky("a").unwrap());
        assert!(!store.is_risky("cleared").unwrap());
        assert!(!store.is_risky("never heard of").unwrap());
    }

    #[test]
    fn a_cached_value_is_gone_at_its_expiry() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Store::create([]).unwrap();
        let cached = |now_ms| store.with_cached("list", now_ms, str::to_owned).unwrap();
        assert_eq!(cached(0), None, "nothing was ever cached");
        runtime
            .block_on(store.set_cached("list", 1_000, "first".to_owned()))
            .unwrap();
        assert_eq!(cached(999).as_deref(), Some("first"));
        assert_eq!(cached(1_000), None);
        runtime
            .block_on(store.set_cached("list", 2_000, "second".to_owned()))
            .unwrap();
        assert_eq!(cached(1_000).as_deref(), Some("second"));
    }
}
