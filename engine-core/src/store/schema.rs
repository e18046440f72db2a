//! The tables, and how older stores become newer ones.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::failed;
use crate::error::{Error, ErrorKind, Result};

/// Each step takes a store from the version of its index to the next one. Steps are never changed once released,
/// only added.
const STEPS: [&str; 3] = [VERSION_1, VERSION_2, VERSION_3];

const VERSION_1: &str = "
    -- An image: a configuration and the manifest it came with.
    CREATE TABLE images (
        id       TEXT PRIMARY KEY,
        created  INTEGER,
        record   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- What images are called: by tag, or by the digest they were pulled by; and since when.
    CREATE TABLE image_names (
        reference TEXT PRIMARY KEY,
        image     TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        tagged    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_names_image ON image_names (image);

    -- Unpacked layers. A row is written after the directory is in its place.
    CREATE TABLE layers (
        chain   TEXT PRIMARY KEY,
        parent  TEXT,
        diff_id TEXT NOT NULL,
        size    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Containers. `run` counts the starts; `started`, `finished` and `exit_code` are those of the last one. There is
    -- no column for what a container does now: that is found from its monitor.
    CREATE TABLE containers (
        id         TEXT PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        image      TEXT,
        created    INTEGER NOT NULL,
        run        INTEGER NOT NULL DEFAULT 0,
        started    INTEGER,
        finished   INTEGER,
        exit_code  INTEGER,
        oom_killed INTEGER NOT NULL DEFAULT 0,
        failure    TEXT,
        record     TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX containers_image ON containers (image);

    CREATE TABLE networks (
        id      TEXT PRIMARY KEY,
        name    TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        record  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The places of running containers in networks; a row is the lease of its address.
    CREATE TABLE endpoints (
        container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
        network   TEXT NOT NULL REFERENCES networks (id),
        address   INTEGER NOT NULL,
        record    TEXT NOT NULL,
        PRIMARY KEY (container, network),
        UNIQUE (network, address)
    ) STRICT, WITHOUT ROWID;

    -- Volumes. One that is `claimed` was made for a container that is not recorded yet; the content of one that is
    -- `removing` is being destroyed. Only those that are `live` are seen: the others belong to whoever holds the lock
    -- on the name, and are leftovers of somebody who died if nobody does.
    CREATE TABLE volumes (
        name    TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        state   TEXT NOT NULL CHECK (state IN ('claimed', 'live', 'removing')),
        record  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Which containers have which volumes, running or not.
    CREATE TABLE volume_users (
        volume    TEXT NOT NULL REFERENCES volumes (name),
        container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
        PRIMARY KEY (volume, container)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX volume_users_container ON volume_users (container);
";

const VERSION_2: &str = "
    -- A user ended the last run: it is not taken up again when the host has started.
    ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
    -- How often the last run was started again by itself.
    ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
";

const VERSION_3: &str = "
    -- The lease of an IPv6 address: its sixteen bytes, which sort as the addresses do.
    ALTER TABLE endpoints ADD COLUMN ipv6 BLOB;
    CREATE UNIQUE INDEX endpoints_ipv6 ON endpoints (network, ipv6) WHERE ipv6 IS NOT NULL;
";

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).map(|v| v as usize)
}

/// Brings the store to this version.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a store of a later version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = version(connection).map_err(|e| failed(path, e))?;
    if found > STEPS.len() {
        return Err(Error::new(ErrorKind::Unsupported, format!("store {}", path.display()))
            .because(format!("its format is version {found}, this program knows up to {}", STEPS.len()))
            .with_remedy("use the version of the engine that wrote it, or a later one"));
    }
    if found == STEPS.len() {
        return Ok(());
    }
    // Another process may be at the same step; who comes second finds it done.
    let tx =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| failed(path, e))?;
    let found = version(&tx).map_err(|e| failed(path, e))?;
    for step in STEPS.iter().skip(found) {
        tx.execute_batch(step).map_err(|e| failed(path, e))?;
    }
    tx.pragma_update(None, "user_version", STEPS.len() as u32).map_err(|e| failed(path, e))?;
    tx.commit().map_err(|e| failed(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, endpoints, networks};

    /// A network and a member of it, as they were recorded before there was IPv6.
    const OLD: &str = r#"
        INSERT INTO containers (id, name, created, record) VALUES ('cc', 'web', 1, '{}');
        INSERT INTO networks (id, name, created, record) VALUES (
            '1111111111111111111111111111111111111111111111111111111111111111', 'net', 1,
            '{"plan":{"id":"1111111111111111111111111111111111111111111111111111111111111111","name":"net",
              "interface":"br-111111111111","subnet":"172.18.0.0/16","gateway":"172.18.0.1","ip_range":null,
              "internal":false,"mtu":1500,"inter_container":true,"masquerade":true,"host_binding":"0.0.0.0"},
              "driver":"bridge","created":"2026-11-28T00:00:00Z"}');
        INSERT INTO endpoints (container, network, address, record) VALUES (
            'cc', '1111111111111111111111111111111111111111111111111111111111111111', 2886860802,
            '{"id":"e1","interface":"eth0","address":"172.18.0.2","mac":[2,66,172,18,0,2],"ports":[]}')"#;

    #[test]
    fn a_store_from_before_ipv6_is_opened_with_its_networks_and_leases() {
        let root = tempfile::tempdir().expect("a directory");
        let raw = Connection::open(root.path().join("engine.db")).expect("opens");
        STEPS[..2].iter().for_each(|step| raw.execute_batch(step).expect("writes"));
        raw.execute_batch(OLD).expect("writes");
        raw.pragma_update(None, "user_version", 2).expect("writes");
        drop(raw);
        let store = Store::open(root.path()).expect("opens");
        let (networks, four, six) = store
            .read_now(|tx| {
                let networks = networks::list(tx)?;
                let id = &networks[0].plan.id;
                let leased = (endpoints::addresses(tx, id)?, endpoints::ipv6_addresses(tx, id)?);
                Ok((networks.clone(), leased.0, leased.1))
            })
            .expect("reads");
        assert_eq!((networks.len(), networks[0].plan.ipv6), (1, None));
        assert_eq!((four, six), (vec![[172, 18, 0, 2].into()], Vec::new()));
    }
}
