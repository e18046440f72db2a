//! The service with real records and real directories.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use super::attach::{self, Claim};
use super::local::Local;
use super::*;
use crate::container::record::ContainerRecord;
use crate::id::ContainerId;
use crate::spec::{ContainerSpec, Timestamp, VolumeMountSpec};
use crate::store::{Durability, Store, containers};

mod killed;

/// One process: it has its own connection to the store and its own drivers.
struct Process {
    root: std::path::PathBuf,
    store: Store,
    drivers: BTreeMap<String, Arc<dyn driver::VolumeDriver>>,
}

impl Process {
    fn new(root: &Path) -> Process {
        let local: Arc<dyn driver::VolumeDriver> = Arc::new(Local::new(root));
        let other: Arc<dyn driver::VolumeDriver> = Arc::new(Local::new(&root.join("other")));
        std::fs::create_dir_all(root.join("other")).expect("makes it");
        Process {
            root: root.to_owned(),
            store: Store::open(root).expect("opens"),
            drivers: BTreeMap::from([("local".to_owned(), local), ("other".to_owned(), other)]),
        }
    }

    fn parts(&self) -> VolumeParts<'_> {
        VolumeParts::new(&self.root, &self.store, &self.drivers)
    }

    /// Records a container that has these volumes.
    fn container(&self, name: &str, claims: Vec<Claim>) -> ContainerId {
        let id = ContainerId::random().expect("random");
        let spec = ContainerSpec::image("scratch");
        let record: ContainerRecord =
            serde_json::from_value(serde_json::json!({ "spec": spec, "image": null })).expect("a record");
        let name = name.parse().expect("a name");
        self.store
            .write_now(Durability::Full, |tx| {
                containers::insert(tx, &id, &name, Timestamp::now(), &record)?;
                claims.iter().try_for_each(|claim| volumes::add_user(tx, &claim.record().name, &id))
            })
            .expect("writes");
        id
    }

    async fn claim(&self, name: Option<&str>) -> Claim {
        let mount = VolumeMountSpec { name: name.map(volume), ..VolumeMountSpec::default() };
        attach::ensure(self.parts(), &mount, false).await.expect("there is one")
    }

    async fn names(&self, filter: &[&str]) -> Vec<String> {
        let found = list(self.parts(), &self.filter(filter)).await.expect("lists");
        found.into_iter().map(|volume| volume.name.to_string()).collect()
    }

    fn filter(&self, conditions: &[&str]) -> Filter {
        let mut filter = Filter::new();
        for condition in conditions {
            filter.add_text(condition).expect("well formed");
        }
        filter
    }
}

fn volume(name: &str) -> VolumeName {
    name.parse().expect("a name")
}

fn named(name: &str) -> VolumeSpec {
    VolumeSpec::named(volume(name))
}

#[tokio::test]
async fn a_volume_is_made_found_listed_and_removed() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let mut wanted = named("data");
    wanted.labels.insert("tier".into(), "db".into());
    let made = create(engine.parts(), wanted).await.expect("makes it");
    assert_eq!(made.mountpoint, root.path().join("volumes/data/_data"));
    assert!(made.mountpoint.is_dir());
    std::fs::write(made.mountpoint.join("file"), "x").expect("writes");
    create(engine.parts(), named("data")).await.expect("finds it");
    assert!(made.mountpoint.join("file").exists());
    create(engine.parts(), named("logs")).await.expect("makes it");
    let nameless = create(engine.parts(), VolumeSpec::default()).await.expect("makes it");
    assert_eq!(nameless.name.as_str().len(), 64);
    assert_eq!(engine.names(&["name=dat"]).await, ["data"]);
    assert_eq!(engine.names(&["label=tier=db"]).await, ["data"]);
    assert_eq!(engine.names(&["driver=other"]).await.len(), 0);
    assert_eq!(engine.names(&["dangling=true"]).await.len(), 3);
    assert!(list(engine.parts(), &engine.filter(&["colour=red"])).await.is_err());
    assert!(list(engine.parts(), &engine.filter(&["dangling=maybe"])).await.is_err());
    remove(engine.parts(), "data", false).await.expect("removes it");
    assert!(!root.path().join("volumes/data").exists());
    let error = remove(engine.parts(), "data", false).await.expect_err("it is gone");
    assert!(error.is(ErrorKind::NotFound));
    remove(engine.parts(), "data", true).await.expect("with force that is fine");
    remove(engine.parts(), "../x", true).await.expect("with force that is fine");
    assert!(inspect(engine.parts(), "data").await.is_err());
    assert!(inspect(engine.parts(), "/").await.is_err());
}

