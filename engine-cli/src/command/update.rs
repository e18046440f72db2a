//! `engine update`.

use engine_core::spec::UpdateSpec;

use super::each;
use crate::app::App;
use crate::args::update::Update;
use crate::exit::{Failure, Outcome};

/// Changes the limits of the containers, and when they are started again.
pub(super) async fn update(args: Update, app: App) -> Outcome {
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

fn spec(args: &Update) -> UpdateSpec {
    let mut spec = UpdateSpec::default();
    spec.memory = args.memory;
    spec.memory_swap = args.memory_swap;
    spec.memory_reservation = args.memory_reservation;
    spec.cpu_shares = args.cpu_shares;
    spec.cpu_quota = args.cpu_quota;
    spec.cpu_period = args.cpu_period;
    spec.cpu_rt_period = args.cpu_rt_period;
    spec.cpu_rt_runtime = args.cpu_rt_runtime;
    spec.nano_cpus = args.cpus;
    spec.cpuset_cpus.clone_from(&args.cpuset_cpus);
    spec.cpuset_mems.clone_from(&args.cpuset_mems);
    spec.pids_limit = args.pids_limit;
    spec.blkio_weight = args.blkio_weight;
    spec.restart = args.restart;
    spec
}
