//! `engine update`.

use engine_core::spec::UpdateSpec;
use engine_core::{Error, ErrorKind};

use super::each;
use crate::app::App;
use crate::args::update::Update;
use crate::exit::{Failure, Outcome};

/// Changes the limits of the containers, and when they are started again.
pub(super) async fn update(args: Update, app: App) -> Outcome {
    if let Some(flag) = real_time(&args) {
        return Err(Error::new(ErrorKind::Unsupported, format!("flag --{flag}"))
            .because("this version of the engine does not support it")
            .with_remedy("use --cpu-period and --cpu-quota")
            .into());
    }
    let spec = spec(&args);
    if spec == UpdateSpec::default() && args.kernel_memory.is_none() {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let engine = app.engine().await?;
    each::at_once(&engine, &args.containers, false, |container| {
        let spec = spec.clone();
        async move { container.update(&spec).await }
    })
    .await
}

/// The flag that asks for time on the processors at fixed times, which needs a kernel made for it.
fn real_time(args: &Update) -> Option<&'static str> {
    let given = |value: Option<u64>| value.is_some_and(|value| value != 0);
    match (given(args.cpu_rt_period), given(args.cpu_rt_runtime)) {
        (true, _) => Some("cpu-rt-period"),
        (_, true) => Some("cpu-rt-runtime"),
        _ => None,
    }
}

fn spec(args: &Update) -> UpdateSpec {
    let mut spec = UpdateSpec::default();
    spec.memory = args.memory;
    spec.memory_swap = args.memory_swap;
    spec.memory_reservation = args.memory_reservation;
    spec.cpu_shares = args.cpu_shares;
    spec.cpu_quota = args.cpu_quota;
    spec.cpu_period = args.cpu_period;
    spec.nano_cpus = args.cpus;
    spec.cpuset_cpus.clone_from(&args.cpuset_cpus);
    spec.cpuset_mems.clone_from(&args.cpuset_mems);
    spec.pids_limit = args.pids_limit;
    spec.blkio_weight = args.blkio_weight;
    spec.restart = args.restart;
    spec
}
