//! What any volume driver must do. A driver's own tests call [`volume_driver`] with a fresh one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::driver::VolumeDriver;
use crate::error::{Error, ErrorKind, Result};
use crate::id::VolumeName;

/// Takes the driver through the life of some volumes.
///
/// # Errors
/// What the driver fails with where it must not.
///
/// # Panics
/// When the driver does something else than the contract says.
pub async fn volume_driver(driver: &dyn VolumeDriver) -> Result<()> {
    options_are_checked(driver)?;
    a_volume_keeps_its_content_until_it_is_removed(driver).await?;
    what_is_done_twice_is_done_once(driver).await?;
    volumes_do_not_meet(driver).await?;
    only_empty_strays_are_found(driver).await
}

fn name(text: &str) -> Result<VolumeName> {
    text.parse()
}

fn io(e: std::io::Error) -> Error {
    Error::io("a file of a volume", e)
}

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn options_are_checked(driver: &dyn VolumeDriver) -> Result<()> {
    driver.check(&none())?;
    let unknown = BTreeMap::from([("no such option".to_owned(), "x".to_owned())]);
    let error = driver.check(&unknown).err();
    assert!(error.is_some_and(|e| e.is(ErrorKind::InvalidInput)), "an unknown option is refused");
    Ok(())
}

async fn a_volume_keeps_its_content_until_it_is_removed(driver: &dyn VolumeDriver) -> Result<()> {
    let volume = name("conformance-kept")?;
    driver.create(&volume, &none(), false).await?;
    let path = driver.mount(&volume, &none(), "one").await?;
    assert_eq!(fs::read_dir(&path).map_err(io)?.count(), 0, "a new volume is empty");
    fs::write(path.join("file"), "content").map_err(io)?;
    driver.unmount(&volume, "one").await?;
    let path = driver.mount(&volume, &none(), "two").await?;
    assert_eq!(fs::read_to_string(path.join("file")).map_err(io)?, "content");
    driver.create(&volume, &none(), false).await?;
    assert!(path.join("file").exists(), "making it again leaves its content");
    driver.unmount(&volume, "two").await?;
    driver.remove(&volume).await?;
    driver.create(&volume, &none(), false).await?;
    let path = driver.mount(&volume, &none(), "three").await?;
    assert_eq!(
        fs::read_dir(&path).map_err(io)?.count(),
        0,
        "a removed volume leaves nothing to the next one"
    );
    driver.unmount(&volume, "three").await?;
    driver.remove(&volume).await
}

async fn what_is_done_twice_is_done_once(driver: &dyn VolumeDriver) -> Result<()> {
    let volume = name("conformance-twice")?;
    driver.create(&volume, &none(), true).await?;
    driver.create(&volume, &none(), true).await?;
    let first = driver.mount(&volume, &none(), "one").await?;
    let second = driver.mount(&volume, &none(), "two").await?;
    assert_eq!(first, second, "two owners see one volume");
    fs::write(first.join("file"), "").map_err(io)?;
    driver.unmount(&volume, "one").await?;
    driver.unmount(&volume, "one").await?;
    assert!(second.join("file").exists(), "the other owner still has it");
    driver.unmount(&volume, "two").await?;
    driver.unmount(&volume, "nobody").await?;
    driver.remove(&volume).await?;
    driver.remove(&volume).await?;
    driver.unmount(&volume, "two").await
}

async fn volumes_do_not_meet(driver: &dyn VolumeDriver) -> Result<()> {
    let (a, b) = (name("conformance-a")?, name("conformance-ab")?);
    driver.create(&a, &none(), false).await?;
    driver.create(&b, &none(), false).await?;
    let (in_a, in_b) = (driver.mount(&a, &none(), "one").await?, driver.mount(&b, &none(), "one").await?);
    fs::write(in_b.join("file"), "").map_err(io)?;
    assert!(!in_a.join("file").exists());
    driver.unmount(&a, "one").await?;
    driver.remove(&a).await?;
    assert!(in_b.join("file").exists());
    driver.unmount(&b, "one").await?;
    driver.remove(&b).await
}

async fn only_empty_strays_are_found(driver: &dyn VolumeDriver) -> Result<()> {
    let (empty, full, known) =
        (name("conformance-empty")?, name("conformance-full")?, name("conformance-known")?);
    for volume in [&empty, &full, &known] {
        driver.create(volume, &none(), false).await?;
    }
    let path = driver.mount(&full, &none(), "one").await?;
    fs::write(path.join("file"), "").map_err(io)?;
    driver.unmount(&full, "one").await?;
    let strays = driver.strays(&BTreeSet::from([known.clone()])).await?;
    assert!(!strays.contains(&known), "a recorded volume is no stray");
    assert!(!strays.contains(&full), "a volume that holds something is nobody's to throw away");
    driver.sweep().await?;
    for volume in [&empty, &full, &known] {
        driver.mount(volume, &none(), "one").await?;
        driver.unmount(volume, "one").await?;
        driver.remove(volume).await?;
    }
    let strays = driver.strays(&BTreeSet::new()).await?;
    assert!(![&empty, &full, &known].iter().any(|volume| strays.contains(volume)));
    Ok(())
}
