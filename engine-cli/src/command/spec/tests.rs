use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use engine_core::spec::{MountKind, RootSource, Signal};

use super::*;
use crate::args::create::Run;
use crate::args::{Typed, parse};

fn wished(line: &str) -> Result<Wish, Failure> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Typed::Arguments(matches) = parse(Run::command(), "engine run", &words)? else { panic!("help") };
    let run = Run::from_arg_matches(&matches).expect("it parsed");
    wish(run.container, run.detach, vec!["HTTP_PROXY=http://p".into()])
}

fn spec(line: &str) -> ContainerSpec {
    wished(line).unwrap_or_else(|e| panic!("{line}: {}", e.report())).spec
}

fn refusal(line: &str) -> String {
    wished(line).expect_err(line).report()
}

#[test]
fn everything_after_the_image_is_the_command() {
    let spec = spec("-it --rm --name web alpine:3 sh -c ls --rm");
    assert_eq!(spec.root, RootSource::Image("alpine:3".into()));
    assert_eq!(spec.command, ["sh", "-c", "ls", "--rm"]);
    assert!(spec.terminal && spec.open_stdin && spec.stdin_once && spec.auto_remove);
    assert_eq!(spec.name.map(|name| name.to_string()), Some("web".into()));
}

#[test]
fn a_directory_takes_the_place_of_the_image() {
    let copy = spec("--rootfs /:O ls /");
    assert_eq!(copy.root, RootSource::Directory { path: "/".into(), overlay: true });
    assert_eq!(copy.command, ["ls", "/"]);
    assert_eq!(
        spec("--rootfs=/srv/x sh").root,
        RootSource::Directory { path: "/srv/x".into(), overlay: false }
    );
    assert!(refusal("--rootfs :O sh").contains("the path is empty"));
}

#[test]
fn streams_follow_docker_s_rules() {
    let streams = |line: &str| wished(line).map(|wish| (wish.streams, wish.spec.stdin_once)).expect(line);
    assert_eq!(streams("alpine"), (AttachSpec::OUTPUT, false));
    assert_eq!(streams("-i alpine"), (AttachSpec::ALL, true));
    assert_eq!(streams("-d -i alpine"), (AttachSpec::new(false, false, false), false));
    assert_eq!(streams("-a stdout alpine"), (AttachSpec::new(false, true, false), false));
    assert!(refusal("-d -a stdout alpine").contains("cannot specify both --attach and --detach"));
}

#[test]
fn the_environment_of_the_configuration_gives_way() {
    assert_eq!(spec("-e A=1 alpine").env, ["HTTP_PROXY=http://p", "A=1"]);
    assert_eq!(spec("-e HTTP_PROXY= alpine").env, ["HTTP_PROXY="]);
    assert_eq!(
        spec("-e HTTP_PROXY_NOT_SET_HERE alpine").env,
        ["HTTP_PROXY=http://p", "HTTP_PROXY_NOT_SET_HERE"]
    );
}

#[test]
fn limits_become_numbers_and_zero_is_none() {
    let limits =
        spec("-m 64m --cpus 1.5 --pids-limit 0 --ulimit nofile=5 -c 512 --memory-swap -1 alpine").resources;
    assert_eq!((limits.memory, limits.nano_cpus), (Some(64 << 20), Some(1_500_000_000)));
    assert_eq!((limits.pids_limit, limits.memory_swap, limits.cpu_shares), (None, Some(-1), Some(512)));
    assert_eq!(limits.rlimits.len(), 1);
    assert_eq!(spec("alpine").resources, Resources::default());
}

#[test]
fn mounts_of_all_three_flags_are_kept() {
    let mounts = spec("-v /data -v /a:/b:ro --mount type=tmpfs,dst=/t --tmpfs /run alpine").mounts;
    let kinds: Vec<bool> = mounts.iter().map(|mount| matches!(mount.kind, MountKind::Tmpfs(_))).collect();
    assert_eq!(kinds, [false, false, true, true]);
    assert!(mounts[1].read_only);
}

#[test]
fn ports_and_names_of_the_network() {
    let spec_of =
        spec("--net web -p 8080:80 -p 53:53/udp --dns 1.1.1.1 --add-host db:10.0.0.1 -h host alpine");
    assert_eq!(spec_of.network.to_string(), "web");
    assert_eq!((spec_of.ports.len(), spec_of.dns.servers.len(), spec_of.extra_hosts.len()), (2, 1, 1));
    assert_eq!(spec_of.hostname.as_deref(), Some("host"));
    assert_eq!(spec("-p published=8080,target=80,protocol=udp alpine").ports.len(), 1);
    assert_eq!(spec("--expose 80 alpine").ports, []);
    assert_eq!(spec("-P --expose 80-81 alpine").ports.len(), 2);
    assert_eq!(spec("--network host -p 80:80 alpine").ports, []);
    assert!(refusal("--network a1 --network b1 alpine").contains("one network only"));
}