#[tokio::test]
async fn what_another_driver_made_is_a_conflict_and_an_unknown_driver_makes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    create(engine.parts(), named("data")).await.expect("makes it");
    let other = VolumeSpec { driver: Some("other".into()), ..named("data") };
    assert!(create(engine.parts(), other).await.expect_err("a conflict").is(ErrorKind::Conflict));
    let unknown = VolumeSpec { driver: Some("nfs".into()), ..named("more") };
    let error = create(engine.parts(), unknown).await.expect_err("no such driver");
    assert!(error.is(ErrorKind::NotFound));
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("local")), "{error:?}");
    let options = BTreeMap::from([("sise".to_owned(), "1".to_owned())]);
    let bad = VolumeSpec { options, ..named("more") };
    assert!(create(engine.parts(), bad).await.expect_err("no such option").is(ErrorKind::InvalidInput));
    assert_eq!(engine.names(&[]).await, ["data"]);
}

#[tokio::test]
async fn a_volume_in_use_is_kept_and_its_users_are_named() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let claims = vec![engine.claim(Some("data")).await];
    engine.container("web", claims);
    let error = remove(engine.parts(), "data", true).await.expect_err("it is in use");
    assert!(error.is(ErrorKind::InUse));
    assert!(error.to_string().contains("web"), "{error}");
    assert_eq!(engine.names(&["dangling=false"]).await, ["data"]);
    let report = prune(engine.parts(), &engine.filter(&["all=true"])).await.expect("prunes");
    assert!(report.deleted.is_empty());
}

#[tokio::test]
async fn a_prune_takes_anonymous_volumes_and_all_of_them_when_asked() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let nameless = create(engine.parts(), VolumeSpec::default()).await.expect("makes it");
    std::fs::write(nameless.mountpoint.join("file"), vec![1; 1 << 20]).expect("writes");
    let mut kept = named("kept");
    kept.labels.insert("keep".into(), String::new());
    create(engine.parts(), kept).await.expect("makes it");
    create(engine.parts(), named("data")).await.expect("makes it");
    let elsewhere = VolumeSpec { driver: Some("other".into()), ..named("elsewhere") };
    create(engine.parts(), elsewhere).await.expect("makes it");
    let report = prune(engine.parts(), &Filter::new()).await.expect("prunes");
    assert_eq!(report.deleted, [nameless.name]);
    assert!(report.reclaimed >= 1 << 20);
    let report = prune(engine.parts(), &engine.filter(&["all=1", "label!=keep"])).await.expect("prunes");
    assert_eq!(report.deleted, [volume("data")]);
    assert_eq!(engine.names(&[]).await, ["elsewhere", "kept"]);
}

#[tokio::test]
async fn nobody_removes_a_volume_while_a_container_is_created_with_it() {
    let root = tempfile::tempdir().expect("a directory");
    let (one, two) = (Process::new(root.path()), Process::new(root.path()));
    let claim = one.claim(Some("data")).await;
    let again = two.claim(Some("data")).await;
    let report = prune(two.parts(), &two.filter(&["all=true"])).await.expect("prunes");
    assert!(report.deleted.is_empty(), "a claimed volume was pruned");
    drop(again);
    one.container("web", vec![claim]);
    assert!(remove(two.parts(), "data", false).await.expect_err("it is in use").is(ErrorKind::InUse));
}

