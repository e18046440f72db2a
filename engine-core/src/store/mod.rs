//! The records: one SQLite database per store directory. The only place with SQL.
//!
//! Every process that has the store open has its own connection; SQLite's write-ahead log lets them read while one
//! writes, and a writer waits for another one instead of failing. Transactions are short: nothing waits for a
//! network, a process or a child within one.
//!
//! The services call the functions of the noun files inside [`Store::read`] and [`Store::write`]:
//!
//! ```text
//! store.write(Durability::Full, move |tx| volumes::insert(tx, &record)).await?;
//! ```

pub(crate) mod containers;
pub(crate) mod endpoints;
pub(crate) mod images;
pub(crate) mod layers;
pub(crate) mod networks;
mod schema;
pub(crate) mod volumes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result, Subject};

/// How long a process waits for the others' write transactions before it gives up.
const BUSY: Duration = Duration::from_secs(60);

/// Whether a commit survives a loss of power. It always survives the end of any process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk when the call returns: for what a user would miss.
    Full,
    /// It may be undone, whole, by a loss of power: for what a loss of power undoes anyway, like a running process.
    Relaxed,
}

/// The records of one store directory.
#[derive(Clone)]
pub(crate) struct Store(Arc<Shared>);

struct Shared {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// One moment of the records, and what is being changed of them.
pub(crate) struct Tx<'a>(Transaction<'a>);

impl Store {
    /// Opens the database in the directory `root`, making it if it is not there. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a store of a later version, and on a network file system, where SQLite's
    /// shared memory cannot work.
    pub(crate) fn open(root: &Path) -> Result<Store> {
        refuse_network_file_system(root)?;
        let path = root.join("engine.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| failed(&path, e))?;
        let store = Store(Arc::new(Shared { path, connection: Mutex::new(connection) }));
        {
            let mut connection = store.connection();
            Store::configure(&mut connection).map_err(|e| store.failed(e))?;
            schema::migrate(&mut connection, &store.0.path)?;
        }
        Ok(store)
    }

    /// The store directory.
    pub(crate) fn root(&self) -> &Path {
        self.0.path.parent().unwrap_or(&self.0.path)
    }

    fn configure(connection: &mut Connection) -> rusqlite::Result<()> {
        connection.busy_handler(Some(wait_for_others))?;
        // A process that only ran one container must not pay for a checkpoint when it ends; the log is kept short
        // by its size instead, because the next process to open the store has to read it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        write_ahead(connection)?;
        connection.execute_batch(
            "PRAGMA synchronous = normal;
             PRAGMA foreign_keys = on;
             PRAGMA wal_autocheckpoint = 200;",
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolled it back when it unwound; the connection itself is sound.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        failed(&self.0.path, error)
    }

    /// Reads within one moment of the records.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let store = self.clone();
        blocking(move || store.read_now(work)).await
    }

    /// As [`Store::read`], for code that may block.
    pub(crate) fn read_now<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection();
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|e| self.failed(e))?;
        work(&Tx(tx))
    }

    /// Changes the records: what `work` did is done wholly when this returns, or not at all if it failed.
    pub(crate) async fn write<T, F>(&self, durability: Durability, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let store = self.clone();
        blocking(move || store.write_now(durability, work)).await
    }

    /// As [`Store::write`], for code that may block.
    pub(crate) fn write_now<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        if durability == Durability::Full {
            connection.execute_batch("PRAGMA synchronous = full").map_err(|e| self.failed(e))?;
        }
        let result = (|| {
            let tx = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|e| self.failed(e))?;
            let tx = Tx(tx);
            let value = work(&tx)?;
            tx.0.commit().map_err(|e| self.failed(e))?;
            Ok(value)
        })();
        if durability == Durability::Full {
            connection.execute_batch("PRAGMA synchronous = normal").map_err(|e| self.failed(e))?;
        }
        result
    }
}

/// Has the store written ahead. While others open a new store at the same moment that is refused, and SQLite asks no
/// busy handler about it.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let mut waited = 0;
    loop {
        match connection.execute_batch("PRAGMA journal_mode = wal") {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_others(waited) => {
                waited += 1;
            }
            result => return result,
        }
    }
}

/// Runs blocking work on tokio's pool for it.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) if e.is_panic() => Err(Error::internal("blocking work", "it panicked")),
        Err(_) => Err(Error::new(ErrorKind::Cancelled, "blocking work").because("the runtime shuts down")),
    }
}

/// SQLite asks this while another process writes: `attempt` counts from 0. Short pauses first, as transactions are
/// short; SQLite's own handler soon sleeps for 100 ms at a time.
fn wait_for_others(attempt: i32) -> bool {
    let pause = match attempt {
        0..8 => Duration::from_micros(250),
        8..50 => Duration::from_millis(1),
        _ => Duration::from_millis(5),
    };
    std::thread::sleep(pause);
    u64::try_from(attempt).unwrap_or(0) < BUSY.as_millis() as u64 / 5
}

