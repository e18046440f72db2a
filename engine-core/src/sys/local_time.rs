//! The time of day where this host is.

/// Year, month (1 to 12), day, hour and minute of a time in seconds since 1970, where this host is.
#[allow(unsafe_code, reason = "the C library knows the host's time zone")]
pub(crate) fn local_time(seconds: i64) -> Option<[i32; 5]> {
    // SAFETY: a structure of integers and a pointer, for which zeros are a value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to values that live as long as the call; the C library keeps neither.
    let told = unsafe { libc::localtime_r(&seconds, &mut parts) };
    let parts = (!told.is_null()).then_some(parts)?;
    Some([parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min])
}
