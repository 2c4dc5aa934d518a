//! Proxies that start while the control service is away, from what they kept on disk.

use super::*;
use std::path::Path;

fn with_snapshot(url: &str, baseline: SocketAddr, path: &Path) -> Builder {
    builder(url, baseline).flag("--control-snapshot", &path.to_string_lossy())
}

/// A snapshot of alice's override, written by a proxy that is gone.
fn written(run: &Run, path: &Path) -> Vec<u8> {
    let honest = Honest::start(run.world());
    let proxy = with_snapshot(&honest.url(), run.baseline.address(), path).start();
    honest.wait_settled(1);
    eventually("a snapshot is written", || {
        (proxy.metric("spurline_control_snapshots_total", &[("result", "saved")]) >= 1.0).then_some(())
    });
    drop(proxy);
    std::fs::read(path).expect("a snapshot")
}

#[test]
fn a_proxy_that_restarts_while_control_is_away_steers_from_the_first_request() {
    let run = Run::new();
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    written(&run, &path);
    for _ in 0..3 {
        let started = Instant::now();
        let proxy = with_snapshot("http://127.0.0.1:1", run.baseline.address(), &path)
            .flag("--control-ready-timeout", "60s")
            .start();
        // Much earlier than without one.
        println!("ready from the snapshot after {:?}", started.elapsed());
        run.under_load(&[proxy.address()], linger);
        assert!(proxy.metric("spurline_control_snapshots_total", &[("result", "loaded")]) == 1.0);
    }
}

#[test]
fn a_proxy_that_is_ready_from_its_snapshot_does_not_say_that_it_gave_up_waiting() {
    let run = Run::new();
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    let start = |path: &Path| {
        with_snapshot("http://127.0.0.1:1", run.baseline.address(), path)
            .flag("--control-ready-timeout", "50ms")
            .start()
    };
    let without = start(&path);
    eventually("one without a snapshot does", || without.log().contains("ready without it").then_some(()));
    drop(without);
    written(&run, &path);
    let proxy = start(&path);
    eventually("the snapshot is in force", || {
        proxy.log().contains("Snapshot of the control service in force").then_some(())
    });
    // Ten times as long as it would have waited.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!proxy.log().contains("ready without it"), "{}", proxy.log());
}

#[test]
fn what_changed_while_a_proxy_was_away_counts_when_control_is_back() {
    let run = Run::new();
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    written(&run, &path);
    let address = spurline_tests::free_address();
    let proxy = with_snapshot(&format!("http://{address}"), run.baseline.address(), &path).start();
    assert!(steers(&proxy, ALICE));
    let mut world = World::default();
    world.put_override(CART, BOB, "cart-bob", &[run.bob.address()]);
    let honest = Honest::at(address, world);
    eventually("the table is today's", || (steers(&proxy, BOB) && !steers(&proxy, ALICE)).then_some(()));
    let resumed = honest.first_requests();
    let of_overrides = resumed.iter().find(|request| request.type_url == OVERRIDE).expect("a subscription");
    assert_eq!(of_overrides.initial_resource_versions.len(), 1, "it tells what it has of the snapshot");
}

#[test]
fn a_snapshot_that_is_not_what_was_written_is_ignored_and_the_baseline_served() {
    let run = Run::new();
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    let good = written(&run, &path);
    let mut random = fastrand::Rng::with_seed(5);
    let mut bad: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"nonsense".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), b"x"].concat(),
        [good.as_slice(), good.as_slice()].concat(),
        vec![0; good.len()],
        vec![0xff; 1 << 20],
    ];
    for _ in 0..12 {
        let mut flipped = good.clone();
        let at = random.usize(..flipped.len());
        flipped[at] ^= 1 << random.u8(..8);
        bad.push(flipped);
    }
    for (number, bytes) in bad.iter().enumerate() {
        std::fs::write(&path, bytes).expect("write");
        let proxy = with_snapshot("http://127.0.0.1:1", run.baseline.address(), &path)
            .flag("--control-ready-timeout", "10ms")
            .start();
        assert!(proxy.overrides().is_empty(), "snapshot {number} was used: {:?}", proxy.overrides());
        let corrupt = proxy.metric("spurline_control_snapshots_total", &[("result", "corrupt")]);
        assert!(corrupt == 1.0, "snapshot {number}: {corrupt}");
    }
    // A directory in its place, and one that cannot be read.
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("make a directory");
    let proxy = with_snapshot("http://127.0.0.1:1", run.baseline.address(), &path).start();
    assert!(proxy.overrides().is_empty());
}

#[test]
fn a_snapshot_of_another_workload_or_of_long_ago_is_ignored() {
    let run = Run::new();
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("snapshot");
    written(&run, &path);
    let snapshots = |proxy: &TestProxy, result: &str| {
        proxy.metric("spurline_control_snapshots_total", &[("result", result)])
    };
    let other = TestProxy::sidecar("shop/Deployment/web", run.baseline.address())
        .flag("--control", "http://127.0.0.1:1")
        .flag("--control-ready-timeout", "10ms")
        .flag("--control-snapshot", &path.to_string_lossy())
        .start();
    assert!(snapshots(&other, "other-scope") == 1.0 && other.overrides().is_empty());
    drop(other);
    std::thread::sleep(Duration::from_millis(2_100));
    let late = with_snapshot("http://127.0.0.1:1", run.baseline.address(), &path)
        .flag("--control-snapshot-age-max", "1s")
        .start();
    assert!(snapshots(&late, "too-old") == 1.0 && late.overrides().is_empty());
}

#[test]
fn a_full_disk_costs_the_snapshot_and_nothing_else() {
    if skip_netns("a_full_disk_costs_the_snapshot_and_nothing_else") {
        return;
    }
    let run = Run::new();
    let disk = SmallDisk::new(512);
    let path = disk.path().join("snapshot");
    let honest = Honest::start(run.world());
    let prefix = disk.prefix();
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let proxy = with_snapshot(&honest.url(), run.baseline.address(), &path).under(&prefix).start();
    honest.wait_settled(1);
    let saved = || proxy.metric("spurline_control_snapshots_total", &[("result", "saved")]);
    let failed = || proxy.metric("spurline_control_snapshots_total", &[("result", "save-failed")]);
    eventually("a snapshot is written", || (saved() >= 1.0).then_some(()));
    let good = std::fs::read(disk.outside("snapshot")).expect("a snapshot");
    disk.fill();
    run.under_load(&[proxy.address()], || {
        honest.edit(|world| world.put_override(CART, "more", "fork", &[run.bob.address()]));
        honest.wait_settled(1);
        assert!(steers(&proxy, "more"));
        eventually("it could not be written", || (failed() >= 1.0).then_some(()));
        assert_eq!(
            std::fs::read(disk.outside("snapshot")).expect("a snapshot"),
            good,
            "the one before stays"
        );
    });
    disk.free();
    let before = saved();
    honest.edit(|world| world.put_override(CART, "again", "fork", &[run.bob.address()]));
    eventually_within(DEADLINE * 2, "it is written again", || (saved() > before).then_some(()));
}
