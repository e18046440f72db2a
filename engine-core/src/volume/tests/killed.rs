//! A process is killed at any moment of its work; the next one finds every volume wholly there or wholly not.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// The store of the process that is to be killed.
const STORE: &str = "ENGINE_TEST_VOLUMES_STORE";
const FILES: usize = 20;
const KILLS: u64 = 25;

/// The work: no test by itself, but what another process runs until it is killed.
#[tokio::test]
#[ignore = "runs until it is killed"]
async fn work_until_killed() {
    let Some(root) = std::env::var_os(STORE) else { return };
    let engine = Process::new(Path::new(&root));
    loop {
        let claims = vec![engine.claim(None).await, engine.claim(Some("data")).await];
        let records: Vec<VolumeRecord> = claims.iter().map(|claim| claim.record().clone()).collect();
        let view = std::fs::File::open(Path::new(&root).join("image")).expect("opens");
        let id = ContainerId::random().expect("random");
        for record in &records {
            let path = attach::mount(engine.parts(), record, &id).await.expect("mounts");
            attach::populate(engine.parts(), record, &path, view.as_fd(), "/srv").await.expect("fills");
        }
        let id = engine.container("web", claims);
        let doomed = engine
            .store
            .write_now(Durability::Full, |tx| {
                let doomed = volumes::doom_anonymous(tx, &id)?;
                containers::delete(tx, &id)?;
                Ok(doomed)
            })
            .expect("writes");
        attach::finish(engine.parts(), &doomed).await.expect("destroys it");
        remove(engine.parts(), "data", false).await.expect("removes it");
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_leaves_every_volume_whole_or_gone() {
    let root = tempfile::tempdir().expect("a directory");
    for file in 0..FILES {
        let directory = root.path().join(format!("image/srv/d{file}"));
        std::fs::create_dir_all(&directory).expect("makes it");
        std::fs::write(directory.join("file"), "x").expect("writes");
    }
    let engine = Process::new(root.path());
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "volume::tests::killed::work_until_killed"])
            .env(STORE, root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        // Times that have no common measure with the work's own.
        std::thread::sleep(Duration::from_micros(30_000 + kill * 7_919 % 61_000));
        child.kill().expect("kills");
        let status = child.wait().expect("ends");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it failed by itself");
        is_sound(&engine, root.path()).await;
    }
}

/// What holds after any kill, and that the next process can go on.
async fn is_sound(engine: &Process, root: &Path) {
    life::sweep(engine.parts()).await.expect("sweeps");
    // What a container of the dead process would have had is free now.
    for row in engine.store.read_now(containers::list).expect("reads") {
        super::remove_anonymous(engine.parts(), &row.id).await.expect("removes them");
        engine.store.write_now(Durability::Full, |tx| containers::delete(tx, &row.id)).expect("writes");
    }
    let on_disk: BTreeSet<String> = std::fs::read_dir(root.join("volumes"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    let recorded: BTreeSet<String> = engine.names(&[]).await.into_iter().collect();
    assert_eq!(on_disk, recorded, "every directory has a record and every record a directory");
    if recorded.is_empty() {
        return;
    }
    let claim = engine.claim(Some("data")).await;
    let id = ContainerId::random().expect("random");
    let path = attach::mount(engine.parts(), claim.record(), &id).await.expect("mounts");
    let files = (0..FILES).filter(|file| path.join(format!("d{file}/file")).exists()).count();
    assert!(files == 0 || files == FILES, "a volume with {files} of {FILES} files");
    let names: Vec<_> =
        std::fs::read_dir(&path).expect("reads").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), files, "{names:?}");
}
