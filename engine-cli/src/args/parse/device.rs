//! Devices of the host: `--device`, and the flags that limit what goes through one.

use engine_core::spec::{DeviceRate, DeviceSpec, DeviceWeight};

use super::Parsed;
use super::number::weight as any_weight;
use super::size::size;

fn is_permissions(text: &str) -> bool {
    let once = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty()
        && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
        && ['r', 'w', 'm'].into_iter().all(once)
}

/// `HOST[:CONTAINER][:rwm]`.
pub(crate) fn device(text: &str) -> Parsed<DeviceSpec> {
    if !text.starts_with('/') && text.contains('=') {
        return Err("devices by a CDI name are not supported; name the device's file".to_owned());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, permissions] if is_permissions(permissions) => (*host, *host, *permissions),
        [host, container] => (*host, *container, "rwm"),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => return Err("must look like /dev/host[:/dev/container][:rwm]".to_owned()),
    };
    if !is_permissions(permissions) {
        return Err(format!("{permissions:?} are no permissions; use letters out of r, w and m"));
    }
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err("the paths of a device must be absolute".to_owned());
    }
    Ok(DeviceSpec {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

fn of_device(text: &str) -> Parsed<(&str, &str)> {
    match text.rsplit_once(':') {
        Some((path, value)) if path.starts_with("/dev/") => Ok((path, value)),
        _ => Err("must look like /dev/sda:value".to_owned()),
    }
}

/// `/dev/sda:1mb`.
pub(crate) fn bytes_rate(text: &str) -> Parsed<DeviceRate> {
    let (path, rate) = of_device(text)?;
    Ok(DeviceRate { path: path.into(), rate: size(rate)? })
}

/// `/dev/sda:1000`.
pub(crate) fn operations_rate(text: &str) -> Parsed<DeviceRate> {
    let (path, rate) = of_device(text)?;
    let rate = rate.parse().map_err(|_| format!("{rate:?} is not a number of operations"))?;
    Ok(DeviceRate { path: path.into(), rate })
}

/// `/dev/sda:500`.
pub(crate) fn weight(text: &str) -> Parsed<DeviceWeight> {
    let (path, weight) = of_device(text)?;
    let weight = any_weight(weight)?.ok_or("the weight must be between 10 and 1000")?;
    Ok(DeviceWeight { path: path.into(), weight })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_device_has_up_to_three_parts() {
        let parts = |text: &str| device(text).map(|d| (d.host, d.container, d.permissions));
        let of = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(parts("/dev/fuse"), of("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(parts("/dev/a:/dev/b"), of("/dev/a", "/dev/b", "rwm"));
        assert_eq!(parts("/dev/a:r"), of("/dev/a", "/dev/a", "r"));
        assert_eq!(parts("/dev/a:/dev/b:rw"), of("/dev/a", "/dev/b", "rw"));
        for bad in ["", "x", "/dev/a:b", "/dev/a:/b:x", "/dev/a:/b:rr", "/a:/b:r:w", "vendor.com/class=x"] {
            assert!(device(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn rates_name_a_device() {
        assert_eq!(bytes_rate("/dev/sda:1mb").map(|r| r.rate), Ok(1 << 20));
        assert_eq!(operations_rate("/dev/sda:10").map(|r| r.rate), Ok(10));
        assert_eq!(weight("/dev/sda:10").map(|w| w.weight), Ok(10));
        assert!(bytes_rate("sda:1").is_err());
        assert!(operations_rate("/dev/sda:1m").is_err());
        assert!(weight("/dev/sda:0").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(/dev/a:)?.{0,30}") {
            let _ = (device(&text), bytes_rate(&text), operations_rate(&text), weight(&text));
        }
    }
}
