//! The database file: connecting, migrating forward, judging whether it can be used, and putting aside what cannot.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::wal::{self, LogState};
use super::{DATABASE, OpenReport, SetAside, StoreError, verify};
use crate::clock::Clock;
use crate::limits::{STORE_FINDINGS_MAX, STORE_LOG_BYTES_MAX, STORE_STATEMENTS_MAX, STORE_WAIT_MS};
use crate::storage;

/// `RFen` in ASCII: `file` and other programs tell by it whose database this is.
pub(super) const APPLICATION_ID: i32 = 0x5246_656e;

/// Forward only, each in one transaction. One that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001-audit.sql"),
    include_str!("migrations/002-violations.sql"),
    include_str!("migrations/003-blocks.sql"),
    include_str!("migrations/004-inbox.sql"),
    include_str!("migrations/005-book.sql"),
    include_str!("migrations/006-people.sql"),
    include_str!("migrations/007-deliveries.sql"),
    include_str!("migrations/008-alertmanager.sql"),
];

/// Files that SQLite keeps beside the database.
pub(super) const COMPANIONS: &[&str] = &["-wal", "-shm", "-journal"];

/// SQLite has no shorter pages.
const PAGE_BYTES_MIN: u64 = 512;

/// The schema this build writes.
pub(super) fn version() -> i64 {
    MIGRATIONS.len() as i64
}

/// Why a file is not used.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Set aside, and a new one begun.
    Damaged(String),
    /// Told to the operator, and left alone.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Unfit {
    fn from(e: rusqlite::Error) -> Unfit {
        match e.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen,
            ) => Unfit::Refused(StoreError::Sqlite("open", e)),
            _ => Unfit::Damaged(e.to_string()),
        }
    }
}

/// The connection that writes. It alone moves the log into the database when it closes.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_millis(STORE_WAIT_MS))?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // What a schema says in double quotes is a name; a damaged one shall not turn into a text.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "recursive_triggers", true)?;
    db.pragma_update(None, "cell_size_check", true)?;
    // Numbers that retention deletes are gone from the file too.
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update_and_check(None, "journal_size_limit", STORE_LOG_BYTES_MAX, |_| Ok(()))?;
    db.set_prepared_statement_cache_capacity(STORE_STATEMENTS_MAX);
    Ok(db)
}

/// Closing this connection neither writes the log into the file nor takes it away: the file is not known to be sound.
pub(super) fn leave_log(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
}

/// A connection that reads, and leaves log and files to the one that writes.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    // Opened for writing all the same: SQLite rebuilds its index of the log after a crash.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_millis(STORE_WAIT_MS))?;
    leave_log(&db)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "query_only", true)?;
    db.set_prepared_statement_cache_capacity(STORE_STATEMENTS_MAX);
    Ok(db)
}

/// Opens the database, or begins one. What is damaged is set aside: the service comes up either way.
pub(super) fn open(path: &Path) -> Result<(Connection, OpenReport), StoreError> {
    let mut report = OpenReport::default();
    let why = match open_fit(path, &mut report) {
        Ok(db) => return Ok((db, report)),
        Err(Unfit::Refused(e)) => return Err(e),
        Err(Unfit::Damaged(why)) => why,
    };
    let (db, aside) = renew(path, why)?;
    Ok((db, OpenReport { created: true, set_aside: Some(aside), ..report }))
}

/// Sets the file aside and begins a new one with what is good of it. No connection to it may be open any more: the last one that closes would
/// take the new file's log away by its name.
pub(super) fn renew(path: &Path, why: String) -> Result<(Connection, SetAside), StoreError> {
    let aside = storage::set_aside(path, COMPANIONS).map_err(|e| StoreError::Folder(path.to_owned(), e))?;
    let db = open_fit(path, &mut OpenReport::default()).map_err(|unfit| match unfit {
        Unfit::Refused(e) => e,
        Unfit::Damaged(why) => StoreError::Begin(why),
    })?;
    // A disk that is full, or a file that is no database, saves nothing; it is still there to be looked at.
    let rows_saved = verify::save(&aside, &db).unwrap_or(0);
    Ok((db, SetAside { path: aside, why, rows_saved }))
}

fn open_fit(path: &Path, report: &mut OpenReport) -> Result<Connection, Unfit> {
    let log = wal::inspect(&with_ending(path, "-wal"));
    report.created = look(path, &log)? == 0;
    let mut db = connect(path)?;
    leave_log(&db)?;
    let found = identify(&db, report)?;
    let was_open = found > 0 && value(&db, "open")?.unwrap_or(0) != 0;
    let lost = log.finding(was_open);
    if found > 0 {
        // A database that got further than what is left of its log may contradict itself.
        check(&db, if lost.is_some() { "integrity_check" } else { "quick_check" })?;
        compare_schema(&db, found)?;
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Unfit::Refused(StoreError::NoLog(mode)));
    }
    migrate(&mut db, found)?;
    if found > 0 && found < version() {
        report.migrated_from = Some(found);
    }
    begin_session(&db)?;
    report.mended.extend(lost);
    storage::sync_folder_of(path).map_err(|e| Unfit::Refused(StoreError::Folder(path.to_owned(), e)))?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}