#[test]
fn confinement_is_as_asked() {
    let security = spec(
        "--privileged --cap-add NET_ADMIN --cap-drop ALL --security-opt seccomp=unconfined --security-opt \
         no-new-privileges --device /dev/fuse alpine",
    )
    .security;
    assert!(security.privileged && security.no_new_privileges);
    assert_eq!(security.seccomp, Seccomp::Unconfined);
    assert_eq!((security.cap_add.len(), security.cap_drop.len(), security.devices.len()), (1, 1, 1));
    assert!(refusal("--security-opt seccomp=/nonexistent.json alpine").contains("/nonexistent.json"));
}

#[test]
fn entry_points_are_replaced_or_taken_away() {
    assert_eq!(spec("alpine").entrypoint, None);
    assert_eq!(spec("--entrypoint sh alpine").entrypoint, Some(vec!["sh".into()]));
    assert_eq!(spec("--entrypoint= alpine").entrypoint, Some(vec![]));
}

#[test]
fn restart_policies_are_docker_s() {
    assert_eq!(spec("--restart no --stop-signal INT alpine").stop_signal, Some(Signal::INT));
    assert_eq!(spec("--rm --restart no alpine").restart, RestartPolicy::No);
    assert_eq!(spec("--restart always alpine").restart, RestartPolicy::Always);
    assert_eq!(spec("--restart on-failure:3 alpine").restart, RestartPolicy::OnFailure { retries: 3 });
    let report = refusal("--rm --restart always alpine");
    assert!(report.contains("conflicting options: cannot specify both --restart and --rm"), "{report}");
}

#[test]
fn health_checks_are_docker_s() {
    let health = spec(
        "--health-cmd true --health-interval 1m30s --health-timeout 500ms --health-retries 2 \
         --health-start-period 0s --health-start-interval 1s alpine",
    )
    .health;
    assert_eq!(health.test, Some(HealthTest::Shell("true".into())));
    assert_eq!(
        (health.interval, health.timeout),
        (Some(Duration::from_secs(90)), Some(Duration::from_millis(500)))
    );
    assert_eq!((health.retries, health.start_period), (Some(2), None));
    assert_eq!(spec("--no-healthcheck alpine").health.test, Some(HealthTest::None));
    for (line, says) in [
        ("--no-healthcheck --health-cmd x alpine", "--no-healthcheck conflicts with --health-* options"),
        ("--health-interval -1s alpine", "--health-interval cannot be negative"),
        ("--health-timeout -1s alpine", "--health-timeout cannot be negative"),
        ("--health-start-period -1s alpine", "--health-start-period cannot be negative"),
        ("--health-retries -1 alpine", "--health-retries cannot be negative"),
    ] {
        assert!(refusal(line).contains(says), "{line}: {}", refusal(line));
    }
}

#[test]
fn bad_values_name_the_flag_and_the_value() {
    for (line, says) in [
        ("-m 1x alpine", "invalid argument \"1x\" for \"-m, --memory\" flag"),
        ("-p x alpine", "invalid argument \"x\" for \"-p, --publish\" flag"),
        ("-v a:b:c:d alpine", "invalid argument \"a:b:c:d\" for \"-v, --volume\" flag"),
        ("--ulimit x alpine", "invalid argument \"x\" for \"--ulimit\" flag"),
        ("--cpus x alpine", "invalid argument \"x\" for \"--cpus\" flag"),
        ("--mount x alpine", "invalid argument \"x\" for \"--mount\" flag"),
        ("--pull foo alpine", "invalid argument \"foo\" for \"--pull\" flag"),
        ("--name a/b alpine", "invalid argument \"a/b\" for \"--name\" flag"),
        ("--env-file /nonexistent alpine", "/nonexistent"),
        ("--network container: alpine", "it names no container"),
        ("--pid container: alpine", "invalid argument \"container:\" for \"--pid\" flag"),
        ("-a foo alpine", "STDIN, STDOUT and STDERR"),
        ("", "'engine run' requires at least 1 argument"),
    ] {
        let report = refusal(line);
        assert!(report.contains(says), "{line}: {report}");
    }
}