fn refuse_network_file_system(root: &Path) -> Result<()> {
    const NFS: i64 = 0x6969;
    const SMB2: i64 = 0xfe53_4d42;
    const CIFS: i64 = 0xff53_4d42;
    let stat = rustix::fs::statfs(root).subject(|| format!("store {}", root.display()))?;
    if [NFS, SMB2, CIFS].contains(&stat.f_type) {
        return Err(Error::new(ErrorKind::Unsupported, format!("store {}", root.display()))
            .because("it is on a network file system, which cannot hold the store's database")
            .with_remedy("choose a directory on a local disk"));
    }
    Ok(())
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    let kind = match error.sqlite_error_code() {
        Some(Code::DiskFull) => ErrorKind::OutOfSpace,
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Corrupt,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::TimedOut,
        Some(Code::CannotOpen | Code::PermissionDenied | Code::ReadOnly) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Internal,
    };
    let remedy = match kind {
        ErrorKind::OutOfSpace => Some("free some space on the file system of the store"),
        ErrorKind::TimedOut => Some("another process keeps the store locked; end it and try again"),
        _ => None,
    };
    let failure = Error::new(kind, format!("store {}", path.display())).caused_by(error);
    match remedy {
        Some(remedy) => failure.with_remedy(remedy),
        None => failure,
    }
}

impl Tx<'_> {
    /// Runs a statement; gives the number of rows it changed.
    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
        self.0.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(Tx::failed)
    }

    /// The rows of a query.
    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        mut row: impl FnMut(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.0.prepare_cached(sql).map_err(Tx::failed)?;
        let mut found = statement.query(values).map_err(Tx::failed)?;
        let mut rows = Vec::new();
        while let Some(next) = found.next().map_err(Tx::failed)? {
            rows.push(row(next)?);
        }
        Ok(rows)
    }

    /// The first row of a query.
    fn row<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        row: impl FnOnce(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.0.prepare_cached(sql).map_err(Tx::failed)?;
        let mut found = statement.query(values).map_err(Tx::failed)?;
        match found.next().map_err(Tx::failed)? {
            Some(next) => row(next).map(Some),
            None => Ok(None),
        }
    }

    fn failed(error: rusqlite::Error) -> Error {
        failed(Path::new("database"), error)
    }
}

/// A column's value.
fn column<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>, index: usize) -> Result<T> {
    row.get(index).map_err(Tx::failed)
}

/// A column that holds one of the crate's identifiers or another parsed type.
fn parsed<T>(row: &rusqlite::Row<'_>, index: usize) -> Result<T>
where
    T: std::str::FromStr<Err = Error>,
{
    let text = row.get_ref(index).map_err(Tx::failed)?.as_str().map_err(|e| Tx::failed(e.into()))?;
    text.parse().map_err(|e: Error| corrupt("a record").caused_by(e))
}

/// A column that holds a document.
fn document<T: DeserializeOwned>(row: &rusqlite::Row<'_>, index: usize) -> Result<T> {
    let text = row.get_ref(index).map_err(Tx::failed)?.as_str().map_err(|e| Tx::failed(e.into()))?;
    serde_json::from_str(text).map_err(|e| corrupt("a record").caused_by(e))
}

/// The text of a document, for a column.
fn to_document(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("a record", "it has no text form").caused_by(e))
}

fn corrupt(subject: &str) -> Error {
    Error::new(ErrorKind::Corrupt, subject)
        .because("the store's database holds what this version cannot read")
        .with_remedy("run `engine system check`")
}

/// The deadline after which waiting for a lock of the store is given up.
pub(crate) fn patience() -> Instant {
    Instant::now() + BUSY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::VolumeName;
    use crate::store::volumes::VolumeRecord;

    fn volume(name: &str) -> VolumeRecord {
        VolumeRecord::new(name.parse::<VolumeName>().expect("a name"), "local")
    }

    #[test]
    fn a_failed_change_leaves_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let store = Store::open(root.path()).expect("opens");
        let result: Result<()> = store.write_now(Durability::Full, |tx| {
            volumes::insert(tx, &volume("data"))?;
            Err(Error::internal("test", "on purpose"))
        });
        assert!(result.is_err());
        assert!(store.read_now(volumes::list).expect("reads").is_empty());
    }

    #[test]
    fn two_connections_see_each_other_s_changes() {
        let root = tempfile::tempdir().expect("a directory");
        let (a, b) = (Store::open(root.path()).expect("opens"), Store::open(root.path()).expect("opens"));
        a.write_now(Durability::Relaxed, |tx| volumes::insert(tx, &volume("data"))).expect("writes");
        assert_eq!(b.read_now(volumes::list).expect("reads").len(), 1);
    }

    #[test]
    fn a_new_store_can_be_opened_by_many_at_the_same_moment() {
        for _ in 0..20 {
            let root = tempfile::tempdir().expect("a directory");
            let together = std::sync::Barrier::new(8);
            let open = || {
                together.wait();
                Store::open(root.path()).map(|store| store.read_now(volumes::list).expect("reads").len())
            };
            let opened: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            for one in opened {
                assert_eq!(one.expect("opens"), 0);
            }
        }
    }

    #[test]
    fn a_store_of_a_later_version_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        drop(Store::open(root.path()).expect("opens"));
        let raw = Connection::open(root.path().join("engine.db")).expect("opens");
        raw.execute_batch("PRAGMA user_version = 1000").expect("writes");
        drop(raw);
        let error = Store::open(root.path()).err().expect("is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.remedy().is_some());
    }

    #[test]
    fn writers_at_the_same_time_wait_for_each_other() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().to_owned();
        drop(Store::open(&path).expect("opens"));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let store = Store::open(&path).expect("opens");
                    for n in 0..50 {
                        let record = volume(&format!("v{thread}-{n}"));
                        store
                            .write_now(Durability::Relaxed, |tx| volumes::insert(tx, &record))
                            .expect("writes");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let store = Store::open(&path).expect("opens");
        assert_eq!(store.read_now(volumes::list).expect("reads").len(), 200);
    }
}
