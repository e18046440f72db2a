//! The monitor role: builds one container and looks after it until it has ended for good.
//!
//! A container that is started again by its policy lives several times: its network namespace, its group, its log and
//! this process stay, all else is built anew. Nobody of the engine has to be there for that.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::failure::Result;
use crate::health::Health;
use crate::hub::{Event, Hub, monotonic, now, timespec};
use crate::life::{Change, End, Life, signal};
use crate::log::Log;
use crate::namespaces::Kept;
use crate::plan::{ContainerPlan, HealthPlan, Logging};
use crate::record::Record;
use crate::restart::{Policy, Restart};
use crate::status::{self, Phase, Status};
use crate::wire::{Exit, Kind};
use crate::{events, foreign, held, hooks, names, namespaces, rundir, sys, teardown};

/// Builds the container and looks after it. `held` are descriptors to keep open for as long as it lives.
pub(crate) fn run(control: OwnedFd, mut plan: ContainerPlan, held: Vec<OwnedFd>) {
    held::name(&mut plan, &held);
    let mut hub = Hub::default();
    let engine = hub.add_client(control, 0);
    match Monitor::begin(plan, &mut hub, engine) {
        Ok(monitor) => monitor.look_after(&mut hub, held),
        Err(failure) => hub.reply(engine, Kind::Failed, &failure.encode(), None),
    }
    hub.farewell();
}

struct Monitor {
    plan: ContainerPlan,
    /// The connection of the engine that started this monitor.
    engine: u32,
    /// The engine has given the word.
    start_asked: bool,
    /// The program has begun, for the first time or again.
    begun: bool,
    /// `None` between two lives.
    life: Option<Life>,
    health: Option<Health>,
    kept: Kept,
    names: Option<names::Server>,
    listener: OwnedFd,
    restart: Restart,
    /// Somebody said that it is not to be started again.
    stopped: bool,
    /// How many processes the kernel had killed for want of memory before this life.
    oom_kills: i32,
    /// What is told of the container.
    status: Status,
    /// Locked for as long as this monitor is responsible for the container.
    lock: OwnedFd,
}

/// What one of the monitor's own descriptors is.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Init,
    Sync,
    Check,
    CheckOutput,
    Names,
}

impl Monitor {
    fn begin(plan: ContainerPlan, hub: &mut Hub, engine: u32) -> Result<Monitor> {
        let lock = rundir::take_lock(&plan.run_dir)?;
        plan.program_link.iter().for_each(|link| rundir::lead_to_program(link));
        if let Some(path) = &plan.streams.log {
            hub.set_log(Log::open(path, &logging(&plan), now())?);
        }
        let mut kept = match &plan.program {
            Some(_) => Kept::made(&plan.namespaces)?,
            None => Kept::open(&plan.namespaces)?,
        };
        let life = Life::begin(&plan, &kept, hub)?;
        let health = plan.health.as_ref().map(Health::begin);
        let status = Status {
            run: plan.run,
            phase: Phase::Running,
            pid: life.pid,
            started: life.started,
            restarts: 0,
            health: health.as_ref().map_or(status::Health::None, Health::status),
            last: None,
            failure: None,
        };
        // Lets the container be found. Whoever hears that it is created may connect at once.
        let mut publish = || {
            kept.keep(&plan.namespaces, life.pid)?;
            let listener = rundir::listen(&plan.run_dir)?;
            rundir::tell(&plan.run_dir, &status)?;
            Ok(listener)
        };
        let listener = match publish() {
            Ok(listener) => listener,
            Err(failure) => return Err(life.give_up(failure)),
        };
        hub.reply(engine, Kind::Created, &life.pid.to_be_bytes(), kept.net());
        // While the engine wires the network.
        let names = plan.names.as_ref().zip(kept.net()).map(|(names, net)| names::Server::begin(names, net));
        let names = match names.transpose() {
            Ok(names) => names,
            Err(failure) => return Err(life.give_up(failure)),
        };
        Ok(Monitor {
            restart: Restart::new(plan.restart),
            plan,
            engine,
            start_asked: false,
            begun: false,
            life: Some(life),
            health,
            kept,
            names,
            listener,
            stopped: false,
            oom_kills: 0,
            status,
            lock,
        })
    }

