//! The store of the control service: a full disk, and a file that is not what was written.

use super::*;

#[test]
fn a_full_disk_refuses_writes_that_it_cannot_keep_and_serves_what_there_is() {
    if skip_netns("a_full_disk_refuses_writes_that_it_cannot_keep_and_serves_what_there_is") {
        return;
    }
    let run = Run::new();
    let disk = SmallDisk::new(4096);
    let prefix = disk.prefix();
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let control = Control::in_directory(disk.path()).under(&prefix).start();
    let rest = control.rest();
    let proxy = builder(&control.url(), run.baseline.address()).start();
    rest.put_programmed(&run.alice());
    let mut acknowledged = vec![ALICE.to_owned()];
    run.under_load(&[proxy.address()], || {
        disk.fill();
        let mut refused = 0;
        for number in 0..200 {
            // Large enough to need space that is not there.
            let document = (0..400).fold(Document::sandbox(&format!("s{number}")), |document, workload| {
                document.fork(&format!("bulk/Deployment/w{workload}"), "fork", &[run.bob.address()])
            });
            let answer = rest.send("PUT", &document.target(), "", &document.text());
            match answer.status {
                201 => acknowledged.push(document.name().to_owned()),
                500..=599 => {
                    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
                    refused += 1;
                }
                other => panic!("{other}: {}", answer.text()),
            }
            if refused >= 5 {
                break;
            }
        }
        assert!(refused > 0, "a full disk takes everything");
        println!("{} writes were taken, {refused} refused", acknowledged.len());
        // What there is is served, and what was refused is nowhere.
        acknowledged.sort_unstable();
        assert_eq!(rest.sandboxes(), acknowledged);
        disk.free();
        eventually("it takes writes again", || {
            let answer =
                rest.send("PUT", "/v1/sandboxes/later", "", &sandbox("later", run.bob.address()).text());
            matches!(answer.status, 200 | 201).then_some(())
        });
    });
    acknowledged.push("later".to_owned());
    acknowledged.sort_unstable();
    let control = control.restarted();
    assert_eq!(control.rest().sandboxes(), acknowledged);
}

/// Damages a store in one way.
type Damage = fn(&mut Vec<u8>);

#[test]
fn a_store_that_is_not_what_was_written_is_never_taken_for_an_empty_one() {
    let damages: [(&str, Damage); 6] = [
        ("nothing is left", Vec::clear),
        ("nonsense", |bytes| *bytes = b"nonsense".repeat(1000)),
        ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
        ("its head", |bytes| bytes[..512].fill(0)),
        ("a block in its middle", |bytes| {
            let at = bytes.len() / 2;
            bytes[at..at + 4096].fill(0xa5);
        }),
        ("every thousandth byte", |bytes| bytes.iter_mut().step_by(1000).for_each(|byte| *byte ^= 0x10)),
    ];
    let run = Run::new();
    let control = TestControl::start();
    let proxy = builder(&control.url(), run.baseline.address()).start();
    for number in 0..40 {
        control.rest().put(&sandbox(&format!("s{number:02}"), run.bob.address()));
    }
    control.rest().put_programmed(&run.alice());
    let good = control.rest().sandboxes();
    let down = control.kill();
    let bytes = std::fs::read(down.store()).expect("a store");
    run.under_load(&[proxy.address()], || {
        for (what, damage) in damages {
            let mut damaged = bytes.clone();
            damage(&mut damaged);
            std::fs::write(down.store(), &damaged).expect("write");
            let mut control = down.start_unready();
            let listed = eventually("it ends or it answers", || {
                if !control.running() {
                    return Some(None);
                }
                let answer = control.rest().try_send("GET", "/v1/sandboxes?limit=1", "", "")?;
                (answer.status == 200).then(|| Some(control.rest().sandboxes()))
            });
            match listed {
                None => {
                    let log = control.log();
                    assert!(log.contains("control.store"), "{what}: the file is not named: {log}");
                    println!("{what}: refused");
                }
                // Redundancy may have been enough; less than all is never served as all.
                Some(names) => assert_eq!(names, good, "{what}"),
            }
            drop(control);
            assert!(steers(&proxy, ALICE), "{what}");
        }
        std::fs::write(down.store(), &bytes).expect("write");
        let control = down.start();
        assert_eq!(control.rest().sandboxes(), good);
    });
}

#[test]
fn a_store_that_cannot_be_opened_is_named_with_the_reason() {
    let directory = tempfile::tempdir().expect("make a directory");
    std::fs::create_dir(directory.path().join("control.store")).expect("make a directory");
    let done = Control::in_directory(directory.path()).run();
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains("control.store"), "{}", done.stderr);
    let done = Control::in_directory(&directory.path().join("nowhere")).run();
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains("nowhere"), "{}", done.stderr);
}
