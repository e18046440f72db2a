//! Signals to this program: passed on to the container, or the reason to give the terminal back and end.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;

/// What ends a program: HUP, INT, QUIT and TERM.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// What is passed on besides: all that can be caught and that means something to a program, but for those that tell
/// of this program's own children, pipes and terminal.
const PASSED_ON: [i32; 14] = [6, 10, 12, 14, 16, 18, 20, 24, 25, 26, 27, 29, 30, 31];

/// Whether the signal is somebody's wish that this program ends.
pub(crate) fn asks_to_end(number: i32) -> bool {
    matches!(number, SIGINT | SIGTERM)
}

/// Signals that no longer have their usual effect, but are told.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: Vec<(i32, Signal)>,
    /// Those to catch while waiting, one at a time: to catch all of them takes a quarter of a millisecond, which a
    /// container's start has no time for.
    later: Vec<i32>,
}

fn catch(number: i32) -> io::Result<(i32, Signal)> {
    Ok((number, signal(SignalKind::from_raw(number))?))
}

impl Signals {
    fn catch(numbers: impl Iterator<Item = i32>) -> io::Result<Signals> {
        Ok(Signals { caught: numbers.map(catch).collect::<io::Result<_>>()?, later: Vec::new() })
    }

    /// Catches all that are passed on to a container: at once those that end a program, the others while it waits.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn passed_on() -> io::Result<Signals> {
        let signals = Signals::ending()?;
        // Taken from the end, so the realtime signals, which hardly anybody sends, come last.
        Ok(Signals { later: REALTIME.chain(PASSED_ON).collect(), ..signals })
    }

    /// Catches those that would end this program.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn ending() -> io::Result<Signals> {
        Signals::catch(ENDING.into_iter())
    }

    /// Catches changes of the terminal's size.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn resized() -> io::Result<Signals> {
        Signals::catch(std::iter::once(SignalKind::window_change().as_raw_value()))
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> i32 {
        std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.caught {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            if let Some(number) = self.later.pop() {
                // One that cannot be caught keeps its usual effect, which is no reason to stop.
                self.caught.extend(catch(number));
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caught_signal_is_told_and_harmless() {
        let mut signals = Signals::resized().expect("caught");
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::WINCH).expect("sent");
        assert_eq!(signals.next().await, 28);
    }

    #[tokio::test]
    async fn the_rare_ones_are_caught_while_waiting() {
        let mut signals = Signals::passed_on().expect("caught");
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), signals.next()).await;
        assert!(waited.is_err() && signals.later.is_empty());
        assert_eq!(signals.caught.len(), ENDING.len() + PASSED_ON.len() + REALTIME.count());
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::USR2).expect("sent");
        assert_eq!(signals.next().await, 12);
    }

    #[test]
    fn what_tells_of_this_program_s_own_affairs_is_not_passed_on() {
        // KILL and STOP cannot be caught; SEGV, ILL, FPE, BUS and TRAP are faults; PIPE, CHLD, URG, WINCH, TTIN and
        // TTOU are about this program.
        for number in [9, 19, 11, 4, 8, 7, 5, 13, 17, 23, 28, 21, 22] {
            assert!(!PASSED_ON.contains(&number) && !ENDING.contains(&number), "{number}");
        }
    }
}