    /// Serves the container through all its lives, and cleans up after it.
    fn look_after(mut self, hub: &mut Hub, held: Vec<OwnedFd>) {
        let mut end = self.live(hub);
        loop {
            let exit = self.conclude(hub, &end);
            if !self.begun || self.stopped {
                return self.finish(hub, held, end, &exit);
            }
            let Some(pause) = self.restart.next(end.code, end.lasted) else {
                return self.finish(hub, held, end, &exit);
            };
            self.tell_restarting(hub, &end, exit);
            self.wait(hub, pause);
            if self.stopped {
                return self.finish(hub, held, end, &exit);
            }
            end = match Life::begin(&self.plan, &self.kept, hub) {
                Ok(life) => {
                    self.life = Some(life);
                    self.live(hub)
                }
                Err(failure) => End::of(failure),
            };
        }
    }

    /// Serves the container until its first process has ended.
    fn live(&mut self, hub: &mut Hub) -> End {
        while !self.turn(hub, None) {}
        self.life.iter().for_each(Life::stop_building);
        // Whatever it had left to say is in the socket still.
        while self.life.as_ref().is_some_and(|life| life.sync().is_some()) {
            self.hear(hub);
        }
        self.life.take().map_or(End { code: 255, lasted: 0, failure: None }, Life::end)
    }

    /// Serves the clients of a container that is started again in `pause` nanoseconds.
    fn wait(&mut self, hub: &mut Hub, pause: i64) {
        let until = monotonic().saturating_add(pause);
        while !self.stopped && monotonic() < until {
            self.turn(hub, Some(until));
        }
    }