/// What SQLite would not tell, or take for an empty database. How many bytes there are.
fn look(path: &Path, log: &LogState) -> Result<u64, Unfit> {
    let bytes = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file.metadata().map_or(0, |m| m.len()),
        Err(e) => match e.kind() {
            ErrorKind::NotFound => 0,
            ErrorKind::PermissionDenied | ErrorKind::IsADirectory => return Err(Unfit::Damaged(e.to_string())),
            _ => return Err(Unfit::Refused(StoreError::Folder(path.to_owned(), e))),
        },
    };
    if bytes == 0 && !matches!(log, LogState::Missing | LogState::Empty) {
        return Err(Unfit::Damaged("its log is there, the database itself is missing".into()));
    }
    if (1..PAGE_BYTES_MIN).contains(&bytes) {
        return Err(Unfit::Damaged(format!("only {bytes} bytes of it are left")));
    }
    Ok(bytes)
}

pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Whose file it is and which schema it has; 0 for an empty one.
///
/// Both stand in the file's header without a checksum, so a refusal must not hang on one flipped bit there: the table
/// `migrations` says the same, and where the two differ the table is right.
fn identify(db: &Connection, report: &mut OpenReport) -> Result<i64, Unfit> {
    let id: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let header: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let ours = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('migrations', 'state', 'audit')";
    let n_tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_ours = db.query_row(ours, [], |row| row.get::<_, i64>(0))? == 3;
    if n_tables == 0 && header == 0 && (id == 0 || id == APPLICATION_ID) {
        return Ok(0);
    }
    if !is_ours {
        let damaged = id == APPLICATION_ID;
        let why = || "its tables are missing".to_owned();
        return Err(if damaged { Unfit::Damaged(why()) } else { Unfit::Refused(StoreError::Foreign(id)) });
    }
    let table = db.query_row("SELECT coalesce(max(version), 0) FROM migrations", [], |row| row.get(0))?;
    if table > version() {
        return Err(Unfit::Refused(StoreError::Newer { found: table, reads: version() }));
    }
    if id != APPLICATION_ID {
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
        report.mended.push(format!("store {DATABASE}: header said application id {id:#x}"));
    }
    if header != table {
        db.pragma_update(None, "user_version", table)?;
        report.mended.push(format!("store {DATABASE}: header said schema {header}, its tables are of {table}"));
    }
    if table < 1 { Err(Unfit::Damaged("its list of migrations is empty".into())) } else { Ok(table) }
}

/// `quick_check` walks every page; `integrity_check` compares the indices with the tables as well.
fn check(db: &Connection, pragma: &str) -> Result<(), Unfit> {
    let findings = findings(db, pragma)?;
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(Unfit::Damaged(format!("{first} ({} findings)", findings.len()))),
    }
}

/// What one of SQLite's own checks finds.
pub(super) fn findings(db: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    db.pragma_query(None, pragma, |row| {
        if found.len() < STORE_FINDINGS_MAX {
            found.push(row.get(0)?);
        }
        Ok(())
    })?;
    found.retain(|line: &String| line != "ok");
    Ok(found)
}

/// Every table, index and trigger as the migrations make it: a damaged trigger would no longer hold.
fn compare_schema(db: &Connection, found: i64) -> Result<(), Unfit> {
    let mut model = Connection::open_in_memory()?;
    run_migrations(&mut model, 0, found)?;
    let list = |db: &Connection| -> rusqlite::Result<Vec<(String, String)>> {
        let sql = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
        db.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let (expected, found) = (list(&model)?, list(db)?);
    match expected.iter().find(|e| !found.contains(e)) {
        None => Ok(()),
        Some((name, _)) => Err(Unfit::Damaged(format!("its {name} is not as it was made"))),
    }
}

fn migrate(db: &mut Connection, found: i64) -> Result<(), Unfit> {
    if found == version() {
        return Ok(());
    }
    run_migrations(db, found, version())?;
    Ok(())
}

fn run_migrations(db: &mut Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    let steps = (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from && *version <= to);
    for (version, sql) in steps {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        let done = "INSERT INTO migrations (version, time, build) VALUES (?1, ?2, ?3)";
        step.execute(done, (version, Clock.now().0, env!("CARGO_PKG_VERSION")))?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

/// Marks the file as open, in the file and, behind an emptied log, in the log: from here to a clean end there is a log
/// with something in it, and one that is missing is known to be.
fn begin_session(db: &Connection) -> Result<(), Unfit> {
    let marked = set_value(db, "open", 1)
        .and_then(|()| empty_log(db))
        .and_then(|()| set_value(db, "sessions", value(db, "sessions")?.unwrap_or(0) + 1));
    match marked {
        // The disk is full: what is there can be read, and the writer waits for room.
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(()),
        other => other.map_err(Unfit::from),
    }
}

/// The last words of the connection that writes: what follows needs no log.
pub(super) fn end_session(db: &Connection) -> rusqlite::Result<()> {
    set_value(db, "open", 0)?;
    empty_log(db)
}

pub(super) fn value(db: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut found = db.prepare("SELECT value FROM state WHERE name = ?1")?;
    let mut rows = found.query([name])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

pub(super) fn set_value(db: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO state (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    db.execute(sql, (name, value)).map(|_| ())
}

/// Moves the log into the database, both fsynced. Where a reader still needs the log, it stays.
pub(super) fn empty_log(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

impl LogState {
    /// What there is to tell of the log that the last process left.
    fn finding(&self, was_open: bool) -> Option<String> {
        let lost = "what it held is missing";
        match self {
            LogState::Damaged { at } => {
                Some(format!("store {DATABASE}-wal: damaged at byte {at}, {lost} from there on"))
            }
            LogState::Missing if was_open => Some(format!("store {DATABASE}-wal: not there after a crash, {lost}")),
            LogState::Unreadable if was_open => Some(format!("store {DATABASE}-wal: its header is damaged, {lost}")),
            _ => None,
        }
    }
}
