//! The suite that every runtime has to pass, a test for each check.

use super::fixture::{Fixture, exec_bundle};
use crate::runtime::conformance::{self, Candidate};
use crate::runtime::driver::{Bundle, ExecBundle, Runtime};

impl Candidate for Fixture {
    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }

    fn bundle(&self, command: &[&str]) -> Bundle {
        Fixture::bundle(self, command)
    }

    fn exec(&self, command: &[&str]) -> ExecBundle {
        exec_bundle(command)
    }
}

macro_rules! checks {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                conformance::$name(&Fixture::new()).await;
            }
        )*

        /// The same suite, with a program that builds the containers.
        mod runc {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    match std::path::Path::new("/usr/sbin/runc").exists() {
                        true => conformance::$name(&Fixture::driving_runc()).await,
                        false => println!("skipped: this host has no runc"),
                    }
                }
            )*
        }
    };
}

checks! {
    exit_codes_reach_the_caller
    outputs_are_kept_apart
    input_ends_and_output_goes_on
    nothing_runs_before_start
    an_abandoned_container_leaves_nothing
    the_end_is_told_to_all_who_wait
    a_signal_reaches_the_program
    what_cannot_run_is_told_apart
    a_terminal_has_a_size
    exec_runs_beside_the_program
    exec_is_known_to_whoever_asks
    exec_takes_input_to_its_end
    exec_that_cannot_run_is_told_apart
    what_does_not_run_says_so
    a_place_can_be_used_again
    a_paused_container_holds_still_and_goes_on
    a_paused_container_can_be_ended
}