#[tokio::test]
async fn an_anonymous_volume_goes_with_its_container_unless_another_one_has_it() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let claim = engine.claim(None).await;
    let (record, name) = (claim.record().clone(), claim.record().name.to_string());
    assert!(engine.names(&[]).await.is_empty(), "nobody sees it before its container is there");
    let first = engine.container("first", vec![claim]);
    assert_eq!(engine.names(&["label=com.docker.volume.anonymous"]).await, [name.as_str()]);
    let kept = engine.claim(Some("data")).await;
    let second = engine.container("second", vec![engine.claim(Some(&name)).await, kept]);
    let path = attach::mount(engine.parts(), &record, &first).await.expect("mounts");
    std::fs::write(path.join("file"), "x").expect("writes");
    attach::unmount(engine.parts(), &first).await.expect("unmounts");
    attach::unmount(engine.parts(), &first).await.expect("may run twice");
    remove_anonymous(engine.parts(), &first).await.expect("removes nothing");
    assert!(path.join("file").exists(), "the second container has it");
    engine.store.write_now(Durability::Full, |tx| containers::delete(tx, &first)).expect("writes");
    let doomed = engine
        .store
        .write_now(Durability::Full, |tx| {
            let doomed = volumes::doom_anonymous(tx, &second)?;
            containers::delete(tx, &second)?;
            Ok(doomed)
        })
        .expect("writes");
    assert_eq!(engine.names(&[]).await, ["data"], "it is gone with the record of the container");
    attach::finish(engine.parts(), &doomed).await.expect("destroys it");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_container_that_is_not_recorded_leaves_no_anonymous_volume() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let claims = vec![engine.claim(None).await, engine.claim(Some("data")).await];
    attach::abandon(engine.parts(), claims).await.expect("unmakes it");
    assert_eq!(engine.names(&[]).await, ["data"]);
    let left: Vec<_> = std::fs::read_dir(root.path().join("volumes")).expect("reads").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// Everything a process can leave that dies at some point of a creation or a removal.
#[tokio::test]
async fn whatever_a_killed_process_left_is_swept_and_what_others_are_at_is_not() {
    let root = tempfile::tempdir().expect("a directory");
    let (dead, alive) = (Process::new(root.path()), Process::new(root.path()));
    let volumes_dir = root.path().join("volumes");
    // Made for a container, filled, and then the process died.
    let claim = dead.claim(None).await;
    std::fs::write(volumes_dir.join(claim.record().name.as_str()).join("_data/file"), "x").expect("writes");
    let busy = alive.claim(None).await;
    drop(claim);
    // Made, and not recorded.
    std::fs::create_dir_all(volumes_dir.join("half/_data")).expect("makes it");
    // Doomed, and not destroyed.
    create(dead.parts(), named("doomed")).await.expect("makes it");
    std::fs::write(volumes_dir.join("doomed/_data/old"), "x").expect("writes");
    dead.store.write_now(Durability::Full, |tx| volumes::doom(tx, &volume("doomed"))).expect("writes");
    // Nothing but a directory with content: the records may have been lost.
    std::fs::create_dir_all(volumes_dir.join("precious/_data/content")).expect("makes it");
    create(alive.parts(), named("used")).await.expect("makes it");

    assert!(remove(alive.parts(), "doomed", false).await.expect_err("is not there").is(ErrorKind::NotFound));
    assert!(!volumes_dir.join("doomed").exists(), "who asks for its removal finishes it");
    let lines = life::sweep(alive.parts()).await.expect("sweeps");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let mut left: Vec<String> = std::fs::read_dir(&volumes_dir)
        .expect("reads")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    let mut expected = vec!["precious".to_owned(), "used".to_owned(), busy.record().name.to_string()];
    expected.sort();
    assert_eq!(left, expected);
    assert!(life::sweep(alive.parts()).await.expect("sweeps").is_empty());
}