    /// Waits for something to happen, at most until `deadline`, and deals with it. Whether the first process has ended
    /// is the answer.
    fn turn(&mut self, hub: &mut Hub, deadline: Option<i64>) -> bool {
        let mut sources = [Source::Listener; 6];
        let events = {
            let mut fds: [BorrowedFd<'_>; 6] = [self.listener.as_fd(); 6];
            let mut count = 1;
            let mut watch = |source, fd| {
                if let (Some(place), Some(kind)) = (fds.get_mut(count), sources.get_mut(count)) {
                    (*place, *kind) = (fd, source);
                    count += 1;
                }
            };
            if let Some(life) = &self.life {
                watch(Source::Init, life.init());
                life.sync().into_iter().for_each(|fd| watch(Source::Sync, fd));
            }
            if let Some(health) = &self.health {
                let kinds = [Source::Check, Source::CheckOutput];
                kinds.into_iter().zip(health.watched()).for_each(|(kind, fd)| watch(kind, fd));
            }
            self.names.iter().for_each(|server| watch(Source::Names, server.process()));
            let checked = self.health.as_ref().filter(|_| self.is_running()).map(Health::deadline);
            let deadline = [deadline, checked].into_iter().flatten().min();
            let timeout = deadline.map(|deadline| timespec(deadline.saturating_sub(monotonic())));
            hub.turn(fds.get(..count).unwrap_or_default(), timeout.as_ref())
        };
        let mut ended = events.is_err();
        for event in events.unwrap_or_default() {
            match event {
                Event::Ready(place) => match sources.get(place) {
                    Some(Source::Init) => ended = true,
                    Some(Source::Sync) => self.hear(hub),
                    Some(Source::Check) => self.check(|health, _, check, _| health.end(check)),
                    Some(Source::CheckOutput) => self.health.iter_mut().for_each(Health::hear),
                    Some(Source::Names) => {
                        let (plan, net) = (self.plan.names.as_ref(), self.kept.net());
                        let server = self.names.take().zip(plan.zip(net));
                        self.names = server.and_then(|(server, (names, net))| server.again(names, net));
                    }
                    Some(Source::Listener) | None => self.accept(hub),
                },
                Event::Request(client, kind, payload) => self.answer(hub, client, kind, &payload),
                Event::Gone(client) if client == self.engine => self.engine_gone(),
                Event::Gone(_) => {}
            }
        }
        if !ended {
            self.check(|health, plan, check, life| health.turn(plan, check, life));
        }
        ended
    }

    fn is_running(&self) -> bool {
        self.life.as_ref().is_some_and(Life::is_running)
    }

    /// Does something about the checks of a container that runs, and tells of a verdict that has changed.
    fn check(&mut self, act: impl FnOnce(&mut Health, &ContainerPlan, &HealthPlan, &Life) -> bool) {
        let (Some(check), Some(health)) = (&self.plan.health, &mut self.health) else { return };
        let Some(life) = self.life.as_ref().filter(|life| life.is_running()) else { return };
        if act(health, &self.plan, check, life) {
            self.status.health = health.status();
            self.publish();
            let action = ["health_status: ", self.status.health.as_str()].concat();
            events::tell(self.plan.events.as_ref(), &action, "", now());
        }
    }

    /// Something that the process says which is being built.
    fn hear(&mut self, hub: &mut Hub) {
        let Some(life) = &mut self.life else { return };
        match life.hear(&self.plan, hub) {
            Change::Nothing => {}
            Change::Born => {
                self.status.pid = life.pid;
                self.publish();
            }
            Change::Ready if self.start_asked => life.go(),
            Change::Ready => {}
            Change::Began if self.begun => {
                let (pid, started) = (life.pid, life.started);
                if let (Some(check), Some(health)) = (&self.plan.health, &mut self.health) {
                    health.begin_again(check);
                    self.status.health = health.status();
                }
                self.status.phase = Phase::Running;
                (self.status.pid, self.status.started, self.status.failure) = (pid, started, None);
                self.publish();
                events::tell(self.plan.events.as_ref(), "start", "", now());
            }
            Change::Began => {
                self.begun = true;
                // Before anybody else can tell of anything: of its end, say.
                events::tell(self.plan.events.as_ref(), "start", "", now());
                hub.reply(self.engine, Kind::Started, &[], None);
            }
        }
    }

    fn answer(&mut self, hub: &mut Hub, client: u32, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Start if client == self.engine => {
                self.start_asked = true;
                self.life.iter_mut().for_each(Life::go);
            }
            Kind::Signal => {
                let result = self.signal(payload);
                hub.done(client, result);
            }
            Kind::Policy => {
                let policy = Policy::decode(payload).ok_or(Errno::INVAL);
                hub.done(client, policy.map(|policy| self.restart.policy = policy));
            }
            // Before it is the program, the host's files are still in its reach.
            Kind::Process => match &self.life {
                Some(life) if life.is_running() => {
                    hub.reply(client, Kind::Process, &[], Some(life.init()));
                }
                _ => hub.done(client, Err(Errno::SRCH)),
            },
            Kind::Namespace => match self.kept.net() {
                Some(netns) => hub.reply(client, Kind::Namespace, &[], Some(netns)),
                None => hub.done(client, Err(Errno::NOENT)),
            },
            _ => hub.done(client, Err(Errno::NOSYS)),
        }
    }

    /// Sends the signal in a request's payload; a fifth byte of 1 says that this is to be the container's end.
    fn signal(&mut self, payload: &[u8]) -> rustix::io::Result<()> {
        let for_good = payload.get(4) == Some(&1);
        self.stopped |= for_good;
        match &self.life {
            None if for_good => Ok(()),
            None => Err(Errno::SRCH),
            // A process that is being built hears no signal that asks.
            Some(life) if for_good && self.begun && !life.is_running() => life.kill(),
            Some(life) => signal(life.init(), payload),
        }
    }

    /// The program that started this monitor is gone, or lets the container go. One that was never told to begin is
    /// nobody's; one that began goes on, unless it was to end with its engine.
    fn engine_gone(&mut self) {
        if !self.start_asked || self.plan.with_engine {
            self.stopped = true;
            if let Some(life) = &self.life {
                let _ = life.kill();
            }
            teardown::thaw(&self.plan.cgroup);
        }
    }

