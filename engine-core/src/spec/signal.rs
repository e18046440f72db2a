//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A signal, by its number on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// signal(7); numbers are those of x86, Arm and RISC-V.
const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const REALTIME_MIN: i32 = 34;
const REALTIME_MAX: i32 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Signal = Signal(9);
    /// SIGTERM.
    pub const TERM: Signal = Signal(15);
    /// SIGINT.
    pub const INT: Signal = Signal(2);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for Signal {
    type Error = Error;

    fn try_from(number: i32) -> Result<Signal> {
        if (1..=REALTIME_MAX).contains(&number) {
            return Ok(Signal(number));
        }
        Err(Error::invalid(format!("signal {number}"), "a signal's number is between 1 and 64"))
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Signal> {
        if let Ok(number) = text.parse::<i32>() {
            return Signal::try_from(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |prefix: &str, sign: &str| -> Option<i32> {
            match name.strip_prefix(prefix)? {
                "" => Some(0),
                rest => rest.strip_prefix(sign)?.parse().ok().filter(|n| (0..=30).contains(n)),
            }
        };
        let number = match name {
            "IOT" => Some(6),
            "CLD" => Some(17),
            "POLL" => Some(29),
            _ => NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
        };
        number
            .or_else(|| offset("RTMIN", "+").map(|n| REALTIME_MIN + n))
            .or_else(|| offset("RTMAX", "-").map(|n| REALTIME_MAX - n))
            .map(Signal)
            .ok_or_else(|| Error::invalid(format!("signal {text:?}"), "no signal has that name or number"))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl TryFrom<String> for Signal {
    type Error = Error;

    fn try_from(text: String) -> Result<Signal> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigint", 2),
            ("1", 1),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(text.parse::<Signal>().expect("known").number(), number, "{text}");
        }
        for bad in ["", "SIG", "0", "65", "-1", "FOO", "RTMIN+40", "RTMAX+1"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    }
}