#[tokio::test]
async fn a_volume_whose_removal_was_interrupted_is_new_when_it_is_made_again() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let made = create(engine.parts(), named("data")).await.expect("makes it");
    std::fs::write(made.mountpoint.join("old"), "x").expect("writes");
    engine.store.write_now(Durability::Full, |tx| volumes::doom(tx, &made.name)).expect("writes");
    let made = create(engine.parts(), named("data")).await.expect("makes it");
    assert_eq!(std::fs::read_dir(&made.mountpoint).expect("reads").count(), 0);
    assert_eq!(engine.names(&[]).await, ["data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_make_and_remove_one_volume_at_once_never_lose_it_by_half() {
    let root = tempfile::tempdir().expect("a directory");
    drop(Process::new(root.path()));
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let root = root.path().to_owned();
        tasks.push(tokio::spawn(async move {
            let engine = Process::new(&root);
            for _ in 0..15 {
                let claim = engine.claim(Some("data")).await;
                let path = root.join("volumes/data/_data");
                assert!(path.is_dir(), "a claimed volume has no directory");
                std::fs::write(path.join(format!("{worker}")), "x").expect("it stays while it is claimed");
                drop(claim);
                match remove(engine.parts(), "data", true).await {
                    Ok(()) => {}
                    Err(e) => panic!("{e:?}"),
                }
                life::sweep(engine.parts()).await.expect("sweeps");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let engine = Process::new(root.path());
    assert!(engine.names(&[]).await.is_empty());
    assert!(!root.path().join("volumes/data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_containers_that_fill_a_volume_at_once_one_wins_and_nothing_is_mixed() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let images: Vec<_> = (0..2).map(|n| root.path().join(format!("image{n}"))).collect();
    for (n, image) in images.iter().enumerate() {
        for file in 0..50 {
            std::fs::create_dir_all(image.join(format!("srv/d{file}"))).expect("makes it");
            std::fs::write(image.join(format!("srv/d{file}/of{n}")), "x").expect("writes");
        }
    }
    let claim = engine.claim(Some("data")).await;
    let record = claim.record().clone();
    let id = engine.container("web", vec![claim]);
    let path = attach::mount(engine.parts(), &record, &id).await.expect("mounts");
    let fill = |n: usize| {
        let (root, record, path, image) =
            (root.path().to_owned(), record.clone(), path.clone(), images[n].clone());
        tokio::spawn(async move {
            let engine = Process::new(&root);
            let view = std::fs::File::open(image).expect("opens");
            attach::populate(engine.parts(), &record, &path, view.as_fd(), "/srv").await
        })
    };
    let (one, two) = (fill(0), fill(1));
    one.await.expect("no panic").expect("fills");
    two.await.expect("no panic").expect("fills, or finds it filled");
    let files = |n: usize| (0..50).filter(|d| path.join(format!("d{d}/of{n}")).exists()).count();
    assert!(matches!((files(0), files(1)), (50, 0) | (0, 50)), "{} and {}", files(0), files(1));
}

#[tokio::test]
async fn who_mounts_a_volume_finds_what_an_interrupted_copy_had_ready() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    let claim = engine.claim(Some("data")).await;
    let record = claim.record().clone();
    let id = engine.container("web", vec![claim]);
    std::fs::create_dir(root.path().join("volumes/data/.engine-copy-whole")).expect("makes it");
    std::fs::write(root.path().join("volumes/data/.engine-copy-whole/file"), "x").expect("writes");
    let path = attach::mount(engine.parts(), &record, &id).await.expect("mounts");
    assert!(path.join("file").exists());
    assert!(size(engine.parts(), &record).await.expect("measures") > 0);
}

#[tokio::test]
async fn a_file_system_in_memory_is_filled_each_time_it_is_mounted_anew() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = Process::new(root.path());
    std::fs::create_dir_all(root.path().join("image/srv/d")).expect("makes it");
    std::fs::write(root.path().join("image/srv/d/file"), vec![7; 300_000]).expect("writes");
    let view = std::fs::File::open(root.path().join("image")).expect("opens");
    let pairs = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
    let options = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mount = VolumeMountSpec { name: Some(volume("memory")), options, ..VolumeMountSpec::default() };
    let claim = attach::ensure(engine.parts(), &mount, false).await.expect("makes it");
    let record = claim.record().clone();
    let id = engine.container("web", vec![claim]);
    for _ in 0..2 {
        let path = attach::mount(engine.parts(), &record, &id).await.expect("mounts");
        let filled = attach::populate(engine.parts(), &record, &path, view.as_fd(), "/srv").await;
        let found = std::fs::read(path.join("d/file"));
        let names = std::fs::read_dir(&path).map(Iterator::count);
        attach::unmount(engine.parts(), &id).await.expect("unmounts");
        filled.expect("fills");
        assert_eq!(found.expect("reads"), vec![7; 300_000]);
        assert_eq!(names.expect("reads"), 1, "nothing of the copy's own is left");
        assert_eq!(std::fs::read_dir(&path).expect("reads").count(), 0);
    }
    // Too much for it: told as such, and nothing is left half.
    std::fs::write(root.path().join("image/srv/d/large"), vec![7; 2 << 20]).expect("writes");
    let path = attach::mount(engine.parts(), &record, &id).await.expect("mounts");
    let filled = attach::populate(engine.parts(), &record, &path, view.as_fd(), "/srv").await;
    let names = std::fs::read_dir(&path).map(Iterator::count);
    attach::unmount(engine.parts(), &id).await.expect("unmounts");
    assert!(filled.expect_err("it is full").is(ErrorKind::OutOfSpace));
    assert_eq!(names.expect("reads"), 0);
}

/// As the removal of a container does, without the container.
async fn remove_anonymous(parts: VolumeParts<'_>, container: &ContainerId) -> Result<()> {
    let id = container.clone();
    let doomed = parts.store().write(Durability::Full, move |tx| volumes::doom_anonymous(tx, &id)).await?;
    attach::finish(parts, &doomed).await
}