    fn accept(&self, hub: &mut Hub) {
        let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        // The directory keeps others out; this says so again.
        let same_user = rustix::net::sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if same_user {
            hub.add_client(socket, 0);
        }
    }

    /// A life has ended: ends what is left of it, and keeps its last output.
    fn conclude(&mut self, hub: &mut Hub, end: &End) -> Exit {
        if let Some(health) = &mut self.health {
            health.stop();
            self.status.health = health.status();
        }
        teardown::kill_rest(&self.plan.cgroup);
        hub.drain_outputs();
        let oom_kills = teardown::oom_kills(&self.plan.cgroup);
        let oom_killed = oom_kills > self.oom_kills;
        self.oom_kills = oom_kills;
        if let Some(program) = &self.plan.program {
            foreign::delete(program);
            // The group went with it.
            self.oom_kills = 0;
        }
        Exit { code: end.code, oom_killed, finished: now(), run: self.plan.run }
    }

    /// The container is started again in a moment. Those who were attached to the life that has ended are let go.
    fn tell_restarting(&mut self, hub: &mut Hub, end: &End, exit: Exit) {
        teardown::clear(&self.plan.cgroup);
        self.status.phase = Phase::Restarting;
        self.status.pid = 0;
        self.status.restarts = self.restart.count;
        self.status.last = Some(exit);
        self.status.failure = end.failure.clone();
        self.publish();
        if end.failure.is_none() {
            events::tell_end(self.plan.events.as_ref(), &exit, end.lasted);
            let Status { started, restarts, .. } = self.status;
            let record = Record { exit, started, restarts, failure: None };
            hub.tell_all(Kind::Restarting, &record.encode());
            hub.detach_all();
        }
    }

    /// Tells what the container is doing. Where that cannot be written, what was told last stays; the container is not
    /// ended for it.
    fn publish(&self) {
        let _ = rundir::tell(&self.plan.run_dir, &self.status);
    }

    /// The container has ended for good: takes away what was made on the host, and only then tells that it is over.
    fn finish(self, hub: &mut Hub, held: Vec<OwnedFd>, end: End, exit: &Exit) {
        teardown::remove(&self.plan.cgroup);
        teardown::send(&self.plan.teardown);
        self.plan.names.iter().for_each(names::leave);
        if let Some(server) = self.names {
            server.end();
        }
        // Those that fail have nobody to hear of it: the specification wants the others to run.
        let state = hooks::state(&self.plan.hooks.state, "stopped", 0);
        for hook in &self.plan.hooks.poststop {
            let _ = hooks::run(core::slice::from_ref(hook), &state);
        }
        self.plan.program.iter().for_each(foreign::clear);
        rundir::clear(&self.plan.run_dir);
        // Who hears of the end may want the same ports again.
        drop(held);
        if !self.begun {
            let _ = sys::lock(self.lock.as_fd(), false);
            let failure = end.failure.map(|failure| failure.encode()).unwrap_or_default();
            hub.reply(self.engine, Kind::Failed, &failure, None);
            return;
        }
        // A life that ended and was to be followed by another one was told of then.
        if end.failure.is_none() && self.status.phase == Phase::Running {
            events::tell_end(self.plan.events.as_ref(), exit, end.lasted);
        }
        let Status { started, restarts, .. } = self.status;
        let record = Record { exit: *exit, started, restarts, failure: end.failure };
        // If it cannot be written, the container is found without a monitor and without a record: lost, which is true.
        let text = record.to_text();
        let _ = rundir::replace(&self.plan.exit_record, text.as_bytes(), self.plan.durable);
        let _ = sys::lock(self.lock.as_fd(), false);
        hub.tell_all(Kind::Exited, &record.encode());
    }
}

/// How its output is logged. Children of a monitor that has joined a namespace of processes are in sight of another
/// container, so there are none that compress.
fn logging(plan: &ContainerPlan) -> Logging {
    let alone = !plan.namespaces.join.iter().any(|(kind, _)| *kind == namespaces::PID);
    Logging { compress: plan.streams.logging.compress && alone, ..plan.streams.logging.clone() }
}
